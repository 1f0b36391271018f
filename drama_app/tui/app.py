"""The app: opens the library behind the first paint, owns the threads, and passes what they say to the screens.

Data flows down: screens watch `library`, `status`, `progress`, `indexing` and `state_line`. Requests flow up: screens
call the methods below. Nothing here lays out a screen or ranks a hit.
"""

import asyncio
import gc
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.reactive import reactive
from textual.screen import Screen
from textual.theme import Theme

from drama_app.config import Settings
from drama_app.errors import DramaError, NoIndexError
from drama_app.output import clean_for_terminal
from drama_app.records import Progress, Status, SyncReport
from drama_app.tui.enduring import EnduringApp
from drama_app.tui.indexing import Indexing, IndexingState
from drama_app.tui.keymap import use_keys
from drama_app.tui.messages import (
    Failed,
    IndexingChanged,
    LibraryOpened,
    Progressed,
    SearchInside,
    StateSaid,
    StatusRead,
    SyncEnded,
    WorkEnded,
)
from drama_app.tui.palette import list_commands
from drama_app.tui.removal import Removals
from drama_app.tui.searching import attempt, warm_up
from drama_app.tui.state import load_state, save_state
from drama_app.tui.themes import THEMES, choose_theme
from drama_app.tui.widgets.navigation import SCREENS, WIDE, open_screen

if TYPE_CHECKING:
    from drama_app.library import Library

log = logging.getLogger(__name__)

STATUS_SECONDS = 2.0  # while indexing runs, counts are read again this often: 20 ms at 100,000 passages
LOG_LINES = 500


class DramaApp(EnduringApp):
    """The terminal UI of drama."""

    CSS_PATH = "app.tcss"
    TITLE = "drama"
    # Always: a query typed right after the start would be commands on the screen that was left last.
    DEFAULT_MODE = "search"
    MODES: ClassVar = {name: partial(open_screen, name) for name in SCREENS}
    HORIZONTAL_BREAKPOINTS: list[tuple[int, str]] | None = [(0, "-narrow"), (WIDE, "-wide")]  # noqa: RUF012  as Textual has it
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1", "help", "Help", id="app.help", priority=True),
        Binding("question_mark", "help", "Help", id="app.help_outside_fields", show=False),
        *(
            Binding(key.lower(), f"show_mode('{name}')", title, id=f"app.{name}", priority=True, show=False)
            for name, (key, title) in SCREENS.items()
        ),
        Binding("ctrl+g", "jump", "Jump", id="app.jump", priority=True, show=False),
        Binding("ctrl+p", "command_palette", "Palette", id="app.palette", priority=True),
        Binding("ctrl+z", "suspend_process", "To the background", id="app.suspend", priority=True, show=False),
        Binding("ctrl+q", "quit", "Quit", id="app.quit", priority=True, show=False),
    ]

    library: reactive["Library | None"] = reactive(None)
    """None until it is open, and while there is no index."""
    opened: reactive[bool] = reactive(False)
    """The attempt to open the index has ended: without a library there is none yet."""
    status: reactive[Status | None] = reactive(None, always_update=True)
    progress: reactive[Progress | None] = reactive(None)
    """Of the sync that runs; None while none does."""
    indexing: reactive[IndexingState] = reactive("off")
    state_line: reactive[str] = reactive("")
    """What the watcher last said of itself, or why it does not run."""
    noted: reactive[int] = reactive(0)
    """Grows with every line of the activity log."""

    def __init__(self, settings: Settings, background: str = "") -> None:
        self.settings = settings
        self.ui = load_state(settings)
        # The theme before anything is made: a style sheet made twice takes 0.1 s of the first paint.
        self._theme_wanted = choose_theme(settings.theme, os.environ, background)
        self.set_reactive(App.theme, self.ui.theme if self.ui.theme in THEMES else self._theme_wanted)
        super().__init__()
        self.log_lines: deque[str] = deque(maxlen=LOG_LINES)
        """What happened, oldest first, each line cleaned and with its time."""
        self.trouble = ""
        """Why the index does not open, "" if it does or there is none."""
        self.last_report: SyncReport | None = None
        self.removals = Removals(self)
        self._indexing: Indexing | None = None
        self._status_read = 0.0

    @property
    def available_themes(self) -> dict[str, Theme]:
        """Textual's and ours."""
        return {**super().available_themes, **THEMES}

    # --- start and end ---------------------------------------------------------------------------------------

    def on_mount(self) -> None:
        """Puts the person's keys in force; the index opens behind the first paint."""
        self.theme_changed_signal.subscribe(self, self._keep_theme)
        use_keys(self)
        # What was drawn before Ctrl+Z is gone after it.
        self.app_resume_signal.subscribe(self, lambda _: self.call_later(self.refresh, layout=True))
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        """What waits for the first paint."""
        if not gc.isenabled():
            gc.freeze()  # what a start makes stays: no need to look through it for garbage again and again
            gc.enable()
        self.open_library()

    def _keep_theme(self, _: object) -> None:
        self.ui.theme = "" if self.theme == self._theme_wanted else self.theme

    @work(thread=True, group="library", exit_on_error=False)
    def open_library(self) -> None:
        """Opens the index and warms the search, in a thread."""
        from drama_app.library import Library

        try:
            library = Library.open(self.settings)
        except NoIndexError:
            self.post_message(LibraryOpened(None))
            return
        except (DramaError, OSError) as error:
            log.warning("the index does not open", exc_info=True)
            self.post_message(LibraryOpened(None, str(error)))
            self.post_message(Failed(str(error)))
            return
        self.post_message(LibraryOpened(library))
        warm_up(library)

    def on_library_opened(self, message: LibraryOpened) -> None:
        """Shows what the index holds, and follows its folders."""
        self.trouble = message.reason
        self.opened = True
        self.library = message.library
        self._welcome(has_folders=message.library is not None and bool(message.library.roots()))
        if message.library is None:
            return
        self._indexing = Indexing(message.library, self.post_message)
        self.refresh_status()
        if message.library.roots():
            self._indexing.start()

    def _welcome(self, *, has_folders: bool) -> None:
        """Welcomes who has no index yet, once."""
        if has_folders:
            self.ui.welcomed = True
        elif not self.ui.welcomed and not (self.settings.data_folder / "index" / "manifest.db").exists():
            self.push_screen(open_screen("welcome"))

    async def action_quit(self) -> None:
        """Leaves; what indexing has finished stays, and the next start goes on from there."""
        save_state(self.settings, self.ui)
        if self.progress is not None:
            self.say("Stopping: finishing the current file…")
        self._leave()

    @work(exclusive=True, group="leave", exit_on_error=False)
    async def _leave(self) -> None:
        """Waits beside the UI, which says so meanwhile."""
        if self._indexing is not None:
            self.indexing = "stopping"
            await asyncio.to_thread(self._indexing.close)
        await asyncio.to_thread(self.removals.carry_out)
        self.exit()

    def on_unmount(self) -> None:
        """The terminal may also be closed on us."""
        save_state(self.settings, self.ui)
        if self._indexing is not None:
            self._indexing.close(seconds=0.5)

    # --- what threads say ------------------------------------------------------------------------------------

    def on_progressed(self, message: Progressed) -> None:
        """Keeps the newest progress, and the counts about fresh."""
        self.progress = message.progress
        if time.monotonic() - self._status_read > STATUS_SECONDS:
            self.refresh_status()

    def on_state_said(self, message: StateSaid) -> None:
        """Keeps the watcher's line."""
        self.state_line = clean_for_terminal(message.line)

    def on_sync_ended(self, message: SyncEnded) -> None:
        """Notes what a sync did, tells what a person waited for, and reads the counts again."""
        self.progress = None
        self.last_report = report = message.report
        self.refresh_status()
        changes = {word: getattr(report, word) for word in ("added", "changed", "moved", "removed")}
        said = ", ".join(f"{count:,} {word}" for word, count in changes.items() if count)
        for note in report.notes:
            self.note(note)
        if said:
            self.note(f"{said}; {report.documents:,} documents in the index")
            if report.added >= 10 and not report.stopped:
                self.say(f"Indexed: {said}")

    def on_indexing_changed(self, message: IndexingChanged) -> None:
        """Shows whether the folders are followed."""
        self.indexing = message.state  # type: ignore[assignment]  # the sender's type
        if message.reason:
            self.state_line = clean_for_terminal(message.reason)
            self.note(message.reason)
        if message.state != "following":
            self.progress = None
        if message.state == "failed":
            self.say(f"Indexing stopped: {message.reason}", severity="error")

    def on_failed(self, message: Failed) -> None:
        """Shows what did not work."""
        self.note(message.sentence)
        self.say(message.sentence, severity="error")

    def on_work_ended(self, message: WorkEnded) -> None:
        """A retry or a switch is over."""
        self.progress = None
        if message.sentence:
            self.note(message.sentence)
            self.say(message.sentence)
        self.refresh_status()

    async def on_search_inside(self, message: SearchInside) -> None:
        """Hands the folder on to the search screen."""
        await self.switch_mode("search")
        self.screen.post_message(SearchInside(message.path))

    def on_status_read(self, message: StatusRead) -> None:
        """Passes the counts on to whoever shows them."""
        self.status = message.status

    # --- what screens ask for --------------------------------------------------------------------------------

    def say(self, sentence: str, *, severity: str = "information", title: str = "") -> None:
        """A toast; the sentence may hold foreign words, which are cleaned and never markup."""
        self.notify(clean_for_terminal(sentence, lines=True), title=title, severity=severity, markup=False)  # type: ignore[arg-type]

    def note(self, sentence: str) -> None:
        """A line of the activity log."""
        self.log_lines.append(f"{time.strftime('%H:%M:%S')}  {clean_for_terminal(sentence)}")
        self.noted += 1

    @work(thread=True, exclusive=True, group="status", exit_on_error=False)
    def refresh_status(self) -> None:
        """Reads the counts again, in a thread."""
        if (library := self.library) is None:
            return
        self._status_read = time.monotonic()
        status, wrong = attempt(library.status)
        self.post_message(StatusRead(status) if status is not None else Failed(wrong))

    @work(thread=True, group="library", exit_on_error=False)
    def add_folder(self, path: Path, *, yes: bool = False) -> str:
        """Follows a folder from now on; makes the index if there is none. The worker's result: "", or why not."""
        from drama_app.library import Library

        def follow() -> tuple[Library, Path]:
            library = self.library or Library.open(self.settings, create=True)
            return library, library.add_root(path, yes=yes)

        done, wrong = attempt(follow)
        if done is None:
            self.post_message(Failed(wrong))
            return wrong
        library, root = done
        self.note(f"{root} is followed")
        if self.library is None:
            self.post_message(LibraryOpened(library))
        else:
            self.call_from_thread(self.resume_indexing)
            self.refresh_status()
        return ""

    @work(thread=True, group="library", exit_on_error=False)
    def change(self, work: Callable[["Library"], object], what: str) -> None:
        """Runs a change of the library in a thread, then reads the counts again; `what` names it in errors."""
        if (library := self.library) is None:
            return
        if wrong := attempt(lambda: work(library))[1]:
            self.post_message(Failed(f"{what}: {wrong}"))
        self.refresh_status()

    def pause_folder(self, path: Path) -> None:
        """Leaves a folder alone."""
        self.change(lambda library: self.between_syncs(lambda: library.pause(path)), "pause")

    def resume_folder(self, path: Path) -> None:
        """Follows a paused folder again."""
        self.change(lambda library: self.between_syncs(lambda: library.resume(path)), "resume")

    def between_syncs(self, work: Callable[[], object]) -> None:
        """Runs `work` while no sync does; for threads."""
        if self._indexing is not None:
            self._indexing.between(work)

    def pause_indexing(self) -> None:
        """Stops after what is being written."""
        if self._indexing is not None:
            self._indexing.pause()

    def resume_indexing(self) -> None:
        """Goes on from where it was paused."""
        if self._indexing is not None:
            self._indexing.start()

    def restart_indexing(self) -> None:
        """Looks at all folders again, from the start."""
        if self._indexing is not None:
            self._indexing.restart()

    def read_again(self) -> None:
        """Reads every file again, changed or not."""
        if self._indexing is not None:
            self._indexing.read_again()

    def cancel_indexing(self) -> None:
        """Gives up the folders that are not complete: they are paused."""
        if (indexing := self._indexing) is None or self.indexing == "stopping":
            return
        before, self.indexing = self.indexing, "stopping"  # at once: what is being written may take 10 s

        def cancel(_: "Library") -> None:
            try:
                indexing.cancel()
            finally:  # a retry may have run where nothing was followed: then nobody else says how it stands
                if not indexing.is_following:
                    self.call_later(self._end_stopping, before)

        self.change(cancel, "cancel")

    def _end_stopping(self, state: IndexingState) -> None:
        if self.indexing == "stopping":
            self.indexing = state

    def retry(self, paths: Iterable[Path]) -> None:
        """Reads failed files again."""
        if self._indexing is not None:
            self._indexing.retry(paths)

    def use_retriever(self, folder: Path | None) -> None:
        """Embeds everything again with another retriever, then switches; None goes back."""
        if self._indexing is not None:
            self._indexing.switch(folder)

    # --- keys ------------------------------------------------------------------------------------------------

    def action_show_mode(self, mode: str) -> None:
        """Shows one of the four screens, without a layer over it that only points at another."""
        from drama_app.tui.screens.help import HelpScreen
        from drama_app.tui.screens.jump import JumpScreen

        if isinstance(self.screen, HelpScreen | JumpScreen):
            self.pop_screen()
        if self.current_mode != mode:
            self.switch_mode(mode)

    def action_help(self) -> None:
        """Shows the keys that work on the screen below."""
        from drama_app.tui.screens.help import HelpScreen

        if isinstance(self.screen, HelpScreen):
            self.pop_screen()
        else:
            self.push_screen(HelpScreen(self.screen))

    def action_jump(self) -> None:
        """Labels the parts of the screen; the label's key moves the focus there."""
        from drama_app.tui.screens.jump import JumpScreen

        if isinstance(self.screen, JumpScreen):
            self.pop_screen()
        elif not self.screen.is_modal:
            self.push_screen(JumpScreen(self.screen))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Every action that works now, for the palette."""
        yield from list_commands(self, screen)
