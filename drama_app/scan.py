"""What is on disk below a root, and which of it must be looked at.

The walk yields what it finds and what it cannot read; `needs_check` compares with the manifest. It follows no link, so
that it cannot leave the root or run in circles, reads no file, and changes nothing.
"""

import os
import stat
import tempfile
import threading
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from drama_app.config import expand_home
from drama_app.errors import UsageError
from drama_app.ignore import IgnoreRules
from drama_app.records import Skipped

RACY_NS = 2_000_000_000
"""The coarsest clock among file systems in use (FAT) ticks every two seconds."""

_MOST = 2**63 - 1
"""Of the manifest's integers. A file may be from after 2262, and some file systems number with 64 bits without a sign:
both are folded here, so that what is compared is what was kept."""

_SYSTEM = ("/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/proc", "/root", "/run", "/sbin", "/sys", "/usr",
           "/var", "/Users", "/System", "/Library", "/Applications", "C:\\Windows", "C:\\Program Files")  # fmt: skip
_NEVER = ("/proc", "/sys", "/dev")


@dataclass(frozen=True, slots=True)
class Found:
    """A regular file as the walk saw it."""

    path: Path
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int
    root: Path | None = field(default=None, compare=False)
    """The root that it was found in: no folder below it may become a link before the file is read."""


@dataclass(frozen=True, slots=True)
class Known:
    """The same file as it was when it was last read."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    checked_ns: int


def scan(top: Path, rules: IgnoreRules, *, stop: threading.Event | None = None) -> Iterator[Found | Skipped]:
    """Every file at or below `top` that is to be indexed; a folder that cannot be read is `Skipped`.

    Args:
        top: A root, or anything below it that is not ignored.
        rules: The root's rules.
        stop: Set it to end early.
    """
    try:
        status = top.lstat()
    except OSError as error:
        yield Skipped(top, describe(error))
        return
    if stat.S_ISREG(status.st_mode):
        yield _found(top, status, rules.root)
        return
    folders = [top] if stat.S_ISDIR(status.st_mode) else []
    while folders and not (stop is not None and stop.is_set()):
        folder = folders.pop()
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            yield Skipped(folder, describe(error, what="folder"))
            continue
        for entry in entries:
            yield from _look_at(entry, rules, folders)


def _look_at(entry: "os.DirEntry[str]", rules: IgnoreRules, folders: list[Path]) -> Iterator[Found | Skipped]:
    path = Path(entry.path)
    try:
        is_folder = entry.is_dir(follow_symlinks=False)
        if not is_folder and not entry.is_file(follow_symlinks=False):
            return  # a link, a pipe, a socket, a device
        if rules.ignored_here(path, is_folder=is_folder):
            return
        if is_folder:
            folders.append(path)
        else:
            yield _found(path, entry.stat(follow_symlinks=False), rules.root)
    except FileNotFoundError:
        return  # gone since the listing
    except OSError as error:
        yield Skipped(path, describe(error), for_now=not isinstance(error, PermissionError))


def look_again(found: Found) -> Found:
    """The file as it is now: the scan may be hours old in a long run.

    Raises:
        FileNotFoundError: it is gone, or something else is in its place: a link may lead out of the roots, and reading
            a pipe would never end.
    """
    now = found.path.lstat()
    if not stat.S_ISREG(now.st_mode) or (found.root is not None and is_behind_link(found.path, found.root)):
        raise FileNotFoundError(found.path)
    return replace(_found(found.path, now, found.root), device=found.device)


def needs_check(found: Found, known: Known | None) -> bool:
    """Whether the file must be hashed: it is new, its times or place differ, or they cannot prove anything.

    Equal times prove nothing if the file changed within the clock's tick of the moment it was read: then it is
    hashed once more, at a later moment, which settles it. A time far in the future is no such moment, so that a file
    from a skewed clock is not hashed at each sync.
    """
    if known is None:
        return True
    seen = (found.size, found.mtime_ns, found.ctime_ns, found.inode)
    if seen != (known.size, known.mtime_ns, known.ctime_ns, known.inode):
        return True
    return any(abs(changed - known.checked_ns) < RACY_NS for changed in (known.mtime_ns, known.ctime_ns))


def root_is_gone(root: Path, *, device: int | None, has_files: bool, is_file: bool = False) -> bool:
    """Whether a root is unplugged or unmounted, which is not the same as emptied by a person.

    Args:
        root: The root.
        device: Its device at the last sync, None if it was never synced.
        has_files: Whether the index holds files of it.
        is_file: Whether it was a file at the last sync: one that is missing from its folder was deleted.
    """
    try:
        if root.is_symlink():
            return has_files  # moved away, with a link left behind: the walk follows none, and would find nothing
        status = root.stat()
        if not stat.S_ISDIR(status.st_mode) or not has_files:
            return False
        with os.scandir(root) as listing:
            empty = next(listing, None) is None
    except FileNotFoundError:
        return has_files and not (is_file and folder_is_there(root.parent))
    except OSError:
        return True  # a stale network mount: nothing can be said of what it holds
    return empty and device is not None and status.st_dev != device


def merge_roots(roots: Iterable[Path]) -> list[Path]:
    """The roots that lie in no other root."""
    every = set(roots)
    return sorted(root for root in every if not any(parent in every for parent in root.parents))


def check_root(path: Path, *, yes: bool, own: Collection[Path] = ()) -> Path:
    """The path to follow, absolute and without links.

    Args:
        path: What a person asked to index.
        yes: They know that it is a whole home, drive or system folder.
        own: The app's own folders.

    Raises:
        UsageError: there is nothing, or it is too much to be indexed by accident.
    """
    try:
        root = expand_home(path).resolve(strict=True)
    except (OSError, RuntimeError) as error:
        reason = describe(error) if isinstance(error, OSError) else "it is a circle of links"
        raise UsageError(f"{path} cannot be indexed: {reason}") from error
    if not (root.is_dir() or root.is_file()):
        raise UsageError(f"{path} cannot be indexed: it is neither a folder nor a file")
    if any(root == Path(name) or Path(name) in root.parents for name in _NEVER):
        raise UsageError(f"{path} holds the system's own state, not documents")
    if any(folder in (root, *root.parents) for folder in map(Path, map(os.path.realpath, own))):
        raise UsageError(f"{path} is drama-app's own folder")
    if not yes and _is_vast(root):
        raise UsageError(f"{path} is a whole home, drive or system folder: name a folder in it, or add --yes")
    return root


def _is_vast(root: Path) -> bool:
    if root == Path(root.anchor) or root == Path.home().resolve() or root in Path.home().resolve().parents:
        return True
    if any(root == Path(name) for name in _SYSTEM):
        return True
    return os.path.ismount(root) and root != Path(tempfile.gettempdir()).resolve()


def is_there(path: Path) -> bool:
    """Whether the path leads to something; what lies on a dead mount does not. `Path.exists` raises for that."""
    return os.path.exists(path)  # noqa: PTH110


def folder_is_there(path: Path) -> bool:
    """Whether the path leads to a folder; what lies on a dead mount does not. `Path.is_dir` raises for that."""
    return os.path.isdir(path)  # noqa: PTH112


def is_gone(path: Path) -> bool:
    """Whether there is nothing at the path. What lies on a dead mount, or cannot be asked for, may well be there."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def is_behind_link(path: Path, root: Path) -> bool:
    """Whether a folder between the root and the path is a link now: it leads out, and no walk goes through it."""
    return any(os.path.islink(folder) for folder in path.parents if root in folder.parents)  # noqa: PTH114


def describe(error: OSError, *, what: str = "file") -> str:
    """An error of the file system as a reason that a person understands."""
    if isinstance(error, PermissionError):
        return f"{what} cannot be read: permission denied"
    if isinstance(error, FileNotFoundError):
        return f"there is no such {what}"
    return f"{what} cannot be read: {error.strerror or error}"


def _found(path: Path, status: os.stat_result, root: Path | None) -> Found:
    inode = (status.st_ino + 2**63) % 2**64 - 2**63
    changed, moved = _fold(status.st_mtime_ns), _fold(status.st_ctime_ns)
    return Found(path, status.st_size, changed, moved, inode, status.st_dev, root)


def _fold(time_ns: int) -> int:
    return max(-_MOST, min(_MOST, time_ns))
