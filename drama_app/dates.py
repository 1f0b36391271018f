"""Dates as people type them: a year, a month or a day is a stretch of local time."""

import re
from datetime import date, datetime, time, timedelta

_DATE = re.compile(r"(\d{4})(?:-(\d{1,2}))?(?:-(\d{1,2}))?")
_WEEK = re.compile(r"\d{4}-?W\d{2}")


def read_span(text: str) -> tuple[datetime, datetime]:
    """Returns the beginning and the end of "2024", "2024-05", "2024-05-31" and other days and weeks of ISO 8601.

    Of a full time it is the moment twice, in local time too.

    Raises:
        ValueError: it is no date, or one that the system's clock cannot count.
    """
    try:
        match = _DATE.fullmatch(text)
        if match is None:
            return _read_iso(text)
        year, month, day = (int(part) if part else None for part in match.groups())
        start = datetime(year or 0, month or 1, day or 1)
        if day:
            after = start + timedelta(days=1)
        elif month:
            after = datetime(start.year + month // 12, month % 12 + 1, 1)
        else:
            after = datetime(start.year + 1, 1, 1)
        start.timestamp()
        return start, after - timedelta(microseconds=1)
    except (OverflowError, OSError) as error:
        raise ValueError(f"{text!r} is no date") from error


def _read_iso(text: str) -> tuple[datetime, datetime]:
    """The same of the other forms of ISO 8601."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:  # all others are local times, and could not be compared with it
            moment = moment.astimezone().replace(tzinfo=None)
        moment.timestamp()
        return moment, moment
    start = datetime.combine(day, time())
    start.timestamp()
    return start, start + timedelta(days=7 if _WEEK.fullmatch(text) else 1) - timedelta(microseconds=1)
