"""What following a folder would mean, before anything is changed: refusals, warnings and an estimate.

Runs in threads, knows no widget, and leaves no index behind where there is none.
"""

import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from drama_app.config import Settings
from drama_app.errors import DramaError, UsageError
from drama_app.listing import count_of, describe_bytes, shorten_path
from drama_app.records import Estimate
from drama_app.scan import folder_is_there
from drama_app.tui.standing import describe_wait

if TYPE_CHECKING:
    from drama_app.library import Library

SCARCE = 0.9  # of the free disk: an index that would fill more of it is warned of
USUAL = ("Documents", "Downloads", "Desktop", "notes", "Notes", "Dropbox", "Nextcloud", "OneDrive")


@dataclass(frozen=True, slots=True)
class Proposal:
    """A folder that somebody may want to follow."""

    path: Path
    estimate: Estimate | None = None
    refusal: str = ""
    """Why it cannot be followed; "" if it can."""
    warnings: tuple[str, ...] = ()
    vast: bool = False
    """A whole home, drive or system folder: asks for a second agreement."""
    free: int = 0
    """Bytes free where the index lies."""

    @property
    def is_scarce(self) -> bool:
        """The index may not fit on the disk."""
        return self.estimate is not None and self.free > 0 and self.estimate.disk > self.free * SCARCE


def weigh(
    library: "Library | None",
    settings: Settings,
    path: Path,
    *,
    tell: Callable[[Proposal], None],
    stop: threading.Event,
) -> Proposal:
    """Judges a folder, and counts what is in it.

    Args:
        library: None while there is no index.
        settings: Where the index is or would be.
        path: What was typed or picked.
        tell: Told about four times a second what is known so far.
        stop: Set it to end the count.
    """
    from drama_app.estimate import estimate

    proposal = _judge(library, settings, path)
    if proposal.refusal:
        return proposal
    proposal = replace(proposal, free=_measure_free(settings.data_folder))

    def pass_on(counted: Estimate) -> None:
        tell(replace(proposal, estimate=counted))

    pass_on(Estimate(0, 0, 0, 0.0, 0, complete=False))
    try:
        if library is not None:
            counted = library.estimate(proposal.path, tell=pass_on, stop=stop)
        else:
            counted = estimate(settings, proposal.path, tell=pass_on, stop=stop)
    except (DramaError, OSError) as error:
        return replace(proposal, refusal=str(error))
    if counted.complete and not counted.files:
        return replace(proposal, estimate=counted, refusal="There is no file to index there")
    if counted.complete and not counted.passages:
        proposal = replace(proposal, warnings=(*proposal.warnings, "None of the names promises text"))
    return replace(proposal, estimate=counted)


def _list_own(settings: Settings) -> tuple[Path, ...]:
    return settings.data_folder, settings.config_folder, settings.state_folder, settings.cache_folder


def _judge(library: "Library | None", settings: Settings, path: Path) -> Proposal:
    from drama_app.scan import check_root

    own, vast = _list_own(settings), False
    try:
        path = check_root(path, yes=True, own=own)
    except UsageError as error:
        return Proposal(path, refusal=str(error))
    try:
        check_root(path, yes=False, own=own)
    except UsageError:
        vast = True
    if library is None:
        return Proposal(path, vast=vast)
    above = library.root_above(path)
    if above == path:
        return Proposal(path, refusal="It is followed already; a paused folder is resumed with p in the library")
    if above is not None:
        return Proposal(path, refusal=f"It is part of {shorten_path(above)}, which is followed already")
    below = sum(path in root.parents for root in library.roots())
    notes = (f"{count_of(below, 'folder')} in it {'is' if below == 1 else 'are'} followed already",) if below else ()
    return Proposal(path, warnings=notes, vast=vast)


def _measure_free(folder: Path) -> int:
    """Bytes free where `folder` is or would be made; 0 if it cannot be told."""
    place = next((each for each in (folder, *folder.parents) if folder_is_there(each)), None)
    try:
        return int(shutil.disk_usage(place).free) if place is not None else 0
    except OSError:
        return 0


def describe_proposal(proposal: Proposal) -> str:
    """Returns "about 1,200 files, 340 MB, 9,000 passages, 6 min, 41 MB of disk; 73 GB free"."""
    counted = proposal.estimate
    if counted is None:
        return ""
    if not counted.complete and not counted.files:
        return "looking at the folder"
    about = "about" if counted.complete else "so far"
    wait = describe_wait(counted.seconds)
    text = (
        f"{about} {count_of(counted.files, 'file')}, {describe_bytes(counted.bytes)}, "
        f"{count_of(_round(counted.passages), 'passage')}, {wait}, {describe_bytes(counted.disk)} of disk"
    )
    return f"{text}; {describe_bytes(proposal.free)} free" if proposal.free else text


def _round(number: int) -> int:
    """Two digits: an estimate by names and sizes knows no more."""
    power: int = 10 ** max(len(str(number)) - 2, 0)
    return round(number / power) * power


def list_suggestions(settings: Settings) -> tuple[Path, ...]:
    """The folders where people keep documents, as far as they exist, and the current one.

    One that would be refused, or asks for a second agreement, is none to choose with one key.
    """
    from drama_app.scan import check_root

    home = Path.home()
    usual = [home / name for name in USUAL]
    try:
        here = Path.cwd()
    except OSError:  # it was removed below us
        here = home
    found: dict[tuple[int, int], Path] = {}
    for place in (*usual, here):
        try:
            check_root(place, yes=False, own=_list_own(settings))
            status = place.stat()
        except (UsageError, OSError):
            continue
        if folder_is_there(place):
            found.setdefault((status.st_dev, status.st_ino), place)  # "notes" and "Notes" may be one folder
    return tuple(found.values())
