"""Take a file or folder out of the index; the files themselves stay untouched.

A folder below an indexed one stays out until it is indexed by name again.
"""

import argparse

from drama_app.commands.paths import read_path
from drama_app.config import Settings, expand_home
from drama_app.output import Output, clean_for_terminal

NAME = "forget"
HELP = "take a file or folder out of the index"


def declare(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument("paths", metavar="PATH", nargs="+", type=read_path, help="files and folders")


def run(arguments: argparse.Namespace, settings: Settings, output: Output) -> int:
    """Forgets each path."""
    from drama_app.library import Library
    from drama_app.writer_lock import is_taken

    with Library.open(settings) as library:
        if is_taken(settings.state_folder):
            output.note("waiting: another drama-app is writing to the index; until it is done the files are found")
        for path in arguments.paths:
            count = library.forget(expand_home(path))
            noun = "file" if count == 1 else "files"
            output.write_line(clean_for_terminal(f"{path}: {count:,} {noun} taken out of the index"))
    return 0
