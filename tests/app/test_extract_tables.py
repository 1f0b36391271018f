"""Cells of sheets: how a value is written."""

import pytest

from drama_app.extract.tables import format_cell


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (4006381333931.0, "4006381333931"),
        (491711234567890.0, "491711234567890"),
        (-5.0, "-5"),
        (1700000000.123, "1700000000.123"),
        (1e20, "1e+20"),
        (0.1 + 0.2, "0.3"),
        (1234.5599999999977, "1234.56"),
        (float("inf"), "inf"),
    ],
)
def test_numbers_keep_their_digits_and_lose_their_noise(value: float, expected: str) -> None:
    """A number that names a thing is whole, and a sum reads as the sheet shows it."""
    assert format_cell(value) == expected
