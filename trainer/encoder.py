"""Owns the network for LLM backbones: Llama 3, Qwen3 and Gemma 3 text, causal or bidirectional, mean pooled.

Parameters are named as `transformers` names those of its headless models, so that a checkpoint's keys are this
network's keys. It loads no file, knows no tokenizer, and is told nothing about training but gradient checkpointing.

Shapes: B texts, L tokens, H hidden, N heads, K key-value heads, D head dimension, F feed-forward width.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from trainer.gradients import scale_rows, turn_pairs

Family = Literal["llama", "qwen3", "gemma3"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RopeScaling:
    """How rotary frequencies are stretched for contexts longer than the first training's."""

    kind: Literal["llama3", "linear"]
    factor: float
    low_frequency_factor: float = 1.0
    high_frequency_factor: float = 4.0
    original_positions: int = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderConfig:
    """The shape of a network of the LLM families; every layer has the same widths."""

    family: Family
    vocab_size: int
    hidden_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn_size: int
    norm_eps: float = 1e-5
    rope_theta: float = 500_000.0
    rope_scaling: RopeScaling | None = None
    local_rope_theta: float = 10_000.0
    """Base of the layers that see a window only; stretched by nothing."""
    window: int = 0
    """Tokens that a sliding layer sees: this many back if causal, half on each side if not; 0 is all."""
    sliding: tuple[bool, ...] = ()
    """Which layers slide, one entry a layer; empty is none."""
    query_scale: float | None = None
    """What a query-key product is multiplied by; None is 1 / sqrt(head_dim)."""
    embedding_scale: float = 1.0
    """What token rows are multiplied by. Stays as it was when hidden columns are cut."""
    max_tokens: int = 8192
    causal: bool = False
    lm_head: Literal["none", "tied", "own"] = "none"
    output_size: int = 0
    """Width of a linear head with bias on the normalised mean; 0 is no head."""

    def __post_init__(self) -> None:
        if self.heads % self.kv_heads:
            raise ValueError(f"{self.heads} heads cannot share {self.kv_heads} key-value heads evenly")
        if self.head_dim % 2:
            raise ValueError(f"a head of {self.head_dim} dimensions cannot be rotated in pairs")
        if self.sliding and len(self.sliding) != self.layers:
            raise ValueError(f"'sliding' speaks of {len(self.sliding)} layers, the network has {self.layers}")

    @property
    def dim(self) -> int:
        """Width of an embedding."""
        return self.output_size or self.hidden_size

    @property
    def attention_scale(self) -> float:
        """What a query-key product is multiplied by."""
        return self.head_dim**-0.5 if self.query_scale is None else self.query_scale

    def slides(self, layer: int) -> bool:
        """Whether a layer sees only its window."""
        return bool(self.window and self.sliding and self.sliding[layer])


@dataclass(frozen=True, slots=True, kw_only=True)
class Masks:
    """Factors (0 to 1) on parts of a network while it is being pruned; None leaves a kind alone.

    A part with factor 0 must act as if it were not there, so a norm counts only the hidden columns that survive.
    """

    hidden: Tensor | None = None
    """[H], shared by all layers."""
    heads: Tensor | None = None
    """[layers, N]"""
    ffn: Tensor | None = None
    """[layers, F]"""
    layers: Tensor | None = None
    """[layers, 2]: attention and feed-forward block; [layers] serves both."""

    def of_layer(self, index: int) -> "LayerMasks":
        """The factors that one layer needs."""
        blocks = None if self.layers is None else self.layers[index].expand(2)
        return LayerMasks(
            hidden=self.hidden,
            heads=None if self.heads is None else self.heads[index],
            ffn=None if self.ffn is None else self.ffn[index],
            attention_block=None if blocks is None else blocks[0],
            ffn_block=None if blocks is None else blocks[1],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerMasks:
    """The factors of one layer."""

    hidden: Tensor | None = None
    heads: Tensor | None = None
    ffn: Tensor | None = None
    attention_block: Tensor | None = None
    ffn_block: Tensor | None = None


NO_MASKS = LayerMasks()


class RootMeanSquareNorm(nn.Module):
    """Scales rows to a mean square of one, in float32, then by a weight (Gemma stores the weight less one)."""

    def __init__(self, size: int, eps: float, *, offset: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((size,), 1.0 - offset))
        self.eps, self.offset = eps, offset

    def forward(self, rows: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Normalised rows [..., H]; with factors `hidden` the mean is over those columns that are not 0."""
        wide, weight = rows.float(), self.weight.float() + self.offset
        if hidden is None:
            return scale_rows(wide, weight, self.eps).to(rows.dtype)
        mean_square = wide.pow(2).sum(-1, keepdim=True) / hidden.ne(0).sum().clamp(min=1)
        return (wide * torch.rsqrt(mean_square + self.eps) * weight).to(rows.dtype)


class Attention(nn.Module):
    """Multi-head attention with rotary positions; key-value heads may be fewer than heads."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        hidden, width = config.hidden_size, config.heads * config.head_dim
        self.q_proj = nn.Linear(hidden, width, bias=False)
        self.k_proj = nn.Linear(hidden, config.kv_heads * config.head_dim, bias=False)
        self.v_proj = nn.Linear(hidden, config.kv_heads * config.head_dim, bias=False)
        self.o_proj = nn.Linear(width, hidden, bias=False)
        if config.family != "llama":
            offset = _norm_offset(config.family)
            self.q_norm = RootMeanSquareNorm(config.head_dim, config.norm_eps, offset=offset)
            self.k_norm = RootMeanSquareNorm(config.head_dim, config.norm_eps, offset=offset)

    def forward(self, rows: Tensor, rotation: Tensor, allowed: Tensor | None, heads: Tensor | None) -> Tensor:
        """Rows [B, L, H] to [B, L, H]; `rotation` [2, L, D], `allowed` bool [B or 1, 1, L or 1, L] or None."""
        config, (batch, length, _) = self.config, rows.shape
        query = self.q_proj(rows).view(batch, length, config.heads, config.head_dim)
        key = self.k_proj(rows).view(batch, length, config.kv_heads, config.head_dim)
        value = self.v_proj(rows).view(batch, length, config.kv_heads, config.head_dim).transpose(1, 2)
        if config.family != "llama":
            query, key = self.q_norm(query), self.k_norm(key)
        query, key = rotate(query.transpose(1, 2), rotation), rotate(key.transpose(1, 2), rotation)
        # Repeated here, for with a padding mask CUDA has no fused kernel that shares heads, and falls back to a
        # product of [B, N, L, L] in memory.
        shared = config.heads // config.kv_heads
        if shared > 1:
            key, value = key.repeat_interleave(shared, dim=1), value.repeat_interleave(shared, dim=1)
        mixed = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=allowed, scale=config.attention_scale
        )  # [B, N, L, D]
        if heads is not None:
            mixed = mixed * heads[:, None, None].to(mixed.dtype)
        projected: Tensor = self.o_proj(mixed.transpose(1, 2).reshape(batch, length, -1))
        return projected


class FeedForward(nn.Module):
    """A gated pair of projections: SwiGLU, or GeGLU (tanh) for Gemma."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.family = config.family
        self.gate_proj = nn.Linear(config.hidden_size, config.ffn_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.ffn_size, bias=False)
        self.down_proj = nn.Linear(config.ffn_size, config.hidden_size, bias=False)

    def forward(self, rows: Tensor, units: Tensor | None) -> Tensor:
        """Rows [B, L, H] to [B, L, H]; `units` [F] are factors on the hidden units."""
        gate = self.gate_proj(rows)
        gate = functional.gelu(gate, approximate="tanh") if self.family == "gemma3" else functional.silu(gate)
        inner = gate * self.up_proj(rows)  # [B, L, F]
        if units is not None:
            inner = inner * units.to(inner.dtype)
        projected: Tensor = self.down_proj(inner)
        return projected


class Layer(nn.Module):
    """Attention and feed-forward on a residual stream; Gemma has a norm on both sides of each, the others before."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.gemma = config.family == "gemma3"
        offset = _norm_offset(config.family)

        def make_norm() -> RootMeanSquareNorm:
            return RootMeanSquareNorm(config.hidden_size, config.norm_eps, offset=offset)

        self.self_attn = Attention(config)
        self.mlp = FeedForward(config)
        self.input_layernorm = make_norm()
        self.post_attention_layernorm = make_norm()
        if self.gemma:
            self.pre_feedforward_layernorm = make_norm()
            self.post_feedforward_layernorm = make_norm()

    def forward(self, rows: Tensor, rotation: Tensor, allowed: Tensor | None, masks: LayerMasks = NO_MASKS) -> Tensor:
        """The residual stream [B, L, H] after this layer."""
        hidden = masks.hidden
        branch = self.self_attn(self.input_layernorm(rows, hidden), rotation, allowed, masks.heads)
        branch = _scale(branch, hidden)
        if self.gemma:
            branch = self.post_attention_layernorm(branch, hidden)
        rows = rows + _scale(branch, masks.attention_block)
        norm = self.pre_feedforward_layernorm if self.gemma else self.post_attention_layernorm
        branch = _scale(self.mlp(norm(rows, hidden), masks.ffn), hidden)
        if self.gemma:
            branch = self.post_feedforward_layernorm(branch, hidden)
        return rows + _scale(branch, masks.ffn_block)


class Encoder(nn.Module):
    """Token ids to contextual rows, embeddings or next-token logits."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.gradient_checkpointing = False
        """Keep one activation a layer and compute the rest again in the backward pass: about a third more time."""
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = RootMeanSquareNorm(config.hidden_size, config.norm_eps, offset=_norm_offset(config.family))
        if config.lm_head == "own":
            self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        if config.output_size:
            self.head = nn.Linear(config.hidden_size, config.output_size)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, masks: Masks | None = None) -> Tensor:
        """Contextual rows [B, L, H] after the last norm.

        Args:
            input_ids: int64 [B, L], padded on the right.
            attention_mask: [B, L], 1 for tokens and 0 for padding; None says that there is no padding, which lets
                attention run without a mask.
            masks: Factors of a pruning in progress.
        """
        config = self.config
        rows = self.embed_tokens(input_ids) * config.embedding_scale
        rows = _scale(rows, None if masks is None else masks.hidden)
        allowed = make_attention_mask(config, attention_mask, input_ids.shape[1], rows.device, sliding=False)
        rotation = make_rotation(config, input_ids.shape[1], rows.device, sliding=False)
        near, near_rotation = allowed, rotation
        if any(config.slides(index) for index in range(config.layers)):
            near = make_attention_mask(config, attention_mask, input_ids.shape[1], rows.device, sliding=True)
            near_rotation = make_rotation(config, input_ids.shape[1], rows.device, sliding=True)
        for index, layer in enumerate(self.layers):
            seen = (near_rotation, near) if config.slides(index) else (rotation, allowed)
            factors = NO_MASKS if masks is None else masks.of_layer(index)
            if self.gradient_checkpointing and self.training:
                rows = checkpoint(layer, rows, *seen, factors, use_reentrant=False)
            else:
                rows = layer(rows, *seen, factors)
        last: Tensor = self.norm(rows, None if masks is None else masks.hidden)
        return last

    def embed(self, input_ids: Tensor, attention_mask: Tensor | None = None, masks: Masks | None = None) -> Tensor:
        """Embeddings float32 [B, dim], not normalised."""
        return finish_embedding(self(input_ids, attention_mask, masks), attention_mask, getattr(self, "head", None))

    def predict(self, rows: Tensor) -> Tensor:
        """Next-token logits [..., vocabulary] of contextual rows [..., H].

        Raises:
            ValueError: The network has no language-model head.
        """
        if self.config.lm_head == "none":
            raise ValueError("this network has no language-model head")
        weight = self.lm_head.weight if self.config.lm_head == "own" else self.embed_tokens.weight
        return functional.linear(rows, weight)


def finish_embedding(rows: Tensor, attention_mask: Tensor | None, head: nn.Module | None) -> Tensor:
    """Mean of rows [B, L, H] over the mask, float32 [B, H]; with a head: normalised, then through it."""
    rows = rows.float()
    if attention_mask is None:
        mean = rows.mean(1)
    else:
        weights = attention_mask.to(rows.dtype).unsqueeze(-1)
        mean = (rows * weights).sum(1) / weights.sum(1).clamp(min=1)
    if head is None:
        return mean
    unit = functional.normalize(mean, dim=-1)
    projected: Tensor = head(unit)
    return projected.float()


def make_attention_mask(
    config: EncoderConfig, attention_mask: Tensor | None, length: int, device: torch.device, *, sliding: bool
) -> Tensor | None:
    """Which keys each query may see: bool [B or 1, 1, L or 1, L], or None if all may see all.

    A padded query may see itself, so that no row of a softmax is empty.
    """
    keys = None if attention_mask is None else attention_mask[:, None, None, :].bool()  # [B, 1, 1, L]
    # Bidirectional layers see half a window on each side, so that the span is the one the weights were trained for.
    reach = (config.window if config.causal else config.window // 2 + 1) if sliding else length
    if not config.causal and reach >= length:
        return keys
    place = torch.arange(length, device=device)
    back = place[:, None] - place[None, :]  # [L, L]
    seen = (back >= 0) & (back < reach) if config.causal else back.abs() < reach
    if keys is None:
        return seen[None, None]
    return (seen & keys) | (back == 0)


def make_rotation(config: EncoderConfig, length: int, device: torch.device, *, sliding: bool) -> Tensor:
    """Cosines and sines float32 [2, L, D] of the rotary positions 0 to L - 1."""
    theta = config.local_rope_theta if sliding else config.rope_theta
    exponents = torch.arange(0, config.head_dim, 2, dtype=torch.float32, device=device) / config.head_dim
    frequencies = 1.0 / theta**exponents  # [D / 2]
    if config.rope_scaling is not None and not sliding:
        frequencies = _stretch(frequencies, config.rope_scaling)
    places = torch.arange(length, dtype=torch.float32, device=device)
    angles = torch.outer(places, frequencies).repeat(1, 2)  # [L, D]
    return torch.stack([angles.cos(), angles.sin()])


def rotate(heads: Tensor, rotation: Tensor) -> Tensor:
    """Turn each pair (i, i + D/2) of [B, N, L, D] by its position's angle."""
    cosines, sines = rotation.to(heads.dtype)[..., : heads.shape[-1] // 2]
    return turn_pairs(heads, cosines, sines)


def _stretch(frequencies: Tensor, scaling: RopeScaling) -> Tensor:
    """Llama 3: long waves are stretched by the factor, short ones kept, those between in proportion."""
    if scaling.kind == "linear":
        return frequencies / scaling.factor
    low, high = scaling.low_frequency_factor, scaling.high_frequency_factor
    turns = scaling.original_positions * frequencies / (2 * math.pi)
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    return frequencies * (kept + (1 - kept) / scaling.factor)


def _norm_offset(family: Family) -> float:
    return 1.0 if family == "gemma3" else 0.0


def _scale(rows: Tensor, factors: Tensor | None) -> Tensor:
    return rows if factors is None else rows * factors.to(rows.dtype)
