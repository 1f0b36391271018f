"""Writes random models in GGUF form: small enough to be made by each test, real enough for llama.cpp to run."""

from pathlib import Path

import numpy as np

_BYTES = [f"<0x{value:02X}>" for value in range(256)]
_TOKENS = ["<unk>", "<s>", "</s>", *_BYTES, "▁", "▁a", "▁b", "a", "b", "\n"]
_WIDTH, _FEED_FORWARD, _HEADS, _LAYERS = 32, 32, 2, 2


def make_tiny_gguf(path: Path, *, template: str = "", causal: bool = True, pools: bool = False) -> Path:
    """A llama of 32 columns and two layers over bytes, 130 kB; `template` makes it a chat model, `pools` embeds."""
    from gguf import GGUFWriter, PoolingType, TokenType

    writer = GGUFWriter(str(path), "llama")
    writer.add_license("mit")
    writer.add_context_length(4096)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(_LAYERS)
    writer.add_feed_forward_length(_FEED_FORWARD)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(_WIDTH // _HEADS)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(_TOKENS)
    writer.add_token_scores([0.0] * len(_TOKENS))
    kinds = [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL, *[TokenType.BYTE] * 256]
    writer.add_token_types([*kinds, *[TokenType.NORMAL] * (len(_TOKENS) - len(kinds))])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    if not causal:
        writer.add_causal_attention(False)
    if pools:
        writer.add_pooling_type(PoolingType.MEAN)
    if template:
        writer.add_chat_template(template)
    chooser = np.random.default_rng(1)
    for name, shape in _list_shapes().items():
        values = np.ones(shape) if name.endswith("norm.weight") else chooser.normal(0, 0.3, shape)
        writer.add_tensor(name, values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _list_shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (len(_TOKENS), _WIDTH), "output.weight": (len(_TOKENS), _WIDTH),
        "output_norm.weight": (_WIDTH,),
    }  # fmt: skip
    for layer in range(_LAYERS):
        shapes |= {f"blk.{layer}.attn_{part}.weight": (_WIDTH, _WIDTH) for part in ("q", "k", "v", "output")}
        shapes |= {f"blk.{layer}.{part}_norm.weight": (_WIDTH,) for part in ("attn", "ffn")}
        shapes |= {f"blk.{layer}.ffn_{part}.weight": (_FEED_FORWARD, _WIDTH) for part in ("gate", "up")}
        shapes[f"blk.{layer}.ffn_down.weight"] = (_WIDTH, _FEED_FORWARD)
    return shapes
