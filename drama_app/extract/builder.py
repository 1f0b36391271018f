"""Puts a `Document` together from blocks or from lines, and records where pages and headings start.

Owns offsets and the limit on extracted text. Handlers say what a block is and never count characters.
"""

import re
from collections.abc import Iterable, Sequence

from drama_app.extract.clean import clean_line, clean_text
from drama_app.records import Document, Heading

MAX_CHARACTERS = 20_000_000
"""About 40 novels; beyond it a file is data and not something a person wrote to be read."""

_SPARE_CHARACTERS = 1_000_000
"""What cleaning may take away without the text falling below the limit unnoticed."""

_MANY_BREAKS = re.compile(r"\n[ \t]*(?:\n[ \t]*){2,}")
_ODD_BREAK = re.compile("[\x0b\x0c\x85\u2028\u2029]")


class TextBuilder:
    """Collects cleaned blocks in reading order.

    Paragraphs and headings stand between blank lines; `line` continues the block of lines before it.
    """

    def __init__(self, *, limit: int = MAX_CHARACTERS) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._limit = limit
        self._in_lines = False
        self._pages: list[int] = []
        self._pages_waiting = 0
        self._headings: list[Heading] = []
        self.full = False
        """True once the limit is reached: what follows is dropped, so a handler may stop."""

    def __len__(self) -> int:
        return self._length

    def page(self) -> None:
        """Start a new page, slide or sheet: the next block is its first."""
        self._pages_waiting += 1
        self._in_lines = False

    def heading(self, level: int, title: str) -> None:
        """Add a heading as a block of its own; `level` 1 is the highest."""
        title = clean_line(title)
        if title and not self.full:
            start = self._append(title, separator="\n\n")
            if not self.full:
                self._headings.append(Heading(start=start, level=max(1, level), title=title))
        self._in_lines = False

    def paragraph(self, text: str) -> None:
        """Add a block; its own newlines stay, runs of blank lines become one."""
        text = _MANY_BREAKS.sub("\n\n", clean_text(text)).strip()
        if text and not self.full:
            self._append(text, separator="\n\n")
        self._in_lines = False

    def line(self, text: str) -> None:
        """Add one line right below the line before it; newlines inside become spaces."""
        text = clean_line(text)
        if text and not self.full:
            self._append(text, separator="\n" if self._in_lines else "\n\n")
            self._in_lines = True

    def build(self, kind: str, title: str = "", *, notes: Iterable[str] = (), lines: bool = False) -> Document:
        """Return the document; a cut at the limit adds a note."""
        all_notes = tuple(clean_line(note) for note in notes)
        if self.full:
            all_notes += (describe_cut(self._limit),)
        return Document(
            text="".join(self._parts),
            kind=kind,
            title=clean_line(title),
            pages=(*self._pages, *[self._length] * self._pages_waiting),
            headings=tuple(self._headings),
            notes=all_notes,
            lines=lines,
        )

    def _append(self, text: str, *, separator: str) -> int:
        """Add cleaned text, cut at the limit, and return its offset."""
        piece = separator + text if self._parts else text
        start = self._length + len(piece) - len(text)
        if self._length + len(piece) > self._limit:
            piece, self.full = piece[: self._limit - self._length], True
        self._pages.extend([min(start, self._limit)] * self._pages_waiting)
        self._pages_waiting = 0
        self._parts.append(piece)
        self._length += len(piece)
        return start


def describe_cut(limit: int) -> str:
    """Return the note on a document that was cut."""
    return f"only the first {limit:,} characters are searchable"


def split_lines(text: str) -> list[str]:
    """Return the cleaned lines of decoded text, counted as editors count them; nothing far beyond the limit."""
    text = text[: MAX_CHARACTERS + _SPARE_CHARACTERS]
    return clean_text(_replace_odd_breaks(text)).split("\n")


def _replace_odd_breaks(text: str) -> str:
    """Return the text without the characters that Unicode calls line ends and editors do not."""
    return _ODD_BREAK.sub(" ", text) if _ODD_BREAK.search("".join(frozenset(text))) else text


def build_from_lines(
    lines: Sequence[str],
    kind: str,
    *,
    title: str = "",
    headings: Iterable[tuple[int, int, str]] = (),
    notes: Iterable[str] = (),
    limit: int = MAX_CHARACTERS,
) -> Document:
    """Return a document whose lines are those of the file.

    Args:
        lines: Cleaned lines, as `split_lines` returns them.
        kind: The format.
        title: What the document calls itself.
        headings: (index into `lines`, level, title) in order; the title must stand in that line.
        notes: What a person should know.
        limit: Most characters of text.
    """
    text = "\n".join(lines)
    all_notes = tuple(notes)
    if len(text) > limit:
        text, all_notes = text[:limit], (*all_notes, describe_cut(limit))
    found = []
    offset, index = 0, 0
    for line, level, name in headings:
        while index < line:
            offset += len(lines[index]) + 1
            index += 1
        start = offset + max(0, lines[line].find(name))
        if name and text.startswith(name, start):
            found.append(Heading(start=start, level=level, title=name))
    return Document(text=text, kind=kind, title=clean_line(title), headings=tuple(found), notes=all_notes, lines=True)
