"""Promises of marks and of the best sentence."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drama_app.highlight import best_sentence, best_sentences, mark_words


def marked(query: str, text: str) -> list[str]:
    return [text[start:end] for start, end in mark_words(query, text)]


@pytest.mark.parametrize(
    ("query", "text", "expected"),
    [
        ("how do planes fly", "A plane can fly. Do rockets?", ["plane", "fly"]),
        ("flight retrieval", "Flights are retrieved", ["Flights", "retrieved"]),
        ("Straße in İstanbul", "Die STRASSE nach istanbul", ["STRASSE", "istanbul"]),
        ("cafe", "ein Café und Cafe\u0301", ["Café", "Cafe\u0301"]),
        ("квантовая механика", "о Квантовой механике", ["Квантовой", "механике"]),
        ("서울 대학교", "서울에 있는 대학교는", ["서울에", "대학교는"]),
        ("كتاب", "هذا الكتاب جديد", ["الكتاب"]),
        ("हिन्दी भाषा", "हिन्दी भाषाओं में", ["हिन्दी", "भाषाओं"]),
        ("東京の大学はどこですか", "ここは東京大学です", ["東京", "大学"]),
        ("大きなパン", "バンとパン", ["パン"]),
        ("ภาษาไทย", "ผมพูดภาษาไทยได้", ["ภาษาไทย"]),
        ("ISO-9001 3.14", "ISO 9001, 3.14 und 3.141 und 90011", ["ISO", "9001", "3.14"]),
        ('"exact phrase"', "exact words, an Exact  phrase", ["Exact  phrase"]),
        ("the of", "the cat of a house", ["the", "of"]),
        ("zebra", "no such animal", []),
    ],
)
def test_marks(query: str, text: str, expected: list[str]) -> None:
    """The query's words are found without case, accents and endings, in every script."""
    assert marked(query, text) == expected


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40), st.text(max_size=200))
def test_marks_are_in_order_and_inside(query: str, text: str) -> None:
    """Whatever the text, marks lie inside it, in order, without overlaps; so does the best sentence."""
    last = 0
    for start, end in mark_words(query, text):
        assert last <= start < end <= len(text)
        last = end
    sentence = best_sentence(query, text)
    assert sentence is None or 0 <= sentence[0] < sentence[1] <= len(text)


def test_offsets_hold_where_folding_changes_lengths() -> None:
    """Letters that fold to two characters do not shift later marks."""
    assert marked("Wasser", "ßßß İİİ ﬁﬁ Wasser") == ["Wasser"]


def test_best_sentence_holds_the_most() -> None:
    """The sentence with most of the query's words wins; none without any."""
    text = "Water is wet. The boiling point of water depends on pressure. Pressure is force."
    start, end = best_sentence("at which pressure does water boil", text) or (0, 0)

    assert text[start:end] == "The boiling point of water depends on pressure."
    assert best_sentence("zebra", text) is None


def test_only_what_is_a_phrase_is_marked_as_one() -> None:
    """A mark behind a letter or digit opens none here either, whatever its shape: what is marked is insisted on."""
    for query in ('5" grey 7" steel', "pipe“grey steel”"):
        assert marked(query, "grey steel") == ["grey", "steel"]
    assert marked("pipe “grey steel”", "grey steel") == ["grey steel"]


def test_sentences_that_words_do_not_tell_apart_are_all_named() -> None:
    """One word each and of like length: both, the shorter first; what holds clearly less is left out."""
    text = "She hands out samples of nectar to all of them. Colonies collected as much as others. Others flew at noon."
    spans = best_sentences("how do bees tell others where the nectar is", text)

    assert [text[start:end].split()[0] for start, end in spans] == ["Others", "Colonies", "She"]
    assert len(best_sentences("samples of nectar for others", text)) == 1
    assert best_sentences("zebra", text) == []


def test_fast_enough() -> None:
    """A passage of 1,200 characters takes a few milliseconds at most, also with a long query."""
    text = "Die Überprüfung der Straßenbahn in München dauert länger als erwartet. " * 17
    query = "Wie lange dauert die Prüfung der Straßenbahnen " * 10
    mark_words(query, text)
    started = time.perf_counter()
    for _ in range(20):
        mark_words(query, text)

    assert (time.perf_counter() - started) / 20 < 0.02
