"""The manifest: which files are known, which content they hold, which folders are kept in step.

Owns one SQLite file beside the LanceDB tables. It is not a LanceDB table because it changes with every single
file: 300 single-file updates left 602 versions in LanceDB, and a question such as "every file below this folder"
is an index range here. It knows nothing of vectors; it never touches the files it names.

A document is content, not a place: it is identified by the hash of its bytes and the ending of its name, and any
number of files may hold it. A rename or a copy is therefore one row here and no work for the encoder.
A document is visible only when `complete` is set, which happens after its passages are all stored.
"""

import os
import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from drama_app.database import Database
from drama_app.file_filters import BELOW, as_sql, join_patterns, make_storable, marks, range_below, split_patterns
from drama_app.file_names import fold_name, holds_words
from drama_app.records import Filters, Skipped


@dataclass(frozen=True, slots=True)
class FileRow:
    """What is known of one file; `status` is "indexed", "failed" or "passed over"."""

    path: Path
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    checked_ns: int
    status: str
    reason: str
    document: int | None


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """A content that is, or is about to be, in the index."""

    id: int
    hash: bytes
    suffix: str
    kind: str
    title: str
    notes: str
    passages: int
    complete: bool


@dataclass(frozen=True, slots=True)
class RootRow:
    """A folder (or a single file) that the index follows."""

    path: Path
    synced: float | None
    state: str
    device: int | None
    hidden: bool
    """Names that start with a dot are indexed too."""
    ignore: tuple[str, ...]
    """Patterns of its own, as in a .gitignore."""


_HIDE = """UPDATE documents SET complete = 0 WHERE complete > 0
AND NOT EXISTS (SELECT 1 FROM files WHERE files.document = documents.id)"""
"""`complete` is 1 for a document that is visible and known, 2 for one that is visible and to be read anew."""


class Manifest(Database):
    """The tables as records; see `Database` for what holds of every call."""

    def __init__(self, path: Path) -> None:
        """Opens or creates the manifest at `path`; see `Database`."""
        super().__init__(path)
        known = "SELECT EXISTS (SELECT 1 FROM names), EXISTS (SELECT 1 FROM files WHERE document IS NOT NULL)"
        if self._rows(known)[0] == (0, 1):
            self._keep_names(self.files())

    # --- settings of the index -------------------------------------------------------------------------------

    def get(self, key: str, default: str = "") -> str:
        """A setting of the index, for example the retriever's fingerprint."""
        rows = self._rows("SELECT value FROM meta WHERE key = ?", (key,))
        return str(rows[0][0]) if rows else default

    def put(self, **settings: str) -> None:
        """Keeps settings, all at once."""
        with self.transaction():
            values = [(key, make_storable(value)) for key, value in settings.items()]
            self._connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", values)

    # --- roots -----------------------------------------------------------------------------------------------

    def roots(self) -> list[RootRow]:
        """Every root, in order of path."""
        return [
            RootRow(_path(path), synced, state, device, bool(hidden), split_patterns(ignore))
            for path, synced, state, device, hidden, ignore in self._rows("SELECT * FROM roots ORDER BY path")
        ]

    def add_root(self, path: Path, *, hidden: bool | None = None, ignore: Sequence[str] | None = None) -> None:
        """Follows `path` from now on, even if it was forgotten; what was forgotten below it stays out.

        Args:
            path: Absolute.
            hidden: Index hidden names too; None leaves it as it is.
            ignore: Patterns of the root's own; None leaves them as they are.
        """
        raw = os.fsencode(path)
        with self.transaction():
            self._connection.execute("INSERT OR IGNORE INTO roots (path) VALUES (?)", (raw,))
            if hidden is not None:
                self._connection.execute("UPDATE roots SET hidden = ? WHERE path = ?", (hidden, raw))
            if ignore is not None:
                self._connection.execute("UPDATE roots SET ignore = ? WHERE path = ?", (join_patterns(ignore), raw))
            self.include(path)

    def remove_root(self, path: Path) -> bool:
        """Stops following `path`. True if it was a root."""
        with self.transaction():
            cursor = self._connection.execute("DELETE FROM roots WHERE path = ?", (os.fsencode(path),))
            return cursor.rowcount > 0

    def mark_root(self, path: Path, *, state: str, device: int | None, synced: float | None) -> None:
        """Records how a root was found; `synced` None keeps the time of the last complete sync.

        A paused root stays paused: a sync that was under way when a person paused it must not wake it.
        """
        with self.transaction():
            self._connection.execute(
                "UPDATE roots SET state = ?, device = coalesce(?, device), synced = coalesce(?, synced) "
                "WHERE path = ? AND state <> 'paused'",
                (state, device, synced, os.fsencode(path)),
            )

    def pause_root(self, path: Path, *, paused: bool) -> bool:
        """Leaves a root alone from now on, or follows it again. False if that was so already."""
        with self.transaction():
            cursor = self._connection.execute(
                "UPDATE roots SET state = ? WHERE path = ? AND (state = 'paused') <> ?",
                ("paused" if paused else "incomplete", os.fsencode(path), paused),
            )
            return cursor.rowcount > 0

    def exclude(self, path: Path) -> None:
        """Leaves `path` out of every later sync, until it is named itself."""
        with self.transaction():
            self._connection.execute("INSERT OR IGNORE INTO excluded VALUES (?)", (os.fsencode(path),))

    def include(self, path: Path) -> None:
        """Wants a path again that was forgotten; what was forgotten below it stays out, since nobody named it."""
        with self.transaction():
            self._connection.execute("DELETE FROM excluded WHERE path = ?", (os.fsencode(path),))

    def excluded(self) -> frozenset[Path]:
        """What a person asked to forget."""
        return frozenset(_path(path) for (path,) in self._rows("SELECT path FROM excluded"))

    # --- files -----------------------------------------------------------------------------------------------

    def files(self, below: Path | None = None) -> Iterator[FileRow]:
        """Known files, of the whole index or at and below a path."""
        sql, values = "SELECT * FROM files", ()
        if below is not None:
            sql, values = f"SELECT * FROM files WHERE {BELOW}", range_below(below)  # type: ignore[assignment]
        for path, *rest in self._rows(sql, values):
            yield FileRow(_path(path), *rest)

    def file(self, path: Path) -> FileRow | None:
        """The row of one file."""
        rows = self._rows("SELECT * FROM files WHERE path = ?", (os.fsencode(path),))
        return FileRow(_path(rows[0][0]), *rows[0][1:]) if rows else None

    def put_files(self, rows: Iterable[FileRow]) -> None:
        """Adds or replaces rows of files."""
        rows = list(rows)
        values = [
            (os.fsencode(r.path), r.size, r.mtime_ns, r.ctime_ns, r.inode, r.checked_ns, r.status,
             make_storable(r.reason), r.document) for r in rows
        ]  # fmt: skip
        with self.transaction():
            self._connection.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
            self._keep_names(rows)

    def _keep_names(self, rows: Iterable[FileRow]) -> None:
        names = [(row.document, make_storable(fold_name(row.path))) for row in rows if row.document is not None]
        with self.transaction():
            self._connection.executemany("INSERT OR IGNORE INTO names VALUES (?, ?)", names)

    def named(self, words: Sequence[str], *, limit: int = 100) -> list[int]:
        """Documents that a file whose name holds all of `words` holds, or held once; shortest names first.

        Args:
            words: Folded, see `name_words`.
            limit: Names at most that are looked at.
        """
        held = " AND ".join(["instr(name, ?)"] * len(words))
        sql = f"SELECT document, name FROM names WHERE {held} ORDER BY length(name), document LIMIT ?"
        rows = self._rows(sql, (*sorted(words, key=len, reverse=True), limit))
        return list(dict.fromkeys(document for document, name in rows if holds_words(name, words)))

    def remove_files(self, paths: Iterable[Path]) -> int:
        """Forgets files; their documents stay until `orphans` are removed, so that a move finds them."""
        with self.transaction():
            cursor = self._connection.executemany(
                "DELETE FROM files WHERE path = ?", [(os.fsencode(path),) for path in paths]
            )
            return cursor.rowcount

    def skipped(self, status: str) -> tuple[Skipped, ...]:
        """The files that are not searchable: "failed" or "passed over", with reasons."""
        rows = self._rows("SELECT path, reason FROM files WHERE status = ? ORDER BY path", (status,))
        return tuple(Skipped(_path(path), reason) for path, reason in rows)

    def paths_of(self, documents: Sequence[int]) -> dict[int, list[FileRow]]:
        """The files that hold each of some documents, newest first."""
        found: dict[int, list[FileRow]] = {}
        for chunk in _chunks(documents):
            sql = f"SELECT * FROM files WHERE document IN ({marks(chunk)}) ORDER BY mtime_ns DESC, path"
            for path, *rest in self._rows(sql, chunk):
                row = FileRow(_path(path), *rest)
                assert row.document is not None
                found.setdefault(row.document, []).append(row)
        return found

    # --- documents -------------------------------------------------------------------------------------------

    def find_document(self, digest: bytes, suffix: str) -> DocumentRow | None:
        """The document with this content, complete or not."""
        rows = self._rows("SELECT * FROM documents WHERE hash = ? AND suffix = ?", (digest, make_storable(suffix)))
        return _document(rows[0]) if rows else None

    def begin_document(self, digest: bytes, suffix: str) -> int:
        """A number for a new, not yet visible document; one of this content that is not known gives up its place.

        That one stays, under a random hash, until the end of the sync: its vectors serve again."""
        with self.transaction():
            self._connection.execute(
                "UPDATE documents SET hash = randomblob(16) WHERE hash = ? AND suffix = ? AND complete <> 1",
                (digest, make_storable(suffix)),
            )
            cursor = self._connection.execute(
                "INSERT INTO documents (hash, suffix) VALUES (?, ?)", (digest, make_storable(suffix))
            )
            assert cursor.lastrowid is not None
            return cursor.lastrowid

    def name_document(self, number: int, title: str) -> None:
        """Keeps the title of a document under way, which is part of what is embedded of it."""
        with self.transaction():
            self._connection.execute("UPDATE documents SET title = ? WHERE id = ?", (make_storable(title), number))

    def title_of(self, number: int) -> str:
        """The title of a document, visible or not."""
        rows = self._rows("SELECT title FROM documents WHERE id = ?", (number,))
        return str(rows[0][0]) if rows else ""

    def finish_document(
        self, number: int, *, kind: str, title: str, notes: Sequence[str], passages: int, pages: Sequence[int] = ()
    ) -> None:
        """Makes a document visible: its passages are all stored. `pages` are the offsets where its pages start."""
        with self.transaction():
            if pages:
                starts = struct.pack(f"<{len(pages)}I", *pages)
                self._connection.execute("INSERT OR REPLACE INTO pages VALUES (?, ?)", (number, starts))
            self._connection.execute(
                "UPDATE documents SET kind = ?, title = ?, notes = ?, passages = ?, complete = 1 WHERE id = ?",
                (kind, make_storable(title), make_storable("\n".join(notes)), passages, number),
            )

    def documents(self, numbers: Sequence[int]) -> dict[int, DocumentRow]:
        """The visible ones among some documents."""
        found = {}
        for chunk in _chunks(numbers):
            for row in self._rows(f"SELECT * FROM documents WHERE complete > 0 AND id IN ({marks(chunk)})", chunk):
                found[row[0]] = _document(row)
        return found

    def page_starts(self, numbers: Sequence[int]) -> dict[int, tuple[int, ...]]:
        """Where the pages of some documents start, as offsets into their texts; only of those with pages."""
        found = {}
        for chunk in _chunks(numbers):
            for number, starts in self._rows(f"SELECT * FROM pages WHERE document IN ({marks(chunk)})", chunk):
                found[number] = struct.unpack(f"<{len(starts) // 4}I", starts)
        return found

    def visible(self) -> dict[int, int]:
        """Every visible document with its number of passages."""
        return dict(self._rows("SELECT id, passages FROM documents WHERE complete > 0"))

    def unfinished(self) -> list[int]:
        """Documents that a killed run left behind, or that wait to be removed."""
        return [number for (number,) in self._rows("SELECT id FROM documents WHERE complete = 0")]

    def hide_orphans(self) -> list[int]:
        """Hides every document that no file holds any more and returns all hidden ones, for removal."""
        with self.transaction():
            self._connection.execute(_HIDE)
            return self.unfinished()

    def distrust(self, numbers: Sequence[int]) -> None:
        """Forgets that these documents were ever complete, and the files that hold them."""
        with self.transaction():
            for chunk in _chunks(numbers):
                self._connection.execute(f"DELETE FROM files WHERE document IN ({marks(chunk)})", chunk)
                self._connection.execute(f"UPDATE documents SET complete = 0 WHERE id IN ({marks(chunk)})", chunk)

    def supersede(self, numbers: Sequence[int]) -> None:
        """Has the next sync look at the files that hold these documents; what it reads then takes their place.

        Until then each is found as before; only its content does not count as known.
        """
        with self.transaction():
            for chunk in _chunks(numbers):
                self._connection.execute(
                    f"UPDATE files SET checked_ns = mtime_ns WHERE document IN ({marks(chunk)})", chunk
                )
                self._connection.execute(f"UPDATE documents SET complete = 2 WHERE id IN ({marks(chunk)})", chunk)

    def hide_replaced(self, numbers: Sequence[int]) -> None:
        """Hides those of some documents that no file holds any more: as ghosts they would fill searches."""
        with self.transaction():
            self._connection.executemany(f"{_HIDE} AND id = ?", [(number,) for number in numbers])

    def delete_documents(self, numbers: Iterable[int]) -> None:
        """Forgets documents whose passages are gone."""
        with self.transaction():
            values = [(number,) for number in numbers]
            self._connection.executemany("DELETE FROM documents WHERE id = ?", values)
            self._connection.executemany("DELETE FROM names WHERE document = ?", values)
            self._connection.executemany("DELETE FROM pages WHERE document = ?", values)

    def matching(self, filters: Filters) -> set[int] | None:
        """The visible documents with at least one file that meets the filters; None if all do.

        Languages belong to passages and are not looked at here.
        """
        conditions, values = as_sql(filters)
        if not conditions:
            return None
        sql = (
            "SELECT DISTINCT document FROM files JOIN documents ON documents.id = files.document "
            f"WHERE complete > 0 AND {' AND '.join(conditions)}"
        )
        return {number for (number,) in self._rows(sql, values)}

    def counts(self) -> tuple[int, int]:
        """Visible documents and their passages, counted over the documents that some file holds."""
        return self._rows(
            "SELECT count(*), coalesce(sum(passages), 0) FROM documents WHERE complete > 0 AND EXISTS "
            "(SELECT 1 FROM files WHERE files.document = documents.id)"
        )[0]

    def counts_below(self, path: Path) -> tuple[int, int]:
        """Visible documents and passages at and below a path."""
        return self._rows(
            "SELECT count(*), coalesce(sum(passages), 0) FROM documents WHERE complete > 0 AND id IN "
            f"(SELECT document FROM files WHERE {BELOW})",
            range_below(path),
        )[0]

    def kinds(self) -> dict[str, int]:
        """Visible documents a kind, most first."""
        return dict(
            self._rows(
                "SELECT kind, count(*) AS n FROM documents WHERE complete > 0 GROUP BY kind ORDER BY n DESC, kind"
            )
        )

    def number_of(self, status: str) -> int:
        """How many files have a status."""
        return int(self._rows("SELECT count(*) FROM files WHERE status = ?", (status,))[0][0])


def now_ns() -> int:
    """The wall clock, as files' times are kept."""
    return time.time_ns()


def _path(raw: bytes) -> Path:
    return Path(os.fsdecode(raw))


def _document(row: tuple) -> DocumentRow:  # type: ignore[type-arg]
    number, digest, suffix, kind, title, notes, passages, complete = row
    return DocumentRow(number, digest, suffix, kind, title, notes, passages, complete == 1)


def _chunks(values: Sequence[int], size: int = 500) -> Iterator[Sequence[int]]:
    """SQLite allows 999 values a statement in its oldest builds."""
    for start in range(0, len(values), size):
        yield values[start : start + size]
