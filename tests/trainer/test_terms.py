"""What NOTICE and card must say of the models that a run learnt from."""

import json
from pathlib import Path

import pytest

from tests.tiny_retriever import make_tiny_retriever
from trainer.model_files import merge_notices
from trainer.recipe import Recipe, TrainRecipe
from trainer.run_folder import Inputs, RunFolder
from trainer.terms import name_teacher, read_notices, read_teaching

IMITATES = Recipe(train=TrainRecipe(embedding_weight=1.0))
SENTENCE = "It was taught by the vectors of {}: the terms of that model may reach what is trained on them."


def begin(folder: Path, teacher: Path, recipe: Recipe = IMITATES) -> RunFolder:
    return RunFolder.begin(folder / "run", recipe, Inputs(teacher=str(teacher)))


def test_a_retriever_that_teaches_is_named_with_its_own_notices(tmp_path: Path) -> None:
    """Name, version and licence are told, its NOTICE goes along, and without imitation nothing is said of it."""
    teacher = make_tiny_retriever(tmp_path / "teacher", name="wise")
    (teacher / "NOTICE").write_text("Read many books.\n")
    run = begin(tmp_path, teacher)
    assert read_teaching(run) == (SENTENCE.format("wise 1, licence none needed"), "Read many books.")
    alone = Recipe(train=TrainRecipe(neighbours=8))  # it chooses what is drawn together, and is not imitated
    assert read_teaching(begin(tmp_path / "alone", teacher, alone)) == ()


def test_a_gguf_that_teaches_is_named_with_its_licence(tmp_path: Path) -> None:
    """An embedding model in GGUF form is told by its file and by the licence that the file states."""
    pytest.importorskip("gguf")
    from tests.trainer.tiny_gguf import make_tiny_gguf

    run = begin(tmp_path, make_tiny_gguf(tmp_path / "embeds.gguf", causal=False, pools=True))
    assert read_teaching(run) == (SENTENCE.format("embeds.gguf, licence mit"),)


def test_a_model_folder_that_teaches_is_named_with_its_licence(tmp_path: Path) -> None:
    """The README's licence is told and a released DRAMA checkpoint keeps its terms; no weights are read."""
    pytest.importorskip("torch")
    folder = tmp_path / "base"
    folder.mkdir()
    stated = {"model_type": "llama", "architectures": ["DramaModel"], "vocab_size": 9, "hidden_size": 32,
              "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(stated))
    told = read_teaching(begin(tmp_path, folder))
    assert told[0] == SENTENCE.format("base, licence CC-BY-NC-4.0")
    assert any("not for commercial use" in each for each in told[1:])


def test_who_taught_is_remembered(tmp_path: Path) -> None:
    """A run that is trained tells its teacher when that is gone; one trained by an earlier version looks for it."""
    teacher = make_tiny_retriever(tmp_path / "teacher", name="wise")
    run = begin(tmp_path, teacher)
    assert read_notices(run) == ()  # nothing has been taught yet
    run.finish("train", 1.0, {})
    sentence = SENTENCE.format("wise 1, licence none needed")
    assert read_notices(run) == (sentence,)
    run.finish("train", 1.0, {"taught_by": name_teacher(run)})
    teacher.rename(tmp_path / "elsewhere")
    assert read_notices(run) == (sentence,)
    run.finish("train", 1.0, {})
    assert read_notices(run) == ()


def test_notices_are_told_once() -> None:
    """One that another holds whole is left out, an empty one too; the order stays."""
    assert merge_notices(["a. b.", "c.", "", "b.", "c.", "a. b."]) == ("a. b.", "c.")
