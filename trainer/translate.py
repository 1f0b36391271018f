"""Owns the translation of `transformers` checkpoints: their `config.json` and tensor names into this trainer's.

It reads no file, and refuses what the two networks cannot compute rather than computing something near it.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor

from drama_app.errors import RetrieverError
from trainer.bidirectional import BidirectionalConfig
from trainer.encoder import EncoderConfig, Family, RopeScaling
from trainer.network import NetworkConfig

_FAMILIES: dict[str, Family] = {"llama": "llama", "qwen3": "qwen3", "gemma3_text": "gemma3", "gemma3": "gemma3"}
_BIDIRECTIONAL = ("bert", "xlm-roberta")
SUPPORTED = (*_FAMILIES, *_BIDIRECTIONAL)
"""Values of `model_type` that can be read."""

_BERT_NAMES = (
    (r"^embeddings\.word_embeddings\.", "embed_tokens."),
    (r"^embeddings\.position_embeddings\.", "positions."),
    (r"^embeddings\.LayerNorm\.", "embed_norm."),
    (r"^encoder\.layer\.(\d+)\.attention\.self\.(query|key|value)\.", r"layers.\1.\2."),
    (r"^encoder\.layer\.(\d+)\.attention\.output\.dense\.", r"layers.\1.out."),
    (r"^encoder\.layer\.(\d+)\.attention\.output\.LayerNorm\.", r"layers.\1.out_norm."),
    (r"^encoder\.layer\.(\d+)\.intermediate\.dense\.", r"layers.\1.up."),
    (r"^encoder\.layer\.(\d+)\.output\.dense\.", r"layers.\1.down."),
    (r"^encoder\.layer\.(\d+)\.output\.LayerNorm\.", r"layers.\1.down_norm."),
)
_IGNORED = re.compile(
    r"^(pooler|cls|lm_head|qa_outputs|classifier)\.|position_ids$|token_type_ids$|rotary_emb\.inv_freq$"
)


def translate_config(stated: Mapping[str, Any]) -> NetworkConfig:
    """The network that a `config.json` of `transformers` describes.

    Raises:
        RetrieverError: The architecture, or a variant of it, is not one that the trainer computes.
    """
    kind = str(stated.get("model_type", ""))
    if kind == "gemma3" and isinstance(stated.get("text_config"), dict):
        stated = stated["text_config"]
    try:
        if kind in _BIDIRECTIONAL:
            return _translate_bidirectional(stated, kind)
        if kind in _FAMILIES:
            return _translate_family(stated, _FAMILIES[kind])
    except KeyError as error:
        raise RetrieverError(f"the model's config.json lacks {error}") from None
    raise RetrieverError(
        f"the architecture {kind or '(none stated)'!r} is not supported; supported are {', '.join(SUPPORTED)}"
    )


def translate_weights(config: NetworkConfig, tensors: Mapping[str, Tensor], *, offset: int = 0) -> dict[str, Tensor]:
    """Tensors under this trainer's names, with nothing that the network does not use.

    Args:
        config: The network to be filled.
        tensors: A checkpoint's tensors under the names of `transformers`, with or without its outer prefix.
        offset: Rows of the position table before position 0 (2 in XLM-R).
    """
    if isinstance(config, BidirectionalConfig):
        return _translate_bert_weights(tensors, offset)
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        name = re.sub(r"^(language_model\.)?(model\.)?(language_model\.)?", "", name)
        is_wanted_head = name == "lm_head.weight" and config.lm_head == "own"
        if is_wanted_head or not _IGNORED.search(name):
            found[name] = tensor
    return found


def count_position_offset(stated: Mapping[str, Any]) -> int:
    """Rows that a checkpoint's position table holds before position 0."""
    return int(stated.get("pad_token_id") or 0) + 1 if stated.get("model_type") == "xlm-roberta" else 0


def name_bert_tensors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A bidirectional network's tensors under the names of `transformers`; the head keeps its own."""
    inner = {"query": "self.query", "key": "self.key", "value": "self.value"}
    outer = {
        "out": "attention.output.dense",
        "out_norm": "attention.output.LayerNorm",
        "up": "intermediate.dense",
        "down": "output.dense",
        "down_norm": "output.LayerNorm",
    }
    names = {key: f"attention.{value}" for key, value in inner.items()} | outer
    top = {"embed_tokens": "word_embeddings", "positions": "position_embeddings", "embed_norm": "LayerNorm"}
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        parts = name.split(".")
        if parts[0] == "layers":
            name = f"encoder.layer.{parts[1]}.{names[parts[2]]}.{parts[3]}"
        elif parts[0] in top:
            name = f"embeddings.{top[parts[0]]}.{parts[1]}"
        found[name] = tensor
    return found


def _translate_bert_weights(tensors: Mapping[str, Tensor], offset: int) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    first_type: Tensor | None = None
    for name, tensor in tensors.items():
        name = re.sub(r"^(bert|roberta|model)\.", "", name)
        if name == "embeddings.token_type_embeddings.weight":
            first_type = tensor[0]
            continue
        for pattern, ours in _BERT_NAMES:
            name = re.sub(pattern, ours, name)
        if not _IGNORED.search(name):
            found[name] = tensor
    if "positions.weight" in found:
        table = found["positions.weight"][offset:]
        found["positions.weight"] = table if first_type is None else table + first_type
    return found


def _translate_bidirectional(stated: Mapping[str, Any], kind: str) -> BidirectionalConfig:
    _require(stated, hidden_act=("gelu",), position_embedding_type=("absolute", None), is_decoder=(False, None))
    return BidirectionalConfig(
        vocab_size=stated["vocab_size"],
        hidden_size=stated["hidden_size"],
        layers=stated["num_hidden_layers"],
        heads=stated["num_attention_heads"],
        ffn_size=stated["intermediate_size"],
        max_tokens=stated["max_position_embeddings"] - count_position_offset({**stated, "model_type": kind}),
        norm_eps=stated.get("layer_norm_eps", 1e-12),
    )


def _translate_family(stated: Mapping[str, Any], family: Family) -> EncoderConfig:
    _require(
        stated,
        attention_bias=(False, None),
        mlp_bias=(False, None),
        use_sliding_window=(False, None),
        attn_logit_softcapping=(None,),
    )
    heads, layers, hidden = stated["num_attention_heads"], stated["num_hidden_layers"], stated["hidden_size"]
    is_gemma = family == "gemma3"
    head_dim = stated.get("head_dim") or hidden // heads
    tied = stated.get("tie_word_embeddings")
    bidirectional = _is_bidirectional(stated)
    theta, scaling = _read_rope(stated, "full_attention", 1_000_000.0 if is_gemma else 10_000.0)
    activation = "gelu_pytorch_tanh" if is_gemma else "silu"
    _require(stated, **{"hidden_activation" if is_gemma else "hidden_act": (activation, None)})
    return EncoderConfig(
        family=family,
        vocab_size=stated["vocab_size"],
        hidden_size=hidden,
        layers=layers,
        heads=heads,
        kv_heads=stated.get("num_key_value_heads") or heads,
        head_dim=head_dim,
        ffn_size=stated["intermediate_size"],
        norm_eps=stated.get("rms_norm_eps", 1e-6),
        rope_theta=theta,
        rope_scaling=scaling,
        local_rope_theta=_read_rope(stated, "sliding_attention", 10_000.0)[0] if is_gemma else 10_000.0,
        window=(stated.get("sliding_window") or 0) if is_gemma else 0,
        sliding=_read_sliding(stated, layers) if is_gemma else (),
        query_scale=float(stated.get("query_pre_attn_scalar") or head_dim) ** -0.5 if is_gemma else None,
        embedding_scale=hidden**0.5 if is_gemma else 1.0,
        max_tokens=stated.get("max_position_embeddings", 8192),
        causal=not bidirectional,
        lm_head="none" if bidirectional else "tied" if (is_gemma if tied is None else tied) else "own",
    )


def _is_bidirectional(stated: Mapping[str, Any]) -> bool:
    architectures = stated.get("architectures") or []
    return "DramaModel" in architectures or bool(stated.get("use_bidirectional_attention"))


def _read_rope(stated: Mapping[str, Any], kind: str, default: float) -> tuple[float, RopeScaling | None]:
    """Base and scaling, from the keys of `transformers` 5 or those before it."""
    local = kind == "sliding_attention"
    given = stated.get("rope_parameters") or {}
    given = given.get(kind) or ({} if local else given)
    old = stated.get("rope_local_base_freq" if local else "rope_theta")
    theta = float(given.get("rope_theta") or old or default)
    scaling = given if given.get("rope_type") else ({} if local else stated.get("rope_scaling") or {})
    name = scaling.get("rope_type") or scaling.get("type") or "default"
    if name == "default":
        return theta, None
    kinds: dict[str, Literal["llama3", "linear"]] = {"llama3": "llama3", "linear": "linear"}
    if name not in kinds:
        raise RetrieverError(f"rotary scaling {name!r} is not supported, only llama3 and linear")
    return theta, RopeScaling(
        kind=kinds[name],
        factor=float(scaling["factor"]),
        low_frequency_factor=float(scaling.get("low_freq_factor", 1.0)),
        high_frequency_factor=float(scaling.get("high_freq_factor", 4.0)),
        original_positions=int(scaling.get("original_max_position_embeddings") or 8192),
    )


def _read_sliding(stated: Mapping[str, Any], layers: int) -> tuple[bool, ...]:
    kinds = stated.get("layer_types")
    if kinds:
        return tuple(kind == "sliding_attention" for kind in kinds)
    every = stated.get("sliding_window_pattern") or stated.get("_sliding_window_pattern") or 6
    return tuple((layer + 1) % every != 0 for layer in range(layers))


def _require(stated: Mapping[str, Any], **allowed: tuple[Any, ...]) -> None:
    for key, values in allowed.items():
        if stated.get(key, values[0]) not in values:
            raise RetrieverError(f"the model's config.json has {key} = {stated[key]!r}, which is not supported")
