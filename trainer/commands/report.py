"""The `report` verb: writes a run's page. It gathers nothing itself."""

import argparse
from pathlib import Path

from trainer.narration import say

NAME = "report"
HELP = "write one HTML page about a run: curves, scores before and after, samples of queries, rejects by reason"


def declare(verb: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    verb.add_argument("run_folder", type=Path, metavar="RUN", help="folder of the run, finished or not")
    verb.add_argument("--out", type=Path, metavar="FILE", help="default: report.html in the folder")


def run(options: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    from trainer.report import write_report

    out = options.out or options.run_folder / "report.html"
    missing = write_report(options.run_folder, out)
    say(f"{out} is written")
    for each in missing:
        say(f"left out: {each}")
    return 0
