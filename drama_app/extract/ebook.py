"""Reads EPUB books: chapters in reading order, their titles from the table of contents where the text has none.

Owns the package; the chapters' text is `web`'s business.
"""

import posixpath
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from drama_app.errors import ExtractionError
from drama_app.extract.archive import SafeZip, open_archive
from drama_app.extract.builder import TextBuilder
from drama_app.extract.clean import clean_line
from drama_app.extract.elements import find_all, find_child, get_attribute, join_text
from drama_app.extract.source import Source
from drama_app.records import Document

if TYPE_CHECKING:
    from lxml.etree import _Element

# An HTML parser takes "<title/>" for an opening tag and the whole chapter for the title.
_SELF_CLOSED = re.compile(
    r"<(title|script|style|a|p|div|span|i|b|em|strong|td|th|li|ul|ol|section)\b([^<>]*)/>", re.IGNORECASE
)
_READABLE = ("application/xhtml+xml", "text/html", "application/x-dtbook+xml", "text/x-oeb1-document")
_FONT_SCRAMBLING = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")


def read_epub(source: Source) -> Document:
    """Return the text of a book, its title and authors first.

    Raises:
        ExtractionError: protected by DRM, or damaged.
    """
    with open_archive(source) as archive:
        package = _find_package(archive)
        root = archive.read_xml(package)
        items = {get_attribute(item, "id"): item for item in find_all(root, "item")}
        chapters = _list_chapters(root, items, package)
        _refuse_encrypted(archive, set(chapters))
        titles = _read_contents(archive, items, package)
        builder = TextBuilder()
        title = next((clean_line(join_text(found)) for found in find_all(root, "title")), "")
        authors = [clean_line(join_text(found)) for found in find_all(root, "creator")]
        builder.paragraph("\n".join([title, ", ".join(authors)]))
        missing = [chapter for chapter in chapters if not _add_chapter(builder, archive, chapter, titles)]
        notes = [f"{len(missing)} of {len(chapters)} chapters are missing or broken"] if missing else []
    if not chapters or len(missing) == len(chapters):
        raise ExtractionError("damaged EPUB book: it has no chapters")
    return builder.build("epub", title, notes=notes)


def _find_package(archive: SafeZip) -> str:
    """Return the name of the package document."""
    container = archive.read_xml("META-INF/container.xml")
    for rootfile in find_all(container, "rootfile"):
        name = unquote(get_attribute(rootfile, "full-path"))
        if name in archive:
            return name
    raise ExtractionError("damaged EPUB book: its package is missing")


def _list_chapters(root: "_Element", items: "dict[str, _Element]", package: str) -> list[str]:
    """Return the member names of the chapters in reading order, the table of contents left out."""
    found = []
    for reference in find_all(root, "itemref"):
        item = items.get(get_attribute(reference, "idref"))
        if item is None or "nav" in get_attribute(item, "properties").split():
            continue
        if get_attribute(item, "media-type") in _READABLE:
            found.append(_resolve(package, get_attribute(item, "href")))
    return list(dict.fromkeys(found))


def _resolve(base: str, reference: str) -> str:
    """Return the member that a reference in another member leads to."""
    path = unquote(reference.partition("#")[0])
    return posixpath.normpath(posixpath.join(posixpath.dirname(base), path))


def _refuse_encrypted(archive: SafeZip, chapters: set[str]) -> None:
    """Refuse a book whose chapters are encrypted; scrambled fonts do not matter."""
    name = "META-INF/encryption.xml"
    if name not in archive:
        return
    for data in find_all(archive.read_xml(name), "EncryptedData"):
        method = find_child(data, "EncryptionMethod")
        if method is not None and get_attribute(method, "Algorithm").startswith(_FONT_SCRAMBLING):
            continue
        if any(unquote(get_attribute(found, "URI")) in chapters for found in find_all(data, "CipherReference")):
            raise ExtractionError("encrypted: protected by DRM")


def _read_contents(archive: SafeZip, items: "dict[str, _Element]", package: str) -> dict[str, str]:
    """Return member name -> title of the chapter that starts there, from the table of contents."""
    titles: dict[str, str] = {}
    for item in items.values():
        name = _resolve(package, get_attribute(item, "href"))
        is_nav = "nav" in get_attribute(item, "properties").split()
        if name not in archive or not (is_nav or get_attribute(item, "media-type") == "application/x-dtbncx+xml"):
            continue
        try:
            root = archive.read_xml(name)
        except ExtractionError:
            continue  # chapters may have titles of their own, and a broken list of them must not cost the book
        for entry in find_all(root, "a") if is_nav else find_all(root, "navPoint"):
            target = entry if is_nav else find_child(entry, "content")
            label = entry if is_nav else find_child(entry, "navLabel")
            reference = "" if target is None else get_attribute(target, "href" if is_nav else "src")
            titles.setdefault(_resolve(name, reference), clean_line(join_text(label)))
    return titles


def _add_chapter(builder: TextBuilder, archive: SafeZip, chapter: str, titles: dict[str, str]) -> bool:
    """Add a chapter; return False if it is missing or broken."""
    from lxml import etree

    from drama_app.extract.encoding import decode
    from drama_app.extract.web import add_html, parse_html

    if chapter not in archive:
        return False
    try:
        data = archive.read(chapter)
    except ExtractionError as error:
        if error.__cause__ is None:
            raise  # a bomb, or encrypted: the book's, not the chapter's
        return False
    try:
        text = decode(data, hint="utf-8").text if data else ""
    except ExtractionError:
        return False
    root = parse_html(_SELF_CLOSED.sub(r"<\1\2></\1>", text))
    if root is None:
        return not data.strip()
    if next(root.iter("h1", "h2", "h3", "h4", "h5", "h6"), None) is None:
        builder.heading(1, titles.get(chapter, ""))
    etree.strip_attributes(root, "class", "id")  # in a book they name styles: a "menu" is what was served
    add_html(builder, root)
    return True
