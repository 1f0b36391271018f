"""Owns the gradient of one batch that is larger than memory: embeddings first, their gradients, then the network's.

A loss over a batch needs every embedding at once, but the network only one chunk at a time: chunks pass through it
without a trace, the loss is taken on the embeddings, and each chunk passes through again with the gradients of its own
embeddings. What fits `keep_tokens` keeps its trace and passes once. Processes share out the texts and, in the loss,
the queries; the sums are those of one process.

Shapes: N texts of the batch (queries, then passages), L tokens, D width.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from accelerate import Accelerator
    from numpy.typing import NDArray


class TextEncoder(Protocol):
    """A module whose parameters are trained."""

    def embed(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Embeddings float32 [N, D] of token rows [N, L], not normalised."""
        ...


class RowTeacher(Protocol):
    """What a network's token rows are compared with, chunk by chunk."""

    def embed(self, encoder: Any, input_ids: Tensor, attention_mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Embeddings as the encoder's own, and a loss added up over the chunk's tokens, float32 []."""
        ...


@dataclass(frozen=True, slots=True)
class Workers:
    """What the processes of a run have in common: a device, a precision, and sums."""

    accelerator: "Accelerator"

    @property
    def rank(self) -> int:
        """This process, from 0."""
        return int(self.accelerator.process_index)

    @property
    def count(self) -> int:
        """How many processes there are."""
        return int(self.accelerator.num_processes)

    @property
    def device(self) -> torch.device:
        """Where tensors go."""
        return torch.device(self.accelerator.device)

    def add_up(self, tensor: Tensor) -> Tensor:
        """The sum over processes, the same in each."""
        if self.count == 1:
            return tensor
        total: Tensor = self.accelerator.reduce(tensor, reduction="sum")
        return total

    def share_out(self, count: int) -> slice:
        """The part of `count` consecutive things that is this process's."""
        return slice(count * self.rank // self.count, count * (self.rank + 1) // self.count)


def plan_chunks(lengths: Sequence[int], most_tokens: int) -> list[list[int]]:
    """Places of texts, in chunks of neighbours in length whose rows hold at most `most_tokens` with their padding.

    A text that is longer than that is a chunk of its own. The longest come first, so that memory runs out at once
    or never.
    """
    chunks: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        longest = lengths[chunks[-1][0]] if chunks else 0
        if chunks and longest * (len(chunks[-1]) + 1) <= most_tokens:
            chunks[-1].append(place)
        else:
            chunks.append([place])
    return chunks


def pad_rows(rows: "Sequence[NDArray[np.int32]]", pad: int, device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Token ids int64 [N, L] and their mask, None if no row is padded."""
    longest = max(len(row) for row in rows)
    ids = np.full((len(rows), longest), pad, dtype=np.int64)
    mask = np.zeros((len(rows), longest), dtype=np.int64)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = row
        mask[place, : len(row)] = 1
    full = bool(mask.all())
    return torch.from_numpy(ids).to(device), None if full else torch.from_numpy(mask).to(device)


@dataclass(frozen=True, slots=True, kw_only=True)
class Passes:
    """How texts pass through the network."""

    pad: int
    """Token id that fills rows up."""
    chunk_tokens: int
    """Tokens, padding included, in one pass."""
    keep_tokens: int
    """Tokens that keep their trace."""
    width: int
    """D."""


def accumulate_gradients(
    encoder: TextEncoder, rows: "Sequence[NDArray[np.int32]]", take_loss: Callable[[Tensor], Tensor], workers: Workers,
    passes: Passes, teacher: RowTeacher | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Add to the parameters' gradients those of a loss over all texts of a batch.

    Args:
        encoder: The network.
        rows: Token ids of all N texts, the same in every process.
        take_loss: Gets embeddings [N, D] and calls `backward` on this process's share of the loss.
        workers: This process and the others.
        passes: Sizes.
        teacher: Of token rows, whose loss, a mean over all tokens of the batch, is added.

    Returns:
        What `take_loss` returned, and the teacher's loss: as the gradients, this process's share.
    """
    chunks = _deal_chunks(rows, workers, passes.chunk_tokens)
    embed = _Embedder(encoder, rows, chunks, workers, passes.pad, teacher)
    padded = list(accumulate(len(rows[chunk[0]]) * len(chunk) for chunk in chunks))
    traces: dict[int, tuple[Tensor, Tensor]] = {}
    embeddings = torch.zeros(len(rows), passes.width, device=workers.device)
    for number, chunk in enumerate(chunks):
        with torch.set_grad_enabled(padded[number] <= passes.keep_tokens):
            trace = embed(number)
        embeddings[chunk] = trace[0].detach()
        if trace[0].requires_grad:
            traces[number] = trace
    leaf = workers.add_up(embeddings).requires_grad_()
    result = take_loss(leaf)
    gradients = workers.add_up(torch.zeros_like(leaf) if leaf.grad is None else leaf.grad)
    apart = torch.zeros((), device=workers.device)
    for number, chunk in enumerate(chunks):
        output, distance = traces.pop(number) if number in traces else embed(number)
        ((output * gradients[chunk]).sum() + distance).backward()  # type: ignore[no-untyped-call]
        apart += distance.detach()
    return result, apart


class _Embedder:
    """Passes chunks through the network, each in the same way as often as it is asked for."""

    def __init__(
        self, encoder: TextEncoder, rows: "Sequence[NDArray[np.int32]]", chunks: Sequence[Sequence[int]],
        workers: Workers, pad: int, teacher: RowTeacher | None,
    ) -> None:  # fmt: skip
        self._encoder, self._rows, self._chunks = encoder, rows, chunks
        self._workers, self._pad, self._teacher = workers, pad, teacher
        self._tokens = sum(map(len, rows))
        # One seed a chunk, so that dropout falls alike in both passes.
        self._seeds = torch.randint(2**62, (len(chunks),)).tolist()

    def __call__(self, number: int) -> tuple[Tensor, Tensor]:
        """Embeddings of a chunk, and the chunk's part of the teacher's loss; 0 without a teacher or a gradient."""
        device = self._workers.device
        with _seeded(self._seeds[number], device), self._workers.accelerator.autocast():
            padded = pad_rows([self._rows[at] for at in self._chunks[number]], self._pad, device)
            if self._teacher and torch.is_grad_enabled():
                output, distance = self._teacher.embed(self._encoder, *padded)
                return output.float(), distance / self._tokens
            return self._encoder.embed(*padded).float(), torch.zeros((), device=device)


def _deal_chunks(rows: "Sequence[NDArray[np.int32]]", workers: Workers, most_tokens: int) -> list[list[int]]:
    """This process's texts in chunks: dealt out by length, so that all processes have the same work."""
    order = sorted(range(len(rows)), key=lambda place: len(rows[place]))
    mine = order[workers.rank :: workers.count]
    return [[mine[each] for each in chunk] for chunk in plan_chunks([len(rows[at]) for at in mine], most_tokens)]


class _seeded:  # noqa: N801  reads like a function
    """Random numbers inside the block follow from a seed; those outside go on as if it had not been there."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self._fork = torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
        self._seed = seed

    def __enter__(self) -> None:
        self._fork.__enter__()
        torch.manual_seed(self._seed)

    def __exit__(self, *error: Any) -> None:
        self._fork.__exit__(*error)
