"""Starts the app in a terminal and gives the terminal back as it was.

Owns the process's stderr meanwhile: libraries write warnings and progress to it, which would tear the screen, so it
goes to the log file and Textual draws on a copy.
"""

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from drama_app.config import Settings, make_private
from drama_app.tui.terminal_answers import Answers, ask_terminal, count_cells_as

if TYPE_CHECKING:
    from drama_app.tui.app import DramaApp


def run_app(settings: Settings) -> int:
    """Runs the app until the person leaves; returns the exit code."""
    gc.disable()  # until the first paint, see `DramaApp`: looking through what imports make is a tenth of the start
    with stderr_to_log(settings):
        answers = [Answers()]  # if asking fails
        asking = threading.Thread(target=lambda: answers.append(ask_terminal()), name="asking")
        asking.start()  # while the imports run
        from drama_app.tui.app import DramaApp

        asking.join()
        count_cells_as(answers[-1])
        app = DramaApp(settings, answers[-1].background)
        asyncio.run(_run_until_left(app, mouse=settings.mouse))
        code = app.return_code or 0
    leave_at_once_if_indexing(code)
    return code


async def _run_until_left(app: "DramaApp", *, mouse: bool) -> None:
    """Runs the app. A plain kill and a closed terminal end it in order too: state kept, terminal as it was."""
    for name in ("SIGTERM", "SIGHUP"):
        with suppress(AttributeError, NotImplementedError):  # Windows has neither
            asyncio.get_running_loop().add_signal_handler(getattr(signal, name), app.exit, None, 1)
    await app.run_async(mouse=mouse)


def leave_at_once_if_indexing(code: int) -> None:
    """Ends the process if a thread still writes to the index after it was asked to stop.

    The interpreter's own end would pull the native threads of the encoder from under it, which aborts the process with
    a message and code 134. The index survives this as it survives a power cut.
    """
    if any(thread.name.startswith("indexing") for thread in threading.enumerate()):
        logging.shutdown()
        sys.stdout.flush()
        os._exit(code)


@contextmanager
def stderr_to_log(settings: Settings) -> Iterator[None]:
    """File descriptor 2 is the log file inside; `sys.__stderr__` still is the terminal."""
    make_private(settings.log_folder)
    log = os.open(settings.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    terminal = os.dup(2)
    before = sys.stderr, sys.__stderr__
    drawing = os.fdopen(os.dup(terminal), "w", encoding="utf-8", errors="replace")
    os.dup2(log, 2)
    sys.__stderr__ = drawing  # type: ignore[misc]  # Textual's driver draws on it
    try:
        yield
    finally:
        with suppress(OSError):  # the terminal may be gone: what it does not take is lost, the rest is put back
            drawing.flush()
        sys.stderr, sys.__stderr__ = before  # type: ignore[misc]
        os.dup2(terminal, 2)
        with suppress(OSError):
            drawing.close()
        os.close(terminal)
        os.close(log)
