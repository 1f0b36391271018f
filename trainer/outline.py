"""Owns a first look at a backbone: whether it can be used, and its shape, before hours are spent on what leads to it.

It reads headers, not weights, wherever the header tells.
"""

import json
import re
import shutil
from pathlib import Path

from drama_app.config import expand_home, load_settings
from drama_app.errors import RetrieverError, UsageError
from drama_app.retriever import DESCRIPTION
from trainer.gguf_header import read_header
from trainer.network import NetworkConfig
from trainer.recipe import Recipe

_TOKENIZERS = (
    "tokenizer.json",
    "tokenizer.model",
    "sentencepiece.bpe.model",
    "spiece.model",
    "vocab.txt",
    "vocab.json",
)


def read_outline(source: str, *, weights: Path | None = None) -> NetworkConfig:
    """The shape of a network, be it on the hub.

    Raises:
        RetrieverError: There is nothing, or nothing that the trainer computes.
    """
    path = expand_home(source)
    if path.is_file():
        return read_header(path).config
    if not path.is_dir():
        # A path that is mistyped looks like a name on the hub; its folder is there, or its ending tells.
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", source) or path.parent.is_dir() or path.suffix == ".gguf":
            raise RetrieverError(f"{source}: no such file or folder")
        return _read_config(_fetch_config(source))
    config = path / "config.json"
    if config.is_file() and not (path / DESCRIPTION).is_file() and not (path / "checkpoint.json").is_file():
        return _read_folder(path)
    from trainer.backbone import load_backbone

    return load_backbone(source, weights=weights).config


def _read_folder(folder: Path) -> NetworkConfig:
    """A folder of transformers: what is missing in it is told now, not when its weights are read."""
    from trainer.model_files import list_weights, refuse_other_pooling

    config = _read_config(folder / "config.json")
    refuse_other_pooling(folder, config)
    list_weights(folder)
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        raise RetrieverError(f"{folder}: has no tokenizer, not one of {', '.join(_TOKENIZERS)}; fetch the model again")
    return config


def _read_config(path: Path) -> NetworkConfig:
    from trainer.translate import translate_config

    try:
        return translate_config(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError) as error:
        raise RetrieverError(f"{path}: cannot be read ({error})") from error


def _fetch_config(name: str) -> Path:
    """The configuration of a model on the hub, from its local copy or fetched: now, not after hours of other stages."""
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(name, "config.json"))
    except Exception as error:  # the library's errors and those of its transport share no base
        raise RetrieverError(
            f"{name}: no such folder here, and it could not be fetched ({str(error)[:200]})"
        ) from error


def check_room(source: str) -> None:
    """See that a GGUF's weights, which become float32, find room in memory and in the cache.

    Raises:
        UsageError: They do not; the sentence has both figures.
    """
    path = expand_home(source)
    if not path.is_file():
        return
    from trainer.augment.llama_generator import measure_free_memory
    from trainer.backbone import place_gguf

    cache = load_settings().cache_folder / "backbones"
    place = next(each for each in (cache, *cache.parents) if each.exists())
    needed, memory, disk = 4 * read_header(path).weights, measure_free_memory(), shutil.disk_usage(place).free
    if needed <= disk and (not memory or 2 * needed <= memory):
        return
    kept = (place_gguf(path, cache) / "complete.json").is_file()  # by a hash, which takes seconds
    held = needed if kept else 2 * needed  # once as it is read, once as it is kept
    if memory and held > memory:
        raise UsageError(
            f"{path}: its weights take {held >> 20:,} MB of memory as float32, {memory >> 20:,} MB are free; name a "
            "smaller network to prune and train with --backbone (this one may still write the queries)"
        )
    if needed > disk and not kept:
        raise UsageError(f"{cache}: needs {needed >> 20:,} MB for the weights of {path}, {disk >> 20:,} MB are free")


def check_shape(config: NetworkConfig, recipe: Recipe) -> None:
    """See that a network can become what a recipe says.

    Raises:
        UsageError: It is too small for it; the sentence names the key.
    """
    from trainer.prune.run import check_prune

    check_prune(config, recipe.prune)
    train = recipe.train
    if train.head and config.output_size:
        raise UsageError("[train] 'head' is for a network that has none; this one has a head: leave the key out")
    if train.token_passes:
        _check_tokens(config, recipe)
    if train.row_weight:
        _check_rows(config, recipe)
    width = train.head or config.output_size or recipe.prune.hidden_size or config.hidden_size
    _check_widths(width, recipe)
    for name in ("query_tokens", "passage_tokens"):
        if getattr(train, name) > config.max_tokens:
            raise UsageError(
                f"[train] '{name}' = {getattr(train, name)}, but the backbone reads {config.max_tokens} tokens"
            )


def _check_widths(width: int, recipe: Recipe) -> None:
    """That what is trained, offered and measured can be cut from embeddings of a width, each from what was before."""
    train, export, measured = recipe.train.widths, recipe.export.widths, recipe.evaluate.widths
    for name, widths in (("train", train), ("export", export), ("evaluate", measured)):
        if wrong := [each for each in widths if not 0 < each <= width]:
            raise UsageError(f"[{name}] 'widths': {wrong[0]} cannot be cut from embeddings, which have {width}")
    if train and export and max(export) > max(train):
        raise UsageError(
            f"[export] 'widths': nothing is trained beyond {max(train)}, so {max(export)} must be among the 'widths' "
            "of [train] or go"
        )
    offered = export or train or (width,)
    named = ", ".join(map(str, offered))
    if recipe.export.default_width and recipe.export.default_width not in offered:
        raise UsageError(f"[export] 'default_width' must be one of {named}")
    if wrong := [each for each in measured if each not in offered]:
        raise UsageError(f"[evaluate] 'widths': {wrong[0]} is not offered ([export] 'widths'), only {named}")


def _check_rows(config: NetworkConfig, recipe: Recipe) -> None:
    prune = recipe.prune
    fewer = prune.method == "spaced-layers" and 0 < prune.layers < config.layers
    if hasattr(config, "kv_heads") or not fewer or 0 < prune.vocabulary < config.vocab_size:
        raise UsageError(
            "[train] 'row_weight' is for a BERT or XLM-R network that lost layers and nothing else: "
            f"[prune] method = 'spaced-layers', 'layers' below {config.layers}, no 'vocabulary'"
        )


def _check_tokens(config: NetworkConfig, recipe: Recipe) -> None:
    if not hasattr(config, "kv_heads"):
        raise UsageError("[train] 'token_passes' is for an LLM's network; this one's table suits its layers already")
    hidden = recipe.prune.hidden_size or config.hidden_size
    if recipe.train.head >= hidden:
        raise UsageError(f"[train] 'head' = {recipe.train.head} leaves no room in token rows of {hidden}")
