"""The line at the head of every screen that names the four screens and their keys. Decides nothing."""

import importlib
from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

WIDE = 100  # columns from which a screen has its parts side by side
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
        key, title = SCREENS[name]
        style = "bold reverse" if here else ""
        super().__init__(Content.assemble((f"{key} ", "$accent"), (f" {title} ", style)))
        self._target = name

    async def on_click(self) -> None:
        """Goes there."""
        await self.run_action(f"app.show_mode('{self._target}')")


class Navigation(Horizontal):
    """Search, Library, Activity, Model: where one is stands out without colour, too."""

    DEFAULT_CSS: ClassVar[str] = """
    Navigation {
        height: 1; padding: 0 1; background: $surface;
        & > Place { width: auto; margin-right: 3; color: $foreground; }
    }
    """

    def __init__(self, here: str) -> None:
        super().__init__()
        self._here = here

    def compose(self) -> ComposeResult:
        """Parts."""
        for name in SCREENS:
            yield Place(name, here=name == self._here)
