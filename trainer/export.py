"""Owns the last step: a network and its tokenizer become a retriever folder that the app opens.

It writes beside the folder, opens what it wrote as the app does, encodes sentences with it and with the network, and
only then puts the folder in its place. How good the vectors are is `evaluate`'s to say, not this module's.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from drama_app.embed import OnnxEncoder
from drama_app.errors import RetrieverError, UsageError
from drama_app.retriever import DESCRIPTION, MODEL, SCHEMA, TOKENIZER, Retriever, open_retriever_folder
from trainer.backbone import CONFIG, Backbone
from trainer.checkpoint import TABLE, WEIGHTS
from trainer.network import describe_config
from trainer.onnx_graph import Precision
from trainer.onnx_networks import measure_loudness, write_graph

if TYPE_CHECKING:
    pass

logger = logging.getLogger(__name__)

EXACT_COSINE, ROUNDED_COSINE = 0.99999, 0.97
"""Least mean cosine to the network: on real weights rounding measured 0.987 without any remedy, 0.9985 with all."""
_LARGEST = (1 << 31) - 1
"""Bytes that one ONNX file can hold."""
SENTENCES = (
    "How do bees tell each other where the nectar is?",
    "A waggle dance encodes the direction of the sun and the distance in the length of each run.",
    "Der Nord-Ostsee-Kanal verbindet die Elbe mit der Ostsee.",
    "Combien de temps faut-il pour que le levain soit actif ?",
    "¿Qué documentos hacen falta para renovar el contrato?",
    "Река несёт снег с гор, а хлебу нужны мука и время.",
    "كم يبلغ طول نهر النيل؟",
    "नदी पहाड़ों से बर्फ लाती है और रोटी को आटा चाहिए।",
    "长城是古代军事防御工程。",
    "川は山から雪を運び、パンには小麦粉が必要です。",
    "강은 산에서 눈을 나르고 빵에는 밀가루가 필요하다.",
    "แม่น้ำพาหิมะลงมาจากภูเขา",
    "Mto huleta theluji kutoka milimani.",
    "def search(query): return index.nearest(encode(query), k=10)",
    "Invoice 4711, 3,5 € per kg, due 2024-05-01.",
    "Bread needs flour, water, salt and time. " * 12,
)
"""Texts for calibration and comparison where the caller has none of its own corpus."""


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
    card: str = ""
    """The text of `card.md`; empty writes a plain one."""
    notices: tuple[str, ...] = ()
    """Of the data, beside those of the backbone."""
    licence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How near an exported retriever is to its network: cosines over the sentences compared."""

    mean: float
    least: float


def export_retriever(
    backbone: Backbone,
    folder: Path,
    label: Label,
    *,
    precision: Precision | None = None,
    texts: Sequence[str] = SENTENCES,
    least_cosine: float | None = None,
    with_weights: bool = True,
) -> tuple[Retriever, Agreement]:
    """Write a retriever folder and check it against the network.

    Args:
        backbone: Network, tokenizer and origin.
        folder: Where to; must not exist, or be a retriever folder, which is replaced.
        label: Name, version, widths, metrics, card; `precision` is how weights are stored.
        precision: None is 4-bit rows and int8 products with every remedy.
        texts: Passages to calibrate on and to compare with: of the corpus, if there is one.
        least_cosine: Mean cosine below which nothing is written; None goes by the precision.
        with_weights: Keep the body in float16 too, for further training.

    Raises:
        UsageError: The folder holds something else, or the label does not fit the network.
        RetrieverError: What was written does not agree with the network.
    """
    precision, label = precision or Precision(), _complete(label, backbone)
    _check_place(folder)
    partial = folder.with_name(f"{folder.name}.partial-{os.getpid()}")
    partial.mkdir(parents=True)
    try:
        _write_model(backbone, partial, label, precision, texts)
        if with_weights:
            _write_weights(backbone, partial)
        _write_papers(backbone, partial, label, precision)
        agreement = compare(backbone, open_retriever_folder(partial), texts)
        _judge(agreement, precision, least_cosine)
        _put_in_place(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return open_retriever_folder(folder), agreement


def compare(backbone: Backbone, retriever: Retriever, texts: Sequence[str]) -> Agreement:
    """Cosines between a retriever folder's vectors of passages and those of the network it was made from."""
    written = torch.from_numpy(OnnxEncoder(retriever, dim=max(retriever.dims)).encode_passages(list(texts)))
    tokens = _tokenize(backbone, [retriever.passage_prefix + text for text in texts], retriever.max_tokens)
    network = backbone.network.eval()
    device = next(network.parameters()).device
    with torch.no_grad():
        rows = [network.embed(torch.tensor([ids], device=device))[0, : written.shape[1]].cpu() for ids in tokens]
    cosines = (torch.nn.functional.normalize(torch.stack(rows), dim=-1) * written).sum(1)
    return Agreement(mean=float(cosines.mean()), least=float(cosines.min()))


def _check_place(folder: Path) -> None:
    if folder.is_file():
        raise UsageError(f"{folder}: is a file; name a folder")
    if folder.exists() and not (folder / DESCRIPTION).is_file() and any(folder.iterdir()):
        raise UsageError(f"{folder}: holds other files; name a new folder")


def _complete(label: Label, backbone: Backbone) -> Label:
    """The label with what the network and its origin say where it says nothing."""
    width, origin = backbone.config.dim, backbone.origin
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


def _write_model(backbone: Backbone, folder: Path, label: Label, precision: Precision, texts: Sequence[str]) -> None:
    import onnx

    loudness = None
    if precision.products == "int8" and (precision.smoothing or precision.loud_units):
        prefixed = [backbone.origin.passage_prefix + text for text in texts]
        loudness = measure_loudness(backbone.network.eval(), _tokenize(backbone, prefixed, label.max_tokens))
    model = write_graph(backbone.network, precision, max_tokens=label.max_tokens, loudness=loudness)
    if model.ByteSize() > _LARGEST:
        raise UsageError(f"this network takes {model.ByteSize() >> 20} MB at this precision, an ONNX file holds 2047")
    onnx.save(model, str(folder / MODEL))
    settings = json.loads(backbone.tokenizer.read_text(encoding="utf-8")) | {"truncation": None, "padding": None}
    (folder / TOKENIZER).write_text(json.dumps(settings, ensure_ascii=False), encoding="utf-8")


def _write_weights(backbone: Backbone, folder: Path) -> None:
    """The body in float16; the token table is the graph's."""
    from safetensors.torch import save_file

    state = backbone.network.state_dict()
    body = {name: tensor.detach().cpu().half().contiguous() for name, tensor in state.items() if name != TABLE}
    save_file(body, folder / WEIGHTS)
    described = json.dumps(describe_config(backbone.config), indent=1)
    (folder / CONFIG).write_text(described, encoding="utf-8")


def _write_papers(backbone: Backbone, folder: Path, label: Label, precision: Precision) -> None:
    """`retriever.json`, card, metrics and notices; the description last, for it makes the folder one."""
    digest = hashlib.sha256()
    for name in (MODEL, TOKENIZER):
        digest.update((folder / name).read_bytes())
    origin = backbone.origin
    head = ", L2 norm, linear head" if backbone.config.output_size else ""
    described = {
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
        "metrics": dict(label.metrics),
    }
    notices = list(dict.fromkeys((*origin.notices, *label.notices)))
    files = {
        "card.md": label.card or _write_card(described),
        "metrics.json": json.dumps(dict(label.metrics), indent=1, ensure_ascii=False),
        "NOTICE": "\n\n".join([f"{label.name} {label.version}, made from {origin.name}.", *notices]) + "\n",
        DESCRIPTION: json.dumps(described, indent=1, ensure_ascii=False),
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


def _write_card(described: Mapping[str, Any]) -> str:
    widths = ", ".join(map(str, described["dims"]))
    asked = f"`{described['query_prefix']}` before a question" if described["query_prefix"] else "no prefix"
    return "\n".join(
        [
            f"# {described['name']}, version {described['version']}",
            "",
            f"A retriever made from {described['backbone']}.",
            "",
            f"- **Use**: {asked}; cut the output to {widths} numbers, then normalise; cosine.",
            f"- **Texts**: up to {described['max_tokens']} tokens; what is longer is cut.",
            f"- **Stored as**: {described['precision']}.",
            f"- **Licence**: {described['licence'] or 'not stated by the backbone'}; see `NOTICE`.",
            "",
        ]
    )


def _judge(agreement: Agreement, precision: Precision, least_cosine: float | None) -> None:
    logger.info("Agreement with the network: mean cosine %.4f, least %.4f", agreement.mean, agreement.least)
    wanted = least_cosine or (EXACT_COSINE if precision.is_exact else ROUNDED_COSINE)
    if not agreement.mean >= wanted:  # a NaN is not
        raise RetrieverError(
            f"the exported retriever does not agree with its network: mean cosine {agreement.mean:.5f}, least "
            f"{agreement.least:.5f}, wanted {wanted}; keep more in float32 (down first) or 8 bits in the token table"
        )


def _put_in_place(partial: Path, folder: Path) -> None:
    """Rename into place; an earlier folder is gone only once the new one stands."""
    old = folder.with_name(f"{folder.name}.old-{os.getpid()}")
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _tokenize(backbone: Backbone, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
    from tokenizers import Tokenizer

    tokenizer: Tokenizer = Tokenizer.from_file(str(backbone.tokenizer))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return [encoding.ids or [backbone.origin.pad_token_id] for encoding in tokenizer.encode_batch(list(texts))]
