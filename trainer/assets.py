"""Owns where the shipped prompts and recipes lie: inside the installed package, or in a checkout beside it."""

from pathlib import Path

import drama_app
from drama_app.errors import UsageError


def find_assets(kind: str) -> Path:
    """The folder of "prompts" or "recipes".

    Raises:
        UsageError: It is in neither place.
    """
    package = Path(drama_app.__file__).resolve().parent
    for folder in (package / "assets" / kind, package.parent / "assets" / kind):
        if folder.is_dir():
            return folder
    raise UsageError(f"{package}: the {kind} are missing; install drama again")
