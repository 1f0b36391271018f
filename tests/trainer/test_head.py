"""A head fitted to a teacher before the first step."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from drama_app.errors import UsageError  # noqa: E402
from tests.trainer.tiny_training import RECIPE, load_world, make_network, train_world  # noqa: E402
from trainer.checkpoint import WEIGHTS, read_tensors  # noqa: E402
from trainer.outline import check_shape  # noqa: E402
from trainer.recipe import PruneRecipe, Recipe  # noqa: E402
from trainer.train.data import TeacherVectors  # noqa: E402
from trainer.train.head import HEAD, add_head, fit_head, pool_texts  # noqa: E402

WITH_HEAD = replace(RECIPE, head=12, widths=(12, 6), embedding_weight=1.0)


def _imitate(world, width=12):
    """The world with a teacher that is a linear map of the untrained network, which a head can learn exactly."""
    data, network = load_world(world), make_network()
    turn = torch.randn(16, width, generator=torch.Generator().manual_seed(3))
    queries, passages = (
        (pool_texts(network, [rows[at] for at in range(len(rows))], 0) @ turn).numpy().astype(np.float16)
        for rows in (data.queries, data.passages)
    )
    return replace(data, teacher=TeacherVectors(queries=queries, passages=passages))


def test_a_linear_teacher_is_met_exactly():
    """Where the teacher is a linear map of the pooled rows, offset included, the head is that map."""
    chooser = torch.Generator().manual_seed(1)
    pooled = torch.nn.functional.normalize(torch.randn(400, 10, generator=chooser), dim=-1)
    weight, bias = torch.randn(4, 10, generator=chooser), torch.randn(4, generator=chooser)

    fitted = fit_head(pooled, pooled @ weight.T + bias)

    assert fitted.cosine > 0.9999
    assert torch.allclose(fitted.weight, weight, atol=1e-3) and torch.allclose(fitted.bias, bias, atol=1e-3)


def test_noise_gets_a_penalty():
    """With few texts and much noise the fit is held back: it lies nearer to the truth than least squares do."""
    chooser = torch.Generator().manual_seed(2)
    pooled = torch.nn.functional.normalize(torch.randn(80, 50, generator=chooser), dim=-1)
    truth = torch.randn(8, 50, generator=chooser)
    wanted = pooled @ truth.T + torch.randn(80, 8, generator=chooser)

    fitted = fit_head(pooled, wanted)

    exact = torch.linalg.lstsq(pooled, wanted).solution.T
    assert (fitted.weight - truth).norm() < 0.7 * (exact - truth).norm()


def test_the_network_starts_at_its_teacher(world, tmp_path):
    """Embeddings of the network with its new head point where the teacher's do, before any step."""
    data = _imitate(world)
    told = []
    network = add_head(make_network(), data, WITH_HEAD, tmp_path / HEAD, report=told.append)

    assert network.config.dim == 12
    rows = [data.passages[at] for at in range(40)]
    with torch.no_grad():
        mine = torch.stack([network.embed(torch.tensor([row.tolist()]))[0] for row in rows])
    wanted = torch.from_numpy(data.teacher.passages[:40].astype(np.float32))
    assert torch.nn.functional.cosine_similarity(mine, wanted, dim=-1).min() > 0.99
    assert "before any training" in told[0]


def test_a_run_that_goes_on_has_the_same_head(world, tmp_path):
    """A second call reads the head that the first has fitted, whatever the network has become, if it is as wide."""
    data = _imitate(world)
    first = add_head(make_network(), data, WITH_HEAD, tmp_path / HEAD)
    changed = make_network()
    with torch.no_grad():
        changed.embed_norm.weight.mul_(-1)
    second = add_head(changed, data, WITH_HEAD, tmp_path / HEAD)
    assert torch.equal(first.head.weight, second.head.weight)
    assert torch.equal(first.head.bias, second.head.bias)
    prefixed = add_head(changed, data, replace(WITH_HEAD, passage_prefix="passage: "), tmp_path / HEAD)
    assert not torch.equal(first.head.weight, prefixed.head.weight)  # what is read otherwise is fitted anew
    narrower = replace(WITH_HEAD, head=WITH_HEAD.head // 2)
    assert add_head(make_network(), data, narrower, tmp_path / HEAD).head.weight.shape[0] == narrower.head


def test_a_head_trains_and_is_kept(world, tmp_path):
    """A training with a head ends in a checkpoint that has it, as wide as the recipe says, and trained."""
    data = _imitate(world)
    network = add_head(make_network(), data, WITH_HEAD, tmp_path / HEAD)
    before = network.head.weight.detach().clone()
    final = train_world(world, tmp_path / "run", WITH_HEAD, network=network, data=data)
    after = read_tensors(final.folder / WEIGHTS)["head.weight"]
    assert after.shape == (12, 16) and not torch.equal(before, after)


def test_a_teacher_that_is_too_narrow_is_refused(world, tmp_path):
    """A head wider than the teacher's vectors is a usage error that names both widths."""
    with pytest.raises(UsageError, match="'head' = 12, but the teacher's vectors have 8 columns"):
        add_head(make_network(), _imitate(world, width=8), WITH_HEAD, tmp_path / HEAD)


def test_a_network_with_a_head_is_given_no_second_one():
    """The check before a run names the key, and lets a network without a head pass with widths up to the new one's."""
    recipe = Recipe(prune=PruneRecipe(method="none"), train=replace(WITH_HEAD, query_tokens=8, passage_tokens=24))
    config = make_network().config
    check_shape(config, recipe)
    with pytest.raises(UsageError, match="'head' is for a network that has none"):
        check_shape(replace(config, output_size=16), recipe)
