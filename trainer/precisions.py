"""Owns the order in which an export tries precisions: the fastest and smallest first, then ever more exact ones.

It measures nothing; `Precision` itself is the graph's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from trainer.onnx_graph import Precision

_LEVELLED = Precision()
_PRODUCTS = {
    "int8": replace(_LEVELLED, row_scales=(), smoothing=0.0, loud_units=0),
    "int8-smooth": replace(_LEVELLED, row_scales=()),
    "int8-levelled": _LEVELLED,
    "int8-down": replace(_LEVELLED, row_scales=("out",), keep=("down",), loud_units=0),
    "float32": Precision(products="float32"),
}
"""Plain; with levelled columns and the loudest units apart; also a scale a token; also the second half of each
feed-forward in float32; and all of it. e5-mini on one busy core: 2,900, 2,700, 2,500, 2,000 and 1,430 tokens/s (torch
1,150). With a 4-bit table 77, 78, 78, 98 and about 140 MB; one of 8 bits adds 43 MB."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A precision and what it is called."""

    name: str
    precision: Precision


def list_choices(name: str = "auto", *, table_bits: int = 4, measured: bool = True) -> Sequence[Choice]:
    """What to try, in order.

    Args:
        name: One of the recipe's PRECISIONS.
        table_bits: Of the token table, 2, 4, 8 or 32; tries with 4 follow those with 2, and with 8 those with 4.
        measured: Whether a gate will judge; without one what is plain is not tried.
    """
    if name != "auto":
        return [_choose(name, table_bits)]
    wider = {2: 4, 4: 8}.get(table_bits, table_bits)
    tried = [("int8", table_bits), ("int8-smooth", table_bits)] if measured else []
    tried += [("int8-levelled", table_bits), ("int8-down", table_bits)]
    # What the second table cannot mend was not the first one's fault.
    tried += [("int8-levelled", wider), ("int8-down", wider)] if wider != table_bits else []
    return [_choose(each, bits) for each, bits in [*tried, ("float32", wider)]]


def _choose(name: str, bits: int) -> Choice:
    kinds: dict[int, Literal[2, 4, 8, 32]] = {2: 2, 4: 4, 8: 8, 32: 32}
    return Choice(f"{name}, {bits}-bit table", replace(_PRODUCTS[name], table_bits=kinds[bits]))
