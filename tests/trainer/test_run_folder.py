"""The folder of a run, its development sets, and the app's index as a corpus."""

import json
import random
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from drama_app.cli import main as app
from drama_app.errors import NoIndexError, TrainingError, UsageError
from trainer.commands.whole_recipe import run_stage
from trainer.development import divide
from trainer.own_index import count_index_passages, write_index_texts
from trainer.recipe import Recipe
from trainer.records import Passage, Query, RecordWriter, read_records, text_id
from trainer.run_folder import Inputs, RunFolder


def test_a_run_remembers_its_inputs_and_stages(tmp_path: Path):
    """What a run was given and what it has done comes back when its folder is opened."""
    recipe = replace(Recipe(name="mine"), seed=7)
    run = RunFolder.begin(tmp_path / "run", recipe, Inputs(corpus=("/a", "index"), llm_url="http://here"))
    run.finish("corpus", 1.23, {"passages": 4})
    run.finish("augment", 2.0, {})

    opened = RunFolder.open(tmp_path / "run")
    assert (opened.recipe, opened.inputs, opened.done["corpus"]["passages"]) == (recipe, run.inputs, 4)
    assert "python" in json.loads((tmp_path / "run" / "run.json").read_text())["versions"]
    opened.finish("corpus", 1.0, {"passages": 5})
    assert set(RunFolder.open(tmp_path / "run").done) == {"corpus"}


def test_attempts_that_did_not_end_count_in_the_time_of_a_stage(tmp_path: Path):
    """A stage that was stopped twice took the time of all three attempts; run once more it begins at nothing."""
    run = RunFolder.begin(tmp_path / "run", Recipe(), Inputs())
    run.spend("train", 60.0)
    run.spend("train", 30.0)
    opened = RunFolder.open(tmp_path / "run")
    opened.finish("train", 10.0, {})
    assert opened.done["train"]["seconds"] == 100.0
    opened.finish("train", 10.0, {})
    assert RunFolder.open(tmp_path / "run").done["train"]["seconds"] == 10.0


def test_a_folder_that_holds_something_else_is_refused(tmp_path: Path):
    """A run begins in an empty folder only, and opens only what is a run."""
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="not empty"):
        RunFolder.begin(tmp_path, Recipe(), Inputs())
    with pytest.raises(UsageError, match="holds no run"):
        RunFolder.open(tmp_path)
    RunFolder.begin(tmp_path / "run", Recipe(), Inputs())
    with pytest.raises(UsageError, match="--resume"):
        RunFolder.begin(tmp_path / "run", Recipe(), Inputs())
    (tmp_path / "run" / "run.json").write_text('{"schema": 99, "inputs": {}, "stages": {}, "created": 1}')
    with pytest.raises(UsageError, match="schema 99"):
        RunFolder.open(tmp_path / "run")
    (tmp_path / "run" / "run.json").write_text("[")
    with pytest.raises(UsageError, match="cannot be read"):
        RunFolder.open(tmp_path / "run")


def test_two_processes_never_work_in_one_run(tmp_path: Path):
    """While one process holds a run another is told so."""
    run = RunFolder.begin(tmp_path / "run", Recipe(), Inputs())
    with run.locked(), pytest.raises(UsageError, match="another process"), RunFolder.open(run.path).locked():
        pass


def test_inputs_that_were_read_are_told_from_those_still_to_come(tmp_path: Path):
    """A change counts only where the stage that reads it is done; forgetting a stage forgets those behind it."""
    run = RunFolder.begin(tmp_path / "run", Recipe(), Inputs(corpus=("/a",), local_llm="/m.gguf"))
    other = replace(run.inputs, corpus=("/b",), local_llm="/n.gguf", notice="/c")
    assert run.find_outdated(other) == {}
    run.finish("corpus", 1.0, {})
    assert run.find_outdated(other) == {"corpus": "corpus"}
    run.finish("augment", 1.0, {})
    assert run.find_outdated(other) == {"corpus": "corpus", "local_llm": "augment"}
    run.forget("augment")
    assert set(run.done) == {"corpus"} and set(RunFolder.open(run.path).done) == {"corpus", "augment"}


def _write(path: Path, records) -> Path:
    with RecordWriter(path) as writer:
        for record in records:
            writer.write(record)
    return path


def _read(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def test_what_is_held_out_never_trains(tmp_path: Path):
    """Queries and passages of held-out documents are in the development sets of their language and nowhere else."""
    chooser = random.Random(1)
    texts = ["".join(chooser.choices("abcdefghijklmnop ", k=60)) for _ in range(300)]
    passages = [
        Passage(id=text_id(text), text=text, language="de" if n % 3 else "en", document=f"d{n // 2}")
        for n, text in enumerate(texts)
    ]
    queries = [
        Query(id=text_id(f"query {n}"), text=f"query {n}", passage=each.id, kind="crop" if n % 5 == 0 else "written",
              language=each.language)
        for n, each in enumerate(passages)
    ]  # fmt: skip
    figures = divide(
        [_write(tmp_path / "q.jsonl", queries)], [_write(tmp_path / "p.jsonl", passages)],
        training_queries=tmp_path / "tq.jsonl", training_passages=tmp_path / "tp.jsonl",
        development=tmp_path / "dev", held_out=0.3, most=30, seed=0,
    )  # fmt: skip

    trained = {each.passage for each in read_records(tmp_path / "tq.jsonl", Query)}
    known = {each.id for each in read_records(tmp_path / "tp.jsonl", Passage)}
    documents = {each.id: each.document for each in passages}
    assert set(figures["development"]) == {"de", "en"}
    assert figures["development"]["de"] == 30
    for language in ("de", "en"):
        rows = (tmp_path / "dev" / language / "qrels" / "test.tsv").read_text().splitlines()[1:]
        answers = {row.split("\t")[1] for row in rows}
        asked = {json.loads(line)["_id"] for line in _read(tmp_path / "dev" / language / "queries.jsonl")}
        corpus = {json.loads(line)["_id"] for line in _read(tmp_path / "dev" / language / "corpus.jsonl")}
        assert answers <= corpus and not answers & known
        assert not {documents[each] for each in answers} & {documents[each] for each in trained}
        assert not asked & {each.id for each in queries if each.kind == "crop"}


def test_a_held_out_question_has_all_its_answers_and_trains_with_none(tmp_path: Path):
    """A question of several documents is measured with every answer, and neither it nor their neighbours train."""
    chooser = random.Random(2)
    texts = ["".join(chooser.choices("abcdefghijklmnop ", k=60)) for _ in range(200)]
    passages = [
        Passage(id=text_id(text), text=text, language="de", document=f"d{n // 2}") for n, text in enumerate(texts)
    ]
    # Of each document the second passage is asked for by nobody; a question is answered by two documents.
    queries = [
        Query(id=text_id(f"query {n % 50}"), text=f"query {n % 50}", passage=passages[2 * n].id, kind="written",
              language="de")
        for n in range(100)
    ]  # fmt: skip
    divide(
        [_write(tmp_path / "q.jsonl", queries)], [_write(tmp_path / "p.jsonl", passages)],
        training_queries=tmp_path / "tq.jsonl", training_passages=tmp_path / "tp.jsonl",
        development=tmp_path / "dev", held_out=0.3, most=30, seed=0,
    )  # fmt: skip

    rows = [row.split("\t") for row in _read(tmp_path / "dev" / "de" / "qrels" / "test.tsv")[1:]]
    wanted = {(query.id, query.passage) for query in queries if query.id in {row[0] for row in rows}}
    assert len(rows) > 10 and {(row[0], row[1]) for row in rows} == wanted
    assert not {row[0] for row in rows} & {each.id for each in read_records(tmp_path / "tq.jsonl", Query)}
    left = Counter(each.document for each in read_records(tmp_path / "tp.jsonl", Passage))
    assert set(left.values()) == {2} and len(left) < 100


def test_the_index_of_the_app_is_a_corpus(tmp_path: Path, tiny: Path, capsys):
    """Every passage that the app has indexed comes as a row with its title and document; no index is told."""
    assert count_index_passages() == 0
    with pytest.raises(NoIndexError, match="drama-app index"):
        write_index_texts(tmp_path / "none.jsonl")
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "bees.md").write_text("# Bees\n\n## Dance\n\nThey dance to tell where food is.\n", encoding="utf-8")
    (folder / "tea.txt").write_text("Tea is grown on hills.\n", encoding="utf-8")
    app(["index", str(folder), "--retriever", str(tiny)])

    assert write_index_texts(tmp_path / "texts.jsonl") == count_index_passages()
    rows = [json.loads(line) for line in _read(tmp_path / "texts.jsonl")]
    assert any("They dance" in row["text"] and row["title"].startswith("Bees") for row in rows), rows
    assert len({row["document"] for row in rows}) == 2


def test_a_stage_that_broke_down_says_how_to_go_on(tmp_path, monkeypatch):
    """What a server, a disk or the data stopped ends with its own words, its own code and the command to go on with."""
    run = RunFolder.begin(tmp_path / "run", Recipe(), Inputs())
    for error, kind in ((UsageError("http://x: does not answer."), UsageError), (OSError("disk full"), TrainingError)):

        def fail(_run, _report, error=error):
            raise error

        monkeypatch.setattr("trainer.stages.augment", fail)
        said = (
            f"augment: {str(error).rstrip('.')}; once that is mended go on with: drama-train --out {run.path} --resume"
        )
        with pytest.raises(kind, match=re.escape(said)):
            run_stage(run, "augment")
