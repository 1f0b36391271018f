"""Progress of a long run, and stopping it: a live line on a terminal, else a line every ten seconds.

Owns the two answers to Ctrl-C: the first lets the run finish what it writes, the second ends it at once.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from drama_app.output import Output, clean_for_terminal
from drama_app.records import Progress

if TYPE_CHECKING:
    from rich.status import Status as Spinner

LINE_SECONDS = 10.0
GO_ON = "stopped; run the same command to continue"


@contextmanager
def stopping(output: Output) -> Iterator[threading.Event]:
    """Yields an event that Ctrl-C (or a polite end by the system) sets; a second Ctrl-C ends the program at once."""
    stop = threading.Event()

    def handle(_: int, __: FrameType | None) -> None:
        if stop.is_set():
            # Threads may be deep in the encoder or the store: nothing short of this stops them now. The index
            # survives it as it survives a power cut.
            os.write(2, b"\x1b[?25h\n" if sys.stderr.isatty() else b"\n")
            os._exit(130)
        stop.set()
        output.note("stopping: finishing what is being written (Ctrl-C again stops at once)")

    numbers = [signal.SIGINT, signal.SIGTERM] if threading.current_thread() is threading.main_thread() else []
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def showing_progress(output: Output) -> Iterator[Callable[[Progress], None]]:
    """Yields the function that takes each `Progress` and shows it on stderr."""
    if output.quiet:
        yield lambda _: None
    elif output.stderr.isatty() and os.environ.get("TERM") != "dumb":
        with output.note_console().status("looking at the files") as spinner:
            yield lambda progress: _update(spinner, progress)
    else:
        yield _Lines(output).take


def _update(spinner: "Spinner", progress: Progress) -> None:
    from rich.text import Text

    spinner.update(Text(describe_progress(progress), overflow="ellipsis", no_wrap=True))


class _Lines:
    """A line now and then, for logs and pipes."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._last = time.monotonic()

    def take(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._last >= LINE_SECONDS:
            self._last = now
            self._output.note(describe_progress(progress))


def describe_progress(progress: Progress) -> str:
    """Returns one line: files, passages, rate, time left, the current file."""
    if progress.phase == "scan":
        return "looking at the files"
    if progress.phase == "tidy":
        return "tidying the index"
    parts = [f"files {progress.files_done:,} of {progress.files_total:,}", f"passages {progress.passages:,}"]
    if progress.passages_per_second:
        parts.append(f"{progress.passages_per_second:,.0f}/s")
    if progress.failed:
        parts.append(f"failed {progress.failed:,}")
    if progress.seconds_left is not None:
        minutes, seconds = divmod(round(progress.seconds_left), 60)
        parts.append(f"{minutes // 60}:{minutes % 60:02}:{seconds:02} left")
    if progress.current is not None:
        parts.append(clean_for_terminal(progress.current.name))
    return " · ".join(parts)
