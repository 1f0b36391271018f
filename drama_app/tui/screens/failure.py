"""One failure, whole: the reason and every path, with what can be done about it."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from drama_app.listing import count_of
from drama_app.output import clean_for_terminal
from drama_app.tui.enduring import Enduring
from drama_app.tui.widgets.failure_list import Group
from drama_app.tui.widgets.key_line import KeyLine

MOST_PATHS = 500


class FailureScreen(Enduring, ModalScreen[str]):
    """Ends with the name of the action that was asked for, or ""."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter", "dismiss('')", "Close", id="failure.close"),
        Binding("r", "dismiss('retry')", "Retry", id="failure.retry"),
        Binding("m", "dismiss('mute')", "Mute/unmute", id="failure.mute"),
        Binding("y", "dismiss('copy')", "Copy path", id="failure.copy"),
        Binding("o", "dismiss('open_folder')", "Folder", id="failure.open"),
    ]
    DEFAULT_CSS = """
    FailureScreen {
        align: center middle;
        & > VerticalScroll { width: 90; max-width: 96%; height: auto; max-height: 80%; border: round $primary;
            background: $surface; padding: 1 2; border-title-color: $primary; border-title-style: bold; }
        & Static { height: auto; }
    }
    """

    def __init__(self, group: Group, *, title: str = "Failed") -> None:
        super().__init__()
        self._group, self._title = group, title

    def compose(self) -> ComposeResult:
        """Parts."""
        with VerticalScroll() as box:
            box.border_title = self._title
            yield Static(self._describe())
        yield KeyLine()

    def _describe(self) -> Content:
        paths = [clean_for_terminal(str(path)) for path in self._group.paths[:MOST_PATHS]]
        rest = len(self._group.paths) - len(paths)
        lines = [Content.styled(clean_for_terminal(self._group.reason), "bold"), Content("")]
        if len(self._group.paths) > 1:
            lines.append(Content.styled(count_of(len(self._group.paths), "file"), "$foreground-muted"))
        lines += [Content(path) for path in paths]
        lines += [Content(f"and {rest:,} more")] if rest else []
        return Content("\n").join(lines)
