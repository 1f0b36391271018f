"""Writes complete, small retriever folders, so that tests need no real model."""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

WORDS = """
the a of and river mountain bread baking flour yeast train station city harbour ship music violin piano song
winter snow summer garden flower tree forest bird computer program error search index file book library letter
invoice payment tax contract der die das und brot backen mehl zug bahnhof hafen schiff lied query passage
""".split()  # noqa: SIM905 - a list would be one long line of quotes
Kind = Literal["words", "unigram"]


def make_tiny_retriever(
    folder: Path,
    *,
    dim: int = 32,
    name: str = "tiny",
    query_prefix: str = "query: ",
    passage_prefix: str = "passage: ",
    kind: Kind = "words",
    seed: int = 0,
    max_tokens: int = 64,
    changes: dict[str, Any] | None = None,
) -> Path:
    """Write a valid retriever folder with a bag-of-words network; `changes` overwrite keys of `retriever.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(_make_tokenizer(kind), encoding="utf-8")
    write_network(folder / "model.onnx", dim=dim, seed=seed)
    described = {
        "schema": 1,
        "name": name,
        "version": "1",
        "dims": [dim, dim // 2],
        "default_dim": dim,
        "query_prefix": query_prefix,
        "passage_prefix": passage_prefix,
        "max_tokens": max_tokens,
        "pad_token_id": 1,
        "licence": "none needed",
        "fingerprint": compute_fingerprint(folder),
        "fingerprint_of": ["model.onnx", "tokenizer.json"],
    }
    (folder / "retriever.json").write_text(json.dumps(described | (changes or {})), encoding="utf-8")
    return folder


def compute_fingerprint(folder: Path) -> str:
    """The fingerprint of the folder's model and tokenizer as they are now."""
    content = b"".join((folder / name).read_bytes() for name in ("model.onnx", "tokenizer.json"))
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def restate(folder: Path, **changes: Any) -> None:
    """Change keys of `retriever.json`, and its fingerprint to what the files hold; a value of None drops the key."""
    path = folder / "retriever.json"
    stated = json.loads(path.read_text()) | {"fingerprint": compute_fingerprint(folder)} | changes
    path.write_text(json.dumps({key: value for key, value in stated.items() if value is not None}))


def write_network(
    path: Path,
    *,
    dim: int,
    seed: int = 0,
    names: tuple[str, str, str] = ("input_ids", "attention_mask", "embedding"),
    integers: str = "INT64",
) -> None:
    """An ONNX graph: rows of a fixed random table, averaged over the mask."""
    import numpy as np
    from onnx import TensorProto, checker, helper, numpy_helper, save

    ids, mask, output = names
    table = np.random.default_rng(seed).standard_normal((256, dim)).astype(np.float32)
    kind = getattr(TensorProto, integers)
    nodes = [
        helper.make_node("Gather", ["table", ids], ["rows"]),
        helper.make_node("Cast", [mask], ["weights_flat"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["weights_flat", "last"], ["weights"]),
        helper.make_node("Mul", ["rows", "weights"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "middle"], ["total"], keepdims=0),
        helper.make_node("ReduceSum", ["weights", "middle"], ["count"], keepdims=0),
        helper.make_node("Div", ["total", "count"], [output]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(one, kind, ["batch", "length"]) for one in (ids, mask)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", dim])],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(np.array([2], dtype=np.int64), "last"),
            numpy_helper.from_array(np.array([1], dtype=np.int64), "middle"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    checker.check_model(model)
    save(model, str(path))


def _make_tokenizer(kind: Kind) -> str:
    from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

    special = ["<s>", "<pad>", "</s>", "<unk>"]
    if kind == "words":
        words = [*special, ":", *dict.fromkeys(WORDS)]
        model: Any = models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>")
        tokenizer = Tokenizer(model)
        tokenizer.normalizer = normalizers.Lowercase()
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    else:
        pieces = [(piece, 0.0) for piece in special]
        pieces += [(f"▁{word}", -6.0 - index / 50) for index, word in enumerate(dict.fromkeys(WORDS))]
        pieces += [(character, -9.0 - index / 10) for index, character in enumerate("▁abcdefghijklmnopqrstuvwxyz:.")]
        tokenizer = Tokenizer(models.Unigram(pieces, 3, False))
        tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return str(tokenizer.to_str())
