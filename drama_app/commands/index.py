"""Make folders searchable, or bring the index in step with them.

Without PATH every known folder is looked at. Only what changed is read again; with --retry also what failed.
"""

import argparse

from drama_app.commands.paths import read_path
from drama_app.config import Settings
from drama_app.errors import UsageError
from drama_app.output import Output, clean_for_terminal, report_to_json
from drama_app.records import SyncReport

NAME = "index"
HELP = "make folders searchable"


def declare(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument("paths", metavar="PATH", nargs="*", type=read_path, help="folders and files")
    parser.add_argument("--retriever", type=read_path, metavar="FOLDER", help="the retriever for a new index")
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")
    parser.add_argument("--yes", action="store_true", help="agree to a whole home folder, disk or system folder")
    parser.add_argument(
        "--hidden", action=argparse.BooleanOptionalAction, help="names that start with a dot too; kept for these PATHs"
    )
    parser.add_argument(
        "--ignore", action="append", metavar="PATTERN",
        help="pass over what matches, as in a .gitignore; kept for these PATHs; may be repeated",
    )  # fmt: skip
    parser.add_argument("--retry", action="store_true", help="read again what failed, of these PATHs or of all folders")
    parser.add_argument(
        "--again", action="store_true",
        help="read every file again, as after an update that reads more of them; what stays the same keeps its vectors",
    )  # fmt: skip
    parser.add_argument("--threads", type=int, metavar="N", help="threads of the encoder")
    parser.set_defaults(flags=lambda arguments: {"threads": arguments.threads})


def run(arguments: argparse.Namespace, settings: Settings, output: Output) -> int:
    """Indexes; 3 if files failed, 130 if stopped."""
    from drama_app.library import Library
    from drama_app.progress import GO_ON, showing_progress, stopping
    from drama_app.scan import check_root
    from drama_app.writer_lock import is_taken

    if not arguments.paths and (arguments.hidden is not None or arguments.ignore):
        raise UsageError("--hidden and --ignore belong to a PATH: name it")
    roots = [check_root(path, yes=arguments.yes) for path in arguments.paths]  # before anything is made
    with stopping(output) as stop, Library.open(settings, create=bool(roots), retriever=arguments.retriever) as library:
        for root in roots:
            library.add_root(root, hidden=arguments.hidden, ignore=arguments.ignore, yes=arguments.yes)
            if library.resume(root):
                output.note(f"{root} was paused: it is followed again")
        if not library.roots():
            raise UsageError("no folder is indexed yet: run `drama-app index FOLDER`")
        if is_taken(settings.state_folder):
            output.note("waiting: another drama-app is writing to the index")
        wanted = roots or None
        if arguments.again:
            library.forget_reading(roots, stop=stop)
            wanted = None  # copies elsewhere are read again too
        with showing_progress(output) as on_progress:
            sync = library.retry if arguments.retry else library.sync
            report = sync(wanted, on_progress=on_progress, stop=stop)
    if arguments.json:
        output.write_json(report_to_json(report))
    else:
        _summarise(report, output)
    if report.stopped:
        output.error("stopped; `drama-app index` goes on from there" if arguments.again else GO_ON)
        return 130
    return 3 if report.failed else 0


def _summarise(report: SyncReport, output: Output) -> None:
    from drama_app.listing import describe_report

    for line in describe_report(report):
        output.write_line(clean_for_terminal(line))
