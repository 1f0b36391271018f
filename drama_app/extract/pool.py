"""A few child processes that read files, each under a limit of time and memory, replaced when they break.

Owns starting, timing, replacing and ending the children; what they do is in `worker.py`. Neither `multiprocessing`
(which opens sockets for its helpers) nor fork without exec (unsafe beside the encoder's threads) is used: a child is
this Python started afresh with two pipes. It needs 0.1 s, so it is kept for many files.
"""

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Self

from drama_app.errors import ExtractionError
from drama_app.extract.worker import LENGTH, MEMORY_EXIT, decode_outcome, encode_request
from drama_app.records import Document

log = logging.getLogger(__name__)

DEFAULT_MEMORY_MB = 400  # with the encoder beside it the app stays under 1 GB
DEFAULT_TIMEOUT = 120.0
STOP_POLL_SECONDS = 0.2
_PACKAGE_PARENT = str(Path(__file__).resolve().parents[2])
_START = (
    "import sys; n = int(sys.argv[3]); sys.path[:] = sys.argv[4:4 + n]; "
    "from drama_app.extract.worker import main; main()"
)

_WINDOWS_FLAGS = getattr(subprocess, "CREATE_NO_WINDOW", 0) | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)

Outcome = Document | ExtractionError


class ExtractionPool:
    """Reads files in up to `workers` child processes. Use as a context manager; `close` may come from any thread."""

    def __init__(
        self,
        workers: int = 1,
        timeout: float = DEFAULT_TIMEOUT,
        memory_mb: int = DEFAULT_MEMORY_MB,
        *,
        stop: threading.Event | None = None,
    ) -> None:
        """Starts nothing yet.

        Args:
            workers: Children at most.
            timeout: Seconds a file may take.
            memory_mb: Megabytes (2**20 bytes) a child may use, about 50 of them for itself.
            stop: When set, `extract_all` ends within 0.2 s and what is under way is dropped.
        """
        self._workers, self._timeout, self._memory_mb = workers, timeout, memory_mb
        self._stop = stop or threading.Event()
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="extract")
        self._lock = threading.Lock()
        self._idle: list[_Child] = []
        self._busy: dict[_Child, object] = {}
        """Each with the `extract_all` that it works for."""
        self._dropped: object = None
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends every child at once, also those in the middle of a file."""
        with self._lock:
            self._closed = True
            children = [*self._idle, *self._busy]
            self._idle.clear()
        for child in children:
            child.kill()
        self._executor.shutdown(wait=True, cancel_futures=True)
        for child in children:
            child.close()

    def extract_one(self, path: Path) -> Document:
        """Return the text of one file.

        Raises:
            ExtractionError: there is none, or the file broke a limit.
        """
        outcome = self._executor.submit(self._extract, path, None).result()
        if isinstance(outcome, ExtractionError):
            raise outcome
        return outcome

    def extract_all(self, requests: Iterable[Path]) -> Iterator[tuple[Path, Outcome]]:
        """Yield each file with its outcome as it is done, in no order; `requests` is read in this thread, lazily.

        At most two files a worker are under way or waiting. Closing the iterator ends what is under way.
        """
        results: SimpleQueue[tuple[Path, Outcome | BaseException]] = SimpleQueue()
        owner = object()
        waiting, pulled_all, source = 0, False, iter(requests)
        try:
            while not self._ended():
                while not pulled_all and waiting < 2 * self._workers and results.empty():
                    path = next(source, None)
                    if path is None:
                        pulled_all = True
                    else:
                        waiting += 1
                        self._submit(path, results, owner)
                if pulled_all and not waiting:
                    return
                try:
                    done, outcome = results.get(timeout=STOP_POLL_SECONDS)
                except Empty:
                    continue
                waiting -= 1
                if isinstance(outcome, BaseException) and not isinstance(outcome, ExtractionError):
                    raise outcome
                if not self._ended():
                    yield done, outcome
        finally:
            if waiting:
                self._drop(owner)

    def _ended(self) -> bool:
        return self._closed or self._stop.is_set()

    def _submit(self, path: Path, results: "SimpleQueue[tuple[Path, Outcome | BaseException]]", owner: object) -> None:
        def work() -> None:
            try:
                results.put((path, self._extract(path, owner)))
            except BaseException as error:  # raised again where it is waited for
                results.put((path, error))

        with contextlib.suppress(RuntimeError):  # closed meanwhile: the loop sees it
            self._executor.submit(work)

    def _drop(self, owner: object) -> None:
        """Ends the children that work for an abandoned `extract_all`."""
        self._dropped = owner
        with self._lock:
            children = [child for child, works_for in self._busy.items() if works_for is owner]
        for child in children:
            child.kill()

    # --- in a thread of the executor -------------------------------------------------------------------------

    def _extract(self, path: Path, owner: object) -> Outcome:
        while True:
            child = self._borrow(owner)
            if child is None:
                return ExtractionError("reading was stopped")
            fresh = child.served == 0
            outcome, out_of_memory = self._ask(child, path)
            # What earlier files left in a child must not decide about this one.
            if fresh or not (out_of_memory or (child.dead and not child.timed_out)):
                return outcome

    def _borrow(self, owner: object) -> "_Child | None":
        with self._lock:
            if self._ended() or (owner is not None and owner is self._dropped):
                return None
            child = self._idle.pop() if self._idle else _Child(timeout=self._timeout, memory_mb=self._memory_mb)
            self._busy[child] = owner
            return child

    def _ask(self, child: "_Child", path: Path) -> tuple[Outcome, bool]:
        outcome: Outcome
        try:
            outcome, out_of_memory = child.ask(path)
        except _ChildError as death:
            out_of_memory = death.out_of_memory
            outcome = ExtractionError(str(death))
        if out_of_memory:
            outcome = ExtractionError(f"needs more than {self._memory_mb} MB of memory to read")
        with self._lock:
            del self._busy[child]
            keep = not (child.dead or child.worn or self._closed)
            if keep:
                self._idle.append(child)
        if not keep:
            child.close()
        return outcome, out_of_memory


class _ChildError(Exception):
    """A child ended without an answer; the text is the reason as a person reads it."""

    def __init__(self, reason: str, *, out_of_memory: bool = False) -> None:
        super().__init__(reason)
        self.out_of_memory = out_of_memory


class _Child:
    """One process. Used by one thread at a time; only `kill` may come from another."""

    def __init__(self, *, timeout: float, memory_mb: int) -> None:
        self._timeout, self._memory_mb = timeout, memory_mb
        self.served = 0
        self.worn = self.dead = self.timed_out = False
        self._process = subprocess.Popen(
            _command(timeout, memory_mb),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
            cwd=os.sep,  # a child must not hold an unmounting drive
            # Out of the terminal's group: Ctrl-C is for the parent alone.
            process_group=None if sys.platform == "win32" else 0,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0)
            | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout

    def ask(self, path: Path) -> tuple[Outcome, bool]:
        """Return the outcome for one file, and whether memory ran out.

        Raises:
            _ChildError: it gave none.
        """
        limit = threading.Timer(self._timeout, self._end_late)
        limit.daemon = True
        limit.start()
        try:
            self._requests.write(encode_request(path))
            self._requests.flush()
            header = json.loads(self._read(LENGTH.unpack(self._read(LENGTH.size))[0]))
            outcome = decode_outcome(header, self._read_text())
        except (OSError, EOFError, ValueError, TypeError, KeyError) as error:
            self.dead = True
            self.kill()
            raise self._describe_death(error) from error
        finally:
            limit.cancel()
        self.served += 1
        self.worn = bool(header["worn"]) or self.timed_out  # it may have been ended just after its answer
        return outcome, bool(header["out_of_memory"])

    def kill(self) -> None:
        """Ends the process at once."""
        self._process.kill()

    def close(self) -> None:
        """Ends the process and frees what belongs to it."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._requests, self._answers):
            with contextlib.suppress(OSError):  # a request may still be in the buffer of a broken pipe
                pipe.close()

    def _end_late(self) -> None:
        self.timed_out = True
        self._process.kill()

    def _read(self, size: int) -> bytes:
        if size > self._memory_mb << 20:
            raise ValueError("an answer larger than the child's memory")
        data = self._answers.read(size)
        if len(data) < size:
            raise EOFError
        return data

    def _read_text(self) -> str:
        blocks: list[str] = []
        received = 0
        while size := LENGTH.unpack(self._read(LENGTH.size))[0]:
            received += size
            if received > self._memory_mb << 20:
                raise ValueError("an answer larger than the child's memory")
            blocks.append(self._read(size).decode("utf-8", "surrogatepass"))
        return "".join(blocks)

    def _describe_death(self, error: Exception) -> _ChildError:
        try:
            # An answer that makes no sense comes from a child that still runs: it is killed by us.
            status = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return _ChildError("broke the reader (it cannot be ended)")
        log.warning("a reader ended with status %d (%r)", status, error)
        if self.timed_out or status == -getattr(signal, "SIGALRM", 14):
            return _ChildError(f"gave no text within {self._timeout:g} s")
        if status == MEMORY_EXIT:
            return _ChildError("broke the reader (out of memory)", out_of_memory=True)
        if isinstance(error, (ValueError, TypeError, KeyError)):
            return _ChildError("broke the reader (its answer makes no sense)")
        if status < 0:
            return _ChildError(f"broke the reader (killed by signal {-status})")
        return _ChildError(f"broke the reader (exit status {status})")


def _command(timeout: float, memory_mb: int) -> list[str]:
    """The child's command line: isolated from the environment and the working folder, with this process's modules."""
    paths = [entry for entry in sys.path if entry]
    if _PACKAGE_PARENT not in paths:
        paths.append(_PACKAGE_PARENT)
    utf8 = ["-X", "utf8"] if sys.flags.utf8_mode else []
    return [sys.executable, "-I", *utf8, "-c", _START, str(memory_mb), str(timeout), str(len(paths)), *paths]


def _environment() -> dict[str, str]:
    """One thread a child: numpy's pool would cost each child memory and the encoder its cores."""
    single = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
    return {**os.environ, **single}
