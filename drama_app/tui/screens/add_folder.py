"""Choosing a folder to follow: typed with completion or picked in a tree, weighed before anything is changed.

Ends with the path and whether the person agreed to a whole home, drive or system folder; None if they left.
"""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Input, Static, Tree

from drama_app.listing import shorten_path
from drama_app.output import clean_for_terminal
from drama_app.tui.adding import Proposal, describe_proposal, weigh
from drama_app.tui.enduring import EnduringDialog
from drama_app.tui.screens.confirm import ConfirmScreen
from drama_app.tui.widgets.folder_tree import FolderTree
from drama_app.tui.widgets.key_line import KeyLine
from drama_app.tui.widgets.path_input import PathInput, read_path

if TYPE_CHECKING:
    from drama_app.tui.app import DramaApp

PAUSE_SECONDS = 0.3  # after the last key, before a folder is walked
MOST_NAMES = 12  # completions that are named; more do not fit
HINT = "Type a path (Tab completes) or pick a folder below (Down, Space opens)"


@dataclass(frozen=True, slots=True)
class Choice:
    """A folder to follow."""

    path: Path
    yes: bool


class AddFolderScreen(EnduringDialog[Choice | None]):
    """A path, what following it would take, and a tree."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Cancel", id="add.cancel"),
        Binding("ctrl+s", "start", "Follow it", id="add.start", show=False),
    ]
    DEFAULT_CSS = """
    AddFolderScreen {
        align: center middle;
        & > Vertical { width: 84; max-width: 96%; height: 90%; max-height: 34; border: round $primary;
            background: $surface; padding: 0 1; border-title-color: $primary; border-title-style: bold; }
        & PathInput { border: none; height: 1; padding: 0 1; background: $panel; margin: 1 0; }
        & PathInput:focus { border: none; }
        & #said { height: auto; min-height: 3; max-height: 7; padding: 0 1; margin-bottom: 1; }
        & FolderTree { height: 1fr; padding: 0 1; }
    }
    """

    @dataclass
    class Weighed(Message):
        """What is known of a folder so far."""

        proposal: Proposal
        final: bool

    def __init__(self, start: Path | None = None, typed: str = "") -> None:
        super().__init__()
        self._typed = typed
        self._start = start or Path.home()
        self._stop = threading.Event()
        self._timer: Timer | None = None
        self._proposal: Proposal | None = None
        self._final = False
        self._wanted = False
        """Enter was pressed before the folder was weighed."""

    def compose(self) -> ComposeResult:
        """Parts."""
        with Vertical() as box:
            box.border_title = "Add a folder"
            yield PathInput(placeholder="~/Documents", id="path")
            yield Static(HINT, id="said", markup=False)
            yield FolderTree(self._start)
        yield KeyLine()

    def on_mount(self) -> None:
        """The line is ready; the root of the tree is open."""
        self.query_one(FolderTree).auto_expand = False
        self.query_one(PathInput).focus()
        self._type(self._typed)

    def on_key(self, event: events.Key) -> None:
        """Takes what was typed before the line had the focus."""
        if event.character and event.is_printable and not self.query_one(FolderTree).has_focus:
            event.stop()
            self._type(event.character)

    def _type(self, text: str) -> None:
        self.query_one(PathInput).insert_text_at_cursor(text)

    def on_unmount(self) -> None:
        """Ends a walk under way."""
        self._stop.set()

    # --- what is chosen --------------------------------------------------------------------------------------

    @on(Input.Changed)
    def _on_typed(self, event: Input.Changed) -> None:
        event.stop()
        self._stop.set()
        self._proposal, self._final, self._wanted = None, False, False
        if self._timer is not None:
            self._timer.stop()
        if event.value.strip():
            self._timer = self.set_timer(PAUSE_SECONDS, self._weigh_typed)
        else:
            self._say(Content.styled(HINT, "$foreground-muted"))

    @on(PathInput.Completed)
    def _on_completed(self, event: PathInput.Completed) -> None:
        if event.names:
            names = [clean_for_terminal(name) for name in event.names[:MOST_NAMES]]
            more = "  …" if len(event.names) > MOST_NAMES else ""
            self._say(Content.styled("  ".join(names) + more, "$foreground-muted"))

    @on(Tree.NodeHighlighted)
    def _on_highlighted(self) -> None:
        tree = self.query_one(FolderTree)
        if tree.has_focus and tree.here is not None:
            self.query_one(PathInput).value = str(tree.here)

    @on(Input.Submitted)
    @on(FolderTree.Chosen)
    def _on_taken(self, event: Message) -> None:
        event.stop()
        self.action_start()

    # --- weighing --------------------------------------------------------------------------------------------

    def _weigh_typed(self) -> None:
        self._timer = None
        self._stop = threading.Event()
        self._weigh(read_path(self.query_one(PathInput).value), self._stop)

    @work(thread=True, exclusive=True, group="weigh", exit_on_error=False)
    def _weigh(self, path: Path, stop: threading.Event) -> None:
        app = cast("DramaApp", self.app)

        def tell(proposal: Proposal) -> None:
            if not stop.is_set():
                self.post_message(self.Weighed(proposal, final=False))

        proposal = weigh(app.library, app.settings, path, tell=tell, stop=stop)
        if not stop.is_set():
            self.post_message(self.Weighed(proposal, final=True))

    @on(Weighed)
    def _on_weighed(self, event: Weighed) -> None:
        event.stop()
        self._proposal, self._final = event.proposal, event.final
        self._show(event.proposal)
        # A path that is pasted and entered at once is still weighed to the end; what that brings up is read first.
        if self._wanted and event.final:
            self._wanted = False
            if not (event.proposal.refusal or event.proposal.warnings):
                self.action_start()

    def _show(self, proposal: Proposal) -> None:
        lines = [Content.styled(shorten_path(proposal.path), "bold")]
        if proposal.estimate is not None:
            lines.append(Content(describe_proposal(proposal)))
        if proposal.refusal:
            lines.append(Content.styled(clean_for_terminal(proposal.refusal), "$text-error bold"))
        else:
            warnings = list(proposal.warnings)
            if proposal.vast:
                warnings.append("This is a whole home, drive or system folder: a folder in it may be enough")
            if proposal.is_scarce:
                warnings.append("The index may not fit on the disk")
            lines += [Content.styled(clean_for_terminal(each), "$text-warning bold") for each in warnings]
            lines.append(Content.styled("Enter follows it, Esc leaves", "$foreground-muted"))
        self._say(Content("\n").join(lines))

    def _say(self, said: Content) -> None:
        self.query_one("#said", Static).update(said)

    # --- the end ---------------------------------------------------------------------------------------------

    def action_start(self) -> None:
        """Follows the folder; what is large asks once more."""
        proposal = self._proposal
        if proposal is None or not (self._final or (proposal.estimate and proposal.estimate.files)):
            self._wanted = bool(self.query_one(PathInput).value.strip())
            return
        self._wanted = False
        if proposal.refusal:
            self.app.bell()
        elif proposal.vast or proposal.is_scarce:
            self._ask(proposal)
        else:
            self._end(Choice(proposal.path, yes=False))

    def _ask(self, proposal: Proposal) -> None:
        reasons = ["It is a whole home, drive or system folder."] if proposal.vast else []
        reasons += ["The index may not fit on the disk."] if proposal.is_scarce else []
        said = "\n".join([*reasons, "", describe_proposal(proposal)])
        question = ConfirmScreen(f"Follow {shorten_path(proposal.path)}?", said, yes="Follow it")

        def answer(agreed: bool | None) -> None:
            if agreed:
                self._end(Choice(proposal.path, yes=True))

        self.app.push_screen(question, answer)

    def action_leave(self) -> None:
        """Changes nothing."""
        self._end(None)

    def _end(self, choice: Choice | None) -> None:
        self._stop.set()
        self.end(choice)
