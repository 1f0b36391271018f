"""Where sentences begin and end, in any script.

Owns the rules for sentence ends and the smallest safe cut, a grapheme border. It knows no language and
keeps no word lists beyond common abbreviations: a wrong border costs a slightly odd passage, never text.
"""

from collections.abc import Iterator

import regex

LONGEST = 1000
"""Characters; a longer sentence is cut at its last space, or at a grapheme border where it has none."""

_LEAST_SPACED = 40
"""Characters of Thai, Lao or Khmer before a space ends a piece: their spaces part clauses of 5 to 30 characters."""

_LONGEST_GRAPHEME = 64
"""Code points; a heap of combining marks longer than this is cut inside, no language writes one."""

_ABBREVIATIONS = """
 a.m abb abs al approx apr art asst aug av ave bd bl bros bzw ca cap cf cfr ch chap co col corp d.h dec dept dr dra
 e.g ed eds eg eq esp est etc evtl ex feb ff fig figs fr gen ggf gov hon hr i.e ibid ie inc jan jr kap lt ltd m.in
 max messrs mgr mio mln mme mr mrd mrs ms mt mx nov np nr nro num oct okt op p.m pag par ph prof pp rep rev s.a sen
 sep sept sgt sr sra st str tel tzn u.a u.s usw v.a vgl vol vs z.b zb zzgl г гг д др ул см стр тыс т.д т.п т.е т.к
 η.π κ.λπ
""".replace("\n", " ")

_CLOSERS = r"""["'»”’›\)\]\}）」』】〉》〕］｝]*"""

_BORDER = regex.compile(
    rf"""(?V1)
      (?P<newline>\n+(?!\p{{Ll}}))
    | (?P<full>[\p{{Sentence_Terminal}}--[.!?．]]+{_CLOSERS})
    | (?P<stop>[.!?．…]+{_CLOSERS})(?=\s|\Z)
    | (?P<spaced>(?<=[\u0e00-\u0eff\u1780-\u17ff])\p{{Zs}}+(?=[\u0e00-\u0eff\u1780-\u17ff]))
    """,
    regex.VERBOSE,
)
_WORD_BEFORE = regex.compile(r"(?r)[\p{L}\p{M}\p{N}.]*")
_AFTER = regex.compile(r"\s*+(?P<next>.)?", regex.DOTALL)
_SPACE = regex.compile(r"(?r)\s")
_GRAPHEMES = regex.compile(rf"\X{{1,{_LONGEST_GRAPHEME}}}+")


def split_sentences(text: str) -> list[tuple[int, int]]:
    """Return the sentences of a text as (start, end) offsets, in order, without white space at their ends.

    Together they hold every character that is not white space. Linear in the length of the text.
    """
    return list(iterate_sentences(text, 0, len(text)))


def iterate_sentences(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the sentences between two offsets of a text, as `split_sentences` does for the whole."""
    begin = start
    for border in _find_borders(text, start, end):
        yield from _cut_long(text, begin, border)
        begin = border
    yield from _cut_long(text, begin, end)


def is_grapheme_border(text: str, position: int) -> bool:
    """Tell whether a cut after white space or punctuation leaves whole what a reader sees as one character."""
    if position <= 0 or position >= len(text) or text[position] < "\u0300":
        return True
    pair = regex.match(r"\X", text[position - 1 : position + 1])
    return pair is None or pair.end() == 1


def iterate_graphemes(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield short stretches of whole graphemes; only a heap of marks over 64 code points is cut inside."""
    for match in _GRAPHEMES.finditer(text, start, end):
        first, last = match.span()
        if last - first <= 4 * _LONGEST_GRAPHEME:
            yield first, last
            continue
        for piece in range(first, last, _LONGEST_GRAPHEME):
            yield piece, min(piece + _LONGEST_GRAPHEME, last)


def _find_borders(text: str, start: int, end: int) -> Iterator[int]:
    last = start
    for match in _BORDER.finditer(text, start, end):
        border = match.end()
        if match["spaced"] is not None and border - last < _LEAST_SPACED:
            continue
        if match["stop"] is not None and not _is_full_stop(text, match, start, end):
            continue
        if match["full"] is not None and match["full"][0] == "…" and not _begins_sentence(text, border, end):
            continue
        if is_grapheme_border(text, border):
            yield border
            last = border


def _is_full_stop(text: str, match: "regex.Match[str]", start: int, end: int) -> bool:
    """Tell a full stop from the dot of an abbreviation, an initial or an ordinal."""
    if not _begins_sentence(text, match.end(), end):
        return False
    if match["stop"][0] != "." or match["stop"].startswith(".."):
        return True
    before = _WORD_BEFORE.match(text, max(start, match.start() - 24), match.start())
    word = before[0] if before else ""
    if word.isdigit():
        return len(word) > 2
    if len(word) == 1 and word.isupper():
        return False
    return f" {word.casefold()} " not in _ABBREVIATIONS


def _begins_sentence(text: str, position: int, end: int) -> bool:
    """A sentence does not begin with a small letter."""
    after = _AFTER.match(text, position, min(end, position + 200))
    return after is None or after["next"] is None or not after["next"].islower()


def _cut_long(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while end - start > LONGEST:
        space = _SPACE.search(text, start + LONGEST // 2, start + LONGEST)
        cut = space.end() if space else 0
        if not cut or not is_grapheme_border(text, cut):
            cut = _last_grapheme(text, start, start + LONGEST)
        yield from _trim(text, start, cut)
        start = cut
    yield from _trim(text, start, end)


def _last_grapheme(text: str, start: int, limit: int) -> int:
    """Return the last grapheme border at or before a limit, counted from a known border."""
    cut = start
    for _, last in iterate_graphemes(text, start, min(limit + 4 * _LONGEST_GRAPHEME, len(text))):
        if last > limit:
            break
        cut = last
    return cut if cut > start else limit


def _trim(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if start < end:
        yield start, end
