"""Owns the network for encoders that are bidirectional from the start: BERT and XLM-R shapes, mean pooled.

Learned positions count from 0 and hold the first token type's row already, whatever the checkpoint had: then BERT,
XLM-R and the shipped retriever are one network. It loads no file and knows no tokenizer.

Shapes: B texts, L tokens, H hidden, N heads, D head dimension, F feed-forward width.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from trainer.encoder import finish_embedding


@dataclass(frozen=True, slots=True, kw_only=True)
class BidirectionalConfig:
    """The shape of a BERT or XLM-R encoder."""

    vocab_size: int
    hidden_size: int
    layers: int
    heads: int
    ffn_size: int
    max_tokens: int = 512
    norm_eps: float = 1e-12
    output_size: int = 0
    """Width of a linear head with bias on the normalised mean; 0 is no head."""

    def __post_init__(self) -> None:
        if self.hidden_size % self.heads:
            raise ValueError(f"{self.hidden_size} hidden columns cannot be split into {self.heads} heads")

    @property
    def dim(self) -> int:
        """Width of an embedding."""
        return self.output_size or self.hidden_size

    @property
    def head_dim(self) -> int:
        """Width of an attention head."""
        return self.hidden_size // self.heads


class PostNormLayer(nn.Module):
    """Attention, then GELU feed-forward, each followed by a norm over branch and residual."""

    def __init__(self, config: BidirectionalConfig) -> None:
        super().__init__()
        hidden = config.hidden_size
        self.heads, self.head_dim = config.heads, config.head_dim
        self.query = nn.Linear(hidden, hidden)
        self.key = nn.Linear(hidden, hidden)
        self.value = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, hidden)
        self.out_norm = nn.LayerNorm(hidden, eps=config.norm_eps)
        self.up = nn.Linear(hidden, config.ffn_size)
        self.down = nn.Linear(config.ffn_size, hidden)
        self.down_norm = nn.LayerNorm(hidden, eps=config.norm_eps)

    def forward(self, rows: Tensor, allowed: Tensor | None) -> Tensor:
        """Rows [B, L, H] to [B, L, H]; `allowed` bool [B, 1, 1, L], or None if every token may be seen."""
        batch, length, _ = rows.shape
        query, key, value = (
            project(rows).view(batch, length, self.heads, self.head_dim).transpose(1, 2)
            for project in (self.query, self.key, self.value)
        )  # [B, N, L, D] each
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        rows = self.out_norm(rows + self.out(mixed.transpose(1, 2).reshape(batch, length, -1)))
        normed: Tensor = self.down_norm(rows + self.down(functional.gelu(self.up(rows))))
        return normed


class BidirectionalEncoder(nn.Module):
    """Token ids to contextual rows or embeddings."""

    def __init__(self, config: BidirectionalConfig) -> None:
        super().__init__()
        self.config = config
        self.gradient_checkpointing = False
        """Keep one activation a layer and compute the rest again in the backward pass: about a third more time."""
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.positions = nn.Embedding(config.max_tokens, config.hidden_size)
        self.embed_norm = nn.LayerNorm(config.hidden_size, eps=config.norm_eps)
        self.layers = nn.ModuleList(PostNormLayer(config) for _ in range(config.layers))
        if config.output_size:
            self.head = nn.Linear(config.hidden_size, config.output_size)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Contextual rows [B, L, H].

        Args:
            input_ids: int64 [B, L], padded on the right.
            attention_mask: [B, L], 1 for tokens and 0 for padding; None says that there is no padding.

        Raises:
            ValueError: The texts are longer than the table of positions.
        """
        for rows in self.iterate_rows(input_ids, attention_mask):  # noqa: B007  the last ones are what is wanted
            pass
        return rows

    def iterate_rows(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Iterator[Tensor]:
        """Rows [B, L, H] before the first layer and after each; arguments and errors as in `forward`."""
        length = input_ids.shape[1]
        if length > self.config.max_tokens:
            raise ValueError(f"{length} tokens, but this network has positions for {self.config.max_tokens}")
        places = torch.arange(length, device=input_ids.device)
        rows: Tensor = self.embed_norm(self.embed_tokens(input_ids) + self.positions(places))
        yield rows
        allowed = None if attention_mask is None else attention_mask[:, None, None, :].bool()
        for layer in self.layers:
            if self.gradient_checkpointing and self.training:
                rows = checkpoint(layer, rows, allowed, use_reentrant=False)
            else:
                rows = layer(rows, allowed)
            yield rows

    def embed(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Embeddings float32 [B, dim], not normalised."""
        return finish_embedding(self(input_ids, attention_mask), attention_mask, getattr(self, "head", None))
