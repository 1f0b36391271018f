"""How the index stands, in words: what runs, how long it takes, what went wrong. Pure; every foreign word is cleaned.

Owns the sentences that the status line, the library screen and the activity screen share.
"""

from dataclasses import dataclass

from drama_app.listing import count_of, describe_seconds
from drama_app.output import clean_for_terminal
from drama_app.records import NOT_UP_TO_DATE, Progress, RootStatus, Status

NOT_WATCHED = " is not watched but looked at "
"""How the watcher says that a folder gives no events."""


@dataclass(frozen=True, slots=True)
class Standing:
    """All that decides what is said."""

    opened: bool = False
    has_index: bool = False
    status: Status | None = None
    progress: Progress | None = None
    indexing: str = "off"
    line: str = ""
    """What the watcher last said of itself."""
    failed: int = 0
    """Failures that are not muted."""


def describe_standing(now: Standing) -> tuple[str, str]:
    """Returns what goes on in one short phrase, and how it is meant: "", "busy", "warning" or "error"."""
    if not now.opened:
        return "opening the index", "busy"
    if now.indexing == "stopping":
        return "stopping: finishing what is being written", "busy"
    if now.progress is not None:
        return describe_work(now.progress), "busy"  # before the counts, which are read less often
    if not now.has_index or (now.status is not None and not now.status.roots):
        return "no folder yet: F3 adds one", ""
    if now.status is not None and all(root.state == "paused" for root in now.status.roots):
        return "every folder is paused: p in F3 resumes it", "warning"
    if now.indexing == "paused":
        return "paused", "warning"
    if now.indexing == "elsewhere":
        return "followed by another drama-app", ""
    if now.indexing == "failed":
        return f"not followed: {now.line}", "error"
    if now.indexing == "following":
        notes = now.line.count(NOT_WATCHED)
        watched = f", {count_of(notes, 'folder')} looked at now and then" if notes else ""
        if is_cut_off(now):
            return now.line, "error"
        behind = now.line.startswith("catching up")
        return ("catching up with the disk" if behind else f"up to date{watched}"), "busy" if behind else ""
    return "not followed", ""


def describe_work(progress: Progress) -> str:
    """Returns what indexing does: "indexing 120 of 500, 27 passages/s, 3 min left"."""
    if progress.phase == "scan":
        return "looking at the files"
    if progress.phase == "tidy":
        return "tidying the index"
    parts = [f"indexing {progress.files_done:,} of {progress.files_total:,}"]
    if rate := round(progress.passages_per_second):
        parts.append(f"{count_of(rate, 'passage')}/s")
    if progress.seconds_left is not None:
        parts.append(f"{describe_wait(progress.seconds_left)} left")
    return ", ".join(parts)


def describe_wait(seconds: float) -> str:
    """Returns a stretch of time that is only estimated: no more digits than it deserves."""
    if seconds < 60:
        return "under 1 min" if seconds >= 5 else "a moment"
    if seconds < 3600:
        return f"{round(seconds / 60)} min"
    return describe_seconds(seconds) if seconds < 48 * 3600 else f"{seconds / 86_400:,.0f} days"


def describe_root(root: RootStatus, now: Standing, *, leaving: bool = False) -> str:
    """Returns the state of one folder as the library screen shows it."""
    if leaving:
        return "being removed: u keeps it"
    if root.state == "missing":
        return "missing: unplugged?"
    if root.state == "paused":
        return "paused"
    if is_cut_off(now):
        return "not up to date"
    if note := watch_note(root, now.line):
        return f"polled: {note}"
    if now.indexing == "paused":
        return "all paused"
    if now.indexing == "stopping" and root.state in ("never synced", "incomplete"):
        return "stopping"
    if root.state == "never synced":
        return "waiting" if now.progress is not None else "never synced"
    if root.state == "incomplete":
        return "catching up" if now.progress is not None or now.indexing == "following" else "incomplete"
    return {"following": "following", "elsewhere": "followed elsewhere", "failed": "not followed"}.get(
        now.indexing, "not followed"
    )


def is_cut_off(now: Standing) -> bool:
    """Whether the watcher runs but cannot write what it sees: the index was deleted under it, the disk is full."""
    return now.indexing == "following" and now.line.startswith(NOT_UP_TO_DATE)


def watch_note(root: RootStatus, line: str) -> str:
    """Returns why the system's events are not used for a root: "network mount (nfs4), every 30 s"; "" if they are."""
    for part in line.split("; "):
        head, said, rest = part.partition(NOT_WATCHED)
        if said and head == clean_for_terminal(str(root.path)):
            often, _, reason = rest.partition(": ")
            return f"{reason}, {often}"
    return ""
