"""Files that failed or were passed over, with reasons: one by one or by reason, narrowed by what is typed.

Shows what it is given; keeps the cursor where it was. Decides nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.widgets import DataTable

from drama_app.listing import shorten_path
from drama_app.output import clean_for_terminal
from drama_app.records import Skipped
from drama_app.tui.widgets.root_table import shorten_middle

MOST_ROWS = 2_000
"""Rows that are shown: 10,000 take 0.4 s to fill, and nobody reads them; what is typed narrows them."""


@dataclass(frozen=True, slots=True)
class Group:
    """A reason with its files, or one file."""

    reason: str
    paths: tuple[Path, ...]
    muted: bool = False


def arrange(
    files: Sequence[Skipped], *, by_reason: bool, typed: str = "", muted: frozenset[str] = frozenset()
) -> tuple[Group, ...]:
    """Returns the rows: those that hold every word of `typed` in path or reason, by reason, then by path."""
    words = typed.casefold().split()
    kept = [each for each in files if all(word in f"{each.path} {each.reason}".casefold() for word in words)]
    kept.sort(key=lambda each: (each.reason, each.path))
    if not by_reason:
        return tuple(Group(each.reason, (each.path,), str(each.path) in muted) for each in kept)
    groups: dict[str, list[Path]] = {}
    for each in kept:
        groups.setdefault(each.reason, []).append(each.path)
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    return tuple(Group(reason, tuple(paths), {str(path) for path in paths} <= muted) for reason, paths in ordered)


class FailureList(DataTable[Text]):
    """Rows of files or reasons. A click chooses, Enter shows all of it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "screen.details", "Details", id="activity.details"),
    ]
    DEFAULT_CSS = """
    FailureList { height: 1fr; background: $background; scrollbar-size-vertical: 1; }
    FailureList:focus { background-tint: transparent; }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  Textual's name
        super().__init__(id=id, cursor_type="row", zebra_stripes=False)
        self._groups: tuple[Group, ...] = ()
        self._by_reason = False
        self._shape = 0

    @property
    def chosen(self) -> Group | None:
        """The row at the cursor."""
        return self._groups[self.cursor_row] if 0 <= self.cursor_row < len(self._groups) else None

    def show(self, groups: Sequence[Group], *, by_reason: bool) -> None:
        """Shows these rows; the cursor stays with its own, or near it."""
        shown = tuple(groups[:MOST_ROWS])
        if (shown, by_reason) != (self._groups, self._by_reason):
            before, row = self.chosen, self.cursor_row
            self._groups, self._by_reason = shown, by_reason
            self._fill(next((index for index, each in enumerate(shown) if each == before), row))

    def on_resize(self, event: events.Resize) -> None:
        """Other widths fit."""
        if event.size.width != self._shape:
            self._fill(self.cursor_row)

    def _fill(self, row: int) -> None:
        self._shape = self.size.width
        padding = 2 * self.cell_padding
        self.clear(columns=True)
        if self._by_reason:
            left, right = "Files", "Reason"
            widths = (9, max(self._shape - 9 - 2 * padding - 1, 12))
        else:
            left, right = "File", "Reason"
            half = max((self._shape - 2 * padding - 1) // 2, 12)
            widths = (half, half)
        for name, width in zip((left, right), widths, strict=True):
            self.add_column(name, width=width)
        for each in self._groups:
            mark = "muted: " if each.muted else ""
            reason = Text(mark + shorten_middle(clean_for_terminal(each.reason), widths[1] - len(mark)), no_wrap=True)
            first = (
                f"{len(each.paths):,}" if self._by_reason else shorten_middle(shorten_path(each.paths[0]), widths[0])
            )
            self.add_row(Text(first, justify="right" if self._by_reason else "left", no_wrap=True), reason)
        self.move_cursor(row=min(row, max(len(self._groups) - 1, 0)), animate=False)
