"""Changes below the roots as an iterator of path sets, once they have come to rest.

Native events where the system gives them; where it does not (network mounts, watch limits) the root is looked at in
intervals, and that is said. Owns when a change is reported, never what is done about it. Reports may name paths that
did not change: the sync compares with the manifest, so a needless path costs one look.
"""

import logging
import os
import re
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from watchdog import events
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, ObservedWatch

from drama_app.ignore import IGNORE_FILES, IgnoreRules, is_marked
from drama_app.scan import folder_is_there, is_there

log = logging.getLogger(__name__)

TICK = 0.1
ROOTS_SECONDS = 1.0  # how soon a new, vanished or returned root is noticed
PATIENCE = 5.0  # under continuous noise, what is quiet is reported after this long
RESTLESS = 60.0  # what never rests (a log that is written to all day) is reported after this long all the same
SWEEP_SECONDS = 900.0  # a whole look in case the system dropped events: the kernel's queue holds 16,384 of them
MANY = 10_000  # more single paths than this cost more than a walk of the root

_NETWORK = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "vboxsf", "drvfs", "afs", "ceph", "glusterfs", "fuse")
_LOCAL_FUSE = ("fuseblk", "fuse.portal", "fuse.gvfsd-fuse")
_USELESS = ("opened", "closed_no_write")  # reading a file, which indexing does itself
_WANTED = [
    getattr(events, name)
    for name in (
        "DirCreatedEvent", "FileCreatedEvent", "DirDeletedEvent", "FileDeletedEvent", "DirMovedEvent",
        "FileMovedEvent", "FileModifiedEvent", "FileClosedEvent", "DirAttribEvent", "FileAttribEvent",
    )
    if hasattr(events, name)  # the last two came late
]  # fmt: skip
"""What the system is asked for: without reads, its queue of events fills half as fast."""
_LIMIT = "the system's limit on watched folders is reached"
_OCTAL = re.compile(rb"\\([0-3][0-7]{2})")
_DEATHS = 3  # a watch that ends so often is not started again
_OVERFLOW_LOGGER = "watchdog.observers.inotify_c"


@dataclass(frozen=True, slots=True)
class Changes:
    """What may have changed since the last report. The first report is empty: from then on nothing is missed."""

    paths: frozenset[Path]
    """Files and folders, existing or not; a folder stands for everything below it."""
    notes: tuple[str, ...]
    """What is special about the watching now, for example "/mnt/x is looked at every 30 s: network mount"."""
    since: float
    """`time.monotonic()` of the oldest change among them."""


@dataclass(slots=True)
class _Root:
    """How one root is followed."""

    path: Path
    watch: ObservedWatch | None = None
    reason: str = ""
    """Why it is polled; empty if events come."""
    looked: float = 0.0
    missing: bool = False
    identity: tuple[int, int] | None = None
    """Device and inode of `place`: a folder put there instead is another one, and not watched."""
    place: Path | None = None
    """The watched folder: the root, or the folder of a root that is a file."""
    deaths: int = 0


class _Pending(FileSystemEventHandler):
    """Collects the paths of events with the times of the first and the last one."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.times: dict[Path, tuple[float, float]] = {}
        self.roots: frozenset[Path] = frozenset()
        self.new_folders = False

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type in _USELESS or (event.is_directory and event.event_type == "modified"):
            return
        self.new_folders |= event.is_directory
        for raw in (event.src_path, event.dest_path):
            if raw:
                self.add(Path(os.fsdecode(raw)))

    def add(self, path: Path) -> None:
        now = time.monotonic()
        with self.lock:
            for each in (path, path.parent) if path.name in IGNORE_FILES else (path,):
                self.times[each] = (self.times.get(each, (now, now))[0], now)
            if len(self.times) > MANY + len(self.roots):
                self._collapse()

    def _collapse(self) -> None:
        """Replaces paths by their roots: a consumer that is busy for hours must not fill the memory."""
        times: dict[Path, tuple[float, float]] = {}
        for path, (first, last) in self.times.items():
            root = next((root for root in (path, *path.parents) if root in self.roots), None)
            if root is not None:
                known = times.get(root, (first, last))
                times[root] = (min(first, known[0]), max(last, known[1]))
        self.times = times

    def take(self, settle: float) -> dict[Path, float]:
        """Removes and returns the paths that have come to rest, each with the time of its first event."""
        now = time.monotonic()
        with self.lock:
            if not self.times:
                return {}
            quiet = {
                path: first
                for path, (first, last) in self.times.items()
                if now - last >= settle or now - first >= RESTLESS
            }
            oldest = min(first for first, _ in self.times.values())
            # Related events (a rename's two ends, a save's steps) belong in one report, so wait for all to rest.
            if len(quiet) < len(self.times) and now - oldest < PATIENCE:
                return {}
            for path in quiet:
                del self.times[path]
            return quiet


def watch(
    roots: Callable[[], Sequence[Path]],
    rules: Callable[[Path], IgnoreRules],
    *,
    stop: threading.Event,
    settle: float = 0.5,
    poll_seconds: float = 30.0,
    observer: BaseObserver | None = None,
) -> Iterator[Changes]:
    """Yields sets of changed paths until `stop` is set.

    Args:
        roots: The folders and files to follow; asked again and again, so that roots may come and go.
        rules: Fresh ignore rules of a root.
        stop: Ends the iteration within `TICK` seconds.
        settle: Seconds without an event after which a path is taken to rest.
        poll_seconds: How often a root without events is looked at.
        observer: The source of events; None is the platform's best.
    """
    follower = _Follower(rules, settle, poll_seconds, observer or _open_observer())
    overflows = _OverflowFilter(follower)
    logging.getLogger(_OVERFLOW_LOGGER).addFilter(overflows)
    try:
        yield from follower.run(roots, stop)
    finally:
        logging.getLogger(_OVERFLOW_LOGGER).removeFilter(overflows)
        follower.close()


def _open_observer() -> BaseObserver | None:
    """The platform's source of events; None if the system has no more of them to give."""
    try:
        return Observer()
    except OSError as error:
        log.info("no events at all: %s", error)
        return None


@dataclass(slots=True)
class _Follower:
    rules: Callable[[Path], IgnoreRules]
    settle: float
    poll_seconds: float
    observer: BaseObserver | None
    pending: _Pending = field(default_factory=_Pending)
    known: dict[Path, _Root] = field(default_factory=dict)

    def run(self, roots: Callable[[], Sequence[Path]], stop: threading.Event) -> Iterator[Changes]:
        if self.observer is not None:
            self.observer.start()
        told: tuple[str, ...] | None = None  # so that the first report says that events are being collected
        checked = 0.0
        while not stop.is_set():
            if time.monotonic() - checked >= ROOTS_SECONDS:
                self._follow(roots())
                checked = time.monotonic()
            self._look_at_polled()
            taken = self._without_ignored(self.pending.take(self.settle))
            notes = self._notes()
            if taken or notes != told:
                told = notes
                yield Changes(self._collapse(taken), notes, min(taken.values(), default=time.monotonic()))
            else:
                stop.wait(TICK)

    def close(self) -> None:
        if self.observer is not None and self.observer.is_alive():
            self.observer.stop()
            self.observer.join()

    def _follow(self, paths: Iterable[Path]) -> None:
        """Starts, ends or changes how roots are followed."""
        wanted = set(paths)
        self.pending.roots = frozenset(wanted)
        for path in self.known.keys() - wanted:
            self._unwatch(self.known.pop(path))
        for path in wanted:
            root = self.known.get(path)
            if root is None:
                root = self.known[path] = _Root(path, looked=time.monotonic())
                self._start(root)
                self.pending.add(path)  # whatever changed before events came
            missing = not is_there(path)
            if missing and not root.missing:
                self._unwatch(root)
            elif root.missing and not missing:
                self._start(root)
                self.pending.add(path)  # it came back: whatever changed meanwhile
            elif not missing and not root.reason and not self._alive(root):
                self._restart(root)
            root.missing = missing
        if self.pending.new_folders:
            self.pending.new_folders = False
            self._check_limit()

    def _restart(self, root: _Root) -> None:
        """A folder was put in the place of the watched one, or the watch ended."""
        replaced = root.place is not None and _identity(root.place) != root.identity
        self._unwatch(root)
        root.deaths += not replaced  # generators of sites and tests replace a folder all day
        if root.deaths > _DEATHS:
            root.reason = "the system stopped reporting changes"
        else:
            self._start(root)
        self.pending.add(root.path)

    def _check_limit(self) -> None:
        """New folders may have found no watch left. Which ones is not told, so every root is polled then."""
        if self.observer is None or _has_room(self.observer, self.pending):
            return
        for root in self.known.values():
            if root.watch is not None:
                self._unwatch(root)
                root.reason = _LIMIT
                self.pending.add(root.path)

    def _start(self, root: _Root) -> None:
        root.reason = describe_mount(root.path)
        if root.reason or not is_there(root.path):
            return
        if self.observer is None:
            root.reason = _LIMIT
            return
        try:
            whole = folder_is_there(root.path)
            root.place = root.path if whole else root.path.parent
            root.identity = _identity(root.place)
            root.watch = self.observer.schedule(self.pending, str(root.place), recursive=whole, event_filter=_WANTED)
        except OSError as error:
            log.info("no events for %s: %s", root.path, error)
            root.reason = _LIMIT
            return
        if not _has_room(self.observer, self.pending):
            self._unwatch(root)
            root.reason = _LIMIT

    def _unwatch(self, root: _Root) -> None:
        if root.watch is not None and self.observer is not None:
            try:
                self.observer.unschedule(root.watch)
            except (KeyError, OSError) as error:
                log.info("ending the watch of %s: %s", root.path, error)
        root.watch = None

    def _alive(self, root: _Root) -> bool:
        if self.observer is None or root.place is None or _identity(root.place) != root.identity:
            return False
        return any(emitter.watch == root.watch and emitter.is_alive() for emitter in self.observer.emitters)

    def _look_at_polled(self) -> None:
        now = time.monotonic()
        for root in self.known.values():
            if not root.missing and now - root.looked >= (self.poll_seconds if root.reason else SWEEP_SECONDS):
                root.looked = now
                self.pending.add(root.path)

    def _without_ignored(self, taken: dict[Path, float]) -> dict[Path, float]:
        """The paths that lie in a root and are not ignored there; also a folder that is marked, perhaps just now."""
        rules = {root: self.rules(root) for root in self.known} if taken else {}
        kept = {}
        for path, first in taken.items():
            # What is gone may have been a folder: names such as "x.tmp" are passed over for files only.
            kinds = (folder_is_there(path),) if os.path.lexists(path) else (False, True)
            above = [own for root, own in rules.items() if root == path or root in path.parents]
            if any(not own.ignored(path, is_folder=kind) for own in above for kind in kinds) or (
                is_marked(path) and any(not own.ignored(path.parent, is_folder=True) for own in above)
            ):
                kept[path] = first
        return kept

    def _collapse(self, taken: dict[Path, float]) -> frozenset[Path]:
        if len(taken) <= MANY:
            return frozenset(taken)
        return frozenset(root for root in self.known if any(root == path or root in path.parents for path in taken))

    def _notes(self) -> tuple[str, ...]:
        notes = []
        for path, root in sorted(self.known.items()):
            if root.missing:
                notes.append(f"{path} is not there: waiting for it to return")
            elif root.reason:
                notes.append(f"{path} is not watched but looked at every {self.poll_seconds:g} s: {root.reason}")
        return tuple(notes)


class _OverflowFilter(logging.Filter):
    """Hears from watchdog's log, the only place where it says so, that the kernel dropped events."""

    def __init__(self, follower: _Follower) -> None:
        super().__init__()
        self._follower = follower

    def filter(self, record: logging.LogRecord) -> bool:
        if "overflow" in record.msg:
            for path in tuple(self._follower.known):
                self._follower.pending.add(path)
        return True


def _has_room(observer: BaseObserver, handler: FileSystemEventHandler) -> bool:
    """Whether one more folder can be watched.

    watchdog passes over folders below a root that find no watch left, without a word: a tree of which half is
    watched looks like any other. So a new folder is tried, in a hidden place.
    """
    if sys.platform != "linux":
        return True  # only inotify counts folders
    try:
        probe = tempfile.mkdtemp(prefix=".drama-")
    except OSError as error:  # the disk is full, which says nothing of watches
        log.info("no folder to try a watch on: %s", error)
        return True
    try:
        observer.unschedule(observer.schedule(handler, probe, recursive=False))
    except OSError as error:
        log.info("no watch left: %s", error)
        return False
    finally:
        shutil.rmtree(probe, ignore_errors=True)
    return True


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def describe_mount(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """ "network mount (nfs4)" if changes by others may give no events there, else "".

    Args:
        path: A root.
        mounts: Linux's list of mounts; elsewhere there is none and native events are trusted.
    """
    try:
        lines = [line for line in mounts.read_bytes().split(b"\n") if line]
    except OSError:
        return ""
    best, kind = -1, ""
    for line in lines:
        place, type_ = read_mount(line)
        if (place == path or place in path.parents) and len(place.parts) >= best:
            best, kind = len(place.parts), type_
    if kind in _LOCAL_FUSE:
        return ""
    return f"network mount ({kind})" if kind in _NETWORK or kind.startswith("fuse.") else ""


def read_mount(line: bytes) -> tuple[Path, str]:
    r"""Mount point and type of file system of a line of mountinfo, in which white space is written as "\040"."""
    fields, _, rest = line.partition(b" - ")
    place = _OCTAL.sub(lambda match: bytes([int(match[1], 8)]), fields.split(b" ")[4])
    return Path(os.fsdecode(place)), os.fsdecode(rest.split(b" ")[0])
