"""Which files and folders below a root are not indexed: ignore files, names that hold no documents, hidden ones.

One question, `ignored`, serves the walk and the watcher, so that both give the same answer. It opens no file but
`.gitignore`, `.ignore` and a repository's `info/exclude`.
"""

import fnmatch
import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
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

_MARKS = frozenset({"CACHEDIR.TAG", "pyvenv.cfg", "CMakeCache.txt"})
"""A folder that holds such a file is made by a program and can be made again."""

_FILES = re.compile(
    "|".join(
        fnmatch.translate(pattern)
        for pattern in (
            "*.tmp", "*.temp", "~$*", ".~lock.*", "*.swp", "*.swo", "*.swx", "*~", ".#*", "#*#", "*.part",
            "*.crdownload", "*.download", "*.partial", "*.lock", ".DS_Store", "Thumbs.db", "desktop.ini", "*.pyc",
            "*.o", "*.obj", "*.class", "*.min.js", "*.min.css", "*.map",
        )
    )
)  # fmt: skip
"""What programs leave while they work, and what they build."""

IGNORE_FILES = frozenset({".gitignore", ".ignore"}) | _MARKS
"""What decides over the rest of a folder: when one comes, goes or changes, the folder is looked at whole."""


_Patterns = tuple[tuple[bool, re.Pattern[str]], ...]
"""Of one ignore file, the last first: whether it leaves out, and what it matches."""

_Chain = tuple[tuple[_Patterns, str], ...]


class IgnoreRules:
    """The rules below one root. Make a new one for each sync: it remembers the ignore files that it has read."""

    def __init__(
        self, root: Path, *, hidden: bool = False, extra: Collection[str] = (), excluded: Collection[Path] = ()
    ) -> None:
        """Reads nothing yet.

        Args:
            root: What is indexed; itself never ignored.
            hidden: Index names that start with a dot.
            extra: More patterns in the form of a .gitignore, relative to the root; they go before all ignore files.
            excluded: Paths that a person asked to forget, and the app's own folders.
        """
        self.root = root
        self._hidden = hidden
        self._extra = _parse(extra)
        self._excluded = frozenset(excluded)
        self._chains: dict[Path, _Chain] = {}

    def ignored(self, path: Path, *, is_folder: bool) -> bool:
        """Whether `path` below the root is left out, for its own name or for that of a folder above it."""
        above = [folder for folder in path.parents if self.root in folder.parents]
        return any(self.ignored_here(folder, is_folder=True) for folder in reversed(above)) or (
            path != self.root and self.ignored_here(path, is_folder=is_folder)
        )

    def ignored_here(self, path: Path, *, is_folder: bool) -> bool:
        """The same for the name alone, when nothing above it is ignored: what a walk asks."""
        name = path.name
        if path in self._excluded:
            return True
        if name.startswith(".") and not self._hidden:
            return True
        if is_folder and (name in _FOLDERS or is_marked(path)):
            return True
        if not is_folder and _FILES.match(name):
            return True
        return self._matches(path.parent, name + "/" if is_folder else name)

    def _matches(self, folder: Path, name: str) -> bool:
        """The verdict of the last pattern that matches, in the nearest ignore file that has one, as git decides."""
        for patterns, prefix in self._chain(folder):
            path = prefix + name
            for leaves_out, pattern in patterns:
                if pattern.search(path):
                    return leaves_out
        return False

    def _chain(self, folder: Path) -> _Chain:
        """The patterns that judge the content of a folder, first word first, each with the folder as it sees it."""
        chain = self._chains.get(folder)
        if chain is None:
            if folder == self.root or self.root not in folder.parents:
                above: _Chain = ((self._extra, ""),) if self._extra is not None else ()
            else:
                above = tuple((own, f"{prefix}{folder.name}/") for own, prefix in self._chain(folder.parent))
            # A repository's own exclusions come after its .gitignore, which may take them back.
            names = (Path(".git", "info", "exclude"), Path(".gitignore"), Path(".ignore"))
            own = _parse(line for name in names for line in _read_lines(folder / name))
            first = 1 if self._extra is not None else 0
            chain = above if own is None else (*above[:first], (own, ""), *above[first:])
            self._chains[folder] = chain
        return chain


def is_marked(folder: Path) -> bool:
    """Whether a program has marked the folder as its own."""
    return any(os.path.isfile(folder / name) for name in _MARKS)  # noqa: PTH113  Path.is_file costs twice as much


def _parse(lines: Iterable[str]) -> _Patterns | None:
    """The patterns among `lines`, None if there is none; git too passes over a line that is no pattern."""
    found = [pattern for line in lines for pattern in _read_pattern(line)]
    return tuple(reversed(found)) or None


def _read_pattern(line: str) -> Iterator[tuple[bool, re.Pattern[str]]]:
    if not line.strip() or line.startswith("#"):
        return
    with suppress(ValueError):
        for pattern in GitIgnoreSpec.from_lines([line]).patterns:
            if pattern.include is not None and pattern.regex is not None:
                yield pattern.include, _for_one_level(pattern.regex)


def _for_one_level(pattern: re.Pattern[str]) -> re.Pattern[str]:
    """The pattern for a path itself, where pathspec's matches what lies in it too.

    The walk asks level by level, and git lets a later pattern take a folder back: with "*" and "!*/" every folder was
    left out, and with "build/" and "!/docs/" docs/build came in, since pathspec lets what names a path's folder go
    after what names the path. Its patterns end in a group for the slash of a folder, in a slash ("a/**"), or not at
    all ("*").
    """
    source = pattern.pattern
    end = r"\Z" if pattern.groups else "." if source.endswith("/") else ""
    return re.compile(source + end, re.DOTALL)


def _read_lines(path: Path) -> list[str]:
    """The lines of an ignore file; none if it is no plain file, is unreadable or too large to be one."""
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > 1_000_000:  # git follows no links here either
            return []
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")  # as Python names such files
    except OSError:
        return []
    return [line.removesuffix("\r") for line in text.split("\n")]
