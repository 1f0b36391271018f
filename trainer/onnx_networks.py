"""Owns the two networks as ONNX graphs, node for node what `encoder` and `bidirectional` compute, and the measuring
of activations that decides how their products are quantised.

Shapes: B texts, L tokens, H hidden, N heads, K key-value heads, G heads a key-value head, D head dimension.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from trainer.bidirectional import BidirectionalConfig
from trainer.encoder import EncoderConfig, make_rotation
from trainer.network import Network
from trainer.onnx_graph import Graph, Precision, join_columns

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

_MASKED = -1e9
Loudness = Mapping[str, "Floats"]
"""By the name of a linear part, the largest magnitude of each of its input columns."""


def measure_loudness(network: Network, batches: Iterable[Sequence[int]]) -> Loudness:
    """Run token ids through a network and note the largest magnitude of every input column of every linear part."""
    found: dict[str, torch.Tensor] = {}

    def make_hook(name: str) -> Any:
        def note(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            peak = inputs[0].detach().abs().flatten(0, -2).amax(0).float().cpu()
            found[name] = torch.maximum(found[name], peak) if name in found else peak

        return note

    linear = [(name, part) for name, part in network.named_modules() if isinstance(part, torch.nn.Linear)]
    handles = [part.register_forward_pre_hook(make_hook(name)) for name, part in linear]
    device = next(network.parameters()).device
    try:
        with torch.no_grad():
            for ids in batches:
                network.embed(torch.tensor([list(ids)], device=device))
    finally:
        for handle in handles:
            handle.remove()
    return {name: peak.numpy() for name, peak in found.items()}


def write_graph(
    network: Network, precision: Precision, *, max_tokens: int, width: int, loudness: Loudness | None = None
) -> Any:
    """The network as an ONNX model, weights included.

    Args:
        network: Whose weights.
        precision: How they are stored.
        max_tokens: The longest text that will be fed.
        width: Of the output: the first so many dimensions of an embedding, at most all of them.
        loudness: What `measure_loudness` found; without it nothing is levelled and no unit kept in float32.
    """
    writer = _Writer(network, precision, max_tokens, width, loudness or {})
    if isinstance(network.config, EncoderConfig):
        return writer.write_encoder(network.config)
    return writer.write_bidirectional(network.config)


@dataclass(frozen=True, slots=True)
class _FeedForward:
    """Matrices of one layer's feed-forward block: [H, F] or [H, gate F + up F], and [F, H]."""

    up: "Floats"
    up_bias: "Floats | None"
    down: "Floats"
    down_bias: "Floats | None"


class _Writer:
    """Writes one network into one graph."""

    def __init__(self, network: Network, precision: Precision, max_tokens: int, width: int, loudness: Loudness) -> None:
        self.graph = Graph(precision)
        self.precision, self.max_tokens, self.width, self.loudness = precision, max_tokens, width, loudness
        state = network.state_dict()
        self.state: dict[str, Floats] = {name: each.detach().float().cpu().numpy() for name, each in state.items()}

    def write_encoder(self, config: EncoderConfig) -> Any:
        graph = self.graph
        rows = graph.gather_table("input_ids", self.state["embed_tokens.weight"])
        if config.embedding_scale != 1:
            rows = graph.add("Mul", rows, graph.number(config.embedding_scale))
        self._mask()
        views = {kind: (self._rotation(config, kind), self._bias(config, kind)) for kind in self._kinds(config)}
        is_gemma = config.family == "gemma3"
        for layer in range(config.layers):
            rotation, bias = views[config.slides(layer)]
            prefix = f"layers.{layer}."
            branch = self._attend(config, prefix, self._norm(config, rows, f"{prefix}input_layernorm"), rotation, bias)
            if is_gemma:
                branch = self._norm(config, branch, f"{prefix}post_attention_layernorm")
            rows = graph.add("Add", rows, branch)
            before = "pre_feedforward_layernorm" if is_gemma else "post_attention_layernorm"
            branch = self._feed(config, prefix, self._norm(config, rows, prefix + before))
            if is_gemma:
                branch = self._norm(config, branch, f"{prefix}post_feedforward_layernorm")
            rows = graph.add("Add", rows, branch)
        graph.pool(self._norm(config, rows, "norm"), self._head(), width=self.width)
        return graph.build(self.width)

    def write_bidirectional(self, config: BidirectionalConfig) -> Any:
        graph = self.graph
        rows = graph.gather_table("input_ids", self.state["embed_tokens.weight"])
        self._mask()
        places = graph.store(self.state["positions.weight"][: self.max_tokens], "positions")
        rows = graph.add("Add", rows, graph.add("Slice", places, graph.shape(0), self._length(), graph.shape(0)))
        rows = self._layer_norm(config, rows, "embed_norm")
        bias = graph.add("Unsqueeze", self._key_bias(), graph.shape(1, 2))
        for layer in range(config.layers):
            prefix = f"layers.{layer}."
            names = [prefix + part for part in ("query", "key", "value")]
            weight = join_columns([self._matrix(name) for name in names])
            offset = join_columns([self.state[f"{name}.bias"] for name in names])
            size = config.hidden_size
            # The scale of the products goes into the queries.
            weight[:, :size] *= config.head_dim**-0.5
            offset[:size] *= config.head_dim**-0.5
            joined = graph.product(rows, weight, offset, "qkv", self._levels(names[0], weight))
            query, key, value = graph.add("Split", joined, outputs=3, axis=2, num_outputs=3)
            heads = [self._split_heads(each, config.heads, config.head_dim) for each in (query, key, value)]
            mixed = self._mix_own(*heads, size=size, bias=bias)
            out = self._matrix(f"{prefix}out")
            mixed = graph.product(mixed, out, self.state[f"{prefix}out.bias"], "out", self._levels(f"{prefix}out", out))
            rows = self._layer_norm(config, graph.add("Add", rows, mixed), f"{prefix}out_norm")
            block = _FeedForward(
                self._matrix(f"{prefix}up"),
                self.state[f"{prefix}up.bias"],
                self._matrix(f"{prefix}down"),
                self.state[f"{prefix}down.bias"],
            )
            fed = self._run_block(rows, block, f"{prefix}up", f"{prefix}down", self._activate_gelu)
            rows = self._layer_norm(config, graph.add("Add", rows, fed), f"{prefix}down_norm")
        graph.pool(rows, self._head(), width=self.width)
        return graph.build(self.width)

    def _attend(self, config: EncoderConfig, prefix: str, rows: str, rotation: tuple[str, str], bias: str) -> str:
        graph, prefix = self.graph, f"{prefix}self_attn."
        weight = join_columns([self._matrix(f"{prefix}{part}_proj") for part in "qkv"])
        has_norms = config.family != "llama"
        widths = [config.heads * config.head_dim, *[config.kv_heads * config.head_dim] * 2]
        if not has_norms:  # the scale of the products goes into the queries, or below into their norm
            weight[:, : widths[0]] *= config.attention_scale
        joined = graph.product(rows, weight, None, "qkv", self._levels(f"{prefix}q_proj", weight))
        parts = graph.add("Split", joined, graph.shape(*widths), outputs=3, axis=2)
        heads = []
        for part, value in zip("qkv", parts, strict=True):
            count = config.heads if part == "q" else config.kv_heads
            value = graph.add("Reshape", value, graph.shape(0, 0, count, config.head_dim))
            if has_norms and part != "v":
                scale = config.attention_scale if part == "q" else 1.0
                value = self._norm(config, value, f"{prefix}{part}_norm", scale=scale)
            value = graph.add("Transpose", value, perm=[0, 2, 1, 3])
            if part != "v":
                start = graph.shape(0)
                value = graph.add("RotaryEmbedding", value, start, *rotation, domain="com.microsoft", interleaved=0)
            heads.append(value)
        shared = config.heads // config.kv_heads
        mixed = self._mix(*heads, heads=config.heads, shared=shared, head_dim=config.head_dim, bias=bias)
        out = self._matrix(f"{prefix}o_proj")
        return graph.product(mixed, out, None, "out", self._levels(f"{prefix}o_proj", out))

    def _mix(self, query: str, key: str, value: str, *, heads: int, shared: int, head_dim: int, bias: str) -> str:
        """Attention of queries [B, N, L, D] over keys and values [B, K, L, D], as rows [B, L, N * D]."""
        graph, groups = self.graph, heads // shared
        # [B, K, G, L, D] against [B, K, 1, L, D]: shared heads need no copies.
        query = graph.add("Reshape", query, graph.shape(0, groups, shared, -1, head_dim))
        key, value = (graph.add("Unsqueeze", each, graph.shape(2)) for each in (key, value))
        scores = graph.add("MatMul", query, graph.add("Transpose", key, perm=[0, 1, 2, 4, 3]))
        weights = graph.add("Softmax", graph.add("Add", scores, bias), axis=-1)
        mixed = graph.add("MatMul", weights, value)
        mixed = graph.add("Transpose", mixed, perm=[0, 3, 1, 2, 4])  # [B, L, K, G, D]
        return str(graph.add("Reshape", mixed, graph.shape(0, 0, heads * head_dim)))

    def _mix_own(self, query: str, key: str, value: str, *, size: int, bias: str) -> str:
        """Attention where each head has its own keys and values, all [B, N, L, D], as rows [B, L, N * D]."""
        graph = self.graph
        scores = graph.add("MatMul", query, graph.add("Transpose", key, perm=[0, 1, 3, 2]))
        weights = graph.add("Softmax", graph.add("Add", scores, bias), axis=-1)
        mixed = graph.add("Transpose", graph.add("MatMul", weights, value), perm=[0, 2, 1, 3])  # [B, L, N, D]
        return str(graph.add("Reshape", mixed, graph.shape(0, 0, size)))

    def _feed(self, config: EncoderConfig, prefix: str, rows: str) -> str:
        prefix = f"{prefix}mlp."
        block = _FeedForward(
            join_columns([self._matrix(f"{prefix}{part}_proj") for part in ("gate", "up")]),
            None,
            self._matrix(f"{prefix}down_proj"),
            None,
        )
        activate = self._activate_geglu if config.family == "gemma3" else self._activate_swiglu
        return self._run_block(rows, block, f"{prefix}gate_proj", f"{prefix}down_proj", activate)

    def _run_block(self, rows: str, block: _FeedForward, up: str, down: str, activate: Any) -> str:
        """Up, activation, down; the loudest units apart in float32, so that they set no scale."""
        import numpy as np

        graph, units = self.graph, len(block.down)
        loud = self._choose_loud(down, block.down)
        aside = ""
        if len(loud):
            columns = np.concatenate([loud + start for start in range(0, block.up.shape[1], units)])
            bias = None if block.up_bias is None else block.up_bias[columns]
            exact = graph.add("MatMul", rows, graph.store(block.up[:, columns]))
            exact = exact if bias is None else graph.add("Add", exact, graph.store(bias))
            aside = graph.add("MatMul", activate(exact), graph.store(block.down[loud]))
            block = _silence(block, columns, loud)
        inner = activate(graph.product(rows, block.up, block.up_bias, "up", self._levels(up, block.up)))
        fed = graph.product(inner, block.down, block.down_bias, "down", self._levels(down, block.down))
        return str(graph.add("Add", fed, aside) if aside else fed)

    def _choose_loud(self, name: str, weight: "Floats") -> "NDArray[np.int64]":
        """The units whose activations reach furthest, if they are quantised at all."""
        import numpy as np

        count = self.precision.loud_units
        quantised = self.precision.products == "int8" and "down" not in self.precision.keep
        if not count or not quantised or name not in self.loudness or len(weight) <= 2 * count:
            return np.zeros(0, dtype=np.int64)
        return np.sort(np.argsort(-self.loudness[name])[:count])

    def _levels(self, name: str, weight: "Floats") -> "Floats | None":
        """What each input column is divided by: loud ones more, those with large weights less; [K] or None."""
        import numpy as np

        share = self.precision.smoothing
        if not share or name not in self.loudness:
            return None
        loud = np.maximum(self.loudness[name], 1e-5)
        heavy = np.maximum(np.abs(weight).max(axis=1), 1e-5)
        levels = loud**share / heavy ** (1 - share)
        return np.asarray(levels / np.exp(np.log(levels).mean()), dtype=np.float32)

    def _activate_gelu(self, inner: str) -> str:
        return str(self.graph.add("Gelu", inner, approximate="none"))

    def _activate_geglu(self, inner: str) -> str:
        gate, up = self.graph.add("Split", inner, outputs=2, axis=2, num_outputs=2)
        return str(self.graph.add("Mul", self.graph.add("Gelu", gate, approximate="tanh"), up))

    def _activate_swiglu(self, inner: str) -> str:
        gate, up = self.graph.add("Split", inner, outputs=2, axis=2, num_outputs=2)
        gate = self.graph.add("Mul", gate, self.graph.add("Sigmoid", gate))
        return str(self.graph.add("Mul", gate, up))

    def _split_heads(self, rows: str, heads: int, head_dim: int) -> str:
        value = self.graph.add("Reshape", rows, self.graph.shape(0, 0, heads, head_dim))
        return str(self.graph.add("Transpose", value, perm=[0, 2, 1, 3]))

    def _norm(self, config: EncoderConfig, rows: str, name: str, *, scale: float = 1.0) -> str:
        weight = (self.state[f"{name}.weight"] + (1.0 if config.family == "gemma3" else 0.0)) * scale
        stored = self.graph.store(weight.astype("float32"))
        return str(self.graph.add("SimplifiedLayerNormalization", rows, stored, axis=-1, epsilon=config.norm_eps))

    def _layer_norm(self, config: BidirectionalConfig, rows: str, name: str) -> str:
        parts = [self.graph.store(self.state[f"{name}.{part}"]) for part in ("weight", "bias")]
        return str(self.graph.add("LayerNormalization", rows, *parts, axis=-1, epsilon=config.norm_eps))

    def _mask(self) -> None:
        from onnx import TensorProto

        self.graph.rename(self.graph.add("Cast", "attention_mask", to=TensorProto.FLOAT), "mask")

    def _length(self) -> str:
        return str(self.graph.add("Shape", "input_ids", start=1, end=2))

    def _key_bias(self) -> str:
        """0 for tokens and a large negative number for padding, [B, L]."""
        empty = self.graph.add("Sub", self.graph.number(1.0), "mask")
        return str(self.graph.add("Mul", empty, self.graph.number(_MASKED)))

    def _kinds(self, config: EncoderConfig) -> set[bool]:
        return {config.slides(layer) for layer in range(config.layers)}

    def _bias(self, config: EncoderConfig, sliding: bool) -> str:
        """What is added to scores: [B, 1, 1, 1 or L, L], by padding and, where it matters, by distance."""
        from onnx import TensorProto

        graph = self.graph
        bias = str(graph.add("Unsqueeze", self._key_bias(), graph.shape(1, 2, 3)))
        reach = (config.window if config.causal else config.window // 2 + 1) if sliding else self.max_tokens
        if not config.causal and reach >= self.max_tokens:
            return bias
        length = graph.add("Squeeze", self._length())
        zero, one = (graph.store(torch.tensor(value).numpy()) for value in (0, 1))
        places = graph.add("Range", zero, length, one)
        back = graph.add("Sub", graph.add("Unsqueeze", places, graph.shape(1)), places)  # [L, L]
        limit = graph.store(torch.tensor(reach).numpy())
        far = graph.add("GreaterOrEqual", back if config.causal else graph.add("Abs", back), limit)
        if config.causal:
            far = graph.add("Or", far, graph.add("Less", back, zero))
        far = graph.add("Mul", graph.add("Cast", far, to=TensorProto.FLOAT), graph.number(_MASKED))
        return str(graph.add("Add", bias, far))

    def _rotation(self, config: EncoderConfig, sliding: bool) -> tuple[str, str]:
        """Cosines and sines [max tokens, D / 2]."""
        tables = make_rotation(config, self.max_tokens, torch.device("cpu"), sliding=sliding)
        cosines, sines = (self.graph.store(table[:, : config.head_dim // 2].numpy()) for table in tables)
        return cosines, sines

    def _matrix(self, name: str) -> "Floats":
        """A linear part's weight as [in, out]."""
        return self.state[f"{name}.weight"].T.copy()

    def _head(self) -> "tuple[Floats, Floats] | None":
        return (self._matrix("head"), self.state["head.bias"]) if "head.weight" in self.state else None


def _silence(block: _FeedForward, columns: "NDArray[np.int64]", units: "NDArray[np.int64]") -> _FeedForward:
    """The block with these units always 0."""
    up, down = block.up.copy(), block.down.copy()
    up[:, columns] = 0
    down[units] = 0
    bias = None if block.up_bias is None else block.up_bias.copy()
    if bias is not None:
        bias[columns] = 0
    return _FeedForward(up, bias, down, block.down_bias)
