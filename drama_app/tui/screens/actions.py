"""The menu of what can be done with a hit: each entry with the key that does it. Decides nothing."""

from dataclasses import dataclass
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from drama_app.tui.enduring import Enduring
from drama_app.tui.widgets.key_line import KeyLine


@dataclass(frozen=True, slots=True)
class HitAction:
    """Something that can be done with the hit at the cursor."""

    key: str
    """Works in the menu, and wherever no line is typed in."""
    beside: str
    """Keys that work while the query has the focus, separated by commas; "" if there is none."""
    action: str
    name: str
    title: str
    """What it does, in the menu and the palette."""
    shown: bool = False
    """In the footer."""

    @property
    def id(self) -> str:
        """What the key map calls it."""
        return f"search.{self.action.split('(')[0]}"

    def bindings(self) -> list[BindingType]:
        """Its keys."""
        made: list[BindingType] = [Binding(self.key, self.action, self.name, id=self.id, show=self.shown)]
        if self.beside:
            made.append(Binding(self.beside, self.action, self.name, id=self.id, show=False))
        return made


ACTIONS = (
    HitAction("e", "", "edit", "Edit", "Open the text in your editor, at the line", shown=True),
    HitAction("o", "ctrl+o", "show_folder", "Folder", "Show the folder that holds it"),
    HitAction("y", "ctrl+y", "copy_path", "Copy path", "Copy the path"),
    HitAction("Y", "ctrl+t", "copy_passage", "Copy passage", "Copy the passage"),
    HitAction("c", "", "cite", "Cite", "Copy a citation"),
    HitAction("n", "ctrl+n", "next_passage", "Next", "Next passage that was found in the document"),
    HitAction("N", "ctrl+b", "previous_passage", "Previous", "Previous passage that was found in the document"),
    HitAction("w", "", "why", "Why", "Why this hit: its scores in words"),
    HitAction("s", "", "similar", "Similar", "Find documents like this one"),
    HitAction("space", "ctrl+space,ctrl+@,f10", "choose", "Select", "Select it, for copying and export", shown=True),
    HitAction("x", "", "export", "Export", "Export the selected documents, or all"),
    HitAction("r", "ctrl+r", "repeat", "Repeat", "Search again"),
)


class ActionsScreen(Enduring, ModalScreen[str | None]):
    """Ends with the action that was chosen, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,f8", "dismiss(None)", "Close", id="actions.close")]
    DEFAULT_CSS = """
    ActionsScreen {
        align: center middle;
        & > OptionList {
            width: 62; max-width: 95%; height: auto; max-height: 90%;
            border: round $primary; background: $surface; padding: 0 1;
        }
    }
    """

    def compose(self) -> ComposeResult:
        """Parts."""
        entries = [("enter", "open", "Open it, at the page where the viewer can")]
        entries += [(each.key, each.action, each.title) for each in ACTIONS]
        options = OptionList(markup=False)
        options.border_title = "Actions"
        for key, action, title in entries:
            options.add_option(Option(Content.assemble(Content.styled(f"{key:<7}", "bold"), title), id=action))
        yield options
        yield KeyLine()

    def on_mount(self) -> None:
        """The first entry is ready."""
        options = self.query_one(OptionList)
        options.highlighted = 0
        options.focus()

    @on(OptionList.OptionSelected)
    def _on_chosen(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.dismiss(event.option.id)

    def on_key(self, event: events.Key) -> None:
        """The key of an entry chooses it."""
        for each in ACTIONS:
            if event.key == each.key or (event.character == each.key and each.key.isprintable()):
                event.stop()
                self.dismiss(each.action)
                return
