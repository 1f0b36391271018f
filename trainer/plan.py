"""Owns what a run will do before it does it: an estimate of time and disk for each stage.

Estimates are rough on purpose (a factor of two): they tell minutes from days. Figures were measured on two cores; what
this machine multiplies in a second is measured anew. It runs no stage.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from drama_app.errors import UsageError
from drama_app.ruler import estimate_tokens
from trainer.augment.ledger import format_time
from trainer.input_checks import list_texts
from trainer.inputs import name_source
from trainer.network import NetworkConfig
from trainer.outline import read_outline
from trainer.recipe import PruneRecipe, Recipe
from trainer.records import iterate_lines
from trainer.run_folder import OWN_INDEX, RunFolder
from trainer.text_files import is_table

_ENCODED = 4500.0
"""Tokens a second and core that the shipped retriever reads."""
_WRITTEN = 2.5e8
"""Bytes of a GGUF times queries kept a second: 1.0 with 250 MB. Gemma 3 270M at 4 bits kept 1.25 on two
cores in four languages, what the round trip reads first not counted."""
_CONVERTED = 1.0e7
"""Bytes of a GGUF that become a network in a second: 25 s for 240 MB."""
_SHARE = 0.45
"""Of the rate of matrix products that a training step reaches."""
_PASSES = 6
"""FLOPs a weight and token, forward and backward."""
_NAMED, _CLAUSES = 430.0, 330.0
"""Tokens that a teacher reads one by one, and clauses, in a second on two cores."""
_TAUGHT, _TAUGHT_TOGETHER = 14_000.0, 3500.0
"""Texts that teach token rows alone, and with the network that all share, in a second on two cores."""
_CLAUSE_TOKENS = 14
_TOGETHER = 230_000
"""Texts at most that teach that network, twice (`taught_rows.py`)."""
_ASKED = 60.0
"""Queries a second and core that it reads."""
_BYTES = 4.0
"""Of UTF-8 a token: some 4.3 in English as in Chinese."""
_QUERY_TOKENS = 16
_SAMPLE = 200
_ROOM = 1.2
"""Disk that must be free, as a multiple of what the run needs."""


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """A line of the plan."""

    name: str
    what: str
    seconds: float
    """0 where nobody can tell."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will do."""

    stages: tuple[PlannedStage, ...]
    disk: int
    """Bytes."""

    def format(self) -> str:
        """As a table for people."""
        rows = [(each.name, format_time(each.seconds) if each.seconds else "?", each.what) for each in self.stages]
        total = sum(each.seconds for each in self.stages)
        lines = [f"{name:<9} {time:>11}  {what}" for name, time, what in rows]
        return "\n".join(
            [*lines, f"{'together':<9} {format_time(total):>11}  about {self.disk >> 20:,} MB of disk", ""]
        )


@dataclass(frozen=True, slots=True)
class _Size:
    """A corpus at a glance."""

    passages: int
    tokens: float
    """A passage."""


def make_plan(run: RunFolder, config: NetworkConfig | None, *, measure: Callable[[], float]) -> Plan:
    """Estimate each stage that is not done.

    Args:
        run: Begun or not.
        config: From `check`.
        measure: FLOPs a second of matrix products.

    Raises:
        UsageError: The disk has no room.
    """
    recipe = run.recipe
    texts = (str(run.passages),) if "corpus" in run.done else (*run.inputs.corpus, *run.inputs.pairs)
    size = _measure_corpus(texts)
    reading = size.passages * size.tokens / (_ENCODED * _count_cores())
    asking = _count_queries(run, size) / (_ASKED * _count_cores())
    body = _count_body(config, recipe.prune)
    pruning, training = _estimate_training(run, config, size, measure() * _SHARE)
    taught = _estimate_teaching(recipe, config, size, reading, asking)
    if config is not None and not hasattr(config, "kv_heads"):
        pruning = 0.0  # an encoder loses layers and reads nothing
    shape, passes = f"{body / 1e6:.0f} million weights", 2 if recipe.export.whitening else 1
    stages = (
        PlannedStage(
            "corpus", f"about {size.passages:,} passages of {size.tokens:.0f} tokens", size.passages / 2000 + 1
        ),
        PlannedStage("augment", _describe_augment(recipe, size), _estimate_writing(run, size)),
        _plan_mining(recipe, size, reading + asking),
        PlannedStage(
            "prune", f"{recipe.prune.method}: {shape} beside the token table", pruning + 10 + _estimate_loading(run)
        ),
        PlannedStage("train", f"{recipe.train.steps:,} steps of {recipe.train.batch:,} queries", training + taught + 5),
        PlannedStage("export", "int8, held against float32 on the development sets", 20 + min(reading, 300) * passes),
        PlannedStage("evaluate", "before and after", 20 + 2 * (min(reading, 300) + _estimate_sets(run))),
    )
    missing = _estimate_disk(size, body, config, recipe)
    missing = max(0, missing - sum(each.stat().st_size for each in run.path.rglob("*") if each.is_file()))
    plan = Plan(tuple(each for each in stages if each.name not in run.done), missing)
    _check_room(run.path, plan.disk)
    return plan


def _count_cores() -> int:
    return os.cpu_count() or 1


def _count_queries(run: RunFolder, size: _Size) -> int:
    """Queries that are mined and taught, as far as they are known."""
    if groups := run.done.get("mine", {}).get("groups"):
        return int(groups)
    recipe, built = run.recipe.augment, run.done.get("corpus", {})
    pairs = built.get("pairs") if built else sum(_measure_corpus([each]).passages for each in run.inputs.pairs)
    crops = min(recipe.crops, size.passages) if "crop" in recipe.kinds else 0
    return int(pairs or 0) + crops + _count_written(run.recipe, size)


def _count_written(recipe: Recipe, size: _Size) -> int:
    """Queries that the LLM is asked for: one a passage at most."""
    return min(recipe.augment.queries, size.passages) if set(recipe.augment.kinds) - {"crop"} else 0


def _estimate_sets(run: RunFolder) -> float:
    """Seconds in which one retriever reads the test sets."""
    from trainer.set_folders import list_sets

    files = (each / "corpus.jsonl" for each in (list_sets(Path(run.inputs.sets)) if run.inputs.sets else []))
    size = sum(each.stat().st_size for each in files if each.is_file())
    return size / _BYTES / (_ENCODED * _count_cores())


def _plan_mining(recipe: Recipe, size: _Size, reading: float) -> PlannedStage:
    if recipe.mine.depth:
        what, seconds = "positives and hard negatives by the present retriever", reading + size.passages / 500
    else:
        what, seconds = "each query keeps its own passage, nothing is searched", size.passages / 5000
    return PlannedStage("mine", what, seconds + 1)


def _estimate_training(run: RunFolder, config: NetworkConfig | None, size: _Size, flops: float) -> tuple[float, float]:
    """Seconds of pruning and of the contrastive stage, by the FLOPs a second that they reach."""
    prune, train = run.recipe.prune, run.recipe.train
    body, table = _count_body(config, prune), _count_table(config, run.recipe)
    read = 0.0 if prune.method == "none" else (body + table) * prune.continue_steps
    if prune.method == "learned":  # by the whole network, whose masks are learned
        read += (_count_body(config, PruneRecipe()) + table) * prune.mask_steps
    passages = train.batch * (1 + train.hard_negatives)
    tokens = train.batch * _QUERY_TOKENS + passages * min(size.tokens, train.passage_tokens)
    whole = 2 * _count_body(_read_whole(run, config), PruneRecipe()) if train.row_weight else 0.0
    steps = max(0, train.steps - _count_steps(run))
    return _PASSES * read * prune.batch * prune.length / flops, (body * _PASSES + whole) * steps * tokens / flops


def _read_whole(run: RunFolder, config: NetworkConfig | None) -> NetworkConfig | None:
    """The shape before pruning: of the network itself, if that is still to come."""
    if config is None or "prune" not in run.done:
        return config
    return read_outline(name_source(run), weights=Path(run.inputs.weights) if run.inputs.weights else None)


def _count_steps(run: RunFolder) -> int:
    """Steps that an interrupted training has taken."""
    from trainer.checkpoint import find_latest

    latest = find_latest(run.training) if "prune" in run.done else None
    return latest.step if latest else 0


def _measure_corpus(names: Sequence[str]) -> _Size:
    counted, sampled, tokens = 0, 0, 0.0
    for name in names:
        if name == OWN_INDEX:
            from trainer.own_index import count_index_passages

            counted += count_index_passages()
            continue
        path = Path(name)
        for file in list_texts(path) if path.is_dir() else [path]:
            if is_table(file):
                counted += sum(1 for _ in iterate_lines(file))
                for _, line in islice(iterate_lines(file), _SAMPLE):
                    sampled, tokens = sampled + 1, tokens + estimate_tokens(line)
            else:
                counted += max(1, file.stat().st_size // 1000)
    return _Size(counted, tokens / sampled if sampled else 200.0)


def _count_body(config: NetworkConfig | None, prune: PruneRecipe) -> float:
    """Weights of the layers after pruning."""
    if config is None:
        return 0.0
    layers = prune.layers or config.layers
    hidden, ffn = prune.hidden_size or config.hidden_size, prune.ffn_size or config.ffn_size
    heads = prune.heads or config.heads
    gated = 3 if hasattr(config, "kv_heads") else 2
    keys = 2 * getattr(config, "kv_heads", heads)
    return float(layers * hidden * ((2 * heads + keys) * config.head_dim + gated * ffn))


def _count_table(config: NetworkConfig | None, recipe: Recipe) -> float:
    if config is None:
        return 0.0
    return float((recipe.prune.vocabulary or config.vocab_size) * (recipe.prune.hidden_size or config.hidden_size))


def _estimate_teaching(
    recipe: Recipe, config: NetworkConfig | None, size: _Size, reading: float, asking: float
) -> float:
    """Seconds of a teacher: queries, passages that mining has not left to it, the vocabulary, clauses; some two texts a
    passage go by."""
    train = recipe.train
    seconds = asking + (0.0 if recipe.mine.depth else reading) if train.reads_vectors else 0.0
    if not train.token_passes or config is None:
        return seconds
    names = (recipe.prune.vocabulary or config.vocab_size) / (_NAMED * _count_cores() / 2)
    clauses = _count_clauses(recipe, size)
    texts = 2 * size.passages + clauses
    taught = train.token_passes * texts / _TAUGHT + 2 * min(_TOGETHER, texts) / _TAUGHT_TOGETHER
    return seconds + names + (clauses / _CLAUSES + taught) / (_count_cores() / 2)


def _count_clauses(recipe: Recipe, size: _Size) -> float:
    """Clauses that the passages have, as many as are asked for."""
    return min(recipe.train.clauses, size.passages * size.tokens / _CLAUSE_TOKENS)


def _describe_augment(recipe: Recipe, size: _Size) -> str:
    parts = []
    if "crop" in recipe.augment.kinds and recipe.augment.crops:
        parts.append(f"up to {recipe.augment.crops:,} cropped sentences")
    if written := [kind for kind in recipe.augment.kinds if kind != "crop" and recipe.augment.queries]:
        parts.append(f"{_count_written(recipe, size):,} generated queries ({', '.join(written)})")
    if recipe.augment.reranked:
        parts.append(f"{recipe.augment.reranked:,} reranked")
    if recipe.augment.triplets:
        parts.append(f"{recipe.augment.triplets:,} invented")
    return ", ".join(parts) or "nothing"


def _estimate_writing(run: RunFolder, size: _Size) -> float:
    """Seconds of the LLM's work that is left; 0, unknown, for an endpoint."""
    augment, inputs = run.recipe.augment, run.inputs
    partial = run.generated.with_name(run.generated.name + ".partial")
    written = next((sum(1 for _ in iterate_lines(each)) for each in (run.generated, partial) if each.is_file()), 0)
    queries = max(0, _count_written(run.recipe, size) - written)
    queries += augment.reranked + augment.triplets
    if not queries:
        return 5.0
    if inputs.llm_url or not inputs.local_llm:
        return 0.0
    path = Path(inputs.local_llm)
    weights = path.stat().st_size if path.is_file() else sum(each.stat().st_size for each in path.glob("*.safetensors"))
    return queries * max(weights, 1 << 20) / _WRITTEN / max(1, _count_cores() / 2)


def _estimate_loading(run: RunFolder) -> float:
    """Seconds until a GGUF is a network."""
    path = Path(run.inputs.local_llm)
    return path.stat().st_size / _CONVERTED if path.is_file() and name_source(run) == run.inputs.local_llm else 0.0


def _estimate_disk(size: _Size, body: float, config: NetworkConfig | None, recipe: Recipe) -> int:
    texts = 3 * size.passages * size.tokens * 4
    vectors = 2 * size.passages * 2 * 384
    table = _count_table(config, recipe)
    if recipe.train.token_passes and config is not None:
        tokens = recipe.prune.vocabulary or config.vocab_size
        vectors += int(2 * 384 * (tokens + _count_clauses(recipe, size)) + 4 * table)
    trained = body + (0 if recipe.train.freeze_tokens else table)
    kept = max(recipe.train.keep_checkpoints, recipe.train.average)
    coded = kept * table if recipe.train.learn_codes else 0  # the table whole, though only its codebooks are trained
    # A checkpoint holds weights and two moments of each.
    return int(texts + vectors + 4 * (3 * kept * trained + coded + 2 * (body + table)) + (100 << 20))


def _check_room(folder: Path, needed: int) -> None:
    place = folder
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if needed * _ROOM > free:
        raise UsageError(f"{folder}: the run needs about {needed >> 20:,} MB, {free >> 20:,} MB are free there")
