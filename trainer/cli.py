"""`drama-train`: parses the command line and turns errors into a sentence and an exit code. It does no stage's work."""

import argparse
import sys
from collections.abc import Sequence

from drama_app.errors import DramaError, Interrupted
from trainer.commands import VERBS

_DESCRIPTION = "Measure retrievers for drama. This version only evaluates; it does not train."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 2 usage or error, 130 interrupted."""
    options = _make_parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped\n")
        return Interrupted.exit_code
    except DramaError as error:
        sys.stderr.write(f"drama-train: {error}\n")
        return error.exit_code


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="drama-train", description=_DESCRIPTION)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb in VERBS:
        command = verbs.add_parser(verb.NAME, help=verb.HELP, description=verb.HELP)
        verb.declare(command)
        command.set_defaults(run=verb.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
