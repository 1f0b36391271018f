"""Reads markup that is meant to be read as it stands: Markdown, reStructuredText, Org.

Lines stay those of the file. Heading lines lose their marks, embedded images their data, the rest stays as written.
"""

import re
from collections.abc import Iterator

from drama_app.extract.builder import build_from_lines, split_lines
from drama_app.extract.encoding import Decoded, read_text
from drama_app.extract.source import Source
from drama_app.records import Document

_Heading = tuple[int, int, str]

_MAX_HEADING = 500
"""Characters; a longer line is no heading, and matching one would take time that grows with its square."""

_EMBEDDED_DATA = re.compile(r"data:[\w/+.-]+;base64,[A-Za-z0-9+/=]{40,}")
_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_SETEXT = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_NOT_SETEXT = re.compile(r"\s*$|\s*[-*+>|#]|\s*\d+[.)]\s| {4}|\t")
_FENCE = re.compile(r"[\s>]*(`{3,}(?=[^`]*$)|~{3,})")  # ```code``` on one line is no fence
_INLINE_LINK = re.compile(r"!?\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])")
_CODE_SPAN = re.compile(r"(?<!`)(`{1,9})(?!`)(.+?)(?<!`)\1(?!`)")
_KEPT_CODE = re.compile(r"\x00(\d+)\x00")
# By the letter "__init__" is bold; whoever writes it means the name.
_INLINE_MARKS = re.compile(
    r"(\*\*|\*|~~|(?<!\w)__(?![a-z][a-z0-9_]*__(?!\w)))(?=\S)(.+?)(?<=\S)\1(?!(?<=_)\w)",
)
_ATTRIBUTES = re.compile(r"\s*\{[#.:][^}]*\}\s*$")
# Only what is HTML: "Vec<String>" and "<name>" are the heading's words.
_HTML_TAG = re.compile(
    r"<!--.{0,200}?-->|<(?i:a|font|img|source|div|span|p|h[1-6])\s[^<>]{1,300}>|</(?i:a|font|div|span|h[1-6])>"
    r"|</?(?:b|big|br|BR|center|code|del|div|em|i|ins|kbd|mark|p|picture|q|s|samp|small|span|strong|sub|sup|u|var)\s?/?>"
)
_FRONT_TITLE = re.compile(r"""\s*title\s*[:=]\s*(.+?)\s*$""", re.IGNORECASE)
_RST_RULE = re.compile(r"([!-/:-@\[-`{-~])\1{2,}\s*$")
_ORG_HEADING = re.compile(
    r"(\*+)\s+(?:(?:TODO|DONE|NEXT|WAITING|CANCELLED)\s+)?(?:\[#[A-Z]\]\s+)?(.*?)(?:\s+:[\w@#%:]+:)?\s*$"
)
_ORG_TITLE = re.compile(r"#\+title:\s*(.+)", re.IGNORECASE)


def read_markdown(source: Source) -> Document:
    """Return a Markdown file: ATX and setext headings, title from its front matter or first heading."""
    decoded, lines = _read_lines(source)
    body, title = _read_front_matter(lines)
    return _finish(lines, "markdown", title, _find_markdown_headings(lines, body), decoded)


def read_rst(source: Source) -> Document:
    """Return a reStructuredText file; levels go by the order in which underlines first appear."""
    decoded, lines = _read_lines(source)
    return _finish(lines, "rst", "", _find_rst_headings(lines), decoded)


def read_org(source: Source) -> Document:
    """Return an Org file."""
    decoded, lines = _read_lines(source)
    title = next((match.group(1) for line in lines[:100] if (match := _ORG_TITLE.match(line[:_MAX_HEADING]))), "")
    return _finish(lines, "org", title, _find_org_headings(lines), decoded)


def find_markdown_headings(lines: list[str]) -> Iterator[_Heading]:
    """Yield (line index, level, title) of a piece of Markdown and strip those lines of their marks."""
    return _find_markdown_headings(lines, 0)


def _read_lines(source: Source) -> tuple[Decoded, list[str]]:
    decoded = read_text(source)
    return decoded, split_lines(_EMBEDDED_DATA.sub("", decoded.text))


def _finish(lines: list[str], kind: str, title: str, found: Iterator[_Heading], decoded: Decoded) -> Document:
    """Build the document; without a title of its own the first heading of the highest level is it."""
    headings = list(found)
    if not title and headings:
        title = min(headings[:20], key=lambda heading: heading[1])[2]
    return build_from_lines(lines, kind, title=title, headings=headings, notes=decoded.notes)


def _read_front_matter(lines: list[str]) -> tuple[int, str]:
    """Return the index of the first line after the front matter, and its title."""
    if not lines or lines[0].strip() not in ("---", "+++"):
        return 0, ""
    fence, title = lines[0].strip(), ""
    for index, line in enumerate(lines[1:200], start=1):
        if line.strip() == fence or (fence == "---" and line.strip() == "..."):
            return index + 1, title
        match = _FRONT_TITLE.match(line[:_MAX_HEADING])
        if match and not title:
            title = match.group(1).strip("\"'")
    return 0, ""


def _find_markdown_headings(lines: list[str], first: int) -> Iterator[_Heading]:
    """Yield headings outside fences and write their plain title into `lines`."""
    fence = ""
    for index in range(first, len(lines)):
        line = lines[index]
        mark = _FENCE.match(line)
        if mark and (not fence or mark.group(1).startswith(fence)):
            fence = "" if fence else mark.group(1)
            continue
        if fence or len(line) > _MAX_HEADING:
            continue
        atx = _ATX.match(line)
        if atx:
            level, title = len(atx.group(1)), _strip_inline(atx.group(2) or "")
        elif _is_setext(lines, index, first):
            level, title = (1 if "=" in lines[index + 1] else 2), _strip_inline(line)
        else:
            continue
        if title:
            lines[index] = title
            yield index, level, title


def _is_setext(lines: list[str], index: int, first: int) -> bool:
    """True if the line is one paragraph line, underlined by the next."""
    return (
        index + 1 < len(lines)
        and _SETEXT.match(lines[index + 1]) is not None
        and not _NOT_SETEXT.match(lines[index])
        and (index == first or not lines[index - 1].strip() or _FENCE.match(lines[index - 1]) is not None)
    )


def _strip_inline(title: str) -> str:
    """Return a heading without links, emphasis, code marks, tags and attributes; code itself stays as written."""
    codes: list[str] = []

    def keep(code: re.Match[str]) -> str:
        codes.append(code.group(2).strip())
        return f"\x00{len(codes) - 1}\x00"

    title = _CODE_SPAN.sub(keep, _ATTRIBUTES.sub("", title.replace("\x00", "")))
    title = _INLINE_LINK.sub(r"\1", _HTML_TAG.sub("", title))
    title = _INLINE_MARKS.sub(r"\2", _INLINE_MARKS.sub(r"\2", title))
    return _KEPT_CODE.sub(lambda match: codes[int(match.group(1))], title).strip()


def _find_rst_headings(lines: list[str]) -> Iterator[_Heading]:
    """Yield underlined titles, with or without an overline."""
    styles: list[tuple[str, bool]] = []
    for index in range(len(lines) - 1):
        title, rule = lines[index].strip(), lines[index + 1]
        if not title or not _RST_RULE.match(rule) or _RST_RULE.match(lines[index]):
            continue
        above = lines[index - 1] if index else ""
        overlined = above.strip() == rule.strip()
        if len(rule.rstrip()) < len(title) * 0.8 or (above.strip() and not overlined):
            continue
        style = (rule[0], overlined)
        if style not in styles:
            styles.append(style)
        yield index, styles.index(style) + 1, title


def _find_org_headings(lines: list[str]) -> Iterator[_Heading]:
    """Yield starred headings outside blocks, without keywords, priorities and tags."""
    in_block = False
    for index, line in enumerate(lines):
        lowered = line.lstrip().lower()
        if lowered.startswith("#+begin_"):
            in_block = True
        elif lowered.startswith("#+end_"):
            in_block = False
        match = None if in_block or len(line) > _MAX_HEADING else _ORG_HEADING.match(line)
        if match and match.group(2):
            yield index, len(match.group(1)), match.group(2)
