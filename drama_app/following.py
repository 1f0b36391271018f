"""Following the roots: catch up once, then sync each set of changes, and say in one line how far behind the index is.

Owns the line of state and the loop; which paths changed is the watcher's business, what to do about them the sync's.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from drama_app.config import Settings, make_private
from drama_app.errors import DiskError, UsageError
from drama_app.manifest import Manifest
from drama_app.records import NOT_UP_TO_DATE, Progress, SyncReport
from drama_app.roots import rules_for
from drama_app.watcher import watch

if TYPE_CHECKING:
    from filelock import BaseFileLock

    from drama_app.library import Library

log = logging.getLogger(__name__)

_DISK_ERRORS = (OSError, RuntimeError, DiskError)
"""A full or vanished disk, as the system, LanceDB and the parts of the index tell it."""


def follow(
    library: "Library",
    manifest: Manifest,
    settings: Settings,
    *,
    on_report: Callable[[SyncReport], None],
    on_state: Callable[[str], None],
    on_progress: Callable[[Progress], None] | None,
    stop: threading.Event,
) -> None:
    """Keeps the index true until `stop` is set.

    Raises:
        UsageError: another process follows this index already.
    """
    lock = _lock(settings)
    state = _State(manifest, on_state)
    try:
        state.say("catching up with the disk")
        settle, poll = settings.settle_seconds, settings.poll_seconds
        rules = partial(rules_for, manifest, settings)
        report: SyncReport | None = None
        # The watcher starts first: what changes during the catch-up is not missed.
        for change in watch(library.roots, rules, stop=stop, settle=settle, poll_seconds=poll):
            state.notes = change.notes
            if report is None and not change.paths and library.roots():
                continue  # the next report names every root: a look at them now would be one of two
            if report is None or change.paths:
                paths = None if report is None else change.paths
                run = partial(library.sync, paths, on_progress=state.follow(on_progress, change.since), stop=stop)
                if (report := _insist(run, state, poll, stop)) is None:
                    return
                on_report(report)
            state.rest(report)
    finally:
        with suppress(DiskError):  # an index that was deleted cannot be written, and is told of already
            manifest.put(watch_state="")
        lock.release()


def _lock(settings: Settings) -> "BaseFileLock":
    from filelock import FileLock, Timeout

    lock = FileLock(make_private(settings.state_folder) / "watch.lock", thread_local=False, mode=0o600)
    try:
        lock.acquire(timeout=1)  # a `status` holds it for a moment, to see whether anybody watches
    except Timeout:
        raise UsageError("this index is watched already by another drama-app") from None
    return lock


def _insist(run: Callable[[], SyncReport], state: "_State", seconds: float, stop: threading.Event) -> SyncReport | None:
    """Runs a sync until the disk lets it; None if `stop` was set meanwhile."""
    while not stop.is_set():
        try:
            return run()
        except _DISK_ERRORS as error:
            log.warning("the sync is tried again in %g s", seconds, exc_info=True)
            state.say(f"{NOT_UP_TO_DATE}: {error}; trying again every {seconds:g} s")
            stop.wait(seconds)
    return None


class _State:
    """The line of state: for the terminal, and in the manifest for `status` in other processes."""

    def __init__(self, manifest: Manifest, on_state: Callable[[str], None]) -> None:
        self._manifest = manifest
        self._on_state = on_state
        self._said = self._kept = ""
        self.notes: tuple[str, ...] = ()

    def say(self, line: str) -> None:
        """Tells what is new. A line that a full disk does not take is kept with the next call."""
        # File names that are no UTF-8 can be neither kept nor shown as they are.
        line = "; ".join((line, *self.notes)).encode("utf-8", "replace").decode()
        if line != self._kept:
            with suppress(DiskError):
                self._manifest.put(watch_state=line)
                self._kept = line
        if line != self._said:
            self._said = line
            self._on_state(line)

    def rest(self, report: SyncReport) -> None:
        """What holds when a sync is done."""
        self.say(f"up to date: {report.documents:,} documents, 0 pending{self._failures(report)}")

    def _failures(self, report: SyncReport) -> str:
        line = f", {self._manifest.number_of('failed'):,} failed"
        if report.failed:
            line += f" (for example {report.failed[-1].path.name}: {report.failed[-1].reason})"
        return line

    def follow(self, on_progress: Callable[[Progress], None] | None, since: float) -> Callable[[Progress], None]:
        """A progress callback that keeps the line of state about once a second."""
        told = 0.0

        def report(progress: Progress) -> None:
            nonlocal told
            now = time.monotonic()
            if progress.phase == "index" and now - told > 1.0:
                told = now
                pending = progress.files_total - progress.files_done
                self.say(f"{now - since:.0f} s behind: {pending:,} pending, {progress.failed:,} failed")
            if on_progress is not None:
                on_progress(progress)

        return report
