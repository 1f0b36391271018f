"""Gradients written by hand are those of the formulas."""

import torch
from torch import Tensor
from torch.autograd import gradcheck

from trainer.gradients import scale_rows, turn_pairs

_EPS = 1e-6


def _draw(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def test_the_gradient_of_a_norm_is_that_of_its_formula() -> None:
    """Rows over the root of their mean square, times a weight, with the slope that finite differences find for both."""
    torch.manual_seed(0)
    rows, weight = _draw(2, 3, 5), _draw(5)
    plain = rows * torch.rsqrt(rows.pow(2).mean(-1, keepdim=True) + _EPS) * weight
    torch.testing.assert_close(scale_rows(rows, weight, _EPS), plain)
    assert gradcheck(lambda *inputs: scale_rows(*inputs, _EPS), (rows, weight))


def test_the_gradient_of_a_rotation_is_that_of_its_formula() -> None:
    """Pairs turned by an angle, heads in whatever order they lie in memory, with the slope that differences find."""
    torch.manual_seed(0)
    heads, angles = _draw(2, 3, 4, 6), torch.randn(3, 3, dtype=torch.float64)
    turned = heads.transpose(1, 2)  # [2, 4, 3, 6], as a network has them
    first, second = turned.chunk(2, dim=-1)
    plain = torch.cat([first * angles.cos() - second * angles.sin(), second * angles.cos() + first * angles.sin()], -1)
    torch.testing.assert_close(turn_pairs(turned, angles.cos(), angles.sin()), plain)
    assert gradcheck(lambda each: turn_pairs(each.transpose(1, 2), angles.cos(), angles.sin()), (heads,))
