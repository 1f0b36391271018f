"""Reads the workbooks that Excel 2003 and many programs since write as one XML file (SpreadsheetML).

Owns where in it names, cells and comments stand; how a row reads belongs to `tables`.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from drama_app.errors import ExtractionError
from drama_app.extract.builder import TextBuilder
from drama_app.extract.clean import clean_line
from drama_app.extract.elements import find_all, find_child, get_attribute, join_text, parse_xml
from drama_app.extract.encoding import MAX_TEXT_BYTES
from drama_app.extract.source import Source
from drama_app.extract.tables import TableWriter
from drama_app.extract.xml import read_xml
from drama_app.records import Document

if TYPE_CHECKING:
    from lxml.etree import _Element

MAX_COLUMNS = 1_000
"""A cell that says it stands beyond is taken for the next one, so that few bytes make no endless row."""


def read_spreadsheetml(source: Source) -> Document:
    """Return the text of a workbook: a sheet is a page under its name, a row a line.

    Raises:
        ExtractionError: as `xml.read_xml`, which reads what is not well-formed as far as it can be read.
    """
    if source.size() > MAX_TEXT_BYTES:
        return read_xml(source)
    try:
        root = parse_xml(source.read(), name=source.name)
    except ExtractionError:
        return read_xml(source)
    builder = TextBuilder()
    writer = TableWriter(builder)
    for sheet in find_all(root, "Worksheet"):
        builder.page()
        builder.heading(1, get_attribute(sheet, "Name"))
        writer.add_rows(_iterate_rows(sheet))
        remarks = (clean_line(join_text(find_child(comment, "Data"))) for comment in find_all(sheet, "Comment"))
        builder.paragraph("\n".join(remark for remark in remarks if remark))
    return builder.build("xls", notes=writer.list_notes())


def _iterate_rows(sheet: "_Element") -> Iterator[list[object]]:
    """Yield the rows of a sheet, an empty one where rows are left out."""
    for row in find_all(sheet, "Row"):
        if get_attribute(row, "Index"):
            yield []
        cells: list[object] = []
        place = 0
        for cell in (child for child in row if str(child.tag).endswith("}Cell")):
            index = get_attribute(cell, "Index")
            place = int(index) if index.isdecimal() and place < int(index) <= MAX_COLUMNS else place + 1
            value = _read_cell(find_child(cell, "Data"))
            if value not in (None, ""):  # empty ones take no room: a row may be a thousand of them
                cells.extend([None] * (place - 1 - len(cells)))
                cells.append(value)
        yield cells


def _read_cell(data: "_Element | None") -> object:
    """Return a cell's value: a number as number, a date as ISO text, None for an error or nothing."""
    kind = "" if data is None else get_attribute(data, "Type")
    text = join_text(data)
    if kind == "Number":
        try:
            return float(text)
        except ValueError:
            return text
    if kind == "DateTime":
        return text.removesuffix(".000").removesuffix("T00:00:00").replace("T", " ")
    if kind == "Boolean":
        return text.strip() == "1"
    return None if kind == "Error" else text
