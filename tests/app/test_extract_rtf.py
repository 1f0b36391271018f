"""RTF: what stands aside from the body, what was deleted, fonts and pictures in binary."""

from pathlib import Path

import pytest

from drama_app.extract import Source, extract_source


def read(rtf: bytes) -> str:
    """Return the text of an RTF document with this inside."""
    data = rb"{\rtf1\ansi\ansicpg1252" + rtf + b"}"
    return extract_source(Source(path=Path("a.rtf"), name="a.rtf", data=data)).text


def test_notes_comments_margins_and_text_boxes_follow_the_body() -> None:
    """What stands aside from the body is text too, each once, in the letters of its font."""
    text = read(
        rb"{\fonttbl{\f0 Arial;}{\f1\fcharset204 Arial;}}{\header Head\par}{\footer\pard 12\par}"
        rb"\pard\f1 Body{\super\chftn{\footnote\pard {\chftn} A note \'e4\'e0\}.}} goes{\*\atnauthor Ada}\chatn"
        rb"{\*\annotation{\*\atnref 1}A remark} on.\par"
        rb"{\shp{\*\shpinst{\sp{\sn x}{\sv 1}}{\shptxt Boxed{\footnote inner}\par}}"
        rb"{\shprslt{\*\do\dptxbx{\dptxbxtext Boxed\par}}}}"
        rb"{\shp{\*\shpinst{\sp{\sn gtextUNICODE}{\sv Curved}}}}Last."
    )
    assert text == "Body goes on.\nLast.\n\nHead\n\nA note да}.\n\nA remark\n\ninner\n\nBoxed\n\nCurved"


def test_deleted_text_is_left_out() -> None:
    """Tracked deletions are no text; what was put in their place is, and a group ends what it began."""
    assert (
        read(
            rb"We meet {\deleted\revauthdel1 on Monday\'2e\tab\u1076 ?}{\revised on Friday} at "
            rb"\deleted eight\deleted0 nine. {\deleted {gone}\plain kept}"
        )
        == "We meet on Friday at nine. kept"
    )


@pytest.mark.parametrize(
    ("fonts", "expected"),
    [
        (rb"{\f0 Arial;}{\f1\fcharset204 Arial;}", "für да"),
        (rb"\f0\fswiss Arial;\f1\fcharset204 Arial;", "für да"),
        (rb"{\f0\fcharset204 Arial;}{\f1{\*\panose 02}\fcharset204 A;}", "fьr да"),
    ],
)
def test_a_font_without_a_character_set_takes_that_of_no_other(fonts: bytes, expected: str) -> None:
    """Letters are those of the font that they are set in, whichever fonts stand before it."""
    assert read(rb"{\fonttbl" + fonts + rb"}\f0 f\'fcr \f1 \'e4\'e0") == expected


def test_pictures_in_binary_disturb_nothing() -> None:
    """Bytes of a picture close no group and are no text."""
    picture = b"{\\pict\\wmetafile8\\bin9 }}{\\\xff\x80}ab}"
    assert read(rb"before " + picture + rb"{\footnote note} and after C:\\bin4 files") == (
        "before  and after C:\\bin4 files\n\nnote"
    )
    assert "words" in read(rb"\bin999999 words")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("part", [rb"{\footnote a", rb"{\fonttbl\f1", rb"{    ", rb"\bin1", rb"}", rb"{\deleted"])
def test_hostile_rtf_costs_no_more_than_long_rtf(part: bytes) -> None:
    """No group, font or picture takes time that grows with the square of the file."""
    assert "words" in read(b"words " + part * 100_000)
