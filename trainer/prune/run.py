"""Owns pruning as a stage: vocabulary first, then layers, heads, units and columns, then repair by language modelling.

A run that was killed goes on with what it had saved; one that had come to its end is not done again.
"""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from drama_app.errors import UsageError
from trainer.backbone import Backbone
from trainer.checkpoint import (
    TOKENIZER,
    Checkpoint,
    find_latest,
    is_checkpoint,
    load_network,
    load_state,
    open_checkpoint,
    place_step,
    remove_old,
    save_checkpoint,
)
from trainer.encoder import Encoder, EncoderConfig
from trainer.network import NetworkConfig, change_network
from trainer.prune.importance import choose_layers, choose_parts, keep_first_layers, measure_importance
from trainer.prune.language_model import (
    TokenRow,
    descend,
    evaluate_language,
    make_optimizer,
    measure_losses,
    read_tokens,
    schedule,
    train_language,
)
from trainer.prune.masks import KINDS, LearnedMasks
from trainer.prune.slicing import Keep, apply_masks, drop_layers, slice_network
from trainer.recipe import PruneRecipe, describe
from trainer.records import Passage, make_key, read_records

if TYPE_CHECKING:
    from trainer.network import Network

METHODS = ("learned", "importance", "last-layers", "none")
_SHAPE = ("layers", "heads", "ffn_size", "hidden_size", "vocab_size")
_WARMING = 0.5
"""Share of the mask steps in which the wanted numbers move from all to their goal."""
_MEASURED = 32
"""Windows that importance is measured on."""
_VOCABULARY_TEXTS = 200_000
_SAVE_EVERY = 50
_ALWAYS = ("Query: ", "query: ", "passage: ")
"""Prefixes of retrievers: their tokens stay."""

Report = Callable[[str], None]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """What all steps of one pruning share."""

    recipe: PruneRecipe
    out: Path
    key: str
    report: Report


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
    if not isinstance(config, EncoderConfig) and (recipe.method != "last-layers" or inner):
        raise UsageError("[prune] a BERT or XLM-R network loses layers only: method = 'last-layers', or 'none'")
    whole = {"layers": config.layers, "heads": config.heads, "ffn_size": config.ffn_size,
             "hidden_size": config.hidden_size, "vocabulary": config.vocab_size}  # fmt: skip
    for name, there in whole.items():
        wanted = getattr(recipe, name)
        if wanted > there and name != "vocabulary":
            raise UsageError(f"[prune] '{name}' = {wanted}, but the backbone has {there}; 0 keeps all")
    if recipe.method == "last-layers" and (recipe.heads or recipe.ffn_size or recipe.hidden_size):
        raise UsageError(
            "[prune] method 'last-layers' removes layers only; 'importance' and 'learned' cut the rest too"
        )


def prune_backbone(
    backbone: Backbone, passages: Path, recipe: PruneRecipe, out: Path, *, seed: int, languages: Sequence[str] = (),
    report: Report | None = None,
) -> Checkpoint:  # fmt: skip
    """Cut a network and repair it.

    Args:
        backbone: What to cut; its network is changed.
        passages: A file of `Passage`: what the vocabulary is counted on, and what the language model reads.
        recipe: How.
        out: The checkpoint's folder; steps on the way lie below it.
        seed: The same one gives the same network.
        languages: Of the passages to read; empty reads all.
        report: Called with a sentence as the work goes on.

    Raises:
        UsageError: The recipe does not fit the network, or the corpus is too small.
        TrainingError: A loss is no number.
    """
    check_prune(backbone.config, recipe)
    key = make_key(describe(recipe), seed, tuple(languages), passages, backbone.origin.name, str(backbone.config))
    if is_checkpoint(out) and (done := open_checkpoint(out)).recipe.get("key") == key:
        return done
    stage = _Stage(recipe=recipe, out=out, key=key, report=report or log.info)
    backbone = _cut_vocabulary(backbone, passages, stage, languages)
    network, metrics = _cut_network(backbone, passages, stage, languages, seed)
    shape = {
        name: getattr(network.config, name) for name in ("layers", "heads", "ffn_size", "hidden_size", "vocab_size")
    }
    metrics |= {"shape": shape, "parameters": sum(each.numel() for each in network.parameters())}
    return save_checkpoint(
        out, network, tokenizer=backbone.tokenizer, origin=backbone.origin,
        recipe={"key": key, "prune": describe(recipe)}, metrics=metrics,
    )  # fmt: skip


def _cut_vocabulary(backbone: Backbone, passages: Path, stage: _Stage, languages: Sequence[str]) -> Backbone:
    """The backbone with the tokens that the corpus uses; itself if its vocabulary is small enough."""
    from tokenizers import Tokenizer

    from trainer.prune.vocabulary import count_usage, cut_table, cut_vocabulary

    most = stage.recipe.vocabulary
    if not most or stage.recipe.method == "none" or most >= backbone.config.vocab_size:
        return backbone
    stage.report("counting tokens")
    texts = ((each.language, each.embedded) for each in _iterate(passages, languages))
    usage = count_usage(Tokenizer.from_file(str(backbone.tokenizer)), islice(texts, _VOCABULARY_TEXTS))
    settings = json.loads(backbone.tokenizer.read_text(encoding="utf-8"))
    cut = cut_vocabulary(settings, usage, most=most, always=_ALWAYS)
    tokenizer = stage.out / "vocabulary" / TOKENIZER
    tokenizer.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.write_text(cut.write(), encoding="utf-8")
    pad = cut.renumbered.get(backbone.origin.pad_token_id, 0)
    return Backbone(
        network=cut_table(backbone.network, cut), tokenizer=tokenizer, origin=replace(backbone.origin, pad_token_id=pad)
    )


def _cut_network(
    backbone: Backbone, passages: Path, stage: _Stage, languages: Sequence[str], seed: int
) -> "tuple[Network, dict[str, Any]]":
    """The smaller network, and its losses as a language model."""
    from tokenizers import Tokenizer

    recipe, network = stage.recipe, backbone.network
    if recipe.method == "none":
        return network, {}
    if not isinstance(network, Encoder):
        return drop_layers(network, range(recipe.layers or network.config.layers)), {}
    network = _as_language_model(network)
    tokenizer = Tokenizer.from_file(str(backbone.tokenizer))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    texts = (each.embedded for each in _iterate(passages, languages))
    corpus = read_tokens(tokenizer, texts, length=recipe.length, seed=seed)
    stage.report("measuring the whole network")
    losses = {"whole": _average(evaluate_language(network, corpus.held_out, rows=recipe.batch))}
    network, start = _resume(stage) or (_cut_to_shape(network, corpus, stage), 0)
    if not start:
        losses["cut"] = _average(evaluate_language(network, corpus.held_out, rows=recipe.batch))
        stage.report(f"language-model loss {losses['whole']:.3f} before, {losses['cut']:.3f} after the cut")
    _repair(network, corpus, stage, backbone, start)
    values = evaluate_language(network, corpus.held_out, rows=recipe.batch)
    losses["repaired"] = _average(values)
    return network, {"losses": losses, "held_out": [round(value, 4) for value in values]}


def _as_language_model(network: Encoder) -> Encoder:
    head = network.config.lm_head if network.config.lm_head != "none" else "tied"
    changed = change_network(network, causal=True, lm_head=head)
    assert isinstance(changed, Encoder)
    return changed


def _cut_to_shape(network: Encoder, corpus: TokenRow, stage: _Stage) -> Encoder:
    recipe = stage.recipe
    if recipe.method == "learned":
        return learn_masks(network, corpus, recipe, seed=corpus.seed, report=stage.report)
    if recipe.method == "last-layers":
        return slice_network(network, keep_first_layers(recipe.layers or network.config.layers))
    return slice_network(network, choose_keep(network, corpus, recipe, report=stage.report))


def choose_keep(network: Encoder, corpus: TokenRow, recipe: PruneRecipe, *, report: Report) -> Keep:
    """What survives by measured importance: layers first, then parts of those that are left."""
    targets = find_targets(network.config, recipe)
    windows = corpus.draw(0, _MEASURED, recipe.length)
    layers = choose_layers(network, windows[:8], targets["layers"], report=report) if "layers" in targets else None
    kinds = [kind for kind in KINDS[1:] if kind in targets]
    importance = measure_importance(network, torch.split(windows, 1), kinds) if kinds else {}
    return choose_parts(importance, targets, layers)


def find_targets(config: EncoderConfig, recipe: PruneRecipe) -> dict[str, int]:
    """How many parts shall be left of the kinds that get fewer."""
    wanted = {
        "layers": (recipe.layers, config.layers), "heads": (recipe.heads, config.heads),
        "ffn": (recipe.ffn_size, config.ffn_size), "hidden": (recipe.hidden_size, config.hidden_size),
    }  # fmt: skip
    return {kind: some for kind, (some, whole) in wanted.items() if 0 < some < whole}


def learn_masks(
    network: Encoder, corpus: TokenRow, recipe: PruneRecipe, *, seed: int, report: Report | None = None
) -> Encoder:
    """Train weights and masks together under the constraint, then cut what the masks leave out.

    Args:
        network: With a language-model head; it is changed.
        corpus: What to draw from.
        recipe: Shape, steps, rates.
        seed: Of the draws.
        report: Called after each step.

    Raises:
        TrainingError: A loss is no number.
    """
    masks = LearnedMasks(network.config, find_targets(network.config, recipe))
    if not masks.targets:
        return network
    network.requires_grad_(True).train()
    weights = list(network.parameters())
    down = make_optimizer(weights, recipe.learning_rate)
    down.add_param_group({"params": list(masks.scores.values()), "lr": recipe.mask_learning_rate})
    up = torch.optim.AdamW(masks.multipliers, lr=recipe.mask_learning_rate, weight_decay=0.0, maximize=True)
    for step in range(1, recipe.mask_steps + 1):
        torch.manual_seed(seed * 1_000_003 + step)
        down.param_groups[0]["lr"] = schedule(step, recipe.mask_steps, recipe.learning_rate)
        progress = step / max(1.0, _WARMING * recipe.mask_steps)
        windows = corpus.draw(step, recipe.batch, recipe.length)
        loss = measure_losses(network, windows, masks.draw()).mean()
        up.zero_grad()
        descend(loss + masks.constrain(progress=progress), down, weights, step=step)
        up.step()
        if report:
            left = ", ".join(f"{count.mean().item():.1f} {kind}" for kind, count in masks.expect().items())
            report(f"masks, step {step:,} of {recipe.mask_steps:,}, loss {loss.item():.3f}, expected {left}")
    return apply_masks(network, masks.settle())


def _repair(network: Encoder, corpus: TokenRow, stage: _Stage, backbone: Backbone, start: int) -> None:
    """Language modelling until the recipe's steps are done, saved on the way."""
    recipe = stage.recipe
    optimizer = make_optimizer(network.parameters(), recipe.learning_rate)
    if start and (state := load_state(place_checkpoint(stage.out, start))):
        optimizer.load_state_dict(state["optimizer"])

    def keep(step: int, optimizer: torch.optim.Optimizer) -> None:
        if step % _SAVE_EVERY == 0 and step < recipe.continue_steps:
            save_checkpoint(
                place_step(stage.out / "steps", step), network, tokenizer=backbone.tokenizer, origin=backbone.origin,
                step=step, state={"optimizer": optimizer.state_dict()}, recipe={"key": stage.key},
            )  # fmt: skip
            remove_old(stage.out / "steps", keep=1)

    # Draws of the mask steps and of the repair differ.
    corpus = replace(corpus, seed=corpus.seed + 1)
    train_language(
        network, corpus, steps=recipe.continue_steps, rows=recipe.batch, length=recipe.length,
        rate=recipe.learning_rate, start=start, optimizer=optimizer, report=stage.report, keep=keep,
    )  # fmt: skip


def place_checkpoint(out: Path, step: int) -> Checkpoint:
    """The checkpoint of a step of the repair."""
    return open_checkpoint(place_step(out / "steps", step))


def _resume(stage: _Stage) -> "tuple[Encoder, int] | None":
    latest = find_latest(stage.out / "steps")
    if latest is None or latest.recipe.get("key") != stage.key:
        return None
    network = load_network(latest)
    assert isinstance(network, Encoder)
    stage.report(f"going on from step {latest.step}")
    return network, latest.step


def _iterate(passages: Path, languages: Sequence[str]) -> "Any":
    return (each for each in read_records(passages, Passage) if not languages or each.language in languages)


def _average(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 4)
