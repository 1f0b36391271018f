"""Owns the cheap choices of what survives a pruning: the first layers, or the parts that matter most when measured.

Heads, units and columns matter as much as the loss changes with a factor on them, to first order (Michel et al. 2019,
"Are sixteen heads really better than one?"; Molchanov et al. 2019, "Importance estimation for neural network pruning").
Layers change the loss too much for that: each is left out in turn and the loss measured, the least missed one goes.
"""

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from trainer.checkpoint import fill_network
from trainer.encoder import Encoder, Masks
from trainer.prune.language_model import measure_losses, split_windows
from trainer.prune.slicing import Keep

Report = Callable[[str], None]


def rank_layers(network: Encoder, windows: Tensor, count: int, *, report: Report | None = None) -> tuple[int, ...]:
    """The layers in the order in which they are missed least, each with those before it gone, until `count` are left.

    A layer is missed more the more others have gone, so one that was missed more than the best is not tried again:
    about 60 measurements take the 18 layers of a network to 6, in place of 150.

    Args:
        network: With a language-model head.
        windows: int64 [B, L], to measure on.
        count: Layers that stay and are not ranked.
        report: Called with a sentence after each layer.
    """
    left = set(range(network.config.layers))
    gone: list[int] = []
    missed = [(0.0, layer, -1) for layer in left]  # loss without it, layer, how many had gone then
    while len(left) > count:
        loss, layer, then = heapq.heappop(missed)
        if then < len(gone):
            heapq.heappush(missed, (_measure(network, windows, left - {layer}), layer, len(gone)))
            continue
        left.remove(layer)
        gone.append(layer)
        if report:
            report(f"without layer {layer} the loss is {loss:.3f}; {len(left)} are left")
    return tuple(gone)


def measure_importance(network: Encoder, windows: Tensor, kinds: Sequence[str]) -> dict[str, Tensor]:
    """Squared change of the loss with a factor on each part, summed over windows.

    Args:
        network: With a language-model head.
        windows: int64 [B, L]; taken one at a time, since gradients of a batch cancel.
        kinds: "heads", "ffn", "hidden".

    Returns:
        float32 [layers, heads], [layers, F], [H] by kind.
    """
    config, device = network.config, network.embed_tokens.weight.device
    shapes = {"heads": (config.layers, config.heads), "ffn": (config.layers, config.ffn_size),
              "hidden": (config.hidden_size,)}  # fmt: skip
    importance = {kind: torch.zeros(shapes[kind]) for kind in kinds}
    network.eval().requires_grad_(False)
    for window in torch.split(windows, 1):
        factors = {kind: torch.ones(shapes[kind], requires_grad=True, device=device) for kind in kinds}
        loss = measure_losses(network, window, Masks(**factors)).mean()
        for kind, gradient in zip(kinds, torch.autograd.grad(loss, [factors[kind] for kind in kinds]), strict=True):
            importance[kind] += gradient.cpu() ** 2
    network.requires_grad_(True)
    return importance


def choose_parts(importance: Mapping[str, Tensor], targets: Mapping[str, int]) -> Keep:
    """The most important parts of each kind, as many in each layer; kinds of which nothing is known stay whole."""

    def best(kind: str) -> tuple[tuple[int, ...], ...] | None:
        if kind not in importance:
            return None
        rows = importance[kind].reshape(-1, importance[kind].shape[-1])
        return tuple(tuple(sorted(row.topk(targets[kind]).indices.tolist())) for row in rows)

    layers, hidden = best("layers"), best("hidden")
    return Keep(
        layers=layers[0] if layers else None, heads=best("heads"), ffn=best("ffn"), hidden=hidden[0] if hidden else None
    )


@torch.no_grad()
def _measure(network: Encoder, windows: Tensor, layers: set[int]) -> float:
    """Mean loss of windows with these layers only."""
    fewer = _share_layers(network, sorted(layers))
    return torch.cat([measure_losses(fewer, part) for part in split_windows(fewer, windows)]).mean().item()


def _share_layers(network: Encoder, layers: Sequence[int]) -> Encoder:
    """A network of these layers that holds the same tensors: a copy for each measurement would take longer than it."""
    kept = {}
    for name, tensor in network.state_dict().items():
        first, _, rest = name.partition(".")
        if first != "layers":
            kept[name] = tensor
            continue
        place, _, inner = rest.partition(".")
        if int(place) in layers:
            kept[f"layers.{layers.index(int(place))}.{inner}"] = tensor
    sliding = tuple(network.config.sliding[layer] for layer in layers) if network.config.sliding else ()
    made = fill_network(replace(network.config, layers=len(layers), sliding=sliding), kept, "the shorter network")
    assert isinstance(made, Encoder)
    return made
