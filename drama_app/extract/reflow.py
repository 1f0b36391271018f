"""Turns the lines of a laid-out page back into paragraphs.

Owns what pages do to text: wrapped lines, hyphens at their ends, ligatures, glyph names for letters, running headers
and footers. Works on strings only; when in doubt a line stays a line.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

SHORT_LINE = 35
"""Characters; where even the long lines are shorter, they are rows of a form and not wrapped text."""
SHORT_LINE_DENSE = 15
"""The same for scripts that need fewer characters a line."""
FULL_SHARE = 0.75
"""A line shorter than this share of a full one ends where its writer ended it."""
RUNNING_PAGES = 4
"""From this many pages on, a line that stands at the edge of most of them is a running header."""
MAX_RUNNING = 120
"""Characters of a running header."""

_COMPATIBILITY = re.compile("[\ufb00-\ufb06\ufb13-\ufb17\ufb1d-\ufb4f\ufb50-\ufdfb\ufe70-\ufefc\u2f00-\u2fd5]+")
_GLYPH_NAME = re.compile(r"(?:/(?:g|cid|glyph|gid|index|uni|C|G)\d{1,5})+")
_PRIVATE = re.compile("[\ue000-\uf8ff\U000f0000-\U0010fffd\ufffd]+")
_LOOSE_ACCENT = re.compile("([\u00a8\u00b4\u02c7\u02da])([A-Za-z\u0131])(?=\\w|\\b)")
_COMBINING = {"\u00a8": "\u0308", "\u00b4": "\u0301", "\u02c7": "\u030c", "\u02da": "\u030a"}
_SPACES = re.compile(r"[ \t\u00a0\u2000-\u200a\u3000]+")
_LEADERS = re.compile(r"(?:[ ]?[._·…]){5,}[ ]?")
_DROPPED_CAPITAL = re.compile(r"(?m)^([B-HJ-Z])[ ]?\n(?=[a-z]{2})")
_ITEM = re.compile(
    r"(?:[•◦▪▫●○■□◆◇►▶※‣∙·*–—-]|\(?(?:\d{1,3}(?:\.\d{1,3})*|[a-zA-Z]|[ivx]{1,5})[.)]|\d{1,2}(?:\.\d{1,2})+)\s"
)
_SENTENCE_END = tuple('.!?:;。！？।؟…”"»')
_HYPHENS = "-\u2010\u00ad"
_DENSE = re.compile("[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uff60\u3001-\u301f\U00020000-\U0003ffff]")
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")
_HANGUL = re.compile("[\uac00-\ud7a3\u1100-\u11ff]")
_DIGITS = re.compile(r"\d+")
_PAGE = (
    "(?:pages?|seite|página|pagina|sida|side|sivu|strona|strana|oldal|страница|сторінка|σελίδα|sayfa|trang|halaman"
    "|صفحة|עמוד)"
)
# A number behind a word is the page's only where it says so: "Lesson 3" and "Invoice 17" count up with the pages too.
_PAGE_NUMBER = re.compile(
    rf"^\W{{0,3}}(\d{{1,5}})(?=\s)|(?<!\w){_PAGE}[\W_]{{0,3}}(\d{{1,5}})(?!\w|[.,:-]\d)"
    r"|(?:^|[|·•]\s?)(?:pp?|pg|pag|pág|s|str|стр)\.\s?(\d{1,5})(?!\w|[.,:-]\d)"
    rf"|(?<![\w.,:/-])(\d{{1,5}})\.?\s?{_PAGE}(?!\w)|(\d{{1,5}})\s?(?:页|頁|ページ|쪽|페이지)"
    r"|[|·•]\s?(\d{1,5})$|[-–—]\s?(\d{1,5})\s?[-–—]$"
)
_LONE_NUMBER = re.compile(r"^[-–—|·•\[\s]{0,4}(\d{1,5})(?:\s?/\s?\d{1,5})?[-–—|·•\]\s]{0,4}$")

_Key = tuple[str, str, int]
_Shown = tuple[str, str]
_Edge = tuple[int, list[tuple[_Key, _Shown]]]
"""The line's index and how it may be read."""


def split_page(text: str) -> list[str]:
    """Return a page's lines with letters as letters; a line's trailing space is kept, since it tells words apart."""
    if len(_GLYPH_NAME.findall(text)) >= 5:
        text = _GLYPH_NAME.sub(" ", text)
    text = _PRIVATE.sub(" ", text)
    text = _COMPATIBILITY.sub(lambda match: unicodedata.normalize("NFKC", match[0]), text)
    text = _LOOSE_ACCENT.sub(_compose, text)
    text = _DROPPED_CAPITAL.sub(r"\1", text)
    lines = (_SPACES.sub(" ", _LEADERS.sub(" … ", line)) for line in text.split("\n"))
    return [line.lstrip() for line in lines]


def drop_running(pages: Sequence[list[str]]) -> list[list[str]]:
    """Return the pages' lines with each running header and footer only where it first stands.

    A line of digits alone goes only as a page number, and no page is left empty: equal pages are no headers.
    """
    edges = [_list_edges(lines, number) for number, lines in enumerate(pages)]
    running = _find_running(edges)
    seen: set[_Shown] = set()
    kept = []
    for lines, found in zip(pages, edges, strict=True):
        repeated: set[int] = set()
        numbers: set[_Shown] = set()
        for index, readings in found:
            shown = {text for key, text in readings if key in running and text in seen}
            # One number a page is the page's: an equal one that stands further in is a value.
            if shown - numbers:
                repeated.add(index)
                numbers.update(text for text in shown if not any(map(str.isalpha, "".join(text))))
        seen.update(text for _, readings in found for key, text in readings if key in running)
        rest = [line for index, line in enumerate(lines) if index not in repeated]
        kept.append(rest if any(map(str.strip, rest)) else list(lines))
    return kept


def _find_running(edges: Sequence[Sequence[_Edge]]) -> set[_Key]:
    """Return the keys of lines that stand at the top or bottom of most pages."""
    if len(edges) < RUNNING_PAGES:
        return set()
    counts: Counter[_Key] = Counter()
    for found in edges:
        counts.update({key for _, readings in found for key, _ in readings})
    filled = sum(map(bool, edges))
    # Where a file leaves blank pages out, its numbers run ahead of its pages, by one constant after another.
    often = {key: count for key, count in counts.items() if count >= RUNNING_PAGES}
    totals: Counter[_Shown] = Counter()
    for (before, after, _), count in often.items():
        totals[before, after] += count
    # Left and right pages may differ: a line on 40 % of the pages is still no accident.
    return {key for key in often if totals[key[:2]] >= 0.4 * filled}


def _list_edges(lines: Sequence[str], page: int) -> list[_Edge]:
    """Return the first two and last two filled lines, the outer ones first, as far as they may be running headers."""
    filled = [index for index, line in enumerate(lines) if line.strip()]
    order = [0, -1, 1, -2][: len(filled)]
    places = dict.fromkeys(filled[place] for place in order)
    return [(index, _read_edge(lines[index] if len(lines[index]) <= MAX_RUNNING else "", page)) for index in places]


def _read_edge(line: str, page: int) -> list[tuple[_Key, _Shown]]:
    """Return the ways to take a line as a running header: as it stands, or with a number that counts the pages.

    The key tells which pages bear the same header, whatever chapter it names; the text, what is lost with the line.
    """
    text = line.strip().casefold()
    has_letters = any(map(str.isalpha, text))
    readings: list[tuple[_Key, _Shown]] = [((text, "", 0), (text, ""))] if has_letters else []
    for match in _PAGE_NUMBER.finditer(text) if has_letters else _LONE_NUMBER.finditer(text):
        start, end = match.span(match.lastindex or 0)
        before, after = text[:start], text[end:]
        offset = int(text[start:end]) - page
        readings.append(((_DIGITS.sub("#", before), _DIGITS.sub("#", after), offset), (before, after)))
    return readings


def reflow(lines: Sequence[str]) -> list[str]:
    """Return the paragraphs of a stretch of lines; a paragraph keeps the line breaks that carry meaning."""
    lengths = sorted(len(line.strip()) for line in lines if line.strip())
    full = lengths[min(len(lengths) - 1, int(0.8 * len(lengths)))] if lengths else 0
    spaced = any(line.endswith(" ") and _HANGUL.search(line[-2:]) for line in lines)
    paragraphs: list[str] = []
    previous = ""
    for index, line in enumerate(lines):
        # A column is narrower than the page's widest lines: what counts as full is what is full nearby.
        nearby = max((len(near.strip()) for near in lines[max(0, index - 3) : index + 2]), default=0)
        if not line.strip():
            previous = ""
        elif not previous:
            paragraphs.append(line)
            previous = line
        else:
            if _continues(previous, line, min(full, nearby)):
                paragraphs[-1] = _join(paragraphs[-1], line, hangul_as_is=spaced)
            elif previous.rstrip().endswith(_SENTENCE_END[:6]) and not _ITEM.match(line):
                paragraphs.append(line)
            else:
                paragraphs[-1] = f"{paragraphs[-1].rstrip()}\n{line}"
            previous = line
    return [paragraph.strip() for paragraph in paragraphs]


def _continues(previous: str, line: str, full: int) -> bool:
    """Return whether a line goes on where the one before it was wrapped."""
    before = previous.rstrip()
    if _ITEM.match(line) or " … " in line or " … " in previous:
        return False
    if before[-1] in _HYPHENS and before[-2:-1].isalpha() and line[:1].isalpha():
        return True
    dense = bool(_DENSE.search(before) or _HANGUL.search(before))
    if full < (SHORT_LINE_DENSE if dense else SHORT_LINE):
        return False
    ended = before.endswith(_SENTENCE_END)
    if len(before) < FULL_SHARE * full:
        return line[:1].islower() and not ended and len(before) > SHORT_LINE
    if ended and len(before) < 0.9 * full:
        return False
    return not (before[-1].isdigit() and (line[:1].isupper() or line[:1].isdigit()))


def _join(text: str, line: str, *, hangul_as_is: bool) -> str:
    """Return the text with a wrapped line added, words as they were before the wrap."""
    spaced = text.endswith(" ")
    text = text.rstrip()
    last, first = text[-1], line[0]
    if last in _HYPHENS and text[-2:-1].isalpha() and first.isalpha():
        dropped = last == "\u00ad" or (first.islower() and not _is_compound(text))
        return (text[:-1] if dropped else text) + line
    if _DENSE.match(last) and _DENSE.match(first):
        return text + line
    if _UNSPACED.match(last) and _UNSPACED.match(first):
        return text + line
    if hangul_as_is and not spaced and _HANGUL.match(last) and _HANGUL.match(first):
        return text + line
    return f"{text} {line}"


def _is_compound(text: str) -> bool:
    """Return whether the word that ends with a hyphen has others: typesetters break such words nowhere else.

    "self-" at the end of a line could be either; "state-of-the-" is no part of a longer word.
    """
    word = text.rsplit(None, 1)[-1].strip(_HYPHENS)
    return "-" in word or "\u2010" in word


def _compose(match: "re.Match[str]") -> str:
    """Return a letter with the accent that stands loose before it, both unchanged if there is no such letter."""
    letter = "i" if match[2] == "\u0131" else match[2]
    composed = unicodedata.normalize("NFC", letter + _COMBINING[match[1]])
    return composed if len(composed) == 1 else match[0]
