"""Folders on their way out: for some seconds a removal can be undone, then it is carried out.

Owns the waiting. Taking a folder out deletes its vectors, which take long to make again, so nothing is deleted before
the time is over or the app ends.
"""

import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from drama_app.errors import DramaError

if TYPE_CHECKING:
    from textual.timer import Timer

    from drama_app.library import Library
    from drama_app.tui.app import DramaApp

log = logging.getLogger(__name__)

UNDO_SECONDS = 10.0
LAST_SECONDS = 3.0  # that the end of the app waits for another program that writes; then the folder stays


class Removals:
    """The folders that are being taken out, newest last."""

    def __init__(self, app: "DramaApp") -> None:
        self._app = app
        self._waiting: dict[Path, Timer] = {}
        self._leaving: set[Path] = set()
        self._stop = threading.Event()

    @property
    def paths(self) -> tuple[Path, ...]:
        """Folders that still can be kept, and those that are just being taken out."""
        return (*self._waiting, *self._leaving)

    @property
    def can_undo(self) -> bool:
        """Whether one still can be kept."""
        return bool(self._waiting)

    def begin(self, path: Path) -> None:
        """Takes `path` out of the index after some seconds; the files on disk stay."""
        if path not in self.paths:
            self._waiting[path] = self._app.set_timer(UNDO_SECONDS, lambda: self._carry_out(path))
            self._app.refresh_status()

    def undo(self) -> Path | None:
        """Keeps the folder that was removed last; returns it."""
        if not self._waiting:
            return None
        path, timer = self._waiting.popitem()
        timer.stop()
        self._app.refresh_status()
        return path

    def carry_out(self) -> None:
        """Takes out at once what waits: the app ends.

        Our own indexing must have stopped. Another program that writes is waited for a little; what it is in the way of
        stays in the index, and so does what was just being taken out.
        """
        last = threading.Timer(LAST_SECONDS, self._stop.set)
        last.daemon = True
        last.start()
        waiting, self._waiting = tuple(self._waiting), {}
        library = self._app.library
        if library is None:
            return
        for path in waiting:
            try:
                library.forget(path, stop=self._stop)
            except (DramaError, OSError):
                log.warning("%s could not be taken out at the end", path, exc_info=True)

    def _carry_out(self, path: Path) -> None:
        if self._waiting.pop(path, None) is None:
            return
        self._leaving.add(path)

        def forget(library: "Library") -> None:
            try:
                self._app.between_syncs(lambda: library.forget(path, stop=self._stop))
            finally:
                self._leaving.discard(path)
            self._app.call_from_thread(
                self._app.note, f"{path} was taken out of the index; its files stay where they are"
            )

        self._app.change(forget, "remove")
