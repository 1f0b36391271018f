"""Splits by document."""

import random

from trainer.records import Passage, Query, text_id
from trainer.splits import split_passages

WORDS = [f"{a}{b}{c}" for a in "bdfgklmn" for b in "aeiou" for c in "prstvz"]


def _passage(text, document=""):
    return Passage(id=text_id(text), text=text, document=document)


def _texts(count):
    chooser = random.Random(4)
    return [" ".join(chooser.choices(WORDS, k=40)) for _ in range(count)]


def test_documents_stay_whole_and_about_the_share_is_held_out():
    """All passages of a document lie on one side; the share is roughly what was asked for."""
    passages = [_passage(text, f"d{number // 4}") for number, text in enumerate(_texts(1600))]
    split = split_passages(passages, held_out=0.2)

    for start in range(0, 1600, 4):
        assert len({each.id in split.held_out for each in passages[start : start + 4]}) == 1
    assert 0.15 < len(split.held_out) / 1600 < 0.25
    assert split.training.isdisjoint(split.held_out)
    assert len(split.training | split.held_out) == 1600


def test_near_duplicates_pull_their_documents_to_one_side():
    """A chain of documents that share nearly the same passage is never divided, whatever the seed."""
    texts = _texts(40)
    passages = []
    for number, text in enumerate(texts):
        passages += [_passage(text, f"d{number}"), _passage(text.replace(" ", "  ") + f" {number}", f"d{number + 1}")]
    for seed in range(6):
        split = split_passages(passages, held_out=0.5, seed=seed)
        assert not split.training or not split.held_out


def test_split_is_stable_as_the_corpus_grows():
    """New documents leave the old ones where they were; another seed does not."""
    passages = [_passage(text) for text in _texts(300)]
    first = split_passages(passages[:200], held_out=0.3)
    grown = split_passages(passages, held_out=0.3)

    assert first.held_out == grown.held_out & {each.id for each in passages[:200]}
    assert split_passages(passages[:200], held_out=0.3, seed=1).held_out != first.held_out


def test_queries_follow_their_passages():
    """A query is held out with its passage."""
    passages = [_passage(text) for text in _texts(50)]
    split = split_passages(passages, held_out=0.4)
    queries = [Query(id=each.id, text="?", passage=each.id, kind="crop") for each in passages]
    training, held_out = split.divide(queries)

    assert {each.passage for each in held_out} == split.held_out
    assert {each.passage for each in training} == split.training


def test_a_single_document_still_has_two_sides():
    """Of one book some passages train and some measure, near-duplicates together, whatever the seed."""
    passages = [_passage(text, "book") for text in _texts(200)]
    passages += [_passage(passage.text.replace(" ", "  ") + " 1", "book") for passage in passages[:20]]
    for seed in range(5):
        split = split_passages(passages, held_out=0.2, seed=seed)
        assert split.training and 20 < len(split.held_out) < 80
        for one, twin in zip(passages[:20], passages[200:], strict=True):
            assert (one.id in split.held_out) == (twin.id in split.held_out)
