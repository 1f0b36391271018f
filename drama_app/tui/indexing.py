"""Keeps the index true while the app is open: one thread that follows the roots, with pause, resume and cancel.

Owns the thread; `Library.watch` does the work. It tells the app by messages and touches no widget.
"""

import logging
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from textual.message import Message

from drama_app.errors import DramaError, Interrupted, UsageError
from drama_app.listing import count_of
from drama_app.records import Progress, SyncReport
from drama_app.tui.messages import (
    Failed,
    IndexingChanged,
    Progressed,
    StateSaid,
    SyncEnded,
    WorkEnded,
)

if TYPE_CHECKING:
    from drama_app.library import Library

log = logging.getLogger(__name__)

RETRY_SECONDS = 3.0
"""Between looks at whether the other drama-app that follows has ended."""
IndexingState = Literal["off", "following", "paused", "elsewhere", "failed", "stopping"]
"""off: nothing to follow. elsewhere: another drama-app follows this index; when it ends, this one does. failed: the
reason is shown. stopping: the app ends, or cancelled folders are paused, once what is being written is finished."""


class Indexing:
    """The thread that follows the roots of one library. Its methods are called by the UI and never wait."""

    def __init__(self, library: "Library", post: Callable[[Message], bool]) -> None:
        self._library = library
        self._post = post
        self._stop = threading.Event()
        self._stop_once = threading.Event()
        self._thread: threading.Thread | None = None
        self._current: Path | None = None
        self._is_elsewhere = False
        self._lock = threading.RLock()

    @property
    def is_following(self) -> bool:
        """Whether the roots are followed, or will be when the other drama-app ends, and not about to be left."""
        return self._thread is not None and self._thread.is_alive() and not self._stop.is_set()

    def start(self) -> None:
        """Catches up and follows from now on; nothing happens if it does already."""
        with self._lock:
            if self.is_following:
                return
            before, self._stop = self._thread, threading.Event()
            self._thread = threading.Thread(
                target=self._follow, args=(before, self._stop), name="indexing", daemon=True
            )
            self._thread.start()

    def pause(self) -> None:
        """Stops after what is being written; `start` goes on from there."""
        self._stop.set()
        self._stop_once.set()
        self._post(IndexingChanged("paused"))

    def restart(self) -> None:
        """Looks at every root again and follows on."""
        with self._lock:
            self._stop.set()
            self.start()

    def between(self, work: Callable[[], object]) -> None:
        """Runs `work` while nothing is followed, and goes on as before; waits, so not for the UI's thread.

        A change that needs the writer's lock would else wait until a long sync has ended.
        """
        with self._lock:
            followed = self.is_following
            self._stop.set()
            thread = self._thread
        if thread is not None:
            thread.join()
        try:
            work()
        finally:
            if followed:
                self.start()

    def cancel(self) -> None:
        """Gives up what is being indexed and follows the other roots on. Waits.

        Paused are the root of the file at hand and those that were never complete. "incomplete" would be too many: at
        the start of a sync every root is.
        """
        self._stop_once.set()
        current = self._current

        def pause_unfinished() -> None:
            for root in self._library.status().roots:
                at_hand = current is not None and root.path in (current, *current.parents)
                if (at_hand or root.synced is None) and root.state in ("incomplete", "never synced"):
                    self._library.pause(root.path)

        self.between(pause_unfinished)

    def close(self, *, seconds: float = 5.0) -> None:
        """Stops and waits a while for the thread to finish what it writes."""
        self._stop.set()
        self._stop_once.set()
        if self._thread is not None:
            self._thread.join(seconds)

    def retry(self, paths: Iterable[Path]) -> None:
        """Reads failed files again, in a thread."""
        wanted = tuple(paths)

        def work(stop: threading.Event) -> str:
            report = self._library.retry(wanted, on_progress=self._tell, stop=stop)
            self._post(SyncEnded(report))
            failed = len({each.path for each in report.failed} & set(wanted))
            again = f"; {failed:,} failed again, the reasons are in F4" if failed else ""
            return f"Read again: {len(wanted) - failed:,} of {len(wanted):,}{again}"

        self._begin(work)

    def read_again(self) -> None:
        """Lets every file be read again, in a thread, and follows on with that."""

        def work(stop: threading.Event) -> str:
            files = self._library.forget_reading(stop=stop)
            self.restart()
            return f"{count_of(files, 'file')} to read again"

        self._begin(work)

    def switch(self, folder: Path | None) -> None:
        """Embeds everything again with another retriever, in a thread, while following waits."""

        def work(stop: threading.Event) -> str:
            name = self._library.use_retriever(folder, on_progress=self._tell, stop=stop)
            if self._thread is not None and not self._stop.is_set():
                self.start()  # following had ended if the retriever before was gone
            return f"The index uses {name} now"

        self._begin(work)

    def _begin(self, work: Callable[[threading.Event], str]) -> None:
        if self._stop_once.is_set():
            self._stop_once = threading.Event()
        stop = self._stop_once

        def run() -> None:
            try:
                self._post(WorkEnded(work(stop)))
            except Interrupted:
                self._post(WorkEnded("Stopped: what is finished is kept, and the next try goes on from there"))
            except (DramaError, OSError) as error:
                self._post(WorkEnded())
                self._post(Failed(str(error)))
            except Exception as error:  # a full disk is a RuntimeError of LanceDB's
                log.critical("work on the index ended unexpectedly", exc_info=True)
                self._post(WorkEnded())
                self._post(
                    Failed(f"This failed unexpectedly ({type(error).__name__}: {error}). Details are in the log")
                )

        threading.Thread(target=run, name="indexing-once", daemon=True).start()

    def _follow(self, before: threading.Thread | None, stop: threading.Event) -> None:
        if before is not None:
            before.join()  # two would refuse each other
        if stop.is_set():
            return
        self._is_elsewhere = False
        self._post(IndexingChanged("following"))
        try:
            while not stop.is_set() and not self._try_to_follow(stop):
                stop.wait(RETRY_SECONDS)
        except (DramaError, OSError) as error:
            log.warning("following ended", exc_info=True)
            self._post(IndexingChanged("failed", str(error)))
        except Exception as error:
            log.critical("following ended unexpectedly", exc_info=True)
            self._post(IndexingChanged("failed", f"{type(error).__name__}: {error}"))

    def _try_to_follow(self, stop: threading.Event) -> bool:
        """Follows until `stop`; False if another drama-app does, which may end."""

        def say(line: str) -> None:
            if self._is_elsewhere:  # the first line: the other one has ended
                self._is_elsewhere = False
                self._post(IndexingChanged("following"))
            self._say(line)

        try:
            self._library.watch(on_report=self._report, on_state=say, on_progress=self._tell, stop=stop)
        except UsageError as error:
            if not self._is_elsewhere:
                self._is_elsewhere = True
                self._post(IndexingChanged("elsewhere", str(error)))
            return False
        return True

    def _tell(self, progress: Progress) -> None:
        self._current = progress.current or self._current
        self._post(Progressed(progress))

    def _report(self, report: SyncReport) -> None:
        self._current = None
        self._post(SyncEnded(report))

    def _say(self, line: str) -> None:
        self._post(StateSaid(line))
