"""Cuts text into lines of so many cells, and joins lines that print has cut.

Owns the borders: never inside what a reader sees as one character, never before closing punctuation. It styles nothing.
"""

from collections.abc import Iterator
from itertools import pairwise

import regex
from rich.cells import cell_len

# One character, one cell: the greater part of most texts needs no look at each character (0.05 against 1.5 ms for a
# passage of 1,000 characters).
_NARROW = regex.compile(r"[\x20-\x7e\xa0-\xac\xae-\u02ff\u0370-\u0482\u048a-\u058a\u2010-\u2027\u2030-\u205e]*")
_GRAPHEME = regex.compile(r"\X")
# A word of a script before Hangul, up to a joint; else one grapheme. Words are measured whole, which is four times as
# fast, and looked into only where they are longer than half a line.
_ATOM = regex.compile(r"(?V1)[[!-\u10ff\u200c\u200d]--[-/_\s]]+[\p{M}\p{Cf}]*[-/_]?|\X")
_CLOSING = frozenset(",.;:!?)]}»”’、。，．・：；？！）］｝〉》」』】〕ー々…।॥،؛؟")
_OPENING = frozenset("([{«“‘（［｛〈《「『【〔")
_JOINTS = frozenset("-/–—_")
_FIRST_UNSPACED = "\u0e00"  # from Thai on, words need no spaces
_FULL = 0.6  # of the longest line: a shorter one ends a paragraph, a heading or a row of a table
_LEAST_FULL = 30  # characters; columns narrower than this are tables more often than text
_GOES_ON = frozenset(",;)”’»\"'")
_GOES_ON_WITH = frozenset("(“‘«\"'")


def wrap(text: str, width: int) -> Iterator[tuple[int, int]]:
    """Yields (start, end) of each line of `text`; white space at the end of a line belongs to none.

    Args:
        text: Without control characters but newlines; tabs count as one cell.
        width: Cells a line, at least 2, so that a double-width character fits.
    """
    width = max(width, 2)
    start = 0
    while start <= len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        pieces = _cut_narrow if _NARROW.fullmatch(text, start, end) else _cut_any
        yield from pieces(text, start, end, width)
        start = end + 1


def join_printed_lines(text: str) -> str:
    """Returns the text of a printed page with a space in place of each newline inside a sentence: offsets stay.

    A sentence goes on after a long line that ends in a letter or a comma, if the next one begins with a letter. Scripts
    without spaces keep their lines.
    """
    lines = text.split("\n")
    full = max(_LEAST_FULL, _FULL * max(map(len, lines)))
    joined = [lines[0]]
    for before, line in pairwise(lines):
        end, begin = before.rstrip()[-1:], line[:1]
        goes_on = len(before) >= full and (_is_letter(end) or end in _GOES_ON)
        joined += [" " if goes_on and begin and (_is_letter(begin) or begin in _GOES_ON_WITH) else "\n", line]
    return "".join(joined)


def _is_letter(character: str) -> bool:
    return character.isalpha() and character < _FIRST_UNSPACED


def _cut_narrow(text: str, start: int, end: int, width: int) -> Iterator[tuple[int, int]]:
    begin = start
    while end - start > width:
        cut = text.rfind(" ", start, start + width + 1) + 1
        if cut <= start + width // 2:  # a long word: cutting it wastes less than an empty half line
            cut = start + width
        yield start, _trim(text, start, cut)
        start = cut
        while start < end and text[start] == " ":
            start += 1
    if start < end or start == begin:
        yield start, _trim(text, start, end)


def _cut_any(text: str, start: int, end: int, width: int) -> Iterator[tuple[int, int]]:
    used, border = 0, start
    before = ""
    for first, last, size in _list_atoms(text, start, end, width // 2):
        is_space = text[first:last].isspace()  # a space may carry an accent: then it is none
        if first > start and not is_space and _may_cut(before, text[first]):
            border = first
        if used + size > width and first > start and not is_space:
            cut = border if cell_len(text[start:border]) > width // 2 else first
            yield start, _trim(text, start, cut)
            start = border = cut
            used = cell_len(text[cut:first])
            if used + size > width:  # what may not begin a line stood alone behind a full one
                if not text[start:first].isspace():
                    yield start, _trim(text, start, first)
                start, border, used = first, first, 0
        used += size
        before = text[last - 1]
    yield start, _trim(text, start, end)


def _list_atoms(text: str, start: int, end: int, longest: int) -> Iterator[tuple[int, int, int]]:
    """Yields (start, end, cells) of what is never cut."""
    for match in _ATOM.finditer(text, start, end):
        size = cell_len(match[0])
        if size <= longest:
            yield *match.span(), size
            continue
        for part in _GRAPHEME.finditer(text, *match.span()):
            yield *part.span(), cell_len(part[0])


def _may_cut(before: str, after: str) -> bool:
    """Between words, after a joint, and around double-width characters."""
    if after in _CLOSING or before in _OPENING:
        return False
    return before.isspace() or before in _JOINTS or _is_wide(before) or _is_wide(after)


def _is_wide(character: str) -> bool:
    return character >= "\u1100" and cell_len(character) == 2


def _trim(text: str, start: int, end: int) -> int:
    while end > start and text[end - 1].isspace():
        end -= 1
    return end
