"""The line between two panes: dragged with the mouse it says which share of the whole the second one is to have."""

from dataclasses import dataclass

from textual import events
from textual.content import Content
from textual.message import Message
from textual.widget import Widget

LEAST, MOST = 20, 80  # percent: neither pane can be lost


def limit_share(percent: int) -> int:
    """Returns a share that leaves room for both panes."""
    return min(max(percent, LEAST), MOST)


class Splitter(Widget):
    """Stands between two panes of its parent; upright, or level where the parent stacks them."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    Splitter {
        width: 1;
        height: 1fr;
        color: $panel;
        background: $background;
        &:hover { color: $primary; }
        &.-dragged { color: $primary; }
        &.-level { width: 1fr; height: 1; }
    }
    """

    @dataclass
    class Moved(Message):
        """The second pane is to have `percent` of the parent."""

        percent: int

    def render(self) -> Content:
        """A plain line."""
        if self.has_class("-level"):
            return Content("─" * self.size.width)
        return Content("\n".join("│" * self.size.height))

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Begins to drag."""
        self.capture_mouse()
        self.add_class("-dragged")
        event.stop()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Follows the mouse."""
        if not self.has_class("-dragged") or not isinstance(self.parent, Widget):
            return
        region = self.parent.content_region
        if self.has_class("-level"):
            share = (region.bottom - event.screen_y) / max(region.height, 1)
        else:
            share = (region.right - event.screen_x) / max(region.width, 1)
        self.post_message(self.Moved(limit_share(round(share * 100))))

    def on_mouse_up(self) -> None:
        """Lets go."""
        self.release_mouse()
        self.remove_class("-dragged")
