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


def _find_running(pages: Sequence[Sequence[str]]) -> set[str]:
    """Return the keys of lines that stand at the top or bottom of most pages, page numbers apart."""
    if len(pages) < RUNNING_PAGES:
        return set()
    counts: Counter[str] = Counter()
    for lines in pages:
        counts.update({_get_running_key(line) for line in _list_edges(lines)})
    filled = sum(any(line.strip() for line in lines) for lines in pages)
    # Left and right pages may differ: a line on 40 % of the pages is still no accident.
    return {key for key, count in counts.items() if count >= RUNNING_PAGES and count >= 0.4 * filled}


def drop_running(pages: Sequence[list[str]]) -> list[list[str]]:
    """Return the pages' lines with each running header and footer only where it first stands."""
    running = _find_running(pages)
    seen: set[str] = set()
    kept = []
    for lines in pages:
        edges = {id(line): _get_running_key(line) for line in _list_edges(lines)}
        repeated = {line for line, key in edges.items() if key in seen}
        seen.update(key for key in edges.values() if key in running)
        kept.append([line for line in lines if id(line) not in repeated])
    return kept


def _get_running_key(line: str) -> str:
    """Return what a running header has in common on all its pages: everything but numbers."""
    return _DIGITS.sub("#", line.strip().casefold())


def _list_edges(lines: Sequence[str]) -> list[str]:
    """Return the first two and last two filled lines that are short enough for a running header."""
    filled = [line for line in lines if line.strip()]
    edges = filled[:2] + filled[max(2, len(filled) - 2) :]
    return [line for line in edges if len(line) <= MAX_RUNNING]


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
        return (text[:-1] if first.islower() or last == "\u00ad" else text) + line
    if _DENSE.match(last) and _DENSE.match(first):
        return text + line
    if _UNSPACED.match(last) and _UNSPACED.match(first):
        return text + line
    if hangul_as_is and not spaced and _HANGUL.match(last) and _HANGUL.match(first):
        return text + line
    return f"{text} {line}"


def _compose(match: "re.Match[str]") -> str:
    """Return a letter with the accent that stands loose before it, both unchanged if there is no such letter."""
    letter = "i" if match[2] == "\u0131" else match[2]
    composed = unicodedata.normalize("NFC", letter + _COMBINING[match[1]])
    return composed if len(composed) == 1 else match[0]
