"""Which groups stand beside which in a batch."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from drama_app.errors import UsageError
from tests.trainer.tiny_training import RECIPE, TOPICS, load_world, make_world, train_world
from trainer.recipe import TrainRecipe
from trainer.train.data import Sampler, TeacherVectors
from trainer.train.neighbours import order_by_neighbours

NEAR = replace(RECIPE, neighbours=2, mixture={"written": 1.0}, same_language=0.0)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Groups, passages and tokenizer."""
    folder = tmp_path_factory.mktemp("world")
    make_world(folder)
    return folder


def load_taught(world, recipe=NEAR):
    """The world with a teacher that knows its topics: two written groups each."""
    topics = np.random.default_rng(0).standard_normal((TOPICS, 32), dtype=np.float32)
    queries, passages = topics[np.arange(3 * TOPICS) % TOPICS], topics[np.arange(4 * TOPICS) // 4]
    return load_world(world, recipe, teacher=TeacherVectors(queries=queries, passages=passages))


@pytest.mark.parametrize(("count", "size"), [(40, 4), (43, 4), (3, 4), (4, 4), (1, 1), (7, 1)])
def test_an_order_is_a_permutation_of_neighbours(count, size):
    """Every row comes once, runs of `size` are of one blob where blobs are that large, and what is left comes last."""
    blobs = np.arange(count) // size
    vectors = np.eye(count // size + 1, dtype=np.float32)[blobs]
    order = order_by_neighbours(vectors, size, np.random.default_rng(3))
    assert sorted(order.tolist()) == list(range(count))
    runs = [set(blobs[order[start : start + size]]) for start in range(0, count - size + 1, size)]
    alone = count % size  # a seed of the incomplete blob takes rows of another one
    assert sum(len(run) > 1 for run in runs) <= alone


def test_an_order_depends_on_chance_alone():
    """The same chance makes the same order, another one other neighbourhoods."""
    vectors = np.random.default_rng(1).standard_normal((50, 8), dtype=np.float32)
    first, again, other = (order_by_neighbours(vectors, 5, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.tolist() == again.tolist() != other.tolist()
    runs = [{frozenset(order[start : start + 5].tolist()) for start in range(0, 50, 5)} for order in (first, other)]
    assert runs[0] != runs[1]


def test_neighbours_are_drawn_together(world):
    """A batch is made of pairs that the teacher finds alike; by chance it is not."""
    data = load_taught(world)
    sampler = Sampler(data, NEAR)
    for step in range(1, 12):
        assert set(Counter(line % TOPICS for line in sampler.draw(step).lines.tolist()).values()) == {2}
    plain = Sampler(data, replace(NEAR, neighbours=0)).draw(1)
    assert 1 in Counter(line % TOPICS for line in plain.lines.tolist()).values()


def test_a_batch_is_full_whatever_the_neighbourhood(world):
    """Batches that a neighbourhood does not divide, and neighbourhoods larger than a stratum, still fill each batch."""
    for size in (3, 5, 64):
        recipe = replace(NEAR, neighbours=size)
        data = load_taught(world, recipe)
        sampler = Sampler(data, recipe)
        drawn = [sampler.draw(step).groups.tolist() for step in range(1, 8)]
        assert [len(set(groups)) for groups in drawn] == [NEAR.batch] * 7
        going_on = Sampler(data, recipe)
        for step in range(1, 4):
            going_on.draw(step)
        other = Sampler(data, recipe)
        other.drawn = list(going_on.drawn)
        assert [other.draw(step).groups.tolist() for step in range(4, 8)] == drawn[3:]


def test_neighbours_need_vectors(world, tmp_path):
    """Without the vectors by which they are found the run is refused, and less than none is no number of neighbours."""
    with pytest.raises(UsageError, match="no embeddings of a teacher"):
        train_world(world, tmp_path / "run", NEAR)
    with pytest.raises(ValueError, match="neighbours"):
        TrainRecipe(neighbours=-1)


def test_a_training_with_neighbours_learns(world, tmp_path, one_thread):
    """Neighbours, which are harder, are still told apart in the end."""
    recipe = replace(NEAR, neighbours=4, steps=20, save_every=20, learning_rate=1e-2)
    seen = []
    train_world(world, tmp_path / "run", recipe, data=load_taught(world, recipe), report=seen.append)
    assert seen[-1].loss < 0.8 * seen[0].loss
