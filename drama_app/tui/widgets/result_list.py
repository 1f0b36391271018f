"""The list of hits. Says where the cursor stands, what was opened and that the end is reached; it asks nobody.

Every hit takes the same number of lines, and only those on the screen are drawn: a hundred cost as little as ten.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from drama_app.records import Hit
from drama_app.tui.widgets.hit_row import INDENT, RowStyles, draw_row

SPACIOUS = 18  # lines from which hits are set apart by a blank line
ROOMY = 12  # lines from which a snippet has two lines
LESS_LIKELY = "Less likely"


class ResultList(ScrollView, can_focus=True, inherit_bindings=False):
    """Documents that were found, best first. Keys are the screen's, since the query keeps the focus."""

    ALLOW_SELECT = False
    FOCUS_ON_CLICK = False  # who clicks a hit and types on goes on with the query: here letters are actions
    BINDINGS: ClassVar[list[BindingType]] = []
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "result-list--title",
        "result-list--dim",
        "result-list--badge",
        "result-list--bar",
        "result-list--mark",
        "result-list--sentence",
        "result-list--cursor",
    }
    DEFAULT_CSS = """
    ResultList {
        background: $background;
        overflow-x: hidden;
        scrollbar-size-vertical: 1;
        scrollbar-background: $background;
        & > .result-list--title { text-style: bold; }
        & > .result-list--dim { color: $foreground 65%; }
        & > .result-list--badge { color: $foreground; }
        & > .result-list--bar { color: $primary; text-style: bold; }
        & > .result-list--mark { color: $accent; text-style: bold; }
        & > .result-list--sentence { text-style: underline; }
        & > .result-list--cursor { background: $primary 12%; }
        &:focus > .result-list--cursor { background: $primary 25%; }
        &.-faded { color: $foreground 65%; }
        &.-faded > .result-list--title { text-style: none; }
    }
    """

    cursor: reactive[int | None] = reactive(None)

    @dataclass
    class Highlighted(Message):
        """The cursor stands on another hit, or the hit itself changed; None if there is none."""

        hit: Hit | None

    @dataclass
    class Opened(Message):
        """A hit was double-clicked."""

        hit: Hit

    class EndReached(Message):
        """The cursor stands on the last hit."""

    class ChoiceChanged(Message):
        """Hits were chosen, or let go."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's word
        super().__init__(id=id)
        self.hits: tuple[Hit, ...] = ()
        self.likely = 0
        """Hits above the rule; the others are far less likely than the best."""
        self.chosen: dict[Path, Hit] = {}
        """Chosen for export and copying, in the order in which they were chosen."""
        self._snippet_lines, self._gap = 2, 0
        self._rows: dict[tuple[int, bool, bool], list[Strip]] = {}
        self._parts: RowStyles | None = None

    # --- what the screen asks for ----------------------------------------------------------------------------

    @property
    def selected(self) -> Hit | None:
        """The hit at the cursor."""
        return self.hits[self.cursor] if self.cursor is not None and self.cursor < len(self.hits) else None

    def show(self, hits: tuple[Hit, ...], *, likely: int | None = None, faded: bool = False, keep: bool = True) -> None:
        """Shows other hits, a rule below the first `likely`; with `keep` cursor and line stay with their document.

        At the top of the list nobody has gone anywhere yet: there a better hit that comes in is shown, not passed by.
        """
        before = self.selected if self.cursor or self.scroll_offset.y else None
        line = self._top_of(self.cursor or 0) - self.scroll_offset.y
        self.hits, self.likely = hits, len(hits) if likely is None else likely
        self.set_class(faded, "-faded")
        places = {hit.path: place for place, hit in enumerate(hits)}
        self.chosen = {path: hits[places[path]] for path in self.chosen if path in places}
        self._forget_rows()
        place = places.get(before.path) if keep and before is not None else None
        cursor = place if place is not None else (0 if hits else None)
        with self.prevent(self.Highlighted):
            self.set_reactive(ResultList.cursor, cursor)
        self.scroll_to(y=self._top_of(cursor or 0) - line if place is not None else 0, animate=False)
        self._scroll_to_cursor()
        self.post_message(self.Highlighted(self.selected))
        self.post_message(self.ChoiceChanged())

    def replace(self, hits: tuple[Hit, ...]) -> None:
        """Shows the same documents with other marks, in place."""
        self.hits = hits
        self._forget_rows()

    def move(self, by: int) -> None:
        """Moves the cursor; at the end it stays."""
        if self.hits:
            self.cursor = min(max((self.cursor or 0) + by, 0), len(self.hits) - 1)
            if self.cursor == len(self.hits) - 1:
                self.post_message(self.EndReached())

    def toggle(self, index: int | None = None) -> None:
        """Chooses the hit at the cursor, or lets it go."""
        index = self.cursor if index is None else index
        if index is None or index >= len(self.hits):
            return
        hit = self.hits[index]
        if self.chosen.pop(hit.path, None) is None:
            self.chosen[hit.path] = hit
        self.refresh()
        self.post_message(self.ChoiceChanged())

    def let_go(self) -> None:
        """Chooses nothing any more."""
        self.chosen.clear()
        self.refresh()
        self.post_message(self.ChoiceChanged())

    # --- drawing ---------------------------------------------------------------------------------------------

    @property
    def row_height(self) -> int:
        """Lines that a hit takes."""
        return 2 + self._snippet_lines + self._gap

    def render_line(self, y: int) -> Strip:
        """Draws a line of the screen."""
        index, line = self._locate(y + self.scroll_offset.y)
        width = self.scrollable_content_region.width
        if index >= len(self.hits):
            return Strip.blank(width, self.rich_style)
        if line < 0:
            return self._draw_rule(width)
        key = (index, index == self.cursor, self.hits[index].path in self.chosen)
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = self._draw(*key, width)
        return row[line] if line < len(row) else Strip.blank(width, self.rich_style)

    def _draw(self, index: int, cursor: bool, chosen: bool, width: int) -> list[Strip]:
        lines = draw_row(
            self.hits[index],
            index + 1,
            width=width,
            snippet_lines=self._snippet_lines,
            styles=self._styles(),
            cursor=cursor,
            chosen=chosen,
        )
        base = self.get_visual_style("result-list--cursor") if cursor else self.visual_style
        strips = (Strip(line.render_segments(base), line.cell_length) for line in lines)
        return [strip.adjust_cell_length(width, base.rich_style) for strip in strips]

    def _draw_rule(self, width: int) -> Strip:
        said = Content.styled(f"{' ' * INDENT}{LESS_LIKELY} ".ljust(width - 1, "─"), self._styles().dim)
        strip = Strip(said.truncate(width).render_segments(self.visual_style))
        return strip.adjust_cell_length(width, self.rich_style)

    def _styles(self) -> RowStyles:
        if self._parts is None:
            names = ("title", "dim", "badge", "bar", "mark", "sentence")
            self._parts = RowStyles(*(self.get_visual_style(f"result-list--{name}", partial=True) for name in names))
        return self._parts

    def _forget_rows(self) -> None:
        self._rows.clear()
        self.virtual_size = Size(self.scrollable_content_region.width, self._top_of(len(self.hits)))
        self.refresh()

    def notify_style_update(self) -> None:
        """The theme or the focus changed."""
        super().notify_style_update()
        self._parts = None
        self._rows.clear()

    def on_resize(self) -> None:
        """Gives hits as much room as there is."""
        height, line = self.size.height, self._top_of(self.cursor or 0) - self.scroll_offset.y
        self._snippet_lines = 2 if height >= ROOMY else 1
        self._gap = 1 if height >= SPACIOUS else 0
        self._forget_rows()
        self.scroll_to(y=self._top_of(self.cursor or 0) - line, animate=False)
        self._scroll_to_cursor()

    # --- moving ----------------------------------------------------------------------------------------------

    def watch_cursor(self, old: int | None, new: int | None) -> None:
        """Keeps it in sight."""
        self._scroll_to_cursor()
        for index in (old, new):
            if index is not None:
                self.refresh_lines(self._top_of(index), self.row_height)
        self.post_message(self.Highlighted(self.selected))

    def _top_of(self, index: int) -> int:
        return index * self.row_height + (self.likely < len(self.hits) and index >= self.likely)

    def _locate(self, y: int) -> tuple[int, int]:
        """The hit on a line of all, and which of its lines; -1 is the rule above it."""
        if self.likely < len(self.hits) and y >= self.likely * self.row_height:
            index, line = divmod(y - 1, self.row_height)
            return (index, line) if y > self.likely * self.row_height else (self.likely, -1)
        return divmod(y, self.row_height)

    def _scroll_to_cursor(self) -> None:
        top, seen = self._top_of(self.cursor or 0), self.scrollable_content_region.height
        low = max(top + self.row_height - self._gap - seen, 0)
        target = min(max(self.scroll_target_y, low), top)
        if target != self.scroll_target_y:
            self.scroll_to(y=target, animate=False)

    def on_click(self, event: events.Click) -> None:
        """Selects; twice opens; beside the number, or with Ctrl, chooses."""
        offset = event.get_content_offset(self)
        if offset is None:
            return
        index, line = self._locate(offset.y + self.scroll_offset.y)
        if index >= len(self.hits) or line < 0:
            return
        self.cursor = index
        if event.ctrl or offset.x < 2:
            self.toggle()
        elif event.chain == 2:
            self.post_message(self.Opened(self.hits[index]))
