"""Workbooks with a fault beside or among their cells: what can be read of them is."""

import re
import zipfile
from pathlib import Path

import pytest
import xlsxwriter

from drama_app.errors import ExtractionError
from drama_app.extract import extract

NOTE = "damaged, so read without its styles, properties and chart sheets"


def make_workbook(path: Path) -> Path:
    """Write a workbook of two sheets and a chart sheet, with a day and a share among its cells."""
    with xlsxwriter.Workbook(str(path)) as workbook:
        sheet = workbook.add_worksheet("Catch")
        sheet.write_row(0, 0, ["port", "since", "share"])
        sheet.write_row(1, 0, ["Esbjerg", "x", "y"])
        sheet.write(1, 1, 45_000, workbook.add_format({"num_format": 'yyyy-mm-dd" <&"', "bg_color": "red"}))
        sheet.write(1, 2, 0.25, workbook.add_format({"num_format": "0%"}))
        sheet.write_row(2, 0, ["Skagen"])
        chart = workbook.add_chart({"type": "column"})
        chart.add_series({"values": "=Catch!$C$2:$C$2"})
        workbook.add_chartsheet("Chart").set_chart(chart)
        workbook.add_worksheet("Boats").write(0, 0, "Grete")
    return path


def damage(path: Path, part: str, pattern: str, replacement: str) -> None:
    """Replace what first fits a pattern in one part of a workbook, which must have it; an emptied part goes."""
    with zipfile.ZipFile(path) as container:
        members = {name: container.read(name) for name in container.namelist()}
    text, count = re.subn(pattern, replacement, members[part].decode(), count=1)
    assert count == 1
    members[part] = text.encode()
    with zipfile.ZipFile(path, "w") as container:
        for name, data in members.items():
            if data:
                container.writestr(name, data)


@pytest.mark.parametrize(
    ("part", "pattern", "replacement"),
    [
        ("xl/styles.xml", "<fill>", "<fill/><fill>"),
        ("xl/styles.xml", 'cellStyle name="Normal"', "cellStyle"),
        ("xl/styles.xml", 'color theme="1"', 'color rgb="red"'),
        ("xl/styles.xml", 'family val="2"', 'family val="99"'),
        ("docProps/core.xml", "(<dcterms:created[^>]*>)[^<]*", r"\1last week"),
        ("xl/chartsheets/_rels/sheet1.xml.rels", "(?s).+", ""),
        ("xl/chartsheets/_rels/sheet1.xml.rels", "drawing1.xml", "none.xml"),
    ],
)
def test_a_fault_beside_the_cells_costs_none(tmp_path: Path, part: str, pattern: str, replacement: str) -> None:
    """A workbook with an odd color, date of saving or chart sheet is read, days as days and shares as shares."""
    path = make_workbook(tmp_path / "a.xlsx")
    whole = extract(path)
    assert whole.notes == () and "port: Esbjerg; since: 2023-03-15; share: 25%" in whole.text
    damage(path, part, pattern, replacement)
    document = extract(path)
    assert (document.text, document.headings, document.pages) == (whole.text, whole.headings, whole.pages)
    assert document.notes == (NOTE,)


def test_styles_that_are_no_xml_cost_no_cells(tmp_path: Path) -> None:
    """Without any styles a day is its number, and the note names the part."""
    path = make_workbook(tmp_path / "a.xlsx")
    damage(path, "xl/styles.xml", "</styleSheet>", "")
    document = extract(path)
    assert "port: Esbjerg; since: 45000; share: 0.25" in document.text
    assert document.notes == ("damaged, so left out: xl/styles.xml", NOTE)


@pytest.mark.parametrize("cell", ['t="n"><v>abc', 't="d"><v>2024-02-30', 't="s"><v>9999'])
def test_a_cell_that_cannot_be_read_ends_its_sheet_alone(tmp_path: Path, cell: str) -> None:
    """The rows before it and the sheets after it are read, and a note names the sheet."""
    path = make_workbook(tmp_path / "a.xlsx")
    damage(path, "xl/worksheets/sheet1.xml", '<c r="A3" t="s"><v>[0-9]+', f'<c r="A3" {cell}')
    document = extract(path)
    assert document.text.startswith("Catch\n\nport | since | share\nport: Esbjerg; since: 2023-03-15; share: 25%\n\n")
    assert document.text.endswith("Boats\n\nGrete") and "Skagen" not in document.text
    assert document.notes == ("damaged, so read only in part: sheet Catch",)


def test_a_workbook_without_a_row_before_the_fault_says_so(tmp_path: Path) -> None:
    """A workbook of which nothing could be read is not called empty."""
    path = tmp_path / "a.xlsx"
    with xlsxwriter.Workbook(str(path)) as workbook:
        workbook.add_worksheet("Catch").write(0, 0, 7)
    damage(path, "xl/worksheets/sheet1.xml", "<v>7", "<v>abc")
    with pytest.raises(ExtractionError, match=r"^damaged, so read only in part: sheet Catch$"):
        extract(path)
