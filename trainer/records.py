"""The frozen records in which the stages meet, and their files: JSON lines, finished before they carry their name.

A record holds texts and ids, never vectors. Reading refuses a broken line with the file's name and the line's number.
"""

import hashlib
import json
import os
import unicodedata
from collections.abc import Iterator
from dataclasses import MISSING, asdict, dataclass, fields
from io import TextIOWrapper
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TypeVar, cast

from drama_app.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A stretch of text that can be found."""

    id: str
    """`text_id` of the text: two passages of the same words are one."""
    text: str
    title: str = ""
    language: str = ""
    source: str = ""
    document: str = ""
    """Which document it is from; passages of one document never lie on both sides of a split."""

    @property
    def embedded(self) -> str:
        """What an encoder reads: the title above the text, unless the text begins with it."""
        shows_title = self.title and not self.text.startswith(self.title)
        return f"{self.title}\n{self.text}" if shows_title else self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A question, and the passage it was written for."""

    id: str
    text: str
    passage: str
    """Id of the passage that it was made from or that answers it."""
    kind: str
    """How it came about: "written", "weak", "parallel", "crop", "question", "keywords", "claim", ..."""
    language: str = ""
    source: str = ""
    exact: bool = False
    """True if only its own passage is known to answer it, so that no neighbour may become a positive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingGroup:
    """A query with what answers it and what nearly does; passages by id."""

    query: str
    positives: tuple[str, ...]
    negatives: tuple[str, ...] = ()
    kind: str = ""
    language: str = ""
    source: str = ""
    positive_scores: tuple[float, ...] = ()
    """Cosines of the retriever that mined the group; empty if none did."""
    negative_scores: tuple[float, ...] = ()


Record = TypeVar("Record", Passage, Query, TrainingGroup)


def normalise(text: str) -> str:
    """A text as duplicates are compared: compatible forms, folded case, one space between words."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def mend(text: str) -> str:
    """A text without lone surrogates: JSON may hold half an emoji, which has no bytes and which no tokenizer takes."""
    return text.encode("utf-8", "replace").decode()


def text_id(text: str) -> str:
    """16 hexadecimal digits, the same for texts that are equal once normalised."""
    return hashlib.blake2b(normalise(text).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


class RecordWriter:
    """Writes records to `PATH.partial` and renames it to `PATH` once the block has ended without an error.

    What an interrupted run had written stays in the partial file; with `resume` the next one goes on behind its last
    whole line, or behind the line numbered `keep`, for a writer that knows how far the rest of its work had come.
    """

    def __init__(self, path: Path, *, resume: bool = False, keep: int | None = None) -> None:
        self.path = path
        self._partial = path.with_name(path.name + ".partial")
        self._resume, self._keep = resume, keep
        self.written = 0
        """Records in the file so far, those of an earlier run included."""

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = self._partial.open("r+b" if self._resume and self._partial.exists() else "w+b")
        end = 0
        for line in self._stream:
            if line.endswith(b"\n") and (self._keep is None or self.written < self._keep):
                end += len(line)
                self.written += 1
        self._stream.seek(end)
        self._stream.truncate()
        return self

    def write(self, record: Passage | Query | TrainingGroup) -> None:
        """Append a record; defaults are left out of the line."""
        defaults = {field.name: field.default for field in fields(record)}
        row = {key: value for key, value in asdict(record).items() if value != defaults[key]}
        self._stream.write(json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")
        self.written += 1

    def flush(self) -> None:
        """Hand what was written to the operating system, so that a killed run keeps it."""
        self._stream.flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stream:
            self._stream.flush()
            if error is None:
                os.fsync(self._stream.fileno())
        if error is None:
            self._partial.replace(self.path)


def read_partial(path: Path, kind: type[Record]) -> Iterator[Record]:
    """The whole records that an interrupted run left for `path`; nothing if there is no partial file."""
    partial = path.with_name(path.name + ".partial")
    if partial.exists():
        with partial.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                if line.endswith(b"\n"):
                    yield _parse(line, kind, f"{partial}, line {number}")


def read_records(path: Path, kind: type[Record]) -> Iterator[Record]:
    """Read a file of records, compressed if its name ends in .zst.

    Raises:
        UsageError: The file is missing, or a line is not such a record.
    """
    for number, line in iterate_lines(path):
        yield _parse(line, kind, f"{path}, line {number}")


def iterate_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines of a text file that hold more than white space, decompressed if its name ends in .zst.

    Raises:
        UsageError: The file cannot be read, is no UTF-8 or no zstd.
    """
    try:
        with path.open("rb") as raw:
            stream: IO[bytes] = raw
            if path.suffix.lower() == ".zst":
                from zstandard import ZstdDecompressor

                stream = cast("IO[bytes]", ZstdDecompressor().stream_reader(raw))
            # Windows tools write a byte-order mark; a damaged byte is kept until its line is known.
            with TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape") as text:
                for number, line in enumerate(text, 1):
                    _refuse_damaged(line, f"{path}, line {number}")
                    if line.strip():
                        yield number, line
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error})") from error
    except Exception as error:
        if type(error).__name__ != "ZstdError":
            raise
        raise UsageError(f"{path}: is not compressed with zstd, or cut short ({error})") from error


def _refuse_damaged(line: str, place: str) -> None:
    try:
        line.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{place}: is no UTF-8 (from character {error.start + 1} on)") from error


def _parse(line: str | bytes, kind: type[Record], place: str) -> Record:
    try:
        row: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{place}: not JSON") from error
    known = {field.name: field for field in fields(kind)}
    if not isinstance(row, dict) or row.keys() - known.keys():
        raise UsageError(f"{place}: is no {kind.__name__} (keys: {', '.join(known)})")
    if missing := [name for name, field in known.items() if field.default is MISSING and name not in row]:
        raise UsageError(f"{place}: '{missing[0]}' is missing")
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
    for key, value in values.items():
        wanted = _KINDS[key]
        if not isinstance(value, wanted):
            raise UsageError(f"{place}: '{key}' must be a {'text' if wanted is str else wanted.__name__}")
    return kind(**values)


_KINDS: dict[str, type] = {
    **dict.fromkeys(("id", "text", "title", "language", "source", "document", "passage", "kind", "query"), str),
    **dict.fromkeys(("positives", "negatives", "positive_scores", "negative_scores"), tuple),
    "exact": bool,
}


def make_key(*parts: object) -> str:
    """A short name for what a file is made from; of paths it is the content that counts."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, Path):
            with part.open("rb") as stream:
                while piece := stream.read(1 << 20):
                    digest.update(piece)
        else:
            digest.update(f"{part!r}\0".encode())
    return digest.hexdigest()
