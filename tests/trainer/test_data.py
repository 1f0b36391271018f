"""What the loop is fed."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from drama_app.errors import UsageError
from tests.trainer.tiny_training import RECIPE, load_world, make_world
from trainer.overlap import collect_ids
from trainer.records import Passage, TrainingGroup, read_records
from trainer.train.data import Sampler, weigh_strata


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Groups, passages and tokenizer."""
    folder = tmp_path_factory.mktemp("world")
    make_world(folder)
    return folder


def test_rows_are_the_texts(world):
    """Queries and passages are tokenised with their prefixes and cut at their lengths."""
    data = load_world(world, replace(RECIPE, query_prefix="t0w0 ", query_tokens=3, passage_tokens=6))
    group = next(iter(read_records(world / "groups.jsonl", TrainingGroup)))
    tokens = [2 + int(word[2:].removeprefix("w")) for word in group.query.split()]
    passage = next(iter(read_records(world / "passages.jsonl", Passage)))

    assert data.queries[0].tolist() == [2, *tokens][:3]
    assert data.passages[0].tolist() == [2 + int(word[2:].removeprefix("w")) for word in passage.text.split()][:6]
    assert [len(data.positives[row]) for row in range(3)] == [1, 2, 3]
    assert data.strata == (("crop", "a"), ("crop", "b"), ("written", "a"), ("written", "b"))


def test_batches_are_whole_and_repeatable(world):
    """Each batch has distinct groups and passages, and its positive answers; a second sampler draws the same."""
    data = load_world(world)
    samplers = Sampler(data, RECIPE), Sampler(data, RECIPE)
    for step in range(1, 30):
        batch, again = (sampler.draw(step) for sampler in samplers)
        assert np.array_equal(batch.groups, again.groups) and np.array_equal(batch.passages, again.passages)
        assert len(set(batch.groups.tolist())) == RECIPE.batch
        assert len(set(batch.passages.tolist())) == len(batch.passages)
        for row, place, answers in zip(batch.groups, batch.positives, batch.answers, strict=True):
            assert batch.passages[place] in data.positives[row]
            assert set(answers.tolist()) - {-1} == set(data.positives[row].tolist())


def test_a_sampler_goes_on_from_what_was_drawn(world):
    """The counts of groups drawn are all that is needed to continue."""
    data = load_world(world)
    whole, first, second = (Sampler(data, RECIPE) for _ in range(3))
    drawn = [whole.draw(step).groups.tolist() for step in range(1, 13)]
    for step in range(1, 6):
        first.draw(step)
    second.drawn = list(first.drawn)
    assert [second.draw(step).groups.tolist() for step in range(6, 13)] == drawn[5:]


def test_every_group_comes_once_a_round(world):
    """Groups of a stratum come in shuffled rounds: after three of them counts differ by two at most."""
    data = load_world(world)
    recipe = replace(RECIPE, same_language=0.0, language_exponent=1.0)
    sampler = Sampler(data, recipe)
    counts = Counter(row for step in range(1, 24) for row in sampler.draw(step).groups.tolist())
    assert len(counts) == len(data.queries)
    assert max(counts.values()) - min(counts.values()) <= 3


def test_same_language_batches_hold_one_language(world):
    """With a share of 1 every batch is of one language, and both languages come; small ones are topped up."""
    data = load_world(world)
    sampler = Sampler(data, replace(RECIPE, same_language=1.0))
    seen = [{data.strata[place][1] for place in data.stratum[sampler.draw(step).groups]} for step in range(1, 20)]
    assert {frozenset(each) for each in seen} == {frozenset("a"), frozenset("b")}

    large = Sampler(data, replace(RECIPE, same_language=1.0, batch=100)).draw(1)
    assert len(set(large.groups.tolist())) == 100


def test_mixture_weighs_kinds_and_flattens_languages():
    """Kinds have their shares, languages inside them the power of their count; unnamed kinds are left out."""
    strata = [("crop", "en", 900), ("crop", "sw", 100), ("written", "en", 10)]
    weights = weigh_strata(strata, replace(RECIPE, mixture={"crop": 0.4, "written": 0.1}, language_exponent=0.5))
    assert weights.tolist() == pytest.approx([0.6, 0.2, 0.2])
    assert weigh_strata(strata, replace(RECIPE, language_exponent=1.0)).tolist() == pytest.approx(
        [900 / 1010, 100 / 1010, 10 / 1010]
    )


def test_kinds_without_a_share_are_left_out(world):
    """A group of a kind that the mixture does not name is not trained on, and lines still name the file's."""
    data = load_world(world, replace(RECIPE, mixture={"crop": 1.0}))
    assert {kind for kind, _ in data.strata} == {"crop"}
    assert data.lines.tolist() == list(range(0, 120, 3))
    with pytest.raises(UsageError, match="0 groups of the kinds"):
        load_world(world, replace(RECIPE, mixture={"other": 1.0}))


def test_texts_of_an_evaluation_set_are_refused(world, tmp_path):
    """A passage or query that is also in a test set ends the run before it begins, however it is written."""
    passage = next(iter(read_records(world / "passages.jsonl", Passage)))
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "corpus.jsonl").write_text(json.dumps({"_id": "1", "text": passage.text.upper()}))
    (tmp_path / "set" / "queries.jsonl").write_text('{"_id": "1", "text": "unseen"}\n')
    with pytest.raises(UsageError, match=r"1 texts are also in evaluation sets .*'set'"):
        load_world(world, evaluation=collect_ids(tmp_path))

    query = next(iter(read_records(world / "groups.jsonl", TrainingGroup))).query
    (tmp_path / "set" / "corpus.jsonl").write_text("")
    (tmp_path / "set" / "queries.jsonl").write_text(json.dumps({"_id": "1", "text": f" {query} "}))
    with pytest.raises(UsageError, match=r"groups.jsonl: \d+ texts are also"):
        load_world(world, evaluation=collect_ids(tmp_path))
    (tmp_path / "set" / "queries.jsonl").write_text('{"_id": "1", "text": "unseen"}\n')
    assert load_world(world, evaluation=collect_ids(tmp_path))


def test_unknown_passage_and_broken_tokenizer_are_named(world, tmp_path):
    """Groups from another corpus, and a file that is no tokenizer, are errors in a sentence."""
    for name in ("groups.jsonl", "passages.jsonl", "tokenizer.json"):
        (tmp_path / name).write_bytes((world / name).read_bytes())
    with (tmp_path / "groups.jsonl").open("a") as stream:
        stream.write('{"query": "x", "positives": ["nowhere"], "kind": "crop"}\n')
    with pytest.raises(UsageError, match="passage 'nowhere' is not among the passages"):
        load_world(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UsageError, match="cannot be read as a tokenizer"):
        load_world(tmp_path)
