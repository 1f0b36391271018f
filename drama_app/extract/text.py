"""Reads plain text and logs; keeps their lines."""

from drama_app.extract.builder import build_from_lines, split_lines
from drama_app.extract.encoding import read_text
from drama_app.extract.source import Source
from drama_app.records import Document


def read_text_file(source: Source) -> Document:
    """Return a plain text with the lines of the file."""
    decoded = read_text(source)
    return build_from_lines(split_lines(decoded.text), "text", notes=decoded.notes)
