"""Reads LaTeX: sections as headings, accents as letters, commands stripped; lines stay those of the file.

No TeX engine: macros are not expanded and files are not included. Formulas stay as they are written.
"""

import re
import unicodedata
from collections.abc import Callable

from drama_app.extract.builder import build_from_lines, split_lines
from drama_app.extract.encoding import read_text
from drama_app.extract.source import Source
from drama_app.records import Document

_LEVELS = {"part": 1, "chapter": 1, "section": 2, "subsection": 3, "subsubsection": 4, "paragraph": 5, "frametitle": 3}
_GROUP = r"\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}"
_OPTION = r"(?:\[[^\]]{0,2000}\])"  # unbounded, brackets that are never closed would cost the square of the file
_OPTIONS = r"(?:" + _OPTION + r"\s*)*"  # not \s* on both sides, which divide blank lines in n² ways
_COMMENT = re.compile(
    r"(\\begin\{(?P<kind>verbatim\*?|lstlisting|minted)\}(?:(?!\\begin\{(?P=kind)\}).){0,100000}?\\end\{(?P=kind)\}"
    r"|\\verb\*?(?P<mark>[^\w\s*])[^\n]*?(?P=mark)|\\(?:url|href|path)\s*\{[^{}\n]*\}|\\.)|%[^\n]*",
    re.DOTALL,
)
"""A comment, or what a % may stand in as itself: program text, addresses, a backslash and what it escapes."""
_BEGIN = re.compile(r"\\begin\{document\}")
_END = re.compile(r"\\end\{document\}.*", re.DOTALL)
_TITLE = re.compile(r"\\title\s*" + _OPTION + r"?\s*" + _GROUP)
_KEPT_OF_PREAMBLE = re.compile(r"\\(?:title|subtitle|author|date)\s*" + _OPTION + r"?\s*" + _GROUP)
_SECTION = re.compile(r"\\(" + "|".join(_LEVELS) + r")\*?\s*" + _OPTION + r"?\s*" + _GROUP)
_MATH = re.compile(
    r"(\$\$.{1,5000}?\$\$|\$\$[^$]+\$\$|(?<!\\)\$[^$]+\$"
    r"|(?<!\\)(?:\\\\)*\\\[(?:[^\\]|\\[^\[\]])+\\\]|(?<!\\)(?:\\\\)*\\\((?:[^\\]|\\[^()])+\\\))",
    re.DOTALL,
)
r"""`\\[2pt]` ends a row of a table and opens nothing. None goes on beyond the next one's beginning: what is never
closed cost the square of the file."""
_DROPPED = re.compile(
    r"\\(?:label|ref|eqref|pageref|autoref|cref|Cref|cite[a-z]*\*?|nocite|includegraphics|input|include|usepackage"
    r"|bibliographystyle|bibliography|vspace\*?|hspace\*?|setlength|addtolength|newcommand\*?|renewcommand\*?|hypersetup"
    r"|pagestyle|thispagestyle|setcounter|graphicspath|definecolor|color|begin|end)\s*" + _OPTION + r"*\s*" + _GROUP
    + r"(?:" + _OPTION + r"|\{[clrp|@!>{}.\d\s\\a-z]*\})*"
)  # fmt: skip
# The words stand in the last argument; those before it are lengths, colours and names.
_ONE_BEFORE = re.compile(
    r"\\(?:textcolor|colorbox|parbox|raisebox|scalebox|rotatebox|foreignlanguage|hyperlink|hypertarget)\*?\s*"
    + _OPTIONS + _GROUP + r"\s*" + _OPTIONS + r"(?=\{)"
)  # fmt: skip
_TWO_BEFORE = re.compile(
    r"\\(?:multirow|multicolumn|fcolorbox|resizebox)\*?\s*" + _OPTIONS + _GROUP
    + r"\s*(?:" + _GROUP + r"|\*)\s*" + _OPTIONS + r"(?=\{)"
)  # fmt: skip
_NOTE = re.compile(
    r"\\(?:footnote|footnotetext|marginpar|thanks|todo)(?![a-zA-Z])\s*" + _OPTIONS + r"(?:" + _GROUP + r"|(?=\{))"
)
_FRAME = re.compile(r"\\begin\{frame\}(?:<[^<>]*>)?" + _OPTION + r"*[ \t]*(?=\{)")
_BLOCK = re.compile(r"\\begin\{(?:alert|example)?block\}(?:<[^<>]*>)?[ \t]*(?=\{)")
_STATEMENT = re.compile(
    r"\\begin\{(?:theorem|thm|lemma|lem|proposition|prop|corollary|cor|definition|defn?|example|exercise|remark"
    r"|conjecture|claim|problem|proof)\*?\}[ \t]*\[([^\]]{0,2000})\]",
    re.IGNORECASE,
)
_LINK = re.compile(r"\\href\s*" + _GROUP + r"\s*" + _GROUP)
_COMMAND_WITH_TEXT = re.compile(r"\\[a-zA-Z]+\*?\s*" + _OPTION + r"*\s*" + _GROUP)
_COMMAND = re.compile(r"\\[a-zA-Z]+\*?[ \t]?|\\[,;:!/@*\-+=<>]")
_ACCENT = re.compile(r"""\\([`'^"~=.]|[uvHtcdbrk](?![a-zA-Z]))\s*(?:\{\s*(\\?[a-zA-Z])\s*\}|(\\?[a-zA-Z]))""")
_COMBINING = {
    "`": "\u0300", "'": "\u0301", "^": "\u0302", '"': "\u0308", "~": "\u0303", "=": "\u0304", ".": "\u0307",
    "u": "\u0306", "v": "\u030c", "H": "\u030b", "t": "\u0361", "c": "\u0327", "d": "\u0323", "b": "\u0331",
    "r": "\u030a", "k": "\u0328",
}  # fmt: skip
_LETTERS = {
    "ss": "ß", "ae": "æ", "AE": "Æ", "oe": "œ", "OE": "Œ", "o": "ø", "O": "Ø", "l": "ł", "L": "Ł", "aa": "å",
    "AA": "Å", "i": "ı", "j": "ȷ", "dh": "ð", "th": "þ", "TH": "Þ", "S": "§", "P": "¶", "pounds": "£",
    "euro": "€", "copyright": "©", "ldots": "…", "dots": "…", "textbackslash": "\\", "item": "• ", "LaTeX": "LaTeX",
    "TeX": "TeX", "quad": " ", "qquad": " ", "newline": " ", "textendash": "–", "textemdash": "—", "today": "",
}  # fmt: skip
_LETTER = re.compile(r"\\(" + "|".join(sorted(_LETTERS, key=len, reverse=True)) + r")(?![a-zA-Z])(?:\{\}|[ \t])?")
_PLAIN = (("``", "“"), ("''", "”"), ("---", "—"), ("--", "–"), ("~", " "), ("\\\\", " "), ("&", " "))
_MAX_NESTING = 6


def read_latex(source: Source) -> Document:
    """Return a LaTeX file as text with its sections."""
    decoded = read_text(source)
    text = _drop_comments(_COMMENT.sub(lambda match: match[1] or "", "\n".join(split_lines(decoded.text))))
    match = _TITLE.search(text)
    title = " ".join(_strip_commands(match.group(1)).split()) if match else ""
    text = _FRAME.sub(lambda frame: _keep_lines("\\frametitle", frame.group()), _drop_preamble(text))
    headings: list[tuple[int, int, str]] = []
    text = _SECTION.sub(lambda section: _mark_section(section, headings), text)
    lines = "".join(
        _strip_math(part) if index % 2 else _strip_commands(part) for index, part in enumerate(_MATH.split(text))
    ).split("\n")
    lines, headings = _place_headings(lines, headings)
    return build_from_lines(lines, "latex", title=title, headings=headings, notes=decoded.notes)


def _keep_lines(replacement: str, matched: str) -> str:
    """Return the replacement with as many newlines as it replaces."""
    return replacement + "\n" * max(0, matched.count("\n") - replacement.count("\n"))


def _drop_comments(text: str) -> str:
    """Return the text without comment environments; one that is not closed is text."""
    first, *others = text.split("\\begin{comment}")
    pieces = [first]
    for other in others:
        comment, end, rest = other.partition("\\end{comment}")
        pieces.append("\n" * comment.count("\n") + rest if end else comment)
    return "".join(pieces)


def _drop_preamble(text: str) -> str:
    """Return the document's body on its own lines; of the preamble title, author and date stay."""
    begin = _BEGIN.search(text)
    if begin is None:
        return text
    preamble, body = text[: begin.start()], text[begin.end() :]
    kept = []
    position = 0
    for match in _KEPT_OF_PREAMBLE.finditer(preamble):
        kept.append("\n" * preamble.count("\n", position, match.start()) + match.group())
        position = match.end()
    kept.append("\n" * preamble.count("\n", position))
    return "".join(kept) + _END.sub("", body)


def _mark_section(section: re.Match[str], headings: list[tuple[int, int, str]]) -> str:
    """Note a section and return its title between marks that survive stripping."""
    title = " ".join(_strip_commands(section.group(2)).split())
    headings.append((0, _LEVELS[section.group(1)], title))
    return _keep_lines(f"\x01{title}\x02", section.group())


def _place_headings(
    lines: list[str], headings: list[tuple[int, int, str]]
) -> tuple[list[str], list[tuple[int, int, str]]]:
    """Return the lines without marks, trimmed, and the headings with their line numbers."""
    placed = []
    waiting = iter(headings)
    for index, line in enumerate(lines):
        for _ in range(line.count("\x01")):
            _, level, title = next(waiting)
            placed.append((index, level, title))
        lines[index] = " ".join(line.replace("\x01", "").replace("\x02", " ").split())
    return lines, placed


def _strip_math(formula: str) -> str:
    """Return a formula without its delimiters."""
    formula = re.sub(r"^(?:\\\\)+(?=\\[\[(])", "", formula)  # the end of the row before it
    inner = formula[2:-2] if formula.startswith(("$$", "\\[", "\\(")) else formula[1:-1]
    return inner.replace("\\\\", " ")


def _strip_commands(text: str) -> str:
    """Return text with accents composed, commands replaced by what they say, and as many lines as before."""
    text = _ACCENT.sub(_compose, text)
    text = _LETTER.sub(lambda match: _LETTERS[match.group(1)], text)
    for mark, character in _PLAIN:
        text = text.replace(mark, character)
    text = _NOTE.sub(lambda match: _keep_lines(f" ({match[1].strip()})" if match[1] else " ", match.group()), text)
    text = _STATEMENT.sub(lambda match: _keep_lines(f"{match[1]}. ", match.group()), text)
    for layout in (_ONE_BEFORE, _TWO_BEFORE, _BLOCK):
        text = layout.sub(lambda match: _keep_lines("", match.group()), text)
    text = _DROPPED.sub(lambda match: _keep_lines("", match.group()), text)
    text = _LINK.sub(lambda match: _keep_lines(match.group(2), match.group()), text)
    keep_argument: Callable[[re.Match[str]], str] = lambda match: _keep_lines(match.group(1), match.group())  # noqa: E731
    for _ in range(_MAX_NESTING):
        shorter = _COMMAND_WITH_TEXT.sub(keep_argument, text)
        if shorter == text:
            break
        text = shorter
    text = _COMMAND.sub("", text)
    return re.sub(r"\\([%$#&_{}])", r"\1", re.sub(r"(?<!\\)[{}]", "", text))


def _compose(match: re.Match[str]) -> str:
    """Return the letter with its accent."""
    letter = (match.group(2) or match.group(3)).removeprefix("\\")
    return unicodedata.normalize("NFC", letter + _COMBINING[match.group(1)])
