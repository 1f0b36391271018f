"""The manifest: what is visible, what is below a path, what a filter matches."""

import os
import shutil
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import pytest

from drama_app.errors import DiskError, IndexDamagedError
from drama_app.manifest import FileRow, Manifest
from drama_app.records import Filters


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """An empty manifest."""
    return Manifest(tmp_path / "manifest.db")


def add(manifest: Manifest, path: str, content: bytes, *, modified: int = 0, kind: str = "text") -> int:
    """A file with a finished document of one passage."""
    suffix = Path(path).suffix
    known = manifest.find_document(content, suffix)
    number = known.id if known else manifest.begin_document(content, suffix)
    manifest.finish_document(number, kind=kind, title="", notes=(), passages=1)
    manifest.put_files([FileRow(Path(path), 1, modified * 10**9, 0, 0, 0, "indexed", "", number)])
    return number


def test_below_means_inside_and_not_alike(manifest: Manifest) -> None:
    """A folder's files are those inside it, not those of a folder whose name only begins the same."""
    add(manifest, "/a/b/x.txt", b"1")
    add(manifest, "/a/b c/y.txt", b"2")
    add(manifest, "/a/b.txt", b"3")
    add(manifest, "/a/b/deep/z.txt", b"4")

    assert {str(row.path) for row in manifest.files(Path("/a/b"))} == {"/a/b/x.txt", "/a/b/deep/z.txt"}
    assert manifest.counts_below(Path("/a/b")) == (2, 2)
    assert len(list(manifest.files(Path("/")))) == 4


def test_names_that_are_not_unicode_come_back_exactly(manifest: Manifest) -> None:
    """Any bytes that a file system allows in a name survive."""
    path = Path(os.fsdecode(b"/a/caf\xe9 \xff.txt"))
    add(manifest, str(path), b"1")
    assert [row.path for row in manifest.files()] == [path]


def test_patterns_that_are_not_unicode_come_back_exactly(manifest: Manifest) -> None:
    """Any bytes may stand in an ignore pattern, and only a line break parts two; text of older indexes is read."""
    patterns = (os.fsdecode(b"caf\xe9*"), "a\u2028b", "c\x85d")
    manifest.add_root(Path("/a"), ignore=patterns)
    manifest.add_root(Path("/b"))
    manifest.add_root(Path("/c"), ignore=[])
    manifest.add_root(Path("/d"))
    manifest._connection.execute("UPDATE roots SET ignore = ? WHERE path = ?", ("*.bak\nx", b"/d"))

    assert [root.ignore for root in manifest.roots()] == [patterns, (), (), ("*.bak", "x")]


def test_filters_match_by_folder_type_and_time(manifest: Manifest) -> None:
    """Each condition narrows; without any, all match."""
    old = add(manifest, "/a/old.md", b"1", modified=100, kind="markdown")
    new = add(manifest, "/b/new.txt", b"2", modified=200)

    assert manifest.matching(Filters()) is None
    assert manifest.matching(Filters(languages=("de",))) is None
    assert manifest.matching(Filters(folders=(Path("/a"),))) == {old}
    assert manifest.matching(Filters(types=(".TXT",))) == {new}
    assert manifest.matching(Filters(since=4e10, until=9e11)) == set()
    assert manifest.matching(Filters(types=("markdown", "txt"))) == {old, new}
    assert manifest.matching(Filters(since=150)) == {new}
    assert manifest.matching(Filters(until=150, folders=(Path("/b"),))) == set()


def test_unfinished_is_invisible_and_orphans_are_hidden(manifest: Manifest) -> None:
    """A document shows only when finished and only while a file holds it."""
    number = manifest.begin_document(b"half", ".txt")
    assert manifest.documents([number]) == {}
    kept = add(manifest, "/a/x.txt", b"1")
    lost = add(manifest, "/a/y.txt", b"2")
    manifest.remove_files([Path("/a/y.txt")])

    assert sorted(manifest.hide_orphans()) == sorted([number, lost])
    assert manifest.visible() == {kept: 1}
    again = manifest.begin_document(b"half", ".txt")
    assert again != number


def test_a_failed_transaction_changes_nothing(manifest: Manifest) -> None:
    """What goes wrong in the middle of a group of changes undoes the whole group."""
    with pytest.raises(ZeroDivisionError), manifest.transaction():
        add(manifest, "/a/x.txt", b"1")
        raise ZeroDivisionError
    assert list(manifest.files()) == []


def test_another_version_or_no_database_is_refused(tmp_path: Path) -> None:
    """A manifest of another version, or a file that is none, is refused with the remedy."""
    path = tmp_path / "manifest.db"
    manifest = Manifest(path)
    manifest._connection.execute("PRAGMA user_version=99")
    manifest.close()
    with pytest.raises(IndexDamagedError, match="version 99"):
        Manifest(path)
    path.write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(IndexDamagedError, match="drama-app purge"):
        Manifest(path)


def test_manifest_that_cannot_be_opened_is_not_called_damaged(tmp_path: Path) -> None:
    """Nobody is told to purge a whole index for a folder that cannot be written; a damaged one is another matter."""
    with pytest.raises(DiskError, match="cannot be opened") as refusal:
        Manifest(tmp_path / "none" / "manifest.db")
    assert "purge" not in str(refusal.value)
    (tmp_path / "manifest.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(IndexDamagedError, match="purge"):
        Manifest(tmp_path / "manifest.db")


def damage(path: Path) -> None:
    """Makes nonsense of every page of a closed database but the first, which names the tables."""
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xab" * (len(content) - 4096))


def test_a_damaged_page_is_a_sentence_with_the_remedy(tmp_path: Path) -> None:
    """Damage that shows only when a row is read is told as such, like damage that shows at the start."""
    Manifest(tmp_path / "manifest.db").close()
    damage(tmp_path / "manifest.db")
    with pytest.raises(IndexDamagedError, match="drama-app purge"):
        Manifest(tmp_path / "manifest.db").get("table")


def test_a_full_disk_is_not_called_damage(manifest: Manifest) -> None:
    """A change for which there is no room is refused with the remedy, and what was there before is whole."""
    manifest.put(kept="before")
    manifest._connection.execute("PRAGMA max_page_count=1")  # as few as there are now

    with pytest.raises(DiskError, match="make room") as refusal:
        manifest.put(kept="after" * 100_000)

    assert "purge" not in str(refusal.value)
    assert manifest.get("kept") == "before"


def test_a_wrong_statement_of_ours_stays_a_fault(manifest: Manifest) -> None:
    """Nobody is told to make room for a mistake in the program."""
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        manifest._rows("SELECT * FROM no_such_thing")
    manifest.close()
    with pytest.raises(sqlite3.ProgrammingError):
        manifest.get("kept")


@pytest.mark.parametrize("cause", ["full", "read-only"])
def test_what_keeps_the_manifest_shut_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cause: str) -> None:
    """A full disk and a folder that cannot be written are told as such, and not as a damaged index."""
    (tmp_path / "manifest.db").mkdir()  # SQLite's "unable to open", as of both
    if cause == "full":
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=4096))
    else:
        monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(DiskError, match="make room" if cause == "full" else "cannot be written"):
        Manifest(tmp_path / "manifest.db")


@pytest.mark.parametrize("far", [1e300, float("inf"), 2**63 / 1e9])
def test_times_beyond_all_files_are_no_error(manifest: Manifest, far: float) -> None:
    """A filter may ask for what changed before or after the end of time."""
    number = add(manifest, "/a.txt", b"a", modified=5)
    assert manifest.matching(Filters(since=-far, until=far)) == {number}
    assert manifest.matching(Filters(since=far)) == manifest.matching(Filters(until=-far)) == set()
