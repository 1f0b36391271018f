"""The only place that prints: data on stdout, narration on stderr, and nothing from a file that a terminal would obey.

Owns the two streams, colour, questions to the person, the JSON of hits and reports, and the cleaning of foreign text.
How hits look to a person is `listing`'s business. It decides nothing.
"""

import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from drama_app.records import Hit, PassageHit, Results, Skipped, SyncReport

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

SNIPPET_CHARACTERS = 280  # about three lines of a terminal: enough to judge a hit, ten of them fit on two screens

# C0, DEL and C1 steer a terminal; bidirectional controls reorder what is shown around them; line and paragraph
# separators break lines; tag characters and lone surrogates show nothing. Joiners stay: Hindi and Persian need them.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_FILLING = re.compile(r" (?: |\x1b\[[0-9;]*m)*$", re.MULTILINE)
_UNSAFE_IN_TEXT = re.compile(_UNSAFE.pattern.replace("\x00-\x1f", "\x00-\x08\x0b-\x1f"))

STDOUT_CLOSED = "stdout is closed, so that nothing can be told; to drop what it says, use >/dev/null"


def clean_for_terminal(text: str, *, lines: bool = False) -> str:
    """Returns `text` without anything that a terminal would obey; what is replaced stays visible where it can.

    Args:
        text: Names, headings, passages, reasons: whatever a file brought along.
        lines: Keep newlines and tabs; else they are shown as pictures, since a name has no lines.
    """
    return (_UNSAFE_IN_TEXT if lines else _UNSAFE).sub(_replace, text)


def _replace(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    if code < 0xA0 or 0xD800 <= code <= 0xDFFF:
        return "\ufffd"
    return ""


def _keep_styles(filling: re.Match[str]) -> str:
    return "".join(_STYLE.findall(filling.group()))


def open_closed_streams() -> bool:
    """Gives a closed stdin (`<&-`) and stderr (cron's `2>&-`), which are None to Python, an end that leads nowhere.

    Returns:
        False if stdout is closed too: what was asked for would be lost.
    """
    if sys.stdin is None:
        sys.stdin = Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115  open to the end, as the real one is
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    return sys.stdout is not None


def wants_color(choice: str, stream: TextIO, environment: Mapping[str, str]) -> bool:
    """True if `stream` is to get styles: `choice` is "always", "never", or "auto" for a terminal that shows them."""
    if choice != "auto":
        return choice == "always"
    plain = environment.get("NO_COLOR") or environment.get("TERM") == "dumb"
    return stream.isatty() and not plain


class Output:
    """The two streams of one run."""

    def __init__(self, *, color: str = "auto", quiet: bool = False, verbose: bool = False) -> None:
        self.stdout = sys.stdout
        self.stderr = sys.stderr
        self.quiet = quiet
        self.verbose = verbose
        self.color = wants_color(color, self.stdout, os.environ)
        self.color_of_notes = wants_color(color, self.stderr, os.environ)
        for stream in (self.stdout, self.stderr):
            # A terminal that cannot show a character gets its number: a search must not die of its own results.
            reconfigure = getattr(stream, "reconfigure", None)
            if reconfigure is not None:
                reconfigure(errors="backslashreplace")

    @property
    def for_person(self) -> bool:
        """True if stdout is a terminal."""
        return self.stdout.isatty()

    @property
    def from_person(self) -> bool:
        """True if stdin is a terminal."""
        return sys.stdin.isatty()

    def write_line(self, text: str = "") -> None:
        """Writes a line of data."""
        self.stdout.write(text + "\n")

    def write_json(self, value: object, *, indent: int | None = 2) -> None:
        """Writes one JSON value in ASCII: exact for names that are not Unicode, harmless for every terminal."""
        self.write_line(json.dumps(value, ensure_ascii=True, indent=indent))

    def write_path(self, path: Path, *, end: bytes = b"\n") -> None:
        """Writes a path byte for byte, for other programs; cleaned if a person would see it."""
        if self.for_person:
            self.stdout.write(clean_for_terminal(str(path)) + end.decode())
            return
        buffer = getattr(self.stdout, "buffer", None)
        if buffer is None:
            self.stdout.write(str(path) + end.decode())
            return
        self.stdout.flush()
        buffer.write(os.fsencode(path) + end)
        buffer.flush()

    def show(self, *renderables: "RenderableType") -> None:
        """Writes what `listing` made for a person; with styles if stdout shows them."""
        console = self.console()
        with console.capture() as shown:
            for renderable in renderables:
                console.print(renderable, soft_wrap=False)
        # rich fills each line up to the right edge: noise in a pipe, and in what a person copies from a terminal.
        self.stdout.write(_FILLING.sub(_keep_styles, shown.get()))

    def console(self) -> "Console":
        """The rich console of stdout; no markup, no emoji codes, no guessing at what to highlight."""
        return self._make_console(self.stdout, self.color)

    def note_console(self) -> "Console":
        """The same for stderr."""
        return self._make_console(self.stderr, self.color_of_notes)

    def note(self, text: str) -> None:
        """Tells the person something on stderr, unless they asked for quiet."""
        if not self.quiet:
            self._narrate(text)

    def detail(self, text: str) -> None:
        """Tells the person something on stderr if they asked for details."""
        if self.verbose:
            self._narrate(text)

    def error(self, text: str) -> None:
        """Says what went wrong, quiet or not."""
        self._narrate(f"drama-app: {text}")

    def ask(self, question: str) -> bool:
        """Asks on the terminal; False if there is none to ask or the answer is not yes."""
        if not (self.from_person and self.stderr.isatty()):
            return False
        self.stderr.write(clean_for_terminal(question, lines=True) + " [y/N] ")
        self.stderr.flush()
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    def _narrate(self, text: str) -> None:
        self.stderr.write(clean_for_terminal(text, lines=True) + "\n")
        self.stderr.flush()

    @staticmethod
    def _make_console(stream: TextIO, color: bool) -> "Console":
        from rich.console import Console

        return Console(
            file=stream,
            force_terminal=color,
            color_system="auto" if color else None,
            no_color=not color,
            markup=False,
            emoji=False,
            highlight=False,
        )


def describe_time(seconds: float | None) -> str | None:
    """Returns seconds since 1970 as ISO 8601 in UTC; None for a time that is unknown or outside the calendar."""
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        return None


def results_to_json(results: Results) -> dict[str, Any]:
    """Returns the object that `search --json` prints."""
    return {
        "query": results.query,
        "mode": results.mode,
        **verdict_to_json(results),
        "hits": [hit_to_json(hit) for hit in results.hits],
    }


def verdict_to_json(results: Results) -> dict[str, Any]:
    """Returns what is to be known of all hits: whether they are near misses, and a quoted phrase that none holds."""
    from drama_app.rank import find_missing_phrase

    return {
        "nothing_good_enough": results.nothing_good_enough,
        "missing_phrase": find_missing_phrase(results) or None,
    }


def hit_to_json(hit: Hit) -> dict[str, Any]:
    """Returns one hit; page, heading, line and language are those of its best passage."""
    best = hit.passages[0] if hit.passages else None
    return {
        "path": str(hit.path),
        "title": hit.title,
        "type": hit.kind,
        "page": best.page if best else None,
        "line": best.line if best else None,
        "heading": best.heading if best else "",
        "language": best.language if best else "",
        "modified": describe_time(hit.modified),
        "score": round(hit.score, 6),
        "snippet": cut_snippet(best)[0] if best else "",
        "passages": [_passage_to_json(passage) for passage in hit.passages],
        "copies": [str(path) for path in hit.copies],
    }


def _passage_to_json(passage: PassageHit) -> dict[str, Any]:
    return {
        "page": passage.page,
        "line": passage.line,
        "heading": passage.heading,
        "language": passage.language,
        "start": passage.start,
        "end": passage.end,
        "score": round(passage.score, 6),
        "scores": [
            {"source": each.source, "value": round(each.value, 6), "rank": each.rank, "share": round(each.share, 6)}
            for each in passage.scores
        ],
        "text": passage.text,
    }


def report_to_json(report: SyncReport) -> dict[str, Any]:
    """Returns the object that `index --json` prints."""
    return {
        "documents": report.documents,
        "passages": report.passages,
        "added": report.added,
        "changed": report.changed,
        "removed": report.removed,
        "moved": report.moved,
        "failed": skipped_to_json(report.failed),
        "passed_over": report.passed_over,
        "seconds": round(report.seconds, 3),
        "notes": list(report.notes),
        "stopped": report.stopped,
    }


def skipped_to_json(files: Iterable[Skipped]) -> list[dict[str, str]]:
    """Returns path and reason of each file."""
    return [{"path": str(each.path), "reason": each.reason} for each in files]


def cut_snippet(passage: PassageHit, limit: int = SNIPPET_CHARACTERS) -> tuple[str, list[int]]:
    """Returns a stretch of the passage on one line, and for each of its characters the offset in `passage.text`.

    It starts at the best sentence, or a little before the first word that matches; cut ends are marked with "…",
    whose offset is -1.
    """
    text = passage.text
    start = passage.sentence[0] if passage.sentence else _before_first_mark(passage, limit)
    # A short rest would leave the snippet half empty: step back, to a word's beginning.
    start = max(0, min(start, len(text) - limit))
    if start:
        # Never past the sentence's own beginning: without spaces between words the next one is far into it.
        space = text.find(" ", start, min(start + 20, passage.sentence[0]) if passage.sentence else start + 20)
        start = start if text[start - 1].isspace() or space < 0 else space + 1
    pieces: list[str] = ["…"] if start else []
    offsets = [-1] * len(pieces)
    for offset in range(start, len(text)):
        character = " " if text[offset].isspace() else clean_for_terminal(text[offset])
        if not character or (character == " " and (not pieces or pieces[-1] in " …")):
            continue
        if len(pieces) >= limit:
            pieces, offsets = _end_at_word(pieces, offsets)
            break
        pieces.append(character)
        offsets.append(offset)
    return "".join(pieces), offsets


def _before_first_mark(passage: PassageHit, limit: int) -> int:
    first = passage.marks[0][0] if passage.marks else 0
    return 0 if first < limit * 2 // 3 else first - limit // 4


def _end_at_word(pieces: list[str], offsets: list[int]) -> tuple[list[str], list[int]]:
    end = next((index for index in range(len(pieces) - 1, len(pieces) - 20, -1) if pieces[index] == " "), len(pieces))
    return [*pieces[:end], "…"], [*offsets[:end], -1]
