"""Owns how what a run was given is opened: the present retriever, the local LLM, the texts that must not train."""

from collections.abc import Mapping
from heapq import nsmallest
from pathlib import Path
from typing import TYPE_CHECKING

from drama_app.config import expand_home
from drama_app.errors import UsageError
from trainer.overlap import NOTHING
from trainer.records import Passage, TrainingGroup, read_records, text_id
from trainer.run_folder import RunFolder

if TYPE_CHECKING:
    from drama_app.embed import Encoder
    from trainer.augment.llm import Generator
    from trainer.whitening import Texts

NAMED = ("llm", "retriever")
"""Backbones that are no path: the local LLM, the present retriever."""
_DRAWN = 3000
"""Queries, and as many passages, that vectors are measured on at least: some minutes of two cores."""


def open_present(run: RunFolder) -> "Encoder":
    """The present retriever."""
    from drama_app.embed import open_retriever

    return open_retriever(Path(run.inputs.retriever) if run.inputs.retriever else None)


def open_teacher(run: RunFolder) -> "Encoder":
    """What mines hard negatives and teaches: the present retriever, unless another encoder is named.

    Raises:
        UsageError: What is named is a language model, whose vectors would teach nothing.
    """
    if not run.inputs.teacher:
        return open_present(run)
    from trainer.contestants import open_contestant
    from trainer.llama_encoder import is_embedder
    from trainer.torch_encoder import TorchEncoder

    refusal = UsageError(
        f"--teacher {run.inputs.teacher}: a language model and no embedder, its vectors teach nothing; name a "
        "retriever folder, a trained run, an e5 or BERT embedder, or a GGUF embedding model"
    )
    path = expand_home(run.inputs.teacher)
    if path.is_file() and not is_embedder(path):  # by its header: to read it whole takes memory and minutes
        raise refusal
    encoder = open_contestant(run.inputs.teacher).encoder
    if isinstance(encoder, TorchEncoder) and encoder.is_causal:
        raise refusal
    return encoder


def open_llm(run: RunFolder) -> "Generator":
    """The local LLM."""
    from trainer.augment.llm import open_generator

    model = Path(run.inputs.local_llm) if run.inputs.local_llm and not run.inputs.llm_url else None
    return open_generator(model, url=run.inputs.llm_url, url_model=run.inputs.llm_model)


def name_source(run: RunFolder) -> str:
    """Where the weights to start from are.

    Raises:
        UsageError: The recipe starts from the local LLM, and there is none here.
    """
    named = run.inputs.backbone or run.recipe.backbone
    if named == "retriever":
        from drama_app.retriever import default_retriever_folder

        return run.inputs.retriever or str(default_retriever_folder())
    if named != "llm":
        return named
    if not run.inputs.local_llm:
        raise UsageError("the recipe prunes the local LLM: name it (--local-llm FILE), or another network (--backbone)")
    return run.inputs.local_llm


def read_evaluation(run: RunFolder) -> Mapping[str, str]:
    """Ids of the texts of the evaluation sets."""
    from trainer.overlap import collect_ids

    return collect_ids(Path(run.inputs.sets), run.recipe.corpus) if run.inputs.sets else NOTHING


def draw_texts(run: RunFolder, width: int) -> "Texts":
    """Some of the queries and passages that trained, for vectors of a width; the same at each call.

    Ids are hashes, and the least are taken; of each kind of query as many as its share of the mixture says.

    Raises:
        UsageError: The run's texts are gone.
    """
    from trainer.whitening import Texts

    for path in (run.groups, run.training_passages):
        if not path.is_file():
            raise UsageError(
                f"{path}: is gone, so the directions of vectors cannot be measured; export without (--whitening 0)"
            )
    count = max(_DRAWN, 2 * width)
    by_kind: dict[str, set[str]] = {}
    for group in read_records(run.groups, TrainingGroup):
        by_kind.setdefault(group.kind, set()).add(group.query)
    shares = run.recipe.train.mixture or {kind: float(len(queries)) for kind, queries in by_kind.items()}
    asked = [
        query
        for kind, share in shares.items()
        for query in nsmallest(round(count * share / sum(shares.values())), by_kind.get(kind, ()), key=text_id)
    ]
    passages = nsmallest(count, read_records(run.training_passages, Passage), key=lambda each: each.id)
    return Texts(asked, [each.embedded for each in passages])
