"""The lock that lets one process write to the index at a time.

Owns waiting for it, and that a person can stop the wait. Readers never take it.
"""

import threading
from pathlib import Path

from drama_app.errors import Interrupted

LOCK = "writer.lock"
"""In the state folder."""


class WriterLock:
    """Lets one process write at a time; the others wait, and can be stopped while they do."""

    def __init__(self, path: Path, stop: threading.Event | None) -> None:
        """Takes nothing yet; `stop` ends the wait; None waits for a moment only."""
        from filelock import FileLock

        self._lock = FileLock(path, thread_local=False, mode=0o600)
        self._stop = stop

    def __enter__(self) -> None:
        from filelock import Timeout

        while True:
            try:
                self._lock.acquire(timeout=0.25)
                return
            except Timeout:
                if self._stop is None or self._stop.is_set():
                    raise Interrupted("stopped while another drama-app was writing to the index") from None

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def is_taken(folder: Path) -> bool:
    """Whether another process writes just now: who is going to wait can say so."""
    from filelock import FileLock, Timeout

    if not (folder / LOCK).exists():
        return False
    try:
        with FileLock(folder / LOCK, timeout=0, thread_local=False, mode=0o600):
            return False
    except Timeout:
        return True
