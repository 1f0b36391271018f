"""Owns the passages on disk: one LanceDB table a retriever with vectors, text and keyword terms.

It refuses to know files, paths and documents beyond their integer id (the manifest owns those), and does not rank:
it lists candidates by meaning and by keywords. One process writes at a time (the caller holds the lock); any
number read. `add` and `remove` are each atomic; a killed process leaves the last complete version.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from drama_app import keywords
from drama_app.errors import IndexDamagedError
from drama_app.lance import import_lancedb
from drama_app.records import Passage

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

Result = TypeVar("Result")
Key = tuple[int, int]
"""A passage: (document, ordinal)."""

log = logging.getLogger(__name__)

_SCHEMA_VERSION = 1
_TEXT_COLUMNS = ["document", "ordinal", "start", "end", "page", "line", "heading", "language", "text"]
_ROWS_A_WRITE = 4096
_SMALL_PARTS = 32
_UNINDEXED_ROWS = 4_000
_VECTOR_INDEX_ROWS = 50_000
_RETENTION = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A passage that a query found."""

    document: int
    ordinal: int
    score: float
    """Cosine from `nearest`, BM25 from `keywords`."""
    coverage: float = 0.0
    """From `keywords`: the share of the query's words, weighted by rarity, that the passage holds (0 to 1)."""

    @property
    def key(self) -> Key:
        """What `passages` fetches it by."""
        return self.document, self.ordinal


@dataclass(frozen=True, slots=True)
class StoredPassage:
    """A passage as the store holds it."""

    document: int
    passage: Passage
    vector: "Vectors | None" = None
    """Of length 1, [dim]; None unless asked for."""


class PassageStore:
    """The passages of one retriever. Readers and one writer may share an object between threads."""

    def __init__(self, table: Any, folder: Path, dim: int) -> None:
        self._table = table
        self._folder = folder
        self._dim = dim
        self._lock = threading.RLock()

    @classmethod
    def open(cls, folder: Path, *, dim: int, table: str = "passages") -> "PassageStore":
        """Open the store in `folder`, or create it.

        Args:
            folder: A folder that belongs to the store alone.
            dim: Width of the vectors.
            table: Name of the table, one a retriever.

        Raises:
            IndexDamagedError: The table is of another schema or width, or cannot be read.
        """
        lancedb = import_lancedb()
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{table}.lance"
        try:
            connection = lancedb.connect(folder)
            opened = connection.open_table(table) if path.exists() else _create(connection, table, dim)
            schema = opened.schema
        except (OSError, RuntimeError, ValueError) as error:
            raise IndexDamagedError(f"The index in {folder} cannot be read. Delete it and index again.") from error
        _check_schema(schema, dim, folder)
        return cls(opened, path, dim)

    def add(self, document: int, passages: Sequence[Passage], vectors: "Vectors") -> None:
        """Add the passages of one document, [n] with vectors [n, dim]; all or none become visible."""
        self.add_many([(document, passages, vectors)])

    def add_many(self, documents: "Iterable[tuple[int, Sequence[Passage], Vectors]]") -> None:
        """Add the passages of several documents in few writes; each write is atomic and splits no document."""
        for batch in _batches(documents):
            with self._lock:
                self._table.add(_record_batch(batch, self._dim))

    def remove(self, documents: Iterable[int]) -> None:
        """Remove all passages of these documents; unknown ids are fine."""
        if condition := _documents_condition(set(documents)):
            with self._lock:
                self._table.delete(condition)

    def document_ids(self) -> set[int]:
        """The documents that have passages."""
        rows = self._read(lambda table: table.search().select(["document"]).to_arrow())
        return set(rows["document"].unique().to_pylist())

    def counts(self) -> dict[int, int]:
        """Passages a document, for every document that has any."""
        rows = self._read(lambda table: table.search().select(["document"]).to_arrow())
        return {row["values"]: row["counts"] for row in rows["document"].value_counts().to_pylist()}

    def count(self) -> int:
        """Number of passages."""
        return int(self._read(lambda table: table.count_rows()))

    def languages(self) -> dict[str, int]:
        """Passages a language, most first."""
        rows = self._read(lambda table: table.search().select(["language"]).to_arrow())
        counts = {row["values"]: row["counts"] for row in rows["language"].value_counts().to_pylist()}
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def nearest(
        self,
        vector: "Vectors",
        *,
        limit: int,
        documents: Collection[int] | None = None,
        languages: Sequence[str] = (),
    ) -> list[Candidate]:
        """The passages nearest in meaning to `vector` [dim], best first, among those that pass the filters."""
        condition = _condition(documents, languages)
        if condition is None:
            return []

        def run(table: Any) -> "pa.Table":
            search = table.search(vector, query_type="vector", vector_column_name="vector").distance_type("cosine")
            search = search.refine_factor(10).select(["document", "ordinal", "_distance"]).limit(limit)
            return (search.where(condition) if condition else search).to_arrow()

        return [
            Candidate(row["document"], row["ordinal"], 1.0 - row["_distance"]) for row in self._read(run).to_pylist()
        ]

    def keywords(
        self,
        query: str,
        *,
        limit: int,
        documents: Collection[int] | None = None,
        languages: Sequence[str] = (),
    ) -> list[Candidate]:
        """The passages that hold the query's words, by BM25, best first, among those that pass the filters.

        A quoted phrase must stand in the passage as it is, but for case, accents and spacing.
        """
        parsed = keywords.parse_query(query)
        condition = _condition(documents, languages)
        if condition is None or not parsed.words:
            return []

        def run(table: Any) -> "pa.Table":
            from lancedb.query import MatchQuery

            terms = " ".join(term for word in parsed.words for term in word)
            match = MatchQuery(terms, "terms")  # type: ignore[call-arg]  # pydantic's defaults are not seen
            columns = ["document", "ordinal", "terms", "_score", *(["text"] if parsed.phrases else [])]
            search = table.search(match, query_type="fts").select(columns)
            search = search.limit(limit * 10 if parsed.phrases else limit)
            return (search.where(condition) if condition else search).to_arrow()

        found = []
        for row in self._read(run).to_pylist():
            if parsed.phrases:
                text = " ".join(keywords.fold(row["text"]).split())
                if not all(phrase in text for phrase in parsed.phrases):
                    continue
            held = set(row["terms"].split())
            coverage = sum(not held.isdisjoint(word) for word in parsed.words) / len(parsed.words)
            found.append(Candidate(row["document"], row["ordinal"], row["_score"], coverage))
        return found[:limit]

    def passages(self, keys: Sequence[Key], *, vectors: bool = False) -> list[StoredPassage]:
        """The passages of these keys, in the order of the keys; those that are gone are left out."""
        if not keys:
            return []
        condition = (
            f"{_documents_condition({document for document, _ in keys})}"
            f" AND ordinal IN ({','.join(str(ordinal) for ordinal in {ordinal for _, ordinal in keys})})"
        )
        found = {(item.document, item.passage.ordinal): item for item in self._fetch(condition, vectors=vectors)}
        return [found[key] for key in keys if key in found]

    def document_passages(self, document: int, *, vectors: bool = True) -> list[StoredPassage]:
        """All passages of a document in order."""
        found = self._fetch(f"document = {int(document)}", vectors=vectors)
        return sorted(found, key=lambda item: item.passage.ordinal)

    def tidy(self, *, force: bool = False) -> bool:
        """Merge small parts, extend the indexes and drop old versions, if it is worth it or `force`.

        Returns:
            True if it did.
        """
        with self._lock:
            stats = self._table.stats()
            terms = self._table.index_stats("terms_idx")
            unindexed = terms.num_unindexed_rows if terms else 0
            small = stats["fragment_stats"]["num_small_fragments"]
            if not force and small < _SMALL_PARTS and unindexed < _UNINDEXED_ROWS:
                return False
            started = time.monotonic()
            self._make_vector_index(stats["num_rows"])
            self._table.optimize(cleanup_older_than=_RETENTION, delete_unverified=True)
            log.debug("tidied %d passages in %.1f s", stats["num_rows"], time.monotonic() - started)
            return True

    def size(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path in self._folder.rglob("*") if path.is_file())

    def refresh(self) -> None:
        """See what other processes have written since."""
        self._table.checkout_latest()

    def _make_vector_index(self, rows: int) -> None:
        if rows < _VECTOR_INDEX_ROWS or self._table.index_stats("vector_idx"):
            return
        from lancedb.index import IvfRq

        self._table.create_index("vector", config=IvfRq(distance_type="cosine"))

    def _fetch(self, condition: str, *, vectors: bool) -> Iterator[StoredPassage]:
        columns = [*_TEXT_COLUMNS, "vector"] if vectors else _TEXT_COLUMNS
        rows = self._read(lambda table: table.search().where(condition).select(columns).to_arrow())
        matrix = _matrix(rows["vector"], self._dim) if vectors else None
        for index, row in enumerate(rows.select(_TEXT_COLUMNS).to_pylist()):
            document = row.pop("document")
            yield StoredPassage(document, Passage(**row), matrix[index] if matrix is not None else None)

    def _read(self, query: Callable[[Any], Result]) -> Result:
        """Run a query; once more on the newest version if the one it read has been tidied away."""
        try:
            return query(self._table)
        except (OSError, RuntimeError, ValueError) as error:
            log.debug("query again on the newest version: %s", error)
        try:
            self._table.checkout_latest()
            return query(self._table)
        except (OSError, RuntimeError, ValueError) as error:
            raise IndexDamagedError(f"The index in {self._folder.parent} cannot be read.") from error


def _schema(dim: int) -> "pa.Schema":
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("document", pa.int64(), nullable=False),
            pa.field("ordinal", pa.int32(), nullable=False),
            pa.field("start", pa.int32(), nullable=False),
            pa.field("end", pa.int32(), nullable=False),
            pa.field("page", pa.int32()),
            pa.field("line", pa.int32()),
            pa.field("heading", pa.string(), nullable=False),
            pa.field("language", pa.string(), nullable=False),
            pa.field("text", pa.string(), nullable=False),
            pa.field("terms", pa.string(), nullable=False),
            pa.field("vector", pa.list_(pa.float16(), dim), nullable=False),
        ],
        metadata={"drama": str(_SCHEMA_VERSION)},
    )


def _create(connection: Any, name: str, dim: int) -> Any:
    from lancedb.index import FTS, Bitmap, BTree

    table = connection.create_table(name, schema=_schema(dim))
    table.create_index("document", config=BTree())
    table.create_index("language", config=Bitmap())
    table.create_index(
        "terms",
        config=FTS(
            base_tokenizer="whitespace",
            lower_case=False,
            stem=False,
            remove_stop_words=False,
            ascii_folding=False,
            max_token_length=None,
        ),
    )
    return table


def _check_schema(schema: "pa.Schema", dim: int, folder: Path) -> None:
    found = (schema.metadata or {}).get(b"drama", b"?").decode()
    if found != str(_SCHEMA_VERSION) or not schema.equals(_schema(dim)):
        raise IndexDamagedError(
            f"The index in {folder} was made by another version of drama or for another retriever"
            f" (schema {found}, needed {_SCHEMA_VERSION} with vectors of {dim}). Delete it and index again."
        )


def _batches(
    documents: "Iterable[tuple[int, Sequence[Passage], Vectors]]",
) -> "Iterator[list[tuple[int, Sequence[Passage], Vectors]]]":
    batch: list[tuple[int, Sequence[Passage], Vectors]] = []
    rows = 0
    for item in documents:
        if len(item[1]) != len(item[2]):
            raise ValueError(f"{len(item[1])} passages with {len(item[2])} vectors")
        if not item[1]:
            continue
        batch.append(item)
        rows += len(item[1])
        if rows >= _ROWS_A_WRITE:
            yield batch
            batch, rows = [], 0
    if batch:
        yield batch


def _record_batch(batch: "list[tuple[int, Sequence[Passage], Vectors]]", dim: int) -> "pa.RecordBatch":
    import numpy as np
    import pyarrow as pa

    passages = [(document, passage) for document, group, _ in batch for passage in group]
    matrix = np.concatenate([vectors for _, _, vectors in batch]).astype(np.float32, copy=False)
    if matrix.shape[1:] != (dim,):
        raise ValueError(f"vectors of {matrix.shape[1:]}, the store holds {dim}")
    matrix = matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)
    schema = _schema(dim)
    columns = {
        "document": [document for document, _ in passages],
        "terms": [keywords.index_terms(passage.text) for _, passage in passages],
        **{
            name: [getattr(passage, name) for _, passage in passages]
            for name in _TEXT_COLUMNS
            if name != "document"
        },
    }
    arrays = [pa.array(columns[field.name], field.type) for field in schema if field.name != "vector"]
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(matrix.astype(np.float16).ravel()), dim)
    return pa.record_batch([*arrays, vectors], schema=schema)


def _matrix(column: "pa.ChunkedArray", dim: int) -> "Vectors":
    import numpy as np

    flat = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    return np.concatenate(flat).reshape(-1, dim).astype(np.float32) if flat else np.zeros((0, dim), np.float32)


def _condition(documents: Collection[int] | None, languages: Sequence[str]) -> str | None:
    """SQL for the filters; "" for no filter, None if nothing can pass."""
    parts = []
    if documents is not None:
        if not documents:
            return None
        parts.append(_documents_condition(documents))
    if languages:
        parts.append(f"language IN ({','.join(_quote(language) for language in languages)})")
    return " AND ".join(parts)


def _documents_condition(documents: Collection[int]) -> str:
    return f"document IN ({','.join(str(int(document)) for document in documents)})" if documents else ""


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
