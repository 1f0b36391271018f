"""The folders as a table. Shows what it is given; keeps the cursor where it was. Decides nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.widgets import DataTable

from drama_app.listing import shorten_path

WIDE = 100  # columns: from here on every fact has one of its own
LEAST_PATH = 16


@dataclass(frozen=True, slots=True)
class RootLine:
    """One folder, in words."""

    path: Path
    state: str
    meaning: str
    """"", "busy", "warning" or "error"."""
    documents: int
    passages: int
    synced: float | None


def shorten_middle(text: str, width: int) -> str:
    """Returns `text` in at most `width` cells; what is cut is the middle, since both ends of a path tell most."""
    if cell_len(text) <= width:
        return text
    tail = text[-1:]
    while cell_len(tail) < width // 2 and len(tail) < len(text):
        tail = text[-len(tail) - 1 :]
    head = set_cell_size(text, max(width - cell_len(tail) - 1, 0)).rstrip()
    return f"{head}…{tail}"


def describe_moment(seconds: float | None) -> str:
    """Returns "2026-11-23 07:30", or "never"."""
    if not seconds:
        return "never"
    try:
        return f"{datetime.fromtimestamp(seconds):%Y-%m-%d %H:%M}"
    except (OverflowError, ValueError, OSError):
        return "unknown"


class RootTable(DataTable[Text]):
    """Path, state, counts and last sync. A click chooses, Enter searches."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "screen.search_inside", "Search in it", id="library.search"),
    ]
    DEFAULT_CSS = """
    RootTable { height: 1fr; background: $background; scrollbar-size-vertical: 1; }
    RootTable:focus { background-tint: transparent; }
    """
    STYLES: ClassVar = {"": "", "busy": "bold", "warning": "bold", "error": "bold reverse"}

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  Textual's name
        super().__init__(id=id, cursor_type="row", zebra_stripes=False, header_height=1)
        self._lines: tuple[RootLine, ...] = ()
        self._shape = 0

    @property
    def chosen(self) -> RootLine | None:
        """The folder at the cursor."""
        return self._lines[self.cursor_row] if 0 <= self.cursor_row < len(self._lines) else None

    def show(self, lines: Sequence[RootLine]) -> None:
        """Shows these folders; the cursor stays with its own."""
        if tuple(lines) != self._lines or self._shape != self.size.width:
            before = self.chosen
            self._lines = tuple(lines)
            self._fill(before.path if before else None)

    def on_resize(self, event: events.Resize) -> None:
        """Other columns fit."""
        if event.size.width != self._shape:
            self._fill(self.chosen.path if self.chosen else None)

    def _fill(self, cursor: Path | None) -> None:
        self._shape = self.size.width
        wide = self.app.size.width >= WIDE
        state = max([len("State"), *(cell_len(line.state) for line in self._lines)])
        state = min(state, 44 if wide else 24)
        columns = [("State", state), ("Documents", 9)]
        columns += [("Passages", 9), ("Last sync", 16)] if wide else []
        taken = sum(width + 2 * self.cell_padding for _, width in columns) + 2 * self.cell_padding + 2
        room = max(self._shape - taken, LEAST_PATH)
        self.clear(columns=True)
        self.add_column("Folder", width=room)
        for name, width in columns:
            self.add_column(Text(name, justify="right" if name in ("Documents", "Passages") else "left"), width=width)
        for line in self._lines:
            cells = [
                Text(shorten_middle(shorten_path(line.path), room), no_wrap=True),
                Text(shorten_middle(line.state, state), style=self.STYLES[line.meaning], no_wrap=True),
                Text(f"{line.documents:,}", justify="right"),
            ]
            if wide:
                cells += [Text(f"{line.passages:,}", justify="right"), Text(describe_moment(line.synced))]
            self.add_row(*cells)
        row = next((index for index, line in enumerate(self._lines) if line.path == cursor), 0)
        self.move_cursor(row=row, animate=False)
