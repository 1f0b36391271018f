"""`drama-train`: parses the command line and turns errors into a sentence and an exit code. It does no stage's work."""

import argparse
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from drama_app.errors import DramaError, Interrupted, TrainingError, UsageError
from drama_app.output import STDOUT_CLOSED, clean_for_terminal, open_closed_streams
from trainer.commands import VERBS, whole_recipe
from trainer.narration import show_progress

EXAMPLES = """\
examples:
  drama-train --local-llm gemma.gguf --corpus ~/texts --out run --dry-run     the plan, with times
  drama-train --local-llm gemma.gguf --corpus ~/texts --out run               the whole recipe
  drama-train --recipe adapt --local-llm gemma.gguf --corpus index --out run  the present retriever, taught your files
  drama-train --out run --resume                                              go on after a stop
  drama-train evaluate --retriever run/retriever --sets SETS --json figures.json
  drama-app model use run/retriever

Training runs on this machine. Nothing leaves it, unless you name --llm-url (passages go to that server).

"""
EXIT_CODES = "exit codes: 0 done, 2 usage or error, 130 interrupted"


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are ours."""

    def error(self, message: str) -> NoReturn:
        """Raises UsageError in place of printing the usage and leaving."""
        raise UsageError(f"{message}; see `{self.prog} --help`")

    def format_help(self) -> str:
        """Examples first: they answer most questions."""
        return (EXAMPLES if self.prog == "drama-train" else "") + super().format_help()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 2 usage or error, 130 interrupted."""
    # Threads that spin while they wait take the cores from those that work; read when OpenMP is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    if not open_closed_streams():
        return _tell(TrainingError(STDOUT_CLOSED))
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # bars of transformers: a line for each per cent in a log
    logging.captureWarnings(True)  # what a library warns of tells a person nothing to act on
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has what it wanted. Python would complain when it flushes at exit: give it somewhere to flush to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _run(arguments: Sequence[str] | None) -> int:
    try:
        options = _make_parser().parse_args(arguments)
        return int(options.run(options))
    except KeyboardInterrupt:
        return _tell(Interrupted("stopped"))
    except DramaError as error:
        return _tell(error)
    except BrokenPipeError:
        raise
    except OSError as error:
        return _tell(TrainingError(f"{error.filename}: {error.strerror}" if error.filename else str(error)))
    except Exception as error:
        # What to report: the last line alone tells nobody where it was.
        sys.stderr.write(clean_for_terminal(traceback.format_exc(), lines=True))
        return _tell(TrainingError(f"something went wrong that should not have: {type(error).__name__}: {error}"))


def _tell(error: DramaError) -> int:
    show_progress("")
    sys.stderr.write(f"drama-train: {clean_for_terminal(str(error))}\n")
    return error.exit_code


def _make_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="drama-train",
        description="Build a retriever from a local LLM, or take the present one further, on texts of one's own.",
        epilog=EXIT_CODES,
    )
    whole_recipe.declare(parser)
    parser.set_defaults(run=whole_recipe.run, verb=None)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="one stage alone", parser_class=Parser)
    for verb in VERBS:
        command = verbs.add_parser(verb.NAME, help=verb.HELP, description=verb.HELP, epilog=EXIT_CODES)
        verb.declare(command)
        command.set_defaults(run=verb.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
