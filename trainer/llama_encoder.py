"""Owns a GGUF embedding model as an encoder like the app's, computed by llama.cpp: to mine, to teach, to be compared.

The pooling is the file's own. It writes no text and trains nothing.
"""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from drama_app.embed import count_cores
from drama_app.errors import RetrieverError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

_LONGEST = 512
"""Tokens of a text, as retriever folders have it; several short ones share a call."""
_PREFIXES = {
    "embeddinggemma": ("task: search result | query: ", "title: none | text: "),
    "qwen3-embedding": (
        "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: ", ""
    ),
    "nomic-embed": ("search_query: ", "search_document: "),
    "e5-": ("query: ", "passage: "),
}  # fmt: skip
"""What the cards of known families put before a question and a passage, by a part of the file's or the model's name."""


def is_embedder(path: Path) -> bool:
    """Whether a file is a GGUF that states how the rows of its tokens become one vector."""
    from gguf import GGUFReader

    try:
        with path.open("rb") as stream:
            if stream.read(4) != b"GGUF":
                return False
        fields = GGUFReader(path).fields
        pooling = fields.get(f"{fields['general.architecture'].contents()}.pooling_type")
        return pooling is not None and int(pooling.contents()) > 0
    except (ValueError, KeyError, IndexError, OSError):
        return False  # cut short: whoever opens it tells


class LlamaEncoder:
    """A GGUF embedder."""

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        """Load it.

        Raises:
            RetrieverError: llama-cpp-python is not installed, or the file cannot be loaded.
        """
        try:
            from llama_cpp import Llama
        except ImportError as error:
            raise RetrieverError(f"{path}: needs llama.cpp: pip install llama-cpp-python") from error
        try:
            self._model = Llama(
                str(path), embedding=True, n_ctx=_LONGEST, n_batch=_LONGEST, n_ubatch=_LONGEST,
                n_threads=threads or count_cores(), verbose=False,
            )  # fmt: skip
        except (ValueError, RuntimeError, OSError) as error:
            raise RetrieverError(
                f"{path}: llama.cpp cannot load it ({error}); it may be cut short or too new"
            ) from error
        named = f"{path.stem} {self._model.metadata.get('general.name', '')}".lower().replace(" ", "-")
        self._query, self._passage = next((texts for part, texts in _PREFIXES.items() if part in named), ("", ""))
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        self._fingerprint = hashlib.sha256(f"{digest}\0{self._query}\0{self._passage}".encode()).hexdigest()[:32]

    @property
    def dim(self) -> int:
        """Width of every vector."""
        return int(self._model.n_embd())

    @property
    def fingerprint(self) -> str:
        """A hash of the file and of what stands before texts."""
        return self._fingerprint

    def encode_queries(self, texts: list[str]) -> "Vectors":
        """Unit vectors float32 [texts, dim] of questions, in their order."""
        return self._encode([self._query + text for text in texts])

    def encode_passages(self, texts: list[str]) -> "Vectors":
        """Unit vectors float32 [texts, dim] of passages, in their order."""
        return self._encode([self._passage + text for text in texts])

    def _encode(self, texts: list[str]) -> "Vectors":
        if not texts:
            return np.zeros((0, self.dim), dtype=np.float32)
        vectors: Vectors = np.asarray(self._model.embed(texts, truncate=True), dtype=np.float32)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors
