"""Owns the way from queries to training groups: what a retriever ranks first answers, what it ranks later does not.

Queries that people wrote keep their own answers; those made from a passage also take its near neighbours. It writes no
query and judges none by an LLM. Every query and every candidate that is left out is counted by its reason.
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from drama_app.errors import UsageError
from trainer.overlap import NOTHING
from trainer.recipe import MineRecipe
from trainer.records import Passage, Query, RecordWriter, TrainingGroup, make_key, read_partial, read_records
from trainer.retrieve import StoredVectors, Vectors, encode_passages, gather, search

if TYPE_CHECKING:
    from drama_app.embed import Encoder

_BLOCK = 1024
"""Queries that are encoded, searched and written at a time."""
_FULL_SCALE = 6.0
"""log10 of the corpus for which the recipe's ranks are meant; the paper's has 25 million passages."""
_SMALLEST = 3.0
"""log10 of the corpus in which only a query's own passage may answer it."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """Which ranks answer and from which on passages do not."""

    positives: int
    first_negative: int


@dataclass(slots=True)
class MineReport:
    """What became of queries and candidates."""

    groups: int = 0
    negatives: int = 0
    positives: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    """Queries by reason."""
    passed_over: Counter[str] = field(default_factory=Counter)
    """Candidates for negatives by reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Corpus:
    """Passages without their texts."""

    ids: list[str]
    places: dict[str, int]
    languages: NDArray[np.int64]
    """Number of each passage's language; -1 where it is not known."""
    names: list[str]
    ranks: list[Ranks]
    """By language, the last for passages whose language is not known."""
    vectors: StoredVectors
    """Of no passage, if no ranks are looked at."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A query with all passages that are known to answer it."""

    query: Query
    own: tuple[int, ...]


def mine(
    queries: Iterable[Query], passages: Path, encoder: "Encoder", recipe: MineRecipe, out: Path, *, work: Path,
    evaluation: Mapping[str, str] = NOTHING, report: Callable[[str], None] | None = None,
) -> MineReport:  # fmt: skip
    """Make a training group of each query, going on where an interrupted call stopped.

    Args:
        queries: In an order that does not change; queries of the same text become one group.
        passages: A file of `Passage`, each id once.
        encoder: Any retriever.
        recipe: Ranks and margins.
        out: The file of groups.
        work: Folder for the vectors, which a later call with the same encoder and passages uses again.
        evaluation: Ids of texts of test sets: such queries are left out.
        report: Called with a short sentence as the work goes on.

    Raises:
        UsageError: A passage comes twice, or no group is left.
    """
    corpus = _open_corpus(passages, encoder, recipe, work, report)
    progress = out.with_name(out.name + ".progress.json")
    counts, done = MineReport(), 0
    wanted = _join_queries(queries, corpus, evaluation, counts)
    key = make_key(encoder.fingerprint, encoder.dim, repr(recipe), passages, [each.query.id for each in wanted])
    if progress.exists():
        begun, done = _read_progress(progress, key, out)
        counts = begun if done else counts
    with RecordWriter(out, resume=done > 0, keep=counts.groups) as writer:
        for block in _iterate_blocks(wanted, done):
            for group in _mine_block(block, encoder, corpus, recipe, counts):
                writer.write(group)
            done += len(block)
            writer.flush()
            _write_progress(progress, key, counts, done)
            if report:
                report(f"{done:,} of {len(wanted):,} queries, {counts.groups:,} groups")
        if not counts.groups:
            raise UsageError(f"no training group is left ({dict(counts.rejected) or 'there was no query'})")
    progress.unlink()
    return counts


def scale_ranks(passages: int, recipe: MineRecipe) -> Ranks:
    """Ranks for a corpus of so many passages.

    A tenth of the corpus holds fewer passages that answer. From a million down to a thousand the number of answers
    falls in proportion to the logarithm, to one, and the band of negatives moves up with it.
    """
    share = (math.log10(max(passages, 1)) - _SMALLEST) / (_FULL_SCALE - _SMALLEST)
    positives = max(1, round(recipe.positives * min(1.0, max(0.0, share))))
    first = 1 + round((recipe.first_negative - 1) * positives / max(recipe.positives, 1))
    return Ranks(positives, max(first, positives + 1))


def _iterate_blocks(wanted: "list[_Wanted]", done: int) -> Iterator[list[_Wanted]]:
    """The queries after the first `done`, in blocks."""
    for start in range(done, len(wanted), _BLOCK):
        yield wanted[start : start + _BLOCK]


def _open_corpus(
    path: Path, encoder: "Encoder", recipe: MineRecipe, work: Path, report: Callable[[str], None] | None
) -> _Corpus:
    places: dict[str, int] = {}
    numbers: dict[str, int] = {}
    languages: list[int] = []
    for passage in read_records(path, Passage):
        if places.setdefault(passage.id, len(places)) != len(languages):
            raise UsageError(f"{path}: passage {passage.id} comes twice; build the corpus again")
        languages.append(numbers.setdefault(passage.language, len(numbers)) if passage.language else -1)
    vectors: StoredVectors = np.zeros((0, encoder.dim), dtype=np.float16)
    if recipe.depth:
        vectors = encode_passages(encoder, path, work, report=report)
    known = np.array(languages, dtype=np.int64)
    sizes = [*np.bincount(known[known >= 0], minlength=len(numbers)).tolist(), len(languages)]
    return _Corpus(
        ids=list(places), places=places, languages=known, names=[*numbers, ""],
        ranks=[scale_ranks(size, recipe) for size in sizes], vectors=vectors,
    )  # fmt: skip


def _join_queries(
    queries: Iterable[Query], corpus: _Corpus, evaluation: Mapping[str, str], counts: MineReport
) -> list[_Wanted]:
    joined: dict[str, _Wanted] = {}
    for query in queries:
        place = corpus.places.get(query.passage)
        if query.id in evaluation:
            counts.rejected["in an evaluation set"] += 1
        elif place is None:
            counts.rejected["its passage is not in the corpus"] += 1
        elif (first := joined.get(query.id)) is None:
            joined[query.id] = _Wanted(query, (place,))
        else:
            counts.rejected["the same question once more"] += 1
            # What a person wrote stands before what a model made of the same words.
            best = query if query.exact and not first.query.exact else first.query
            joined[query.id] = _Wanted(best, tuple(dict.fromkeys((*first.own, place))))
    return list(joined.values())


def _mine_block(
    block: list[_Wanted], encoder: "Encoder", corpus: _Corpus, recipe: MineRecipe, counts: MineReport
) -> Iterator[TrainingGroup]:
    if not recipe.depth:
        for wanted in block:
            counts.groups += 1
            counts.positives += len(wanted.own)
            yield _write_group(wanted, corpus)
        return
    vectors = np.asarray(encoder.encode_queries([each.query.text for each in block]), dtype=np.float32)
    scores, rows = search(vectors, corpus.vectors, recipe.depth, block=recipe.block)
    for place, wanted in enumerate(block):
        group = _make_group(wanted, vectors[place], scores[place], rows[place], corpus, recipe, counts)
        if isinstance(group, str):
            counts.rejected[group] += 1
            continue
        counts.groups += 1
        counts.positives += len(group.positives)
        counts.negatives += len(group.negatives)
        yield group


def _make_group(
    wanted: _Wanted, vector: Vectors, scores: Vectors, rows: NDArray[np.int64], corpus: _Corpus, recipe: MineRecipe,
    counts: MineReport,
) -> TrainingGroup | str:  # fmt: skip
    """The group of a query, or why there is none."""
    own_scores = gather(corpus.vectors, wanted.own) @ vector
    language = int(corpus.languages[wanted.own[0]])
    spoken = corpus.languages[rows]
    near = (spoken == language) | (spoken < 0) | (language < 0)
    counts.passed_over["another language"] += int((~near).sum())
    scores, rows = scores[near], rows[near]
    ranks = corpus.ranks[language]
    positives = dict(zip(wanted.own, own_scores.tolist(), strict=True))
    if not wanted.query.exact:
        if recipe.round_trip and not set(wanted.own) & set(rows[: recipe.round_trip].tolist()):
            return "its passage does not come back"
        near_enough = scores[: ranks.positives] >= own_scores.max() - recipe.positive_margin
        answers = rows[: ranks.positives][near_enough].tolist()
        positives |= dict(zip(answers, scores[: ranks.positives][near_enough].tolist(), strict=True))
    negatives = _choose_negatives(positives, scores, rows, ranks, corpus.vectors, recipe, counts.passed_over)
    return replace(
        _write_group(wanted, corpus),
        positives=tuple(corpus.ids[row] for row in positives),
        positive_scores=tuple(round(score, 4) for score in positives.values()),
        negatives=tuple(corpus.ids[row] for row in negatives),
        negative_scores=tuple(round(score, 4) for score in negatives.values()),
    )


def _write_group(wanted: _Wanted, corpus: _Corpus) -> TrainingGroup:
    """A query and its own passages."""
    query, spoken = wanted.query, corpus.names[int(corpus.languages[wanted.own[0]])]
    crosses = query.language and spoken and spoken != query.language
    return TrainingGroup(
        query=query.text, kind=query.kind, source=query.source,
        language=f"{query.language}>{spoken}" if crosses else query.language or spoken,
        positives=tuple(corpus.ids[row] for row in wanted.own),
    )  # fmt: skip


def _choose_negatives(
    positives: dict[int, float], scores: Vectors, rows: NDArray[np.int64], ranks: Ranks, vectors: StoredVectors,
    recipe: MineRecipe, passed_over: Counter[str],
) -> dict[int, float]:  # fmt: skip
    """Rows and cosines of the first passages of the band that answer nothing."""
    scores, rows = scores[ranks.first_negative - 1 :], rows[ranks.first_negative - 1 :]
    highest = max(positives.values()) - recipe.margin
    alike = (gather(vectors, rows) @ gather(vectors, list(positives)).T).max(1, initial=-1.0)
    chosen: dict[int, float] = {}
    for row, score, likeness in zip(rows.tolist(), scores.tolist(), alike.tolist(), strict=True):
        if len(chosen) == recipe.negatives:
            break
        if row in positives:
            passed_over["a positive"] += 1
        elif likeness > recipe.same_passage:
            passed_over["says the same as a positive"] += 1
        elif score > highest:
            passed_over["too near the positive's score"] += 1
        else:
            chosen[row] = score
    return chosen


def _read_progress(path: Path, key: str, out: Path) -> tuple[MineReport, int]:
    try:
        state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return MineReport(), 0  # Cut short by a crash: mined anew, from vectors that are there.
    if state.pop("key") != key:
        return MineReport(), 0
    done = state.pop("done")
    rejected, passed_over = Counter(state.pop("rejected")), Counter(state.pop("passed_over"))
    report = MineReport(**state, rejected=rejected, passed_over=passed_over)
    # After a power cut it may be ahead of the groups.
    return report, done if sum(1 for _ in read_partial(out, TrainingGroup)) >= report.groups else 0


def _write_progress(path: Path, key: str, counts: MineReport, done: int) -> None:
    state = {
        "key": key, "done": done, "groups": counts.groups, "negatives": counts.negatives,
        "positives": counts.positives, "rejected": counts.rejected, "passed_over": counts.passed_over,
    }  # fmt: skip
    written = path.with_name(path.name + ".new")
    written.write_text(json.dumps(state), encoding="utf-8")
    written.replace(path)
