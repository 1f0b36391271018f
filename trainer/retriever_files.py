"""Owns the files of a retriever folder that the trainer writes: graph, tokenizer, weights, description, papers.

Everything is written beside the folder and renamed into place. Whether what was written is any good is `export`'s to
find out before that.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from drama_app.errors import UsageError
from drama_app.retriever import DESCRIPTION, MODEL, SCHEMA, TOKENIZER
from trainer.backbone import Backbone
from trainer.card import write_card
from trainer.checkpoint import TABLE, WEIGHTS, write_tensors
from trainer.model_files import CONFIG, merge_notices
from trainer.network import describe_config
from trainer.onnx_graph import Precision
from trainer.onnx_networks import Loudness, write_graph

_LARGEST = (1 << 31) - 1
"""Bytes that one ONNX file can hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What a retriever folder says of itself."""

    name: str
    version: str
    dims: tuple[int, ...] = ()
    """Widths that may be cut to; empty takes those of the network's origin, or its full width."""
    default_dim: int = 0
    max_tokens: int = 512
    languages: tuple[str, ...] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)
    made: Mapping[str, Any] = field(default_factory=dict)
    """What it was made with, for the card: a row a key, a mapping below a key in one line."""
    card: str = ""
    """The text of `card.md`; empty writes one."""
    notices: tuple[str, ...] = ()
    """Of the data, beside those of the backbone."""
    licence: str = ""
    """Its name."""
    licence_text: str = ""
    """What `LICENSE` is to hold; "" is that of the backbone."""


def check_place(folder: Path) -> None:
    """See that a retriever folder may be written there.

    Raises:
        UsageError: Something else is there.
    """
    if folder.is_file():
        raise UsageError(f"{folder}: is a file; name a folder")
    if folder.exists() and not (folder / DESCRIPTION).is_file() and any(folder.iterdir()):
        raise UsageError(f"{folder}: holds other files; name a new folder")


def complete_label(label: Label, backbone: Backbone) -> Label:
    """The label with what the network and its origin say where it says nothing.

    Raises:
        UsageError: Its name or its widths cannot be.
    """
    width, origin = backbone.config.dim, backbone.origin
    for text in (label.name, label.version):
        if not re.fullmatch(r"\w[\w.+-]{0,63}", text):
            raise UsageError(f"{text!r}: a name or version is letters, digits, '.', '+', '-' and '_', at most 64")
    dims = label.dims or origin.dims or (width,)
    if max(dims) > width or min(dims) < 1:
        raise UsageError(f"widths {', '.join(map(str, dims))} cannot be cut from embeddings of {width}")
    default = label.default_dim or max(dims)
    if default not in dims:
        raise UsageError(f"the default width {default} is none of {', '.join(map(str, dims))}")
    return replace(
        label,
        dims=tuple(sorted(dims, reverse=True)),
        default_dim=default,
        max_tokens=min(label.max_tokens, backbone.config.max_tokens),
        licence=label.licence or origin.licence,
    )


def make_name(text: str) -> str:
    """What a retriever may be called after a recipe or a file: other characters become hyphens."""
    return re.sub(r"[^\w.+-]+", "-", text).strip("-.+")[:64] or "retriever"


@contextmanager
def write_beside(folder: Path) -> Iterator[Path]:
    """An empty folder beside one that is to be written; what is left of it goes at the end.

    Raises:
        UsageError: There is no room, or no right to write.
    """
    partial = folder.with_name(f"{folder.name}.partial-{os.getpid()}")
    try:
        partial.mkdir(parents=True)
        yield partial
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_model(
    backbone: Backbone, folder: Path, label: Label, precision: Precision, loudness: Loudness | None
) -> None:
    """The graph and the tokenizer.

    Raises:
        UsageError: The graph is larger than ONNX allows.
    """
    import onnx

    width = max(label.dims)
    model = write_graph(backbone.network, precision, max_tokens=label.max_tokens, width=width, loudness=loudness)
    if model.ByteSize() > _LARGEST:
        raise UsageError(f"this network takes {model.ByteSize() >> 20} MB at this precision, an ONNX file holds 2047")
    onnx.save(model, str(folder / MODEL))
    settings = json.loads(backbone.tokenizer.read_text(encoding="utf-8")) | {"truncation": None, "padding": None}
    compact = json.dumps(settings, ensure_ascii=False, separators=(",", ":"))
    (folder / TOKENIZER).write_text(compact, encoding="utf-8")


def write_weights(backbone: Backbone, folder: Path) -> None:
    """The body in float16; the token table is the graph's."""
    state = backbone.network.state_dict()
    body = {name: tensor.detach().cpu().half().contiguous() for name, tensor in state.items() if name != TABLE}
    write_tensors(body, folder / WEIGHTS)
    (folder / WEIGHTS).chmod(0o644)  # safetensors gives its files to the user alone
    described = json.dumps(describe_config(backbone.config), indent=1)
    (folder / CONFIG).write_text(described, encoding="utf-8")


def write_papers(
    backbone: Backbone, folder: Path, label: Label, precision: Precision, gate: Mapping[str, Any] | None = None
) -> None:
    """Card, metrics, licence, notices; the description last, for it makes the folder one.

    Args:
        backbone: What the folder was made from.
        folder: With graph and tokenizer.
        label: What it says of itself.
        precision: Of the graph.
        gate: What `export_gated` measured.
    """
    described = _describe(backbone, folder, label, precision, gate)
    notices = merge_notices((*backbone.origin.notices, *label.notices))
    measured = dict(label.metrics) | ({"gate": gate} if gate else {})
    size = (folder / MODEL).stat().st_size
    files = {
        "card.md": label.card or write_card(described, made=label.made, gate=gate, notices=notices, size=size),
        "metrics.json": json.dumps(measured, indent=1, ensure_ascii=False),
        "NOTICE": "\n\n".join([f"{label.name} {label.version}, made from {backbone.origin.name}.", *notices]) + "\n",
        DESCRIPTION: json.dumps(described, indent=1, ensure_ascii=False),
    }
    if text := label.licence_text or backbone.origin.licence_text:
        files = {"LICENSE": text} | files
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


def _describe(
    backbone: Backbone, folder: Path, label: Label, precision: Precision, gate: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What `retriever.json` holds."""
    digest = hashlib.sha256()
    for name in (MODEL, TOKENIZER):
        digest.update((folder / name).read_bytes())
    origin = backbone.origin
    head = ", L2 norm, linear head" if backbone.config.output_size else ""
    metrics = dict(label.metrics)
    if gate and "by_language" in gate:
        metrics[f"ndcg@10 by language, development sets, exact ranking, width {gate['width']}"] = gate["by_language"]
    return {
        "schema": SCHEMA,
        "name": label.name,
        "version": label.version,
        "backbone": origin.name,
        "dims": list(label.dims),
        "default_dim": label.default_dim,
        "query_prefix": origin.query_prefix,
        "passage_prefix": origin.passage_prefix,
        "max_tokens": label.max_tokens,
        "pad_token_id": origin.pad_token_id,
        "pooling": f"mean{head} (inside the graph)",
        "output": "not normalised: cut to a width of dims, then L2-normalise",
        "languages_counted": list(label.languages),
        "licence": label.licence,
        "precision": precision.describe(),
        "fingerprint": f"sha256:{digest.hexdigest()}",
        "fingerprint_of": [MODEL, TOKENIZER],
        "metrics": metrics,
    }


def put_in_place(partial: Path, folder: Path) -> None:
    """Rename into place; an earlier folder is gone only once the new one stands."""
    old = folder.with_name(f"{folder.name}.old-{os.getpid()}")
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
