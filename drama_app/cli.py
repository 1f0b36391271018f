"""The command line: verbs, shared options, exit codes; nothing heavy is imported until a verb runs.

Owns parsing and the one place where errors become a sentence and an exit code:
0 found or done, 1 nothing found, 2 usage or error, 3 done with failed files, 130 interrupted.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from drama_app import terminal_ui
from drama_app.config import Settings, load_settings, make_private, suggest
from drama_app.errors import DramaError, UsageError
from drama_app.output import STDOUT_CLOSED, Output, clean_for_terminal, open_closed_streams

log = logging.getLogger(__name__)

EXAMPLES = """\
examples:
  drama-app                                    the terminal UI: search, folders, activity
  drama-app index ~/Documents ~/notes          make these folders searchable
  drama-app search "how do bees tell where food is"
  drama-app search "Kündigungsfrist" --type pdf --since 2024-01-01
  drama-app search "invoice 2041" --mode keywords --json
  drama-app watch                              keep the index in step with the disk
  drama-app status

Search runs on this machine only; no file and no question leaves it.

"""
EXIT_CODES = "exit codes: 0 found or done, 1 nothing found, 2 usage or error, 3 done with failed files, 130 interrupted"
LOG_BYTES = 2_000_000  # then the log starts anew and one older file is kept


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are ours."""

    def error(self, message: str) -> NoReturn:
        """Raises UsageError in place of printing the usage and leaving."""
        raise UsageError(f"{message}; see `{self.prog} --help`")

    def format_help(self) -> str:
        """Examples first: they answer most questions."""
        return (EXAMPLES if self.prog == "drama-app" else "") + super().format_help()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb; returns the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not open_closed_streams():
        sys.stderr.write(f"drama-app: {STDOUT_CLOSED}\n")
        return 2
    output = Output()
    try:
        try:
            code = _run(argv, output)
        except SystemExit as leaving:  # argparse leaves after --help and --version
            code = int(leaving.code or 0)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has what it wanted. Python would complain when it flushes at exit: give it somewhere to flush to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a full disk below a redirection
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        output.error(f"the output cannot be written: {error.strerror or error}")
        return 2
    return code


def _run(argv: list[str], output: Output) -> int:
    settings: Settings | None = None
    try:
        arguments = parse(argv)
        output = Output(color=arguments.color, quiet=arguments.quiet, verbose=arguments.verbose)
        settings = arguments.load(arguments.flags(arguments))
        set_up_logging(settings, verbose=output.verbose and arguments.verb is not None)
        return int(arguments.run(arguments, settings, output))
    except BrokenPipeError:
        raise
    except DramaError as error:
        log.debug("refused", exc_info=True)
        output.error(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        output.error("stopped")
        return 130
    except OSError as error:
        log.warning("refused by the system", exc_info=True)
        output.error(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        return 2
    except Exception as error:
        log.critical("unexpected error", exc_info=True)
        place = f"; the details are in {settings.log_file}" if settings else ""
        output.error(f"something went wrong that should not have: {type(error).__name__}: {error}{place}")
        return 2


def parse(argv: list[str]) -> argparse.Namespace:
    """Returns the arguments, with a verb that is known or None.

    Raises:
        UsageError: an option or the verb is wrong; the text says what was likely meant.
    """
    _, rest = build_shared().parse_known_args(argv)
    if rest and not rest[0].startswith("-"):
        _check_verb(rest[0])
    start = argparse.Namespace(color="auto", quiet=False, verbose=False, verb=None)
    return build_parser(verbs=bool(rest)).parse_args(argv, start)


def _check_verb(word: str) -> None:
    from drama_app.commands import VERBS

    names = {verb.NAME: verb for verb in VERBS}
    if word in names:
        return
    near = "" if " " in word else suggest(word, names)
    if near:
        raise UsageError(f"{word!r} is not a verb{near}")
    raise UsageError(f"{word!r} is not a verb; to search, run: drama-app search {_quote(word)}")


def _quote(word: str) -> str:
    import shlex

    return shlex.quote(word)


def build_shared() -> Parser:
    """The options that every verb takes, before or after its name."""
    shared = Parser(prog="drama-app", add_help=False, argument_default=argparse.SUPPRESS, allow_abbrev=False)
    shared.add_argument("--color", choices=("auto", "always", "never"), help="colours and links (default: auto)")
    shared.add_argument("-q", "--quiet", action="store_true", help="say nothing on stderr but errors")
    shared.add_argument("-v", "--verbose", action="store_true", help="say more on stderr, tracebacks too")
    return shared


def build_parser(*, verbs: bool = True) -> Parser:
    """The whole parser; each verb declares its own arguments.

    Without `verbs` only the options of the terminal UI: a bare start is 20 ms sooner on the screen.
    """
    shared = build_shared()
    parser = Parser(
        prog="drama-app",
        description="Semantic search over your own files, in any language, on your own machine.",
        epilog=EXIT_CODES,
        parents=[shared],
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=ShowVersion)
    terminal_ui.declare(parser)
    parser.set_defaults(run=terminal_ui.run, flags=terminal_ui.flags, load=load_settings, root_parser=parser)
    if verbs:
        _add_verbs(parser, shared)
    return parser


def _add_verbs(parser: Parser, shared: Parser) -> None:
    from drama_app.commands import VERBS

    known = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs", parser_class=Parser)
    for verb in VERBS:
        child = known.add_parser(
            verb.NAME,
            help=verb.HELP,
            description=verb.__doc__,
            epilog=EXIT_CODES,
            parents=[shared],
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        child.set_defaults(run=verb.run, flags=_no_flags, load=load_settings, root_parser=parser)
        verb.declare(child)


def _no_flags(_: argparse.Namespace) -> dict[str, object]:
    return {}


class ShowVersion(argparse.Action):
    """Prints the version; looks it up only then, since reading package metadata takes longer than the help."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="show the version and leave")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Prints and leaves."""
        from importlib.metadata import PackageNotFoundError, version

        try:
            number = version("drama")
        except PackageNotFoundError:
            number = "(not installed)"
        sys.stdout.write(f"drama-app {number}\n")
        parser.exit()


class PrivateLog(logging.Handler):
    """Appends to the log file; makes it, readable by its owner only, when there is a first line to write."""

    def __init__(self, path: Path) -> None:
        super().__init__(logging.WARNING)
        self._path = path

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one record; a log that cannot be written must not end a run."""
        try:
            make_private(self._path.parent)
            if self._path.exists() and self._path.stat().st_size > LOG_BYTES:
                self._path.replace(self._path.with_suffix(".log.1"))
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(handle, "a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(self.format(record) + "\n")
        except OSError:
            self.handleError(record)


class CleanFormatter(logging.Formatter):
    """Formats a record without anything that a terminal would obey."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line or lines of the record."""
        return clean_for_terminal(super().format(record), lines=True)


def set_up_logging(settings: Settings, *, verbose: bool) -> None:
    """Sends warnings and tracebacks to the log file, and with `verbose` to stderr too."""
    logging.raiseExceptions = verbose
    formatter = CleanFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handlers: list[logging.Handler] = [PrivateLog(settings.log_file)]
    if verbose:
        handlers.append(logging.StreamHandler(sys.stderr))
    for handler in handlers:
        handler.setFormatter(formatter)
    for name in ("drama_app", "drama_app.cli"):
        logging.getLogger(name).setLevel(logging.DEBUG if verbose else logging.INFO)
    logger = logging.getLogger("drama_app")
    logger.handlers[:] = handlers
    logger.propagate = False
    logging.captureWarnings(True)  # what a library warns of is for the log, not for the person's terminal
    logging.getLogger("py.warnings").handlers[:] = handlers
    logging.getLogger("py.warnings").propagate = False
