"""Augmentation as a stage: the same data each time, killed or not, with everything counted."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from drama_app.embed import open_retriever
from drama_app.errors import TrainingError, UsageError
from tests.trainer.scripted_generator import ScriptedGenerator
from trainer import stages
from trainer.augment.ledger import KEPT, Outcome, Tally, format_time, run_blocks
from trainer.augment.run import (
    choose_passages,
    crop_passages,
    invent_triplets,
    rerank_queries,
    share_out,
    write_queries,
)
from trainer.augment.triplets import read_near_misses
from trainer.recipe import AugmentRecipe, Recipe
from trainer.records import Passage, Query, RecordWriter, TrainingGroup, read_records, text_id
from trainer.run_folder import Inputs, RunFolder

ROOT = Path(__file__).resolve().parent.parent.parent
RECIPE = AugmentRecipe(kinds=("question", "keywords"), queries=60, crops=50)
WORDS = {
    "en": "river valley mill stone wheel autumn museum bridge harbour engine window garden mountain letter machine",
    "de": "Fluss Tal Mühle Stein Rad Herbst Brücke Hafen Fenster Garten Gebirge Brief Maschine Wiese Straße",
}  # fmt: skip


@pytest.fixture
def passages(tmp_path):
    """A hundred passages in two languages, and ten in one without prompts."""
    path = tmp_path / "passages.jsonl"
    with RecordWriter(path) as writer:
        for number in range(110):
            language = ("en", "de")[number % 2]
            words = WORDS[language].split()
            text = ". ".join(
                f"{' '.join(words[at] for at in range(number % 5, 15, 2))} {number}{at}" for at in range(4)
            )
            passage = Passage(id="", text=text, language=language if number < 100 else "xx", source="test")
            writer.write(Passage(id=text_id(text), text=text, language=passage.language, source="test"))
    return path


def test_the_same_seed_gives_the_same_queries(passages, tmp_path):
    """Two runs with one seed write the same bytes, another seed others; each reject has a language and a reason."""
    generators = [ScriptedGenerator() for _ in range(3)]
    tallies = [
        write_queries(passages, tmp_path / name, RECIPE, generator, seed=seed)
        for (name, seed), generator in zip((("a.jsonl", 1), ("b.jsonl", 1), ("c.jsonl", 2)), generators, strict=True)
    ]
    contents = [(tmp_path / name).read_bytes() for name in ("a.jsonl", "b.jsonl", "c.jsonl")]

    assert contents[0] == contents[1] != contents[2]
    queries = list(read_records(tmp_path / "a.jsonl", Query))
    assert len(queries) == tallies[0].kept == len({query.id for query in queries})
    assert {query.kind for query in queries} == {"question", "keywords"}
    assert set(tallies[0].counts) <= {"en", "de"}
    kept = Counter(query.language for query in queries)
    assert all(tallies[0].counts[language][KEPT] == count for language, count in kept.items())
    assert tallies[0].asked >= tallies[0].kept > 0
    assert tallies[0].usage.written == 3 * len(generators[0].prompts)


def test_a_finished_run_is_not_done_again(passages, tmp_path):
    """The same call once more writes nothing and returns the same tally; another recipe makes the file anew."""
    out = tmp_path / "q.jsonl"
    first = write_queries(passages, out, RECIPE, ScriptedGenerator(), seed=1)
    again = ScriptedGenerator()

    assert write_queries(passages, out, RECIPE, again, seed=1).as_row()["counts"] == first.as_row()["counts"]
    assert not again.prompts
    write_queries(passages, out, AugmentRecipe(kinds=("claim",), queries=5), again, seed=1)
    assert again.prompts
    assert {query.kind for query in read_records(out, Query)} <= {"claim"}


_SCRIPT = """
import sys
from pathlib import Path
from tests.trainer.scripted_generator import ScriptedGenerator
from trainer.augment.run import write_queries
from trainer.recipe import AugmentRecipe
recipe = AugmentRecipe(kinds=("question", "keywords"), queries=60, crops=50)
write_queries(Path(sys.argv[1]), Path(sys.argv[2]), recipe, ScriptedGenerator(delay=0.05), seed=1)
"""


def test_a_killed_run_goes_on_where_it_stopped(passages, tmp_path):
    """SIGKILL in the middle, a torn line behind, and the next run ends with the bytes of one that was never stopped."""
    uninterrupted = ScriptedGenerator()
    write_queries(passages, tmp_path / "whole.jsonl", RECIPE, uninterrupted, seed=1)
    out, log = tmp_path / "q.jsonl", tmp_path / "q.jsonl.log.jsonl"
    command = [sys.executable, "-c", _SCRIPT, str(passages), str(out)]
    process = subprocess.Popen(command, cwd=ROOT)
    until = time.monotonic() + 20
    while time.monotonic() < until and (not log.exists() or log.read_text().count("\n") < 6):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = log.read_text().count("\n") - 1
    assert done >= 5
    assert not out.exists()
    with (tmp_path / "q.jsonl.partial").open("ab") as stream:
        stream.write(b'{"id": "torn')

    generator = ScriptedGenerator()
    tally = write_queries(passages, out, RECIPE, generator, seed=1)

    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert len(generator.prompts) == len(uninterrupted.prompts) - 4 * done
    report = json.loads((tmp_path / "q.jsonl.report.json").read_text())
    whole = json.loads((tmp_path / "whole.jsonl.report.json").read_text())
    assert report["counts"] == whole["counts"]
    assert tally.usage.written == whole["usage"]["written"]
    assert not log.exists()


def test_a_log_ahead_of_its_records_is_cut_back(tmp_path):
    """After a power cut that lost records the blocks without them are done again, none twice."""
    stop = [True]

    def make(block, notes):
        if block == 5 and stop:
            raise KeyboardInterrupt
        notes["blocks"] += 1
        for name in ("a", "b"):
            yield Outcome(Query(id=f"{block}{name}", text=f"{block}{name}", passage="p", kind="crop", language="en"))

    out = tmp_path / "q.jsonl"
    with pytest.raises(KeyboardInterrupt):
        run_blocks(range(8), make, out, key="k")
    partial = tmp_path / "q.jsonl.partial"
    partial.write_bytes(b"".join(partial.read_bytes().splitlines(keepends=True)[:5]))
    stop.clear()
    tally = run_blocks(range(8), make, out, key="k")

    assert [query.id for query in read_records(out, Query)] == [f"{n}{name}" for n in range(8) for name in "ab"]
    assert tally.notes["blocks"] == 8
    assert run_blocks(range(8), make, out, key="other").kept == 16


def test_a_model_that_writes_nothing_of_use_is_not_asked_all_night(tmp_path):
    """After 400 of which none is kept a run ends with the reasons; texts that need no model go on."""

    def make(block, notes):
        for number in range(50):
            query = Query(id=f"{block}-{number}", text="", passage="p", kind="question", language="en")
            yield Outcome(query, "nothing written" if number else "too short")

    with pytest.raises(
        TrainingError, match=r"of 400 .* none can be used \(nothing written 392, too short 8\); begin another run"
    ):
        run_blocks(range(20), make, tmp_path / "q.jsonl", key="k", must_keep=True)
    assert run_blocks(range(20), make, tmp_path / "crops.jsonl", key="k").asked == 1000


def test_a_run_killed_before_its_report_makes_nothing_again(tmp_path):
    """Records that have their last name while the report is missing are taken as they are."""

    def make(block, notes):
        yield Outcome(Query(id=f"{block}", text=f"{block}", passage="p", kind="crop", language="en"))

    out, log = tmp_path / "q.jsonl", tmp_path / "q.jsonl.log.jsonl"
    logged: list[str] = []
    run_blocks(range(4), make, out, key="k", report=lambda _: logged.append(log.read_text()))
    log.write_text(logged[-1])
    (tmp_path / "q.jsonl.report.json").unlink()

    def refuse(block, notes):
        raise AssertionError(f"block {block} is made again")

    assert run_blocks(range(4), refuse, out, key="k").kept == len(list(read_records(out, Query))) == 4


def test_most_is_kept_to_and_nothing_comes_twice(tmp_path):
    """A stage stops at exactly as many records as wanted; the same text a second time is a reject."""

    def make(block, notes):
        for name in ("same", f"one {block}", f"two {block}"):
            yield Outcome(Query(id=text_id(name), text=name, passage="p", kind="crop", language="en"))

    said: list[str] = []
    tally = run_blocks(range(100), make, tmp_path / "q.jsonl", key="k", most=8, report=said.append)

    assert tally.kept == len(list(read_records(tmp_path / "q.jsonl", Query))) == 8
    assert tally.counts["en"]["the same query once more"] == 3
    assert said[-1].startswith("8 of 8 kept")
    assert len(said) == 4
    assert [format_time(seconds) for seconds in (45, 600, 12_000)] == ["45 s", "10 min", "3 h 20 min"]


def test_crops_are_written_and_counted(passages, tmp_path):
    """Crops of every language, prompts or not, are written up to the recipe's number."""
    tally = crop_passages(passages, tmp_path / "crops.jsonl", RECIPE, seed=1)
    crops = list(read_records(tmp_path / "crops.jsonl", Query))

    assert len(crops) == tally.kept <= 50
    assert {each.kind for each in crops} == {"crop"}
    assert "xx" in {each.language for each in crops}
    first = (tmp_path / "crops.jsonl").read_bytes()
    crop_passages(passages, tmp_path / "again.jsonl", RECIPE, seed=1)
    assert (tmp_path / "again.jsonl").read_bytes() == first


def test_the_round_trip_uses_the_retriever(passages, tmp_path, tiny):
    """With a retriever, queries that do not find their passage are rejected for it."""
    encoder = open_retriever(tiny)
    tally = write_queries(passages, tmp_path / "q.jsonl", RECIPE, ScriptedGenerator(), seed=1, encoder=encoder)

    assert sum(counts["does not find its passage"] for counts in tally.counts.values()) > 0


def test_reranking_takes_candidates_of_the_query_language(passages, tmp_path, tiny):
    """Each query becomes a group of passages in its passage's language; a query of another corpus is refused."""
    write_queries(passages, tmp_path / "q.jsonl", RECIPE, ScriptedGenerator(), seed=1)
    texts = ["[2] > [1] > [3]"] * 16
    tally = rerank_queries(
        tmp_path / "q.jsonl", passages, tmp_path / "groups.jsonl", ScriptedGenerator(texts=texts), open_retriever(tiny),
        work=tmp_path, most=16,
    )  # fmt: skip
    groups = list(read_records(tmp_path / "groups.jsonl", TrainingGroup))
    languages = {each.id: each.language for each in read_records(passages, Passage)}

    assert tally.kept == len(groups) == 16
    assert tally.notes["orders repaired"] == 16
    assert len({group.language for group in groups}) > 1  # not the file's first
    for group in groups:
        assert {languages[each] for each in (*group.positives, *group.negatives)} == {group.language}
        assert group.kind == "rerank"
    with RecordWriter(tmp_path / "foreign.jsonl") as writer:
        writer.write(Query(id="q", text="?", passage="nowhere", kind="question"))
    with pytest.raises(UsageError, match="nowhere"):
        rerank_queries(
            tmp_path / "foreign.jsonl", passages, tmp_path / "g.jsonl", ScriptedGenerator(), open_retriever(tiny),
            work=tmp_path,
        )  # fmt: skip


def test_triplets_write_queries_and_their_passages(passages, tmp_path):
    """Kept triplets have both passages in the file, each once; the scratch file is gone."""
    labels = {"en": ("Answer", "Near miss"), "de": ("Antwort", "Daneben")}

    class Inventor(ScriptedGenerator):
        def write(self, prompts, sampling, *, seeds):
            super().write(prompts, sampling, seeds=seeds)
            texts = []
            for prompt, seed in zip(prompts, seeds, strict=True):
                answer, miss = labels["de" if prompt.labels[0] == "Thema" else "en"]
                first = f"Number {seed} answers what was asked here, at some length and with care."
                second = f"Something else entirely stands in this one, and it is about {seed} as well."
                texts.append(f"asking {seed}\n{answer}: {first}\n{miss}: {second}" if seed % 3 else "broken")
            return texts

    out, invented = tmp_path / "t.jsonl", tmp_path / "invented.jsonl"
    tally = invent_triplets(passages, out, invented, RECIPE, Inventor(), seed=1, most=10)
    queries, texts = list(read_records(out, Query)), list(read_records(invented, Passage))

    assert tally.kept == len(queries) == 10
    assert {query.passage for query in queries} <= {each.id for each in texts}
    assert len(texts) == len({each.id for each in texts}) == 20
    assert sum(counts["not three parts"] for counts in tally.counts.values()) > 0
    assert sorted(path.name for path in tmp_path.glob("t.jsonl*")) == ["t.jsonl", "t.jsonl.report.json"]
    misses = read_near_misses(invented)
    assert {query.passage for query in queries} == set(misses) and not set(misses) & set(misses.values())
    before = invented.read_bytes()
    again = invent_triplets(passages, out, invented, RECIPE, Inventor(), seed=1, most=10)
    assert again.kept == 10 and invented.read_bytes() == before


def test_passages_are_chosen_fairly_and_the_same_each_time(passages):
    """Small languages get more than their share, none more than it has, and the choice depends on the seed."""
    assert share_out({"a": 100, "b": 4, "c": 1}, 12) == {"a": 9, "b": 2, "c": 1}
    assert share_out({"a": 3, "b": 2}, 100) == {"a": 3, "b": 2}
    assert sum(share_out({str(number): 50 for number in range(30)}, 7).values()) == 7
    first = choose_passages(passages, 20, seed=1)
    assert first == choose_passages(passages, 20, seed=1) != choose_passages(passages, 20, seed=2)
    assert sum(map(len, first.values())) == 20
    assert set(choose_passages(passages, 20, languages=("de",), seed=1)) == {"de"}
    with pytest.raises(UsageError, match="no passage"):
        choose_passages(passages, 20, languages=("fr",), seed=1)


def test_a_language_without_prompts_is_told(tmp_path):
    """Where nothing is in a language that there are prompts for, the stage says so in its figures and needs no LLM."""
    recipe = Recipe(augment=AugmentRecipe(kinds=("crop", "question"), queries=50, crops=100))
    run = RunFolder.begin(tmp_path / "run", recipe, Inputs())
    text = "მდინარე მთიდან თოვლს ჩამოიტანს. პურს ფქვილი და დრო სჭირდება. ფუტკარი ცეკვავს და გზას აჩვენებს."
    run.passages.parent.mkdir(parents=True, exist_ok=True)
    with RecordWriter(run.passages) as writer:
        for number in range(30):
            writer.write(Passage(id=f"p{number}", text=f"{text} {number}", language="ka", document=f"d{number}"))
    run.finish("corpus", 1.0, {"languages": {"ka": 30}})
    assert "no prompts for ka" in stages.augment(run, lambda text: None)["note"]


def test_next_to_nothing_kept_is_told():
    """Where fewer than one in ten of the LLM's queries can be used, the stage says how many, and why."""
    silent = Tally(counts={"en": Counter({"empty": 15, "kept": 1}), "de": Counter({"empty": 4})})
    told = stages._note_few(("generated", silent))

    assert told == "of 20 queries that the language model wrote 1 could be kept (empty: 19)"
    assert stages._note_few(("crop", silent)) == ""
    assert stages._note_few(("generated", Tally(counts={"en": Counter(kept=12, empty=88)}))) == ""
    assert stages._note_few(("generated", Tally())) == ""


def test_recipes_without_a_style_are_refused(passages, tmp_path):
    """A recipe that names no style says which there are."""
    with pytest.raises(UsageError, match="question, keywords, claim"):
        write_queries(passages, tmp_path / "q.jsonl", AugmentRecipe(kinds=("crop",)), ScriptedGenerator(), seed=1)
