"""Groups from rankings that are known in advance: vectors on a circle, rank by rank."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from drama_app.errors import UsageError
from trainer.mine import mine, scale_ranks
from trainer.recipe import MineRecipe
from trainer.records import Passage, Query, RecordWriter, TrainingGroup, read_records, text_id

# Ranks as they are, so that a test can say which passage stands where.
RECIPE = MineRecipe(positives=3, first_negative=6, negatives=4, margin=0.0, positive_margin=2.0, round_trip=5,
                    same_passage=2.0, depth=30)  # fmt: skip


class Circle:
    """Texts "17.5 degrees" are directions; a query "0 q" points to 0."""

    dim, fingerprint = 2, "circle"

    def __init__(self):
        self.asked = 0

    def encode_passages(self, texts):
        angles = np.radians([float(text.split()[0]) for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)

    def encode_queries(self, texts):
        self.asked += len(texts)
        return self.encode_passages(texts)


def _passage(angle, language="en"):
    text = f"{angle} degrees {language}"
    return Passage(id=text_id(text), text=text, language=language)


def _query(angle, passage, **more):
    text = f"{angle} q"
    return Query(**{"id": text_id(text), "text": text, "passage": passage.id, "kind": "crop", "language": "en"} | more)


@pytest.fixture
def no_scaling(monkeypatch):
    """Small corpora with the ranks of large ones."""
    monkeypatch.setattr("trainer.mine._FULL_SCALE", 0.0)
    monkeypatch.setattr("trainer.mine._SMALLEST", -1.0)


def _mine(tmp_path, passages, queries, recipe=RECIPE, encoder=None, **more):
    with RecordWriter(tmp_path / "passages.jsonl") as writer:
        for each in passages:
            writer.write(each)
    out = tmp_path / "groups.jsonl"
    report = mine(
        queries, tmp_path / "passages.jsonl", encoder or Circle(), recipe, out, work=tmp_path / "work", **more
    )
    names = {each.id: int(each.text.split()[0]) for each in passages}
    groups = list(read_records(out, TrainingGroup))
    return report, groups, [([names[i] for i in g.positives], [names[i] for i in g.negatives]) for g in groups]


def test_ranks_decide_for_made_queries_and_people_for_theirs(tmp_path, no_scaling):
    """A crop takes ranks 1 to 3 as answers beside its own passage; a written question keeps its own alone."""
    passages = [_passage(angle) for angle in range(2, 42, 2)]
    queries = [_query(0, passages[3]), _query(1, passages[0], kind="written", exact=True)]
    report, groups, named = _mine(tmp_path, passages, queries)

    assert named[0] == ([8, 2, 4, 6], [12, 14, 16, 18])
    assert named[1] == ([2], [12, 14, 16, 18])
    assert groups[0].positive_scores[1] == pytest.approx(math.cos(math.radians(2)), abs=1e-3)
    assert groups[1].negative_scores == tuple(sorted(groups[1].negative_scores, reverse=True))
    assert (report.groups, report.positives, report.negatives) == (2, 5, 8)


def test_filters_pass_over_what_may_answer(tmp_path, no_scaling):
    """Candidates too near the positive's score, and those that say the same, are left out and counted; later ranks
    take their places."""
    passages = [_passage(angle) for angle in range(0, 60, 2)]
    query = _query(0, passages[10], exact=True)
    margin = MineRecipe(**{name: getattr(RECIPE, name) for name in RECIPE.__slots__} | {"margin": 0.05})
    report, _, named = _mine(tmp_path, passages, [query], margin)
    # cos 20 - 0.05 = 0.8897, so that angles from 28 on are far enough.
    assert named == [([20], [28, 30, 32, 34])]
    assert report.passed_over == {"too near the positive's score": 8, "a positive": 1, "another language": 0}

    alike = MineRecipe(**{name: getattr(RECIPE, name) for name in RECIPE.__slots__} | {"same_passage": 0.995})
    report, _, named = _mine(tmp_path, passages, [_query(0, passages[4], exact=True)], alike)
    assert named == [([8], [14, 16, 18, 20])]  # cos 4 = 0.9976 says the same, cos 6 = 0.9945 does not
    assert report.passed_over["says the same as a positive"] == 2


def test_far_neighbours_do_not_answer(tmp_path, no_scaling):
    """A neighbour far below a query's own passage is no answer, whatever its rank."""
    recipe = MineRecipe(**{name: getattr(RECIPE, name) for name in RECIPE.__slots__} | {"positive_margin": 0.1})
    passages = [_passage(angle) for angle in (0, 10, 50, 60, 70, 80, 90)]
    assert _mine(tmp_path, passages, [_query(0, passages[0])], recipe)[2] == [([0, 10], [80, 90])]


def test_queries_are_left_out_for_a_reason(tmp_path, no_scaling):
    """Round trip, evaluation sets, repetition and missing passages are counted by reason."""
    passages = [_passage(angle) for angle in range(0, 60, 2)]
    queries = [
        _query(0, passages[0]),
        _query(0, passages[1]),
        _query(3, passages[20]),
        _query(5, passages[2]),
        _query(7, _passage(1000)),
    ]
    report, _, named = _mine(tmp_path, passages, queries, evaluation={queries[3].id: "set"})

    assert report.rejected == {
        "the same question once more": 1,
        "its passage does not come back": 1,
        "in an evaluation set": 1,
        "its passage is not in the corpus": 1,
    }
    assert [positives for positives, _ in named] == [[0, 2, 4]]


def test_languages_stay_among_themselves(tmp_path, no_scaling):
    """Answers and negatives are in the language of the passage; a group across languages says so."""
    passages = [_passage(angle, language) for angle in range(0, 60, 2) for language in ("de", "en")]
    query = _query(0, passages[1], language="de", exact=True, kind="parallel")
    report, [group], named = _mine(tmp_path, passages, [query])

    assert group.language == "de>en"
    assert named == [([0], [10, 12, 14, 16])]
    english = {each.id for each in passages if each.language == "en"}
    assert {*group.positives, *group.negatives} <= english
    assert report.passed_over["another language"] == 15


def test_an_interrupted_mining_goes_on(tmp_path, no_scaling, monkeypatch):
    """Queries that were done are not asked again; groups and counts are those of one run."""
    monkeypatch.setattr("trainer.mine._BLOCK", 4)
    passages = [_passage(angle) for angle in range(0, 80, 2)]
    queries = [_query(angle + 0.25, passages[(angle * 3) % 40]) for angle in range(20)]
    (tmp_path / "whole").mkdir()
    whole = _mine(tmp_path / "whole", passages, queries)

    class Tired(Circle):
        def encode_queries(self, texts):
            if self.asked >= 8:
                raise KeyboardInterrupt
            return super().encode_queries(texts)

    with pytest.raises(KeyboardInterrupt):
        _mine(tmp_path, passages, queries, encoder=Tired())
    assert not (tmp_path / "groups.jsonl").exists()
    encoder = Circle()
    again = _mine(tmp_path, passages, queries, encoder=encoder)

    assert encoder.asked == 12
    assert again == whole
    assert sorted(path.name for path in tmp_path.glob("groups*")) == ["groups.jsonl"]


def test_ranks_follow_the_size_of_the_corpus():
    """The recipe's ranks are those of a million passages; fewer passages hold fewer answers, in steps."""
    recipe = MineRecipe()
    scaled = [(each.positives, each.first_negative) for each in (scale_ranks(10**n, recipe) for n in range(8))]
    assert scaled == [(1, 4)] * 4 + [(3, 10), (7, 22), (10, 31), (10, 31)]


def test_no_group_and_doubled_passages_are_errors(tmp_path, no_scaling):
    """Nothing to train on, or a corpus that holds a passage twice, ends in a sentence."""
    passages = [_passage(angle) for angle in range(0, 20, 2)]
    with pytest.raises(UsageError, match="no training group is left"):
        _mine(tmp_path, passages, [])
    with pytest.raises(UsageError, match="comes twice"):
        _mine(tmp_path, [*passages, passages[0]], [_query(0, passages[0])])


def test_progress_is_told(tmp_path, no_scaling):
    """Sentences say how far encoding and mining are."""
    said = []
    passages = [_passage(angle) for angle in range(0, 20, 2)]
    _mine(tmp_path, passages, [_query(0, passages[0])], report=said.append)
    assert said == ["10 of 10 passages encoded", "1 of 1 queries, 1 groups"]
    assert json.loads((tmp_path / "work" / "passages.f16.json").read_text())["done"] is True


def test_no_depth_searches_nothing(tmp_path):
    """With a depth of 0 no text is encoded, and each query keeps its own passages without any negative."""
    passages = [_passage(0), _passage(40, "de")]
    encoder = Circle()
    encoder.encode_passages = encoder.encode_queries = lambda texts: pytest.fail("a text was encoded")
    queries = [_query(1, passages[0]), _query(2, passages[1])]

    report, groups, _ = _mine(tmp_path, passages, queries, replace(RECIPE, depth=0), encoder)

    assert (report.groups, report.positives, report.negatives) == (2, 2, 0)
    assert [group.positives for group in groups] == [(passages[0].id,), (passages[1].id,)]
    assert [group.language for group in groups] == ["en", "en>de"]
    assert not any(group.negatives or group.positive_scores for group in groups)
