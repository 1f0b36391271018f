"""Asks for format and file of an export, and writes it in a thread. What is written is `exporting`'s business."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Input, RadioButton, RadioSet, Static

from drama_app.config import expand_home
from drama_app.listing import count_of
from drama_app.output import clean_for_terminal
from drama_app.records import Hit, Results
from drama_app.tui import exporting
from drama_app.tui.enduring import EnduringDialog
from drama_app.tui.searching import attempt
from drama_app.tui.widgets.key_line import KeyLine

if TYPE_CHECKING:
    from drama_app.tui.app import DramaApp

ENDINGS = {"json": ".json", "csv": ".csv", "markdown": ".md"}
NAMES = {"json": "JSON", "csv": "CSV table", "markdown": "Markdown"}


class Choice(RadioButton):
    """One of several, chosen or not without colour too."""

    BUTTON_LEFT, BUTTON_RIGHT = "(", ")"

    @property
    def BUTTON_INNER(self) -> str:  # type: ignore[override]  # noqa: N802  Textual's name
        """The mark of the chosen one."""
        return "•" if self.value else " "

    @property
    def _button(self) -> Content:
        return Content(f"{self.BUTTON_LEFT}{self.BUTTON_INNER}{self.BUTTON_RIGHT}")


class ExportScreen(EnduringDialog[str | None]):
    """Ends with a sentence that says what was written, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Cancel", id="export.cancel"),
        Binding("ctrl+s", "write", "Export", id="export.write"),
    ]
    DEFAULT_CSS = """
    ExportScreen {
        align: center middle;
        & > Vertical {
            width: 90%; max-width: 76; height: auto; border: round $primary; background: $surface; padding: 0 2;
        }
        & Static { height: auto; }
        & RadioSet { width: 1fr; height: auto; border: none; background: $surface; padding: 0; }
        & RadioButton { width: auto; background: $surface; padding: 0 1 0 0; }
        & RadioSet:blur > RadioButton.-selected > .toggle--label { background: $surface; color: $foreground; }
        & Input { margin: 1 0 0 0; }
        & #wrong { color: $text-error; display: none; }
        &.-wrong #wrong { display: block; }
        & Horizontal { height: auto; margin: 1 0 0 0; }
        & Button { margin: 0 2 0 0; }
        & #replace { display: none; }
        &.-exists #replace { display: block; }
    }
    """

    def __init__(self, results: Results, hits: Sequence[Hit]) -> None:
        super().__init__()
        self._results, self._hits = results, tuple(hits)

    def compose(self) -> ComposeResult:
        """Parts."""
        with Vertical() as box:
            box.border_title = f"Export {count_of(len(self._hits), 'document')}"
            with RadioSet():
                for name in exporting.FORMATS:
                    yield Choice(NAMES.get(name, name), value=name == "markdown", name=name)
            yield Input(str(self._propose("markdown")), id="path")
            yield Static(id="wrong", markup=False)
            with Horizontal():
                yield Button("Export", id="export", variant="primary")
                yield Button("Replace it", id="replace", variant="warning")
                yield Button("Cancel", id="cancel")
        yield KeyLine()

    def on_mount(self) -> None:
        """The file's name comes first."""
        self.query_one("#path").focus()

    @property
    def format(self) -> str:
        """The chosen one."""
        pressed = self.query_one(RadioSet).pressed_button
        return str(pressed.name) if pressed is not None else "markdown"

    @staticmethod
    def _propose(name: str) -> Path:
        return Path("~") / f"drama-{datetime.now():%Y-%m-%d-%H%M}{ENDINGS.get(name, '')}"

    @on(RadioSet.Changed)
    def _on_format(self) -> None:
        """The ending follows the format."""
        field = self.query_one("#path", Input)
        path = Path(field.value or str(self._propose(self.format)))
        if path.suffix in ENDINGS.values():
            field.value = str(path.with_suffix(ENDINGS[self.format]))

    @on(Input.Changed)
    def _on_typed(self, event: Input.Changed) -> None:
        """The format follows an ending that is typed: who writes `hits.csv` wants a table."""
        self.remove_class("-wrong", "-exists")
        ending = Path(event.value).suffix.lower()
        for choice in self.query(Choice):
            if ENDINGS[str(choice.name)] == ending:
                choice.value = True

    @on(Input.Submitted)
    @on(Button.Pressed, "#export")
    def action_write(self) -> None:
        """Writes a file that is not there yet."""
        self._write(self._path(), self.format, overwrite=False)

    @on(Button.Pressed, "#replace")
    def _on_replace(self) -> None:
        self._write(self._path(), self.format, overwrite=True)

    @on(Button.Pressed, "#cancel")
    def _on_cancel(self) -> None:
        self.dismiss(None)

    def _path(self) -> str:
        return self.query_one("#path", Input).value.strip()

    @work(thread=True, exclusive=True, group="export", exit_on_error=False)
    def _write(self, typed: str, name: str, *, overwrite: bool) -> None:
        app = cast("DramaApp", self.app)  # a dialog that was left has none

        def write() -> str:
            path = expand_home(typed or str(self._propose(name)))
            return exporting.export_hits(self._results, self._hits, name, path, overwrite=overwrite)

        said, wrong = attempt(write)
        exists = bool(wrong) and not overwrite and attempt(lambda: expand_home(typed).is_file())[0] is True
        app.call_from_thread(self._end, app, said, wrong, exists)

    def _end(self, app: "DramaApp", said: str | None, wrong: str, exists: bool) -> None:
        if self.left:
            app.say(said if said is not None else wrong, severity="information" if said is not None else "error")
            return
        if said is not None:
            self.end(said)
            return
        self.query_one("#wrong", Static).update(clean_for_terminal(wrong))
        self.add_class("-wrong")
        self.set_class(exists, "-exists")
