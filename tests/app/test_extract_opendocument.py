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
    for prefix, name in [*((name, name) for name in ("office", "text", "table", "style")), ("draw", "drawing")]
)


def read(medium: str, body: str, styles: str = "") -> Document:
    """Extract an OpenDocument file with this body and these styles."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as container:
        container.writestr("mimetype", f"application/vnd.oasis.opendocument.{medium}")
        container.writestr("content.xml", f"<office:c {SPACES}><office:body>{body}</office:body></office:c>")
        container.writestr("styles.xml", f"<office:s {SPACES}>{styles}</office:s>")
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
