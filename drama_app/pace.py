"""How long the rest of a sync takes: from bytes while nothing is cut, then from passages.

Bytes alone mislead as soon as one file is large: it counted for nothing until it was finished, so that "3.2 s" became
"35 min" for what was done after 49 s. Passages are what takes time, and those of a file are known once it is cut.
"""

import threading
import time

LEAST_SHARE = 0.01
LEAST_SECONDS = 2.0  # before, or with less done, any figure would be chance


class Pace:
    """What of the bytes is read, and how many passages came of it. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._bytes = self._settled = self._waiting = self._cut = 0

    def expect(self, size: int) -> None:
        """So many bytes are still to come."""
        self._bytes = self._settled + size

    def cut(self, size: int, passages: int) -> None:
        """A file was cut into passages, which wait for the encoder."""
        with self._lock:
            self._waiting += size
            self._cut += passages

    def store(self, size: int) -> None:
        """All passages of a file that was cut are stored; `settle` counts it."""
        with self._lock:
            self._waiting -= size

    def settle(self, size: int) -> None:
        """A file is done with, in whatever way."""
        with self._lock:
            self._settled += size

    def spent(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._started

    def seconds_left(self, encoded: int) -> float | None:
        """What the rest takes, if its bytes hold as many passages as those so far; None while that is a guess."""
        spent = self.spent()
        with self._lock:
            read = (self._settled + self._waiting) / self._bytes if self._bytes else 0.0
            share = read * encoded / self._cut if self._cut else read
        return spent / share - spent if share > LEAST_SHARE and spent > LEAST_SECONDS else None
