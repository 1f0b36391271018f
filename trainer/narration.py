"""What a verb tells while it works: sentences and one changing line, on stderr. Results are for stdout."""

import json
import os
import shutil
import sys
import time
from pathlib import Path

from drama_app.errors import UsageError
from drama_app.output import clean_for_terminal

_QUIET = 60.0
"""Seconds between lines of progress where stderr is a file: a night's log stays readable."""


def show_progress(text: str) -> None:
    """Show a line that the next one replaces, as much of it as fits; on a terminal only."""
    if sys.stderr.isatty():
        # Of a line that wraps only the last part could be replaced.
        room = max(1, shutil.get_terminal_size().columns - 1)
        sys.stderr.write(f"\r\x1b[K{clean_for_terminal(text)[:room]}")
        sys.stderr.flush()


def say(text: str) -> None:
    """Tell a sentence that stays."""
    show_progress("")
    sys.stderr.write(f"{clean_for_terminal(text, lines=True)}\n")
    sys.stderr.flush()


class Narrator:
    """Progress of one stage: a changing line on a terminal, now and then a line elsewhere."""

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._told = time.monotonic()

    def __call__(self, text: str) -> None:
        """Tell how far it is."""
        if sys.stderr.isatty():
            show_progress(f"{self._stage}: {text}")
        elif time.monotonic() - self._told > _QUIET:
            self._told = time.monotonic()
            say(f"{self._stage}: {text}")


def check_place(path: Path) -> None:
    """See that a file can be written, before the hours whose result goes there.

    Raises:
        UsageError: It cannot.
    """
    folder = path.parent
    if path.is_dir() or not folder.is_dir() or not os.access(path if path.exists() else folder, os.W_OK):
        why = "is a folder" if path.is_dir() else "there is no such folder, or it may not be written"
        raise UsageError(f"{path}: cannot be written ({why})")


def write_json(path: Path, content: object) -> None:
    """Write JSON for people and programs.

    Raises:
        UsageError: The file cannot be written.
    """
    try:
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error})") from error
