"""One line at the foot of every screen: how much the index holds and what it does. Watches the app, decides nothing."""

from typing import TYPE_CHECKING, cast

from rich.cells import set_cell_size
from textual.content import Content
from textual.widget import Widget

from drama_app.listing import count_of
from drama_app.tui.standing import Standing, describe_standing

if TYPE_CHECKING:
    from drama_app.tui.app import DramaApp

STYLES = {"": "$foreground-muted", "busy": "$text-accent", "warning": "$text-warning bold", "error": "$text-error bold"}
SCREENS_BY_KEY = "F2-F5: screens"
"""Said here where there is no row for the line that names them."""
NARROW = 60  # columns: below, the number of documents and passages gives way to the state


def read_standing(app: "DramaApp") -> Standing:
    """Returns what the app knows just now."""
    muted = set(app.ui.muted)
    failed = 0 if app.status is None else sum(str(each.path) not in muted for each in app.status.failed)
    return Standing(
        opened=app.opened,
        has_index=app.library is not None,
        status=app.status,
        progress=app.progress,
        indexing=app.indexing,
        line=app.state_line,
        failed=failed,
    )


def short(text: str, width: int) -> str:
    """Returns `text` in at most `width` cells, with a mark where it is cut."""
    content = Content(text)
    return text if content.cell_length <= width else set_cell_size(text, max(width - 1, 0)).rstrip() + "…"


class StatusLine(Widget):
    """Documents, passages, what indexing does, and how many files failed."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    StatusLine { height: 1; padding: 0 1; background: $surface; color: $text-muted; }
    """

    def on_mount(self) -> None:
        """Follows the app."""
        for name in ("opened", "library", "status", "progress", "indexing", "state_line"):
            self.watch(self.app, name, self._renew, init=False)

    def _renew(self) -> None:
        self.refresh()

    def on_click(self) -> None:
        """Shows what runs and what failed."""
        cast("DramaApp", self.app).action_show_mode("activity")

    def render(self) -> Content:
        """The line."""
        now = read_standing(cast("DramaApp", self.app))
        counts = ""
        if now.status is not None and now.status.roots:
            counts = f"{count_of(now.status.documents, 'document')}, {count_of(now.status.passages, 'passage')}"
        said, meaning = describe_standing(now)
        failed = f"{now.failed:,} failed: F4" if now.failed else ""
        width = self.size.width
        room = width - Content(counts).cell_length - len(failed) - 6
        if width < NARROW or Content(said).cell_length > room:  # what goes on, how long, and what to do come first
            counts, room = "", width - len(failed) - 6
        parts = [
            Content(counts),
            Content.styled(short(said, max(room, 12)), STYLES[meaning]),
            Content.styled(failed, STYLES["error"]),
        ]
        line = Content(" · ").join([part for part in parts if part])
        room = width - line.cell_length - 2
        if self.screen.has_class("-short") and room > len(SCREENS_BY_KEY) + 2:
            line += Content.styled(SCREENS_BY_KEY.rjust(room), "$foreground-muted")
        return line
