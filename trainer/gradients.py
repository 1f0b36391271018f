"""Owns the two steps of a layer that are no matrix product and whose gradient is written by hand.

Left to autograd they cross memory some twenty times, there and back; a compact network's products are small, so that
its training on two cores waited for that as long as for half of them (LOG.md).
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def scale_rows(rows: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Rows [..., H] over the root of their mean square, times a weight [H]; both float32, or both float64."""
    scaled: Tensor = _Scaling.apply(rows, weight, eps)  # type: ignore[no-untyped-call]
    return scaled


def turn_pairs(heads: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Each pair (i, i + D/2) of heads [..., L, D] turned by its position's angle; cosines and sines are [L, D/2]."""
    turned: Tensor = _Turning.apply(heads, cosines, sines)  # type: ignore[no-untyped-call]
    return turned


class _Scaling(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, eps: float) -> Tensor:
        length = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
        scale = length.square_().div_(rows.shape[-1]).add_(eps).rsqrt_()  # [..., 1]
        ctx.save_for_backward(rows, weight, scale)
        unit: Tensor = rows * scale
        return unit.mul_(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        """With unit = rows * scale: scale * (gradient * weight - unit * mean(gradient * weight * unit))."""
        rows, weight, scale = ctx.saved_tensors
        unit = rows * scale
        products = (gradient * unit).flatten(0, -2)  # [rows, H]
        along = torch.mv(products, weight).view_as(scale) / rows.shape[-1]
        return unit.mul_(-along).addcmul_(gradient, weight).mul_(scale), products.sum(0), None


class _Turning(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, heads: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        ctx.save_for_backward(cosines, sines)
        return _turn(heads, cosines, sines)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Turned back."""
        cosines, sines = ctx.saved_tensors
        return _turn(gradient, cosines, -sines), None, None


def _turn(heads: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    first, second = heads.chunk(2, dim=-1)
    turned = torch.empty_like(heads, memory_format=torch.contiguous_format)
    left, right = turned.chunk(2, dim=-1)
    torch.mul(first, cosines, out=left).addcmul_(second, sines, value=-1)
    torch.mul(second, cosines, out=right).addcmul_(first, sines)
    return turned
