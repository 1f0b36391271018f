"""Reads RTF with striprtf.

Owns the repairs around it: bytes that are no ASCII, the title, code pages that the text's own fonts override.
"""

import re
from collections.abc import Callable

from drama_app.errors import ExtractionError
from drama_app.extract.builder import TextBuilder
from drama_app.extract.source import Source
from drama_app.extract.titles import choose_title
from drama_app.records import Document

MAX_BYTES = 50_000_000
"""Pictures in hexadecimal make RTF large; beyond this striprtf needs more than a minute."""

_PICTURE = re.compile(r"[0-9a-fA-F\s]{2000,}")
_TITLE = re.compile(r"\{\\title\s([^{}]*)\}")
_CODE_PAGE = re.compile(r"\\ansicpg(\d+)")


def read_rtf(source: Source) -> Document:
    """Return the text of an RTF file."""
    if source.size() > MAX_BYTES:
        raise ExtractionError("too large for RTF: save as .docx")
    raw = source.read()
    if not raw.lstrip().startswith(b"{\\rtf"):
        raise ExtractionError("damaged, or not really RTF")
    text = _escape_bytes(raw)
    text = _PICTURE.sub(" ", text)
    encoding = _find_encoding(text)
    plain = _convert(text, encoding)
    title = _TITLE.search(text)
    name = _convert("{\\rtf1\\ansi " + title[1] + "}", encoding) if title else ""
    builder = TextBuilder()
    for block in re.split(r"\n\s*\n", plain):
        builder.paragraph(_tidy_cells(block))
    return builder.build("rtf", choose_title(name))


def _convert(text: str, encoding: str) -> str:
    """Return the plain text of RTF."""
    from striprtf import striprtf

    convert: Callable[..., str] = striprtf.rtf_to_text
    return convert(text, encoding=encoding, errors="replace")


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
