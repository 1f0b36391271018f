"""A strip that stands for a whole document: where its hits lie, and which part is in sight.

Owns the scale between offsets and cells. It scrolls nothing: a click says which offset was meant.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

# Two sets of signs: a column, and a line for low views. The signs alone tell them apart, whatever the colours.
COLUMN, ROW = {"track": "│", "view": "┃"}, {"track": "─", "view": "━"}
HIT, CURRENT = "◆", "█"


class HitStrip(Widget):
    """One column or one line, by its own shape."""

    DEFAULT_CSS = """
    HitStrip {
        width: 1;
        height: 1fr;
        .hit-strip--track { color: $panel-lighten-2; }
        .hit-strip--view { color: $foreground-muted; }
        .hit-strip--hit { color: $accent; text-style: bold; }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"hit-strip--track", "hit-strip--view", "hit-strip--hit"}

    @dataclass
    class Wanted(Message):
        """A place of the document was clicked."""

        offset: int
        hit: int | None
        """Number of the hit that is drawn there."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  Textual's name
        super().__init__(id=id)
        self._length = 0
        self._hits: tuple[int, ...] = ()
        self._current = -1
        self._view = (0, 0)

    def show(self, length: int, hits: Sequence[int], current: int, view: tuple[int, int]) -> None:
        """Takes what to draw.

        Args:
            length: Characters of the document.
            hits: Offset of each hit, in order.
            current: Number of the hit at which the view stands, -1 for none.
            view: Offsets of what is in sight.
        """
        self._length, self._hits, self._current, self._view = length, tuple(hits), current, view
        self.refresh()

    @property
    def cells(self) -> int:
        """Its length on the screen."""
        return max(self.size.width, self.size.height, 1)

    def signs(self) -> list[tuple[str, str]]:
        """For each cell its sign and the name of its style."""
        shapes = COLUMN if self.size.height >= self.size.width else ROW
        cells = [(shapes["track"], "track")] * self.cells
        if self._length <= 0:
            return [(" ", "track")] * self.cells
        first, last = self._cell(self._view[0]), self._cell(max(self._view[1] - 1, self._view[0]))
        cells[first : last + 1] = [(shapes["view"], "view")] * (last + 1 - first)
        for offset in self._hits:
            cells[self._cell(offset)] = (HIT, "hit")
        if 0 <= self._current < len(self._hits):
            cells[self._cell(self._hits[self._current])] = (CURRENT, "hit")
        return cells

    def render_line(self, y: int) -> Strip:
        """A line of the strip."""
        signs = self.signs()
        shown = signs if self.size.height < self.size.width else signs[y : y + 1]
        segments = [Segment(sign, self.get_component_rich_style(f"hit-strip--{name}")) for sign, name in shown]
        return Strip(segments, len(segments)).adjust_cell_length(self.size.width).apply_style(self.rich_style)

    def on_click(self, event: events.Click) -> None:
        """Says which place was clicked; a hit that is drawn there comes first."""
        event.stop()
        cell = event.y if self.size.height >= self.size.width else event.x
        hit = next((number for number, offset in enumerate(self._hits) if self._cell(offset) == cell), None)
        self.post_message(self.Wanted(self._length * cell // self.cells, hit))

    def _cell(self, offset: int) -> int:
        return max(0, min(offset * self.cells // max(self._length, 1), self.cells - 1))
