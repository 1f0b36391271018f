"""Learned masks: they reach the wanted shape, agree with what is cut, and find what is useless."""

import copy
from dataclasses import replace

import pytest
import torch

from drama_app.errors import TrainingError
from tests.trainer.tiny_language import SHAPE, make_corpus, make_network, measure_mean
from trainer.prune.importance import choose_parts, measure_importance
from trainer.prune.language_model import train_language
from trainer.prune.masks import LearnedMasks, learn_masks
from trainer.prune.slicing import Keep, apply_masks, slice_network
from trainer.recipe import PruneRecipe

TARGETS = {"layers": 2, "heads": 2, "ffn": 12, "hidden": 12}
RECIPE = PruneRecipe(
    method="learned", mask_steps=150, batch=4, length=12, learning_rate=3e-3, mask_learning_rate=0.15
)  # fmt: skip


def test_learned_masks_reach_the_wanted_shape_and_agree_with_the_cut_network():
    """The expected numbers lie near the wanted ones at the end; the masked network and its cut twin agree to 1e-5."""
    network, corpus = make_network(), make_corpus()
    masks = LearnedMasks(SHAPE, TARGETS)
    first = {kind: expected.mean().item() for kind, expected in masks.expect().items()}

    steps = list(learn_masks(network, masks, corpus, RECIPE))

    expected = {kind: values.mean().item() for kind, values in masks.expect().items()}
    assert len(steps) == 150 and "expected" in steps[-1].note
    for kind, whole in {"layers": 3, "heads": 4, "ffn": 24, "hidden": 16}.items():
        assert first[kind] > 0.95 * whole
        assert abs(expected[kind] - TARGETS[kind]) < 0.15 * whole, kind
    settled, ids = masks.settle(), corpus.held_out[:2]
    twin = apply_masks(network, settled)
    whole_logits = network.predict(network(ids, masks=settled) * settled.hidden)
    assert (twin.config.layers, twin.config.heads, twin.config.ffn_size, twin.config.hidden_size) == (2, 2, 12, 12)
    assert torch.allclose(whole_logits, twin.predict(twin(ids)), atol=1e-5)


def test_what_is_chosen_is_what_is_settled():
    """The parts that are chosen are those whose settled factors are not 0, exactly as many as were wanted."""
    masks = LearnedMasks(SHAPE, TARGETS)
    with torch.no_grad():
        for scores in masks.scores.values():
            scores.normal_(generator=torch.Generator().manual_seed(2))
    settled = masks.settle()

    assert masks.choose() == Keep(
        layers=tuple(settled.layers.nonzero().flatten().tolist()),
        heads=tuple(tuple(row.nonzero().flatten().tolist()) for row in settled.heads),
        ffn=tuple(tuple(row.nonzero().flatten().tolist()) for row in settled.ffn),
        hidden=tuple(settled.hidden.nonzero().flatten().tolist()),
    )
    assert [len(row) for row in masks.choose().ffn] == [12, 12, 12]


def test_the_constraint_pulls_back_from_both_sides():
    """With too many parts the multipliers make each one dearer, with too few cheaper."""
    masks = LearnedMasks(SHAPE, {"ffn": 12})
    up = torch.optim.SGD(masks.multipliers, lr=1.0, maximize=True)
    masks.constrain(progress=1.0).backward()
    up.step()
    assert bool((masks.linear["ffn"] > 0).all())
    with torch.no_grad():
        masks.scores["ffn"].fill_(-4.0)
        masks.linear["ffn"].zero_()
    up.zero_grad()
    masks.constrain(progress=1.0).backward()
    up.step()
    assert bool((masks.linear["ffn"] < 0).all())


def test_the_wanted_numbers_come_down_slowly():
    """At the start the constraint asks for the whole network, so hardly anything; at the end for the wanted shape."""
    masks = LearnedMasks(SHAPE, {"ffn": 12, "layers": 1})

    asked = [masks.constrain(progress=progress).item() for progress in (0.0, 0.5, 1.0, 2.0)]

    assert asked[0] < 0.1 < asked[1] < asked[2] == asked[3]


def test_parts_that_are_known_to_matter_are_the_last_to_go():
    """What was measured before decides the order at the start, in any scale."""
    known = torch.tensor([3e-9, 5.0, 1e-9, 7e3])
    masks = LearnedMasks(SHAPE, {"heads": 2}, {"heads": known.expand(3, 4)})

    assert masks.choose().heads == ((1, 3),) * 3
    assert masks.scores["heads"][0].argsort().tolist() == [2, 0, 1, 3]


def test_learned_masks_leave_no_higher_loss_than_one_shot_where_parts_are_useless():
    """Where half of the units do nothing both find them, and learning the masks has cost no loss by the cut."""
    network, corpus, targets = make_network(), make_corpus(), {"ffn": 12}
    for layer in network.layers:
        silence_every_other_unit(layer)
    for _ in train_language(network, corpus, steps=100, rows=8, length=12, rate=3e-3):
        for layer in network.layers:
            silence_every_other_unit(layer)
    importance = measure_importance(network, corpus.draw(0, 8, 12), ["ffn"])
    one_shot = slice_network(network, choose_parts(importance, targets))
    learning, masks = copy.deepcopy(network), LearnedMasks(SHAPE, targets, importance)

    for _ in learn_masks(learning, masks, corpus, replace(RECIPE, mask_steps=60, batch=8, learning_rate=3e-4)):
        pass
    learned = apply_masks(learning, masks.settle())

    assert choose_parts(importance, targets).ffn == (tuple(range(1, 24, 2)),) * 3
    useful = sum(unit % 2 for units in masks.choose().ffn for unit in units)
    assert useful >= 34  # of 36: the others learn as well while masks do
    assert measure_mean(learned, corpus) <= measure_mean(one_shot, corpus)


@torch.no_grad()
def silence_every_other_unit(layer) -> None:
    layer.mlp.down_proj.weight[:, ::2] = 0


def test_learning_goes_on_where_it_stopped_and_refuses_nan():
    """Six steps in two calls give the scores, multipliers and weights of six in one; NaN stops it."""
    corpus, recipe = make_corpus(), replace(RECIPE, mask_steps=6)
    networks = [make_network(), make_network()]
    masks = [LearnedMasks(SHAPE, TARGETS), LearnedMasks(SHAPE, TARGETS)]
    for _ in learn_masks(networks[0], masks[0], corpus, recipe):
        pass
    for step in learn_masks(networks[1], masks[1], corpus, recipe):
        if step.number == 3:
            state = copy.deepcopy(step.get_state())
            break
    masks[1] = LearnedMasks(SHAPE, TARGETS)
    for _ in learn_masks(networks[1], masks[1], corpus, recipe, start=3, state=state):
        pass
    for one, other in (networks, masks):
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))

    with torch.no_grad():
        networks[0].layers[0].mlp.down_proj.weight[0, 0] = float("nan")
    with pytest.raises(TrainingError, match="learning_rate"):
        next(learn_masks(networks[0], masks[0], corpus, recipe))
