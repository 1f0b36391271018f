"""Owns what may be compared: a retriever folder as the app runs it, or any network of the trainer in float32.

It measures nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from drama_app.config import expand_home
from drama_app.embed import OnnxEncoder, open_retriever
from drama_app.errors import RetrieverError
from drama_app.retriever import DESCRIPTION, default_retriever_folder, open_retriever_folder
from trainer.llama_encoder import LlamaEncoder, is_embedder

if TYPE_CHECKING:
    from drama_app.embed import Encoder

SHIPPED = "shipped"
"""In place of a path: the retriever that comes with the app."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """An encoder that takes part in a comparison."""

    name: str
    encoder: "Encoder"
    """Its vectors are as wide as the widest of `widths`."""
    widths: tuple[int, ...]
    """To cut its vectors to; the first is the one that is compared with others."""


def open_contestant(source: Path | str, *, widths: Sequence[int] | None = (), threads: int | None = None) -> Contestant:
    """Open a retriever folder for ONNX Runtime, a GGUF embedder for llama.cpp, or a checkpoint or model in float32.

    Args:
        source: `SHIPPED`, a path, or a run's folder, whose finished retriever is meant.
        widths: To measure beside the default one; None is all that it offers.
        threads: For ONNX Runtime; None is every core.

    Raises:
        RetrieverError: It is not there, not whole, or does not offer a width.
    """
    folder = _place(source)
    if folder.is_file() and is_embedder(folder):
        embedder = LlamaEncoder(folder, threads=threads)
        widths_of = _choose_widths(folder, embedder.dim, (embedder.dim,), widths)
        return Contestant(name=folder.stem, encoder=embedder, widths=widths_of)
    if not (folder / DESCRIPTION).is_file():
        return open_exact(folder, widths=widths, threads=threads)
    retriever = open_retriever_folder(folder)
    chosen = _choose_widths(folder, retriever.default_dim, retriever.dims, widths)
    encoder = open_retriever(folder, dim=max(chosen), threads=threads)
    return Contestant(name=f"{retriever.name} {retriever.version}", encoder=encoder, widths=chosen)


def open_exact(
    source: Path | str, *, weights: Path | None = None, widths: Sequence[int] | None = (), threads: int | None = None
) -> Contestant:
    """Open a network in float32: anything that `load_backbone` reads, retriever folders by their training weights.

    Args:
        source: As for `load_backbone`, or `SHIPPED`.
        weights: Training weights of a retriever folder that are not in it or beside it.
        widths: As for `open_contestant`.
        threads: Of torch, for the whole process; None leaves them as they are.

    Raises:
        RetrieverError: It is not there, not whole, or does not offer a width.
    """
    import torch

    from trainer.backbone import load_backbone
    from trainer.torch_encoder import TorchEncoder

    folder = _place(source)
    if threads:
        torch.set_num_threads(threads)
    encoder = TorchEncoder(load_backbone(folder, weights=weights, embeds=True))
    if (folder / DESCRIPTION).is_file():
        retriever = open_retriever_folder(folder)
        chosen = _choose_widths(folder, retriever.default_dim, retriever.dims, widths)
        return Contestant(name=f"{retriever.name} {retriever.version}, fp32", encoder=encoder, widths=chosen)
    chosen = _choose_widths(folder, encoder.dim, encoder.dims, widths)
    place = folder.absolute()
    # "final" and "step-0000500" say little without the folder above.
    return Contestant(name=f"{place.parent.name}/{place.name}, fp32", encoder=encoder, widths=chosen)


def _place(source: Path | str) -> Path:
    """The folder that is meant: of a run its finished retriever, which may say other vectors than its network did."""
    folder = default_retriever_folder() if str(source) == SHIPPED else expand_home(source)
    finished = folder / "retriever"
    return finished if not (folder / DESCRIPTION).is_file() and (finished / DESCRIPTION).is_file() else folder


def keep_widths(contestant: Contestant, wanted: Sequence[int]) -> Contestant:
    """The contestant with its own width and those of the others that are wanted."""
    own, *others = contestant.widths
    return replace(contestant, widths=(own, *(width for width in others if width in wanted)))


def is_exact(contestant: Contestant) -> bool:
    """Whether it is a network in float32 already, and no retriever folder."""
    return not isinstance(contestant.encoder, OnnxEncoder)


def give_own_names(contestants: Sequence[Contestant]) -> list[Contestant]:
    """The same contestants, a later one of a name that is taken with its number."""
    named: list[Contestant] = []
    for contestant in contestants:
        name, number = contestant.name, 1
        while name in {each.name for each in named}:
            number += 1
            name = f"{contestant.name} ({number})"
        named.append(replace(contestant, name=name))
    return named


def _choose_widths(place: Path, default: int, offered: Sequence[int], asked: Sequence[int] | None) -> tuple[int, ...]:
    widths = tuple(dict.fromkeys((default, *(offered if asked is None else asked))))
    if unknown := [width for width in widths if width not in offered]:
        raise RetrieverError(
            f"{place}: vectors of width {unknown[0]} are not offered, only {', '.join(map(str, offered))}"
        )
    return widths
