"""An input for a path: Tab completes folders as a shell does, a ghost shows the first that fits.

Folders are listed in threads: a dead network mount must not hold the UI.
"""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.suggester import Suggester

from drama_app.config import expand_home
from drama_app.errors import UsageError
from drama_app.output import clean_for_terminal
from drama_app.tui.widgets.clean_input import CleanInput

MOST_CANDIDATES = 200  # a folder may hold a million; nobody reads more


def list_completions(typed: str) -> list[str]:
    """Returns what `typed` may go on to, folders only, each whole and with a separator at its end.

    Hidden folders come only when the part after the last separator begins with a dot. A "~" stays a "~". Names that a
    line of a terminal cannot hold are left out.
    """
    if typed == "~":
        return [f"~{os.sep}"]
    head, separator, part = typed.rpartition(os.sep)
    folder = os.path.expanduser(head + separator) if separator else "."  # noqa: PTH111  a Path would drop the end
    found = []
    try:
        with os.scandir(folder) as listing:
            for entry in listing:
                fits = entry.name.startswith(part) or entry.name.casefold().startswith(part.casefold())
                fits = fits and entry.name.startswith(".") <= part.startswith(".")
                if fits and clean_for_terminal(entry.name) == entry.name and _is_folder(entry):
                    found.append(f"{head}{separator}{entry.name}{os.sep}")
                    if len(found) >= MOST_CANDIDATES:
                        break
    except OSError:
        return []
    exact = [each for each in found if each.startswith(typed)]
    return sorted(exact or found)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def read_path(typed: str) -> Path:
    """Returns the path that was typed, with "~" opened out, absolute as far as the text goes."""
    try:
        return expand_home(typed.strip()).absolute()
    except (UsageError, OSError):  # "~" and half a name, or no folder to stand in: whoever uses it says what is wrong
        return Path(typed.strip())


class _FirstFolder(Suggester):
    """Shows the first folder that fits behind the cursor."""

    def __init__(self) -> None:
        super().__init__(use_cache=False, case_sensitive=True)

    async def get_suggestion(self, value: str) -> str | None:
        if not value:
            return None
        found = await asyncio.to_thread(list_completions, value)
        return next((each.removesuffix(os.sep) for each in found if each.startswith(value)), None)


class PathInput(CleanInput):
    """A line for a path."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "complete", "Complete", id="path.complete"),
        Binding("enter", "submit", "Take it", id="path.submit", show=False),
    ]

    @dataclass
    class Completed(Message):
        """Tab was pressed; `names` are the folders that still fit, empty if the path is settled."""

        names: tuple[str, ...]

    def __init__(self, *, placeholder: str = "", id: str | None = None) -> None:  # noqa: A002  Textual's name
        super().__init__(placeholder=placeholder, id=id, suggester=_FirstFolder(), select_on_focus=False)

    def action_complete(self) -> None:
        """Goes on as far as it is clear; then says what there is to choose from."""
        if self.value:
            self._complete(self.value)
        else:
            self.screen.focus_next()

    @work(exclusive=True, group="complete", exit_on_error=False)
    async def _complete(self, typed: str) -> None:
        found = await asyncio.to_thread(list_completions, typed)
        if self.value != typed:
            return
        if not found:
            self.screen.focus_next()
            return
        common = os.path.commonprefix(found)  # noqa: RUF071  half a name is what Tab is to give
        if len(common) > len(typed) or len(found) == 1:
            if common == typed:
                self.screen.focus_next()
                return
            self.value = common
            self.cursor_position = len(common)
        names = tuple(Path(each).name for each in found) if len(found) > 1 else ()
        self.post_message(self.Completed(names))
