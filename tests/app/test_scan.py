"""The walk finds what is to be indexed, no more and no less, and judges by times only where they prove something."""

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from drama_app.errors import UsageError
from drama_app.ignore import IgnoreRules
from drama_app.manifest import FileRow, Manifest
from drama_app.records import Skipped
from drama_app.scan import (
    RACY_NS,
    Found,
    Known,
    check_root,
    folder_is_there,
    is_gone,
    is_there,
    look_again,
    merge_roots,
    needs_check,
    root_is_gone,
    scan,
)  # fmt: skip


def _make(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def _names(root: Path, **options: object) -> set[str]:
    rules = IgnoreRules(root, **options)  # type: ignore[arg-type]
    return {found.path.relative_to(root).as_posix() for found in scan(root, rules) if isinstance(found, Found)}


def test_only_regular_files_are_found(tmp_path: Path) -> None:
    """Links, pipes and sockets are passed by, and a link to a folder above ends nothing."""
    _make(tmp_path, "a.txt", "sub/b.txt")
    (tmp_path / "sub" / "link.txt").symlink_to(tmp_path / "a.txt")
    (tmp_path / "sub" / "loop").symlink_to(tmp_path)
    (tmp_path / "outside").symlink_to("/etc")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "socket"))  # a socket's path may not be long
        assert _names(tmp_path) == {"a.txt", "sub/b.txt"}


def test_names_of_any_bytes_are_kept(tmp_path: Path) -> None:
    """Newlines, emoji, bytes that are no UTF-8 and both forms of é are found as they are."""
    names = {b"two\nlines", "😀.md".encode(), b"caf\xe9\xff.txt", "é.txt".encode(), "e\u0301.txt".encode()}
    for name in names:
        (tmp_path / os.fsdecode(name)).touch()
    assert {os.fsencode(name) for name in _names(tmp_path)} == names


def test_a_file_may_be_a_root(tmp_path: Path) -> None:
    """A root that is a file is found itself, with what `stat` says of it."""
    file = tmp_path / "a.txt"
    file.write_text("four")
    status = file.stat()
    expected = Found(file, 4, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)
    assert list(scan(file, IgnoreRules(file))) == [expected]


def test_unreadable_folder_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that cannot be read is skipped with its reason, and the walk goes on."""
    _make(tmp_path, "closed/a.txt", "open/b.txt")
    real = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)  # the tests may run as root, whom no mode keeps out
    found = list(scan(tmp_path, IgnoreRules(tmp_path)))
    assert [each.path.name for each in found if isinstance(each, Found)] == ["b.txt"]
    assert Skipped(tmp_path / "closed", "folder cannot be read: permission denied") in found


def test_walk_can_be_stopped(tmp_path: Path) -> None:
    """A set stop event ends the walk."""
    _make(tmp_path, "a/1.txt", "b/2.txt")
    stop = threading.Event()
    stop.set()
    assert list(scan(tmp_path, IgnoreRules(tmp_path), stop=stop)) == []


def test_what_no_person_wrote_is_ignored(tmp_path: Path) -> None:
    """Caches, version control, environments, editors' and downloads' leftovers are left out without being asked."""
    _make(
        tmp_path, "kept.txt", "target/kept.md", "venv/pyvenv.cfg", "venv/lib/x.py", "cache/CACHEDIR.TAG", "cache/y.txt",
        "node_modules/z.js", ".git/config", "__pycache__/a.pyc", ".hidden/b.txt", ".profile", "~$letter.docx",
        ".~lock.sheet.ods#", "a.txt.swp", "notes.txt~", ".#notes", "#notes#", "film.part", "x.crdownload", "Thumbs.db",
    )  # fmt: skip
    assert _names(tmp_path) == {"kept.txt", "target/kept.md"}
    assert _names(tmp_path, hidden=True) == {"kept.txt", "target/kept.md", ".hidden/b.txt", ".profile"}


def test_excluded_paths_and_extra_patterns(tmp_path: Path) -> None:
    """What a person excludes is out, and their patterns win over every ignore file."""
    _make(tmp_path, "a.txt", "data/index.db", "b.bak", "sub/c.bak", "d.log")
    (tmp_path / ".gitignore").write_text("!*.bak\n*.log\n")
    rules: dict[str, object] = {"excluded": {tmp_path / "data"}, "extra": ["*.bak", "!d.log"]}
    assert _names(tmp_path, **rules) == {"a.txt", "d.log"}


GITIGNORES = {
    ".gitignore": b"\xef\xbb\xbf*.log\r\n!keep.log\n/top\nbuild/\ndocs/**/draft.md\n*.t[mn]x\n\\#hash\n"
    b"# comment\n[\n  \ntrail \n",
    "sub/.gitignore": b"!again.log\nonly-here\n/build\n",
    "sub/deep/.gitignore": b"*\n!*.md\n!.gitignore\n",
    ".git/info/exclude": b"secret\nkeep2.log\n",
}
TREE = (
    "a.log", "keep.log", "top", "sub/top", "build/x", "sub/build/y", "other/build", "docs/a/b/draft.md",
    "docs/draft.md", "x.tmx", "x.tox", "#hash", "sub/again.log", "sub/b.log", "sub/only-here", "only-here",
    "sub/deep/c.txt",
    "sub/deep/d.md", "sub/deep/e/f.md", "secret", "sub/secret", "trail", "plain.txt", "sub/deeper/again.log",
)  # fmt: skip


def test_ignore_files_mean_what_git_says(tmp_path: Path) -> None:
    """Nested files, negation, anchors, a byte order mark, CRLF and a repository's own exclusions, as git decides."""
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is not installed")
    _make(tmp_path, *TREE)
    subprocess.run([git, "init", "-q", tmp_path], check=True)
    for name, content in GITIGNORES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    command = [git, "-C", tmp_path, "-c", "core.excludesFile=", "ls-files", "-z", "--others", "--exclude-standard"]
    listed = subprocess.run(command, check=True, capture_output=True).stdout.decode().split("\0")
    assert _names(tmp_path) == {name for name in listed if name and not name.endswith(".gitignore")}


@pytest.mark.parametrize(
    ("patterns", "listed"),
    [
        ("*\n!*/\n!*.md\n", {"n0.md", "docs/n1.md", "docs/build/n2.md", "config/secrets/n3.md", "a/b/n4.md"}),
        ("build/\n!/docs/\nsecrets\n!/config/\n", {"n0.md", "x.txt", "docs/n1.md", "a/b/n4.md", "a/x.txt"}),
        ("a/**\n!a/b/\n*.txt\n", {"n0.md", "docs/n1.md", "docs/build/n2.md", "config/secrets/n3.md"}),
        ("/*\n!/a/\n/a/*\n!/a/b\n", {"a/b/n4.md"}),
        ("**/b\n!**/\n*/\n!docs/\n", {"n0.md", "x.txt", "docs/n1.md"}),
        ("!a\na/*/\n[ac]*/*.txt\n", {"n0.md", "x.txt", "docs/n1.md", "docs/build/n2.md", "config/secrets/n3.md"}),
    ],
)
def test_negated_folders_mean_what_git_says(tmp_path: Path, patterns: str, listed: set[str]) -> None:
    """A folder that is taken back is walked, what is left out inside it stays out, and git says the same."""
    _make(tmp_path, "n0.md", "x.txt", "docs/n1.md", "docs/build/n2.md", "config/secrets/n3.md", "a/b/n4.md", "a/x.txt")
    (tmp_path / ".gitignore").write_text(patterns)
    assert _names(tmp_path) == listed
    if git := shutil.which("git"):
        subprocess.run([git, "init", "-q", tmp_path], check=True)
        every = "\0".join(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*") if path.is_file())
        command = [git, "-C", tmp_path, "-c", "core.excludesFile=", "check-ignore", "-z", "--stdin"]
        done = subprocess.run(command, input=every.encode(), capture_output=True, check=False)
        ignored = set(done.stdout.decode().split("\0"))
        assert {name for name in every.split("\0") if not name.startswith(".git")} - ignored == listed


def test_ignore_file_names_files_by_their_bytes(tmp_path: Path) -> None:
    """A line of a .gitignore from before UTF-8 leaves out the file that is named so."""
    for name in (b"caf\xe9.txt", b"caf\xe8.txt", b"na\xefve/a.md"):
        _make(tmp_path, os.fsdecode(name))
    (tmp_path / ".gitignore").write_bytes(b"caf\xe9.txt\nna\xefve/\n")
    assert _names(tmp_path) == {os.fsdecode(b"caf\xe8.txt")}


def test_single_path_gets_the_answer_of_the_walk(tmp_path: Path) -> None:
    """The watcher, which asks for one path, and the walk agree about every file."""
    _make(tmp_path, *TREE, ".hidden/x.txt", "node_modules/a/b.txt", "venv/pyvenv.cfg", "venv/lib/c.txt")
    for name, content in GITIGNORES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    walked = _names(tmp_path)
    rules = IgnoreRules(tmp_path)
    every = [path for path in tmp_path.rglob("*") if path.is_file()]
    asked = {path.relative_to(tmp_path).as_posix() for path in every if not rules.ignored(path, is_folder=False)}
    assert asked == walked
    assert len(walked) < len(every)


def test_ignore_file_that_is_a_link_is_not_read(tmp_path: Path) -> None:
    """A link named .gitignore cannot make the app read a file elsewhere."""
    outside = tmp_path / "outside"
    outside.write_text("*.txt\n")
    root = tmp_path / "root"
    _make(root, "a.txt")
    (root / ".gitignore").symlink_to(outside)
    assert _names(root) == {"a.txt"}


SECOND = 1_000_000_000
NOW = 1_700_000_000 * SECOND
FOUND = Found(Path("a"), 5, NOW, NOW, 7, 1)


def _known(found: Found, checked: int) -> Known:
    return Known(found.size, found.mtime_ns, found.ctime_ns, found.inode, checked)


@pytest.mark.parametrize(
    "change",
    [{"size": 6}, {"mtime_ns": NOW - 1}, {"ctime_ns": NOW + 1}, {"inode": 8}],
    ids=lambda change: next(iter(change)),
)
def test_any_difference_is_looked_at(change: dict[str, int]) -> None:
    """A new file, another size, time (older too) or inode means that the content must be read."""
    assert needs_check(FOUND, None)
    later = NOW + 100 * SECOND
    assert not needs_check(FOUND, _known(FOUND, later))
    assert needs_check(replace(FOUND, **change), _known(FOUND, later))  # type: ignore[arg-type]


def test_read_in_the_tick_of_its_change_is_looked_at_once_more() -> None:
    """Equal times prove nothing just after a change; a later look settles it."""
    assert needs_check(FOUND, _known(FOUND, NOW + RACY_NS - 1))
    assert not needs_check(FOUND, _known(FOUND, NOW + RACY_NS))


@pytest.mark.parametrize("mtime", [-5 * SECOND, 0, NOW + 10**18], ids=["before 1970", "1970", "future"])
def test_odd_times_are_not_looked_at_for_ever(mtime: int) -> None:
    """A file from 1960 or 2050 is settled like any other, but not while its inode has just changed."""
    odd = replace(FOUND, mtime_ns=mtime)
    assert not needs_check(odd, _known(odd, NOW + 10 * SECOND))
    assert needs_check(odd, _known(odd, NOW + SECOND))


@pytest.mark.parametrize(("inode", "kept"), [(2**63 + 5, 5 - 2**63), (2**64 - 1, -1), (7, 7)])
def test_times_and_numbers_beyond_those_of_the_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inode: int, kept: int
) -> None:
    """A file from the year 2300 or with an inode of 64 bits is found, kept, and settled like any other."""
    file = tmp_path / "a.txt"
    file.touch()

    class Status:
        st_mode, st_size, st_dev = file.stat().st_mode, 0, 1
        st_mtime_ns, st_ctime_ns, st_ino = 10_413_792_000 * SECOND, -(2**70), inode

    monkeypatch.setattr(Path, "lstat", lambda _: Status())
    found = next(each for each in scan(file, IgnoreRules(file)) if isinstance(each, Found))
    manifest = Manifest(tmp_path / "manifest.db")
    manifest.put_files([FileRow(file, 0, found.mtime_ns, found.ctime_ns, found.inode, NOW, "failed", "", None)])
    row = manifest.file(file)
    assert row is not None
    assert (row.mtime_ns, row.ctime_ns, row.inode) == (2**63 - 1, 1 - 2**63, kept)
    assert not needs_check(look_again(found), Known(row.size, row.mtime_ns, row.ctime_ns, row.inode, row.checked_ns))


def test_folder_that_became_a_link_since_the_walk(tmp_path: Path) -> None:
    """A file found in a folder of the root is not read through a link in its place; a root may lie behind links."""
    (tmp_path / "real" / "root").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    root = tmp_path / "link" / "root"
    _make(root, "sub/deep/a.txt")
    found = next(each for each in scan(root, IgnoreRules(root)) if isinstance(each, Found))
    assert look_again(found) == found
    (root / "sub").rename(tmp_path / "sub")
    (root / "sub").symlink_to(tmp_path / "sub")
    with pytest.raises(FileNotFoundError):
        look_again(found)


def test_vanished_root_is_not_an_emptied_one(tmp_path: Path) -> None:
    """A missing root, or an empty mount point, is gone; a folder that a person emptied is not."""
    device = tmp_path.stat().st_dev
    assert root_is_gone(tmp_path / "unplugged", device=device, has_files=True)
    assert root_is_gone(tmp_path, device=device + 1, has_files=True)
    assert not root_is_gone(tmp_path, device=device, has_files=True)
    assert not root_is_gone(tmp_path, device=device + 1, has_files=False)
    _make(tmp_path, "a.txt")
    assert not root_is_gone(tmp_path, device=device + 1, has_files=True)


def test_nested_roots_are_walked_once() -> None:
    """A root inside another one disappears, one with a similar name stays."""
    roots = [Path("/a/b"), Path("/a"), Path("/ab"), Path("/c/d/e"), Path("/c/d")]
    assert merge_roots(roots) == [Path("/a"), Path("/ab"), Path("/c/d")]


@pytest.mark.parametrize("make", [lambda: Path("/"), lambda: Path("/etc"), lambda: Path("/usr"), Path.home])
def test_too_much_needs_a_yes(make: Callable[[], Path]) -> None:
    """A home, a drive or a system folder is refused until the person insists."""
    with pytest.raises(UsageError, match="--yes"):
        check_root(make(), yes=False)
    assert check_root(make(), yes=True) == make().resolve()


def test_what_cannot_be_a_root(tmp_path: Path) -> None:
    """A missing path, a circle of links, the kernel's own files and the app's own folder are refused."""
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    for path in (tmp_path / "missing", tmp_path / "circle", Path("/proc/self")):
        with pytest.raises(UsageError):
            check_root(path, yes=True)
    with pytest.raises(UsageError, match="own folder"):
        check_root(tmp_path / ".", yes=True, own=[tmp_path])
    assert check_root(tmp_path, yes=False) == tmp_path.resolve()


def test_what_cannot_be_asked_for_is_neither_there_nor_gone(tmp_path: Path) -> None:
    """A path that the system refuses with another error than "no such file" ends nothing and removes nothing."""
    refused = tmp_path / ("x" * 300)  # ENAMETOOLONG stands for what a dead mount says, which no test can mount
    assert not is_there(refused) and not folder_is_there(refused) and not is_gone(refused)
    assert is_there(tmp_path) and folder_is_there(tmp_path) and not is_gone(tmp_path)
    assert is_gone(tmp_path / "nothing") and not is_there(tmp_path / "nothing")
