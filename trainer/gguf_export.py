"""Owns the GGUF of a retriever, for llama.cpp and what is built on it: names, shapes and numbers as llama.cpp has them.

llama.cpp computes three of the trainer's networks with attention both ways and mean pooling: "bert" (BERT and XLM-R
shapes), "llama-embed" and "gemma-embedding"; Qwen3 by a flag. It has no place for a linear head with a bias after
pooling, nor for prefixes. The finished file is run by llama.cpp, if that is installed, and compared with the network.
"""

import logging
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from drama_app.errors import RetrieverError, UsageError
from trainer.backbone import Backbone
from trainer.bidirectional import BidirectionalConfig
from trainer.encoder import EncoderConfig, make_rotation
from trainer.export import SENTENCES
from trainer.gguf_tokenizer import Vocabulary, read_vocabulary

if TYPE_CHECKING:
    from gguf import GGUFWriter
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

logger = logging.getLogger(__name__)

LEAST_COSINE = {"f32": 0.9999, "f16": 0.999, "q8_0": 0.99}
"""Between llama.cpp's vectors and the network's, by kind, of every text that both cut into the same tokens."""
MOST_OTHERWISE = 0.25
"""Share of the texts that llama.cpp may cut into other tokens: of WordPiece it strips vowel signs that others keep."""
_ARCHITECTURES = {"llama": "llama-embed", "qwen3": "qwen3", "gemma3": "gemma-embedding"}
_BERT = {
    "query": "attn_q", "key": "attn_k", "value": "attn_v", "out": "attn_output", "out_norm": "attn_output_norm",
    "up": "ffn_up", "down": "ffn_down", "down_norm": "layer_output_norm",
}  # fmt: skip
_LLM = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
}  # fmt: skip
_NORMS = {
    "gemma3": {"post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
               "post_feedforward_layernorm": "post_ffw_norm"},
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufAgreement:
    """How near llama.cpp's vectors are to the network's, over the texts that both cut alike."""

    mean: float
    least: float
    texts: int
    otherwise: tuple[str, ...]
    """Texts that llama.cpp cuts into other tokens."""


def write_checked_gguf(backbone: Backbone, path: Path, *, kind: str = "f16", without_head: bool = False) -> str:
    """Write a GGUF and compare it with the network.

    Args:
        backbone: Network, tokenizer and origin.
        path: The file, replaced once the new one is whole.
        kind: Of the matrices: "f16", "f32", or "q8_0", codes of 8 bits in blocks of 32.
        without_head: Leave a linear head out.

    Returns:
        Sentences for a person: what was found, and what the file cannot say.

    Raises:
        RetrieverError: llama.cpp has no such network or tokenizer, or its vectors are not the network's.
        UsageError: The file cannot be written.
    """
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
    try:
        write_gguf(backbone, partial, kind=kind, without_head=without_head)
        if find_spec("llama_cpp") is None:
            told = "not compared: llama-cpp-python is not installed"
        else:
            told = _judge(path, compare_gguf(backbone, partial), kind)
        partial.replace(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        partial.unlink(missing_ok=True)
    origin = backbone.origin
    before = [f"{each!r} before a {name}" for each, name in
              ((origin.query_prefix, "question"), (origin.passage_prefix, "passage")) if each]  # fmt: skip
    return f"{path.name}: {told}" + (f"; whoever uses it puts {' and '.join(before)}" if before else "")


def check_gguf(backbone: Backbone, *, without_head: bool = False) -> Vocabulary:
    """See that a network and its tokenizer can be told as GGUF; returns the vocabulary.

    Raises:
        RetrieverError: llama.cpp has no such network or tokenizer.
    """
    _refuse(backbone.config, without_head)
    rows = len(backbone.network.embed_tokens.weight)
    return read_vocabulary(backbone.tokenizer, rows=rows, pad=backbone.origin.pad_token_id)


def write_gguf(backbone: Backbone, path: Path, *, kind: str = "f16", without_head: bool = False) -> None:
    """Write a GGUF without looking at what it computes; arguments and errors as `write_checked_gguf`."""
    from gguf import GGUFWriter

    config = backbone.config
    vocabulary = check_gguf(backbone, without_head=without_head)
    name = "bert" if isinstance(config, BidirectionalConfig) else _ARCHITECTURES[config.family]
    writer = GGUFWriter(str(path), name)
    _write_about(writer, backbone, kind)
    if isinstance(config, BidirectionalConfig):
        tensors = _name_bert(config, backbone, writer)
    else:
        tensors = _name_llm(config, backbone, writer)
    vocabulary.write(writer)
    for named, values in tensors:
        # Norms, biases and positions are small, and llama.cpp wants them whole.
        is_small = values.ndim < 2 or named.startswith("position")
        _add_tensor(writer, named, values, "f32" if is_small else kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def compare_gguf(backbone: Backbone, path: Path) -> GgufAgreement:
    """Compare llama.cpp's vectors of passages with those of the network, a head left out.

    Raises:
        RetrieverError: llama.cpp cannot load the file.
    """
    import llama_cpp
    from tokenizers import Tokenizer

    length = min(512, backbone.origin.max_tokens, backbone.config.max_tokens)
    tokenizer: Tokenizer = Tokenizer.from_file(str(backbone.tokenizer))
    tokenizer.no_truncation()
    prefix = backbone.origin.passage_prefix
    tokens = {text: tokenizer.encode(prefix + text).ids for text in SENTENCES}
    texts = [text for text, ids in tokens.items() if len(ids) <= length]
    try:
        model = llama_cpp.Llama(
            str(path), embedding=True, verbose=False, n_ctx=length, n_batch=length, n_ubatch=length,
            n_threads=1, n_threads_batch=1, n_gpu_layers=0,
        )  # fmt: skip
    except ValueError as error:
        raise RetrieverError(f"{path}: llama.cpp cannot load what was written ({error})") from error
    try:
        alike = [model.tokenize((prefix + text).encode()) == tokens[text] for text in texts]
        found = np.array([model.embed(prefix + text, normalize=True) for text in texts], dtype=np.float32)
    finally:
        model.close()
    cosines = (found * _embed_headless(backbone, texts)).sum(1)[alike]
    otherwise = tuple(text for text, same in zip(texts, alike, strict=True) if not same)
    mean, least = (float(cosines.mean()), float(cosines.min())) if any(alike) else (0.0, 0.0)
    return GgufAgreement(mean=mean, least=least, texts=len(texts), otherwise=otherwise)


def _judge(path: Path, agreement: GgufAgreement, kind: str) -> str:
    """What was found, for a person."""
    count = len(agreement.otherwise)
    told = f"llama.cpp against the network: mean cosine {agreement.mean:.5f}, least {agreement.least:.5f}"
    if count:
        told += f"; of {agreement.texts} texts it cuts {count} into other tokens, the first {agreement.otherwise[0]!r}"
    if not agreement.least >= LEAST_COSINE[kind] or count > MOST_OTHERWISE * agreement.texts:  # a NaN is not
        raise RetrieverError(f"{path}: not written, for its vectors are not the network's ({told})")
    return told


def _refuse(config: "EncoderConfig | BidirectionalConfig", without_head: bool) -> None:
    if config.output_size and not without_head:
        raise RetrieverError(
            "a GGUF has no place for this network's linear head after pooling; with --without-head it is left out, and "
            "the vectors are then others than the retriever's: of the full width only, and not to be mixed with its own"
        )
    if isinstance(config, BidirectionalConfig):
        return
    if config.causal:
        raise RetrieverError("this network reads one way; only those that attend both ways are written as GGUF")
    if config.family != "gemma3" and config.window and any(config.sliding):
        raise RetrieverError(f"llama.cpp has no sliding windows for {config.family}, which this network has")


def _write_about(writer: "GGUFWriter", backbone: Backbone, kind: str) -> None:
    from gguf import LlamaFileType, PoolingType

    origin, config = backbone.origin, backbone.config
    writer.add_name(origin.name)
    if origin.licence:
        writer.add_license(origin.licence)
    if origin.notices:
        writer.add_description("\n".join(origin.notices))
    # No tool reads these, but whoever looks finds how texts are fed.
    writer.add_string("drama.query_prefix", origin.query_prefix)
    writer.add_string("drama.passage_prefix", origin.passage_prefix)
    kinds = {"f32": LlamaFileType.ALL_F32, "f16": LlamaFileType.MOSTLY_F16, "q8_0": LlamaFileType.MOSTLY_Q8_0}
    writer.add_file_type(kinds[kind])
    writer.add_context_length(min(origin.max_tokens, config.max_tokens))
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.ffn_size)
    writer.add_head_count(config.heads)
    writer.add_causal_attention(False)
    writer.add_pooling_type(PoolingType.MEAN)


def _add_tensor(writer: "GGUFWriter", name: str, values: "Floats", kind: str) -> None:
    from gguf import GGMLQuantizationType, quants

    if kind == "q8_0" and values.shape[-1] % 32 == 0:
        eight = GGMLQuantizationType.Q8_0
        writer.add_tensor(name, quants.quantize(values, eight), raw_dtype=eight)
    else:
        writer.add_tensor(name, values if kind == "f32" else values.astype(np.float16))


def _name_bert(config: BidirectionalConfig, backbone: Backbone, writer: "GGUFWriter") -> Iterator[tuple[str, "Floats"]]:
    """Tensors under llama.cpp's names; the row of the first token type is in the positions already."""
    writer.add_layer_norm_eps(config.norm_eps)
    writer.add_token_type_count(1)
    top = {"embed_tokens": "token_embd", "positions": "position_embd", "embed_norm": "token_embd_norm"}
    return (
        (f"{top[part]}.{rest}" if part in top else f"blk.{layer}.{_BERT[inner]}.{ending}", values)
        for part, rest, layer, inner, ending, values in _split_names(backbone)
    )


def _split_names(backbone: Backbone) -> Iterator[tuple[str, str, str, str, str, "Floats"]]:
    for name, values in _iterate_tensors(backbone):
        part, _, rest = name.partition(".")
        layer, _, inner = rest.partition(".")
        inner, _, ending = inner.rpartition(".")
        yield part, rest, layer, inner, ending, values


def _name_llm(config: EncoderConfig, backbone: Backbone, writer: "GGUFWriter") -> Iterator[tuple[str, "Floats"]]:
    """Tensors under llama.cpp's names, in its order of rotated columns and with its scales."""
    writer.add_head_count_kv(config.kv_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_rope_freq_base(config.rope_theta)
    scaling = _describe_rope(config, writer)
    if config.family == "gemma3":
        _describe_windows(config, writer)
    norms = _NORMS.get(config.family, {"post_attention_layernorm": "ffn_norm"})
    if scaling is not None:
        yield "rope_freqs.weight", scaling
    for part, rest, layer, inner, ending, values in _split_names(backbone):
        if part == "embed_tokens":
            standard = math.sqrt(config.hidden_size) if config.family == "gemma3" else 1.0
            yield "token_embd.weight", values * np.float32(config.embedding_scale / standard)
        elif part == "norm":
            yield f"output_norm.{rest}", _shift_norm(config, values)
        else:
            yield f"blk.{layer}.{(_LLM | norms)[inner]}.{ending}", _convert(config, inner, values)


def _convert(config: EncoderConfig, inner: str, values: "Floats") -> "Floats":
    """One of a layer's tensors with llama.cpp's scale of products and its order of columns."""
    if inner.endswith("norm"):
        values = _shift_norm(config, values)
    # llama.cpp divides products by the root of the head's width; what this network does otherwise goes into queries.
    carries = "self_attn.q_proj" if config.family == "llama" else "self_attn.q_norm"
    if inner == carries:
        values = values * np.float32(config.attention_scale * math.sqrt(config.head_dim))
    if config.family == "llama" and inner in ("self_attn.q_proj", "self_attn.k_proj"):
        # Its rotation pairs neighbours, ours the halves of a head.
        halves = values.reshape(-1, 2, config.head_dim // 2, values.shape[1])
        values = np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(values.shape)
    return values


def _shift_norm(config: EncoderConfig, values: "Floats") -> "Floats":
    return values + np.float32(1.0 if config.family == "gemma3" else 0.0)


def _describe_rope(config: EncoderConfig, writer: "GGUFWriter") -> "Floats | None":
    """Say how rotations are stretched; returns the factor of each frequency where one number does not tell it."""
    from gguf import RopeScalingType

    scaling = config.rope_scaling
    if scaling is None:
        return None
    if scaling.kind == "linear":
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(scaling.factor)
        return None
    cosines, sines = make_rotation(config, 2, torch.device("cpu"), sliding=False)[:, 1, : config.head_dim // 2].double()
    plain = config.rope_theta ** (-torch.arange(0, config.head_dim, 2, dtype=torch.float64) / config.head_dim)
    factors: Floats = (plain / torch.atan2(sines, cosines)).float().numpy()  # one radian at most, so nothing wraps
    return factors


def _describe_windows(config: EncoderConfig, writer: "GGUFWriter") -> None:
    """Which layers see a window only: by the period with which one sees all, else layer by layer."""
    slides = [config.slides(layer) for layer in range(config.layers)]
    writer.add_sliding_window(config.window or config.max_tokens)
    writer.add_rope_freq_base_swa(config.local_rope_theta)
    for period in range(1, config.layers + 2):
        if slides == [layer % period < period - 1 for layer in range(config.layers)]:
            writer.add_sliding_window_pattern(period)
            return
    writer.add_sliding_window_pattern(slides)


def _iterate_tensors(backbone: Backbone) -> Iterator[tuple[str, "Floats"]]:
    for name, tensor in backbone.network.state_dict().items():
        if not name.startswith(("head.", "lm_head.")):
            yield name, tensor.detach().float().cpu().numpy()


def _embed_headless(backbone: Backbone, texts: list[str]) -> "Floats":
    """Unit vectors of passages as they are before a head."""
    from trainer.network import change_network
    from trainer.torch_encoder import TorchEncoder

    if backbone.config.output_size:
        backbone = replace(backbone, network=change_network(backbone.network, output_size=0))
    # What lies beyond the widths that were trained is in the GGUF too, and is compared with it.
    backbone = replace(backbone, origin=replace(backbone.origin, dims=()))
    return TorchEncoder(backbone).encode_passages(texts)
