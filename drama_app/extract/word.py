"""Reads Word documents (.docx and its templates and macro variants) from their XML.

Owns the reading order of body, tables, text boxes, diagrams, notes, comments, headers and footers. Walks the XML
itself, because python-docx leaves out text boxes, notes, content controls and tracked insertions, and refuses
templates.
Refuses layout: there are no pages in the file.
"""

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from drama_app.errors import ExtractionError
from drama_app.extract.archive import open_archive
from drama_app.extract.builder import TextBuilder
from drama_app.extract.clean import clean_line
from drama_app.extract.drawings import list_diagram_texts, read_description
from drama_app.extract.elements import find_all, find_child, get_attribute, get_name, join_text
from drama_app.extract.nested import MAX_ATTACHMENTS, add_document
from drama_app.extract.ooxml import Package
from drama_app.extract.source import Source
from drama_app.extract.titles import choose_title
from drama_app.records import Document

if TYPE_CHECKING:
    from lxml.etree import _Element

MAX_HEADING = 250
"""Characters; a longer "heading" is a paragraph in a heading's style."""
MAX_LAYOUT_PARAGRAPHS = 3
"""A table cell with more paragraphs is a column of a layout, and is read as running text."""

_HEADING_NAME = re.compile(
    r"(?:heading|überschrift|titre|título|titolo|kop|rubrik|overskrift|otsikko|nagłówek|nadpis|заголовок|επικεφαλίδα"
    r"|başlık|见出し|見出し|标题|標題|제목|عنوان|כותרת)\s*([1-9])",
    re.IGNORECASE,
)
_TITLE_NAMES = frozenset({"title", "titel", "titre", "título", "titolo", "название"})
_SKIPPED = frozenset(
    {"del", "moveFrom", "instrText", "delText", "delInstrText", "pPr", "rPr", "sectPr", "sdtPr", "sdtEndPr", "Fallback",
     "binData", "tblPr", "tblGrid", "trPr", "tcPr", "numPr", "ruby", "posOffset", "pctWidth", "pctHeight"}
)  # fmt: skip
_CHARACTERS = {
    "tab": "\t", "ptab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-", "softHyphen": "",
    "lastRenderedPageBreak": "",
}  # fmt: skip
_REFERENCES = ("footnoteReference", "endnoteReference", "commentReference")
_DIAGRAMS = {"diagramData": "relIds", "chart": "chart"}
"""Type of a part -> the element that refers to it."""


def read_docx(source: Source) -> Document:
    """Return the text of a Word document; its title is the paragraph in the Title style or the property."""
    with open_archive(source) as archive:
        package = Package(archive)
        main = package.find_main("word/document.xml")
        root = package.read(main)
        notes = _read_notes(package, main) | _read_diagrams(package, main)
        reader = _Reader(_read_levels(package, main), notes, _Chunks(source, package, main))
        reader.read_blocks(root)
        reader.read_margins(package.read_related(main, "header") + package.read_related(main, "footer"))
        remarks = [*reader.chunks.notes, *package.list_notes()]
        return reader.builder.build("docx", choose_title(reader.title, package.read_title()), notes=remarks)


def _read_levels(package: Package, main: str) -> dict[str, int]:
    """Return style id -> heading level of the styles that make headings; 0 is the document's title."""
    styles: dict[str, tuple[str, str, str]] = {}
    for root in package.read_related(main, "styles"):
        for style in find_all(root, "style"):
            values = (find_child(style, "name"), find_child(style, "basedOn"), find_child(style, "pPr", "outlineLvl"))
            name, parent, outline = ("" if value is None else get_attribute(value, "val") for value in values)
            styles[get_attribute(style, "styleId")] = (name, parent, outline)
    levels = {}
    for style_id in styles:
        level = _resolve_level(styles, style_id)
        if level is not None:
            levels[style_id] = level
    return levels


def _resolve_level(styles: dict[str, tuple[str, str, str]], style_id: str) -> int | None:
    """Return the level that a style or the nearest style it is based on gives, None for body text."""
    seen = set()
    while style_id in styles and style_id not in seen:
        seen.add(style_id)
        name, parent, outline = styles[style_id]
        if name.lower() in _TITLE_NAMES:
            return 0
        if outline.isdecimal():
            return int(outline) + 1 if int(outline) < 9 else None
        match = _HEADING_NAME.fullmatch(name.strip())
        if match:
            return int(match[1])
        style_id = parent
    return None


def _read_notes(package: Package, main: str) -> dict[tuple[str, str], str]:
    """Return (kind of reference, id) -> text of footnotes, endnotes and comments."""
    found = {}
    for reference in _REFERENCES:
        kind = reference.removesuffix("Reference")
        for root in package.read_related(main, kind + "s"):
            for note in root:
                lines = [_join_runs(paragraph) for paragraph in find_all(note, "p")]
                text = "\n".join(line for line in map(clean_line, lines) if line)
                author = clean_line(get_attribute(note, "author"))
                if text and get_attribute(note, "type") not in ("separator", "continuationSeparator"):
                    found[reference, get_attribute(note, "id")] = f"{author}: {text}" if author else text
    return found


def _read_diagrams(package: Package, main: str) -> dict[tuple[str, str], str]:
    """Return (kind of reference, id) -> text of SmartArt and charts."""
    found = {}
    for identifier, (kind, part) in package.list_relations(main).items():
        root = package.read_aside(part) if kind in _DIAGRAMS else None
        if root is not None:
            found[_DIAGRAMS[kind], identifier] = "\n".join(list_diagram_texts(root))
    return found


class _Chunks:
    """Whole documents that stand for a part of the body, as programs leave them that turn HTML into Word."""

    def __init__(self, source: Source, package: Package, main: str) -> None:
        self.notes: list[str] = []
        self._source = source
        self._package = package
        relations = package.list_relations(main)
        self._parts = {identifier: part for identifier, (kind, part) in relations.items() if kind == "aFChunk"}
        self._added: set[str] = set()

    def add(self, builder: TextBuilder, identifier: str) -> None:
        """Add the text of one, once, with its headings; what cannot be read becomes a note."""
        from drama_app.extract import extract_source

        part = self._parts.get(identifier, "")
        if not part or part in self._added or len(self._added) > MAX_ATTACHMENTS:
            return
        self._added.add(part)
        if len(self._added) > MAX_ATTACHMENTS:
            self.notes.append(
                f"only the first {MAX_ATTACHMENTS} of {len(self._parts)} texts that it takes are searchable"
            )
            return
        try:
            data, depth = self._package.read_bytes(part), self._source.depth + 1
            chunk = replace(self._source, name=part.rpartition("/")[2], data=data, depth=depth)
            add_document(builder, extract_source(chunk), level=0)
        except ExtractionError as error:
            self.notes.append(f"text that it takes from {part}: {error}")


class _Reader:
    """Walks a body and adds its blocks to a builder."""

    def __init__(self, levels: dict[str, int], notes: dict[tuple[str, str], str], chunks: _Chunks) -> None:
        self.builder = TextBuilder()
        self.title = ""
        self.chunks = chunks
        self._levels = levels
        self._notes = notes

    def read_blocks(self, element: "_Element | None") -> None:
        """Add the paragraphs and tables below an element, whatever wraps them."""
        for child in [] if element is None else element:
            name = get_name(child)
            if self.builder.full:
                return
            if name == "p":
                self._read_paragraph(child)
            elif name == "tbl":
                self._read_table(child)
            elif name == "altChunk":
                self.chunks.add(self.builder, get_attribute(child, "id"))
            elif name not in _SKIPPED:
                self.read_blocks(child)

    def read_margins(self, roots: "list[_Element]") -> None:
        """Add headers and footers, each text once."""
        seen = set()
        for root in roots:
            lines = [clean_line(_join_runs(paragraph)) for paragraph in find_all(root, "p")]
            text = "\n".join(line for line in lines if line)
            if text not in seen and any(character.isalpha() for character in text):
                self.builder.paragraph(text)
            seen.add(text)

    def _read_paragraph(self, paragraph: "_Element") -> None:
        """Add a paragraph, then the text boxes and notes that hang on it."""
        text = _join_runs(paragraph)
        level = self._find_level(paragraph)
        if level is not None and 0 < len(clean_line(text)) <= MAX_HEADING:
            if level == 0:
                self.title = self.title or text
            self.builder.heading(max(1, level), text)
        elif find_child(paragraph, "pPr", "numPr") is not None:
            self.builder.line(text)
        else:
            self.builder.paragraph(text)
        self._read_attached(paragraph)

    def _read_attached(self, element: "_Element") -> None:
        """Add the text boxes, pictures, diagrams and notes inside an element that has been read."""
        for found in find_all(element, "txbxContent", "altChunk", "docPr", *_DIAGRAMS.values(), *_REFERENCES):
            name = get_name(found)
            if name in _REFERENCES:
                self.builder.paragraph(self._notes.pop((name, get_attribute(found, "id")), ""))
            elif _nearest_box(found, element) is not None:
                continue
            elif name == "txbxContent":
                self.read_blocks(found)
            elif name == "altChunk":
                self.chunks.add(self.builder, get_attribute(found, "id"))
            elif name == "docPr":
                self.builder.paragraph(read_description(found))
            else:
                identifier = get_attribute(found, "dm") or get_attribute(found, "id")
                self.builder.paragraph(self._notes.pop((name, identifier), ""))

    def _find_level(self, paragraph: "_Element") -> int | None:
        """Return a paragraph's heading level, None for body text."""
        outline = find_child(paragraph, "pPr", "outlineLvl")
        if outline is not None and get_attribute(outline, "val").isdecimal():
            level = int(get_attribute(outline, "val"))
            return level + 1 if level < 9 else None
        style = find_child(paragraph, "pPr", "pStyle")
        return None if style is None else self._levels.get(get_attribute(style, "val"))

    def _read_table(self, table: "_Element") -> None:
        """Add a table as lines of cells; one that only arranges running text is read as such."""
        cells = [cell for cell in find_all(table, "tc") if _nearest(cell, "tbl") is table]
        if len(cells) == 1 or any(self._is_running_text(cell) for cell in cells):
            for cell in cells:
                self.read_blocks(cell)
            return
        rows: dict[_Element | None, list[str]] = {}
        for cell in cells:
            paragraphs = (found for found in find_all(cell, "p") if _nearest_box(found, cell) is None)
            texts = (clean_line(_join_runs(paragraph)) for paragraph in paragraphs)
            rows.setdefault(_nearest(cell, "tr"), []).append(" ".join(text for text in texts if text))
        self.builder.paragraph("\n".join("\t".join(row).rstrip() for row in rows.values() if any(row)))
        self._read_attached(table)

    def _is_running_text(self, cell: "_Element") -> bool:
        """Return whether a cell holds a heading or many paragraphs."""
        paragraphs = [paragraph for paragraph in find_all(cell, "p") if _nearest(paragraph, "tc") is cell]
        filled = [paragraph for paragraph in paragraphs if _join_runs(paragraph).strip()]
        return len(filled) > MAX_LAYOUT_PARAGRAPHS or any(self._find_level(paragraph) for paragraph in filled)


def _join_runs(element: "_Element") -> str:
    """Return a paragraph's own text, without that of text boxes in it and of deleted text."""
    pieces = []
    for child in element:
        name = get_name(child)
        if name == "t":
            pieces.append(join_text(child))
        elif name in _CHARACTERS:
            pieces.append(_CHARACTERS[name])
        elif name == "ruby":
            base = find_child(child, "rubyBase")
            pieces.append("" if base is None else _join_runs(base))
        elif name == "txbxContent" or name in _SKIPPED:
            continue
        elif len(child):
            pieces.append(_join_runs(child))
    return "".join(pieces)


def _nearest(element: "_Element", name: str) -> "_Element | None":
    """Return the nearest ancestor of a name."""
    return next(element.iterancestors("{*}" + name), None)


def _nearest_box(element: "_Element", within: "_Element") -> "_Element | None":
    """Return the text box or old copy of one around an element, looking no further than `within`."""
    for ancestor in element.iterancestors():
        if ancestor is within:
            return None
        if get_name(ancestor) in ("txbxContent", "Fallback"):
            return ancestor
    return None
