"""Filters on files, as a condition in the manifest's SQL and as a check of one row: the two must agree.

Languages belong to passages and are not looked at here.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from drama_app.records import Filters

if TYPE_CHECKING:
    from drama_app.manifest import FileRow

BELOW = "(path = ? OR (path > ? AND path < ?))"
"""SQL for "at or below a path", with the values of `range_below`."""


def follow_folders(filters: Filters) -> Filters:
    """The same with folders as the index knows them, without links and "..". Touches the disk."""
    return replace(filters, folders=tuple(dict.fromkeys(folder.resolve() for folder in filters.folders)))


def passes(row: "FileRow", filters: Filters, kind: str) -> bool:
    """Whether one file meets the filters (languages left aside); the twin of `as_sql` for one row."""
    if filters.folders and not any(row.path == folder or folder in row.path.parents for folder in filters.folders):
        return False
    if filters.types and not {kind, row.path.suffix.lower()} & set(_types(filters)):
        return False
    modified = row.mtime_ns / 1e9
    return not (
        (filters.since is not None and modified < filters.since)
        or (filters.until is not None and modified > filters.until)
    )


def range_below(path: Path) -> tuple[bytes, bytes, bytes]:
    """Values for `BELOW`: the path itself, and the range of everything under it ("0" follows "/")."""
    raw = os.fsencode(path)
    stem = raw.rstrip(os.sep.encode())
    return raw, stem + os.sep.encode(), stem + bytes([os.sep.encode()[0] + 1])


def make_storable(value: str) -> str:
    """The value without the half characters by which Python keeps file names that are no UTF-8: SQLite refuses them."""
    return value.encode("utf-8", "replace").decode()


def join_patterns(patterns: Sequence[str]) -> bytes:
    """Ignore patterns as they are kept: as bytes, since one may be meant for names that are no UTF-8."""
    return os.fsencode("\n".join(patterns))


def split_patterns(kept: str | bytes) -> tuple[str, ...]:
    """The patterns that are kept; indexes of before hold text."""
    return tuple(os.fsdecode(kept).split("\n")) if kept else ()


def _types(filters: Filters) -> tuple[str, ...]:
    """Each type as a kind and as an ending: "md" means files named so, "markdown" the kind."""
    names = [make_storable(name.lower().removeprefix(".")) for name in filters.types]
    return tuple(dict.fromkeys([*names, *(f".{name}" for name in names)]))


def as_sql(filters: Filters) -> tuple[list[str], list[object]]:
    """Conditions on files joined with documents, all of which must hold, and the values of their placeholders."""
    conditions: list[str] = []
    values: list[object] = []
    if filters.folders:
        conditions.append("(" + " OR ".join([BELOW] * len(filters.folders)) + ")")
        for folder in filters.folders:
            values += range_below(folder)
    if types := _types(filters):
        conditions.append(f"(kind IN ({marks(types)}) OR suffix IN ({marks(types)}))")
        values += [*types, *types]
    if filters.since is not None:
        conditions.append("mtime_ns >= ?")
        values.append(_nanoseconds(filters.since))
    if filters.until is not None:
        conditions.append("mtime_ns <= ?")
        values.append(_nanoseconds(filters.until))
    return conditions, values


def _nanoseconds(seconds: float) -> int:
    """As SQLite can hold it: its integers end in the year 2262."""
    if abs(seconds) >= 2**63 / 1e9:  # first: an infinite time is no integer
        return 2**63 - 1 if seconds > 0 else -(2**63)
    return int(seconds * 1e9)


def marks(values: Sequence[object]) -> str:
    """Placeholders for some values."""
    return ",".join("?" * len(values))
