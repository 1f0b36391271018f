"""Owns what a GGUF says of the language model in it before its weights are read: licence, shape, rotations."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from drama_app.errors import RetrieverError
from trainer.encoder import EncoderConfig, RopeScaling

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FAMILIES = ("llama", "qwen3", "gemma3")
_LLAMA3 = RopeScaling(kind="llama3", factor=1.0)
"""With the two frequency factors that every model of that kind has; a GGUF states neither, only what comes of them."""
_EXACT = 1e-3
"""Largest relative difference of a frequency's factor; float32 and a whole number of positions leave 1e-4."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufHeader:
    """What is known of a model without its weights."""

    config: EncoderConfig
    """Its shape and rotations; theta, norms and windows are those of the weights' reader."""
    licence: str
    weights: int


def read_header(path: Path) -> GgufHeader:
    """Read the header of a language model in a GGUF.

    Raises:
        RetrieverError: It is no GGUF, not whole, one part of several, or not a network that the trainer computes.
    """
    from gguf import GGUFReader

    with path.open("rb") as stream:
        if stream.read(4) != b"GGUF":
            raise RetrieverError(f"{path}: not a GGUF file; give a GGUF, a model folder, a run or a retriever folder")
    try:
        reader = GGUFReader(path)
        fields = reader.fields
        architecture = str(fields["general.architecture"].contents())
        if architecture not in _FAMILIES:
            raise RetrieverError(
                f"{path}: its architecture {architecture!r} is not supported as a backbone, only "
                f"{', '.join(_FAMILIES)}; name another one with --backbone (a language model may still write queries)"
            )
        if "split.count" in fields and int(fields["split.count"].contents()) > 1:
            raise RetrieverError(
                f"{path}: one part of several, which is not read as a backbone; join them first: "
                "llama-gguf-split --merge PART1 WHOLE.gguf"
            )
        factors = next((each.data for each in reader.tensors if each.name == "rope_freqs.weight"), None)
        scaling = _read_scaling(fields, architecture, factors)
        licence = str(fields["general.license"].contents()) if "general.license" in fields else ""
        config = replace(_read_shape(fields, architecture), rope_scaling=scaling)
        weights = sum(int(each.n_elements) for each in reader.tensors)
        return GgufHeader(config=config, licence=licence, weights=weights)
    except RetrieverError as error:
        raise error if str(error).startswith(f"{path}:") else RetrieverError(f"{path}: {error}") from error
    except (ValueError, KeyError, IndexError, TypeError, OSError) as error:
        raise RetrieverError(f"{path}: cut short or damaged ({str(error)[:120]}); fetch it again") from error


def _read_shape(fields: Mapping[str, Any], architecture: str) -> EncoderConfig:
    def read(key: str, default: int = 0) -> int:
        field = fields.get(f"{architecture}.{key}")
        return int(field.contents()) if field else default

    heads, hidden = read("attention.head_count", 1), read("embedding_length")
    return EncoderConfig(
        family=architecture,  # type: ignore[arg-type]  # one of the three
        vocab_size=len(fields["tokenizer.ggml.tokens"].data), hidden_size=hidden, layers=read("block_count"),
        heads=heads, kv_heads=read("attention.head_count_kv", heads),
        head_dim=read("attention.key_length", hidden // heads), ffn_size=read("feed_forward_length"),
        max_tokens=read("context_length", 2048),
    )  # fmt: skip


def _read_scaling(
    fields: Mapping[str, Any], architecture: str, factors: "NDArray[np.float32] | None"
) -> RopeScaling | None:
    """How rotations are stretched: stated as linear, or as a factor for each frequency.

    `transformers` reads neither (5.24), so what it makes of such a file is not the model.
    """

    def read(key: str) -> Any:
        field = fields.get(f"{architecture}.rope.{key}")
        return field.contents() if field else None

    kind, factor = str(read("scaling.type") or "none"), float(read("scaling.factor") or read("scale_linear") or 1)
    if kind not in ("none", "linear"):
        raise RetrieverError(f"rotary scaling {kind!r} is not supported, only llama3 and linear")
    if factors is not None and not np.allclose(factors, 1):
        return _find_llama3(np.asarray(factors, dtype=np.float64), float(read("freq_base") or 10_000.0))
    return RopeScaling(kind="linear", factor=factor) if factor != 1 else None


def _find_llama3(factors: "NDArray[np.float64]", theta: float) -> RopeScaling:
    """The scaling of Llama 3 that gives these factors [D / 2]: long waves by all of it, short ones by none."""
    frequencies = theta ** -(np.arange(len(factors)) / len(factors))
    factor = float(factors.max())
    low, span = _LLAMA3.low_frequency_factor, _LLAMA3.high_frequency_factor - _LLAMA3.low_frequency_factor
    kept = (1 / factors - 1 / factor) / (1 - 1 / factor)
    between = (kept > _EXACT) & (kept < 1 - _EXACT)
    positions = 2 * np.pi * (low + span * kept) / frequencies
    if between.any():
        known = np.median(positions[between])
    else:  # any between the last frequency that is kept and the first that is stretched
        least, most = positions[kept > 0.5].max(initial=0), positions[kept < 0.5].min()
        known = np.clip(_LLAMA3.original_positions, np.ceil(least), np.floor(most))
    scaling = replace(_LLAMA3, factor=factor, original_positions=round(float(known)))
    turns = scaling.original_positions * frequencies / (2 * np.pi)
    part = np.clip((turns - low) / span, 0, 1)
    if not np.allclose(1 / (part + (1 - part) / factor), factors, rtol=_EXACT, atol=0):
        raise RetrieverError("its rotary factors are not those of Llama 3, and no others are supported")
    return scaling
