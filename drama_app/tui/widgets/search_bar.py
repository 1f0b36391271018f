"""The line in which a query is typed, with the badge that says how it is searched for. Decides nothing."""

from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.geometry import Region
from textual.message import Message
from textual.widgets import Static

from drama_app.records import Mode
from drama_app.tui.widgets.clean_input import CleanInput

PLACEHOLDER = 'A question, a name, words, or a "quoted phrase"'
MODES: dict[Mode, str] = {"fused": "both", "meaning": "meaning", "keywords": "keywords"}
"""In the order in which a key goes through them."""
BADGE_WIDTH = 70  # columns: below, only the mode in force is named; of 40 columns 11 were left for the query


class QueryInput(CleanInput):
    """An input that leaves to the screen what it can spare."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "screen.enter", "Open", id="search.enter"),
        Binding("ctrl+e", "screen.edit", "Edit", id="search.edit", show=False),
        Binding("up", "screen.move(-1)", "Previous hit", id="search.up", show=False),
        Binding("down", "screen.move(1)", "Next hit", id="search.down", show=False),
        Binding("pageup", "screen.page(-1)", "Preview up", id="search.page_up", show=False),
        Binding("pagedown", "screen.page(1)", "Preview down", id="search.page_down", show=False),
        Binding("home", "edge(-1)", "Start of the query, then first hit", id="search.home", show=False),
        Binding("end", "edge(1)", "End of the query, then last hit", id="search.end", show=False),
    ]

    @dataclass
    class EdgePassed(Message):
        """Home or End was pressed where the cursor already stood; -1 or 1."""

        side: int

    def on_resize(self) -> None:
        """Shows the cursor: Textual scrolls to it only when it moves."""
        before = cell_len(self.value[: self.cursor_position])
        self.scroll_to_region(Region(before, 0, 1, 1), force=True, animate=False)

    def action_edge(self, side: int) -> None:
        """Goes to the edge of the line; from there to the edge of the hits."""
        edge = 0 if side < 0 else len(self.value)
        if self.cursor_position == edge:
            self.post_message(self.EdgePassed(side))
        else:
            self.cursor_position = edge


class ModeBadge(Static):
    """Shows the mode; a click asks for the next one."""

    ALLOW_SELECT = False

    class Clicked(Message):
        """The next mode is asked for."""

    def on_click(self) -> None:
        """Asks."""
        self.post_message(self.Clicked())


class SearchBar(Horizontal):
    """The query and its mode."""

    DEFAULT_CSS = """
    SearchBar {
        height: 3;
        border: round $panel;
        background: $background;
        padding: 0 1;
        &:focus-within { border: round $primary; }
        & > QueryInput { width: 1fr; border: none; height: 1; padding: 0; background: $background; }
        & > QueryInput:focus { border: none; background-tint: transparent; }
        & > ModeBadge { width: auto; height: 1; color: $text-muted; }
        & > #prompt { width: 2; color: $primary; text-style: bold; }
    }
    """

    def compose(self) -> ComposeResult:
        """Parts."""
        yield Static("› ", id="prompt")
        yield QueryInput(placeholder=PLACEHOLDER, id="query", select_on_focus=False)
        yield ModeBadge(id="mode")

    def __init__(self) -> None:
        super().__init__()
        self._mode: Mode = "fused"

    @property
    def input(self) -> QueryInput:
        """The line itself."""
        return self.query_one(QueryInput)

    def show_mode(self, mode: Mode) -> None:
        """Names the mode; the chosen one of three stands out without colour, too."""
        self._mode = mode
        parts = [
            Content.styled(f" {name} ", "bold reverse" if each == mode else "")
            for each, name in MODES.items()
            if each == mode or self.size.width >= BADGE_WIDTH
        ]
        self.query_one(ModeBadge).update(Content("").join(parts))

    def on_resize(self) -> None:
        """Where there is little room the query has it."""
        self.show_mode(self._mode)
