"""Owns queries that a model writes for passages, in the passage's language and in three styles.

It asks and judges block by block: one language and one style, so that a generator computes the shots once. Which
passages, in which order, and what becomes of the queries is for `run.py`.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from drama_app.ruler import Ruler
from drama_app.sentences import split_sentences
from trainer.augment.filters import Asked, RoundTrip, clean, find_fault
from trainer.augment.ledger import Outcome
from trainer.augment.llm import Generator, Prompt, Sampling
from trainer.augment.prompts import STYLES, QueryPrompts
from trainer.records import Passage, Query, text_id

EXCERPT_TOKENS = 64
"""Tokens of a passage that the model reads: they take most of the time, and one query needs no more. Of 512 queries in
four languages 164 were kept where 128 tokens gave 153, in three quarters of the time."""
_LONGEST_TITLE = 200
"""Characters: some rows hold a paragraph there."""
_LEAST_EXCERPT = 40
"""Tokens that an excerpt has if the passage allows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryBlock:
    """Passages of one language that one style of query is asked for."""

    language: str
    """Code of the prompts."""
    style: str
    round: int
    """Which of a passage's queries these are."""
    passages: tuple[Passage, ...]


def plan_blocks(
    chosen: Mapping[str, Sequence[Passage]], *, size: int, styles: Sequence[str] = STYLES, rounds: int = 1
) -> list[QueryBlock]:
    """Cut each language's passages into blocks and mix the languages, so that every beginning has its share of each.

    Args:
        chosen: Passages by the code of their prompts.
        size: Passages a block.
        styles: They take turns, from block to block, and from a passage's first query to its second.
        rounds: Queries a passage.
    """
    placed = []
    for language, passages in sorted(chosen.items()):
        cut = [tuple(passages[at : at + size]) for at in range(0, len(passages), size)]
        shift = random.Random(language).randrange(len(styles))  # noqa: S311  languages do not begin alike
        for turn in range(rounds):
            for place, block in enumerate(cut):
                style = styles[(shift + place + turn) % len(styles)]
                share = (turn + (place + 0.5) / len(cut)) / rounds
                placed.append((share, QueryBlock(language=language, style=style, round=turn, passages=block)))
    return [block for _, block in sorted(placed, key=lambda each: (each[0], each[1].language))]


def take_excerpt(passage: Passage, *, seed: int, tokens: int = EXCERPT_TOKENS) -> str:
    """Whole sentences of a passage up to so many estimated tokens, not always its first ones; its title before them.

    Where it begins depends on the seed and the passage alone.
    """
    ruler = Ruler(passage.text)
    sentences = split_sentences(passage.text)
    starts = [start for start, _ in sentences if ruler.measure(start, len(passage.text)) >= _LEAST_EXCERPT]
    chooser = random.Random(f"{seed}:excerpt:{passage.id}")  # noqa: S311  repeatable, no secret
    begin = chooser.choice(starts) if starts and ruler.measure(0, len(passage.text)) > tokens else 0
    end = max((end for start, end in sentences if start >= begin and ruler.measure(begin, end) <= tokens), default=0)
    if not end:
        # One sentence is longer than the budget: it is cut, at a space where it has any.
        low, high = begin, len(passage.text)
        while low + 1 < high:
            middle = (low + high) // 2
            low, high = (middle, high) if ruler.measure(begin, middle) <= tokens else (low, middle)
        end = max(passage.text.rfind(" ", begin, low), begin) if " " in passage.text[begin:low] else low
    text = " ".join(passage.text[begin:end].split())
    title = " ".join(passage.title.split())[:_LONGEST_TITLE]
    return f"{title}: {text}" if title and title.casefold() not in text.casefold() else text


def write_block(
    block: QueryBlock, generator: Generator, prompts: QueryPrompts, *, sampling: Sampling, seed: int,
    round_trip: RoundTrip | None = None, tokens: int = EXCERPT_TOKENS,
) -> Iterator[Outcome]:  # fmt: skip
    """Ask for a block's queries and judge them; an outcome for each passage, in order."""
    turn = f"{block.style}:{block.round}"
    asked = [
        Asked(
            block.style, block.language, passage, take_excerpt(passage, seed=_draw(seed, turn, passage), tokens=tokens)
        )
        for passage in block.passages
    ]
    texts = generator.write(
        [make_prompt(each, prompts) for each in asked], sampling,
        seeds=[_draw(seed, turn, passage) for passage in block.passages],
    )  # fmt: skip
    texts = [clean(text, block.style) for text in texts]
    faults = [find_fault(text, each, prompts) for text, each in zip(texts, asked, strict=True)]
    if round_trip is not None:
        left = [place for place, fault in enumerate(faults) if not fault]
        own = [block.passages[place] for place in left]
        lost = round_trip.find_lost([texts[place] for place in left], own, block.language)
        for place, is_lost in zip(left, lost, strict=True):
            faults[place] = "does not find its passage" if is_lost else ""
    for text, passage, fault in zip(texts, block.passages, faults, strict=True):
        query = Query(
            id=text_id(text), text=text, passage=passage.id, kind=block.style, language=passage.language,
            source=passage.source,
        )  # fmt: skip
        yield Outcome(query, fault)


def make_prompt(asked: Asked, prompts: QueryPrompts) -> Prompt:
    """The prompt for one query."""
    return Prompt(
        instruction=prompts.instructions[asked.style],
        shots=tuple((shot.text, shot.outputs[asked.style]) for shot in prompts.shots),
        ask=asked.excerpt,
        labels=(prompts.text_label, prompts.labels[asked.style]),
    )


def _draw(seed: int, turn: str, passage: Passage) -> int:
    return random.Random(f"{seed}:{turn}:{passage.id}").getrandbits(31)  # noqa: S311  repeatable, no secret
