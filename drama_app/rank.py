"""Owns the order of hits: fuses both candidate lists, groups passages by document, tells when nothing is good enough.

Pure: records in, records out. It opens no store, encodes nothing and knows no retriever; what it needs of them
(cosines, texts, a sample of the index's vectors) the caller hands in.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import regex

from drama_app.keywords import fold_phrase, parse_query, whole_words
from drama_app.records import Mode, Results, Score
from drama_app.store import Candidate, Key

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

_KEYWORD_WEIGHT = 2.0
"""The best keyword match that holds all words counts as much as two standard deviations of cosine. Chosen
among 1 to 6 on 24 development sets of 112 to 150 queries: none lost more than 0.011 nDCG@10 against its better
source, and weights of 1.5 to 3 differ by less than the sets' noise."""
_COVERAGE_POWER = 1.5
"""How fast keywords lose weight when even their best match lacks words: one word found of
five, as a question in another language than the passages finds by chance or by a name, counts 0.09 of a full match."""
_PIN = 20.0
"""Above the sum of both sources, whose greatest was 15 on the development sets, so that the score shows the order."""
_MOST_PINS = 10
"""What stands in more passages than this is a common word and no name: then the usual order holds, unless a person
quoted it."""
_SMALLEST_SAMPLE = 20
_USUAL_DEVIATION = 0.1
"""Of cosines to unrelated passages (0.07 to 0.12 for e5-mini), where an index is too small to measure it."""
_MOST_WORDS = 8
"""A longer query is a text and no name; a code in it is one word among others: put first, whole sentences that were
to find their translation lost 0.013 nDCG@10."""
_PAIRS_OF = 150
_HOPELESS_NEARNESS = 1.1
"""Deviations above the cosine of two passages drawn at random. At 1.75 the rule told 82 % of strange queries on the
development sets, but over a real folder in many languages it called 7 of 60 answerable questions hopeless, all of them
in another language than their answer; at 1.1 none of those, and 5 of 10 strange ones (e5-mini 0). With e5-mini 1 at 1.1
2.2 % of answerable questions lie below where it were 7.4, and 71 % of strange ones (88), before coverage is asked."""
_HOPELESS_DEVIATIONS = 5.0
"""A guard for an index of near copies, whose passages lie so close that no query can come as near: one passage that
stands out among them is an answer. Before coverage is asked, 88 instead of 90 % are told."""
_HOPELESS_COVERAGE = 0.5
_CODE_COVERAGE = 0.99
_CODE_NEARNESS = 1.75
"""Codes that no passage of 100,000 held came to 0.9 to 1.3, and half of their parts stood somewhere."""

_LIKELY = 0.5
"""Of the best hit's score. Below it lay 1 of 573 right answers to 60 questions to a real folder and on three sets, and
seven to eight in ten of the wrong ones (few where all texts are about one thing); below 0.6 it were 11 right ones. Of
BM25 alone it would be 22 of 482: no rule there."""

_CODE = regex.compile(r"(?<!\w)\w*(?:_|\p{Ll}\p{Lu}|\p{L}{2}[-.]?\d|\d\p{Lu})\w*(?:[-./]\w+)*")
_BARE = regex.compile(r"^[^\w]+|[^\w+#]+$")


@dataclass(frozen=True, slots=True)
class Scale:
    """How the cosines of one query to passages in general are spread; it makes retrievers comparable."""

    mean: float = 0.0
    deviation: float = _USUAL_DEVIATION
    measured: bool = False
    passages_mean: float = 0.0
    """Of the cosines of passages to each other."""
    passages_deviation: float = _USUAL_DEVIATION

    def deviations(self, cosine: float) -> float:
        """How far a cosine lies above those of passages in general, in standard deviations."""
        return (cosine - self.mean) / self.deviation

    def nearness(self, cosine: float) -> float:
        """How far a cosine lies above those between passages, in standard deviations.

        Unlike `deviations` it is no comparison within the query, so that a query that is far from everything shows.
        """
        return (cosine - self.passages_mean) / self.passages_deviation


@dataclass(frozen=True, slots=True)
class Fused:
    """A passage with its place in the common order."""

    document: int
    ordinal: int
    score: float
    """The sum of the shares. Only its order means something; it compares within one query."""
    scores: tuple[Score, ...]
    """One a source that listed it or whose value is known."""
    exact: bool = False
    """True if it was put first: it holds the quoted phrase, the code or the whole query as written, or its file's name
    does."""

    @property
    def key(self) -> Key:
        """What the store fetches it by."""
        return self.document, self.ordinal


@dataclass(frozen=True, slots=True)
class Group:
    """A document with its passages, best first."""

    document: int
    score: float
    passages: tuple[Fused, ...]


def measure_pairs(sample: "Vectors | None") -> Scale:
    """Measure passages against each other: the same for every query.

    Args:
        sample: Unit vectors [n, dim] of passages drawn at random from the index; a few hundred are plenty.

    Returns:
        Mean and deviation of the cosines among the passages, or `Scale()` where the sample is too small to tell.
    """
    if sample is None or len(sample) < _SMALLEST_SAMPLE:
        return Scale()
    import numpy as np

    some = sample[:_PAIRS_OF]
    products = np.einsum("id,jd->ij", some, some)[~np.eye(len(some), dtype=bool)]  # a passage is no pair with itself
    return Scale(passages_mean=float(products.mean()), passages_deviation=max(float(products.std()), 1e-3))


def measure_scale(query: "Vectors", sample: "Vectors | None", pairs: Scale | None = None) -> Scale:
    """Measure a query against passages in general.

    Args:
        query: Unit vector [dim].
        sample: As for `measure_pairs`.
        pairs: What that returned; None measures it.

    Returns:
        `pairs` with mean and deviation of the cosines to the query; `Scale()` where the sample is too small to tell.
    """
    if sample is None or len(sample) < _SMALLEST_SAMPLE:
        return Scale()
    cosines = cosines_of(query, sample)
    return replace(
        pairs or measure_pairs(sample),
        mean=float(cosines.mean()),
        deviation=max(float(cosines.std()), 1e-3),
        measured=True,
    )


def cosines_of(query: "Vectors", vectors: "Vectors") -> "Vectors":
    """Cosines [n] of a unit vector [dim] to others [n, dim].

    Not by `@`: that wakes the threads of BLAS, which then spin for longer (30 ms of CPU time a query) than this takes.
    """
    import numpy as np

    found: Vectors = np.einsum("nd,d->n", vectors, query)
    return found


def fuse(
    query: str,
    meaning: Sequence[Candidate],
    keywords: Sequence[Candidate],
    *,
    mode: Mode = "fused",
    scale: Scale | None = None,
    cosines: Mapping[Key, float] | None = None,
    texts: Mapping[Key, str] | None = None,
    named: Sequence[int] = (),
) -> list[Fused]:
    """Bring the candidates of both sources into one order, best first.

    Score = cosine in deviations of `scale` + 2 * BM25 / best BM25 * (coverage of the best match) ** 1.5. What holds a
    quoted phrase, a code or the whole query as written, or the name of whose file holds the query, comes before all
    others.

    Args:
        query: As typed.
        meaning: By cosine, best first.
        keywords: By BM25, best first; of a query with quoted phrases only what holds them.
        mode: "meaning" and "keywords" keep the order of the one source.
        scale: From `measure_scale`.
        cosines: Of candidates that only `keywords` lists; without one, the least listed cosine is assumed.
        texts: Of the candidates of `keywords`, to find exact matches in.
        named: Documents that are asked for by their file's name; by their first passage if no list has another.
    """
    scale = scale or Scale()
    meaning, keywords = () if mode == "keywords" else meaning, () if mode == "meaning" else keywords
    exact = _find_pinned(query, keywords, texts) if texts and mode == "fused" else frozenset[Key]()
    scores = _list_passages((*meaning, *keywords), named)
    if mode != "keywords":
        _score_meaning(scores, meaning, scale, cosines or {})
    _score_keywords(scores, keywords, exact)
    exact |= _score_names(scores, named)
    fused = (
        Fused(*key, score=sum(part.share for part in parts), scores=tuple(parts), exact=key in exact)
        for key, parts in scores.items()
    )
    return sorted(fused, key=lambda item: (not item.exact, -item.score, item.key))


def _list_passages(candidates: Sequence[Candidate], named: Sequence[int]) -> dict[Key, list[Score]]:
    """Every passage, without scores yet; of a named document that no source lists the first one."""
    scores: dict[Key, list[Score]] = {item.key: [] for item in candidates}
    listed = {document for document, _ in scores}
    return scores | {(document, 0): [] for document in named if document not in listed}


def _score_keywords(scores: Mapping[Key, list[Score]], keywords: Sequence[Candidate], exact: frozenset[Key]) -> None:
    """Adds to the passages of the list what their words count."""
    factor = _keyword_factor(keywords)
    for rank, item in enumerate(keywords, 1):
        share = item.score * factor + (_PIN if item.key in exact else 0.0)
        scores[item.key].append(Score("keywords", item.score, rank, share))


def _score_meaning(
    scores: Mapping[Key, list[Score]], meaning: Sequence[Candidate], scale: Scale, cosines: Mapping[Key, float]
) -> None:
    """Adds to every passage what its cosine counts."""
    known = {**cosines, **{item.key: item.score for item in meaning}}
    least = min(known.values(), default=scale.mean)
    ranks = {item.key: rank for rank, item in enumerate(meaning, 1)}
    for key, parts in scores.items():
        cosine = known.get(key, least)
        parts.append(Score("meaning", cosine, ranks.get(key), scale.deviations(cosine)))


def _score_names(scores: Mapping[Key, list[Score]], named: Sequence[int]) -> frozenset[Key]:
    """Adds to the best passage of each named document that it is named; returns these passages."""
    best: dict[int, tuple[float, Key]] = {}
    for key, parts in scores.items() if named else ():
        best[key[0]] = max(best.get(key[0], (-float("inf"), key)), (sum(part.share for part in parts), key))
    chosen = [best[document][1] for document in named]
    for rank, key in enumerate(chosen, 1):
        scores[key].append(Score("file name", 1.0, rank, _PIN))
    return frozenset(chosen)


def group(fused: Iterable[Fused], *, limit: int, passages: int = 3) -> list[Group]:
    """Gather passages by document, best document first; a document counts as much as its best passage.

    Args:
        fused: Best first.
        limit: Documents at most.
        passages: Passages a document at most.
    """
    documents: dict[int, list[Fused]] = {}
    for item in fused:
        held = documents.setdefault(item.document, [])
        if len(held) < passages:
            held.append(item)
    groups = [Group(document, held[0].score, tuple(held)) for document, held in documents.items()]
    return groups[:limit]


def _find_pinned(query: str, keywords: Sequence[Candidate], texts: Mapping[Key, str]) -> frozenset[Key]:
    return find_phrases(query, keywords, texts) or find_exact(query, _hold_all(query, keywords, texts))


def find_phrases(query: str, keywords: Sequence[Candidate], texts: Mapping[Key, str]) -> frozenset[Key]:
    """The candidates that hold all quoted phrases in whole words, however many and whatever other words they lack.

    Those without a text are taken at the store's word, if one that has a text holds the phrases.
    """
    found = _find_all(parse_query(query).phrases, texts)
    return found | {item.key for item in keywords if item.key not in texts} if found else found


def find_exact(query: str, texts: Mapping[Key, str]) -> frozenset[Key]:
    """The passages that hold the whole query or the codes as written, but for case and accents.

    None of a query of more than eight words, unless it has a quoted phrase.
    What more than ten of the passages hold tells none of them apart, so then there are none.
    """
    if len(query.split()) > _MOST_WORDS and not parse_query(query).phrases:
        return frozenset()
    whole = _BARE.sub("", fold_phrase(query))
    codes = tuple(fold_phrase(found) for found in _CODE.findall(query))
    for needles in ((whole,) if whole else (), codes):
        if 0 < len(found := _find_all(needles, texts)) <= _MOST_PINS:
            return found
    return frozenset()


def _find_all(needles: Sequence[str], texts: Mapping[Key, str]) -> frozenset[Key]:
    """The texts that hold all of the needles, which are folded, in whole words."""
    if not needles:
        return frozenset()
    patterns = [whole_words(needle) for needle in needles]
    folded = ((key, fold_phrase(text)) for key, text in texts.items())
    return frozenset(key for key, text in folded if all(each.search(text) for each in patterns))


def _hold_all(query: str, keywords: Sequence[Candidate], texts: Mapping[Key, str]) -> Mapping[Key, str]:
    """The texts in which an exact match can stand: those with every word, or any if the query holds a code."""
    if _CODE.search(query):
        return texts
    return {item.key: texts[item.key] for item in keywords if item.coverage > 0.99 and item.key in texts}


def is_hopeless(fused: Sequence[Fused], keywords: Sequence[Candidate], scale: Scale, *, query: str = "") -> bool:
    """Tell whether even the best hit is likely no answer.

    Only if both sources agree: the best passage is hardly nearer to the query than passages are to each other, and
    none holds half of the query's words. A cautious rule: an answer withheld costs more than a miss shown. Where the
    query is nothing but a code, all its parts are asked for, and more nearness: what is near to a code is chance.
    """
    if not fused:
        return True
    if any(item.exact for item in fused):
        return False
    is_code = _is_code(query)
    if max((item.coverage for item in keywords), default=0.0) >= (_CODE_COVERAGE if is_code else _HOPELESS_COVERAGE):
        return False
    cosines = [score.value for item in fused for score in item.scores if score.source == "meaning"]
    if not cosines or not scale.measured:
        return False
    nearness, deviations = scale.nearness(max(cosines)), scale.deviations(max(cosines))
    if is_code:
        return nearness < _CODE_NEARNESS
    return nearness < _HOPELESS_NEARNESS and deviations < _HOPELESS_DEVIATIONS


def find_missing_phrase(results: Results) -> str:
    """The first quoted phrase of the query, folded, that no hit holds in name, title, heading or text; "" if none."""
    for phrase in parse_query(results.query).phrases if results.mode != "meaning" else ():
        pattern = whole_words(phrase)
        told = (
            f"{hit.path.name} {hit.title} {each.heading} {each.text}" for hit in results.hits for each in hit.passages
        )
        if not any(pattern.search(fold_phrase(text)) for text in told):
            return phrase
    return ""


def count_likely(results: Results) -> int:
    """How many of the hits, from the first, are not far less likely than the best; the rest is not to be hidden."""
    if results.nothing_good_enough or results.mode == "keywords":
        return len(results.hits)
    scores = [hit.passages[0].scores if hit.passages else () for hit in results.hits]
    best = max(map(_strength, scores), default=0.0)
    least = _LIKELY * best if best > 0 else -float("inf")
    weak = (place for place, parts in enumerate(scores) if _strength(parts) < least and not _is_pinned(parts))
    return next(weak, len(scores))


def _strength(scores: Sequence[Score]) -> float:
    """The score without what puts exact matches first."""
    return sum(min(part.share, _KEYWORD_WEIGHT) if part.source == "keywords" else part.share
               for part in scores if part.source != "file name")  # fmt: skip


def _is_pinned(scores: Sequence[Score]) -> bool:
    return any(part.share >= _PIN for part in scores)


def _is_code(query: str) -> bool:
    """Whether the query has codes and nothing else."""
    return bool(_CODE.search(query)) and not regex.search(r"\w", _CODE.sub("", query))


def _keyword_factor(keywords: Sequence[Candidate]) -> float:
    """What a point of BM25 is worth."""
    best = max(keywords, key=lambda item: item.score, default=None)
    if best is None or best.score <= 0:
        return 0.0
    return _KEYWORD_WEIGHT * float(best.coverage**_COVERAGE_POWER) / best.score
