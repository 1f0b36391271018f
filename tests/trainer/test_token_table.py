"""Token tables in few bits."""

import numpy as np
import pytest

from trainer.token_table import code_groups, round_table


def _draw(rows: int, columns: int) -> "np.typing.NDArray[np.float32]":
    """Rows whose columns run from loud to quiet, as those of a trained table do."""
    loud = np.geomspace(1, 0.05, columns)
    drawn: np.typing.NDArray[np.float32] = (np.random.default_rng(0).standard_normal((rows, columns)) * loud).astype(
        np.float32
    )
    return drawn


@pytest.mark.parametrize(("bits", "most"), [(8, 0.0002), (4, 0.015), (2, 0.16)])
def test_a_rounded_table_is_near_and_stays_as_it_is(bits: int, most: float) -> None:
    """Rounding loses so much of a row's square at most, and rounding again changes nothing."""
    table = _draw(3000, 64)
    once = round_table(table, bits=bits)
    assert ((once - table) ** 2).sum() / (table**2).sum() < most
    assert np.array_equal(round_table(once, bits=bits), once)
    assert np.array_equal(round_table(np.zeros((3, 64), np.float32), bits=bits), np.zeros((3, 64)))


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_any_width_is_given_back(bits: int) -> None:
    """A table whose width is no multiple of a block or a group comes back in its own width."""
    table = _draw(400, 50)
    once = round_table(table, bits=bits)
    assert once.shape == table.shape
    assert ((once - table) ** 2).sum() / (table**2).sum() < 0.16


def test_loud_columns_are_not_grouped_with_loud_ones() -> None:
    """Codes lose less where each group mixes columns that vary much and little, than groups of neighbours lose."""
    table = _draw(3000, 64)
    neighbours = np.ascontiguousarray(table.reshape(-1, 16, 4).transpose(0, 2, 1).reshape(-1, 64))
    mixed, alike = (((round_table(each, bits=2) - each) ** 2).sum() for each in (table, neighbours))
    assert mixed < 0.8 * alike


def test_few_rows_are_kept_as_they_are() -> None:
    """Up to 256 different rows come back exactly, as near as two bytes hold a value, and so for the same codes."""
    table = _draw(256, 8).astype(np.float16).astype(np.float32)
    assert np.array_equal(round_table(table, bits=2), table)
    codes, books = code_groups(table)
    assert codes.shape == (256, 2)
    assert books.shape == (2, 256, 4)
    again, _ = code_groups(table)
    assert np.array_equal(codes, again)
