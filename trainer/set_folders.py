"""Where test sets in BEIR layout lie: the folders at or below one that hold queries. Follows links; reads no set."""

import os
from pathlib import Path


def list_sets(folder: Path) -> list[Path]:
    """The folders at or below `folder` that hold a set, in order of their names; none if there is none.

    Links are followed, each folder once: sets are often linked into a folder of their own, and a set that is passed
    over there would be missing from what training is kept apart from.
    """
    found: list[Path] = []
    seen: set[str] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        if "queries.jsonl" in files:
            found.append(Path(place))
    return sorted(found)
