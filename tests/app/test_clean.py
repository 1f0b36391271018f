"""Cleaning: what reaches the store and the terminal."""

import unicodedata

from hypothesis import example, given
from hypothesis import strategies as st

from drama_app.extract.builder import TextBuilder, build_from_lines, split_lines
from drama_app.extract.clean import blank_controls, clean_line, clean_text

HOSTILE = "\x00\x07\x08\x1b\r\x9b\x85\u200b\u2028\u202e\u2066\ufeff\ud800e\u0301[]31mK\n"


@given(st.text(st.one_of(st.characters(exclude_categories=()), st.sampled_from(HOSTILE))))
@example("a\x1b\x00[31mb")
@example("\r\x00\n")
@example("x\x08\x08y")
@example("\ud83d\ude00 \ude00\ud83d")
def test_cleaned_text_is_safe_normal_and_stays_as_it_is(text: str) -> None:
    """Any text comes out in NFC, without controls or lone surrogates, and cleaning again changes nothing."""
    cleaned = clean_text(text)
    assert unicodedata.is_normalized("NFC", cleaned)
    assert not any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t" for c in cleaned)
    assert not any("\u202a" <= c <= "\u202e" or "\u2066" <= c <= "\u2069" for c in cleaned)
    assert clean_text(cleaned) == cleaned
    assert blank_controls(cleaned) == cleaned


def test_escape_sequences_vanish_whole() -> None:
    """Colours, titles and links of a terminal leave no letters behind."""
    assert clean_text("\x1b[1;31mred\x1b[0m \x1b]0;owned\x07after \x9b2Jdone\x1b(B") == "red after done"
    assert clean_text("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\") == "link"


def test_an_unclosed_escape_does_not_swallow_the_line_after_it() -> None:
    """A command that never ends takes no text of the next line with it."""
    assert "kept" in clean_text("\x1b]0;never closed\nkept")


def test_newlines_and_spaces_become_plain() -> None:
    """All line ends are one newline, hard spaces are spaces, and overstruck bold of manual pages is plain."""
    assert clean_text("a\r\nb\rc\u2028d\x85e") == "a\nb\nc\nd\ne"
    assert clean_text("10\xa0000\u202fm") == "10 000 m"
    assert clean_text("N\x08NA\x08AM\x08ME\x08E _\x08x") == "NAME x"


def test_zero_width_space_stays_between_khmer_words_only() -> None:
    """Word breaks of scripts without spaces stay; elsewhere they would split words."""
    assert clean_text("Set\u200bup\u200b") == "Setup"
    assert clean_text("ខ្ញុំ\u200bទៅ") == "ខ្ញុំ\u200bទៅ"


def test_clean_line_is_one_line() -> None:
    """A title never breaks a line of output."""
    assert clean_line(" a\n\tb\x1b[2J  c ") == "a b c"


def test_blanking_keeps_every_offset() -> None:
    """The last safeguard replaces one character by one."""
    assert blank_controls("a\x1b[b\u202ec") == "a [b c"


def test_builder_records_where_headings_and_pages_start() -> None:
    """Offsets point at the heading's own words and at each page's first block, cleaned or not."""
    builder = TextBuilder()
    builder.page()
    builder.heading(1, "Cafe\u0301\x1b[1m society")
    builder.paragraph("one\r\n\r\n\r\n\r\ntwo")
    builder.page()
    builder.page()
    builder.line("third page")
    builder.line("next\nrow")
    builder.page()
    document = builder.build("test", " A\ntitle ", notes=["n"])
    assert document.text == "Café society\n\none\n\ntwo\n\nthird page\nnext row"
    assert document.headings[0].title == "Café society"
    assert document.text[document.headings[0].start :].startswith("Café society")
    assert document.pages == (0, document.text.index("third"), document.text.index("third"), len(document.text))
    assert (document.title, document.notes) == ("A title", ("n",))


def test_builder_stops_at_its_limit_and_says_so() -> None:
    """A text beyond the limit is cut there, with a note, and no heading lies outside."""
    builder = TextBuilder(limit=20)
    builder.paragraph("x" * 15)
    builder.heading(1, "far too long for it")
    builder.paragraph("never")
    document = builder.build("test")
    assert builder.full
    assert len(document.text) == 20
    assert not document.headings
    assert "first 20 characters" in document.notes[-1]


def test_lines_of_text_are_lines_of_the_file() -> None:
    """A form feed or a Unicode separator starts no line, as in editors, so numbers stay right."""
    lines = split_lines("one\x0c\r\ntwo\u2028still two\rthree")
    assert [line.split()[-1] for line in lines] == ["one", "two", "three"]
    document = build_from_lines(lines, "text", headings=[(2, 1, "three")])
    assert document.lines
    assert document.text[document.headings[0].start :] == "three"


def test_lines_beyond_the_limit_are_cut() -> None:
    """Headings past the cut are dropped with their text."""
    document = build_from_lines(["abc", "def"], "text", headings=[(0, 1, "abc"), (1, 1, "def")], limit=5)
    assert document.text == "abc\nd"
    assert [heading.title for heading in document.headings] == ["abc"]
