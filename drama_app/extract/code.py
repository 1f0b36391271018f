"""Reads source code and scripts as they are; definitions become headings."""

import re
from collections.abc import Iterator

from drama_app.extract.builder import build_from_lines, split_lines
from drama_app.extract.encoding import read_text
from drama_app.extract.source import Source
from drama_app.records import Document

_DEFINITION = re.compile(
    r"""(?P<indent>\s*)
    (?:(?:export|default|public|private|protected|internal|static|abstract|final|sealed|async|pub(?:\([a-z]+\))?
        |partial|open|data|override|inline|unsafe|local|declare)\s+)*
    (?P<title>(?:class|interface|struct|enum|trait|impl|namespace|module|protocol|object|record
        |def|func|fun|function\*?|fn|sub|procedure|proc|defmodule|defp?)
        \s+(?:\([^)]{0,80}\)\s*)?[\w.~-]+(?:::[\w~]+)*)
    """,
    re.VERBOSE,
)
_SQL_DEFINITION = re.compile(
    r"(?P<indent>\s*)(?P<title>create\s+(?:or\s+replace\s+)?(?:temp(?:orary)?\s+)?"
    r"(?:table|view|function|procedure|trigger|type)\s+(?:if\s+not\s+exists\s+)?[\w.\"`\[\]]+)",
    re.IGNORECASE,
)
_SHELL_DEFINITION = re.compile(r"(?P<indent>\s*)(?P<title>[\w-]+\s?\(\))\s*\{?\s*$")
_SHELL = (".sh", ".bash", ".zsh", ".ksh", "")
_MAX_HEADED_LINE = 400
"""Longer lines are minified or data; a definition there says nothing of structure."""


def read_code(source: Source) -> Document:
    """Return a source file with its lines; classes and functions are headings, nested ones a level lower."""
    decoded = read_text(source)
    lines = split_lines(decoded.text)
    headings = _find_definitions(lines, source.suffix)
    return build_from_lines(lines, "code", headings=headings, notes=decoded.notes)


def _find_definitions(lines: list[str], suffix: str) -> Iterator[tuple[int, int, str]]:
    """Yield (line index, level, title) of the definitions that start a line."""
    if suffix == ".sql":
        patterns = [_SQL_DEFINITION]
    elif suffix in _SHELL:
        patterns = [_DEFINITION, _SHELL_DEFINITION]
    else:
        patterns = [_DEFINITION]
    for index, line in enumerate(lines):
        if not line or len(line) > _MAX_HEADED_LINE:
            continue
        for pattern in patterns:
            match = pattern.match(line)
            if match:
                yield index, 2 if match.group("indent") else 1, match.group("title")
                break
