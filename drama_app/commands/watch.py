"""Keep the index in step with the disk until stopped.

Catches up first, then follows changes. With PATH these folders are followed from now on.
"""

import argparse
from pathlib import Path

from drama_app.config import Settings
from drama_app.errors import UsageError
from drama_app.output import Output
from drama_app.records import SyncReport

NAME = "watch"
HELP = "keep the index in step with the disk"


def declare(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument("paths", metavar="PATH", nargs="*", type=Path, help="folders and files to follow too")
    parser.add_argument("--yes", action="store_true", help="do not ask before a whole home folder or disk")


def run(arguments: argparse.Namespace, settings: Settings, output: Output) -> int:
    """Watches until Ctrl-C."""
    from drama_app.commands.index import check_paths
    from drama_app.library import Library
    from drama_app.progress import stopping

    paths = check_paths(arguments.paths, output, sure=arguments.yes)
    with stopping(output) as stop, Library.open(settings, create=bool(paths)) as library:
        for path in paths:
            library.add_root(path)
        if not library.roots():
            raise UsageError("no folder is indexed yet: run `drama-app watch FOLDER`")
        library.watch(
            on_report=lambda report: _tell_failures(report, output), on_state=_StateLine(output).show, stop=stop
        )
    output.note("stopped; run the same command to continue")
    return 130


class _StateLine:
    """One line of state; the same line is not said twice."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._last = ""

    def show(self, state: str) -> None:
        if state != self._last:
            self._last = state
            self._output.note(state)


def _tell_failures(report: SyncReport, output: Output) -> None:
    from drama_app.listing import list_by_reason

    for line in [*report.notes, *list_by_reason(report.failed)]:
        output.note(line)
