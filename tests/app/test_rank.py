"""Fusion, exact matches, grouping and "nothing good enough"."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from drama_app.rank import (
    Fused,
    Scale,
    cosines_of,
    count_likely,
    find_exact,
    find_missing_phrase,
    fuse,
    group,
    is_hopeless,
    measure_pairs,
    measure_scale,
)
from drama_app.records import Hit, Mode, PassageHit, Results, Score
from drama_app.store import Candidate

SCALE = Scale(mean=0.0, deviation=0.1, measured=True)


def meaning(**cosines: float) -> list[Candidate]:
    return [Candidate(int(name[1:]), 0, cosine) for name, cosine in cosines.items()]


def documents(fused: list[Fused]) -> list[int]:
    return [item.document for item in fused]


def test_shares_add_up_to_the_score():
    """The shares of a hit's sources sum to its score, with ranks from 1 and None where a source did not list it."""
    keywords = [Candidate(2, 0, 4.0, 1.0), Candidate(3, 0, 1.0, 0.5)]
    fused = fuse("red fox", meaning(d1=0.5, d2=0.3), keywords, scale=SCALE)

    assert [item.score for item in fused] == pytest.approx([sum(s.share for s in item.scores) for item in fused])
    by_document = {item.document: {score.source: score.rank for score in item.scores} for item in fused}
    assert by_document == {1: {"meaning": 1}, 2: {"meaning": 2, "keywords": 1}, 3: {"meaning": None, "keywords": 2}}


def test_full_keyword_match_wins_over_small_lead_in_cosine():
    """A passage with all words beats one that is a little nearer in meaning."""
    fused = fuse("red fox", meaning(d1=0.50, d2=0.45), [Candidate(2, 0, 4.0, 1.0)], scale=SCALE)

    assert documents(fused) == [2, 1]


def test_chance_keyword_match_changes_little():
    """One word in five, as a question in another language finds, does not overturn meaning."""
    fused = fuse("un deux trois quatre fox", meaning(d1=0.50, d2=0.45), [Candidate(2, 0, 4.0, 0.2)], scale=SCALE)

    assert documents(fused) == [1, 2]


def test_order_does_not_depend_on_the_retrievers_scale():
    """Cosines squeezed into a narrow band by another retriever give the same order."""
    keywords = [Candidate(2, 0, 4.0, 0.7), Candidate(3, 0, 2.0, 0.5)]
    wide = fuse("a b", meaning(d1=0.50, d2=0.30, d3=0.28), keywords, scale=SCALE)
    narrow = fuse("a b", meaning(d1=0.85, d2=0.83, d3=0.828), keywords, scale=Scale(0.8, 0.01, measured=True))

    assert documents(wide) == documents(narrow)
    assert [item.score for item in wide] == pytest.approx([item.score for item in narrow])


def test_exact_cosine_of_keyword_candidates_counts():
    """A keyword match whose cosine is handed in is ranked by it, not by the least that is listed."""
    lists = meaning(d1=0.5, d2=0.4), [Candidate(3, 0, 4.0, 0.5), Candidate(4, 0, 4.0, 0.5)]
    fused = fuse("x y", *lists, scale=SCALE, cosines={(4, 0): 0.39, (3, 0): 0.1})

    assert documents(fused).index(4) < documents(fused).index(3)


@pytest.mark.parametrize(("mode", "expected"), [("meaning", [1, 2]), ("keywords", [3, 2])])
def test_single_source_modes_keep_its_order(mode, expected):
    """The modes of one source list that source's candidates in its order."""
    fused = fuse("x", meaning(d1=0.5, d2=0.4), [Candidate(3, 0, 4.0, 1.0), Candidate(2, 0, 3.0, 1.0)], mode=mode)

    assert documents(fused) == expected


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ('"the brown fox"', "And THE brown\n fox ran."),
        ("E1234-A", "See error e1234-a in the log."),
        ("what does ERR_404 mean", "then err_404 follows"),
        ("Müller", "Frau MULLER kam"),
        ("東京都", "これは東京都です"),
    ],
)
def test_exact_match_comes_first(query, text):
    """What holds the phrase, the code or the name as written stands above what is nearer in meaning."""
    keywords = [Candidate(2, 0, 4.0, 1.0), Candidate(3, 0, 5.0, 0.5)]
    texts = {(2, 0): text, (3, 0): "error 1234 of the fox that was brown"}
    fused = fuse(query, meaning(d1=0.9, d3=0.8, d2=0.0), keywords, scale=SCALE, texts=texts)

    assert (fused[0].document, fused[0].exact, fused[1].exact) == (2, True, False)


def test_a_quoted_phrase_comes_first_whatever_else_is_asked():
    """All that hold the phrase stand above what does not, however many and however few of the other words they hold."""
    query = 'how long is the "notice period" for landlords'
    keywords = [Candidate(number, 0, 9.0 - number / 10, 0.5) for number in range(12)] + [Candidate(12, 0, 1.0)]
    texts = {(number, 0): "a Notice\nperiod" for number in range(11)} | {(11, 0): "notice periods"}
    near = [Candidate(20, 0, 0.9), Candidate(5, 0, 0.1), Candidate(12, 0, 0.1)]
    fused = fuse(query, near, keywords, scale=SCALE, texts=texts)

    assert {item.document for item in fused if item.exact} == {*range(11), 12}
    assert documents(fused)[:2] == [0, 1] and set(documents(fused)[:12]) == {*range(11), 12}
    assert not any(item.exact for item in fuse('"early notice"', near, keywords, scale=SCALE, texts=texts))


def test_part_of_a_word_is_no_exact_match():
    """The word "art" is not found in "party"."""
    assert find_exact("art", {(1, 0): "a party"}) == frozenset()


def test_common_word_pins_nothing():
    """A word that more than ten passages hold leaves the usual order."""
    assert find_exact("tax", {(number, 0): "the tax" for number in range(11)}) == frozenset()
    assert len(find_exact("tax", {(number, 0): "the tax" for number in range(10)})) == 10


def test_documents_are_ordered_by_their_best_passage():
    """Passages are gathered by document, best first, within both limits."""
    fused = [Fused(1, 4, 3.0, ()), Fused(2, 0, 2.0, ()), Fused(1, 2, 1.0, ()), Fused(1, 3, 0.5, ()), Fused(3, 0, 0, ())]
    groups = group(fused, limit=2, passages=2)

    assert [(each.document, each.score, [p.ordinal for p in each.passages]) for each in groups] == [
        (1, 3.0, [4, 2]),
        (2, 2.0, [0]),
    ]


def test_scale_is_measured_from_the_sample():
    """Mean and deviation are those of the query's cosines to the sample; a small sample is not trusted."""
    sample = np.array([[0.6, 0.8], [1.0, 0.0]] * 15, dtype=np.float32)
    scale = measure_scale(np.array([1.0, 0.0], dtype=np.float32), sample)

    assert (scale.mean, scale.deviation, scale.measured) == (pytest.approx(0.8), pytest.approx(0.2), True)
    assert not measure_scale(np.array([1.0, 0.0], dtype=np.float32), sample[:5]).measured


@pytest.mark.parametrize(
    ("cosine", "coverage", "hopeless"), [(0.1, 0.1, True), (0.4, 0.1, False), (0.1, 0.9, False), (0.4, 0.9, False)]
)
def test_nothing_is_good_enough_only_if_both_sources_say_so(cosine, coverage, hopeless):
    """Either a near meaning or a good share of the words keeps the hits."""
    keywords = [Candidate(1, 0, 2.0, coverage)]
    fused = fuse("a b c", meaning(d1=cosine), keywords, scale=SCALE)

    assert is_hopeless(fused, keywords, SCALE) is hopeless
    assert is_hopeless([], [], SCALE)


@pytest.mark.parametrize(
    ("query", "cosine", "coverage", "hopeless"),
    [
        ("ZX-99182-QQ", 0.15, 0.67, True),
        ("KB5034441, ERR_404", 0.15, 0.5, True),
        ("ZX-99182-QQ", 0.15, 1.0, False),
        ("COVID-19", 0.2, 0.5, False),
        ("what does ERR_404 mean", 0.15, 0.67, False),
    ],
)
def test_code_that_nothing_holds_is_a_miss(query, cosine, coverage, hopeless):
    """Parts of a code here and there, and a cosine that any text may have, make no answer to a bare code."""
    keywords = [Candidate(1, 0, 2.0, coverage)]
    fused = fuse(query, meaning(d1=cosine), keywords, scale=SCALE)

    assert is_hopeless(fused, keywords, SCALE, query=query) is hopeless


def test_pairs_are_measured_once():
    """What `measure_pairs` returned gives the same scale as measuring all at once."""
    rng = np.random.default_rng(1)
    sample = rng.standard_normal((60, 8)).astype(np.float32)
    sample /= np.linalg.norm(sample, axis=1, keepdims=True)
    products = (sample @ sample.T)[~np.eye(60, dtype=bool)]
    pairs = measure_pairs(sample)

    assert (pairs.passages_mean, pairs.passages_deviation) == pytest.approx((products.mean(), products.std()), abs=1e-5)
    assert measure_scale(sample[0], sample, pairs) == measure_scale(sample[0], sample)
    assert cosines_of(sample[0], sample) == pytest.approx(sample @ sample[0], abs=1e-5)


def test_passage_that_stands_out_among_near_copies_is_no_miss():
    """Where passages lie close together, a query whose best passage is far above the others keeps its hits."""
    copies = Scale(mean=0.1, deviation=0.02, measured=True, passages_mean=0.9, passages_deviation=0.05)

    assert not is_hopeless(fuse("a", meaning(d1=0.5), [], scale=copies), [], copies)
    assert is_hopeless(fuse("a", meaning(d1=0.15), [], scale=copies), [], copies)


def test_query_far_from_everything_is_hopeless_by_the_passages_own_scale():
    """A measured sample tells a query in its midst from one that points elsewhere."""
    chooser = np.random.default_rng(0)
    topic = np.zeros(64)
    topic[0] = 1.0
    sample = (topic + chooser.normal(0, 0.12, (200, 64))).astype(np.float32)
    sample /= np.linalg.norm(sample, axis=1, keepdims=True)
    stranger = np.eye(64, dtype=np.float32)[5]

    assert _is_hopeless_among(sample, stranger)
    assert not _is_hopeless_among(sample, sample[7])


def _is_hopeless_among(sample, query):
    scale = measure_scale(query, sample)
    found = [Candidate(number, 0, float(cosine)) for number, cosine in enumerate(sample @ query)]
    return is_hopeless(fuse("a", found, [], scale=scale), [], scale)


def test_unmeasured_scale_calls_nothing_hopeless():
    """Without a background there is no ground to say that nothing is good enough."""
    assert not is_hopeless(fuse("a", meaning(d1=0.01), []), [], Scale())


def test_fusing_is_fast():
    """Two lists of 100 are fused and grouped within 50 ms even on a busy machine (3 ms when it is quiet)."""
    first = [Candidate(number, 0, 1 - number / 100) for number in range(100)]
    second = [Candidate(number, 0, 10 - number / 20, 0.5) for number in range(50, 150)]
    texts = {item.key: "some words of a passage " * 40 for item in second}
    best = min(_time(first, second, texts) for _ in range(5))

    assert best < 0.05


def _time(first, second, texts):
    started = time.perf_counter()
    group(fuse("a query of words", first, second, scale=SCALE, texts=texts), limit=10)
    return time.perf_counter() - started


def test_named_documents_come_first_by_their_best_passage():
    """A named document is put first by the passage that another source found, else by its first one."""
    candidates = [Candidate(1, 0, 0.5), Candidate(2, 4, 0.2), Candidate(2, 7, 0.3)]
    fused = fuse("fox", candidates, [], scale=SCALE, named=[2, 9])

    assert [item.key for item in fused[:3]] == [(2, 7), (9, 0), (1, 0)]
    assert fused[0].exact and fused[0].scores[-1].source == "file name"
    assert not is_hopeless(fused, [], SCALE)


def _results(*scores: tuple[Score, ...], mode: Mode = "fused", hopeless: bool = False) -> Results:
    passages = [PassageHit(0, None, None, 0, 1, "", "", "x", 0.0, parts) for parts in scores]
    hits = tuple(Hit(Path("/a"), (), "", "text", 0.0, 0.0, (passage,)) for passage in passages)
    return Results("q", mode, hits, hopeless, 0.0)


def _near(share: float) -> Score:
    return Score("meaning", 0.5, 1, share)


def test_hits_far_below_the_best_are_told_apart():
    """Those with less than half of the best score are less likely; none are where no rule is known to hold."""
    parts = [(_near(6.0),), (_near(3.1),), (_near(2.9),), (_near(1.0),)]

    assert count_likely(_results(*parts)) == 2
    assert count_likely(_results(*parts, mode="keywords")) == 4
    assert count_likely(_results(*parts, hopeless=True)) == 4
    assert count_likely(_results((_near(-1.0),), (_near(-3.0),))) == 2
    assert count_likely(_results()) == 0


def test_what_was_put_first_is_likely_and_makes_nothing_else_unlikely():
    """Exact matches and named files stand above the rule, and the others are measured without what put those first."""
    exact, named = Score("keywords", 9.0, 1, 22.0), Score("file name", 1.0, 1, 20.0)

    assert count_likely(_results((_near(4.0), exact), (_near(0.1), named), (_near(3.5),), (_near(2.0),))) == 3


def test_a_quoted_phrase_that_no_hit_holds_is_named():
    """Folded text, title, heading and name count; by meaning alone quotes ask for nothing."""
    results = _results((_near(1.0),))
    passage = replace(results.hits[0].passages[0], text="The  Notice\nPeriod is three months.", heading="Leaving early")
    held = replace(results, hits=(replace(results.hits[0], passages=(passage,), title="Tenancy law"),))

    assert find_missing_phrase(replace(held, query='how long is the "notice period"')) == ""
    assert find_missing_phrase(replace(held, query='"leaving early" "tenancy law"')) == ""
    assert find_missing_phrase(replace(held, query='"notice" "period is four"')) == "period is four"
    assert find_missing_phrase(replace(held, query='"four months"', mode="meaning")) == ""
    assert find_missing_phrase(replace(held, query="four months")) == ""


@pytest.mark.parametrize("query", ["q" * 10_000, "蜜蜂的舞蹈和花朵" * 1_250, "ab-" * 3_000], ids=["q", "蜜蜂", "ab-"])
def test_long_query_without_spaces_is_looked_through_in_no_time(query: str) -> None:
    """Whether it holds a code is asked of each run of letters once: from each letter anew took 20 seconds."""
    started = time.perf_counter()
    assert find_exact(query, {}) == frozenset()
    assert time.perf_counter() - started < 1.0
