"""Owns what the loop is fed: groups and passages as token rows, and which of them make up the batch of a step.

The batch of a step follows from the seed, the step and how many groups were drawn before, so that a run that goes on
draws what it would have drawn. Memory: 4 bytes a token and 4 a candidate; no text is kept.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from drama_app.errors import UsageError
from trainer.overlap import NOTHING, refuse_overlap
from trainer.recipe import TrainRecipe
from trainer.records import Passage, TrainingGroup, read_records, text_id
from trainer.train.neighbours import order_by_neighbours

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Numbers = NDArray[np.int64]

log = logging.getLogger(__name__)

_BLOCK = 4096
"""Texts that are tokenised at a time."""


@dataclass(frozen=True, slots=True)
class Ragged:
    """Rows of different length, one after the other."""

    flat: NDArray[np.int32]
    ends: Numbers
    """Where row 0 starts, and where each row ends: [rows + 1]."""

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, row: int) -> NDArray[np.int32]:
        return self.flat[self.ends[row] : self.ends[row + 1]]

    @staticmethod
    def build(rows: Iterable[Sequence[int] | NDArray[np.int32]]) -> "Ragged":
        """Pack rows of whole numbers."""
        parts = [np.asarray(row, dtype=np.int32) for row in rows]
        flat = np.concatenate(parts) if parts else np.zeros(0, dtype=np.int32)
        return Ragged(flat, np.cumsum([0, *(len(part) for part in parts)], dtype=np.int64))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """Groups whose queries and passages are token rows; passages by their row."""

    queries: Ragged
    passages: Ragged
    positives: Ragged
    negatives: Ragged
    query_kinds: Numbers
    """int64 [groups]: equal for queries of the same text."""
    strata: tuple[tuple[str, str], ...]
    """Kind and language of each stratum."""
    stratum: Numbers
    """int64 [groups]"""
    lines: Numbers
    """int64 [groups]: place of each group in its file, counted from 0, since a recipe may leave groups out."""
    pad: int
    teacher: "TeacherVectors | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherVectors:
    """Embeddings of a teacher, in the order of the files of groups and of passages."""

    queries: NDArray[np.floating[Any]]
    """[lines of the file of groups, T]"""
    passages: NDArray[np.floating[Any]]
    """[passages, T]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The texts of a step, each passage once, and how they belong together."""

    groups: Numbers
    """int64 [B]: rows of `TrainingData.queries`."""
    lines: Numbers
    """int64 [B]: their places in the file of groups."""
    passages: Numbers
    """int64 [P]: rows of `TrainingData.passages`."""
    positives: Numbers
    """int64 [B]: place in `passages`."""
    query_kinds: Numbers
    answers: Numbers
    """int64 [B, any]: rows of all passages that answer a query, in the batch or not, filled up with -1."""


def load_data(
    groups: Path, passages: Path, tokenizer: Path, recipe: TrainRecipe, *, pad: int,
    evaluation: Mapping[str, str] = NOTHING, teacher: TeacherVectors | None = None,
) -> TrainingData:  # fmt: skip
    """Read groups and the passages that they name.

    Args:
        groups: A file of `TrainingGroup`.
        passages: A file of `Passage`.
        tokenizer: A `tokenizer.json`; its post-processor adds special tokens.
        recipe: Prefixes and lengths.
        pad: Token id that fills rows up.
        evaluation: Ids of texts that must not occur, from `collect_ids`.
        teacher: For distillation.

    Raises:
        UsageError: Groups name a passage that is not there, hold texts of an evaluation set, or are too few.
    """
    reader = _open_tokenizer(tokenizer)
    places, rows = _read_passages(passages, reader, recipe, evaluation)
    numbered = _choose_groups(groups, recipe)
    wanted = [group for _, group in numbered]
    kinds = [text_id(group.query) for group in wanted]
    refuse_overlap(kinds, evaluation, str(groups))
    strata = sorted({(group.kind, group.language) for group in wanted})
    order = {stratum: place for place, stratum in enumerate(strata)}
    return TrainingData(
        queries=_tokenise(reader, (recipe.query_prefix + group.query for group in wanted), recipe.query_tokens),
        passages=rows,
        positives=Ragged.build(_look_up(group.positives, places, groups) for group in wanted),
        negatives=Ragged.build(_look_up(group.negatives, places, groups) for group in wanted),
        query_kinds=np.unique(np.array(kinds), return_inverse=True)[1].astype(np.int64),
        strata=tuple(strata),
        stratum=np.array([order[group.kind, group.language] for group in wanted], dtype=np.int64),
        lines=np.array([line for line, _ in numbered], dtype=np.int64),
        pad=pad,
        teacher=teacher,
    )


def divide_groups(data: TrainingData, share: float, *, seed: int) -> tuple[TrainingData, TrainingData]:
    """A part of the groups and the rest, chosen by chance; both name the same passages."""
    order = np.random.default_rng([seed, 5]).permutation(len(data.queries))
    end = int(len(order) * share)
    return _take_groups(data, np.sort(order[:end])), _take_groups(data, np.sort(order[end:]))


def _take_groups(data: TrainingData, chosen: Numbers) -> TrainingData:
    return replace(
        data,
        queries=Ragged.build(data.queries[row] for row in chosen),
        positives=Ragged.build(data.positives[row] for row in chosen),
        negatives=Ragged.build(data.negatives[row] for row in chosen),
        query_kinds=data.query_kinds[chosen],
        stratum=data.stratum[chosen],
        lines=data.lines[chosen],
    )


class Sampler:
    """Draws batches: strata by their weight, groups of a stratum in shuffled rounds, neighbours together if asked."""

    def __init__(self, data: TrainingData, recipe: TrainRecipe) -> None:
        self._data, self._recipe = data, recipe
        self._unit = max(1, recipe.neighbours)
        self._order = lru_cache(maxsize=len(data.strata))(self._order_members)
        self._size = min(recipe.batch, len(data.queries))
        self._members = [np.flatnonzero(data.stratum == place) for place in range(len(data.strata))]
        counts = [(*name, len(rows)) for name, rows in zip(data.strata, self._members, strict=True)]
        self._weights = weigh_strata(counts, recipe)
        self._languages = np.unique([language for _, language in data.strata], return_inverse=True)[1]
        self.drawn = [0] * len(data.strata)
        """Groups drawn from each stratum so far: all that a run needs to go on."""

    def draw(self, step: int) -> Batch:
        """The batch of a step; call it once a step, in order."""
        chooser = np.random.default_rng([self._recipe.seed, step])
        weights = self._weights
        if chooser.random() < self._recipe.same_language:
            by_language = np.bincount(self._languages, weights=self._weights)
            language = chooser.choice(len(by_language), p=by_language / by_language.sum())
            weights = np.where(self._languages == language, self._weights, 0.0)
        chosen: dict[int, None] = {}
        self._fill(chosen, weights, chooser)
        # A language with too few groups for a batch is topped up with others.
        self._fill(chosen, self._weights, chooser)
        return self._assemble(np.fromiter(chosen, dtype=np.int64), chooser)

    def _fill(self, chosen: dict[int, None], weights: NDArray[np.float64], chooser: np.random.Generator) -> None:
        missing = self._size - len(chosen)
        left = np.array([len(rows) for rows in self._members]) - np.bincount(
            self._data.stratum[list(chosen)], minlength=len(self._members)
        )
        while missing > 0 and (open_weights := np.where(left > 0, weights, 0.0)).sum() > 0:
            units = chooser.multinomial(-(-missing // self._unit), open_weights / open_weights.sum())
            counts = np.minimum(units * self._unit, left)
            counts -= np.maximum(np.cumsum(counts) - missing, 0).clip(max=counts)  # the last unit may be cut
            for stratum in np.flatnonzero(counts):
                self._deal(int(stratum), int(counts[stratum]), chosen)
            left -= counts
            missing -= int(counts.sum())

    def _deal(self, stratum: int, count: int, chosen: dict[int, None]) -> None:
        """Add the next `count` groups of a stratum that are not chosen already."""
        members, wanted = self._members[stratum], len(chosen) + count
        while len(chosen) < wanted:
            turn, place = divmod(self.drawn[stratum], len(members))
            cards = self._order(stratum, turn)[place : place + wanted - len(chosen)]
            self.drawn[stratum] += len(cards)
            chosen.update(dict.fromkeys(map(int, cards)))

    def _order_members(self, stratum: int, turn: int) -> Numbers:
        """The groups of a stratum as they are dealt in a round."""
        chooser, members = np.random.default_rng([self._recipe.seed, 1, stratum, turn]), self._members[stratum]
        if self._unit == 1:
            return chooser.permutation(members)
        data = self._data
        assert data.teacher is not None  # the loop has seen to it
        firsts = np.array([data.positives[int(row)][0] for row in members])
        vectors = _unit(data.teacher.queries[data.lines[members]]) + _unit(data.teacher.passages[firsts])
        return members[order_by_neighbours(vectors, self._unit, chooser)]

    def _assemble(self, groups: Numbers, chooser: np.random.Generator) -> Batch:
        data = self._data
        positives = np.array([chooser.choice(data.positives[row]) for row in groups], dtype=np.int64)
        negatives = [
            chooser.permutation(data.negatives[row])[: self._recipe.hard_negatives].astype(np.int64) for row in groups
        ]
        passages, inverse = np.unique(np.concatenate([positives, *negatives]), return_inverse=True)
        answers = [data.positives[row] for row in groups]
        table = np.full((len(groups), max(map(len, answers))), -1, dtype=np.int64)
        for place, row in enumerate(answers):
            table[place, : len(row)] = row
        return Batch(
            groups=groups, lines=data.lines[groups], passages=passages,
            positives=inverse[: len(groups)].astype(np.int64), query_kinds=data.query_kinds[groups], answers=table,
        )  # fmt: skip


def _unit(vectors: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    rows = np.asarray(vectors, dtype=np.float32)
    scaled: NDArray[np.float32] = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return scaled


def weigh_strata(strata: Sequence[tuple[str, str, int]], recipe: TrainRecipe) -> NDArray[np.float64]:
    """How often each stratum (kind, language, groups) is drawn; the weights add up to 1.

    A kind has its share of the mixture, or that of its groups; inside it a language has its groups to the power of
    `language_exponent`.
    """
    flattened = [count**recipe.language_exponent for _, _, count in strata]
    shares: dict[str, float] = dict(recipe.mixture)
    totals: dict[str, float] = {}
    for (kind, _, count), flat in zip(strata, flattened, strict=True):
        totals[kind] = totals.get(kind, 0.0) + flat
        if not recipe.mixture:
            shares[kind] = shares.get(kind, 0.0) + count
    weights = np.array([shares[kind] * flat / totals[kind] for (kind, *_), flat in zip(strata, flattened, strict=True)])
    normed: NDArray[np.float64] = weights / weights.sum()
    return normed


def _choose_groups(path: Path, recipe: TrainRecipe) -> list[tuple[int, TrainingGroup]]:
    """The groups of the kinds that the recipe mixes, with their places in the file."""
    everything = list(enumerate(read_records(path, TrainingGroup)))
    numbered = [pair for pair in everything if _is_wanted(pair[1], recipe)]
    if left_out := len(everything) - len(numbered):
        log.warning("%d of %d groups are of kinds that the mixture does not name", left_out, len(everything))
    if len(numbered) < 2:
        raise UsageError(f"{path}: {len(numbered)} groups of the kinds that the recipe mixes, too few to train on")
    return numbered


def _read_passages(
    path: Path, reader: "Tokenizer", recipe: TrainRecipe, evaluation: Mapping[str, str]
) -> tuple[dict[str, int], Ragged]:
    """The row of each passage by its id, and the rows."""
    places: dict[str, int] = {}
    ids: list[str] = []

    def iterate_texts() -> Iterator[str]:
        for passage in read_records(path, Passage):
            places[passage.id] = len(ids)
            whole = text_id(passage.embedded)
            ids.append(whole if whole in evaluation else text_id(passage.text))
            yield recipe.passage_prefix + passage.embedded

    rows = _tokenise(reader, iterate_texts(), recipe.passage_tokens)
    refuse_overlap(ids, evaluation, str(path))
    return places, rows


def _is_wanted(group: TrainingGroup, recipe: TrainRecipe) -> bool:
    return bool(group.positives) and (not recipe.mixture or recipe.mixture.get(group.kind, 0) > 0)


def _look_up(ids: Sequence[str], places: dict[str, int], groups: Path) -> list[int]:
    try:
        return [places[each] for each in ids]
    except KeyError as error:
        raise UsageError(f"{groups}: passage {error} is not among the passages; mine again from one corpus") from None


def _open_tokenizer(path: Path) -> "Tokenizer":
    from tokenizers import Tokenizer

    try:
        tokenizer: Tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare exceptions
        raise UsageError(f"{path}: cannot be read as a tokenizer ({error})") from error
    tokenizer.no_padding()
    return tokenizer


def read_rows(tokenizer: Path, texts: Iterable[str], recipe: TrainRecipe) -> Ragged:
    """Token rows of texts as of passages."""
    return _tokenise(
        _open_tokenizer(tokenizer), (recipe.passage_prefix + text for text in texts), recipe.passage_tokens
    )


def _tokenise(tokenizer: "Tokenizer", texts: Iterable[str], most: int) -> Ragged:
    tokenizer.enable_truncation(most)
    remaining = iter(texts)
    rows: list[NDArray[np.int32]] = []
    while block := list(islice(remaining, _BLOCK)):
        rows += [np.array(each.ids, dtype=np.int32) for each in tokenizer.encode_batch_fast(block)]
    return Ragged.build(rows)
