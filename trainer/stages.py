"""Owns how each stage is called on the folder of a run: which files it reads and writes, and what it leaves to tell.

The work itself is the stages' own; here nothing is computed. Every function takes the run and a callback for progress,
and returns figures for `run.json`; called again after a crash it goes on.
"""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drama_app.errors import UsageError
from trainer.augment.ledger import format_time
from trainer.development import divide
from trainer.overlap import NOTHING
from trainer.records import Passage, Query, RecordWriter, TrainingGroup, make_key, read_records, text_id
from trainer.run_folder import OWN_INDEX, RunFolder

if TYPE_CHECKING:
    from drama_app.embed import Encoder
    from trainer.augment.ledger import Tally
    from trainer.augment.llm import Generator
    from trainer.backbone import Backbone
    from trainer.network import Network
    from trainer.recipe import TrainRecipe
    from trainer.train.data import TeacherVectors, TrainingData
    from trainer.train.run import Progress

Report = Callable[[str], None]
Figures = dict[str, Any]

_SAMPLE = 64
"""Passages to calibrate an export on."""


def build(run: RunFolder, report: Report) -> Figures:
    """Passages from the corpus and from the pairs, each once."""
    from trainer.corpus import build_corpus, convert_pairs

    evaluation, folder = _read_evaluation(run), run.passages.parent
    figures: Figures = {"passages": 0, "languages": {}, "rejected": {}, "pairs": 0}
    parts: list[Path] = []
    # Texts before pairs: of a passage that is in both the record that knows its document counts.
    if run.inputs.corpus:
        parts.append(folder / "texts.jsonl")
        sources = [_find_source(each, folder, report) for each in run.inputs.corpus]
        built = build_corpus(sources, parts[-1], run.recipe.corpus, evaluation=evaluation)
        figures["rejected"] |= built.rejected
    if run.inputs.pairs:
        parts.append(folder / "answers.jsonl")
        sources = [Path(each) for each in run.inputs.pairs]
        languages = run.recipe.corpus.languages
        figures["pairs"], left_out = convert_pairs(
            sources, parts[-1], run.written, languages=languages, evaluation=evaluation
        )
        figures["rejected"] |= left_out
        report(f"{figures['pairs']:,} pairs")
        if not figures["pairs"]:
            why = ", ".join(f"{reason}: {count:,}" for reason, count in left_out.items())
            raise UsageError(f"{', '.join(run.inputs.pairs)}: no pair is left ({why})")
    else:
        run.written.unlink(missing_ok=True)
    spoken: Counter[str] = Counter()
    with RecordWriter(run.passages) as writer:
        for passage in _iterate_once(parts):
            spoken[passage.language] += 1
            writer.write(passage)
    for part in (*parts, folder / "index.jsonl"):
        part.unlink(missing_ok=True)
    return figures | {"passages": spoken.total(), "languages": dict(spoken.most_common())}


def augment(run: RunFolder, report: Report) -> Figures:
    """Queries of every kind, then the split of what trains from what measures, then the LLM's orders."""
    from trainer.augment.run import crop_passages, invent_triplets, rerank_queries, write_queries

    recipe, seed = run.recipe.augment, run.recipe.seed
    tallies: dict[str, Tally] = {}
    if "crop" in recipe.kinds and recipe.crops:
        tallies["crop"] = crop_passages(run.passages, run.crops, recipe, seed=seed, report=report)
    written = recipe.queries and set(recipe.kinds) - {"crop"}
    generator = open_llm(run) if written or recipe.triplets or recipe.reranked else None
    try:
        if generator and written:
            tallies["generated"] = write_queries(
                run.passages, run.generated, recipe, generator, seed=seed, encoder=open_present(run), report=report
            )
        if generator and recipe.triplets:
            tallies["triplets"] = invent_triplets(
                run.passages, run.triplets, run.invented, recipe, generator, seed=seed, most=recipe.triplets,
                report=report,
            )  # fmt: skip
        figures: Figures = divide(
            [each for each in (run.written, run.crops, run.generated, run.triplets) if each.exists()],
            [each for each in (run.passages, run.invented) if each.exists()],
            training_queries=run.training_queries, training_passages=run.training_passages,
            development=run.development, held_out=run.recipe.evaluate.held_out, most=run.recipe.evaluate.queries,
            seed=seed,
        )  # fmt: skip
        if generator and recipe.reranked:
            tallies["reranked"] = rerank_queries(
                run.training_queries, run.training_passages, run.reranked, generator, open_present(run),
                work=run.vectors / "present", most=recipe.reranked, report=report,
            )  # fmt: skip
    finally:
        if generator:
            generator.close()
    return figures | {"tallies": {kind: tally.as_row() for kind, tally in tallies.items()}}


def mine(run: RunFolder, report: Report) -> Figures:
    """Training groups of the queries that train; what the LLM put in order comes behind them."""
    from trainer.mine import mine as mine_groups

    evaluation = _read_evaluation(run)
    found = mine_groups(
        read_records(run.training_queries, Query), run.training_passages, open_present(run), run.recipe.mine, run.mined,
        work=run.vectors / "present", evaluation=evaluation, report=report,
    )  # fmt: skip
    kinds: Counter[str] = Counter()
    with RecordWriter(run.groups) as writer:
        for group in chain.from_iterable(read_records(path, TrainingGroup) for path in (run.mined, run.reranked)
                                         if path.exists()):  # fmt: skip
            if text_id(group.query) not in evaluation:
                kinds[group.kind] += 1
                writer.write(group)
    run.mined.unlink()
    return {
        "groups": kinds.total(), "kinds": dict(kinds), "positives": found.positives, "negatives": found.negatives,
        "rejected": dict(found.rejected), "passed_over": dict(found.passed_over),
    }  # fmt: skip


def prune(run: RunFolder, report: Report) -> Figures:
    """The network to train, out of the LLM or the present retriever."""
    from trainer.backbone import load_backbone
    from trainer.prune.run import prune_backbone

    report("loading the backbone")
    weights = Path(run.inputs.weights) if run.inputs.weights else None
    languages = run.recipe.augment.languages or run.recipe.corpus.languages
    checkpoint = prune_backbone(
        load_backbone(name_source(run), weights=weights), run.training_passages, run.recipe.prune, run.backbone,
        seed=run.recipe.seed, languages=languages, report=report,
    )  # fmt: skip
    return {"origin": checkpoint.origin.name} | dict(checkpoint.metrics)


def train(run: RunFolder, report: Report) -> Figures:
    """The contrastive stage."""
    from accelerate import PartialState

    from trainer.backbone import load_backbone
    from trainer.train.data import load_data
    from trainer.train.run import train as train_network

    with PartialState().main_process_first():
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
        evaluation=_read_evaluation(run), teacher=_read_teacher(run, report),
    )  # fmt: skip
    network = _start_network(run, backbone, data, recipe, report)
    origin = replace(
        backbone.origin, query_prefix=recipe.query_prefix, passage_prefix=recipe.passage_prefix,
        dims=recipe.widths or (network.config.dim,), max_tokens=min(512, network.config.max_tokens),
    )  # fmt: skip
    last: list[Progress] = []

    def tell(progress: "Progress") -> None:
        last[:] = [progress]
        report(describe_progress(progress))

    checkpoint = train_network(
        network, data, recipe, run.training, tokenizer=backbone.tokenizer, origin=origin, report=tell
    )
    parameters = sum(each.numel() for each in network.parameters())
    return {"steps": checkpoint.step, "parameters": parameters} | (_summarise(last[0]) if last else {})


def _start_network(
    run: RunFolder, backbone: "Backbone", data: "TrainingData", recipe: "TrainRecipe", report: Report
) -> "Network":
    """The backbone as an encoder, with a fitted head if the recipe asks for one."""
    from accelerate import PartialState

    from trainer.train.head import HEAD, add_head

    network = prepare_network(backbone, rounded=recipe.freeze_tokens, bits=run.recipe.export.table_bits)
    if not recipe.head:
        return network
    with PartialState().main_process_first():  # the others read what the first has fitted
        return add_head(network, data, recipe, run.training / HEAD, report=report)


def _summarise(progress: "Progress") -> Figures:
    """Loss, speed and memory at the end."""
    return {
        "loss": round(progress.loss, 4), "tokens_per_second": round(progress.tokens_per_second),
        "gemm_share": round(progress.gemm_share, 3), "memory": progress.memory,
    }  # fmt: skip


def export(run: RunFolder, report: Report) -> Figures:
    """The retriever folder, at the precision that the development sets allow."""
    from trainer.backbone import load_backbone
    from trainer.card import summarise_stages
    from trainer.export import export_gated
    from trainer.gate import read_development
    from trainer.retriever_files import Label, make_name

    counted = run.done.get("corpus", {}).get("languages", {})
    label = Label(
        name=make_name(run.recipe.name), version="1", made=summarise_stages(run.done), notices=_read_notices(run),
        languages=tuple(name for name, count in counted.items() if name and count >= _SAMPLE),
    )  # fmt: skip
    texts = [passage.embedded for passage in islice(read_records(run.training_passages, Passage), _SAMPLE)]
    _, gate = export_gated(
        load_backbone(run.training / "final"), run.retriever, label, run.recipe.export,
        development=read_development(run.development), texts=texts, report=report,
    )  # fmt: skip
    return gate


def evaluate(run: RunFolder, report: Report) -> Figures:
    """After and before, on the development sets and on test sets if there are any."""
    from trainer.compare import evaluate_contestants, evaluation_json
    from trainer.contestants import SHIPPED, open_contestant

    widths = run.recipe.evaluate.widths
    contestants = [open_contestant(run.retriever, widths=widths), open_contestant(run.inputs.retriever or SHIPPED)]
    found: Figures = {}
    tests = Path(run.inputs.sets) if run.inputs.sets else None
    for name, folder in (("development", run.development), ("tests", tests)):
        if folder and folder.is_dir():
            evaluation = evaluate_contestants(
                contestants, folder, modes=("meaning", "fused"), report=report,
                limit_queries=run.recipe.evaluate.limit_queries or None,
            )  # fmt: skip
            found[name] = evaluation_json(evaluation)
    run.evaluation.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return {name: row["means"] for name, row in found.items()}


def report(run: RunFolder, report: Report) -> Figures:
    """The page for people."""
    from trainer.report import write_report

    missing = write_report(run.path, run.report)
    report(f"{run.report}")
    return {"missing": missing}


def open_present(run: RunFolder) -> "Encoder":
    """The present retriever."""
    from drama_app.embed import open_retriever

    return open_retriever(Path(run.inputs.retriever) if run.inputs.retriever else None)


def open_llm(run: RunFolder) -> "Generator":
    """The local LLM."""
    from trainer.augment.llm import open_generator

    model = Path(run.inputs.local_llm) if run.inputs.local_llm and not run.inputs.llm_url else None
    return open_generator(model, url=run.inputs.llm_url, url_model=run.inputs.llm_model)


def name_source(run: RunFolder) -> str:
    """Where the weights to start from are.

    Raises:
        UsageError: The recipe starts from the local LLM, and there is none here.
    """
    named = run.inputs.backbone or run.recipe.backbone
    if named == "retriever":
        from drama_app.retriever import default_retriever_folder

        return run.inputs.retriever or str(default_retriever_folder())
    if named != "llm":
        return named
    if not run.inputs.local_llm:
        raise UsageError("the recipe prunes the local LLM: name it (--local-llm FILE), or another network (--backbone)")
    return run.inputs.local_llm


def prepare_network(backbone: "Backbone", *, rounded: bool, bits: int) -> "Network":
    """The backbone's network as an encoder: it looks both ways and predicts no token.

    Args:
        backbone: Loaded.
        rounded: Round the token table as it will be stored, so that a frozen one loses nothing at the export.
        bits: Of the stored table.
    """
    import torch

    from trainer.encoder import EncoderConfig
    from trainer.network import change_network
    from trainer.onnx_graph import round_table

    network = backbone.network
    if isinstance(network.config, EncoderConfig):
        network = change_network(network, causal=False, lm_head="none")
    if rounded:
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
    """Empty the folder of the training if groups, passages or network were others when it began."""
    from trainer.checkpoint import TOKENIZER, WEIGHTS

    key = make_key(run.groups, run.training_passages, run.backbone / WEIGHTS, run.backbone / TOKENIZER)
    path = run.training / "inputs.key"
    if path.is_file() and path.read_text(encoding="utf-8") != key:
        report("groups or network have changed: training begins anew")
        shutil.rmtree(run.training)
    if not path.is_file():
        run.training.mkdir(parents=True, exist_ok=True)
        path.write_text(key, encoding="utf-8")


def _read_notices(run: RunFolder) -> tuple[str, ...]:
    """Those of the data."""
    return (Path(run.inputs.notice).read_text(encoding="utf-8").strip(),) if run.inputs.notice else ()


def _read_evaluation(run: RunFolder) -> Mapping[str, str]:
    from trainer.overlap import collect_ids

    return collect_ids(Path(run.inputs.sets)) if run.inputs.sets else NOTHING


def _find_source(name: str, folder: Path, report: Report) -> Path:
    """A corpus as a path; the app's own index is written out first."""
    if name != OWN_INDEX:
        return Path(name)
    from trainer.own_index import write_index_texts

    texts = folder / "index.jsonl"
    report(f"{write_index_texts(texts):,} passages from the app's index")
    return texts


def _iterate_once(paths: Iterable[Path]) -> Iterator[Passage]:
    seen: set[str] = set()
    for path in paths:
        for passage in read_records(path, Passage):
            if passage.id not in seen:
                seen.add(passage.id)
                yield passage


def _read_teacher(run: RunFolder, report: Report) -> "TeacherVectors | None":
    """The present retriever's embeddings of groups and passages, if the recipe distils."""
    if not (run.recipe.train.embedding_weight or run.recipe.train.score_weight):
        return None
    from accelerate import PartialState

    from trainer.retrieve import encode_corpus, encode_passages
    from trainer.train.data import TeacherVectors

    teacher = open_present(run)
    with PartialState().main_process_first():  # the others map what the first has written
        queries = encode_corpus(
            teacher.encode_queries, (group.query for group in read_records(run.groups, TrainingGroup)),
            run.vectors / "teacher" / "queries.f16", key=make_key(teacher.fingerprint, teacher.dim, run.groups),
            report=lambda count: report(f"the teacher has read {count:,} queries"),
        )  # fmt: skip
        # Mining left the passages' vectors there.
        passages = encode_passages(teacher, run.training_passages, run.vectors / "present", report=report)
    return TeacherVectors(queries=queries, passages=passages)
