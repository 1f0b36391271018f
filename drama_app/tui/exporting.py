"""Writes chosen hits to a file, whole or not at all.

Owns the three formats. JSON is exact and the same as `search --json`; CSV and Markdown are for people, so nothing in
them is obeyed by a spreadsheet, a browser or a terminal.
"""

import csv
import io
import json
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote_from_bytes

from drama_app.config import expand_home
from drama_app.errors import DramaError, UsageError
from drama_app.listing import count_of, name_page, shorten_path
from drama_app.output import clean_for_terminal, describe_time, results_to_json
from drama_app.records import Hit, PassageHit, Results
from drama_app.scan import folder_is_there

FORMATS = ("json", "csv", "markdown")
COLUMNS = (
    "rank", "path", "title", "type", "page", "line", "heading", "language", "modified", "document_score",
    "passage_score", "text",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_MARKDOWN = re.compile(r"([\\`*_\[\]<>~|#&$!])")
_LIST = re.compile(r"^(\s*(?:\d+(?=[.)]))?)([-+=.)])", re.MULTILINE)


def export_hits(
    results: Results,
    hits: Sequence[Hit],
    format: str,  # noqa: A002  the word that the person sees
    path: Path,
    *,
    overwrite: bool = False,
) -> str:
    """Writes `hits`, some of `results`, to `path`; returns a sentence that says so.

    Raises:
        UsageError: there is no such format, or the file exists and `overwrite` is False.
        DramaError: the file cannot be written.
    """
    path = expand_home(path).absolute()
    if format not in FORMATS:
        raise UsageError(f"there is no format {format!r}: choose {', '.join(FORMATS[:-1])} or {FORMATS[-1]}")
    chosen = replace(results, hits=tuple(hits))
    if format == "json":
        content = json.dumps(results_to_json(chosen), ensure_ascii=True, indent=2) + "\n"
    else:
        content = _to_csv(chosen) if format == "csv" else _to_markdown(chosen, path.parent)
    encoding = "utf-8-sig" if format == "csv" else "utf-8"  # Excel takes CSV without a mark for the system's encoding
    _write(path, content.encode(encoding, "backslashreplace"), overwrite=overwrite)
    return f"Exported {count_of(len(hits), 'document')} to {shorten_path(path)}"


def _write(path: Path, content: bytes, *, overwrite: bool) -> None:
    """Through a file beside it, which `mkstemp` makes readable for its owner only."""
    if folder_is_there(path):
        raise UsageError(f"{shorten_path(path)} is a folder: add a file name")
    part = None
    try:
        handle, part = tempfile.mkstemp(prefix=".drama-", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if not overwrite and os.path.lexists(path):
            raise UsageError(f"{shorten_path(path)} exists: choose another name, or agree to replace it")
        Path(part).replace(path)
        part = None
    except OSError as error:
        raise DramaError(f"{shorten_path(path)} cannot be written: {error.strerror or error}") from error
    finally:
        if part is not None:
            with suppress(OSError):
                Path(part).unlink()


# --- CSV -----------------------------------------------------------------------------------------------------


def _to_csv(results: Results) -> str:
    sheet = io.StringIO(newline="")
    writer = csv.writer(sheet)
    writer.writerow(COLUMNS)
    for rank, hit in enumerate(results.hits, 1):
        passages: Iterable[PassageHit | None] = hit.passages or (None,)
        writer.writerows([_guard(cell) for cell in _row(rank, hit, passage)] for passage in passages)
    return sheet.getvalue()


def _row(rank: int, hit: Hit, passage: PassageHit | None) -> list[object]:
    file: list[object] = [rank, str(hit.path), hit.title, hit.kind]
    rest: list[object] = [describe_time(hit.modified) or "", round(hit.score, 6)]
    if passage is None:
        return [*file, "", "", "", "", *rest, "", ""]
    place: list[object] = [passage.page or "", passage.line or "", passage.heading, passage.language]
    return [*file, *place, *rest, round(passage.score, 6), passage.text]


def _guard(cell: object) -> object:
    """A text that a spreadsheet would take for a formula gets a mark before it; our own numbers stay numbers."""
    if not isinstance(cell, str):
        return cell
    cleaned = clean_for_terminal(cell, lines=True)
    return f"'{cleaned}" if cleaned.lstrip(" \n").startswith(_FORMULA) else cleaned


# --- Markdown ------------------------------------------------------------------------------------------------


def _to_markdown(results: Results, folder: Path) -> str:
    lines = [f"# {_escape(results.query)}", ""]
    if results.nothing_good_enough:
        lines += ["Nothing was good enough; these are the nearest misses.", ""]
    for hit in results.hits:
        lines += [f"## {_escape(hit.title or hit.path.name)}", ""]
        facts = [f"[{_escape(hit.path.name)}]({_link(hit.path, folder)})", _escape(hit.kind)]
        facts.append((describe_time(hit.modified) or "")[:10])
        lines += [" · ".join(fact for fact in facts if fact), ""]
        for passage in hit.passages:
            lines += [*_quote(hit, passage), ""]
    return "\n".join(lines)


def _quote(hit: Hit, passage: PassageHit) -> Iterable[str]:
    where = f"{name_page(hit.kind)} {passage.page}" if passage.page is not None else ""
    where = where or (f"line {passage.line}" if passage.line is not None else "")
    place = " · ".join(part for part in (where, _escape(passage.heading)) if part)
    if place:
        yield f"{place[0].upper()}{place[1:]}:"
        yield ""
    text = clean_for_terminal(passage.text, lines=True).expandtabs(4)
    for line in _disarm(text).split("\n"):
        yield f"> {line.strip()}".rstrip()


def _escape(text: str) -> str:
    line = " ".join(clean_for_terminal(" ".join(text.split())).split())
    return _disarm(line)


def _disarm(text: str) -> str:
    return _LIST.sub(r"\1\\\2", _MARKDOWN.sub(r"\\\1", text))


def _link(path: Path, folder: Path) -> str:
    """Relative for what lies below the export, so that both can be moved together."""
    if path.is_relative_to(folder):
        return quote_from_bytes(os.fsencode(path.relative_to(folder)))
    return path.as_uri()
