"""A document as lines of a given width, laid out passage by passage as they are looked at.

Owns what stands on which line. It knows neither widgets nor styles, and never lays out a whole document: 10 MB of text
would take seconds, a screen of it takes a millisecond.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple

from drama_app.output import clean_for_terminal
from drama_app.records import Passage, PassageHit

SEPARATOR = " › "
TAB = "    "
NO_TURNS: Mapping[int, Sequence[int]] = MappingProxyType({})
MOST_KEPT = 400
"""Passages whose lines are kept: some screens up and down."""


class Position(NamedTuple):
    """A line of a document."""

    passage: int
    """Its index in `DocumentLines.passages`."""
    line: int


@dataclass(frozen=True, slots=True)
class Line:
    """A line as it is shown."""

    kind: Literal["text", "heading", "page", "break", "blank"]
    text: str = ""
    places: Sequence[int] = ()
    """For each character of `text` its offset in the passage; empty for what we add."""
    glue: str = "\n"
    """What stands between this line and the next in the file: nothing or a space where we broke the line."""


class DocumentLines:
    """The lines of some passages, in order."""

    def __init__(
        self, passages: Sequence[Passage | PassageHit], width: int, *, printed: bool = False, page: str = "page",
        turns: Mapping[int, Sequence[int]] = NO_TURNS,
    ) -> None:  # fmt: skip
        self.passages = passages
        self.width = width
        self.page = page
        """What a page of it is called."""
        self.printed = printed
        """Its lines were cut for a page: they are joined and cut for this width."""
        self.turns = turns
        """Where later pages begin within a passage, as offsets into its text, by its index; of those that are known."""
        self._kept: dict[int, list[Line]] = {}

    def lines(self, index: int) -> list[Line]:
        """The lines of one passage, with the page and heading rules above it."""
        if index not in self._kept:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[index] = list(self._lay_out(index)) or [Line("blank")]
        return self._kept[index]

    def line(self, position: Position) -> Line:
        """The line at a position."""
        return self.lines(position.passage)[position.line]

    def move(self, position: Position, count: int) -> Position:
        """The position `count` lines further on (or back), not beyond the ends."""
        index, line = position.passage, position.line + count
        while line < 0 and index > 0:
            index -= 1
            line += len(self.lines(index))
        while index < len(self.passages) - 1 and line >= (size := len(self.lines(index))):
            line -= size
            index += 1
        return Position(index, max(0, min(line, len(self.lines(index)) - 1)))

    def follow(self, position: Position) -> Iterator[Position]:
        """Yields positions from `position` to the end of the document."""
        line = position.line
        for index in range(position.passage, len(self.passages)):
            yield from (Position(index, number) for number in range(line, len(self.lines(index))))
            line = 0

    @property
    def end(self) -> Position:
        """The last line."""
        last = len(self.passages) - 1
        return Position(last, len(self.lines(last)) - 1)

    def find(self, index: int, offset: int) -> Position:
        """The line of a passage on which an offset of its text stands."""
        found = self.first_text(index)
        for number, line in enumerate(self.lines(index)):
            if line.places and line.places[0] <= offset:
                found = number
        return Position(index, found)

    def first_text(self, index: int) -> int:
        """Number of the first line that is the passage's own."""
        return next((number for number, line in enumerate(self.lines(index)) if line.places), 0)

    def _lay_out(self, index: int) -> Iterator[Line]:
        passage = self.passages[index]
        before = self.passages[index - 1] if index else None
        text, places = show(passage.text)
        start = bisect_left(places, before.end - passage.start) if before and before.end > passage.start else 0
        while start < len(text) and text[start] == "\n":
            start += 1
        rules = list(self._rules(passage, before, len(self.turns.get(index - 1, ()))))
        is_apart = before is not None and (bool(rules) or passage.start - before.end > 1)
        if is_apart:
            yield Line("blank")
        heading = rules.pop() if rules and rules[-1].kind == "heading" else None
        yield from rules
        own = end_of_heading(text, start, passage.heading) if heading else start
        if own > start:
            yield from self._wrap(text[start:own], places[start:own], "heading")
            start = own + 1
        elif heading:
            yield heading
        end = len(text.rstrip())
        for number, turn in enumerate(self.turns.get(index, ()), 1):
            if passage.page is not None and start < (border := min(bisect_left(places, turn), end)):
                yield from self._wrap(text[start:border].rstrip(), places[start:border], "text")
                yield from (Line("blank"), Line("page", f"{self.page} {passage.page + number:,}"))
                start = border
        yield from self._wrap(text[start:end], places[start:end], "text")

    def _rules(self, passage: Passage | PassageHit, before: Passage | PassageHit | None, turned: int) -> Iterator[Line]:
        if before is not None and passage.ordinal > before.ordinal + 1:
            yield Line("break")
        ended = None if before is None or before.page is None else before.page + turned
        if passage.page is not None and ended != passage.page:
            yield Line("page", f"{self.page} {passage.page:,}")
        if passage.heading and (before is None or before.heading != passage.heading):
            yield Line("heading", _new_titles(passage.heading, before.heading if before else ""))

    def _wrap(self, text: str, places: Sequence[int], kind: Literal["text", "heading"]) -> Iterator[Line]:
        """Wrapped lines; of several blank ones the first."""
        from drama_app.tui.wrapping import join_printed_lines, wrap

        text = join_printed_lines(text) if self.printed else text
        width = self.width - 2 if kind == "heading" else self.width
        stretches = list(wrap(text, width)) if text else []
        was_blank = False
        for number, (start, end) in enumerate(stretches):
            following = stretches[number + 1][0] if number + 1 < len(stretches) else len(text)
            between = text[end:following]
            glue = "\n" if "\n" in between or following == len(text) else between
            if start < end:
                yield Line(kind, text[start:end], places[start:end], glue)
            elif not was_blank:
                yield Line("blank")
            was_blank = start >= end


def show(text: str) -> tuple[str, Sequence[int]]:
    """Returns a text as a terminal may show it, and for each character the offset in `text` that it stands for."""
    cleaned = clean_for_terminal(text, lines=True)
    if len(cleaned) == len(text) and "\t" not in cleaned:
        return cleaned, range(len(text))
    pieces = [TAB if character == "\t" else clean_for_terminal(character, lines=True) for character in text]
    return "".join(pieces), [offset for offset, piece in enumerate(pieces) for _ in piece]


def end_of_heading(text: str, start: int, heading: str) -> int:
    """Where the first line of `text` ends if it only repeats the innermost title of `heading`; else `start`."""
    end = text.find("\n", start)
    end = len(text) if end < 0 else end
    title = clean_for_terminal(heading).rpartition(SEPARATOR.strip())[2]
    return end if _plain(text[start:end]) == _plain(title) else start


def _plain(title: str) -> str:
    return " ".join(title.strip(" \t#=*_").casefold().split())


def _new_titles(heading: str, before: str) -> str:
    """The titles of a heading path from the first that is not the same as before."""
    titles, others = heading.split(SEPARATOR), before.split(SEPARATOR)
    same = 0
    while same < len(titles) - 1 and same < len(others) and titles[same] == others[same]:
        same += 1
    return clean_for_terminal(SEPARATOR.join(titles[same:]))
