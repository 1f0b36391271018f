"""What drawings in Office documents say: SmartArt, charts, and the descriptions of pictures.

Owns which text of a drawing counts. Where a drawing stands belongs to the modules of the formats.
"""

import re
from typing import TYPE_CHECKING

from drama_app.extract.clean import clean_line
from drama_app.extract.elements import find_all, get_attribute, get_name, join_text

if TYPE_CHECKING:
    from lxml.etree import _Element

_FILE_NAME = re.compile(r"\.(?:png|jpe?g|gif|tiff?|bmp|svg|webp|heic|[ew]mf|pdf|docx?|xlsx?)$", re.IGNORECASE)
_FIRST_UNSPACED = "\u2e80"
"""From here on scripts write no spaces between words."""


def list_paragraphs(shape: "_Element") -> list[str]:
    """Return the filled paragraphs below an element."""
    texts = ["".join(map(_get_run, find_all(paragraph, "t", "br"))) for paragraph in find_all(shape, "p")]
    return [text.strip() for text in texts if text.strip()]


def list_diagram_texts(root: "_Element") -> list[str]:
    """Return the texts of SmartArt and the titles, series and categories of a chart, each once."""
    texts = list_paragraphs(root)
    for cache in find_all(root, "strCache"):
        texts.extend(clean_line(join_text(value)) for value in find_all(cache, "v"))
    return list(dict.fromkeys(text for text in texts if text))


def read_description(properties: "_Element | None") -> str:
    """Return what a picture's properties say that it shows, "" where a program left a name or a word."""
    text = "" if properties is None else clean_line(get_attribute(properties, "descr"))
    is_sentence = len(text.split()) > 2 or (len(text) > 5 and max(text) >= _FIRST_UNSPACED)
    return text if is_sentence and not _FILE_NAME.search(text) else ""


def _get_run(run: "_Element") -> str:
    """Return the text of a run, a break as a newline."""
    return "\n" if get_name(run) == "br" else join_text(run)
