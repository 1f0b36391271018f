"""OpenDocument: what hangs on a page, a sheet or a paragraph; drawings."""

import io
import zipfile
from pathlib import Path

import pytest

from drama_app.errors import ExtractionError
from drama_app.extract import Source, extract_source
from drama_app.records import Document

SPACES = " ".join(
    f'xmlns:{prefix}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
    for prefix, name in [
        *((name, name) for name in ("office", "text", "table", "style", "chart")),
        ("draw", "drawing"),
        ("svg", "svg-compatible"),
    ]
)
PICTURE = (
    "<draw:frame><draw:image/><svg:title>pic1.png</svg:title><svg:desc>The fish market in {}</svg:desc></draw:frame>"
)


def read(medium: str, body: str, margins: str = "", **parts: str) -> Document:
    """Extract an OpenDocument file with this body, these margins of its pages, and other parts as they are."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as container:
        container.writestr("mimetype", f"application/vnd.oasis.opendocument.{medium}")
        container.writestr("content.xml", f"<office:c {SPACES}><office:body>{body}</office:body></office:c>")
        parts.setdefault("styles", f"<office:s {SPACES}>{margins}</office:s>")
        for name, text in parts.items():
            container.writestr(f"{name}.xml", text)
    return extract_source(Source(path=Path("a"), name="a", data=stream.getvalue()))


def test_shapes_do_not_run_into_the_paragraph_that_they_hang_on() -> None:
    """The words in any shape are paragraphs of their own behind the one that holds it."""
    shapes = "".join(
        f"<draw:{name}><text:p>in a {name}</text:p></draw:{name}>" for name in ("ellipse", "line", "g", "custom-shape")
    )
    text = read("text", f"<office:text><text:p>before{shapes} after</text:p></office:text>").text
    assert text == "before after\n\nin a ellipse\n\nin a line\n\nin a g\n\nin a custom-shape"


def test_margins_of_left_pages_are_read() -> None:
    """Headers and footers of left pages are text as those of right ones are."""
    margins = "".join(
        f"<style:{name}><text:p>{words}</text:p></style:{name}>"
        for name, words in (("header", "right"), ("header-left", "left"), ("footer-left", "below"), ("footer", "right"))
    )
    assert read("text", "<office:text><text:p>x</text:p></office:text>", margins).text == "x\n\nright\n\nleft\n\nbelow"


def test_text_boxes_on_a_sheet_are_read() -> None:
    """A box on a sheet follows its rows; a table inside it adds none to them."""
    cell = "<table:table-row><table:table-cell><text:p>{}</text:p></table:table-cell></table:table-row>"
    inner = f"<draw:frame><table:table>{cell.format('data')}</table:table></draw:frame>"
    document = read(
        "spreadsheet",
        f'<office:spreadsheet><table:table table:name="May"><table:shapes>{inner}<draw:frame><draw:text-box>'
        f"<text:p>boxed</text:p></draw:text-box></draw:frame></table:shapes>{cell.format('row')}</table:table>"
        "</office:spreadsheet>",
    )
    assert document.text == "May\n\nrow\n\ndata\n\nboxed"


def test_drawings_are_read_page_by_page() -> None:
    """A drawing gives the words of its shapes; a formula is refused with what to do about it."""
    page = "<draw:page><draw:g><draw:rect><text:p>a box</text:p></draw:rect></draw:g></draw:page>"
    document = read("graphics", f"<office:drawing>{page}{page}</office:drawing>")
    assert (document.text, len(document.pages)) == ("a box\n\na box", 2)
    with pytest.raises(ExtractionError, match="export as PDF"):
        read("formula", "")


def test_flat_files_read_as_packed_ones() -> None:
    """A document in one piece has headings, notes and margins; settings, deletions and pictures are left out."""
    xml = (
        f'<office:document {SPACES} xmlns:dc="http://purl.org/dc/elements/1.1/"><office:meta>'
        "<dc:title>My work</dc:title></office:meta><office:settings><config-item>true</config-item></office:settings>"
        "<office:master-styles><style:header><text:p>margin</text:p></style:header></office:master-styles><office:body><office:text>"
        "<text:tracked-changes><text:p>deleted</text:p></text:tracked-changes><text:h>Part</text:h><text:p>wo<text:note>"
        "<text:note-body><text:p>a note</text:p></text:note-body></text:note>rd<draw:frame><draw:image>"
        "<office:binary-data>iVBORw0K</office:binary-data></draw:image></draw:frame></text:p></office:text></office:body>"
        "</office:document>"
    )
    document = extract_source(Source(path=Path("a.fodt"), name="a.fodt", data=xml.encode()))
    assert document.text == "Part\n\nword\n\na note\n\nmargin"
    assert (document.kind, document.title, document.headings[0].title) == ("odt", "My work", "Part")


def test_deletions_that_stand_in_the_text_are_left_out() -> None:
    """Text between the marks of a tracked deletion is none, over paragraphs too; insertions are text."""
    regions = "".join(
        f'<text:changed-region text:id="{change}"><text:{kind}/></text:changed-region>'
        for change, kind in (("a", "deletion"), ("b", "insertion"), ("c", "deletion"))
    )
    start, end = '<text:change-start text:change-id="{0}"/>', '<text:change-end text:change-id="{0}"/>'
    text = read(
        "text",
        f"<office:text><text:tracked-changes>{regions}</text:tracked-changes><text:p>kept {start}old"
        f"<text:span>gone</text:span></text:p><text:p>gone</text:p><text:p>gone{end} more ".format("a")
        + f"{start}new{end}</text:p><text:p>".format("b")
        + f"{start}never closed</text:p></office:text>".format("c"),
    ).text
    assert text == "kept\n\nmore new\n\nnever closed"


def test_a_deletion_that_ends_before_it_starts_takes_nothing() -> None:
    """Marks in the wrong order lose no text."""
    region = '<text:changed-region text:id="a"><text:deletion/></text:changed-region>'
    text = read(
        "text",
        f"<office:text><text:tracked-changes>{region}</text:tracked-changes><text:p>Hello "
        '<text:change-end text:change-id="a"/>w<text:change-start text:change-id="a"/>orld</text:p>'
        "<text:p>that stays</text:p></office:text>",
    ).text
    assert text == "Hello world\n\nthat stays"


def test_a_comment_in_a_table_stands_below_it() -> None:
    """A remark on a cell of a table in a text is no part of the cell and is not lost."""
    points = "<text:list><text:list-item><text:p>in June</text:p></text:list-item></text:list>"
    remark = f"<office:annotation><text:p>ask Ada</text:p>{points}</office:annotation>"
    cells = "".join(
        f"<table:table-cell><text:p>{words}</text:p></table:table-cell>" for words in (f"May{remark}", "12 kilos")
    )
    table = f"<table:table><table:table-row>{cells}</table:table-row></table:table>"
    text = read("text", f"<office:text>{table}<text:p>after</text:p></office:text>").text
    assert text == "May\t12 kilos\n\nask Ada\nin June\n\nafter"


def test_a_group_keeps_the_words_beside_its_table() -> None:
    """A text box that is grouped with a table is read, and what stands in the table is read once."""
    cells = "".join(f"<table:table-cell><text:p>{words}</text:p></table:table-cell>" for words in ("May", "12"))
    table = f"<draw:frame><table:table><table:table-row>{cells}</table:table-row></table:table></draw:frame>"
    box = "<draw:frame><draw:text-box><text:p>counted at the pier</text:p></draw:text-box></draw:frame>"
    page = f"<draw:page><draw:g>{table}{box}</draw:g></draw:page>"
    document = read("presentation", f"<office:presentation>{page}</office:presentation>")
    assert document.text == "counted at the pier\n\nMay\t12"


def test_damaged_styles_and_properties_cost_themselves_alone() -> None:
    """A part beside the text that is damaged or empty is left out and told; the document is read."""
    parts = {"styles": "", "meta": "<office:meta", "META-INF/manifest": "<manifest>"}
    document = read("text", "<office:text><text:p>kept</text:p></office:text>", **parts)
    assert document.text == "kept"
    assert document.notes == tuple(
        f"damaged, so left out: {name}.xml" for name in ("META-INF/manifest", "styles", "meta")
    )
    cell = "<table:table-row><table:table-cell><text:p>row</text:p></table:table-cell></table:table-row>"
    sheet = f'<office:spreadsheet><table:table table:name="May">{cell}</table:table></office:spreadsheet>'
    document = read("spreadsheet", sheet, meta="<")
    assert document.text == "May\n\nrow" and document.notes == ("damaged, so left out: meta.xml",)


def test_descriptions_of_pictures_are_read() -> None:
    """What a picture shows is text in a paragraph and in a table; the name of its file describes nothing."""
    cells = "".join(
        f"<table:table-cell><text:p>{words}</text:p></table:table-cell>" for words in ("a", "b" + PICTURE.format(1903))
    )
    table = f"<table:table><table:table-row>{cells}</table:table-row></table:table>"
    body = f"<text:p>before{PICTURE.format(1902)} and after</text:p>{table}"
    assert read("text", f"<office:text>{body}</office:text>").text.split("\n\n") == [
        "before and after",
        "The fish market in 1902",
        "a\tb",
        "The fish market in 1903",
    ]


def test_descriptions_on_slides_and_sheets_are_read_once() -> None:
    """A picture on a slide, on a sheet or in a cell of one is described once; the title of a chart stays text."""
    chart = "<draw:object><chart:title><text:p>Catch by month</text:p></chart:title></draw:object>"
    page = f"<draw:page>{PICTURE.format(1902)}<draw:frame>{chart}</draw:frame></draw:page>"
    document = read("presentation", f"<office:presentation>{page}</office:presentation>")
    assert document.text == "The fish market in 1902\n\nCatch by month"
    cell = f"<table:table-cell><text:p>row</text:p>{PICTURE.format(1903)}</table:table-cell>"
    document = read(
        "spreadsheet",
        f'<office:spreadsheet><table:table table:name="May"><table:shapes>{PICTURE.format(1902)}</table:shapes>'
        f"<table:table-row>{cell}</table:table-row></table:table></office:spreadsheet>",
    )
    assert document.text == "May\n\nrow\n\nThe fish market in 1902\n\nThe fish market in 1903"
