"""A masked network and its sliced twin compute the same."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from trainer.bidirectional import BidirectionalConfig  # noqa: E402
from trainer.encoder import Encoder, EncoderConfig, Masks, RopeScaling  # noqa: E402
from trainer.network import build_network  # noqa: E402
from trainer.prune.slicing import Keep, apply_masks, drop_layers, slice_network  # noqa: E402

COMMON: dict[str, Any] = {"vocab_size": 60, "hidden_size": 32, "layers": 4, "head_dim": 8, "ffn_size": 40}
CONFIGS = {
    "llama, own keys": EncoderConfig(
        family="llama",
        heads=6,
        kv_heads=6,
        lm_head="own",
        rope_scaling=RopeScaling(kind="llama3", factor=8.0),
        **COMMON,
    ),
    "llama, shared keys": EncoderConfig(family="llama", heads=6, kv_heads=3, causal=True, lm_head="tied", **COMMON),
    "qwen3": EncoderConfig(family="qwen3", heads=6, kv_heads=2, lm_head="tied", **COMMON),
    "gemma3": EncoderConfig(
        family="gemma3",
        heads=6,
        kv_heads=1,
        lm_head="tied",
        window=6,
        sliding=(True, False, True, False),
        embedding_scale=32**0.5,
        query_scale=0.3,
        **COMMON,
    ),
}
HEADS = {
    "whole groups": ((2, 3), (0, 1), (4, 5), (2, 3)),
    "one of each group": ((0, 2, 4), (1, 3, 5), (0, 3, 5), (1, 2, 4)),
    "uneven": ((0, 1, 2), (0, 2, 4), (3, 4, 5), (1, 2, 5)),
}


def make(config: EncoderConfig) -> Encoder:
    """A network in which every weight matters."""
    torch.set_num_threads(1)
    network = build_network(config)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    assert isinstance(network, Encoder)
    return network


def ones(config: EncoderConfig) -> dict[str, Any]:
    return {
        "hidden": torch.ones(config.hidden_size),
        "heads": torch.ones(config.layers, config.heads),
        "ffn": torch.ones(config.layers, config.ffn_size),
        "layers": torch.ones(config.layers, 2),
    }


def make_masks(config: EncoderConfig, heads: tuple[tuple[int, ...], ...], *, soft: bool) -> Masks:
    """Random survivors, as many in each layer, one layer gone; soft factors lie between 0.5 and 1."""
    generator = torch.Generator().manual_seed(5)
    masks = {kind: torch.zeros_like(tensor) for kind, tensor in ones(config).items()}
    for layer in range(config.layers):
        masks["ffn"][layer, torch.randperm(40, generator=generator)[:24]] = 1
        masks["heads"][layer, list(heads[layer])] = 1
    masks["hidden"][torch.randperm(32, generator=generator)[:20]] = 1
    masks["layers"][[0, 1, 3]] = 1
    if soft:
        for kind in ("ffn", "heads", "layers"):
            masks[kind] *= 0.5 + torch.rand(masks[kind].shape, generator=generator) / 2
    return Masks(**masks)


def check_twins(network: Encoder, masks: Masks) -> Encoder:
    sliced = apply_masks(network, masks)
    ids = torch.randint(0, 60, (3, 15), generator=torch.Generator().manual_seed(1))
    mask = (torch.arange(15)[None] < torch.tensor([15, 9, 2])[:, None]).long()
    with torch.no_grad():
        masked = network(ids, mask, masks)
        found = sliced(ids, mask)
        expected = masked if masks.hidden is None else masked[..., masks.hidden.ne(0)]
        assert expected[mask.bool()].abs().max() > 0.5
        torch.testing.assert_close(found[mask.bool()], expected[mask.bool()], atol=1e-5, rtol=0)
        if network.config.lm_head != "none":
            logits = network.predict(masked)[mask.bool()]
            torch.testing.assert_close(sliced.predict(found)[mask.bool()], logits, atol=2e-5, rtol=1e-5)
    return sliced


@pytest.mark.parametrize("heads", HEADS)
@pytest.mark.parametrize("name", CONFIGS)
def test_sliced_twin_equals_masked_network(name: str, heads: str) -> None:
    """Layers, heads, feed-forward units and hidden columns cut at once give the masked output to 1e-5."""
    config = CONFIGS[name]
    for soft in (False, True):
        sliced = check_twins(make(config), make_masks(config, HEADS[heads], soft=soft))
        cut = sliced.config
        assert (cut.layers, cut.hidden_size, cut.ffn_size, cut.heads) == (3, 20, 24, len(HEADS[heads][0]))
        assert cut.embedding_scale == config.embedding_scale


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("kind", ["hidden", "heads", "ffn", "layers"])
def test_each_kind_alone(name: str, kind: str) -> None:
    """Each kind of cut works without the others."""
    config = CONFIGS[name]
    full = make_masks(config, HEADS["one of each group"], soft=False)
    check_twins(make(config), Masks(**{kind: getattr(full, kind)}))


def test_key_heads_follow_their_groups() -> None:
    """Whole groups keep shared keys, even thinning thins the sharing, uneven survivors get keys of their own."""
    network = make(CONFIGS["llama, shared keys"])
    found = [slice_network(network, Keep(heads=heads)).config.kv_heads for heads in HEADS.values()]
    assert found == [1, 3, 3]
    gemma = make(CONFIGS["gemma3"])
    assert slice_network(gemma, Keep(heads=HEADS["uneven"])).config.kv_heads == 1


def test_one_silent_block_keeps_its_layer() -> None:
    """A layer that lost only its attention still feeds forward."""
    for name in ("qwen3", "gemma3"):
        network = make(CONFIGS[name])
        masks = torch.ones(4, 2)
        masks[1, 0] = 0
        assert check_twins(network, Masks(layers=masks)).config.layers == 4


def test_drop_layers() -> None:
    """Layers fall away with their kind of attention, in both networks; the original is untouched."""
    network = make(CONFIGS["gemma3"])
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fewer = drop_layers(network, (0, 3))
    assert isinstance(fewer, Encoder)
    assert fewer.config.sliding == (True, False)
    alive = Masks(layers=torch.tensor([1.0, 0.0, 0.0, 1.0]))
    ids = torch.arange(12)[None]
    with torch.no_grad():
        torch.testing.assert_close(fewer(ids), network(ids, masks=alive), atol=1e-5, rtol=0)
        next(fewer.parameters()).zero_()
        fewer.layers[0].mlp.up_proj.weight.zero_()
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    config = BidirectionalConfig(vocab_size=20, hidden_size=16, layers=4, heads=2, ffn_size=24, output_size=8)
    other = drop_layers(build_network(config), (1, 3))
    assert other.config.layers == 2
    assert other.embed(torch.tensor([[1, 2]])).shape == (1, 8)


def test_impossible_cuts_are_refused() -> None:
    """Layers of different widths, nothing at all, and factors that cannot be folded are refused."""
    network = make(CONFIGS["qwen3"])
    with pytest.raises(ValueError, match="same number of heads"):
        slice_network(network, Keep(heads=((0,), (0, 1), (0,), (0,))))
    with pytest.raises(ValueError, match="hidden columns"):
        slice_network(network, Keep(hidden=()))
    with pytest.raises(ValueError, match="at least one layer"):
        drop_layers(network, ())
    with pytest.raises(ValueError, match="token table"):
        apply_masks(network, Masks(hidden=torch.full((32,), 0.5)))
