"""Reads presentations (.pptx and its shows, templates and macro variants) from their XML.

Owns the reading order of a slide: title, shapes in the order they were drawn, diagrams and charts, speaker notes,
comments. Leaves out slide numbers, dates and footers, which repeat on every slide.
"""

from typing import TYPE_CHECKING

from drama_app.errors import ExtractionError
from drama_app.extract.archive import open_archive
from drama_app.extract.builder import TextBuilder
from drama_app.extract.clean import clean_line
from drama_app.extract.drawings import list_diagram_texts, list_paragraphs, read_description
from drama_app.extract.elements import find_all, find_child, get_attribute, get_name, join_text
from drama_app.extract.ooxml import Package
from drama_app.extract.source import Source
from drama_app.extract.titles import choose_title
from drama_app.records import Document

if TYPE_CHECKING:
    from lxml.etree import _Element

_TITLES = frozenset({"title", "ctrTitle"})
_REPEATED = frozenset({"sldNum", "dt", "ftr", "hdr", "sldImg"})
_WRAPPERS = frozenset({"spTree", "grpSp", "AlternateContent", "Choice", "cxnSp", "cSld"})


def read_pptx(source: Source) -> Document:
    """Return the text of a presentation, a page a slide; its title is the property or that of the first slide."""
    with open_archive(source) as archive:
        package = Package(archive)
        main = package.find_main("ppt/presentation.xml")
        builder = TextBuilder()
        titles = []
        for part in _list_slides(package, main):
            builder.page()
            root = package.read(part)
            if root is not None and not builder.full:
                titles.append(_read_slide(package, part, root, builder))
        first = titles[0] if titles else ""
        return builder.build("pptx", choose_title(package.read_title(), first), notes=package.list_notes())


def _list_slides(package: Package, main: str) -> list[str]:
    """Return the slides' part names in the order they are shown."""
    root = package.read(main)
    relations = package.list_relations(main)
    ids = [] if root is None else [_get_relation_id(slide) for slide in find_all(root, "sldId")]
    slides = [relations[identifier][1] for identifier in ids if identifier in relations]
    if ids and not slides:
        raise ExtractionError("damaged: its slides are missing")
    return slides


def _read_slide(package: Package, part: str, root: "_Element", builder: TextBuilder) -> str:
    """Add one slide and return its title."""
    shapes = list(_list_shapes(root))
    titles = [clean_line(" ".join(list_paragraphs(shape))) for shape in shapes if _get_role(shape) in _TITLES]
    title = next((text for text in titles if text), "")
    builder.heading(1, title)
    for shape in shapes:
        if _get_role(shape) not in _TITLES | _REPEATED:
            _read_shape(shape, builder)
    for kind in ("diagramData", "chart"):
        for diagram in package.read_related(part, kind):
            builder.paragraph("\n".join(list_diagram_texts(diagram)))
    for notes in package.read_related(part, "notesSlide"):
        for shape in _list_shapes(notes):
            if _get_role(shape) not in _REPEATED:
                _read_shape(shape, builder)
    for comments in package.read_related(part, "comments"):
        builder.paragraph("\n".join(join_text(text) for text in find_all(comments, "text", "t")))
    return title


def _list_shapes(element: "_Element") -> "list[_Element]":
    """Return the shapes, tables and pictures of a slide, those in groups included, in drawing order."""
    found = []
    for child in element:
        name = get_name(child)
        if name in ("sp", "graphicFrame", "pic"):
            found.append(child)
        elif name in _WRAPPERS:
            found.extend(_list_shapes(child))
    return found


def _get_role(shape: "_Element") -> str:
    """Return what a placeholder is for, "" for any other shape."""
    placeholder = find_child(shape, "nvSpPr", "nvPr", "ph")
    return "" if placeholder is None else get_attribute(placeholder, "type", "obj")


def _read_shape(shape: "_Element", builder: TextBuilder) -> None:
    """Add a text shape as a block of lines, a table as lines of cells, a picture as its description."""
    rows = ["\t".join(_list_cells(row)).rstrip() for row in find_all(shape, "tr")]
    builder.paragraph("\n".join(rows or list_paragraphs(shape)))
    builder.paragraph(read_description(next(find_all(shape, "cNvPr"), None)))


def _list_cells(row: "_Element") -> list[str]:
    """Return the texts of a table row."""
    return [clean_line(" ".join(list_paragraphs(cell))) for cell in find_all(row, "tc")]


def _get_relation_id(element: "_Element") -> str:
    """Return the relationship id of an element that also has an id of its own."""
    ids = [str(value) for key, value in element.attrib.items() if str(key).endswith("}id")]
    return ids[0] if ids else ""
