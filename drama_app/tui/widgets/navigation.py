"""The line at the head of every screen that names the four screens and their keys. Decides nothing."""

import importlib
from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

WIDE = 100  # columns from which a screen has its parts side by side
WHOLE = 57  # columns from which the names of the four fit
LETTERS = 3  # of each name below: four keys and names fit in 32 columns then
SCREENS = {
    "search": ("F2", "Search"),
    "library": ("F3", "Library"),
    "activity": ("F4", "Activity"),
    "model": ("F5", "Model"),
}


def open_screen(name: str) -> Screen[None]:
    """A screen by its name, imported when it is first asked for: three would be a quarter of the first paint."""
    module = importlib.import_module(f"drama_app.tui.screens.{name}")
    screen: Screen[None] = getattr(module, f"{name.capitalize()}Screen")()
    return screen


class Place(Static):
    """One of the four."""

    ALLOW_SELECT = False

    def __init__(self, name: str, *, here: bool) -> None:
        super().__init__()
        self._target, self._style = name, "bold reverse" if here else ""
        self.call_it(short=False)

    def call_it(self, *, short: bool) -> None:
        """Shows the key and the name, or its first letters."""
        key, title = SCREENS[self._target]
        name = title[:LETTERS] if short else f" {title} "
        self.update(Content.assemble((f"{key} ", "$accent"), (name, self._style)))

    async def on_click(self) -> None:
        """Goes there."""
        await self.run_action(f"app.show_mode('{self._target}')")


class Navigation(Horizontal):
    """Search, Library, Activity, Model: where one is stands out without colour, too."""

    DEFAULT_CSS: ClassVar[str] = """
    Navigation {
        height: 1; padding: 0 1; background: $surface;
        & > Place { width: auto; margin-right: 3; color: $foreground; }
        &.-few > Place { margin-right: 1; }
    }
    """

    def __init__(self, here: str) -> None:
        super().__init__()
        self._here = here

    def compose(self) -> ComposeResult:
        """Parts."""
        for name in SCREENS:
            yield Place(name, here=name == self._here)

    def on_resize(self) -> None:
        """Every key is seen at any width."""
        few = self.app.size.width < WHOLE
        if few != self.has_class("-few"):
            self.set_class(few, "-few")
            for place in self.query(Place):
                place.call_it(short=few)
