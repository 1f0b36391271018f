"""Owns the sum that a step minimises: contrastive loss, its reverse, distillation and spread, in blocks of queries.

It weighs the losses of `loss.py` by the recipe and knows nothing of the network. Shapes as there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainer.recipe import TrainRecipe
from trainer.train.data import Batch, TeacherVectors
from trainer.train.loss import contrastive_losses, embedding_losses, find_competitors, score_losses, spread_losses

_BLOCK = 256
"""Queries whose scores are held at a time: 16 MB for each width with 16,384 passages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """A batch as tensors, with what its embeddings are compared with."""

    positives: Tensor
    competes: Tensor
    teacher_queries: Tensor | None = None
    teacher_passages: Tensor | None = None
    others: Tensor | None = None
    """The teacher's vectors of passages that no network reads in this step."""


def prepare_targets(batch: Batch, teacher: TeacherVectors | None, device: torch.device, *, others: int = 0) -> Targets:
    """Move a batch to the device, with the teacher's vectors of so many other passages, drawn by torch's generator."""
    positives = torch.from_numpy(batch.positives).to(device)
    competes = find_competitors(
        torch.from_numpy(batch.query_kinds).to(device),
        torch.from_numpy(batch.passages).to(device),
        positives,
        torch.from_numpy(batch.answers).to(device),
    )
    if teacher is None:
        return Targets(positives=positives, competes=competes)
    return Targets(
        positives=positives,
        competes=competes,
        teacher_queries=torch.as_tensor(teacher.queries[batch.lines], dtype=torch.float32, device=device),
        teacher_passages=torch.as_tensor(teacher.passages[batch.passages], dtype=torch.float32, device=device),
        others=_draw_others(teacher, others, device) if others else None,
    )


def _draw_others(teacher: TeacherVectors, count: int, device: torch.device) -> Tensor:
    """Vectors of passages of the whole corpus, float32 [at most `count`, T], each once."""
    places = torch.unique(torch.randint(len(teacher.passages), (count,))).numpy()  # in order, as a file is read fastest
    return torch.as_tensor(teacher.passages[places], dtype=torch.float32, device=device)


def backward_loss(
    embeddings: Tensor,
    targets: Targets,
    recipe: TrainRecipe,
    share: slice,
    project_up: Callable[[Tensor], Tensor] | None,
) -> Tensor:
    """Call backward on a share of the queries of a batch; the shares of all processes add up to the batch's loss.

    Args:
        embeddings: [B + P, D], queries first.
        targets: Of the batch.
        recipe: Weights of the losses.
        share: Which queries.
        project_up: From the widest trained prefix to the teacher's width, if embeddings are matched.

    Returns:
        Sums over the share, divided by the whole batch: loss, contrastive part, queries whose positive is the best of
        their competitors; float [3], no gradient.
    """
    count = len(targets.positives)
    # What lies beyond the widest prefix is not shipped, so no part of the loss may rest on it.
    embeddings = embeddings[:, : max(recipe.widths, default=embeddings.shape[1])]
    sums = torch.zeros(3, device=embeddings.device)
    for start in range(share.start, share.stop, _BLOCK):
        rows = slice(start, min(start + _BLOCK, share.stop))
        contrastive = _contrast(embeddings, targets, recipe, rows)
        loss = contrastive + _regularise(embeddings, targets, recipe, rows)
        if project_up and recipe.embedding_weight:
            loss = loss + recipe.embedding_weight * _imitate(embeddings, targets, rows, project_up)
        (loss.sum() / count).backward()  # type: ignore[no-untyped-call]
        right = _count_right(embeddings.detach(), targets, rows)
        sums += torch.stack([loss.detach().sum(), contrastive.detach().sum(), right]) / count
    return sums


def _contrast(embeddings: Tensor, targets: Targets, recipe: TrainRecipe, rows: slice) -> Tensor:
    count = len(targets.positives)
    queries, passages = embeddings[:count], embeddings[count:]
    positives = targets.positives[rows]
    losses = contrastive_losses(
        queries[rows], passages, positives, targets.competes[rows], temperature=recipe.temperature,
        widths=recipe.widths, weights=recipe.width_weights, margin=recipe.margin,
    )  # fmt: skip
    if not recipe.reverse:
        return losses
    own = torch.arange(rows.start, rows.stop, device=positives.device)
    # A query that the same passage answers is no negative of it, though it names that passage as its own.
    rivals = targets.competes[:, positives].T & (positives[:, None] != targets.positives[None, :])
    backwards = contrastive_losses(
        passages[positives], queries, own, rivals, temperature=recipe.temperature,
        widths=recipe.widths, weights=recipe.width_weights, margin=recipe.margin,
    )  # fmt: skip
    return losses + recipe.reverse * backwards


def _regularise(embeddings: Tensor, targets: Targets, recipe: TrainRecipe, rows: slice) -> Tensor:
    """Score matching and spread: float [rows]."""
    count = len(targets.positives)
    queries, passages = embeddings[:count], embeddings[count:]
    losses = embeddings.new_zeros(rows.stop - rows.start)
    if recipe.score_weight and targets.teacher_queries is not None and targets.teacher_passages is not None:
        losses = losses + recipe.score_weight * _match_scores(queries, passages, targets, recipe, rows)
    if recipe.spread:
        own = torch.arange(rows.start, rows.stop, device=embeddings.device)
        positives = targets.positives[rows]
        spread = spread_losses(queries[rows], queries, own) + spread_losses(passages[positives], passages, positives)
        losses = losses + recipe.spread * spread
    return losses


def _match_scores(queries: Tensor, passages: Tensor, targets: Targets, recipe: TrainRecipe, rows: slice) -> Tensor:
    """Score matching: float [rows], of queries on the batch's passages, or of queries and positives on the others.

    Scores on the others are dot products with the teacher's vectors: the student stands in the teacher's space.
    """
    assert targets.teacher_queries is not None and targets.teacher_passages is not None
    how: dict[str, Any] = {
        "temperature": recipe.score_temperature, "widths": recipe.widths, "weights": recipe.width_weights
    }  # fmt: skip
    if targets.others is None:
        taught = targets.teacher_queries[rows], targets.teacher_passages
        return score_losses((queries[rows], passages), taught, targets.competes[rows], **how)
    positives, others = targets.positives[rows], targets.others
    everyone = torch.ones(len(positives), len(others), dtype=torch.bool, device=others.device)
    pairs = (queries[rows], targets.teacher_queries[rows]), (passages[positives], targets.teacher_passages[positives])
    first, second = (score_losses((made, others), (taught, others), everyone, **how) for made, taught in pairs)
    return first + second


def _imitate(embeddings: Tensor, targets: Targets, rows: slice, project_up: Callable[[Tensor], Tensor]) -> Tensor:
    """Embedding matching of queries and their positives: float [rows]."""
    count = len(targets.positives)
    assert targets.teacher_queries is not None and targets.teacher_passages is not None
    positives = targets.positives[rows]
    return embedding_losses(embeddings[:count][rows], targets.teacher_queries[rows], project_up) + embedding_losses(
        embeddings[count:][positives], targets.teacher_passages[positives], project_up
    )


@torch.no_grad()
def _count_right(embeddings: Tensor, targets: Targets, rows: slice) -> Tensor:
    count = len(targets.positives)
    unit = torch.nn.functional.normalize(embeddings, dim=-1)
    scores = (unit[:count][rows] @ unit[count:].T).masked_fill(~targets.competes[rows], -2.0)
    return (scores.argmax(1) == targets.positives[rows]).sum()
