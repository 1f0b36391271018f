"""What is exported is what was trained, in the form that the app opens."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from drama_app.embed import open_retriever  # noqa: E402
from drama_app.errors import RetrieverError, UsageError  # noqa: E402
from tests.tiny_retriever import WORDS, make_tiny_retriever  # noqa: E402
from trainer.backbone import Backbone, load_backbone, read_table  # noqa: E402
from trainer.bidirectional import BidirectionalConfig  # noqa: E402
from trainer.checkpoint import Origin  # noqa: E402
from trainer.encoder import EncoderConfig, RopeScaling  # noqa: E402
from trainer.export import Label, compare, export_retriever  # noqa: E402
from trainer.network import Network, NetworkConfig, build_network  # noqa: E402
from trainer.onnx_graph import FULL_PRECISION, PRODUCTS, Precision  # noqa: E402
from trainer.token_table import round_table  # noqa: E402

COMMON: dict[str, Any] = {"vocab_size": 80, "hidden_size": 64, "layers": 3, "head_dim": 16, "ffn_size": 96}
CONFIGS: dict[str, NetworkConfig] = {
    "llama": EncoderConfig(
        family="llama",
        heads=4,
        kv_heads=2,
        rope_theta=500.0,
        rope_scaling=RopeScaling(kind="llama3", factor=8.0, original_positions=16),
        **COMMON,
    ),
    "causal qwen3 with head": EncoderConfig(
        family="qwen3", heads=4, kv_heads=4, causal=True, output_size=32, max_tokens=64, **COMMON
    ),
    "gemma3": EncoderConfig(
        family="gemma3",
        heads=4,
        kv_heads=1,
        window=10,
        sliding=(True, False, True),
        embedding_scale=8.0,
        query_scale=0.2,
        **COMMON,
    ),
    "xlm-r with head": BidirectionalConfig(
        vocab_size=80, hidden_size=64, layers=3, heads=4, ffn_size=96, max_tokens=64, output_size=48
    ),
}
TEXTS = [" ".join(WORDS[start : start + length]) for start, length in ((0, 3), (5, 30), (20, 12), (40, 1), (30, 24))]
LABEL = Label(name="tiny", version="1", max_tokens=64)


def make_network(config: NetworkConfig, *, loud: tuple[str, ...] = ()) -> Network:
    """Random weights with norms of their own; the first three rows of the parts named far louder, as in LLMs."""
    torch.set_num_threads(1)
    network = build_network(config)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.add_((0.2 if "norm" in name else 0.1) * torch.randn(parameter.shape, generator=generator))
            if loud and name.endswith(loud):
                parameter[:3] *= 12
    return network


def make_backbone(folder: Path, network: Network) -> Backbone:
    tokenizer = make_tiny_retriever(folder / "for-tokenizer") / "tokenizer.json"
    origin = Origin(
        name="random weights",
        licence="MIT",
        notices=("Made for a test.",),
        query_prefix="query: ",
        passage_prefix="passage: ",
        pad_token_id=1,
    )
    return Backbone(network=network, tokenizer=tokenizer, origin=origin)


@pytest.mark.parametrize("name", CONFIGS)
def test_full_precision_equals_the_network(name: str, tmp_path: Path) -> None:
    """Without rounding the app's vectors are the network's, in batches of mixed lengths."""
    import numpy as np

    backbone = make_backbone(tmp_path, make_network(CONFIGS[name]))
    retriever, agreement = export_retriever(backbone, tmp_path / "r", LABEL, precision=FULL_PRECISION, texts=TEXTS)
    assert agreement.least > 0.99999
    encoder = open_retriever(tmp_path / "r", threads=1)
    assert encoder.dim == backbone.config.dim
    alone = np.concatenate([encoder.encode_passages([text]) for text in TEXTS])
    together = encoder.encode_passages(TEXTS)
    assert np.abs(together - alone).max() < 1e-5
    assert retriever.fingerprint == encoder.fingerprint


@pytest.mark.parametrize("name", CONFIGS)
def test_widths_may_end_below_the_network_s(name: str, tmp_path: Path) -> None:
    """A retriever trained for narrower vectors than its network has is written at the widest of them, and agrees."""
    backbone = make_backbone(tmp_path, make_network(CONFIGS[name]))
    narrow = backbone.config.dim // 2
    label = replace(LABEL, dims=(narrow, narrow // 2), default_dim=0)
    retriever, agreement = export_retriever(backbone, tmp_path / "r", label, precision=FULL_PRECISION, texts=TEXTS)
    assert retriever.dims == (narrow, narrow // 2)
    assert open_retriever(tmp_path / "r", threads=1).encode_passages(TEXTS).shape == (len(TEXTS), narrow)
    assert agreement.least > 0.99999


def _products_saturate() -> bool:
    """Whether this CPU (x86 without VNNI) cuts sums of two products of u8 and s8 off at 16 bits."""
    import numpy as np
    import onnxruntime
    from onnx import TensorProto, helper

    node = helper.make_node("MatMulInteger", ["a", "b"], ["c"])
    shapes = (("a", TensorProto.UINT8, [4, 64]), ("b", TensorProto.INT8, [64, 16]), ("c", TensorProto.INT32, [4, 16]))
    first, second, made = (helper.make_tensor_value_info(*each) for each in shapes)
    weights = helper.make_tensor("b", TensorProto.INT8, [64, 16], [127] * (64 * 16))
    graph = helper.make_graph([node], "products", [first], [made], [weights], value_info=[second])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    product = session.run(None, {"a": np.full((4, 64), 255, dtype=np.uint8)})[0]
    return bool((product != 255 * 127 * 64).any())


SATURATES = _products_saturate()


@pytest.mark.parametrize("name", CONFIGS)
def test_rounded_agrees_with_the_network(name: str, tmp_path: Path) -> None:
    """With a table in few bits and int8 products the app's vectors keep a cosine of 0.99; the table is read back."""
    backbone = make_backbone(tmp_path, make_network(CONFIGS[name]))
    sizes: list[int] = []
    for bits in (8, 4, 2):
        table = torch.from_numpy(round_table(backbone.network.embed_tokens.weight.detach().numpy(), bits=bits))
        with torch.no_grad():
            backbone.network.embed_tokens.weight.copy_(table)
        folder, precision = tmp_path / str(bits), Precision(table_bits=bits, narrow=SATURATES)
        _, agreement = export_retriever(backbone, folder, LABEL, precision=precision, texts=TEXTS)
        assert agreement.least > 0.99
        torch.testing.assert_close(read_table(folder / "model.onnx"), table, atol=0, rtol=0)
        sizes.append((folder / "model.onnx").stat().st_size)
    assert sizes[1] < sizes[0]


PLAIN: dict[str, Any] = {"table_bits": 32, "row_scales": (), "smoothing": 0, "loud_units": 0, "narrow": SATURATES}


@pytest.mark.parametrize(
    ("loud", "remedies"),
    [
        (("input_layernorm.weight",), {"smoothing": {"smoothing": 0.5}}),
        (("gate_proj.weight", "up_proj.weight"), {"loud units": {"loud_units": 4}, "down kept": {"keep": ("down",)}}),
    ],
)
def test_remedies_help_where_they_should(loud: tuple[str, ...], remedies: dict[str, Any], tmp_path: Path) -> None:
    """Where input columns or hidden units are loud, the remedies against it bring the vectors nearer."""
    backbone = make_backbone(tmp_path, make_network(CONFIGS["llama"], loud=loud))
    every: dict[str, dict[str, Any]] = {"plain": {}, "all": {"row_scales": PRODUCTS, "smoothing": 0.5, "loud_units": 4}}
    lost = {}
    for name, options in (every | remedies).items():
        precision = Precision(**PLAIN | options)
        made = export_retriever(backbone, tmp_path / name, LABEL, precision=precision, texts=TEXTS, least_cosine=0.5)
        lost[name] = 1 - made[1].mean
    assert all(lost[name] < 0.8 * lost["plain"] for name in ("all", *remedies)), lost


def test_row_scales_make_a_vector_its_own(tmp_path: Path) -> None:
    """With a scale a token a text's vector depends less on what else is in its batch."""
    import numpy as np

    backbone = make_backbone(tmp_path, make_network(CONFIGS["llama"]))
    difference = []
    for scales in ((), PRODUCTS):
        precision = Precision(**PLAIN | {"row_scales": scales})
        export_retriever(backbone, tmp_path / "r", LABEL, precision=precision, texts=TEXTS)
        encoder = open_retriever(tmp_path / "r", threads=1)
        alone = np.concatenate([encoder.encode_passages([text]) for text in TEXTS])
        difference.append(float(np.abs(encoder.encode_passages(TEXTS) - alone).mean()))
    assert difference[1] < 0.5 * difference[0]


@pytest.mark.skipif(SATURATES, reason="8-bit products saturate on this CPU, so narrow ones lose less")
def test_narrow_weights_and_one_scale_lose_a_little(tmp_path: Path) -> None:
    """7-bit weights, and one scale for a matrix, cost something and not much."""
    backbone = make_backbone(tmp_path, make_network(CONFIGS["gemma3"]))
    lost = []
    for options in ({}, {"narrow": True}, {"per_channel": False}):
        precision = Precision(**PLAIN | options)
        _, agreement = export_retriever(backbone, tmp_path / "r", LABEL, precision=precision, texts=TEXTS)
        lost.append(1 - agreement.mean)
    assert 0 < lost[0] < max(lost[1:]) < 0.02


def test_the_folder_says_what_it_is(tmp_path: Path) -> None:
    """Widths, prefixes, precision, licence, notices, metrics and card are in the folder, and it trains further."""
    backbone = make_backbone(tmp_path, make_network(CONFIGS["xlm-r with head"]))
    label = Label(
        name="tiny",
        version="2",
        dims=(24, 48),
        default_dim=24,
        max_tokens=512,
        languages=("en", "de"),
        metrics={"mean": 0.5},
        notices=("Trained on nothing.",),
    )
    retriever, _ = export_retriever(backbone, tmp_path / "r", label, precision=FULL_PRECISION, texts=TEXTS)
    assert (retriever.dims, retriever.default_dim, retriever.max_tokens) == ((48, 24), 24, 64)
    assert (retriever.query_prefix, retriever.licence) == ("query: ", "MIT")
    assert json.loads((tmp_path / "r" / "metrics.json").read_text()) == {"mean": 0.5}
    notice = (tmp_path / "r" / "NOTICE").read_text()
    assert "Made for a test." in notice
    assert "Trained on nothing." in notice
    assert "version 2" in (tmp_path / "r" / "card.md").read_text()
    assert open_retriever(tmp_path / "r", threads=1).encode_queries(["bread"]).shape == (1, 24)
    again = load_backbone(tmp_path / "r")
    assert again.config == backbone.config
    assert compare(again, retriever, TEXTS).least > 0.9999
    assert sorted(each.name for each in tmp_path.iterdir()) == ["for-tokenizer", "r"]


def test_odd_widths_and_replacement(tmp_path: Path) -> None:
    """A width that is no multiple of a block works, and a second export replaces the first."""
    config = EncoderConfig(
        family="qwen3", vocab_size=80, hidden_size=40, layers=1, heads=2, kv_heads=1, head_dim=8, ffn_size=24
    )
    backbone = make_backbone(tmp_path, make_network(config))
    first, _ = export_retriever(backbone, tmp_path / "r", LABEL, texts=TEXTS, least_cosine=0.9)
    second, _ = export_retriever(backbone, tmp_path / "r", LABEL, precision=FULL_PRECISION, texts=TEXTS)
    assert first.fingerprint != second.fingerprint
    assert load_backbone(tmp_path / "r").config == config


def test_disagreement_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph that computes something else is noticed, and no folder is left behind."""
    backbone = make_backbone(tmp_path, make_network(CONFIGS["gemma3"]))
    from trainer import onnx_networks, retriever_files

    def forget_the_window(network: Network, precision: Precision, **options: Any) -> Any:
        other = make_network(CONFIGS["gemma3"])
        with torch.no_grad():
            other.layers[1].self_attn.q_proj.weight.mul_(-3)
        return onnx_networks.write_graph(other, precision, **options)

    monkeypatch.setattr(retriever_files, "write_graph", forget_the_window)
    with pytest.raises(RetrieverError, match="does not agree with its network"):
        export_retriever(backbone, tmp_path / "r", LABEL, precision=FULL_PRECISION, texts=TEXTS)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["for-tokenizer"]


def test_impossible_exports_are_refused(tmp_path: Path) -> None:
    """Widths that are not there, a folder with other files, and unknown products are told."""
    backbone = make_backbone(tmp_path, make_network(CONFIGS["llama"]))
    with pytest.raises(UsageError, match="cannot be cut from embeddings of 64"):
        export_retriever(backbone, tmp_path / "r", Label(name="a", version="1", dims=(128,)))
    with pytest.raises(UsageError, match="default width 3"):
        export_retriever(backbone, tmp_path / "r", Label(name="a", version="1", default_dim=3))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="holds other files"):
        export_retriever(backbone, tmp_path / "mine", LABEL)
    with pytest.raises(ValueError, match="no such products: wheels"):
        Precision(keep=("wheels",))
