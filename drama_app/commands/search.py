"""Search by meaning and by words.

Put a phrase in "double quotes" to insist on it. Each hit is a file with the passages that answer.
"""

import argparse
import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from drama_app.commands.paths import read_name
from drama_app.config import Settings, expand_home
from drama_app.dates import read_span
from drama_app.errors import UsageError
from drama_app.output import Output, hit_to_json, results_to_json, verdict_to_json
from drama_app.records import Filters, Results

if TYPE_CHECKING:
    from drama_app.conditions import Chip
    from drama_app.library import Library

NAME = "search"
HELP = "find what answers a question"


def declare(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument("query", metavar="QUERY", nargs="?", help="a question, a name, words")
    parser.add_argument(
        "--similar", type=read_name, metavar="FILE[#PAGE]", help="files like this one, in place of QUERY"
    )
    parser.add_argument("--mode", choices=("fused", "meaning", "keywords"), default="fused", help="default: fused")
    parser.add_argument("-n", "--limit", type=read_count, default=10, metavar="N", help="at most N files (default 10)")
    parser.add_argument("--passages", type=read_count, metavar="N", help="passages a file (3; on a terminal 1)")
    chosen = parser.add_argument_group("conditions", "--in, --type and --lang may be repeated")
    chosen.add_argument(
        "--in", dest="folders", action="append", default=[], type=read_name, metavar="FOLDER", help="below FOLDER"
    )
    chosen.add_argument(
        "--type", dest="types", action="append", default=[], type=read_type, metavar="TYPE", help="pdf, ..."
    )
    chosen.add_argument("--lang", action="append", default=[], type=read_lang, metavar="CODE", help="en, de, zh, ...")
    chosen.add_argument("--since", type=read_date, metavar="DATE", help="changed on or after 2024, 2024-05, 2024-05-31")
    chosen.add_argument("--until", type=read_last_date, metavar="DATE", help="changed on or before")
    shape = parser.add_argument_group("output").add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="one JSON object")
    shape.add_argument("--jsonl", action="store_true", help="one JSON object a hit and line")
    shape.add_argument("--paths", action="store_true", help="only the paths, one a line")
    shape.add_argument("--explain", action="store_true", help="show where each score comes from")
    parser.add_argument("-0", "--null", action="store_true", help="with --paths: end each with a zero byte")


def run(arguments: argparse.Namespace, settings: Settings, output: Output) -> int:
    """Searches; 1 if nothing good enough was found, or none of it holds a quoted phrase."""
    from drama_app.library import Library
    from drama_app.rank import find_missing_phrase

    conditions = _settle(arguments, output)
    with Library.open(settings) as library:
        named = [str(place) for each in conditions for place in _find_places(each, library)]
        arguments.folders = [*arguments.folders, *named]
        results = _find(library, arguments)
        found = bool(results.hits) and not (results.nothing_good_enough or find_missing_phrase(results))
        if not results.hits:
            _hint(library, arguments, conditions, output)
        if arguments.query is not None and not arguments.paths:  # a file's path has no words to mark
            results = library.mark_sentences(results)
        if not (arguments.json or arguments.jsonl or arguments.paths):
            _show(results, arguments, output)
    if arguments.json:
        output.write_json(results_to_json(results))
    elif arguments.jsonl:
        verdict = verdict_to_json(results)
        for hit in results.hits:
            output.write_json({**verdict, **hit_to_json(hit)}, indent=None)
    elif arguments.paths:
        _write_paths(results, found, arguments, output)
    return 0 if found else 1


def _settle(arguments: argparse.Namespace, output: Output) -> tuple["Chip", ...]:
    """Makes the arguments what is asked; returns the conditions that the query held.

    Raises:
        UsageError: they ask for nothing, or for what cannot be.
    """
    if (arguments.query is None) == (arguments.similar is None):
        raise UsageError("say what to search for: a QUERY or --similar FILE, one of them")
    if arguments.query is not None and not arguments.query.strip():
        raise UsageError("the query is empty")
    if arguments.null and not arguments.paths:
        raise UsageError("-0 goes with --paths")
    conditions = _take_conditions(arguments, output)
    if None not in (arguments.since, arguments.until) and arguments.since > arguments.until:
        raise UsageError("--since lies after --until, so nothing can match; leave one of them out")
    return conditions


def _take_conditions(arguments: argparse.Namespace, output: Output) -> tuple["Chip", ...]:
    """Takes `type:pdf` and the like out of the query, each as the option of its name; one that is wrong stays."""
    from drama_app.conditions import make_filters, split_query

    query, chips, complaint = split_query(f"{arguments.query or ''} ")
    if complaint:
        output.note(f"{complaint}. It is searched for as it stands")
    if not chips:
        return ()
    if not query.strip():
        raise UsageError(f"the query has conditions only ({' '.join(map(str, chips))}): say what to search for too")
    chosen = make_filters(chips, ())
    arguments.query = query.strip()
    arguments.types = [*arguments.types, *chosen.types]
    arguments.lang = [*arguments.lang, *chosen.languages]
    arguments.since = chosen.since if chosen.since is not None else arguments.since
    arguments.until = chosen.until if chosen.until is not None else arguments.until
    return chips


def _find_places(chip: "Chip", library: "Library") -> list[Path]:
    """The folders that `in:` names: as the shell would, else below the indexed ones, as the terminal UI does."""
    from drama_app.conditions import find_folders
    from drama_app.scan import is_there

    if chip.key != "in":
        return []
    here = _follow(Path(chip.value))
    below = [] if is_there(here) else [each for each in find_folders(chip.value, library.roots()) if is_there(each)]
    return below or [here]


def _find(library: "Library", arguments: argparse.Namespace) -> Results:
    filters = Filters(
        folders=tuple(_follow(Path(folder)) for folder in arguments.folders),
        types=tuple(arguments.types),
        languages=tuple(arguments.lang),
        since=arguments.since,
        until=arguments.until,
    )
    if arguments.similar is not None:
        path, page = split_page(arguments.similar)
        return library.similar(path, page=page, limit=arguments.limit, filters=filters)
    return library.search(
        arguments.query, mode=arguments.mode, limit=arguments.limit, filters=filters, passages=arguments.passages or 3
    )


def _follow(path: Path) -> Path:
    """Returns the path as the index knows it: absolute, without links, there or not.

    Raises:
        UsageError: it is a circle of links.
    """
    try:
        return expand_home(path).resolve()
    except (OSError, RuntimeError) as error:
        raise UsageError(f"{path} cannot be followed: it is a circle of links") from error


def _hint(library: "Library", arguments: argparse.Namespace, conditions: tuple["Chip", ...], output: Output) -> None:
    """Says which condition may have left nothing."""
    from drama_app.scan import is_there

    for each in conditions:
        output.note(f'{each} was taken for a condition; in "quotes" it is searched for')
    roots = library.roots()
    for name in arguments.folders:
        folder = _follow(Path(name))
        if not any(folder.is_relative_to(root) or root.is_relative_to(folder) for root in roots):
            output.note(f"{name} is in no indexed folder; `drama-app status` lists them")
        elif not is_there(folder):
            output.note(f"{name} does not exist")
    if arguments.types or arguments.lang:
        output.note("`drama-app status` lists the types and languages that are indexed")


def _show(results: Results, arguments: argparse.Namespace, output: Output) -> None:
    from drama_app.listing import describe_seconds, narrate_results, show_results

    for_person, passages = output.for_person, arguments.passages or 1
    links = output.color and for_person
    if not for_person:  # another program reads hits there, and nothing else
        for line in narrate_results(results):
            output.note(line)
    output.show(*show_results(results, links=links, explain=arguments.explain, passages=passages, verdicts=for_person))
    output.detail(f"{len(results.hits)} files in {describe_seconds(results.seconds)}")


def _write_paths(results: Results, found: bool, arguments: argparse.Namespace, output: Output) -> None:
    """Near misses are no paths to act on: of them only stderr is told."""
    if not found:
        from drama_app.listing import describe_verdict

        output.note(describe_verdict(results)[0])
        return
    for hit in results.hits:
        output.write_path(hit.path, end=b"\0" if arguments.null else b"\n")


def split_page(text: str) -> tuple[Path, int | None]:
    """Returns file and page of "FILE#PAGE"; a file whose name holds "#" is itself.

    Raises:
        UsageError: there is no such page number.
    """
    from drama_app.scan import is_there

    path = expand_home(text)
    name, mark, page = text.rpartition("#")
    if is_there(path) or not mark:
        return path.absolute(), None
    if not re.fullmatch("[0-9]{1,6}", page) or int(page) < 1:
        raise UsageError(f"{page!r} is not a page number, in --similar {text}")
    return expand_home(name).absolute(), int(page)


def read_count(text: str) -> int:
    """Returns a number from 1 to 1000."""
    if not re.fullmatch("[0-9]{1,4}", text) or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 1000")
    return int(text)


def read_type(text: str) -> str:
    """Returns a kind or an ending: "*.PDF" is "pdf"."""
    return _read_condition("type", text)


def read_lang(text: str) -> str:
    """Returns the code of a language."""
    return _read_condition("lang", text)


def _read_condition(key: str, text: str) -> str:
    from drama_app.conditions import make_chip

    try:
        return make_chip(key, text).value
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def read_date(text: str) -> float:
    """Returns the beginning of a year, month, day or moment in local time, as seconds since 1970."""
    return _read_span(text)[0].timestamp()


def read_last_date(text: str) -> float:
    """Returns the end of it: "2024" includes the whole of December."""
    return _read_span(text)[1].timestamp()


def _read_span(text: str) -> tuple[datetime, datetime]:
    try:
        return read_span(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date such as 2024, 2024-05 or 2024-05-31") from None
