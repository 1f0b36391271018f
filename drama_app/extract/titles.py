"""Tells titles that people gave from those that programs left behind.

Owns the judgement on metadata titles; does not look for titles in text.
"""

import re

from drama_app.extract.clean import clean_line

MAX_TITLE = 300
"""Characters; longer "titles" are abstracts or key words."""

_LEFT_BEHIND = re.compile(
    r"(?:microsoft (?:word|powerpoint|excel|office \w+)\b.*"
    r"|(?:powerpoint|slide|google slides) ?(?:presentation|show)?"
    r"|powerpoint[- ]?präsentation|présentation powerpoint|presentación de powerpoint|презентация powerpoint"
    r"|(?:untitled|unbenannt|sans titre|sin título|senza titolo|ohne titel|без названия|無題|无标题|제목 없음)\W*\d*"
    r"|(?:new |neues )?(?:microsoft )?(?:word |office )?(?:document|dokument|documento)\W*\d*"
    r"|title|no title|none|null|\(?(?:anonymous|unspecified)\)?|.*\(use style: .*\)"
    r"|print|full page|layout \d+|scan\w*\W*\d*|img\W*\d+|slide \d+|about:blank"
    r"|(?:https?|file)://.*|[a-z]:\\.*"
    r"|.*\.(?:docx?|dot[xm]?|rtf|odt|pptx?|xlsx?|indd|qxd|qxp|pdf|tex|dvi|ps|eps|txt|wpd|pages|pmd|fm|html?|cdr|ai))",
    re.IGNORECASE,
)
_LETTER = re.compile(r"[^\W\d_]")


def choose_title(*candidates: str) -> str:
    """Return the first candidate that a person may have written as a title, "" if none."""
    return next((title for title in map(clean_line, candidates) if _is_sensible(title)), "")


def _is_sensible(title: str) -> bool:
    """Return whether a cleaned line reads like a title."""
    if not 1 < len(title) <= MAX_TITLE or _LEFT_BEHIND.fullmatch(title):
        return False
    if "\ufffd" in title or title.startswith(("<", "{", "þÿ")):
        return False
    return len(_LETTER.findall(title)) >= 2
