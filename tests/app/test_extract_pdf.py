from pathlib import Path

import pypdf
import pytest
from pypdf.generic import (
    ArrayObject,
    DecodedStreamObject,
    DictionaryObject,
    NameObject,
    NumberObject,
    TextStringObject,
)

from drama_app.errors import ExtractionError
from drama_app.extract import extract
from drama_app.extract.pdf import is_glyph_names
from drama_app.extract.reflow import drop_running, reflow, split_page
from drama_app.extract.titles import choose_title


def make_writer(pages: list[list[str]]) -> pypdf.PdfWriter:
    """Return a writer with a page a list of lines; an empty list makes a page that only shows a picture."""
    writer = pypdf.PdfWriter()
    font = {"/Type": NameObject("/Font"), "/Subtype": NameObject("/Type1"), "/BaseFont": NameObject("/Helvetica")}
    for lines in pages:
        page = writer.add_blank_page(595, 842)
        fonts = DictionaryObject({NameObject("/F1"): DictionaryObject({NameObject(k): v for k, v in font.items()})})
        resources = DictionaryObject({NameObject("/Font"): fonts})
        if not lines:
            resources[NameObject("/XObject")] = DictionaryObject()
        page[NameObject("/Resources")] = resources
        shown = " T* ".join(f"({line}) Tj" for line in lines)
        stream = DecodedStreamObject()
        stream.set_data(f"BT /F1 11 Tf 14 TL 50 800 Td {shown} ET".encode("latin-1"))
        page[NameObject("/Contents")] = writer._add_object(stream)
    return writer


def test_pages_headings_and_title(tmp_path: Path) -> None:
    """Pages have their offsets, bookmarks are headings where their title stands, and the metadata title counts."""
    writer = make_writer([["Introduction", "All begins here."], ["2.1 Methods", "We measured."]])
    parent = writer.add_outline_item(title="Introduction", page_number=0)
    writer.add_outline_item(title="Methods", page_number=1, parent=parent)
    writer.add_outline_item(title="Not on the page", page_number=1)
    writer.add_metadata({"/Title": "A Study of Hives"})
    writer.write(tmp_path / "a.pdf")
    document = extract(tmp_path / "a.pdf")
    assert document.title == "A Study of Hives"
    assert document.text[document.pages[1] :].startswith("2.1 Methods")
    assert [(h.level, h.title) for h in document.headings] == [
        (1, "Introduction"),
        (2, "2.1 Methods"),
        (1, "Not on the page"),
    ]
    for heading in document.headings:
        assert document.text[heading.start :].startswith(heading.title)
    assert document.text.count("Methods") == 1


def test_encrypted_without_password_is_read_and_with_one_refused(tmp_path: Path) -> None:
    """An owner's password alone locks nobody out; a user's password is named as the reason."""
    writer = make_writer([["minutes of the meeting"]])
    writer.encrypt("", "owner", algorithm="AES-256")
    writer.write(tmp_path / "open.pdf")
    assert extract(tmp_path / "open.pdf").text == "minutes of the meeting"
    writer = make_writer([["secret"]])
    writer.encrypt("user", algorithm="RC4-128")
    writer.write(tmp_path / "closed.pdf")
    with pytest.raises(ExtractionError, match="encrypted: needs a password"):
        extract(tmp_path / "closed.pdf")


def test_scanned_pages_are_named(tmp_path: Path) -> None:
    """A PDF of pictures says that it is one; a few pictures among pages of text become a note."""
    make_writer([[], []]).write(tmp_path / "all.pdf")
    with pytest.raises(ExtractionError, match=r"scanned: no text layer \(2 pages\)"):
        extract(tmp_path / "all.pdf")
    make_writer([["words"], [], ["more words"]]).write(tmp_path / "some.pdf")
    document = extract(tmp_path / "some.pdf")
    assert document.notes == ("1 of 3 pages is scanned: no text layer",)
    assert len(document.pages) == 3


def test_comments_and_form_fields_are_text(tmp_path: Path) -> None:
    """What people wrote into a PDF is searchable: comments and filled-in fields."""
    writer = make_writer([["printed"]])

    def annotate(**entries: str) -> DictionaryObject:
        rectangle = ArrayObject([NumberObject(0)] * 4)
        made = DictionaryObject({NameObject("/Type"): NameObject("/Annot"), NameObject("/Rect"): rectangle})
        for key, value in entries.items():
            named = key in ("Subtype", "FT")
            made[NameObject("/" + key)] = NameObject(value) if named else TextStringObject(value)
        return made

    field = annotate(Subtype="/Widget", FT="/Tx", T="City", V="Porto")
    writer.pages[0][NameObject("/Annots")] = ArrayObject([annotate(Subtype="/Text", Contents="check this"), field])
    writer.write(tmp_path / "a.pdf")
    assert extract(tmp_path / "a.pdf").text == "printed\n\ncheck this\nCity: Porto"


def test_embedded_files_are_read_and_depth_is_limited(tmp_path: Path) -> None:
    """A file inside a PDF is text under a heading; a PDF in a PDF in a PDF in a PDF in a PDF is not followed."""
    data = b""
    for depth in range(6):
        writer = make_writer([[f"level {depth}"]])
        if data:
            writer.add_attachment("inner.pdf", data)
        writer.write(tmp_path / "a.pdf")
        data = (tmp_path / "a.pdf").read_bytes()
    document = extract(tmp_path / "a.pdf")
    assert "level 5" in document.text and "level 2" in document.text
    assert "level 1" not in document.text
    assert document.headings[0].title == "Attachment: inner.pdf"
    assert any("nested more than 3 deep" in note for note in document.notes)


@pytest.mark.parametrize("data", [b"%PDF-1.7\nnothing of the kind", b"%PDF-1.4\n" + bytes(range(256)) * 9])
def test_broken_files_give_a_reason(tmp_path: Path, data: bytes) -> None:
    """What cannot be read is refused with a sentence."""
    (tmp_path / "a.pdf").write_bytes(data)
    with pytest.raises(ExtractionError, match="damaged"):
        extract(tmp_path / "a.pdf")


def test_wrapped_lines_become_paragraphs() -> None:
    """Lines are joined, hyphens at their ends go, compounds keep theirs, list items stay on lines of their own."""
    lines = [
        "The word processor of those days was a large and costly ma-",
        "chine. It had one purpose and was found in offices of the North-",
        "American government only, where it stood for many long years.",
        "",
        "\u2022 first item",
        "\u2022 second item",
    ]
    assert reflow(lines) == [
        "The word processor of those days was a large and costly machine. It had one purpose and was found in offices "
        "of the North-American government only, where it stood for many long years.",
        "\u2022 first item\n\u2022 second item",
    ]


def test_page_numbers_may_skip_blank_pages() -> None:
    """Where a file leaves blank pages out, its numbers run ahead of its pages and are still page numbers."""
    numbers = [1, 2, 3, 4, 7, 8, 9, 10, 13, 14, 15, 16]
    pages = [[f"print.qxd Page {number}", f"Text {chr(64 + number)}"] for number in numbers]
    assert sum(map(len, drop_running(pages))) == 13


def test_words_with_hyphens_keep_the_one_at_the_end_of_a_line() -> None:
    """A word that has a hyphen already was broken at another of its own; soft hyphens always go."""
    lines = [
        "What we have come to know by now is a system of the state-of-the-",
        "art kind, and it was reached by a peer\u2010to\u2010",
        "peer approach that others have taken in their left-hand doc\u00ad",
        "uments as well.",
    ]
    text = reflow(lines)[0]
    assert "state-of-the-art kind" in text and "peer\u2010to\u2010peer" in text and "left-hand documents" in text


def test_lines_of_scripts_without_spaces_are_joined_without() -> None:
    """Chinese lines join without a space; Korean ones do where the page marks word ends by spaces."""
    chinese = "中文维基百科是维基百科协作计划的中文版本自二零零二年"
    assert reflow([chinese, "十月二十四日正式成立"]) == [chinese + "十月二十四日正式成立"]
    korean = [
        "감염병의 예방 및 관리에 관한 법률 개정에 의하",
        "면 제일급감염병이란 생물테러감염병을 말한다고 ",
        "하였다",
    ]
    assert reflow(korean)[0].startswith("감염병의 예방 및 관리에 관한 법률 개정에 의하면 제일급")


def test_letters_of_old_fonts_are_repaired() -> None:
    """Ligatures, Arabic presentation forms, loose accents and glyph names become what they stand for."""
    assert split_page("e\ufb03cient \ufee3\ufeae M\u00a8oglich")[0] == "efficient مر Möglich"
    assert split_page("Overview/g3of/g3the/g3Model/g18/g152/g3for/g3all")[0] == "Overview of the Model for all"


@pytest.mark.parametrize(
    "header",
    ["Annual Report | {}", "{} Annual Report", "Annual Report, page {} of 6", "Seite {}", "第 {} 页", "- {} -"],
)
def test_running_headers_stand_once(header: str) -> None:
    """A header on most pages stays where it first stands, whatever the page number, and no page loses its text."""
    pages = [[header.format(number), f"Text of page {chr(64 + number)}"] for number in range(1, 7)]
    kept = drop_running(pages)
    assert kept[0] == [header.format(1), "Text of page A"]
    assert kept[5] == ["Text of page F"]


@pytest.mark.parametrize(
    "lines",
    [
        ["Invoice No. 2024-00{0}", "Date: {0}.03.2024", "Subtotal {0},50 EUR", "Total: {0}99,90 EUR"],
        ["Lesson {0}", "Chapter {0}: Verbs", "第{0}章", "Berliner Str. {0}"],
        ["{0} 1904 11612", "({0})", "{0}.", "{0}%"],
    ],
)
def test_lines_that_count_up_with_the_pages_are_kept(lines: list[str]) -> None:
    """Numbers of invoices, lessons and rows are text, on whichever page they stand."""
    pages = [[line.format(number) for line in lines] for number in range(17, 23)]
    assert drop_running(pages) == pages


def test_equal_pages_and_values_equal_to_the_page_number_are_kept() -> None:
    """No page becomes empty because all are alike, and a value is no page number because it looks like one."""
    alike = [["hello"] for _ in range(5)]
    assert drop_running(alike) == alike
    pages = [[f"Exits of house {chr(65 + number)}", str(number), str(number)] for number in range(1, 7)]
    assert [page[1:] for page in drop_running(pages)] == [["1", "1"], ["2"], ["3"], ["4"], ["5"], ["6"]]


def test_a_header_that_names_the_chapter_stands_once_a_chapter() -> None:
    """A header goes only where all that it says but the page's number stood before."""
    pages = [[f"{number} Chapter {number // 6}", f"Text {chr(64 + number)}"] for number in range(1, 13)]
    kept = [page[0] for page in drop_running(pages) if len(page) == 2]
    assert kept == ["1 Chapter 0", "6 Chapter 1", "12 Chapter 2"]


@pytest.mark.parametrize("left", ["Microsoft Word - offer.doc", "untitled", "scan0001.pdf", "(anonymous)", "1", ""])
def test_titles_left_by_programs_are_ignored(left: str) -> None:
    """A title that a program left behind is none, and the next candidate counts."""
    assert choose_title(left, "Über Bienen") == "Über Bienen"


def test_glyph_names_are_no_text() -> None:
    """A page that gives names of glyphs in place of letters is told from one that merely mentions a path."""
    assert is_glyph_names("/g18/g152/g135/g148/g152/g139 /g135/g153/g3/g145")
    assert not is_glyph_names("The file /g1/g2/g3/g4 lies in a folder with ordinary words around it.")
    assert not is_glyph_names("")
