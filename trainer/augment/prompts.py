"""Owns the prompt files in `assets/prompts`: labels and shots of every language, read whole or refused.

It fills nothing in; the texts in the files are drama's own.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drama_app.errors import UsageError
from trainer.assets import find_assets

STYLES = ("question", "keywords", "claim")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryShot:
    """A text with a query of each style."""

    text: str
    outputs: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryPrompts:
    """What one language's queries are made with."""

    name: str
    """Of the language, in English."""
    text_label: str
    labels: dict[str, str]
    """Of the outputs, by style."""
    shots: tuple[QueryShot, ...]
    instructions: dict[str, str]
    """By style, with the language filled in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankPrompt:
    """How passages are put before a model to be ordered."""

    instruction: str
    labels: tuple[str, str]
    ask: str
    passage: str
    shots: tuple[tuple[str, tuple[str, ...], tuple[int, ...]], ...]
    """Query, passages, and the places of the passages from 1, best first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TripletPrompts:
    """What one language's triplets are made with."""

    instruction: str
    labels: tuple[str, str, str, str]
    """Of topic, query, answer and near miss."""
    shots: tuple[tuple[str, str, str, str], ...]


def find_prompts() -> Path:
    """The folder of prompts.

    Raises:
        UsageError: It is not there.
    """
    return find_assets("prompts")


def read_query_prompts(folder: Path | None = None) -> dict[str, QueryPrompts]:
    """Prompts for queries, by the code of their language.

    Raises:
        UsageError: The file is missing or incomplete; the text names the place.
    """
    path = (folder or find_prompts()) / "queries.toml"
    content = _read(path)
    try:
        instruction = content.pop("instruction")
        return {
            code: QueryPrompts(
                name=table["name"], text_label=table["text"], labels={style: table[style] for style in STYLES},
                shots=tuple(
                    QueryShot(text=shot["text"], outputs={style: shot[style] for style in STYLES})
                    for shot in table["shots"]
                ),
                instructions={style: instruction[style].format(language=table["name"]) for style in STYLES},
            )
            for code, table in content.items()
        }  # fmt: skip
    except (KeyError, TypeError) as error:
        raise UsageError(f"{path}: {error} is missing or of another form") from error


def read_rerank_prompt(folder: Path | None = None) -> RerankPrompt:
    """The prompt for ordering passages.

    Raises:
        UsageError: The file is missing or incomplete.
    """
    path = (folder or find_prompts()) / "rerank.toml"
    content = _read(path)
    try:
        return RerankPrompt(
            instruction=content["instruction"], labels=(content["given"], content["wanted"]),
            ask=content["ask"].strip(), passage=content["passage"],
            shots=tuple((shot["query"], tuple(shot["passages"]), tuple(shot["order"])) for shot in content["shots"]),
        )  # fmt: skip
    except (KeyError, TypeError) as error:
        raise UsageError(f"{path}: {error} is missing or of another form") from error


def read_triplet_prompts(folder: Path | None = None) -> dict[str, TripletPrompts]:
    """Prompts for triplets, by the code of their language.

    Raises:
        UsageError: The file is missing or incomplete.
    """
    path = (folder or find_prompts()) / "triplets.toml"
    content = _read(path)
    parts = ("topic", "query", "positive", "negative")
    try:
        instruction = content.pop("instruction")
        return {
            code: TripletPrompts(
                instruction=instruction.format(language=table["name"]),
                labels=(table["topic"], table["query"], table["positive"], table["negative"]),
                shots=tuple((shot["topic"], *(shot[part] for part in parts[1:])) for shot in table["shots"]),
            )
            for code, table in content.items()
        }  # fmt: skip
    except (KeyError, TypeError) as error:
        raise UsageError(f"{path}: {error} is missing or of another form") from error


def match_language(code: str, offered: dict[str, Any]) -> str:
    """The code under which prompts for a language stand, "" if there are none: "pt-BR" takes "pt"."""
    if code in offered:
        return code
    base = code.partition("-")[0]
    # A language in another script than usual ("sr-Latn") would be answered in the usual one.
    return base if base in offered and len(code.rpartition("-")[2]) != len("Latn") else ""


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            return tomllib.load(stream)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read ({error})") from error
