"""The keys that work now, in one line at the foot of a screen; a click presses one. Decides nothing.

Textual's Footer has a widget for each key and makes all of them anew with every focus: 10 ms each time, and four times
over before the first paint.
"""

from collections.abc import Iterator

from textual import events
from textual.binding import Binding
from textual.content import Content
from textual.keys import format_key
from textual.screen import Screen
from textual.widget import Widget

KEY_NAMES = {
    "escape": "Esc", "pageup": "PgUp", "pagedown": "PgDn", "question_mark": "?", "slash": "/", "space": "Space",
    "enter": "Enter", "up": "Up", "down": "Down", "left": "Left", "right": "Right", "home": "Home", "end": "End",
    "tab": "Tab", "backspace": "Backspace", "delete": "Delete", "insert": "Insert", "super": "Super",
}  # fmt: skip
ALWAYS = "app.help"  # stays where keys must be left out: it names them


def name_key(key: str) -> str:
    """Returns a key as keyboards name it: "ctrl+g" is "Ctrl+G"."""
    *modifiers, last = key.split("+")
    name = KEY_NAMES.get(last) or (last.upper() if len(last) > 1 and last[1:].isdigit() else format_key(last))
    if modifiers and len(name) == 1:
        name = name.upper()
    return "+".join([*(each.capitalize() for each in modifiers), name])


class KeyLine(Widget):
    """Key and name of what can be done, as many as fit."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    KeyLine { dock: bottom; height: 1; background: $footer-background; color: $footer-foreground; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._shown: list[tuple[Binding, bool, Content]] = []

    def on_mount(self) -> None:
        """Follows what the focus changes."""
        self.screen.bindings_updated_signal.subscribe(self, self._renew)

    def _renew(self, screen: Screen[object]) -> None:
        if screen is self.screen and self.app.app_focus:
            self.refresh()

    def render(self) -> Content:
        """The line."""
        keys = [(binding, enabled, self._describe(binding, enabled=enabled)) for binding, enabled in self._list_keys()]
        self._shown = self._fit(keys)
        return Content("").join([content for _, _, content in self._shown])

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Presses the key under the mouse."""
        start = 0
        for binding, enabled, content in self._shown:
            if start <= event.x < start + content.cell_length and enabled:
                self.app.simulate_key(binding.key)
            start += content.cell_length

    def _list_keys(self) -> Iterator[tuple[Binding, bool]]:
        """What is to be shown; of several keys for one action only the first."""
        actions = set()
        for _, binding, enabled, _ in self.screen.active_bindings.values():
            if binding.show and binding.action not in actions:
                actions.add(binding.action)
                yield binding, enabled

    def _describe(self, binding: Binding, *, enabled: bool) -> Content:
        faint = "" if enabled else "dim"
        name = binding.key_display or name_key(binding.key)
        key = Content.styled(f" {name} ", f"bold $footer-key-foreground {faint}".rstrip())
        return key + Content.styled(f"{binding.description} ", f"$footer-description-foreground {faint}".rstrip())

    def _fit(self, keys: list[tuple[Binding, bool, Content]]) -> list[tuple[Binding, bool, Content]]:
        """The first ones, and help, in the width there is."""
        kept = list(keys)
        while sum(content.cell_length for _, _, content in kept) > self.size.width:
            losing = [place for place, (binding, _, _) in enumerate(kept) if binding.id != ALWAYS]
            if not losing:
                break
            del kept[losing[-1]]
        return kept
