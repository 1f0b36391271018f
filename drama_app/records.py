"""The frozen records that pass between the steps; no behaviour beyond derived facts.

Offsets count Python characters (code points) and refer to `Document.text`.
"""

from bisect import bisect_right
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

Mode = Literal["fused", "meaning", "keywords"]
NOT_UP_TO_DATE = "not up to date"
"""How the watcher's line of state begins when a sync failed and is tried again."""


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading in a document; its section runs to the next heading of the same or a higher level."""

    start: int
    """Offset of the heading's own text."""
    level: int
    """1 is the highest."""
    title: str


@dataclass(frozen=True, slots=True)
class Document:
    """What extraction makes of one file: clean text and where its parts lie.

    The text holds no control characters but newline and tab, newlines are "\\n".
    """

    text: str
    kind: str
    """The format that was recognised, for example "pdf", "docx", "markdown", "code"."""
    title: str = ""
    pages: tuple[int, ...] = ()
    """Start offset of page 1, 2, ...; empty where the format has no pages. Slides and sheets count as pages."""
    headings: tuple[Heading, ...] = ()
    """In order of `start`."""
    notes: tuple[str, ...] = ()
    """What a person should know, for example "3 of 12 pages are scanned: no text layer"."""
    lines: bool = False
    """True if line N of `text` is line N of the file, so that an editor can be sent there."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A stretch of a document that is embedded and found as one."""

    ordinal: int
    """Position among the document's passages, from 0."""
    start: int
    end: int
    text: str
    """`document.text[start:end]`."""
    page: int | None
    line: int | None
    """Line of `start` in the file, from 1, where `Document.lines`."""
    heading: str
    """Titles of the headings above, outermost first, joined by " › "."""
    language: str
    """ISO 639-1 code (639-3 where there is none), "" if it cannot be told."""


@dataclass(frozen=True, slots=True)
class Filters:
    """Conditions that a hit must meet; they apply before the best are chosen. Empty means no condition."""

    folders: tuple[Path, ...] = ()
    """Absolute; a file below any of them passes, and so does a file named itself."""
    types: tuple[str, ...] = ()
    """Kinds ("markdown") or file name endings ("md"), lower case."""
    languages: tuple[str, ...] = ()
    since: float | None = None
    """Seconds since 1970: modified at or after."""
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """One source's share in a passage's score."""

    source: str
    """"meaning", "keywords" or "file name"."""
    value: float
    """The source's own scale: cosine for meaning, BM25 for keywords, 1 for a file name."""
    rank: int | None
    """Rank in that source's list from 1, None if the source did not list it."""
    share: float
    """What it adds to the fused score."""


@dataclass(frozen=True, slots=True)
class PassageHit:
    """A passage that answers a query."""

    ordinal: int
    page: int | None
    """Of the best sentence if there is one, else of the start; so is the line."""
    line: int | None
    start: int
    end: int
    heading: str
    language: str
    text: str
    score: float
    scores: tuple[Score, ...]
    marks: tuple[tuple[int, int], ...] = ()
    """Where the query's words stand, as offsets into `text`. A search marks a hit's first passage only: marking costs
    up to a millisecond; `Library.mark_sentences` and `highlight.mark_words` mark the others."""
    sentence: tuple[int, int] | None = None
    """The best sentence, as offsets into `text`."""
    page_starts: tuple[int, ...] = ()
    """Where its later pages start, as offsets into `text`."""

    def choose(self, sentence: tuple[int, int] | None) -> "PassageHit":
        """The same with this best sentence, and the page and line where that stands."""
        before, now = (span[0] if span else 0 for span in (self.sentence, sentence))
        pages = bisect_right(self.page_starts, now) - bisect_right(self.page_starts, before)
        lines = self.text.count("\n", 0, now) - self.text.count("\n", 0, before)
        return replace(
            self, sentence=sentence, page=None if self.page is None else self.page + pages,
            line=None if self.line is None else self.line + lines,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Hit:
    """A document with its best passages, best first."""

    path: Path
    copies: tuple[Path, ...]
    """Other files with the same content that pass the filters."""
    title: str
    kind: str
    modified: float
    """Seconds since 1970."""
    score: float
    passages: tuple[PassageHit, ...]


@dataclass(frozen=True, slots=True)
class Results:
    """The answer to one query."""

    query: str
    mode: Mode
    hits: tuple[Hit, ...]
    nothing_good_enough: bool
    """True if even the best is likely not an answer; `hits` then holds the nearest misses."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that is not searchable, and why."""

    path: Path
    reason: str
    for_now: bool = False
    """The system failed, as a drive does that comes loose, and not the file."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a sync is. A newer one replaces an older one."""

    phase: Literal["scan", "index", "tidy"]
    files_done: int = 0
    files_total: int = 0
    passages: int = 0
    failed: int = 0
    passages_per_second: float = 0.0
    seconds_left: float | None = None
    current: Path | None = None


SOME_PASSAGES = 256
"""Fewer, embedded at a time, say nothing of how fast the next folder will be."""


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What a sync did. `documents` and `passages` are those of the whole index afterwards."""

    documents: int
    passages: int
    added: int
    changed: int
    removed: int
    moved: int
    failed: tuple[Skipped, ...]
    passed_over: int
    seconds: float
    notes: tuple[str, ...] = ()
    embedded_per_second: float = 0.0
    """Passages that the encoder read, over the time it took; 0 if they were too few to tell."""
    stopped: bool = False
    """True if the person stopped it; the next sync goes on from there."""
    looked_at: tuple[Path, ...] | None = None
    """The files and folders that it was about, as are `failed` and `notes`; None is every root."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What indexing a folder would take, judged by names and sizes before a file is read."""

    files: int
    """Files that would be read; those that the ignore rules pass over are not counted."""
    bytes: int
    passages: int
    seconds: float
    disk: int
    """Bytes that the index would grow by."""
    complete: bool = True
    """False if the walk was stopped before its end: everything above is then a lower bound."""


@dataclass(frozen=True, slots=True)
class RootStatus:
    """One indexed folder."""

    path: Path
    documents: int
    passages: int
    synced: float | None
    """Seconds since 1970 of the last complete sync."""
    state: str
    """"ok", "never synced", "incomplete" (a sync was interrupted or is under way), "missing" (unplugged, unmounted),
    "paused"."""


@dataclass(frozen=True, slots=True)
class Status:
    """The state of the whole index."""

    documents: int
    passages: int
    languages: dict[str, int]
    """Passages a language, most first."""
    kinds: dict[str, int]
    """Documents a kind, most first."""
    bytes: int
    """Size of the index on disk."""
    retriever: str
    roots: tuple[RootStatus, ...]
    pending: int
    """Files known to wait for indexing."""
    failed: tuple[Skipped, ...]
    passed_over: int
    watching: str = ""
    """What a running `watch` last said of itself, "" if none runs."""
    left_out: tuple[Path, ...] = ()
    """Files and folders below roots that a person asked to forget."""
    notes: tuple[str, ...] = field(default=())
