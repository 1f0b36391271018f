"""Turns numbers into the geometry of small charts: paths and marks for SVG. It knows no page and no colours."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 640, 220
LEFT, RIGHT, TOP, BOTTOM = 58, 612, 14, 186
"""Where the axes stand."""
_POINTS = 300
"""Of a curve: two pixels each."""
_MARKS = 5


@dataclass(frozen=True, slots=True)
class Mark:
    """A value on an axis."""

    place: float
    text: str


@dataclass(frozen=True, slots=True)
class Curve:
    """A quantity over the steps of a training."""

    title: str
    line: str
    """Path of the means."""
    band: str
    """Path around the least and the largest values; "" where each point is one value."""
    steps: tuple[Mark, ...]
    values: tuple[Mark, ...]
    first: str
    last: str


@dataclass(frozen=True, slots=True)
class Span:
    """An interval on a line."""

    low: float
    mean: float
    high: float


@dataclass(frozen=True, slots=True)
class Spans:
    """Intervals under each other, on one scale."""

    zero: float
    rows: tuple[Span, ...]
    marks: tuple[Mark, ...]


def draw_curve(title: str, steps: Sequence[float], values: Sequence[float]) -> Curve | None:
    """The curve of some values; None if fewer than two are numbers."""
    pairs = [(step, value) for step, value in zip(steps, values, strict=True) if math.isfinite(value)]
    if len(pairs) < 2:
        return None
    size = math.ceil(len(pairs) / _POINTS)
    buckets = [pairs[start : start + size] for start in range(0, len(pairs), size)]
    marks = choose_marks(min(value for _, value in pairs), max(value for _, value in pairs))
    first, last, low, high = pairs[0][0], pairs[-1][0], marks[0], marks[-1]

    def place(step: float, value: float) -> str:
        return f"{_scale(step, first, last, LEFT, RIGHT):.1f},{_scale(value, low, high, BOTTOM, TOP):.1f}"

    middles = [sum(step for step, _ in bucket) / len(bucket) for bucket in buckets]
    means = [sum(value for _, value in bucket) / len(bucket) for bucket in buckets]
    upper = [place(step, max(value for _, value in bucket)) for step, bucket in zip(middles, buckets, strict=True)]
    lower = [place(step, min(value for _, value in bucket)) for step, bucket in zip(middles, buckets, strict=True)]
    return Curve(
        title=title,
        line="M" + " L".join(place(step, value) for step, value in zip(middles, means, strict=True)),
        band="M" + " L".join([*upper, *reversed(lower)]) + " Z" if size > 1 else "",
        steps=tuple(
            Mark(_scale(step, first, last, LEFT, RIGHT), f"{step:,.0f}")
            for step in choose_marks(first, last) if first <= step <= last
        ),
        values=tuple(Mark(_scale(value, low, high, BOTTOM, TOP), show_number(value)) for value in marks),
        first=show_number(means[0]), last=show_number(means[-1]),
    )  # fmt: skip


def draw_spans(intervals: Sequence[tuple[float, float, float]], *, left: float, right: float) -> Spans:
    """Intervals (low, mean, high) between two places, with zero among the marks."""
    marks = choose_marks(min(0.0, *(low for low, _, _ in intervals)), max(0.0, *(high for _, _, high in intervals)))

    def place(value: float) -> float:
        return round(_scale(value, marks[0], marks[-1], left, right), 1)

    rows = tuple(Span(*map(place, interval)) for interval in intervals)
    shown = tuple(Mark(place(mark), f"{mark:+.3g}" if mark else "0") for mark in marks)
    return Spans(zero=place(0.0), rows=rows, marks=shown)


def choose_marks(low: float, high: float) -> list[float]:
    """Round numbers a steady step apart, from at most `low` to at least `high`."""
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / _MARKS))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor * _MARKS >= span)
    first = math.floor(low / step + 1e-9)
    last = max(first + 1, math.ceil(high / step - 1e-9))
    return [round(number * step, 12) for number in range(first, last + 1)]


def show_number(value: float) -> str:
    """A number as short as it may be: 12,345, 1.25, 0.0004."""
    if not math.isfinite(value):
        return str(value)
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _scale(value: float, low: float, high: float, begin: float, end: float) -> float:
    return begin + (value - low) / ((high - low) or 1.0) * (end - begin)
