"""Owns the short runs of words that a teacher reads for the table: what few tokens say together tells them apart.

A text of sixty tokens is one equation for sixty rows, a clause of fourteen one for fourteen, and a teacher reads it in
a third of the time.
"""

import random
from collections.abc import Iterable, Iterator

import regex

from trainer.augment.filters import measure_width
from trainer.records import Passage

LEAST, MOST = 24, 96
"""Width that a clause is meant to have, by the mean of its text; characters of scripts without spaces count three
times. The mark or space at which it ends lies in the second half of that."""

_END = regex.compile(r"[\p{Sentence_Terminal},;:](?=\s)\s*|[。！？、，；：؟،؛।॥]\s*|\s+")


def cut_clauses(text: str, chooser: random.Random) -> list[str]:
    """The text in short runs, one after the other, each ended by a mark or a space where one lies in its second half.

    What is left at the end is no clause if it is too short.
    """
    text = " ".join(text.split())
    columns = measure_width(text) / max(1, len(text))
    clauses, start = [], 0
    while (len(text) - start) * columns >= LEAST:
        wanted = max(1, round(chooser.randint(LEAST, MOST) / columns))
        end = _find_end(text, start, start + wanted)
        clauses.append(text[start:end].strip())
        start = end
    return [clause for clause in clauses if clause]


def draw_clauses(passages: Iterable[Passage], total: int, *, among: int, seed: int) -> Iterator[str]:
    """Up to so many clauses, as many of one passage as of another, fewer of those that have fewer.

    Args:
        passages: Read once.
        total: Clauses at most.
        among: How many passages there are.
        seed: Of the run; with a passage's id it decides which of its clauses.
    """
    for place, passage in enumerate(passages):
        share = (place + 1) * total // among - place * total // among
        if share:
            chooser = random.Random(f"{seed}:clause:{passage.id}")  # noqa: S311  repeatable, no secret
            clauses = cut_clauses(passage.text, chooser)
            yield from chooser.sample(clauses, min(len(clauses), share))


def _find_end(text: str, start: int, wanted: int) -> int:
    """Behind the last mark in the second half of what is wanted, else behind its last space, else where it ends."""
    if wanted >= len(text):
        return len(text)
    ends = list(_END.finditer(text, (start + wanted) // 2, wanted))
    marks = [found.end() for found in ends if not found.group().isspace()]
    return marks[-1] if marks else ends[-1].end() if ends else wanted
