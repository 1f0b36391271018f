"""What can be done with the hits of the search screen: open, edit, show, copy, cite, explain, export.

Owns the steps from a key to the sentence that says what was done. How files are opened, copied and written is the
business of the modules that it calls, which are imported by then: first paint needs none of them. Which hit is meant is
the screen's.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from textual import on, work
from textual.app import SuspendNotSupported
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.timer import Timer

from drama_app.errors import DramaError
from drama_app.records import Hit, Passage, PassageHit, Results
from drama_app.tui.enduring import Enduring
from drama_app.tui.screens.actions import ACTIONS, ActionsScreen
from drama_app.tui.searching import DocumentLoaded, attempt
from drama_app.tui.widgets.preview import Preview, PreviewDocument
from drama_app.tui.widgets.result_list import ResultList

if TYPE_CHECKING:
    from drama_app.tui.app import DramaApp

READING_WAITS = 0.03  # seconds: documents that are passed by while Down is held are not read
READING_LONG = 0.15  # seconds after which the hit's own passages are shown meanwhile
NEED_A_HIT = frozenset(each.action for each in ACTIONS if each.action != "repeat") | {"open", "menu"}


class HitActions(Enduring, Screen[None]):
    """The part of the search screen that acts on hits; it expects a `ResultList` and a `Preview` on the screen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "Open", id="search.open"),
        *(binding for each in ACTIONS for binding in each.bindings()),
        Binding("f8", "menu", "Actions", id="search.menu"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.results: Results | None = None
        """What is shown."""
        self._reading: tuple[Timer, ...] = ()

    @property
    def drama(self) -> "DramaApp":
        """The app, by its own type."""
        return cast("DramaApp", self.app)

    @property
    def result_list(self) -> ResultList:
        """The hits."""
        return self.query_one(ResultList)

    @property
    def preview(self) -> Preview:
        """The document at the cursor."""
        return self.query_one(Preview)

    @property
    def hit(self) -> Hit | None:
        """The document at the cursor."""
        return self.result_list.selected if self.results is not None else None

    @property
    def passage(self) -> PassageHit | None:
        """The passage at which the preview stands, or the document's best."""
        hit, document = self.hit, self.preview.document
        if hit is None:
            return None
        if document is not None and document.hit.path == hit.path and self.preview.current is not None:
            return self.preview.current
        return hit.passages[0] if hit.passages else None

    @property
    def meant(self) -> tuple[Hit, ...]:
        """The hits that were selected, or the one at the cursor."""
        chosen = tuple(self.result_list.chosen.values())
        return chosen or ((self.hit,) if self.hit is not None else ())

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What needs a hit works only where there is one."""
        if action in NEED_A_HIT and self.hit is None:
            return False
        return super().check_action(action, parameters)

    def used(self) -> None:
        """The query has led somewhere: it is worth remembering."""
        if self.results is not None and self.results.hits:
            self.drama.ui.remember(self._question())

    def _question(self) -> str:
        return self.results.query if self.results is not None else ""

    def _try(self, act: Callable[[], str]) -> None:
        """Acts at once, on the UI thread, and says what was done or what went wrong."""
        self.used()
        try:
            self.drama.say(act())
        except (DramaError, OSError) as error:
            self.drama.say(str(error), severity="error")

    @work(thread=True, group="open", exit_on_error=False)
    def _try_aside(self, act: Callable[[], str]) -> None:
        """Acts in a thread: starting another program may take its time."""
        said, wrong = attempt(act)
        severity = "information" if said is not None else "error"
        self.app.call_from_thread(self.drama.say, said if said is not None else wrong, severity=severity)

    # --- opening ---------------------------------------------------------------------------------------------

    def action_open(self) -> None:
        """Opens the file where the passage stands."""
        from drama_app.tui import opening

        hit, passage = self.hit, self.passage
        if hit is not None:
            self.used()
            self._try_aside(lambda: opening.open_file(hit.path, passage.page if passage else None))

    def action_show_folder(self) -> None:
        """Shows the folder."""
        from drama_app.tui import opening

        hit = self.hit
        if hit is not None:
            self.used()
            self._try_aside(lambda: opening.show_in_folder(hit.path))

    def action_edit(self) -> None:
        """Leaves the terminal to the editor, and comes back."""
        hit, passage = self.hit, self.passage
        if hit is not None:
            self._try(lambda: self._run_editor(hit.path, passage.line if passage else None))

    def _run_editor(self, path: Path, line: int | None) -> str:
        from drama_app.tui import opening

        command, before = opening.editor_command(path, line), _read_stamp(path)
        try:
            with self.app.suspend():
                code = subprocess.run(command, stderr=sys.__stderr__, check=False).returncode
        except SuspendNotSupported:
            return "This terminal cannot be left to an editor"
        self.refresh(layout=True)
        if code:
            return f"The editor ended with code {code}"
        return f"{path.name} {'is as it was' if _read_stamp(path) == before else 'was edited'}"

    # --- copying ---------------------------------------------------------------------------------------------

    def action_copy_path(self) -> None:
        """Copies the path, or those that were selected, a line each."""
        from drama_app.tui import clipboard

        paths = "\n".join(str(hit.path) for hit in self.meant)
        if paths:
            self._try(lambda: clipboard.copy(self.app, paths, "the path"))

    def action_copy_passage(self) -> None:
        """Copies the text of the passage."""
        from drama_app.tui import clipboard

        passage = self.passage
        if passage is not None:
            self._try(lambda: clipboard.copy(self.app, passage.text, "the passage"))

    def action_cite(self) -> None:
        """Copies a citation of the passage, or of all that were selected."""
        from drama_app.tui import citation, clipboard

        cited = self.meant
        if len(cited) == 1:
            self._try(lambda: clipboard.copy(self.app, citation.cite(cited[0], self.passage), "the citation"))
        elif cited:
            text = "\n".join(citation.cite(hit, hit.passages[0] if hit.passages else None) for hit in cited)
            self._try(lambda: clipboard.copy(self.app, text))

    # --- the document ----------------------------------------------------------------------------------------

    def update_preview(self) -> None:
        """Shows the document at the cursor once it is read; what was found of it, if that takes long.

        Not at once: drawing a document costs 30 ms, which would hold up the cursor while Down is held.
        """
        hit, shown = self.hit, self.preview.document
        for timer in self._reading:
            timer.stop()
        self._reading = ()
        if hit is None or not hit.passages:
            self.preview.document = None
            return
        same = shown is not None and (shown.hit.path, shown.hit.modified) == (hit.path, hit.modified)
        if shown is not None and same and shown.query == self._question():
            current = self.preview.current
            if shown.hit == hit or current is None or current.ordinal != shown.ordinal:
                return  # nothing new, or the person reads on elsewhere in it
        if shown is not None and same:
            self._show(hit, shown.passages)
            return
        self._reading = (
            self.set_timer(READING_WAITS, lambda: self._read(hit)),
            self.set_timer(READING_LONG, lambda: self._show(hit, ())),
        )

    def _show(self, hit: Hit, passages: tuple[Passage, ...]) -> None:
        self.preview.document = PreviewDocument(hit, passages, self._question(), hit.passages[0].ordinal)

    @work(thread=True, exclusive=True, group="document", exit_on_error=False)
    def _read(self, hit: Hit) -> None:
        library = self.drama.library
        if library is not None:
            passages, error = attempt(lambda: library.passages_of(hit.path))
            self.post_message(DocumentLoaded(hit.path, passages or (), error))

    @on(DocumentLoaded)
    def _show_document(self, message: DocumentLoaded) -> None:
        hit = self.hit
        if message.error:
            self.drama.note(f"preview of {message.path}: {message.error}")
        if hit is not None and hit.path == message.path and hit.passages:
            for timer in self._reading:
                timer.stop()
            self._show(hit, message.passages)

    def action_next_passage(self) -> None:
        """Goes to the next passage that was found in the document."""
        self.preview.next_hit()

    def action_previous_passage(self) -> None:
        """Goes to the one before."""
        self.preview.previous_hit()

    def action_page(self, by: int) -> None:
        """Turns a page of the preview."""
        if by > 0:
            self.preview.page_down()
        else:
            self.preview.page_up()

    # --- layers ----------------------------------------------------------------------------------------------

    def action_choose(self) -> None:
        """Selects the hit, or lets it go."""
        self.result_list.toggle()

    def action_why(self) -> None:
        """Explains the hit's place."""
        from drama_app.tui.screens.why import WhyScreen

        if self.hit is not None and self.results is not None:
            self.app.push_screen(WhyScreen(self.results, self.hit))

    def action_menu(self) -> None:
        """Shows what can be done, and does what is chosen."""

        def act(action: str | None) -> None:
            if action:
                self.call_later(self.run_action, action)

        self.app.push_screen(ActionsScreen(), act)

    def action_export(self) -> None:
        """Writes the selected hits, or all, to a file."""
        from drama_app.tui.screens.export import ExportScreen

        if self.results is None:
            return
        hits = tuple(self.result_list.chosen.values()) or self.results.hits
        results = self.results

        def end(said: str | None) -> None:
            if said:
                self.used()
                self.drama.say(said)

        self.app.push_screen(ExportScreen(results, hits), end)


def _read_stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file is written; None if it is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
