"""How much work a folder would be, from names and sizes alone.

Owns the figures by kind of file; it reads no file and changes nothing. Without an index it leaves none behind.
"""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from drama_app.config import Settings
from drama_app.database import IN_MEMORY
from drama_app.extract.kinds import CODE_SUFFIXES
from drama_app.manifest import Manifest
from drama_app.records import Estimate, Skipped
from drama_app.roots import rules_for
from drama_app.scan import check_root, scan

RATE = 25.0
"""Passages a second where this machine has not indexed yet: 27 were measured on two cores, 256 tokens each."""
FILES_A_SECOND = 40.0
"""Files read a second by one worker: pages of PDF and office files; what has no text takes as long."""
DISK = 4_600
"""Bytes of index a passage: 4.6 GB for a million, vectors of 384 and both indexes included."""
MOST_PASSAGES = 20_000
"""Of one file: a table or log of more is rare, and one would drown the rest of the estimate."""
TELL_SECONDS = 0.25

_BYTES = {
    "text": 800, "table": 300, "code": 600, "markup": 1_400, "web": 4_000, "mail": 5_000, "pdf": 16_000,
    "office": 16_000, "ebook": 16_000, "slides": 30_000,
}  # fmt: skip
"""Bytes of file a passage; every file that has text has at least one.

Measured, bytes a passage over all files of a kind, those without text included: Markdown and reST 540 to 630, .txt 510
(word lists) to 1,020 (prose), UTF-16 and Indic 1,600 to 2,400, CSV 285, code 590 to 635, JSON 760, XML 1,340 to 2,020,
HTML 1,500 to 1,700 (manuals) and 6,500 (saved pages), mail 1,300 to 9,300, PDF 2,800 (text only), 9,300 (papers),
16,400 (a mixed folder) and 25,000 (a quarter of it scans), DOCX 14,500 (median), ODT 10,900, XLSX 13,500, EPUB 16,800,
PPTX 30,400.
"""
_FAMILIES = {
    "text": "txt text md markdown rst org tex jsonl log srt vtt toml yaml yml ini cfg conf adoc ics vcf",
    "table": "csv tsv",
    "code": " ".join(CODE_SUFFIXES).replace(".", ""),
    "markup": "xml json kml gpx ipynb",
    "pdf": "pdf",
    "office": "docx docm dotx odt ott doc dot rtf xlsx xlsm xls ods",
    "slides": "pptx pptm ppsx ppt pps odp",
    "mail": "eml mbox mbx msg mht mhtml",
    "web": "html htm xhtml",
    "ebook": "epub",
}
_FAMILY_OF = {suffix: family for family, suffixes in _FAMILIES.items() for suffix in suffixes.split()}


def estimate(
    settings: Settings,
    path: Path,
    *,
    manifest: Manifest | None = None,
    tell: Callable[[Estimate], None] | None = None,
    stop: threading.Event | None = None,
) -> Estimate:
    """Walks `path` under the ignore rules.

    Args:
        settings: Of the index, which need not exist.
        path: A folder or a file.
        manifest: The index's own, whose rules and rate then count.
        tell: Told what was counted so far.
        stop: Set it to end the walk.

    Raises:
        UsageError: there is nothing to index there.
    """
    path = check_root(path, yes=True)
    stop = stop or threading.Event()
    if manifest is not None:
        return _walk(manifest, settings, path, tell or (lambda _: None), stop)
    known_nothing = Manifest(Path(IN_MEMORY))  # kept nowhere: whoever decides against it leaves no trace
    try:
        return _walk(known_nothing, settings, path, tell or (lambda _: None), stop)
    finally:
        known_nothing.close()


def _walk(
    manifest: Manifest, settings: Settings, path: Path, tell: Callable[[Estimate], None], stop: threading.Event
) -> Estimate:
    rate = float(manifest.get("passages_per_second") or RATE)
    files = size = passages = 0
    told = time.monotonic()

    def count(*, complete: bool) -> Estimate:
        seconds = max(passages / rate, files / FILES_A_SECOND)
        return Estimate(files, size, passages, seconds, passages * DISK, complete=complete)

    for found in scan(path, rules_for(manifest, settings, path), stop=stop):
        if time.monotonic() - told > TELL_SECONDS:
            told = time.monotonic()
            tell(count(complete=False))
        if isinstance(found, Skipped) or found.size > settings.max_file_bytes or not found.size:
            continue
        files += 1
        size += found.size
        passages += passages_in(found.path, found.size)
    return count(complete=not stop.is_set())


def passages_in(path: Path, size: int) -> int:
    """Passages that a file of this name and size likely holds; 0 where the name promises no text."""
    family = _FAMILY_OF.get(os.path.splitext(path.name)[1][1:].lower())  # noqa: PTH122  a third of the time of Path
    return min(MOST_PASSAGES, -(-size // _BYTES[family])) if family else 0
