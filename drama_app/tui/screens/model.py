"""The model screen: the retriever in use with its card and scores, others that are installed, what switching costs.

Decides which request a key makes; the indexing thread switches.
"""

from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.content import Content
from textual.widgets import DataTable, Markdown, Static

from drama_app.errors import DramaError
from drama_app.listing import count_of
from drama_app.records import Status
from drama_app.tui.messages import Failed
from drama_app.tui.retrievers import Model, Models, read_models
from drama_app.tui.screens.confirm import ConfirmScreen
from drama_app.tui.screens.install_model import InstallModelScreen
from drama_app.tui.screens.panel import PanelScreen, lay_out
from drama_app.tui.standing import describe_wait
from drama_app.tui.widgets.key_line import KeyLine
from drama_app.tui.widgets.navigation import Navigation
from drama_app.tui.widgets.status_line import StatusLine

LIKELY_RATE = 25.0
"""Passages a second where this machine has not indexed yet, as in `estimate`."""
NO_CARD = "This retriever comes without a card."
ABOUT = "The retriever turns passages and questions into numbers, so that what means the same lies close together."


def parse_card() -> object:
    """A Markdown parser for foreign text: nothing to click, nothing to fetch, no HTML."""
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False}).enable("table").disable(["image", "link", "autolink", "entity"])


class ModelTable(DataTable[Text]):
    """The retrievers. A click chooses, Enter asks whether to use it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "screen.use", "Use it", id="model.use", show=False),
    ]


class ModelScreen(PanelScreen):
    """A table of retrievers, and the one at the cursor."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("u", "use", "Use it", id="model.use"),
        Binding("b", "back", "One step back", id="model.back"),
        Binding("v", "verify", "Verify", id="model.verify"),
        Binding("i", "install", "Install", id="model.install"),
        Binding("pageup", "page(-1)", "Card up", id="model.page_up", show=False),
        Binding("pagedown", "page(1)", "Card down", id="model.page_down", show=False),
    ]
    DEFAULT_CSS = """
    ModelScreen {
        & > #about { height: auto; padding: 0 1; color: $text-muted; margin-bottom: 1; }
        & > #models { height: auto; max-height: 8; background: $background; margin-bottom: 1;
            background-tint: transparent; }
        & > #body { height: 1fr; layout: horizontal; overflow-y: auto; scrollbar-size-vertical: 1; }
        & #facts-side { width: 1fr; height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
        & #card-side { width: 1fr; height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
        & #facts { height: auto; margin-bottom: 1; }
        & #scores { height: auto; }
        & Markdown { background: $background; padding: 0; margin: 0; }
        &.-narrow #body { layout: vertical; }
        &.-narrow #facts-side, &.-narrow #card-side { width: 1fr; height: auto; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._models = Models()
        self._is_read = False
        self._card = ""
        self._used = ""

    def compose(self) -> ComposeResult:
        """Parts."""
        yield Navigation("model")
        yield Static(ABOUT, id="about", markup=False)
        yield ModelTable(id="models", cursor_type="row")
        with Container(id="body"):
            with VerticalScroll(id="facts-side"):
                yield Static("Reading the retriever", id="facts", markup=False)
                yield Static(id="scores", markup=False)
            with VerticalScroll(id="card-side"):
                yield Markdown(open_links=False, parser_factory=parse_card)  # type: ignore[arg-type]  # imported late
        yield StatusLine()
        yield KeyLine()

    def on_mount(self) -> None:
        """Follows the app."""
        self.watch(self.app, "library", self._on_library, init=False)
        self.watch(self.app, "status", self._on_status, init=False)
        self.query_one("#models").focus()

    def on_screen_resume(self) -> None:
        """Something may have been installed meanwhile."""
        self._read()

    # --- showing ---------------------------------------------------------------------------------------------

    def _on_library(self) -> None:
        self._read()

    def _on_status(self, status: Status | None) -> None:
        if status is not None and status.retriever != self._used:
            self._used = status.retriever
            self._read()

    @work(thread=True, exclusive=True, group="models", exit_on_error=False)
    def _read(self) -> None:
        if not self.is_active:
            return
        try:
            models = read_models(self.drama.library, self.drama.settings)
        except (DramaError, OSError) as error:
            self.drama.post_message(Failed(str(error)))
            return
        self.app.call_from_thread(self._show, models)

    def _show(self, models: Models) -> None:
        if self._is_read and models == self._models:
            return
        before, self._models, self._is_read = self._chosen, models, True
        table = self.query_one("#models", DataTable)
        table.clear(columns=True)
        for name in ("", "Retriever", "Version", "Licence", "Numbers"):
            table.add_column(name)
        for each in models.models:
            facts = dict(each.facts)
            used = Text("in use", style="bold") if each.in_use else Text("")
            numbers = facts["Numbers"].removesuffix(" a passage").replace(" (in use)", "*")
            table.add_row(used, Text(each.name), Text(each.version), Text(facts.get("Licence", "-")), Text(numbers))
        rows = [each.folder for each in models.models]
        table.move_cursor(row=rows.index(before.folder) if before and before.folder in rows else 0, animate=False)
        for error in models.errors:
            self.drama.say(error, severity="warning")
        self._show_chosen()

    @on(DataTable.RowHighlighted)
    def _show_chosen(self) -> None:
        self.refresh_bindings()
        model = self._chosen
        if not self._is_read:
            return
        if model is None:
            self.put("facts", Content("No retriever can be read: install drama again, or press i"))
            return
        self.query_one("#facts", Static).update(lay_out(model.facts))
        self.put("scores", self._describe_scores(model))
        card = model.card or NO_CARD
        if card != self._card:
            self._card = card
            self.query_one(Markdown).update(card)

    @staticmethod
    def _describe_scores(model: Model) -> Content:
        if not model.scores:
            return Content.styled("No scores are stated.", "$foreground-muted")
        width = max(len(name) for name, value in model.scores if value)
        lines = [Content.styled("Scores", "bold $primary")]
        for name, value in model.scores:
            line = f"{name:<{width}}  {value:>8}" if value else f"\n{name}"
            lines.append(Content.styled(line, "" if value else "$foreground-muted"))
        return Content("\n").join(lines)

    @property
    def _chosen(self) -> Model | None:
        row = self.query_one("#models", DataTable).cursor_row
        return self._models.models[row] if 0 <= row < len(self._models.models) else None

    # --- keys ------------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """What makes no sense now is not offered."""
        if not self.is_mounted:
            return True
        model = self._chosen
        if action == "use":
            return model is not None and not model.in_use and self.drama.library is not None
        if action == "back":
            return bool(self._models.earlier)
        if action == "verify":
            return model is not None
        return True

    def action_use(self) -> None:
        """Asks, then embeds everything again with the chosen retriever."""
        if (model := self._chosen) is None:
            return
        said = self._describe_cost()
        if any(each.in_use for each in self._models.models):
            said += "\n\nThe numbers of the retriever in use are kept: b goes one step back."

        def answer(agreed: bool | None) -> None:
            if agreed:
                self._begin_switch(f"Switching to {model.name} {model.version}; F4 shows how far it is")
                self.drama.use_retriever(model.folder)

        self.app.push_screen(ConfirmScreen(f"Use {model.name} {model.version}?", said, yes="Use it"), answer)

    def action_back(self) -> None:
        """Asks, then goes back to the retriever before."""
        earlier = self._models.earlier

        def answer(agreed: bool | None) -> None:
            if agreed:
                self._begin_switch(f"Going back to {earlier}")
                self.drama.use_retriever(None)

        said = "Its numbers are kept, so only what changed since is embedded again."
        self.app.push_screen(ConfirmScreen(f"Go back to {earlier}?", said, yes="Go back"), answer)

    def _begin_switch(self, said: str) -> None:
        self.drama.note(said)
        self.drama.say(said)

    def _describe_cost(self) -> str:
        status = self.drama.status
        passages = status.passages if status is not None else 0
        rate = self._models.rate or LIKELY_RATE
        measured = "as fast as was measured here" if self._models.rate else "on a common machine"
        used = any(each.in_use for each in self._models.models)
        meanwhile = "Searches go on with the retriever in use" if used else "Only keywords answer (F6)"
        return (
            f"{count_of(passages, 'passage')} are embedded again, {rate:,.0f} a second {measured}: about "
            f"{describe_wait(passages / rate)}. {meanwhile} until then."
        )

    def action_verify(self) -> None:
        """Checks the chosen folder whole."""
        if (model := self._chosen) is not None:
            self._verify(model)

    @work(thread=True, exclusive=True, group="verify", exit_on_error=False)
    def _verify(self, model: Model) -> None:
        from drama_app.retriever import open_retriever_folder

        try:
            open_retriever_folder(model.folder)  # without a cache of stamps the folder is verified whole
        except (DramaError, OSError) as error:
            self.drama.post_message(Failed(str(error)))
            return
        self.app.call_from_thread(self.drama.say, f"{model.name} {model.version} is whole: hash, words and network fit")

    def action_install(self) -> None:
        """Asks for a folder and copies it."""

        def tell(said: str | None) -> None:
            if said:
                self.drama.say(said)
                self._read()

        self.app.push_screen(InstallModelScreen(), tell)

    def action_page(self, direction: int) -> None:
        """Scrolls the card."""
        side = self.query_one("#body" if self.has_class("-narrow") else "#card-side")
        side.scroll_page_down() if direction > 0 else side.scroll_page_up()
