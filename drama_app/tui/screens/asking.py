"""How the search screen asks: one search at a time in a thread, and only the answer to the newest question counts.

Owns what is asked, the waiting before it, the answer, and asking again when the index changed. What a person types and
how it looks is the search screen's.
"""

import threading
from dataclasses import replace
from typing import cast

from textual import on, work
from textual.timer import Timer
from textual.worker import get_current_worker

from drama_app.conditions import Chip, leave_out_conditions
from drama_app.records import Mode, SyncReport
from drama_app.tui import searching
from drama_app.tui.screens.hit_actions import HitActions
from drama_app.tui.searching import MOST, PAGE, Answered, Request, SentencesMarked
from drama_app.tui.widgets.result_list import ResultList
from drama_app.tui.widgets.search_bar import MODES, SearchBar

DEBOUNCE = 0.2  # seconds: below a typist's pause between words, above the one between letters
MARKING_WAITS = 0.3  # seconds: choosing sentences by meaning must not slow down the next search
RESTS = 2.0  # seconds after which a query with hits was meant


class AskingScreen(HitActions):
    """The part of the search screen that asks; it expects a `SearchBar` on the screen."""

    def __init__(self) -> None:
        super().__init__()
        self.chips: tuple[Chip, ...] = ()
        self.limit = PAGE
        self.answered = Request()
        """What `results` answers."""
        self.asked: Request | None = None
        """What waits for its answer."""
        self.similar = self.answered.similar
        self.error = self.hint = self.why_nothing = self.missing_phrase = ""
        self._number = 0
        self._turn = threading.Lock()
        self._debounce: Timer | None = None
        self._resting: Timer | None = None
        self._seen: object = None
        self._changed_by: SyncReport | None = None

    def describe(self) -> None:
        """Says where things stand; the screen knows how."""

    def used(self) -> None:
        """As for every hit; but what was similar to a file was no query, and is not kept as one."""
        if self.answered.similar is None:
            super().used()

    @property
    def is_waiting(self) -> bool:
        """True while typing may go on."""
        return self._debounce is not None

    @property
    def bar(self) -> SearchBar:
        """The query."""
        return self.query_one(SearchBar)

    @property
    def mode(self) -> Mode:
        """How the query is searched for; kept between starts."""
        mode = cast(Mode, self.drama.ui.mode)
        return mode if mode in MODES else "fused"

    @property
    def wanted(self) -> Request:
        """What the screen stands on now."""
        return Request(leave_out_conditions(self.bar.input.value), self.mode, self.chips, self.limit, self.similar)

    @property
    def _is_answered(self) -> bool:
        """Whether what is shown answers what the screen stands on; how many hits are wanted does not count."""
        return self.asked is None and replace(self.wanted, limit=0) == replace(self.answered, limit=0)

    def _question(self) -> str:
        return "" if self.answered.similar else super()._question()  # its results carry the path of the file

    # --- asking ----------------------------------------------------------------------------------------------

    def ask(self, *, delay: float = 0.0, quiet: bool = False) -> None:
        """Asks the library what the screen stands on; an answer to anything before no longer counts."""
        self._number += 1
        for timer in (self._debounce, self._resting):
            if timer is not None:
                timer.stop()
        self._debounce = self._resting = None
        request, library = self.wanted, self.drama.library
        self.asked = None
        if request.is_empty or library is None:
            if request.is_empty:
                self._show_none()
            self.describe()
            return
        self.asked = request
        if delay:
            self._debounce = self.set_timer(delay, lambda: self._start(request, quiet))
        else:
            self._start(request, quiet)

    def _start(self, request: Request, quiet: bool) -> None:
        self._debounce = None
        self._seen = self._index_now()
        self._search(self._number, request, quiet)
        if not quiet:
            self.describe()

    @work(thread=True, exclusive=True, group="search", exit_on_error=False)
    def _search(self, number: int, request: Request, quiet: bool) -> None:
        """One search at a time: those that were overtaken while they waited for their turn are not begun."""
        library = self.drama.library
        with self._turn:
            if library is None or get_current_worker().is_cancelled:
                return
            results, error = searching.attempt(lambda: searching.search(library, request))
            asked_in_vain = results is not None and not results.hits
            why = searching.attempt(lambda: searching.explain_nothing(library, request))[0] if asked_in_vain else ""
        self.post_message(Answered(number, request, results, error, quiet, why or ""))

    @on(Answered)
    def _show_answer(self, answer: Answered) -> None:
        if answer.number != self._number:
            return
        self.asked = None
        self.error, self.why_nothing = answer.error, answer.why_nothing
        results = answer.results
        if results is None:
            self.describe()
            return
        from drama_app.rank import count_likely, find_missing_phrase

        before, self.answered, self.results = self.answered, answer.request, results
        keep = (before.query, before.similar) == (answer.request.query, answer.request.similar)
        self.set_class(bool(results.hits), "-found")
        self.missing_phrase = "" if answer.request.similar else find_missing_phrase(results)
        doubtful = results.nothing_good_enough or bool(self.missing_phrase)
        self.set_class(bool(results.hits) and doubtful, "-hopeless")
        likely = count_likely(results)
        self.result_list.show(results.hits, likely=likely, faded=results.nothing_good_enough, keep=keep)
        self.describe()
        if results.hits:
            number = self._number
            self.set_timer(MARKING_WAITS, lambda: self._mark(number))
            if not answer.quiet:
                self._resting = self.set_timer(RESTS, self.used)

    def _mark(self, number: int) -> None:
        if number == self._number and self.results is not None and not self.answered.similar:
            self._mark_sentences(number)

    @work(thread=True, exclusive=True, group="marks", exit_on_error=False)
    def _mark_sentences(self, number: int) -> None:
        library, results = self.drama.library, self.results
        with self._turn:
            if library is None or results is None or get_current_worker().is_cancelled or number != self._number:
                return
            marked, _ = searching.attempt(lambda: library.mark_sentences(results))
        if marked is not None and marked != results:
            self.post_message(SentencesMarked(number, marked))

    @on(SentencesMarked)
    def _show_marks(self, message: SentencesMarked) -> None:
        if message.number == self._number and self.results is not None:
            self.results = message.results
            self.result_list.replace(message.results.hits)
            self.update_preview()

    def _show_none(self) -> None:
        self.results, self.answered, self.error, self.why_nothing = None, Request(), "", ""
        self.remove_class("-found", "-hopeless")
        self.result_list.show((), keep=False)

    @on(ResultList.EndReached)
    def _ask_for_more(self) -> None:
        shown = self.results
        if shown is not None and self.asked is None and len(shown.hits) >= self.limit and self.limit < MOST:
            self.limit += PAGE
            self.ask(quiet=True)

    def refresh_quietly(self) -> None:
        """Asks again if the index holds something else than when it was asked; cursor and scroll stay."""
        if self.is_current and self.asked is None and not self.wanted.is_empty and self._seen != self._index_now():
            self.ask(quiet=True)

    def _index_now(self) -> object:
        """Tells one state of the index from another, as far as hits may differ."""
        status, report = self.drama.status, self.drama.last_report
        if report is not None and (report.added or report.changed or report.moved or report.removed):
            self._changed_by = report
        return status and (status.documents, status.passages, id(self._changed_by))
