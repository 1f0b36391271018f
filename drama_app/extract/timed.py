"""Reads subtitles: cues become running text, times become headings every few minutes."""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from drama_app.extract.builder import TextBuilder
from drama_app.extract.encoding import read_text
from drama_app.extract.source import Source
from drama_app.records import Document

_TIME = r"(?:(\d+):)?(\d{1,2}):(\d{2})(?:\s?[.,:]\s?(\d{1,3}))?"
_TIMES = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}")
_NUMBER = re.compile(r"\W*\d+\W*")
_SPEAKER = re.compile(r"<v(?:\.[^ \t>]+)?[ \t]+([^>]+)>")
_TAG = re.compile(r"</?[a-zA-Z0-9.:][^>]*>|\{\\[^}]*\}")
_SENTENCE_END = re.compile(r"[.!?…。！？؟।]['\"”’»)]*$")
_HEADING_SECONDS = 300
"""A time every five minutes leads back to the place without breaking the text up."""
_PAUSE_SECONDS = 4.0
_PARAGRAPH_CHARACTERS = 600


@dataclass(frozen=True, slots=True)
class _Cue:
    start: float
    end: float
    speaker: str
    text: str


def read_srt(source: Source) -> Document:
    """Return the text of a SubRip file."""
    return _read_cues(source, "srt")


def read_vtt(source: Source) -> Document:
    """Return the text of a WebVTT file."""
    return _read_cues(source, "vtt")


def _read_cues(source: Source, kind: str) -> Document:
    """Join cues to paragraphs at pauses, changes of speaker, and sentence ends of long ones."""
    decoded = read_text(source)
    builder = TextBuilder()
    paragraph = ""
    next_heading = 0.0
    before: _Cue | None = None
    cues = list(
        _parse(decoded.text, blank_ends=kind == "vtt" or decoded.text.lstrip("\ufeff\r\n ").startswith("WEBVTT"))
    )
    is_long = bool(cues) and cues[-1].end - cues[0].start > _HEADING_SECONDS
    for cue in cues:
        if before and (_is_break(before, cue) or (len(paragraph) > _PARAGRAPH_CHARACTERS and _ends(paragraph))):
            builder.paragraph(paragraph)
            paragraph = ""
        if is_long and cue.start >= next_heading and (not paragraph or _ends(paragraph)):
            builder.paragraph(paragraph)
            paragraph = ""
            builder.heading(1, _format_time(cue.start))
            next_heading = (cue.start // _HEADING_SECONDS + 1) * _HEADING_SECONDS
        named = f"{cue.speaker}: {cue.text}" if cue.speaker and not paragraph else cue.text
        paragraph = f"{paragraph} {named}".strip()
        before = cue
    builder.paragraph(paragraph)
    return builder.build(kind, notes=decoded.notes)


def _is_break(before: _Cue, cue: _Cue) -> bool:
    return cue.start - before.end > _PAUSE_SECONDS or cue.speaker != before.speaker


def _ends(text: str) -> bool:
    return _SENTENCE_END.search(text) is not None


def _parse(text: str, *, blank_ends: bool) -> Iterator[_Cue]:
    """Yield cues, one a speaker; a first line that repeats the last cue's (rolling captions) is left out.

    In WebVTT a blank line ends a cue, and notes may follow; in SubRip only a number and times follow, and editors leave
    blank lines within what is said.
    """
    times: tuple[float, float] | None = None
    is_numbered = False
    lines: list[str] = []
    last_line = ""
    for line in [*re.sub(r"\r*\n", "\n", text).replace("\r", "\n").split("\n"), None]:
        match = _TIMES.match(line or "")
        if line is not None and not match and (line.strip() or not blank_ends):
            lines.append(line)
            continue
        if times:
            said = _list_said(_drop_number(lines, is_last=match is None) if is_numbered else lines)
            # Only across cues: two people may say the same at once.
            for speaker, fresh in groupby(said[1:] if said and said[0][1] == last_line else said, lambda line: line[0]):
                yield _Cue(times[0], times[1], speaker, " ".join(line for _, line in fresh))
            last_line = said[-1][1] if said else last_line
        elif match:
            is_numbered = any(_NUMBER.fullmatch(each) for each in [each for each in lines if each.strip()][-1:])
        times = (_parse_time(*match.groups()[:4]), _parse_time(*match.groups()[4:])) if match else None
        lines = []


def _drop_number(lines: list[str], *, is_last: bool) -> list[str]:
    """Return what is said in a cue without the number of the next one, which may follow without a border.

    At the end of the file only behind a blank line: what is said may be a number too.
    """
    end = len(lines)
    while end and not lines[end - 1].strip():
        end -= 1
    is_number = end > 0 and _NUMBER.fullmatch(lines[end - 1]) is not None
    if is_number and (not is_last or (end > 1 and not lines[end - 2].strip())):
        end -= 1
    return lines[:end]


def _list_said(lines: list[str]) -> list[tuple[str, str]]:
    """Return (speaker, text) of each filled line of a cue; a line without a voice of its own goes on with the last."""
    voices = [found.group(1).strip() if found else "" for found in map(_SPEAKER.search, lines)]
    speaker = next(filter(None, voices), "")
    said = []
    for voice, line in zip(voices, lines, strict=True):
        speaker = voice or speaker
        text = html.unescape(_TAG.sub("", line)).strip()
        if text:
            said.append((speaker, text))
    return said


def _parse_time(hours: str | None, minutes: str, seconds: str, fraction: str | None) -> float:
    """Return seconds of "1:02:03,456" or "02:03"."""
    return int(hours or 0) * 3600 + int(minutes) * 60 + float(f"{seconds}.{fraction or 0}")


def _format_time(seconds: float) -> str:
    """Return "0:05:00"."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
