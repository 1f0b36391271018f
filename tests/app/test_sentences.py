"""Promises of the sentence borders."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drama_app.sentences import LONGEST, split_sentences


def split(text: str) -> list[str]:
    return [text[start:end] for start, end in split_sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One is here. Two is there! Three?", ["One is here.", "Two is there!", "Three?"]),
        ('He said: "Go!" Then he left.', ['He said: "Go!"', "Then he left."]),
        ("今日は晴れ。「明日は？」雨です！", ["今日は晴れ。", "「明日は？」", "雨です！"]),
        ("यह एक वाक्य है। यह दूसरा।", ["यह एक वाक्य है।", "यह दूसरा।"]),
        ("هذا نص. وهل هذا آخر؟ نعم", ["هذا نص.", "وهل هذا آخر؟", "نعم"]),
        ("یہ ایک ہے۔ یہ دو ہے۔", ["یہ ایک ہے۔", "یہ دو ہے۔"]),
        ("ሰላም ነው። ደህና።", ["ሰላም ነው።", "ደህና።"]),
        ("မင်္ဂလာပါ။ ကောင်းပါတယ်။", ["မင်္ဂလာပါ။", "ကောင်းပါတယ်။"]),
        ("- one\n- two\n\nThree", ["- one", "- two", "Three"]),
    ],
)
def test_ends_in_many_scripts(text: str, expected: list[str]) -> None:
    """Each script's own full stop ends a sentence, with or without a space after it."""
    assert split(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Dr. Smith paid 3.5 dollars to J. R. Tolkien",
        "See www.example.org/a.b for more",
        "Das war am 3. Mai um z.B. zehn",
        "wrapped at seventy-two columns\nand going on here",
        "He waited... and left",
    ],
)
def test_dots_that_end_nothing(text: str) -> None:
    """Abbreviations, initials, decimals, ordinals, addresses and wrapped lines are no borders."""
    assert split(text) == [text]


def test_thai_is_cut_at_spaces() -> None:
    """Thai without marks is cut at spaces into pieces of some length."""
    pieces = split("ภาษาไทยเป็นภาษาที่มีระดับเสียง " * 10)

    assert len(pieces) >= 4
    assert all(len(piece) >= 30 for piece in pieces)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab. \n!?。ก ข字é\u0301\u200d👩🏽…।", max_size=300))
def test_covers_all_text(text: str) -> None:
    """Sentences are in order and leave nothing out but white space."""
    spans = split_sentences(text)
    rest, last = "", 0
    for start, end in spans:
        assert last <= start < end
        rest += text[last:start]
        last = end

    assert (rest + text[last:]).strip() == ""


def test_long_runs_are_cut_at_graphemes() -> None:
    """Text without any border is cut at fixed lengths, never inside a grapheme."""
    text = "n\u0303" * 3000
    spans = split_sentences(text)

    assert max(end - start for start, end in spans) <= LONGEST
    assert all(text[start] == "n" for start, _ in spans)


@pytest.mark.parametrize("unit", ["x", "a. ", "A.", "\n", "...", "ก ", '"'])
def test_linear_time(unit: str) -> None:
    """Half a million characters take under three seconds, whatever they are."""
    started = time.perf_counter()
    split_sentences(unit * (500_000 // len(unit)))

    assert time.perf_counter() - started < 3
