"""Keep the index in step with the disk until stopped.

Catches up first, then follows changes. With PATH these folders are followed from now on.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from drama_app.commands.paths import read_path
from drama_app.config import Settings
from drama_app.errors import UsageError
from drama_app.output import Output
from drama_app.records import Skipped, SyncReport

NAME = "watch"
HELP = "keep the index in step with the disk"


def declare(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument("paths", metavar="PATH", nargs="*", type=read_path, help="folders and files to follow too")
    parser.add_argument("--yes", action="store_true", help="agree to a whole home folder, disk or system folder")


def run(arguments: argparse.Namespace, settings: Settings, output: Output) -> int:
    """Watches until Ctrl-C."""
    from drama_app.library import Library
    from drama_app.progress import stopping
    from drama_app.scan import check_root

    roots = [check_root(path, yes=arguments.yes) for path in arguments.paths]
    with stopping(output) as stop, Library.open(settings, create=bool(roots)) as library:
        for root in roots:
            library.add_root(root, yes=arguments.yes)
            if library.resume(root):
                output.note(f"{root} was paused: it is followed again")
        if not library.roots():
            raise UsageError("no folder is indexed yet: run `drama-app watch FOLDER`")
        library.watch(on_report=_News(output, library.roots).tell, on_state=output.note, stop=stop)
    output.note("stopped; run the same command to continue")
    return 130


class _News:
    """Tells each failure and note once: again only after a look that did not find it any more."""

    def __init__(self, output: Output, roots: Callable[[], Sequence[Path]]) -> None:
        self._output = output
        self._roots = roots
        self._failed: frozenset[Skipped] = frozenset()
        self._notes: frozenset[str] = frozenset()

    def tell(self, report: SyncReport) -> None:
        """Says what is new in a report."""
        from drama_app.listing import list_by_reason

        failed, notes = frozenset(report.failed), frozenset(report.notes)
        for line in [*sorted(notes - self._notes), *list_by_reason(failed - self._failed)]:
            self._output.note(line)
        seen = set(self._roots() if report.looked_at is None else report.looked_at)
        self._failed = failed | {each for each in self._failed if seen.isdisjoint((each.path, *each.path.parents))}
        # A note names what it is about: it ends when that is looked at and the note does not come again.
        self._notes = notes | {each for each in self._notes if not any(str(path) in each for path in seen)}
