"""What the library, activity and model screens have in common: the app by its type, and acts on a path."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from rich.table import Table
from rich.text import Text
from textual import work
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from drama_app.errors import DramaError
from drama_app.tui.enduring import Enduring

if TYPE_CHECKING:
    from drama_app.tui.app import DramaApp


def lay_out(facts: Iterable[tuple[str, str]]) -> Table:
    """Returns names and values side by side; a long value goes on below itself, not below its name."""
    table = Table.grid(padding=(0, 2))
    for name, value in facts:
        table.add_row(Text(name, "bold"), Text(value))
    return table


class PanelScreen(Enduring, Screen[None]):
    """A screen beside the search."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Search", id="panel.leave", show=False),
        Binding("question_mark", "app.help", "Help", id="panel.help", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._shown: dict[str, Content] = {}

    @property
    def drama(self) -> "DramaApp":
        """The app."""
        return cast("DramaApp", self.app)

    def action_leave(self) -> None:
        """Goes back to the query."""
        self.drama.action_show_mode("search")

    def copy_path(self, path: Path) -> None:
        """Puts a path on the clipboard and says so."""
        from drama_app.tui.clipboard import copy

        try:
            self.drama.say(copy(self.drama, str(path), "the path"))
        except DramaError as error:
            self.drama.say(str(error), severity="error")

    def put(self, part: str, said: Content) -> None:
        """Shows a text in a part of the screen; what it shows already costs nothing."""
        if self._shown.get(part) != said:
            self._shown[part] = said
            self.query_one(f"#{part}", Static).update(said)

    @work(thread=True, group="opening", exit_on_error=False)
    def show_folder(self, path: Path) -> None:
        """Shows a file or folder in the system's file manager; in a thread, since starting one takes a while."""
        from drama_app.tui.opening import show_in_folder

        try:
            said = show_in_folder(path)
        except (DramaError, OSError) as error:
            said = str(error)
        if said:
            self.app.call_from_thread(self.drama.say, said)
