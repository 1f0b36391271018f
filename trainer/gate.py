"""Owns whether a rounded retriever is good enough: nDCG@10 by language against its own network in float32.

Development sets are ranked by exact cosine, a document by its best passage; no index and no keywords, so that nothing
but the rounding differs. It writes no retriever and knows no precision.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drama_app.chunk import cut, embedded_text
from drama_app.errors import UsageError
from trainer.evaluate import TestSet, cut_vectors, find_sets, read_set
from trainer.metrics import LEAST, Interval, ndcg, paired_bootstrap
from trainer.set_folders import list_sets

if TYPE_CHECKING:
    from collections.abc import Callable

    from drama_app.embed import Encoder

QUERIES, PASSAGES = 200, 500
"""Of a set, where the caller names no number: every precision that is tried encodes all of them anew."""
FEW = 50
"""Queries below which a language alone fails by more than chance only: one answer that falls from the first to the
second rank costs 0.37, of the mean of 50 queries 0.007, of 20 queries 0.018."""
FEW_TOGETHER, ALL = "languages with few queries", "all"
_RANKS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class DevelopmentSet:
    """Queries, and the passages of the documents that they are ranked among."""

    name: str
    queries: tuple[str, ...]
    languages: tuple[str, ...]
    """Of each query."""
    relevant: tuple[Mapping[str, float], ...]
    """Grade of each judged document, by query."""
    documents: tuple[str, ...]
    """Each has one passage or more."""
    passages: tuple[str, ...]
    """As an encoder reads them, document after document."""
    starts: tuple[int, ...]
    """Place of each document's first passage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What an encoder reaches on development sets."""

    values: Mapping[str, Sequence[float]]
    """nDCG@10 of each query, by language."""
    passages_per_second: float

    @property
    def means(self) -> dict[str, float]:
        """nDCG@10 by language."""
        return {language: sum(own) / len(own) for language, own in self.values.items()}

    @property
    def mean(self) -> float:
        """Mean over the queries of all languages."""
        values = list(chain.from_iterable(self.values.values()))
        return sum(values) / len(values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether rounding costs too much."""

    changes: Mapping[str, Interval]
    """nDCG@10 against float32 by language, of those with few queries together, and of all; below 0 is a loss."""
    failed: tuple[str, ...]
    """Where more is lost than may be."""
    unsure: tuple[str, ...]
    """Where more is lost than may be, by queries so few that it may be chance."""

    @property
    def passes(self) -> bool:
        """Whether nothing failed."""
        return not self.failed

    @property
    def worst(self) -> str:
        """The language that loses most."""
        return min(self.changes, key=lambda name: self.changes[name].mean)


def read_development(folder: Path, *, queries: int = QUERIES, passages: int = PASSAGES) -> tuple[DevelopmentSet, ...]:
    """Read the development sets below a folder; none if it is missing or holds none.

    Args:
        folder: Of sets in BEIR layout, or one set.
        queries: The first so many of a set.
        passages: Of a set, about: the documents that answer, then others in their order.

    Raises:
        UsageError: A set is not as it should be.
    """
    if not list_sets(folder):
        return ()
    sets = ((each, each.name if each == folder else each.relative_to(folder).as_posix()) for each in find_sets(folder))
    return tuple(select(read_set(each, name=name, limit_queries=queries), passages=passages) for each, name in sets)


def select(test_set: TestSet, *, passages: int) -> DevelopmentSet:
    """A test set with about so many passages: those that answer stay whatever their number.

    Raises:
        UsageError: No document holds text.
    """
    judged = (test_set.relevant[query].items() for query in test_set.queries)
    answers = {each for own in judged for each, grade in own if grade > 0}
    documents: list[str] = []
    texts: list[str] = []
    starts: list[int] = []
    for name in sorted(test_set.documents, key=lambda name: name not in answers):
        if name not in answers and len(texts) >= passages:
            break
        document = test_set.documents[name]
        if own := cut(document):
            documents.append(name)
            starts.append(len(texts))
            texts += [embedded_text(document.title, each) for each in own]
    if not texts:
        raise UsageError(f"{test_set.name}: the documents hold no text")
    return DevelopmentSet(
        name=test_set.name, queries=tuple(test_set.queries.values()),
        languages=tuple(test_set.languages.get(query, "") for query in test_set.queries),
        relevant=tuple(test_set.relevant[query] for query in test_set.queries),
        documents=tuple(documents), passages=tuple(texts), starts=tuple(starts),
    )  # fmt: skip


def measure(
    encoder: "Encoder", sets: Sequence[DevelopmentSet], *, width: int, report: "Callable[[str], None]"
) -> Scores:
    """Rank every set with an encoder.

    Args:
        encoder: Whose vectors are at least `width` wide.
        sets: One or more.
        width: To cut the vectors to.
        report: Called with a short sentence as the work goes on.

    Raises:
        UsageError: There are no sets.
    """
    if not sets:
        raise UsageError("there are no development sets to measure on")
    values: dict[str, list[float]] = {}
    seconds, passages = 0.0, 0
    for number, each in enumerate(sets, 1):
        report(f"{each.name} ({number} of {len(sets)}), {len(each.passages)} passages")
        start = time.perf_counter()
        vectors = cut_vectors(encoder.encode_passages(list(each.passages)), width)
        seconds, passages = seconds + time.perf_counter() - start, passages + len(vectors)
        queries = cut_vectors(encoder.encode_queries(list(each.queries)), width)
        for language, ranking, relevant in zip(
            each.languages, _rank(each, queries, vectors), each.relevant, strict=True
        ):
            values.setdefault(language, []).append(ndcg(ranking, relevant, _RANKS))
    return Scores(values=dict(sorted(values.items())), passages_per_second=passages / max(seconds, 1e-9))


def judge(exact: Scores, rounded: Scores, *, largest_loss: float) -> Verdict:
    """Compare a rounded retriever with its network, query by query.

    A language fails if its mean loses more than `largest_loss`. One with fewer than `FEW` queries fails only if the
    95 % interval of its loss leaves out zero too, which takes a loss of about 0.05 with twenty queries; one with five
    or fewer never does. So all of these are judged together as well, where a small loss that they share shows. The mean
    of all must not lose more either.
    """
    groups = {language: (rounded.values[language], own) for language, own in exact.values.items()}
    few = {language: pair for language, pair in groups.items() if len(pair[1]) < FEW}
    if 1 < len(few) < len(groups):
        groups[FEW_TOGETHER] = _join(list(few.values()))
    if len(exact.values) > 1:
        groups[ALL] = _join([groups[language] for language in exact.values])
    changes = {name: paired_bootstrap(*pair) for name, pair in groups.items()}
    lost = [name for name, change in changes.items() if -change.mean > largest_loss]
    counts = {name: len(own) for name, (_, own) in groups.items()}
    unsure = tuple(
        name for name in lost if counts[name] < LEAST or (counts[name] < FEW and changes[name].high >= 0)
    )  # fmt: skip
    return Verdict(changes=changes, failed=tuple(name for name in lost if name not in unsure), unsure=unsure)


def describe_verdict(scores: Scores, verdict: Verdict) -> dict[str, Any]:
    """What was measured, as JSON values."""
    worst = verdict.changes[verdict.worst]
    return {
        "ndcg10": round(scores.mean, 4),
        "by_language": {language: round(mean, 4) for language, mean in scores.means.items()},
        "change": {name: round(change.mean, 4) for name, change in verdict.changes.items()},
        "worst": verdict.worst,
        "worst_change": [round(worst.mean, 4), round(worst.low, 4), round(worst.high, 4)],
        "passes": verdict.passes,
        "failed": list(verdict.failed),
        "unsure": list(verdict.unsure),
        "passages_per_second": round(scores.passages_per_second, 1),
    }


def _rank(each: DevelopmentSet, queries: Any, passages: Any) -> list[list[str]]:
    """The best documents of each query; equal ones in their order."""
    import numpy as np

    best = np.maximum.reduceat(queries @ passages.T, np.asarray(each.starts), axis=1)  # [queries, documents]
    order = np.argsort(-best, axis=1, kind="stable")[:, :_RANKS]
    return [[each.documents[place] for place in row] for row in order.tolist()]


def _join(pairs: Sequence[tuple[Sequence[float], Sequence[float]]]) -> tuple[list[float], list[float]]:
    return list(chain.from_iterable(one for one, _ in pairs)), list(chain.from_iterable(other for _, other in pairs))
