"""Show what is searchable, what waits and what failed."""

import argparse
from typing import Any

from drama_app.config import Settings
from drama_app.output import Output, clean_for_terminal, describe_time, skipped_to_json
from drama_app.records import Skipped, Status

NAME = "status"
HELP = "show what is searchable, what waits, what failed"


def declare(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--failed", action="store_true", help="list the files that failed, by reason")
    parser.add_argument("--passed-over", action="store_true", help="list the files without text to search")


def run(arguments: argparse.Namespace, settings: Settings, output: Output) -> int:
    """Prints the status."""
    from drama_app.library import Library

    with Library.open(settings) as library:
        status = library.status()
        passed_over = [Skipped(*each) for each in library.passed_over()] if arguments.passed_over else None
    if arguments.json:
        output.write_json(status_to_json(status, passed_over))
        return 0
    from drama_app.listing import describe_status, list_by_reason

    if arguments.failed or passed_over is not None:
        files = [*(status.failed if arguments.failed else ()), *(passed_over or ())]
        lines = list(list_by_reason(files)) or ["none"]
    else:
        lines = list(describe_status(status))
    for line in lines:
        output.write_line(clean_for_terminal(line))
    return 0


def status_to_json(status: Status, passed_over: list[Skipped] | None) -> dict[str, Any]:
    """Returns the object that `status --json` prints; `passed_over` is a number unless the files were asked for."""
    return {
        "documents": status.documents,
        "passages": status.passages,
        "languages": status.languages,
        "types": status.kinds,
        "bytes": status.bytes,
        "retriever": status.retriever,
        "roots": [
            {
                "path": str(root.path),
                "documents": root.documents,
                "passages": root.passages,
                "synced": describe_time(root.synced),
                "state": root.state,
            }
            for root in status.roots
        ],
        "pending": status.pending,
        "failed": skipped_to_json(status.failed),
        "passed_over": status.passed_over if passed_over is None else skipped_to_json(passed_over),
        "left_out": [str(path) for path in status.left_out],
        "watching": status.watching,
        "notes": list(status.notes),
    }
