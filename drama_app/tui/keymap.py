"""The person's own keys: which names of actions there are, and which of `[keys]` are none of them."""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import TYPE_CHECKING

from textual.binding import Binding
from textual.dom import DOMNode

from drama_app.config import suggest

if TYPE_CHECKING:
    from drama_app.tui.app import DramaApp


def use_keys(app: "DramaApp") -> None:
    """Puts the person's keys in force, and after the first paint tells which of them name no action."""

    def tell() -> None:
        if sentence := describe_unknown(app.settings.keys):
            app.say(sentence, severity="warning")

    if app.settings.keys:
        app.set_keymap(dict(app.settings.keys))
        app.call_after_refresh(tell)


def describe_unknown(keys: Mapping[str, str]) -> str:
    """Returns a sentence that names the actions in `keys` that do not exist; "" if all do.

    Imports every screen, which takes a quarter of a second: only for who has keys of their own.
    """
    known = set(_list_names())
    unknown = [name for name in keys if name not in known]
    if not unknown:
        return ""
    named = ", ".join(f"{name!r}{suggest(name, known)}" for name in unknown)
    return f"[keys] in the configuration names no action of this program: {named}. Help (F1) shows the names in grey."


def _list_names() -> Iterator[str]:
    from drama_app.tui import app, screens, widgets

    for package in (screens, widgets):
        for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            yield from _names_in(importlib.import_module(found.name))
    yield from _names_in(app)


def _names_in(module: ModuleType) -> Iterator[str]:
    for part in vars(module).values():
        if isinstance(part, type) and issubclass(part, DOMNode):
            yield from (each.id for each in part.BINDINGS if isinstance(each, Binding) and each.id)
