"""Reads data that people keep as text: CSV and TSV rows, JSON and JSON lines, notebooks.

Values keep the names of their columns and keys, so that a row or record reads on its own. Encoded binary is left out.
"""

import csv
import json
import re
from collections.abc import Iterator
from itertools import islice, zip_longest
from typing import Any

from drama_app.extract.builder import MAX_CHARACTERS, TextBuilder, build_from_lines, split_lines
from drama_app.extract.encoding import Decoded, read_text
from drama_app.extract.markup import find_markdown_headings
from drama_app.extract.source import Source
from drama_app.records import Document

_DELIMITERS = ",;\t|"
_SNIFFED_ROWS = 50
_MAX_ROW = 4_000
"""Characters of one row in cells that are no prose; wider rows are matrices."""
_PREAMBLE_ROWS = 30
"""Rows before the names of the columns; the exports of banks put up to a dozen there, of account, owner and period."""
_SEPARATOR = re.compile(r"sep=(.?)$", re.IGNORECASE)
"""What a first line says to Excel alone."""
_LABEL = 40
"""Longer cells are prose if letters make up a third of them (a script's vowel signs are none)."""
_MAX_ROW_LINES = 1_000
"""Lines that one row may span; a quote that is not closed by then was an inch mark."""
_NUMBER = re.compile(r"[-+]?[\d.,:/ %€$£-]*\d[\d.,:/ %€$£eE-]*$")
_ENCODED = re.compile(r"(?:data:[\w/+.-]+;base64,)?[A-Za-z0-9+/=_-]{300,}\s*$")
_PROSE = 200
"""A string this long is a paragraph; shorter ones are lines of a record."""
_OBJECT = re.compile(r"<(?:\w[\w.]*(?: object\b| at 0x|: )|Figure\b)")
"""How Python shows what it has no text for: a figure, a widget, its axes."""
_MAX_OUTPUT = 2_000
"""Characters of one notebook output: the first screens of a log, not all of it."""


def read_csv(source: Source) -> Document:
    """Return a table whose rows read "column: value; column: value"; line N is line N of the file."""
    decoded = read_text(source)
    kind = "tsv" if source.suffix in (".tsv", ".tab") else "csv"
    raw = split_lines(decoded.text)
    csv.field_size_limit(2 * MAX_CHARACTERS)
    delimiter = _sniff_delimiter([line for line in raw if line.strip()])
    lines, cut = _format_rows(raw, delimiter)
    note = f"rows so wide that only prose and {_MAX_ROW:,} characters of each are searchable: {cut:,}"
    return build_from_lines(lines, kind, notes=(*decoded.notes, note) if cut else decoded.notes)


def _sniff_delimiter(lines: list[str]) -> str:
    """Return the stated delimiter, or that which splits the most lines into the same number of columns above one."""
    stated = _SEPARATOR.match(lines[0]) if lines else None
    if stated and stated[1]:
        return stated[1]
    best, best_rating = ",", (0.0, 0)
    for delimiter in _DELIMITERS:
        widths = [len(row) for row, _ in islice(_read_rows(lines, delimiter), _SNIFFED_ROWS)]
        usual = max(set(widths), key=widths.count, default=1)
        rating = (widths.count(usual) / len(widths), usual) if usual > 1 else (0.0, 0)
        if rating > best_rating:
            best, best_rating = delimiter, rating
    return best


def _read_rows(raw: list[str], delimiter: str) -> Iterator[tuple[list[str], int]]:
    """Yield the cells of each row and how many lines it spans.

    A line whose quotes do not fit is a row by itself, its quotes part of the text: a stray one would swallow the rest.
    """
    at = 0
    patience = 2 * sum(map(len, raw))  # characters read in vain, so that a file of nothing but strays takes no longer
    while at < len(raw):
        row, span = _read_row(raw, at, delimiter) if patience >= 0 else (None, 0)
        if row is None:
            patience -= sum(map(len, raw[at : at + span]))
            row, span = next(csv.reader(raw[at : at + 1], delimiter=delimiter, quoting=csv.QUOTE_NONE)), 1
        yield row, span
        at += span


def _read_row(raw: list[str], at: int, delimiter: str) -> tuple[list[str] | None, int]:
    """Return the cells of the row that starts at a line, None if its quotes do not fit, and the lines read."""
    lines = (raw[index] + "\n" for index in range(at, min(at + _MAX_ROW_LINES, len(raw))))
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        return next(reader), reader.line_num
    except csv.Error:
        return None, reader.line_num


def _format_rows(raw: list[str], delimiter: str) -> tuple[list[str], int]:
    """Return as many lines as the file has, empty ones where a row spans several, and how many rows are cut."""
    header: list[str] | None = None
    width = _find_usual_width(raw, delimiter)
    lines: list[str] = []
    cut = 0
    for row, span in _read_rows(raw, delimiter):
        cells = [" ".join(cell.split()) for cell in row]
        kept = _bound_cells(header or [], cells)
        cut += kept != cells
        if header is None and any(cells) and (len(lines) >= _PREAMBLE_ROWS or not _is_preamble(cells, width)):
            header = cells if _is_header(cells) else []
            separator = delimiter.replace("\t", ",")
            line = ", ".join(filter(None, kept)) if header else separator.join(kept).rstrip(separator)
        else:
            line = _format_row(header or [], kept)
        lines += [line, *[""] * (span - 1)]
    return lines, cut


def _find_usual_width(raw: list[str], delimiter: str) -> int:
    """Return the cells of a usual row; empty ones at its end do not count."""
    rows = (row for row, _ in islice(_read_rows(raw, delimiter), _SNIFFED_ROWS))
    widths = [max((index for index, cell in enumerate(row, start=1) if cell.strip()), default=0) for row in rows]
    # Weighed by width: in a short file the rows before the table are as many as those of the table.
    return max(set(widths), key=lambda width: (width * widths.count(width), width), default=0)


def _is_preamble(cells: list[str], width: int) -> bool:
    """True for a first row that is no row of the table: a name with its value, or half empty beside the usual one.

    One cell less is not enough: a comma in an unquoted last column makes every row but the first wider.
    """
    filled = sum(map(bool, cells))
    is_half_empty = 2 * filled < max(len(cells), width)
    return is_half_empty or (filled < width and cells[0].endswith(":")) or _SEPARATOR.match(cells[0]) is not None


def _bound_cells(header: list[str], cells: list[str]) -> list[str]:
    """Return the cells of a row; those of a wide one that are no prose only while there is room."""
    widths = [len(name) + len(cell) + 4 for name, cell in zip_longest(header, cells, fillvalue="") if cell]
    if sum(widths) <= _MAX_ROW:
        return cells
    kept = []
    room = _MAX_ROW
    for index, cell in enumerate(cells):
        if cell and not _is_prose(cell):
            room -= 4 + (len(header[index]) if index < len(header) else 0)
            cell = cell[: max(0, room)]
            room -= len(cell)
        kept.append(cell)
    return kept


def _is_prose(cell: str) -> bool:
    """True for a cell that a person wrote to be read: no number, code, vector or encoded file."""
    return len(cell) > _LABEL and sum(map(str.isalpha, cell)) * 3 > len(cell) and not _ENCODED.match(cell)


def _is_header(cells: list[str]) -> bool:
    """True if a first row names columns: several texts, no numbers, none twice."""
    named = [cell for cell in cells if cell]
    return (
        len(named) > 1
        and len(set(named)) == len(named)
        and len(named) * 2 > len(cells)
        and not any(len(cell) > 80 or _NUMBER.match(cell) for cell in named)
    )


def _format_row(header: list[str], cells: list[str]) -> str:
    """Return one row with its column names; empty cells are left out."""
    parts = []
    for index, cell in enumerate(cells):
        name = header[index] if index < len(header) else ""
        if cell:
            parts.append(f"{name}: {cell}" if name else cell)
    return "; ".join(parts)


def read_json(source: Source) -> Document:
    """Return the values of JSON or JSON lines with their key paths; what is neither is shown as text."""
    decoded = read_text(source)
    try:
        value = json.loads(decoded.text.lstrip("\ufeff"))
    except (ValueError, RecursionError):
        return _read_json_lines(decoded)
    builder = TextBuilder()
    for path, text in _walk_json(value):
        if builder.full:
            break
        if len(text) > _PROSE:
            builder.paragraph(f"{path}: {text}" if path else text)
        else:
            builder.line(f"{path}: {text}" if path else text)
    return builder.build("json", _find_json_title(value), notes=decoded.notes)


def _read_json_lines(decoded: Decoded) -> Document:
    """Return one record a line; a line that is no JSON stays as it is."""
    lines = []
    for line in split_lines(decoded.text):
        try:
            value = json.loads(line) if line.lstrip()[:1] in ("{", "[") else line
        except (ValueError, RecursionError):
            value = line
        pairs = ((path, " ".join(text.split())) for path, text in _walk_json(value))
        lines.append("; ".join(f"{path}: {text}" if path else text for path, text in pairs))
    return build_from_lines(split_lines("\n".join(lines)), "json", notes=decoded.notes)


def _walk_json(value: Any) -> Iterator[tuple[str, str]]:
    """Yield (key path, text) in order, list positions left out; without recursion, as files nest deeper than calls."""
    stack: list[tuple[str, Any]] = [("", value)]
    while stack:
        path, item = stack.pop()
        if isinstance(item, dict):
            below = [(f"{path}.{key}" if path else str(key), inner) for key, inner in item.items()]
            stack.extend(reversed(below))
        elif isinstance(item, list):
            if item and all(isinstance(inner, int | float) for inner in item) and len(item) > 8:
                continue  # vectors and coordinates
            stack.extend((path, inner) for inner in reversed(item))
        elif isinstance(item, str):
            if item.strip() and not _ENCODED.match(item):
                yield path, item
        elif item is not None:
            yield path, json.dumps(item)


def _find_json_title(value: Any) -> str:
    """Return the title or name that an object gives itself."""
    if isinstance(value, dict):
        for key in ("title", "name", "Title", "Name"):
            if isinstance(value.get(key), str) and len(value[key]) <= 300:
                return str(value[key])
    return ""


def read_ipynb(source: Source) -> Document:
    """Return a notebook's Markdown, code and short text outputs; images and widgets are left out."""
    decoded = read_text(source)
    try:
        notebook = json.loads(decoded.text)
    except ValueError:
        return read_json(source)
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list):
        cells = [cell for sheet in notebook.get("worksheets", []) for cell in sheet.get("cells", [])]
    builder = TextBuilder()
    title = ""
    for cell in cells:
        text = _join(cell.get("source", cell.get("input", "")))
        if cell.get("cell_type") in ("markdown", "heading"):
            first = _add_markdown(builder, text)
            title = title or first
        else:
            builder.paragraph(text)
            for output in cell.get("outputs", []):
                builder.paragraph(_read_output(output)[:_MAX_OUTPUT])
    return builder.build("ipynb", title, notes=decoded.notes)


def _add_markdown(builder: TextBuilder, text: str) -> str:
    """Add a Markdown cell with its headings and return the first of them."""
    lines = split_lines(text)
    first, start = "", 0
    for index, level, title in list(find_markdown_headings(lines)):
        builder.paragraph("\n".join(lines[start:index]))
        builder.heading(level, title)
        first, start = first or title, index + 1
    builder.paragraph("\n".join(lines[start:]))
    return first


def _read_output(output: dict[str, Any]) -> str:
    """Return the text of one output: what was printed, a result as written for readers, or what went wrong."""
    if "ename" in output:  # its traceback repeats the cell
        return f"{output['ename']}: {_join(output.get('evalue'))}"
    bundle = output.get("data", output)
    bundle = bundle if isinstance(bundle, dict) else {}
    text = _join(bundle.get("text/markdown")) or _join(output.get("text")) or _join(bundle.get("text/plain"))
    is_printed = output.get("output_type") == "stream"
    return "" if _ENCODED.match(text) or (not is_printed and _OBJECT.match(text)) else text


def _join(lines: Any) -> str:
    """Return a notebook's multi-line string, which is one string or a list."""
    return "".join(map(str, lines)) if isinstance(lines, list) else lines if isinstance(lines, str) else ""
