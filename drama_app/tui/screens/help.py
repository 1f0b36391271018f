"""The help layer: the keys that work on the screen below, and how to change them. Owns their order and names."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, cast

from rich.cells import cell_len
from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.content import Content
from textual.dom import DOMNode
from textual.screen import ModalScreen, Screen
from textual.widgets import Input, Static, TextArea

from drama_app.listing import shorten_path
from drama_app.tui.enduring import Enduring
from drama_app.tui.widgets.key_line import name_key

if TYPE_CHECKING:
    from drama_app.tui.app import DramaApp

LONGEST_KEYS = 26
TYPING, FOCUSED, HERE = "While you type", "With the focus where it is", "On this screen"
EVERYWHERE, EDITING = "Everywhere", "Editing the line"
PLACES = (TYPING, FOCUSED, HERE, EVERYWHERE, EDITING)
"""In the order in which they are shown: what every line of text can do comes last."""
NO_USE = ("scroll_", "page_up", "page_down", "page_left", "page_right")
"""Actions that a line of text inherits and cannot carry out."""


class KeyGroup(Static):
    """The keys of one place, laid out for the width there is."""

    def __init__(self, title: str, rows: list[tuple[str, str, str]]) -> None:
        super().__init__(classes="help-keys")
        self._title, self._rows = title, rows
        self._laid_out = 0

    def on_resize(self, event: events.Resize) -> None:
        """Another width."""
        if event.size.width != self._laid_out:
            self._laid_out = event.size.width
            self.update(_show_group(self._title, self._rows, event.size.width))


class HelpScreen(Enduring, ModalScreen[None]):
    """Keys by where they work: the part that has the focus, the screen, everywhere."""

    DEFAULT_CSS = """
    HelpScreen {
        align: center middle;
        & > #help-box {
            width: 84; max-width: 100%; height: auto; max-height: 100%;
            background: $surface; border: round $primary; padding: 0 1;
        }
        & VerticalScroll { height: auto; max-height: 100%; }
        & .help-keys { height: auto; width: 1fr; margin-bottom: 1; }
        & .help-note { height: auto; width: 1fr; color: $foreground-muted; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark", "dismiss", "Close", id="help.close"),
    ]

    def __init__(self, below: Screen[Any]) -> None:
        super().__init__()
        self.below = below

    def compose(self) -> ComposeResult:
        """Parts."""
        app = cast("DramaApp", self.app)
        with Container(id="help-box") as box:
            box.border_title = "Keys that work here"
            box.border_subtitle = "Esc closes"
            with VerticalScroll():
                for title, rows in list_keys(self.below):
                    yield KeyGroup(title, rows)
                yield Static(
                    "The grey names are for your own keys. Put them into "
                    f"{shorten_path(app.settings.config_file)}, for example:\n\n"
                    '  [keys]\n  "app.help" = "f1,f12"\n\nThey take effect at the next start.',
                    classes="help-note",
                    markup=False,
                )


def list_keys(screen: Screen[Any]) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """Returns (title, rows) for each place that takes keys now; a row is keys, what they do, and the action's name."""
    groups: dict[str, dict[tuple[str, str], tuple[list[str], str]]] = {place: {} for place in PLACES}
    for node, binding, enabled, _ in screen.active_bindings.values():
        if enabled and binding.description and not binding.action.startswith(NO_USE):
            rows = groups[_name_place(node, binding, screen)]
            said = binding.description if binding.id else binding.description.capitalize()  # Textual's "Focus Next"
            keys, _ = rows.setdefault((binding.action, said), ([], binding.id or ""))
            keys.append(binding.key_display or name_key(binding.key))
    return [(place, list(_list_rows(rows))) for place, rows in groups.items() if rows]


def _list_rows(rows: dict[tuple[str, str], tuple[list[str], str]]) -> Iterator[tuple[str, str, str]]:
    for (_, description), (keys, name) in rows.items():
        shown = dict.fromkeys(keys)
        text = ""
        for each in shown:
            longer = f"{text}, {each}" if text else each
            text = longer if cell_len(longer) <= LONGEST_KEYS else text
        yield text, description, name


def _name_place(node: DOMNode, binding: Binding, screen: Screen[Any]) -> str:
    if isinstance(node, App):
        return EVERYWHERE
    if isinstance(node, Input | TextArea):
        return TYPING if binding.id else EDITING
    return FOCUSED if node is screen.focused else HERE


def _show_group(title: str, rows: list[tuple[str, str, str]], room: int) -> Content:
    """Keys, what they do and the action's name in columns, or below each other where they do not fit."""
    keys_width = max(cell_len(keys) for keys, _, _ in rows) + 2
    said_width = max(cell_len(description) for _, description, _ in rows) + 2
    name_width = max(len(name) for *_, name in rows)
    beside = 2 + keys_width + said_width + name_width <= room
    fitting = sum(2 + keys_width + max(cell_len(said), len(name)) <= room for _, said, name in rows)
    in_columns = fitting >= 0.8 * len(rows)  # one long line is wrapped; it does not decide for the others
    under = "\n" + " " * (keys_width + 2 if in_columns else 4)
    lines = [Content.styled(title, "bold $primary")]
    for keys, description, name in rows:
        gap = " " * (keys_width - cell_len(keys)) if in_columns else under
        after = " " * (said_width - cell_len(description)) if beside else under
        lines.append(
            Content.assemble(
                ("  " + keys, "bold"), gap, description, (after + name, "$foreground-muted") if name else ""
            )
        )
    return Content("\n").join(lines)
