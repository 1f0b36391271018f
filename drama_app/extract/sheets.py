"""Reads spreadsheets: .xlsx and its variants with openpyxl, .xls with xlrd.

Owns what of a workbook is text: every sheet, hidden ones too, with the values that formulas last had, comments,
text boxes, and titles of charts. Calculates nothing.
"""

import datetime
import re
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO, StringIO
from typing import TYPE_CHECKING, Any, BinaryIO
from xml.sax.saxutils import quoteattr

from drama_app.errors import ExtractionError
from drama_app.extract.archive import SafeZip, open_archive
from drama_app.extract.builder import TextBuilder
from drama_app.extract.clean import clean_line
from drama_app.extract.drawings import list_paragraphs, read_description
from drama_app.extract.elements import find_all, find_child, get_attribute, join_text
from drama_app.extract.ooxml import Package
from drama_app.extract.signatures import starts_spreadsheetml, strip_encoding
from drama_app.extract.source import Source
from drama_app.extract.spreadsheetml import read_spreadsheetml
from drama_app.extract.tables import TableWriter
from drama_app.extract.titles import choose_title
from drama_app.records import Document

if TYPE_CHECKING:
    from lxml.etree import _Element

_STRICT = re.compile(rb"http://purl\.oclc\.org/ooxml/(\w+)/(\w+)")

_FIRST_DAY = 61
"""The 1st of March 1900, before which Excel's calendar is wrong; a smaller number with a fraction is some hours."""

_PERCENTAGES = frozenset({"9", "10"})
"""The number formats 0% and 0.00%, which every workbook has."""
_LITERAL = re.compile(r'"[^"]*"|\\.')


def read_xlsx(source: Source) -> Document:
    """Return the text of a workbook: a sheet is a page under its name, a row a line."""
    with open_archive(source) as archive:
        package = Package(archive)
        remarks = _read_remarks(package)
        title = choose_title(package.read_title())
        has_percentages = _has_percentages(package)
        notes = package.list_notes()
        builder = TextBuilder()
        writer = TableWriter(builder)
        with _open_workbook(source, archive, package, notes) as workbook:
            for sheet in workbook.worksheets:
                builder.page()
                builder.heading(1, sheet.title)
                # Some writers declare one cell as the whole sheet; without a declared size rows end where they end.
                sheet.reset_dimensions()
                rows = _iterate_xlsx_rows(sheet, has_percentages=has_percentages)
                writer.add_rows(_iterate_until_damaged(rows, sheet.title, notes))
                builder.paragraph("\n".join(remarks.get(sheet.title, [])))
    return _build(builder, writer, "xlsx", title, notes)


@contextmanager
def _open_workbook(source: Source, archive: SafeZip, package: Package, notes: list[str]) -> Iterator[Any]:
    """Open a workbook; one that openpyxl refuses is opened without what is no text, and a note tells it."""
    with ExitStack() as stack, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # openpyxl warns of styles and extensions that hold no text
        stream = stack.enter_context(_loosen(archive) if _is_strict(package) else source.open())
        try:
            workbook = _load(stream)
        except MemoryError:
            raise
        except Exception:  # openpyxl raises anything over a color, a date of saving or a sheet of a chart
            workbook = _load(stack.enter_context(_strip(archive, package)))
            notes.append("damaged, so read without its styles, properties and chart sheets")
        yield workbook
        workbook.close()


def _load(stream: BinaryIO) -> Any:
    """Return a workbook whose sheets are read from the stream as they are asked for."""
    import openpyxl

    return openpyxl.load_workbook(stream, read_only=True, data_only=True, keep_links=False)


def _iterate_until_damaged(
    rows: Iterator[Sequence[object]], title: str, notes: list[str]
) -> Iterator[Sequence[object]]:
    """Yield the rows of a sheet up to one that cannot be read, which ends that sheet and not the workbook."""
    try:
        yield from rows
    except (OSError, MemoryError):
        raise
    except Exception:  # a number that is none, a day that no month has, a string that is not there
        notes.append(f"damaged, so read only in part: sheet {title}")


def _is_strict(package: Package) -> bool:
    """Return whether a workbook is saved as "Strict Open XML", which openpyxl takes for empty."""
    root = package.read(package.find_main("xl/workbook.xml"))
    return root is not None and str(root.tag).startswith("{http://purl.oclc.org/")


def _loosen(archive: SafeZip, replaced: dict[str, bytes | None] | None = None) -> BytesIO:
    """Return a strict workbook under the names of the usual edition, which differ in nothing else that holds text.

    Args:
        archive: The workbook.
        replaced: Member -> what stands in its place, None to leave it out.
    """
    replaced = replaced or {}
    loose = BytesIO()
    with zipfile.ZipFile(loose, "w", zipfile.ZIP_DEFLATED) as container:
        for name in archive.names():
            if name not in replaced and name.endswith((".xml", ".rels")):
                container.writestr(
                    name, _STRICT.sub(rb"http://schemas.openxmlformats.org/\1/2006/\2", archive.read(name))
                )
        for name, data in replaced.items():
            if data is not None:
                container.writestr(name, data)
    loose.seek(0)
    return loose


def _strip(archive: SafeZip, package: Package) -> BytesIO:
    """Return a workbook without properties and chart sheets, and with no styles but the formats of numbers.

    Relationships and content types stay: openpyxl passes over the parts that they name and the package lacks.
    """
    charts = {name.lower() for name in package.find_related(package.find_main("xl/workbook.xml"), "chartsheet")}
    replaced: dict[str, bytes | None] = {
        name: None for name in archive.names() if name.startswith("docProps/") or name.lower() in charts
    }
    return _loosen(archive, {**replaced, "xl/styles.xml": _build_styles(package)})


def _build_styles(package: Package) -> bytes:
    """Return a stylesheet of nothing but the formats of numbers, which tell days from numbers."""
    codes = formats = ""
    for styles in package.read_related(package.find_main("xl/workbook.xml"), "styles"):
        for code in _list_children(styles, "numFmts"):
            text = quoteattr(get_attribute(code, "formatCode"))
            codes += f'<numFmt numFmtId="{_read_number(code)}" formatCode={text}/>'
        for one in _list_children(styles, "cellXfs"):
            formats += f'<xf numFmtId="{_read_number(one)}"/>'
    return (
        f'<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><numFmts>{codes}</numFmts>'
        f"<cellXfs>{formats or '<xf/>'}</cellXfs></styleSheet>"
    ).encode()


def read_xls(source: Source) -> Document:
    """Return the text of a workbook of Excel 97 to 2003 or older, or of one in the XML of Excel 2003."""
    import xlrd

    if starts_spreadsheetml(strip_encoding(source.head(4096))):
        return read_spreadsheetml(source)

    if source.size() > 100_000_000:
        raise ExtractionError("too large for a legacy Excel workbook: save as .xlsx")
    builder = TextBuilder()
    writer = TableWriter(builder)
    try:
        workbook = xlrd.open_workbook(file_contents=source.read(), logfile=StringIO(), on_demand=True)
    except xlrd.XLRDError as error:
        if "encrypted" in str(error).lower():
            raise ExtractionError("encrypted: needs a password") from error
        raise ExtractionError("damaged, or not really an Excel workbook: save as .xlsx") from error
    with workbook:
        for name in workbook.sheet_names():
            builder.page()
            builder.heading(1, name)
            sheet = workbook.sheet_by_name(name)
            writer.add_rows(_iterate_xls_rows(sheet, workbook.datemode))
            remarks = (clean_line(str(remark.text)) for _, remark in sorted(sheet.cell_note_map.items()))
            builder.paragraph("\n".join(remark for remark in remarks if remark))
            workbook.unload_sheet(name)
    return _build(builder, writer, "xls", "", [])


def _build(builder: TextBuilder, writer: TableWriter, kind: str, title: str, notes: list[str]) -> Document:
    """Return the document, refusing a workbook of nothing but sheet names."""
    document = builder.build(kind, title, notes=[*notes, *writer.list_notes()])
    if document.text == "\n\n".join(heading.title for heading in document.headings):
        damage = "; ".join(note for note in document.notes if note.startswith("damaged"))
        raise ExtractionError(damage or "no text inside: its sheets are empty")
    return document


def _iterate_xls_rows(sheet: Any, datemode: int) -> Iterator[Sequence[object]]:
    """Yield the rows of a sheet with dates as dates and whole numbers as such."""
    import xlrd

    for index in range(sheet.nrows):
        row: list[object] = []
        for cell in sheet.row(index):
            value: object = cell.value
            if cell.ctype in (xlrd.XL_CELL_ERROR, xlrd.XL_CELL_EMPTY, xlrd.XL_CELL_BLANK):
                value = None
            elif cell.ctype == xlrd.XL_CELL_BOOLEAN:
                value = bool(value)
            elif cell.ctype == xlrd.XL_CELL_DATE:
                value = _convert_date(cell.value, datemode)
            row.append(value)
        yield row


def _convert_date(value: float, datemode: int) -> object:
    """Return a date cell as date, as time if it is a part of a day or some days, as number if it is out of range."""
    import xlrd

    if 1 < value < _FIRST_DAY and value % 1:
        return _format_duration(datetime.timedelta(days=value))
    try:
        moment = xlrd.xldate_as_datetime(value, datemode)
    except (xlrd.XLDateError, OverflowError, ValueError):
        return value
    return moment.time() if 0 <= value < 1 else moment


def _iterate_xlsx_rows(sheet: Any, *, has_percentages: bool) -> Iterator[Sequence[object]]:
    """Yield the rows of a sheet with durations as hours and percentages as such."""
    # To ask each cell for its format takes a third more time, so only workbooks pay for it that have such a format.
    for row in sheet.iter_rows(values_only=not has_percentages):
        cells = [_read_percentage(cell) for cell in row] if has_percentages else row
        is_timed = any(type(cell) is datetime.timedelta for cell in cells)
        yield (
            [_format_duration(cell) if type(cell) is datetime.timedelta else cell for cell in cells]
            if is_timed
            else cells
        )


def _has_percentages(package: Package) -> bool:
    """Return whether any cell of a workbook may be shown as a percentage."""
    for styles in package.read_related(package.find_main("xl/workbook.xml"), "styles"):
        codes = {get_attribute(code, "numFmtId") for code in find_all(styles, "numFmt")
                 if _is_percentage(get_attribute(code, "formatCode"))}  # fmt: skip
        formats = {get_attribute(one, "numFmtId") for one in _list_children(styles, "cellXfs")}
        if formats & (codes | _PERCENTAGES):
            return True
    return False


def _read_number(code: "_Element") -> int:
    """Return the number under which a format is known, 0 if it has none."""
    number = get_attribute(code, "numFmtId")
    return int(number) if number.isdecimal() else 0


def _list_children(root: "_Element", name: str) -> "list[_Element]":
    """Return what a list of formats holds, nothing if it is missing."""
    found = find_child(root, name)
    return [] if found is None else list(found)


def _read_percentage(cell: Any) -> object:
    """Return a cell's value, a number that is shown as a percentage as one."""
    value: object = cell.value
    with suppress(IndexError):  # a cell may name a format that the workbook lacks
        if type(value) in (int, float) and _is_percentage(cell.number_format):
            return _Percentage(cell.value)
    return value


def _is_percentage(code: str) -> bool:
    """Return whether a number format shows hundredths; a sign in quotes is only put behind the number."""
    return "%" in code and "%" in _LITERAL.sub("", code)


@dataclass(frozen=True, slots=True)
class _Percentage:
    """A number among the cells of a row, which must not look like a word to what tells names of columns."""

    value: float

    def __str__(self) -> str:
        return f"{100 * self.value:.12g}%"


def _format_duration(duration: datetime.timedelta) -> str:
    """Return "30:00", as Excel shows hours that are no time of day."""
    minutes, seconds = divmod(abs(round(duration.total_seconds())), 60)
    sign = "-" if duration < datetime.timedelta() else ""
    return f"{sign}{minutes // 60}:{minutes % 60:02}" + (f":{seconds:02}" if seconds else "")


def _read_remarks(package: Package) -> dict[str, list[str]]:
    """Return sheet name -> the texts of its comments and drawings."""
    main = package.find_main("xl/workbook.xml")
    root = package.read(main)
    relations = package.list_relations(main)
    found = {}
    for sheet in [] if root is None else find_all(root, "sheet"):
        ids = [str(value) for key, value in sheet.attrib.items() if str(key).endswith("}id")]
        part = relations[ids[0]][1] if ids and ids[0] in relations else ""
        texts = [join_text(text) for comments in package.read_related(part, "comments")
                 for text in find_all(comments, "text")]  # fmt: skip
        for name in package.find_related(part, "drawing"):
            texts.extend(_list_drawn(package, name))
        found[get_attribute(sheet, "name")] = [text for text in map(clean_line, texts) if text]
    return found


def _list_drawn(package: Package, name: str) -> list[str]:
    """Return the texts of boxes, descriptions of pictures, and titles of charts, whose other texts are in the cells."""
    drawing = package.read_aside(name)
    texts = [] if drawing is None else list_paragraphs(drawing)
    texts += [] if drawing is None else map(read_description, find_all(drawing, "cNvPr"))
    for chart in package.read_related(name, "chart"):
        texts += list_paragraphs(chart)
    return texts
