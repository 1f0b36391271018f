"""Conditions of a search as words: `type:pdf`, `in:notes`, `since:2024-05`; what may be typed next, what is wrong.

Pure: texts in, chips and `Filters` out. It reads no folder and knows no widget.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from drama_app import dates
from drama_app.config import expand_home
from drama_app.errors import UsageError
from drama_app.keywords import NO_QUOTE
from drama_app.records import Filters

KEYS = ("in", "type", "lang", "since", "until")
FORMS = "in:FOLDER, type:pdf, lang:de, since:2024-01-31 or until:2024-12"
NEEDS_VALUE = f"needs a value. Write {FORMS}"
MOST_COMPLETIONS = 8

_IN_QUERY = re.compile(rf'(?<!\S)({"|".join(KEYS)}):("[^"]+"|[^\s"]\S*)\s|{NO_QUOTE}"[^"]*"', re.IGNORECASE)
_EMPTY_IN_QUERY = re.compile(rf"(?<!\S)({'|'.join(KEYS)}):(?=\s+\S)", re.IGNORECASE)
_IN_LINE = re.compile(rf"(?<!\S)({'|'.join(KEYS)}):", re.IGNORECASE)
_LAST_WORD = re.compile(rf"(?<!\S)({'|'.join(KEYS)}):((?:(?!\s(?:{'|'.join(KEYS)}):).)*)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Chip:
    """One condition, as the person wrote it; its value is right."""

    key: str
    value: str

    def __str__(self) -> str:
        return f"{self.key}:{self.value}"


@dataclass(frozen=True, slots=True)
class Choices:
    """What the index holds, for completion."""

    roots: tuple[Path, ...] = ()
    kinds: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    """Directories that the folder being typed may become, written as it is; read by whoever may touch the disk."""


def make_chip(key: str, value: str) -> Chip:
    """Returns the condition.

    Raises:
        UsageError: the value is wrong; the text names the right form.
    """
    key, value = key.lower(), value.strip().strip('"').strip()
    if not value:
        raise UsageError(f"{key}: {NEEDS_VALUE}")
    if key in ("since", "until"):
        read_span(key, value)
    elif key == "lang":
        value = value.lower()
        if not re.fullmatch("[a-z]{2,3}", value):
            raise UsageError(f"lang:{value} is not a language code. Write lang:de, lang:en, lang:zh")
    elif key == "type":
        value = value.lower().removeprefix("*").removeprefix(".")
        if not re.fullmatch(r"[\w+#-]{1,20}", value):
            raise UsageError(f"type:{value} is not a type. Write type:pdf, type:md, type:docx")
    return Chip(key, value)


def read_line(line: str) -> tuple[Chip, ...]:
    """Returns the conditions of a filter line; a value runs to the next key, so folders may hold spaces.

    Raises:
        UsageError: a value is wrong or there is no key; the text names the right form.
    """
    starts = list(_IN_LINE.finditer(line))
    stray = line[: starts[0].start()] if starts else line
    if stray.strip():
        raise UsageError(f"{stray.strip()!r} is not a filter. Write {FORMS}")
    ends = [*(match.start() for match in starts[1:]), len(line)]
    return tuple(make_chip(match[1], line[match.end() : end]) for match, end in zip(starts, ends, strict=True))


def split_query(query: str) -> tuple[str, tuple[Chip, ...], str]:
    """Takes the conditions out of a query, each once a space follows it.

    Returns:
        The query without them, the conditions, and a sentence about the first one that is wrong (it stays in the
        query), or "". A key without a value is told of once a further word follows it.
    """
    chips: list[Chip] = []
    complaint = ""

    def take(match: re.Match[str]) -> str:
        nonlocal complaint
        if match[1] is None:
            return match[0]  # a phrase: what is in it was insisted on
        try:
            chips.append(make_chip(match[1], match[2]))
        except UsageError as error:
            complaint = complaint or str(error)
            return match[0]
        return ""

    rest = _IN_QUERY.sub(take, query)
    if not complaint and (empty := _EMPTY_IN_QUERY.search(rest)):
        complaint = f"{empty[1].lower()}: {NEEDS_VALUE}"
    return rest, tuple(chips), complaint


def leave_out_conditions(query: str) -> str:
    """Returns what is searched for: without the conditions that stand in the query still, unfinished or refused.

    As words they would find what nobody asked for. A key without a value stays: it is a colon in a sentence.
    """
    return _IN_QUERY.sub(lambda match: match[0] if match[1] is None else "", f"{query} ").strip()


def add_chips(chips: Sequence[Chip], more: Iterable[Chip]) -> tuple[Chip, ...]:
    """Returns all of them, each once; of `since` and `until` the newest counts.

    Raises:
        UsageError: nothing can lie between the two dates.
    """
    kept = list(chips)
    for chip in more:
        kept = [each for each in kept if each != chip and not (each.key == chip.key and chip.key in ("since", "until"))]
        kept.append(chip)
    spans = {chip.key: read_span(chip.key, chip.value) for chip in kept if chip.key in ("since", "until")}
    if len(spans) == 2 and spans["since"][0] > spans["until"][1]:
        raise UsageError("since: lies after until:, so nothing can match both. Remove one of them")
    return tuple(kept)


def make_filters(chips: Iterable[Chip], roots: Sequence[Path]) -> Filters:
    """Returns the conditions as the library takes them.

    A relative folder is looked for below each root, and as the root itself if it begins with its name.
    """
    values: dict[str, list[str]] = {key: [] for key in KEYS}
    for chip in chips:
        values[chip.key].append(chip.value)
    since, until = values["since"], values["until"]
    return Filters(
        folders=tuple(place for value in values["in"] for place in find_folders(value, roots)),
        types=tuple(values["type"]),
        languages=tuple(values["lang"]),
        since=read_span("since", since[-1])[0].timestamp() if since else None,
        until=read_span("until", until[-1])[1].timestamp() if until else None,
    )


def find_folders(value: str, roots: Sequence[Path]) -> tuple[Path, ...]:
    """Returns the absolute paths that a typed folder may stand for."""
    try:
        path = expand_home(value)
    except UsageError:
        path = Path(value)
    if path.is_absolute():
        return (path,)
    named = [root.parent / path for root in roots if path.parts[:1] == (root.name,)]
    return tuple(dict.fromkeys([*named, *(root / path for root in roots)])) or (path.absolute(),)


def read_span(key: str, text: str) -> tuple[datetime, datetime]:
    """Returns the beginning and the end of a year, month or day in local time.

    Raises:
        UsageError: it is no date.
    """
    try:
        return dates.read_span(text)
    except ValueError:
        raise UsageError(f"{key}:{text} is not a date. Write {key}:2024, {key}:2024-05 or {key}:2024-05-31") from None


def complete(line: str, choices: Choices, today: datetime) -> tuple[str, ...]:
    """Returns whole lines that the typed one may become, the likeliest first."""
    match = _LAST_WORD.search(line)
    if match is None:
        head, _, word = line.rpartition(" ")
        head = f"{head} " if head else ""
        word = word.lower()
        keys = [f"{head}{key}:" for key in KEYS if key.startswith(word)]
        if not word:
            return tuple(keys)
        known = [("type", each) for each in choices.kinds] + [("lang", each) for each in choices.languages]
        values = [f"{head}{key}:{value}" for key, value in known if value.startswith(word)]
        return tuple([*keys, *values][:MOST_COMPLETIONS])
    head, key, value = line[: match.start()], match[1].lower(), match[2].strip('"')
    found = [each for each in _values(key, choices, today) if each.lower().startswith(value.lower()) and each != value]
    if key == "in" and not found:
        found = [each for each in _values(key, choices, today) if value.lower() in Path(each).name.lower()]
    return tuple(f"{head}{key}:{each}" for each in found[:MOST_COMPLETIONS])


def _values(key: str, choices: Choices, today: datetime) -> list[str]:
    if key == "type":
        return list(choices.kinds)
    if key == "lang":
        return [each for each in choices.languages if each]
    if key == "in":
        return list(dict.fromkeys([*choices.folders, *map(str, choices.roots)]))
    days = [timedelta(days=0), timedelta(days=7), timedelta(days=30)]
    return [f"{today - back:%Y-%m-%d}" for back in days] + [f"{today.year - back}" for back in range(5)]


def typed_folder(line: str) -> str | None:
    """Returns the folder that is being typed at the end of the line; None if something else is."""
    match = _LAST_WORD.search(line)
    return match[2].strip('"') if match and match[1].lower() == "in" else None
