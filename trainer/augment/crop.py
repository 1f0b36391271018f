"""Owns queries that are cropped from passages: a run of sentences that stands in the passage, in any script.

A crop says what the passage says in its own words; that its own words find it is no merit, so mining takes the
passage's neighbours as positives too. It needs no model.
"""

import random
from dataclasses import dataclass

import regex

from drama_app.sentences import split_sentences
from trainer.augment.filters import measure_width
from trainer.records import Passage, Query, text_id

_MOST_SENTENCES = 3
_PROSE = regex.compile(r"[\p{L}\p{M}]")


@dataclass(frozen=True, slots=True, kw_only=True)
class CropLimits:
    """Which runs of sentences may become a query. Widths count a character of a script without spaces as three."""

    least_width: int = 25
    most_width: int = 320
    most_share: float = 0.6
    """Of the passage; a longer crop would be the passage itself."""
    least_prose: float = 0.6
    """Share of letters and marks; below it lie tables, code and lists of numbers."""


def crop(passage: Passage, *, seed: int, limits: CropLimits | None = None) -> Query | str:
    """A query cropped from a passage, or why there is none.

    Every run of one to three sentences that fits is as likely as any other, so the first sentence has no preference.
    The choice depends on the seed and the passage alone.
    """
    limits = limits or CropLimits()
    sentences = split_sentences(passage.text)
    if len(sentences) < 2:
        return "the passage is one sentence"
    runs = [
        (first[0], last[1])
        for place, first in enumerate(sentences)
        for last in sentences[place : place + _MOST_SENTENCES]
    ]
    texts = [" ".join(passage.text[start:end].split()) for start, end in runs]
    most = min(limits.most_width, int(limits.most_share * measure_width(passage.text)))
    fitting = [text for text in texts if limits.least_width <= measure_width(text) <= most]
    if not fitting:
        return "no run of sentences of a fitting length"
    prose = [text for text in fitting if _is_prose(text, limits.least_prose)]
    if not prose:
        return "no prose"
    chosen = random.Random(f"{seed}:crop:{passage.id}").choice(prose)  # noqa: S311  repeatable, no secret
    return Query(
        id=text_id(chosen), text=chosen, passage=passage.id, kind="crop", language=passage.language,
        source=passage.source,
    )  # fmt: skip


def _is_prose(text: str, least: float) -> bool:
    visible = "".join(text.split())
    return len(_PROSE.findall(visible)) >= least * len(visible)
