"""The whole recipe, and each of its stages alone: options of a run, plan, stages in their order.

Without a verb `drama-train` runs every stage that is not done; `drama-train STAGE RUN` runs that one again.
"""

import argparse
import os
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from drama_app.config import expand_home
from drama_app.errors import DramaError, Interrupted, TrainingError, UsageError
from trainer.assets import find_assets
from trainer.inputs import NAMED
from trainer.narration import Narrator, say, show_progress
from trainer.options import positive
from trainer.recipe import Recipe, read_recipe
from trainer.run_folder import OWN_INDEX, STAGES, Inputs, RunFolder

_DEFAULT = "cpu"
_PATHS = ("sets", "local_llm", "weights", "retriever", "teacher", "notice")
_NEEDS = {"augment": (), "mine": ("augment",), "prune": ("augment",), "train": ("mine", "prune")}
"""The corpus, which has no verb, is built where it is missing."""
_OF_RECIPE = ("recipe", "steps", "queries", "seed", "languages", "no_llm")


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the options of the whole recipe."""
    parser.add_argument("--out", type=Path, metavar="RUN", help="folder of the run: everything that it makes")
    parser.add_argument("--resume", action="store_true", help="go on with the run in that folder")
    parser.add_argument("--dry-run", action="store_true", help="check the inputs, print plan and estimate, do nothing")
    declare_inputs(parser)


def declare_inputs(parser: argparse.ArgumentParser) -> None:
    """Add what a run is made from."""
    add = parser.add_argument_group("what to learn from").add_argument
    add("--corpus", action="append", default=[], metavar="PATH",
        help=f"texts: JSONL (also .zst), .txt, .md, a folder of them, or '{OWN_INDEX}' for what the app has indexed; "
        "may be repeated")  # fmt: skip
    add("--pairs", action="append", default=[], metavar="FILE", help="JSONL with 'query' and 'positive' (and 'lang')")
    add("--sets", metavar="DIR", help="test sets in BEIR layout: none of their texts trains, all are measured")
    add("--languages", metavar="CODES", help="only these, such as de,fr,ja")
    add = parser.add_argument_group("models").add_argument
    add("--local-llm", metavar="FILE", help="GGUF, or a folder of transformers: writes queries, and is pruned")
    add("--llm-url", metavar="URL", help="an OpenAI-compatible endpoint that writes the queries instead")
    add("--llm-model", metavar="NAME", help="its name there; default: the first that it lists")
    add("--no-llm", action="store_true", help="no generated queries")
    add("--backbone", metavar="SOURCE",
        help="what is pruned and trained: 'llm' (the local LLM), 'retriever' (the present one), a GGUF, a folder of "
        "transformers, a checkpoint, a retriever folder; default: the recipe's")  # fmt: skip
    add("--weights", metavar="FILE", help="training weights of a retriever folder, if they are not in it")
    add("--retriever", metavar="FOLDER", help="the present retriever, which mines, teaches and is compared with; "
        "default: the one that is shipped")  # fmt: skip
    add("--teacher", metavar="SOURCE", help="a larger encoder that mines and teaches in its place: a retriever folder, "
        "a checkpoint, a folder of transformers, or a GGUF embedding model")  # fmt: skip
    add = parser.add_argument_group("recipe").add_argument
    add("--recipe", metavar="NAME", help=f"tiny, cpu, adapt, half, gpu, or a TOML file; default: {_DEFAULT}")
    add("--steps", type=positive, metavar="N", help="training steps, in place of the recipe's")
    add("--queries", type=positive, metavar="N", help="queries to generate, in place of the recipe's")
    add("--seed", type=int, metavar="N", help="default: 0")
    add("--notice", type=Path, metavar="FILE", help="licences and notices of the data, for the retriever's NOTICE")


def run(options: argparse.Namespace) -> int:
    """Run every stage that is not done."""
    if options.out is None:
        raise UsageError("name the folder of the run (--out RUN); see `drama-train --help`")
    _refuse_processes()
    folder = _find_run(options)
    show_progress("looking at what is given ...")
    from trainer.input_checks import check
    from trainer.plan import make_plan

    config = check(folder)
    plan = make_plan(folder, config, measure=_measure_rate)
    show_progress("")
    if options.dry_run:
        sys.stdout.write(plan.format())
        return 0
    if plan.stages:
        say(plan.format())
    with _at_work(folder):
        for stage in STAGES:
            if stage not in folder.done:
                run_stage(folder, stage)
    sys.stdout.write(f"{folder.retriever}\n")
    say(f"The report is {folder.report}; the app takes the retriever with: drama-app model use {folder.retriever}")
    return 0


def run_alone(options: argparse.Namespace) -> int:
    """Run one stage of a run; the first begins it."""
    if options.verb != "train":
        _refuse_processes()
    options.resume, options.out = (options.run_folder / "run.json").is_file(), options.run_folder
    folder = _find_run(options)
    folder.forget(options.verb)
    for needed in _NEEDS[options.verb]:
        if needed not in folder.done:
            raise UsageError(f"{folder.path}: '{needed}' comes first: drama-train {needed} {folder.path}")
    from trainer.input_checks import check

    check(folder)
    with _at_work(folder):
        if "corpus" not in folder.done:
            run_stage(folder, "corpus")
        run_stage(folder, options.verb)
    return 0


def run_stage(folder: RunFolder, name: str) -> None:
    """Run a stage and note what came of it."""
    from trainer import stages

    say(f"{name} ...")
    start = time.monotonic()
    how = f"go on with: drama-train --out {shlex.quote(str(folder.path))} --resume"
    try:
        with _noting_time(folder, name, start):
            figures: dict[str, Any] = getattr(stages, "build" if name == "corpus" else name)(folder, Narrator(name))
    except KeyboardInterrupt:
        raise Interrupted(f"stopped; {how}") from None
    except (OSError, DramaError) as error:  # a full disk above all, or a server that broke down
        kind = type(error) if isinstance(error, DramaError) else TrainingError
        raise kind(f"{name}: {str(error).rstrip('.')}; once that is mended {how}") from error
    seconds = time.monotonic() - start
    if _is_helper():
        return
    show_progress("")
    folder.finish(name, seconds, figures)
    told = ", ".join(f"{key} {value:,}" for key, value in figures.items() if isinstance(value, int | float))
    say(f"{name}: done in {seconds:,.0f} s" + (f"; {told}" if told else ""))
    if note := figures.get("note"):
        say(f"{name}: {note}")


@contextmanager
def _at_work(folder: RunFolder) -> Iterator[None]:
    """Begin a run, or take up what has changed in it, and keep others out."""
    if not (folder.path / "run.json").is_file():
        RunFolder.begin(folder.path, folder.recipe, folder.inputs)
    with folder.locked():
        # Now, not when it ends: a stage that is run again and killed leaves files of two kinds.
        if not _is_helper():
            folder.save()
        yield


@contextmanager
def _noting_time(folder: RunFolder, name: str, start: float) -> Iterator[None]:
    """Keeps how long an attempt took that does not end."""
    try:
        yield
    except BaseException:
        with suppress(OSError):  # a full disk is told by who meets it first
            if not _is_helper():
                folder.spend(name, time.monotonic() - start)
        raise


def _is_helper() -> bool:
    """Whether this is one of the further processes of `accelerate launch`."""
    return os.environ.get("RANK", "0") != "0"


def _refuse_processes() -> None:
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise UsageError("only one stage runs on several processes: accelerate launch -m trainer.cli train RUN")


def _find_run(options: argparse.Namespace) -> RunFolder:
    """The run that the options name, begun or not: nothing is written yet."""
    if options.resume:
        folder = RunFolder.open(options.out)
        # A seed of 0 is one; 0 == False.
        named = any(not (getattr(options, name) is None or getattr(options, name) is False) for name in _OF_RECIPE)
        if named and _read_recipe(options) != folder.recipe:
            raise UsageError(f"{options.out}: this run has its recipe; begin another folder for another recipe")
        inputs = _read_inputs(options, folder.inputs)
        for name, stage in folder.find_outdated(inputs).items():
            if not options.verb:
                option = "--" + name.replace("_", "-")
                raise UsageError(f"{options.out}: '{stage}' is done with another {option}; begin another folder for it")
            folder.forget(stage)
        folder.inputs = inputs
        return folder
    RunFolder.refuse_other(options.out)
    return RunFolder(options.out, _read_recipe(options), _read_inputs(options, Inputs()), created=time.time())


def _read_inputs(options: argparse.Namespace, before: Inputs) -> Inputs:
    """The inputs, as the options change them."""
    changes: dict[str, Any] = {}
    for key in _PATHS:
        if value := getattr(options, key):
            changes[key] = _resolve(value)
    for key in ("llm_url", "llm_model"):
        if value := getattr(options, key):
            changes[key] = value
    if options.backbone:
        is_path = options.backbone not in NAMED and expand_home(options.backbone).exists()
        changes["backbone"] = _resolve(options.backbone) if is_path else options.backbone
    for key in ("corpus", "pairs"):
        if values := getattr(options, key):
            changes[key] = tuple(each if each == OWN_INDEX else _resolve(each) for each in values)
    return replace(before, **changes)


def _resolve(path: str) -> str:
    return str(expand_home(path).resolve())


def _read_recipe(options: argparse.Namespace) -> Recipe:
    """The recipe, as the options change it."""
    name = options.recipe or _DEFAULT
    shipped = find_assets("recipes")
    path = Path(name) if name.endswith(".toml") else shipped / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(each.stem for each in shipped.glob("*.toml")))
        raise UsageError(f"{name}: no such recipe; there are {known}, or give a file that ends in .toml")
    recipe = read_recipe(path)
    augment, train = recipe.augment, recipe.train
    if options.no_llm:
        augment = replace(augment, queries=0, reranked=0, triplets=0)
    if options.queries:
        augment = replace(augment, queries=options.queries)
    if options.steps:
        train = replace(train, steps=options.steps, warmup=min(train.warmup, max(1, options.steps // 10)))
    corpus = recipe.corpus
    if options.languages:
        codes = tuple(code.strip() for code in options.languages.split(",") if code.strip())
        if not codes:
            raise UsageError(f"--languages {options.languages!r} names none; it looks like de,fr,ja")
        corpus, augment = replace(corpus, languages=codes), replace(augment, languages=codes)
    seed = recipe.seed if options.seed is None else options.seed
    return replace(recipe, augment=augment, train=train, corpus=corpus, seed=seed)


def _measure_rate() -> float:
    import torch

    from trainer.train.rate import measure_gemm

    on_gpu = torch.cuda.is_available()
    return measure_gemm(torch.device("cuda" if on_gpu else "cpu"), torch.bfloat16 if on_gpu else torch.float32)
