"""The activity screen: what is indexed now, what failed and why, what was passed over, what happened.

Decides which request a key makes; the app, the library and the indexing thread carry them out.
"""

from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Input, RichLog, Static, TabbedContent, TabPane

from drama_app.errors import DramaError
from drama_app.listing import count_of, shorten_path
from drama_app.records import Skipped
from drama_app.tui.messages import Failed
from drama_app.tui.screens.confirm import ConfirmScreen
from drama_app.tui.screens.failure import FailureScreen
from drama_app.tui.screens.panel import PanelScreen
from drama_app.tui.widgets.failure_list import FailureList, Group, arrange
from drama_app.tui.widgets.key_line import KeyLine
from drama_app.tui.widgets.navigation import Navigation
from drama_app.tui.widgets.status_line import StatusLine, read_standing
from drama_app.tui.widgets.work_panel import WorkPanel

NO_FAILURES = "Nothing failed. A file that cannot be read is listed here with its reason, and r tries it again."
ALL_MUTED = "Every failure is muted: M shows them."
NOTHING_TYPED = "No failure holds these words. Esc shows all."
NO_PASSED_OVER = "Nothing was passed over. Photos, programs and empty files would be listed here."
FAILURE_ACTIONS = ("retry", "retry_all", "mute", "show_muted", "group")
ROW_ACTIONS = ("details", "copy", "open_folder", "filter")


class ActivityScreen(PanelScreen):
    """Work, failures, passed-over files, log."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space,p", "pause", "Pause/resume", id="activity.pause"),
        Binding("c", "cancel", "Cancel", id="activity.cancel"),
        Binding("r", "retry", "Retry", id="activity.retry"),
        Binding("R", "retry_all", "Retry all", id="activity.retry_all"),
        Binding("m", "mute", "Mute", id="activity.mute"),
        Binding("M", "show_muted", "Show muted", id="activity.show_muted", show=False),
        Binding("g", "group", "Group", id="activity.group"),
        Binding("slash", "filter", "Filter", id="activity.filter"),
        Binding("y", "copy", "Copy path", id="activity.copy", show=False),
        Binding("o", "open_folder", "Folder", id="activity.open"),
        Binding("1", "tab('failures')", "Failures", id="activity.failures", show=False),
        Binding("2", "tab('passed')", "Passed over", id="activity.passed", show=False),
        Binding("3", "tab('log')", "Log", id="activity.log", show=False),
    ]
    DEFAULT_CSS = """
    ActivityScreen {
        & > WorkPanel { margin-bottom: 1; }
        & TabbedContent { height: 1fr; }
        & TabPane { padding: 0; }
        & .note { height: auto; padding: 0 1; color: $text-muted; }
        & RichLog { height: 1fr; background: $background; padding: 0 1; scrollbar-size-vertical: 1; }
        & RichLog:focus { background-tint: transparent; }
        & #filter { border: none; height: 1; background: $panel; padding: 0 1; display: none; }
        & #filter:focus { border: none; }
        & #filter.-open { display: block; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._by_reason = False
        self._show_muted = False
        self._passed: tuple[Skipped, ...] | None = None
        self._logged = 0

    def compose(self) -> ComposeResult:
        """Parts."""
        yield Navigation("activity")
        yield WorkPanel()
        with TabbedContent():
            with TabPane("Failures", id="failures"):
                yield Input(placeholder="Words of the path or the reason", id="filter", select_on_focus=False)
                yield FailureList(id="failed-files")
                yield Static(id="failures-note", classes="note", markup=False)
            with TabPane("Passed over", id="passed"):
                yield FailureList(id="passed-files")
                yield Static(id="passed-note", classes="note", markup=False)
            with TabPane("Log", id="log"):
                yield RichLog(wrap=True, markup=False, highlight=False, min_width=20)
                yield Static(f"The log file: {self._log_name()}", id="log-note", classes="note", markup=False)
        yield StatusLine()
        yield KeyLine()

    def _log_name(self) -> str:
        return shorten_path(self.drama.settings.log_file)

    def on_mount(self) -> None:
        """Follows the app."""
        for name in ("opened", "library", "progress", "indexing", "state_line"):
            self.watch(self.app, name, self._show_work, init=False)
        for name in ("opened", "library", "status"):
            self.watch(self.app, name, self._show_failures, init=False)
        self.watch(self.app, "library", self._renew_passed_over, init=False)
        self.watch(self.app, "noted", self._show_log, init=False)
        self._renew()
        self.query_one("#failed-files", FailureList).focus()

    def on_screen_resume(self) -> None:
        """Counts may have changed meanwhile."""
        self.drama.refresh_status()
        self._renew()

    # --- showing ---------------------------------------------------------------------------------------------

    def _renew(self) -> None:
        self._show_work()
        self._show_failures()
        self._show_log()

    def _show_work(self) -> None:
        if self.is_active:
            self.query_one(WorkPanel).show(read_standing(self.drama))
            self.refresh_bindings()

    def _show_failures(self) -> None:
        if not self.is_active:
            return
        self._show_work()  # it may say how many folders there are
        status = self.drama.status
        failed = status.failed if status is not None else ()
        muted = frozenset(self.drama.ui.muted)
        seen = failed if self._show_muted else [each for each in failed if str(each.path) not in muted]
        typed = self.query_one("#filter", Input).value
        groups = arrange(seen, by_reason=self._by_reason, typed=typed, muted=muted)
        files = self.query_one("#failed-files", FailureList)
        files.show(groups, by_reason=self._by_reason)
        files.display = bool(groups)
        hidden = sum(str(each.path) in muted for each in failed)
        note = NOTHING_TYPED if seen else ALL_MUTED if hidden else NO_FAILURES if self._is_read else ""
        if groups:
            note = f"{hidden:,} muted: M {'hides' if self._show_muted else 'shows'} them" if hidden else ""
        self.put("failures-note", Content(note))
        self._name_tab("failures", "Failures", len(failed) - hidden)
        self._name_tab("passed", "Passed over", status.passed_over if status is not None else 0)
        self.refresh_bindings()

    @property
    def _is_read(self) -> bool:
        """Whether the failures are known: read, or there is no index that could hold any."""
        app = self.drama
        return app.status is not None or (app.opened and app.library is None and not app.trouble)

    def _name_tab(self, pane: str, name: str, number: int) -> None:
        label = f"{name} {number:,}" if number else name
        tab = self.query_one(TabbedContent).get_tab(pane)
        if tab.label_text != label:
            tab.label = label

    def _show_log(self) -> None:
        new = self.drama.noted - self._logged
        if new and self.is_active:
            from rich.text import Text

            self._logged = self.drama.noted
            for line in list(self.drama.log_lines)[-new:]:
                self.query_one(RichLog).write(Text(line))

    @on(TabbedContent.TabActivated)
    def _on_tab(self, event: TabbedContent.TabActivated) -> None:
        if event.pane.id == "passed":
            self._read_passed_over()
        self.refresh_bindings()

    def _renew_passed_over(self) -> None:
        if self._tab == "passed":
            self._read_passed_over()

    @work(thread=True, exclusive=True, group="passed", exit_on_error=False)
    def _read_passed_over(self) -> None:
        library = self.drama.library
        if library is None and not self._is_read:
            return
        try:
            found = library.passed_over() if library is not None else ()
        except (DramaError, OSError) as error:
            self.drama.post_message(Failed(str(error)))
            return
        self.app.call_from_thread(self._show_passed_over, tuple(Skipped(path, reason) for path, reason in found))

    def _show_passed_over(self, found: tuple[Skipped, ...]) -> None:
        files = self.query_one("#passed-files", FailureList)
        files.show(arrange(found, by_reason=self._by_reason), by_reason=self._by_reason)
        files.display = bool(found)
        note = f"{count_of(len(found), 'file')} without text: counted, and no failure" if found else NO_PASSED_OVER
        self.put("passed-note", Content(note))

    # --- what is chosen --------------------------------------------------------------------------------------

    @property
    def _tab(self) -> str:
        return self.query_one(TabbedContent).active

    @property
    def _chosen(self) -> Group | None:
        if self._tab == "log":
            return None
        files = self.query_one("#passed-files" if self._tab == "passed" else "#failed-files", FailureList)
        return files.chosen

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """What makes no sense now is not offered."""
        if not self.is_mounted:
            return True
        if action == "cancel":
            return self.drama.progress is not None and self.drama.indexing != "stopping"
        if action == "pause":
            return self.drama.indexing in ("following", "paused", "failed")
        if action in FAILURE_ACTIONS and self._tab != "failures":
            return action == "group" and self._tab == "passed"
        if action in (*ROW_ACTIONS, *FAILURE_ACTIONS):
            has_failures = bool(self.drama.status and self.drama.status.failed)
            return has_failures if self._tab == "failures" else self._tab == "passed" and action != "filter"
        return True

    # --- keys ------------------------------------------------------------------------------------------------

    def action_tab(self, pane: str) -> None:
        """Shows one of the three lists."""
        self.query_one(TabbedContent).active = pane
        focus = {"failures": "#failed-files", "passed": "#passed-files", "log": "RichLog"}[pane]
        self.query_one(focus).focus()

    def action_pause(self) -> None:
        """Stops indexing after what is being written, or goes on."""
        if self.drama.indexing == "following":
            self.drama.pause_indexing()
        else:
            self.drama.resume_indexing()

    def action_cancel(self) -> None:
        """Asks, then gives up what is being indexed."""
        said = (
            "What is indexed so far stays searchable. The folders that are not finished are paused: "
            "in the library (F3) p resumes each, and it goes on from where it was."
        )

        def answer(agreed: bool | None) -> None:
            if agreed:
                self.drama.cancel_indexing()

        question = ConfirmScreen("Cancel what is being indexed?", said, yes="Cancel it", no="Go on")
        self.app.push_screen(question, answer)

    def action_details(self) -> None:
        """Shows the reason and the paths whole."""
        group = self._chosen
        if group is None:
            return

        def act(action: str | None) -> None:
            if action and self.check_action(action, ()):
                getattr(self, f"action_{action}")()

        title = "Passed over" if self._tab == "passed" else "Failed"
        self.app.push_screen(FailureScreen(group, title=title), act)

    def action_retry(self) -> None:
        """Reads the chosen file, or all with the chosen reason, again."""
        if (group := self._chosen) is not None:
            self.drama.retry(group.paths)
            self.drama.say(f"Reading {count_of(len(group.paths), 'file')} again")

    def action_retry_all(self) -> None:
        """Reads every failed file again, muted ones too."""
        status = self.drama.status
        if status is not None and status.failed:
            self.drama.retry(each.path for each in status.failed)
            muted = sum(str(each.path) in self.drama.ui.muted for each in status.failed)
            with_muted = f", {muted:,} muted among them" if muted else ""
            self.drama.say(f"Reading {count_of(len(status.failed), 'file')} again{with_muted}")

    def action_mute(self) -> None:
        """Hides the chosen failures from now on, or shows them again."""
        if (group := self._chosen) is None:
            return
        names = {str(path) for path in group.paths}
        kept = [name for name in self.drama.ui.muted if name not in names]
        self.drama.ui.muted = kept if group.muted else [*kept, *sorted(names)]
        self._show_failures()
        self.query_one(StatusLine).refresh()

    def action_show_muted(self) -> None:
        """Lists muted failures too, or no longer."""
        self._show_muted = not self._show_muted
        self._show_failures()

    def action_group(self) -> None:
        """Lists reasons in place of files, or files again."""
        self._by_reason = not self._by_reason
        self._show_failures()
        if self._tab == "passed":
            self._read_passed_over()

    def action_filter(self) -> None:
        """Opens the line that narrows the failures."""
        line = self.query_one("#filter", Input)
        line.add_class("-open")
        line.focus()

    @on(Input.Changed, "#filter")
    def _on_typed(self, event: Input.Changed) -> None:
        event.stop()
        self._show_failures()

    @on(Input.Submitted, "#filter")
    def _on_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.query_one("#failed-files").focus()

    def action_leave(self) -> None:
        """Shuts the filter, then goes back to the query."""
        line = self.query_one("#filter", Input)
        if line.has_class("-open"):
            line.value = ""
            line.remove_class("-open")
            self.query_one("#failed-files").focus()
        else:
            super().action_leave()

    def action_copy(self) -> None:
        """Copies the path of the chosen file."""
        if (group := self._chosen) is not None:
            self.copy_path(group.paths[0])

    def action_open_folder(self) -> None:
        """Shows the chosen file in the system's file manager."""
        if (group := self._chosen) is not None:
            self.show_folder(group.paths[0])
