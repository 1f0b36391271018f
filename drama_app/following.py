"""Following the roots: catch up once, then sync each set of changes, and say in one line how far behind the index is.

Owns the line of state and the loop; which paths changed is the watcher's business, what to do about them the sync's.
"""

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from drama_app.config import Settings, make_private
from drama_app.errors import UsageError
from drama_app.indexer import rules_for
from drama_app.manifest import Manifest
from drama_app.records import Progress, SyncReport
from drama_app.watcher import watch

if TYPE_CHECKING:
    from drama_app.library import Library


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
    from filelock import FileLock, Timeout

    lock = FileLock(make_private(settings.state_folder) / "watch.lock", thread_local=False, mode=0o600)
    try:
        lock.acquire(timeout=1)  # a `status` holds it for a moment, to see whether anybody watches
    except Timeout:
        raise UsageError("this index is watched already by another drama-app") from None
    state = _State(manifest, on_state)
    try:
        state.say("catching up with the disk")
        # The watcher starts first: what changes during the catch-up is not missed.
        changes = watch(
            library.roots,
            lambda root: rules_for(manifest, settings, root),
            stop=stop,
            settle=settings.settle_seconds,
            poll_seconds=settings.poll_seconds,
        )
        caught_up = False
        for change in changes:
            state.notes = change.notes
            if not caught_up:
                on_report(report := library.sync(on_progress=state.follow(on_progress, change.since), stop=stop))
                caught_up = True
            elif change.paths:
                follower = state.follow(on_progress, change.since)
                on_report(report := library.sync(change.paths, on_progress=follower, stop=stop))
            state.rest(report)
    finally:
        manifest.put(watch_state="")
        lock.release()


class _State:
    """The line of state: for the terminal, and in the manifest for `status` in other processes."""

    def __init__(self, manifest: Manifest, on_state: Callable[[str], None]) -> None:
        self._manifest = manifest
        self._on_state = on_state
        self._said = ""
        self.notes: tuple[str, ...] = ()

    def say(self, line: str) -> None:
        # File names that are no UTF-8 can be neither kept nor shown as they are.
        line = "; ".join((line, *self.notes)).encode("utf-8", "replace").decode()
        if line != self._said:
            self._said = line
            self._manifest.put(watch_state=line)
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
