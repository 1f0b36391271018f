"""The jump layer: a letter on every part of the screen below that can have the focus. Owns letters and places."""

from typing import Any, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.screen import ModalScreen, Screen
from textual.widget import Widget
from textual.widgets import Static

from drama_app.tui.enduring import Enduring

LETTERS = "asdfghjklqwertyuiopzxcvbnm"
WIDTH = 3


class JumpScreen(Enduring, ModalScreen[None]):
    """Pressing a letter, or clicking it, moves the focus there."""

    DEFAULT_CSS = """
    JumpScreen {
        & > .jump-label {
            position: absolute; width: 3; height: 1; background: $accent; color: $background; text-style: bold;
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "Close", id="jump.close")]

    def __init__(self, below: Screen[Any]) -> None:
        super().__init__()
        self.below = below
        self.targets: dict[str, Widget] = {}
        """The part of the screen below for each letter."""
        self._first_size: Size | None = None

    def compose(self) -> ComposeResult:
        """A label a part."""
        taken: list[Region] = []
        for letter, (widget, region) in zip(LETTERS, find_targets(self.below), strict=False):
            place = Region(region.x, region.y, WIDTH, 1)
            while any(place.overlaps(other) for other in taken):
                place = place.translate((WIDTH + 1, 0))
            taken.append(place)
            label = Static(f"[{letter}]", classes="jump-label", id=f"jump-{letter}", markup=False)
            label.styles.offset = (place.x, place.y)
            self.targets[letter] = widget
            yield label

    def on_mount(self) -> None:
        """Nothing to jump to is no reason to stay."""
        if not self.targets:
            self.dismiss()

    def on_key(self, event: events.Key) -> None:
        """A letter jumps; every other key is kept from the screen below."""
        if event.key == "escape":
            return
        event.stop()
        if event.key in self.targets:
            self._jump(event.key)

    def on_click(self, event: events.Click) -> None:
        """On a label it jumps, elsewhere it closes."""
        event.stop()
        name = (event.widget.id or "") if event.widget is not None else ""
        if name.removeprefix("jump-") in self.targets:
            self._jump(name.removeprefix("jump-"))
        else:
            self.dismiss()

    def on_resize(self, event: events.Resize) -> None:
        """The parts have moved away from below their labels."""
        self._first_size = self._first_size or event.size
        self._leave_if_moved()

    def on_screen_resume(self) -> None:
        """Another layer lay over it, which alone could be closed then."""
        self._leave_if_moved()

    def _leave_if_moved(self) -> None:
        if self.is_active and self._first_size is not None and self.app.size != self._first_size:
            self.dismiss()

    def _jump(self, letter: str) -> None:
        widget = self.targets[letter]
        self.dismiss()
        if widget.is_attached:
            self.below.set_focus(widget)


def find_targets(screen: Screen[Any]) -> list[tuple[Widget, Region]]:
    """Returns what can have the focus and is in sight, from the upper left, with the part of it that is in sight."""
    found = []
    for widget in screen.focus_chain:
        region = widget.region.intersection(screen.region)
        if region.area and widget.is_on_screen:
            found.append((widget, region))
    return sorted(found, key=lambda each: (each[1].y, each[1].x))
