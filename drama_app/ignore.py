"""Which files and folders below a root are not indexed: ignore files, names that hold no documents, hidden ones.

One question, `ignored`, serves the walk and the watcher, so that both give the same answer. It opens no file but
`.gitignore`, `.ignore` and a repository's `info/exclude`.
"""

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from pathspec import GitIgnoreSpec

_FOLDERS = frozenset(
    {
        "node_modules", "bower_components", "__pycache__", ".git", ".hg", ".svn", ".bzr", ".jj", "CVS", ".cache",
        ".tox", ".nox", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".eggs", ".gradle", ".terraform", ".idea",
        ".vs", ".Trash", ".Trashes", "$RECYCLE.BIN", "System Volume Information", "lost+found", ".Spotlight-V100",
        ".fseventsd", "__MACOSX",
    }
)  # fmt: skip
"""Caches, version control and trash: large, and nobody's documents."""

_MARKED = (("CACHEDIR.TAG",), ("pyvenv.cfg",), ("CMakeCache.txt",))
"""A folder that holds this file is made by a program and can be made again."""

_FILES = GitIgnoreSpec.from_lines(
    [
        "*.tmp", "*.temp", "~$*", ".~lock.*", "*.swp", "*.swo", "*.swx", "*~", ".#*", "#*#", "*.part", "*.crdownload",
        "*.download", "*.partial", "*.lock", ".DS_Store", "Thumbs.db", "desktop.ini", "*.pyc", "*.o", "*.obj",
        "*.class", "*.min.js", "*.min.css", "*.map",
    ]
)  # fmt: skip
"""What programs leave while they work, and what they build."""

IGNORE_FILES = frozenset({".gitignore", ".ignore"})


class IgnoreRules:
    """The rules below one root. Make a new one for each sync: it remembers the ignore files that it has read."""

    def __init__(
        self, root: Path, *, hidden: bool = False, extra: Collection[str] = (), excluded: Collection[Path] = ()
    ) -> None:
        """Reads nothing yet.

        Args:
            root: What is indexed; itself never ignored.
            hidden: Index names that start with a dot.
            extra: More patterns in the form of a .gitignore, relative to the root.
            excluded: Paths that a person asked to forget, and the app's own folders.
        """
        self._root = root
        self._hidden = hidden
        self._extra = tuple(extra)
        self._excluded = frozenset(excluded)
        self._specs: dict[Path, GitIgnoreSpec | None] = {}

    def ignored(self, path: Path, *, is_folder: bool) -> bool:
        """Whether `path` below the root is left out, for its own name or for that of a folder above it."""
        above = [folder for folder in path.parents if self._root in folder.parents]
        return any(self.ignored_here(folder, is_folder=True) for folder in reversed(above)) or (
            path != self._root and self.ignored_here(path, is_folder=is_folder)
        )

    def ignored_here(self, path: Path, *, is_folder: bool) -> bool:
        """The same for the name alone, when nothing above it is ignored: what a walk asks."""
        name = path.name
        if path in self._excluded:
            return True
        if name.startswith(".") and not self._hidden:
            return True
        if is_folder and (name in _FOLDERS or _is_marked(path)):
            return True
        if not is_folder and _FILES.match_file(name):
            return True
        return self._matches(path, is_folder=is_folder)

    def _matches(self, path: Path, *, is_folder: bool) -> bool:
        """The verdict of the nearest ignore file that has one, as git decides."""
        for folder in self._folders_above(path):
            spec = self._spec(folder)
            if spec is None:
                continue
            relative = path.relative_to(folder).as_posix() + ("/" if is_folder else "")
            verdict = spec.check_file(relative).include
            if verdict is not None:
                return bool(verdict)
        return False

    def _folders_above(self, path: Path) -> Iterator[Path]:
        for folder in path.parents:
            yield folder
            if folder == self._root:
                return

    def _spec(self, folder: Path) -> GitIgnoreSpec | None:
        if folder not in self._specs:
            lines = [] if folder != self._root else [*self._extra, *_read_lines(folder / ".git" / "info" / "exclude")]
            for name in (".gitignore", ".ignore"):
                lines += _read_lines(folder / name)
            self._specs[folder] = GitIgnoreSpec.from_lines(lines) if lines else None
        return self._specs[folder]


def _is_marked(folder: Path) -> bool:
    return any(os.path.isfile(folder / name) for (name,) in _MARKED)  # noqa: PTH113  Path.is_file costs twice as much


def _read_lines(path: Path) -> list[str]:
    """The patterns of an ignore file; none if it is no plain file, is unreadable or too large to be one."""
    try:
        if not path.is_file() or path.stat().st_size > 1_000_000:
            return []
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [line for line in lines if _is_pattern(line)]


def _is_pattern(line: str) -> bool:
    try:
        GitIgnoreSpec.from_lines([line])
    except ValueError:
        return False
    return True
