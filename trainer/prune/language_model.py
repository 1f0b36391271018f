"""Owns the language-model loss that pruning goes by, and the short training that repairs a pruned network.

Texts are one long row of tokens of which windows are drawn; which ones follows from the seed and the step alone, so a
run that goes on draws what it would have drawn. Logits of a large vocabulary are never held for a whole batch.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from drama_app.errors import TrainingError, UsageError
from trainer.encoder import Encoder, Masks

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_BLOCK = 1000
_MOST_TOKENS = 30_000_000
"""Of the row: 120 MB, more than a night on a CPU can read."""
_LOGITS = 16_000_000
"""Logits held at a time: 64 MB; 2,048 tokens and 131,072 pieces would take 1 GB, and as much for gradients."""
_LEAST_WINDOWS = 8
_HELD_OUT = 128
"""Windows that are measured on, of a corpus that has four times as many."""
_CLIP = 1.0
_FINAL_RATE = 0.1

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRow:
    """A corpus as one row of tokens."""

    tokens: NDArray[np.int32]
    held_out: Tensor
    """Windows int64 [N, length] from its end, which are never drawn: to measure on."""
    seed: int

    def draw(self, step: int, rows: int, length: int) -> Tensor:
        """Windows int64 [rows, length] of a step."""
        chooser = np.random.default_rng([self.seed, step])
        starts = chooser.integers(0, len(self.tokens) - length + 1, rows)
        return torch.from_numpy(np.stack([self.tokens[start : start + length] for start in starts]).astype(np.int64))


def read_tokens(tokenizer: "Tokenizer", texts: Iterable[str], *, length: int, seed: int) -> TokenRow:
    """Tokenise a corpus; each text begins with what the tokenizer puts before one.

    Args:
        tokenizer: Of the network.
        texts: Read once.
        length: Tokens of a window.
        seed: Decides which windows are drawn.

    Raises:
        UsageError: The corpus is shorter than a window.
    """
    rows: list[NDArray[np.int32]] = []
    count, remaining = 0, iter(texts)
    while count < _MOST_TOKENS and (block := list(islice(remaining, _BLOCK))):
        rows += [np.array(each.ids, dtype=np.int32) for each in tokenizer.encode_batch_fast(block)]
        count += sum(map(len, rows[-len(block) :]))
    if count < _LEAST_WINDOWS * length:
        raise UsageError(
            f"the corpus has {count:,} tokens; pruning needs {_LEAST_WINDOWS * length:,} at least: give it more texts"
        )
    tokens = np.concatenate(rows)[:_MOST_TOKENS]
    windows = min(_HELD_OUT, len(tokens) // length // 4)
    held_out = torch.from_numpy(tokens[-windows * length :].astype(np.int64)).view(windows, length)
    return TokenRow(tokens=tokens[: -windows * length], held_out=held_out, seed=seed)


def measure_losses(network: Encoder, ids: Tensor, masks: Masks | None = None) -> Tensor:
    """Mean cross-entropy of the next token, in nats.

    Args:
        network: With a language-model head.
        ids: int64 [B, L].
        masks: Factors of a pruning in progress.

    Returns:
        float32 [B].
    """
    rows, wanted = network(ids, masks=masks)[:, :-1], ids[:, 1:]
    size = max(1, _LOGITS // network.config.vocab_size // len(ids))

    def compute(part: Tensor, answers: Tensor) -> Tensor:
        logits = network.predict(part).float()
        return (
            functional.cross_entropy(logits.flatten(0, 1), answers.flatten(), reduction="none").view_as(answers).sum(1)
        )

    parts = [
        checkpoint(compute, rows[:, start : start + size], wanted[:, start : start + size], use_reentrant=False)
        for start in range(0, wanted.shape[1], size)
    ]
    total: Tensor = torch.stack(parts).sum(0) / wanted.shape[1]
    return total


@torch.no_grad()
def evaluate_language(network: Encoder, held_out: Tensor, *, rows: int) -> list[float]:
    """Losses of held-out windows [N, L], `rows` at a time, one each."""
    network.eval()
    return [float(loss) for part in torch.split(held_out, rows) for loss in measure_losses(network, part)]


def schedule(step: int, steps: int, rate: float) -> float:
    """Learning rate of a step from 1: a tenth of the steps up in a line, then down in half a cosine to a tenth."""
    warmup = max(1, steps // 10)
    if step <= warmup:
        return rate * step / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return rate * (_FINAL_RATE + (1 - _FINAL_RATE) * (1 + math.cos(math.pi * done)) / 2)


def descend(loss: Tensor, optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], *, step: int) -> None:
    """One step down.

    Raises:
        TrainingError: The loss or a gradient is no number.
    """
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    norm = nn.utils.clip_grad_norm_(parameters, _CLIP)
    if not torch.isfinite(loss) or not torch.isfinite(norm):
        raise TrainingError(f"step {step} of the language model gave no number; lower 'learning_rate' of [prune]")
    optimizer.step()


def train_language(
    network: Encoder, corpus: TokenRow, *, steps: int, rows: int, length: int, rate: float, start: int = 0,
    optimizer: torch.optim.Optimizer | None = None, report: Report | None = None,
    keep: Callable[[int, torch.optim.Optimizer], None] | None = None,
) -> None:  # fmt: skip
    """Continue language modelling; the network is changed.

    Args:
        network: With a language-model head.
        corpus: What to draw from.
        steps: All of them.
        rows: Windows a step.
        length: Tokens a window.
        rate: Highest learning rate.
        start: Steps that an earlier call has done; then `optimizer` is the one that it left.
        optimizer: None makes one.
        report: Called after each step.
        keep: Called after each step with its number, to save what a later call needs.

    Raises:
        TrainingError: A loss is no number.
    """
    network.requires_grad_(True).train()
    parameters = list(network.parameters())
    optimizer = optimizer or make_optimizer(parameters, rate)
    for step in range(start + 1, steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = schedule(step, steps, rate)
        loss = measure_losses(network, corpus.draw(step, rows, length)).mean()
        descend(loss, optimizer, parameters, step=step)
        if keep:
            keep(step, optimizer)
        if report:
            report(f"language model, step {step:,} of {steps:,}, loss {loss.item():.3f}")


def make_optimizer(parameters: Iterable[nn.Parameter], rate: float) -> torch.optim.AdamW:
    """AdamW as language models use it."""
    return torch.optim.AdamW(list(parameters), lr=rate, betas=(0.9, 0.95), weight_decay=0.0)
