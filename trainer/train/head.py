"""Owns the start of a distillation: a linear head, fitted in closed form, from what a network says to its teacher.

Mean-pooled rows of an LLM hold much of what a text is about, in coordinates of their own. Ridge regression turns them
into the teacher's before the first step, so that training mends a student and does not first look for the space.

Shapes: N texts, H width of the pooled rows, T width of the teacher.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor
from torch.nn import functional

from drama_app.errors import UsageError
from trainer.checkpoint import read_tensors, write_tensors
from trainer.network import Network, change_network
from trainer.recipe import TrainRecipe
from trainer.records import make_key
from trainer.train.data import TrainingData
from trainer.train.step import pad_rows, plan_chunks

if TYPE_CHECKING:
    from numpy.typing import NDArray

HEAD = "head.safetensors"
READ_AS = ("query_tokens", "passage_tokens", "query_prefix", "passage_prefix")
"""What of a recipe decides how the network reads a text, and with that what is fitted."""

_TEXTS = 3000
"""Queries, and as many passages: some ten for each of 640 columns."""
_HELD_OUT = 10
"""One text in so many chooses the penalty."""
_PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Of the squared weights, as shares of the mean variance of a column."""
_CHUNK = 4096
"""Tokens that pass through the network at a time."""


@dataclass(frozen=True, slots=True)
class FittedHead:
    """A linear map from unit pooled rows to the teacher's vectors, and how near it comes."""

    weight: Tensor
    """[T, H]"""
    bias: Tensor
    """[T]"""
    cosine: float
    """Mean over texts that were not fitted."""


def add_head(
    network: Network, data: TrainingData, recipe: TrainRecipe, path: Path, *,
    report: Callable[[str], None] | None = None,
) -> Network:  # fmt: skip
    """The network with a head that starts as the best linear guess of the teacher's vectors.

    Args:
        network: Without a head.
        data: With a teacher.
        recipe: `head` is the width: the first so many of the teacher's dimensions.
        path: File of the fitted head: read if it is there, so that a run which goes on starts from the same weights.
        report: Told how near the head comes.

    Raises:
        UsageError: The teacher's vectors are narrower than the head.
    """
    assert data.teacher is not None  # the recipe has seen to it
    if recipe.head > (there := data.teacher.queries.shape[1]):
        raise UsageError(f"[train] 'head' = {recipe.head}, but the teacher's vectors have {there} columns")
    key = make_key({name: getattr(recipe, name) for name in ("head", "seed", *READ_AS)})
    if is_start(path, key):
        tensors = read_tensors(path)
    else:
        fitted = _fit_to_teacher(network, data, recipe)
        if report:
            report(f"a head fitted to the teacher: cosine {fitted.cosine:.3f} on texts left out, before any training")
        tensors = {"weight": fitted.weight, "bias": fitted.bias}
        save_start(tensors, path, key=key, cosine=fitted.cosine)
    changed = change_network(network, output_size=recipe.head)
    changed.head.load_state_dict(tensors)
    return changed


def is_start(path: Path, key: str) -> bool:
    """Whether weights to start from are kept there that were made as `key` says, or before keys were kept."""
    if not path.is_file():
        return False
    with safe_open(path, framework="pt") as file:
        return bool((file.metadata() or {}).get("key", key) == key)


def save_start(tensors: Mapping[str, Tensor], path: Path, *, key: str, cosine: float) -> None:
    """Keep weights that a run starts from, whole or not at all, with what they were made by and how near they come."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    kept = {name: tensor.contiguous() for name, tensor in tensors.items()}
    write_tensors(kept, partial, metadata={"key": key, "cosine": f"{cosine:.4f}"})
    partial.replace(path)


def read_cosine(path: Path) -> float | None:
    """What `save_start` was told; None for a file from before it was kept."""
    with safe_open(path, framework="pt") as file:
        told = (file.metadata() or {}).get("cosine")
        return None if told is None else float(told)


def _fit_to_teacher(network: Network, data: TrainingData, recipe: TrainRecipe) -> FittedHead:
    assert data.teacher is not None
    chooser = np.random.default_rng([recipe.seed, 3])
    groups, passages = (chooser.permutation(len(each))[:_TEXTS] for each in (data.queries, data.passages))
    rows = [data.queries[int(row)] for row in groups] + [data.passages[int(row)] for row in passages]
    wanted = np.concatenate([data.teacher.queries[data.lines[groups]], data.teacher.passages[passages]])
    wanted = wanted[:, : recipe.head].astype(np.float32)
    return fit_head(pool_texts(network, rows, data.pad), torch.from_numpy(wanted))


@torch.no_grad()
def pool_texts(network: Network, rows: "Sequence[NDArray[np.int32]]", pad: int) -> Tensor:
    """Unit mean-pooled rows float32 [N, H] of token rows, on the CPU."""
    device = next(network.parameters()).device
    pooled = torch.zeros(len(rows), network.config.hidden_size)
    for chunk in plan_chunks([len(row) for row in rows], _CHUNK):
        vectors = network.embed(*pad_rows([rows[at] for at in chunk], pad, device))
        pooled[chunk] = functional.normalize(vectors, dim=-1).cpu()
    return pooled


def fit_head(pooled: Tensor, wanted: Tensor) -> FittedHead:
    """Ridge regression with the penalty that does best on a tenth of the texts.

    Args:
        pooled: Unit rows float32 [N, H].
        wanted: The teacher's vectors float32 [N, T].
    """
    pooled, wanted = pooled.double(), wanted.double()
    apart = torch.arange(len(pooled)) % _HELD_OUT == 0
    best: FittedHead | None = None
    for penalty in _PENALTIES:
        weight, bias = _solve(pooled[~apart], wanted[~apart], penalty)
        near = functional.cosine_similarity(pooled[apart] @ weight.T + bias, wanted[apart], dim=-1).mean().item()
        if best is None or near > best.cosine:
            best = FittedHead(weight.float(), bias.float(), near)
    assert best is not None
    return best


def _solve(pooled: Tensor, wanted: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    """Weight [T, H] and bias [T] of least squared error with a penalty on the weight."""
    middle, target = pooled.mean(0), wanted.mean(0)
    centred = pooled - middle
    products = centred.T @ centred  # [H, H]
    ridge = penalty * products.diagonal().mean()
    weight = torch.linalg.solve(products + ridge * torch.eye(len(products), dtype=products.dtype),
                                centred.T @ (wanted - target)).T  # fmt: skip
    return weight, target - weight @ middle
