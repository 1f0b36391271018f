"""Owns the question whether two texts are nearly the same: MinHash over sequences of five characters.

Characters serve every script, those without spaces too. It keeps signatures, never texts.
"""

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from trainer.records import normalise

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SHINGLE = 5
_BANDS, _ROWS = 12, 5
"""Texts that share 0.8 of their sequences meet in a band 99 times of 100, those that share 0.5 in 3 of 10; a
candidate is then judged by its whole signature. 240 bytes a text and 12 entries of a dictionary, about 1.5 kB."""


def sign(text: str) -> "NDArray[np.uint32]":
    """The signature uint32 [60] of a text: equal entries estimate the share of common sequences."""
    import numpy as np

    codes = np.frombuffer(normalise(text).encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    if len(codes) < _SHINGLE:
        codes = np.pad(codes, (0, _SHINGLE - len(codes)))
    shingles = np.zeros(len(codes) - _SHINGLE + 1, dtype=np.uint64)
    for place in range(_SHINGLE):
        shingles = shingles * np.uint64(0x9E3779B97F4A7C15) + codes[place : place + len(shingles)]
    shingles = np.unique(shingles ^ (shingles >> np.uint64(31)))
    lowest: NDArray[np.uint64] = (_draw_factors() * shingles).min(axis=1)
    return (lowest >> np.uint64(32)).astype(np.uint32)


@cache
def _draw_factors() -> "NDArray[np.uint64]":
    """Odd numbers uint64 [60, 1]: multiplying by each is a hash function of its own."""
    import numpy as np

    chooser = np.random.default_rng(20)
    return chooser.integers(0, 2**63, (_BANDS * _ROWS, 1), dtype=np.uint64) * np.uint64(2) + np.uint64(1)


class NearDuplicates:
    """The texts seen so far, and which of them a further one resembles."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._signatures: list[NDArray[np.uint32]] = []
        self._first: dict[int, int] = {}

    def add(self, text: str) -> int | None:
        """Look a text up, then keep it under the next number, counted from 0.

        Returns:
            The number of the first text found that shares at least the threshold, None if there is none; a text
            that resembles another is not kept and takes no number.
        """
        signature = sign(text)
        keys = list(self._iterate_keys(signature))
        candidates = sorted({self._first[key] for key in keys if key in self._first})
        for candidate in candidates:
            if (self._signatures[candidate] == signature).mean() >= self._threshold:
                return candidate
        for key in keys:
            self._first.setdefault(key, len(self._signatures))
        self._signatures.append(signature)
        return None

    @staticmethod
    def _iterate_keys(signature: "NDArray[np.uint32]") -> Iterator[int]:
        for band in range(_BANDS):
            yield hash((band, signature[band * _ROWS : (band + 1) * _ROWS].tobytes()))
