"""The shape of the passage table: its columns and indexes, and rows to and from the project's records.

Owns what is written where; it runs no query and keeps no connection.
"""

import functools
import operator
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drama_app import keywords
from drama_app.errors import IndexDamagedError
from drama_app.records import Passage

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]
    Documents = Iterable[tuple[int, Sequence[Passage], Vectors]]

SCHEMA_VERSION = 2
TEXT_COLUMNS = ["document", "ordinal", "start", "end", "page", "line", "heading", "language", "text"]
VECTOR_COLUMNS = ["vector", "terms"]
TERMS_INDEX = "terms_idx"
VECTOR_INDEX = "vector_idx"

_INDEX_CACHE, _METADATA_CACHE = 512 << 20, 32 << 20  # bytes
_ROWS_A_WRITE = 4096
_PACKED = {"lance-encoding:compression": "zstd"}
"""Text packs to 16 of 30 MB and terms to 21 of 55 MB, and 100 rows are read as fast as before (4 ms)."""
_RANGES = 64
"""Ranges in a condition: each is a level of the expression tree, 1,000 take 38 ms where a list takes 15."""
_RANGE_FROM = 16
_TERM_MEMORY = 256
"""MiB for building the index of terms, in one worker: LanceDB's default takes all that it finds."""


@dataclass(frozen=True, slots=True)
class StoredPassage:
    """A passage as the store holds it."""

    document: int
    passage: Passage
    vector: "Vectors | None" = None
    """Of length 1, [dim]; None unless asked for."""
    terms: str = ""
    """Its keyword terms between spaces; only with a vector."""

    @property
    def key(self) -> tuple[int, int]:
        """(document, ordinal)."""
        return self.document, self.passage.ordinal


def schema(dim: int) -> "pa.Schema":
    """The table's columns for vectors of `dim`.

    Vectors are float16: half the bytes and the same order of the best 100 but for ties.
    """
    import pyarrow as pa

    fields = {
        "document": pa.int64(),
        "ordinal": pa.int32(),
        "start": pa.int32(),
        "end": pa.int32(),
        "page": pa.int32(),
        "line": pa.int32(),
        "heading": pa.string(),
        "language": pa.string(),
        "text": pa.string(),
        "terms": pa.string(),
        "vector": pa.list_(pa.float16(), dim),
    }
    return pa.schema(
        [
            pa.field(
                name,
                kind,
                nullable=name in ("page", "line"),
                metadata=_PACKED if name in ("text", "terms") else None,
            )
            for name, kind in fields.items()
        ],
        metadata={"drama": str(SCHEMA_VERSION)},
    )


def connect(lancedb: Any, folder: Path) -> Any:
    """A connection whose caches are bounded.

    LanceDB's own bound of 1 GiB for metadata keeps what it knows of every version: 4 MB more a minute as files change.
    100,000 passages need 100 MB of both caches together; a million 465, and with these bounds 403 at the same speed.
    """
    return lancedb.connect(folder, session=lancedb.Session(_INDEX_CACHE, _METADATA_CACHE))


def is_made(path: Path) -> bool:
    """Whether there is a table at `path`."""
    return any((path / "_versions").glob("*.manifest"))


def open_or_create(connection: Any, path: Path, dim: int) -> Any:
    """Open the table at `path`, or make it with the indexes that every size needs.

    A process may have been killed between these steps: the next one finishes what is missing.
    """
    table = (
        connection.open_table(path.stem) if is_made(path) else connection.create_table(path.stem, schema=schema(dim))
    )
    made = {name for index in table.list_indices() for name in index.columns}
    for column, config in _indexes().items():
        if column not in made and column in table.schema.names:
            table.create_index(column, config=config, name=f"{column}_idx")
    return table


def _indexes() -> dict[str, Any]:
    from lancedb.index import FTS, Bitmap, BTree

    terms = FTS(  # the terms come ready from `keywords`: nothing but spaces is looked at
        base_tokenizer="whitespace",
        lower_case=False,
        stem=False,
        remove_stop_words=False,
        ascii_folding=False,
        max_token_length=None,
        memory_limit=_TERM_MEMORY,
        num_workers=1,
    )
    return {"document": BTree(), "language": Bitmap(), "terms": terms}


def make_vector_index(table: Any) -> None:
    """Index the vectors: 2-bit codes (12 MB and 3 s for 100,000 rows of 384), made exact at query time.

    With 1 bit, five times as many exact distances give less: of the best 10 and 30 among 166 near copies of each
    passage 0.91 and 0.88 for 60 asked for, and 0.99 and 0.95 with 2 bits and twice as many. 4 bits add 0.005 and 0.04.
    """
    from lancedb.index import IvfRq

    table.create_index("vector", config=IvfRq(distance_type="cosine", num_bits=2), name=VECTOR_INDEX)


def check_schema(found: "pa.Schema", dim: int, place: object) -> None:
    """Refuse a table of another make.

    Raises:
        IndexDamagedError: The schema version, the columns or the width differ.
    """
    version = (found.metadata or {}).get(b"drama", b"?").decode(errors="replace")
    if version == str(SCHEMA_VERSION) and found.equals(schema(dim)):
        return
    raise IndexDamagedError(
        f"The index in {place} was made by another version of drama or for another retriever"
        f" (schema {version}; this version needs {SCHEMA_VERSION} with vectors of {dim}). Delete it and index again."
    )


def record_batches(documents: "Documents", dim: int) -> "Iterator[pa.RecordBatch]":
    """Rows in batches of some thousand; no document is split between two batches.

    Raises:
        ValueError: The vectors are not one of `dim` for each passage.
    """
    group: list[tuple[int, Sequence[Passage], Any]] = []
    rows = 0
    for document, passages, vectors in documents:
        if vectors.shape != (len(passages), dim) and passages:
            raise ValueError(f"{len(passages)} passages need vectors of {dim}, not {vectors.shape}")
        if not passages:
            continue
        group.append((document, passages, vectors))
        rows += len(passages)
        if rows >= _ROWS_A_WRITE:
            yield _record_batch(group, dim)
            group, rows = [], 0
    if group:
        yield _record_batch(group, dim)


def _record_batch(group: list[tuple[int, Sequence[Passage], Any]], dim: int) -> "pa.RecordBatch":
    import numpy as np
    import pyarrow as pa

    passages = [passage for _, members, _ in group for passage in members]
    matrix = np.concatenate([vectors for _, _, vectors in group]).astype(np.float32, copy=False)
    matrix = matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)
    columns: dict[str, list[Any]] = {
        name: [getattr(passage, name) for passage in passages] for name in TEXT_COLUMNS if name != "document"
    }
    columns["document"] = [document for document, members, _ in group for _ in members]
    # The heading is searched like the text: it often holds the only word that names the subject.
    columns["terms"] = [keywords.index_terms(f"{passage.heading}\n{passage.text}") for passage in passages]
    target = schema(dim)
    arrays = [pa.array(columns[field.name], field.type) for field in target if field.name != "vector"]
    packed = pa.FixedSizeListArray.from_arrays(pa.array(matrix.astype(np.float16).ravel()), dim)
    return pa.record_batch([*arrays, packed], schema=target)


def read_rows(rows: "pa.Table", dim: int | None = None) -> list[StoredPassage]:
    """The rows as passages; with vectors and terms if their width is given."""
    documents = rows["document"].to_pylist()
    passages = [Passage(**row) for row in rows.select(TEXT_COLUMNS[1:]).to_pylist()]
    if dim is None:
        return list(map(StoredPassage, documents, passages))
    return list(map(StoredPassage, documents, passages, matrix_of(rows["vector"], dim), rows["terms"].to_pylist()))


def matrix_of(column: "pa.ChunkedArray", dim: int) -> "Vectors":
    """A vector column as float32 [rows, dim]."""
    import numpy as np

    flat = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    return np.concatenate(flat).reshape(-1, dim).astype(np.float32) if flat else np.zeros((0, dim), np.float32)


def document_filter(documents: Collection[int]) -> Any:
    """The condition "one of these documents"; runs of ids become ranges.

    An expression tree, not SQL: 10,000 ids take 35 ms instead of 49, 100,000 take 200 instead of 290.
    """
    from lancedb.expr import col, lit

    runs = list(_runs(sorted(int(document) for document in documents)))
    longest = sorted(runs, key=lambda run: run[0] - run[1])[:_RANGES]
    ranges = {run for run in longest if run[1] - run[0] >= _RANGE_FROM}
    listed = [document for first, last in runs if (first, last) not in ranges for document in range(first, last + 1)]
    condition = col("document").isin(listed) if listed or not ranges else None
    for first, last in ranges:
        run = (col("document") >= lit(first)) & (col("document") <= lit(last))
        condition = run if condition is None else condition | run
    return condition


def row_filter(
    documents: Collection[int] | None, languages: Sequence[str], without: Collection[int] = ()
) -> Any | None:
    """The condition of all filters: some documents, some languages, not some documents; None if none is set."""
    from lancedb.expr import col

    conditions = [] if documents is None else [document_filter(documents)]
    if languages:
        conditions.append(col("language").isin(list(languages)))
    if without:
        conditions.append(~document_filter(without))
    return functools.reduce(operator.and_, conditions) if conditions else None


def _runs(ids: Sequence[int]) -> Iterator[tuple[int, int]]:
    start = 0
    for index in range(1, len(ids) + 1):
        if index == len(ids) or ids[index] > ids[index - 1] + 1:
            yield ids[start], ids[index - 1]
            start = index


def mask(wanted: "Iterable[bool]") -> "pa.Array":
    """Which rows to keep, for `Table.filter`; of no rows pyarrow could not tell the type."""
    import pyarrow as pa

    return pa.array(list(wanted), pa.bool_())


def numbers(places: Iterable[int]) -> "pa.Array":
    """Which rows to keep and in which order, for `Table.take`."""
    import pyarrow as pa

    return pa.array(list(places), pa.int64())
