"""Reads the text of Word and PowerPoint files of 1997 to 2007 (.doc, .ppt).

Owns just enough of the two binary formats to find the text: Word's table of pieces and which of its characters are
deleted or end a row, PowerPoint's tree of records.
Reads no styles, so there are no headings but slide titles.
"""

import re
import struct
from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from drama_app.errors import ExtractionError
from drama_app.extract.builder import TextBuilder
from drama_app.extract.encoding import decode
from drama_app.extract.source import Source
from drama_app.extract.titles import choose_title
from drama_app.records import Document

Span = tuple[int, int]
"""First byte and the one behind the last."""

_WORD_MAGIC, _WORD_97 = 0xA5EC, 0x00C1
_FIELD_CODE = re.compile("\x13[^\x13\x14\x15]*(?:\x14|(?=\x15))")
_WORD_MARKS = str.maketrans(
    {"\r": "\n", "\x0b": "\n", "\x0c": "\n\n", "\x1e": "-", "\x15": "", "\x14": "", "\x13": "", "\x01": "", "\x02": "",
     "\x03": "", "\x04": "", "\x05": "", "\x08": "", "\x1f": ""}
)  # fmt: skip

_PAGE = 512
# Where the header names the table of character and of paragraph properties, the bytes of an entry on their pages, what
# to look for in them.
_DELETED = (0x00FA, 1, 0x0800)
_ROW_END = (0x0102, 13, 0x2417)
_OPERANDS = (1, 1, 2, 4, 2, 2, 0, 3)

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
    if "\x07\n" not in text:  # the rows' ends were not found
        text = text.replace("\x07\x07", "\n")
    text = text.replace("\x07", "\t")
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
    deleted, rows = _list_marked(word, table, *_DELETED), _list_marked(word, table, *_ROW_END)
    texts = []
    for index in range(count):
        where = struct.unpack_from("<I", table, offset + 5 + 4 * (count + 1) + 8 * index + 2)[0]
        characters = places[index + 1] - places[index]
        narrow = bool(where & 0x40000000)
        start = (where & 0x3FFFFFFF) // 2 if narrow else where
        end = start + (characters if narrow else 2 * characters)
        for first, last, ends_row in _split(start, end, deleted, rows):
            text = word[first:last].decode("cp1252" if narrow else "utf-16-le", "replace")
            texts.append(text[:-1] + "\n" if ends_row and text.endswith("\x07") else text)
    return "".join(texts)


def _split(start: int, end: int, deleted: list[Span], rows: list[Span]) -> Iterator[tuple[int, int, bool]]:
    """Yield (start, end, whether a row ends there) of what is not deleted in a piece."""
    edges = sorted({start, end, *_list_edges(start, end, deleted), *_list_edges(start, end, rows)})
    for first, last in pairwise(edges):
        if not _covers(deleted, first):
            yield first, last, _covers(rows, first) and not _covers(rows, last)


def _list_edges(start: int, end: int, spans: list[Span]) -> Iterator[int]:
    """Yield the borders of spans that lie within a piece."""
    for index in range(max(0, bisect_right(spans, (start, 0)) - 1), len(spans)):
        if spans[index][0] >= end:
            break
        yield from (edge for edge in spans[index] if start < edge < end)


def _covers(spans: list[Span], place: int) -> bool:
    """Return whether a byte lies in one of the spans, which are in order."""
    index = bisect_right(spans, (place, 1 << 40)) - 1
    return index >= 0 and spans[index][0] <= place < spans[index][1]


def _list_marked(word: bytes, table: bytes, pointer: int, width: int, wanted: int) -> list[Span]:
    """Return where in the file there are characters or paragraphs with a property, as far as its pages can be read."""
    spans: list[Span] = []
    try:
        offset, length = struct.unpack_from("<II", word, pointer)
        count = (length - 4) // 8
        numbers = struct.unpack_from(f"<{max(0, count)}I", table, offset + 4 * (count + 1))
        for page in dict.fromkeys(number & 0x3FFFFF for number in numbers):
            base = page * _PAGE
            runs = word[base + _PAGE - 1]
            borders = struct.unpack_from(f"<{runs + 1}I", word, base)
            for index, span in enumerate(pairwise(borders)):
                place = word[base + 4 * (runs + 1) + width * index]
                if place and _holds(_read_properties(word, base + 2 * place, width), wanted):
                    spans.append(span)
    except (struct.error, IndexError):
        pass  # the text is there all the same
    return sorted(span for span in spans if span[0] < span[1])


def _read_properties(word: bytes, place: int, width: int) -> bytes:
    """Return the properties of a run of characters, or of a paragraph behind the number of its style."""
    if width == 1:
        return word[place + 1 : place + 1 + word[place]]
    if word[place]:
        return word[place + 3 : place + 2 * word[place]]
    return word[place + 4 : place + 2 + 2 * word[place + 1]]


def _holds(properties: bytes, wanted: int) -> bool:
    """Return whether a property is set."""
    place = 0
    while place + 3 <= len(properties):
        name = struct.unpack_from("<H", properties, place)[0]
        if name == wanted:
            return properties[place + 2] == 1
        length = _OPERANDS[name >> 13] or 1 + properties[place + 2]
        if name == 0xD608:  # a table's columns: the only length of two bytes
            length = 1 + int(struct.unpack_from("<H", properties + b"\0", place + 2)[0])
        place += 2 + length
    return False


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
