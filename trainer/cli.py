"""`drama-train`: parses the command line, shows progress on stderr and tables on stdout. It measures nothing itself."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from drama_app.errors import DramaError, Interrupted, UsageError

if TYPE_CHECKING:
    from trainer.evaluate import Report

_DESCRIPTION = "Measure retrievers for drama. This version only evaluates; it does not train."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 2 usage or error, 130 interrupted."""
    options = _make_parser().parse_args(arguments)
    try:
        return _evaluate(options)
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped\n")
        return Interrupted.exit_code
    except DramaError as error:
        sys.stderr.write(f"drama-train: {error}\n")
        return error.exit_code


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="drama-train", description=_DESCRIPTION)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    text = "measure a retriever on test sets in BEIR layout, with the app's own search"
    verb = verbs.add_parser("evaluate", help=text, description=text)
    verb.add_argument("--retriever", type=Path, metavar="FOLDER", help="default: the retriever that is shipped")
    verb.add_argument("--sets", type=Path, required=True, metavar="DIR", help="a test set, or a folder of them")
    verb.add_argument(
        "--mode", choices=("meaning", "keywords", "fused"), action="append", help="may be repeated; default: all three"
    )
    verb.add_argument("--limit-queries", type=_positive, metavar="N", help="only the first N queries of a set")
    verb.add_argument("--threads", type=_positive, metavar="N", help="default: every core")
    verb.add_argument("--json", type=Path, metavar="OUT", help="also write the figures to this file")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _evaluate(options: argparse.Namespace) -> int:
    from drama_app.embed import open_retriever
    from trainer.evaluate import MODES, as_json, evaluate_set, find_sets, read_set

    folders = find_sets(options.sets)
    encoder = open_retriever(options.retriever, threads=options.threads)
    modes = tuple(mode for mode in MODES if not options.mode or mode in options.mode)
    reports: list[Report] = []
    for folder in folders:
        name = folder.name if folder == options.sets else folder.relative_to(options.sets).as_posix()
        test_set = read_set(folder, name=name, limit_queries=options.limit_queries)
        _say(f"{len(reports) // len(modes) + 1} of {len(folders)}: {name}")
        reports += evaluate_set(test_set, encoder, modes=modes, report=_show_progress)
    _show_progress("")
    figures = [as_json(report) for report in reports]
    if options.json:
        _write_json(options.json, {"retriever": encoder.fingerprint, "dim": encoder.dim, "reports": figures})
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


def _show_progress(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


def _say(text: str) -> None:
    _show_progress("")
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _write_json(path: Path, content: object) -> None:
    try:
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error})") from error


if __name__ == "__main__":
    sys.exit(main())
