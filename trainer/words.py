"""Owns the baseline that needs no model: BM25 over the words of whole documents.

It is the textbook's, to be compared with: no stems, no passages. The app's own keywords are BM25 too, over passages
and with stems, and are measured as a mode of the app.
"""

from array import array
from collections.abc import Iterable, Iterator

import regex

from drama_app.keywords import fold

K1, B = 1.2, 0.75
"""Lucene's. Mean nDCG@10 of 12 sets in one language 0.829; with 0.9 and 0.4, which others use, 0.824."""
DESCRIPTION = f"BM25 (k1 {K1}, b {B}) of words without stems over whole documents; pairs of characters where a script \
has no spaces"

_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}ー\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_WORD = regex.compile(rf"(?P<run>[{_UNSPACED}]+)|(?:(?![{_UNSPACED}])[\p{{L}}\p{{M}}\p{{N}}])+")


class WordIndex:
    """Documents by their words."""

    def __init__(self, texts: Iterable[str]) -> None:
        from bm25s import BM25

        self._numbers: dict[str, int] = {}
        # Small numbers, not words: 100,000 documents of 150 words are 60 MB, as lists of words 900.
        documents = [
            array("i", (self._numbers.setdefault(word, len(self._numbers)) for word in split_words(text)))
            for text in texts
        ]
        self._model = BM25(k1=K1, b=B, method="lucene")
        if self._numbers:
            self._model.index((documents, self._numbers), create_empty_token=False, show_progress=False)

    def search(self, query: str, *, limit: int) -> list[int]:
        """Places of the documents that hold words of the query, best first; equal scores in order of their places."""
        import numpy as np

        asked = [self._numbers[word] for word in split_words(query) if word in self._numbers]
        if not asked:
            return []
        scores = self._model.get_scores_from_ids(asked)
        best = np.argsort(-scores, kind="stable")[:limit]
        return [int(place) for place in best if scores[place] > 0]


def split_words(text: str) -> Iterator[str]:
    """Words in lower case without accents; runs of a script without spaces as pairs of characters."""
    for found in _WORD.finditer(fold(text)):
        word = found.group()
        if found["run"] and len(word) > 1:
            yield from (word[start : start + 2] for start in range(len(word) - 1))
        else:
            yield word
