"""Reads calendars (iCalendar) and address books (vCard): one entry a section, fields as readable lines.

Owns the line format that both share: folding, parameters, escapes, quoted-printable. Photos and keys are left out.
"""

import quopri
import re
from collections.abc import Iterator
from dataclasses import dataclass

from drama_app.extract.builder import TextBuilder
from drama_app.extract.encoding import Decoded, read_text
from drama_app.extract.source import Source
from drama_app.records import Document

_FOLD = re.compile(r"\r?\n[ \t]")
_PROPERTY = re.compile(r"((?:[\w-]+\.)?[\w-]+)((?:;(?:[^:;\"]|\"[^\"]*\")*)*):(.*)", re.DOTALL)
_ESCAPE = re.compile(r"\\([nN,;:\\])")
_STAMP = re.compile(r"(\d{4})-?(0[1-9]|1[0-2])-?(0[1-9]|[12]\d|3[01])(?:T(\d\d):?(\d\d)(?::?\d\d)?(Z)?)?$")
_DATED = frozenset({"DTSTART", "DTEND", "DUE", "BDAY", "ANNIVERSARY"})
"""Elsewhere eight digits are a telephone number."""
_ENTRIES = frozenset({"VEVENT", "VTODO", "VJOURNAL"})

_EVENT_LABELS = {
    "DTSTART": "Start",
    "DTEND": "End",
    "DUE": "Due",
    "LOCATION": "Location",
    "ORGANIZER": "Organizer",
    "ATTENDEE": "Attendee",
    "CATEGORIES": "Categories",
    "STATUS": "Status",
    "RRULE": "Repeats",
    "URL": "Link",
    "CONTACT": "Contact",
    "COMMENT": "Comment",
    "DESCRIPTION": "",
}
_CARD_LABELS = {
    "NICKNAME": "Nickname",
    "ORG": "Organization",
    "TITLE": "Position",
    "ROLE": "Role",
    "TEL": "Phone",
    "EMAIL": "Mail",
    "ADR": "Address",
    "LABEL": "Address",
    "BDAY": "Birthday",
    "ANNIVERSARY": "Anniversary",
    "URL": "Link",
    "IMPP": "Chat",
    "CATEGORIES": "Categories",
    "RELATED": "Related",
    "NOTE": "",
}


@dataclass(frozen=True, slots=True)
class _Property:
    name: str
    parameters: str
    """";TYPE=home;VALUE=date" as written."""
    value: str


def read_ics(source: Source) -> Document:
    """Return a calendar: each event, task or note is a section."""
    decoded = read_text(source)
    builder = TextBuilder()
    title = ""
    entry: list[_Property] | None = None
    inside, beside = "", list[_Property]()  # what stands within an entry: an alarm has a summary of its own
    for item in _parse(decoded.text):
        part = item.value.strip().upper() if item.name in ("BEGIN", "END") else ""
        if item.name == "BEGIN" and part in _ENTRIES:
            entry, inside = [], ""
        elif part in _ENTRIES and entry is not None:
            _add_event(builder, [*entry, *beside] if inside else entry)  # an alarm that does not end has the rest
            entry = None
        elif entry is None:
            title = item.value if item.name == "X-WR-CALNAME" else title
        elif part:
            inside = inside or part if item.name == "BEGIN" else inside.replace(part, "")
            beside = beside if inside else []
        else:
            (beside if inside else entry).append(item)
    return builder.build("ics", title, notes=decoded.notes)


def read_vcf(source: Source) -> Document:
    """Return an address book: each card is a section under the person's name."""
    decoded: Decoded = read_text(source)
    builder = TextBuilder()
    names = []
    card: list[_Property] = []
    for item in _parse(decoded.text):
        if item.name == "BEGIN":
            card = []
        elif item.name == "END":
            names.append(_add_card(builder, card))
        else:
            card.append(item)
    return builder.build("vcf", names[0] if len(names) == 1 else "", notes=decoded.notes)


def _parse(text: str) -> Iterator[_Property]:
    """Yield the properties of unfolded lines, values decoded."""
    for line in _FOLD.sub("", _join_soft_breaks(text)).replace("\r", "").split("\n"):
        match = _PROPERTY.match(line)
        if match is None:
            continue
        name, parameters, value = match.groups()
        if "QUOTED-PRINTABLE" in parameters.upper():
            value = _decode_quoted(value, parameters)
        yield _Property(name.rpartition(".")[2].upper(), parameters, value)


def _join_soft_breaks(text: str) -> str:
    """Return the text with quoted-printable values on one line; elsewhere a line may end with "=" of its own."""
    pieces: list[str] = []
    is_open = False
    for line in text.splitlines(keepends=True):
        is_open = is_open or "QUOTED-PRINTABLE" in line.partition(":")[0].upper()
        plain = line.rstrip("\r\n")
        is_open = is_open and plain.endswith("=")
        pieces.append(plain[:-1] if is_open else line)
    return "".join(pieces)


def _decode_quoted(value: str, parameters: str) -> str:
    """Return a quoted-printable value of vCard 2.1 in its declared charset."""
    charset = re.search(r"CHARSET=([\w-]+)", parameters, re.IGNORECASE)
    data = quopri.decodestring(value.encode("utf-8", "replace"))
    try:
        return data.decode(charset.group(1) if charset else "utf-8", "replace")
    except LookupError:
        return data.decode("utf-8", "replace")


def _unescape(value: str) -> str:
    return _ESCAPE.sub(lambda match: "\n" if match.group(1) in "nN" else match.group(1), value)


def _add_event(builder: TextBuilder, entry: list[_Property]) -> None:
    """Add one event under its summary."""
    summary = next((item.value for item in entry if item.name == "SUMMARY"), "")
    builder.heading(1, _unescape(summary) or "(no title)")
    _add_fields(builder, entry, _EVENT_LABELS)


def _add_card(builder: TextBuilder, card: list[_Property]) -> str:
    """Add one card and return its name."""
    values = {item.name: item.value for item in reversed(card)}
    structured = [part for part in _split(values.get("N", "")) if part]
    name = _unescape(values.get("FN", "")) or " ".join([*structured[1:2], *structured[:1]]) or values.get("ORG", "")
    builder.heading(1, name)
    _add_fields(builder, card, _CARD_LABELS)
    return name


def _add_fields(builder: TextBuilder, items: list[_Property], labels: dict[str, str]) -> None:
    """Add the known fields: short ones as "Label: value", prose as a paragraph after them."""
    prose = []
    for item in items:
        label = labels.get(item.name)
        if label is None or not item.value.strip():
            continue
        value = _format_value(item)
        if label:
            builder.line(f"{label}: {value}")
        else:
            prose.append(value)
    for text in prose:
        builder.paragraph(text)


def _format_value(item: _Property) -> str:
    """Return a value as a person would write it."""
    stamp = _STAMP.match(item.value) if item.name in _DATED else None
    if stamp:
        year, month, day, hour, minute, utc = stamp.groups()
        return f"{year}-{month}-{day}" + (f" {hour}:{minute}{' UTC' if utc else ''}" if hour else "")
    if item.name in ("ADR", "ORG"):
        return ", ".join(part for part in map(str.strip, _split(item.value)) if part)
    if item.name in ("ATTENDEE", "ORGANIZER"):
        named = re.search(r"CN=(?:\"([^\"]+)\"|([^;:]+))", item.parameters, re.IGNORECASE)
        address = re.sub(r"^mailto:", "", item.value, flags=re.IGNORECASE)
        return f"{named.group(1) or named.group(2)} <{address}>" if named else address
    return re.sub(r"^(?:tel|mailto):", "", _unescape(item.value), flags=re.IGNORECASE)


def _split(value: str) -> list[str]:
    """Return the parts of a structured value."""
    return [_unescape(part) for part in re.split(r"(?<!\\);", value)]
