"""A question before something that costs time or deletes: says what goes and what stays. Decides nothing."""

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from drama_app.output import clean_for_terminal
from drama_app.tui.enduring import Enduring
from drama_app.tui.widgets.key_line import KeyLine


class ConfirmScreen(Enduring, ModalScreen[bool]):
    """Ends with True if the person agrees."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes", id="confirm.yes"),
        Binding("n,escape", "answer(False)", "No", id="confirm.no"),
        Binding("left,right", "other", "Other button", id="confirm.other", show=False),
    ]
    DEFAULT_CSS = """
    ConfirmScreen {
        align: center middle;
        & > Vertical { width: 64; max-width: 95%; height: auto; max-height: 90%; border: round $primary;
            background: $surface; padding: 1 2; }
        & #title { text-style: bold; margin-bottom: 1; }
        & #said { height: auto; }
        & Horizontal { height: auto; margin-top: 1; align-horizontal: right; }
        & Button { margin-left: 2; }
    }
    """

    def __init__(self, title: str, said: str, *, yes: str, no: str = "Cancel") -> None:
        """Makes the question.

        Args:
            title: The question; may hold foreign words.
            said: What goes and what stays; may hold foreign words and line breaks.
            yes: What agreeing does, for the button.
            no: What refusing does.
        """
        super().__init__()
        self._title, self._said, self._yes, self._no = title, said, yes, no

    def compose(self) -> ComposeResult:
        """Parts."""
        with Vertical():
            yield Static(Content(clean_for_terminal(self._title)), id="title")
            yield Static(Content(clean_for_terminal(self._said, lines=True)), id="said")
            with Horizontal():
                yield Button(self._no, id="no", flat=True)
                yield Button(self._yes, id="yes", variant="primary", flat=True)
        yield KeyLine()

    def on_mount(self) -> None:
        """Enter agrees to what has just been read; Esc does not."""
        self.query_one("#yes").focus()

    @on(Button.Pressed)
    def _on_button(self, event: Button.Pressed) -> None:
        event.stop()
        self.dismiss(event.button.id == "yes")

    def action_answer(self, agreed: bool) -> None:
        """Closes with the answer."""
        self.dismiss(agreed)

    def action_other(self) -> None:
        """Moves between the two buttons."""
        self.focus_next()
