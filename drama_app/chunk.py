"""Cuts a document into passages: at headings, then paragraphs, lines, sentences, clauses, words.

Owns where a passage begins and ends and what is told of it. It opens no file and knows no retriever: sizes are
tokens estimated from the kind of characters, so that another retriever embeds the same passages again.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import takewhile
from typing import NamedTuple

import regex

from drama_app.language import detect_languages
from drama_app.records import Document, Passage
from drama_app.ruler import Ruler, estimate_tokens
from drama_app.sentences import is_grapheme_border, iterate_graphemes, iterate_sentences, split_sentences

SIZE = 256
"""Estimated tokens. Mean nDCG@10 of seven sets of long documents: 0.950, 0.947, 0.946, 0.928, 0.926 at 128, 192, 256,
384, 448: 256 is within noise of 128 with half the passages, and what lies above is worse."""
OVERLAP = 0
"""15 and 30 % overlap changed nothing beyond noise (0.943 against 0.946; 0.977 against 0.980 without the meetings)."""
_SLACK = 8
"""A passage may exceed the size by an eighth, to take in a tiny tail or the heading before it."""
_TINY = 4
"""A section or tail below a quarter of the size is joined to its neighbour."""
_LONGEST_PATH = 200
"""Characters of a heading path."""
_LONGEST_TITLE = 120
"""Characters of a title above each passage."""
_WITHOUT_LANGUAGE = frozenset({"code"})
_PAGED = frozenset({"pptx", "ppt", "odp", "xlsx", "xls", "ods", "csv", "tsv"})
"""Kinds whose pages are slides or sheets: no passage runs over their border."""

_PAGE, _HEADING, _BODY = 100, 10, 9
_BORDERS = (
    regex.compile(r"\n[^\S\n]*\n\s*"),
    regex.compile(r"\n+"),
    None,
    regex.compile(r"[,;:،؛—][\p{Pe}\p{Pf}\"']*\s+|[，；：、]+[\p{Pe}\p{Pf}]*"),
    regex.compile(r"\s+"),
    regex.compile(r"[\p{P}\p{S}]+"),
)
"""Ever weaker places to cut; sentences stand third, graphemes come after the last."""


class _Atom(NamedTuple):
    """A stretch that is not cut further, and how good a place its start is for a cut."""

    start: int
    end: int
    cost: float
    strength: int
    is_heading: bool = False


class _Mark(NamedTuple):
    """A heading's line and the path that holds from there on."""

    start: int
    end: int
    level: int
    path: tuple[str, ...]


def cut(document: Document, *, size: int = SIZE, overlap: int = OVERLAP) -> list[Passage]:
    """Cut a document into passages of about `size` estimated tokens, one after the other.

    Args:
        document: Any text; every character of it that is not white space lands in a passage.
        size: Estimated tokens a passage, at most an eighth more.
        overlap: Estimated tokens of whole sentences that a passage repeats from the one before it, at most.
    """
    passages = list(describe_spans(document, cut_spans(document, size=size, overlap=overlap)))
    if document.kind in _WITHOUT_LANGUAGE:
        return passages
    languages = detect_languages([passage.text for passage in passages])
    return [replace(passage, language=language) for passage, language in zip(passages, languages, strict=True)]


def fold_repeats(passages: list[Passage]) -> list[Passage]:
    """The passages without those whose text an earlier one of the document holds.

    A log or a mailing that repeats a paragraph a thousand times would fill every list of candidates by itself.
    """
    first = {passage.text: passage for passage in reversed(passages)}
    if len(first) == len(passages):
        return passages
    kept = [passage for passage in passages if first[passage.text] is passage]
    return [replace(passage, ordinal=ordinal) for ordinal, passage in enumerate(kept)]


def embedded_text(title: str, passage: Passage) -> str:
    """Return what the encoder reads for a passage: its document's title and headings above the text.

    What the passage begins with anyway is not said twice.
    """
    parts = [" ".join(title.split())[:_LONGEST_TITLE], passage.heading]
    return "\n".join([*(part for part in parts if part and not passage.text.startswith(part)), passage.text])


def cut_spans(document: Document, *, size: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Yield the passages of a document as (start, end) offsets, in order."""
    text = document.text
    ruler = Ruler(text)
    limit = max(size - overlap, 16)
    previous: tuple[int, int] | None = None
    for atoms in _pack(_iterate_atoms(document, ruler, limit), ruler, limit):
        start, end = _trim(text, atoms[0].start, atoms[-1].end)
        if start == end:
            continue
        if overlap and previous and atoms[0].strength < _HEADING:
            yield _find_overlap(text, *previous, overlap=overlap, otherwise=start), end
        else:
            yield start, end
        previous = start, end


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def _find_overlap(text: str, start: int, end: int, *, overlap: int, otherwise: int) -> int:
    """Return where the last sentences of a span begin that together stay within the overlap."""
    begin = otherwise
    for first, _ in reversed(split_sentences(text[start:end])):
        if estimate_tokens(text[start + first : end]) > overlap:
            break
        begin = start + first
    return begin


def _iterate_atoms(document: Document, ruler: Ruler, size: int) -> Iterator[_Atom]:
    """Yield the parts of a document that are within the size, in order, each as large as its borders allow."""
    text, position, strength = document.text, 0, _PAGE
    for start, end, edge in _list_edges(document):
        if start > position:
            yield from _split(text, position, start, ruler=ruler, size=size, level=0, strength=strength)
            strength = edge
        else:
            strength = max(strength, edge)
        position = max(position, start)
        if start < end and position < end and (cost := ruler.measure(position, end)) <= size / _TINY:
            yield _Atom(position, end, cost, strength, True)
            position, strength = end, _BODY
    yield from _split(text, position, len(text), ruler=ruler, size=size, level=0, strength=strength)


def _list_edges(document: Document) -> list[tuple[int, int, int]]:
    """List headings' lines and the starts of slides or sheets as (start, end, strength), in order."""
    edges = [(mark.start, mark.end, _HEADING + max(0, 10 - mark.level)) for mark in _list_marks(document)]
    if document.kind in _PAGED:
        edges += [(start, start, _PAGE) for start in document.pages]
    return sorted(edges)


def _list_marks(document: Document) -> list[_Mark]:
    text, marks, stack = document.text, [], list[tuple[int, str]]()
    for heading in sorted(document.headings, key=lambda heading: heading.start):
        start = text.rfind("\n", 0, heading.start) + 1
        end = text.find("\n", heading.start)
        while stack and stack[-1][0] >= heading.level:
            stack.pop()
        stack.append((heading.level, " ".join(heading.title.split())))
        path = tuple(title for _, title in stack if title)
        marks.append(_Mark(start, len(text) if end < 0 else end, heading.level, path))
    return marks


def _split(text: str, start: int, end: int, *, ruler: Ruler, size: float, level: int, strength: int) -> Iterator[_Atom]:
    """Yield a stretch whole if it is within the size, else its parts at the next weaker kind of border."""
    cost = ruler.measure(start, end)
    if cost <= size or level > len(_BORDERS):
        if not text[start:end].isspace() and start < end:
            yield _Atom(start, end, cost, strength)
        return
    for first, last in _iterate_parts(text, start, end, level):
        yield from _split(text, first, last, ruler=ruler, size=size, level=level + 1, strength=strength)
        strength = _BODY - level


def _iterate_parts(text: str, start: int, end: int, level: int) -> Iterator[tuple[int, int]]:
    if level == len(_BORDERS):
        yield from iterate_graphemes(text, start, end)
        return
    border = _BORDERS[level]
    if border is None:
        yield from iterate_sentences(text, start, end)
        return
    begin = start
    for match in border.finditer(text, start, end):
        if begin < match.end() < end and is_grapheme_border(text, match.end()):
            yield begin, match.end()
            begin = match.end()
    yield begin, end


def _pack(atoms: Iterable[_Atom], ruler: Ruler, size: int) -> Iterator[list[_Atom]]:
    """Join neighbouring atoms up to the size, cutting at the strongest border of the last part of each."""
    held: list[_Atom] = []
    pending: list[_Atom] = []
    filled = 0.0
    for atom in atoms:
        if pending and _closes(pending, filled, atom, size=size):
            *done, held = _settle(held, pending, size=size)
            yield from done
            if atom.strength >= _PAGE:
                yield held
                held = []
            pending, filled = [], 0.0
        for piece in _refine(atom, filled, ruler=ruler, size=size):
            while pending and filled + piece.cost > _limit(filled, size):
                if held:
                    yield held
                index = _find_cut(pending, piece, size=size)
                held, pending = pending[:index], pending[index:]
                filled = sum(part.cost for part in pending)
            pending.append(piece)
            filled += piece.cost
    if pending or held:
        yield from _settle(held, pending, size=size)


def _limit(filled: float, size: int) -> float:
    return size + size / _SLACK if filled < size / _TINY else size


def _refine(atom: _Atom, filled: float, *, ruler: Ruler, size: int) -> Iterable[_Atom]:
    """Cut an atom smaller where what waits before it is too little for a passage of its own."""
    if not 0 < filled < size / _TINY or filled + atom.cost <= _limit(filled, size) or atom.strength >= _HEADING:
        return (atom,)
    return _split(ruler.text, atom.start, atom.end, ruler=ruler, size=size / 2, level=0, strength=atom.strength)


def _closes(pending: list[_Atom], filled: float, atom: _Atom, *, size: int) -> bool:
    """Tell whether a heading or page ends the passage; a tiny section goes on into the next one beside or below it."""
    if atom.strength >= _PAGE or atom.strength < _HEADING:
        return atom.strength >= _PAGE
    if pending[-1].is_heading:
        return False
    return filled >= size / _TINY or atom.strength > pending[0].strength


def _find_cut(pending: list[_Atom], coming: _Atom, *, size: int) -> int:
    """Return the index before which to cut: the strongest border in the last 40 %, the latest of equals."""
    best, index, filled = -1, len(pending), 0.0
    for i, atom in enumerate(pending):
        filled += atom.cost
        following = pending[i + 1] if i + 1 < len(pending) else coming
        if filled >= 0.6 * size and not atom.is_heading and following.strength >= best:
            best, index = following.strength, i + 1
    return index


def _settle(held: list[_Atom], pending: list[_Atom], *, size: int) -> Iterator[list[_Atom]]:
    """Yield the last two passages of a stretch, with a tiny tail joined or shared evenly."""
    if not held or not pending:
        yield held or pending
        return
    tail = sum(atom.cost for atom in pending)
    whole = tail + sum(atom.cost for atom in held)
    if tail < size / _TINY and pending[0].strength < _PAGE:
        joined = held + pending
        if whole <= size + size / _SLACK:
            yield joined
            return
        if pending[0].strength < _HEADING:
            index = _find_middle(joined, whole)
            held, pending = joined[:index], joined[index:]
    yield held
    yield pending


def _find_middle(atoms: list[_Atom], whole: float) -> int:
    """Return the index of the best border between three and seven tenths, the last atom's if there is none."""
    best, index, filled = (-1, 0.0), len(atoms) - 1, 0.0
    for i, atom in enumerate(atoms[:-1]):
        filled += atom.cost
        rank = (atoms[i + 1].strength, -abs(filled - whole / 2))
        if 0.3 * whole <= filled <= 0.7 * whole and not atom.is_heading and rank > best:
            best, index = rank, i + 1
    return index


def describe_spans(document: Document, spans: Iterable[tuple[int, int]]) -> Iterator[Passage]:
    """Yield the passages of spans, with page, line and heading, without a language."""
    text, marks = document.text, _list_marks(document)
    starts = [mark.start for mark in marks]
    line, counted = 1, 0
    for ordinal, (start, end) in enumerate(spans):
        if document.lines:
            line += text.count("\n", counted, start) if start >= counted else -text.count("\n", start, counted)
            counted = start
        page = bisect_right(document.pages, start)
        first = document.pages[page - 1] if page and document.kind in _PAGED else 0  # a slide without a title has none
        above = max(0, bisect_right(starts, start) - 1)
        paths = [mark.path for mark in marks[above : bisect_left(starts, end)] if mark.start >= first]
        yield Passage(
            ordinal=ordinal,
            start=start,
            end=end,
            text=text[start:end],
            page=max(1, page) if document.pages else None,
            line=line if document.lines else None,
            heading=_format_path(_find_common(paths), document.title) if starts and starts[above] <= start else "",
            language="",
        )


def _find_common(paths: list[tuple[str, ...]]) -> tuple[str, ...]:
    """Return what all paths begin with: the headings that hold for the whole of a passage that small sections share."""
    return tuple(level[0] for level in takewhile(lambda level: len(set(level)) == 1, zip(*paths, strict=False)))


def _format_path(path: tuple[str, ...], title: str) -> str:
    """Join a path, without the document's title at its head, keeping the inner headings if it is too long."""
    if path and path[0].casefold() == " ".join(title.split()).casefold():
        path = path[1:]
    while len(path) > 1 and len(" › ".join(path)) > _LONGEST_PATH:
        path = path[1:]
    joined = " › ".join(path)
    return joined if len(joined) <= _LONGEST_PATH else joined[: _LONGEST_PATH - 1].rstrip() + "…"
