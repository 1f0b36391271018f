"""Reads PDF files with pypdf: the text layer page by page, bookmarks as headings, forms, comments, embedded files.

Owns what of a PDF is text and the reasons why one has none. Recognises no pictures: a scanned page is reported.
"""

import logging
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from drama_app.errors import ExtractionError
from drama_app.extract.builder import MAX_CHARACTERS, TextBuilder
from drama_app.extract.clean import clean_line, clean_text
from drama_app.extract.nested import MAX_ATTACHMENT_BYTES, add_attachments
from drama_app.extract.reflow import drop_running, reflow, split_page
from drama_app.extract.source import Source
from drama_app.extract.titles import choose_title
from drama_app.records import Document

if TYPE_CHECKING:
    from pypdf import PageObject, PdfReader

MAX_OUTLINE = 5_000
MAX_TITLE_LINES = 3
"""Lines that a bookmark's title may take on the page."""

_NOT_WORD = re.compile(r"[\W_]+")
_TEXTLESS_ANNOTATIONS = frozenset({"/Link", "/Popup", "/Movie", "/Sound", "/Screen", "/PrinterMark", "/TrapNet"})
_GLYPH_NAMES = re.compile(r"(?:/(?:g|cid|glyph|G|c|uni)\d+){4,}")
_LOGGER = logging.getLogger(__name__)


@dataclass
class _Pages:
    """What reading the pages gave."""

    lines: list[list[str]] = field(default_factory=list)
    remarks: list[list[str]] = field(default_factory=list)
    """Texts of form fields and comments, a list a page."""
    scanned: int = 0
    broken: int = 0
    nameless: int = 0
    """Pages whose fonts do not tell which letters their glyphs are."""


def read_pdf(source: Source) -> Document:
    """Return the text of a PDF.

    Raises:
        ExtractionError: encrypted with a password, without any text layer, or damaged beyond reading.
    """
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it warns of every bent rule of a file that reads well
    with warnings.catch_warnings(), source.open() as stream:
        warnings.simplefilter("ignore")  # cryptography warns of the old ciphers that PDFs use
        reader = _open(stream)
        pages = _read_pages(reader)
        builder = TextBuilder()
        _add_pages(builder, pages, _read_outline(reader))
        notes = _list_notes(pages)
        notes += add_attachments(builder, source, list(_list_embedded(reader)))
        if not len(builder):
            raise ExtractionError("; ".join(notes) or f"no text inside: {_count(len(pages.lines), 'empty page')}")
        return builder.build("pdf", choose_title(_read_title(reader)), notes=notes)


def _open(stream: Any) -> "PdfReader":
    """Return a reader of a PDF that may be read without a password."""
    from pypdf import PdfReader
    from pypdf.errors import DependencyError, PyPdfError

    try:
        reader = PdfReader(stream, strict=False)
        if reader.is_encrypted and not reader.decrypt(""):
            raise ExtractionError("encrypted: needs a password")
        count = len(reader.pages)
    except (NotImplementedError, DependencyError) as error:
        raise ExtractionError("encrypted in a way that cannot be read") from error
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, IndexError, AssertionError) as error:
        raise ExtractionError("damaged PDF: it is cut off or its page tree is broken") from error
    if not count:
        raise ExtractionError("damaged PDF: it has no pages")
    return reader


def _read_pages(reader: "PdfReader") -> _Pages:
    """Read the lines of all pages; a broken page is counted and stays empty."""
    found = _Pages()
    total = 0
    for index in range(len(reader.pages)):
        text, remarks = "", []
        try:
            page = reader.pages[index]
            text = clean_text(page.extract_text()) if total < MAX_CHARACTERS else ""
            if is_glyph_names(text):
                text, found.nameless = "", found.nameless + 1
                continue
            remarks = list(_list_remarks(page, text))
            found.scanned += not text.strip() and _has_picture(page)
        except ExtractionError:
            raise
        except Exception as error:  # pypdf raises anything on broken pages, and the other pages may be whole
            _LOGGER.debug("page %d cannot be read: %s", index + 1, error)
            found.broken += 1
        finally:
            total += len(text)
            found.lines.append(split_page(text))
            found.remarks.append(remarks)
    return found


def is_glyph_names(text: str) -> bool:
    """Whether a page's text is mostly names such as "/g18/g152", which stand for letters that the font keeps secret."""
    named = sum(len(match) for match in _GLYPH_NAMES.findall(text))
    return named > len(text) / 2


def _add_pages(builder: TextBuilder, pages: _Pages, outline: dict[int, list[tuple[int, str]]]) -> None:
    """Add all pages with their headings."""
    for index, lines in enumerate(drop_running(pages.lines)):
        builder.page()
        _add_page(builder, lines, outline.get(index, []))
        builder.paragraph("\n".join(pages.remarks[index]))


def _add_page(builder: TextBuilder, lines: list[str], headings: list[tuple[int, str]]) -> None:
    """Add a page's paragraphs, each heading where its title stands, if nowhere behind the one before it."""
    placed = []
    after = 0
    for level, title in headings:
        start, end = _find_title(lines, title, after) or (after, after)
        text = title if start == end else " ".join(line.strip() for line in lines[start:end])
        placed.append((start, end, level, text))
        after = end
    position = 0
    for start, end, level, text in placed:
        _add_paragraphs(builder, lines[position:start])
        position = end
        builder.heading(level, text)
    _add_paragraphs(builder, lines[position:])


def _add_paragraphs(builder: TextBuilder, lines: list[str]) -> None:
    """Add a stretch of lines as paragraphs."""
    for paragraph in reflow(lines):
        builder.paragraph(paragraph)


def _find_title(lines: list[str], title: str, after: int) -> tuple[int, int] | None:
    """Return the stretch of lines that is a title, number before it included, None if there is none.

    The shortest such number wins: a running header shows the page number before the section's as well.
    """
    wanted = _get_key(title)
    best = 11
    found: tuple[int, int] | None = None
    for start in range(after, len(lines)):
        key = _get_key(lines[start])
        for end in range(start + 1, min(start + MAX_TITLE_LINES, len(lines)) + 1):
            rest = key.removesuffix(wanted)
            if key and rest != key and len(rest) < best and (not rest or rest[-1].isdigit()):
                best, found = len(rest), (start, end)
            if not key or len(key) > len(wanted) + 10 or end == len(lines):
                break
            key += _get_key(lines[end])
    return found


def _get_key(text: str) -> str:
    """Return letters and digits only, so that spacing and punctuation do not matter."""
    return _NOT_WORD.sub("", text).casefold()


def _read_outline(reader: "PdfReader") -> dict[int, list[tuple[int, str]]]:
    """Return page index -> (level, title) of the bookmarks that lead there; empty if they are broken."""
    found: dict[int, list[tuple[int, str]]] = {}
    try:
        for level, item in list(_walk_outline(reader.outline, 1))[:MAX_OUTLINE]:
            page = reader.get_destination_page_number(item)
            title = choose_title(str(item.title or ""))
            if page is not None and page >= 0 and title:
                found.setdefault(page, []).append((level, title))
    except Exception as error:  # bookmarks are a convenience, and broken ones must not cost the text
        _LOGGER.debug("the outline cannot be read: %s", error)
    return found


def _walk_outline(items: Any, level: int) -> Iterator[tuple[int, Any]]:
    """Yield (level, bookmark) of nested lists."""
    for item in items:
        if isinstance(item, list):
            yield from _walk_outline(item, level + 1)
        else:
            yield level, item


def _list_remarks(page: "PageObject", text: str) -> Iterator[str]:
    """Yield the texts of form fields and comments that the page's own text lacks."""
    annotations = page.get("/Annots")
    for reference in (annotations.get_object() if annotations is not None else None) or []:
        annotation = reference.get_object()
        if not isinstance(annotation, dict) or annotation.get("/Subtype") in _TEXTLESS_ANNOTATIONS:
            continue
        if annotation.get("/Subtype") == "/Widget":
            remark = _read_field(annotation)
        else:
            remark = clean_line(_get_string(annotation, "/Contents"))
        if remark and remark not in text:
            yield remark


def _read_field(widget: Any) -> str:
    """Return a form field's name and value, "" for buttons and fields that are not filled in."""
    parent = widget.get("/Parent")
    parent = parent.get_object() if parent is not None else {}
    if (widget.get("/FT") or parent.get("/FT")) not in ("/Tx", "/Ch"):
        return ""
    value = clean_line(_get_string(widget, "/V") or _get_string(parent, "/V"))
    name = clean_line(_get_string(widget, "/TU") or _get_string(widget, "/T") or _get_string(parent, "/T"))
    return f"{name}: {value}" if name and value else value


def _get_string(holder: Any, key: str) -> str:
    """Return a text entry, "" if it is missing or no text."""
    value = holder.get(key)
    value = value.get_object() if value is not None else None
    return str(value) if isinstance(value, str) else ""


def _has_picture(page: "PageObject") -> bool:
    """Return whether a page shows pictures or forms; without text and those it is blank."""
    resources = page.get("/Resources")
    resources = resources.get_object() if resources is not None else {}
    content = page.get_contents()
    return "/XObject" in resources or (content is not None and b"BI" in content.get_data())


def _list_embedded(reader: "PdfReader") -> Iterator[tuple[str, bytes]]:
    """Yield the files that a PDF carries."""
    total = 0
    try:
        for item in reader.attachment_list:
            content = item.content
            total += len(content)
            if total > MAX_ATTACHMENT_BYTES:
                return
            yield str(item.name), content
    except Exception as error:  # as with the outline: a broken name tree must not cost the text
        _LOGGER.debug("embedded files cannot be read: %s", error)


def _read_title(reader: "PdfReader") -> str:
    """Return the title in the metadata, "" if they are broken."""
    from pypdf.errors import PyPdfError

    try:
        return str((reader.metadata and reader.metadata.title) or "")
    except (PyPdfError, ValueError, TypeError, AttributeError, KeyError) as error:
        _LOGGER.debug("the metadata cannot be read: %s", error)
        return ""


def _list_notes(pages: _Pages) -> list[str]:
    """Return notes on pages that gave no text."""
    total = len(pages.lines)
    notes = []
    if pages.scanned:
        whole = pages.scanned + pages.broken == total or not any(any(map(str.strip, page)) for page in pages.lines)
        pages_text = _count(total, "page")
        verb = "is" if pages.scanned == 1 else "are"
        notes.append(f"scanned: no text layer ({pages_text})" if whole else
                     f"{pages.scanned} of {pages_text} {verb} scanned: no text layer")  # fmt: skip
    if pages.nameless:
        of = f"{pages.nameless} of {_count(total, 'page')}"
        notes.append(f"{of} cannot be read: the fonts do not tell which letters they show")
    if pages.broken:
        notes.append(f"{pages.broken} of {_count(total, 'page')} cannot be read: damaged")
    return notes


def _count(number: int, noun: str) -> str:
    """Return "1 page", "12 pages"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
