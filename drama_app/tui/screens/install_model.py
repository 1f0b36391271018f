"""Asks for the folder of a retriever, checks it whole and copies it to the app's own data."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, Static

from drama_app.output import clean_for_terminal
from drama_app.tui.enduring import EnduringDialog
from drama_app.tui.searching import attempt
from drama_app.tui.widgets.key_line import KeyLine
from drama_app.tui.widgets.path_input import PathInput, read_path

if TYPE_CHECKING:
    from drama_app.tui.app import DramaApp

HINT = "A retriever folder holds retriever.json, model.onnx and tokenizer.json. It is checked whole, then copied."


class InstallModelScreen(EnduringDialog[str | None]):
    """Ends with a sentence about what was installed, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Cancel", id="install.cancel")]
    DEFAULT_CSS = """
    InstallModelScreen {
        align: center middle;
        & > Vertical { width: 76; max-width: 96%; height: auto; border: round $primary; background: $surface;
            padding: 0 1; border-title-color: $primary; border-title-style: bold; }
        & PathInput { border: none; height: 1; padding: 0 1; background: $panel; margin: 1 0; }
        & PathInput:focus { border: none; }
        & Static { height: auto; padding: 0 1; margin-bottom: 1; color: $text-muted; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._installing = False

    def compose(self) -> ComposeResult:
        """Parts."""
        with Vertical() as box:
            box.border_title = "Install a retriever"
            yield PathInput(placeholder="~/retrievers/mine", id="path")
            yield Static(HINT, id="said", markup=False)
        yield KeyLine()

    @on(PathInput.Completed)
    def _on_completed(self, event: PathInput.Completed) -> None:
        if event.names:
            self.query_one("#said", Static).update(Content("  ".join(event.names[:12])))

    @on(Input.Submitted)
    def _on_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if event.value.strip() and not self._installing:
            self._installing = True
            self.query_one("#said", Static).update("Checking the folder")
            self._install(read_path(event.value))

    @work(thread=True, exclusive=True, group="install", exit_on_error=False)
    def _install(self, folder: Path) -> None:
        from drama_app.switching import SHIPPED, install

        app = cast("DramaApp", self.app)  # a dialog that was left has none
        name, wrong = attempt(lambda: install(app.settings, folder))
        if name is None:
            app.call_from_thread(self._refuse, app, wrong)
            return
        said = "It is the retriever that is shipped" if name == SHIPPED else f"Installed: {Path(name).name}"
        app.call_from_thread(self._finish, app, said)

    def _finish(self, app: "DramaApp", said: str) -> None:
        if not self.end(said):
            app.say(said)  # left meanwhile: it was installed all the same

    def _refuse(self, app: "DramaApp", reason: str) -> None:
        self._installing = False
        if self.left:
            app.say(reason, severity="error")
            return
        self.query_one("#said", Static).update(Content.styled(clean_for_terminal(reason), "$text-error bold"))
