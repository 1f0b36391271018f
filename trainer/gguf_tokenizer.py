"""Owns how a `tokenizer.json` is said in a GGUF: which of llama.cpp's tokenizers it is, its pieces, scores and ids.

What llama.cpp would cut otherwise is refused where that can be seen from the settings; the rest is seen when the
finished file is compared with the network.
"""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drama_app.errors import RetrieverError

if TYPE_CHECKING:
    from gguf import GGUFWriter

_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6
"""llama.cpp's kinds of tokens."""
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SPLITS = {_WORDS + r"\p{N}{1,3}" + _REST: "llama-bpe", _WORDS + r"\p{N}" + _REST: "qwen2"}
"""llama.cpp's names of the patterns by which byte-level tokenizers split a text first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """A tokenizer as a GGUF holds it."""

    model: str
    tokens: Sequence[str]
    kinds: Sequence[int]
    scores: Sequence[float] = ()
    merges: Sequence[str] = ()
    split: str = "default"
    first: int | None = None
    """Id of what stands before every text."""
    last: int | None = None
    unknown: int | None = None
    pad: int = 0
    flags: Mapping[str, bool] = field(default_factory=dict)
    """Settings of the Unigram tokenizer and of pieces with a space before."""
    charsmap: bytes = b""

    def write(self, writer: "GGUFWriter") -> None:
        """Add everything to a GGUF in the making."""
        writer.add_tokenizer_model(self.model)
        writer.add_tokenizer_pre(self.split)
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.kinds)
        if self.scores:
            writer.add_token_scores(self.scores)
        if self.merges:
            writer.add_token_merges(self.merges)
        writer.add_pad_token_id(self.pad)
        if self.unknown is not None:
            writer.add_unk_token_id(self.unknown)
        # Ids that are not said would be those of the tokenizer's first user, which may lie beyond this vocabulary.
        writer.add_bos_token_id(self.pad if self.first is None else self.first)
        writer.add_eos_token_id(self.pad if self.last is None else self.last)
        writer.add_sep_token_id(self.pad if self.last is None else self.last)
        writer.add_add_bos_token(self.first is not None)
        writer.add_add_eos_token(self.last is not None)
        writer.add_add_sep_token(self.last is not None)
        for name, value in self.flags.items():
            writer.add_bool(f"tokenizer.ggml.{name}", value)
        if self.charsmap:
            writer.add_precompiled_charsmap(self.charsmap)


def read_vocabulary(path: Path, *, rows: int, pad: int) -> Vocabulary:
    """Translate a `tokenizer.json`.

    Args:
        path: The file.
        rows: Of the token table; ids without a piece get one that no text has.
        pad: Id of the padding token.

    Raises:
        RetrieverError: llama.cpp has no such tokenizer.
    """
    settings = json.loads(path.read_text(encoding="utf-8"))
    kind = settings["model"]["type"]
    makers = {"Unigram": _make_unigram, "WordPiece": _make_wordpiece, "BPE": _make_bpe}
    if kind not in makers:
        raise RetrieverError(f"{path}: llama.cpp has no tokenizer of the kind {kind}, so no GGUF can be written")
    pieces = _list_pieces(settings, rows)
    if len(pieces) > rows:
        raise RetrieverError(f"{path}: has {len(pieces)} pieces, the token table {rows} rows")
    first, last = _find_ends(path)
    values = {"first": first, "last": last, "pad": pad, "unknown": _find_unknown(settings["model"])}
    try:
        return Vocabulary(**values | makers[kind](settings, pieces))
    except ValueError as error:
        raise RetrieverError(f"{path}: {error}, which llama.cpp does not, so no GGUF can be written") from error


def _list_pieces(settings: Mapping[str, Any], rows: int) -> list[str]:
    """Pieces by id, added ones in their places."""
    vocabulary = settings["model"]["vocab"]
    by_id = (
        {number: piece for piece, number in vocabulary.items()}
        if isinstance(vocabulary, dict)
        else {number: piece for number, (piece, _) in enumerate(vocabulary)}
    )
    by_id |= {each["id"]: each["content"] for each in settings["added_tokens"]}
    return [by_id.get(number, f"[unused-{number}]") for number in range(max(rows, 1 + max(by_id)))]


def _list_kinds(settings: Mapping[str, Any], pieces: Sequence[str]) -> list[int]:
    known = {each["id"]: _CONTROL if each["special"] else _USER_DEFINED for each in settings["added_tokens"]}
    kinds = [known.get(number, _UNUSED if piece == f"[unused-{number}]" else _NORMAL)
             for number, piece in enumerate(pieces)]  # fmt: skip
    unknown = _find_unknown(settings["model"])
    if unknown is not None:
        kinds[unknown] = _UNKNOWN
    return kinds


def _make_unigram(settings: Mapping[str, Any], pieces: Sequence[str]) -> dict[str, Any]:
    scores = [float(score) for _, score in settings["model"]["vocab"]]
    space = next((each for each in _iterate(settings.get("pre_tokenizer"), "pretokenizers")
                  if each["type"] == "Metaspace"), None)  # fmt: skip
    if space is None:
        raise ValueError("the tokenizer does not mark spaces")
    charsmap, folds = b"", False
    for each in _iterate(settings.get("normalizer"), "normalizers"):
        if each["type"] == "Precompiled":
            charsmap = base64.b64decode(each["precompiled_charsmap"] or "")
        elif each["type"] in ("Replace", "Strip"):
            folds = True  # repeated spaces become one, or those at the ends none
        else:
            raise ValueError(f"the tokenizer normalises texts by {each['type']}")
    prepends = space.get("prepend_scheme", "always") != "never"
    return {
        "model": "t5", "tokens": pieces, "kinds": _list_kinds(settings, pieces), "charsmap": charsmap,
        "scores": scores + [0.0] * (len(pieces) - len(scores)),
        "flags": {"add_space_prefix": prepends, "remove_extra_whitespaces": folds},
    }  # fmt: skip


def _make_wordpiece(settings: Mapping[str, Any], pieces: Sequence[str]) -> dict[str, Any]:
    normalizer = settings.get("normalizer") or {}
    if normalizer.get("type") != "BertNormalizer" or not normalizer.get("lowercase"):
        raise ValueError("the tokenizer tells capitals from small letters")
    kinds = _list_kinds(settings, pieces)
    mark = settings["model"].get("continuing_subword_prefix", "##")
    tokens = [
        piece if kind != _NORMAL else piece.removeprefix(mark) if piece.startswith(mark) else f"▁{piece}"
        for piece, kind in zip(pieces, kinds, strict=True)
    ]
    return {"model": "bert", "tokens": tokens, "kinds": kinds}


def _make_bpe(settings: Mapping[str, Any], pieces: Sequence[str]) -> dict[str, Any]:
    model = settings["model"]
    merges = [tuple(each.split(" ")) if isinstance(each, str) else tuple(each) for each in model["merges"]]
    kinds = _list_kinds(settings, pieces)
    if not model.get("byte_fallback"):
        split = _find_split(settings)
        joined = [" ".join(pair) for pair in merges]
        return {"model": "gpt2", "tokens": pieces, "kinds": kinds, "merges": joined, "split": split}
    types = {each["type"] for each in _iterate(settings.get("normalizer"), "normalizers")}
    if types - {"Replace", "Prepend"}:
        raise ValueError(f"the tokenizer normalises texts by {', '.join(sorted(types - {'Replace', 'Prepend'}))}")
    ranks: dict[str, int] = {}
    for rank, pair in enumerate(merges):
        ranks.setdefault("".join(pair), rank)
    for number, piece in enumerate(pieces):
        if len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">"):
            kinds[number] = _BYTE
    # llama.cpp joins the neighbours whose piece scores best: the earliest merge. Pieces without one come last.
    scores = [-float(ranks.get(piece, len(merges))) for piece in pieces]
    return {"model": "llama", "tokens": pieces, "kinds": kinds, "scores": scores,
            "flags": {"add_space_prefix": "Prepend" in types}}  # fmt: skip


def _find_split(settings: Mapping[str, Any]) -> str:
    """llama.cpp's name for what splits a text before byte pairs are merged."""
    parts = list(_iterate(settings.get("pre_tokenizer"), "pretokenizers"))
    types = [each["type"] for each in parts]
    if types == ["ByteLevel"] and parts[0].get("use_regex", True):
        return "gpt-2"
    if types == ["Digits", "ByteLevel"] and parts[0].get("individual_digits") and parts[1].get("use_regex", True):
        return "smollm"
    if types == ["Split", "ByteLevel"]:
        name = _SPLITS.get(parts[0]["pattern"].get("Regex", ""))
        if name:
            return name
    raise ValueError("the tokenizer splits texts by a pattern of its own")


def _find_unknown(model: Mapping[str, Any]) -> int | None:
    found = model.get("unk_id") if model["type"] == "Unigram" else model["vocab"].get(model.get("unk_token"))
    return None if found is None else int(found)


def _find_ends(path: Path) -> tuple[int | None, int | None]:
    """Ids of what the tokenizer puts before and behind every text."""
    from tokenizers import Tokenizer

    tokenizer: Tokenizer = Tokenizer.from_file(str(path))
    whole, bare = tokenizer.encode("a").ids, tokenizer.encode("a", add_special_tokens=False).ids
    start = next((place for place in range(len(whole) + 1) if whole[place : place + len(bare)] == bare), 0)
    before, behind = whole[:start], whole[start + len(bare) :]
    if len(before) > 1 or len(behind) > 1:
        raise RetrieverError(f"{path}: puts several tokens before or behind a text, which llama.cpp does not")
    return (before[0] if before else None), (behind[0] if behind else None)


def _iterate(part: Mapping[str, Any] | None, inner: str) -> Iterator[Mapping[str, Any]]:
    """The parts of a normaliser or splitter, one after the other."""
    if part and part["type"] == "Sequence":
        for each in part[inner]:
            yield from _iterate(each, inner)
    elif part:
        yield part
