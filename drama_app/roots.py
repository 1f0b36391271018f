"""Which roots are walked for themselves, which one a path belongs to, and by which rules.

A root may lie in another one: then it is part of that one, unless it was left out there or has choices of its own. It
reads no file and walks no folder.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from drama_app.config import Settings
from drama_app.errors import UsageError
from drama_app.ignore import IgnoreRules
from drama_app.manifest import Manifest, RootRow
from drama_app.scan import folder_is_there, merge_roots


def followed_roots(manifest: Manifest, settings: Settings) -> list[Path]:
    """The roots that are walked for themselves: those in no other root, and those that the root above leaves out."""
    every = [row.path for row in manifest.roots() if row.state != "paused"]
    followed = merge_roots(every)
    for path in sorted(set(every) - set(followed), key=lambda path: len(path.parts)):
        if is_left_out(manifest, settings, path, followed):
            followed.append(path)
    return followed


def add_root(
    manifest: Manifest, settings: Settings, root: Path, *, hidden: bool | None, ignore: Sequence[str] | None
) -> None:
    """Follows a root from the next sync on; one that is part of another is followed with that one.

    Raises:
        UsageError: that one is paused, or its own `hidden` and `ignore` hold, so that these would do nothing.
    """
    with manifest.transaction():  # what is refused leaves no trace
        manifest.include(root)
        rows = manifest.roots()
        above = [row for row in rows if row.path in root.parents]
        outer = [row for row in above if not is_left_out(manifest, settings, root, [row.path])]
        awake = [row for row in outer if row.state != "paused"]
        if not outer or (not awake and any(row.path == root for row in rows)):
            manifest.add_root(root, hidden=hidden, ignore=ignore)
        elif not awake:
            place = outer[0].path
            raise UsageError(f"{root} is part of {place}, which is paused: `drama-app index {place}` follows it again")
        elif hidden is not None or ignore is not None:
            raise UsageError(_refuse_choices(root, awake[0]))


def _refuse_choices(root: Path, outer: RootRow) -> str:
    inside = (root.relative_to(outer.path) / "**" / "PATTERN").as_posix()
    old = f" (a new --ignore replaces what it has: {', '.join(outer.ignore)})" if outer.ignore else ""
    return (
        f"{root} is indexed as part of {outer.path}, so --hidden and --ignore would do nothing for it: "
        f"name {outer.path} with them{old}; there, --ignore '/{inside}' is for this folder alone"
    )


def is_left_out(manifest: Manifest, settings: Settings, path: Path, roots: Iterable[Path]) -> bool:
    """Whether `path` is in none of the roots, or passed over by the rules of each that it is in."""
    above = [root for root in roots if root in path.parents]
    whole = folder_is_there(path)
    return all(rules_for(manifest, settings, root).ignored(path, is_folder=whole) for root in above)


def root_above(manifest: Manifest, settings: Settings, path: Path) -> Path | None:
    """The root with which `path` is indexed: itself, or one above whose rules do not leave it out."""
    roots = [row.path for row in manifest.roots()]
    inside = [root for root in roots if root in path.parents]
    covering = (root for root in inside if not is_left_out(manifest, settings, path, [root]))
    return path if path in roots else next(covering, None)


def rules_for(manifest: Manifest, settings: Settings, root: Path) -> IgnoreRules:
    """The ignore rules below a root: the person's settings, and what they said of this root.

    A root inside it with choices of its own is followed for itself: what it leaves out must not come in from above. One
    that is paused is left alone from above too.
    """
    rows = manifest.roots()
    row = next((row for row in rows if row.path == root), None)
    inside = [row for row in rows if root in row.path.parents]
    inner = {row.path for row in inside if row.hidden or row.ignore or row.state == "paused"}
    own = (settings.data_folder, settings.config_folder, settings.state_folder, settings.cache_folder)
    return IgnoreRules(
        root,
        hidden=settings.hidden or (row is not None and row.hidden),
        extra=(*settings.ignore, *(row.ignore if row is not None else ())),
        # The app's own as roots are kept: behind a link it did not know them, and `watch` followed what it wrote.
        excluded=manifest.excluded() | {*map(Path, map(os.path.realpath, (*own, settings.log_folder))), *inner},
    )
