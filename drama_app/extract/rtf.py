"""Reads RTF with striprtf.

Owns the repairs around it: bytes that are no ASCII, the title, code pages that the text's own fonts override, what
striprtf passes over (notes, comments, margins, text boxes, which follow the body) and what it keeps though deleted.
"""

import re
from collections.abc import Callable

from drama_app.errors import ExtractionError
from drama_app.extract.builder import TextBuilder
from drama_app.extract.source import Source
from drama_app.extract.titles import choose_title
from drama_app.extract.words import split_words
from drama_app.records import Document

MAX_BYTES = 50_000_000
"""Pictures in hexadecimal make RTF large; beyond this striprtf needs more than a minute."""

_PICTURE = re.compile(r"[0-9a-fA-F\s]{2000,}")
_TITLE = re.compile(r"\{\\title\s([^{}]*)\}")
_CODE_PAGE = re.compile(r"\\ansicpg(\d+)")
_ESCAPE = re.compile(rb"\\(?:bin(\d{1,9}) ?|.)", re.DOTALL)
_TOKEN = re.compile(
    r"\{\s*(?:\\\*\s*)?\\(?P<group>fonttbl|footnote|annotation|header[lrf]?|footer[lrf]?|shptxt|dptxbxtext"
    r"|(?<=gtextUNICODE\}\{\\)sv)(?![a-z])(?:-?\d{1,10})? ?"
    r"|\\(?P<word>[a-z]{1,32})(?P<number>-?\d{1,10})? ?|(?:\\'[0-9a-f]{2})+|\\.|[{}]|[^\\{}]+|\\",
    re.DOTALL | re.IGNORECASE,
)
_FONT = re.compile(r"\\f(charset)?(\d{1,9})")
_CHARACTERS = frozenset(
    split_words("u tab line emdash endash emspace enspace qmspace bullet lquote rquote ldblquote rdblquote")
)
_BETWEEN = "\x00"


def read_rtf(source: Source) -> Document:
    """Return the text of an RTF file."""
    if source.size() > MAX_BYTES:
        raise ExtractionError("too large for RTF: save as .docx")
    raw = source.read()
    if not raw.lstrip().startswith(b"{\\rtf"):
        raise ExtractionError("damaged, or not really RTF")
    text = _escape_bytes(_drop_binary(raw))
    text = _PICTURE.sub(" ", text)
    encoding = _find_encoding(text)
    groups = _Groups(text)
    plain = _convert(groups.body, encoding)
    title = _TITLE.search(text)
    name = _convert("{\\rtf1\\ansi " + title[1] + "}", encoding) if title else ""
    builder = TextBuilder()
    for block in re.split(r"\n\s*\n", plain):
        builder.paragraph(_tidy_cells(block))
    for aside in dict.fromkeys(map(str.strip, _convert(groups.asides, encoding).split(_BETWEEN))):
        if any(map(str.isalpha, aside)):  # a margin may be nothing but a page number
            builder.paragraph(_tidy_cells(aside))
    return builder.build("rtf", choose_title(name))


class _Groups:
    """One pass over RTF that puts apart the body and what stands aside from it, both without tracked deletions."""

    def __init__(self, text: str) -> None:
        self.body = ""
        """RTF without the groups that striprtf would pass over."""
        self.asides = ""
        """These groups as RTF of their own, with a mark between them."""
        self._fonts = ""
        self._asides: list[str] = []
        self._open: list[tuple[tuple[bool, str, str], str]] = []
        self._pieces: list[list[str]] = [[]]
        self._deleted, self._font, self._skip = False, "", ""
        for token in _TOKEN.finditer(text):
            if token[0].startswith("{"):
                self._start(token)
            elif token[0] != "}":
                self._add(token)
            elif self._open:
                self._end()
                if not self._open:
                    break  # what follows the document is none of it
        while self._open:
            self._end()
        self.body = "".join(self._pieces[0])
        self.asides = f"{{\\rtf1\\ansi{self._fonts}{_BETWEEN.join(self._asides)}}}"

    def _start(self, token: re.Match[str]) -> None:
        """Open a group; it takes over the state around it. Only the first table of fonts counts."""
        name = token["group"] or ""
        if name == "fonttbl" and self._fonts:
            name = ""
        if name == "fonttbl":
            self._fonts = token[0]
        self._open.append(((self._deleted, self._font, self._skip), name))
        if name:
            self._pieces.append([token[0] if name == "fonttbl" else f"{{{self._skip}{self._font}"])
        else:
            self._pieces[-1].append(token[0])

    def _end(self) -> None:
        """Close a group and return to the state before it."""
        (self._deleted, self._font, self._skip), name = self._open.pop()
        self._pieces[-1].append("}")
        if name == "fonttbl":
            self._fonts = _tidy_fonts("".join(self._pieces.pop()))
            self._pieces[-1].append(self._fonts)
        elif name:
            self._asides.append("".join(self._pieces.pop()))
            self._pieces[-1].append("{}")  # or a blank behind it would end the control word before it

    def _add(self, token: re.Match[str]) -> None:
        """Add a control word or text, unless it is text that was deleted."""
        word = token["word"]
        if word in ("deleted", "plain"):
            self._deleted = word == "deleted" and token["number"] != "0"
        elif word == "f":
            self._font = f"\\f{token['number'] or 0} "
        elif word == "uc":
            self._skip = f"\\uc{token['number'] or 1} "
        if not self._deleted or (word is not None and word not in _CHARACTERS):
            self._pieces[-1].append(token[0])


def _tidy_fonts(table: str) -> str:
    """Return a table of fonts with nothing but numbers and character sets, "default" where a font names none.

    striprtf would give such a font the character set of the next that has one, and takes long where a semicolon lacks.
    """
    sets: dict[str, str] = {}
    number = ""
    for names_set, value in _FONT.findall(table):
        number = number if names_set else value
        sets[number] = value if names_set else sets.get(number, "1")
    return "{\\fonttbl" + "".join(f"{{\\f{font}\\fcharset{name} x;}}" for font, name in sets.items() if font) + "}"


def _convert(text: str, encoding: str) -> str:
    """Return the plain text of RTF."""
    from striprtf import striprtf

    convert: Callable[..., str] = striprtf.rtf_to_text
    return convert(text, encoding=encoding, errors="replace")


def _drop_binary(raw: bytes) -> bytes:
    """Return the file without pictures in binary, whose bytes may look like anything."""
    if b"\\bin" not in raw:
        return raw
    kept = []
    start = position = 0
    while (escape := _ESCAPE.search(raw, position)) is not None:
        position = escape.end()
        length = int(escape[1] or 0)
        if escape[1] and position + length <= len(raw):
            kept.append(raw[start : escape.start()])
            start = position = position + length
    return b"".join([*kept, raw[start:]])


def _escape_bytes(raw: bytes) -> str:
    """Return the file as ASCII; bytes beyond it, which careless writers leave, become escapes of the code page."""
    return re.sub(rb"[\x80-\xff]", lambda match: b"\\'%02x" % match[0][0], raw).decode("ascii")


def _find_encoding(text: str) -> str:
    """Return the code page that the file names, Western European if none or an unknown one."""
    match = _CODE_PAGE.search(text)
    number = match[1] if match else "1252"
    name = {"10000": "mac_roman", "65001": "utf-8", "0": "cp1252"}.get(number, f"cp{number}")
    try:
        "".encode(name)
    except LookupError:
        return "cp1252"
    return name


def _tidy_cells(block: str) -> str:
    """Return table rows with tabs between cells instead of bars after them."""
    lines = []
    for line in block.split("\n"):
        stripped = line.rstrip()
        lines.append("\t".join(cell.strip() for cell in stripped[:-1].split("|")) if stripped.endswith("|") else line)
    return "\n".join(lines)
