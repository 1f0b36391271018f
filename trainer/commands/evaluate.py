"""The `evaluate` verb: measures retrievers on test sets and prints tables. It measures nothing itself."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.narration import Narrator, check_place, say, show_progress, write_json
from trainer.options import positive

if TYPE_CHECKING:
    from trainer.contestants import Contestant

NAME = "evaluate"
HELP = "measure retrievers on test sets in BEIR layout, with the app's own search, beside BM25"


def declare(verb: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    verb.add_argument(
        "--retriever", default="shipped", metavar="FOLDER",
        help="what is judged: a retriever folder, a run, a checkpoint or a folder of transformers (in fp32), a GGUF "
        "embedding model; default: the one that is shipped",
    )  # fmt: skip
    verb.add_argument("--sets", type=Path, required=True, metavar="DIR", help="a test set, or a folder of them")
    verb.add_argument(
        "--against", action="append", default=[], metavar="FOLDER",
        help="compare with this one, query by query; 'shipped' for the one that is shipped; may be repeated",
    )  # fmt: skip
    verb.add_argument(
        "--mode", choices=("meaning", "keywords", "fused"), action="append", help="may be repeated; default: all three"
    )
    verb.add_argument(
        "--width", type=_width, action="append", default=[], metavar="N",
        help="also with vectors cut to N numbers; 'all' for every width that it offers; may be repeated",
    )  # fmt: skip
    verb.add_argument(
        "--fp32", action="store_true", help="also the retriever's own training weights, to see what rounding costs"
    )
    verb.add_argument("--weights", type=Path, metavar="FILE", help="where these weights are; means --fp32")
    verb.add_argument("--limit-queries", type=positive, metavar="N", help="only the first N queries of a set")
    verb.add_argument("--threads", type=positive, metavar="N", help="default: every core")
    verb.add_argument("--json", type=Path, metavar="OUT", help="also write the figures to this file")


def run(options: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    from trainer.compare import evaluate_contestants, evaluation_json
    from trainer.evaluate import MODES, find_sets
    from trainer.input_checks import check_sets
    from trainer.tables import format_tables

    say(f"{len(find_sets(options.sets))} test sets")  # before minutes go by
    check_sets(options.sets)
    if options.json:
        check_place(options.json)
    contestants = _open_contestants(options)
    evaluation = evaluate_contestants(
        contestants, options.sets, modes=tuple(mode for mode in MODES if not options.mode or mode in options.mode),
        limit_queries=options.limit_queries, report=Narrator(NAME),
    )  # fmt: skip
    show_progress("")
    sys.stdout.write(format_tables(evaluation))
    if options.json:
        write_json(options.json, evaluation_json(evaluation))
    return 0


def _open_contestants(options: argparse.Namespace) -> "list[Contestant]":
    """The judged one, its rivals, and its own weights in float32 if asked for."""
    from trainer.contestants import is_exact, keep_widths, open_contestant, open_exact

    threads = options.threads
    judged = open_contestant(
        options.retriever, widths=None if "all" in options.width else options.width, threads=threads
    )
    others = [open_contestant(each, widths=None, threads=threads) for each in options.against]
    if options.weights or (options.fp32 and not is_exact(judged)):  # weights for what has none are told, not ignored
        others.append(open_exact(options.retriever, weights=options.weights, widths=None, threads=threads))
    return [judged, *(keep_widths(each, judged.widths) for each in others)]


def _width(text: str) -> int | str:
    return text if text == "all" else positive(text)
