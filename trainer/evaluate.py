"""Measures a retriever on test sets in BEIR layout, by the app's own chunks, vectors, store and fusion.

It trains nothing and keeps nothing: the index of each set lies in a temporary folder.
"""

import json
import logging
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drama_app.chunk import cut, embedded_text
from drama_app.errors import UsageError
from drama_app.rank import fuse, group, measure_scale
from drama_app.records import Document, Mode, Passage
from drama_app.store import Candidate, Key, PassageStore
from trainer.metrics import Interval, bootstrap, ndcg, recall, reciprocal_rank

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from drama_app.embed import Encoder

    Vectors = NDArray[np.float32]

MODES: tuple[Mode, ...] = ("meaning", "keywords", "fused")
_CANDIDATES = 100
_SAMPLE = 300
_DOCUMENTS = 10

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


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of one set in one mode; means over its queries."""

    name: str
    mode: Mode
    ndcg10: Interval
    recall10: float
    mrr: float
    queries: int
    documents: int
    passages: int
    values: list[float] = field(repr=False)
    """nDCG@10 of each query, in the order of the set, for paired comparisons."""


def find_sets(folder: Path) -> list[Path]:
    """The folders at or below `folder` that hold a set, in order of their names.

    Raises:
        UsageError: There is none.
    """
    if found := sorted(path.parent for path in folder.rglob("queries.jsonl")):
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
    queries = {row["_id"]: row["text"] for row in _iterate_rows(folder / "queries.jsonl") if row["_id"] in relevant}
    queries = dict(list(queries.items())[:limit_queries])
    if not queries:
        raise UsageError(f"{folder}: no query of queries.jsonl is judged in qrels/test.tsv")
    documents = {
        row["_id"]: Document(text=row["text"], kind="text", title=row.get("title") or "")
        for row in _iterate_rows(folder / "corpus.jsonl")
    }
    return TestSet(name, documents, queries, relevant)


def evaluate_set(
    test_set: TestSet, encoder: "Encoder", *, modes: tuple[Mode, ...] = MODES, report: Callable[[str], None]
) -> list[Report]:
    """Index a set with the app's own steps and measure it once a mode.

    Args:
        test_set: From `read_set`.
        encoder: The retriever.
        modes: What to measure.
        report: Called with a short sentence as the work goes on.
    """
    names = list(test_set.documents)
    with tempfile.TemporaryDirectory(prefix="drama-evaluate-") as folder:
        store = PassageStore.open(Path(folder), dim=encoder.dim)
        sample = _fill(store, test_set, encoder, report)
        vectors = encoder.encode_queries(list(test_set.queries.values()))
        rankings: dict[Mode, list[list[str]]] = {mode: [] for mode in modes}
        for index, query in enumerate(test_set.queries.values()):
            if index % 25 == 0:
                report(f"{test_set.name}: query {index + 1} of {len(test_set.queries)}")
            for mode, found in _search(store, query, vectors[index], sample=sample, modes=modes):
                rankings[mode].append([names[document] for document in found])
        passages = store.count()
    return [_measure(test_set, mode, rankings[mode], passages=passages) for mode in modes]


def as_json(report: Report) -> dict[str, Any]:
    """The report as an object for JSON."""
    return {
        "set": report.name,
        "mode": report.mode,
        "ndcg10": round(report.ndcg10.mean, 4),
        "ndcg10_low": round(report.ndcg10.low, 4),
        "ndcg10_high": round(report.ndcg10.high, 4),
        "recall10": round(report.recall10, 4),
        "mrr": round(report.mrr, 4),
        "queries": report.queries,
        "documents": report.documents,
        "passages": report.passages,
    }


def _measure(test_set: TestSet, mode: Mode, rankings: list[list[str]], *, passages: int) -> Report:
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
    )


def _fill(store: PassageStore, test_set: TestSet, encoder: "Encoder", report: Callable[[str], None]) -> "Vectors":
    """Index all documents under their position; return a sample of the vectors."""
    import numpy as np

    documents: list[tuple[int, list[Passage]]] = []
    texts: list[str] = []
    for number, document in enumerate(test_set.documents.values()):
        passages = cut(document)
        documents.append((number, passages))
        texts += [embedded_text(document.title, passage) for passage in passages]
    if not texts:
        raise UsageError(f"{test_set.name}: the documents hold no text")
    parts = []
    for start in range(0, len(texts), 256):
        report(f"{test_set.name}: passage {start} of {len(texts)}")
        parts.append(encoder.encode_passages(texts[start : start + 256]))
    vectors = np.concatenate(parts)
    ends = np.cumsum([len(passages) for _, passages in documents])
    store.add_many(
        (number, passages, vectors[end - len(passages) : end])
        for (number, passages), end in zip(documents, ends, strict=True)
    )
    store.tidy(force=True)
    chosen = np.random.default_rng(0).choice(len(vectors), min(_SAMPLE, len(vectors)), replace=False)
    return np.asarray(vectors[chosen])


def _search(
    store: PassageStore, query: str, vector: "Vectors", *, sample: "Vectors", modes: tuple[Mode, ...]
) -> Iterator[tuple[Mode, list[int]]]:
    """The best documents of one query, by mode."""
    meaning = store.nearest(vector, limit=_CANDIDATES)
    keywords = store.keywords(query, limit=_CANDIDATES)
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


def _iterate_rows(path: Path) -> Iterator[dict[str, str]]:
    for number, line in enumerate(_read_lines(path), 1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UsageError(f"{path}, line {number}: not JSON ({error})") from error
        if not isinstance(row, dict) or not isinstance(row.get("_id"), str) or not isinstance(row.get("text"), str):
            raise UsageError(f"{path}, line {number}: needs the texts '_id' and 'text'")
        yield row


def _iterate_judgements(path: Path) -> Iterator[tuple[str, str, float]]:
    for number, line in enumerate(_read_lines(path), 1):
        parts = line.split("\t")
        if number == 1 and parts[0] in ("query-id", "query_id", "qid"):
            continue
        try:
            query, document, grade = parts
            yield query, document, float(grade)
        except ValueError as error:
            raise UsageError(f"{path}, line {number}: needs a query, a document and a grade between tabs") from error


def _read_lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8") as file:
            yield from (line.rstrip("\n") for line in file if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read ({error})") from error
