"""Owns triplets that a model invents: a query, a passage that answers it, and one that only seems to.

Topics come from passages, so that what is invented is as varied as the corpus. The paper found no gain in this kind,
so it is made only where a recipe asks for it.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import regex

from trainer.augment.filters import find_longest_run, measure_width
from trainer.augment.ledger import Outcome
from trainer.augment.llm import Generator, Prompt, Sampling
from trainer.augment.prompts import TripletPrompts
from trainer.records import Passage, Query, normalise, read_records, text_id

_WORD = regex.compile(r"[\p{L}\p{M}]{4,}|[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}]{2,6}")
_TOPIC_WIDTH = 60
_LEAST_PASSAGE, _MOST_PASSAGE, _MOST_QUERY = 50, 1200, 200
"""Widths in characters, those of scripts without spaces three times."""
_ALIKE = 0.7
"""Share that one run may have of the other passage, or of a shot's, before the two are the same."""


@dataclass(frozen=True, slots=True)
class Triplet:
    """What a model invented."""

    query: str
    positive: str
    negative: str


@dataclass(frozen=True, slots=True)
class TripletOutcome:
    """A triplet as records, and why it is rejected if it is."""

    query: Query
    passages: tuple[Passage, ...]
    """The answer, then the near miss."""
    fault: str = ""

    def as_outcome(self) -> Outcome:
        """The query alone, to be counted."""
        return Outcome(self.query, self.fault)


def choose_topic(passage: Passage, *, seed: int) -> str:
    """The title of a passage, or a word of it that stands there often, or a long one."""
    title = " ".join(passage.title.split())
    if title and measure_width(title) <= _TOPIC_WIDTH:
        return title
    words = _WORD.findall(passage.text)
    if not words:
        return ""
    often = sorted(set(words), key=lambda word: (-words.count(word) * measure_width(word), word))[:5]
    return str(random.Random(f"{seed}:topic:{passage.id}").choice(often))  # noqa: S311  repeatable, no secret


def make_prompt(topic: str, prompts: TripletPrompts) -> Prompt:
    """The prompt for one topic; the label of the query stands before the answer, the others inside it."""
    topic_label, query_label, positive_label, negative_label = prompts.labels
    shots = tuple(
        (shown, f"{query}\n{positive_label}: {positive}\n{negative_label}: {negative}")
        for shown, query, positive, negative in prompts.shots
    )
    return Prompt(instruction=prompts.instruction, shots=shots, ask=topic, labels=(topic_label, query_label))


def read_triplet(text: str, prompts: TripletPrompts) -> Triplet | None:
    """The three parts of an output, None if one is missing."""
    labels = [regex.escape(label) for label in prompts.labels[1:]]
    pattern = (
        rf"\s*(?:{labels[0]}\s*[:：])?(?P<query>.+?)\n\s*{labels[1]}\s*[:：](?P<positive>.+?)"
        rf"\n\s*{labels[2]}\s*[:：](?P<negative>.+?)(?:\n|\Z)"
    )
    found = regex.match(pattern, text.strip(), regex.DOTALL)
    if found is None:
        return None
    return Triplet(*(" ".join(found[part].split()) for part in ("query", "positive", "negative")))


def find_fault(triplet: Triplet | None, prompts: TripletPrompts) -> str:
    """Why a triplet is rejected, "" if it is kept."""
    if triplet is None:
        return "not three parts"
    passages = (triplet.positive, triplet.negative)
    if any(not _LEAST_PASSAGE <= measure_width(each) <= _MOST_PASSAGE for each in passages):
        return "a passage too short or too long"
    if not 4 <= measure_width(triplet.query) <= _MOST_QUERY:
        return "a query too short or too long"
    if _share_run(triplet.negative, triplet.positive) > _ALIKE:
        return "both passages are the same"
    shots = [text for shot in prompts.shots for text in shot[1:]]
    if any(_share_run(each, shot) > _ALIKE for each in (triplet.query, *passages) for shot in shots):
        return "leaks a shot"
    if normalise(triplet.query) in normalise(triplet.positive):
        return "copied"
    return ""


def write_triplets(
    passages: Sequence[Passage], generator: Generator, prompts: TripletPrompts, *, seed: int, temperature: float
) -> Iterator[TripletOutcome]:
    """Invent a triplet around a topic of each passage."""
    topics = [choose_topic(passage, seed=seed) for passage in passages]
    sampling = Sampling(most_tokens=320, temperature=temperature, stop=(f"\n\n{prompts.labels[0]}", "\n\n"))
    seeds = [random.Random(f"{seed}:triplet:{passage.id}").getrandbits(31) for passage in passages]  # noqa: S311
    texts = generator.write([make_prompt(topic, prompts) for topic in topics], sampling, seeds=seeds)
    for passage, topic, text in zip(passages, topics, texts, strict=True):
        triplet = read_triplet(text, prompts)
        fault = find_fault(triplet, prompts) if topic else "no topic"
        query, *invented = (triplet.query, triplet.positive, triplet.negative) if triplet else (text, text, text)
        records = tuple(
            Passage(
                id=text_id(each), text=each, language=passage.language, source="generated",
                document=f"triplet/{passage.id}",
            )
            for each in invented
        )  # fmt: skip
        asked = Query(
            id=text_id(query), text=query, passage=records[0].id, kind="triplet", language=passage.language,
            source="generated", exact=True,
        )  # fmt: skip
        yield TripletOutcome(asked, records, fault)


def read_near_misses(passages: Path) -> dict[str, str]:
    """By the id of the passage that answers, that of the one invented to seem so: the hard negative of its query.

    Args:
        passages: The file that `run.invent_triplets` wrote; a text that came twice stands there once.
    """
    documents: dict[str, list[str]] = {}
    for passage in read_records(passages, Passage):
        documents.setdefault(passage.document, []).append(passage.id)
    return {ids[0]: ids[1] for ids in documents.values() if len(ids) == 2}


def _share_run(text: str, other: str) -> float:
    return len(find_longest_run(text, other)) / max(1, len(text))
