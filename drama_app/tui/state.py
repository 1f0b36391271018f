"""What the UI remembers between two starts: sizes, theme, history, muted failures.

Owns one small JSON file in the state folder. It can be lost without harm: a missing or broken file is a fresh start.
"""

import json
import logging
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from drama_app.config import Settings, make_private

log = logging.getLogger(__name__)

MOST_QUERIES = 500
NAME = "ui.json"


@dataclass
class UiState:
    """Changed in place by the screens, saved when the app ends."""

    theme: str = ""
    """Chosen in the palette; "" follows the settings."""
    preview_percent: int = 50
    """Share of the width that the preview takes."""
    mode: str = "fused"
    history: list[str] = field(default_factory=list)
    """Queries, oldest first, each once."""
    muted: list[str] = field(default_factory=list)
    """Failed files that the person does not want to see any more."""
    welcomed: bool = False
    before: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """What the file held when it was read; not kept itself."""

    def remember(self, query: str) -> None:
        """Puts a query at the end of the history."""
        query = " ".join(query.split())
        if query:
            self.history = [*(each for each in self.history if each != query), query][-MOST_QUERIES:]


def load_state(settings: Settings) -> UiState:
    """Reads the file; what it does not hold, or holds in another type, is as on the first start."""
    state = UiState()
    try:
        content: dict[str, Any] = json.loads((settings.state_folder / NAME).read_bytes())
        for each in fields(UiState):
            value = content.get(each.name)
            if type(value) is type(getattr(state, each.name)):
                is_texts = not isinstance(value, list) or all(isinstance(item, str) for item in value)
                setattr(state, each.name, value if is_texts else getattr(state, each.name))
    except FileNotFoundError:
        pass
    except (OSError, ValueError, AttributeError) as error:
        log.info("the state of the UI cannot be read and starts anew: %s", error)
    state.before = {}
    state.before = asdict(state)
    return state


def save_state(settings: Settings, state: UiState) -> None:
    """Writes the file, whole or not at all, readable by its owner only: it holds what was asked.

    What another window has kept meanwhile stays where this one changed nothing; queries and muted files of both stay.
    """
    kept = _merge(asdict(load_state(settings)), state.before, asdict(state)) if state.before else asdict(state)
    kept.pop("before")
    path: Path = make_private(settings.state_folder) / NAME
    part = path.with_suffix(".part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            # A name that is no UTF-8 is kept as escapes.
            json.dump(kept, file, indent=1)
        part.replace(path)
    except OSError as error:
        log.warning("the state of the UI cannot be kept: %s", error)


def _merge(theirs: dict[str, Any], before: dict[str, Any], mine: dict[str, Any]) -> dict[str, Any]:
    """Returns what to keep of two windows that began with `before`."""
    merged = {}
    for name, value in mine.items():
        if value == before.get(name):
            merged[name] = theirs[name]
        elif isinstance(value, list) and theirs[name] != before.get(name):
            gone = {each for each in before[name] if each not in value}
            new = [each for each in value if each not in before[name]]
            merged[name] = [*(each for each in theirs[name] if each not in gone and each not in new), *new]
        else:
            merged[name] = value
    return merged
