"""Owns how the contrastive stage is called on the folder of a run: its network, its data, its teacher, its figures.

The work itself is `trainer.train`'s. Called again after a crash it goes on.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from trainer.augment.ledger import format_time
from trainer.inputs import name_source, open_teacher, read_evaluation
from trainer.records import Passage, TrainingGroup, iterate_lines, make_key, read_records
from trainer.run_folder import RunFolder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from trainer.backbone import Backbone
    from trainer.network import Network
    from trainer.recipe import TrainRecipe
    from trainer.train.data import TeacherVectors, TrainingData
    from trainer.train.rows import WholeNetwork
    from trainer.train.run import Progress
    from trainer.train.tokens import Clauses

_WAIT = timedelta(days=2)
_LAST = 20
"""Steps that speak for the end: one alone may be off by a fifth."""

Report = Callable[[str], None]
Figures = dict[str, Any]


def train(run: RunFolder, report: Report) -> Figures:
    """The contrastive stage."""
    from accelerate import PartialState

    from trainer.backbone import load_backbone
    from trainer.model_files import merge_notices
    from trainer.terms import name_teacher, read_notices, read_teaching
    from trainer.train.data import load_data
    from trainer.train.run import HISTORY
    from trainer.train.run import train as train_network

    # The first process may read texts for hours while the others wait; torch's own limit is 10 or 30 minutes.
    with PartialState(timeout=_WAIT).main_process_first():
        _remove_other_training(run, report)
    backbone = load_backbone(run.backbone)
    recipe = replace(
        run.recipe.train,
        query_prefix=run.recipe.train.query_prefix or backbone.origin.query_prefix,
        passage_prefix=run.recipe.train.passage_prefix or backbone.origin.passage_prefix,
        seed=run.recipe.seed + run.recipe.train.seed,
    )
    data = load_data(
        run.groups, run.training_passages, backbone.tokenizer, recipe, pad=backbone.origin.pad_token_id,
        evaluation=read_evaluation(run), teacher=_read_teacher(run, report),
    )  # fmt: skip
    network, data = _start_network(run, backbone, data, recipe, report)
    origin = replace(
        backbone.origin, query_prefix=recipe.query_prefix, passage_prefix=recipe.passage_prefix,
        dims=recipe.widths or (network.config.dim,), max_tokens=min(512, network.config.max_tokens),
        notices=merge_notices((*backbone.origin.notices, *read_notices(run), *read_teaching(run))),
    )  # fmt: skip
    checkpoint = train_network(
        network, data, recipe, run.training, tokenizer=backbone.tokenizer, origin=origin, whole=_open_whole(run),
        report=lambda progress: report(describe_progress(progress)),
    )  # fmt: skip
    parameters = sum(each.numel() for each in network.parameters())
    figures = {"steps": checkpoint.step, "parameters": parameters, "taught_by": name_teacher(run)} | _find_start(run)
    return figures | _summarise(run.training / HISTORY)


def _start_network(
    run: RunFolder, backbone: "Backbone", data: "TrainingData", recipe: "TrainRecipe", report: Report
) -> "tuple[Network, TrainingData]":
    """The backbone as an encoder, with what the recipe starts it from, and the data that are left for the steps."""
    from accelerate import PartialState

    from trainer.checkpoint import TOKENS
    from trainer.train.data import divide_groups
    from trainer.train.head import HEAD, add_head
    from trainer.train.run import refuse_other
    from trainer.train.tokens import teach_tokens

    refuse_other(run.training, recipe)  # else what it started from would be made anew first, and lost
    bits = run.recipe.export.table_bits if recipe.freeze_tokens else 32
    if not recipe.head:
        return round_tokens(prepare_network(backbone), bits), data
    with PartialState().main_process_first():  # the others read what the first has fitted
        if not recipe.token_passes:
            network = round_tokens(prepare_network(backbone), bits)
            return add_head(network, data, recipe, run.training / HEAD, report=report), data
        early, later = divide_groups(data, recipe.token_share, seed=recipe.seed)
        taught = _read_tokens(run, backbone, report)
        network = teach_tokens(
            prepare_network(backbone), early, later, taught, recipe, run.training / TOKENS,
            read_clauses=lambda: _read_clauses(run, backbone, recipe, report), report=report,
        )  # fmt: skip
    return round_tokens(network, bits), later


def _open_whole(run: RunFolder) -> "WholeNetwork | None":
    """The network before it lost layers, if the recipe learns token rows from it."""
    if not run.recipe.train.row_weight:
        return None
    from trainer.backbone import load_backbone
    from trainer.prune.run import choose_layers
    from trainer.train.rows import WholeNetwork

    weights = Path(run.inputs.weights) if run.inputs.weights else None
    network = load_backbone(name_source(run), weights=weights).network
    kept = choose_layers(network.config.layers, run.recipe.prune)
    return WholeNetwork(network, kept, run.recipe.train.row_weight)


def _find_start(run: RunFolder) -> Figures:
    """How near the teacher the network stood before the first step, where something was fitted for that."""
    from trainer.checkpoint import TOKENS
    from trainer.train.head import HEAD, read_cosine

    path = run.training / (TOKENS if run.recipe.train.token_passes else HEAD)
    cosine = read_cosine(path) if path.is_file() else None
    return {} if cosine is None else {"cosine_at_start": cosine}


def _summarise(history: Path) -> Figures:
    """Loss, speed and memory of the last steps, whoever took them: a call may find all steps taken."""
    rows = [json.loads(line) for _, line in iterate_lines(history)][-_LAST:] if history.is_file() else []
    if not rows:
        return {}

    def take_median(key: str) -> float:
        return float(median(row[key] for row in rows))

    return {
        "loss": round(take_median("loss"), 4), "tokens_per_second": round(take_median("tokens_per_second")),
        "gemm_share": round(take_median("gemm_share"), 3), "memory": max(row["memory"] for row in rows),
    }  # fmt: skip


def prepare_network(backbone: "Backbone") -> "Network":
    """The backbone's network as an encoder: it looks both ways and predicts no token."""
    from trainer.encoder import EncoderConfig
    from trainer.network import change_network

    if not isinstance(backbone.network.config, EncoderConfig):
        return backbone.network
    return change_network(backbone.network, causal=False, lm_head="none")


def round_tokens(network: "Network", bits: int) -> "Network":
    """The same network, its token table rounded as it will be stored, so that a frozen one loses nothing at the export.

    Args:
        network: It is changed.
        bits: Of the stored table; 32 leaves it as it is.
    """
    import torch

    from trainer.token_table import round_table

    if bits < 32:
        table = network.embed_tokens.weight
        with torch.no_grad():
            table.copy_(torch.from_numpy(round_table(table.numpy(), bits=bits)))
    return network


def describe_progress(progress: "Progress") -> str:
    """A step in one line."""
    return (
        f"step {progress.step:,} of {progress.steps:,}, loss {progress.loss:.3f}, {progress.right:.0%} right, "
        f"{progress.tokens_per_second:,.0f} tokens/s ({progress.gemm_share:.0%} of matrix products), "
        f"{progress.memory >> 20:,} MB, {progress.memory // max(1, progress.texts) >> 10:,} kB a row, "
        f"{format_time(progress.seconds_left)} left"
    )


def _remove_other_training(run: RunFolder, report: Report) -> None:
    """Empty the folder of the training if groups, passages, network or teacher were others when it began."""
    from trainer.checkpoint import TOKENIZER, WEIGHTS

    # Groups hold the teacher's scores, unless nothing was searched: then nothing else here would tell another teacher.
    unseen = run.recipe.train.reads_vectors and not run.recipe.mine.depth
    own = (open_teacher(run).fingerprint,) if run.inputs.teacher and unseen else ()
    key = make_key(run.groups, run.training_passages, run.backbone / WEIGHTS, run.backbone / TOKENIZER, *own)
    path = run.training / "inputs.key"
    if path.is_file() and path.read_text(encoding="utf-8") != key:
        report("groups, network or teacher have changed: training begins anew")
        shutil.rmtree(run.training)
    if not path.is_file():
        run.training.mkdir(parents=True, exist_ok=True)
        path.write_text(key, encoding="utf-8")


def _read_teacher(run: RunFolder, report: Report) -> "TeacherVectors | None":
    """The present retriever's embeddings of groups and passages, if the recipe distils or asks for neighbours."""
    if not run.recipe.train.reads_vectors:
        return None
    from accelerate import PartialState

    from trainer.retrieve import encode_corpus, encode_passages
    from trainer.train.data import TeacherVectors

    teacher = open_teacher(run)
    with PartialState().main_process_first():  # the others map what the first has written
        queries = encode_corpus(
            teacher.encode_queries, (group.query for group in read_records(run.groups, TrainingGroup)),
            run.vectors / "teacher" / "queries.f16", key=make_key(teacher.fingerprint, teacher.dim, run.groups),
            report=lambda count: report(f"the teacher has read {count:,} queries"),
        )  # fmt: skip
        # Mining left the passages' vectors there.
        passages = encode_passages(teacher, run.training_passages, run.vectors / "present", report=report)
    return TeacherVectors(queries=queries, passages=passages)


def _read_tokens(run: RunFolder, backbone: "Backbone", report: Report) -> "NDArray[np.float16]":
    """The teacher's vectors of single tokens [rows of the table, T]; zeros for those that are no text.

    A table may be padded to more rows than the tokenizer has tokens.
    """
    import numpy as np
    from tokenizers import Tokenizer

    from trainer.retrieve import encode_corpus
    from trainer.train.tokens import name_tokens

    teacher = open_teacher(run)
    names = name_tokens(Tokenizer.from_file(str(backbone.tokenizer)))[: backbone.config.vocab_size]
    places = [place for place, name in enumerate(names) if name]
    vectors = encode_corpus(
        teacher.encode_passages, [names[place] for place in places], run.vectors / "teacher" / "tokens.f16",
        key=make_key("texts", teacher.fingerprint, teacher.dim, backbone.tokenizer),
        report=lambda count: report(f"the teacher has read {count:,} of {len(places):,} tokens"),
    )  # fmt: skip
    known = np.zeros((backbone.config.vocab_size, teacher.dim), np.float16)
    known[places] = vectors
    return known


def _read_clauses(run: RunFolder, backbone: "Backbone", recipe: "TrainRecipe", report: Report) -> "Clauses | None":
    """Clauses of all passages, with the teacher's vectors, if the recipe asks for any.

    Those of the steps' passages too: without them a run of 400 passages had .655 where it has .780 with them (LOG.md).
    """
    if not recipe.clauses:
        return None
    from trainer.retrieve import encode_corpus
    from trainer.train.clauses import draw_clauses
    from trainer.train.data import read_rows
    from trainer.train.tokens import Clauses

    among = sum(1 for _ in read_records(run.training_passages, Passage))
    passages = read_records(run.training_passages, Passage)
    clauses = list(draw_clauses(passages, recipe.clauses, among=among, seed=recipe.seed))
    report(f"{len(clauses):,} clauses of {among:,} passages, for the token rows")
    if not clauses:
        return None
    teacher = open_teacher(run)
    vectors = encode_corpus(
        teacher.encode_passages, clauses, run.vectors / "teacher" / "clauses.f16",
        key=make_key(teacher.fingerprint, teacher.dim, clauses),
        report=lambda count: report(f"the teacher has read {count:,} of {len(clauses):,} clauses"),
    )  # fmt: skip
    return Clauses(read_rows(backbone.tokenizer, clauses, recipe), vectors)
