"""The precision of a retriever is what its development sets allow, and the folder tells how it was chosen."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from drama_app.embed import open_retriever  # noqa: E402
from drama_app.errors import RetrieverError, UsageError  # noqa: E402
from tests.tiny_retriever import WORDS  # noqa: E402
from tests.trainer.test_export import CONFIGS, LABEL, TEXTS, make_backbone, make_network  # noqa: E402
from trainer import export  # noqa: E402
from trainer.card import summarise_stages  # noqa: E402
from trainer.export import export_gated  # noqa: E402
from trainer.gate import DevelopmentSet  # noqa: E402
from trainer.precisions import list_choices  # noqa: E402
from trainer.recipe import PRECISIONS, ExportRecipe  # noqa: E402

PASSAGES = tuple(" ".join(WORDS[start : start + 6]) for start in range(54))
DEVELOPMENT = DevelopmentSet(
    name="words", queries=tuple(" ".join(each.split()[:4]) for each in PASSAGES[:52]),
    languages=("en",) * 26 + ("de",) * 26, relevant=tuple({str(number): 1.0} for number in range(52)),
    documents=tuple(map(str, range(54))), passages=PASSAGES, starts=tuple(range(54)),
)  # fmt: skip
EIGHT = ExportRecipe(table_bits=8)
MADE = summarise_stages({"train": {"steps": 12_000, "loss": 0.25, "finished": 9, "kinds": {"crop": 1}}, "report": {}})


def fix_verdicts(verdicts: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the gate pass or fail in turn as told, with the figures that it found."""
    real, told = export.judge, iter(verdicts)

    def judge(*scores: Any, **options: Any) -> Any:
        return replace(real(*scores, **options), failed=() if next(told) else ("en",))

    monkeypatch.setattr(export, "judge", judge)


def test_the_first_that_passes_is_written_with_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second precision passes: the folder has it, and card and metrics show both with their figures."""
    fix_verdicts([False, True], monkeypatch)
    backbone = make_backbone(tmp_path, make_network(CONFIGS["xlm-r with head"]))
    label = replace(LABEL, made=MADE, notices=("Pairs from a test, CC0.",), licence_text="As you like.", dims=(48, 24))
    told: list[str] = []
    retriever, gate = export_gated(
        backbone, tmp_path / "r", label, EIGHT, development=[DEVELOPMENT], texts=TEXTS, report=told.append
    )
    assert [each["name"] for each in gate["tried"]] == ["int8, 8-bit table", "int8-smooth, 8-bit table"]
    assert gate["chosen"] == "int8-smooth, 8-bit table"
    assert gate["queries"] == {"de": 26, "en": 26}
    assert "smoothing 0.5" in retriever.precision
    assert json.loads((tmp_path / "r" / "metrics.json").read_text())["gate"] == gate
    card = (tmp_path / "r" / "card.md").read_text()
    for line in (
        "- **train**: steps 12,000, loss 0.25\n", "Pairs from a test, CC0.", "Made for a test.", "Licence: MIT.",
        "| de | 26 | ", "| int8, 8-bit table | ", "fails: en", "48, 24 numbers (48 unless",
    ):  # fmt: skip
        assert line in card, card
    assert "finished" not in card
    assert (tmp_path / "r" / "LICENSE").read_text() == "As you like."
    assert any("float32: words (1 of 1), 54 passages" in each for each in told)
    assert open_retriever(tmp_path / "r", threads=1).encode_queries(["bread"]).shape == (1, 48)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["for-tokenizer", "r"]


def test_figures_are_those_of_what_was_written(tmp_path: Path) -> None:
    """Where nothing is rounded, the retriever scores as its network does in every language."""
    network = make_network(CONFIGS["gemma3"])
    _, gate = export_gated(
        make_backbone(tmp_path, network), tmp_path / "r", LABEL, replace(EIGHT, precision="float32", table_bits=32),
        development=[DEVELOPMENT], texts=TEXTS,
    )  # fmt: skip
    assert gate["by_language"] == gate["float32"]["by_language"]
    assert 0 < gate["ndcg10"] == gate["ndcg10_float32"] <= 1
    assert gate["tried"][0]["change"] == {"de": 0.0, "en": 0.0, "all": 0.0}


def test_float32_is_ranked_at_the_width_that_is_written(tmp_path: Path) -> None:
    """Widths beyond those that the source was trained for are compared with as many columns of its network."""
    backbone = make_backbone(tmp_path, make_network(CONFIGS["gemma3"]))
    narrow = replace(backbone, origin=replace(backbone.origin, dims=(2,)))
    recipe, label = replace(EIGHT, precision="float32", table_bits=32), replace(LABEL, dims=(64,))
    _, gate = export_gated(narrow, tmp_path / "r", label, recipe, development=[DEVELOPMENT], texts=TEXTS)
    assert gate["width"] == 64
    assert gate["by_language"] == gate["float32"]["by_language"]


def test_vectors_that_are_far_off_are_not_ranked(tmp_path: Path) -> None:
    """On random rows a 4-bit table errs so much that the export goes on to 8 bits by itself."""
    loud = make_network(CONFIGS["llama"], loud=("input_layernorm.weight", "up_proj.weight"))
    recipe = ExportRecipe(largest_loss=1.0)
    _, gate = export_gated(
        make_backbone(tmp_path, loud), tmp_path / "r", LABEL, recipe, development=[DEVELOPMENT], texts=TEXTS
    )
    names = [each["name"] for each in gate["tried"]]
    assert names == [each.name for each in list_choices()][: len(names)]
    assert all("fault" in each for each in gate["tried"][:-1])
    assert gate["chosen"].endswith("8-bit table")
    assert "vectors too far off" in (tmp_path / "r" / "card.md").read_text()


def test_if_none_passes_the_figures_are_told_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names every precision with what it lost, and an earlier folder stays as it was."""
    backbone = make_backbone(tmp_path, make_network(CONFIGS["llama"]))
    before, _ = export_gated(backbone, tmp_path / "r", LABEL, EIGHT, texts=TEXTS)
    fix_verdicts([False] * 5, monkeypatch)
    with pytest.raises(
        RetrieverError, match=r"no precision keeps .* int8, 8-bit table, .* float32, 8-bit table"
    ) as caught:
        export_gated(backbone, tmp_path / "r", LABEL, EIGHT, development=[DEVELOPMENT], texts=TEXTS)
    assert str(caught.value).count("nDCG@10 0.") == 5
    assert open_retriever(tmp_path / "r").fingerprint == before.fingerprint
    assert sorted(each.name for each in tmp_path.iterdir()) == ["for-tokenizer", "r"]


def test_without_development_sets_nothing_plain_is_tried(tmp_path: Path) -> None:
    """The cosine decides then, the first try has every remedy, and the card says that nothing was measured."""
    backbone = make_backbone(tmp_path, make_network(CONFIGS["gemma3"]))
    _, gate = export_gated(backbone, tmp_path / "r", LABEL, EIGHT, texts=TEXTS)
    assert gate["chosen"] == "int8-levelled, 8-bit table"
    assert "ndcg10" not in gate
    assert "Not measured" in (tmp_path / "r" / "card.md").read_text()


def test_recipes_and_labels_that_cannot_be_are_refused(tmp_path: Path) -> None:
    """Unknown precisions, widths of tables, names and places are told before anything is computed."""
    for options, reason in (({"precision": "int3"}, "precision"), ({"table_bits": 5}, "2, 4, 8 or 32")):
        with pytest.raises(ValueError, match=reason):
            ExportRecipe(**options)
    backbone = make_backbone(tmp_path, make_network(CONFIGS["llama"]))
    with pytest.raises(UsageError, match="a name or version is letters"):
        export_gated(backbone, tmp_path / "r", replace(LABEL, name="a/b"), EIGHT)
    with pytest.raises(UsageError, match="cannot be cut from embeddings of 64"):
        export_gated(backbone, tmp_path / "r", LABEL, ExportRecipe(widths=(128,)))


def test_precisions_become_more_exact() -> None:
    """Every name of a recipe is tried as it is; by itself the order goes on to the next wider table and float32."""
    assert [each.name for each in list_choices()] == [
        "int8, 4-bit table", "int8-smooth, 4-bit table", "int8-levelled, 4-bit table", "int8-down, 4-bit table",
        "int8-levelled, 8-bit table", "int8-down, 8-bit table", "float32, 8-bit table",
    ]  # fmt: skip
    assert [each.name for each in list_choices(table_bits=2)] == [
        "int8, 2-bit table", "int8-smooth, 2-bit table", "int8-levelled, 2-bit table", "int8-down, 2-bit table",
        "int8-levelled, 4-bit table", "int8-down, 4-bit table", "float32, 4-bit table",
    ]  # fmt: skip
    assert [each.name for each in list_choices(table_bits=32)][-1] == "float32, 32-bit table"
    for name in PRECISIONS[1:]:
        (only,) = list_choices(name, table_bits=8)
        assert (only.name, only.precision.table_bits) == (f"{name}, 8-bit table", 8)


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """A folder below a file is a sentence, not a traceback."""
    backbone = make_backbone(tmp_path, make_network(CONFIGS["llama"]))
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="cannot be written"):
        export_gated(backbone, tmp_path / "file" / "r", LABEL, EIGHT, texts=TEXTS)
