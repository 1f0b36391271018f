"""Owns the way from texts to vectors: prefixes, batches, the ONNX session, cutting and normalising.

Knows no architecture: whatever graph a retriever folder holds is run as it is. Stores nothing and ranks nothing.

An x86 CPU without VNNI saturates in the products of u8 activations and s8 weights that int8 graphs hold, so its
vectors may differ from those measured; on one with VNNI, as on ARM with dot products, they do not.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from drama_app.errors import RetrieverError
from drama_app.retriever import MODEL, TOKENIZER, Retriever, default_retriever_folder, open_retriever_folder
from drama_app.tokens import open_tokenizer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

BATCH_TOKENS = 512
"""At 128 tokens batches of 4 gave 2,900 tokens/s where 1, 8 and 16 gave 2,000, 2,600 and 2,700 (two busy cores); at
512 tokens two texts were within 4 % of one, and four slower in most rounds."""
BATCH_TEXTS = 8
"""At 32 tokens 8 texts gave 1.6 to 2 times the rate of one; 16 were faster than 8 in one run and slower in another."""
WINDOW = 256
"""Texts that are tokenized and sorted together: enough for batches of equal length, little enough to stay small."""


class Encoder(Protocol):
    """Texts in, unit vectors out. Vectors of two fingerprints or widths never mix."""

    @property
    def dim(self) -> int:
        """Width of every vector."""
        ...

    @property
    def fingerprint(self) -> str:
        """Which retriever this is."""
        ...

    def encode_queries(self, texts: list[str]) -> "Vectors":
        """Unit vectors float32 [texts, dim] of questions."""
        ...

    def encode_passages(self, texts: list[str]) -> "Vectors":
        """Unit vectors float32 [texts, dim] of passages."""
        ...


def open_retriever(
    folder: Path | None = None, *, dim: int | None = None, threads: int | None = None, cache: Path | None = None
) -> "OnnxEncoder":
    """Open a retriever folder as an encoder.

    Args:
        folder: The folder; None is the retriever that is shipped.
        dim: Width of the vectors, one of the folder's `dims`; None is its default.
        threads: Threads that share one text's work; None is every core that the process may use.
        cache: Directory for what makes the next opening quick (verified stamp, table of pieces; about 10 MB).

    Raises:
        RetrieverError: The folder was refused, or does not offer `dim`.
    """
    retriever = open_retriever_folder(default_retriever_folder() if folder is None else Path(folder), cache=cache)
    return OnnxEncoder(retriever, dim=dim, threads=threads, cache=cache)


class OnnxEncoder:
    """A retriever folder run by ONNX Runtime on the CPU. Safe to share by threads."""

    def __init__(
        self, retriever: Retriever, *, dim: int | None = None, threads: int | None = None, cache: Path | None = None
    ) -> None:
        if dim is not None and dim not in retriever.dims:
            offered = ", ".join(map(str, retriever.dims))
            raise RetrieverError(f"{retriever.folder}: vectors of width {dim} are not offered, only {offered}")
        self.retriever = retriever
        self._dim = dim or retriever.default_dim
        path = retriever.folder / TOKENIZER
        self._tokenizer = open_tokenizer(path, max_tokens=retriever.max_tokens, cache=cache)
        self._session = open_session(retriever.folder / MODEL, threads=threads)

    @property
    def dim(self) -> int:
        """Width of every vector."""
        return self._dim

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the retriever folder."""
        return self.retriever.fingerprint

    def encode_queries(self, texts: list[str]) -> "Vectors":
        """Unit vectors float32 [texts, dim] of questions, in their order."""
        return self._encode(texts, self.retriever.query_prefix)

    def encode_passages(self, texts: list[str]) -> "Vectors":
        """Unit vectors float32 [texts, dim] of passages, in their order."""
        return self._encode(texts, self.retriever.passage_prefix)

    def stream_passages(self, texts: Iterable[str]) -> "Iterator[Vectors]":
        """Unit vectors of passages without end: float32 [up to WINDOW, dim] at a time, in their order."""
        remaining = iter(texts)
        while window := list(islice(remaining, WINDOW)):
            yield self.encode_passages(window)

    def _encode(self, texts: Sequence[str], prefix: str) -> "Vectors":
        import numpy as np

        vectors = np.zeros((len(texts), self._dim), dtype=np.float32)
        for start in range(0, len(texts), WINDOW):
            tokens = self._tokenizer.encode([prefix + text for text in texts[start : start + WINDOW]])
            for rows in plan_batches([len(ids) for ids in tokens]):
                vectors[[start + row for row in rows]] = self._run([tokens[row] for row in rows])
        return vectors

    def _run(self, tokens: "list[NDArray[np.int64]]") -> "Vectors":
        """One batch through the graph: cut, then normalised, float32 [batch, dim]."""
        import numpy as np

        length = max(1, *map(len, tokens))
        input_ids = np.full((len(tokens), length), self.retriever.pad_token_id, dtype=np.int64)
        attention_mask = np.zeros_like(input_ids)
        for row, ids in enumerate(tokens):
            input_ids[row, : len(ids)] = ids
            # A text without a single token still gets a position, for a mean over none is not a number.
            attention_mask[row, : max(1, len(ids))] = 1
        feed = {"input_ids": input_ids, "attention_mask": attention_mask}
        embedding = self._session.run(["embedding"], feed)[0][:, : self._dim]
        lengths = np.linalg.norm(embedding, axis=1, keepdims=True)
        return np.asarray(embedding / np.maximum(lengths, 1e-12), dtype=np.float32)


def open_session(path: Path, *, threads: int | None = None) -> Any:
    """An ONNX Runtime session for the CPU with the options that the app uses.

    Opening the 78 MB of e5-mini takes 0.19 s and lets other threads run meanwhile; a copy that was optimised ahead
    opened no faster (0.22 s; 0.38 s in ORT's own format), so none is kept.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or count_cores()
    # Threads that spin while they wait take the core from whoever has work: beside other processes 128 tokens in
    # batches of 4 ran at 2,060 tokens/s spinning and 2,920 parked, a query in 11.3 and 9.7 ms.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def plan_batches(lengths: Sequence[int]) -> list[list[int]]:
    """Rows grouped by length, longest first, so that padding is little and the largest memory is taken once.

    Args:
        lengths: Tokens of each row.

    Returns:
        Rows of each batch; every row stands in one.
    """
    batches: list[list[int]] = []
    room = 0
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if room < 1:
            # The first row is the longest, so it settles how many fit.
            room = max(1, min(BATCH_TEXTS, BATCH_TOKENS // max(1, lengths[row])))
            batches.append([])
        batches[-1].append(row)
        room -= 1
    return batches


def count_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
