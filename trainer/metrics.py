"""Retrieval metrics as trec_eval defines them, and intervals for them. Pure numbers in, numbers out.

It reads no file and runs no search.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_RESAMPLES = 2000
_CHOICES = 1 << 18
"""Drawn at a time."""
LEAST = 6
"""Values below which an interval is everything that is possible: of five that all agree a sign test says no more than
chance (two-sided .06), while resampling one gives an interval without any width."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and the range in which it lies with 95 % confidence."""

    mean: float
    low: float
    high: float


def order_by_score(scores: Mapping[str, float]) -> list[str]:
    """Ids by falling score; ties in falling order of their ids, as trec_eval breaks them."""
    return sorted(scores, key=lambda item: (scores[item], item), reverse=True)


def ndcg(ranking: Sequence[str], relevant: Mapping[str, float], k: int = 10) -> float:
    """Normalised discounted cumulative gain of the first k, with linear gains, 0 to 1.

    Args:
        ranking: Ids, best first, each once.
        relevant: Grade of each judged id; grades of 0 and below gain nothing.
        k: How many ranks count.
    """
    from math import log2

    gains = sorted((grade for grade in relevant.values() if grade > 0), reverse=True)[:k]
    ideal = sum(gain / log2(rank + 1) for rank, gain in enumerate(gains, 1))
    found = (max(0.0, relevant.get(item, 0.0)) for item in ranking[:k])
    return sum(gain / log2(rank + 1) for rank, gain in enumerate(found, 1)) / ideal if ideal else 0.0


def recall(ranking: Sequence[str], relevant: Mapping[str, float], k: int = 10) -> float:
    """Share of the relevant ids that stand among the first k."""
    wanted = {item for item, grade in relevant.items() if grade > 0}
    return len(wanted.intersection(ranking[:k])) / len(wanted) if wanted else 0.0


def reciprocal_rank(ranking: Sequence[str], relevant: Mapping[str, float]) -> float:
    """One over the rank of the first relevant id, 0 if there is none."""
    return next((1 / rank for rank, item in enumerate(ranking, 1) if relevant.get(item, 0) > 0), 0.0)


def bootstrap(values: Sequence[float], *, seed: int = 0) -> Interval:
    """Mean of values from 0 to 1 with the 95 % interval of a percentile bootstrap over queries.

    Raises:
        ValueError: There are no values.
    """
    return bootstrap_sets([values], seed=seed)


def bootstrap_sets(sets: Sequence[Sequence[float]], *, seed: int = 0, lowest: float = 0.0) -> Interval:
    """Mean over sets of the means over their queries; queries are drawn anew inside each set.

    Drawn inside itself a set of one query never varies, and would be taken for certain. So these sets are drawn from
    each other; where only one is so small, nothing but its value is known of it, and it may have any other.

    Args:
        sets: Values of each set's queries, from `lowest` to 1; fewer than `LEAST` in all tell nothing.
        seed: Of the draws.
        lowest: Value that a query can have.

    Raises:
        ValueError: There is no set, or one has no values.
    """
    import numpy as np

    samples = [np.asarray(values, dtype=np.float64) for values in sets]
    if not samples or not all(len(sample) for sample in samples):
        raise ValueError("no values to take a mean of")
    mean = float(np.mean([sample.mean() for sample in samples]))
    if sum(map(len, samples)) < LEAST:
        return Interval(mean, lowest, 1.0)
    chooser = np.random.default_rng(seed)
    drawn = [_resample(sample, chooser) for sample in samples if len(sample) > 1]
    alone = np.asarray([sample[0] for sample in samples if len(sample) == 1])
    if len(alone):
        drawn.append(len(alone) * _resample(alone, chooser))
    low, high = np.percentile(np.sum(drawn, axis=0) / len(samples), [2.5, 97.5])
    if len(alone) == 1:
        low, high = low - (alone[0] - lowest) / len(samples), high + (1 - alone[0]) / len(samples)
    return Interval(mean, float(low), float(high))


def paired_bootstrap(values: Sequence[float], baseline: Sequence[float], *, seed: int = 0) -> Interval:
    """Mean difference `values` - `baseline` of the same queries, with its 95 % interval.

    Raises:
        ValueError: They are not of the same queries, or there are none.
    """
    return paired_bootstrap_sets([values], [baseline], seed=seed)


def paired_bootstrap_sets(
    sets: Sequence[Sequence[float]], baselines: Sequence[Sequence[float]], *, seed: int = 0
) -> Interval:
    """`paired_bootstrap` of the mean over sets.

    Raises:
        ValueError: They are not of the same sets and queries, or there are none.
    """
    pairs = zip(sets, baselines, strict=True)
    differences = [[value - base for value, base in zip(*pair, strict=True)] for pair in pairs]
    return bootstrap_sets(differences, seed=seed, lowest=-1.0)


def _resample(sample: "NDArray[np.float64]", chooser: "np.random.Generator") -> "NDArray[np.float64]":
    """Means [resamples] of samples drawn with replacement."""
    import numpy as np

    # Few rows of choices at a time keep a set of a million queries within memory.
    rows = max(1, _CHOICES // len(sample))
    parts = [min(rows, _RESAMPLES - start) for start in range(0, _RESAMPLES, rows)]
    return np.concatenate(
        [sample[chooser.integers(0, len(sample), (part, len(sample)))].mean(axis=1) for part in parts]
    )
