"""The manifest: which files are known, which content they hold, which folders are kept in step.

Owns one SQLite file beside the LanceDB tables. It is not a LanceDB table because it changes with every single
file: 300 single-file updates left 602 versions in LanceDB, and a question such as "every file below this folder"
is an index range here. It knows nothing of vectors; it never touches the files it names.

A document is content, not a place: it is identified by the hash of its bytes and the ending of its name, and any
number of files may hold it. A rename or a copy is therefore one row here and no work for the encoder.
A document is visible only when `complete` is set, which happens after its passages are all stored.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from drama_app.errors import IndexDamagedError
from drama_app.records import Filters, Skipped

SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS roots (
    path BLOB PRIMARY KEY, synced REAL, state TEXT NOT NULL DEFAULT 'never synced', device INTEGER,
    hidden INTEGER NOT NULL DEFAULT 0, ignore TEXT NOT NULL DEFAULT '') WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS excluded (path BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS documents (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used twice: rows of a dead document cannot come back to life
    hash BLOB NOT NULL, suffix TEXT NOT NULL, kind TEXT NOT NULL DEFAULT '', title TEXT NOT NULL DEFAULT '',
    notes TEXT NOT NULL DEFAULT '', passages INTEGER NOT NULL DEFAULT 0, complete INTEGER NOT NULL DEFAULT 0,
    UNIQUE (hash, suffix));
CREATE TABLE IF NOT EXISTS files (
    path BLOB PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL,
    inode INTEGER NOT NULL, checked_ns INTEGER NOT NULL, status TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '',
    document INTEGER REFERENCES documents (id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS files_document ON files (document);
CREATE INDEX IF NOT EXISTS files_status ON files (status) WHERE status <> 'indexed';
"""


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


class Manifest:
    """One SQLite connection, usable from several threads: every call holds a lock."""

    def __init__(self, path: Path) -> None:
        """Opens or creates the manifest at `path`.

        Raises:
            IndexDamagedError: it is not a manifest, or one of another version.
        """
        self._lock = threading.RLock()
        self._depth = 0
        try:
            self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
            # WAL: a search reads while a sync writes. NORMAL: safe against a killed process, which is the promise.
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            version = self._connection.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                self._connection.executescript(_SCHEMA + f"PRAGMA user_version={SCHEMA_VERSION};")
        except sqlite3.OperationalError as error:  # no disk space, no permission, busy: nothing that a purge would mend
            raise IndexDamagedError(f"the manifest {path} cannot be opened: {error}") from error
        except sqlite3.DatabaseError as error:
            raise IndexDamagedError(
                f"the manifest {path} cannot be read ({error}): run `drama-app purge` and index again"
            ) from error
        if version not in (0, SCHEMA_VERSION):
            raise IndexDamagedError(
                f"the index has manifest version {version}, this program needs {SCHEMA_VERSION}: "
                "run `drama-app purge` and index again"
            )

    def close(self) -> None:
        """Closes the connection."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Groups changes: all of them are kept, or none. May be nested."""
        with self._lock:
            outermost = self._depth == 0
            if outermost:
                self._connection.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
                if outermost:
                    self._connection.execute("COMMIT")
            except BaseException:
                if outermost and self._connection.in_transaction:  # a full disk has rolled back by itself
                    self._connection.execute("ROLLBACK")
                raise
            finally:
                self._depth -= 1

    def _rows(self, sql: str, values: Sequence[object] = ()) -> list[tuple]:  # type: ignore[type-arg]
        with self._lock:
            return self._connection.execute(sql, values).fetchall()

    # --- settings of the index -------------------------------------------------------------------------------

    def get(self, key: str, default: str = "") -> str:
        """A setting of the index, for example the retriever's fingerprint."""
        rows = self._rows("SELECT value FROM meta WHERE key = ?", (key,))
        return str(rows[0][0]) if rows else default

    def put(self, **settings: str) -> None:
        """Keeps settings, all at once."""
        with self.transaction():
            values = [(key, _text(value)) for key, value in settings.items()]
            self._connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", values)

    def change_counter(self) -> int:
        """A number that differs after another process has written to the manifest."""
        return int(self._rows("PRAGMA data_version")[0][0])

    # --- roots -----------------------------------------------------------------------------------------------

    def roots(self) -> list[RootRow]:
        """Every root, in order of path."""
        return [
            RootRow(_path(path), synced, state, device, bool(hidden), tuple(ignore.splitlines()))
            for path, synced, state, device, hidden, ignore in self._rows("SELECT * FROM roots ORDER BY path")
        ]

    def add_root(self, path: Path, *, hidden: bool | None = None, ignore: Sequence[str] | None = None) -> None:
        """Follows `path` from now on; something below it that was forgotten is wanted again.

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
                self._connection.execute("UPDATE roots SET ignore = ? WHERE path = ?", ("\n".join(ignore), raw))
            self.include(path)

    def remove_root(self, path: Path) -> bool:
        """Stops following `path`. True if it was a root."""
        with self.transaction():
            cursor = self._connection.execute("DELETE FROM roots WHERE path = ?", (os.fsencode(path),))
            return cursor.rowcount > 0

    def mark_root(self, path: Path, *, state: str, device: int | None, synced: float | None) -> None:
        """Records how a root was found; `synced` None keeps the time of the last complete sync."""
        with self.transaction():
            self._connection.execute(
                "UPDATE roots SET state = ?, device = coalesce(?, device), synced = coalesce(?, synced) WHERE path = ?",
                (state, device, synced, os.fsencode(path)),
            )

    def exclude(self, path: Path) -> None:
        """Leaves `path` out of every later sync, until it is added as a root."""
        with self.transaction():
            self._connection.execute("INSERT OR IGNORE INTO excluded VALUES (?)", (os.fsencode(path),))

    def include(self, path: Path) -> None:
        """Wants again what was forgotten at and below a path."""
        with self.transaction():
            self._connection.execute(f"DELETE FROM excluded WHERE {_BELOW}", _below(path))

    def excluded(self) -> frozenset[Path]:
        """What a person asked to forget."""
        return frozenset(_path(path) for (path,) in self._rows("SELECT path FROM excluded"))

    # --- files -----------------------------------------------------------------------------------------------

    def files(self, below: Path | None = None) -> Iterator[FileRow]:
        """Known files, of the whole index or at and below a path."""
        sql, values = "SELECT * FROM files", ()
        if below is not None:
            sql, values = f"SELECT * FROM files WHERE {_BELOW}", _below(below)  # type: ignore[assignment]
        for path, *rest in self._rows(sql, values):
            yield FileRow(_path(path), *rest)

    def file(self, path: Path) -> FileRow | None:
        """The row of one file."""
        rows = self._rows("SELECT * FROM files WHERE path = ?", (os.fsencode(path),))
        return FileRow(_path(rows[0][0]), *rows[0][1:]) if rows else None

    def put_files(self, rows: Iterable[FileRow]) -> None:
        """Adds or replaces rows of files."""
        values = [
            (os.fsencode(r.path), r.size, r.mtime_ns, r.ctime_ns, r.inode, r.checked_ns, r.status, _text(r.reason),
             r.document) for r in rows
        ]  # fmt: skip
        with self.transaction():
            self._connection.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)

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
            sql = f"SELECT * FROM files WHERE document IN ({_marks(chunk)}) ORDER BY mtime_ns DESC, path"
            for path, *rest in self._rows(sql, chunk):
                row = FileRow(_path(path), *rest)
                assert row.document is not None
                found.setdefault(row.document, []).append(row)
        return found

    # --- documents -------------------------------------------------------------------------------------------

    def find_document(self, digest: bytes, suffix: str) -> DocumentRow | None:
        """The document with this content, complete or not."""
        rows = self._rows("SELECT * FROM documents WHERE hash = ? AND suffix = ?", (digest, _text(suffix)))
        return _document(rows[0]) if rows else None

    def begin_document(self, digest: bytes, suffix: str) -> int:
        """A number for a new, not yet visible document; an unfinished one of this content gives up its place.

        The unfinished one stays, under a random hash, until the end of the sync: what it holds need not be
        embedded again.
        """
        with self.transaction():
            self._connection.execute(
                "UPDATE documents SET hash = randomblob(16) WHERE hash = ? AND suffix = ? AND complete = 0",
                (digest, _text(suffix)),
            )
            cursor = self._connection.execute(
                "INSERT INTO documents (hash, suffix) VALUES (?, ?)", (digest, _text(suffix))
            )
            assert cursor.lastrowid is not None
            return cursor.lastrowid

    def name_document(self, number: int, title: str) -> None:
        """Keeps the title of a document under way, which is part of what is embedded of it."""
        with self.transaction():
            self._connection.execute("UPDATE documents SET title = ? WHERE id = ?", (_text(title), number))

    def title_of(self, number: int) -> str:
        """The title of a document, visible or not."""
        rows = self._rows("SELECT title FROM documents WHERE id = ?", (number,))
        return str(rows[0][0]) if rows else ""

    def finish_document(self, number: int, *, kind: str, title: str, notes: Sequence[str], passages: int) -> None:
        """Makes a document visible: its passages are all stored."""
        with self.transaction():
            self._connection.execute(
                "UPDATE documents SET kind = ?, title = ?, notes = ?, passages = ?, complete = 1 WHERE id = ?",
                (kind, _text(title), _text("\n".join(notes)), passages, number),
            )

    def documents(self, numbers: Sequence[int]) -> dict[int, DocumentRow]:
        """The visible ones among some documents."""
        found = {}
        for chunk in _chunks(numbers):
            for row in self._rows(f"SELECT * FROM documents WHERE complete = 1 AND id IN ({_marks(chunk)})", chunk):
                found[row[0]] = _document(row)
        return found

    def visible(self) -> dict[int, int]:
        """Every visible document with its number of passages."""
        return dict(self._rows("SELECT id, passages FROM documents WHERE complete = 1"))

    def unfinished(self) -> list[int]:
        """Documents that a killed run left behind, or that wait to be removed."""
        return [number for (number,) in self._rows("SELECT id FROM documents WHERE complete = 0")]

    def hide_orphans(self) -> list[int]:
        """Hides every document that no file holds any more and returns all hidden ones, for removal."""
        with self.transaction():
            self._connection.execute(
                "UPDATE documents SET complete = 0 WHERE complete = 1 AND NOT EXISTS "
                "(SELECT 1 FROM files WHERE files.document = documents.id)"
            )
            return self.unfinished()

    def distrust(self, numbers: Sequence[int]) -> None:
        """Forgets that these documents were ever complete, and the files that hold them."""
        with self.transaction():
            for chunk in _chunks(numbers):
                self._connection.execute(f"DELETE FROM files WHERE document IN ({_marks(chunk)})", chunk)
                self._connection.execute(f"UPDATE documents SET complete = 0 WHERE id IN ({_marks(chunk)})", chunk)

    def delete_documents(self, numbers: Iterable[int]) -> None:
        """Forgets documents whose passages are gone."""
        with self.transaction():
            self._connection.executemany("DELETE FROM documents WHERE id = ?", [(number,) for number in numbers])

    def matching(self, filters: Filters) -> set[int] | None:
        """The visible documents with at least one file that meets the filters; None if all do.

        Languages belong to passages and are not looked at here.
        """
        conditions, values = _conditions(filters)
        if not conditions:
            return None
        sql = (
            "SELECT DISTINCT document FROM files JOIN documents ON documents.id = files.document "
            f"WHERE complete = 1 AND {' AND '.join(conditions)}"
        )
        return {number for (number,) in self._rows(sql, values)}

    def counts(self) -> tuple[int, int]:
        """Visible documents and their passages, counted over the documents that some file holds."""
        return self._rows(
            "SELECT count(*), coalesce(sum(passages), 0) FROM documents WHERE complete = 1 AND EXISTS "
            "(SELECT 1 FROM files WHERE files.document = documents.id)"
        )[0]

    def counts_below(self, path: Path) -> tuple[int, int]:
        """Visible documents and passages at and below a path."""
        return self._rows(
            "SELECT count(*), coalesce(sum(passages), 0) FROM documents WHERE complete = 1 AND id IN "
            f"(SELECT document FROM files WHERE {_BELOW})",
            _below(path),
        )[0]

    def kinds(self) -> dict[str, int]:
        """Visible documents a kind, most first."""
        return dict(
            self._rows(
                "SELECT kind, count(*) AS n FROM documents WHERE complete = 1 GROUP BY kind ORDER BY n DESC, kind"
            )
        )

    def number_of(self, status: str) -> int:
        """How many files have a status."""
        return int(self._rows("SELECT count(*) FROM files WHERE status = ?", (status,))[0][0])


def now_ns() -> int:
    """The wall clock, as files' times are kept."""
    return time.time_ns()


def passes(row: FileRow, filters: Filters, kind: str) -> bool:
    """Whether one file meets the filters (languages left aside); the twin of `Manifest.matching` for one row."""
    if filters.folders and not any(row.path == folder or folder in row.path.parents for folder in filters.folders):
        return False
    if filters.types and not {kind, row.path.suffix.lower()} & set(_types(filters)):
        return False
    modified = row.mtime_ns / 1e9
    return not (
        (filters.since is not None and modified < filters.since)
        or (filters.until is not None and modified > filters.until)
    )


_BELOW = "(path = ? OR (path > ? AND path < ?))"


def _below(path: Path) -> tuple[bytes, bytes, bytes]:
    """Values for `_BELOW`: the path itself, and the range of everything under it ("0" follows "/")."""
    raw = os.fsencode(path)
    stem = raw.rstrip(os.sep.encode())
    return raw, stem + os.sep.encode(), stem + bytes([os.sep.encode()[0] + 1])


def _path(raw: bytes) -> Path:
    return Path(os.fsdecode(raw))


def _text(value: str) -> str:
    """The value without the half characters by which Python keeps file names that are no UTF-8: SQLite refuses them."""
    return value.encode("utf-8", "replace").decode()


def _types(filters: Filters) -> tuple[str, ...]:
    """Each type as a kind and as an ending: "md" means files named so, "markdown" the kind."""
    names = [_text(name.lower().removeprefix(".")) for name in filters.types]
    return tuple(dict.fromkeys([*names, *(f".{name}" for name in names)]))


def _conditions(filters: Filters) -> tuple[list[str], list[object]]:
    conditions: list[str] = []
    values: list[object] = []
    if filters.folders:
        conditions.append("(" + " OR ".join([_BELOW] * len(filters.folders)) + ")")
        for folder in filters.folders:
            values += _below(folder)
    if types := _types(filters):
        conditions.append(f"(kind IN ({_marks(types)}) OR suffix IN ({_marks(types)}))")
        values += [*types, *types]
    if filters.since is not None:
        conditions.append("mtime_ns >= ?")
        values.append(int(filters.since * 1e9))
    if filters.until is not None:
        conditions.append("mtime_ns <= ?")
        values.append(int(filters.until * 1e9))
    return conditions, values


def _document(row: tuple) -> DocumentRow:  # type: ignore[type-arg]
    number, digest, suffix, kind, title, notes, passages, complete = row
    return DocumentRow(number, digest, suffix, kind, title, notes, passages, bool(complete))


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))


def _chunks(values: Sequence[int], size: int = 500) -> Iterator[Sequence[int]]:
    """SQLite allows 999 values a statement in its oldest builds."""
    for start in range(0, len(values), size):
        yield values[start : start + size]
