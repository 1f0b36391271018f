"""The library screen: the folders that are followed, how each stands, and what can be done with it.

Decides which request a key makes; the app and the library carry them out.
"""

from typing import ClassVar

from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import DataTable, Static

from drama_app.listing import count_of, describe_bytes, shorten_path
from drama_app.output import clean_for_terminal
from drama_app.records import RootStatus, Status
from drama_app.tui.messages import SearchInside
from drama_app.tui.removal import UNDO_SECONDS
from drama_app.tui.screens.add_folder import AddFolderScreen, Choice
from drama_app.tui.screens.confirm import ConfirmScreen
from drama_app.tui.screens.panel import PanelScreen, lay_out
from drama_app.tui.standing import Standing, describe_root, is_cut_off, watch_note
from drama_app.tui.widgets.key_line import KeyLine
from drama_app.tui.widgets.navigation import Navigation
from drama_app.tui.widgets.root_table import RootLine, RootTable, describe_moment
from drama_app.tui.widgets.status_line import StatusLine, read_standing

MOST_LISTED = 8  # languages and types that are named; the rest is a number
NO_FOLDER = """\
No folder yet.

drama searches the folders that you choose here, by meaning and by words,
in any language. Everything stays on this machine.

Press a to add a folder. You see what it takes before it starts,
and you can search its first files while the rest is read."""
LOADING = "Opening the index"


class LibraryScreen(PanelScreen):
    """A table of folders, what the index holds, and the one at the cursor."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "add", "Add", id="library.add"),
        Binding("p", "pause", "Pause/resume", id="library.pause"),
        Binding("d,delete", "remove", "Remove", id="library.remove"),
        Binding("u", "undo", "Undo", id="library.undo"),
        Binding("s", "sync", "Sync now", id="library.sync"),
        Binding("r", "read_again", "Read again", id="library.read_again"),
        Binding("o", "open_folder", "Open", id="library.open"),
        Binding("y", "copy", "Copy path", id="library.copy", show=False),
    ]
    DEFAULT_CSS = """
    LibraryScreen {
        & #roots { padding: 0 0; }
        & #detail { height: auto; max-height: 3; padding: 0 1; margin-top: 1; }
        & #summary { height: auto; max-height: 8; padding: 0 1; margin-top: 1; color: $text-muted; }
        & #empty { height: 1fr; content-align: center middle; text-align: center; display: none; padding: 0 2; }
        &.-empty #empty { display: block; }
        &.-empty #full { display: none; }
        & #full { height: 1fr; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._facts: tuple[tuple[str, str], ...] = ()

    def compose(self) -> ComposeResult:
        """Parts."""
        yield Navigation("library")
        with Vertical(id="full"):
            yield RootTable(id="roots")
            yield Static(id="detail", markup=False)
            yield Static(id="summary", markup=False)
        yield Static(LOADING, id="empty", markup=False)
        yield StatusLine()
        yield KeyLine()

    def on_mount(self) -> None:
        """Follows the app."""
        for name in ("opened", "library", "status", "progress", "indexing", "state_line"):
            self.watch(self.app, name, self._renew, init=False)
        self._renew()

    def on_screen_resume(self) -> None:
        """Counts may have changed meanwhile."""
        self.drama.refresh_status()
        self._renew()

    # --- showing ---------------------------------------------------------------------------------------------

    def _renew(self) -> None:
        app = self.drama
        if not self.is_current and not self.is_active:
            return
        status = app.status
        has_roots = status is not None and bool(status.roots)
        was_empty = self.has_class("-empty")
        self.set_class(not has_roots, "-empty")
        self.refresh_bindings()
        waits = not app.opened or (app.library is not None and status is None)
        self.put("empty", Content(LOADING if waits else NO_FOLDER))
        if status is None or not has_roots:
            return
        now = read_standing(app)
        leaving = set(app.removals.paths)
        table = self.query_one(RootTable)
        table.show([self._line(root, now, leaving=root.path in leaving) for root in status.roots])
        if (facts := self._summarise(status)) != self._facts:
            self._facts = facts
            self.query_one("#summary", Static).update(lay_out(facts))
        self._show_detail()
        if was_empty or self.focused is None:
            table.focus()

    @staticmethod
    def _line(root: RootStatus, now: Standing, *, leaving: bool) -> RootLine:
        meaning = {"missing": "error", "paused": "warning", "incomplete": "busy", "never synced": "busy"}
        return RootLine(
            root.path,
            describe_root(root, now, leaving=leaving),
            "warning" if leaving else meaning.get(root.state, "error" if is_cut_off(now) else ""),
            root.documents,
            root.passages,
            root.synced,
        )

    @staticmethod
    def _summarise(status: Status) -> tuple[tuple[str, str], ...]:
        counts = f"{count_of(status.documents, 'document')}, {count_of(status.passages, 'passage')}"
        return (
            ("Index", f"{counts}, {describe_bytes(status.bytes)} on disk"),
            ("Passages", list_most(status.languages)),
            ("Documents", list_most(status.kinds)),
            *(("Note", clean_for_terminal(note)) for note in status.notes),
        )

    @on(DataTable.RowHighlighted)
    def _show_detail(self) -> None:
        root = self._chosen
        if root is None:
            self.put("detail", Content(""))
            return
        said = [f"last complete sync {describe_moment(root.synced)}"]
        line = self.query_one(RootTable).chosen
        said += [line.state] if line is not None else []
        now = read_standing(self.drama)
        watched = now.indexing == "following" and not watch_note(root, now.line)
        if root.state == "ok" and watched and not is_cut_off(now):
            said.append("changes are reported by the system")
        path = clean_for_terminal(str(root.path))
        lines = [Content.styled(path, "bold")] if cell_len(path) <= self.size.width - 2 else [Content(path)]
        self.put("detail", Content("\n").join([*lines, Content.styled(" · ".join(said), "$foreground-muted")]))

    @property
    def _chosen(self) -> RootStatus | None:
        line = self.query_one(RootTable).chosen
        status = self.drama.status
        if line is None or status is None:
            return None
        return next((root for root in status.roots if root.path == line.path), None)

    # --- keys ------------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """What needs a folder is not offered without one."""
        if action in ("pause", "remove", "sync", "read_again", "search_inside", "open_folder", "copy"):
            return not self.has_class("-empty")
        if action == "undo":
            return self.drama.removals.can_undo
        return True

    def action_add(self) -> None:
        """Asks for a folder and follows it."""

        def follow(choice: Choice | None) -> None:
            if choice is not None:
                self.drama.add_folder(choice.path, yes=choice.yes)

        self.app.push_screen(AddFolderScreen(), follow)

    def action_pause(self) -> None:
        """Leaves the folder alone, or follows it again."""
        root = self._chosen
        if root is not None and root.state == "paused":
            self.drama.resume_folder(root.path)
            self.drama.say(f"{shorten_path(root.path)} is followed again")
        elif root is not None:
            self.drama.pause_folder(root.path)
            self.drama.say(f"{shorten_path(root.path)} is paused; what is indexed of it stays searchable")

    def action_remove(self) -> None:
        """Asks, then takes the folder out after some seconds in which it can be kept."""
        root = self._chosen
        if root is None or root.path in self.drama.removals.paths:
            return
        name = shorten_path(root.path)
        said = (
            f"{count_of(root.documents, 'document')} with {count_of(root.passages, 'passage')} and their vectors leave "
            "the index; to have them back they must be read again.\n\n"
            "The files themselves stay on the disk as they are."
        )

        def answer(agreed: bool | None) -> None:
            if agreed:
                self.drama.removals.begin(root.path)
                self.drama.say(f"{name} leaves the index; u undoes within {UNDO_SECONDS:.0f} s")
                self._renew()

        self.app.push_screen(ConfirmScreen(f"Remove {name} from the index?", said, yes="Remove it"), answer)

    def action_undo(self) -> None:
        """Keeps the folder that was removed last."""
        path = self.drama.removals.undo()
        if path is not None:
            self.drama.say(f"{shorten_path(path)} stays in the index")
            self._renew()

    def action_sync(self) -> None:
        """Looks at every folder again."""
        self.drama.restart_indexing()
        self.drama.say("Looking at every folder again")

    def action_read_again(self) -> None:
        """Asks, then reads every file again though it has not changed."""
        if (status := self.drama.status) is None:
            return
        said = (
            f"{count_of(status.documents, 'document')} are read anew, as an update that reads more of a file asks for. "
            "They are found as they are until then; passages that stay the same are not embedded again."
        )

        def answer(agreed: bool | None) -> None:
            if agreed:
                self.drama.read_again()

        self.app.push_screen(ConfirmScreen("Read every file again?", said, yes="Read again"), answer)

    def action_search_inside(self) -> None:
        """Searches below the folder."""
        if (root := self._chosen) is not None:
            self.app.post_message(SearchInside(root.path))

    def action_open_folder(self) -> None:
        """Shows the folder in the system's file manager."""
        if (root := self._chosen) is not None:
            self.show_folder(root.path)

    def action_copy(self) -> None:
        """Copies the path."""
        if (root := self._chosen) is not None:
            self.copy_path(root.path)


def list_most(counts: dict[str, int]) -> str:
    """Returns the most frequent with their numbers: "en 1,200, de 340, and 5 more"."""
    most = sorted(counts.items(), key=lambda item: -item[1])
    named = ", ".join(f"{clean_for_terminal(name) or 'unknown'} {count:,}" for name, count in most[:MOST_LISTED])
    rest = len(most) - MOST_LISTED
    return f"{named}, and {rest:,} more" if rest > 0 else named or "-"
