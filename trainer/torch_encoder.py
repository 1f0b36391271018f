"""Owns a network in torch as an encoder like the app's: float32, for checkpoints and for comparisons with what they
were rounded to.

It trains nothing; prefixes and the longest text are those of the network's origin.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from trainer.backbone import Backbone

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

_CPU_TOKENS, _GPU_TOKENS = 512, 32_768
"""Tokens of a batch, padding included: more is no faster on two cores, and less leaves a GPU idle."""
_WINDOW = 4096
"""Texts that are sorted by length together."""
_LONGEST = 512
"""Tokens of a text, as retriever folders have it."""


class TorchEncoder:
    """A network as an encoder, on a GPU if there is one."""

    def __init__(self, backbone: Backbone, *, device: str = "") -> None:
        from tokenizers import Tokenizer

        self._origin = backbone.origin
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._network = backbone.network.to(self._device).eval()
        self._tokenizer: Tokenizer = Tokenizer.from_file(str(backbone.tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(min(backbone.origin.max_tokens, backbone.config.max_tokens, _LONGEST))
        self._fingerprint = _compute_fingerprint(backbone)
        self._dim = min(backbone.config.dim, max(backbone.origin.dims, default=backbone.config.dim))

    @property
    def dim(self) -> int:
        """Width of every vector: the widest that was trained; the network's own if it does not say."""
        return self._dim

    @property
    def dims(self) -> tuple[int, ...]:
        """Widths that the network was trained to be cut to, widest first."""
        return tuple(sorted({self._dim, *(each for each in self._origin.dims if each < self._dim)}, reverse=True))

    @property
    def is_causal(self) -> bool:
        """Whether tokens see only those before them, as in a language model that was not made an embedder."""
        return bool(getattr(self._network.config, "causal", False))

    @property
    def fingerprint(self) -> str:
        """A hash of the weights and of how texts are fed to them."""
        return self._fingerprint

    def encode_queries(self, texts: list[str]) -> "Vectors":
        """Unit vectors float32 [texts, dim] of questions, in their order."""
        return self._encode(texts, self._origin.query_prefix)

    def encode_passages(self, texts: list[str]) -> "Vectors":
        """Unit vectors float32 [texts, dim] of passages, in their order."""
        return self._encode(texts, self._origin.passage_prefix)

    def _encode(self, texts: Sequence[str], prefix: str) -> "Vectors":
        vectors = np.zeros((len(texts), self._dim), dtype=np.float32)
        most = _CPU_TOKENS if self._device.type == "cpu" else _GPU_TOKENS
        for start in range(0, len(texts), _WINDOW):
            encodings = self._tokenizer.encode_batch([prefix + text for text in texts[start : start + _WINDOW]])
            tokens = [encoding.ids or [self._origin.pad_token_id] for encoding in encodings]
            for rows in _plan_batches([len(ids) for ids in tokens], most):
                vectors[[start + row for row in rows]] = self._run([tokens[row] for row in rows])
        return vectors

    @torch.inference_mode()
    def _run(self, tokens: list[list[int]]) -> "Vectors":
        """One batch through the network: float32 [batch, dim]."""
        length = max(map(len, tokens))
        ids = torch.full((len(tokens), length), self._origin.pad_token_id)
        mask = torch.zeros_like(ids)
        for row, own in enumerate(tokens):
            ids[row, : len(own)] = torch.tensor(own)
            mask[row, : len(own)] = 1
        embedding = self._network.embed(ids.to(self._device), mask.to(self._device))
        found: Vectors = torch.nn.functional.normalize(embedding.float()[:, : self._dim], dim=-1).cpu().numpy()
        return found


def _plan_batches(lengths: Sequence[int], most: int) -> Iterator[list[int]]:
    """Rows of each batch, longest first, up to `most` tokens with their padding."""
    batch: list[int] = []
    room = 0
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if not room:
            if batch:
                yield batch
            batch, room = [], max(1, most // lengths[row])
        batch.append(row)
        room -= 1
    if batch:
        yield batch


def _compute_fingerprint(backbone: Backbone) -> str:
    digest = hashlib.sha256(repr(backbone.origin).encode())
    for name, tensor in sorted(backbone.network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().data)
    digest.update(backbone.tokenizer.read_bytes())
    return f"torch:{digest.hexdigest()}"
