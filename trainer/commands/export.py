"""The `export` verb: a retriever folder, and a GGUF for other tools, out of any network. It measures nothing itself."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from drama_app.config import expand_home
from drama_app.errors import UsageError
from trainer.narration import Narrator, say, show_progress
from trainer.options import positive
from trainer.recipe import PRECISIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer.backbone import Backbone
    from trainer.gate import DevelopmentSet
    from trainer.recipe import ExportRecipe
    from trainer.retriever_files import Label
    from trainer.run_folder import RunFolder

NAME = "export"
HELP = "make a retriever folder, or a GGUF, of a run, a checkpoint, a model folder or a GGUF"
_SPECIMENS = 64
"""Passages to calibrate on."""


def declare(verb: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add = verb.add_argument
    add("source", metavar="SOURCE",
        help="a run (its trained network, else its backbone), a checkpoint, a folder of transformers, OWNER/NAME on "
        "the Hugging Face hub such as facebook/drama-base, a GGUF, or a retriever folder")  # fmt: skip
    add("--out", type=Path, metavar="FOLDER", help="the retriever folder to write; an earlier one there is replaced")
    add("--weights", type=Path, metavar="FILE", help="training weights of a retriever folder, if they are not in it")
    add("--name", help="what the retriever is called; default: by its source")
    add("--version", help="default: 1, or the source's own")
    add("--sets", type=Path, metavar="DIR",
        help="development sets in BEIR layout, by which the precision is chosen; default: the run's own")  # fmt: skip
    add("--limit-queries", type=positive, metavar="N", help="the first N queries of a set; default: 200")
    add("--widths", type=_widths, metavar="N,N", help="widths that vectors may be cut to; default: those trained")
    add("--precision", choices=PRECISIONS,
        help="auto (the default) tries the others in this order and takes the first by which no language loses more "
        "than --largest-loss")  # fmt: skip
    add("--table-bits", type=int, choices=(2, 4, 8, 32), help="of the token table; default: 4, then 8")
    add("--largest-loss", type=float, metavar="X", help="nDCG@10 that a language may lose; default: 0.01")
    add("--whitening", type=float, metavar="X",
        help="even the directions of the vectors out, measured on texts of the run: each divided by its deviation to "
        "this power, 0 to 1; default: the run's recipe's, else 0")  # fmt: skip
    add("--notice", type=Path, metavar="FILE", help="licences and notices of the data, for NOTICE and card")
    add("--without-weights", action="store_true",
        help="leave out the float16 weights for further training, which the app does not need")  # fmt: skip
    add("--gguf", type=Path, metavar="FILE", help="also, or only, write a GGUF for llama.cpp and what is built on it")
    add("--gguf-type", choices=("f16", "f32", "q8_0"), default="f16", help="of the GGUF's matrices; default: f16")
    add("--without-head", action="store_true",
        help="leave the linear head after pooling out of the GGUF, which has no place for it; its vectors are then "
        "others than the retriever's, of the full width only")  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    if not (options.out or options.gguf):
        raise UsageError("name what to write: --out FOLDER, --gguf FILE, or both")
    from trainer.backbone import load_backbone
    from trainer.model_files import merge_notices
    from trainer.stages import even_out
    from trainer.terms import state_anew

    own = _open_run(options.source)
    recipe = _choose_recipe(options, own)
    development = _read_development(options, own) if options.out else ()
    notices = _read_notices(options, own)  # bad options are told before a network is loaded
    _check_places(options)
    source = _find_network(options.source, own)
    say(f"reading {source}")
    backbone = _look_both_ways(load_backbone(source, weights=options.weights))
    origin = state_anew(own, backbone.origin) if own else backbone.origin
    origin = replace(origin, notices=merge_notices((*origin.notices, *notices)))
    backbone = replace(backbone, origin=origin)  # a GGUF tells them too
    if options.gguf:
        _check_gguf(backbone, options.without_head)
    if options.out:
        label = replace(_make_label(options, own, backbone), dims=options.widths or ())
        _tell_untrained(options.widths or recipe.widths, backbone)
        texts = _collect_texts(own, development)
        evened, made = even_out(own, backbone, recipe, say) if own else (backbone, {})
        if evened is not backbone and options.gguf:
            say("the GGUF has the vectors as they were trained, not evened out: others than the folder's")
        label = replace(label, made={**label.made, **made})
        _write_folder(options, evened, label, recipe, development, texts)
    if options.gguf:
        from trainer.gguf_export import write_checked_gguf

        told = write_checked_gguf(backbone, options.gguf, kind=options.gguf_type, without_head=options.without_head)
        say(told)
        sys.stdout.write(f"{options.gguf}\n")
    return 0


def _write_folder(
    options: argparse.Namespace, backbone: "Backbone", label: "Label", recipe: "ExportRecipe",
    development: "Sequence[DevelopmentSet]", texts: "Sequence[str]",
) -> None:  # fmt: skip
    from trainer.export import export_gated, tell_trial

    if not development:
        say("no development sets (--sets DIR): how it is stored is checked by cosine, not by nDCG@10")
    retriever, gate = export_gated(
        backbone, options.out, label, recipe, development=development, texts=texts,
        with_weights=not options.without_weights, report=Narrator(NAME),
    )  # fmt: skip
    show_progress("")
    for each in gate["tried"]:
        say(tell_trial(each))
    scores = f", nDCG@10 {gate['ndcg10']:.4f} against {gate['ndcg10_float32']:.4f} in float32" if development else ""
    say(f"{retriever.name} {retriever.version}: {gate['chosen']}{scores}")
    say(f"The app takes it with: drama-app model use {options.out}")
    sys.stdout.write(f"{options.out}\n")


def _open_run(source: str) -> "RunFolder | None":
    from trainer.run_folder import RunFolder

    folder = expand_home(source)
    return RunFolder.open(folder) if (folder / "run.json").is_file() else None


def _find_network(source: str, own: "RunFolder | None") -> str:
    """Where the network of a source is."""
    from trainer.checkpoint import FINAL, find_latest, is_checkpoint

    if own is None:
        return source
    if is_checkpoint(own.training / FINAL):
        return str(own.training / FINAL)
    if latest := find_latest(own.training):
        say(f"the training was stopped at step {latest.step:,}; to end it: drama-train --out {own.path} --resume")
        return str(latest.folder)
    if is_checkpoint(own.backbone):
        say("nothing is trained yet; this is what the steps would start from")
        return str(own.backbone)
    raise UsageError(f"{own.path}: this run has no network yet; go on with it: drama-train --out {own.path} --resume")


def _choose_recipe(options: argparse.Namespace, own: "RunFolder | None") -> "ExportRecipe":
    from trainer.recipe import ExportRecipe

    if options.whitening and not own:
        raise UsageError(f"--whitening is measured on the texts of a run, and {options.source} is none")
    if options.whitening and not options.out:
        raise UsageError("--whitening is for a retriever folder (--out): a GGUF has no place for what it makes")
    named = {name: getattr(options, name) for name in ("precision", "table_bits", "largest_loss", "whitening")}
    changes = {name: value for name, value in named.items() if value is not None}
    if options.widths:
        changes |= {"widths": options.widths, "default_width": 0}
    try:
        return replace(own.recipe.export if own else ExportRecipe(), **changes)
    except ValueError as error:
        told = str(error).replace("'largest_loss'", "--largest-loss").replace("'whitening'", "--whitening")
        raise UsageError(told) from error


def _read_development(options: argparse.Namespace, own: "RunFolder | None") -> "Sequence[DevelopmentSet]":
    from trainer.evaluate import find_sets
    from trainer.gate import QUERIES, read_development

    if options.sets:
        find_sets(options.sets)  # sets that were named must be there
    folder = options.sets or (own.development if own else None)
    return read_development(folder, queries=options.limit_queries or QUERIES) if folder else ()


def _read_notices(options: argparse.Namespace, own: "RunFolder | None") -> tuple[str, ...]:
    from trainer.terms import name_models

    path = options.notice or (Path(own.inputs.notice) if own and own.inputs.notice else None)
    models = name_models(own) if own else ()
    if path is None:
        return models
    try:
        return (path.read_text(encoding="utf-8").strip(), *models)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read ({error})") from error


def _check_places(options: argparse.Namespace) -> None:
    from trainer.retriever_files import check_place

    # "." has no name to write another folder beside it, and what was there is gone once that is in its place.
    options.out, options.gguf = (each and each.resolve() for each in (options.out, options.gguf))
    if options.out:
        check_place(options.out)
    if options.gguf and (options.gguf.is_dir() or not options.gguf.parent.is_dir()):
        raise UsageError(f"{options.gguf}: name a file in a folder that is there")


def _check_gguf(backbone: "Backbone", without_head: bool) -> None:
    """Tell what llama.cpp does not have now, not behind a folder that took minutes."""
    from trainer.gguf_export import check_gguf

    check_gguf(backbone, without_head=without_head)


def _look_both_ways(backbone: "Backbone") -> "Backbone":
    """An LLM as it comes, made an encoder; what was trained as one already is one."""
    from trainer.encoder import EncoderConfig
    from trainer.network import change_network

    config = backbone.config
    if not isinstance(config, EncoderConfig) or (config.lm_head == "none" and not config.causal):
        return backbone
    say("this is a language model, not a retriever: it is exported bidirectional and mean pooled, but untrained")
    return replace(backbone, network=change_network(backbone.network, causal=False, lm_head="none"))


def _make_label(options: argparse.Namespace, own: "RunFolder | None", backbone: "Backbone") -> "Label":
    """Name, version, languages and licence: as told, else by the source."""
    from drama_app.retriever import DESCRIPTION, open_retriever_folder
    from trainer.card import summarise_stages
    from trainer.checkpoint import is_checkpoint
    from trainer.retriever_files import Label, make_name

    folder = expand_home(options.source)
    languages = own.list_languages() if own else ()
    name, version = own.recipe.name if own else folder.stem if folder.is_file() else folder.name, "1"
    if is_checkpoint(folder):
        name = backbone.origin.name  # such folders are called "final" or by their step
    default, max_tokens = 0, min(512, backbone.origin.max_tokens)
    if (folder / DESCRIPTION).is_file():
        before = open_retriever_folder(folder)
        name, version, languages = before.name, before.version, before.languages_counted
        default, max_tokens = before.default_dim if not options.widths else 0, before.max_tokens
    return Label(
        name=options.name or make_name(name),
        version=options.version or version, languages=languages, default_dim=default, max_tokens=max_tokens,
        made=summarise_stages(own.list_done("export")) if own else {"exported from": options.source},
    )  # fmt: skip


def _tell_untrained(widths: "Sequence[int]", backbone: "Backbone") -> None:
    trained = max(backbone.origin.dims, default=backbone.config.dim)
    if trained < max(widths, default=0) <= backbone.config.dim:
        say(f"width {max(widths)} is more than the source was trained for ({trained}): what is beyond was never taught")


def _collect_texts(own: "RunFolder | None", development: "Sequence[DevelopmentSet]") -> "list[str]":
    """Passages to calibrate on: the run's, else the last of each development set, which answer nothing as a rule."""
    from itertools import islice

    from trainer.records import Passage, read_records

    if own and own.training_passages.is_file():
        return [each.embedded for each in islice(read_records(own.training_passages, Passage), _SPECIMENS)]
    share = -(-_SPECIMENS // max(1, len(development)))
    return [text for each in development for text in each.passages[-share:]]


def _widths(text: str) -> tuple[int, ...]:
    return tuple(positive(part) for part in text.split(","))
