"""Owns what must be said of a run's data and models: the licences and notices that NOTICE and card of its result hold.

It reads headers and opens no weights.
"""

from dataclasses import replace
from pathlib import Path

from drama_app.retriever import DESCRIPTION, default_retriever_folder, open_retriever_folder
from trainer.checkpoint import FINAL, Origin, is_checkpoint, open_checkpoint
from trainer.model_files import CONFIG, describe_model, merge_notices, name_folder, read_json, read_licence, read_notice
from trainer.run_folder import RunFolder


def read_notices(run: RunFolder) -> tuple[str, ...]:
    """Those of the data, and of the models that the run learnt from."""
    own = (Path(run.inputs.notice).read_text(encoding="utf-8").strip(),) if run.inputs.notice else ()
    return (*own, *name_models(run))


def name_models(run: RunFolder) -> tuple[str, ...]:
    """Notices of the model that wrote queries, or put passages in order, and of the encoder that taught, if any did."""
    writer = run.done.get("augment", {}).get("written_by")
    told = [f"It was trained on outputs of {writer}: the terms of that model may reach what is trained on them."]
    trained = run.done.get("train")
    # Runs that were trained by an earlier version do not say by whom.
    teacher = "" if trained is None else trained.get("taught_by") or name_teacher(run)
    return (*(told if writer else ()), *((_tell(teacher),) if teacher else ()))


def name_teacher(run: RunFolder) -> str:
    """The encoder that a run imitates with its licence; "" if it imitates none, or that one is no longer there.

    What rows are matched with (`row_weight`) is the backbone itself, whose notices stay with it.
    """
    teacher = _describe_teacher(run)
    return f"{teacher.name}, licence {teacher.licence or 'not stated'}" if teacher else ""


def read_teaching(run: RunFolder) -> tuple[str, ...]:
    """Notices of the encoder that a run imitates, its own ones too; none if it imitates none."""
    teacher = _describe_teacher(run)
    return (_tell(name_teacher(run)), *teacher.notices) if teacher else ()


def state_anew(run: RunFolder, origin: Origin) -> Origin:
    """The origin of what a run trained, with its models' notices alone: its data's may have been corrected since."""
    if not is_checkpoint(run.backbone):
        return origin
    start = open_checkpoint(run.backbone).origin
    return replace(origin, notices=merge_notices((*start.notices, *read_teaching(run))))


def _tell(teacher: str) -> str:
    return f"It was taught by the vectors of {teacher}: the terms of that model may reach what is trained on them."


def _describe_teacher(run: RunFolder) -> Origin | None:
    """Name, licence and notices of what `inputs.open_teacher` opens."""
    if not run.recipe.train.imitates:
        return None
    named = run.inputs.teacher or run.inputs.retriever
    folder = Path(named) if named else default_retriever_folder()
    if folder.is_file():
        return _describe_gguf(folder)
    for place in (folder, folder / "retriever"):  # a run is known by its retriever
        if (place / DESCRIPTION).is_file():
            retriever = open_retriever_folder(place)
            name = f"{retriever.name} {retriever.version}"
            return Origin(name=name, licence=retriever.licence, notices=read_notice(place))
    for place in (folder, folder / "train" / FINAL, folder / FINAL):
        if is_checkpoint(place):
            return open_checkpoint(place).origin
    return _describe_folder(folder) if folder.is_dir() else None


def _describe_gguf(path: Path) -> Origin:
    from gguf import GGUFReader

    try:
        licence = GGUFReader(path).fields.get("general.license")
        return Origin(name=path.name, licence=str(licence.contents()) if licence else "")
    except (ValueError, KeyError, IndexError, OSError):
        return Origin(name=path.name)  # whoever loads it tells


def _describe_folder(folder: Path) -> Origin:
    from trainer.translate import translate_config

    name, licence = name_folder(folder), read_licence(folder)
    if not (folder / CONFIG).is_file():
        return Origin(name=name, licence=licence, notices=read_notice(folder))
    stated = read_json(folder / CONFIG)
    origin = describe_model(stated, name, licence, translate_config(stated))
    return Origin(name=name, licence=origin.licence, notices=(*origin.notices, *read_notice(folder)))
