"""Changes on a real disk come out of a real observer, soon, at rest, and never without a word when they cannot."""

import errno
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from drama_app import watcher
from drama_app.ignore import IgnoreRules
from drama_app.watcher import Changes, describe_mount, watch

SOON = 2.0
SETTLE = 0.15


class _Watch:
    """A running watch in a thread, whose reports are gathered."""

    def __init__(self, roots: list[Path], observer: BaseObserver | None = None, poll_seconds: float = 60.0) -> None:
        self.roots = roots
        self.reports: list[tuple[float, Changes]] = []
        self.stop = threading.Event()
        self._options = {"observer": observer, "settle": SETTLE, "poll_seconds": poll_seconds}
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        changes = watch(lambda: list(self.roots), IgnoreRules, stop=self.stop, **self._options)  # type: ignore[arg-type]
        for change in changes:
            self.reports.append((time.monotonic(), change))

    def start(self) -> "_Watch":
        self._thread.start()
        self.wait(lambda: bool(self.reports))
        self.wait(lambda: all(self.has(root) or not root.exists() for root in self.roots))
        self.reports.clear()
        return self

    def end(self) -> None:
        self.stop.set()
        self._thread.join(5)
        assert not self._thread.is_alive()

    def paths(self) -> set[Path]:
        return {path for _, change in self.reports for path in change.paths}

    def has(self, *wanted: Path) -> bool:
        """Whether each path was reported, itself or by a folder above it below the root."""
        return all(path in self.paths() for path in wanted)

    def wait(self, condition: Callable[[], bool], seconds: float = SOON + 0.5) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"nothing of it within {seconds} s: {self.reports}"
            time.sleep(0.02)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root" / "sub").mkdir(parents=True)
    (tmp_path / "root" / "old.txt").write_text("old")
    (tmp_path / "root" / "sub" / "inner.txt").write_text("inner")
    return tmp_path / "root"


@pytest.fixture
def running(root: Path) -> Iterator[_Watch]:
    running = _Watch([root]).start()
    yield running
    running.end()


def _write(path: Path, text: str = "new") -> None:
    path.write_text(text)


def _save_atomically(path: Path) -> None:
    aside = path.with_name(path.name + ".tmp")
    aside.write_text("saved")
    aside.replace(path)


CHANGES: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "create": (lambda root: _write(root / "new.txt"), ("new.txt",)),
    "modify": (lambda root: _write(root / "old.txt", "changed"), ("old.txt",)),
    "delete": (lambda root: (root / "old.txt").unlink(), ("old.txt",)),
    "rename": (lambda root: (root / "old.txt").rename(root / "sub" / "moved.txt"), ("old.txt", "sub/moved.txt")),
    "atomic save": (lambda root: _save_atomically(root / "old.txt"), ("old.txt",)),
    "folder renamed": (lambda root: (root / "sub").rename(root / "renamed"), ("sub", "renamed")),
    "folder moved out": (lambda root: (root / "sub").rename(root.parent / "out"), ("sub",)),
    "folder deleted": (lambda root: shutil.rmtree(root / "sub"), ("sub",)),
    "odd name": (lambda root: _write(root / os.fsdecode(b"\xff\n.txt")), (os.fsdecode(b"\xff\n.txt"),)),
    "permissions": (lambda root: (root / "old.txt").chmod(0o600), ("old.txt",)),
    "ignore file": (lambda root: _write(root / "sub" / ".gitignore", "*.txt"), ("sub",)),
    "mark of a cache": (lambda root: _write(root / "sub" / "CACHEDIR.TAG"), ("sub",)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_kind_of_change_is_reported(running: _Watch, root: Path, name: str) -> None:
    """Each kind of change names every path that it touched within two seconds."""
    change, names = CHANGES[name]
    change(root)
    running.wait(lambda: running.has(*(root / each for each in names)))


def test_folder_moved_in_is_reported_and_followed(running: _Watch, root: Path) -> None:
    """A folder from outside is named, and what happens in it later is seen."""
    (root.parent / "outside" / "deep").mkdir(parents=True)
    (root.parent / "outside" / "deep" / "a.txt").touch()
    (root.parent / "outside").rename(root / "inside")
    running.wait(lambda: running.has(root / "inside"))
    _write(root / "inside" / "deep" / "b.txt")
    running.wait(lambda: running.has(root / "inside" / "deep" / "b.txt"))


def test_file_that_is_being_written_is_held_back(running: _Watch, root: Path) -> None:
    """A file that grows is reported once, when it rests."""
    with (root / "growing.txt").open("w") as file:
        for _ in range(12):
            file.write("more\n")
            file.flush()
            time.sleep(SETTLE / 3)
            last = time.monotonic()
    running.wait(lambda: running.has(root / "growing.txt"))
    reported = [at for at, change in running.reports if root / "growing.txt" in change.paths]
    assert len(reported) == 1
    assert reported[0] >= last


@contextmanager
def _noise(path: Path) -> Iterator[None]:
    """A file that is written to without end."""
    end = threading.Event()

    def make_noise() -> None:
        while not end.wait(SETTLE / 5):
            _write(path)

    noise = threading.Thread(target=make_noise)
    noise.start()
    try:
        yield
    finally:
        end.set()
        noise.join()


def test_noise_does_not_hold_up_the_quiet(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one file changes without end, another one is still reported."""
    monkeypatch.setattr(watcher, "PATIENCE", 0.8)
    running = _Watch([root]).start()
    try:
        with _noise(root / "noise.txt"):
            _write(root / "quiet.txt")
            running.wait(lambda: running.has(root / "quiet.txt"))
            assert not running.has(root / "noise.txt")
    finally:
        running.end()


def test_what_never_rests_is_reported_now_and_then(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is written to all day is read at intervals, again and again, while it is."""
    monkeypatch.setattr(watcher, "RESTLESS", 0.6)
    running = _Watch([root]).start()
    try:
        with _noise(root / "noise.txt"):
            running.wait(lambda: len(running.reports) > 1)
            first, second = (moment for moment, _ in running.reports[:2])
            assert second - first > 0.5
            assert running.paths() == {root / "noise.txt"}
    finally:
        running.end()


def test_a_root_that_is_replaced_all_day_stays_watched(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that a program removes and makes anew at each run is no watch that died: events go on."""
    monkeypatch.setattr(watcher, "ROOTS_SECONDS", 0.05)
    running = _Watch([root]).start()
    try:
        for number in range(6):
            aside = root.with_name(f"gone-{number}")
            root.rename(aside)  # kept, so that no inode comes twice
            root.mkdir()
            _write(root / f"{number}.txt")
            running.wait(lambda name=f"{number}.txt": running.has(root) or running.has(root / name))
            time.sleep(4 * watcher.ROOTS_SECONDS)
            running.reports.clear()
        _write(root / "last.txt")
        running.wait(lambda: running.has(root / "last.txt"))
        assert not any(change.notes for _, change in running.reports)
    finally:
        running.end()


def test_ignored_paths_are_silent(running: _Watch, root: Path) -> None:
    """What is not indexed causes no report."""
    _write(root / "draft.tmp")
    (root / "node_modules").mkdir()
    _write(root / "node_modules" / "a.txt")
    _write(root / "seen.txt")
    running.wait(lambda: running.has(root / "seen.txt"))
    assert running.paths() == {root / "seen.txt"}


def test_reading_is_no_change(running: _Watch, root: Path) -> None:
    """Reading files, as indexing does, causes no report."""
    for _ in range(3):
        (root / "old.txt").read_text()
        list(root.iterdir())
    time.sleep(3 * SETTLE)
    assert running.paths() == set()


def test_roots_come_and_go(running: _Watch, root: Path, tmp_path: Path) -> None:
    """A root that is added is looked at whole and followed; one that is removed is left alone."""
    other = tmp_path / "other"
    other.mkdir()
    running.roots.append(other)
    running.wait(lambda: running.has(other))
    _write(other / "a.txt")
    running.wait(lambda: running.has(other / "a.txt"))
    running.roots.remove(other)
    time.sleep(1.3)
    running.reports.clear()
    _write(other / "b.txt")
    _write(root / "c.txt")
    running.wait(lambda: running.has(root / "c.txt"))
    assert not running.has(other / "b.txt")


def test_vanished_root_is_noted_and_looked_at_on_return(running: _Watch, root: Path) -> None:
    """A root that goes away is said to be missing, and is whole again when it comes back."""
    root.rename(root.with_name("away"))
    running.wait(lambda: any("is not there" in note for _, change in running.reports for note in change.notes))
    running.reports.clear()
    root.with_name("away").rename(root)
    running.wait(lambda: running.has(root))
    assert running.reports[-1][1].notes == ()
    _write(root / "after.txt")
    running.wait(lambda: running.has(root / "after.txt"))


def test_a_root_that_the_system_refuses_ends_no_other(running: _Watch, root: Path) -> None:
    """A root on a dead mount, whose every look is an error, is said to be missing; the others are followed."""
    refused = root / ("x" * 300)  # ENAMETOOLONG stands for ENOTCONN, which only a dead mount gives
    running.roots.append(refused)
    running.wait(lambda: any(f"{refused} is not there" in note for _, each in running.reports for note in each.notes))
    _write(root / "after.txt")
    running.wait(lambda: running.has(root / "after.txt"))


def test_replaced_root_is_followed(running: _Watch, root: Path) -> None:
    """A root replaced by another folder of its name, between two looks, is watched and looked at again."""
    root.rename(root.with_name("former"))
    root.mkdir()
    running.wait(lambda: running.has(root))
    _write(root / "after.txt")
    running.wait(lambda: running.has(root / "after.txt"))
    assert running.reports[-1][1].notes == ()


def test_a_file_as_root_survives_its_editor(root: Path) -> None:
    """A single file is followed through any number of saves by rename, its neighbours are not."""
    running = _Watch([root / "old.txt"]).start()
    try:
        for _ in range(6):
            _save_atomically(root / "old.txt")
            time.sleep(0.25)
        _write(root / "neighbour.txt")
        running.wait(lambda: len(running.reports) >= 3)
        assert running.paths() == {root / "old.txt"}
        assert running.reports[-1][1].notes == ()
    finally:
        running.end()


def test_network_mount_is_polled_and_says_so(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where events cannot be trusted the root is looked at in intervals, and the note says why."""
    monkeypatch.setattr(watcher, "describe_mount", lambda path: "network mount (nfs4)")
    running = _Watch([root], poll_seconds=0.4)
    running.start()
    try:
        running.wait(lambda: len(running.reports) >= 2)
        change = running.reports[-1][1]
        assert change.paths == {root}
        assert change.notes == (f"{root} is not watched but looked at every 0.4 s: network mount (nfs4)",)
    finally:
        running.end()


def _limited_observer(folders: int) -> BaseObserver:
    """A real observer on a system that allows `folders` watches."""
    from watchdog.observers import inotify_c

    observer = Observer()
    real = inotify_c.inotify_add_watch
    left = [folders]

    def add_watch(*arguments: object) -> int:
        left[0] -= 1
        if left[0] < 0:
            import ctypes

            ctypes.set_errno(errno.ENOSPC)
            return -1
        return int(real(*arguments))

    inotify_c.inotify_add_watch = add_watch
    return observer


@pytest.mark.parametrize("folders", [0, 1])
def test_watch_limit_is_noticed(root: Path, monkeypatch: pytest.MonkeyPatch, folders: int) -> None:
    """A system without enough watches, for the root or for a folder deep in it, leads to polling and a note."""
    from watchdog.observers import inotify_c

    monkeypatch.setattr(inotify_c, "inotify_add_watch", inotify_c.inotify_add_watch)
    running = _Watch([root], observer=_limited_observer(folders), poll_seconds=0.4).start()
    try:
        running.wait(lambda: len(running.reports) >= 2)
        assert running.reports[-1][1].notes[0].endswith("the system's limit on watched folders is reached")
    finally:
        running.end()


def test_no_observer_at_all_is_no_crash(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that gives no event queue at all is polled."""

    def refuse() -> BaseObserver:
        raise OSError(errno.EMFILE, "inotify instance limit reached")

    monkeypatch.setattr(watcher, "Observer", refuse)
    running = _Watch([root], poll_seconds=0.4).start()
    try:
        running.wait(lambda: len(running.reports) >= 2)
        assert "limit" in running.reports[-1][1].notes[0]
    finally:
        running.end()


def test_lost_events_lead_to_a_whole_look(root: Path) -> None:
    """When the kernel's queue overflows, every root is looked at."""
    from watchdog.observers.inotify_c import InotifyConstants, InotifyEvent, Mask

    observer = Observer()
    running = _Watch([root], observer=observer).start()
    try:
        queue = observer._inotify_fd  # type: ignore[attr-defined]
        queue.handle_event(InotifyEvent(-1, Mask(InotifyConstants.IN_Q_OVERFLOW), 0, b""))
        running.wait(lambda: running.has(root))
    finally:
        running.end()
    assert not logging.getLogger(watcher._OVERFLOW_LOGGER).filters


def test_flood_becomes_a_look_at_the_root(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More paths than a walk is worth collapse into the root, before they are taken too."""
    monkeypatch.setattr(watcher, "MANY", 20)
    pending = watcher._Pending()
    pending.roots = frozenset({root})
    for index in range(1000):
        pending.add(root / f"{index}.txt")
        assert len(pending.times) <= 22
    assert root in pending.times


def test_idle_watch_costs_nothing(running: _Watch) -> None:
    """A watch without changes uses less than three hundredths of a core and reports nothing."""
    before = time.process_time()
    time.sleep(1.5)
    assert time.process_time() - before < 0.045
    assert running.reports == []


def test_mounts_are_told_apart(tmp_path: Path) -> None:
    """The innermost mount decides; local FUSE file systems give events, network ones do not."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "1 0 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n"
        "2 1 0:9 / /mnt/share\\040one rw - nfs4 server:/x rw\n"
        "3 1 0:8 / /mnt/share\\040one/usb rw - fuseblk /dev/sdb1 rw\n"
        "4 1 0:7 / /mnt/phone rw - fuse.sshfs phone:/ rw\n"
    )
    assert describe_mount(Path("/home/me"), mounts) == ""
    assert describe_mount(Path("/mnt/share one/docs"), mounts) == "network mount (nfs4)"
    assert describe_mount(Path("/mnt/share one/usb/a"), mounts) == ""
    assert describe_mount(Path("/mnt/phone"), mounts) == "network mount (fuse.sshfs)"
    assert describe_mount(Path("/mnt/phone"), tmp_path / "absent") == ""


@pytest.mark.parametrize("name", ["Диск", "日本\\語", "a b\tc\nd", "é\udcff", "x\x0cy\u2028\rz", "b\\040c"])
def test_a_mount_of_any_name_is_read(tmp_path: Path, name: str) -> None:
    """Every name that a stick or a share may have comes out of the list of mounts as it is on disk."""
    escaped = b"".join(b"\\%03o" % byte if byte in b" \t\n\\" else bytes([byte]) for byte in os.fsencode(name))
    line = b"36 35 98:0 / /run/media/u/%s rw,noatime shared:7 - nfs4 server:/x rw" % escaped
    (tmp_path / "mountinfo").write_bytes(line + b"\n")

    assert watcher.read_mount(line) == (Path("/run/media/u") / name, "nfs4")
    assert describe_mount(Path("/home/me"), tmp_path / "mountinfo") == ""
    assert describe_mount(Path("/run/media/u") / name / "docs", tmp_path / "mountinfo") == "network mount (nfs4)"


def test_a_full_disk_is_no_limit_of_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no folder can be made to try a watch on, watching goes on."""

    def full(**_: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(watcher.tempfile, "mkdtemp", full)
    monkeypatch.setattr(watcher.sys, "platform", "linux")
    assert watcher._has_room(watcher.Observer(), watcher.FileSystemEventHandler())
