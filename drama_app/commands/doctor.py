"""Check that everything works here, and say what to do where it does not."""

import argparse
import logging
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from drama_app.config import Settings, default_settings, load_settings
from drama_app.errors import DramaError, NoIndexError, UsageError
from drama_app.output import Output, clean_for_terminal

NAME = "doctor"
HELP = "check that everything works here"
FREE_BYTES = 1_000_000_000  # an index of 100,000 passages takes about a third of it, rewritten once while tidied
COUNTED_FOLDERS = 200_000  # counting stops here: more than any usual limit

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of one check."""

    name: str
    state: Literal["ok", "warn", "fail"]
    text: str
    """What was found and, unless it is ok, what to do."""


def declare(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument("--json", action="store_true", help="print a JSON list")
    parser.set_defaults(load=load_anyway)


def load_anyway(flags: Mapping[str, object]) -> Settings:
    """The settings in force, or the defaults: a configuration that is refused is for the checks to tell."""
    try:
        return load_settings(flags)
    except UsageError:
        return default_settings()


def run(arguments: argparse.Namespace, settings: Settings, output: Output) -> int:
    """Runs every check; 1 if one fails."""
    checks: list[Check] = []
    steps: tuple[Callable[[Settings], Iterator[Check]], ...] = (
        check_settings, check_folders, check_disk, check_processor, check_retriever, check_index, check_watching,
    )  # fmt: skip
    for step in steps:
        checks += _run_step(step, settings)
    if arguments.json:
        output.write_json([{"check": each.name, "state": each.state, "text": each.text} for each in checks])
    else:
        for each in checks:
            output.write_line(clean_for_terminal(f"{each.state:<4}  {each.name:<10}  {each.text}"))
    return 1 if any(each.state == "fail" for each in checks) else 0


def _run_step(step: Callable[[Settings], Iterator[Check]], settings: Settings) -> Iterator[Check]:
    """Yields what a step finds; whatever error ends it is a failed check, and the other steps go on."""
    name = step.__name__.removeprefix("check_")
    try:
        yield from step(settings)
    except DramaError as error:
        yield Check(name, "fail", str(error))
    except OSError as error:
        yield Check(name, "fail", f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except Exception as error:
        log.critical("unexpected error in a check", exc_info=True)
        said = f"this check itself failed: {type(error).__name__}: {error}"
        yield Check(name, "fail", f"{said}; the details are in {settings.log_file}")


def check_settings(settings: Settings) -> Iterator[Check]:
    """The configuration and the environment are understood; what is refused is told by the error itself."""
    load_settings()
    there = settings.config_file.exists()
    yield Check("settings", "ok", f"{settings.config_file} is understood" if there else "they are the defaults")


def check_folders(settings: Settings) -> Iterator[Check]:
    """Our folders can be written by their owner and read by nobody else."""
    from drama_app.scan import is_there

    folders = (settings.data_folder, settings.state_folder, settings.cache_folder, settings.log_folder)
    for folder in dict.fromkeys(folders):
        nearest = next(path for path in (folder, *folder.parents) if is_there(path))
        if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
            yield Check("folders", "fail", f"{nearest} cannot be written: correct its permissions")
        elif nearest != folder:
            yield Check("folders", "ok", f"{folder} is made when it is needed")
        elif os.name == "posix" and stat.S_IMODE(folder.stat().st_mode) & 0o077:
            yield Check("folders", "fail", f"others may read {folder}: run `chmod 700 {folder}`")
        else:
            yield Check("folders", "ok", f"{folder} is private and can be written")


def check_disk(settings: Settings) -> Iterator[Check]:
    """There is room for an index."""
    from drama_app.scan import is_there

    nearest = next(path for path in (settings.data_folder, *settings.data_folder.parents) if is_there(path))
    free = shutil.disk_usage(nearest).free
    text = f"{free / 1e9:.1f} GB free at {nearest}"
    if free < FREE_BYTES:
        yield Check("disk", "warn", f"{text}: make room, an index of 100,000 passages takes about 0.3 GB")
    else:
        yield Check("disk", "ok", text)


def check_processor(_: Settings) -> Iterator[Check]:
    """The processor has the instructions that the int8 retriever is fast with."""
    import platform

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    description = Path("/proc/cpuinfo")
    if not description.exists():
        yield Check("processor", "ok", f"{platform.machine()}, {cores} cores")
        return
    flags = description.read_text(encoding="utf-8", errors="replace")
    if platform.machine() in ("x86_64", "AMD64") and "vnni" not in flags:
        yield Check("processor", "warn", f"{cores} cores without VNNI: indexing takes two to three times as long")
    else:
        yield Check("processor", "ok", f"{cores} cores, int8 instructions for the retriever are there")


def check_retriever(settings: Settings) -> Iterator[Check]:
    """The retriever that the index uses, or would use, is whole."""
    from drama_app.library import Library
    from drama_app.retriever import default_retriever_folder, open_retriever_folder

    try:
        with Library.open(settings) as library:
            folder, filled_by = library.retriever_folder(), library.recall("fingerprint")
            name = library.recall("retriever_name")
    except DramaError:  # the check of the index tells about it
        folder, filled_by, name = settings.retriever or default_retriever_folder(), "", ""
    retriever = open_retriever_folder(folder)
    if filled_by and filled_by != retriever.fingerprint:
        said = f"the index was filled by {name}, {folder} holds {retriever.name} {retriever.version}"
        yield Check("retriever", "fail", f"{said}: `drama-app model use shipped` embeds its passages anew")
    else:
        yield Check("retriever", "ok", f"{retriever.name} {retriever.version} is whole")


def check_index(settings: Settings) -> Iterator[Check]:
    """The index opens, and manifest and passages agree."""
    from drama_app.library import Library

    try:
        with Library.open(settings) as library:
            faults, status = library.check(), library.status()
    except NoIndexError as error:
        yield Check("index", "warn", str(error))
        return
    for fault in faults:
        yield Check("index", "fail", fault)
    if not faults:
        yield Check("index", "ok", "it opens, and its parts agree")
    for root in status.roots:
        if root.state == "missing":
            yield Check("index", "warn", f"{root.path} is missing: plug it in, or run `drama-app forget {root.path}`")
    yield from (Check("index", "warn", note) for note in status.notes)


def check_watching(settings: Settings) -> Iterator[Check]:
    """The system lets us watch every folder."""
    from drama_app.library import Library

    limit_file = Path("/proc/sys/fs/inotify/max_user_watches")
    if not limit_file.exists():
        yield Check("watch", "ok", "this system needs no limit for watching")
        return
    limit = int(limit_file.read_text(encoding="ascii"))
    try:
        with Library.open(settings) as library:
            folders = _count_folders(library.roots())
    except NoIndexError:
        folders = 0
    if folders > limit * 0.9:
        yield Check(
            "watch", "warn",
            f"{folders:,} folders, but the system watches at most {limit:,}: the rest is looked at every "
            f"{settings.poll_seconds:.0f} s; to change it: "
            f"`sudo sysctl fs.inotify.max_user_watches={max(524_288, 2 * folders)}`",
        )  # fmt: skip
    else:
        yield Check("watch", "ok", f"{folders:,} folders, the system watches up to {limit:,}")


def _count_folders(roots: tuple[Path, ...]) -> int:
    count = 0
    for root in roots:
        for _ in os.walk(root):
            count += 1
            if count >= COUNTED_FOLDERS:
                return count
    return count
