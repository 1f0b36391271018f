"""Owns the way from texts to token ids with a retriever's `tokenizer.json`.

A Unigram vocabulary of 250,000 pieces takes `tokenizers` 1.1 to 1.7 s and 300 MB to open, nearly all of it for a
trie of pieces that the text at hand does not contain. So the pieces lie in a table on disk, and each call builds a
small Unigram model of those pieces only that occur in its texts. The library still does the segmentation: a piece
that is no substring of a text cannot be part of any segmentation of it, so the ids are the same by construction.
Other kinds of tokenizers are opened whole. Nothing here knows what the ids are for.
"""

import hashlib
import json
import logging
import mmap
import os
import re
import tempfile
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from drama_app.errors import RetrieverError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

logger = logging.getLogger(__name__)

TABLE_LAYOUT = 1
"""Part of the table's file name; raise it whenever the layout or the hash changes."""
HASH_FACTOR = 0x9E3779B97F4A7C15
"""Odd, so that multiplying loses nothing modulo 2**64; the upper bits of a product are the well mixed ones."""
FILTER_SHIFT = 42
"""Leaves 22 bits: a filter of 4 MiB of which 250,000 pieces set 6 %, so that few windows are searched in vain."""


class TextTokenizer(Protocol):
    """Texts in, token ids out."""

    def encode(self, texts: Sequence[str]) -> "list[NDArray[np.int64]]":
        """Token ids of each text, special tokens included, cut to the maximum."""
        ...


def open_tokenizer(path: Path, *, max_tokens: int, cache: Path | None = None) -> TextTokenizer:
    """Open a `tokenizer.json` in the cheapest form that gives its exact ids.

    Args:
        path: The file.
        max_tokens: Longer texts are cut so that text and special tokens together fit.
        cache: Directory for the table of pieces; without one it is made anew (0.6 s for 250,000 pieces).

    Raises:
        RetrieverError: The file does not parse as a tokenizer.
    """
    try:
        table = _open_table(path, cache)
        return PlainTokenizer(path, max_tokens) if table is None else PieceTokenizer(table, max_tokens)
    except RetrieverError:
        raise
    except Exception as error:  # tokenizers raises bare Exception
        raise RetrieverError(f"{path}: not a tokenizer that can be opened ({error})") from error


class PlainTokenizer:
    """The whole vocabulary in memory: BPE, WordPiece, word level and unusual Unigram files."""

    def __init__(self, path: Path, max_tokens: int) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(path))
        _set_limits(self._tokenizer, max_tokens)

    def encode(self, texts: Sequence[str]) -> "list[NDArray[np.int64]]":
        """Token ids of each text, special tokens included, cut to the maximum."""
        import numpy as np

        encodings = self._tokenizer.encode_batch_fast(_mend(texts))
        return [np.array(encoding.ids, dtype=np.int64) for encoding in encodings]


class PieceTokenizer:
    """A Unigram tokenizer that loads only the pieces that occur in the texts of a call. Safe to share by threads."""

    def __init__(self, table: "PieceTable", max_tokens: int) -> None:
        from tokenizers import Tokenizer

        self._table = table
        self._frame: Tokenizer = Tokenizer.from_str(table.frame)
        _set_limits(self._frame, max_tokens)
        self._normalize = self._frame.normalizer.normalize_str if self._frame.normalizer else str
        self._lock = threading.Lock()

    def encode(self, texts: Sequence[str]) -> "list[NDArray[np.int64]]":
        """Token ids of each text, special tokens included, cut to the maximum."""
        import numpy as np
        from tokenizers.models import Unigram

        texts = _mend(texts)
        pieces, ids = self._table.find(self._words(texts))
        model = Unigram(pieces, self._table.unknown, self._table.byte_fallback)
        with self._lock:
            self._frame.model = model
            encodings = self._frame.encode_batch_fast(texts)
        return [ids[np.array(encoding.ids, dtype=np.int64)] for encoding in encodings]

    def _words(self, texts: Iterable[str]) -> set[str]:
        """A superset of what the pre-tokenizer will hand to the model, each word once and without its mark."""
        mark, added = self._table.mark, self._table.added
        words: set[str] = set()
        for text in texts:
            parts = [text]
            if added is not None and added.search(text):
                # Special tokens split a text before it is normalised, which may read differently at the seams.
                parts += added.split(text)
            for part in parts:
                words.update(self._normalize(part).replace(" ", mark).split(mark))
        return words


class PieceTable:
    """All pieces of a Unigram vocabulary, sorted by length and hash, in a file that is mapped into memory.

    The file: length of the header (8 bytes), header (JSON), then hashes uint64 [n], scores float64 [n],
    ids int32 [n], ends of the texts uint32 [n + 1], texts (UTF-8).
    """

    def __init__(self, data: "bytes | mmap.mmap") -> None:
        import numpy as np

        size = int.from_bytes(data[:8], "little")
        header: dict[str, Any] = json.loads(data[8 : 8 + size])
        count = header["count"]
        offset = 8 + size
        columns: list[NDArray[Any]] = []
        for kind, length in (("<u8", count), ("<f8", count), ("<i4", count), ("<u4", count + 1)):
            columns.append(np.frombuffer(data, dtype=kind, count=length, offset=offset))
            offset += columns[-1].nbytes
        self._hashes, self._scores, self._ids, self._ends = columns
        if len(data) != offset + int(self._ends[-1]):
            raise ValueError("the table of pieces is cut short")
        self._present = np.zeros(1 << (64 - FILTER_SHIFT), dtype=np.bool_)
        self._present[self._hashes >> np.uint64(FILTER_SHIFT)] = True
        self._data, self._texts_at = data, offset
        self._starts: list[int] = header["starts"]
        self._kept: list[tuple[str, float]] = [(piece, score) for piece, score in header["kept"]]
        self._kept_ids: list[int] = header["kept_ids"]
        self.frame: str = header["frame"]
        self.mark: str = header["mark"]
        self.unknown: int | None = header["unknown"]
        self.byte_fallback: bool = header["byte_fallback"]
        self.added = re.compile("|".join(map(re.escape, header["added"]))) if header["added"] else None

    def find(self, words: Iterable[str]) -> "tuple[list[tuple[str, float]], NDArray[np.int64]]":
        """The pieces that occur in the words, with scores, and the real id of each.

        Returns:
            Pieces, and ids int64 [pieces]; those that every small model needs come first.
        """
        import numpy as np

        joined = "\0".join(self.mark + word for word in words)
        codes = np.frombuffer(joined.encode("utf-32-le"), dtype="<u4").astype(np.uint64)
        hashes = np.zeros(len(codes), dtype=np.uint64)
        found: list[NDArray[np.int64]] = [np.zeros(0, dtype=np.int64)]
        for length in range(1, min(len(self._starts) - 1, len(codes) + 1)):
            # A window over two words costs a search and finds nothing but, rarely, a piece too many.
            hashes = (hashes[: len(codes) - length + 1] + codes[length - 1 :]) * np.uint64(HASH_FACTOR)
            start, end = self._starts[length], self._starts[length + 1]
            if start == end:
                continue
            keys = self._hashes[start:end]
            wanted = np.unique(hashes[self._present[hashes >> np.uint64(FILTER_SHIFT)]])
            at = np.minimum(np.searchsorted(keys, wanted), end - start - 1)
            found.append(start + at[keys[at] == wanted])
        rows = np.concatenate(found)
        ids = np.concatenate([np.array(self._kept_ids, dtype=np.int64), self._ids[rows]])
        return self._kept + self._read_pieces(rows), ids

    def _read_pieces(self, rows: "NDArray[np.int64]") -> list[tuple[str, float]]:
        at = self._texts_at
        bounds = zip((self._ends[rows] + at).tolist(), (self._ends[rows + 1] + at).tolist(), strict=True)
        texts = (self._data[start:end].decode() for start, end in bounds)
        return list(zip(texts, self._scores[rows].tolist(), strict=True))


def _open_table(path: Path, cache: Path | None) -> PieceTable | None:
    """The table of the file's pieces from the cache, or made now; None if the file needs the plain route."""
    raw = path.read_bytes()
    if b'"Unigram"' not in raw:
        return None
    if cache is None:
        made = _build_table(raw)
        return None if made is None else PieceTable(made)
    place = cache / f"pieces-{TABLE_LAYOUT}-{hashlib.sha256(raw).hexdigest()[:24]}.bin"
    try:
        with place.open("rb") as file:
            return PieceTable(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.warning("%s is made anew: %s", place, error)
    made = _build_table(raw)
    if made is None:
        return None
    try:
        write_whole(place, made)
    except OSError as error:
        logger.warning("The table of pieces could not be kept in %s: %s", cache, error)
    return PieceTable(made)


def _build_table(raw: bytes) -> bytes | None:
    """The table as bytes, or None if the small models could differ from the whole one."""
    import numpy as np

    settings: dict[str, Any] = json.loads(raw)
    model = settings["model"]
    mark = _find_mark(settings.get("pre_tokenizer"))
    if model.get("type") != "Unigram" or mark is None:
        return None
    vocabulary: list[tuple[str, float]] = [(piece, score) for piece, score in model["vocab"]]
    kept = _choose_kept(settings, vocabulary)
    if kept is None:
        return None
    pieces = [piece for piece, _ in vocabulary]
    lengths = np.array([len(piece) for piece in pieces], dtype=np.int64)
    hashes = np.array([_hash(piece) for piece in pieces], dtype=np.uint64)
    order = np.lexsort((hashes, lengths))
    order = order[~np.isin(order, kept) & (lengths[order] > 0)]
    hashes, lengths = hashes[order], lengths[order]
    if np.any((hashes[1:] == hashes[:-1]) & (lengths[1:] == lengths[:-1])):
        return None  # a piece twice, or two pieces with one hash: the table would lose one
    texts = [pieces[index].encode() for index in order.tolist()]
    ends = np.concatenate([[0], np.cumsum([len(text) for text in texts])]).astype("<u4")
    scores = np.array([vocabulary[index][1] for index in order.tolist()], dtype="<f8")
    header = _describe_frame(settings, vocabulary, kept) | {
        "count": len(order),
        "starts": np.searchsorted(lengths, np.arange(int(lengths.max(initial=0)) + 2)).tolist(),
        "mark": mark,
    }
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    columns = (hashes.astype("<u8"), scores, order.astype("<i4"), ends)
    return b"".join([len(encoded).to_bytes(8, "little"), encoded, *(c.tobytes() for c in columns), *texts])


def _find_mark(pre_tokenizer: dict[str, Any] | None) -> str | None:
    """The character that stands for a space, if words are split in the ways that `_words` covers."""
    steps = (pre_tokenizer or {}).get("pretokenizers", [pre_tokenizer] if pre_tokenizer else [])
    names = [step["type"] for step in steps]
    if names not in (["Metaspace"], ["WhitespaceSplit", "Metaspace"]):
        return None
    return str(steps[-1]["replacement"])


def _choose_kept(settings: dict[str, Any], vocabulary: list[tuple[str, float]]) -> list[int] | None:
    """Ids that every small model holds, ascending; None if a special token is not in the vocabulary."""
    added = settings.get("added_tokens") or []
    ids = {token["id"] for token in added}
    if any(token["id"] >= len(vocabulary) or vocabulary[token["id"]][0] != token["content"] for token in added):
        return None
    # The score of an unknown character is taken from the least score of the vocabulary.
    ids.add(min(range(len(vocabulary)), key=lambda index: vocabulary[index][1]))
    if settings["model"].get("unk_id") is not None:
        ids.add(settings["model"]["unk_id"])
    if settings["model"].get("byte_fallback"):
        ids.update(i for i, (piece, _) in enumerate(vocabulary) if re.fullmatch(r"<0x[0-9A-F]{2}>", piece))
    return sorted(ids)


def _describe_frame(settings: dict[str, Any], vocabulary: list[tuple[str, float]], kept: list[int]) -> dict[str, Any]:
    """The tokenizer around the model, with a vocabulary of the kept pieces alone."""
    small = {real: index for index, real in enumerate(kept)}
    model = settings["model"]
    unknown = None if model.get("unk_id") is None else small[model["unk_id"]]
    pieces = [vocabulary[index] for index in kept]
    added = [token | {"id": small[token["id"]]} for token in settings.get("added_tokens") or []]
    frame = settings | {"added_tokens": added, "model": model | {"vocab": pieces, "unk_id": unknown}}
    return {
        "frame": json.dumps(frame),
        "kept": pieces,
        "kept_ids": kept,
        "unknown": unknown,
        "byte_fallback": bool(model.get("byte_fallback")),
        "added": [token["content"] for token in added],
    }


def _hash(piece: str) -> int:
    value = 0
    for character in piece:
        value = (value + ord(character)) * HASH_FACTOR & 0xFFFFFFFFFFFFFFFF
    return value


def _set_limits(tokenizer: "Tokenizer", max_tokens: int) -> None:
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)


def _mend(texts: Sequence[str]) -> list[str]:
    """Replace lone surrogates (a command line that is not UTF-8), which have no bytes to tokenize."""
    return [text.encode(errors="replace").decode() for text in texts]


def write_whole(place: Path, content: bytes) -> None:
    """Write so that another process sees the whole file or none."""
    place.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=place.parent, prefix=place.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).replace(place)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
