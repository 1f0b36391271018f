"""The terminal UI: what `drama-app` without a verb opens."""

import argparse
import os
import sys

from drama_app.config import THEMES, Settings
from drama_app.errors import UsageError
from drama_app.output import Output


def declare(parser: argparse.ArgumentParser) -> None:
    """Adds the options that only the UI has."""
    looks = parser.add_argument_group("terminal UI (without a verb)")
    looks.add_argument("--plain", action="store_true", help="lines only, for screen readers and simple terminals")
    looks.add_argument("--theme", choices=THEMES, help="the look (default: as dark as the terminal)")
    looks.add_argument("--no-mouse", action="store_true", help="leave the mouse to the terminal")


def flags(arguments: argparse.Namespace) -> dict[str, object]:
    """The settings that the options stand for."""
    return {"theme": arguments.theme, "mouse": False if arguments.no_mouse else None}


def run(arguments: argparse.Namespace, settings: Settings, output: Output) -> int:
    """Opens the UI; in plain mode, or where the terminal can do no more, a dialogue in lines."""
    if arguments.plain or os.environ.get("TERM") == "dumb":
        from drama_app.tui.plain import run_plain

        if reconfigure := getattr(sys.stdin, "reconfigure", None):
            reconfigure(errors="replace")  # a line in another encoding is a question that finds nothing, not the end
        return run_plain(settings, input=sys.stdin, output=output.stdout)
    if not (output.from_person and output.for_person):
        raise UsageError(
            "the terminal UI needs a terminal; say what to do, for example `drama-app index FOLDER`, then "
            "`drama-app search QUESTION`, or use `drama-app --plain`"
        )
    from drama_app.tui.start import run_app

    return run_app(settings)
