"""Owns which groups stand beside which in a batch: neighbourhoods of questions and passages that a teacher finds alike.

Passages of strangers teach a retriever little that ranks already; those of neighbours are hard negatives that cost no
token more. Shapes: N groups, T width of the teacher.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Numbers = NDArray[np.int64]


def order_by_neighbours(vectors: Floats, size: int, chooser: np.random.Generator) -> Numbers:
    """An order of the rows in which each run of `size` are neighbours, and runs follow each other by chance.

    A row chosen by chance takes the nearest of those that none has taken; the last ones take what is left, so other
    draws make other neighbourhoods. One product of N x T a neighbourhood: N * N * T / size in all.

    Args:
        vectors: float32 [N, T].
        size: Rows of a neighbourhood; 1 is plain shuffling.
        chooser: Chance.

    Returns:
        int64 [N]: a permutation, one incomplete neighbourhood at most, the last.
    """
    order = chooser.permutation(len(vectors))
    if size <= 1:
        return order
    runs: list[Numbers] = []
    free = np.ones(len(vectors), dtype=bool)
    for seed in order:
        if not free[seed]:
            continue
        rows = np.flatnonzero(free)
        scores = vectors[rows] @ vectors[seed] if len(rows) > size else np.zeros(len(rows), dtype=np.float32)
        near = rows[np.argpartition(-scores, size - 1)[:size]] if len(rows) > size else rows
        free[near] = False
        runs.append(near)
    last = [runs.pop()] if len(runs[-1]) < size else []
    return np.concatenate([*(runs[row] for row in chooser.permutation(len(runs))), *last])
