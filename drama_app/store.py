"""Owns the passages on disk: one LanceDB table a retriever with vectors, text and keyword terms.

It refuses to know files, paths and documents beyond their integer id (the manifest owns those), and does not rank:
it lists candidates by meaning and by keywords. One process writes at a time (the caller holds the lock); any
number read. `add` and `remove` are each atomic; a killed process leaves the last complete version.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from drama_app import keywords, passage_table
from drama_app.common_terms import CommonTerms
from drama_app.errors import IndexDamagedError
from drama_app.lance import import_lancedb
from drama_app.passage_table import TERMS_INDEX, TEXT_COLUMNS, VECTOR_INDEX
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

_READ_ERRORS = (OSError, RuntimeError, ValueError)
"""What LanceDB raises of a table that it cannot read."""
_VECTOR_INDEX_ROWS = 20_000
"""Below it a scan takes at most 25 ms and is exact; at 100,000 rows 115 ms against 14 with the index."""
_REFINE = 5
"""Candidates from the index's 1-bit codes, as a multiple of the limit, whose distance is computed exactly. At 100,000
rows 3, 5 and 10 take 12, 14 and 20 ms; the best 10 are complete from 3 on, 94 of the best 100 with 3, 99 with 10."""
_SCAN_DOCUMENTS = 1_000
"""So few documents are scanned exactly: the index looks at the nearest partitions, and few of its rows would pass
(23 to 78 of the 100 nearest in 10 documents were found through it)."""
_LONG_LIST = 2_000
"""Above it a list of documents costs more than looking through four times as many candidates (15 ms)."""
_OVERFETCH = 4
_PHRASE_FACTOR = 10
"""A quoted phrase is looked for in this many times the limit."""
_SMALL_PARTS = 64
_ROWS_A_PART = 5_000
_UNINDEXED_ROWS = 1_000
_UNINDEXED_SHARE = 40
"""New rows are scanned for keywords (27 ms for 1,000), while taking any number of them in rewrites the whole index of
terms (0.2 ms a row of the table). A fortieth keeps the second below a third of what encoding the new rows costs."""
_RETENTION = timedelta(seconds=60)
"""A reader holds a version for one query only, since it refreshes before."""
_REMEMBERED_ROWS = 4_000
_SAMPLE = 4_000


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

    def __init__(self, table: Any, path: Path, dim: int) -> None:
        self._table = table
        self._path = path
        self._dim = dim
        self._lock = threading.RLock()
        self._common: CommonTerms | None = None
        self._rows: OrderedDict[Key, int] = OrderedDict()

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
            opened = passage_table.open_or_create(connection, path, dim)
            found = opened.schema
        except _READ_ERRORS as error:
            raise IndexDamagedError(f"The index in {folder} cannot be read. Delete it and index again.") from error
        passage_table.check_schema(found, dim, folder)
        return cls(opened, path, dim)

    def add(self, document: int, passages: Sequence[Passage], vectors: "Vectors") -> None:
        """Add the passages of one document, [n] with vectors [n, dim]; all or none become visible."""
        self.add_many([(document, passages, vectors)])

    def add_many(self, documents: "Iterable[tuple[int, Sequence[Passage], Vectors]]") -> None:
        """Add the passages of several documents in few writes; each write is atomic and splits no document."""
        for batch in passage_table.record_batches(documents, self._dim):
            with self._lock:
                self._table.add(batch)

    def remove(self, documents: Iterable[int]) -> None:
        """Remove all passages of these documents; unknown ids are fine."""
        if wanted := set(documents):
            with self._lock:
                self._table.delete(passage_table.document_filter(wanted))

    def document_ids(self) -> set[int]:
        """The documents that have passages."""
        rows = self._read(lambda table: table.search().select(["document"]).to_arrow())
        return set(rows["document"].unique().to_pylist())

    def sample(self, size: int) -> "Vectors":
        """Vectors [up to size, dim] of passages spread evenly over the table, for statistics."""
        count = self.count()
        places = sorted({place * count // size for place in range(size)}) if count > size else range(count)
        rows = self._read(lambda table: table.take_offsets(list(places)).select(["vector"]).to_arrow())
        return passage_table.matrix_of(rows["vector"], self._dim)

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

        def run(table: Any, condition: Any, count: int) -> "pa.Table":
            def search(*, exact: bool) -> "pa.Table":
                query = table.search(vector, query_type="vector", vector_column_name="vector")
                query = query.distance_type("cosine").select(["document", "ordinal", "_distance"]).limit(count)
                query = query.bypass_vector_index() if exact else query.refine_factor(_REFINE)
                return (query if condition is None else query.where(condition)).with_row_id(True).to_arrow()

            if condition is None:
                return search(exact=False)
            found = search(exact=documents is not None and len(documents) <= _SCAN_DOCUMENTS)
            return found if len(found) >= count else search(exact=True)

        rows = self._search(run, limit, documents, languages)
        return [
            Candidate(document, ordinal, 1.0 - distance)
            for document, ordinal, distance in zip(*_columns(rows, "document", "ordinal", "_distance"), strict=True)
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
        asked = keywords.parse_query(query)
        if not asked.words:
            return []
        terms = " ".join(dict.fromkeys(term for word in asked.words for term in word))
        columns = ["document", "ordinal", "terms", "_score", *(["heading", "text"] if asked.phrases else [])]

        def run(table: Any, condition: Any, count: int) -> "pa.Table":
            from lancedb.query import MatchQuery

            match = MatchQuery(terms, "terms")  # type: ignore[call-arg]  # pydantic's defaults are not seen
            search = table.search(match, query_type="fts").select(columns).limit(count)
            return (search if condition is None else search.where(condition)).with_row_id(True).to_arrow()

        rows = self._search(run, limit * (_PHRASE_FACTOR if asked.phrases else 1), documents, languages)
        if asked.phrases:
            words = keywords.parse_query(" ".join(asked.phrases)).words
            # Looking for the words first spares nine tenths of the folding: 20 ms in place of 170.
            held = [
                _holds_all(words, terms) and asked.phrases_stand_in(f"{heading} {text}")
                for terms, heading, text in zip(*_columns(rows, "terms", "heading", "text"), strict=True)
            ]
            rows = rows and rows.filter(held).slice(0, limit)
        weights = [self._common_terms().weight(word[0]) for word in asked.words]
        return [
            Candidate(document, ordinal, score, _coverage(asked.words, weights, terms))
            for document, ordinal, score, terms in zip(
                *_columns(rows, "document", "ordinal", "_score", "terms"), strict=True
            )
        ]

    def passages(self, keys: Sequence[Key], *, vectors: bool = False) -> list[StoredPassage]:
        """The passages of these keys, in the order of the keys; those that are gone are left out."""
        found = {(item.document, item.passage.ordinal): item for item in self._take(keys, vectors=vectors)}
        if missing := [key for key in keys if key not in found]:
            from lancedb.expr import col

            condition = passage_table.document_filter({document for document, _ in missing})
            condition = condition & col("ordinal").isin(sorted({ordinal for _, ordinal in missing}))
            found.update(((item.document, item.passage.ordinal), item) for item in self._fetch(condition, vectors))
        return [found[key] for key in keys if key in found]

    def document_passages(self, document: int, *, vectors: bool = True) -> list[StoredPassage]:
        """All passages of a document in order."""
        found = self._fetch(passage_table.document_filter([document]), vectors)
        return sorted(found, key=lambda item: item.passage.ordinal)

    def tidy(self, *, force: bool = False) -> bool:
        """Merge small parts, extend the indexes and drop old versions, if it is worth it or `force`.

        Returns:
            True if it did.
        """
        with self._lock:
            stats = self._table.stats()
            rows = int(stats["num_rows"])
            if not force and not self._is_untidy(stats):
                return False
            started = time.monotonic()
            self._table.optimize(cleanup_older_than=_RETENTION, delete_unverified=True)
            if rows >= _VECTOR_INDEX_ROWS and not self._table.index_stats(VECTOR_INDEX):
                passage_table.make_vector_index(self._table)
            self._sample_terms(rows)
            log.debug("tidied %d passages in %.1f s", rows, time.monotonic() - started)
            return True

    def size(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path in self._path.rglob("*") if path.is_file())

    def refresh(self) -> None:
        """See what other processes have written since; costs a millisecond."""
        self._table.checkout_latest()

    def _is_untidy(self, stats: Any) -> bool:
        rows, small = stats["num_rows"], stats["fragment_stats"]["num_small_fragments"]
        terms = self._table.index_stats(TERMS_INDEX)
        unindexed = terms.num_unindexed_rows if terms else 0
        return bool(
            small >= max(_SMALL_PARTS, rows // _ROWS_A_PART)
            or unindexed >= max(_UNINDEXED_ROWS, rows // _UNINDEXED_SHARE)
        )

    def _common_terms(self) -> CommonTerms:
        if self._common is None:
            self._common = CommonTerms.load(self._path / "common_terms.json")
        return self._common

    def _sample_terms(self, rows: int) -> None:
        if rows < 100 or rows < 1.5 * self._common_terms().passages:
            return
        step = max(1, rows // _SAMPLE)
        sample = self._table.take_offsets(list(range(0, rows, step))).select(["terms"]).to_arrow()
        self._common = CommonTerms.of_sample(sample["terms"].to_pylist(), rows)
        self._common.save(self._path / "common_terms.json")

    def _search(
        self,
        run: "Callable[[Any, Any, int], pa.Table]",
        limit: int,
        documents: Collection[int] | None,
        languages: Sequence[str],
    ) -> "pa.Table | None":
        """Run a ranked query under the filters; None if nothing can pass them."""
        if documents is not None and not documents:
            return None
        if documents is not None and len(documents) > _LONG_LIST:
            spoken = passage_table.row_filter(None, languages)
            rows = self._read(lambda table: run(table, spoken, limit * _OVERFETCH))
            kept = rows.filter([document in documents for document in rows["document"].to_pylist()])
            # Best first: if enough of the best pass, they are the best of those that pass.
            if len(kept) >= limit or len(rows) < limit * _OVERFETCH:
                return self._remember(kept.slice(0, limit))
        condition = passage_table.row_filter(documents, languages)
        return self._remember(self._read(lambda table: run(table, condition, limit)))

    def _remember(self, rows: "pa.Table") -> "pa.Table":
        """Note where the rows lie, so that `passages` finds them in 5 ms instead of 17."""
        with self._lock:
            for document, ordinal, row in zip(*_columns(rows, "document", "ordinal", "_rowid"), strict=True):
                self._rows[document, ordinal] = row
            while len(self._rows) > _REMEMBERED_ROWS:
                self._rows.popitem(last=False)
        return rows

    def _take(self, keys: Sequence[Key], *, vectors: bool) -> list[StoredPassage]:
        """Those of the keys that still lie where a query saw them; a row that has moved is not taken for another."""
        with self._lock:
            places = [self._rows[key] for key in keys if key in self._rows]
        if not places:
            return []
        columns = [*TEXT_COLUMNS, "vector"] if vectors else TEXT_COLUMNS
        try:
            rows = self._table.take_row_ids(places).select(columns).to_arrow()
        except _READ_ERRORS as error:
            log.debug("rows have moved: %s", error)
            return []
        wanted = set(keys)
        return [item for item in self._stored(rows, vectors) if (item.document, item.passage.ordinal) in wanted]

    def _fetch(self, condition: Any, vectors: bool) -> list[StoredPassage]:
        columns = [*TEXT_COLUMNS, "vector"] if vectors else TEXT_COLUMNS
        rows = self._read(lambda table: table.search().where(condition).select(columns).to_arrow())
        return list(self._stored(rows, vectors))

    def _stored(self, rows: "pa.Table", vectors: bool) -> Iterator[StoredPassage]:
        matrix = passage_table.matrix_of(rows["vector"], self._dim) if vectors else None
        for index, row in enumerate(rows.select(TEXT_COLUMNS).to_pylist()):
            document = row.pop("document")
            yield StoredPassage(document, Passage(**row), matrix[index] if matrix is not None else None)

    def _read(self, query: Callable[[Any], Result]) -> Result:
        """Run a query; once more on the newest version if the one it read has been tidied away."""
        try:
            return query(self._table)
        except _READ_ERRORS as error:
            log.debug("query again on the newest version: %s", error)
        try:
            self._table.checkout_latest()
            return query(self._table)
        except _READ_ERRORS as error:
            raise IndexDamagedError(f"The index in {self._path.parent} cannot be read.") from error


def _columns(rows: "pa.Table | None", *names: str) -> list[list[Any]]:
    return [[] if rows is None else rows[name].to_pylist() for name in names]


def _holds_all(words: Sequence[Sequence[str]], terms: str) -> bool:
    """Whether `terms` has at least one term of every word."""
    held = f" {terms} "
    return all(any(f" {term} " in held for term in word) for word in words)


def _coverage(words: Sequence[Sequence[str]], weights: Sequence[float], terms: str) -> float:
    """The share of the words' weight that `terms` holds; a word is held if any of its terms is."""
    held = f" {terms} "
    whole = sum(weights) or 1.0
    return (
        sum(weight for word, weight in zip(words, weights, strict=True) if any(f" {term} " in held for term in word))
        / whole
    )
