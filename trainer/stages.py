"""Owns how each stage is called on the folder of a run: which files it reads and writes, and what it leaves to tell.

The work itself is the stages' own; here nothing is computed. Every function takes the run and a callback for progress,
and returns figures for `run.json`; called again after a crash it goes on.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drama_app.errors import UsageError
from trainer.development import divide
from trainer.inputs import draw_texts, name_source, open_llm, open_present, open_teacher, read_evaluation
from trainer.records import Passage, Query, RecordWriter, TrainingGroup, read_records, text_id
from trainer.run_folder import OWN_INDEX, RunFolder
from trainer.terms import read_notices, state_anew
from trainer.train_stage import train as train  # the stage of that name

if TYPE_CHECKING:
    from trainer.augment.ledger import Tally
    from trainer.augment.llm import Generator
    from trainer.backbone import Backbone
    from trainer.recipe import ExportRecipe

Report = Callable[[str], None]
Figures = dict[str, Any]

_SAMPLE = 64
"""Passages to calibrate an export on."""
_WRITTEN = {"generated": "queries", "triplets": "triplets"}
_FEW = 10
"""One in so many kept is few: of the worst pair of model and language that was measured 12 of 100 were."""


def build(run: RunFolder, report: Report) -> Figures:
    """Passages from the corpus and from the pairs, each once."""
    from trainer.corpus import build_corpus, convert_pairs

    evaluation, folder = read_evaluation(run), run.passages.parent
    figures: Figures = {"passages": 0, "languages": {}, "rejected": {}, "pairs": 0}
    parts: list[Path] = []
    # Texts before pairs: of a passage that is in both the record that knows its document counts.
    if run.inputs.corpus:
        parts.append(folder / "texts.jsonl")
        sources = [_find_source(each, folder, report) for each in run.inputs.corpus]
        built = build_corpus(sources, parts[-1], run.recipe.corpus, evaluation=evaluation)
        figures |= {"rejected": built.rejected, "cut_off": built.cut_off}
        if built.cut_off:
            most = run.recipe.corpus.most_characters
            report(f"{built.cut_off:,} rows lost what is beyond {most:,} characters; text files are cut into passages")
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
    from trainer.augment.prompts import read_query_prompts, read_triplet_prompts
    from trainer.augment.run import crop_passages, rerank_queries

    recipe, seed = run.recipe.augment, run.recipe.seed
    tallies: dict[str, Tally] = {}
    if "crop" in recipe.kinds and recipe.crops:
        tallies["crop"] = crop_passages(run.passages, run.crops, recipe, seed=seed, report=report)
    written = _asks(run) and _finds_prompts(run, read_query_prompts())
    invents = recipe.triplets and _finds_prompts(run, read_triplet_prompts())
    generator = open_llm(run) if written or invents or recipe.reranked else None
    try:
        if generator:
            tallies |= _generate(run, generator, queries=bool(written), triplets=bool(invents), report=report)
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
    if generator:
        figures["written_by"] = f"{generator.name}, licence {generator.licence or 'not stated'}"
    notes = [note for note in (_note_unspoken(run, written, invents), *map(_note_few, tallies.items())) if note]
    return (
        figures
        | ({"note": "; ".join(notes)} if notes else {})
        | {"tallies": {kind: tally.as_row() for kind, tally in tallies.items()}}
    )


def _generate(
    run: RunFolder, generator: "Generator", *, queries: bool, triplets: bool, report: Report
) -> "dict[str, Tally]":
    from trainer.augment.run import invent_triplets, write_queries

    recipe, seed = run.recipe.augment, run.recipe.seed
    tallies: dict[str, Tally] = {}
    if queries:
        tallies["generated"] = write_queries(
            run.passages, run.generated, recipe, generator, seed=seed, encoder=open_present(run), report=report
        )
    if triplets:
        tallies["triplets"] = invent_triplets(
            run.passages, run.triplets, run.invented, recipe, generator, seed=seed, most=recipe.triplets, report=report
        )
    return tallies


def mine(run: RunFolder, report: Report) -> Figures:
    """Training groups of the queries that train; what the LLM put in order comes behind them."""
    from trainer.augment.triplets import read_near_misses
    from trainer.mine import mine as mine_groups

    evaluation = read_evaluation(run)
    found = mine_groups(
        read_records(run.training_queries, Query), run.training_passages, open_teacher(run), run.recipe.mine, run.mined,
        work=run.vectors / "present", evaluation=evaluation, report=report,
    )  # fmt: skip
    kinds: Counter[str] = Counter()
    misses = read_near_misses(run.invented) if run.recipe.augment.triplets and run.invented.exists() else {}
    with RecordWriter(run.groups) as writer:
        for group in chain.from_iterable(read_records(path, TrainingGroup) for path in (run.mined, run.reranked)
                                         if path.exists()):  # fmt: skip
            if text_id(group.query) not in evaluation:
                kinds[group.kind] += 1
                miss = misses.get(group.positives[0]) if group.kind == "triplet" else None
                writer.write(replace(group, negatives=(miss,), negative_scores=()) if miss else group)
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
        seed=run.recipe.seed, languages=languages, queries=run.training_queries, report=report,
    )  # fmt: skip
    return {"origin": checkpoint.origin.name} | dict(checkpoint.metrics)


def export(run: RunFolder, report: Report) -> Figures:
    """The retriever folder, at the precision that the development sets allow."""
    from trainer.backbone import load_backbone
    from trainer.card import summarise_stages
    from trainer.export import export_gated
    from trainer.gate import read_development
    from trainer.retriever_files import Label, make_name

    backbone, evened = even_out(run, load_backbone(run.training / "final"), run.recipe.export, report)
    label = Label(
        name=make_name(run.recipe.name), version="1", made=summarise_stages(run.list_done("export")) | evened,
        notices=read_notices(run), languages=run.list_languages(),
    )  # fmt: skip
    texts = [passage.embedded for passage in islice(read_records(run.training_passages, Passage), _SAMPLE)]
    _, gate = export_gated(
        replace(backbone, origin=state_anew(run, backbone.origin)), run.retriever, label, run.recipe.export,
        development=read_development(run.development), texts=texts, report=report,
    )  # fmt: skip
    return gate


def even_out(
    run: RunFolder, backbone: "Backbone", recipe: "ExportRecipe", report: Report
) -> "tuple[Backbone, dict[str, Any]]":
    """The network with the directions of its vectors evened out as the recipe says, by texts it trained on; and what
    a card says of that."""
    if not recipe.whitening:
        return backbone, {}
    from trainer.whitening import whiten

    width = max(recipe.widths, default=0)
    texts = draw_texts(run, width or backbone.config.dim)
    evened = whiten(backbone, texts, strength=recipe.whitening, width=width, report=report)
    if evened is backbone:
        return backbone, {}
    return evened, {"whitening": {"strength": recipe.whitening, "texts": len(texts.queries) + len(texts.passages)}}


def evaluate(run: RunFolder, report: Report) -> Figures:
    """After and before, on the development sets and on test sets if there are any."""
    from trainer.compare import evaluate_contestants, evaluation_json
    from trainer.contestants import SHIPPED, keep_widths, open_contestant

    own = open_contestant(run.retriever, widths=run.recipe.evaluate.widths or None)
    present = open_contestant(run.inputs.retriever or SHIPPED, widths=None)
    contestants = [own, keep_widths(present, own.widths)]
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


def _finds_prompts(run: RunFolder, prompts: dict[str, Any]) -> bool:
    """Whether any text is in a language that there are prompts for; a corpus without trains on what else it has."""
    from trainer.augment.prompts import match_language

    spoken = run.done.get("corpus", {}).get("languages", {})
    return not spoken or any(match_language(each, prompts) for each in spoken)


def _asks(run: RunFolder) -> bool:
    return run.recipe.augment.queries > 0 and bool(set(run.recipe.augment.kinds) - {"crop"})


def _note_unspoken(run: RunFolder, written: object, invents: object) -> str:
    """What a person has to know if queries or triplets were asked for and there are no prompts in their languages."""
    lacking = ["queries"] if _asks(run) and not written else []
    lacking += ["triplets"] if run.recipe.augment.triplets and not invents else []
    if not lacking:
        return ""
    spoken = ", ".join(sorted(run.done["corpus"]["languages"]))
    return f"no {' and no '.join(lacking)} were generated, since there are no prompts for {spoken}"


def _note_few(named: "tuple[str, Tally]") -> str:
    """What a person has to know if next to nothing of what the LLM wrote was kept, with the commonest reasons."""
    kind, tally = named
    if kind not in _WRITTEN or tally.kept * _FEW > tally.asked or not tally.asked:
        return ""
    reasons: Counter[str] = Counter()
    for counts in tally.counts.values():
        reasons.update(counts)
    kept = reasons.pop("kept", 0)
    why = ", ".join(f"{reason}: {count:,}" for reason, count in reasons.most_common(3))
    return f"of {tally.asked:,} {_WRITTEN[kind]} that the language model wrote {kept:,} could be kept ({why})"


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
