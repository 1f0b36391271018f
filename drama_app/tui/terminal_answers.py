"""Asks the terminal what only it knows, before the UI takes over its input: the colour behind its text, and how many
cells it gives to marks. Unix only.

The questions (OSC 11, DSR 6) are xterm's; terminals that do not know them answer the last one (DA1, which all know), so
nobody waits for them.
"""

import os
import re
import select
import sys
import time
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

SECONDS = 0.3
"""For the answers; imports take as long meanwhile. A terminal next door answers within 5 ms."""
WITH_MARK, WITH_SELECTOR = "का", "❤\ufe0f"
"""A letter with a spacing mark, and a narrow sign that a selector makes a wide emoji: 1 or 2 cells each."""
QUESTION = f"\r{WITH_MARK}\x1b[6n\r{WITH_SELECTOR}\x1b[6n\r\x1b[K\x1b]11;?\x1b\\\x1b[c".encode()
_LAST = re.compile(rb"\x1b\[\?[\d;]*c")
_COLOUR = re.compile(rb"\]11;rgba?:([0-9a-fA-F]{1,4})/([0-9a-fA-F]{1,4})/([0-9a-fA-F]{1,4})")
_COLUMN = re.compile(rb"\x1b\[\d+;(\d+)R")


@dataclass(frozen=True, slots=True)
class Answers:
    """What a terminal said of itself."""

    background: str = ""
    """"light", "dark", or "" if it did not say."""
    mark: int = 1
    """Cells of a letter with a spacing mark."""
    emoji: int = 2
    """Cells of a sign with a selector that asks for an emoji."""


def ask_terminal(seconds: float = SECONDS) -> Answers:
    """Returns what the terminal says. Eats what is typed until the answer is there."""
    try:
        import termios
        import tty
    except ImportError:  # Windows
        return Answers()
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return Answers()
    source, answer, end = sys.stdin.fileno(), b"", time.monotonic() + seconds
    with suppress(OSError, termios.error):
        before = termios.tcgetattr(source)
        try:
            tty.setcbreak(source, termios.TCSANOW)
            os.write(sys.stdout.fileno(), QUESTION)
            while not _LAST.search(answer) and (left := end - time.monotonic()) > 0:
                if select.select([source], [], [], left)[0]:
                    answer += os.read(source, 1024)
        finally:
            termios.tcsetattr(source, termios.TCSANOW, before)
    return read_answer(answer)


def read_answer(answer: bytes) -> Answers:
    """Returns what an answer says; light and dark by luma (ITU-R BT.601)."""
    columns = [int(column) - 1 for column in _COLUMN.findall(answer)]
    cells = columns if len(columns) == 2 and set(columns) <= {1, 2} else [1, 2]
    colour = _COLOUR.search(answer)
    if colour is None:
        return Answers("", *cells)
    red, green, blue = (int(part, 16) / (16 ** len(part) - 1) for part in colour.groups())
    return Answers("light" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "dark", *cells)


def count_cells_as(answers: Answers) -> None:
    """Makes the table by which rows are laid out agree with the terminal.

    Rich gives spacing marks (Unicode Mc) no cell and emoji with a selector two, as newer terminals do. Others, tmux 3.3
    among them, do not, and a row of Hindi or Tamil then runs over its end and tears what stands beside it. Rich has no
    setting for it, so its table is exchanged.
    """
    if (answers.mark, answers.emoji) == (1, 2):
        return
    from rich import cells

    table = cells.load_cell_table("auto")  # type: ignore[attr-defined]
    changed = table._replace(
        widths=list(_take_out_marks(table.widths)) if answers.mark > 1 else table.widths,
        narrow_to_wide=frozenset() if answers.emoji == 1 else table.narrow_to_wide,
    )
    setattr(cells, "load_cell_table", lambda *_: changed)  # noqa: B010  all of Rich looks it up under this name
    cells.get_character_cell_size.cache_clear()
    cells.cached_cell_len.cache_clear()


def _take_out_marks(widths: Iterable[tuple[int, int, int]]) -> Iterator[tuple[int, int, int]]:
    """The ranges (first, last, cells) without spacing marks: what a table does not name has one cell."""
    for first, last, cells in widths:
        start = first
        for code in range(first, last + 1) if cells == 0 else ():
            if unicodedata.category(chr(code)) == "Mc":
                if start < code:
                    yield start, code - 1, cells
                start = code + 1
        if start <= last:
            yield start, last, cells
