"""`drama-train export` makes a retriever folder of whatever the trainer can read, and tells what it did."""

import argparse
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from drama_app.embed import open_retriever  # noqa: E402
from drama_app.errors import RetrieverError, UsageError  # noqa: E402
from drama_app.retriever import open_retriever_folder  # noqa: E402
from tests.tiny_retriever import WORDS  # noqa: E402
from tests.trainer.test_export import CONFIGS, make_backbone, make_network  # noqa: E402
from trainer.backbone import Backbone, load_backbone  # noqa: E402
from trainer.checkpoint import place_step, save_checkpoint  # noqa: E402
from trainer.commands import export  # noqa: E402
from trainer.contestants import open_exact  # noqa: E402
from trainer.export import Label, export_retriever  # noqa: E402
from trainer.onnx_graph import FULL_PRECISION  # noqa: E402
from trainer.recipe import ExportRecipe, Recipe  # noqa: E402
from trainer.records import Passage, RecordWriter, TrainingGroup  # noqa: E402
from trainer.run_folder import Inputs, RunFolder  # noqa: E402


def run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    export.declare(parser)
    return export.run(parser.parse_args([str(each) for each in arguments]))


def save(backbone: Backbone, folder: Path) -> Path:
    save_checkpoint(folder, backbone.network, tokenizer=backbone.tokenizer, origin=backbone.origin)
    return folder


def write_sets(folder: Path) -> Path:
    (folder / "en" / "qrels").mkdir(parents=True)
    texts = [" ".join(WORDS[start : start + 6]) for start in range(40)]
    rows = [json.dumps({"_id": f"d{number}", "text": text}) for number, text in enumerate(texts)]
    (folder / "en" / "corpus.jsonl").write_text("\n".join(rows))
    rows = [json.dumps({"_id": f"q{number}", "text": text[:20], "lang": "en"}) for number, text in enumerate(texts)]
    (folder / "en" / "queries.jsonl").write_text("\n".join(rows))
    judged = "".join(f"q{number}\td{number}\t1\n" for number in range(40))
    (folder / "en" / "qrels" / "test.tsv").write_text(judged)
    return folder


def test_a_run_is_exported_with_its_own_sets_and_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run gives its trained network, else its backbone; its development sets, recipe and figures are taken."""
    backbone = make_backbone(tmp_path, make_network(CONFIGS["xlm-r with head"]))
    recipe = Recipe(name="my run", export=ExportRecipe(table_bits=8, widths=(48, 16), default_width=16))
    own = RunFolder.begin(tmp_path / "run", recipe, Inputs())
    own.finish("corpus", 1.0, {"languages": {"de": 900, "en": 90, "nl": 2}})
    own.finish("augment", 3.0, {"written_by": "a.gguf (9 bytes), licence gemma"})
    own.finish("train", 5.0, {"steps": 7})
    own.finish("export", 2.0, {"chosen": "of another file"})
    with pytest.raises(UsageError, match="has no network yet"):
        run(own.path, "--out", tmp_path / "r")
    save(backbone, own.backbone)
    write_sets(own.development)
    assert run(own.path, "--out", tmp_path / "r", "--largest-loss", "1", "--limit-queries", "9") == 0
    output = capsys.readouterr()
    assert output.out == f"{tmp_path / 'r'}\n"
    assert "nDCG@10" in output.err
    assert "nothing is trained yet" in output.err
    retriever = open_retriever_folder(tmp_path / "r")
    assert (retriever.name, retriever.version, retriever.dims, retriever.default_dim) == ("my-run", "1", (48, 16), 16)
    gate = json.loads((tmp_path / "r" / "metrics.json").read_text())["gate"]
    assert (gate["queries"], gate["width"], gate["largest_loss"]) == ({"en": 9}, 16, 1.0)
    card = (tmp_path / "r" / "card.md").read_text()
    assert "- **train**: seconds 5, steps 7" in card
    assert "of another file" not in card
    assert retriever.languages_counted == ("de", "en")
    for told in card, (tmp_path / "r" / "NOTICE").read_text():  # a model's terms may reach what its outputs train
        assert "trained on outputs of a.gguf (9 bytes), licence gemma: the terms" in told
    trained = replace(backbone, origin=replace(backbone.origin, name="trained"))
    save(trained, own.training / "final")
    assert (tmp_path / "r" / "model.safetensors").is_file()
    again = ("--precision", "float32", "--name", "other", "--version", "2", "--without-weights")
    run(own.path, "--out", tmp_path / "r", *again)
    assert not (tmp_path / "r" / "model.safetensors").exists()
    retriever = open_retriever_folder(tmp_path / "r")
    assert (retriever.name, retriever.version, retriever.backbone) == ("other", "2", "trained")


def test_directions_are_evened_out_by_the_texts_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--whitening` measures on what the run trained on, and the folder agrees with the network so changed."""
    backbone = make_backbone(tmp_path, make_network(CONFIGS["xlm-r with head"]))
    own = RunFolder.begin(tmp_path / "run", Recipe(export=ExportRecipe(widths=(32, 16))), Inputs())
    save(backbone, own.backbone)
    texts = [" ".join(WORDS[start % 50 : start % 50 + 1 + start % 9]) for start in range(200)]
    with RecordWriter(own.training_passages) as passages, RecordWriter(own.groups) as groups:
        for number, text in enumerate(texts):
            passages.write(Passage(id=str(number), text=text))
            groups.write(TrainingGroup(query=f"{text} {number}", positives=(str(number),), kind="written"))
    exact = ("--precision", "float32", "--table-bits", "32")
    run(own.path, "--out", tmp_path / "plain", *exact)
    assert "even out" not in capsys.readouterr().err
    run(own.path, "--out", tmp_path / "r", "--whitening", "0.5", *exact)
    assert "reading 400 texts to even out the 32 dimensions" in capsys.readouterr().err
    assert "- **whitening**: strength 0.5, texts 400" in (tmp_path / "r" / "card.md").read_text()
    assert "whitening" not in (tmp_path / "plain" / "card.md").read_text()
    plain, evened = (open_retriever(tmp_path / each, threads=1).encode_passages(texts) for each in ("plain", "r"))
    assert evened.shape == plain.shape == (200, 32)

    def count_directions(vectors: np.ndarray) -> float:
        variances = np.linalg.eigvalsh(np.cov(vectors.T))
        return float(variances.sum() ** 2 / (variances**2).sum())

    assert count_directions(evened) > 1.2 * count_directions(plain)
    with pytest.raises(UsageError, match="--whitening must be between 0 and 1"):
        run(own.path, "--out", tmp_path / "r", "--whitening", "2")
    with pytest.raises(UsageError, match="measured on the texts of a run"):
        run(tmp_path / "r", "--out", tmp_path / "s", "--whitening", "0.3")
    with pytest.raises(UsageError, match="is for a retriever folder"):
        run(own.path, "--gguf", tmp_path / "s.gguf", "--whitening", "0.3")
    with pytest.raises(UsageError, match="width 64 is more than the 48 that were trained"):
        run(own.path, "--out", tmp_path / "s", "--widths", "64,16", "--whitening", "0.3")
    save(replace(backbone, network=make_network(CONFIGS["gemma3"])), own.training / "final")
    shutil.copytree(tmp_path / "r", own.retriever)
    exact_of_run = open_exact(own.path).encoder.encode_passages(texts[:5])
    assert np.allclose(exact_of_run, evened[:5], atol=1e-2)  # what the run offers, not what it was before
    own.groups.unlink()
    with pytest.raises(UsageError, match=r"is gone.*export without \(--whitening 0\)"):
        run(own.path, "--out", tmp_path / "s", "--whitening", "0.3")


def test_a_retriever_is_exported_again_as_itself(tmp_path: Path) -> None:
    """Name, version, widths, languages, licence and notices of a retriever folder stay; its precision may change."""
    backbone = make_backbone(tmp_path, make_network(CONFIGS["gemma3"]))
    label = Label(name="mine", version="3", dims=(64, 32), default_dim=32, languages=("de",), licence_text="Free.")
    before, _ = export_retriever(backbone, tmp_path / "a", label, precision=FULL_PRECISION)
    (tmp_path / "data.txt").write_text("Data from a test, CC0.\n")
    run(tmp_path / "a", "--out", tmp_path / "b", "--table-bits", "8", "--notice", tmp_path / "data.txt")
    after = open_retriever_folder(tmp_path / "b")
    assert (after.name, after.version, after.dims, after.default_dim) == ("mine", "3", (64, 32), 32)
    assert (after.languages_counted, after.fingerprint == before.fingerprint) == (("de",), False)
    assert "8 bits" in after.precision
    assert (tmp_path / "b" / "LICENSE").read_text() == "Free."
    notice = (tmp_path / "b" / "NOTICE").read_text()
    assert "Made for a test." in notice
    assert "Data from a test, CC0." in notice
    (tmp_path / "a" / "model.safetensors").rename(tmp_path / "body.safetensors")
    with pytest.raises(RetrieverError, match="training weights are neither in it nor beside it"):
        run(tmp_path / "a", "--out", tmp_path / "c")
    run(tmp_path / "a", "--out", tmp_path / "c", "--weights", tmp_path / "body.safetensors", "--widths", "64")
    assert open_retriever_folder(tmp_path / "c").dims == (64,)


def test_a_stopped_run_gives_its_last_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a run has learnt so far is exported, not what it started from, and how to end it is told."""
    backbone = make_backbone(tmp_path, make_network(CONFIGS["xlm-r with head"]))
    own = RunFolder.begin(tmp_path / "run", Recipe(), Inputs())
    save(backbone, own.backbone)
    with torch.no_grad():
        backbone.network.head.bias.add_(5.0)  # type: ignore[union-attr]
    step = place_step(own.training, 1800)
    save_checkpoint(step, backbone.network, tokenizer=backbone.tokenizer, origin=backbone.origin, step=1800)
    run(own.path, "--out", tmp_path / "r", "--precision", "float32", "--table-bits", "32")
    assert "stopped at step 1,800; to end it: drama-train --out" in capsys.readouterr().err
    bias = load_backbone(tmp_path / "r").network.head.bias  # type: ignore[union-attr]
    torch.testing.assert_close(bias, backbone.network.head.bias, atol=0.01, rtol=0)  # type: ignore[union-attr]


def test_a_corrected_notice_takes_the_place_of_the_one_that_was_trained_with(tmp_path: Path) -> None:
    """What is said of a run's data at its export is what holds; notices of its models stay."""
    backbone = make_backbone(tmp_path, make_network(CONFIGS["xlm-r with head"]))
    own = RunFolder.begin(tmp_path / "run", Recipe(), Inputs())
    save(backbone, own.backbone)
    baked = (*backbone.origin.notices, "Data of a mistake.")
    save(replace(backbone, origin=replace(backbone.origin, notices=baked)), own.training / "final")
    (tmp_path / "right.txt").write_text("Data under CC0.")
    run(own.path, "--out", tmp_path / "r", "--notice", tmp_path / "right.txt", "--precision", "float32")
    notice = (tmp_path / "r" / "NOTICE").read_text()
    assert "Data under CC0." in notice
    assert "mistake" not in notice
    assert backbone.origin.notices[0] in notice


def test_widths_that_nothing_trained_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A width beyond the source's own is written if asked for, and a person is told what it is worth."""
    backbone = make_backbone(tmp_path, make_network(CONFIGS["gemma3"]))
    folder = save(replace(backbone, origin=replace(backbone.origin, dims=(32, 16))), tmp_path / "network")
    for width, told in ((32, False), (64, True)):
        run(folder, "--out", tmp_path / "r", "--table-bits", "8", "--widths", width)
        assert ("was trained for (32)" in capsys.readouterr().err) is told


def test_a_language_model_is_made_to_look_both_ways(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A causal checkpoint becomes a bidirectional retriever, and the person is told that it is untrained."""
    config = replace(CONFIGS["causal qwen3 with head"], lm_head="tied", output_size=0)  # type: ignore[call-arg]
    folder = save(make_backbone(tmp_path, make_network(config)), tmp_path / "llm")
    run(folder, "--out", tmp_path / "r", "--table-bits", "8")
    assert "untrained" in capsys.readouterr().err
    assert getattr(load_backbone(tmp_path / "r").config, "causal", None) is False


def test_the_folder_that_one_stands_in_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--out .` writes an empty folder, and replaces the retriever in it."""
    folder = save(make_backbone(tmp_path, make_network(CONFIGS["llama"])), tmp_path / "network")
    (tmp_path / "r").mkdir()
    for version in ("1", "2"):
        monkeypatch.chdir(tmp_path / "r")
        run(folder, "--out", ".", "--name", "here", "--version", version, "--table-bits", "8")
        assert open_retriever_folder(tmp_path / "r").version == version
    assert sorted(each.name for each in tmp_path.iterdir()) == ["for-tokenizer", "network", "r"]


def test_a_gguf_alone_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --gguf and no --out only that file is written, in the type asked for, with the notices of its data."""
    from trainer import gguf_export

    asked: dict[str, object] = {}

    def write(backbone: Backbone, path: Path, **options: object) -> str:
        asked.update(options, path=path, notices=backbone.origin.notices)
        return "written"

    monkeypatch.setattr(gguf_export, "write_checked_gguf", write)
    monkeypatch.setattr(gguf_export, "read_vocabulary", lambda *_, **__: None)  # llama.cpp has no tokenizer of words
    folder = save(make_backbone(tmp_path, make_network(CONFIGS["llama"])), tmp_path / "network")
    (tmp_path / "data.txt").write_text("Data from a test, CC0.\n")
    run(
        folder,
        "--gguf",
        tmp_path / "a.gguf",
        "--gguf-type",
        "q8_0",
        "--without-head",
        "--notice",
        tmp_path / "data.txt",
    )
    notices = ("Made for a test.", "Data from a test, CC0.")
    assert asked == {"path": tmp_path / "a.gguf", "kind": "q8_0", "without_head": True, "notices": notices}


def test_a_gguf_that_cannot_be_is_told_before_the_folder_is_written(tmp_path: Path) -> None:
    """A head that a GGUF has no place for ends the verb before minutes of export, with nothing written."""
    folder = save(make_backbone(tmp_path, make_network(CONFIGS["xlm-r with head"])), tmp_path / "network")
    with pytest.raises(RetrieverError, match="--without-head"):
        run(folder, "--out", tmp_path / "r", "--gguf", tmp_path / "a.gguf")
    assert not (tmp_path / "r").exists()


def test_what_cannot_be_is_told_before_a_network_is_read(tmp_path: Path) -> None:
    """No target, other files in it, missing sets or notices, odd losses: each is a sentence, at once."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for arguments, reason in (
        ([], "name what to write"),
        (["--out", tmp_path / "mine"], "holds other files"),
        (["--out", tmp_path / "r", "--sets", tmp_path / "none"], "no test set found"),
        (["--out", tmp_path / "r", "--notice", tmp_path / "none"], "cannot be read"),
        (["--out", tmp_path / "r", "--largest-loss", "-1"], "--largest-loss must be 0 or more"),
        (["--gguf", tmp_path / "none" / "a.gguf"], "a folder that is there"),
    ):
        with pytest.raises(UsageError, match=reason):
            run(tmp_path / "missing", *arguments)
    with pytest.raises(RetrieverError, match="no such file or folder"):
        run(tmp_path / "missing", "--out", tmp_path / "r")
