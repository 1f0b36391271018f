"""Owns what a run will do before it does it: checks of every input, and an estimate of time and disk for each stage.

Estimates are rough on purpose (a factor of two): they tell minutes from days. Figures were measured on two cores; what
this machine multiplies in a second is measured anew. It runs no stage.
"""

import codecs
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from drama_app.errors import UsageError
from drama_app.ruler import estimate_tokens
from trainer.augment.ledger import format_time
from trainer.augment.prompts import STYLES, match_language, read_query_prompts
from trainer.inputs import name_source, open_llm
from trainer.network import NetworkConfig
from trainer.outline import check_shape, read_outline
from trainer.recipe import Recipe
from trainer.records import iterate_lines
from trainer.run_folder import OWN_INDEX, Inputs, RunFolder

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
_NAMED, _TAUGHT = 430.0, 2000.0
"""Tokens that a teacher reads one by one, and texts that teach token rows, in a second on two cores."""
_TABLES = (".jsonl", ".jsonl.zst")
_TEXTS = (".txt", ".text", ".md", ".markdown")
"""What a corpus is made of."""
_OTHER_KINDS = "the app reads PDF, Word and others: drama-app index FOLDER, then --corpus index"
_BEGINNING = 65_536
"""Bytes by which a file is taken for text."""
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


def check(run: RunFolder) -> NetworkConfig | None:
    """Look at every input that a stage still has to read.

    Returns:
        The shape of the network that the run starts from; None for one on the hub, or if none is trained any more.

    Raises:
        DramaError: Something is missing or wrong; the text says what, and what to do.
    """
    inputs, recipe = run.inputs, run.recipe
    if "corpus" not in run.done:
        _check_texts(inputs)
    if inputs.sets:
        from trainer.evaluate import find_sets

        find_sets(Path(inputs.sets))
    if inputs.notice:
        _check_notice(Path(inputs.notice))
    _check_recipe(recipe)
    if "augment" not in run.done:
        _check_llm(run)
    if inputs.retriever:
        from drama_app.retriever import open_retriever_folder

        open_retriever_folder(Path(inputs.retriever))
    if "train" in run.done:
        return None
    if "prune" in run.done:
        from trainer.checkpoint import open_checkpoint

        return open_checkpoint(run.backbone).config
    config = read_outline(name_source(run), weights=Path(inputs.weights) if inputs.weights else None)
    if config is not None:
        check_shape(config, recipe)
    return config


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
    reading = size.passages * size.tokens / (_ENCODED * (os.cpu_count() or 1))
    body = _count_body(config, recipe)
    pruning, training = _estimate_training(recipe, config, size, measure() * _SHARE)
    taught = _estimate_teaching(recipe, config, size, reading)
    if config is not None and not hasattr(config, "kv_heads"):
        pruning = 0.0  # an encoder loses layers and reads nothing
    shape = f"{body / 1e6:.0f} million weights" if body else "a network from the hub"
    stages = (
        PlannedStage(
            "corpus", f"about {size.passages:,} passages of {size.tokens:.0f} tokens", size.passages / 2000 + 1
        ),
        PlannedStage("augment", _describe_augment(recipe), _estimate_writing(run.inputs, recipe)),
        _plan_mining(recipe, size, reading),
        PlannedStage(
            "prune", f"{recipe.prune.method}: {shape} beside the token table", pruning + 10 + _estimate_loading(run)
        ),
        PlannedStage("train", f"{recipe.train.steps:,} steps of {recipe.train.batch:,} queries", training + taught + 5),
        PlannedStage("export", "int8, held against float32 on the development sets", 20 + min(reading, 300)),
        PlannedStage("evaluate", "before and after", 20 + 2 * min(reading, 300)),
    )
    missing = _estimate_disk(size, body, config, recipe)
    missing = max(0, missing - sum(each.stat().st_size for each in run.path.rglob("*") if each.is_file()))
    plan = Plan(tuple(each for each in stages if each.name not in run.done), missing)
    _check_room(run.path, plan.disk)
    return plan


def _plan_mining(recipe: Recipe, size: _Size, reading: float) -> PlannedStage:
    if recipe.mine.depth:
        what, seconds = "positives and hard negatives by the present retriever", reading + size.passages / 500
    else:
        what, seconds = "each query keeps its own passage, nothing is searched", size.passages / 5000
    return PlannedStage("mine", what, seconds + 1)


def _estimate_training(recipe: Recipe, config: NetworkConfig | None, size: _Size, flops: float) -> tuple[float, float]:
    """Seconds of pruning and of the contrastive stage, by the FLOPs a second that they reach."""
    prune, train, body, table = recipe.prune, recipe.train, _count_body(config, recipe), _count_table(config, recipe)
    steps = 0 if prune.method == "none" else prune.continue_steps
    steps += prune.mask_steps if prune.method == "learned" else 0
    passages = train.batch * (1 + train.hard_negatives)
    tokens = train.batch * _QUERY_TOKENS + passages * min(size.tokens, train.passage_tokens)
    language = _PASSES * (body + table) * steps * prune.batch * prune.length
    whole = config.layers / (prune.layers or config.layers) if train.row_weight and config else 0.0  # of what is left
    return language / flops, body * (_PASSES + 2 * whole) * train.steps * tokens / flops


def _check_texts(inputs: Inputs) -> None:
    if not inputs.corpus and not inputs.pairs:
        raise UsageError(
            "there is nothing to learn from: name texts (--corpus PATH, or --corpus index) or --pairs FILE"
        )
    for name in inputs.corpus:
        _check_source(name)
    for name in inputs.pairs:
        if not Path(name).is_file():
            raise UsageError(f"{name}: is no file; pairs are JSONL with 'query' and 'positive'")
        _check_table(Path(name), ("query", "positive"))


def _check_source(name: str) -> None:
    path = Path(name)
    if name == OWN_INDEX:
        from trainer.own_index import count_index_passages

        if not count_index_passages():
            raise UsageError("the app's index holds no passage; index a folder first: drama-app index FOLDER")
    elif not path.exists():
        raise UsageError(f"{name}: no such file or folder")
    elif not path.is_dir():
        _check_file(path)
    elif texts := _list_texts(path):
        for each in texts:
            if each.name.endswith(_TABLES) and each.stat().st_size:
                _check_table(each, ("text",))
    else:
        kinds = Counter(each.suffix.lower() or each.name for each in path.rglob("*") if each.is_file())
        found = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common(3))
        raise UsageError(f"{name}: " + (f"holds no text ({found}); {_OTHER_KINDS}" if found else "holds no file"))


def _list_texts(folder: Path) -> list[Path]:
    """The files of a folder that a corpus is made of."""
    files = (each for each in sorted(folder.rglob("*")) if each.is_file())
    return [each for each in files if each.name.endswith(_TABLES) or each.suffix.lower() in _TEXTS]


def _check_file(path: Path) -> None:
    if path.name.endswith(_TABLES):
        _check_table(path, ("text",))
        return
    try:
        with path.open("rb") as stream:
            beginning = stream.read(_BEGINNING)
        text = codecs.getincrementaldecoder("utf-8")().decode(beginning)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise UsageError(f"{path}: is no text in UTF-8; {_OTHER_KINDS}")
    if not text.strip():
        raise UsageError(f"{path}: is empty")


def _check_table(path: Path, keys: Sequence[str]) -> None:
    """See that a JSONL file begins with a row that has these texts."""
    number, line = next(iterate_lines(path), (0, ""))
    if not number:
        raise UsageError(f"{path}: is empty")
    try:
        row = json.loads(line)
    except ValueError as error:
        raise UsageError(f"{path}, line {number}: not JSON") from error
    if not isinstance(row, dict) or any(not isinstance(row.get(key), str) for key in keys):
        raise UsageError(f"{path}, line {number}: is no object with {' and '.join(map(repr, keys))}")


def _check_notice(path: Path) -> None:
    try:
        path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read ({error})") from error


def _check_recipe(recipe: Recipe) -> None:
    """What no stage but the one that reads it could refuse."""
    known = ("crop", *STYLES)
    if unknown := [kind for kind in recipe.augment.kinds if kind not in known]:
        raise UsageError(f"[augment] 'kinds': {unknown[0]!r} is none of {', '.join(known)}")
    if not 0 <= recipe.evaluate.held_out < 1:
        raise UsageError("[evaluate] 'held_out' must be 0 or more and below 1")
    if recipe.seed < 0 or recipe.train.seed < 0:
        raise UsageError("the seed must be 0 or more")
    prompts = read_query_prompts()
    for code in recipe.augment.languages if _needs_llm(recipe) else ():
        if not match_language(code, prompts):
            raise UsageError(
                f"{code!r}: there are no prompts for this language; there are for {', '.join(sorted(prompts))}"
            )
    for code in recipe.corpus.languages:
        if not (2 <= len(code) <= 8 and code.replace("-", "").isalpha()):
            raise UsageError(f"{code!r}: is no code of a language; it looks like de or pt-br")


def _needs_llm(recipe: Recipe) -> bool:
    augment = recipe.augment
    return bool((augment.queries and set(augment.kinds) - {"crop"}) or augment.reranked or augment.triplets)


def _check_llm(run: RunFolder) -> None:
    inputs = run.inputs
    if not _needs_llm(run.recipe):
        return
    if not inputs.local_llm and not inputs.llm_url:
        raise UsageError(
            "the recipe asks for generated queries: name a language model (--local-llm FILE.gguf or --llm-url URL), or "
            "do without them (--no-llm)"
        )
    if inputs.llm_url or not Path(inputs.local_llm).is_dir():
        open_llm(run).close()  # tells a file that is cut short, an encoder, an endpoint that is not there


def _measure_corpus(names: Sequence[str]) -> _Size:
    counted, sampled, tokens = 0, 0, 0.0
    for name in names:
        if name == OWN_INDEX:
            from trainer.own_index import count_index_passages

            counted += count_index_passages()
            continue
        path = Path(name)
        for file in _list_texts(path) if path.is_dir() else [path]:
            if file.name.endswith(_TABLES):
                counted += sum(1 for _ in iterate_lines(file))
                for _, line in islice(iterate_lines(file), _SAMPLE):
                    sampled, tokens = sampled + 1, tokens + estimate_tokens(line)
            else:
                counted += max(1, file.stat().st_size // 1000)
    return _Size(counted, tokens / sampled if sampled else 200.0)


def _count_body(config: NetworkConfig | None, recipe: Recipe) -> float:
    """Weights of the layers after pruning."""
    if config is None:
        return 0.0
    layers = recipe.prune.layers or config.layers
    hidden, ffn = recipe.prune.hidden_size or config.hidden_size, recipe.prune.ffn_size or config.ffn_size
    heads = recipe.prune.heads or config.heads
    gated = 3 if hasattr(config, "kv_heads") else 2
    keys = 2 * getattr(config, "kv_heads", heads)
    return float(layers * hidden * ((2 * heads + keys) * config.head_dim + gated * ffn))


def _count_table(config: NetworkConfig | None, recipe: Recipe) -> float:
    if config is None:
        return 0.0
    return float((recipe.prune.vocabulary or config.vocab_size) * (recipe.prune.hidden_size or config.hidden_size))


def _estimate_teaching(recipe: Recipe, config: NetworkConfig | None, size: _Size, reading: float) -> float:
    """Seconds of a teacher: passages that mining has not left to it, the vocabulary, some two texts a passage go by."""
    train = recipe.train
    seconds = reading if train.reads_vectors and not recipe.mine.depth else 0.0
    if not train.token_passes or config is None:
        return seconds
    names = (recipe.prune.vocabulary or config.vocab_size) / (_NAMED * (os.cpu_count() or 1) / 2)
    return seconds + names + train.token_passes * 2 * size.passages / _TAUGHT


def _describe_augment(recipe: Recipe) -> str:
    parts = []
    if "crop" in recipe.augment.kinds and recipe.augment.crops:
        parts.append(f"up to {recipe.augment.crops:,} cropped sentences")
    if written := [kind for kind in recipe.augment.kinds if kind != "crop" and recipe.augment.queries]:
        parts.append(f"{recipe.augment.queries:,} generated queries ({', '.join(written)})")
    if recipe.augment.reranked:
        parts.append(f"{recipe.augment.reranked:,} reranked")
    if recipe.augment.triplets:
        parts.append(f"{recipe.augment.triplets:,} invented")
    return ", ".join(parts) or "nothing"


def _estimate_writing(inputs: Inputs, recipe: Recipe) -> float:
    """Seconds of the LLM's work; 0, unknown, for an endpoint."""
    augment = recipe.augment
    queries = augment.reranked + augment.triplets + (augment.queries if set(augment.kinds) - {"crop"} else 0)
    if not queries:
        return 5.0
    if inputs.llm_url or not inputs.local_llm:
        return 0.0
    path = Path(inputs.local_llm)
    size = path.stat().st_size if path.is_file() else sum(each.stat().st_size for each in path.glob("*.safetensors"))
    return queries * max(size, 1 << 20) / _WRITTEN / max(1, (os.cpu_count() or 1) / 2)


def _estimate_loading(run: RunFolder) -> float:
    """Seconds until a GGUF is a network."""
    path = Path(run.inputs.local_llm)
    return path.stat().st_size / _CONVERTED if path.is_file() and name_source(run) == run.inputs.local_llm else 0.0


def _estimate_disk(size: _Size, body: float, config: NetworkConfig | None, recipe: Recipe) -> int:
    texts = 3 * size.passages * size.tokens * 4
    vectors = 2 * size.passages * 2 * 384
    table = _count_table(config, recipe)
    trained = body + (0 if recipe.train.freeze_tokens else table)
    kept = max(recipe.train.keep_checkpoints, recipe.train.average)
    # A checkpoint holds weights and, for the last one, two moments.
    return int(texts + vectors + 4 * (kept * trained + 2 * trained + 2 * (body + table)) + (100 << 20))


def _check_room(folder: Path, needed: int) -> None:
    place = folder
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if needed * _ROOM > free:
        raise UsageError(f"{folder}: the run needs about {needed >> 20:,} MB, {free >> 20:,} MB are free there")
