"""What a verb tells while it works: sentences and one changing line, on stderr. Results are for stdout."""

import json
import sys
from pathlib import Path

from drama_app.errors import UsageError


def show_progress(text: str) -> None:
    """Show a line that the next one replaces; on a terminal only."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


def say(text: str) -> None:
    """Tell a sentence that stays."""
    show_progress("")
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def write_json(path: Path, content: object) -> None:
    """Write JSON for people and programs.

    Raises:
        UsageError: The file cannot be written.
    """
    try:
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error})") from error
