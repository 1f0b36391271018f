"""What the model screen knows of each retriever: its description, scores and card, read in a thread. Pure."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from drama_app.config import Settings
from drama_app.errors import DramaError
from drama_app.output import clean_for_terminal

if TYPE_CHECKING:
    from drama_app.library import Library
    from drama_app.retriever import Retriever

CARD, METRICS = "card.md", "metrics.json"
MOST_CARD = 40_000  # characters: a card is a page, not a book
SHORT_FINGERPRINT = 12


@dataclass(frozen=True, slots=True)
class Model:
    """A retriever that is installed."""

    folder: Path
    name: str
    version: str
    in_use: bool
    facts: tuple[tuple[str, str], ...]
    scores: tuple[tuple[str, str], ...]
    """Name and value; a heading has no value."""
    card: str


@dataclass(frozen=True, slots=True)
class Models:
    """All of them, and what switching would mean."""

    models: tuple[Model, ...] = ()
    earlier: str = ""
    """The retriever that one step back leads to."""
    rate: float = 0.0
    """Passages a second that were measured on this machine; 0 if none were."""
    errors: tuple[str, ...] = field(default=())


def read_models(library: "Library | None", settings: Settings) -> Models:
    """Reads the folders, each verified whole: about 0.4 s a retriever."""
    from drama_app.retriever import default_retriever_folder, open_retriever_folder

    if library is None:
        folders, used = [settings.retriever or default_retriever_folder()], ""
    else:
        used = library.recall("fingerprint")  # not the folder: drama's own may hold another one since
        installed = sorted((settings.data_folder / "retrievers").glob("[!.]*/retriever.json"))
        folders = list(
            dict.fromkeys(
                [library.retriever_folder(), default_retriever_folder(), *(each.parent for each in installed)]
            )
        )
    models: list[Model] = []
    errors: list[str] = []
    listed: set[str] = set()
    for folder in folders:
        try:
            retriever = open_retriever_folder(folder)
        except DramaError as error:  # one that is damaged must not hide the others
            errors.append(str(error))
            continue
        if retriever.fingerprint in listed:
            continue  # the same retriever, installed and shipped
        listed.add(retriever.fingerprint)
        models.append(_describe(retriever, in_use=retriever.fingerprint == used))
    if library is None:
        return Models(tuple(models), errors=tuple(errors))
    rate = float(library.recall("passages_per_second") or 0.0)
    return Models(tuple(models), library.recall("previous_retriever_name"), rate, tuple(errors))


def _describe(retriever: "Retriever", *, in_use: bool) -> Model:
    languages = retriever.languages_counted
    counted = f"{len(languages)} measured: {' '.join(languages)}" if languages else "not stated"
    dims = ", ".join(f"{dim}{' (in use)' if dim == retriever.default_dim else ''}" for dim in retriever.dims)
    facts = [
        ("Retriever", f"{retriever.name} {retriever.version}"),
        ("From", retriever.backbone),
        ("Licence", retriever.licence),
        ("Numbers", f"{dims} a passage"),
        ("Reads", f"up to {retriever.max_tokens:,} tokens a passage"),
        ("Precision", retriever.precision),
        ("Languages", counted),
        ("Fingerprint", retriever.fingerprint.rpartition(":")[2][:SHORT_FINGERPRINT]),
        ("Folder", str(retriever.folder)),
    ]
    return Model(
        retriever.folder,
        clean_for_terminal(retriever.name),
        clean_for_terminal(retriever.version),
        in_use,
        tuple((name, clean_for_terminal(value)) for name, value in facts if value),
        tuple(list_scores(retriever.metrics or _read_metrics(retriever.folder))),
        _read_card(retriever.folder),
    )


def _read_metrics(folder: Path) -> Mapping[str, object]:
    try:
        content = json.loads((folder / METRICS).read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _read_card(folder: Path) -> str:
    try:
        with (folder / CARD).open(encoding="utf-8", errors="replace") as file:
            return clean_for_terminal(file.read(MOST_CARD), lines=True)
    except OSError:
        return ""


def list_scores(metrics: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Yields names with values to four digits; plain numbers first, then each group below its heading."""
    for name, value in metrics.items():
        if isinstance(value, int | float):
            yield clean_for_terminal(name), f"{value:.4f}"
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            yield clean_for_terminal(name), ""
            yield from list_scores(value)
