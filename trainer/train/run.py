"""Owns the loop of the contrastive stage: steps, schedule, checkpoints, progress, and the reasons to stop.

The same call serves one CPU, one GPU (bf16) and several processes under `accelerate launch`: every process draws the
same batch and computes its share. It mines nothing and measures no retrieval.
"""

import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from drama_app.errors import UsageError
from trainer.checkpoint import (
    FINAL,
    TABLE,
    WEIGHTS,
    Checkpoint,
    Origin,
    find_latest,
    load_state,
    open_checkpoint,
    place_step,
    read_tensors,
    remove_old,
    save_checkpoint,
)
from trainer.network import Network
from trainer.recipe import TrainRecipe, describe
from trainer.train.average import average_weights
from trainer.train.coded_table import BOOKS, RATE, CodedTable, close_codes, open_codes
from trainer.train.data import Sampler, TeacherVectors, TrainingData
from trainer.train.guard import Watch
from trainer.train.interrupt import holding_back_interrupts
from trainer.train.objective import backward_loss, prepare_targets
from trainer.train.rate import count_flops, measure_gemm, measure_memory, synchronise
from trainer.train.rows import WholeNetwork
from trainer.train.step import Passes, Workers, accumulate_gradients

HISTORY = "history.jsonl"
_SMOOTHING = 0.9
"""Share of what is shown of a rate that comes from the steps before."""
_MAY_CHANGE = ("learning_rate", "warmup", "clip", "must_learn_by")
"""What a run that was stopped because it is lost may go on with."""
_MEASURED = 64
"""Passages on which it is measured how far a teacher's token rows lie apart."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What one step did."""

    step: int
    steps: int
    loss: float
    contrastive: float
    """The part of the loss that tells answers from other passages."""
    rows: float
    """The part that token rows have, 0 without a whole network to learn them from."""
    right: float
    """Share of queries whose positive was the best of their competitors."""
    learning_rate: float
    tokens_per_second: float
    """Without padding, over all processes."""
    gemm_share: float
    """Model FLOPs a second as a share of the best rate of matrix products measured in this run."""
    seconds_left: float
    memory: int
    """Most bytes held so far."""
    texts: int
    """Queries and passages of the batch."""


@dataclass(slots=True, kw_only=True)
class _Run:
    """What changes from step to step."""

    network: Network
    projector: nn.Module | None
    optimizer: torch.optim.AdamW
    sampler: Sampler
    watch: Watch
    workers: Workers
    flops_limit: float
    whole: WholeNetwork | None
    coded: CodedTable | None
    others: int
    """Passages of the teacher's on which scores are matched, 0 if on the batch's."""
    step: int = 0
    pace: float = 0.0
    """Smoothed seconds a step."""

    @property
    def parameters(self) -> list[nn.Parameter]:
        """All that is trained."""
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]


def train(
    network: Network, data: TrainingData, recipe: TrainRecipe, out: Path, *, tokenizer: Path, origin: Origin,
    whole: WholeNetwork | None = None, report: Callable[[Progress], None] | None = None, cpu: bool = False,
    stop_at: int | None = None,
) -> Checkpoint:  # fmt: skip
    """Train a network, going on where an earlier call into the same folder stopped.

    Args:
        network: With the weights to start from, in a resumed run too; it is changed.
        data: From `load_data`.
        recipe: The stage.
        out: Folder of the run: a checkpoint every `save_every` steps, `history.jsonl`, and `final` at the end.
        tokenizer, origin: Go into the checkpoints.
        whole: What it was before it lost layers, to learn token rows from.
        report: Called after each step, in the main process.
        cpu: Leave a GPU alone.
        stop_at: Stop after this step, as if interrupted.

    Returns:
        The final checkpoint (averaged), or the last one if stopped before the end.

    Raises:
        UsageError: The folder holds a run with another recipe, or the recipe does not fit the network.
        TrainingError: The loss is no number, or does not fall.
        KeyboardInterrupt: Ctrl-C was pressed; the step under way is done and saved.
    """
    workers = _open_workers(cpu=cpu)
    start = {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}
    run = _set_up(network, data, recipe, workers, whole)
    inputs = {"train": describe(recipe)}
    _resume(run, recipe, out)
    keep = {"tokenizer": tokenizer, "origin": origin, "recipe": inputs}
    _take_steps(run, data, recipe, out, keep, min(recipe.steps, stop_at or recipe.steps), report)
    if workers.rank == 0 and run.step == recipe.steps:
        _finish(run, recipe, out, keep, start)
    workers.accelerator.wait_for_everyone()
    return open_checkpoint(out / FINAL if run.step == recipe.steps else place_step(out, run.step))


def _take_steps(
    run: _Run, data: TrainingData, recipe: TrainRecipe, out: Path, keep: Mapping[str, Any], last: int,
    report: Callable[[Progress], None] | None,
) -> None:  # fmt: skip
    # Several processes may hear of Ctrl-C at different steps, and would wait for each other: there it stops at once.
    with holding_back_interrupts() if run.workers.count == 1 else nullcontext(lambda: False) as is_stopped:
        while run.step < last:
            _tell(_take_step(run, data, recipe), run.workers, out, report)
            if run.step % recipe.save_every == 0 or run.step == last or is_stopped():
                _save(run, recipe, out, keep)
            if is_stopped():
                raise KeyboardInterrupt


def schedule(step: int, recipe: TrainRecipe) -> float:
    """Learning rate of a step (from 1): up in a line, down in half a cosine to its final share."""
    if step <= recipe.warmup:
        return recipe.learning_rate * step / recipe.warmup
    done = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return recipe.learning_rate * (recipe.final_rate + (1 - recipe.final_rate) * (1 + math.cos(math.pi * done)) / 2)


def _open_workers(*, cpu: bool) -> Workers:
    on_gpu = not cpu and torch.cuda.is_available()
    precision = "bf16" if on_gpu and torch.cuda.is_bf16_supported() else "no"
    return Workers(Accelerator(cpu=cpu or None, mixed_precision=precision))


def _set_up(
    network: Network, data: TrainingData, recipe: TrainRecipe, workers: Workers, whole: WholeNetwork | None
) -> _Run:
    if too_wide := [width for width in recipe.widths if not 0 < width <= network.config.dim]:
        raise UsageError(f"[train] 'widths': {too_wide[0]} is no width of embeddings of {network.config.dim}")
    network.to(workers.device).train()
    network.requires_grad_(True)
    network.embed_tokens.requires_grad_(not recipe.freeze_tokens)
    projector = None
    if recipe.reads_vectors and data.teacher is None:
        raise UsageError("[train] asks for distillation or neighbours, but there are no embeddings of a teacher")
    width = max(recipe.widths, default=network.config.dim)
    others = _count_others(data.teacher, width, recipe)
    if recipe.embedding_weight and data.teacher:
        projector = _make_projector(width, data.teacher.queries.shape[1]).to(workers.device)
    if whole:
        places = np.linspace(0, len(data.passages) - 1, _MEASURED).astype(int)  # of all parts of the corpus
        whole.settle(network, [data.passages[place] for place in places])
    coded = open_codes(network) if recipe.learn_codes else None
    return _Run(
        network=network,
        projector=projector,
        # Fused: a step of 9.3 million weights takes 16 ms of one core in place of 72.
        optimizer=torch.optim.AdamW(_group_weights(network, projector, recipe), lr=recipe.learning_rate, fused=True),
        sampler=Sampler(data, recipe),
        watch=Watch(recipe.must_learn_by),
        workers=workers,
        flops_limit=_measure_limit(workers),
        whole=whole,
        coded=coded,
        others=others,
    )


def _count_others(teacher: TeacherVectors | None, width: int, recipe: TrainRecipe) -> int:
    """Of the teacher's passages, how many a step draws: a student of another width has no scores on its vectors."""
    if not (recipe.score_others and teacher):
        return 0
    if (taught := teacher.passages.shape[1]) == width:
        return recipe.score_others
    log.warning("the teacher is %d wide, not %d: scores are matched on the batch's passages alone", taught, width)
    return 0


def _group_weights(network: Network, projector: nn.Module | None, recipe: TrainRecipe) -> list[dict[str, Any]]:
    """What is trained, by how: products decay, codebooks follow more slowly."""
    modules = [network, *([projector] if projector else [])]
    named = [each for module in modules for each in module.named_parameters() if each[1].requires_grad]
    books = [weight for name, weight in named if name == BOOKS]
    others = [weight for name, weight in named if name != BOOKS]
    groups: list[dict[str, Any]] = [
        {"params": [each for each in others if each.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [each for each in others if each.ndim <= 1], "weight_decay": 0.0},
    ]
    return [*groups, {"params": books, "weight_decay": 0.0, "scale": RATE}] if books else groups


def _make_projector(width: int, teacher_width: int) -> nn.Module:
    """From the student's space to the teacher's: the identity, and learned only where the teacher is wider or narrower.

    A student as wide as its teacher settles in the teacher's own coordinates, whose first ones hold the most: a map
    that is thrown away would only let it stand off from the vectors that rank well.
    """
    if width == teacher_width:
        return nn.Identity()
    projector = nn.Linear(width, teacher_width)
    nn.init.eye_(projector.weight)
    nn.init.zeros_(projector.bias)
    return projector


def _measure_limit(workers: Workers) -> float:
    """FLOPs a second of matrix products in the precision of the run."""
    bf16 = workers.accelerator.mixed_precision == "bf16"
    return measure_gemm(workers.device, torch.bfloat16 if bf16 else torch.float32)


def _take_step(run: _Run, data: TrainingData, recipe: TrainRecipe) -> Progress:
    began = time.perf_counter()
    run.step += 1
    torch.manual_seed(recipe.seed * 1_000_003 + run.step)
    batch = run.sampler.draw(run.step)
    rows = [data.queries[int(row)] for row in batch.groups] + [data.passages[int(row)] for row in batch.passages]
    targets = prepare_targets(batch, data.teacher, run.workers.device, others=run.others)
    share = run.workers.share_out(len(batch.groups))
    passes = Passes(
        pad=data.pad, chunk_tokens=recipe.chunk_tokens, keep_tokens=recipe.keep_tokens, width=run.network.config.dim
    )
    sums, apart = accumulate_gradients(
        run.network, rows, lambda leaf: backward_loss(leaf, targets, recipe, share, run.projector), run.workers, passes,
        run.whole,
    )  # fmt: skip
    loss, contrastive, right, apart = run.workers.add_up(torch.cat([sums, apart[None]])).tolist()
    loss += apart
    rate = schedule(run.step, recipe)
    _descend(run, recipe, loss, rate)
    synchronise(run.workers.device)
    seconds = time.perf_counter() - began
    run.pace = _SMOOTHING * run.pace + (1 - _SMOOTHING) * seconds if run.pace else seconds
    lengths = [len(row) for row in rows]
    flops = count_flops(run.network, lengths, run.whole.network if run.whole else None)
    return Progress(
        step=run.step, steps=recipe.steps, loss=loss, contrastive=contrastive, rows=apart, right=right,
        learning_rate=rate, tokens_per_second=sum(lengths) / seconds,
        gemm_share=flops / seconds / run.flops_limit / run.workers.count,
        seconds_left=(recipe.steps - run.step) * run.pace, memory=measure_memory(run.workers.device), texts=len(rows),
    )  # fmt: skip


def _descend(run: _Run, recipe: TrainRecipe, loss: float, rate: float) -> None:
    """Apply the gradients, unless something is wrong with them."""
    for parameter in run.parameters:
        if parameter.grad is not None and run.workers.count > 1:
            parameter.grad = run.workers.add_up(parameter.grad)
    norm = float(nn.utils.clip_grad_norm_(run.parameters, recipe.clip))
    run.watch.check(run.step, loss, norm)
    for group in run.optimizer.param_groups:
        group["lr"] = rate * group.get("scale", 1.0)
    run.optimizer.step()
    run.optimizer.zero_grad()


def refuse_other(out: Path, recipe: TrainRecipe) -> None:
    """See that a training in this folder, if there is one, may go on with a recipe.

    Raises:
        UsageError: It was begun with another one.
    """
    latest = find_latest(out)
    # A key that is newer than the checkpoint had its default.
    before = describe(TrainRecipe()) | latest.recipe.get("train", {"steps": 0}) if latest else {}
    free = {name: describe(recipe)[name] for name in _MAY_CHANGE}
    if latest and before | free != describe(recipe):
        raise UsageError(f"{out}: holds a run with another recipe; give another folder, or remove it to begin anew")


def _resume(run: _Run, recipe: TrainRecipe, out: Path) -> None:
    refuse_other(out, recipe)
    latest = find_latest(out)
    state = load_state(latest) if latest else None
    if latest is None or state is None:
        if run.workers.rank == 0:
            (out / HISTORY).unlink(missing_ok=True)
        return
    run.network.load_state_dict(read_tensors(latest.folder / WEIGHTS), strict=not recipe.freeze_tokens)
    run.optimizer.load_state_dict(state["optimizer"])
    if run.projector:
        run.projector.load_state_dict(state["projector"])
    if run.coded:
        run.coded.restore(state)
    run.sampler.drawn = list(state["drawn"])
    run.watch.restore(state["watch"])
    run.step = latest.step
    if run.workers.rank == 0 and (out / HISTORY).exists():
        lines = (out / HISTORY).read_text(encoding="utf-8").splitlines(keepends=True)[: run.step]
        (out / HISTORY).write_text("".join(lines), encoding="utf-8")
    log.info("going on from step %d", run.step)


def _save(run: _Run, recipe: TrainRecipe, out: Path, keep: Mapping[str, Any]) -> None:
    # Measured again, since another program may have held the processor at the start.
    run.flops_limit = max(run.flops_limit, _measure_limit(run.workers))
    if run.workers.rank == 0:
        state = {
            "optimizer": run.optimizer.state_dict(),
            "projector": run.projector.state_dict() if run.projector else {},
            "drawn": run.sampler.drawn,
            "watch": run.watch.save(),
        } | (run.coded.describe() if run.coded else {})
        table = recipe.learn_codes or not recipe.freeze_tokens
        save_checkpoint(place_step(out, run.step), run.network, step=run.step, state=state, with_table=table, **keep)
        remove_old(out, keep=max(recipe.keep_checkpoints, recipe.average), every=recipe.save_every)
    run.workers.accelerator.wait_for_everyone()


def _finish(run: _Run, recipe: TrainRecipe, out: Path, keep: Mapping[str, Any], start: dict[str, Tensor]) -> None:
    """Average the last checkpoints, and the start if asked to, into the final one."""
    folders = sorted(path.parent for path in out.glob(f"step-*/{WEIGHTS}"))[-recipe.average :]
    weights = average_weights([read_tensors(folder / WEIGHTS) for folder in folders])
    if run.coded:
        weights[TABLE] = close_codes(run.network, weights[TABLE])
    elif recipe.freeze_tokens:
        weights[TABLE] = start[TABLE]
    if recipe.start_share:
        weights = average_weights([weights, start], [1 - recipe.start_share, recipe.start_share])
    run.network.load_state_dict(weights)
    metrics = {"averaged": [folder.name for folder in folders]}
    save_checkpoint(out / FINAL, run.network, step=recipe.steps, metrics=metrics, **keep)


def _tell(progress: Progress, workers: Workers, out: Path, report: Callable[[Progress], None] | None) -> None:
    if workers.rank:
        return
    out.mkdir(parents=True, exist_ok=True)
    with (out / HISTORY).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(asdict(progress)) + "\n")
    if report:
        report(progress)
