"""Owns where a network comes from: a GGUF, a `transformers` folder, a released DRAMA checkpoint, an earlier run, or a
retriever folder with its training weights. All become one network with its tokenizer and its origin.

It runs no code out of a folder and opens no pickle. It fetches only what is named as OWNER/NAME on the command line.
"""

import hashlib
import logging
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drama_app.config import expand_home, load_settings
from drama_app.errors import RetrieverError, UsageError
from drama_app.retriever import DESCRIPTION, MODEL, open_retriever_folder
from trainer.bidirectional import BidirectionalConfig
from trainer.checkpoint import (
    FINAL,
    TABLE,
    TOKENIZER,
    WEIGHTS,
    Origin,
    fill_network,
    find_latest,
    find_table,
    is_checkpoint,
    load_network,
    open_checkpoint,
    read_tensors,
    save_checkpoint,
)
from trainer.encoder import EncoderConfig
from trainer.gguf_header import read_header
from trainer.model_files import (
    CONFIG,
    describe_model,
    list_weights,
    merge_notices,
    name_folder,
    read_json,
    read_licence,
    read_licence_text,
    read_notice,
    read_prefixes,
    read_special,
    refuse_other_embeddings,
    refuse_other_pooling,
)
from trainer.network import Network, NetworkConfig, parse_config
from trainer.translate import count_position_offset, translate_config, translate_weights

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)

_FORM = 2
"""Of what is kept of a GGUF: since 2 with its rotations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backbone:
    """A network ready to be trained, pruned or exported."""

    network: Network
    tokenizer: Path
    """Its `tokenizer.json`."""
    origin: Origin

    @property
    def config(self) -> NetworkConfig:
        """The network's shape."""
        return self.network.config

    @property
    def query_prefix(self) -> str:
        """What stands before a question."""
        return self.origin.query_prefix


def load_backbone(
    source: Path | str, *, weights: Path | None = None, cache: Path | None = None, embeds: bool = False
) -> Backbone:
    """Load a network from wherever it is.

    Args:
        source: A GGUF file, a folder, or OWNER/NAME on the Hugging Face hub.
        weights: Training weights of a retriever folder; None looks in the folder and beside it.
        embeds: Its own vectors are wanted: refuse an embedder that does more than take the mean of tokens.
        cache: Directory for what is costly to make again (a GGUF takes 20 to 60 s each time); None is the user's.

    Raises:
        RetrieverError: It is not there, not whole, or not a network that the trainer computes.
        UsageError: As `refuse_weights`.
    """
    path = expand_home(source)
    refuse_weights(path, weights)
    if path.is_file():
        return _load_file(path, cache or load_settings().cache_folder / "backbones")
    if not path.is_dir():
        if re.fullmatch(r"[\w.-]+/[\w.-]+", str(source)):
            path = _fetch(str(source))
        else:
            raise RetrieverError(f"{source}: no such file or folder")
    if embeds:
        refuse_other_embeddings(path)
    if is_checkpoint(path):
        return _load_checkpoint(path)
    if (path / DESCRIPTION).is_file():
        return _load_retriever(path, weights)
    if (path / CONFIG).is_file():
        name = name_folder(path) if expand_home(source).is_dir() else str(source)
        return _load_folder(path, cache or load_settings().cache_folder / "backbones", name=name)
    if trained := _find_trained(path):
        return _load_checkpoint(trained)
    raise RetrieverError(f"{path}: neither a checkpoint, a retriever folder nor a model folder ({CONFIG} is missing)")


def refuse_weights(source: Path, weights: Path | None) -> None:
    """See that weights are named for a retriever folder: whatever else there is has its own, and would be taken.

    Raises:
        UsageError: They are named for something else.
    """
    if weights and not (source / DESCRIPTION).is_file():
        raise UsageError(
            f"{source}: is no retriever folder, and --weights is for these; name the folder, or leave it out"
        )


def _find_trained(run: Path) -> Path | None:
    """What a run has come to: its finished network, else its last step, else what it would start from."""
    for training in (run / "train", run):
        if is_checkpoint(training / FINAL):
            return training / FINAL
        if latest := find_latest(training):
            return latest.folder
    return run / "backbone" if is_checkpoint(run / "backbone") else None


def _load_file(path: Path, cache: Path) -> Backbone:
    folder = place_gguf(path, cache)
    if not (folder / "complete.json").is_file():
        logger.info("Reading %s once; later it opens at once from %s", path, folder)
        # What an older version kept did not see how rotations are stretched.
        shutil.rmtree(cache / folder.name.replace(f"gguf-{_FORM}-", "gguf-"), ignore_errors=True)
        _convert_gguf(path, folder)
    return _load_checkpoint(folder)


def place_gguf(path: Path, cache: Path) -> Path:
    """Where the network of a GGUF is kept as float32, by the file's content.

    Raises:
        RetrieverError: The file is no GGUF.
    """
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise RetrieverError(f"{path}: not a GGUF file; give a GGUF, a model folder, a run or a retriever folder")
        file.seek(0)
        return cache / f"gguf-{_FORM}-{hashlib.file_digest(file, 'sha256').hexdigest()[:24]}"


def _convert_gguf(path: Path, folder: Path) -> None:
    """Dequantise a GGUF through `transformers` and keep it as a checkpoint."""
    header = read_header(path)
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]  # drama tells how far it is
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            path.parent, gguf_file=path.name, dtype=torch.float32, output_loading_info=True
        )
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    except (ValueError, RuntimeError, KeyError, OSError, AssertionError) as error:
        raise RetrieverError(f"{path}: cannot be read ({str(error)[:200]})") from error
    model, found = loaded
    if missing := sorted(name for name in found["missing_keys"] if not name.startswith("lm_head")):
        raise RetrieverError(f"{path}: lacks {missing[0]}; it is not whole, fetch it again")
    stated = model.config.to_dict()
    config = translate_config(stated)
    assert isinstance(config, EncoderConfig)
    config = replace(config, rope_scaling=header.config.rope_scaling)
    # transformers ties what a GGUF has no output matrix for, whatever its config says.
    tensors = translate_weights(config, model.state_dict())
    network = fill_network(config, {name: tensor.clone() for name, tensor in tensors.items()}, str(path))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / TOKENIZER).write_text(tokenizer.backend_tokenizer.to_str(), encoding="utf-8")
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    origin = describe_model(stated | {"pad_token_id": pad}, path.stem, header.licence, config)
    save_checkpoint(folder, network, tokenizer=folder / TOKENIZER, origin=origin)


def _load_checkpoint(folder: Path) -> Backbone:
    checkpoint = open_checkpoint(folder)
    return Backbone(
        network=load_network(checkpoint, table=find_table(folder)),
        tokenizer=checkpoint.tokenizer,
        origin=checkpoint.origin,
    )


def _load_folder(folder: Path, cache: Path, *, name: str) -> Backbone:
    """A folder as `transformers` and its hub have it."""
    stated = read_json(folder / CONFIG)
    config = translate_config(stated)
    tensors = translate_weights(config, _read_shards(folder), offset=count_position_offset(stated))
    if isinstance(config, EncoderConfig) and config.lm_head == "own" and "lm_head.weight" not in tensors:
        config = replace(config, lm_head="none")  # saved by a headless model: an embedder, as a rule
    network = fill_network(config, tensors, str(folder))
    refuse_other_pooling(folder, config)
    origin = describe_model(read_special(folder, stated), name, read_licence(folder), config)
    notices = merge_notices((*origin.notices, *read_notice(folder)))
    origin = read_prefixes(folder, replace(origin, licence_text=read_licence_text(folder), notices=notices))
    return Backbone(network=network, tokenizer=_find_tokenizer(folder, cache), origin=origin)


def _load_retriever(folder: Path, weights: Path | None) -> Backbone:
    """A retriever folder: body from its training weights, token table from the graph if they lack it."""
    retriever = open_retriever_folder(folder)
    beside = folder.parent / f"{retriever.name}-v{retriever.version}.safetensors"
    places = [weights] if weights else [folder / WEIGHTS, folder.with_suffix(".safetensors"), beside]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise RetrieverError(f"{folder}: its training weights are neither in it nor beside it; name their file")
    config, tensors = _read_retriever_weights(folder, found, named=weights is not None)
    own = f"{retriever.name} {retriever.version}"
    origin = Origin(
        name=f"{weights.stem}, with the tokenizer of {own}" if weights else own,  # they may be of an earlier version
        licence=retriever.licence,
        notices=read_notice(folder),
        licence_text=read_licence_text(folder),
        query_prefix=retriever.query_prefix,
        passage_prefix=retriever.passage_prefix,
        dims=retriever.dims,
        max_tokens=retriever.max_tokens,
        pad_token_id=retriever.pad_token_id,
    )
    return Backbone(network=fill_network(config, tensors, str(found)), tokenizer=folder / TOKENIZER, origin=origin)


def _read_retriever_weights(folder: Path, weights: Path, *, named: bool) -> tuple[NetworkConfig, "dict[str, Tensor]"]:
    tensors = read_tensors(weights)
    if any(name.startswith("encoder.layer.") for name in tensors):
        shape = BidirectionalConfig(vocab_size=0, hidden_size=1, layers=0, heads=1, ffn_size=0)
        tensors = translate_weights(shape, tensors)
    if TABLE not in tensors:
        tensors[TABLE] = read_table(folder / MODEL)
    if not (folder / CONFIG).is_file():
        return _guess_bidirectional(tensors, folder), tensors
    try:
        config = parse_config(read_json(folder / CONFIG))
    except ValueError as error:
        raise RetrieverError(f"{folder / CONFIG}: {error}") from error
    tensors[TABLE] = tensors[TABLE][:, : config.hidden_size]  # stored in whole blocks
    if isinstance(config, BidirectionalConfig) and named:  # they may be those of its half
        config = replace(config, layers=_count_layers(tensors))
    return config, tensors


def _count_layers(tensors: "Mapping[str, Tensor]") -> int:
    numbers = (name.split(".")[1] for name in tensors if name.startswith("layers."))
    return 1 + max((int(number) for number in numbers if number.isdecimal()), default=-1)


def _guess_bidirectional(tensors: "Mapping[str, Tensor]", folder: Path) -> BidirectionalConfig:
    """The shape of a folder without `config.json`: such as e5-mini 0, whose heads have 32 columns."""
    try:
        vocabulary, hidden = tensors[TABLE].shape
        return BidirectionalConfig(
            vocab_size=vocabulary,
            hidden_size=hidden,
            layers=_count_layers(tensors),
            heads=hidden // 32,
            ffn_size=len(tensors["layers.0.up.weight"]),
            max_tokens=len(tensors["positions.weight"]),
            output_size=len(tensors["head.weight"]) if "head.weight" in tensors else 0,
        )
    except (KeyError, ValueError) as error:
        raise RetrieverError(f"{folder / CONFIG}: missing, and the weights do not tell the network's shape") from error


def read_table(model: Path) -> "Tensor":
    """The token table float32 [vocabulary, H] out of a retriever's graph, as its codes have it.

    Raises:
        RetrieverError: The graph holds no table under the names that `export` writes.
    """
    import numpy as np
    import onnx
    import torch
    from onnx import numpy_helper

    from trainer.token_table import CODES, read_blocks, read_groups

    stored = {one.name: numpy_helper.to_array(one) for one in onnx.load(str(model)).graph.initializer}
    if "word" in stored:
        return torch.from_numpy(stored["word"].copy()).float()
    codes, scales, book = (stored.get(name) for name in ("word_q", "word_scale", "word_book"))
    if codes is not None and book is not None:
        return torch.from_numpy(read_groups(codes, book.reshape(codes.shape[1], CODES, -1)))
    if codes is None or scales is None:
        raise RetrieverError(f"{model}: holds no token table, neither word nor word_q with word_scale or word_book")
    if codes.dtype == np.int8:
        return torch.from_numpy(codes.astype(np.float32) * scales.astype(np.float32))  # [V, H] by [V, 1]
    return torch.from_numpy(read_blocks(codes, scales))


def _fetch(name: str) -> Path:
    """A model of the hub as a folder: from its local copy, or fetched now."""
    from huggingface_hub import snapshot_download

    wanted = ["*.json", "*.safetensors", "LICENSE*", "NOTICE*", "README.md", "tokenizer*", "sentencepiece*", "vocab*"]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted))
    except Exception as error:  # the library's errors and those of its transport share no base
        raise RetrieverError(
            f"{name}: no such folder here, and it could not be fetched ({str(error)[:200]})"
        ) from error


def _read_shards(folder: Path) -> "dict[str, Tensor]":
    tensors: dict[str, Tensor] = {}
    for path in list_weights(folder):
        tensors |= read_tensors(path)
    return tensors


def _find_tokenizer(folder: Path, cache: Path) -> Path:
    """The folder's `tokenizer.json`, or one made of its older form."""
    if (folder / TOKENIZER).is_file():
        return folder / TOKENIZER
    from transformers import AutoTokenizer

    place = cache / f"tokenizer-{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:24]}.json"
    try:
        made = AutoTokenizer.from_pretrained(folder).backend_tokenizer.to_str()
    except (OSError, ValueError, AttributeError, ImportError) as error:
        raise RetrieverError(f"{folder}: {TOKENIZER} is missing and could not be made ({str(error)[:200]})") from error
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(made, encoding="utf-8")
    return place
