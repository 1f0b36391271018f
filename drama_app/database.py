"""The SQLite file of the manifest: its tables, how it is opened, its lock and its transactions.

Owns what a damaged or foreign file is answered with; it knows nothing of what the rows mean.
"""

import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from drama_app.errors import DiskError, IndexDamagedError, NoIndexError

SCHEMA_VERSION = 1
READERS = 3
"""Raised when readers find text that they left out before: `status` then advises to read an older index again."""

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
_NAMES = """
CREATE TABLE IF NOT EXISTS names (  -- of the files that hold a document, folded; also of some that held it once
    document INTEGER NOT NULL, name TEXT NOT NULL, PRIMARY KEY (document, name)) WITHOUT ROWID;
"""  # made where it is missing: indexes of this version without it are about
_PAGES = """
CREATE TABLE IF NOT EXISTS pages (  -- where each page of a document starts, as 32-bit offsets, smallest byte first
    document INTEGER PRIMARY KEY, starts BLOB NOT NULL);
"""  # the same


_LITTLE_ROOM = 1 << 20
"""Bytes: SQLite needs 32 KiB beside the manifest to open it, and 1 MiB is nothing on any disk."""

IN_MEMORY = ":memory:"
"""A path that SQLite keeps nowhere."""


class Database:
    """One SQLite connection, usable from several threads: every call holds a lock.

    Any call raises IndexDamagedError of a damaged file, and DiskError where the system or another process refuses.
    """

    def __init__(self, path: Path) -> None:
        """Opens or creates the manifest at `path`.

        Raises:
            IndexDamagedError: it is not a manifest, or one of another version.
            DiskError: the system does not let it be opened or made.
        """
        self._lock = threading.RLock()
        self._depth = 0
        self._path = path
        try:
            self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
            # WAL: a search reads while a sync writes. NORMAL: safe against a killed process, which is the promise.
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            version = self._connection.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                self._connection.executescript(_SCHEMA + f"PRAGMA user_version={SCHEMA_VERSION};")
            if version in (0, SCHEMA_VERSION):
                self._connection.execute(_NAMES)
                self._connection.execute(_PAGES)
        except sqlite3.OperationalError as error:  # no disk space, no permission, busy: nothing that a purge would mend
            raise DiskError(f"the manifest {path} cannot be opened: {error}{_find_cause(path)}") from error
        except sqlite3.DatabaseError as error:
            raise IndexDamagedError(
                f"the manifest {path} cannot be read ({error}): run `drama-app purge` and index again"
            ) from error
        if version not in (0, SCHEMA_VERSION):
            raise IndexDamagedError(
                f"the index has manifest version {version}, this program needs {SCHEMA_VERSION}: "
                "run `drama-app purge` and index again"
            )

        self._file = None if str(path) == IN_MEMORY else path.stat()

    def check_place(self) -> None:
        """Makes sure that the file is still there: SQLite goes on reading a file that was deleted.

        Raises:
            NoIndexError: it was deleted, or another one stands in its place.
        """
        if self._file is None:
            return
        try:
            there = os.path.samestat(self._path.stat(), self._file)
        except OSError:
            there = False
        if not there:
            raise NoIndexError(f"{self._path.parent} was deleted or replaced while it was open: start drama-app again")

    def close(self) -> None:
        """Closes the connection."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Groups changes: all of them are kept, or none. May be nested."""
        with self._lock, self._told():
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
        with self._lock, self._told():
            return self._connection.execute(sql, values).fetchall()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Makes a sentence of what a person can do something about; a wrong statement of ours stays what it is."""
        try:
            yield
        except sqlite3.OperationalError as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
            if code == sqlite3.SQLITE_ERROR:
                raise
            remedy = ": make room and try again" if code == sqlite3.SQLITE_FULL else _find_cause(self._path)
            raise DiskError(f"the manifest {self._path} cannot be used: {error}{remedy}") from error
        except sqlite3.DatabaseError as error:
            if type(error) is not sqlite3.DatabaseError:
                raise
            raise IndexDamagedError(
                f"the manifest {self._path} is damaged ({error}): run `drama-app purge` and index again"
            ) from error


def _find_cause(path: Path) -> str:
    """What a person can do something about: of a full disk SQLite says "disk I/O error", or that it cannot open."""
    with suppress(OSError):
        for place in (path, path.parent):
            if place.exists() and not os.access(place, os.W_OK):
                return f": {place} cannot be written"
        if shutil.disk_usage(path.parent).free < _LITTLE_ROOM:
            return ": the disk is full, make room and try again"
    return ""
