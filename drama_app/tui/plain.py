"""The dialogue in lines: for screen readers, and for terminals that can do no more.

Owns the commands and what they are applied to. It writes lines and nothing else: no colours, no moving cursor, no
drawing; a progress is a sentence now and then.
"""

import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from drama_app.conditions import Chip, add_chips, make_chip, make_filters, split_query
from drama_app.config import Settings, expand_home
from drama_app.errors import DramaError, NoIndexError, UsageError
from drama_app.file_filters import follow_folders
from drama_app.listing import count_of, describe_bytes, describe_report, describe_seconds, describe_status, shorten_path
from drama_app.output import clean_for_terminal
from drama_app.rank import count_likely
from drama_app.records import Filters, Hit, Mode, Progress, Results
from drama_app.scan import is_there
from drama_app.tui.opening import open_file
from drama_app.tui.plain_words import (
    HELP,
    MODES,
    NAMES,
    describe_count,
    describe_filters,
    describe_hit,
    describe_text,
    explain,
    greet,
)

if TYPE_CHECKING:
    from drama_app.library import Library

log = logging.getLogger(__name__)

PROMPT = "search> "
PAGE = 5
LIMIT = 50
PROGRESS_SECONDS = 10.0
FOLDER = r"(?P<folder>[~/.\\].*|[A-Za-z]:[\\/].*)"
"""A folder begins like a path: `in Berlin` and `add sugar` are questions."""
COMMANDS: tuple[tuple[str, str], ...] = (
    (r"(?P<act>open|text|why|similar)\s+(?P<number>\d{1,4})", "on_hit"),
    (r"(?P<number>\d{1,2})", "on_number"),
    (r"more", "more"),
    (r"mode\s+(?P<mode>meaning|keywords|both|fused)", "choose_mode"),
    (rf"(?P<key>in)\s+{FOLDER}", "filter"),
    (r"(?P<key>type)\s+(?P<value>\.?[a-z0-9]{1,8})", "filter"),
    (r"(?P<key>lang)\s+(?P<value>[a-z]{2,3})", "filter"),
    (r"(?P<key>since|until)\s+(?P<value>\d{4}(?:-\d{1,2}){0,2})", "filter"),
    (r"no filters?", "drop_filters"),
    (rf"add\s+{FOLDER}", "add"),
    (r"update", "update"),
    (r"status", "status"),
    (r"help|\?", "help"),
    (r"quit|exit|q", "quit"),
)
ESCAPE = "search "
"""Before words that are a command: `search more`. `search engines` is a question as it stands."""


def run_plain(settings: Settings, *, input: TextIO, output: TextIO) -> int:  # noqa: A002  the stream's name
    """Talks until `quit` or the end of `input`; returns the exit code."""
    dialogue = Dialogue(settings, input, output)
    try:
        return dialogue.run()
    finally:
        dialogue.close()


class Dialogue:
    """One conversation."""

    def __init__(self, settings: Settings, source: TextIO, target: TextIO) -> None:
        self._settings, self._source, self._target = settings, source, target
        self._library: Library | None = None
        self._mode: Mode = "fused"
        self._chips: tuple[Chip, ...] = ()
        self._results: Results | None = None
        self._query = ""
        self._again: Callable[[], None] | None = None
        self._told = 0
        self._is_over = False

    def run(self) -> int:
        """Reads and answers lines; errors are sentences, and Ctrl-C goes back to the prompt."""
        self._try(self._open)
        while not self._is_over:
            try:
                self._target.write(PROMPT)
                self._target.flush()
                line = self._source.readline()
                if not line:
                    self._say("")
                    break
                self._try(lambda line=line: self.answer(line))  # type: ignore[misc]  # mypy cannot infer the default
            except KeyboardInterrupt:
                self._say("")
                self._say("Stopped. Type quit to leave.")
        return 0

    def close(self) -> None:
        """Lets go of the index."""
        if self._library is not None:
            self._library.close()

    def answer(self, line: str) -> None:
        """Carries out a command, or searches."""
        line = line.strip()
        command = _find_command(line)
        if command is not None:
            name, words = command
            getattr(self, f"_{name}")(**words)
            return
        rest = line[len(ESCAPE) :].strip() if line.lower().startswith(ESCAPE) else ""
        if line:
            self._ask_for(rest if rest and _find_command(rest) else line)

    # --- searching -------------------------------------------------------------------------------------------

    def _ask_for(self, line: str) -> None:
        """Searches; a condition in the line (`type:pdf`) holds for this question alone."""
        words, chips, complaint = split_query(f"{line} ")
        query = words.strip()
        if not query:
            raise UsageError(f"there are only conditions ({' '.join(map(str, chips))}): say what to search for too")
        if complaint:
            self._say(f"{complaint}. It is searched for as it stands.")

        def ask(library: "Library", filters: "Filters") -> "Results":
            return library.search(query, mode=self._mode, limit=LIMIT, filters=filters)

        self._ask(ask, query, chips)

    def _ask(self, ask: "Callable[[Library, Filters], Results]", query: str, chips: tuple[Chip, ...] = ()) -> None:
        """Asks, and again when mode or filters change; `query` is what was asked in words, "" if in none."""
        library = self._need_library()
        filters = follow_folders(make_filters(add_chips(self._chips, chips), library.roots()))
        results = ask(library, filters)
        self._again, self._query = lambda: self._ask(ask, query, chips), query
        self._results, self._told = results, 0
        self._say(describe_count(results, describe_filters(filters), in_words=bool(query)))
        if results.hits:
            self._more()
        elif self._chips:
            self._say("Type no filters to search all files.")

    def _more(self) -> None:
        results = self._need_results()
        hits = results.hits[self._told : self._told + PAGE]
        if not hits:
            self._say("There are no more results.")
            return
        likely = count_likely(results)
        told = replace(results, hits=hits)
        told = self._need_library().mark_sentences(told) if self._query else told
        # Kept as told: `open` must go to the page that was named.
        rest = results.hits[self._told + len(hits) :]
        self._results = replace(results, hits=(*results.hits[: self._told], *told.hits, *rest))
        for hit in told.hits:
            if self._told == likely:
                self._say("Less likely:")
            self._told += 1
            for line in describe_hit(self._told, hit):
                self._say(line)
        left = len(results.hits) - self._told
        if left:
            self._say(f"Type more for {count_of(left, 'more result')}.")

    def _on_hit(self, act: str, number: str) -> None:
        hits = self._need_results().hits
        if not 1 <= int(number) <= len(hits):
            raise UsageError(f"there is no result {int(number)}: the last search found {count_of(len(hits), 'result')}")
        acts: dict[str, Callable[[int, Hit], None]] = {
            "open": self._open_hit,
            "text": self._read_hit,
            "why": self._explain_hit,
            "similar": self._find_similar,
        }
        acts[act.lower()](int(number), hits[int(number) - 1])

    def _on_number(self, number: str) -> None:
        """A number alone is the text of that result; where no such result was told, it is a question."""
        shown = self._results is not None and 1 <= int(number) <= self._told
        if shown:
            self._on_hit("text", number)
        else:
            self._ask_for(number)

    def _open_hit(self, _: int, hit: Hit) -> None:
        self._say(open_file(hit.path, hit.passages[0].page if hit.passages else None) + ".")

    def _read_hit(self, number: int, hit: Hit) -> None:
        for line in describe_text(number, hit, self._need_library().passages_of(hit.path)):
            self._say(line)

    def _explain_hit(self, number: int, hit: Hit) -> None:
        for line in explain(number, hit, self._query):
            self._say(line)

    def _find_similar(self, _: int, hit: Hit) -> None:
        page = hit.passages[0].page if hit.passages else None
        self._ask(lambda library, filters: library.similar(hit.path, page=page, limit=LIMIT, filters=filters), "")

    def _choose_mode(self, mode: str) -> None:
        self._mode = MODES[mode.lower()]
        self._say(f"Searching by {NAMES[self._mode]} from now on.")
        self._search_again()

    def _filter(self, key: str, value: str = "", folder: str = "") -> None:
        library = self._need_library()
        if folder and not is_there(expand_home(folder)):
            raise UsageError(f"there is no folder {folder}")
        value = value or str(expand_home(folder).resolve())
        self._chips = add_chips(self._chips, [make_chip(key, value)])
        self._say(f"Only {describe_filters(make_filters(self._chips, library.roots()))} from now on.")
        self._search_again()

    def _drop_filters(self) -> None:
        self._chips = ()
        self._say("All files are searched again.")
        self._search_again()

    def _search_again(self) -> None:
        if self._again is not None:
            self._again()

    # --- the index -------------------------------------------------------------------------------------------

    def _open(self) -> None:
        from drama_app.library import Library

        try:
            self._library = Library.open(self._settings)
        except NoIndexError:
            self._say(greet(None))
            return
        self._say(greet(self._library.status()))

    def _add(self, folder: str) -> None:
        from drama_app.library import Library

        path = expand_home(folder)
        if not is_there(path):
            raise UsageError(f"there is no folder {folder}")
        self._library = self._library or Library.open(self._settings, create=True)
        root = self._library.add_root(path)
        if self._library.resume(root):
            self._say(f"{shorten_path(root)} was paused: it is followed again.")
        expected = self._library.estimate(root)
        about = f"about {describe_seconds(expected.seconds)} and {describe_bytes(expected.disk)} of disk"
        self._say(f"Reading {shorten_path(root)}: {count_of(expected.files, 'file')}, {about}. Ctrl-C stops.")
        self._sync([root])

    def _update(self) -> None:
        self._need_library()
        self._say("Looking for changed files. Ctrl-C stops.")
        self._sync(None)

    def _sync(self, roots: list[Path] | None) -> None:
        """Indexes in a thread, so that Ctrl-C lets it finish what is being written."""
        library, stop = self._need_library(), threading.Event()
        failures: list[Exception] = []
        reports: list[str] = []

        def work() -> None:
            try:
                report = library.sync(roots, on_progress=_Narration(self._say).take, stop=stop)
            except Exception as error:  # a full disk is a RuntimeError of LanceDB's: it is told by whoever waits
                failures.append(error)
                return
            reports.extend(describe_report(report))
            if report.stopped:
                reports.append("Stopped; type update to go on.")

        worker = threading.Thread(target=work, name="sync")
        worker.start()
        while worker.is_alive():
            try:
                worker.join()
            except KeyboardInterrupt:
                stop.set()
                self._say("Stopping: finishing what is being written.")
        if failures:
            raise failures[0]
        for line in reports:
            self._say(line)

    def _status(self) -> None:
        for line in describe_status(self._need_library().status()):
            self._say(line)

    # --- talking ---------------------------------------------------------------------------------------------

    def _help(self) -> None:
        for line in HELP.splitlines():
            self._say(line)

    def _quit(self) -> None:
        self._is_over = True

    def _need_library(self) -> "Library":
        if self._library is None:
            raise UsageError("nothing is indexed yet: type add and a folder, for example: add ~/Documents")
        return self._library

    def _need_results(self) -> Results:
        if self._results is None:
            raise UsageError("nothing was searched yet: type a question first")
        return self._results

    def _say(self, line: str) -> None:
        self._target.write(clean_for_terminal(line) + "\n")
        self._target.flush()

    def _try(self, act: Callable[[], None]) -> None:
        try:
            act()
        except (DramaError, OSError) as error:
            log.info("a command of the dialogue failed", exc_info=True)
            self._say_wrong(str(error))
        except Exception as error:  # what a store replaced below us raises, or a full disk: the dialogue goes on
            log.exception("a command of the dialogue failed unexpectedly")
            said = f"this failed unexpectedly ({type(error).__name__}: {error}); the details are in"
            self._say_wrong(f"{said} {shorten_path(self._settings.log_file)}")

    def _say_wrong(self, sentence: str) -> None:
        text = " ".join(sentence.split())
        self._say(f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '?')) else '.'}")


def _find_command(line: str) -> tuple[str, dict[str, str]] | None:
    """The name of the command that a line is, and its words."""
    for pattern, name in COMMANDS:
        match = re.fullmatch(pattern, line, re.IGNORECASE)
        if match is not None:
            return name, match.groupdict()
    return None


class _Narration:
    """Progress as a sentence, every ten seconds."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._last = time.monotonic()

    def take(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._last < PROGRESS_SECONDS or progress.phase != "index":
            return
        self._last = now
        left = f", {describe_seconds(progress.seconds_left)} left" if progress.seconds_left is not None else ""
        self._say(f"{progress.files_done:,} of {count_of(progress.files_total, 'file')}{left}.")
