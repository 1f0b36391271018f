"""Pruning: learned masks reach their shape, importance finds what is useless, the stage goes on and is done once."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from drama_app.errors import TrainingError, UsageError
from trainer.backbone import Backbone, load_backbone
from trainer.bidirectional import BidirectionalConfig
from trainer.checkpoint import Origin
from trainer.encoder import EncoderConfig, Masks
from trainer.network import build_network
from trainer.prune.importance import choose_layers, choose_parts, measure_importance
from trainer.prune.language_model import TokenRow, measure_losses, train_language
from trainer.prune.masks import LearnedMasks
from trainer.prune.run import check_prune, choose_keep, learn_masks, prune_backbone
from trainer.prune.slicing import Keep, apply_masks, slice_network
from trainer.recipe import PruneRecipe
from trainer.records import Passage, RecordWriter, text_id

SHAPE = EncoderConfig(
    family="llama", vocab_size=40, hidden_size=16, layers=3, heads=4, kv_heads=2, head_dim=4, ffn_size=24,
    rope_theta=10_000.0, causal=True, lm_head="tied",
)  # fmt: skip
RECIPE = PruneRecipe(
    method="learned", layers=2, heads=2, ffn_size=12, hidden_size=12, mask_steps=80, continue_steps=3, batch=4,
    length=12, learning_rate=3e-3, mask_learning_rate=0.2,
)  # fmt: skip


def make_corpus(seed: int = 0) -> TokenRow:
    """Tokens that count upwards, with a jump now and then: easy to learn."""
    chooser, tokens = random.Random(seed), [2]
    for _ in range(3000):
        tokens.append(2 + (tokens[-1] - 1) % 37 if chooser.random() < 0.9 else chooser.randrange(2, 39))
    flat = torch.tensor(tokens)
    held_out = flat[-240:].view(20, 12)
    return TokenRow(tokens=flat[:-240].to(torch.int32).numpy(), held_out=held_out, seed=seed)


def make_network(**changes):
    network = build_network(replace(SHAPE, **changes), seed=3)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.mul_(8)  # far from zero, so that parts differ
    return network


def test_learned_masks_reach_the_wanted_shape():
    """After the mask steps the expected numbers lie near the wanted ones, and the network has exactly those."""
    torch.manual_seed(0)
    network, corpus = make_network(), make_corpus()
    told: list[str] = []

    pruned = learn_masks(network, corpus, RECIPE, seed=1, report=told.append)

    config = pruned.config
    assert (config.layers, config.heads, config.ffn_size, config.hidden_size) == (2, 2, 12, 12)
    first, last = (float(line.split(" layers")[0].split()[-1]) for line in (told[0], told[-1]))
    assert first > 2.8 and abs(last - 2) < 0.6


def test_the_constraint_pulls_back_from_both_sides():
    """With too many parts the multipliers make each one dearer, with too few cheaper."""
    masks = LearnedMasks(SHAPE, {"ffn": 12})
    up = torch.optim.SGD(masks.multipliers, lr=1.0, maximize=True)
    masks.constrain(progress=1.0).backward()
    up.step()
    assert bool((masks.linear["ffn"] > 0).all())
    with torch.no_grad():
        masks.scores["ffn"].fill_(-5.0)
        masks.linear["ffn"].zero_()
    up.zero_grad()
    masks.constrain(progress=1.0).backward()
    up.step()
    assert bool((masks.linear["ffn"] < 0).all())


def test_a_masked_network_and_its_cut_twin_agree():
    """What the settled masks compute the cut network computes too, to 1e-5."""
    network, ids = make_network(), torch.randint(2, 39, (2, 9), generator=torch.Generator().manual_seed(1))
    masks = LearnedMasks(SHAPE, {"layers": 2, "heads": 2, "ffn": 12, "hidden": 12})
    with torch.no_grad():
        for scores in masks.scores.values():
            scores.normal_(generator=torch.Generator().manual_seed(2))
    settled = masks.settle()

    whole = network.predict(network(ids, masks=settled) * settled.hidden)
    twin = apply_masks(network, settled)
    assert torch.allclose(whole, twin.predict(twin(ids)), atol=1e-5)
    assert masks.choose() == Keep(
        layers=tuple(settled.layers.nonzero().flatten().tolist()),
        heads=tuple(tuple(row.nonzero().flatten().tolist()) for row in settled.heads),
        ffn=tuple(tuple(row.nonzero().flatten().tolist()) for row in settled.ffn),
        hidden=tuple(settled.hidden.nonzero().flatten().tolist()),
    )


def test_importance_finds_the_parts_that_do_nothing():
    """Heads and units whose output is silenced, and a layer that adds nothing, are the ones that go."""
    network, corpus = make_network(), make_corpus()
    with torch.no_grad():
        for layer in network.layers:
            layer.self_attn.o_proj.weight[:, 4:12] = 0  # heads 1 and 2
            layer.mlp.down_proj.weight[:, ::2] = 0
        network.layers[1].self_attn.o_proj.weight.zero_()
        network.layers[1].mlp.down_proj.weight.zero_()

    layers = choose_layers(network, corpus.draw(0, 4, 12), 2)
    importance = measure_importance(network, torch.split(corpus.draw(1, 8, 12), 1), ["heads", "ffn"])
    keep = choose_parts(importance, {"heads": 2, "ffn": 12}, layers)

    assert layers == (0, 2)
    assert keep.heads is not None and keep.heads[0] == (0, 3) and keep.heads[2] == (0, 3)
    assert keep.ffn is not None and keep.ffn[0] == tuple(range(1, 24, 2))
    ids = corpus.held_out[:2]
    assert torch.allclose(measure_losses(slice_network(network, keep), ids), measure_losses(network, ids), atol=1e-4)


def test_the_loss_is_that_of_all_logits_at_once():
    """Logits in parts give the cross-entropy of the whole, masks of ones change nothing."""
    network, ids = make_network(), make_corpus().held_out[:3]
    logits = network.predict(network(ids))[:, :-1]
    whole = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")

    assert torch.allclose(measure_losses(network, ids), whole.view(3, -1).mean(1), atol=1e-5)
    ones = Masks(heads=torch.ones(3, 4), ffn=torch.ones(3, 24), hidden=torch.ones(16), layers=torch.ones(3))
    assert torch.allclose(measure_losses(network, ids, ones), whole.view(3, -1).mean(1), atol=1e-5)


def test_learning_goes_on_where_it_stopped_and_refuses_nan():
    """Six steps in two calls give the weights of six in one; a weight that is no number stops the training."""
    corpus, once, twice = make_corpus(), make_network(), make_network()
    train_language(once, corpus, steps=6, rows=2, length=12, rate=1e-3)
    kept: list[torch.optim.Optimizer] = []
    with pytest.raises(StopIteration):

        def stop(step, optimizer):
            kept.append(optimizer)
            if step == 3:
                raise StopIteration

        train_language(twice, corpus, steps=6, rows=2, length=12, rate=1e-3, keep=stop)
    train_language(twice, corpus, steps=6, rows=2, length=12, rate=1e-3, start=3, optimizer=kept[-1])
    assert all(torch.equal(one, other) for one, other in zip(once.parameters(), twice.parameters(), strict=True))

    with torch.no_grad():
        once.layers[0].mlp.down_proj.weight[0, 0] = float("nan")
    with pytest.raises(TrainingError, match="learning_rate"):
        train_language(once, corpus, steps=1, rows=2, length=12, rate=1e-3)


@pytest.fixture
def backbone(tmp_path: Path) -> Backbone:
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {"<pad>": 0, "<unk>": 1} | {f"w{number}": number + 2 for number in range(38)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    origin = Origin(name="tiny", licence="MIT", notices=("Made for a test.",), query_prefix="Query: ")
    return Backbone(network=make_network(), tokenizer=tmp_path / "tokenizer.json", origin=origin)


@pytest.fixture
def passages(tmp_path: Path) -> Path:
    with RecordWriter(tmp_path / "passages.jsonl") as writer:
        for number in range(60):
            text = " ".join(f"w{(number + place) % 38}" for place in range(20))
            writer.write(Passage(id=text_id(f"{number} {text}"), text=text, language="en"))
    return tmp_path / "passages.jsonl"


@pytest.mark.parametrize("method", ["learned", "importance", "last-layers", "none"])
def test_every_method_leaves_a_checkpoint_with_its_papers(method, backbone, passages, tmp_path):
    """The stage writes a network of the wanted shape that opens again, with its origin and its losses."""
    inner = {} if method in ("last-layers", "none") else {"heads": 2, "ffn_size": 12, "hidden_size": 12}
    recipe = PruneRecipe(method=method, layers=2, mask_steps=4, continue_steps=4, batch=4, length=12, **inner)

    made = prune_backbone(backbone, passages, recipe, tmp_path / "out", seed=0, report=lambda _: None)

    opened = load_backbone(tmp_path / "out")
    assert opened.config.layers == (3 if method == "none" else 2)
    assert opened.config.ffn_size == (12 if inner else 24)
    assert opened.origin == backbone.origin
    if method != "none":
        assert made.metrics["losses"]["repaired"] < made.metrics["losses"]["cut"]
        assert len(made.metrics["held_out"]) > 10


def test_a_killed_stage_goes_on_and_a_finished_one_is_kept(backbone, passages, tmp_path, monkeypatch):
    """The repair goes on from its last save, and a second call with the same recipe does nothing."""
    from trainer.prune import run

    monkeypatch.setattr(run, "_SAVE_EVERY", 2)
    recipe = PruneRecipe(method="last-layers", layers=2, continue_steps=5, batch=4, length=12)
    told: list[str] = []

    def stop(text: str) -> None:
        told.append(text)
        if "step 4 of" in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prune_backbone(backbone, passages, recipe, tmp_path / "out", seed=0, report=stop)
    told.clear()
    prune_backbone(
        replace(backbone, network=make_network()), passages, recipe, tmp_path / "out", seed=0, report=told.append
    )
    assert "going on from step 4" in told and not any("step 3 of" in text for text in told)
    told.clear()
    prune_backbone(backbone, passages, recipe, tmp_path / "out", seed=0, report=told.append)
    assert told == []


@pytest.mark.parametrize(
    ("config", "changes", "said"),
    [
        (SHAPE, {"layers": 4}, "the backbone has 3"),
        (SHAPE, {"method": "magic"}, "must be one of"),
        (SHAPE, {"method": "last-layers", "ffn_size": 12}, "removes layers only"),
        (BidirectionalConfig(vocab_size=9, hidden_size=8, layers=2, heads=2, ffn_size=8), {}, "BERT"),
    ],
)
def test_what_cannot_be_cut_is_refused(config, changes, said):
    """A shape beyond the network's, and a method that does not fit it, are told before any work."""
    with pytest.raises(UsageError, match=said):
        check_prune(config, replace(PruneRecipe(layers=2), **changes))


def test_one_shot_choices_have_the_wanted_shape():
    """Measured importance keeps as many parts in each layer as were asked for."""
    recipe = replace(RECIPE, method="importance")
    cut = slice_network(make_network(), choose_keep(make_network(), make_corpus(), recipe, report=lambda _: None))
    assert (cut.config.layers, cut.config.heads, cut.config.ffn_size, cut.config.hidden_size) == (2, 2, 12, 12)
