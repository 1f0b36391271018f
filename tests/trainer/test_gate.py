"""Rounding is judged by what it costs in retrieval, by language, and chance is told from loss."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from drama_app.errors import UsageError
from drama_app.records import Document
from trainer import evaluate
from trainer.gate import (
    ALL,
    FEW_TOGETHER,
    DevelopmentSet,
    Scores,
    describe_verdict,
    judge,
    measure,
    read_development,
    select,
)


class Compass:
    """An encoder whose texts are angles in degrees."""

    dim, fingerprint = 3, "compass"

    def encode_queries(self, texts: list[str]) -> NDArray[np.float32]:
        angles = np.radians([float(text.split()[-1]) for text in texts])
        return np.stack([np.cos(angles), np.sin(angles), np.zeros(len(texts))], axis=1).astype(np.float32)

    encode_passages = encode_queries


def make_scores(**values: list[float]) -> Scores:
    return Scores(values=values, passages_per_second=1.0)


def test_documents_are_ranked_by_their_best_passage() -> None:
    """The values are those of nDCG by hand, apart for each language, at the width asked for."""
    each = DevelopmentSet(
        name="angles", queries=("0", "90", "10"), languages=("de", "de", "fr"),
        relevant=({"far": 1.0}, {"far": 1.0}, {"near": 1.0, "middle": 1.0}),
        documents=("near", "middle", "far"), passages=("5", "50", "170", "100"), starts=(0, 1, 2),
    )  # fmt: skip
    scores = measure(Compass(), [each], width=2, report=lambda text: None)
    # For 0 degrees "far" comes third (its best passage has 100), for 90 first by that passage; for 10 both come first.
    assert scores.values == {"de": pytest.approx([0.5, 1.0]), "fr": pytest.approx([1.0])}
    assert scores.means == {"de": pytest.approx(0.75), "fr": pytest.approx(1.0)}
    assert scores.mean == pytest.approx(2.5 / 3)
    narrow = measure(Compass(), [each], width=1, report=lambda text: None)
    assert narrow.values["de"][1] < 1.0
    with pytest.raises(UsageError, match="no development sets"):
        measure(Compass(), [], width=2, report=lambda text: None)


def test_a_loss_in_one_language_fails() -> None:
    """A language that loses more than the limit fails, whatever the others gain, and the verdict names it."""
    exact = make_scores(de=[1.0] * 100, fr=[0.5] * 100)
    rounded = make_scores(de=[1.0] * 98 + [0.0] * 2, fr=[0.9] * 100)
    verdict = judge(exact, rounded, largest_loss=0.01)
    assert (verdict.failed, verdict.worst, verdict.passes) == (("de",), "de", False)
    assert verdict.changes["de"].mean == pytest.approx(-0.02)
    assert judge(exact, rounded, largest_loss=0.03).passes
    told = describe_verdict(rounded, verdict)
    assert told["change"] == {"de": -0.02, "fr": 0.4, ALL: 0.19}
    assert told["worst_change"][0] == -0.02
    assert json.loads(json.dumps(told)) == told


def test_few_queries_fail_by_more_than_chance_only() -> None:
    """With twenty queries one that falls is no verdict, but several are."""
    exact = make_scores(de=[1.0] * 20)
    one = judge(exact, make_scores(de=[1.0] * 19 + [0.63]), largest_loss=0.01)
    assert (one.passes, one.unsure) == (True, ("de",))
    assert not judge(exact, make_scores(de=[1.0] * 14 + [0.63] * 6), largest_loss=0.01).passes


def test_one_query_is_no_verdict() -> None:
    """The single query of a language cannot stop an export by falling to the second rank; of six, all can."""
    others = {"en": [1.0] * 400, "fr": [1.0] * 40}
    exact = make_scores(ne=[1.0], **others)
    verdict = judge(exact, make_scores(ne=[0.63], **others), largest_loss=0.01)
    assert (verdict.passes, verdict.unsure) == (True, ("ne",))
    exact, rounded = (make_scores(ne=[value] * 6, **others) for value in (1.0, 0.63))
    assert "ne" in judge(exact, rounded, largest_loss=0.01).failed


def test_languages_with_few_queries_answer_together() -> None:
    """A small loss that many small languages share is found though each alone may be chance."""
    exact = {f"l{number}": [1.0] * 20 for number in range(8)} | {"de": [1.0] * 400}
    rounded = {name: [1.0] * (len(own) - (name != "de")) + [0.63] * (name != "de") for name, own in exact.items()}
    verdict = judge(make_scores(**exact), make_scores(**rounded), largest_loss=0.01)
    assert verdict.failed == (FEW_TOGETHER,)
    assert len(verdict.unsure) == 8


def test_selected_passages_keep_every_answer() -> None:
    """However few passages are asked for, the answers stay; the others come in their order."""
    documents = {
        f"d{number}": Document(text=f"Text number {number}.", kind="text", title="Title") for number in range(9)
    }
    documents["empty"] = Document(text="", kind="text", title="")
    queries = {"q1": "seven?", "q2": "five?"}
    relevant = {"q1": {"d8": 0.0, "d7": 1.0}, "q2": {"d5": 2.0, "empty": 1.0}}  # d8 was judged, and answers nothing
    test_set = evaluate.TestSet("set", documents, queries, relevant, {"q1": "en", "q2": "de"})
    chosen = select(test_set, passages=3)
    assert chosen.documents == ("d5", "d7", "d0")
    assert chosen.languages == ("en", "de")
    assert chosen.starts == (0, 1, 2)
    assert chosen.passages[0] == "Title\nText number 5."
    assert select(test_set, passages=0).documents == ("d5", "d7")
    with pytest.raises(UsageError, match="hold no text"):
        select(evaluate.TestSet("set", {"empty": documents["empty"]}, queries, relevant), passages=3)


def test_development_sets_are_read_from_a_folder(tmp_path: Path) -> None:
    """Every set below a folder is read with the limits asked for; no folder or an empty one holds none."""
    assert read_development(tmp_path / "missing") == ()
    assert read_development(tmp_path) == ()
    for name in ("de", "fr"):
        folder = tmp_path / "sets" / name
        (folder / "qrels").mkdir(parents=True)
        rows = [{"_id": f"d{number}", "text": f"Text {number} here."} for number in range(5)]
        (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)))
        rows = [{"_id": f"q{number}", "text": f"Question {number}?", "lang": name} for number in range(4)]
        (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, rows)))
        (folder / "qrels" / "test.tsv").write_text("".join(f"q{number}\td{number}\t1\n" for number in range(4)))
    sets = read_development(tmp_path / "sets", queries=2, passages=3)
    assert [(each.name, len(each.queries)) for each in sets] == [("de", 2), ("fr", 2)]
    assert [set(each.languages) for each in sets] == [{"de"}, {"fr"}]
    assert all(len(each.passages) == 3 for each in sets)
    assert read_development(tmp_path / "sets" / "de")[0].name == "de"
