"""A file on its way into the index, and the two places where jobs wait: before the encoder and after it.

`Ahead` bounds the text that waits for the encoder; `Writer` gathers what is encoded into batches worth a LanceDB
version and stores them in the background. Neither knows what a job means beyond its passages.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from drama_app.records import Document, Passage
from drama_app.scan import Found

WRITE_PASSAGES = 512  # rows a LanceDB version: 200 single-row writes left 627 files, see LOG.md
WRITE_SECONDS = 3.0  # but what is finished is searchable within this time
TICK = 0.2  # how soon a stop, or a batch that has waited long enough, is noticed while nothing comes

Vectors = NDArray[np.float32]
Batch = tuple[int, list[Passage], Vectors]
"""Document number, its passages and their vectors [passages, dim]."""


@dataclass(slots=True)
class Job:
    """One file on its way into the index."""

    found: Found
    checked_ns: int
    digest: bytes | None = None
    number: int = 0
    reuse: tuple[int, ...] = ()
    """Documents whose vectors serve again where the text is the same: the file's former content."""
    document: Document | None = None
    passages: list[Passage] = field(default_factory=list)
    known: dict[str, NDArray[np.float32]] | None = None
    """Vectors of `reuse` by embedded text; None until they are looked up."""
    copies: list["Job"] = field(default_factory=list)
    """Files with the same content, met while this one was on its way."""

    @property
    def suffix(self) -> str:
        """The ending of the name, which with the content decides the kind."""
        return self.found.path.suffix.lower()

    @property
    def title(self) -> str:
        """The document's, once there is one."""
        assert self.document is not None
        return self.document.title


class Ahead:
    """A queue of jobs that holds a bounded amount of text."""

    def __init__(self, characters: int) -> None:
        self._room = threading.Condition()
        self._held = 0
        self._limit = characters
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self.abandoned = False
        self.error: BaseException | None = None

    def put(self, job: Job) -> None:
        """Adds a job, after waiting for room."""
        assert job.document is not None
        with self._room:
            # A document larger than the whole room still passes, alone.
            self._room.wait_for(lambda: self._held < self._limit or self.abandoned)
            self._held += len(job.document.text)
        self._queue.put(job)

    def release(self, job: Job) -> None:
        """The job's passages are with the writer: its text is no longer needed."""
        assert job.document is not None
        with self._room:
            self._held -= len(job.document.text)
            job.document = replace(job.document, text="")
            self._room.notify()

    def idle(self) -> bool:
        """True if nothing waits."""
        return self._queue.empty()

    def end(self) -> None:
        """No more jobs will come."""
        self._queue.put(None)

    def abandon(self) -> None:
        """Nobody will take jobs any more: `put` no longer waits."""
        with self._room:
            self.abandoned = True
            self._room.notify()

    def __iter__(self) -> Iterator[Job | None]:
        """The jobs as they come; None whenever none has come for a tick."""
        while not self.abandoned:
            try:
                job = self._queue.get(timeout=TICK)
            except queue.Empty:
                yield None
                continue
            if job is None:
                return
            yield job


class Writer:
    """Gathers encoded passages and stores them in the background, one batch at a time."""

    def __init__(
        self, store: Callable[[Iterable[Batch]], None], settle: Callable[[Job], None], executor: ThreadPoolExecutor
    ) -> None:
        self._store = store
        self._settle = settle
        self._executor = executor
        self._running: Future[None] | None = None
        self._rows: list[tuple[Job, list[Passage], Vectors]] = []
        self._left: dict[int, int] = {}
        self._finished: list[Job] = []
        self._flushed = time.monotonic()

    def take(self, window: list[tuple[Job, Passage]], vectors: Vectors) -> None:
        """Takes an encoded window, whose passages stand in order, a document's next to each other."""
        start = 0
        while start < len(window):
            job = window[start][0]
            end = start
            while end < len(window) and window[end][0] is job:
                end += 1
            self._rows.append((job, [passage for _, passage in window[start:end]], vectors[start:end]))
            left = self._left.pop(job.number, len(job.passages)) - (end - start)
            if left:
                self._left[job.number] = left
            else:
                self._finished.append(job)
            start = end
        if sum(len(passages) for _, passages, _ in self._rows) >= WRITE_PASSAGES:
            self.flush()
        self.flush_late()

    def flush_late(self) -> None:
        """Stores what has waited long enough; to be called when nothing comes, too: one slow file delays no other."""
        if (self._rows or self._finished) and time.monotonic() - self._flushed > WRITE_SECONDS:
            self.flush()

    def finish(self, job: Job) -> None:
        """A document without passages."""
        self._finished.append(job)

    def flush(self) -> None:
        """Starts to store what has been taken, after the batch before is stored."""
        self.wait()
        rows, finished = self._rows, self._finished
        self._rows, self._finished = [], []
        self._flushed = time.monotonic()
        if rows or finished:
            self._running = self._executor.submit(self._write, rows, finished)

    def _write(self, rows: list[tuple[Job, list[Passage], Vectors]], finished: list[Job]) -> None:
        if rows:
            self._store((job.number, passages, vectors) for job, passages, vectors in rows)
        for job in finished:
            self._settle(job)

    def wait(self) -> None:
        """Waits until the batch under way is stored; raises what went wrong there."""
        if self._running is not None:
            self._running.result()
            self._running = None
