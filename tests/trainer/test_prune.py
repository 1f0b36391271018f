"""Pruning: the loss it goes by, importance that finds what is useless, a stage that goes on and is done once."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from drama_app.errors import TrainingError, UsageError
from tests.trainer.tiny_language import SHAPE, make_corpus, make_network
from trainer.backbone import Backbone, load_backbone
from trainer.bidirectional import BidirectionalConfig
from trainer.checkpoint import WEIGHTS, Origin
from trainer.encoder import Masks
from trainer.network import build_network
from trainer.prune import language_model, run
from trainer.prune.importance import choose_parts, measure_importance, rank_layers
from trainer.prune.language_model import backward_losses, measure_losses, read_tokens, train_language
from trainer.prune.run import _draw_texts, check_prune, measure_parts, prune_backbone
from trainer.prune.slicing import slice_network
from trainer.recipe import PruneRecipe
from trainer.records import Passage, Query, RecordWriter, text_id

INNER = {"heads": 2, "ffn_size": 12, "hidden_size": 12}
RECIPE = PruneRecipe(
    method="learned", layers=2, mask_steps=4, continue_steps=4, batch=4, length=12, learning_rate=3e-3, **INNER
)  # fmt: skip


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


def test_importance_finds_the_parts_that_do_nothing():
    """Heads and units whose output is silenced, and a layer that adds nothing, are the ones that go."""
    network, corpus = make_network(), make_corpus()
    with torch.no_grad():
        for layer in network.layers:
            layer.self_attn.o_proj.weight[:, 4:12] = 0  # heads 1 and 2
            layer.mlp.down_proj.weight[:, ::2] = 0
        network.layers[1].self_attn.o_proj.weight.zero_()
        network.layers[1].mlp.down_proj.weight.zero_()

    gone = rank_layers(network, corpus.draw(0, 4, 12), 2)
    importance = measure_importance(network, corpus.draw(1, 8, 12), ["heads", "ffn"])
    importance["layers"] = torch.tensor([float(layer not in gone) for layer in range(3)])
    keep = choose_parts(importance, {"heads": 2, "ffn": 12, "layers": 2})

    assert gone == (1,) and keep.layers == (0, 2)
    assert keep.heads is not None and keep.heads[0] == (0, 3) and keep.heads[2] == (0, 3)
    assert keep.ffn is not None and keep.ffn[0] == tuple(range(1, 24, 2))
    ids = corpus.held_out[:2]
    assert torch.allclose(measure_losses(slice_network(network, keep), ids), measure_losses(network, ids), atol=1e-4)


def test_layers_go_in_the_order_in_which_they_are_missed_least():
    """A layer that adds nothing goes first, one that adds little next; the network is left as it was."""
    corpus = make_corpus()
    network, windows = make_network(layers=5), corpus.draw(0, 4, 12)
    for _ in train_language(network, corpus, steps=60, rows=4, length=12, rate=3e-3):
        pass  # of one that has learnt nothing any layer may go
    with torch.no_grad():
        for layer, factor in ((3, 0.0), (1, 0.02)):
            network.layers[layer].self_attn.o_proj.weight.mul_(factor)
            network.layers[layer].mlp.down_proj.weight.mul_(factor)
    before = measure_losses(network, windows)

    assert rank_layers(network, windows, 3) == (3, 1)
    assert torch.equal(measure_losses(network, windows), before)


def test_the_loss_is_that_of_all_logits_at_once(monkeypatch):
    """Logits in parts give the cross-entropy of the whole; masks of ones and what fills rows up change nothing."""
    network, ids = make_network(), make_corpus().held_out[:3]
    logits = network.predict(network(ids))[:, :-1]
    whole = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    wanted = whole.view(3, -1).mean(1)

    assert torch.allclose(measure_losses(network, ids), wanted, atol=1e-5)
    monkeypatch.setattr(language_model, "_LOGITS", 40 * 3 * 2)  # two places at a time
    assert torch.allclose(measure_losses(network, ids), wanted, atol=1e-5)
    ones = Masks(heads=torch.ones(3, 4), ffn=torch.ones(3, 24), hidden=torch.ones(16), layers=torch.ones(3))
    assert torch.allclose(measure_losses(network, ids, ones), wanted, atol=1e-5)
    filled = torch.nn.functional.pad(ids, (0, 5), value=-1)
    assert torch.allclose(measure_losses(network, filled), wanted, atol=1e-5)


def test_a_batch_in_parts_has_the_gradients_of_the_whole(monkeypatch):
    """A step that does not fit is computed part by part and comes to the same."""
    network, windows = make_network().requires_grad_(True), make_corpus().draw(0, 5, 12)
    gradients = []
    for together in (1024, 24):
        monkeypatch.setitem(language_model._AT_A_TIME, "cpu", together)
        network.zero_grad()
        loss = backward_losses(network, windows)
        gradients.append([loss, *(parameter.grad.clone() for parameter in network.parameters())])

    assert gradients[0][0] == pytest.approx(gradients[1][0], rel=1e-5)
    for one, other in zip(gradients[0][1:], gradients[1][1:], strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_learning_goes_on_where_it_stopped_and_refuses_nan():
    """Six steps in two calls give the weights of six in one; a weight that is no number stops the training."""
    corpus, once, twice = make_corpus(), make_network(), make_network()
    for _ in train_language(once, corpus, steps=6, rows=2, length=12, rate=1e-3):
        pass
    for step in train_language(twice, corpus, steps=6, rows=2, length=12, rate=1e-3):
        if step.number == 3:
            state = copy.deepcopy(step.get_state())
            break
    for _ in train_language(twice, corpus, steps=6, rows=2, length=12, rate=1e-3, start=3, state=state):
        pass
    assert all(torch.equal(one, other) for one, other in zip(once.parameters(), twice.parameters(), strict=True))

    with torch.no_grad():
        once.layers[0].mlp.down_proj.weight[0, 0] = float("nan")
    with pytest.raises(TrainingError, match="learning_rate"):
        next(train_language(once, corpus, steps=1, rows=2, length=12, rate=1e-3))


@pytest.fixture
def backbone(tmp_path: Path) -> Backbone:
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {"<pad>": 0, "<unk>": 1} | {f"w{number}": number + 2 for number in range(38)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    origin = Origin(name="tiny", licence="MIT", notices=("Made for a test.",), query_prefix="Query: ")
    return Backbone(network=make_network(), tokenizer=tmp_path / "tokenizer.json", origin=origin)


def make_passages(documents: int = 60) -> list[Passage]:
    """A hundred and twenty passages, each in words that tell its place."""
    made = []
    for number in range(120):
        text = " ".join(f"w{(number + place) % 38}" for place in range(20))
        made.append(Passage(id=text_id(f"{number}"), text=text, language="en", document=f"d{number % documents}"))
    return made


@pytest.fixture
def passages(tmp_path: Path) -> Path:
    with RecordWriter(tmp_path / "passages.jsonl") as writer:
        for passage in make_passages():
            writer.write(passage)
    return tmp_path / "passages.jsonl"


@pytest.mark.parametrize("documents", [60, 1])
def test_what_is_held_out_is_never_drawn(documents, tmp_path):
    """No passage of a document is measured on while another is trained on, unless all are of one document."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    all_of_it = make_passages(documents)
    numbered = [replace(each, text=f"n{index} " + each.text) for index, each in enumerate(all_of_it)]
    words = {f"n{number}": number for number in range(120)} | {f"w{number}": number + 120 for number in range(38)}
    tokenizer = Tokenizer(models.WordLevel(words))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()

    corpus = read_tokens(tokenizer, numbered, length=12, seed=0)
    backwards = read_tokens(tokenizer, reversed(numbered), length=12, seed=0)

    held_out = set(corpus.held_out[:, 0].tolist())
    drawn = {int(token) for token in corpus.tokens if token < 120}
    kept_apart = ({number % documents for number in names} if documents > 1 else names for names in (held_out, drawn))
    assert set.isdisjoint(*kept_apart)
    assert len(held_out) == 30 and len(drawn) >= 80
    assert held_out == set(backwards.held_out[:, 0].tolist())  # whatever the order of the file


@pytest.mark.parametrize("method", ["learned", "importance", "last-layers", "spaced-layers", "none"])
def test_every_method_leaves_a_checkpoint_with_its_papers(method, backbone, passages, tmp_path):
    """The stage writes a network of the wanted shape that opens again, with its origin and its losses."""
    made = prune_backbone(
        backbone, passages, replace(RECIPE, method=method), tmp_path / "out", seed=0, report=lambda _: None
    )

    opened = load_backbone(tmp_path / "out")
    shape = (3, 4, 24, 16) if method == "none" else (2, 2, 12, 12)
    config = opened.config
    assert (config.layers, config.heads, config.ffn_size, config.hidden_size) == shape
    assert opened.origin == backbone.origin
    assert made.metrics["parameters"] == sum(each.numel() for each in opened.network.parameters())
    assert not (tmp_path / "out" / "steps").exists()
    if method != "none":
        losses = made.metrics["losses"]
        assert set(losses) == {"whole", "cut", "repaired"} and losses["repaired"] < losses["cut"]
        assert len(made.metrics["held_out"]) == 30
        assert made.metrics["tokens"]["masks"] == (4 * 48 if method == "learned" else 0)


def test_the_last_layers_are_the_ones_removed(backbone, passages, tmp_path):
    """Without repair the layers that stay are the first ones, as they were."""
    first = backbone.network.layers[0].mlp.up_proj.weight.clone()
    recipe = PruneRecipe(method="last-layers", layers=1, continue_steps=0, length=12)

    prune_backbone(backbone, passages, recipe, tmp_path / "out", seed=0)

    opened = load_backbone(tmp_path / "out").network
    assert len(opened.layers) == 1 and torch.equal(opened.layers[0].mlp.up_proj.weight, first)


@pytest.mark.parametrize(("method", "kept"), [("last-layers", (0, 1, 2)), ("spaced-layers", (1, 3, 5))])
def test_an_embedder_that_reads_both_ways_loses_layers_by_their_place(method, kept, backbone, passages, tmp_path):
    """A BERT network is cut without a language model: the first layers stay, or the last of equal blocks."""
    config = BidirectionalConfig(vocab_size=40, hidden_size=8, layers=6, heads=2, ffn_size=8)
    whole = build_network(config)
    before = [layer.state_dict() for layer in whole.layers]

    made = prune_backbone(
        replace(backbone, network=whole), passages, PruneRecipe(method=method, layers=3), tmp_path / "out", seed=0
    )

    opened = load_backbone(tmp_path / "out")
    assert (opened.config.layers, made.metrics["shape"]["layers"]) == (3, 3)
    for layer, place in zip(opened.network.layers, kept, strict=True):
        assert all(torch.equal(tensor, before[place][name]) for name, tensor in layer.state_dict().items())


@pytest.mark.parametrize("killed_at", ["masks, step 2 of", "language model, step 2 of"])
def test_a_killed_stage_goes_on_to_the_same_end(killed_at, backbone, passages, tmp_path, monkeypatch):
    """A kill while masks are learned or while the network is repaired costs what was not saved, and changes nothing."""
    monkeypatch.setattr(run, "_SAVE_SECONDS", 0)
    told: list[str] = []

    def stop(text: str) -> None:
        if killed_at in text:
            raise Killed

    def prune(name: str, report) -> None:
        fresh = replace(backbone, network=make_network())
        prune_backbone(fresh, passages, RECIPE, tmp_path / name, seed=0, report=report)

    prune("whole", lambda _: None)
    with pytest.raises(Killed):
        prune("killed", stop)
    prune("killed", told.append)

    assert told[0].startswith("going on from step") and not any("measuring" in text for text in told)
    assert not any(text.startswith(killed_at.replace("2", "1")) for text in told)
    one, other = (load_backbone(tmp_path / name) for name in ("whole", "killed"))
    for mine, yours in zip(one.network.parameters(), other.network.parameters(), strict=True):
        assert torch.equal(mine, yours)
    metrics = [run.open_checkpoint(tmp_path / name).metrics for name in ("whole", "killed")]
    assert metrics[0] == metrics[1]


def test_a_finished_stage_is_kept_unless_something_has_changed(backbone, passages, tmp_path):
    """A second call does nothing; other weights, another recipe or a half-written end are pruned anew."""
    out, recipe = tmp_path / "out", PruneRecipe(method="last-layers", layers=2, continue_steps=1, batch=2, length=12)

    def prune(network, recipe) -> list[str]:
        told: list[str] = []
        prune_backbone(replace(backbone, network=network), passages, recipe, out, seed=0, report=told.append)
        return told

    assert prune(make_network(), recipe)
    assert prune(make_network(), recipe) == []
    assert prune(make_network(), replace(recipe, layers=1))
    other = make_network()
    with torch.no_grad():
        other.norm.weight.mul_(1.01)
    assert prune(other, replace(recipe, layers=1))
    (out / WEIGHTS).write_bytes(b"cut short")
    assert prune(other, replace(recipe, layers=1))
    assert load_backbone(out).config.layers == 1


def test_the_vocabulary_is_cut_first(backbone, passages, tmp_path):
    """The network that is pruned has the smaller table, and the tokenizer beside it is the one that fits it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        [f"word{number} other{number}" for number in range(200)] + [each.text for each in make_passages()],
        trainers.BpeTrainer(vocab_size=500, initial_alphabet=alphabet, show_progress=False),
    )
    tokenizer.save(str(backbone.tokenizer))
    rows = tokenizer.get_vocab_size()
    backbone = replace(backbone, network=make_network(vocab_size=rows))
    recipe = replace(RECIPE, method="last-layers", vocabulary=300)

    prune_backbone(backbone, passages, recipe, tmp_path / "out", seed=0)

    opened = load_backbone(tmp_path / "out")
    left = Tokenizer.from_file(str(opened.tokenizer)).get_vocab_size()
    assert opened.config.vocab_size == left < rows


def test_the_vocabulary_knows_the_last_language_and_the_questions(tmp_path, monkeypatch):
    """Of files in order of language every part is counted on, and questions in a language of their own too."""
    monkeypatch.setattr("trainer.prune.run._VOCABULARY_TEXTS", 10)
    with RecordWriter(tmp_path / "passages.jsonl") as writer:
        for number in range(95):
            language = "de" if number < 60 else "en"
            writer.write(Passage(id=str(number), text=f"{language} {number}", language=language))
    with RecordWriter(tmp_path / "queries.jsonl") as writer:
        for number in range(25):
            writer.write(Query(id=str(number), text=f"ru {number}", passage="1", kind="written", language="ru"))

    drawn = list(_draw_texts(tmp_path / "passages.jsonl", tmp_path / "queries.jsonl", ()))

    assert {language: sum(each == language for each, _ in drawn) for language in ("de", "en", "ru")} == {
        "de": 6, "en": 4, "ru": 9,
    }  # fmt: skip
    assert [text for _, text in _draw_texts(tmp_path / "passages.jsonl", None, ["en"])][-1] == "en 92"


@pytest.mark.parametrize(
    ("config", "changes", "said"),
    [
        (SHAPE, {"layers": 4}, "the backbone has 3"),
        (SHAPE, {"ffn_size": 25}, "the backbone has 24"),
        (SHAPE, {"heads": -1}, "'heads' must be 0 or more"),
        (SHAPE, {"method": "magic"}, "must be one of"),
        (SHAPE, {"method": "learned", "mask_steps": 0}, "'mask_steps' must be 1 or more"),
        (SHAPE, {"length": 1}, "'length' must be 2 or more"),
        (SHAPE, {"length": 9000}, "the backbone reads 8192 tokens"),
        (BidirectionalConfig(vocab_size=9, hidden_size=8, layers=2, heads=2, ffn_size=8), {}, "BERT"),
    ],
)
def test_what_cannot_be_cut_is_refused(config, changes, said):
    """A shape beyond the network's, and a method that does not fit it, are told before any work."""
    with pytest.raises(UsageError, match=said):
        check_prune(config, replace(PruneRecipe(layers=2), **changes))


def test_a_corpus_that_is_too_small_is_refused(backbone, tmp_path):
    """Pruning by a few words would fit them alone: it says how much it needs."""
    with RecordWriter(tmp_path / "few.jsonl") as writer:
        writer.write(Passage(id="a", text="w1 w2 w3"))
    with pytest.raises(UsageError, match="3 tokens; pruning needs 96 at least"):
        prune_backbone(backbone, tmp_path / "few.jsonl", RECIPE, tmp_path / "out", seed=0)


def test_one_shot_choices_have_the_wanted_shape():
    """Measured importance keeps as many parts in each layer as were asked for."""
    importance = measure_parts(make_network(), make_corpus(), RECIPE, report=lambda _: None)
    cut = slice_network(make_network(), choose_parts(importance, run.find_targets(SHAPE, RECIPE)))
    assert (cut.config.layers, cut.config.heads, cut.config.ffn_size, cut.config.hidden_size) == (2, 2, 12, 12)
