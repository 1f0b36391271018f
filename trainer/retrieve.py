"""Owns exact nearest-neighbour search over a corpus that is encoded once: vectors on disk, scores in blocks.

Vectors are unit length and kept in float16 (768 bytes for 384 dimensions), a rounding of 0.0002 in a cosine. There is
no index: 100,000 passages and 1,024 queries cost 0.08 TFLOP.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from drama_app.errors import UsageError
from trainer.records import Passage, iterate_lines, make_key, read_records

if TYPE_CHECKING:
    from drama_app.embed import Encoder

Vectors = NDArray[np.float32]
StoredVectors = NDArray[np.floating[Any]]

_ENCODED = 1024
"""Passages handed to an encoder at a time: enough to sort by length, little to lose."""
_QUERIES = 256
"""Queries scored at a time; with 8,192 passages 8 MB of scores and 16 MB of places."""


def encode_corpus(
    encode: Callable[[list[str]], Vectors], texts: Iterable[str], path: Path, *, key: str,
    report: Callable[[int], None] | None = None,
) -> StoredVectors:  # fmt: skip
    """Encode texts into a file of float16 [texts, D], going on where a call was interrupted, and map it.

    Args:
        encode: From texts to unit vectors [texts, D].
        texts: In an order that does not change.
        path: The file; a description lies beside it as `PATH.json`.
        key: Says which encoder and which texts: a file made for another key is made anew.
        report: Called with the number of texts encoded so far.

    Raises:
        UsageError: There are no texts.
    """
    described, partial = (path.with_name(path.name + ending) for ending in (".json", ".partial"))
    state = _read_state(described, path, partial, key)
    if state["done"]:
        return _open(path, state)
    path.parent.mkdir(parents=True, exist_ok=True)
    with partial.open("r+b" if state["rows"] else "w+b") as stream:
        stream.truncate(2 * state["rows"] * state["dim"])
        stream.seek(0, 2)
        for rows in _encode_blocks(encode, texts, state["rows"]):
            stream.write(rows.tobytes())
            stream.flush()
            state |= {"rows": state["rows"] + len(rows), "dim": rows.shape[1]}
            _write_json(described, state)
            if report:
                report(state["rows"])
    if not state["rows"]:
        raise UsageError("there are no passages to search in")
    partial.replace(path)
    _write_json(described, state | {"done": True})
    return _open(path, state)


def _read_state(described: Path, path: Path, partial: Path, key: str) -> dict[str, Any]:
    """How far an earlier call came that was made for the same key."""
    state = _read_json(described)
    if state.get("key") != key:
        return {"key": key, "rows": 0, "dim": 0, "done": False}
    if path.exists() and not partial.exists() and not state["done"]:
        path.replace(partial)  # killed between its last name and the description
    # After a power cut the description may be ahead of the file.
    size = next((each.stat().st_size for each in (partial, path) if each.exists()), 0)
    rows = min(state["rows"], size // (2 * state["dim"])) if state["dim"] else 0
    return state | {"rows": rows, "done": state["done"] and path.exists() and rows == state["rows"]}


def encode_passages(
    encoder: "Encoder", passages: Path, work: Path, *, report: Callable[[str], None] | None = None
) -> StoredVectors:
    """Vectors of a file of `Passage`, kept in a folder for whoever asks with the same encoder and file again.

    Raises:
        UsageError: There are no passages.
    """
    total = sum(1 for _ in iterate_lines(passages)) if report else 0
    return encode_corpus(
        encoder.encode_passages, (each.embedded for each in read_records(passages, Passage)), work / "passages.f16",
        key=make_key(encoder.fingerprint, encoder.dim, passages),
        report=(lambda count: report(f"{count:,} of {total:,} passages encoded")) if report else None,
    )  # fmt: skip


def search(
    queries: Vectors, passages: StoredVectors, k: int, *, block: int = 8192
) -> tuple[Vectors, NDArray[np.int64]]:
    """The k passages of highest cosine for each query, exactly.

    Args:
        queries: Unit vectors [Q, D].
        passages: Unit vectors [P, D], in memory or mapped; only a block is taken in at a time.
        k: How many; at most P come back.
        block: Passages at a time.

    Returns:
        Cosines float32 [Q, k] falling, and rows int64 [Q, k]; equal cosines in order of their rows.
    """
    k = min(k, len(passages))
    scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
    rows = np.zeros((len(queries), k), dtype=np.int64)
    for start in range(0, len(passages), block):
        columns = np.asarray(passages[start : start + block], dtype=np.float32).T
        for first in range(0, len(queries), _QUERIES):
            part = slice(first, first + _QUERIES)
            found = queries[part] @ columns
            places = _choose(found, k)
            both = np.concatenate([scores[part], np.take_along_axis(found, places, 1)], 1)
            where = np.concatenate([rows[part], places + start], 1)
            kept = _choose(both, k)
            scores[part], rows[part] = np.take_along_axis(both, kept, 1), np.take_along_axis(where, kept, 1)
    order = np.lexsort((rows, -scores), axis=1)
    return np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)


def _choose(scores: Vectors, k: int) -> NDArray[np.int64]:
    """Places of the k highest in each row, in no order: int64 [rows, k], fewer where a row is shorter."""
    if scores.shape[1] <= k:
        return np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    places: NDArray[np.int64] = np.argpartition(scores, scores.shape[1] - k, axis=1)[:, -k:]
    return places


def _encode_blocks(
    encode: Callable[[list[str]], Vectors], texts: Iterable[str], skipped: int
) -> Iterator[NDArray[np.float16]]:
    remaining = islice(iter(texts), skipped, None)
    while block := list(islice(remaining, _ENCODED)):
        yield np.ascontiguousarray(encode(block), dtype=np.float16)


def _open(path: Path, state: dict[str, Any]) -> StoredVectors:
    return np.memmap(path, dtype=np.float16, mode="r", shape=(state["rows"], state["dim"]))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # Without its description a file of vectors is made anew.
    return content if isinstance(content, dict) else {}


def _write_json(path: Path, content: dict[str, Any]) -> None:
    written = path.with_name(path.name + ".new")
    written.write_text(json.dumps(content), encoding="utf-8")
    written.replace(path)


def gather(passages: StoredVectors, rows: Sequence[int] | NDArray[np.int64]) -> Vectors:
    """Vectors float32 [rows, D] of some passages."""
    return np.asarray(passages[np.asarray(rows, dtype=np.int64)], dtype=np.float32)
