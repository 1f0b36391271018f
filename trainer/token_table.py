"""Owns how a token table is stored in few bits, and what its codes give back.

Shapes: V tokens, H columns, G groups of four columns.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

BLOCK = 32
"""Columns that share a 4-bit scale."""
GROUP, CODES = 4, 256
"""Columns that share a code of 8 bits, and how many there are to choose from: 2 bits a column."""
_ROUNDS, _SAMPLE, _ROWS = 12, 1 << 15, 1 << 14
"""Of k-means: rounds, and rows that it sees; and rows that are coded at once."""


def quantise_rows(table: "Floats") -> "tuple[NDArray[np.int8], NDArray[np.float16]]":
    """Codes int8 [V, H] and scales float16 [V, 1] of a token table."""
    scales = (np.abs(table).max(axis=1, keepdims=True) / 127).astype(np.float16)
    scales = np.maximum(scales, np.float16(6e-8))
    return np.clip(np.rint(table / scales.astype(np.float32)), -127, 127).astype(np.int8), scales


def quantise_blocks(table: "Floats") -> "tuple[NDArray[np.uint8], NDArray[np.float16]]":
    """4-bit codes [V, H / 2], even columns in the low half, and scales float16 [V, blocks]; value = (code - 8) * scale.

    Of eight scales a block, its largest value as code 1 to 7 or -8, the one with the least squared error is taken:
    a table that was rounded before comes back exactly.
    """
    padded = np.pad(table, ((0, 0), (0, -table.shape[1] % BLOCK)))
    codes = np.empty((len(padded), padded.shape[1] // 2), dtype=np.uint8)
    scales = np.empty((len(padded), padded.shape[1] // BLOCK), dtype=np.float16)
    for start in range(0, len(padded), 8192):  # a million rows would not fit eight times
        blocks = padded[start : start + 8192].reshape(-1, scales.shape[1], BLOCK)
        best, scale = _choose_scales(blocks)
        flat = (best + 8).astype(np.uint8).reshape(len(blocks), -1)
        codes[start : start + len(blocks)] = flat[:, 0::2] | (flat[:, 1::2] << 4)
        scales[start : start + len(blocks)] = scale
    return codes, scales


def code_groups(table: "Floats") -> "tuple[NDArray[np.uint8], NDArray[np.float16]]":
    """Codes [V, G] and what they stand for, float16 [G, 256, 4]: product quantisation (Jegou, Douze, Schmid 2011).

    A group is four columns that lie a quarter of the width apart, so that those which vary much and little mix: of a
    table that ran from loud to quiet, neighbouring columns lost 13.3 % of a row's square, these 10.3 %.
    A table that was coded before comes back exactly.
    """
    columns = _part_columns(table)
    codes = np.empty((len(table), len(columns)), dtype=np.uint8)
    books = np.zeros((len(columns), CODES, GROUP), dtype=np.float16)
    for group, rows in enumerate(columns):
        codes[:, group], book = _code_group(rows, np.random.default_rng(group))
        books[group, : len(book)] = book
    return codes, books


def read_groups(codes: "NDArray[np.uint8]", books: "NDArray[np.float16]") -> "Floats":
    """The table [V, 4 G] that codes [V, G] stand for."""
    groups = codes.shape[1]
    table = np.empty((len(codes), GROUP, groups), dtype=np.float32)
    for group in range(groups):
        table[:, :, group] = books[group, codes[:, group]]
    return table.reshape(len(codes), -1)


def read_blocks(codes: "NDArray[np.uint8]", scales: "NDArray[np.float16]") -> "Floats":
    """The table [V, 32 times blocks] that 4-bit codes stand for."""
    values = np.stack([codes & 15, codes >> 4], axis=-1).reshape(*scales.shape, BLOCK).astype(np.float32) - 8
    table: Floats = (values * scales.astype(np.float32)[..., None]).reshape(len(codes), -1)
    return table


def round_table(table: "Floats", *, bits: int) -> "Floats":
    """A token table [V, H] as its codes of 2, 4 or 8 bits will give it back; with other bits it is as it was."""
    if bits == 8:
        rows, scale = quantise_rows(table)
        return rows.astype(np.float32) * scale.astype(np.float32)
    if bits not in (2, 4):
        return table
    rounded = read_groups(*code_groups(table)) if bits == 2 else read_blocks(*quantise_blocks(table))
    return rounded[:, : table.shape[1]]


def _choose_scales(blocks: "Floats") -> "tuple[Floats, NDArray[np.float16]]":
    at = np.abs(blocks).argmax(axis=-1, keepdims=True)
    peak = np.take_along_axis(blocks, at, axis=-1)[..., 0]  # signed [rows, blocks]
    least = np.full(peak.shape, np.inf, dtype=np.float32)
    codes, scales = np.zeros_like(blocks), np.zeros(peak.shape, dtype=np.float16)
    for candidate in (*(np.abs(peak) / code for code in range(7, 0, -1)), peak / -8):
        scale = candidate.astype(np.float16)
        wide = scale.astype(np.float32)[..., None]
        found = np.clip(np.rint(blocks / np.where(wide == 0, 1, wide)), -8, 7)
        error = ((found * wide - blocks) ** 2).sum(axis=-1)
        better = error < least
        least = np.where(better, error, least)
        codes = np.where(better[..., None], found, codes)
        scales = np.where(better, scale, scales)
    return codes, scales


def _part_columns(table: "Floats") -> "Floats":
    """The table as [G, V, 4], zeros beside it where its width is no multiple of four."""
    padded = np.pad(table, ((0, 0), (0, -table.shape[1] % GROUP)))
    return np.ascontiguousarray(padded.reshape(len(table), GROUP, -1).transpose(2, 0, 1))


def _code_group(rows: "Floats", draw: np.random.Generator) -> "tuple[NDArray[np.uint8], NDArray[np.float16]]":
    """Codes [V] of [V, 4] and the 256 or fewer that they stand for: what is there if it is no more, else k-means."""
    halves = np.ascontiguousarray(rows, dtype=np.float16).view(np.uint64)[:, 0]  # four of two bytes
    distinct, codes = np.unique(halves, return_inverse=True)
    if len(distinct) <= CODES:
        return codes.astype(np.uint8), distinct.view(np.float16).reshape(-1, GROUP)
    book = _find_means(rows[draw.permutation(len(rows))[:_SAMPLE]], draw).astype(np.float16)
    nearest = [_find_nearest(rows[at : at + _ROWS], book.astype(np.float32)) for at in range(0, len(rows), _ROWS)]
    return np.concatenate(nearest).astype(np.uint8), book


def _find_means(rows: "Floats", draw: np.random.Generator) -> "Floats":
    """256 means of [N, 4] by k-means; one that is nearest to none starts anew at some row."""
    means = rows[:CODES]
    for _ in range(_ROUNDS):
        nearest = _find_nearest(rows, means)
        counts = np.bincount(nearest, minlength=CODES)[:, None]
        sums = [np.bincount(nearest, weights=column, minlength=CODES) for column in rows.T]
        fresh = rows[draw.integers(len(rows), size=CODES)]
        means = np.where(counts, np.stack(sums, axis=1) / np.maximum(counts, 1), fresh).astype(np.float32)
    return means


def _find_nearest(rows: "Floats", book: "Floats") -> "NDArray[np.intp]":
    """Which of [K, 4] is nearest to each of [N, 4]."""
    nearest: NDArray[np.intp] = ((book**2).sum(axis=1) - 2 * rows @ book.T).argmin(axis=1)
    return nearest
