"""Owns what a teacher teaches each token to say of a text: a bag of tokens, trained towards the teacher's vectors.

Most tokens occur in few texts, and a row of their own learns those by heart: taught alone from 231,000 texts, rows came
to a cosine of .67 on others (LOG.md). So a small network, the same for all tokens, first says from the teacher's
reading of a token alone, and from how common it is, what it says among others (.76 with a row beside it); then each
row goes on alone, which costs a quarter.

Shapes: V tokens, T width of the head.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Rows = Sequence[NDArray[np.int32]]

_INNER = 512
"""Width of the small network's hidden layer."""
_TOGETHER = 230_000
"""Texts from which the small network learns, in `_TOGETHER_PASSES` passes: two minutes of two cores."""
_TOGETHER_PASSES = 2
_BATCH = 512
"""Texts a step, fewer where a pass would have fewer than `_LEAST` steps."""
_LEAST = 100
_RARITY = 1e-4
"""A token that makes up this share of all tokens counts half at the start; Arora et al., ICLR 2017 (SIF), take 1e-3 to
1e-4."""
_SHARED_RATE = 0.3
"""Learning rate of the small network over that of the rows."""
_WARMUP = 30
_LAST_RATE = 0.02
"""Share of the learning rate at the end, to which it falls in a line."""
_BLOCK = 8192
"""Tokens whose rows are computed at a time."""


class TaughtRows(nn.Module):
    """What each token says of a text, in the teacher's columns.

    Args:
        taught: The teacher's vectors of single tokens float32 [V, T]; zeros where there is no text.
        counts: How often each token occurs in the texts [V].
    """

    said: Tensor
    commonness: Tensor
    known: Tensor
    weights: Tensor

    def __init__(self, taught: Tensor, counts: Tensor) -> None:
        super().__init__()
        tokens, width = taught.shape
        known = taught.norm(dim=1) > 0
        said = torch.where(known[:, None], taught - taught[known].mean(0), 0.0)
        shares = counts / counts.sum()
        logarithms = counts.log1p()
        self.register_buffer("said", said / said.pow(2).mean().sqrt().clamp(min=1e-6))
        self.register_buffer("commonness", ((logarithms - logarithms.mean()) / (logarithms.std() + 1e-6))[:, None])
        self.register_buffer("known", known[:, None].float())
        self.register_buffer("weights", (_RARITY / (_RARITY + shares))[:, None])
        self.straight = nn.Linear(width, width, bias=False)
        self.inner = nn.Linear(width + 2, _INNER)
        self.outer = nn.Linear(_INNER, width)
        self.loudness = nn.Linear(_INNER, 1)
        self.middle = nn.Parameter(torch.zeros(width))
        self.own = nn.Embedding(tokens, width, sparse=True)
        nn.init.eye_(self.straight.weight)
        for silent in (self.outer.weight, self.outer.bias, self.loudness.weight, self.loudness.bias, self.own.weight):
            nn.init.zeros_(silent)
        self.alone = False

    def forward(self, tokens: Tensor) -> Tensor:
        """Rows float32 [tokens, T] of tokens by number."""
        if self.alone:
            own: Tensor = self.own(tokens)
            return own
        said = self.said[tokens]
        inner = functional.gelu(self.inner(torch.cat([said, self.commonness[tokens], self.known[tokens]], dim=1)))
        shared = (self.straight(said) + self.outer(inner)) * self.weights[tokens] * self.loudness(inner).exp()
        rows: Tensor = shared + self.own(tokens) + self.middle
        return rows

    def pool(self, rows: "Rows") -> Tensor:
        """Mean of the rows of each text's tokens, float32 [texts, T]."""
        numbers, places = np.unique(np.concatenate(rows), return_inverse=True)
        starts = torch.from_numpy(np.cumsum([0, *(len(row) for row in rows[:-1])]))
        pooled: Tensor = functional.embedding_bag(
            torch.from_numpy(places), self(torch.from_numpy(numbers)), starts, mode="mean"
        )
        return pooled

    @torch.no_grad()
    def settle(self) -> None:
        """Let each row say by itself what the small network and it say together."""
        numbers = torch.arange(len(self.said))
        blocks = [self(numbers[start : start + _BLOCK]) for start in range(0, len(numbers), _BLOCK)]
        self.own.weight.copy_(torch.cat(blocks))
        self.alone = True


def teach_rows(
    rows: "Rows", wanted: "NDArray[np.floating[Any]]", taught: Tensor, *, passes: int, rate: float, seed: int,
    report: Callable[[str], None],
) -> Tensor:  # fmt: skip
    """Rows float32 [V, T] whose mean over a text's tokens points where the teacher's vector of the text does.

    Args:
        rows: Token ids of each text.
        wanted: The teacher's vectors of the texts [texts, T].
        taught: Its vectors of single tokens float32 [V, T]; zeros where there is no text.
        passes: Over the texts.
        rate: Learning rate of a token's own row at the start.
        seed: Of the order of the texts.
        report: Told how near they come.
    """
    counts = torch.from_numpy(np.bincount(np.concatenate(rows), minlength=len(taught))).float()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        bag = TaughtRows(taught, counts)
    chooser = np.random.default_rng([seed, 6])
    shared = [parameter for name, parameter in bag.named_parameters() if name != "own.weight"]
    own: torch.optim.Optimizer = torch.optim.SparseAdam(list(bag.own.parameters()), lr=rate)
    both = [own, torch.optim.Adam(shared, lr=rate * _SHARED_RATE)]
    together = chooser.permutation(len(rows))[:_TOGETHER]
    _learn(bag, rows, wanted, _order(together, _TOGETHER_PASSES, chooser), both, report)
    bag.settle()
    del both, own
    own = torch.optim.SparseAdam(list(bag.own.parameters()), lr=rate)  # a row that says more has other moments
    _learn(bag, rows, wanted, _order(np.arange(len(rows)), passes, chooser), [own], report)
    return bag.own.weight.detach()


def _order(places: "NDArray[np.int64]", passes: int, chooser: np.random.Generator) -> "list[NDArray[np.int64]]":
    """The texts of each step."""
    size = max(1, min(_BATCH, len(places) // _LEAST))
    orders = (chooser.permutation(places) for _ in range(passes))
    return [order[start : start + size] for order in orders for start in range(0, len(order), size)]


def _learn(
    bag: TaughtRows, rows: "Rows", wanted: "NDArray[np.floating[Any]]", batches: "list[NDArray[np.int64]]",
    optimizers: list[torch.optim.Optimizer], report: Callable[[str], None],
) -> None:  # fmt: skip
    """Draw the mean of each text's rows to where the teacher's vector points; other rows stay, and cost nothing."""
    starts = [[float(group["lr"]) for group in optimizer.param_groups] for optimizer in optimizers]
    for step, batch in enumerate(batches):
        made = bag.pool([rows[place] for place in batch])
        target = torch.from_numpy(wanted[batch].astype(np.float32))
        loss = 1 - functional.cosine_similarity(made, target, dim=-1).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        share = min(1.0, (step + 1) / _WARMUP) * max(_LAST_RATE, 1 - step / len(batches))
        for optimizer, rates in zip(optimizers, starts, strict=True):
            _take_step(optimizer, [rate * share for rate in rates])
        if step % 200 == 199:
            report(f"token rows: step {step + 1:,} of {len(batches):,}, cosine {1 - loss.item():.3f}")
    bag.zero_grad()


def _take_step(optimizer: torch.optim.Optimizer, rates: list[float]) -> None:
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    optimizer.step()
    optimizer.zero_grad()
