"""Remove everything that drama-app ever wrote: index, state, cache and logs. Your own files stay untouched."""

import argparse
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from drama_app.config import Settings
from drama_app.errors import DramaError, UsageError
from drama_app.output import Output, clean_for_terminal

NAME = "purge"
HELP = "remove the index and all that was stored with it"


def declare(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--config", action="store_true", help="the configuration too")


def run(arguments: argparse.Namespace, settings: Settings, output: Output) -> int:
    """Removes the folders."""
    kept = None if arguments.config else settings.config_file
    folders = [settings.data_folder, settings.state_folder, settings.cache_folder, settings.log_folder]
    folders += [settings.config_folder] if arguments.config else []
    present = [folder for folder in dict.fromkeys(folders) if folder.is_dir()]
    if not any(_content(folder, kept) for folder in present):
        output.write_line("there is nothing to remove")
        _tell_kept(kept, output)
        return 0
    if not arguments.yes:
        listed = "\n".join(f"  {clean_for_terminal(str(folder))}" for folder in present)
        if not output.ask(f"This removes the index and all that belongs to it:\n{listed}\nGo on?"):
            hint = "answer y, or add --yes" if output.from_person else "nobody can be asked here; add --yes"
            raise UsageError(f"nothing was removed: {hint}")
    with _alone(settings.state_folder):
        for folder in present:
            if folder != settings.state_folder:
                _remove(folder, kept)
                output.write_line(clean_for_terminal(f"removed {folder}"))
    if settings.state_folder in present:  # last, since it holds the locks
        _remove(settings.state_folder, kept)
        output.write_line(clean_for_terminal(f"removed {settings.state_folder}"))
    _tell_kept(kept, output)
    return 0


@contextmanager
def _alone(state_folder: Path) -> Iterator[None]:
    """No other drama-app indexes or watches meanwhile: it would write again what is removed."""
    from filelock import FileLock, Timeout

    from drama_app.writer_lock import LOCK

    with ExitStack() as held:
        for name in (LOCK, "watch.lock") if state_folder.is_dir() else ():
            try:
                held.enter_context(FileLock(state_folder / name, timeout=1, mode=0o600))
            except Timeout:
                raise UsageError(
                    "another drama-app is indexing or watching: stop it first; nothing was removed"
                ) from None
        yield


def _content(folder: Path, kept: Path | None) -> list[Path]:
    return [path for path in folder.iterdir() if path != kept and path not in (kept.parents if kept else ())]


def _remove(folder: Path, kept: Path | None) -> None:
    """Removes a folder whole, except what leads to `kept`: on some systems the configuration lies with the data."""
    try:
        if folder.is_symlink():
            raise DramaError(f"{folder} is a link: remove what it leads to yourself")
        for path in _content(folder, kept) if folder.is_dir() else []:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
            if folder.parent.name == "drama-app" and not any(folder.parent.iterdir()):
                folder.parent.rmdir()
    except OSError as error:
        raise DramaError(f"{folder} could not be removed ({error.strerror}): see that you may write there") from error


def _tell_kept(kept: Path | None, output: Output) -> None:
    if kept is not None and kept.exists():
        output.write_line(clean_for_terminal(f"left {kept} (remove it with --config)"))
