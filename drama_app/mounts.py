"""Mount points below the roots: what an unplugged drive held is not taken for deleted.

A root is told as missing for itself; a drive in it is a folder like any other, but for its device. Owns which were
seen, as a setting of the index, and whether one is away.
"""

import json
import os
from collections.abc import Collection, Iterable
from pathlib import Path

from drama_app.manifest import Manifest
from drama_app.scan import Found

_KEY = "mounts"


class MountFinder:
    """Finds the mount points among what a walk of one root sees."""

    def __init__(self, root: Path, device: int | None) -> None:
        self._root = root
        self._device = device
        self._above: dict[Path, Path | None] = {root: None}
        self.seen: set[Path] = set()

    def look_at(self, found: Found) -> None:
        """Takes a file into account: one on the root's own device costs nothing."""
        if self._device not in (None, found.device) and self._root in found.path.parents:
            mount = self._find(found.path.parent)
            if mount is not None:
                self.seen.add(mount)

    def _find(self, folder: Path) -> Path | None:
        passed = []
        while folder not in self._above and not os.path.ismount(folder):
            passed.append(folder)
            folder = folder.parent
        mount = self._above.get(folder, folder)
        self._above.update(dict.fromkeys([*passed, folder], mount))
        return mount


def keep_mounts(manifest: Manifest, top: Path, seen: Iterable[Path]) -> None:
    """Remembers the mount points that a walk of `top` has seen, and no more what is a plain folder with files now.

    Others are not asked for: a dead one could keep the answer back for minutes.
    """
    known = _read(manifest)
    for mount in [mount for mount in known if top in (mount, *mount.parents)]:
        known[mount] = known[mount] and _is_away(mount)
        if _is_plain(mount):
            del known[mount]
    _write(manifest, known | dict.fromkeys(seen, False))


def forget_mounts(manifest: Manifest) -> None:
    """Remembers no mount point of which no file is known any more: what a person forgets leaves no name behind."""
    known = _read(manifest)
    _write(manifest, {mount: known[mount] for mount in known if next(manifest.files(mount), None) is not None})


def find_away(manifest: Manifest, missing: Collection[Path]) -> set[Path]:
    """The mount points of missing files that are unmounted, or unplugged with their folder; remembered as away."""
    known = _read(manifest)
    holders = (mount for mount in known if any(mount in file.parents for file in missing))
    away = {mount for mount in holders if _is_away(mount)}
    _write(manifest, known | dict.fromkeys(away, True))
    return away


def away_mounts(manifest: Manifest) -> list[Path]:
    """The mount points that were away when a sync last looked; asks no disk."""
    return [mount for mount, away in _read(manifest).items() if away]


def describe_away(mount: Path) -> str:
    """A note to the person, who alone knows whether it comes back."""
    return (
        f"{mount} is not plugged in now: what is indexed of it stays searchable; "
        f"`drama-app forget {mount}` takes it out of the index"
    )


def _read(manifest: Manifest) -> dict[Path, bool]:
    """Every mount point from which something was indexed, and whether it was away at the last look."""
    return {Path(name): away for name, away in json.loads(manifest.get(_KEY, "{}")).items()}


def _write(manifest: Manifest, mounts: dict[Path, bool]) -> None:
    # JSON escapes names that are no UTF-8, so that they come back exactly.
    text = json.dumps({str(mount): mounts[mount] for mount in sorted(mounts)})
    if text != manifest.get(_KEY, "{}"):
        manifest.put(**{_KEY: text})


def _is_away(mount: Path) -> bool:
    """Whether its folder is gone, or there, no mount point, and empty. A dead mount is neither: the walk tells it."""
    try:
        return not os.path.ismount(mount) and _is_empty(mount)
    except FileNotFoundError:
        return True
    except OSError:
        return False


def _is_plain(mount: Path) -> bool:
    try:
        return not os.path.ismount(mount) and not _is_empty(mount)
    except OSError:
        return False


def _is_empty(folder: Path) -> bool:
    with os.scandir(folder) as listing:
        return next(listing, None) is None
