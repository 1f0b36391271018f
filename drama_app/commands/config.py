"""Write a commented configuration file, or show each setting and where its value comes from."""

import argparse
import os
from pathlib import Path

from drama_app.config import Settings, describe_template, make_private, resolve_settings, show_value
from drama_app.errors import UsageError
from drama_app.output import Output, clean_for_terminal

NAME = "config"
HELP = "write or show the configuration"


def declare(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    init = actions.add_parser("init", help="write a commented configuration file")
    init.add_argument("--force", action="store_true", help="overwrite one that is there")
    show = actions.add_parser("show", help="each setting and where its value comes from")
    show.add_argument("--json", action="store_true", help="print a JSON list")


def run(arguments: argparse.Namespace, settings: Settings, output: Output) -> int:
    """Runs the action."""
    if arguments.action == "init":
        return _init(settings, output, force=arguments.force)
    _, choices = resolve_settings()
    if arguments.json:
        output.write_json([{"key": each.key, "value": _plain(each.value), "origin": each.origin} for each in choices])
        return 0
    width = max(len(each.key) for each in choices)
    for each in choices:
        output.write_line(clean_for_terminal(f"{each.key:<{width}} = {show_value(each.value)}  ({each.origin})"))
    return 0


def _init(settings: Settings, output: Output, *, force: bool) -> int:
    path = settings.config_file
    make_private(path.parent)
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
    try:
        handle = os.open(path, flags, 0o600)
    except FileExistsError:
        raise UsageError(f"{path} is already there; --force overwrites it") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(describe_template())
    output.write_line(clean_for_terminal(f"wrote {path}"))
    return 0


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value
