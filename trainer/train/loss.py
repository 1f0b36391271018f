"""Owns the losses of the contrastive stage. Pure: tensors in, one value a row out; no device, no process, no state.

Rows are values of single queries, so that a batch may be worked through in blocks whose sums are the whole. Shapes:
Q queries of the block, B queries of the batch, P passages of the batch, D width of an embedding, T the teacher's.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional


def find_competitors(
    query_ids: Tensor, passage_ids: Tensor, positives: Tensor, answers: Tensor | None = None
) -> Tensor:
    """Which passages each query is to be told apart from: bool [B, P].

    Each passage competes once, in its first copy. Left out for a query are copies of its positive, the positives of
    queries with the same text, and what is known to answer it; its own positive competes always.

    Args:
        query_ids: int64 [B]; equal ids are equal texts.
        passage_ids: int64 [P]; likewise.
        positives: int64 [B]: place of each query's positive among the passages.
        answers: int64 [B, any]: ids of further passages that answer a query, filled up with -1.
    """
    twins = torch.unique(query_ids, return_inverse=True)[1]
    is_positive = passage_ids[positives][:, None] == passage_ids  # [B, P]
    answered = torch.zeros_like(is_positive)
    rows, columns = is_positive.nonzero(as_tuple=True)
    answered[twins[rows], columns] = True
    competes = ~answered[twins] & _find_first_copies(passage_ids)
    for column in () if answers is None else answers.unbind(1):
        competes &= column[:, None] != passage_ids
    competes[torch.arange(len(positives), device=positives.device), positives] = True
    return competes


def _find_first_copies(ids: Tensor) -> Tensor:
    """Bool [P]: no earlier passage has the same id."""
    places = torch.arange(len(ids), device=ids.device)
    kinds = torch.unique(ids, return_inverse=True)[1]
    first = torch.full_like(places, len(ids)).scatter_reduce(0, kinds, places, "amin")
    return first[kinds] == places


def contrastive_losses(
    queries: Tensor,
    passages: Tensor,
    positives: Tensor,
    competes: Tensor,
    *,
    temperature: float,
    widths: Sequence[int] = (),
    weights: Sequence[float] = (),
    margin: float = 0.0,
) -> Tensor:
    """InfoNCE of each query against every passage that competes: float [Q].

    Args:
        queries: [Q, D], of any length; every prefix is normalised for itself.
        passages: [P, D]
        positives: int64 [Q]: place of each query's positive.
        competes: bool [Q, P]
        temperature: What cosines are divided by.
        widths: Matryoshka prefixes; empty is the full width.
        weights: One a width, their sum counts as one; empty weighs them alike.
        margin: A passage whose cosine (full width) lies more than this above the positive's is taken for a missed
            answer and does not compete; 0 or less keeps all.
    """
    widths = widths or (queries.shape[1],)
    weights = weights or (1.0,) * len(widths)
    own = functional.one_hot(positives, len(passages)).bool()
    if margin > 0:
        with torch.no_grad():
            cosines = _cosines(queries, passages)
            missed = cosines > cosines.gather(1, positives[:, None]) + margin
        competes = competes & ~missed
    kept = competes | own
    losses = queries.new_zeros(len(queries))
    for width, weight in zip(widths, weights, strict=True):
        scores = _cosines(queries[:, :width], passages[:, :width]) / temperature
        chosen = scores.gather(1, positives[:, None]).squeeze(1)
        everything = scores.masked_fill(~kept, float("-inf")).logsumexp(1)
        losses = losses + weight / sum(weights) * (everything - chosen)
    return losses


def embedding_losses(student: Tensor, teacher: Tensor, project_up: Callable[[Tensor], Tensor]) -> Tensor:
    """How far each embedding points from the teacher's, once projected to its width: 1 - cosine, float [Q].

    Args:
        student: [Q, D]
        teacher: [Q, T]
        project_up: From [Q, D] to [Q, T], learned beside the student and thrown away afterwards.
    """
    projected = project_up(functional.normalize(student, dim=-1))
    return 1 - functional.cosine_similarity(projected, teacher, dim=-1)


def score_losses(
    scores: tuple[Tensor, Tensor],
    teacher: tuple[Tensor, Tensor],
    competes: Tensor,
    *,
    temperature: float,
    widths: Sequence[int] = (),
    weights: Sequence[float] = (),
) -> Tensor:
    """Divergence of the student's distribution over competing passages from the teacher's (KL), float [Q].

    The teacher's is that of its full width, whatever the student's prefix.

    Args:
        scores: The student's queries [Q, D] and passages [P, D].
        teacher: The teacher's queries [Q, T] and passages [P, T].
        competes: bool [Q, P]
        temperature: What the cosines of both are divided by.
        widths: The student's Matryoshka prefixes; empty is the full width.
        weights: One a width, their sum counts as one; empty weighs them alike.
    """
    queries, passages = scores
    widths = widths or (queries.shape[1],)
    weights = weights or (1.0,) * len(widths)
    wanted = _distribute(*teacher, competes, temperature)
    losses = queries.new_zeros(len(queries))
    for width, weight in zip(widths, weights, strict=True):
        mine = _distribute(queries[:, :width], passages[:, :width], competes, temperature)
        # 0 * (-inf - -inf) is not 0: what does not compete is set to 0 before the product.
        gaps = (wanted - mine).masked_fill(~competes, 0.0)
        losses = losses + weight / sum(weights) * (wanted.exp() * gaps).sum(1)
    return losses


def _distribute(queries: Tensor, passages: Tensor, competes: Tensor, temperature: float) -> Tensor:
    """Logarithms of each query's distribution over the passages that compete: [Q, P]."""
    return (_cosines(queries, passages) / temperature).masked_fill(~competes, float("-inf")).log_softmax(1)


def spread_losses(rows: Tensor, everything: Tensor, own: Tensor) -> Tensor:
    """Mean squared cosine of each row to the others: float [Q], 1 / D where they fill the sphere evenly.

    Args:
        rows: [Q, D]
        everything: [B, D]
        own: int64 [Q]: place of each row in `everything`.
    """
    squares = _cosines(rows, everything).square().scatter(1, own[:, None], 0.0)
    return squares.sum(1) / max(len(everything) - 1, 1)


def _cosines(rows: Tensor, columns: Tensor) -> Tensor:
    """[Q, D] and [P, D] to [Q, P]."""
    return functional.normalize(rows, dim=-1) @ functional.normalize(columns, dim=-1).T
