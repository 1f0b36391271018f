"""Owns the cheap choices of what survives a pruning: the first layers, or the parts that matter most when measured.

Heads, units and columns matter as much as the loss changes with a factor on them, to first order (Michel et al. 2019,
"Are sixteen heads really better than one?"; Molchanov et al. 2019, "Importance estimation for neural network pruning").
Layers change the loss too much for that: each is left out in turn and the loss measured, the least missed one goes.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from trainer.encoder import Encoder, Masks
from trainer.prune.language_model import measure_losses
from trainer.prune.slicing import Keep

Report = Callable[[str], None]


def keep_first_layers(count: int) -> Keep:
    """All but the last layers."""
    return Keep(layers=tuple(range(count)))


def choose_layers(network: Encoder, batch: Tensor, count: int, *, report: Report | None = None) -> tuple[int, ...]:
    """Leave out the layer that is missed least, again and again, until `count` are left.

    Args:
        network: With a language-model head.
        batch: Windows int64 [B, L] to measure on.
        count: Layers to keep.
        report: Called with a sentence after each layer.
    """
    left = list(range(network.config.layers))
    while len(left) > count:
        losses = {layer: _measure_without(network, batch, set(left) - {layer}) for layer in left}
        least = min(losses, key=lambda layer: (losses[layer], layer))
        left.remove(least)
        if report:
            report(f"without layer {least} the loss is {losses[least]:.3f}; {len(left)} are left")
    return tuple(left)


def measure_importance(network: Encoder, batches: Sequence[Tensor], kinds: Sequence[str]) -> dict[str, Tensor]:
    """Squared change of the loss with a factor on each part, summed over windows.

    Args:
        network: With a language-model head.
        batches: Windows int64 [1, L]: one at a time, since gradients of a batch cancel.
        kinds: "heads", "ffn", "hidden".

    Returns:
        float32 [layers, heads], [layers, F], [H] by kind.
    """
    config = network.config
    shapes = {"heads": (config.layers, config.heads), "ffn": (config.layers, config.ffn_size),
              "hidden": (config.hidden_size,)}  # fmt: skip
    importance = {kind: torch.zeros(shapes[kind]) for kind in kinds}
    network.eval().requires_grad_(False)
    for batch in batches:
        factors = {kind: torch.ones(shapes[kind], requires_grad=True) for kind in kinds}
        loss = measure_losses(network, batch, Masks(**factors)).mean()
        for kind, gradient in zip(kinds, torch.autograd.grad(loss, [factors[kind] for kind in kinds]), strict=True):
            importance[kind] += gradient**2
    return importance


def choose_parts(importance: dict[str, Tensor], targets: dict[str, int], layers: Sequence[int] | None) -> Keep:
    """The most important parts of each kind, as many in each layer."""

    def best(kind: str) -> tuple[tuple[int, ...], ...] | None:
        if kind not in importance:
            return None
        rows = importance[kind].reshape(-1, importance[kind].shape[-1])
        return tuple(tuple(sorted(row.topk(targets[kind]).indices.tolist())) for row in rows)

    hidden = best("hidden")
    return Keep(
        layers=None if layers is None else tuple(layers), heads=best("heads"), ffn=best("ffn"),
        hidden=hidden[0] if hidden else None,
    )  # fmt: skip


@torch.no_grad()
def _measure_without(network: Encoder, batch: Tensor, layers: set[int]) -> float:
    factors = torch.tensor([float(layer in layers) for layer in range(network.config.layers)])
    return float(measure_losses(network.eval(), batch, Masks(layers=factors)).mean())
