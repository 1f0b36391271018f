"""What threads tell the app: one message with a frozen result each. A thread never touches a widget."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual.message import Message

from drama_app.records import Progress, Status, SyncReport

if TYPE_CHECKING:
    from drama_app.library import Library


@dataclass
class LibraryOpened(Message):
    """The index is open; `None` if there is none yet."""

    library: "Library | None"
    reason: str = ""
    """Why it does not open though there is one."""


@dataclass
class StatusRead(Message):
    """The state of the index, read anew."""

    status: Status


@dataclass
class Progressed(Message):
    """How far indexing is."""

    progress: Progress

    def can_replace(self, message: Message) -> bool:
        """Only the newest counts."""
        return isinstance(message, Progressed)


@dataclass
class StateSaid(Message):
    """The watcher's line of state changed."""

    line: str


@dataclass
class SyncEnded(Message):
    """A sync is done."""

    report: SyncReport


@dataclass
class IndexingChanged(Message):
    """Indexing started, rests, was paused, or failed; `reason` is for the person."""

    state: str
    reason: str = ""


@dataclass
class Failed(Message):
    """Something that a person asked for did not work."""

    sentence: str


@dataclass
class WorkEnded(Message):
    """A retry or a change of retriever ended, well or not."""

    sentence: str = ""
    """For the person, and for the log; "" if there is nothing to say."""


@dataclass
class SearchInside(Message, bubble=False):
    """The next search is to look below one folder. The app shows the search screen and hands this on to it."""

    path: Path
