"""Owns the language-model loss that pruning goes by, and the short training that repairs a pruned network.

Texts are one long row of tokens of which windows are drawn; which ones follows from the seed and the step alone, so a
run that goes on draws what it would have drawn. Logits of a large vocabulary are never held for a whole batch.
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from drama_app.errors import TrainingError, UsageError
from trainer.encoder import Encoder, Masks
from trainer.records import Passage

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_BLOCK = 1000
_MOST_TOKENS = 100_000_000
"""Of the row: 400 MB."""
_LOGITS = 16_000_000
"""Logits held at a time: 64 MB; 2,048 tokens and 131,072 pieces would take 1 GB, and as much for gradients."""
_AT_A_TIME = {"cpu": 1024, "cuda": 8192}
"""Tokens that pass through the network together: their activations are what memory goes to."""
_LEAST_WINDOWS = 8
_HELD_OUT = 128
"""Passages that are measured on, of a corpus that has four times as many."""
_NOTHING = -1
"""Fills held-out rows up."""
_CLIP = 1.0
_FINAL_RATE = 0.1

Tokens = NDArray[np.int32]
State = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """A step that was done."""

    number: int
    """From 1."""
    loss: float
    get_state: Callable[[], State]
    """What a later call needs to go on from here."""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRow:
    """A corpus as one row of tokens."""

    tokens: Tokens
    held_out: Tensor
    """Passages int64 [N, length at most], filled up with -1: never drawn, to measure on."""
    seed: int

    def draw(self, step: int, rows: int, length: int) -> Tensor:
        """Windows int64 [rows, length] of a step."""
        chooser = np.random.default_rng([self.seed, step])
        starts = chooser.integers(0, len(self.tokens) - length + 1, rows)
        return torch.from_numpy(np.stack([self.tokens[start : start + length] for start in starts]).astype(np.int64))


def read_tokens(tokenizer: "Tokenizer", passages: Iterable[Passage], *, length: int, seed: int) -> TokenRow:
    """Tokenise a corpus; each passage begins with what the tokenizer puts before a text.

    Args:
        tokenizer: Of the network.
        passages: Read once, as many as 100 million tokens take.
        length: Tokens of a window.
        seed: Decides which windows are drawn; which passages are held out follows from their ids alone.

    Raises:
        UsageError: The corpus is shorter than eight windows.
    """
    rows: list[Tokens] = []
    keys: list[tuple[str, str]] = []
    count, remaining = 0, iter(passages)
    while count < _MOST_TOKENS and (block := list(islice(remaining, _BLOCK))):
        encodings = tokenizer.encode_batch_fast([each.embedded for each in block])
        for passage, encoding in zip(block, encodings, strict=True):
            if len(encoding.ids) > 1:  # one token alone has none after it to predict
                rows.append(np.array(encoding.ids, dtype=np.int32))
                keys.append((passage.document or passage.id, passage.id))
                count += len(encoding.ids)
    if count < _LEAST_WINDOWS * length:
        raise UsageError(
            f"the corpus has {count:,} tokens; pruning needs {_LEAST_WINDOWS * length:,} at least: give it more texts"
        )
    drawn, held_out = _split(keys)
    tokens = np.concatenate([rows[index] for index in drawn])
    if len(tokens) < length:  # a few long passages
        tokens = np.concatenate(rows)
    return TokenRow(tokens=tokens, held_out=_pad([rows[index][:length] for index in held_out]), seed=seed)


def measure_losses(network: Encoder, ids: Tensor, masks: Masks | None = None) -> Tensor:
    """Mean cross-entropy of the next token, in nats; a GPU computes it in bfloat16.

    Args:
        network: With a language-model head.
        ids: int64 [B, L], each row filled up with -1.
        masks: Factors of a pruning in progress.

    Returns:
        float32 [B].
    """
    device = network.embed_tokens.weight.device
    ids = ids.to(device)
    wanted = ids[:, 1:]
    size = max(1, _LOGITS // network.config.vocab_size // len(ids))

    def compute(part: Tensor, answers: Tensor) -> Tensor:
        logits = network.predict(part).float().flatten(0, 1)
        losses = functional.cross_entropy(logits, answers.flatten(), reduction="none", ignore_index=_NOTHING)
        return losses.view_as(answers).sum(1)

    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        # What fills a row up stands behind its tokens, which do not look there.
        rows = network(ids.clamp(min=0), masks=masks)[:, :-1]
        parts = [
            checkpoint(compute, rows[:, start : start + size], wanted[:, start : start + size], use_reentrant=False)
            for start in range(0, wanted.shape[1], size)
        ]
    total: Tensor = torch.stack(parts).sum(0) / wanted.ne(_NOTHING).sum(1)
    return total


@torch.no_grad()
def evaluate_language(network: Encoder, held_out: Tensor) -> list[float]:
    """Loss of each passage [N, L]."""
    network.eval()
    return [float(loss) for part in split_windows(network, held_out) for loss in measure_losses(network, part)]


def split_windows(network: Encoder, windows: Tensor) -> Sequence[Tensor]:
    """Windows [N, L] in parts that pass through the network together."""
    device = network.embed_tokens.weight.device.type
    return torch.split(windows, max(1, _AT_A_TIME.get(device, _AT_A_TIME["cpu"]) // windows.shape[1]))


def backward_losses(network: Encoder, windows: Tensor, draw: Callable[[], Masks | None] = lambda: None) -> float:
    """Add the gradients of the mean loss of windows [B, L] to the network's, part by part; the loss.

    Args:
        network: With a language-model head.
        windows: Of a step.
        draw: Factors for the next part.
    """
    total = 0.0
    for part in split_windows(network, windows):
        loss = measure_losses(network, part, draw()).mean() * (len(part) / len(windows))
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.item()
    return total


def descend(optimizer: torch.optim.Optimizer, parameters: Iterable[nn.Parameter], loss: float, *, step: int) -> None:
    """One step down the gradients that were gathered, which are then emptied.

    Raises:
        TrainingError: The loss or a gradient is no number.
    """
    norm = nn.utils.clip_grad_norm_(parameters, _CLIP)
    if not math.isfinite(loss) or not torch.isfinite(norm):
        raise TrainingError(f"step {step} of the language model gave no number; lower 'learning_rate' of [prune]")
    optimizer.step()
    optimizer.zero_grad()


def schedule(step: int, steps: int, rate: float) -> float:
    """Learning rate of a step from 1: a tenth of the steps up in a line, then down in half a cosine to a tenth."""
    warmup = max(1, steps // 10)
    if step <= warmup:
        return rate * step / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return rate * (_FINAL_RATE + (1 - _FINAL_RATE) * (1 + math.cos(math.pi * done)) / 2)


def train_language(
    network: Encoder, corpus: TokenRow, *, steps: int, rows: int, length: int, rate: float, start: int = 0,
    state: State | None = None,
) -> Iterator[Step]:  # fmt: skip
    """Continue language modelling; the network is changed.

    Args:
        network: With a language-model head.
        corpus: What to draw from.
        steps: All of them.
        rows: Windows a step.
        length: Tokens a window.
        rate: Highest learning rate.
        start: Steps that an earlier call has done, which left `state`.
        state: None starts afresh.

    Raises:
        TrainingError: A loss is no number.
    """
    network.requires_grad_(True).train()
    optimizer = make_optimizer(network.parameters(), rate)
    if state:
        optimizer.load_state_dict(state["weights"])
    for step in range(start + 1, steps + 1):
        optimizer.param_groups[0]["lr"] = schedule(step, steps, rate)
        loss = backward_losses(network, corpus.draw(step, rows, length))
        descend(optimizer, network.parameters(), loss, step=step)
        yield Step(step, loss, lambda: {"weights": optimizer.state_dict()})


def make_optimizer(parameters: Iterable[nn.Parameter], rate: float) -> torch.optim.AdamW:
    """AdamW as language models use it."""
    return torch.optim.AdamW(list(parameters), lr=rate, betas=(0.9, 0.95), weight_decay=0.0)


def _split(keys: Sequence[tuple[str, str]]) -> tuple[list[int], list[int]]:
    """Places of what is drawn from and of what is held out: by document, or by passage if most is one document."""
    wanted = min(_HELD_OUT, max(1, len(keys) // 4))
    for level in (0, 1):
        hashes = [hashlib.blake2b(key[level].encode("utf-8", "surrogatepass"), digest_size=8).digest() for key in keys]
        order = sorted(range(len(keys)), key=hashes.__getitem__)
        last = hashes[order[wanted - 1]]
        # What is left of the last document is neither: its passages speak of the same things.
        drawn = [index for index, value in enumerate(hashes) if value > last]
        if 2 * len(drawn) >= len(keys):
            break
    return drawn or list(range(len(keys))), order[:wanted]


def _pad(rows: Sequence[Tokens]) -> Tensor:
    tensors = [torch.from_numpy(row.astype(np.int64)) for row in rows]
    return nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=_NOTHING)
