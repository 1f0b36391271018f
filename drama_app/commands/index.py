"""Make folders searchable, or bring the index in step with them.

Without PATH every known folder is looked at. Only what changed is read again.
"""

import argparse
from pathlib import Path
from typing import Any

from drama_app.config import Settings
from drama_app.errors import UsageError
from drama_app.output import Output, clean_for_terminal, report_to_json
from drama_app.records import SyncReport

NAME = "index"
HELP = "make folders searchable"


def declare(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument("paths", metavar="PATH", nargs="*", type=Path, help="folders and files")
    parser.add_argument("--retriever", type=Path, metavar="FOLDER", help="the retriever for a new index")
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")
    parser.add_argument("--yes", action="store_true", help="do not ask before a whole home folder or disk")
    parser.add_argument(
        "--hidden", action="store_true", default=None,
        help="names that start with a dot too, in this run (to keep it: index.hidden in the configuration)",
    )  # fmt: skip
    parser.add_argument(
        "--ignore", action="append", metavar="PATTERN",
        help="pass over what matches, as in a .gitignore, in this run (to keep it: index.ignore)",
    )  # fmt: skip
    parser.add_argument("--threads", type=int, metavar="N", help="threads of the encoder")
    parser.set_defaults(flags=_flags)


def _flags(arguments: argparse.Namespace) -> dict[str, Any]:
    ignore = tuple(arguments.ignore) if arguments.ignore else None
    return {"hidden": arguments.hidden, "ignore": ignore, "threads": arguments.threads}


def run(arguments: argparse.Namespace, settings: Settings, output: Output) -> int:
    """Indexes; 3 if files failed, 130 if stopped."""
    from drama_app.library import Library
    from drama_app.progress import GO_ON, showing_progress, stopping

    paths = check_paths(arguments.paths, output, sure=arguments.yes)
    with stopping(output) as stop, Library.open(settings, create=bool(paths), retriever=arguments.retriever) as library:
        for path in paths:
            library.add_root(path)
        if not library.roots():
            raise UsageError("no folder is indexed yet: run `drama-app index FOLDER`")
        with showing_progress(output) as on_progress:
            report = library.sync(paths or None, on_progress=on_progress, stop=stop)
    if arguments.json:
        output.write_json(report_to_json(report))
    else:
        _summarise(report, output)
    if report.stopped:
        output.error(GO_ON)
        return 130
    return 3 if report.failed else 0


def check_paths(paths: list[Path], output: Output, *, sure: bool) -> list[Path]:
    """Returns the paths, absolute; asks before a whole disk or home folder.

    Raises:
        UsageError: one does not exist, or the person did not agree.
    """
    whole = []
    absolute = [Path(path).expanduser().absolute() for path in paths]
    for path in absolute:
        if not path.exists():
            raise UsageError(f"{path} does not exist")
        if path.resolve() in (Path(path.anchor), Path.home().resolve()):
            whole.append(path)
    if whole and not sure and not output.ask(f"Index everything below {clean_for_terminal(str(whole[0]))}?"):
        raise UsageError(f"{whole[0]} is a whole disk or home folder: add --yes if all of it is meant")
    return absolute


def _summarise(report: SyncReport, output: Output) -> None:
    from drama_app.listing import describe_report

    for line in describe_report(report):
        output.write_line(clean_for_terminal(line))
