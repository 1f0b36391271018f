"""Owns the cut of a vocabulary: which tokens stay, a `tokenizer.json` of those alone, and their rows of the table.

Two promises: a text whose tokens all stay, with the pieces that they are merged from, encodes as before; and every
other text still encodes, into smaller pieces, characters or bytes, never into more unknowns. It trains nothing.
"""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any

from drama_app.errors import UsageError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from trainer.network import Network

_BATCH = 1000
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_ROLES = re.compile(
    r"^[<\[]\|?(s|/s|pad|bos|eos|unk|cls|sep|mask|end_?of_?(text|turn)|begin_of_text)\|?[>\]]$", re.IGNORECASE
)
"""Special tokens by what they are called; others stay only if they are used or the post-processor needs them."""

Settings = dict[str, Any]
"""A `tokenizer.json`, parsed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CutVocabulary:
    """A smaller tokenizer, and where its ids were before."""

    settings: Settings
    """The new `tokenizer.json`."""
    kept: tuple[int, ...]
    """The old id of each new id."""

    @property
    def renumbered(self) -> dict[int, int]:
        """The new id of each old id that stays."""
        return {old: new for new, old in enumerate(self.kept)}

    def write(self) -> str:
        """The new `tokenizer.json` as text."""
        return json.dumps(self.settings, ensure_ascii=False)


@dataclass(slots=True)
class Usage:
    """How often a corpus uses each token, by language."""

    by_language: dict[str, Counter[int]] = field(default_factory=dict)
    scripts: set[str] = field(default_factory=set)
    """Scripts of the corpus's characters, as the first word of their Unicode names."""

    def rank(self, *, minimum: int) -> list[int]:
        """Ids used at least `minimum` times, most important first.

        A token counts by its greatest share in any one language, so that a language with few texts is not drowned.
        """
        total: Counter[int] = Counter()
        share: dict[int, float] = {}
        for counts in self.by_language.values():
            size = counts.total()
            total.update(counts)
            for token, count in counts.items():
                share[token] = max(share.get(token, 0.0), count / size)
        return sorted((token for token in share if total[token] >= minimum), key=lambda token: (-share[token], token))


def count_usage(tokenizer: "Tokenizer", texts: Iterable[tuple[str, str]]) -> Usage:
    """How often a corpus uses each token.

    Args:
        tokenizer: The whole tokenizer.
        texts: Pairs of language and text; read once.
    """
    usage = Usage()
    characters: set[str] = set()
    remaining = iter(texts)
    while batch := list(islice(remaining, _BATCH)):
        encodings = tokenizer.encode_batch_fast([text for _, text in batch], add_special_tokens=False)
        for (language, text), encoding in zip(batch, encodings, strict=True):
            usage.by_language.setdefault(language, Counter()).update(encoding.ids)
            characters.update(text)
    usage.scripts = {_find_script(character) for character in characters} - {""}
    return usage


def cut_vocabulary(
    settings: Settings, usage: Usage, *, most: int | None = None, minimum: int = 1, always: Sequence[str] = ()
) -> CutVocabulary:
    """Cut a tokenizer to what a corpus uses.

    Args:
        settings: The parsed `tokenizer.json`, Unigram or BPE.
        usage: What the corpus uses.
        most: About how many tokens stay (more if the forced ones are more); None is all that are used.
        minimum: Uses below which a token goes.
        always: Texts whose tokens stay whatever the corpus uses: prefixes, labels of prompts.

    Raises:
        UsageError: The tokenizer is of another kind.
    """
    from tokenizers import Tokenizer

    kind = settings["model"].get("type")
    if kind not in ("Unigram", "BPE"):
        raise UsageError(f"a tokenizer of the kind {kind!r} cannot be cut, only Unigram and BPE")
    kept = _find_forced(settings, usage.scripts)
    whole = Tokenizer.from_str(json.dumps(settings))
    for text in always:
        kept.update(whole.encode(text, add_special_tokens=False).ids)
    close = _make_closure(settings)
    kept = close(kept)
    for token in usage.rank(minimum=minimum):
        if most is not None and len(kept) >= most:
            break
        if token not in kept:
            kept |= close({token})
    return _rebuild(settings, sorted(kept))


def cut_table(network: "Network", cut: CutVocabulary) -> "Network":
    """The network with the rows of the tokens that stay, in their new order.

    Raises:
        UsageError: The tokenizer has ids that the network has no rows for.
    """
    import torch

    from trainer.checkpoint import TABLE, fill_network

    rows = network.config.vocab_size
    if cut.kept[-1] >= rows:
        raise UsageError(
            f"the tokenizer has the id {cut.kept[-1]}, the network only {rows} rows: they do not belong together"
        )
    order = torch.tensor(cut.kept)
    state = {name: tensor.detach() for name, tensor in network.state_dict().items()}
    for name in (TABLE, "lm_head.weight"):
        if name in state:
            state[name] = state[name][order.to(state[name].device)].clone()
    return fill_network(replace(network.config, vocab_size=len(cut.kept)), state, "the cut network")


def list_tokens(settings: Settings) -> dict[int, str]:
    """The text of each id, model and added tokens alike."""
    vocabulary = settings["model"]["vocab"]
    if isinstance(vocabulary, dict):
        tokens = {index: token for token, index in vocabulary.items()}
    else:
        tokens = {index: token for index, (token, _) in enumerate(vocabulary)}
    return tokens | {token["id"]: token["content"] for token in settings.get("added_tokens") or []}


def _find_forced(settings: Settings, scripts: set[str]) -> set[int]:
    """Ids that stay in any case: special tokens with a role, bytes, and characters that could become unknown."""
    model = settings["model"]
    needed = _find_processed(settings.get("post_processor"))
    forced = {
        token["id"]
        for token in settings.get("added_tokens") or []
        if token["content"] in needed or (token["special"] and _ROLES.match(token["content"]))
    }
    if model.get("unk_id") is not None:
        forced.add(model["unk_id"])
    alphabet = _find_byte_alphabet(settings)
    falls_back = bool(model.get("byte_fallback")) or bool(alphabet)
    for index, token in list_tokens(settings).items():
        is_byte = bool(_BYTE.fullmatch(token)) if model.get("byte_fallback") else token in alphabet
        is_unknown = token == model.get("unk_token")
        # Where bytes stand in for a missing character only those of the scripts in use are worth a row.
        is_character = len(token) == 1 and (not falls_back or _find_script(token) in scripts or not token.isalpha())
        if is_byte or is_unknown or is_character:
            forced.add(index)
    return forced


def _find_byte_alphabet(settings: Settings) -> set[str]:
    """The 256 characters that stand for bytes, if the tokenizer works on bytes."""
    from tokenizers.pre_tokenizers import ByteLevel

    return set(ByteLevel.alphabet()) if '"ByteLevel"' in json.dumps(settings.get("pre_tokenizer")) else set()


def _find_processed(processor: Settings | None) -> set[str]:
    """Tokens that a post-processor puts around a text."""
    if processor is None:
        return set()
    found = set(processor.get("special_tokens") or {})
    found.update(processor[key][0] for key in ("sep", "cls") if key in processor)
    for inner in processor.get("processors") or []:
        found |= _find_processed(inner)
    return found


def _find_script(character: str) -> str:
    return unicodedata.name(character, "").split(" ")[0] if character.isalpha() else ""


class _Merges:
    """A BPE model's merges: which pieces a token is put together from."""

    def __init__(self, model: Settings) -> None:
        self.ids: dict[str, int] = model["vocab"]
        pairs = (merge.split(" ", 1) if isinstance(merge, str) else merge for merge in model["merges"])
        self.ranks = {(first, second): rank for rank, (first, second) in enumerate(pairs)}
        self.texts = {index: token for token, index in self.ids.items()}

    def close(self, tokens: set[int]) -> set[int]:
        """The ids with those of every piece that appears while they are merged."""
        closed = set(tokens)
        for token in tokens:
            closed.update(
                self.ids[piece] for piece in self._list_pieces(self.texts.get(token, "")) if piece in self.ids
            )
        return closed

    def _list_pieces(self, text: str) -> set[str]:
        pieces = list(text)
        seen = set(pieces)
        while len(pieces) > 1:
            ranks = [self.ranks.get(pair, -1) for pair in pairwise(pieces)]
            best = min((rank for rank in ranks if rank >= 0), default=None)
            if best is None:
                break
            at = ranks.index(best)
            pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]
            seen.add(pieces[at])
        return seen


def _make_closure(settings: Settings) -> Any:
    """A function from ids to ids with all that they need: pieces in a BPE model, nothing more in a Unigram one."""
    if settings["model"]["type"] == "BPE":
        return _Merges(settings["model"]).close
    return set


def _rebuild(settings: Settings, kept: list[int]) -> CutVocabulary:
    """The tokenizer of the ids that stay; order is kept, so that added tokens beyond the model's stay beyond it."""
    renumbered = {old: new for new, old in enumerate(kept)}
    model = dict(settings["model"])
    if model["type"] == "Unigram":
        vocabulary = model["vocab"]
        model["vocab"] = [vocabulary[old] for old in kept if old < len(vocabulary)]
        if model.get("unk_id") is not None:
            model["unk_id"] = renumbered[model["unk_id"]]
    else:
        model["vocab"] = {token: renumbered[old] for token, old in model["vocab"].items() if old in renumbered}
        model["merges"] = [merge for merge in model["merges"] if _survives(merge, model["vocab"])]
    added = [
        token | {"id": renumbered[token["id"]]}
        for token in settings.get("added_tokens") or []
        if token["id"] in renumbered
    ]
    processor = _renumber_processor(settings.get("post_processor"), renumbered)
    changed = settings | {"model": model, "added_tokens": added, "post_processor": processor}
    return CutVocabulary(settings=changed, kept=tuple(kept))


def _survives(merge: str | list[str], vocabulary: Mapping[str, int]) -> bool:
    first, second = merge.split(" ", 1) if isinstance(merge, str) else merge
    return first in vocabulary and second in vocabulary and first + second in vocabulary


def _renumber_processor(processor: Settings | None, renumbered: Mapping[int, int]) -> Settings | None:
    if processor is None:
        return None
    changed = dict(processor)
    if "special_tokens" in changed:
        changed["special_tokens"] = {
            name: token | {"ids": [renumbered[old] for old in token["ids"]]}
            for name, token in changed["special_tokens"].items()
        }
    for key in ("sep", "cls"):
        if key in changed:
            changed[key] = [changed[key][0], renumbered[changed[key][1]]]
    if "processors" in changed:
        changed["processors"] = [_renumber_processor(inner, renumbered) for inner in changed["processors"]]
    return changed
