"""What a file is: by content and by name."""

import io
import os
import zipfile
from importlib import import_module
from pathlib import Path
from random import Random

import pytest

from drama_app.errors import ExtractionError
from drama_app.extract import KIND_SUFFIXES, Source, extract, extract_source
from drama_app.extract.kinds import KINDS, detect

PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
MAIL = b"From: a@example.org\r\nTo: b@example.org\r\nSubject: Hi\r\nDate: Mon, 1 Jan 2024 10:00:00\r\n\r\nText\r\n"

LINES = b"a line of a log\n" * 5_000
NOISE = Random(1).randbytes(500_000)


def make_zip(*names: str, mimetype: str = "") -> bytes:
    """Return a zip container with empty members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as container:
        if mimetype:
            container.writestr("mimetype", mimetype)
        for name in names:
            container.writestr(name, "x")
    return buffer.getvalue()


DOCX = make_zip("[Content_Types].xml", "word/document.xml")


def look_at(name: str, data: bytes) -> str:
    """Return the kind of bytes under a name."""
    return detect(Source(path=Path(name), name=name, data=data))


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("a.pdf", b"%PDF-1.7\n", "pdf"),
        ("a.txt", b"junk before\r\n%PDF-1.4\n\x00\x01", "pdf"),
        ("a", b"junk before\r\n%PDF-1.4\n", "pdf"),
        ("a.md", b"# PDF\n\nA file starts with %PDF-1.7 and then binary.\n", "markdown"),
        ("a.md", b"ID3 tags are a container of metadata.\n", "markdown"),
        ("a.txt", b"RIFF (Resource Interchange File Format)\n\x1b[1mbold\x1b[0m\x0c", "text"),
        ("a.rst", "GGUF is a format for größere Modelle.\n".encode(), "rst"),
        ("a.docx", DOCX, "docx"),
        ("a.txt", DOCX, "docx"),
        ("without suffix", DOCX, "docx"),
        ("a.docx", b"plain words under a wrong name", "text"),
        ("a.zip", make_zip("[Content_Types].xml", "ppt/presentation.xml"), "pptx"),
        ("a", make_zip("_rels/.rels", "xl/workbook.xml"), "xlsx"),
        ("a", make_zip(mimetype="application/vnd.oasis.opendocument.text"), "odt"),
        ("a", make_zip(mimetype="application/vnd.oasis.opendocument.spreadsheet"), "ods"),
        ("a", make_zip(mimetype="application/vnd.oasis.opendocument.presentation-template"), "odp"),
        ("a", make_zip(mimetype="application/epub+zip"), "epub"),
        ("a.doc", b"{\\rtf1\\ansi x}", "rtf"),
        ("a.xls", b"<html><body><table><tr><td>1</td></tr></table></body></html>", "html"),
        ("a.xls", b"<table border=1><tr><td>1</td></tr></table>", "html"),
        ("a.doc", b"\r\n<style>td {color: red}</style><table></table>", "html"),
        ("a.xls", b"<meta charset=utf-8><TABLE></TABLE>", "html"),
        ("a.txt", b"<table border=1> is how a table starts", "text"),
        ("page.txt", b"\xef\xbb\xbf<!DOCTYPE html><title>x</title>", "html"),
        ("page", "<!doctype HTML><title>x</title>".encode("utf-16"), "html"),
        ("feed", b"<?xml version='1.0'?><rss></rss>", "xml"),
        ("template.php", b"<!DOCTYPE html><?php ?>", "code"),
        ("letter", MAIL, "eml"),
        ("saved.html", MAIL, "eml"),
        ("memo.txt", MAIL.replace(b"\r\n\r\n", b"\r\nProject: Herring\r\n\r\n"), "text"),
        ("mail.txt", b"Message-ID: <1@example.org>\r\n" + MAIL, "eml"),
        ("inbox", b"From a@example.org Mon Jan  1 10:00:00 2024\n" + MAIL, "mbox"),
        ("notes.txt", b"From: the beginning\nit was clear\nthat: this\nis no mail\n", "text"),
        ("run", b"#!/usr/bin/env python3\nprint(1)\n", "code"),
        ("README", b"words", "text"),
        ("a.unknown", "мир".encode("koi8-r"), "text"),
        ("A.MD", b"# x", "markdown"),
        ("x", b"BEGIN:VCARD\nFN:x\nEND:VCARD", "vcf"),
        ("x", b"BEGIN:VCALENDAR\n", "ics"),
        ("x", b"WEBVTT\n\n", "vtt"),
        ("x.txt", b"1\r\n00:00:01,000 --> 00:00:02,000\r\nHi\r\n", "srt"),
        ("x.json", b'{"cells": []}', "json"),
        ("x", b'{"cells": [{"cell_type": "code"}]}', "ipynb"),
        ("x", b"% a comment\n\\documentclass{article}", "latex"),
    ],
)
def test_content_and_name_decide_together(name: str, data: bytes, kind: str) -> None:
    """Binary formats are known by content under any name; kinds of text by their name unless content is plain."""
    assert look_at(name, data) == kind


@pytest.mark.parametrize(
    ("name", "data", "reason", "passed_over"),
    [
        ("a.txt", b"", "empty file", True),
        ("photo.png", PNG, "PNG image: no text inside", True),
        ("photo.jpg", PNG, "PNG image: no text inside", True),
        ("report.pdf", PNG, "a PNG image named .pdf", False),
        ("song.mp3", b"ID3\x04" + bytes(40), "audio file: no text", True),
        ("notes.txt", b"ID3\x04" + bytes(40), "an audio file named .txt", False),
        ("clip.ts", (b"\x47" + bytes(187)) * 4, "a video named .ts", False),
        ("lib.so", b"\x7fELF" + bytes(40), "program: no text", True),
        ("font.woff2", b"wOF2" + bytes(40), "font: no text", True),
        ("x.sqlite", b"SQLite format 3\x00" + bytes(40), "database: no text", True),
        ("backup.zip", make_zip("a.txt"), "archive", True),
        ("a.docx", make_zip("a.txt"), "not a Word document", False),
        ("a.docx", DOCX[:60], "damaged Word document", False),
        ("a.xlsb", make_zip("[Content_Types].xml", "xl/workbook.bin"), "save as .xlsx", False),
        ("a.pdf", bytes(range(256)) * 8, "not a PDF: the file does not start as one", False),
        ("a.txt", bytes(range(256)) * 8, "binary data, not text", False),
        ("a.bin", bytes(range(256)) * 8, "binary file: no text inside", True),
        ("a.key", make_zip("Index/Slide.iwa"), "Apple Keynote format: export as PDF", False),
        ("a.msg", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(40), "damaged", False),
    ],
)
def test_what_is_not_read_says_why(name: str, data: bytes, reason: str, passed_over: bool) -> None:
    """The reason is in words for a person, and only what promised text counts as a failure."""
    with pytest.raises(ExtractionError, match=reason) as caught:
        look_at(name, data)
    assert caught.value.passed_over is passed_over


def test_bytes_behind_a_long_text_are_no_text() -> None:
    """Weights behind 80 KB of JSON, or noise behind a text, are refused in words, not encoded for minutes."""
    weights = b"\x08\xd0\x01\0\0\0\0\0" + b'{"a": [0, 1]} ' * 9_000 + NOISE
    for name, data, reason, passed_over in (
        ("x.safetensors", weights, "model file: no text", True),
        ("x.dat", LINES + NOISE, "binary file: no text inside", True),
        ("x.log", LINES + NOISE, "binary data, not text", False),
    ):
        with pytest.raises(ExtractionError, match=reason) as caught:
            look_at(name, data)
        assert caught.value.passed_over is passed_over


def test_a_text_with_bytes_in_it_stays_a_text() -> None:
    """What goes on as text, zeros of a power cut, raw parts of a mail and wide encodings lose nobody their file."""
    for name, data, kind in (
        ("x.log", LINES + NOISE + LINES, "text"),
        ("x.log", LINES + NOISE[:1_000], "text"),
        ("x.log", LINES + bytes(500_000), "text"),
        ("x.mbox", b"From a@example.org Mon Jan  1 10:00:00 2024\n" + MAIL * 1_000 + NOISE, "mbox"),
        ("x.js", b'var x = {"a": 1};\n' * 9_000, "code"),
        ("x.txt", ("мир и покой\n" * 9_000 + "丁布" * 90_000).encode("utf-16"), "text"),
    ):
        assert look_at(name, data) == kind


def test_every_kind_has_its_own_suffixes_and_a_handler() -> None:
    """The table is whole: no suffix twice, every handler can be imported and called."""
    suffixes = [suffix for kind in KINDS for suffix in kind.suffixes]
    assert len(suffixes) == len(set(suffixes))
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in suffixes)
    assert KIND_SUFFIXES["markdown"][0] == ".md"
    for kind in KINDS:
        module, function = kind.handler.split(":")
        assert callable(getattr(import_module(f"drama_app.extract.{module}"), function))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_special_files_are_refused_without_being_opened(tmp_path: Path) -> None:
    """A pipe would block for ever; a folder and a device are no files either."""
    pipe = tmp_path / "pipe.txt"
    os.mkfifo(pipe)
    for path, reason in ((pipe, "a named pipe"), (tmp_path, "a folder"), (Path(os.devnull), "a device")):
        with pytest.raises(ExtractionError, match=reason) as caught:
            extract(path)
        assert caught.value.passed_over


def test_what_cannot_be_opened_is_a_reason(tmp_path: Path) -> None:
    """A link to nothing is no crash."""
    link = tmp_path / "link.txt"
    link.symlink_to(tmp_path / "gone.txt")
    with pytest.raises(ExtractionError, match="no longer there"):
        extract(link)


def test_white_space_is_no_text(tmp_path: Path) -> None:
    """A blank note is counted, not reported."""
    path = tmp_path / "blank.md"
    path.write_text(" \n\t\n")
    with pytest.raises(ExtractionError, match="no text inside") as caught:
        extract(path)
    assert caught.value.passed_over


def test_attachments_end_somewhere(tmp_path: Path) -> None:
    """Nesting beyond the limit is refused before anything is read."""
    with pytest.raises(ExtractionError, match="nested more than 3 deep"):
        extract_source(Source(path=tmp_path, name="a.txt", data=b"words", depth=4))
    assert extract_source(Source(path=tmp_path, name="a.txt", data=b"words", depth=3)).text == "words"
