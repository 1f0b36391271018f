"""Reads OpenDocument text, sheets, slides and drawings (.odt, .ods, .odp, .odg) from their XML, packed or in one piece.

Owns the reading order of their body. Leaves out deleted tracked changes, master pages and index entries' markup.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from drama_app.errors import ExtractionError
from drama_app.extract.archive import SafeZip, open_archive
from drama_app.extract.builder import TextBuilder
from drama_app.extract.clean import clean_line
from drama_app.extract.drawings import read_description
from drama_app.extract.elements import find_all, find_child, get_attribute, get_name, join_text
from drama_app.extract.source import Source
from drama_app.extract.tables import TableWriter
from drama_app.extract.titles import choose_title
from drama_app.records import Document

if TYPE_CHECKING:
    from lxml.etree import _Element

MAX_REPEATED = 1_000
"""Columns; a cell repeated to the end of the sheet is a fill and not content."""

_OFFICE = "urn:oasis:names:tc:opendocument:xmlns:office:1.0"
_KINDS = {"text": "odt", "spreadsheet": "ods", "presentation": "odp", "drawing": "odp"}
_SKIPPED = frozenset(
    {"tracked-changes", "sequence-decls", "forms", "variable-decls", "user-field-decls", "calculation-settings",
     "content-validations", "named-expressions", "database-ranges", "annotation-end", "page-number", "settings",
     "table-source", "soft-page-break", "bibliography-source", "table-of-content-source", "dde-connection-decls"}
)  # fmt: skip
_BLOCKS = frozenset({"p", "h"})
_ASIDE = frozenset(
    {"note", "annotation", "frame", "custom-shape", "rect", "text-box", "ellipse", "circle", "line", "connector",
     "polygon", "polyline", "path", "regular-polygon", "caption", "g", "scene"}
)  # fmt: skip
"""Parts that stand inside a paragraph and hold paragraphs of their own."""
_DESCRIBING = ("title", "desc")
_MARGINS = ("header", "footer", "header-first", "footer-first", "header-left", "footer-left")


def read_opendocument(source: Source) -> Document:
    """Return the text of an OpenDocument file; slides and sheets are pages.

    Raises:
        ExtractionError: encrypted, damaged, or of another kind (a chart, a formula).
    """
    with open_archive(source) as archive:
        notes: list[str] = []
        if _is_encrypted(_read_aside(archive, "META-INF/manifest.xml", notes)):
            raise ExtractionError("encrypted: needs a password")
        styles, meta = (_read_aside(archive, name, notes) for name in ("styles.xml", "meta.xml"))
        return _read_parts(archive.read_xml("content.xml"), styles, meta, notes)


def is_flat(root: "_Element") -> bool:
    """Return whether an XML document is an OpenDocument file in one piece (.fodt, .fods, .fodp)."""
    return str(root.tag) == f"{{{_OFFICE}}}document"


def read_flat(root: "_Element") -> Document:
    """Return the text of an OpenDocument file in one piece."""
    return _read_parts(root, find_child(root, "master-styles"), find_child(root, "meta"), [])


def _read_aside(archive: SafeZip, name: str, notes: list[str]) -> "_Element | None":
    """Return the root of a part that is not the text itself; a damaged one is left out and told in the notes."""
    try:
        return archive.read_xml(name) if name in archive else None
    except ExtractionError:
        notes.append(f"damaged, so left out: {name}")
        return None


def _read_parts(root: "_Element", styles: "_Element | None", meta: "_Element | None", notes: list[str]) -> Document:
    """Return the text of a body, between what its styles repeat on pages, under the title in its properties."""
    body = find_child(root, "body")
    content = next((child for child in (body if body is not None else []) if get_name(child) in _KINDS), None)
    if content is None:
        raise ExtractionError("an OpenDocument chart or formula: export as PDF")
    _drop_deletions(content)
    kind = _KINDS[get_name(content)]
    reader = _Reader(_list_title_styles(root))
    if kind == "ods":
        notes = [*notes, *reader.read_sheets(content)]
    elif kind == "odp":
        reader.read_slides(content)
    else:
        reader.read_blocks(content)
        for text in _list_margins(styles):
            reader.builder.paragraph(text)
    return reader.builder.build(kind, choose_title(reader.title, _find_title(meta)), notes=notes)


def _drop_deletions(content: "_Element") -> None:
    """Empty tracked deletions that stand in the text, as LibreOffice writes them while it shows changes."""
    from lxml import etree

    regions = find_all(content, "changed-region")
    deleted = {get_attribute(region, "id") for region in regions if find_child(region, "deletion") is not None}
    first: dict[str, str] = {}
    for mark in find_all(content, "change-start", "change-end"):
        first.setdefault(get_attribute(mark, "change-id"), get_name(mark))
    ends = {get_attribute(end, "change-id") for end in find_all(content, "change-end")}
    # One whose end comes first, or never, would take all that follows with it.
    deleted = {change for change in deleted & ends if first[change] == "change-start"}
    if not deleted:
        return
    inside: set[str] = set()
    for event, element in etree.iterwalk(content, events=("start", "end")):
        change = get_attribute(element, "change-id")
        if event == "end":
            element.tail = None if inside else element.tail
            continue
        if get_name(element) == "change-start" and change in deleted:
            inside.add(change)
        elif get_name(element) == "change-end":
            inside.discard(change)
        element.text = None if inside else element.text


def _is_encrypted(manifest: "_Element | None") -> bool:
    """Return whether the manifest lists how to decrypt members."""
    return manifest is not None and any(True for _ in find_all(manifest, "encryption-data"))


def _list_title_styles(root: "_Element") -> set[str]:
    """Return the names of the paragraph styles that mark the document's title."""
    styles = (style for style in find_all(root, "style") if get_attribute(style, "parent-style-name") == "Title")
    return {"Title", *(get_attribute(style, "name") for style in styles)}


def _find_title(meta: "_Element | None") -> str:
    """Return the title in the document's properties."""
    return "" if meta is None else next((join_text(title) for title in find_all(meta, "title")), "")


def _list_margins(styles: "_Element | None") -> list[str]:
    """Return the different texts of headers and footers."""
    found = []
    for margin in find_all(styles, *_MARGINS) if styles is not None else ():
        text = "\n".join(clean_line(_join_spans(paragraph)) for paragraph in find_all(margin, "p"))
        if any(character.isalpha() for character in text):
            found.append(text)
    return list(dict.fromkeys(found))


class _Reader:
    """Walks a body and adds its blocks to a builder."""

    def __init__(self, title_styles: set[str]) -> None:
        self.builder = TextBuilder()
        self.title = ""
        self._title_styles = title_styles

    def read_blocks(self, element: "_Element") -> None:
        """Add the paragraphs, headings, lists and tables below an element, whatever wraps them."""
        for child in element:
            name = get_name(child)
            if self.builder.full:
                return
            if name in _BLOCKS:
                self._read_paragraph(child)
            elif name == "table":
                self._read_table(child)
            elif _is_description(child):
                self.builder.paragraph(_read_description(child))
            elif name not in _SKIPPED:
                self.read_blocks(child)

    def read_slides(self, content: "_Element") -> None:
        """Add each slide as a page: its title, its shapes, its notes."""
        for slide in find_all(content, "page"):
            self.builder.page()
            frames = [child for child in slide if get_name(child) != "notes"]
            titles = [frame for frame in frames if get_attribute(frame, "class") == "title"]
            for frame in titles:
                self.builder.heading(1, " ".join(_join_spans(paragraph) for paragraph in find_all(frame, "p", "h")))
            for frame in frames:
                if frame not in titles and get_attribute(frame, "class") not in ("page-number", "date-time", "footer"):
                    self._read_shape(frame)
            for notes in (child for child in slide if get_name(child) == "notes"):
                self._read_shape(notes)

    def read_sheets(self, content: "_Element") -> list[str]:
        """Add each sheet as a page and return notes on limits."""
        writer = TableWriter(self.builder)
        for table in (child for child in content if get_name(child) == "table"):
            self.builder.page()
            self.builder.heading(1, get_attribute(table, "name"))
            writer.add_rows(_iterate_rows(table))
            for part in (part for part in table if get_name(part) == "shapes"):
                for shape in part:
                    self._read_shape(shape)
                part.clear()  # so that what has been read here does not hang on a cell too
            self._read_attached(table)
        return writer.list_notes()

    def _read_shape(self, shape: "_Element") -> None:
        """Add the paragraphs of a shape as one block, its tables as tables, then its description."""
        tables = list(find_all(shape, "table"))
        found = [part for part in find_all(shape, "p", "h", *_DESCRIBING) if _nearest_table(part) not in tables]
        lines = [_join_spans(paragraph).strip() for paragraph in found if get_name(paragraph) in _BLOCKS]
        self.builder.paragraph("\n".join(line for line in lines if line))
        for table in tables:
            self._read_table(table)
        for description in filter(_is_description, found):
            self.builder.paragraph(_read_description(description))

    def _read_attached(self, table: "_Element") -> None:
        """Add the comments and the descriptions of pictures inside a table whose rows have been read."""
        for found in table.iter("{*}annotation", *(f"{{*}}{name}" for name in _DESCRIBING)):
            if get_name(found) == "annotation":
                self.builder.paragraph("\n".join(_join_spans(paragraph) for paragraph in find_all(found, "p")))
            elif _is_description(found):
                self.builder.paragraph(_read_description(found))

    def _read_paragraph(self, paragraph: "_Element") -> None:
        """Add a paragraph or heading, then the notes and text boxes that hang on it."""
        text = _join_spans(paragraph)
        style = get_attribute(paragraph, "style-name")
        if get_name(paragraph) == "h":
            level = get_attribute(paragraph, "outline-level", "1")
            self.builder.heading(int(level) if level.isdecimal() else 1, text)
        elif style in self._title_styles and text.strip():
            self.title = self.title or text
            self.builder.heading(1, text)
        elif any(get_name(ancestor) == "list-item" for ancestor in paragraph.iterancestors()):
            self.builder.line(text)
        else:
            self.builder.paragraph(text)
        for aside in _list_asides(paragraph):
            self.read_blocks(aside)

    def _read_table(self, table: "_Element") -> None:
        """Add a table in a text as lines of cells; a single cell is a frame around running text."""
        rows = [[cell for cell in row if get_name(cell) in ("table-cell", "covered-table-cell")]
                for row in find_all(table, "table-row") if _nearest_table(row) is table]  # fmt: skip
        if max(map(len, rows), default=0) <= 1 or any(True for _ in find_all(table, "h")):
            for cell in (cell for row in rows for cell in row):
                self.read_blocks(cell)
            return
        lines = ["\t".join(clean_line(" ".join(_list_cell_texts(cell))) for cell in row).rstrip() for row in rows]
        self.builder.paragraph("\n".join(line for line in lines if line))
        self._read_attached(table)


def _join_spans(paragraph: "_Element") -> str:
    """Return a paragraph's own text with its tabs, spaces and line breaks."""
    pieces = [str(paragraph.text or "")]
    for child in paragraph:
        name = get_name(child)
        if name == "s":
            count = get_attribute(child, "c", "1")
            pieces.append(" " * min(100, int(count) if count.isdecimal() else 1))
        elif name in ("tab", "line-break"):
            pieces.append("\t" if name == "tab" else "\n")
        elif name and name not in _ASIDE and name not in _SKIPPED and name not in ("ruby-text", *_DESCRIBING):
            pieces.append(_join_spans(child))
        pieces.append(str(child.tail or ""))
    return "".join(pieces)


def _list_asides(element: "_Element") -> "Iterator[_Element]":
    """Yield the outermost notes, comments and frames inside a paragraph."""
    for child in element:
        name = get_name(child)
        if name in _ASIDE:
            body = find_child(child, "note-body")
            yield child if body is None else body
        else:
            yield from _list_asides(child)


def _is_description(element: "_Element") -> bool:
    """Return whether an element says what a picture shows; a chart or a field has a title of the same name."""
    return get_name(element) in _DESCRIBING and "svg" in str(element.tag)


def _read_description(element: "_Element") -> str:
    """Return what a picture's title or description says, "" where a program left a name or a word."""
    element.set("descr", join_text(element))  # where Office documents have it
    return read_description(element)


def _nearest_table(element: "_Element") -> "_Element | None":
    """Return the table that an element belongs to."""
    return next(element.iterancestors("{*}table"), None)


def _list_cell_texts(cell: "_Element") -> list[str]:
    """Return the texts of a cell's paragraphs, without those of its comment."""
    return [_join_spans(paragraph) for paragraph in find_all(cell, "p", "h")
            if next(paragraph.iterancestors("{*}annotation"), None) is None]  # fmt: skip


def _iterate_rows(table: "_Element") -> Iterator[list[object]]:
    """Yield the rows of a sheet, numbers as numbers; repeated empty rows come once."""
    for row in find_all(table, "table-row"):
        if _nearest_table(row) is not table:
            continue  # of a chart's data or of a table in a text box
        cells: list[object] = []
        for cell in row:
            if get_name(cell) not in ("table-cell", "covered-table-cell"):
                continue
            repeated = get_attribute(cell, "number-columns-repeated", "1")
            cells.extend([_read_cell(cell)] * min(MAX_REPEATED, int(repeated) if repeated.isdecimal() else 1))
        yield cells


def _read_cell(cell: "_Element") -> object:
    """Return a cell's value: a date as ISO text, a number as number, else what it shows."""
    kind = get_attribute(cell, "value-type")
    text = clean_line(" ".join(_list_cell_texts(cell)))
    if kind == "date":
        return get_attribute(cell, "date-value", text).replace("T00:00:00", "").replace("T", " ")
    if kind == "float":
        try:
            return float(get_attribute(cell, "value"))
        except ValueError:
            return text or None
    return text or None
