"""Turns one file into a `Document`: decides what it is, calls the handler of that kind, checks the result.

Owns the order of these steps and what every kind has in common. Limits of time and memory belong to the worker
process around it; formats belong to the handlers.
"""

import errno
import stat
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from drama_app.errors import ExtractionError
from drama_app.extract.clean import blank_controls, clean_line
from drama_app.extract.kinds import KIND_SUFFIXES, detect, get_handler
from drama_app.extract.source import Source
from drama_app.records import Document

__all__ = ["KIND_SUFFIXES", "MAX_DEPTH", "Source", "extract", "extract_source"]

MAX_DEPTH = 3
"""A mail in a mail in a mail; deeper nesting is a trap more often than a letter."""

_SPECIAL_FILES = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def extract(path: Path) -> Document:
    """Return the text of one file.

    Raises:
        ExtractionError: there is no text to be had; the message is the reason, in words for a person.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise ExtractionError(_describe_os_error(error)) from error
    for is_special, name in _SPECIAL_FILES:
        if is_special(mode):
            raise ExtractionError(f"{name}, not a file", passed_over=True)
    return extract_source(Source(path=path, name=path.name))


def extract_source(source: Source) -> Document:
    """Return the text of a file or of an attachment held in memory.

    Raises:
        ExtractionError: as `extract`; also for attachments nested more than `MAX_DEPTH` deep.
    """
    if source.depth > MAX_DEPTH:
        raise ExtractionError(f"nested more than {MAX_DEPTH} deep")
    kind = ""
    try:
        kind = detect(source)
        document = _load_handler(kind)(source)
    except ExtractionError:
        raise
    except OSError as error:
        raise ExtractionError(_describe_os_error(error)) from error
    except RecursionError as error:
        raise ExtractionError(f"nested too deeply to be read as {kind}") from error
    except MemoryError as error:
        raise ExtractionError("needs more memory than a file may use") from error
    except Exception as error:  # the parsers of foreign formats raise anything; one bad file is a row
        raise ExtractionError(f"damaged, or not really {kind or 'a document'}: {_describe(error)}") from error
    return _check(document)


def _load_handler(kind: str) -> Callable[[Source], Document]:
    """Import and return the handler of a kind."""
    module, function = get_handler(kind).split(":")
    handler: Callable[[Source], Document] = getattr(import_module(f"{__name__}.{module}"), function)
    return handler


def _check(document: Document) -> Document:
    """Return the document, certain to hold text and no control characters."""
    if not document.text or document.text.isspace():
        reason = "; ".join(document.notes) or "no text inside"
        raise ExtractionError(reason, passed_over=document.lines and not document.notes)
    safe = blank_controls(document.text)
    return document if safe == document.text else replace(document, text=safe)


def _describe(error: Exception) -> str:
    """Return a foreign error as a short line."""
    return clean_line(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)[:200]


def _describe_os_error(error: OSError) -> str:
    """Return why a file cannot be opened or read."""
    if isinstance(error, PermissionError):
        return "cannot be read: permission denied"
    if isinstance(error, FileNotFoundError):
        return "cannot be read: it is no longer there"
    if error.errno == errno.EINVAL:  # a library went where a damaged file sent it, before its start
        return "damaged: it refers to places outside of itself"
    return f"cannot be read: {clean_line(error.strerror or str(error))}"
