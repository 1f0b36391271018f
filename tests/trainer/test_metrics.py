"""Metrics against values worked out by hand from trec_eval's definitions."""

import numpy as np
import pytest

from trainer.metrics import (
    Interval,
    bootstrap,
    bootstrap_sets,
    ndcg,
    order_by_score,
    paired_bootstrap,
    paired_bootstrap_sets,
    recall,
    reciprocal_rank,
)

RANKING = ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize(
    ("relevant", "k", "expected"),
    [
        ({"a": 1}, 10, 1.0),
        ({"b": 1}, 10, 0.63093),  # 1 / log2(3)
        ({"a": 1, "c": 1}, 10, 0.91972),  # (1 + 1 / 2) / (1 + 0.63093)
        ({"a": 1, "b": 3}, 10, 0.79671),  # (1 + 3 * 0.63093) / (3 + 0.63093)
        ({"e": 1}, 3, 0.0),
        ({"a": 1, "x": 1}, 10, 0.61315),  # 1 / 1.63093: what was not found counts
        ({"a": 0, "b": -1}, 10, 0.0),
        ({}, 10, 0.0),
    ],
)
def test_ndcg_is_trec_evals(relevant, k, expected):
    """nDCG has linear gains, discounts by log2(rank + 1) and the ideal over all judged documents."""
    assert ndcg(RANKING, relevant, k) == pytest.approx(expected, abs=1e-5)


def test_ideal_is_cut_at_k():
    """Ten right answers in the first ten are perfect, however many more there are."""
    everything = {str(number): 1.0 for number in range(50)}

    assert ndcg(list(everything)[:10], everything, 10) == pytest.approx(1.0)
    assert recall(list(everything)[:10], everything, 10) == pytest.approx(0.2)


def test_recall_and_reciprocal_rank():
    """Recall counts relevant documents in the first k; the reciprocal rank looks for the first one."""
    relevant = {"b": 2.0, "e": 1.0, "x": 1.0, "a": 0.0}

    assert recall(RANKING, relevant, 2) == pytest.approx(1 / 3)
    assert recall(RANKING, relevant, 5) == pytest.approx(2 / 3)
    assert reciprocal_rank(RANKING, relevant) == 0.5
    assert reciprocal_rank(RANKING, {"x": 1.0}) == 0.0


def test_interval_narrows_as_the_normal_one_does():
    """The interval of a mean over 400 even coin throws is about 1.96 * 0.5 / 20 to each side, the same each time."""
    interval = bootstrap([0.0, 1.0] * 200)

    assert interval.mean == 0.5
    assert (interval.low, interval.high) == (pytest.approx(0.451, abs=0.006), pytest.approx(0.549, abs=0.006))
    assert bootstrap([0.0, 1.0] * 200) == interval


def test_pairing_removes_what_queries_have_in_common():
    """A steady gain over very different queries is certain when paired."""
    baseline = [0.0, 0.2, 0.9, 0.5] * 10
    gain = paired_bootstrap([value + 0.05 for value in baseline], baseline)

    assert (gain.low, gain.high) == (pytest.approx(0.05), pytest.approx(0.05))


def test_few_queries_tell_nothing():
    """Below six queries an interval is all that is possible, so that nobody takes one lucky answer for a gain."""
    assert bootstrap([1.0] * 5) == Interval(1.0, 0.0, 1.0)
    assert paired_bootstrap([1.0], [0.5]) == Interval(0.5, -1.0, 1.0)
    assert paired_bootstrap([1.0] * 6, [0.5] * 6).low == 0.5


def test_sets_of_one_query_are_not_certain():
    """One query in each of several sets says as much as so many queries of one set."""
    values, baseline = [1.0, 0.5, 0.9, 0.3, 1.0, 0.4], [0.5, 0.6, 0.8, 0.3, 0.9, 0.5]
    apart = paired_bootstrap_sets([[value] for value in values], [[value] for value in baseline])

    assert apart == paired_bootstrap(values, baseline)
    assert apart.low < 0 < apart.mean < apart.high


def test_a_single_set_of_one_query_may_have_any_value():
    """Beside sets that are sure, the interval is as wide as the one query leaves it: a share of a set's scale."""
    sure = [[0.5] * 20] * 3
    interval = bootstrap_sets([*sure, [1.0]])
    assert (interval.mean, interval.low, interval.high) == pytest.approx((0.625, 0.375, 0.625))
    gain = paired_bootstrap_sets([*sure, [1.0]], [[0.45] * 20] * 3 + [[0.0]])
    assert (gain.low, gain.high) == pytest.approx(((3 * 0.05 - 1) / 4, (3 * 0.05 + 1) / 4))


def test_unpaired_or_empty_values_are_refused():
    """Lists of different queries or of none are errors, not figures."""
    with pytest.raises(ValueError, match="shorter"):
        paired_bootstrap([0.1, 0.2], [0.1])
    with pytest.raises(ValueError, match="no values"):
        bootstrap([])


def test_figures_are_those_of_the_reference_library():
    """On 300 random queries with ties, grades, unjudged and missing documents every figure is trec_eval's."""
    reference = pytest.importorskip("pytrec_eval")
    chooser = np.random.default_rng(7)
    judged, runs = {}, {}
    for number in range(300):
        names = [f"d{place}" for place in range(40)]
        grades = chooser.integers(-1, 4, 40) * (chooser.random(40) < 0.3)
        known = chooser.random(40) < 0.6
        judged[f"q{number}"] = {name: int(grades[at]) for at, name in enumerate(names) if known[at] or at == 0}
        found = chooser.choice(40, size=chooser.integers(1, 40), replace=False)
        # Scores of one decimal place: most queries have ties, many across the tenth rank.
        runs[f"q{number}"] = {names[at]: round(float(chooser.random()), 1) for at in found}
    measures = {"ndcg_cut.10", "recall.5,10", "recip_rank"}
    expected = reference.RelevanceEvaluator(judged, measures).evaluate(runs)

    for query, run in runs.items():
        ranking, grades = order_by_score(run), judged[query]
        assert ndcg(ranking, grades, 10) == pytest.approx(expected[query]["ndcg_cut_10"], abs=1e-9)
        assert recall(ranking, grades, 5) == pytest.approx(expected[query]["recall_5"], abs=1e-9)
        assert recall(ranking, grades, 10) == pytest.approx(expected[query]["recall_10"], abs=1e-9)
        assert reciprocal_rank(ranking, grades) == pytest.approx(expected[query]["recip_rank"], abs=1e-9)


def test_intervals_cover_the_truth():
    """Of 50 samples of 60 queries about 95 in 100 intervals hold the mean that the samples were drawn around."""
    chooser = np.random.default_rng(3)
    covered = [
        interval.low <= 0.4 <= interval.high
        for interval in (bootstrap(list(chooser.beta(2, 3, 60)), seed=seed) for seed in range(50))
    ]
    assert 0.86 <= np.mean(covered) <= 1.0
