"""Owns what a network that lost layers learns from the whole one: each token's row behind each layer that stayed.

A text has one vector, but dozens of tokens with a row behind every layer: so much more does one reading of the teacher
say. The student's layers are the last ones of equal blocks of the teacher's; each is to give what its block gave.

Shapes: B texts, L tokens, H hidden.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from drama_app.errors import UsageError
from trainer.bidirectional import BidirectionalEncoder
from trainer.encoder import finish_embedding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainer.network import Network


class WholeNetwork:
    """The network before it lost layers, as a teacher of token rows."""

    def __init__(self, network: "Network", layers: Sequence[int], weight: float) -> None:
        """
        Args:
            network: Frozen from here on.
            layers: Which of its layers the student kept, in order.
            weight: Of the loss.

        Raises:
            UsageError: It is an LLM's, whose rows look one way only.
        """
        if not isinstance(network, BidirectionalEncoder):
            raise UsageError("[train] 'row_weight' is for a BERT or XLM-R network that lost layers")
        self.network = network.eval().requires_grad_(False)
        self._layers, self._weight = frozenset(layers), weight
        self._scales: list[float] = [1.0] * len(layers)

    def settle(self, student: "Network", texts: "Sequence[NDArray[np.int32]]") -> None:
        """Move to the student's device, share its token table, and measure how far rows lie apart behind each layer.

        Args:
            student: Whose table is the teacher's and stays so.
            texts: Token rows to measure on, one at a time; the same ones in each process.

        Raises:
            UsageError: The student has not the layers that were named, or is of another width.
        """
        if (len(student.layers), student.config.hidden_size) != (len(self._layers), self.network.config.hidden_size):
            raise UsageError(
                "[train] 'row_weight': what is trained is not the whole network without some of its layers"
            )
        self.network.embed_tokens = student.embed_tokens  # half of all memory
        device = student.embed_tokens.weight.device
        self.network.to(device)
        read = [self._read(torch.from_numpy(text.astype(np.int64))[None].to(device), None) for text in texts]
        self._scales = [float(torch.cat(rows, dim=1)[0].var(dim=0).sum()) for rows in zip(*read, strict=True)]

    def embed(
        self, encoder: BidirectionalEncoder, input_ids: Tensor, attention_mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The student's embeddings, and the loss: squared distance over variance, mean of layers, sum over tokens.

        Args:
            encoder: The student.
            input_ids: int64 [B, L]
            attention_mask: [B, L], or None if no row is padded.
        """
        held = _choose(input_ids, attention_mask)
        loss = torch.zeros((), device=input_ids.device)
        mine = encoder.iterate_rows(input_ids, attention_mask)
        rows = next(mine)
        for rows, wanted, scale in zip(mine, self._read(input_ids, attention_mask), self._scales, strict=True):
            loss = loss + functional.mse_loss(rows[held].float(), wanted[held].float(), reduction="sum") / scale
        embedded = finish_embedding(rows, attention_mask, getattr(encoder, "head", None))
        return embedded, self._weight / len(self._scales) * loss

    @torch.no_grad()
    def _read(self, input_ids: Tensor, attention_mask: Tensor | None) -> list[Tensor]:
        """Rows [B, L, H] behind the layers that the student kept."""
        rows = enumerate(self.network.iterate_rows(input_ids, attention_mask), start=-1)
        return [each for layer, each in rows if layer in self._layers]


def _choose(input_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
    """Tokens that are no padding: bool [B, L]."""
    return torch.ones_like(input_ids, dtype=torch.bool) if attention_mask is None else attention_mask.bool()
