"""Owns what the files beside weights say of a model: its licence, prefixes, widths, padding and pooling.

It opens no weights and runs no code out of a folder.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from drama_app.errors import RetrieverError
from trainer.bidirectional import BidirectionalConfig
from trainer.checkpoint import TOKENIZER, WEIGHTS, Origin
from trainer.network import NetworkConfig

CONFIG = "config.json"
_GEMMA_NOTICE = (
    "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms. "
    "This is a modified version of a Gemma model; the use restrictions of those terms apply to it."
)
_LLAMA_NOTICE = (
    "Built with Llama. Llama is licensed under its Llama Community License, "
    "Copyright © Meta Platforms, Inc. All Rights Reserved."
)
_DRAMA_NOTICE = "Derived from facebook/drama, CC BY-NC 4.0 (not for commercial use), itself derived from Llama."
_GGUF_DOES = "its GGUF form can be used, which llama.cpp computes"
_UNSTATED = ("", "other", "unknown")
"""What stands for a licence that has no name of its own."""
_DRAMA_DIMS = (768, 512, 256)
"""Widths named on the cards of the released checkpoints, beside each one's own."""


def describe_model(stated: dict[str, Any], name: str, licence: str, config: NetworkConfig) -> Origin:
    """Prefixes, widths and notices of a model by what its files say of it."""
    origin = Origin(
        name=name, licence=licence, max_tokens=config.max_tokens, pad_token_id=int(stated.get("pad_token_id") or 0)
    )
    named = f"{name} {'/'.join(str(stated.get('_name_or_path', '')).split('/')[-2:])}".lower()
    if "DramaModel" in (stated.get("architectures") or []):
        dims = (config.dim, *(width for width in _DRAMA_DIMS if width < config.dim))
        return replace(
            origin,
            query_prefix="Query: ",
            dims=dims,
            max_tokens=min(8192, config.max_tokens),
            licence=licence or "CC-BY-NC-4.0",
            notices=(_DRAMA_NOTICE, _LLAMA_NOTICE),
        )
    if re.search(r"(^|[\s/_-])e5[-_]", named) and isinstance(config, BidirectionalConfig):
        return replace(origin, query_prefix="query: ", passage_prefix="passage: ", licence=licence or "MIT")
    if isinstance(config, BidirectionalConfig):
        return origin
    llama = config.family == "llama" and _is_llama(licence, name, str(stated.get("_name_or_path", "")))
    notices = {"gemma3": (_GEMMA_NOTICE,), "llama": (_LLAMA_NOTICE,) if llama else ()}
    return replace(origin, query_prefix="Query: ", notices=notices.get(config.family, ()))


def _is_llama(licence: str, name: str, made_from: str) -> bool:
    """Whether a network of Llama's shape is one of Meta's: TinyLlama and SmolLM2 are others', under Apache-2.0.

    Its licence decides. Where none is stated its name does, and what it says it was made from; a folder on this disk,
    such as llama.cpp/models above a GGUF, says nothing.
    """
    if licence.lower() not in _UNSTATED:
        return licence.lower().startswith("llama")
    on_the_hub = re.fullmatch(r"[\w.-]+/[\w.-]+", made_from) and not Path(made_from).is_dir()
    return "llama" in f"{name} {made_from if on_the_hub else ''}".lower()


def name_folder(folder: Path) -> str:
    """What a model's folder is called: OWNER/NAME in the hub's own store, else its last part.

    The path above says nothing about the model, and is for nobody to read.
    """
    stored = next((part for part in folder.resolve().parts if part.startswith("models--")), "")
    return stored.removeprefix("models--").replace("--", "/", 1) or folder.name or folder.resolve().name


def read_special(folder: Path, stated: dict[str, Any]) -> dict[str, Any]:
    """The configuration, with the padding token's id looked up where only its text is given."""
    if stated.get("pad_token_id") is not None or not (folder / TOKENIZER).is_file():
        return stated
    settings = read_json(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").is_file() else {}
    special = read_json(folder / "special_tokens_map.json") if (folder / "special_tokens_map.json").is_file() else {}
    pad = settings.get("pad_token") or special.get("pad_token") or settings.get("eos_token") or special.get("eos_token")
    if not pad:
        return stated
    from tokenizers import Tokenizer

    content = pad["content"] if isinstance(pad, dict) else pad
    return stated | {"pad_token_id": Tokenizer.from_file(str(folder / TOKENIZER)).token_to_id(content)}


def refuse_other_pooling(folder: Path, config: NetworkConfig) -> None:
    """An embedder that takes its first token's row would be exported silently wrong."""
    stated = folder / "1_Pooling" / CONFIG
    if not isinstance(config, BidirectionalConfig) or not stated.is_file():
        return
    if (modes := _read_pooling(stated)) != ["mean"]:
        named = ", ".join(modes) or "nothing"
        raise RetrieverError(f"{stated}: pools {named}; only embedders that take the mean of tokens are computed")


def _read_pooling(path: Path) -> list[str]:
    """How rows become one vector, by sentence-transformers' file: a flag for each way, or since 5.4 their names."""
    stated = read_json(path)
    if named := stated.get("pooling_mode"):
        return [str(each) for each in (named if isinstance(named, list) else [named])]
    flags = [key.removeprefix("pooling_mode_") for key, on in stated.items() if on is True and "pooling_mode_" in key]
    return [flag.removesuffix("_tokens") for flag in flags]


def refuse_other_embeddings(folder: Path) -> None:
    """An embedder that does more than take the mean of its tokens would be measured, and teach, silently wrong.

    As a backbone it may serve: there only its tokens' rows count.
    """
    modules = folder / "modules.json"
    if not modules.is_file():
        return
    try:
        listed = json.loads(modules.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RetrieverError(f"{modules}: cannot be read as JSON ({error})") from error
    kinds = [str(each.get("type", "")).rpartition(".")[2] for each in listed if isinstance(each, dict)]
    if other := [kind for kind in kinds if kind not in ("Transformer", "Pooling", "Normalize")]:
        raise RetrieverError(f"{folder}: has a {other[0]} layer behind its mean, which is not computed; {_GGUF_DOES}")
    stated = folder / "1_Pooling" / CONFIG
    if stated.is_file() and _read_pooling(stated) != ["mean"]:
        raise RetrieverError(f"{stated}: does not pool the mean of tokens, which is all that is computed; {_GGUF_DOES}")


def list_weights(folder: Path) -> list[Path]:
    """The files that a model's folder has its weights in.

    Raises:
        RetrieverError: One is missing, or they are pickles.
    """
    index, whole = folder / f"{WEIGHTS}.index.json", folder / WEIGHTS
    if not index.is_file():
        if not whole.is_file() and list(folder.glob("*.bin")):
            raise RetrieverError(f"{folder}: weights in .bin files are pickles and are not opened; fetch {WEIGHTS}")
        files = [whole]
    else:
        files = [folder / Path(name).name for name in sorted(set(read_json(index).get("weight_map", {}).values()))]
    if missing := [path for path in files if not path.is_file()]:
        raise RetrieverError(f"{missing[0]}: missing; fetch the model again")
    return files


def read_prefixes(folder: Path, origin: Origin) -> Origin:
    """With what an embedder's own description puts before a question and a passage, if it has one."""
    stated = folder / "config_sentence_transformers.json"
    prompts = read_json(stated).get("prompts") if stated.is_file() else None
    if not isinstance(prompts, dict):
        return origin
    query, passage = prompts.get("query"), prompts.get("passage", prompts.get("document"))
    return replace(
        origin, query_prefix=query if isinstance(query, str) else origin.query_prefix,
        passage_prefix=passage if isinstance(passage, str) else origin.passage_prefix,
    )  # fmt: skip


def read_licence_text(folder: Path) -> str:
    """The text of the folder's licence, "" if there is none."""
    text = next((path for path in sorted(folder.glob("LICENSE*")) if path.is_file()), None)
    return text.read_text(encoding="utf-8", errors="replace") if text else ""


def read_notice(folder: Path) -> tuple[str, ...]:
    """What must go with whatever is made of a model: its NOTICE, if it has one (Apache-2.0 asks for it)."""
    return merge_notices(read_text(path) for path in sorted(folder.glob("NOTICE*"))[:1] if path.is_file())


def merge_notices(notices: Iterable[str]) -> tuple[str, ...]:
    """Notices each once, without those that another holds whole: a retriever's NOTICE has all of its network's."""
    known = dict.fromkeys(filter(None, notices))
    return tuple(each for each in known if not any(each != other and each in other for other in known))


def read_licence(folder: Path) -> str:
    """The licence that the front matter of the model's README names."""
    card = folder / "README.md"
    found = re.search(r"^license:\s*(\S+)\s*$", read_text(card), re.MULTILINE) if card.is_file() else None
    return found[1] if found else ""


def read_text(path: Path) -> str:
    """A text file that others wrote; what is no UTF-8 is replaced."""
    return path.read_text(encoding="utf-8", errors="replace").strip()


def read_json(path: Path) -> dict[str, Any]:
    """A file with a JSON object.

    Raises:
        RetrieverError: It cannot be read, or holds something else.
    """
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RetrieverError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(stated, dict):
        raise RetrieverError(f"{path}: must hold a JSON object")
    return stated
