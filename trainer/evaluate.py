"""Measures a retriever on test sets in BEIR layout, by the app's own chunks, vectors, store and fusion.

It trains nothing and keeps nothing: the index of each set lies in a temporary folder.
"""

import ctypes
import json
import logging
import math
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drama_app.chunk import cut, embedded_text
from drama_app.errors import UsageError
from drama_app.rank import fuse, group, measure_scale
from drama_app.records import Document, Mode, Passage
from drama_app.store import Candidate, Key, PassageStore
from trainer.metrics import Interval, bootstrap, ndcg, recall, reciprocal_rank
from trainer.records import iterate_lines, mend
from trainer.set_folders import list_sets
from trainer.set_languages import find_language, name_languages, read_stated
from trainer.words import WordIndex

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from drama_app.embed import Encoder

    Vectors = NDArray[np.float32]

MODES: tuple[Mode, ...] = ("meaning", "keywords", "fused")
BM25 = "BM25"
"""The system and the mode of the baseline that needs no retriever."""
_CANDIDATES = 100
_SAMPLE = 300
_DOCUMENTS = 10
_ENCODED = 1024
"""Passages handed to an encoder at a time: enough to sort by length."""
_RELEASED = 1024
"""Documents after which freed memory is given back: the store's threads held 270 of 790 MB at 40,000 passages."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TestSet:
    """Documents, queries and which document answers which query."""

    name: str
    documents: dict[str, Document]
    queries: dict[str, str]
    """Only those that are judged."""
    relevant: dict[str, dict[str, float]]
    """Grade of each judged document, by query."""
    languages: dict[str, str] = field(default_factory=dict)
    """Of each query: "en", or "en>de" where its documents are in another language than it is."""


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of one set in one mode; means over its queries."""

    name: str
    mode: str
    ndcg10: Interval
    recall10: float
    mrr: float
    queries: int
    documents: int
    passages: int
    values: list[float] = field(repr=False)
    """nDCG@10 of each query, in the order of the set, for paired comparisons."""
    languages: list[str] = field(default_factory=list, repr=False)
    """Of each query, in the same order."""
    system: str = ""
    """Who was measured."""
    width: int = 0
    """Of its vectors."""


def find_sets(folder: Path) -> list[Path]:
    """The folders at or below `folder` that hold a set, in order of their names.

    Raises:
        UsageError: There is none.
    """
    if found := list_sets(folder):
        return found
    raise UsageError(f"{folder}: no test set found (a folder with corpus.jsonl, queries.jsonl and qrels/test.tsv)")


def read_set(folder: Path, *, name: str, limit_queries: int | None = None) -> TestSet:
    """Read a set in BEIR layout.

    Args:
        folder: With corpus.jsonl, queries.jsonl and qrels/test.tsv.
        name: What reports call it.
        limit_queries: Take the first so many judged queries; None is all.

    Raises:
        UsageError: A file is missing or not as it should be; the text names it and the line.
    """
    relevant: dict[str, dict[str, float]] = {}
    for query, document, grade in _iterate_judgements(folder / "qrels" / "test.tsv"):
        relevant.setdefault(query, {})[document] = grade
    judged = {row["_id"]: row for row in _iterate_rows(folder / "queries.jsonl") if row["_id"] in relevant}
    rows = dict(list(judged.items())[:limit_queries])
    if not rows:
        raise UsageError(f"{folder}: no query of queries.jsonl is judged in qrels/test.tsv")
    documents: dict[str, Document] = {}
    spoken: dict[str, str] = {}
    for row in _iterate_rows(folder / "corpus.jsonl"):
        documents[row["_id"]] = Document(text=row["text"], kind="text", title=mend(str(row.get("title") or "")))
        if language := find_language(row):
            spoken[row["_id"]] = language
    _check_answers(folder, documents, [relevant[query] for query in judged])
    queries = {query: row["text"] for query, row in rows.items()}
    languages = name_languages(
        {query: find_language(row) for query, row in rows.items()},
        {query: _find_spoken(relevant[query], spoken) for query in rows},
        stated=read_stated(folder), asked=list(queries.values()),
        answering=[document.text for document in documents.values()],
    )  # fmt: skip
    return TestSet(name, documents, queries, relevant, languages)


def _check_answers(folder: Path, documents: Mapping[str, Document], judged: Iterable[Mapping[str, float]]) -> None:
    """See that something can be found; a part of a larger set is measured as it is, and told."""
    if not any(document.text.strip() for document in documents.values()):
        raise UsageError(f"{folder}: no document of corpus.jsonl has a text")
    answers = {document for grades in judged for document, grade in grades.items() if grade > 0}
    if not answers:
        raise UsageError(f"{folder}: qrels/test.tsv gives no document a grade above 0")
    absent = len(answers - documents.keys())
    if absent == len(answers):
        raise UsageError(f"{folder}: no document that answers in qrels/test.tsv is in corpus.jsonl")
    if absent:
        log.warning("%s: %d of %d documents that answer are not in corpus.jsonl", folder, absent, len(answers))


def _find_spoken(judged: Mapping[str, float], spoken: Mapping[str, str]) -> str:
    """The language of the first document that answers; "" if none tells its own."""
    return next((spoken[each] for each, grade in judged.items() if grade > 0 and each in spoken), "")


def evaluate_set(
    test_set: TestSet, encoder: "Encoder", *, modes: tuple[Mode, ...] = MODES, widths: tuple[int, ...] = (),
    passages: list[list[Passage]] | None = None, system: str = "", report: Callable[[str], None],
) -> list[Report]:  # fmt: skip
    """Index a set with the app's own steps and measure it once a width and mode.

    Args:
        test_set: From `read_set`.
        encoder: The retriever.
        modes: What to measure.
        widths: Widths to cut the encoder's vectors to; empty is its own.
        passages: From `cut_documents`, for a set that is measured more than once.
        system: What the reports call the retriever.
        report: Called with a short sentence as the work goes on.
    """
    passages = passages or cut_documents(test_set)
    vectors = _encode(test_set, passages, encoder, report)
    queries = encoder.encode_queries(list(test_set.queries.values()))
    reports: list[Report] = []
    for width in widths or (encoder.dim,):
        with tempfile.TemporaryDirectory(prefix="drama-evaluate-") as folder:
            store = PassageStore.open(Path(folder), dim=width)
            report(f"{test_set.name}: {len(vectors)} passages into an index of width {width}")
            sample = _fill(store, passages, vectors, width)
            rankings = _rank(store, test_set, cut_vectors(queries, width), sample, modes, report)
            stored = store.count()
        reports += [
            _measure(test_set, mode, found, passages=stored, system=system, width=width)
            for mode, found in rankings.items()
        ]
    return reports


def evaluate_words(test_set: TestSet) -> Report:
    """Measure BM25 over the words of whole documents, the baseline."""
    names = list(test_set.documents)
    index = WordIndex(f"{each.title}\n{each.text}" for each in test_set.documents.values())
    found = [[names[place] for place in index.search(query, limit=_DOCUMENTS)] for query in test_set.queries.values()]
    return _measure(test_set, BM25, found, passages=len(names), system=BM25, width=0)


def cut_documents(test_set: TestSet) -> list[list[Passage]]:
    """The passages of each document, as the app cuts them.

    Raises:
        UsageError: No document holds text.
    """
    passages = [cut(document) for document in test_set.documents.values()]
    if not any(passages):
        raise UsageError(f"{test_set.name}: the documents hold no text")
    return passages


def cut_vectors(vectors: "NDArray[np.floating[Any]]", width: int) -> "Vectors":
    """The first `width` numbers of vectors [n, D], as unit vectors float32 [n, width]."""
    import numpy as np

    part: Vectors = vectors[:, :width].astype(np.float32)
    part /= np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-12)
    return part


def as_json(report: Report) -> dict[str, Any]:
    """The report as an object for JSON."""
    return {
        "set": report.name,
        "system": report.system,
        "width": report.width,
        "mode": report.mode,
        "ndcg10": round(report.ndcg10.mean, 4),
        "ndcg10_low": round(report.ndcg10.low, 4),
        "ndcg10_high": round(report.ndcg10.high, 4),
        "recall10": round(report.recall10, 4),
        "mrr": round(report.mrr, 4),
        "queries": report.queries,
        "documents": report.documents,
        "passages": report.passages,
        "languages": sorted(set(report.languages)),
    }


def release_memory() -> None:
    """Hand what is freed back to the system, where the C library can be asked to (glibc)."""
    with suppress(OSError, TypeError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _measure(
    test_set: TestSet, mode: str, rankings: list[list[str]], *, passages: int, system: str, width: int
) -> Report:
    pairs = [(ranking, test_set.relevant[query]) for ranking, query in zip(rankings, test_set.queries, strict=True)]
    values = [ndcg(*pair) for pair in pairs]
    return Report(
        name=test_set.name,
        mode=mode,
        ndcg10=bootstrap(values),
        recall10=sum(recall(*pair) for pair in pairs) / len(pairs),
        mrr=sum(reciprocal_rank(*pair) for pair in pairs) / len(pairs),
        queries=len(pairs),
        documents=len(test_set.documents),
        passages=passages,
        values=values,
        languages=[test_set.languages.get(query, "") for query in test_set.queries],
        system=system,
        width=width,
    )


def _encode(
    test_set: TestSet, passages: list[list[Passage]], encoder: "Encoder", report: Callable[[str], None]
) -> "NDArray[np.float16]":
    """Vectors of all passages, float16 [P, D], one after the other."""
    import numpy as np

    count, done = sum(map(len, passages)), 0
    documents = zip(test_set.documents.values(), passages, strict=True)
    texts = (embedded_text(document.title, passage) for document, own in documents for passage in own)
    vectors = np.empty((count, encoder.dim), dtype=np.float16)  # as the store keeps them
    while block := list(islice(texts, _ENCODED)):
        report(f"{test_set.name}: passage {done} of {count}")
        vectors[done : done + len(block)] = encoder.encode_passages(block)
        done += len(block)
    return vectors


def _fill(store: PassageStore, passages: list[list[Passage]], vectors: "NDArray[np.float16]", width: int) -> "Vectors":
    """Index all documents under their position; return a sample of the vectors."""
    import numpy as np

    def iterate() -> "Iterator[tuple[int, list[Passage], Vectors]]":
        end = 0
        for number, own in enumerate(passages):
            if number % _RELEASED == 0:
                release_memory()
            yield number, own, cut_vectors(vectors[end : end + len(own)], width)
            end += len(own)

    store.add_many(iterate())
    store.tidy(force=True)
    release_memory()
    chosen = np.random.default_rng(0).choice(len(vectors), min(_SAMPLE, len(vectors)), replace=False)
    return cut_vectors(vectors[chosen], width)


def _rank(
    store: PassageStore, test_set: TestSet, vectors: "Vectors", sample: "Vectors", modes: tuple[Mode, ...],
    report: Callable[[str], None],
) -> dict[Mode, list[list[str]]]:  # fmt: skip
    """The best documents of each query, by mode."""
    names = list(test_set.documents)
    rankings: dict[Mode, list[list[str]]] = {mode: [] for mode in modes}
    for index, query in enumerate(test_set.queries.values()):
        if index % 25 == 0:
            report(f"{test_set.name}: query {index + 1} of {len(test_set.queries)}")
        for mode, found in _search(store, query, vectors[index], sample=sample, modes=modes):
            rankings[mode].append([names[document] for document in found])
    return rankings


def _search(
    store: PassageStore, query: str, vector: "Vectors", *, sample: "Vectors", modes: tuple[Mode, ...]
) -> Iterator[tuple[Mode, list[int]]]:
    """The best documents of one query, by mode."""
    meaning = store.nearest(vector, limit=_CANDIDATES)
    keywords = store.keywords(query, limit=_CANDIDATES) if modes != ("meaning",) else []
    scale = measure_scale(vector, sample)
    cosines, texts = _look_up(store, vector, keywords)
    for mode in modes:
        fused = fuse(query, meaning, keywords, mode=mode, scale=scale, cosines=cosines, texts=texts)
        yield mode, [each.document for each in group(fused, limit=_DOCUMENTS)]


def _look_up(
    store: PassageStore, vector: "Vectors", keywords: list[Candidate]
) -> tuple[dict[Key, float], dict[Key, str]]:
    """Exact cosines and texts of the keyword candidates."""
    found = store.passages([item.key for item in keywords], vectors=True)
    cosines: dict[Key, float] = {}
    texts: dict[Key, str] = {}
    for item in found:
        key = item.document, item.passage.ordinal
        texts[key] = item.passage.text
        if item.vector is not None:
            cosines[key] = float(item.vector @ vector)
    return cosines, texts


def _iterate_rows(path: Path) -> Iterator[dict[str, Any]]:
    for number, line in iterate_lines(path):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path}, line {number}: not JSON ({error})") from error
        if not isinstance(row, dict) or not isinstance(row.get("_id"), str) or not isinstance(row.get("text"), str):
            raise UsageError(f"{path}, line {number}: needs the texts '_id' and 'text'")
        yield row | {"text": mend(row["text"])}


def _iterate_judgements(path: Path) -> Iterator[tuple[str, str, float]]:
    for place, (number, line) in enumerate(iterate_lines(path)):
        parts = line.rstrip("\n").split("\t")
        if not place and parts[0] in ("query-id", "query_id", "qid"):
            continue
        try:
            query, document, said = parts
            grade = float(said)
        except ValueError as error:
            raise UsageError(f"{path}, line {number}: needs a query, a document and a grade between tabs") from error
        if not math.isfinite(grade):
            raise UsageError(f"{path}, line {number}: the grade must be a finite number, not {said.strip()}")
        yield query, document, grade
