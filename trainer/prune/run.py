"""Owns pruning as a stage: vocabulary first, then layers, heads, units and columns, then repair by language modelling.

A run that was killed goes on with what it had saved; one that had come to its end is not done again. One process, on
a GPU if there is one.
"""

import json
import logging
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from drama_app.errors import RetrieverError, UsageError
from trainer.backbone import Backbone
from trainer.checkpoint import (
    TOKENIZER,
    Checkpoint,
    Origin,
    find_latest,
    load_network,
    load_state,
    open_checkpoint,
    place_step,
    remove_old,
    save_checkpoint,
)
from trainer.encoder import Encoder, EncoderConfig
from trainer.network import Network, NetworkConfig, change_network
from trainer.prune.importance import choose_parts, measure_importance, rank_layers
from trainer.prune.language_model import Step, TokenRow, evaluate_language, read_tokens, train_language
from trainer.prune.masks import KINDS, LearnedMasks, learn_masks
from trainer.prune.slicing import apply_masks, drop_layers, slice_network
from trainer.recipe import PruneRecipe, describe
from trainer.records import Passage, Query, make_key, read_records

if TYPE_CHECKING:
    from tokenizers import Tokenizer

METHODS = ("learned", "importance", "last-layers", "spaced-layers", "none")
_SHAPE = ("layers", "heads", "ffn_size", "hidden_size", "vocab_size")
_LAYER_WINDOWS, _PART_WINDOWS = 4, 32
"""Windows on which layers and parts are measured."""
_VOCABULARY_TEXTS = 200_000
_SAVE_SECONDS = 600
"""Between saves: of an LLM with its optimizer 3 GB and more."""
_ALWAYS = ("Query: ", "query: ", "passage: ")
"""Prefixes of retrievers: their tokens stay."""
_STEPS, _VOCABULARY = "steps", "vocabulary"
"""Folders below the output while the work goes on."""

Report = Callable[[str], None]

log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class _Stage:
    """What all steps of one pruning share."""

    recipe: PruneRecipe
    out: Path
    key: str
    report: Report
    corpus: TokenRow
    tokenizer: Path
    origin: Origin
    losses: dict[str, float] = field(default_factory=dict)
    saved: float = field(default_factory=time.monotonic)

    @property
    def mask_steps(self) -> int:
        """Steps before the cut; those of the repair are counted on from there."""
        return self.recipe.mask_steps if self.recipe.method == "learned" else 0

    def save(self, step: int, network: Encoder, state: dict[str, Any] | None) -> None:
        """Keep what the next run needs to go on from here."""
        save_checkpoint(
            place_step(self.out / _STEPS, step), network, tokenizer=self.tokenizer, origin=self.origin, step=step,
            state=state, recipe={"key": self.key}, metrics={"losses": self.losses},
        )  # fmt: skip
        remove_old(self.out / _STEPS, keep=1)
        self.saved = time.monotonic()


def check_prune(config: NetworkConfig, recipe: PruneRecipe) -> None:
    """See that a network can be cut as a recipe says.

    Raises:
        UsageError: It has fewer parts than shall be left, or is of a kind that is cut in another way.
    """
    if recipe.method not in METHODS:
        raise UsageError(f"[prune] 'method' must be one of {', '.join(METHODS)}, not {recipe.method!r}")
    if recipe.method == "none":
        return
    inner = recipe.heads or recipe.ffn_size or recipe.hidden_size
    if not isinstance(config, EncoderConfig) and (recipe.method not in ("last-layers", "spaced-layers") or inner):
        raise UsageError(
            "[prune] a BERT or XLM-R network loses layers only: method = 'last-layers', 'spaced-layers' or 'none'"
        )
    for name in ("layers", "heads", "ffn_size", "hidden_size"):
        wanted, there = getattr(recipe, name), getattr(config, name)
        if wanted > there:
            raise UsageError(f"[prune] '{name}' = {wanted}, but the backbone has {there}; 0 keeps all")
    for name in ("layers", "heads", "ffn_size", "hidden_size", "vocabulary", "continue_steps"):
        if getattr(recipe, name) < 0:
            raise UsageError(f"[prune] '{name}' must be 0 or more")
    for name in ("batch", "length", *(["mask_steps"] if recipe.method == "learned" else [])):
        least = 2 if name == "length" else 1
        if getattr(recipe, name) < least:
            raise UsageError(f"[prune] '{name}' must be {least} or more")
    if recipe.length > config.max_tokens:
        raise UsageError(f"[prune] 'length' = {recipe.length}, but the backbone reads {config.max_tokens} tokens")


def prune_backbone(
    backbone: Backbone, passages: Path, recipe: PruneRecipe, out: Path, *, seed: int, languages: Sequence[str] = (),
    queries: Path | None = None, report: Report | None = None,
) -> Checkpoint:  # fmt: skip
    """Cut a network and repair it.

    Args:
        backbone: What to cut; its network is changed.
        passages: A file of `Passage`: what the vocabulary is counted on, and what the language model reads.
        recipe: How.
        out: The checkpoint's folder; steps on the way lie below it.
        seed: The same one gives the same network.
        languages: Of the passages to read; empty reads all.
        queries: A file of `Query`, perhaps in other languages: the vocabulary is counted on them too.
        report: Called with a sentence as the work goes on.

    Returns:
        The checkpoint; its metrics are `losses` (mean of held-out passages, in nats a token) of the network whole, cut
        and repaired, `held_out` (of each passage), `tokens` (read in training), `shape` and `parameters`.

    Raises:
        UsageError: The recipe does not fit the network, or the corpus is too small.
        TrainingError: A loss is no number.
    """
    check_prune(backbone.config, recipe)
    what = backbone.origin.name, _identify(backbone, recipe)
    queries = queries if _cuts_vocabulary(backbone, recipe) else None
    key = make_key(describe(recipe), seed, tuple(languages), passages, *([queries] if queries else []), *what)
    if done := _find_done(out, key):
        return done
    report = report or log.info
    backbone = _cut_vocabulary(backbone, _draw_texts(passages, queries, languages), recipe, out, report)
    network, metrics = _cut_network(backbone, passages, recipe, out, languages, seed, key, report)
    made = save_checkpoint(
        out, network, tokenizer=backbone.tokenizer, origin=backbone.origin,
        recipe={"key": key, "prune": describe(recipe)}, metrics=metrics | _measure_shape(network),
    )  # fmt: skip
    for name in (_STEPS, _VOCABULARY):
        shutil.rmtree(out / name, ignore_errors=True)
    return made


def _measure_shape(network: Network) -> dict[str, Any]:
    shape = {name: getattr(network.config, name) for name in _SHAPE}
    return {"shape": shape, "parameters": sum(each.numel() for each in network.parameters())}


def _cut_network(
    backbone: Backbone, passages: Path, recipe: PruneRecipe, out: Path, languages: Sequence[str], seed: int, key: str,
    report: Report,
) -> "tuple[Network, dict[str, Any]]":  # fmt: skip
    """The smaller network, and what was measured of it as a language model."""
    network: Network = backbone.network
    if recipe.method == "none":
        return network, {}
    placed = recipe.method in ("last-layers", "spaced-layers")
    inner = recipe.heads or recipe.ffn_size or recipe.hidden_size
    # Layers that go by their place, with no repair behind, need no language model to be measured: a minute or two.
    if not isinstance(network, Encoder) or (placed and not inner and not recipe.continue_steps):
        return drop_layers(network, choose_layers(network.config.layers, recipe)), {}
    corpus = _read_corpus(backbone.tokenizer, passages, recipe, languages, seed)
    stage = _Stage(
        recipe=recipe, out=out, key=key, report=report, corpus=corpus, tokenizer=backbone.tokenizer,
        origin=backbone.origin,
    )  # fmt: skip
    return _prune_language_model(network, stage)


def measure_parts(network: Encoder, corpus: TokenRow, recipe: PruneRecipe, *, report: Report) -> dict[str, Tensor]:
    """How much the parts matter of each kind of which some shall go.

    Returns:
        float32 by kind; for layers their place in the order of going, those that stay alike.
    """
    targets, windows = find_targets(network.config, recipe), corpus.draw(0, _PART_WINDOWS, recipe.length)
    importance = {}
    if "layers" in targets:
        importance["layers"] = torch.full((network.config.layers,), float(network.config.layers))
        if recipe.method in ("last-layers", "spaced-layers"):
            kept = choose_layers(network.config.layers, recipe)
            gone: Sequence[int] = [layer for layer in range(network.config.layers) if layer not in kept]
        else:
            gone = rank_layers(network, windows[:_LAYER_WINDOWS], targets["layers"], report=report)
        for place, layer in enumerate(gone):
            importance["layers"][layer] = place
    kinds = [kind for kind in KINDS[1:] if kind in targets]
    if kinds:
        report(f"measuring how much {', '.join(kinds)} matter")
        importance |= measure_importance(network, windows, kinds)
    return importance


def choose_layers(layers: int, recipe: PruneRecipe) -> Sequence[int]:
    """The layers that stay where their place decides: the first ones, or the last ones of equal blocks.

    Spaced ones keep the layer whose output a trained head reads, which an embedder needs and an LLM to be trained anew
    does not; and each can learn what its block did (`trainer.train.rows`).
    """
    left = recipe.layers or layers
    if recipe.method == "spaced-layers":
        return [(place + 1) * layers // left - 1 for place in range(left)]
    return range(left)


def find_targets(config: EncoderConfig, recipe: PruneRecipe) -> dict[str, int]:
    """How many parts shall be left of the kinds that get fewer."""
    wanted = {
        "layers": (recipe.layers, config.layers), "heads": (recipe.heads, config.heads),
        "ffn": (recipe.ffn_size, config.ffn_size), "hidden": (recipe.hidden_size, config.hidden_size),
    }  # fmt: skip
    return {kind: some for kind, (some, whole) in wanted.items() if 0 < some < whole}


def _identify(backbone: Backbone, recipe: PruneRecipe) -> str:
    """The network's shape, its small tensors, which no training leaves as they were, and which layers are spaced."""
    small = {name: each.tolist() for name, each in backbone.network.state_dict().items() if each.ndim == 1}
    spaced = [list(choose_layers(backbone.config.layers, recipe))] if recipe.method == "spaced-layers" else []
    return make_key(str(backbone.config), small, *spaced)


def _find_done(out: Path, key: str) -> Checkpoint | None:
    try:
        done = open_checkpoint(out)
    except RetrieverError:
        return None
    return done if done.recipe.get("key") == key else None


def _cut_vocabulary(
    backbone: Backbone, texts: Iterable[tuple[str, str]], recipe: PruneRecipe, out: Path, report: Report
) -> Backbone:
    """The backbone with the tokens that the corpus uses; itself if its vocabulary is small enough."""
    from trainer.prune.vocabulary import count_usage, cut_table, cut_vocabulary

    if not _cuts_vocabulary(backbone, recipe):
        return backbone
    report("counting tokens")
    usage = count_usage(_open_tokenizer(backbone.tokenizer), texts)
    settings = json.loads(backbone.tokenizer.read_text(encoding="utf-8"))
    cut = cut_vocabulary(settings, usage, most=recipe.vocabulary, always=_ALWAYS)
    tokenizer = out / _VOCABULARY / TOKENIZER
    tokenizer.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.write_text(cut.write(), encoding="utf-8")
    pad = cut.renumbered.get(backbone.origin.pad_token_id, 0)
    return Backbone(
        network=cut_table(backbone.network, cut), tokenizer=tokenizer, origin=replace(backbone.origin, pad_token_id=pad)
    )


def _cuts_vocabulary(backbone: Backbone, recipe: PruneRecipe) -> bool:
    return recipe.method != "none" and 0 < recipe.vocabulary < backbone.config.vocab_size


def _draw_texts(passages: Path, queries: Path | None, languages: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Language and text of passages and queries, from the whole of the files: they may be in order of language."""
    every = -(-sum(1 for _ in _iterate(passages, languages)) // _VOCABULARY_TEXTS)
    for passage in islice(_iterate(passages, languages), 0, None, max(1, every)):
        yield passage.language, passage.embedded
    if queries:
        every = -(-sum(1 for _ in read_records(queries, Query)) // _VOCABULARY_TEXTS)
        for query in islice(read_records(queries, Query), 0, None, max(1, every)):
            yield query.language, query.text


def _open_tokenizer(path: Path) -> "Tokenizer":
    """A tokenizer that reads whole texts, whatever its file says."""
    from tokenizers import Tokenizer

    opened = Tokenizer.from_file(str(path))
    opened.no_padding()
    opened.no_truncation()
    return opened


def _read_corpus(tokenizer: Path, passages: Path, recipe: PruneRecipe, languages: Sequence[str], seed: int) -> TokenRow:
    return read_tokens(_open_tokenizer(tokenizer), _iterate(passages, languages), length=recipe.length, seed=seed)


def _prune_language_model(network: Encoder, stage: _Stage) -> tuple[Encoder, dict[str, Any]]:
    """The smaller network, and what was measured, from wherever an earlier run had come."""
    latest = _find_latest(stage)
    if latest is None:
        network = _prepare(network)
        stage.report("measuring the whole network")
        stage.losses["whole"] = _average(evaluate_language(network, stage.corpus.held_out))
    else:
        network = _prepare(load_network(latest))
        stage.losses |= latest.metrics["losses"]
        stage.report(f"going on from step {latest.step:,} of {stage.mask_steps + stage.recipe.continue_steps:,}")
    if "cut" not in stage.losses:
        network, latest = _cut(network, stage, latest), None
        stage.losses["cut"] = _average(evaluate_language(network, stage.corpus.held_out))
        stage.report(f"language-model loss {stage.losses['whole']:.3f} whole, {stage.losses['cut']:.3f} cut")
        stage.save(stage.mask_steps, network, None)
    _repair(network, stage, latest)
    values = evaluate_language(network, stage.corpus.held_out)
    recipe, losses = stage.recipe, stage.losses | {"repaired": _average(values)}
    window = recipe.batch * recipe.length
    tokens = {"masks": stage.mask_steps * window, "repair": recipe.continue_steps * window}
    held_out = [round(value, 4) for value in values]
    return network.cpu(), {"losses": losses, "tokens": tokens, "held_out": held_out}


def _prepare(network: Network) -> Encoder:
    """A causal language model, where it computes fastest."""
    head = getattr(network.config, "lm_head", "none")
    changed = change_network(network, causal=True, lm_head="tied" if head == "none" else head)
    assert isinstance(changed, Encoder)
    return changed.to("cuda" if torch.cuda.is_available() else "cpu")


def _cut(network: Encoder, stage: _Stage, latest: Checkpoint | None) -> Encoder:
    """The network in the wanted shape, not repaired yet."""
    recipe, targets = stage.recipe, find_targets(network.config, stage.recipe)
    if not targets:
        return network
    importance = measure_parts(network, stage.corpus, recipe, report=stage.report) if latest is None else {}
    device = network.embed_tokens.weight.device
    if recipe.method != "learned":
        return slice_network(network.cpu(), choose_parts(importance, targets)).to(device)
    masks = LearnedMasks(network.config, targets, importance)
    start, state = (latest.step, load_state(latest)) if latest else (0, None)
    steps = learn_masks(network, masks, stage.corpus, recipe, start=start, state=state)
    _follow("masks", steps, recipe.mask_steps, network, stage, before=0)
    return apply_masks(network.cpu(), masks.cpu().settle()).to(device)


def _repair(network: Encoder, stage: _Stage, latest: Checkpoint | None) -> None:
    """Language modelling until the recipe's steps are done."""
    recipe, before = stage.recipe, stage.mask_steps
    start, state = (latest.step - before, load_state(latest)) if latest else (0, None)
    # Draws of the mask steps and of the repair differ.
    corpus = replace(stage.corpus, seed=stage.corpus.seed + 1)
    steps = train_language(
        network, corpus, steps=recipe.continue_steps, rows=recipe.batch, length=recipe.length,
        rate=recipe.learning_rate, start=start, state=state,
    )  # fmt: skip
    _follow("language model", steps, recipe.continue_steps, network, stage, before=before)


def _follow(what: str, steps: Iterable[Step], most: int, network: Encoder, stage: _Stage, *, before: int) -> None:
    """Do the steps of a training: tell of each, save now and then."""
    began, window = time.monotonic(), stage.recipe.batch * stage.recipe.length
    for count, step in enumerate(steps, 1):
        pace = (time.monotonic() - began) / count
        stage.report(
            f"{what}, step {step.number:,} of {most:,}, loss {step.loss:.3f}{step.note}, {window / pace:,.0f} tokens/s,"
            f" {(most - step.number) * pace / 60:.0f} min left"
        )
        if step.number < most and time.monotonic() - stage.saved >= _SAVE_SECONDS:
            stage.save(before + step.number, network, step.get_state())


def _find_latest(stage: _Stage) -> Checkpoint | None:
    latest = find_latest(stage.out / _STEPS)
    return latest if latest and latest.recipe.get("key") == stage.key else None


def _iterate(passages: Path, languages: Sequence[str]) -> Iterator[Passage]:
    return (each for each in read_records(passages, Passage) if not languages or each.language in languages)


def _average(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 4)
