"""Owns the last touch before an export: the directions of an embedding evened out, so that no few of them decide.

What a small student says lies mostly along few directions, which all texts share; cosines then tell little of the
rest. Centring, turning to the directions of the variance and dividing each by a power of its deviation is a linear map
of a network's output (PCA whitening: Jégou and Chum 2012; of sentence embeddings: Su et al. 2021), so it costs the
graph nothing. Directions come in the order of their variance, so at powers well below 1 a cut keeps the most that it
can. On development sets a student with .837 of its teacher's nDCG@10 went to .858, the teacher itself gained nothing;
on pairs that it was trained on the student lost .012 (LOG.md).

Shapes: N texts, D width of the output, H width of what a head reads.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from drama_app.errors import UsageError
from trainer.backbone import Backbone
from trainer.network import Network, build_network
from trainer.torch_encoder import TorchEncoder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_FEWEST = 4
"""Texts for each dimension: of fewer, the weakest directions are those that happen to be missing."""
_LEAST = 1e-3
"""Share of the mean variance below which a direction is nothing but rounding, and is stretched no further."""


@dataclass(frozen=True, slots=True)
class Texts:
    """Of the kind that will be searched, to measure the directions on; never of a development set."""

    queries: Sequence[str]
    passages: Sequence[str]


def whiten(
    backbone: Backbone, texts: Texts, *, strength: float, width: int = 0, report: Callable[[str], None]
) -> Backbone:
    """The same network with a head that evens out the directions of what it said.

    Args:
        backbone: Network, tokenizer and origin; it is left as it is, and shares its weights with what is returned.
        texts: Some thousand of each. Of fewer than four a dimension nothing is measured, and vectors stay as they are.
        strength: Power of its deviation that each direction is divided by: 1 makes all alike.
        width: Of the vectors, the first so many dimensions; 0 is the widest that was trained.
        report: Told what was done.

    Raises:
        UsageError: The width is more than was trained: what was never taught would come to the front.
    """
    trained = min(backbone.config.dim, max(backbone.origin.dims, default=backbone.config.dim))
    if (width := width or trained) > trained:
        raise UsageError(
            f"width {width} is more than the {trained} that were trained, and cannot be evened out: choose narrower "
            "widths, or set 'whitening' to 0"
        )
    if (count := len(texts.queries) + len(texts.passages)) < _FEWEST * width:
        report(f"{count:,} texts are too few to even out {width} dimensions: vectors stay as they were trained")
        return backbone
    report(f"reading {count:,} texts to even out the {width} dimensions")
    pooled = _pool(backbone, texts)
    weight, bias = _read_head(backbone.network, width)
    turn, middle = find_map(pooled @ weight.T + bias, strength)
    head = {"head.weight": turn @ weight, "head.bias": turn @ (bias - middle)}
    return replace(backbone, network=_change_head(backbone.network, width, head))


def find_map(vectors: "Floats", strength: float) -> "tuple[Floats, Floats]":
    """A matrix [D, D] and a mean [D]: `matrix @ (vector - mean)` has the directions of most variance first, each
    divided by its deviation to the power of `strength`, in all as long as before.

    Args:
        vectors: [N, D]
        strength: 0 to 1.
    """
    middle = vectors.mean(0)
    centred = vectors - middle
    variances, directions = np.linalg.eigh(centred.T @ centred / len(vectors))
    variances, directions = variances[::-1], directions[:, ::-1]
    floored = np.maximum(variances, _LEAST * variances.mean())
    scales = floored ** (-strength / 2)
    scales *= np.sqrt(variances.sum() / (variances * scales**2).sum())
    return scales[:, None] * directions.T, middle


def _pool(backbone: Backbone, texts: Texts) -> "Floats":
    """What a head reads of the texts: unit rows [N, H]."""
    headless = _change_head(backbone.network, 0, {})
    encoder = TorchEncoder(replace(backbone, network=headless, origin=replace(backbone.origin, dims=())))
    rows = [encoder.encode_queries(list(texts.queries)), encoder.encode_passages(list(texts.passages))]
    return np.concatenate(rows).astype(np.float64)


def _change_head(network: Network, width: int, head: "Mapping[str, Floats]") -> Network:
    """The network with another head, or none for 0, around the same tensors: a table of a million rows is held once."""
    kept = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("head.")}
    like = next(network.parameters())
    fresh = {name: torch.from_numpy(values).to(like) for name, values in head.items()}
    changed = build_network(replace(network.config, output_size=width), device="meta")
    changed.load_state_dict(kept | fresh, assign=True)
    return changed


def _read_head(network: Network, width: int) -> "tuple[Floats, Floats]":
    """Weight [width, H] and bias [width] of a network's head; of one without, what leaves rows as they are."""
    if not network.config.output_size:
        return np.eye(width, network.config.hidden_size), np.zeros(width)
    weight, bias = (each.detach().cpu().double().numpy() for each in (network.head.weight, network.head.bias))
    return weight[:width], bias[:width]
