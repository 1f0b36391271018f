"""Owns which passages are for training and which for measuring: whole documents, near-duplicates on one side.

The side of a document depends on its content and the seed alone, so that a corpus that grows keeps its split as far
as no new text joins two documents.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from trainer.duplicates import NearDuplicates
from trainer.records import Passage, Query

_FEW = 20
"""Documents. Of so many, one side is empty in one split of three hundred where a quarter is held out."""


@dataclass(frozen=True, slots=True)
class Split:
    """Ids of passages on each side; together they are all of them."""

    training: frozenset[str]
    held_out: frozenset[str]

    def divide(self, queries: Iterable[Query]) -> tuple[list[Query], list[Query]]:
        """Queries for training and held out, each with its passage."""
        sides: tuple[list[Query], list[Query]] = ([], [])
        for query in queries:
            sides[query.passage in self.held_out].append(query)
        return sides


def split_passages(
    passages: Sequence[Passage], *, held_out: float, seed: int = 0, near_duplicate: float = 0.7
) -> Split:
    """Divide passages so that nothing held out was seen in training in other words.

    Args:
        passages: Each with its document; without one it is a document of its own. Where a few documents leave one side
            empty each passage is taken for itself: a run that measures nothing, or trains on nothing, is worse than
            one whose sides share a document.
        held_out: Share of the documents to hold out, about.
        seed: Another one gives another split.
        near_duplicate: Share of common sequences from which the documents of two passages stay together.
    """
    split = _split(passages, held_out, seed, near_duplicate, whole=True)
    few = len({passage.document or passage.id for passage in passages}) < _FEW
    if few and held_out > 0 and not (split.training and split.held_out):
        split = _split(passages, held_out, seed, near_duplicate, whole=False)
    return split


def _split(passages: Sequence[Passage], held_out: float, seed: int, near_duplicate: float, *, whole: bool) -> Split:
    parents: dict[str, str] = {}
    firsts: list[str] = []
    near = NearDuplicates(near_duplicate)
    for passage in passages:
        document = (passage.document if whole else "") or passage.id
        # One id may stand in two documents: the id is a member like them.
        _join(parents, passage.id, document)
        twin = near.add(passage.text)
        if twin is None:
            firsts.append(document)
        else:
            _join(parents, firsts[twin], document)
    groups: dict[str, set[str]] = {}
    for passage in passages:
        groups.setdefault(_find(parents, passage.id), set()).add(passage.id)
    chosen = [ids for ids in groups.values() if _place(min(ids), seed) < held_out]
    out = frozenset(each for ids in chosen for each in ids)
    return Split(frozenset(passage.id for passage in passages) - out, out)


def _find(parents: dict[str, str], member: str) -> str:
    while (parent := parents.setdefault(member, member)) != member:
        parents[member] = parents.setdefault(parent, parent)
        member = parents[member]
    return member


def _join(parents: dict[str, str], one: str, other: str) -> None:
    parents[_find(parents, other)] = _find(parents, one)


def _place(name: str, seed: int) -> float:
    """A number from 0 to 1 that looks random but stays with the name."""
    digest = hashlib.blake2b(f"{seed}\0{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
