"""Owns the mean of weights: of the last checkpoints of a run, and of a run with its start."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from drama_app.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

Weights = Mapping[str, "Tensor"]


def average_weights(several: Sequence[Weights], shares: Sequence[float] = ()) -> dict[str, "Tensor"]:
    """Weighted mean of weights of one network, summed in double precision.

    Args:
        several: Tensors by name, the same names and shapes in each.
        shares: One each, in any scale; empty weighs them alike.

    Raises:
        UsageError: They are not of one network.
    """
    import torch

    shares = shares or [1.0] * len(several)
    names = several[0].keys()
    for weights in several:
        if weights.keys() != names or any(weights[name].shape != several[0][name].shape for name in names):
            raise UsageError("only checkpoints of one network can be averaged")
    averaged = {}
    for name in names:
        total = torch.zeros_like(several[0][name], dtype=torch.float64)
        for weights, share in zip(several, shares, strict=True):
            total += share / sum(shares) * weights[name]
        averaged[name] = total.to(several[0][name].dtype)
    return averaged
