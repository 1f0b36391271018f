"""Token rows that a whole network teaches to what is left of it."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from accelerate import Accelerator  # noqa: E402

from drama_app.errors import UsageError  # noqa: E402
from tests.trainer.tiny_training import (  # noqa: E402
    KEPT,
    RECIPE,
    TAUGHT,
    load_world,
    make_network,
    make_student,
    make_whole,
    train_world,
)
from trainer.encoder import EncoderConfig  # noqa: E402
from trainer.network import build_network  # noqa: E402
from trainer.outline import check_shape  # noqa: E402
from trainer.recipe import PruneRecipe, Recipe, TrainRecipe  # noqa: E402
from trainer.train.rows import WholeNetwork  # noqa: E402
from trainer.train.step import Passes, Workers, accumulate_gradients, pad_rows  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


def _measure(rows, *, chunk_tokens, keep_tokens):
    """Losses and gradients of a batch whose embeddings are to be short."""
    student, teacher = make_student()
    teacher.settle(student, rows)

    def shorten(leaf):
        loss = leaf.square().sum()
        loss.backward()
        return loss.detach()

    passes = Passes(pad=0, chunk_tokens=chunk_tokens, keep_tokens=keep_tokens, width=16)
    found = accumulate_gradients(student, rows, shorten, Workers(Accelerator(cpu=True)), passes, teacher)
    return found, {name: each.grad for name, each in student.named_parameters() if each.grad is not None}


@pytest.mark.parametrize(("chunk_tokens", "keep_tokens"), [(1, 0), (60, 0), (60, 150), (10**6, 10**6)])
def test_chunks_add_up_to_the_distance_of_rows(world, chunk_tokens, keep_tokens):
    """In chunks of any size, kept or not, the loss is the mean distance of unpadded rows over their variance."""
    data = load_world(world)
    rows = [data.passages[row] for row in range(24)]
    (short, apart), gradients = _measure(rows, chunk_tokens=chunk_tokens, keep_tokens=keep_tokens)

    student, whole = make_student()[0], make_whole()
    ids, mask = pad_rows(rows, 0, torch.device("cpu"))
    mine, theirs = (list(network.iterate_rows(ids, mask)) for network in (student, whole))
    expected = torch.zeros(())
    for place, layer in enumerate(KEPT):
        wanted, given = (each[mask.bool()] for each in (theirs[layer + 1].detach(), mine[place + 1]))
        expected = expected + 2.0 / 2 * (wanted - given).square().sum(1).mean() / wanted.var(dim=0).sum()
    (expected + student.embed(ids, mask).square().sum()).backward()

    assert apart.item() == pytest.approx(expected.item(), rel=1e-5) and apart > 0.1
    assert short > 0
    plain = {name: each.grad for name, each in student.named_parameters() if each.grad is not None}
    assert gradients.keys() == plain.keys() and "embed_tokens.weight" not in plain
    assert all(torch.allclose(gradients[name], plain[name], rtol=1e-4, atol=1e-5) for name in plain)


def test_what_is_left_comes_near_the_whole(world, tmp_path):
    """Layers that learn what their blocks did bring rows and embeddings nearer to the whole network's."""
    recipe = replace(TAUGHT, steps=60, learning_rate=1e-2, save_every=60, temperature=1.0, chunk_tokens=2000)
    data, seen = load_world(world, recipe), []
    ids, mask = pad_rows([data.passages[row] for row in range(100, 160)], 0, torch.device("cpu"))
    whole, (student, teacher) = make_whole(), make_student()
    wanted = whole.embed(ids, mask).detach()
    before = torch.cosine_similarity(student.embed(ids, mask), wanted).mean()

    train_world(world, tmp_path / "run", recipe, network=student, data=data, whole=teacher, report=seen.append)

    assert seen[-1].rows < 0.5 * seen[0].rows
    assert seen[-1].loss == pytest.approx(seen[-1].contrastive + seen[-1].rows, rel=1e-5)
    assert torch.cosine_similarity(student.eval().embed(ids, mask), wanted).mean() > before + 0.3 * (1 - before)
    assert teacher.network.embed_tokens is student.embed_tokens  # one table in memory


def test_a_network_that_cannot_teach_rows_is_refused():
    """Rows of an LLM, which look one way only, teach nothing, nor does a network whose layers were named wrongly."""
    with pytest.raises(UsageError, match="without some of its layers"):
        WholeNetwork(make_whole(), (0, 1, 3), 1.0).settle(make_student()[0], [])
    shape = {"vocab_size": 50, "hidden_size": 16, "layers": 2, "heads": 2, "kv_heads": 2, "head_dim": 8, "ffn_size": 32}
    llm = build_network(EncoderConfig(family="llama", **shape))
    with pytest.raises(UsageError, match="BERT or XLM-R"):
        WholeNetwork(llm, (1,), 1.0)


@pytest.mark.parametrize(
    "prune", [{"method": "none"}, {"method": "last-layers"}, {"layers": 4}, {"layers": 0}, {"vocabulary": 300}]
)
def test_networks_that_lost_more_than_layers_are_told_before_a_run(prune):
    """Rows can be compared where layers alone are gone; anything else is refused by name before a corpus is read."""
    train = replace(TAUGHT, query_tokens=8)
    usual = PruneRecipe(method="spaced-layers", layers=2, length=12)
    check_shape(make_whole().config, Recipe(prune=usual, train=train))
    with pytest.raises(UsageError, match="'row_weight' is for"):
        check_shape(make_whole().config, Recipe(prune=replace(usual, **prune), train=train))


def test_a_recipe_shares_a_frozen_table():
    """A table that trains cannot be the teacher's too, and a weight below 0 would drive rows apart."""
    with pytest.raises(ValueError, match="freeze_tokens"):
        TrainRecipe(row_weight=1.0)
    with pytest.raises(ValueError, match="row_weight"):
        TrainRecipe(row_weight=-1.0)


def test_no_teacher_costs_nothing(world, tmp_path):
    """Without a whole network the part of the rows is 0."""
    seen = []
    train_world(world, tmp_path / "run", replace(RECIPE, steps=2), network=make_network(), report=seen.append)
    assert [each.rows for each in seen] == [0.0, 0.0]
    assert np.isfinite(seen[-1].loss)
