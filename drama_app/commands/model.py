"""List, change or verify the retriever: the model that turns passages and questions into vectors."""

import argparse
from pathlib import Path

from drama_app.commands.paths import read_name
from drama_app.config import Settings, expand_home
from drama_app.errors import Interrupted, UsageError
from drama_app.output import Output, clean_for_terminal

NAME = "model"
HELP = "list, change or verify the retriever"


def declare(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="the retrievers that are there")
    listing.add_argument("--json", action="store_true", help="print a JSON list")
    use = actions.add_parser(
        "use", help="change the retriever: every passage is embedded again, searches use the old one until then"
    )
    use.add_argument("folder", metavar="FOLDER", nargs="?", type=read_name, help="a retriever folder, or 'shipped'")
    use.add_argument("--back", action="store_true", help="one step back, in place of FOLDER")
    verify = actions.add_parser("verify", help="check a retriever folder whole")
    verify.add_argument(
        "folder", metavar="FOLDER", nargs="?", type=read_name, help="or 'shipped'; default: the one in use"
    )


def run(arguments: argparse.Namespace, settings: Settings, output: Output) -> int:
    """Runs the action."""
    actions = {"list": _list, "use": _use, "verify": _verify}
    return actions[arguments.action](arguments, settings, output)


def _list(arguments: argparse.Namespace, settings: Settings, output: Output) -> int:
    from drama_app.library import Library

    with Library.open(settings) as library:
        used = library.recall("fingerprint")
        retrievers, faults = library.retrievers()
    rows = [
        {
            "name": each.name,
            "version": each.version,
            "dims": list(each.dims),
            "licence": each.licence,
            "fingerprint": each.fingerprint,
            "folder": str(each.folder),
            "in_use": each.fingerprint == used,
        }
        for each in retrievers
    ]
    for fault in faults:
        output.note(f"not listed: {clean_for_terminal(fault)}")
    if arguments.json:
        output.write_json(rows)
        return 0
    for row, each in zip(rows, retrievers, strict=True):
        mark = "*" if row["in_use"] else " "
        dims = "/".join(map(str, each.dims))
        output.write_line(
            clean_for_terminal(f"{mark} {each.name} {each.version}  dims {dims}  {each.licence}  {each.folder}")
        )
    return 0


def _use(arguments: argparse.Namespace, settings: Settings, output: Output) -> int:
    from drama_app.library import Library
    from drama_app.progress import GO_ON, showing_progress, stopping

    if (arguments.folder is None) != arguments.back:
        raise UsageError("name a FOLDER, or --back for one step back, one of them")
    folder = None if arguments.back else _find(arguments.folder)
    with stopping(output) as stop, Library.open(settings) as library, showing_progress(output) as on_progress:
        name = library.use_retriever(folder, on_progress=on_progress, stop=stop)
    if stop.is_set():
        raise Interrupted(GO_ON)
    output.write_line(clean_for_terminal(f"in use: {name}"))
    return 0


def _find(name: str) -> Path:
    from drama_app.retriever import default_retriever_folder
    from drama_app.switching import SHIPPED

    return default_retriever_folder() if name == SHIPPED else expand_home(name).absolute()


def _verify(arguments: argparse.Namespace, settings: Settings, output: Output) -> int:
    from drama_app.library import Library
    from drama_app.retriever import default_retriever_folder, open_retriever_folder

    folder = _find(arguments.folder) if arguments.folder else None
    if folder is None and (settings.data_folder / "index").is_dir():
        with Library.open(settings) as library:
            folder = library.retriever_folder()
    retriever = open_retriever_folder(folder or default_retriever_folder())
    name = f"{retriever.name} {retriever.version}"
    output.write_line(clean_for_terminal(f"{retriever.folder}: {name} is whole, {retriever.fingerprint}"))
    return 0
