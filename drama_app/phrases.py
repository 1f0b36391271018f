"""Words and quoted phrases in the passage table: what is asked of its index of terms, and which texts hold a phrase.

The index knows no order of words: it lists what holds all words of a phrase, and the texts tell the rest.
"""

from collections.abc import Iterable
from typing import Any

from drama_app.keywords import KeywordQuery, parse_query
from drama_app.records import Passage

SLICE = 300
"""Texts that are read at once, best first, until enough hold the phrase."""
_WORDLESS = 10
"""Times the limit, that a phrase without words is looked for in."""
MOST = 20_000
"""Passages whose texts are read at most: a second. Among 100,000 as many hold all of the words "in", "the" and "end",
and one with them in this order may be the last by BM25, since all three weigh next to nothing."""


def make_query(asked: KeywordQuery) -> Any:
    """The full-text query: any of the words, but all of those that a phrase is made of.

    Without the second half the words of a phrase that are common bring up 100,000 rows of which one holds it.
    """
    from lancedb.query import BooleanQuery, MatchQuery, Occur

    def match(terms: Iterable[str]) -> MatchQuery:
        return MatchQuery(" ".join(dict.fromkeys(terms)), "terms")  # type: ignore[call-arg]  # pydantic's defaults

    demanded = parse_query(" ".join(asked.phrases)).words
    others = [term for word in asked.words if word not in demanded for term in word]
    if not demanded:
        return match(others)
    wished = [(Occur.SHOULD, match(others))] if others else []
    return BooleanQuery([*((Occur.MUST, match(word)) for word in demanded), *wished])


def count_rows(asked: KeywordQuery, limit: int) -> int:
    """Rows to fetch for `limit` hits: many, if the index of terms vouches for the words of a phrase.

    A phrase without a word ("=>") stands in texts that it knows nothing of, so only the best are read.
    """
    if not asked.phrases:
        return limit
    return MOST if parse_query(" ".join(asked.phrases)).words else _WORDLESS * limit


def stand_in(asked: KeywordQuery, passage: Passage) -> bool:
    """Whether every phrase stands in the passage or its heading."""
    return asked.phrases_stand_in(f"{passage.heading} {passage.text}")
