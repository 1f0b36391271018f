"""The `evaluate` verb: measures retrievers on test sets and prints a table. It measures nothing itself."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.narration import say, show_progress, write_json
from trainer.options import positive

if TYPE_CHECKING:
    from trainer.evaluate import Report

NAME = "evaluate"
HELP = "measure a retriever on test sets in BEIR layout, with the app's own search"


def declare(verb: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    verb.add_argument("--retriever", type=Path, metavar="FOLDER", help="default: the retriever that is shipped")
    verb.add_argument("--sets", type=Path, required=True, metavar="DIR", help="a test set, or a folder of them")
    verb.add_argument(
        "--mode", choices=("meaning", "keywords", "fused"), action="append", help="may be repeated; default: all three"
    )
    verb.add_argument("--limit-queries", type=positive, metavar="N", help="only the first N queries of a set")
    verb.add_argument("--threads", type=positive, metavar="N", help="default: every core")
    verb.add_argument("--json", type=Path, metavar="OUT", help="also write the figures to this file")


def run(options: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    from drama_app.embed import open_retriever
    from trainer.evaluate import MODES, as_json, evaluate_set, find_sets, read_set

    folders = find_sets(options.sets)
    encoder = open_retriever(options.retriever, threads=options.threads)
    modes = tuple(mode for mode in MODES if not options.mode or mode in options.mode)
    reports: list[Report] = []
    for folder in folders:
        name = folder.name if folder == options.sets else folder.relative_to(options.sets).as_posix()
        test_set = read_set(folder, name=name, limit_queries=options.limit_queries)
        say(f"{len(reports) // len(modes) + 1} of {len(folders)}: {name}")
        reports += evaluate_set(test_set, encoder, modes=modes, report=show_progress)
    show_progress("")
    figures = [as_json(report) for report in reports]
    if options.json:
        write_json(options.json, {"retriever": encoder.fingerprint, "dim": encoder.dim, "reports": figures})
    sys.stdout.write(format_table(reports))
    return 0


def format_table(reports: Sequence["Report"]) -> str:
    """The figures as a table in Markdown: a row a set, nDCG@10 a mode, then the means."""
    modes = list(dict.fromkeys(report.mode for report in reports))
    cells = {(report.name, report.mode): report for report in reports}
    lines = [f"| set | queries | passages | {' | '.join(modes)} |", "|---" * (3 + len(modes)) + "|"]
    for name in dict.fromkeys(report.name for report in reports):
        row = [cells[name, mode] for mode in modes]
        shown = (f"{each.ndcg10.mean:.3f} ({each.ndcg10.low:.3f} to {each.ndcg10.high:.3f})" for each in row)
        lines.append(f"| {name} | {row[0].queries} | {row[0].passages} | {' | '.join(shown)} |")
    means = []
    for mode in modes:
        values = [report.ndcg10.mean for report in reports if report.mode == mode]
        means.append(f"{sum(values) / len(values):.4f}")
    return "\n".join([*lines, f"| mean | | | {' | '.join(means)} |", ""])
