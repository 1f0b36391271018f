"""What the search screen asks of the library, in records that a thread can carry; the messages that bring the answer.

Owns the step from a request to results, and what went wrong in words. It touches no widget.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from textual.message import Message

from drama_app.conditions import Chip, find_folders, make_filters
from drama_app.errors import DramaError
from drama_app.file_filters import follow_folders
from drama_app.records import Mode, Passage, Results

if TYPE_CHECKING:
    from drama_app.library import Library

log = logging.getLogger(__name__)
T = TypeVar("T")

PAGE = 20  # hits that are fetched at once, and again when the end is reached
MOST = 400  # nobody reads on; a query of this size takes 0.1 s longer


@dataclass(frozen=True, slots=True)
class Request:
    """One question to the library."""

    query: str = ""
    mode: Mode = "fused"
    chips: tuple[Chip, ...] = ()
    limit: int = PAGE
    similar: tuple[Path, int | None] | None = None
    """A file, and a page of it: asks for what is like it, in place of the query."""

    @property
    def is_empty(self) -> bool:
        """True if nothing is asked."""
        return not self.query.strip() and self.similar is None


@dataclass
class Answered(Message):
    """A search ended; `results` is None if it failed, and `error` says why."""

    number: int
    request: Request
    results: Results | None
    error: str = ""
    quiet: bool = False
    """Nobody asked for it just now: the index changed, or more hits are added below."""
    why_nothing: str = ""
    """A sentence, if something of what was asked cannot be met."""


@dataclass
class SentencesMarked(Message):
    """The same results, with the best sentences chosen by meaning."""

    number: int
    results: Results


@dataclass
class DocumentLoaded(Message):
    """The whole text of the document that is previewed."""

    path: Path
    passages: tuple[Passage, ...]
    error: str = ""


def search(library: "Library", request: Request) -> Results:
    """Asks the library."""
    filters = follow_folders(make_filters(request.chips, library.roots() if request.chips else ()))
    if request.similar is not None:
        path, page = request.similar
        return library.similar(path, page=page, limit=request.limit, filters=filters)
    return library.search(request.query, mode=request.mode, limit=request.limit, filters=filters)


def explain_nothing(library: "Library", request: Request) -> str:
    """Returns which of the folders that were asked for is not there, in a sentence; "" if all are. Touches the disk."""
    from drama_app.scan import is_there

    roots = library.roots()
    missing = [
        chip.value
        for chip in request.chips
        if chip.key == "in" and not any(is_there(folder) for folder in find_folders(chip.value, roots))
    ]
    return f"in:{missing[0]} names no folder that is there. Below a folder of F3 its name is enough" if missing else ""


def attempt(work: Callable[[], T]) -> tuple[T | None, str]:
    """Returns what `work` returns, or None and a sentence that says what went wrong."""
    try:
        return work(), ""
    except (DramaError, OSError) as error:
        log.info("refused", exc_info=True)
        return None, str(error)
    except Exception as error:  # a store that is replaced below us fails in its own ways: the screen must live on
        log.exception("unexpected error in a thread of the search screen")
        return None, f"This failed unexpectedly ({type(error).__name__}: {error}). The details are in the log"


def warm_up(library: "Library") -> None:
    """Opens the store and the encoder before the first query needs them."""
    try:
        if library.roots():
            library.search("a", limit=1)
    except (DramaError, OSError):
        log.info("warming up failed", exc_info=True)  # the first search says what is wrong
