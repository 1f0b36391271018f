"""Word files of 1997 to 2007: what their properties say of the text."""

import struct
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from drama_app.extract.legacy import read_doc
from drama_app.extract.source import Source

TEXT_AT, CHARACTERS_AT, PARAGRAPHS_AT = 0x400, 0x800, 0xA00
DELETED, ROW_END = b"\x00\x08\x01", b"\x17\x24\x01"


def make_page(runs: list[tuple[int, bytes]], width: int) -> bytes:
    """Return a page of properties: where each run ends in the text, and its properties."""
    page = bytearray(512)
    struct.pack_into(f"<{len(runs) + 1}I", page, 0, TEXT_AT, *(TEXT_AT + end for end, _ in runs))
    place = 300
    for index, (_, properties) in enumerate(runs):
        if properties:
            page[4 * (len(runs) + 1) + width * index] = place // 2
            head = bytes([len(properties)]) if width == 1 else bytes([0, (len(properties) + 3) // 2, 0, 0])
            page[place : place + len(head) + len(properties)] = head + properties
            place += 20
    page[511] = len(runs)
    return bytes(page)


def read(monkeypatch: pytest.MonkeyPatch, text: bytes, characters: bytes, paragraphs: bytes) -> str:
    """Return what is read of a Word file with this text and these pages of properties."""
    word = bytearray(0xC00)
    struct.pack_into("<HH", word, 0, 0xA5EC, 0x00C1)
    struct.pack_into("<H", word, 0x0A, 0x0200)
    struct.pack_into("<IIII", word, 0x00FA, 0, 12, 12, 12)
    pieces = b"\x02" + struct.pack("<III", 16, 0, len(text)) + struct.pack("<HIH", 0, 0x40000000 | 2 * TEXT_AT, 0)
    struct.pack_into("<II", word, 0x01A2, 24, len(pieces))
    word[TEXT_AT : TEXT_AT + len(text)] = text
    word[CHARACTERS_AT : CHARACTERS_AT + 512], word[PARAGRAPHS_AT : PARAGRAPHS_AT + 512] = characters, paragraphs
    table = b"".join(struct.pack("<III", TEXT_AT, TEXT_AT, at // 512) for at in (CHARACTERS_AT, PARAGRAPHS_AT))
    streams = {"WordDocument": bytes(word), "1Table": table + pieces}

    class Container:
        def __init__(self, stream: Any) -> None: ...
        def __enter__(self) -> "Container":
            return self

        def __exit__(self, *error: object) -> None: ...
        def exists(self, name: str) -> bool:
            return name in streams

        def openstream(self, name: str) -> BytesIO:
            return BytesIO(streams[name])

        def get_metadata(self) -> SimpleNamespace:
            return SimpleNamespace(title=None)

    monkeypatch.setattr("olefile.OleFileIO", Container)
    return read_doc(Source(path=Path("a.doc"), name="a.doc", data=b"x")).text


def test_tracked_deletions_of_a_word_file_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Characters that are marked as deleted are no text, behind other properties too; those marked so no longer are."""
    runs = [(8, b""), (16, b"\x35\x08\x01" + DELETED), (19, b"\x00\x08\x00"), (30, b"")]
    text = b"we meet Tuesday on Friday.\r"
    assert read(monkeypatch, text, make_page(runs, 1), make_page([(30, b"")], 13)) == "we meet on Friday."


def test_a_row_of_a_word_file_with_an_empty_cell_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row ends where its properties say so, not at an empty cell; a file without them ends it at two marks."""
    text = b"a\x07\x07c\x07\x07d\x07e\x07f\x07\x07end\r"
    columns = b"\x08\xd6\x05\x00\x01\x02\x03\x04"
    rows = [(2, b""), (3, b""), (5, b""), (6, columns + ROW_END), (12, b""), (13, ROW_END), (17, b"")]
    plain = make_page([(30, b"")], 1)
    assert read(monkeypatch, text, plain, make_page(rows, 13)) == "a | c\nd | e | f\n\nend"
    assert read(monkeypatch, text, b"\xff" * 512, b"\xff" * 512) == "a\n\nc\n\nd | e | f\n\nend"
