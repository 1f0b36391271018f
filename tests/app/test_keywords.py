"""What becomes of words in the keyword index, for every script."""

import pytest

from drama_app.common_terms import CommonTerms
from drama_app.keywords import fold, index_terms, parse_query
from drama_app.rank import find_exact


def found(query: str, text: str) -> bool:
    """Whether every word of the query shares a term with the text."""
    held = set(index_terms(text).split())
    return all(not held.isdisjoint(word) for word in parse_query(query).words)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("INV-2024-001", "Rechnung Nr. INV-2024-001 vom 3. Mai"),
        ("iso 9001", "certified to ISO 9001:2015"),
        ("§ 823 BGB", "nach §823 Abs. 1 BGB haftet"),
        ("user name", "def getUserName(self):"),
        ("getUserName", "call getusername()"),
        ("snake_case", "a snake_case_name, and Snake Case"),
        ("report.pdf", "see report.pdf for more"),
        ("strasse", "in der Straße"),
        ("ISTANBUL", "İstanbul'da bir gün"),
        ("cafe", "un café"),
        ("running", "he runnings"),
        ("Häuser", "das Häuserdach"),
        ("talossa", "talossamme oli"),
        ("人民大学", "中国人民大学的学生"),
        ("대학교", "대학교에서 공부했다"),
        ("مدرسة", "والمدرسة كبيرة"),
        ("हिन्दी", "मैं हिन्दी में लिखता हूँ"),
        ("สวัสดี", "เขาพูดว่าสวัสดีครับ"),
        ("C++", "written in C++ and Rust"),
        ("ﬁle", "a file"),
        ("水", "水"),
    ],
)
def test_what_was_written_is_found(query: str, text: str) -> None:
    """Codes, names, inflected words and text without spaces are found by the way that people type them."""
    assert found(query, text)


@pytest.mark.parametrize(
    ("query", "text"),
    [("INV-2024-001", "INV 2024 002"), ("cat", "category"), ("हिन्दी", "हार"), ("大学", "学大"), ("2024", "20245")],
)
def test_what_was_not_written_is_not_found(query: str, text: str) -> None:
    """Short words, numbers and order are kept apart."""
    assert not found(query, text)


def test_a_quoted_phrase_stands_in_any_spacing_and_case() -> None:
    """Quotes of several languages mark phrases, which are compared folded."""
    asked = parse_query('find "Exact  Phrase" and „größte Stadt“')

    assert asked.phrases == ("exact phrase", "grosste stadt")
    assert asked.phrases_stand_in("the EXACT\nphrase in the größte Stadt")
    assert not asked.phrases_stand_in("exact phrase, große Stadt")


@pytest.mark.parametrize(
    ("query", "text", "stands"),
    [
        ('"art of"', "a chart of the coast", False),
        ('"art of"', "the ART\nof war", True),
        ('"art of"', "the art offends", False),
        ('"c++ now"', "use C++ now!", True),
        ('"舞蹈"', "蜜蜂的舞蹈和花朵", True),
        ('"서울"', "서울을 보았다", True),
    ],
)
def test_a_quoted_phrase_stands_in_whole_words(query: str, text: str, stands: bool) -> None:
    """A phrase inside other words is none, where the script has spaces between words."""
    assert parse_query(query).phrases_stand_in(text) is stands


def test_terms_never_hold_a_space_or_get_too_long() -> None:
    """The index splits at spaces and is not filled by data without them."""
    terms = index_terms("a\u00a0b " + "x" * 10_000 + " \u3000 q\u2028w").split(" ")

    assert all(terms) and max(map(len, terms)) <= 64


def test_folding_twice_is_folding_once() -> None:
    """Folding is stable for text that decomposes in steps."""
    for text in ("ﬃ", "Ǆ", "İ", "ΐ", "각", "ﷺ", "ẞ"):
        assert fold(fold(text)) == fold(text)


def test_common_words_weigh_less_than_rare_ones(tmp_path) -> None:
    """A sample tells common terms; the file comes back as it was written; a broken one means equal weights."""
    common = CommonTerms.of_sample(["the king", "the queen", "the end", "an end"], 1000)
    common.save(tmp_path / "common.json")
    read = CommonTerms.load(tmp_path / "common.json")

    assert read.weight("the") < read.weight("end") < read.weight("king") < read.weight("unseen")
    assert read.passages == 1000

    (tmp_path / "common.json").write_text("{}")
    assert CommonTerms.load(tmp_path / "common.json").weight("the") == read.weight("unseen")


@pytest.mark.parametrize("typed", ["Alzheimer's disease", "Alzheimer’s disease"])
@pytest.mark.parametrize("written", ["ALZHEIMER’S disease", "Alzheimer's  disease"])
def test_apostrophes_of_every_shape_are_one(typed: str, written: str) -> None:
    """Keyboards have the straight one, documents the curly one; hyphens and dashes likewise."""
    assert parse_query(f'"{typed}"').phrases_stand_in(f"It is {written}.")
    assert parse_query('"Paris-Berlin e-mail"').phrases_stand_in("the Paris–Berlin e‑mail")
    assert find_exact("Moore's law", {(1, 0): "outpaced Moore’s Law"}) == {(1, 0)}


@pytest.mark.parametrize(
    ("query", "phrases"),
    [
        ('difference between 5" and 7" pipe', ()),
        ('מבקר המדינה דו"ח על צה"ל', ()),
        ('the 5" pipe of "grey steel"', ("grey steel",)),
        ('关于"人工智能"的文章', ("人工智能",)),
        ("sagt „gute Nacht“ zu", ("gute nacht",)),
    ],
)
def test_marks_after_a_letter_or_digit_quote_nothing(query: str, phrases: tuple[str, ...]) -> None:
    """Inches and Hebrew abbreviations demand no phrase; where words stand without spaces quotes are quotes."""
    assert parse_query(query).phrases == phrases


def test_a_quoted_word_may_stand_among_scripts_without_spaces() -> None:
    """A Latin word or number is whole between Chinese, Thai or Korean letters, and is none inside its own script."""
    chinese, korean = "我们在2024年使用Python编程", "삼성samsung이"
    for phrase, text in (("python", chinese), ("2024", chinese), ("wifi", "ต่อwifiแล้ว"), ("samsung", korean)):
        assert parse_query(f'"{phrase}"').phrases_stand_in(text)
    assert not parse_query('"apple"').phrases_stand_in("pineapple apple2")
