"""Reads the text of Word and PowerPoint files of 1997 to 2007 (.doc, .ppt).

Owns just enough of the two binary formats to find the text: Word's table of pieces, PowerPoint's tree of records.
Reads no styles, so there are no headings but slide titles.
"""

import re
import struct
from collections.abc import Iterator
from typing import Any

from drama_app.errors import ExtractionError
from drama_app.extract.builder import TextBuilder
from drama_app.extract.encoding import decode
from drama_app.extract.source import Source
from drama_app.extract.titles import choose_title
from drama_app.records import Document

_WORD_MAGIC, _WORD_97 = 0xA5EC, 0x00C1
_FIELD_CODE = re.compile("\x13[^\x13\x14\x15]*(?:\x14|(?=\x15))")
_WORD_MARKS = str.maketrans(
    {"\r": "\n", "\x0b": "\n", "\x0c": "\n\n", "\x1e": "-", "\x15": "", "\x14": "", "\x13": "", "\x01": "", "\x02": "",
     "\x03": "", "\x04": "", "\x05": "", "\x08": "", "\x1f": ""}
)  # fmt: skip

_CONTAINER = 0xF
_USER_EDIT, _PERSIST_DIRECTORY = 0x0FF5, 0x1772
_SLIDE_LIST, _SLIDE_PERSIST = 0x0FF0, 0x03F3
_TEXT_HEADER, _TEXT_WIDE, _TEXT_NARROW = 0x0F9F, 0x0FA0, 0x0FA8
_TITLE_TYPES = (0, 6)
MAX_DEPTH = 30


def read_doc(source: Source) -> Document:
    """Return the text of a Word document: body, notes, headers, comments and text boxes in the order of the file."""
    import olefile

    with source.open() as stream, olefile.OleFileIO(stream) as container:
        word = _read_stream(container, "WordDocument")
        try:
            text = _join_pieces(container, word)
        except (struct.error, IndexError) as error:
            raise ExtractionError("damaged Word document: save as .docx") from error
        title = _read_title(container)
    text = text.replace("\x07\x07", "\n").replace("\x07", "\t")
    while text != (text := _FIELD_CODE.sub("", text)):
        pass
    builder = TextBuilder()
    for paragraph in text.translate(_WORD_MARKS).split("\n"):
        if "\t" in paragraph:
            builder.line(" | ".join(cell.strip() for cell in paragraph.split("\t") if cell.strip()))
        else:
            builder.paragraph(paragraph)
    return builder.build("doc", choose_title(title))


def _join_pieces(container: Any, word: bytes) -> str:
    """Return the characters that Word's table of pieces puts in order, marks included."""
    magic, version = struct.unpack_from("<HH", word)
    flags = struct.unpack_from("<H", word, 0x0A)[0]
    if flags & 0x0100:
        raise ExtractionError("encrypted: needs a password")
    if magic != _WORD_MAGIC or version < _WORD_97:
        start, end = struct.unpack_from("<II", word, 0x18)
        return decode(word[start:end].replace(b"\x07", b"\t").replace(b"\r", b"\n")).text
    table = _read_stream(container, "1Table" if flags & 0x0200 else "0Table")
    offset, length = struct.unpack_from("<II", word, 0x01A2)
    end = offset + length
    while offset < end and table[offset] == 1:
        offset += 3 + int(struct.unpack_from("<H", table, offset + 1)[0])
    if offset >= end or table[offset] != 2:
        raise ExtractionError("damaged Word document: save as .docx")
    size = struct.unpack_from("<I", table, offset + 1)[0]
    count = min((size - 4) // 12, len(table) // 12)
    places = struct.unpack_from(f"<{count + 1}I", table, offset + 5)
    texts = []
    for index in range(count):
        where = struct.unpack_from("<I", table, offset + 5 + 4 * (count + 1) + 8 * index + 2)[0]
        characters = places[index + 1] - places[index]
        if where & 0x40000000:
            start = (where & 0x3FFFFFFF) // 2
            texts.append(word[start : start + characters].decode("cp1252", "replace"))
        else:
            texts.append(word[where : where + 2 * characters].decode("utf-16-le", "replace"))
    return "".join(texts)


def read_ppt(source: Source) -> Document:
    """Return the text of a presentation, a page a slide, speaker notes after the last one."""
    import olefile

    with source.open() as stream, olefile.OleFileIO(stream) as container:
        if container.exists("EncryptedSummary"):
            raise ExtractionError("encrypted: needs a password")
        data = _read_stream(container, "PowerPoint Document")
        current = _read_stream(container, "Current User")
        title = _read_title(container)
    builder = TextBuilder()
    try:
        places, main = _read_places(data, struct.unpack_from("<I", current, 16)[0])
        for lists in _find(data, main, {_SLIDE_LIST}):
            instance = struct.unpack_from("<H", data, lists)[0] >> 4
            if instance in (0, 2):
                _add_slides(builder, data, lists, places, as_pages=instance == 0)
    except struct.error as error:
        raise ExtractionError("damaged PowerPoint presentation: save as .pptx") from error
    first = builder.build("ppt").headings[:1]
    return builder.build("ppt", choose_title(title, *(heading.title for heading in first)))


def _read_places(data: bytes, edit: int) -> tuple[dict[int, int], int]:
    """Return object number -> offset as of the last save, and the offset of the document record."""
    places: dict[int, int] = {}
    document, seen = 0, set()
    while edit and edit not in seen:
        seen.add(edit)
        previous, directory, number = struct.unpack_from("<III", data, edit + 16)
        document = document or number
        position = directory + 8
        end = position + struct.unpack_from("<I", data, directory + 4)[0]
        while position < end:
            head = struct.unpack_from("<I", data, position)[0]
            first, count = head & 0xFFFFF, head >> 20
            for index, place in enumerate(struct.unpack_from(f"<{count}I", data, position + 4)):
                places.setdefault(first + index, place)
            position += 4 + 4 * count
        edit = previous
    return places, places.get(document, 0)


def _add_slides(builder: TextBuilder, data: bytes, lists: int, places: dict[int, int], *, as_pages: bool) -> None:
    """Add the slides or notes pages of one list: the texts in the list, then those in the drawing of each."""
    pages: list[list[tuple[int, str]]] = []
    kind = -1
    for record in _find(data, lists, {_SLIDE_PERSIST, _TEXT_HEADER, _TEXT_WIDE, _TEXT_NARROW}):
        name = struct.unpack_from("<H", data, record + 2)[0]
        if name == _SLIDE_PERSIST:
            place = places.get(struct.unpack_from("<I", data, record + 8)[0], 0)
            pages.append(list(_list_texts(data, place)) if place else [])
        elif name == _TEXT_HEADER:
            kind = struct.unpack_from("<I", data, record + 8)[0]
        elif pages:
            pages[-1].append((kind, _read_text(data, record)))
    for texts in pages:
        if as_pages:
            builder.page()
        for kind, text in sorted(dict.fromkeys(texts), key=lambda item: item[0] not in _TITLE_TYPES):
            if as_pages and kind in _TITLE_TYPES:
                builder.heading(1, text)
            elif text.strip() not in ("", "*"):
                builder.paragraph(text)


def _list_texts(data: bytes, place: int) -> Iterator[tuple[int, str]]:
    """Yield (type, text) of the text boxes in a slide."""
    kind = -1
    for record in _find(data, place, {_TEXT_HEADER, _TEXT_WIDE, _TEXT_NARROW}):
        if struct.unpack_from("<H", data, record + 2)[0] == _TEXT_HEADER:
            kind = struct.unpack_from("<I", data, record + 8)[0]
        else:
            yield kind, _read_text(data, record)


def _read_text(data: bytes, record: int) -> str:
    """Return the text of a text record, paragraphs as lines."""
    name, length = struct.unpack_from("<HI", data, record + 2)
    raw = data[record + 8 : record + 8 + length]
    text = raw.decode("utf-16-le", "replace") if name == _TEXT_WIDE else raw.decode("latin-1")
    return text.replace("\r", "\n").replace("\x0b", "\n")


def _find(data: bytes, place: int, wanted: set[int], depth: int = 0) -> Iterator[int]:
    """Yield the offsets of records of some kinds below a container record, in order."""
    position = place + 8
    end = min(len(data), position + struct.unpack_from("<I", data, place + 4)[0])
    while position + 8 <= end and depth < MAX_DEPTH:
        version, name, length = struct.unpack_from("<HHI", data, position)
        if name in wanted:
            yield position
        elif version & 0xF == _CONTAINER:
            yield from _find(data, position, wanted, depth + 1)
        position += 8 + length


def _read_stream(container: Any, name: str) -> bytes:
    """Return the bytes of a stream of an OLE2 file."""
    if not container.exists(name):
        raise ExtractionError(f"damaged: its part {name} is missing")
    return bytes(container.openstream(name).read())


def _read_title(container: Any) -> str:
    """Return the title in the document's properties."""
    raw = container.get_metadata().title
    return decode(raw).text if isinstance(raw, bytes) and raw.strip(b"\0 ") else ""
