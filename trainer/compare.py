"""Owns the comparison of retrievers on the same test sets: what each scores, and how sure their differences are.

Differences are paired, query by query; the interval of a mean over sets draws the queries of each set anew. It opens
no retriever and prints nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from drama_app.records import Mode, Passage
from trainer.contestants import Contestant, give_own_names
from trainer.evaluate import (
    BM25,
    MODES,
    Report,
    TestSet,
    as_json,
    cut_documents,
    evaluate_set,
    evaluate_words,
    find_sets,
    read_set,
)
from trainer.metrics import Interval, bootstrap_sets, paired_bootstrap_sets
from trainer.words import DESCRIPTION


class Column(NamedTuple):
    """What is measured on every set."""

    system: str
    width: int
    mode: str


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """Who took part."""

    name: str
    fingerprint: str
    widths: tuple[int, ...]
    """The first is the one that is compared with others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The figures of all systems on all sets."""

    systems: tuple[System, ...]
    """The first is the one that is judged."""
    reports: tuple[Report, ...]

    @property
    def columns(self) -> list[Column]:
        """All that was measured, BM25 first."""
        found = dict.fromkeys(Column(each.system, each.width, each.mode) for each in self.reports)
        return sorted(found, key=lambda column: column.system != BM25)

    @property
    def sets(self) -> list[str]:
        """Names of the sets in their order."""
        return list(dict.fromkeys(report.name for report in self.reports))

    @property
    def languages(self) -> list[str]:
        """All languages, those with most queries first."""
        counts: dict[str, int] = {}
        for report in self.of(self.columns[0]):
            for language in report.languages:
                counts[language] = counts.get(language, 0) + 1
        return sorted(counts, key=lambda language: (-counts[language], language))

    def of(self, column: Column) -> list[Report]:
        """The reports of a column, a set each."""
        return [each for each in self.reports if (each.system, each.width, each.mode) == column]

    def score(self, column: Column, *, name: str = "", language: str | None = None) -> Interval:
        """Mean nDCG@10 over sets, or over one set, or over a language's queries in all sets."""
        return bootstrap_sets(self._values(column, name, language))

    def difference(self, column: Column, base: Column, *, name: str = "", language: str | None = None) -> Interval:
        """How much more nDCG@10 a column has than another, over the same queries."""
        return paired_bootstrap_sets(self._values(column, name, language), self._values(base, name, language))

    def pairs(self) -> Iterator[tuple[Column, Column]]:
        """What is worth comparing.

        The judged system with BM25 and each other system, at its own width, then at each narrower one; and every
        narrower width with its system's own.
        """
        (judged, *others), known = self.systems, set(self.columns)
        for place, width in enumerate(judged.widths):
            for column in (each for each in self.columns if each[:2] == (judged.name, width)):
                rivals = [Column(each.name, width if place else each.widths[0], column.mode) for each in others]
                rivals = rivals if place else [Column(BM25, 0, BM25), *rivals]
                yield from ((column, rival) for rival in rivals if rival in known)
        for system in self.systems:
            for column in (each for each in self.columns if each.system == system.name):
                if column.width != system.widths[0]:
                    yield column, column._replace(width=system.widths[0])

    def _values(self, column: Column, name: str, language: str | None) -> list[list[float]]:
        """nDCG@10 of the queries that count, by set."""
        chosen = [
            [value for value, spoken in zip(report.values, report.languages, strict=True)
             if language is None or spoken == language]
            for report in self.of(column) if not name or report.name == name
        ]  # fmt: skip
        return [values for values in chosen if values]


def evaluate_contestants(
    contestants: Sequence[Contestant], sets: Path, *, modes: tuple[Mode, ...] = MODES,
    limit_queries: int | None = None, report: Callable[[str], None],
) -> Evaluation:  # fmt: skip
    """Measure contestants and BM25 on every set; a set is read and cut once, and encoded once a contestant.

    Args:
        contestants: The first is the one that is judged. Of two of one name the later one is renamed.
        sets: A folder of sets in BEIR layout, or one.
        modes: Of the app's search. Keywords are the same for all and measured with the first contestant only.
        limit_queries: Take the first so many queries of a set; None is all.
        report: Called with a short sentence as the work goes on.

    Raises:
        UsageError: There is no set, or one is not as it should be.
    """
    contestants = give_own_names(contestants)
    folders = find_sets(sets)
    reports: list[Report] = []
    for number, folder in enumerate(folders, 1):
        name = folder.name if folder == sets else folder.relative_to(sets).as_posix()
        test_set = read_set(folder, name=name, limit_queries=limit_queries)
        passages = cut_documents(test_set)
        reports.append(evaluate_words(test_set))
        for place, contestant in enumerate(contestants):
            own = modes if not place else tuple(mode for mode in modes if mode != "keywords")
            begin = f"set {number} of {len(folders)}, {contestant.name}, "
            reports += _measure(contestant, test_set, passages, own, lambda text, begin=begin: report(begin + text))  # type: ignore[misc]
    systems = (System(name=each.name, fingerprint=each.encoder.fingerprint, widths=each.widths) for each in contestants)
    return Evaluation(systems=tuple(systems), reports=tuple(reports))


def _measure(
    contestant: Contestant, test_set: TestSet, passages: list[list[Passage]], modes: tuple[Mode, ...],
    report: Callable[[str], None],
) -> list[Report]:  # fmt: skip
    """A contestant's reports on a set; keywords once, since they are the same at every width."""
    if not modes:
        return []
    found = evaluate_set(
        test_set, contestant.encoder, modes=modes, widths=contestant.widths, passages=passages,
        system=contestant.name, report=report,
    )  # fmt: skip
    return [each for each in found if each.mode != "keywords" or each.width == contestant.widths[0]]


def evaluation_json(evaluation: Evaluation) -> dict[str, Any]:
    """Everything as an object for JSON.

    Its `reports` are those of the judged system at its own width, a row a set and mode; `others` are the other
    systems' and widths'; `means` and `languages` a row a column; `differences` a row a pair and set, language or mean.
    """
    judged = evaluation.systems[0]
    own: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    for each in evaluation.reports:
        (own if (each.system, each.width) == (judged.name, judged.widths[0]) else others).append(as_json(each))
    return {
        "retriever": judged.fingerprint,
        "dim": judged.widths[0],
        "systems": [
            {"name": each.name, "fingerprint": each.fingerprint, "widths": list(each.widths)}
            for each in evaluation.systems
        ],
        "baseline": DESCRIPTION,
        "reports": own,
        "others": others,
        "means": [
            column._asdict() | _describe(evaluation.score(column)) | _average(evaluation.of(column))
            for column in evaluation.columns
        ],
        "languages": [
            {"language": language} | column._asdict() | _describe(evaluation.score(column, language=language))
            | {"queries": sum(each.languages.count(language) for each in evaluation.of(column))}
            for language in evaluation.languages for column in evaluation.columns
        ],
        "differences": list(_list_differences(evaluation)),
    }  # fmt: skip


def _list_differences(evaluation: Evaluation) -> Iterator[dict[str, Any]]:
    for column, base in evaluation.pairs():
        against = {f"against_{key}": value for key, value in base._asdict().items()}
        found = [("mean", "", evaluation.difference(column, base))]
        found += [("set", name, evaluation.difference(column, base, name=name)) for name in evaluation.sets]
        found += [
            ("language", each, evaluation.difference(column, base, language=each)) for each in evaluation.languages
        ]
        for scope, name, interval in found:
            yield {"scope": scope, "name": name} | column._asdict() | against | _describe(interval)


def _describe(interval: Interval) -> dict[str, float]:
    return {
        "ndcg10": round(interval.mean, 4), "ndcg10_low": round(interval.low, 4), "ndcg10_high": round(interval.high, 4),
    }  # fmt: skip


def _average(reports: Sequence[Report]) -> dict[str, float]:
    return {
        "recall10": round(sum(each.recall10 for each in reports) / len(reports), 4),
        "mrr": round(sum(each.mrr for each in reports) / len(reports), 4),
        "sets": len(reports),
        "queries": sum(each.queries for each in reports),
    }
