"""Owns the passages on disk: one LanceDB table a retriever with vectors, text and keyword terms.

It refuses to know files, paths and documents beyond their integer id (the manifest owns those), and does not rank:
it lists candidates by meaning and by keywords. One process writes at a time (the caller holds the lock); any
number read. `add` and `remove` are each atomic; a killed process leaves the last complete version.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from drama_app import caretaker, keywords, passage_table, phrases
from drama_app.common_terms import CommonTerms
from drama_app.errors import NoIndexError
from drama_app.keywords import KeywordQuery
from drama_app.lance import READ_ERRORS, explain, import_lancedb, system_errors_told
from drama_app.passage_table import TEXT_COLUMNS, VECTOR_COLUMNS, StoredPassage, read_rows
from drama_app.records import Passage
from drama_app.row_cache import RowCache

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

Result = TypeVar("Result")
Key = tuple[int, int]
"""A passage: (document, ordinal)."""

log = logging.getLogger(__name__)

_REFINE = 2
"""Candidates from the index's 2-bit codes, as a multiple of the limit, whose distance is computed exactly: each is a
read of its own, and they are half of the time."""
_SCAN_DOCUMENTS = 1_000
"""So few documents are scanned exactly: the index looks at the nearest partitions, and few of its rows would pass
(23 to 78 of the 100 nearest in 10 documents were found through it)."""
_LONG_LIST = 2_000
"""Above it a list of documents costs more than looking through four times as many candidates (15 ms)."""
_OVERFETCH = 4
LOOKED_UP = 30
"""Keyword candidates whose text, terms and vector are fetched; those further down rarely rise."""
_WITH_TEXT = 100
"""Lists up to this long come with their texts: 4 ms for 60 rows, where fetching some of them later takes 6."""
_COMMON_TERMS = "common_terms.json"


_DRAWN = 4
"""Passages drawn for each one of a sample."""


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


class PassageStore:
    """The passages of one retriever. Readers and one writer may share an object between threads."""

    def __init__(self, table: Any, path: Path, dim: int) -> None:
        self._table = table
        self._path = path
        self._dim = dim
        self._lock = threading.RLock()
        self._common: CommonTerms | None = None
        self._cache = RowCache()
        self._version = 0
        self._counted = (-1, 0)

    @classmethod
    def open(cls, folder: Path, *, dim: int, table: str = "passages", create: bool = True) -> "PassageStore":
        """Open the store in `folder`, or create it.

        Args:
            folder: A folder that belongs to the store alone.
            dim: Width of the vectors.
            table: Name of the table, one a retriever.
            create: Make what is missing. For a writer: of two that did so at once, one found the index damaged.

        Raises:
            NoIndexError: There is no table and `create` is False.
            IndexDamagedError: The table is of another schema or width, or damaged.
            DiskError: The system does not let it be read or made.
        """
        path = folder / f"{table}.lance"
        if not create and not passage_table.is_made(path):
            raise NoIndexError("nothing is indexed yet: run `drama-app index FOLDER` first")
        lancedb = import_lancedb()
        folder.mkdir(parents=True, exist_ok=True)
        try:
            connection = passage_table.connect(lancedb, folder)
            opened = passage_table.open_or_create(connection, path, dim) if create else connection.open_table(table)
            found = opened.schema
        except READ_ERRORS as error:
            raise explain(error, folder) from error
        passage_table.check_schema(found, dim, folder)
        return cls(opened, path, dim)

    def add(self, document: int, passages: Sequence[Passage], vectors: "Vectors") -> None:
        """Add the passages of one document, [n] with vectors [n, dim]; all or none become visible."""
        self.add_many([(document, passages, vectors)])

    def add_many(self, documents: "Iterable[tuple[int, Sequence[Passage], Vectors]]") -> None:
        """Add the passages of several documents in few writes; each write is atomic and splits no document.

        A table that grows by thousands is tidied meanwhile.
        """
        for batch in passage_table.record_batches(documents, self._dim):
            with self._changing():
                self._table.add(batch)
                if caretaker.has_grown(self._table):
                    self.tidy(force=True)

    def remove(self, documents: Iterable[int]) -> None:
        """Remove all passages of these documents; unknown ids are fine."""
        if wanted := set(documents):
            with self._changing():
                self._table.delete(passage_table.document_filter(wanted))

    def document_ids(self) -> set[int]:
        """The documents that have passages."""
        return set(self.counts())

    def sample(self, size: int) -> "Vectors":
        """Vectors [up to size, dim] of passages spread over the table and its documents, for statistics.

        One log of 7,000 passages among 160 documents made passages look so alike that two of sixty good answers
        counted as none: the first passages drawn of each document go before its second ones, and so on.
        """
        drawn = size * _DRAWN

        def take(table: Any) -> "pa.Table":
            count = table.count_rows()  # here, so that a second try counts again what a writer has removed meanwhile
            places = {place * count // drawn for place in range(drawn)} if count > drawn else range(count)
            return table.take_offsets(sorted(places)).select(["document", "vector"]).to_arrow()

        rows = self._read(take)
        seen, turns = Counter[int](), []
        for place, document in enumerate(rows["document"].to_pylist()):
            turns.append((seen[document], place))
            seen[document] += 1
        chosen = passage_table.numbers(sorted(place for _, place in sorted(turns)[:size]))
        return passage_table.matrix_of(rows.take(chosen)["vector"], self._dim)

    def counts(self) -> dict[int, int]:
        """Passages a document, for every document that has any."""
        return self._tally("document")

    def count(self) -> int:
        """Number of passages."""
        generation = self._cache.generation
        if self._counted[0] != generation:
            self._counted = generation, int(self._read(lambda table: table.count_rows()))
        return self._counted[1]

    def languages(self) -> dict[str, int]:
        """Passages a language, most first."""
        return dict(sorted(self._tally("language").items(), key=lambda item: (-item[1], item[0])))

    def _tally(self, column: str) -> dict[Any, int]:
        rows = self._read(lambda table: table.search().select([column]).to_arrow())
        return {row["values"]: row["counts"] for row in rows[column].value_counts().to_pylist()}

    def nearest(
        self,
        vector: "Vectors",
        *,
        limit: int,
        documents: Collection[int] | None = None,
        languages: Sequence[str] = (),
        without: Collection[int] = (),
    ) -> list[Candidate]:
        """The passages nearest in meaning to `vector` [dim], best first, among those that pass the filters.

        Args:
            vector: Of length 1.
            limit: How many.
            documents: Only these documents; None means all.
            languages: Only these languages; empty means all.
            without: Not these documents.
        """

        columns = TEXT_COLUMNS if limit <= _WITH_TEXT else TEXT_COLUMNS[:2]

        def run(table: Any, condition: Any, count: int) -> "pa.Table":
            def search(*, exact: bool) -> "pa.Table":
                query = table.search(vector, query_type="vector", vector_column_name="vector")
                query = query.distance_type("cosine").select([*columns, "_distance"]).limit(count)
                query = query.bypass_vector_index() if exact else query.refine_factor(_REFINE)
                return (query if condition is None else query.where(condition)).with_row_id(True).to_arrow()

            if condition is None:
                return search(exact=False)
            found = search(exact=documents is not None and len(documents) <= _SCAN_DOCUMENTS)
            return found if len(found) >= count else search(exact=True)

        rows = self._search(run, limit, documents, languages, without)
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
        without: Collection[int] = (),
    ) -> list[Candidate]:
        """The passages that hold the query's words, by BM25, best first, among those that pass the filters.

        A quoted phrase must stand in the passage as it is, but for case, accents and spacing. Filters are those of
        `nearest`. Only the best `LOOKED_UP` are fetched, with their vectors, and have a coverage.
        """
        asked = keywords.parse_query(query)
        if not asked.words:
            return []
        match = phrases.make_query(asked)

        def run(table: Any, condition: Any, count: int) -> "pa.Table":
            search = table.search(match, query_type="fts").select([*TEXT_COLUMNS[:2], "_score"]).limit(count)
            return (search if condition is None else search.where(condition)).with_row_id(True).to_arrow()

        rows = self._search(run, phrases.count_rows(asked, limit), documents, languages, without)
        if rows is not None and asked.phrases:
            rows = self._hold_phrases(rows, asked, limit)
        found = list(zip(*_columns(rows, "document", "ordinal", "_score"), strict=True))
        best = self.passages([(document, ordinal) for document, ordinal, _ in found[:LOOKED_UP]], vectors=True)
        covered = {each.key: self._common_terms().coverage(asked.words, each.terms) for each in best}
        return [Candidate(number, place, score, covered.get((number, place), 0.0)) for number, place, score in found]

    def _hold_phrases(self, rows: "pa.Table", asked: KeywordQuery, limit: int) -> "pa.Table":
        """The best rows that hold every quoted phrase; texts are read until there are `limit`."""
        held: list[int] = []
        for start in range(0, len(rows), phrases.SLICE):
            # Once more: of a long list the cache keeps the last places, and these are the first. By the generation of
            # now: places that moved meanwhile are noticed when they are read.
            part = self._remember(self._cache.generation, rows.slice(start, phrases.SLICE))
            keys = list(zip(*_columns(part, "document", "ordinal"), strict=True))
            texts = {each.key for each in self.passages(keys) if phrases.stand_in(asked, each.passage)}
            held += [start + place for place, key in enumerate(keys) if key in texts]
            if len(held) >= limit:
                break
        return rows.take(passage_table.numbers(held[:limit]))

    def passages(self, keys: Sequence[Key], *, vectors: bool = False) -> list[StoredPassage]:
        """The passages of these keys, in the order of the keys; those that are gone are left out."""
        generation = self._cache.generation
        found = self._cache.passages(keys, vectors=vectors)
        if missing := [key for key in keys if key not in found]:
            taken = {each.key: each for each in self._take(missing, vectors=vectors)}
            if moved := [key for key in missing if key not in taken]:
                from lancedb.expr import col

                condition = passage_table.document_filter({document for document, _ in moved})
                condition = condition & col("ordinal").isin(sorted({ordinal for _, ordinal in moved}))
                taken.update((each.key, each) for each in self._fetch(condition, vectors))
            wanted = set(missing)
            self._cache.note_passages(generation, (each for key, each in taken.items() if key in wanted))
            found |= taken
        return [found[key] for key in keys if key in found]

    def document_passages(self, document: int, *, vectors: bool = True) -> list[StoredPassage]:
        """All passages of a document in order."""
        found = self._fetch(passage_table.document_filter([document]), vectors)
        return sorted(found, key=lambda item: item.passage.ordinal)

    def tidy(self, *, force: bool = False, for_good: bool = False) -> bool:
        """Merge small parts, extend the indexes and drop old versions, if it is worth it or `force`.

        `for_good`, what was removed leaves the disk now, as far as `caretaker.tidy` goes. True if it did.
        """
        with self._changing():
            if not (force or for_good) and not caretaker.is_untidy(self._table):
                return False
            started = time.monotonic()
            caretaker.tidy(self._table, for_good=for_good)
            known = self._common_terms()
            self._common = caretaker.renew_common_terms(self._table, known)
            if self._common is not known:
                self._common.save(self._path / _COMMON_TERMS)
            log.debug("tidied %d passages in %.1f s", self._table.count_rows(), time.monotonic() - started)
            return True

    def size(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path in self._path.rglob("*") if path.is_file())

    def refresh(self) -> None:
        """See what other processes have written since; costs a millisecond."""
        with system_errors_told(self._path.parent, "read"):
            self._table.checkout_latest()
        if (version := self._table.version) != self._version:
            self._version = version
            self._cache.forget()

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """One writer at a time; what was seen before may not be so afterwards."""
        with self._lock, system_errors_told(self._path.parent, "written"):
            try:
                yield
            finally:
                self._cache.forget()

    def _common_terms(self) -> CommonTerms:
        if self._common is None:
            self._common = CommonTerms.load(self._path / _COMMON_TERMS)
        return self._common

    def _search(
        self,
        run: "Callable[[Any, Any, int], pa.Table]",
        limit: int,
        documents: Collection[int] | None,
        languages: Sequence[str],
        without: Collection[int],
    ) -> "pa.Table | None":
        """Run a ranked query under the filters; None if nothing can pass them."""
        if documents is not None and not documents:
            return None
        generation = self._cache.generation
        if documents is not None and len(documents) > _LONG_LIST:
            broad = passage_table.row_filter(None, languages, without)
            rows = self._read(lambda table: run(table, broad, limit * _OVERFETCH))
            kept = rows.filter(passage_table.mask(document in documents for document in rows["document"].to_pylist()))
            # Best first: if enough of the best pass, they are the best of those that pass.
            if len(kept) >= limit or len(rows) < limit * _OVERFETCH:
                return self._remember(generation, kept.slice(0, limit))
        condition = passage_table.row_filter(documents, languages, without)
        return self._remember(generation, self._read(lambda table: run(table, condition, limit)))

    def _remember(self, generation: int, rows: "pa.Table") -> "pa.Table":
        """Note where the rows lie and what they hold, so that `passages` need not look for them."""
        documents, ordinals, places = _columns(rows, "document", "ordinal", "_rowid")
        self._cache.note_places(generation, zip(zip(documents, ordinals, strict=True), places, strict=True))
        if set(TEXT_COLUMNS) <= set(rows.column_names):
            self._cache.note_passages(generation, read_rows(rows))
        return rows

    def _take(self, keys: Sequence[Key], *, vectors: bool) -> list[StoredPassage]:
        """Those of the keys that still lie where a query saw them; a row that has moved is not taken for another."""
        if not (places := self._cache.places(keys)):
            return []
        try:
            rows = self._table.take_row_ids(places).select(_wanted(vectors)).to_arrow()
        except READ_ERRORS as error:
            log.debug("rows have moved: %s", error)
            return []
        wanted = set(keys)
        return [each for each in read_rows(rows, self._dim if vectors else None) if each.key in wanted]

    def _fetch(self, condition: Any, vectors: bool) -> list[StoredPassage]:
        rows = self._read(lambda table: table.search().where(condition).select(_wanted(vectors)).to_arrow())
        return read_rows(rows, self._dim if vectors else None)

    def _read(self, query: Callable[[Any], Result]) -> Result:
        """Run a query; once more on the newest version if the one it read has been tidied away."""
        try:
            return query(self._table)
        except READ_ERRORS as error:
            log.debug("query again on the newest version: %s", error)
        try:
            self._table.checkout_latest()
            return query(self._table)
        except READ_ERRORS as error:
            raise explain(error, self._path.parent) from error


def _columns(rows: "pa.Table | None", *names: str) -> list[list[Any]]:
    return [[] if rows is None else rows[name].to_pylist() for name in names]


def _wanted(vectors: bool) -> list[str]:
    return [*TEXT_COLUMNS, *VECTOR_COLUMNS] if vectors else TEXT_COLUMNS
