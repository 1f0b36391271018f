import base64
import datetime
import io
import re
import struct
import zipfile
from pathlib import Path

import docx
import openpyxl
import pptx
import pytest
import xlsxwriter
from docx.opc.packuri import PackURI
from docx.opc.part import Part
from docx.oxml import OxmlElement
from docx.oxml.ns import qn
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.enum.shapes import PROG_ID

from drama_app.errors import ExtractionError
from drama_app.extract import extract
from drama_app.extract.archive import open_archive
from drama_app.extract.sheets import _convert_date, read_xls
from drama_app.extract.source import Source
from drama_app.records import Document

GIF = base64.b64decode("R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==")
ODF = (
    'xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
    'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" '
    'xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0" '
    'xmlns:draw="urn:oasis:names:tc:opendocument:xmlns:drawing:1.0" '
    'xmlns:presentation="urn:oasis:names:tc:opendocument:xmlns:presentation:1.0" '
    'xmlns:dc="http://purl.org/dc/elements/1.1/"'
)


def make_zip(path: Path, members: dict[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as container:
        for name, data in members.items():
            container.writestr(name, data)
    return path


def make_docx(path: Path, body: str, **parts: str) -> Path:
    word = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006/relationships"
    relations = "".join(f'<Relationship Id="r{name}" Type="{office}/{name}" Target="{name}.xml"/>' for name in parts)
    members: dict[str, str | bytes] = {
        "[Content_Types].xml": "<Types/>",
        "_rels/.rels": f'<Relationships xmlns="{package}"><Relationship Id="a" Type="{office}/officeDocument" '
        f'Target="word/document.xml"/></Relationships>',
        "word/_rels/document.xml.rels": f'<Relationships xmlns="{package}">{relations}</Relationships>',
        "word/document.xml": f'<w:document xmlns:w="{word}"><w:body>{body}</w:body></w:document>',
    }
    for name, text in parts.items():
        members[f"word/{name}.xml"] = f'<w:{name} xmlns:w="{word}">{text}</w:{name}>'
    return make_zip(path, members)


def make_odf(path: Path, medium: str, body: str, title: str = "") -> Path:
    return make_zip(
        path,
        {
            "mimetype": f"application/vnd.oasis.opendocument.{medium}",
            "content.xml": f"<office:document-content {ODF}><office:body>{body}</office:body>"
            "</office:document-content>",
            "meta.xml": f"<office:document-meta {ODF}><dc:title>{title}</dc:title></office:document-meta>",
        },
    )


def run(text: str) -> str:
    return f"<w:r><w:t>{text}</w:t></w:r>"


def check_offsets(document: Document) -> None:
    for heading in document.headings:
        assert document.text[heading.start :].startswith(heading.title)
    assert list(document.pages) == sorted(document.pages)


def test_word_document_keeps_headings_tables_and_title(tmp_path: Path) -> None:
    """A Word document gives its headings with levels, its table as rows of cells, and its title."""
    made = docx.Document()
    made.add_heading("Bienenjahr", 0)
    made.add_heading("Frühling", 1)
    made.add_paragraph("Die Völker erwachen.")
    made.add_heading("Futter", 2)
    table = made.add_table(rows=2, cols=2)
    for cell, text in zip((c for r in table.rows for c in r.cells), ("Monat", "Zucker", "März", "3 kg"), strict=True):
        cell.text = text
    made.sections[0].header.paragraphs[0].text = "Imkerverein Nord"
    made.save(str(tmp_path / "a.docx"))
    document = extract(tmp_path / "a.docx")
    check_offsets(document)
    assert document.kind == "docx" and document.title == "Bienenjahr"
    assert [(h.level, h.title) for h in document.headings] == [(1, "Bienenjahr"), (1, "Frühling"), (2, "Futter")]
    assert "Monat\tZucker\nMärz\t3 kg" in document.text
    assert document.text.count("Imkerverein Nord") == 1


def test_word_headings_follow_styles_of_any_name(tmp_path: Path) -> None:
    """A style based on a heading style makes headings, and so does an outline level in a style of any language."""
    styles = (
        '<w:style w:styleId="berschrift1"><w:name w:val="heading 1"/></w:style>'
        '<w:style w:styleId="Kapitel"><w:name w:val="Mein Kapitel"/><w:basedOn w:val="berschrift1"/></w:style>'
        '<w:style w:styleId="x"><w:name w:val="Abschnitt"/><w:pPr><w:outlineLvl w:val="2"/></w:pPr></w:style>'
    )
    body = "".join(
        f'<w:p><w:pPr><w:pStyle w:val="{style}"/></w:pPr>{run(text)}</w:p>'
        for style, text in (("Kapitel", "Eins"), ("x", "Drei"), ("none", "Text"))
    )
    document = extract(make_docx(tmp_path / "a.docx", body, styles=styles))
    assert [(h.level, h.title) for h in document.headings] == [(1, "Eins"), (3, "Drei")]


def test_word_reads_what_is_hidden_in_the_markup(tmp_path: Path) -> None:
    """Insertions, content controls, text boxes, notes and comments are text; deletions are not."""
    body = (
        f"<w:p>{run('kept ')}<w:ins>{run('inserted')}</w:ins><w:del><w:r><w:delText>gone</w:delText></w:r></w:del>"
        '<w:r><w:footnoteReference w:id="2"/></w:r><w:r><w:commentReference w:id="0"/></w:r></w:p>'
        f"<w:sdt><w:sdtContent><w:p>{run('controlled')}</w:p></w:sdtContent></w:sdt>"
        f"<w:p><w:r><w:pict><w:txbxContent><w:p>{run('boxed')}</w:p></w:txbxContent></w:pict></w:r></w:p>"
    )
    footnotes = f'<w:footnote w:id="2"><w:p>{run("a footnote")}</w:p></w:footnote>'
    comments = f'<w:comment w:id="0" w:author="Ana"><w:p>{run("a remark")}</w:p></w:comment>'
    document = extract(make_docx(tmp_path / "a.docx", body, footnotes=footnotes, comments=comments))
    assert document.text == "kept inserted\n\na footnote\n\nAna: a remark\n\ncontrolled\n\nboxed"


def test_word_reads_diagrams_and_descriptions_of_pictures(tmp_path: Path) -> None:
    """SmartArt, charts and descriptions of pictures stand where they are drawn; a file's name describes nothing."""
    body = (
        f"<w:p>{run('before')}<w:r><w:drawing><w:docPr descr='The fish market in 1902'/></w:drawing></w:r></w:p>"
        "<w:p><w:r><w:drawing><w:docPr descr='My scan 12 of 30.png'/></w:drawing></w:r></w:p>"
        "<w:p><w:r><w:drawing><w:docPr/><w:relIds w:dm='rdiagramData'/></w:drawing></w:r></w:p>"
        f"<w:p><w:r><w:drawing><w:chart w:id='rchart'/></w:drawing></w:r></w:p><w:p>{run('after')}</w:p>"
    )
    data = f"<w:p>{run('boss')}</w:p><w:p>{run('clerk')}</w:p>"
    chart = f"<w:p>{run('Catch')}</w:p><w:strCache><w:v>May</w:v></w:strCache>"
    document = extract(make_docx(tmp_path / "a.docx", body, diagramData=data, chart=chart))
    assert document.text == "before\n\nThe fish market in 1902\n\nboss\nclerk\n\nCatch\nMay\n\nafter"


def test_a_damaged_chart_costs_itself_alone(tmp_path: Path) -> None:
    """A part beside the text that is damaged is left out and told; the document is read."""
    body = (
        f"<w:p>{run('before')}<w:r><w:drawing><w:chart w:id='rchart'/></w:drawing></w:r></w:p><w:p>{run('after')}</w:p>"
    )
    document = extract(make_docx(tmp_path / "a.docx", body, chart="<w:p>", comments="<w:comment>"))
    assert document.text == "before\n\nafter"
    assert document.notes == ("damaged, so left out: word/chart.xml", "damaged, so left out: word/comments.xml")
    with zipfile.ZipFile(make_docx(tmp_path / "b.docx", f"<w:p>{run('kept')}</w:p>"), "a") as container:
        container.writestr("word/charts/chart1.xml", "<c/>")
        container.writestr("word/charts/_rels/chart1.xml.rels", "<Relation")
    document = extract(tmp_path / "b.docx")
    assert document.text == "kept"
    assert document.notes == ("damaged, so left out: word/charts/_rels/chart1.xml.rels",)


def test_word_reads_the_documents_that_stand_for_its_body(tmp_path: Path) -> None:
    """What a program turned into Word by putting it in whole is read where it stands; what cannot be is noted."""
    made = docx.Document()
    made.add_paragraph("before")
    cell = made.add_table(1, 2).cell(0, 0)
    relation = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/aFChunk"
    kinds = (
        ("/word/a.html", b"<h1>Bees</h1><p>Hives in May"),
        ("/word/b.txt", b"in a cell"),
        ("/word/c.pdf", bytes(range(256)) * 8),
    )
    for parent, (name, data) in zip((made.element.body, cell._tc, made.element.body), kinds, strict=True):
        part = Part(PackURI(name), "text/plain", data, made.part.package)
        chunk = OxmlElement("w:altChunk")
        chunk.set(qn("r:id"), made.part.relate_to(part, relation))
        parent.insert(1, chunk)
    made.save(str(tmp_path / "a.docx"))
    document = extract(tmp_path / "a.docx")
    assert document.text.split("\n\n") == ["before", "Bees", "Hives in May", "in a cell"]
    assert [(heading.level, heading.title) for heading in document.headings] == [(1, "Bees")]
    assert document.notes == ("text that it takes from word/c.pdf: not a PDF: the file does not start as one",)


def test_slides_are_pages_with_titles_tables_and_notes(tmp_path: Path) -> None:
    """A slide is a page under its title; grouped shapes, tables and notes belong to it."""
    made = pptx.Presentation()
    for title in ("First", "Second"):
        slide = made.slides.add_slide(made.slide_layouts[5])
        slide.shapes.title.text = title
        box = slide.shapes.add_group_shape().shapes.add_textbox(0, 0, 9, 9)
        box.text_frame.text = f"in a group of {title}"
        slide.notes_slide.notes_text_frame.text = f"say {title}"
    table = slide.shapes.add_table(1, 2, 0, 0, 9, 9).table
    table.cell(0, 0).text, table.cell(0, 1).text = "left", "right"
    picture = slide.shapes.add_picture(io.BytesIO(GIF), 0, 0)
    picture._element.nvPicPr.cNvPr.set("descr", "1902年のニシン市場")
    made.save(str(tmp_path / "a.pptx"))
    document = extract(tmp_path / "a.pptx")
    check_offsets(document)
    assert [document.text[start:].split("\n")[0] for start in document.pages] == ["First", "Second"]
    second = document.text[document.pages[1] :]
    assert "in a group of Second" in second and "left\tright" in second and "say Second" in second
    assert "1902年のニシン市場" in second
    assert document.title == "First"


def test_files_inside_an_office_document_are_noted(tmp_path: Path) -> None:
    """A presentation says how many files are embedded in it; the table behind a chart is not one of them."""
    made = pptx.Presentation()
    shapes = made.slides.add_slide(made.slide_layouts[5]).shapes
    shapes.title.text = "Catch"
    data = CategoryChartData()
    data.categories = ["May"]
    data.add_series("herring", (5,))
    shapes.add_chart(XL_CHART_TYPE.PIE, 0, 0, 9, 9, data)
    made.save(str(tmp_path / "a.pptx"))
    assert extract(tmp_path / "a.pptx").notes == ()
    shapes.add_ole_object(io.BytesIO(b"x"), PROG_ID.XLSX, 0, 0, 9, 9, icon_file=io.BytesIO(GIF))
    made.save(str(tmp_path / "a.pptx"))
    assert extract(tmp_path / "a.pptx").notes == ("embedded files are not searched: 1",)


def test_sheets_name_their_columns_in_each_row(tmp_path: Path) -> None:
    """A row says what its cells mean; dates are readable, formulas give their last value, hidden sheets count."""
    made = xlsxwriter.Workbook(str(tmp_path / "a.xlsx"))
    sheet, hidden = made.add_worksheet("Orders"), made.add_worksheet("Secret")
    sheet.write_row(0, 0, ["Customer", "Day", "Total"])
    sheet.write(1, 0, "Nguyễn")
    sheet.write(1, 1, 45000, made.add_format({"num_format": "yyyy-mm-dd"}))
    sheet.write_formula(1, 2, "=2+3", None, 5)
    sheet.write_comment(1, 0, "pays late")
    hidden.write(0, 0, "under cover")
    hidden.hide()
    made.close()
    document = extract(tmp_path / "a.xlsx")
    check_offsets(document)
    assert "Customer: Nguyễn; Day: 2023-03-15; Total: 5" in document.text
    assert "pays late" in document.text and "under cover" in document.text
    assert [h.title for h in document.headings] == ["Orders", "Secret"] and len(document.pages) == 2


def test_a_strict_workbook_is_read(tmp_path: Path) -> None:
    """What Excel saves as "Strict Open XML" reads like the same workbook in the usual edition."""
    with xlsxwriter.Workbook(str(tmp_path / "a.xlsx")) as workbook:
        sheet = workbook.add_worksheet("Hives")
        for number, row in enumerate([("hive", "kilos"), ("one", 12), ("two", 7.5)]):
            sheet.write_row(number, 0, row)
    edition = re.compile(rb"http://schemas\.openxmlformats\.org/(spreadsheetml|officeDocument)/2006/(\w+)")
    with zipfile.ZipFile(tmp_path / "a.xlsx") as loose:
        members = {
            name: edition.sub(rb"http://purl.oclc.org/ooxml/\1/\2", loose.read(name)) for name in loose.namelist()
        }
    make_zip(tmp_path / "b.xlsx", {**members})
    assert extract(tmp_path / "b.xlsx") == extract(tmp_path / "a.xlsx")
    assert "hive: two; kilos: 7.5" in extract(tmp_path / "b.xlsx").text


def test_a_workbook_in_the_xml_of_excel_2003_is_read_like_others(tmp_path: Path) -> None:
    """Sheets are pages, rows name their columns, left out cells shift nothing, and a broken file is read as XML."""
    rows = [("hive", "kilos", "since"), ("one", 12, ""), ("two", 7.5, "2024-03-01T00:00:00.000")]
    body = ""
    for row in rows:
        kinds = ["String" if isinstance(cell, str) else "Number" for cell in row]
        cells = [f'<Cell><Data ss:Type="{kind}">{cell}</Data></Cell>' for kind, cell in zip(kinds, row, strict=True)]
        body += f"<Row>{''.join(cells)}</Row>".replace('String">2024', 'DateTime">2024')
    body += (
        '<Row><Cell ss:Index="3"><Data ss:Type="Error">#N/A</Data><Comment><Data>a remark</Data></Comment></Cell></Row>'
    )
    body += '<Row><Cell/><Cell ss:Index="3"><Data ss:Type="String">May</Data></Cell></Row>'
    name = "urn:schemas-microsoft-com:office:spreadsheet"
    text = f'<?xml version="1.0"?><?mso-application progid="Excel.Sheet"?>\n<Workbook xmlns="{name}" xmlns:ss="{name}">'
    text += f'<Worksheet ss:Name="Hives"><Table>{body}</Table></Worksheet></Workbook>'
    (tmp_path / "a.xls").write_text(text)
    (tmp_path / "a.xml").write_text(text)
    document = extract(tmp_path / "a.xls")
    assert document == extract(tmp_path / "a.xml") and document.kind == "xls" and len(document.pages) == 1
    lines = ["hive | kilos | since", "hive: one; kilos: 12", "hive: two; kilos: 7.5; since: 2024-03-01"]
    assert document.text == "\n\n".join(["Hives", "\n".join([*lines, "May"]), "a remark"])
    (tmp_path / "a.xls").write_text(text.replace("May", "May & June"))
    assert "May" in extract(tmp_path / "a.xls").text


def test_an_old_workbook_keeps_its_comments() -> None:
    """The remarks on the cells of an .xls stand below its rows, in their order."""
    label = struct.pack("<HHHH3xB", 4, 13, 0, 0, 5) + b"hives"
    notes = [
        struct.pack("<HHHHH", 0x1C, 6 + len(text), row, 0, len(text)) + text for row, text in ((3, b"b"), (2, b"a"))
    ]
    stream = struct.pack("<HHHH", 9, 4, 2, 16) + label + b"".join(notes) + struct.pack("<HH", 10, 0)
    text = read_xls(Source(path=Path("a.xls"), name="a.xls", data=stream)).text
    assert text.endswith("hives\n\na\nb")


def test_durations_are_hours(tmp_path: Path) -> None:
    """Thirty hours are neither a day of the year 1900 nor a day and a time; a time of day and a date stay such."""
    with xlsxwriter.Workbook(str(tmp_path / "a.xlsx")) as workbook:
        shown = workbook.add_format({"num_format": "[h]:mm"})
        workbook.add_worksheet("Shifts").write(0, 0, datetime.timedelta(hours=30, seconds=5), shown)
    assert extract(tmp_path / "a.xlsx").text == "Shifts\n\n30:00:05"
    assert [_convert_date(value, 0) for value in (1.25, 0.25, 45_000.0)] == [
        "30:00",
        datetime.time(6),
        datetime.datetime(2023, 3, 15),
    ]


def test_percentages_read_as_they_are_shown(tmp_path: Path) -> None:
    """A share is found as 25%; a percent sign that a format only puts behind a number makes no hundredths of it."""
    with xlsxwriter.Workbook(str(tmp_path / "a.xlsx")) as workbook:
        sheet = workbook.add_worksheet("Shares")
        sheet.write_row(0, 0, ["owner", "share"])
        for row, (value, code) in enumerate([(0.25, "0%"), (0.07, '0.0 %;"-"'), (12.5, '0.0"%"'), (3, "0")], start=1):
            sheet.write(row, 0, f"Ada {row}")
            sheet.write(row, 1, value, workbook.add_format({"num_format": code}))
    assert extract(tmp_path / "a.xlsx").text.split("\n")[3:] == [
        "owner: Ada 1; share: 25%",
        "owner: Ada 2; share: 7%",
        "owner: Ada 3; share: 12.5",
        "owner: Ada 4; share: 3",
    ]


def test_a_workbook_says_what_is_drawn_on_its_sheets(tmp_path: Path) -> None:
    """Text boxes, titles of charts and descriptions of pictures stand below the rows of their sheet."""
    with xlsxwriter.Workbook(str(tmp_path / "a.xlsx")) as workbook:
        sheet = workbook.add_worksheet("Catch")
        sheet.write_row(0, 0, ["May", 5])
        chart = workbook.add_chart({"type": "column"})
        chart.add_series({"values": "=Catch!$B$1:$B$1", "categories": "=Catch!$A$1:$A$1"})
        chart.set_title({"name": "Herring by month"})
        sheet.insert_chart("D2", chart, {"description": "Columns of the catch"})
        sheet.insert_textbox("D20", "counted at the pier")
    assert extract(tmp_path / "a.xlsx").text.split("\n\n")[2].split("\n") == [
        "counted at the pier",
        "Columns of the catch",
        "Herring by month",
    ]


def test_a_form_is_not_taken_for_a_table(tmp_path: Path) -> None:
    """Two columns of words are names and values, and keep standing side by side."""
    made = openpyxl.Workbook()
    made.active.append(["Name", "Anna"])
    made.active.append(["City", "Rome"])
    made.save(tmp_path / "a.xlsx")
    assert "Name | Anna\nCity | Rome" in extract(tmp_path / "a.xlsx").text


def test_opendocument_text_has_levels_notes_and_title(tmp_path: Path) -> None:
    """An .odt gives headings, lists, tables and footnotes in order; tracked deletions are left out."""
    body = (
        "<office:text><text:tracked-changes><text:p>deleted</text:p></text:tracked-changes>"
        '<text:h text:outline-level="2">Kapitel<text:s/>Zwei</text:h>'
        "<text:p>Satz<text:note><text:note-citation>1</text:note-citation><text:note-body><text:p>Fußnote</text:p>"
        "</text:note-body></text:note>.</text:p>"
        "<text:list><text:list-item><text:p>eins</text:p></text:list-item></text:list>"
        "<table:table><table:table-row><table:table-cell><text:p>a</text:p></table:table-cell>"
        "<table:table-cell><text:p>b</text:p></table:table-cell></table:table-row></table:table></office:text>"
    )
    document = extract(make_odf(tmp_path / "a.odt", "text", body, "Mein Werk"))
    check_offsets(document)
    assert document.text == "Kapitel Zwei\n\nSatz.\n\nFußnote\n\neins\n\na\tb"
    assert document.headings[0].level == 2 and document.title == "Mein Werk" and document.kind == "odt"


def test_opendocument_sheets_and_slides_are_pages(tmp_path: Path) -> None:
    """Sheets and slides are pages with their names and titles as headings."""
    cell = '<table:table-cell office:value-type="float" office:value="7"><text:p>7,0</text:p></table:table-cell>'
    sheet = f'<table:table table:name="Mai"><table:table-row>{cell}</table:table-row></table:table>'
    document = extract(make_odf(tmp_path / "a.ods", "spreadsheet", f"<office:spreadsheet>{sheet}</office:spreadsheet>"))
    assert (document.text, document.pages, document.kind) == ("Mai\n\n7", (0,), "ods")
    slide = (
        '<draw:page><draw:frame presentation:class="title"><draw:text-box><text:p>Los</text:p></draw:text-box>'
        "</draw:frame><draw:frame><draw:text-box><text:p>Punkt</text:p></draw:text-box></draw:frame></draw:page>"
    )
    body = f"<office:presentation>{slide * 2}</office:presentation>"
    document = extract(make_odf(tmp_path / "a.odp", "presentation", body))
    assert len(document.pages) == 2 and [h.title for h in document.headings] == ["Los", "Los"]
    check_offsets(document)


def make_epub(path: Path, **extra: str) -> Path:
    members: dict[str, str | bytes] = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": '<container><rootfiles><rootfile full-path="o/b.opf"/></rootfiles></container>',
        "o/b.opf": '<package xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata><dc:title>The Hive</dc:title>'
        "<dc:creator>A. Keeper</dc:creator></metadata><manifest>"
        '<item id="one" href="one.xhtml" media-type="application/xhtml+xml"/>'
        '<item id="two" href="two.xhtml" media-type="application/xhtml+xml"/>'
        '<item id="toc" href="toc.ncx" media-type="application/x-dtbncx+xml"/></manifest>'
        '<spine><itemref idref="two"/><itemref idref="one"/></spine></package>',
        "o/one.xhtml": "<html><head><title/></head><body><p>last words</p></body></html>",
        "o/two.xhtml": "<html><body><h2>Beginning</h2><p>first words</p></body></html>",
        "o/toc.ncx": "<ncx><navPoint><navLabel><text>The End</text></navLabel>"
        '<content src="one.xhtml"/></navPoint></ncx>',
    }
    return make_zip(path, {**members, **extra})


def test_book_follows_its_spine_with_titles_from_the_contents(tmp_path: Path) -> None:
    """Chapters come in reading order; one without a heading takes its title from the table of contents."""
    document = extract(make_epub(tmp_path / "a.epub"))
    check_offsets(document)
    assert document.title == "The Hive" and "A. Keeper" in document.text
    assert [h.title for h in document.headings] == ["Beginning", "The End"]
    assert document.text.index("first words") < document.text.index("last words")


def test_names_of_styles_hide_nothing_in_a_book(tmp_path: Path) -> None:
    """What a web page calls its menu is a style in a book, and its contents page is one that people read."""
    page = '<html><body><p class="toc"><a href="two.xhtml">Of drones</a></p><p id="menu">Honey cake</p></body></html>'
    text = extract(make_epub(tmp_path / "a.epub", **{"o/one.xhtml": page})).text
    assert "Of drones" in text and "Honey cake" in text


def test_a_damaged_chapter_does_not_cost_the_book(tmp_path: Path) -> None:
    """A chapter whose bytes do not agree with their checksum is counted in a note; the others are read."""
    page = f"<html><body><p>{'last words ' * 40}</p></body></html>"
    path = make_epub(tmp_path / "a.epub", **{"o/one.xhtml": page})
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo("o/one.xhtml")
    data = bytearray(path.read_bytes())
    start = member.header_offset + 30 + len(member.filename)
    data[start + 20 : start + 24] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    document = extract(path)
    assert "first words" in document.text
    assert any("1 of 2 chapters" in note for note in document.notes)


def test_protected_book_says_so(tmp_path: Path) -> None:
    """A book whose chapters are encrypted is refused with the reason; scrambled fonts do not matter."""
    data = (
        '<e><EncryptedData><EncryptionMethod Algorithm="{}"/><CipherData><CipherReference URI="o/one.xhtml"/>'
        "</CipherData></EncryptedData></e>"
    )
    locked = {"META-INF/encryption.xml": data.format("http://www.w3.org/2001/04/xmlenc#aes128-cbc")}
    with pytest.raises(ExtractionError, match="encrypted: protected by DRM"):
        extract(make_epub(tmp_path / "a.epub", **locked))
    fonts = {"META-INF/encryption.xml": data.format("http://www.idpf.org/2008/embedding")}
    assert "last words" in extract(make_epub(tmp_path / "b.epub", **fonts)).text


@pytest.mark.parametrize(
    ("rtf", "expected"),
    [
        (rb"{\rtf1\ansi\ansicpg1250 za\'bf\'f3\'b3\'e6}", "zażółć"),
        (rb"{\rtf1\ansi\ansicpg932{\fonttbl{\f0\fcharset128 MS;}}\f0 \'93\'fa\'96\'7b\par caf\'e9}", "日本"),
        ("{\\rtf1\\ansi\\ansicpg1252 f\xfcr}".encode("latin-1"), "für"),
    ],
)
def test_rtf_code_pages(tmp_path: Path, rtf: bytes, expected: str) -> None:
    """Letters come out right in the code page that the file or its font names, raw bytes too."""
    (tmp_path / "a.rtf").write_bytes(rtf)
    assert expected in extract(tmp_path / "a.rtf").text


def test_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    """A document that unpacks out of all proportion is refused by its directory alone."""
    path = make_zip(tmp_path / "a.docx", {"[Content_Types].xml": "", "word/document.xml": b" " * 60_000_000})
    with pytest.raises(ExtractionError, match="zip bomb"):
        extract(path)


def test_what_really_unpacks_is_counted(tmp_path: Path) -> None:
    """Reading the same member again and again counts as often as it is read."""
    path = make_zip(tmp_path / "a.zip", {"a.xml": b"x" * 600})
    with open_archive(Source(path=path, name="a.zip"), limit=1_000) as archive:
        archive.read("a.xml")
        with pytest.raises(ExtractionError, match="zip bomb"):
            archive.read("a.xml")


def test_films_in_a_presentation_do_not_count(tmp_path: Path) -> None:
    """Pictures and films that nobody opens do not make a document a bomb; text under their name does."""
    with zipfile.ZipFile(tmp_path / "a.pptx", "w", zipfile.ZIP_STORED) as container:
        container.writestr("ppt/media/film.mp4", bytes(5_000))
    with open_archive(Source(path=tmp_path / "a.pptx", name="a.pptx"), limit=1_000) as archive:
        assert archive.names() == ["ppt/media/film.mp4"]
    path = make_zip(tmp_path / "b.pptx", {"ppt/media/film.mp4": bytes(5_000)})
    with pytest.raises(ExtractionError, match="zip bomb"), open_archive(Source(path=path, name="b.pptx"), limit=1_000):
        pass


@pytest.mark.parametrize("name", ["../outside.xml", "/etc/passwd", "word/../../x", "..\\x", "C:\\x"])
def test_members_that_point_outside_are_refused(tmp_path: Path, name: str) -> None:
    """A member with an absolute name or with ".." in it makes the whole document suspect."""
    path = make_zip(tmp_path / "a.docx", {"[Content_Types].xml": "", "word/document.xml": "<a/>", name: "x"})
    with pytest.raises(ExtractionError, match="points outside"):
        extract(path)


@pytest.mark.parametrize("suffix", ["docx", "xlsx", "odt"])
def test_a_directory_that_points_before_the_file_is_damage(tmp_path: Path, suffix: str) -> None:
    """A false offset is the document's fault, and the reason does not blame the disk."""
    members: dict[str, str | bytes] = {"[Content_Types].xml": "<Types/>", "word/a.xml": "<a/>"}
    members |= {"xl/a.xml": "<a/>"} if suffix == "xlsx" else {}
    path = make_zip(tmp_path / f"a.{suffix}", {"mimetype": "application/vnd.oasis"} if suffix == "odt" else members)
    data = bytearray(path.read_bytes())
    data[-6:-2] = (int.from_bytes(data[-6:-2], "little") + 5_000).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(ExtractionError, match=r"^damaged"):
        extract(path)


def test_entities_are_never_expanded(tmp_path: Path) -> None:
    """A part that declares entities is refused, so that none can expand or read a file."""
    body = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>'
    path = make_zip(tmp_path / "a.docx", {"[Content_Types].xml": "", "word/document.xml": body})
    with pytest.raises(ExtractionError, match="declares XML entities"):
        extract(path)


@pytest.mark.parametrize("suffix", ["docx", "xlsx", "pptx", "odt", "epub"])
def test_cut_off_documents_give_a_reason(tmp_path: Path, suffix: str) -> None:
    """The first half of a document is refused with a sentence and not with a traceback."""
    stream = io.BytesIO()
    docx.Document().save(stream)
    (tmp_path / f"a.{suffix}").write_bytes(stream.getvalue()[: len(stream.getvalue()) // 2])
    with pytest.raises(ExtractionError, match="cut off or broken"):
        extract(tmp_path / f"a.{suffix}")
