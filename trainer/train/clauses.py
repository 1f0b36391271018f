"""Owns the short runs of words that a teacher reads for the table: what few tokens say together tells them apart.

A text of sixty tokens is one equation for sixty rows, a clause of fourteen one for fourteen, and a teacher reads it in
a quarter of the time.
"""

import random
from collections.abc import Iterable, Iterator
from math import ceil

import regex

from trainer.augment.filters import measure_width
from trainer.records import Passage

LEAST, MOST = 24, 96
"""Width of a clause; characters of scripts without spaces count three times."""

_END = regex.compile(r"[\p{Sentence_Terminal},،、，;:؛।]\s*|\s+")


def cut_clauses(text: str, chooser: random.Random) -> list[str]:
    """The text in runs of 24 to 96 columns, each ended by a mark or a space where one lies in its second half.

    What is left at the end is no clause if it is shorter.
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
    """Up to so many clauses, as many of each passage as its share is, chosen by chance and the passage's id alone.

    Args:
        passages: Read once.
        total: Clauses at most.
        among: How many passages there are.
        seed: Of the run.
    """
    left = total
    for passage in passages:
        chooser = random.Random(f"{seed}:clause:{passage.id}")  # noqa: S311  repeatable, no secret
        clauses = cut_clauses(passage.text, chooser)
        for clause in chooser.sample(clauses, min(len(clauses), ceil(total / among), left)):
            left -= 1
            yield clause


def _find_end(text: str, start: int, wanted: int) -> int:
    """Behind the last mark in the second half of what is wanted, else behind its last space, else where it ends."""
    if wanted >= len(text):
        return len(text)
    ends = [found for found in _END.finditer(text, (start + wanted) // 2, wanted) if found.end() <= wanted]
    marks = [found.end() for found in ends if not found.group().isspace()]
    return marks[-1] if marks else ends[-1].end() if ends else wanted
