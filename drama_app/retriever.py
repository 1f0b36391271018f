"""Owns the retriever folder, the contract between trainer and app: opens a folder whole or refuses it with the reason.

Loads no pickle, runs no code from a folder, fetches nothing, and encodes nothing: that is `embed`'s work.

A folder is verified whole (hash, tokenizer, graph: about 0.4 s for 87 MB) the first time that it is opened and
whenever a person asks. With a cache directory a stamp then remembers size and time of change of each file, as `git`
does for its index, and later openings cost less than a millisecond.
"""

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from drama_app.errors import RetrieverError
from drama_app.tokens import open_tokenizer, write_whole

logger = logging.getLogger(__name__)

SCHEMA = 1
DESCRIPTION, MODEL, TOKENIZER = "retriever.json", "model.onnx", "tokenizer.json"
_TYPES: dict[str, type] = {
    "name": str,
    "version": str,
    "dims": list,
    "default_dim": int,
    "query_prefix": str,
    "passage_prefix": str,
    "max_tokens": int,
    "pad_token_id": int,
    "fingerprint": str,
    "fingerprint_of": list,
}
"""What a folder must state."""
_OPTIONAL: dict[str, type] = {
    "backbone": str,
    "pooling": str,
    "output": str,
    "languages_counted": list,
    "licence": str,
    "precision": str,
    "metrics": dict,
}
_JSON_NAMES = {str: "text", int: "a whole number", list: "a list", dict: "an object"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Retriever:
    """What `retriever.json` states, and where it lies."""

    folder: Path
    name: str
    version: str
    dims: tuple[int, ...]
    """Widths to which an embedding may be cut, widest first."""
    default_dim: int
    query_prefix: str
    passage_prefix: str
    max_tokens: int
    """Longer texts are cut; special tokens count."""
    pad_token_id: int
    fingerprint: str
    """"sha256:" and the hash of the files of `fingerprint_of`, one after the other; vectors of two never mix."""
    fingerprint_of: tuple[str, ...]
    backbone: str = ""
    pooling: str = ""
    output: str = ""
    languages_counted: tuple[str, ...] = ()
    licence: str = ""
    precision: str = ""
    metrics: Mapping[str, Any]


def default_retriever_folder() -> Path:
    """The folder of the retriever that is shipped: inside the installed package, or in a checkout beside it.

    Raises:
        RetrieverError: It is in neither place.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "assets" / "retriever", package.parent / "assets" / "retriever"):
        if (folder / DESCRIPTION).is_file():
            return folder
    raise RetrieverError(f"{package}: the retriever that is shipped is missing; install drama again")


def open_retriever_folder(folder: Path, *, cache: Path | None = None) -> Retriever:
    """Open a retriever folder whole, or refuse it.

    Args:
        folder: The folder.
        cache: Directory for stamps of verified folders; without one the folder is verified whole each time.

    Raises:
        RetrieverError: The text names the file and the reason.
    """
    folder = folder.absolute()
    retriever = _read_description(folder)
    for name in (MODEL, TOKENIZER, *retriever.fingerprint_of):
        if not (folder / name).is_file():
            raise RetrieverError(f"{folder / name}: this file of the retriever is missing")
    place = None if cache is None else cache / f"verified-{hashlib.sha256(str(folder).encode()).hexdigest()[:24]}.json"
    stamp = _describe_files(retriever)
    if place is not None and _read_stamp(place) == stamp:
        return retriever
    verify_retriever(retriever, cache=cache)
    if place is not None:
        try:
            write_whole(place, json.dumps(stamp).encode())
        except OSError as error:
            logger.warning("The stamp of %s could not be kept: %s", folder, error)
    return retriever


def verify_retriever(retriever: Retriever, *, cache: Path | None = None) -> None:
    """Check hash, tokenizer and graph of a folder, trusting no stamp.

    Raises:
        RetrieverError: The text names the file and the reason.
    """
    digest = hashlib.sha256()
    for name in retriever.fingerprint_of:
        with (retriever.folder / name).open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    if f"sha256:{digest.hexdigest()}" != retriever.fingerprint:
        raise RetrieverError(
            f"{retriever.folder / DESCRIPTION}: the fingerprint does not match "
            f"{' and '.join(retriever.fingerprint_of)}; the folder is damaged or was changed"
        )
    open_tokenizer(retriever.folder / TOKENIZER, max_tokens=retriever.max_tokens, cache=cache)
    _check_graph(retriever.folder / MODEL, max(retriever.dims))


def _read_description(folder: Path) -> Retriever:
    path = folder / DESCRIPTION
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RetrieverError(f"{path}: missing, so this is not a retriever folder") from None
    except (OSError, ValueError) as error:
        raise RetrieverError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(stated, dict):
        raise RetrieverError(f"{path}: must hold a JSON object")
    if stated.get("schema") != SCHEMA:
        raise RetrieverError(f"{path}: schema {stated.get('schema')!r} is not known to this version, only {SCHEMA}")
    _check_types(path, stated)
    known = {field.name for field in fields(Retriever)} & stated.keys()
    values: dict[str, Any] = {"metrics": {}}
    values |= {name: tuple(value) if isinstance(value := stated[name], list) else value for name in known - {"folder"}}
    values["dims"] = tuple(sorted(stated["dims"], reverse=True))
    retriever = Retriever(**values, folder=folder)
    if fault := _find_fault(retriever):
        raise RetrieverError(f"{path}: {fault}")
    return retriever


def _check_types(path: Path, stated: dict[str, Any]) -> None:
    for name, kind in (_TYPES | _OPTIONAL).items():
        if name not in stated:
            if name in _TYPES:
                raise RetrieverError(f"{path}: {name!r} is missing")
            continue
        if type(stated[name]) is not kind:  # not isinstance: true is no number here
            raise RetrieverError(f"{path}: {name!r} must be {_JSON_NAMES[kind]}, not {stated[name]!r:.60}")
    for name, kind in (("dims", int), ("fingerprint_of", str), ("languages_counted", str)):
        if any(type(item) is not kind for item in stated.get(name, ())):
            raise RetrieverError(f"{path}: each item of {name!r} must be {_JSON_NAMES[kind]}")


def _find_fault(retriever: Retriever) -> str:
    """The first contradiction in what a folder states, "" if there is none."""
    if not retriever.dims or min(retriever.dims) < 1 or len(set(retriever.dims)) != len(retriever.dims):
        return "'dims' must hold one or more different widths of at least 1"
    if retriever.default_dim not in retriever.dims:
        return f"'default_dim' {retriever.default_dim} is not one of 'dims' {list(retriever.dims)}"
    if retriever.max_tokens < 8:
        return f"'max_tokens' {retriever.max_tokens} leaves no room for a text"
    if retriever.pad_token_id < 0:
        return f"'pad_token_id' {retriever.pad_token_id} is negative"
    # Name and version become parts of file names.
    for field in ("name", "version"):
        if not re.fullmatch(r"\w[\w.+-]{0,63}", getattr(retriever, field)):
            return f"{field!r} must be letters, digits, '.', '+', '-' and '_', at most 64"
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", retriever.fingerprint):
        return "'fingerprint' must be 'sha256:' and 64 hexadecimal digits"
    if any(Path(name).name != name or "\\" in name or name in ("", ".", "..") for name in retriever.fingerprint_of):
        return "'fingerprint_of' must name files in the folder itself"
    if not {MODEL, TOKENIZER} <= set(retriever.fingerprint_of):
        return f"'fingerprint_of' must cover {MODEL} and {TOKENIZER}"
    return ""


def _check_graph(path: Path, width: int) -> None:
    """Refuse a graph whose inputs and outputs are not those of the contract."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.disable_prepacking", "1")
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's errors have no common base but Exception
        raise RetrieverError(f"{path}: not a model that ONNX Runtime can open ({str(error)[:200]})") from error
    inputs = {one.name: one for one in session.get_inputs()}
    if inputs.keys() != {"input_ids", "attention_mask"}:
        raise RetrieverError(f"{path}: inputs must be input_ids and attention_mask, not {', '.join(sorted(inputs))}")
    for name, one in inputs.items():
        if one.type != "tensor(int64)" or len(one.shape) != 2 or any(isinstance(size, int) for size in one.shape):
            raise RetrieverError(f"{path}: {name} must be int64 [batch, length], not {one.type} {one.shape}")
    outputs = {one.name: one for one in session.get_outputs()}
    if outputs.keys() != {"embedding"}:
        raise RetrieverError(f"{path}: the output must be embedding alone, not {', '.join(sorted(outputs))}")
    one = outputs["embedding"]
    if one.type != "tensor(float)" or len(one.shape) != 2 or one.shape[1] != width:
        raise RetrieverError(
            f"{path}: embedding must be float32 [batch, {width}], the largest of 'dims', not {one.type} {one.shape}"
        )


def _describe_files(retriever: Retriever) -> dict[str, Any]:
    """What changes when a file of the folder changes, short of reading it."""
    files: dict[str, list[int]] = {}
    for name in sorted({MODEL, TOKENIZER, *retriever.fingerprint_of}):
        found = (retriever.folder / name).stat()
        files[name] = [found.st_size, found.st_mtime_ns, found.st_ino]
    return {
        "schema": SCHEMA,
        "fingerprint": retriever.fingerprint,
        "dims": list(retriever.dims),
        "max_tokens": retriever.max_tokens,
        "files": files,
    }


def _read_stamp(place: Path) -> Any:
    try:
        return json.loads(place.read_bytes())
    except (OSError, ValueError):
        return None
