"""The first run: choose folders, see first results while the rest is read, know the keys. Esc skips it.

Decides only which folder to ask the app for.
"""

import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import ContentSwitcher, OptionList, Static
from textual.widgets.option_list import Option
from textual.worker import Worker

from drama_app.listing import count_of, shorten_path
from drama_app.output import clean_for_terminal
from drama_app.tui.adding import Proposal, describe_proposal, list_suggestions, weigh
from drama_app.tui.enduring import Enduring
from drama_app.tui.screens.add_folder import AddFolderScreen, Choice
from drama_app.tui.standing import describe_standing
from drama_app.tui.widgets.key_line import KeyLine
from drama_app.tui.widgets.status_line import STYLES, read_standing

if TYPE_CHECKING:
    from drama_app.tui.app import DramaApp

LOOK_SECONDS = 4.0  # a suggested folder is counted so long; what is more is told as "so far"
OTHER = "other"
STEPS = ("choose", "first", "keys")

WELCOME = """\
drama finds passages in your own files by what they mean, in any language.
Nothing leaves this machine.

Choose a folder to begin with. More can follow, and each can be taken out again."""
FIRST = """\
The small files come first, so there is something to find within seconds.
Ask while the rest is read: the hits grow as the index does.

Close the terminal when you like. The next start goes on from there,
and picks up what changed in the meantime."""
KEYS = (
    ("type", "Ask in your own words, or name a thing; hits come as you type"),
    ("Up Down", "Move through the hits; the preview shows the passage"),
    ("Enter", "Open the file, at the page where the viewer can"),
    ("F1", "Help: every key that works where you are"),
    ("F2 F3", "Search; Library: add, pause and remove folders"),
    ("F4 F5", "Activity: what is read, what failed; Model"),
    ("Ctrl+P", "Every action by its name"),
    ("Esc", "Back, step by step; it never quits. Ctrl+Q does"),
)


class WelcomeScreen(Enduring, ModalScreen[None]):
    """Three steps."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "next", "Next", id="welcome.next"),
        Binding("a", "other", "Another folder", id="welcome.other"),
        Binding("escape", "skip", "Skip", id="welcome.skip"),
    ]
    DEFAULT_CSS = """
    WelcomeScreen {
        align: center middle;
        & > Vertical { width: 84; max-width: 96%; height: auto; max-height: 94%; border: round $primary;
            background: $surface; padding: 1 2; border-title-color: $primary; border-title-style: bold; }
        & ContentSwitcher { height: auto; }
        & ContentSwitcher > Vertical { height: auto; }
        & Static { height: auto; }
        & OptionList { height: auto; max-height: 12; margin-top: 1; border: none; background: $surface; padding: 0; }
        & OptionList:focus { border: none; background-tint: transparent; }
        & #progress, & #go { margin-top: 1; }
        & #go { color: $text-muted; }
        & #refusal { margin-top: 1; color: $text-error; text-style: bold; display: none; }
    }
    """

    @dataclass
    class Weighed(Message):
        """What is known of a suggested folder."""

        proposal: Proposal

    def __init__(self) -> None:
        super().__init__()
        self._suggestions: tuple[Path, ...] = ()
        self._chosen: Path | None = None
        """Followed, not only asked for."""
        self._adding = False
        self._stop = threading.Event()

    @property
    def drama(self) -> "DramaApp":
        """The app."""
        return cast("DramaApp", self.app)

    def compose(self) -> ComposeResult:
        """Parts."""
        with Vertical(id="box"):
            with ContentSwitcher(initial=STEPS[0]):
                with Vertical(id="choose"):
                    yield Static(WELCOME, markup=False)
                    yield OptionList(Option("Another folder", id=OTHER), id="folders", markup=False)
                    yield Static(id="refusal", markup=False)
                with Vertical(id="first"):
                    yield Static(FIRST, markup=False)
                    yield Static(id="progress", markup=False)
                with Vertical(id="keys"):
                    yield Static(self._list_keys())
            yield Static("Enter chooses, Esc skips", id="go", markup=False)
        yield KeyLine()

    @staticmethod
    def _list_keys() -> Content:
        return Content("\n").join(Content.assemble((f"{key:<9}", "bold $primary"), said) for key, said in KEYS)

    def on_mount(self) -> None:
        """The first step; folders are looked for behind it."""
        self._name_step()
        self.query_one(OptionList).focus()
        for name in ("status", "progress", "indexing"):
            self.watch(self.app, name, self._show_progress, init=False)
        self._suggest()

    def on_unmount(self) -> None:
        """Ends a walk under way."""
        self._stop.set()

    def on_screen_resume(self) -> None:
        """Who has added a folder with F3 meanwhile needs no first step."""
        status = self.drama.status
        if self._chosen is None and not self._adding and status is not None and status.roots:
            self._end()

    # --- suggestions -----------------------------------------------------------------------------------------

    @work(thread=True, exclusive=True, group="suggest", exit_on_error=False)
    def _suggest(self) -> None:
        suggestions = list_suggestions(self.drama.settings)
        self.app.call_from_thread(self._list, suggestions)
        for path in suggestions:
            proposal = self._look_at(path)
            if self._stop.is_set():
                return
            self.post_message(self.Weighed(proposal))

    def _look_at(self, path: Path) -> Proposal:
        enough = threading.Event()

        def tell(_: Proposal) -> None:
            if self._stop.is_set():
                enough.set()

        timer = threading.Timer(LOOK_SECONDS, enough.set)
        timer.start()
        try:
            return weigh(None, self.drama.settings, path, tell=tell, stop=enough)
        finally:
            timer.cancel()

    def _list(self, suggestions: tuple[Path, ...]) -> None:
        self._suggestions = suggestions
        folders = self.query_one(OptionList)
        folders.clear_options()
        folders.add_options([*(Option(self._describe(path), id=str(index)) for index, path in enumerate(suggestions))])
        folders.add_option(Option("Another folder (a)", id=OTHER))
        folders.highlighted = 0

    @staticmethod
    def _describe(path: Path, facts: str = "looking at it") -> Content:
        name = shorten_path(path) if path != Path.cwd() else clean_for_terminal(str(path))
        return Content.assemble((name, "bold"), f"\n  {clean_for_terminal(facts)}")

    @on(Weighed)
    def _on_weighed(self, event: Weighed) -> None:
        event.stop()
        real = event.proposal.path
        for index, path in enumerate(self._suggestions):
            if path == real or path.name == real.name:
                facts = event.proposal.refusal or describe_proposal(replace(event.proposal, free=0))
                self.query_one(OptionList).replace_option_prompt(str(index), self._describe(path, facts))

    # --- steps -----------------------------------------------------------------------------------------------

    @property
    def _step(self) -> str:
        return str(self.query_one(ContentSwitcher).current)

    def _name_step(self) -> None:
        number = STEPS.index(self._step) + 1
        self.query_one("#box").border_title = f"Welcome to drama, {number} of {len(STEPS)}"
        go = {"choose": "Enter chooses, Esc skips", "first": "Enter goes on", "keys": "Enter begins"}
        self.query_one("#go", Static).update(go[self._step])
        self.refresh_bindings()

    @on(OptionList.OptionSelected)
    def _on_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if event.option_id == OTHER:
            self.action_other()
        elif event.option_id is not None and not self._adding:
            self._follow(Choice(self._suggestions[int(event.option_id)], yes=False))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Folders are chosen in the first step only."""
        return action != "other" or (self.is_mounted and self._step == "choose")

    def on_key(self, event: events.Key) -> None:
        """A path may be typed without asking for a line first."""
        is_bound = event.key in self.active_bindings
        if event.character and event.is_printable and not event.character.isspace() and not is_bound:
            self._begin_path(event, event.character)

    def on_paste(self, event: events.Paste) -> None:
        """A path may be pasted, too."""
        self._begin_path(event, event.text.strip().partition("\n")[0])

    def _begin_path(self, event: events.Event, typed: str) -> None:
        if self._step == "choose":
            event.stop()
            self.action_other(typed)

    def action_other(self, typed: str = "") -> None:
        """Asks for any folder."""

        def follow(choice: Choice | None) -> None:
            if choice is not None:
                self._follow(choice)

        if not self._adding:
            self.app.push_screen(AddFolderScreen(typed=typed), follow)

    @work(exclusive=True, group="follow", exit_on_error=False)
    async def _follow(self, choice: Choice) -> None:
        """Goes on once the folder is followed: the next step says that it is read."""
        self._stop.set()
        self._show_adding(choice.path)
        adding: Worker[str] = self.drama.add_folder(choice.path, yes=choice.yes)
        wrong = await adding.wait()
        self._show_adding(None, refusal=wrong)
        if not wrong:
            self._chosen = choice.path
            self.action_next()

    def _show_adding(self, path: Path | None, *, refusal: str = "") -> None:
        self._adding = path is not None
        line = self.query_one("#refusal", Static)
        line.display = bool(refusal)
        line.update(clean_for_terminal(refusal))
        self._name_step()
        if path is not None:
            self.query_one("#go", Static).update(f"Adding {shorten_path(path)}")

    def action_next(self) -> None:
        """Goes to the next step; from the last to the search."""
        if self._step == STEPS[-1]:
            self._end()
            return
        if self._step == STEPS[0] and self._chosen is None:
            return  # the list takes Enter
        self.query_one(ContentSwitcher).current = STEPS[STEPS.index(self._step) + 1]
        self.set_focus(None)
        self._name_step()
        self._show_progress()

    def _show_progress(self) -> None:
        if not self.is_mounted or self._step == STEPS[0] or self._chosen is None:
            return
        now = read_standing(self.drama)
        said, meaning = describe_standing(now)
        found = count_of(now.status.documents, "document") if now.status is not None else "no document"
        folder = Content.styled(shorten_path(self._chosen), "bold")
        line = Content.assemble(folder, "  ", (said, STYLES[meaning]), f"\n{found} searchable so far")
        self.query_one("#progress", Static).update(line)

    def action_skip(self) -> None:
        """Leaves; the library screen says later what to do."""
        self._end()

    def _end(self) -> None:
        self.drama.ui.welcomed = True
        self._stop.set()
        self.dismiss(None)  # first: from another mode's stack it could not be taken
        self.drama.action_show_mode("search")
        if self._chosen is not None:
            self.drama.say("Ask now: what is read already can be found, the rest follows")
        elif not self._adding and (self.drama.status is None or not self.drama.status.roots):
            self.drama.say("F3 adds a folder whenever you like")
