"""What the command palette offers: every action that works now, the screens, the themes."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from textual.app import App, SystemCommand
from textual.binding import Binding
from textual.dom import DOMNode
from textual.screen import Screen

from drama_app.tui.themes import THEMES
from drama_app.tui.widgets.key_line import name_key
from drama_app.tui.widgets.navigation import SCREENS

ELSEWHERE = (
    ("Add a folder", "library", "add"),
    ("Bring all folders up to date", "library", "sync"),
    ("Pause or resume indexing", "activity", "pause"),
    ("Read all failed files again", "activity", "retry_all"),
)
"""Title, screen and action of what people look for wherever they are."""
LEFT_OUT = ("app.palette", "panel.leave")
"""Itself, and what leads to the search screen, which is an entry already."""


def list_commands(app: App[Any], screen: Screen[Any]) -> Iterator[SystemCommand]:
    """Yields the commands for `screen`, over which the palette will lie."""
    from drama_app.tui.screens.actions import ACTIONS  # for who opens the palette

    titles = {each.id: each.title for each in ACTIONS}  # longer than the names under the hits
    keys: dict[str, list[str]] = {}
    chosen: dict[str, tuple[DOMNode, Binding]] = {}
    for node, binding, enabled, _ in screen.active_bindings.values():
        if enabled and binding.description and binding.id and binding.id not in LEFT_OUT:
            action = binding.action.removeprefix("screen.").removeprefix("app.")  # one, wherever its keys are bound
            keys.setdefault(action, []).append(binding.key_display or name_key(binding.key))
            chosen.setdefault(action, (node, binding))
    screens = {f"show_mode('{name}')": title for name, (_, title) in SCREENS.items()}
    for action, (node, binding) in chosen.items():
        act = partial(app.call_later, partial(_act, app, binding.action, node))
        title = f"Go to {screens[action]}" if action in screens else titles.get(str(binding.id), binding.description)
        yield SystemCommand(title, f"key {', '.join(dict.fromkeys(keys[action]))}", act)
    for title, mode, name in ELSEWHERE:
        if app.current_mode != mode:
            yield SystemCommand(title, f"in {SCREENS[mode][1]}", partial(app.call_later, partial(_go, app, mode, name)))
    for name in THEMES:
        yield SystemCommand(f"Theme: {name.removeprefix('drama-')}", "look", partial(_wear, app, name))


async def _act(app: App[Any], action: str, node: DOMNode) -> None:
    await app.run_action(action, default_namespace=node)


async def _go(app: App[Any], mode: str, action: str) -> None:
    await app.run_action(f"app.show_mode('{mode}')")
    app.call_after_refresh(lambda: app.screen.run_action(action))


def _wear(app: App[Any], theme: str) -> None:
    app.theme = theme
