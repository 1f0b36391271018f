"""Owns how a long stage runs: block by block into one file, so that a killed run goes on where it stopped.

Beside the records it keeps a log with a line for each finished block. A run that is continued takes the blocks whose
records are all there and does the others again, so its data is that of a run that was never stopped. It knows nothing
of what the blocks hold.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from drama_app.errors import TrainingError, UsageError
from trainer.augment.llm import Usage
from trainer.records import Query, RecordWriter, TrainingGroup, read_partial, text_id

KEPT = "kept"
_REPORT, _LOG = ".report.json", ".log.jsonl"
_TWICE = "the same query once more"
_HOPELESS = 400
"""Records made by an LLM of which not one was kept, after which it is not asked further: of the worst pair of model and
language that was measured 12 of 100 were kept."""

Block = TypeVar("Block")


@dataclass(frozen=True, slots=True)
class Outcome:
    """A record, and why it is rejected if it is."""

    record: Query | TrainingGroup
    fault: str = ""


@dataclass(slots=True)
class Tally:
    """What became of everything so far."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    """By language, then by reason; "kept" for what was kept."""
    notes: Counter[str] = field(default_factory=Counter)
    """What else a stage counts, such as repairs."""
    seconds: float = 0.0
    usage: Usage = field(default_factory=Usage)

    @property
    def kept(self) -> int:
        """Records kept."""
        return sum(counts[KEPT] for counts in self.counts.values())

    @property
    def asked(self) -> int:
        """Records made, kept or not."""
        return sum(counts.total() for counts in self.counts.values())

    def as_row(self) -> dict[str, Any]:
        """As JSON has it."""
        usage = {"read": self.usage.read, "reused": self.usage.reused, "written": self.usage.written}
        counts = {language: dict(counts) for language, counts in sorted(self.counts.items())}
        return {"counts": counts, "notes": dict(self.notes), "seconds": round(self.seconds, 2), "usage": usage}

    def add_row(self, row: dict[str, Any]) -> None:
        """Add what `as_row` gave."""
        for language, counts in row["counts"].items():
            self.counts.setdefault(language, Counter()).update(counts)
        self.notes.update(row["notes"])
        self.seconds += row["seconds"]
        self.usage.read += row["usage"]["read"]
        self.usage.reused += row["usage"]["reused"]
        self.usage.written += row["usage"]["written"]


def run_blocks(
    blocks: Sequence[Block], make: Callable[[Block, Counter[str]], Iterable[Outcome]], out: Path, *, key: str,
    most: int = 0, usage: Usage | None = None, report: Callable[[str], None] | None = None, must_keep: bool = False,
) -> Tally:  # fmt: skip
    """Make the records of all blocks, or so many that `most` are kept, going on where an earlier call was stopped.

    Args:
        blocks: In a fixed order.
        make: From a block, and a counter for notes, to outcomes.
        out: The file of records; `PATH.report.json` beside it gets the tally.
        key: Says from what the records are made: a file made for another key is made anew.
        most: Records to keep; 0 keeps all.
        usage: A generator's, whose growth is counted.
        report: Called with a sentence after each block.
        must_keep: Refuse to go on where the first 400 gave none that can be used.
    """
    finished, log = (out.with_name(out.name + ending) for ending in (_REPORT, _LOG))
    if (tally := read_finished(out, key)) is not None:
        return tally
    rows, seen = _read_log(log, out, key)
    tally = Tally()
    for row in rows:
        tally.add_row(row)
    clock = _Clock(tally, most, len(blocks), len(rows))
    finished.unlink(missing_ok=True)  # made from something else; nobody may take it for this one
    with RecordWriter(out, resume=bool(rows), keep=tally.kept) as writer, _open_log(log, key, rows) as lines:
        for number, block in enumerate(blocks[len(rows) :], len(rows) + 1):
            if most and tally.kept >= most:
                break
            part = _run_block(make, block, writer, seen, most - tally.kept if most else 0, usage)
            writer.flush()
            lines.write(json.dumps(part.as_row(), ensure_ascii=False) + "\n")
            lines.flush()
            tally.add_row(part.as_row())
            _refuse_hopeless(tally if must_keep else None)
            if report:
                report(clock.describe(number))
    _write_report(finished, key, tally)
    log.unlink()
    return tally


def _refuse_hopeless(tally: Tally | None) -> None:
    if tally is None or tally.kept or tally.asked < _HOPELESS:
        return
    reasons = sum(tally.counts.values(), Counter[str]())
    told = ", ".join(f"{reason} {count:,}" for reason, count in reasons.most_common(3))
    raise TrainingError(
        f"of {tally.asked:,} that the language model wrote none can be used ({told}); begin another run with another "
        "model (--local-llm, --llm-url) or without (--no-llm)"
    )


def _write_report(path: Path, key: str, tally: Tally) -> None:
    written = path.with_name(path.name + ".new")
    content = json.dumps({"key": key} | tally.as_row(), indent=1, ensure_ascii=False)
    written.write_text(content + "\n", encoding="utf-8")
    written.replace(path)


def _run_block(
    make: Callable[[Block, Counter[str]], Iterable[Outcome]], block: Block, writer: RecordWriter, seen: set[str],
    room: int, usage: Usage | None,
) -> Tally:  # fmt: skip
    """Write a block's records; with `room`, only so many."""
    part, start = Tally(), time.monotonic()
    before = (usage.read, usage.reused, usage.written) if usage else (0, 0, 0)
    for outcome in make(block, part.notes):
        key, fault = _identify(outcome.record), outcome.fault
        if not fault and key in seen:
            fault = _TWICE
        if not fault and room and part.kept >= room:
            break
        part.counts.setdefault(outcome.record.language, Counter())[fault or KEPT] += 1
        if not fault:
            seen.add(key)
            writer.write(outcome.record)
    part.seconds = time.monotonic() - start
    if usage:
        part.usage = Usage(usage.read - before[0], usage.reused - before[1], usage.written - before[2])
    return part


def _identify(record: Query | TrainingGroup) -> str:
    return record.id if isinstance(record, Query) else text_id(record.query)


def read_finished(out: Path, key: str) -> Tally | None:
    """The tally of a run that had come to its end with the same key; None if none has."""
    path = out.with_name(out.name + _REPORT)
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
        if row["key"] != key or not out.exists():
            return None
        tally = Tally()
        tally.add_row(row)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # Nothing that can be trusted is there, so the stage runs.
    return tally


def _read_log(log: Path, out: Path, key: str) -> tuple[list[dict[str, Any]], set[str]]:
    """The rows of the blocks whose records are all in the partial file, and the ids of those records."""
    if not log.exists():
        return [], set()
    lines = log.read_text(encoding="utf-8").split("\n")[:-1]
    if not lines or lines[0] != json.dumps({"key": key}):
        return [], set()
    partial = out.with_name(out.name + ".partial")
    if out.exists() and not partial.exists():
        out.replace(partial)  # killed between its last name and the report
    grouped = '"positives"' in _read_beginning(out)
    records: Iterator[Query | TrainingGroup] = read_partial(out, TrainingGroup) if grouped else read_partial(out, Query)
    ids = [_identify(record) for record in records]
    rows: list[dict[str, Any]] = []
    kept = 0
    for line in lines[1:]:
        row = json.loads(line)
        # After a power cut the log may be ahead of the records.
        if kept + sum(counts.get(KEPT, 0) for counts in row["counts"].values()) > len(ids):
            break
        kept += sum(counts.get(KEPT, 0) for counts in row["counts"].values())
        rows.append(row)
    return rows, set(ids[:kept])


def _read_beginning(out: Path) -> str:
    partial = out.with_name(out.name + ".partial")
    if not partial.exists():
        return ""
    with partial.open(encoding="utf-8", errors="replace") as stream:
        return stream.readline()


def _open_log(log: Path, key: str, rows: list[dict[str, Any]]) -> Any:
    """The log with the rows that count, open for more."""
    written = log.with_name(log.name + ".new")
    lines = [json.dumps({"key": key}), *(json.dumps(row, ensure_ascii=False) for row in rows)]
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        written.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        written.replace(log)
        return log.open("a", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{log}: cannot be written ({error})") from error


class _Clock:
    """Rates of this run, without the blocks of earlier ones."""

    def __init__(self, tally: Tally, most: int, blocks: int, done: int) -> None:
        self._tally, self._most, self._blocks, self._first = tally, most, blocks, done
        self._kept, self._seconds = tally.kept, tally.seconds
        self._tokens = tally.usage.read + tally.usage.written

    def describe(self, number: int) -> str:
        """What is done, how fast, and how long it may still take."""
        tally = self._tally
        seconds = max(tally.seconds - self._seconds, 1e-9)
        kept = tally.kept - self._kept
        tokens = tally.usage.read + tally.usage.written - self._tokens
        left = seconds / max(1, number - self._first) * (self._blocks - number)
        if self._most and kept:
            left = min(left, seconds / kept * max(0, self._most - tally.kept))
        wanted = f" of {self._most:,}" if self._most else ""
        speed = f"{kept / seconds:.2f}/s" + (f", {tokens / seconds:,.0f} tokens/s" if tokens else "")
        rejected = 1 - tally.kept / max(1, tally.asked)
        return f"{tally.kept:,}{wanted} kept, {rejected:.0%} rejected, {speed}, {format_time(left)} left"


def format_time(seconds: float) -> str:
    """A stretch of time as a person says it: 45 s, 12 min, 3 h 20 min."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
