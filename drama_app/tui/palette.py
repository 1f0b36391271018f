"""What the command palette offers: every action that works now, the screens, the themes."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from textual.app import App, SystemCommand
from textual.dom import DOMNode
from textual.screen import Screen

from drama_app.tui.themes import THEMES
from drama_app.tui.widgets.navigation import SCREENS


def list_commands(app: App[Any], screen: Screen[Any]) -> Iterator[SystemCommand]:
    """Yields the commands for `screen`, over which the palette will lie."""
    for node, binding, enabled, _ in screen.active_bindings.values():
        if enabled and binding.description and binding.action != "command_palette" and binding.id:
            act = partial(app.call_later, partial(_act, app, binding.action, node))
            yield SystemCommand(binding.description, f"key {binding.key}", act)
    for name, (_, title) in SCREENS.items():
        yield SystemCommand(f"Go to {title}", "screen", partial(app.run_action, f"app.show_mode('{name}')"))
    for name in THEMES:
        yield SystemCommand(f"Theme: {name.removeprefix('drama-')}", "look", partial(_wear, app, name))


async def _act(app: App[Any], action: str, node: DOMNode) -> None:
    await app.run_action(action, default_namespace=node)


def _wear(app: App[Any], theme: str) -> None:
    app.theme = theme
