"""Turns the rows of a sheet into lines that make sense one by one.

Owns how a cell is written and when a row is taken for the names of the columns. Reads no format.
"""

import datetime
from collections.abc import Iterable, Sequence

from drama_app.extract.builder import TextBuilder
from drama_app.extract.clean import clean_line

MAX_CELLS = 500_000
"""Filled cells; a workbook with more is data, and openpyxl reads about 60,000 a second."""
MAX_NAMED_COLUMNS = 40
"""Wider rows repeat more column names than they hold text."""
MAX_COLUMN_NAME = 60


class TableWriter:
    """Adds sheets to a builder, one line a row; `full` once the limit is reached."""

    def __init__(self, builder: TextBuilder, *, limit: int = MAX_CELLS) -> None:
        self._builder = builder
        self._limit = limit
        self._cells = 0

    @property
    def full(self) -> bool:
        """Whether what follows is dropped."""
        return self._cells >= self._limit or self._builder.full

    def list_notes(self) -> list[str]:
        """Return what a person should know of the limit."""
        return [f"only the first {self._limit:,} cells are searchable"] if self._cells >= self._limit else []

    def add_rows(self, rows: Iterable[Sequence[object]]) -> None:
        """Add the rows of one sheet; an empty row ends a table, and the next may have its own column names."""
        waiting: list[object] | None = None
        names: list[str] = []
        fresh = True
        for cells in rows:
            row = [cell if _is_filled(cell) else None for cell in cells]
            if not any(cell is not None for cell in row):
                self._add(waiting, names)
                waiting, names, fresh = None, [], True
                continue
            if fresh and waiting is not None:
                if _is_header(waiting, row):
                    names, fresh = [format_cell(cell) for cell in waiting], False
                else:
                    fresh = len(_list_filled(waiting)) == 1
                self._add(waiting, [])
            else:
                self._add(waiting, names)
            waiting = row
            if self.full:
                return
        self._add(waiting, names)

    def _add(self, row: "list[object] | None", names: list[str]) -> None:
        """Add one row, its cells named if there are names."""
        if row is None or self.full:
            return
        pieces = []
        for index, cell in enumerate(row):
            if cell is not None:
                text = format_cell(cell)
                name = names[index] if index < len(names) else ""
                pieces.append(f"{name}: {text}" if name and name != text else text)
        self._cells += len(pieces)
        self._builder.line(("; " if names else " | ").join(pieces))


def format_cell(value: object) -> str:
    """Return a cell's value as a person would read it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return _format_number(value)
    if isinstance(value, datetime.datetime):
        return value.strftime("%Y-%m-%d" if value.time() == datetime.time() else "%Y-%m-%d %H:%M")
    return clean_line(str(value))


def _format_number(value: float) -> str:
    """Return a number without the noise of binary fractions; whole ones keep each digit, as ISBN and EAN need 13."""
    if value.is_integer() and abs(value) < 1e16:
        return str(int(value))
    return f"{value:.12g}" if abs(value) < 1e9 else f"{value:.15g}"


def _is_header(row: Sequence[object], following: Sequence[object]) -> bool:
    """Return whether a row names the columns of the row below it.

    Two columns of words are more often a form ("Name", "Anna") than a table, so there the row below must hold
    something else than words.
    """
    filled = _list_filled(row)
    if not 2 <= len(filled) <= MAX_NAMED_COLUMNS or not all(isinstance(cell, str) for cell in filled):
        return False
    names = [format_cell(cell) for cell in filled]
    if len(set(names)) < len(names) or max(map(len, names)) > MAX_COLUMN_NAME:
        return False
    below = [cell for name, cell in zip(row, following, strict=False) if name is not None and cell is not None]
    if 2 * len(below) < len(filled):
        return False
    return len(filled) > 2 or not all(isinstance(cell, str) for cell in below)


def _is_filled(cell: object) -> bool:
    """Return whether a cell shows anything but an error."""
    return cell is not None and not (isinstance(cell, str) and (not cell.strip() or cell in _ERRORS))


def _list_filled(row: Sequence[object]) -> list[object]:
    """Return the cells that hold something."""
    return [cell for cell in row if cell is not None]


_ERRORS = frozenset({"#REF!", "#N/A", "#VALUE!", "#DIV/0!", "#NAME?", "#NUM!", "#NULL!"})
