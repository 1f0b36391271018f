"""The whole recipe on tiny models: from texts and a local LLM to a retriever folder with which the app finds a file."""

import io
import json
import os
import re
import shutil
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from drama_app.cli import main as app
from drama_app.retriever import default_retriever_folder, open_retriever_folder
from tests.trainer.tiny_gguf import make_tiny_gguf
from trainer.checkpoint import open_checkpoint
from trainer.cli import main
from trainer.narration import show_progress
from trainer.plan import make_plan
from trainer.recipe import PruneRecipe, read_recipe
from trainer.records import Passage, Query, RecordWriter, TrainingGroup, read_records
from trainer.run_folder import STAGES, Inputs, RunFolder

PLACES = ("Avaria", "Belmont", "Corvina", "Dunmore", "Eldoria", "Fernhill", "Granada", "Holmgard", "Istria", "Jutland")
THINGS = ("lighthouse", "vineyard", "observatory", "shipyard", "monastery", "aqueduct", "brewery", "glassworks")
DEEDS = ("painted", "flooded", "rebuilt", "measured", "abandoned", "decorated")


def describe(number: int) -> str:
    place, thing = PLACES[number % len(PLACES)], THINGS[number // 3 % len(THINGS)]
    deed, year = DEEDS[number % len(DEEDS)], 1500 + 7 * number
    return (
        f"The {thing} of {place} was {deed} in {year}. Its keeper wrote that {number + 3} workers came from the "
        f"harbour every morning, and that the {thing} stood on a rock above the {place} road."
    )


class _Writer(BaseHTTPRequestHandler):
    """An endpoint that asks about two words of the passage it is shown."""

    def do_GET(self):
        self._send({"data": [{"id": "writer"}]})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        shown = asked["messages"][-1]["content"] if "messages" in asked else asked["prompt"]
        found = re.findall(r"The (\w+) of (\w+) was (\w+)", shown) or [("door", "Rome", "open")]
        thing, place, deed = found[-1]
        text = f"In which year did people say that a {thing} near {place} had been {deed}?"
        choice = {"message": {"content": text}} if "messages" in asked else {"text": text}
        self._send({"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 9}})

    def log_message(self, *arguments):
        pass

    def _send(self, content):
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope="module")
def endpoint():
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Writer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    rows = [{"text": describe(n), "lang": "en", "document": f"chronicle {n // 2}"} for n in range(160)]
    (folder / "chronicles.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    pairs = [
        {"query": f"What happened to the {THINGS[n // 3 % 8]} of {PLACES[n % 10]} in {1500 + 7 * n}?",
         "positive": describe(n), "lang": "en"}
        for n in range(0, 160, 2)
    ]  # fmt: skip
    (folder.parent / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("gguf")
    return make_tiny_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, corpus, gguf, endpoint) -> Path:
    """A run that has come to its end, with the shipped retriever as the present one."""
    run = tmp_path_factory.mktemp("run") / "run"
    arguments = ["--recipe", "tiny", "--local-llm", gguf, "--llm-url", endpoint, "--corpus", corpus,
                 "--pairs", corpus.parent / "pairs.jsonl", "--out", run]  # fmt: skip
    assert main(list(map(str, arguments))) == 0
    return run


def test_every_stage_leaves_its_files_and_figures(finished):
    """The whole recipe makes passages, queries, groups, a pruned network, a trained one, a retriever and a report."""
    run = RunFolder.open(finished)

    assert tuple(run.done) == STAGES
    assert run.done["corpus"]["passages"] > 100
    assert run.done["augment"]["tallies"]["generated"]["counts"]["en"]["kept"] > 5
    assert run.done["mine"]["negatives"] > run.done["mine"]["groups"]
    assert run.done["mine"]["kinds"].keys() == {"written", "crop", "question"}
    assert run.done["augment"]["held_out_queries"] > 5
    assert -1 <= run.done["train"]["cosine_at_start"] <= 1  # token rows were taught
    measured = json.loads(run.evaluation.read_text(encoding="utf-8"))["development"]["means"]
    assert {row["width"] for row in measured} >= {24, 16}
    assert "<html" in run.report.read_text(encoding="utf-8")
    assert open_retriever_folder(run.retriever).dims == (24, 16)
    assert "- **whitening**: strength 0.4, texts " in (run.retriever / "card.md").read_text(encoding="utf-8")
    made, trained = (
        (run.retriever / "NOTICE").read_text(encoding="utf-8"),
        open_checkpoint(run.training / "final").origin,
    )
    for told in made, "\n".join(trained.notices):  # what is made of a checkpoint has them too
        assert told.count("It was trained on outputs of ") == 1
        assert told.count("It was taught by the vectors of e5-mini 1, licence MIT: ") == 1
        assert told.count("Derived from multilingual-e5-small") == 1  # what its teacher's NOTICE says


def test_the_app_finds_a_file_with_what_was_trained(finished, tmp_path, capsys):
    """The retriever of the run fills an index, and a question about one file finds it first."""
    for number in (3, 40, 77, 111):
        (tmp_path / f"{number}.md").write_text(describe(number), encoding="utf-8")
    assert app(["index", str(tmp_path), "--retriever", str(finished / "retriever")]) == 0
    capsys.readouterr()

    question = f"What was {DEEDS[40 % 6]} at {PLACES[0]}, the {THINGS[40 // 3 % 8]}?"
    assert app(["search", question, "--json"]) == 0
    hits = json.loads(capsys.readouterr().out)["hits"]
    assert hits[0]["path"].endswith("40.md")


def test_a_finished_run_is_not_run_again(finished, capsys):
    """Going on with a run that is done changes nothing; beginning another in its folder is refused."""
    capsys.readouterr()
    before = (finished / "run.json").stat().st_mtime_ns, (finished / "retriever" / "model.onnx").stat().st_mtime_ns

    assert main(["--out", str(finished), "--resume", "--recipe", "tiny"]) == 0
    assert "together" not in capsys.readouterr().err
    assert (finished / "retriever" / "model.onnx").stat().st_mtime_ns == before[1]
    assert main(["--out", str(finished), "--corpus", "index"]) == 2
    assert "--resume" in capsys.readouterr().err


def read_groups(run):
    return (run / "groups.jsonl").read_text(encoding="utf-8")


def test_one_stage_runs_again_alone(finished, tmp_path, capsys):
    """A verb runs its stage again and what came after it is to be made anew; one whose files are missing names them."""
    copy = tmp_path / "run"
    run = RunFolder.open(finished)
    shutil.copytree(run.path, copy)
    trained = (copy / "train" / "final" / "complete.json").stat().st_mtime_ns
    history = (copy / "train" / "history.jsonl").read_bytes()
    assert main(["mine", str(copy)]) == 0
    assert set(RunFolder.open(copy).done) == {"corpus", "augment", "mine"}
    assert main(["export", str(copy / "train" / "nothing"), "--out", str(tmp_path / "out")]) == 2
    # Another encoder may mine: here a GGUF that llama.cpp computes.
    embedder = make_tiny_gguf(tmp_path / "embedder.gguf", causal=False, pools=True)
    assert main(["mine", str(copy), "--teacher", str(embedder)]) == 0
    assert RunFolder.open(copy).inputs.teacher == str(embedder)
    assert read_groups(copy) != read_groups(finished)
    assert main(["mine", str(copy), "--teacher", run.inputs.retriever or str(default_retriever_folder())]) == 0
    assert read_groups(copy) == read_groups(finished)
    capsys.readouterr()
    assert main(["train", str(copy)]) == 2
    assert "drama-train prune" in capsys.readouterr().err
    # What is mined again from the same queries is the same, so that the training is still its own.
    assert main(["prune", str(copy)]) == main(["train", str(copy)]) == 0
    assert (copy / "train" / "history.jsonl").read_bytes() == history
    assert RunFolder.open(copy).done["train"]["loss"] == run.done["train"]["loss"] > 0
    lines = (copy / "groups.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (copy / "groups.jsonl").write_text("".join(lines[:-1]), encoding="utf-8")
    assert main(["train", str(copy)]) == 0
    assert RunFolder.open(copy).done["train"]["loss"] > 0
    assert (copy / "train" / "final" / "complete.json").stat().st_mtime_ns > trained


def test_a_triplets_near_miss_is_its_hard_negative(finished, tmp_path):
    """What a model invented to seem an answer is what its query trains against."""
    from trainer.stages import mine

    shutil.copytree(finished, tmp_path / "run")
    run = RunFolder.open(tmp_path / "run")
    answer, miss = list(read_records(run.training_passages, Passage))[:2]
    with RecordWriter(run.invented) as writer:
        for each in (answer, miss):
            writer.write(replace(each, document="triplet/one"))
    queries = list(read_records(run.training_queries, Query))
    with RecordWriter(run.training_queries) as writer:
        for query in [*queries, Query(id="q", text="invented?", passage=answer.id, kind="triplet", exact=True)]:
            writer.write(query)
    run.recipe = replace(run.recipe, augment=replace(run.recipe.augment, triplets=1))
    mine(run, lambda _: None)
    [group] = [each for each in read_records(run.groups, TrainingGroup) if each.kind == "triplet"]
    assert (group.positives, group.negatives) == ((answer.id,), (miss.id,))


def test_what_lost_layers_learns_from_the_whole(finished, tmp_path):
    """With a weight of rows the training opens the network that was cut, and its rows come nearer."""
    from tokenizers import Tokenizer

    from trainer.bidirectional import BidirectionalConfig
    from trainer.checkpoint import Origin, save_checkpoint
    from trainer.network import build_network
    from trainer.stages import prune
    from trainer.train_stage import train

    done, tokenizer = RunFolder.open(finished), finished / "backbone" / "tokenizer.json"
    vocabulary = Tokenizer.from_file(str(tokenizer)).get_vocab_size()
    shape = BidirectionalConfig(vocab_size=vocabulary, hidden_size=16, layers=4, heads=2, ffn_size=32)
    whole = build_network(shape)
    for layer in whole.layers:
        layer.down.weight.data.mul_(
            2000
        )  # small random layers would change nothing, and losing them would cost nothing
    save_checkpoint(tmp_path / "whole", whole, tokenizer=tokenizer, origin=Origin(name="whole"))
    stage = replace(
        done.recipe.train, steps=8, freeze_tokens=True, row_weight=6.0, head=0, token_passes=0, clauses=0,
        embedding_weight=0.0, score_weight=0.0, widths=(16,), learning_rate=1e-2, must_learn_by=0,
    )  # fmt: skip
    recipe = replace(done.recipe, train=stage, prune=PruneRecipe(method="spaced-layers", layers=2))
    copy = tmp_path / "run"
    shutil.copytree(finished / "corpus", copy / "corpus")
    shutil.copytree(finished / "queries", copy / "queries")
    (copy / "groups.jsonl").write_bytes(done.groups.read_bytes())
    run = RunFolder(copy, recipe, replace(done.inputs, backbone=str(tmp_path / "whole")), {})
    assert prune(run, print)["shape"]["layers"] == 2
    assert train(run, print)["steps"] == 8
    rows = [json.loads(line)["rows"] for line in (run.training / "history.jsonl").read_text("utf-8").splitlines()]
    assert 0 < sum(rows[4:]) < sum(rows[:4])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["--corpus", "{corpus}/chronicles.jsonl"], "'corpus' is done with another --corpus"),
        (["--llm-url", "http://127.0.0.1:1/v1"], "'augment' is done with another --llm-url"),
        (["--languages", "de"], "this run has its recipe"),
        (["--no-llm"], "this run has its recipe"),
        (["--seed", "0", "--recipe", "cpu"], "this run has its recipe"),
    ],
)
def test_a_run_does_not_go_on_with_something_else(changes, said, finished, corpus, capsys):
    """What has been read already, and the recipe, cannot be changed by --resume: nothing would come of it."""
    before = (finished / "run.json").read_bytes()
    assert main(["--out", str(finished), "--resume", *(each.format(corpus=corpus) for each in changes)]) == 2
    assert said in capsys.readouterr().err
    assert (finished / "run.json").read_bytes() == before


def test_a_run_goes_on_without_the_texts_that_it_has_read(finished, tmp_path, monkeypatch, capsys):
    """A corpus that is gone, and an endpoint, are not asked for once they were read; a stop says how to go on."""
    run = RunFolder.open(finished)
    copy = tmp_path / "a run"
    copy.mkdir()
    (copy / "recipe.toml").write_bytes((finished / "recipe.toml").read_bytes())
    (copy / "corpus").mkdir()
    (copy / "corpus" / "passages.jsonl").write_bytes(run.passages.read_bytes())
    gone = replace(run.inputs, corpus=(str(tmp_path / "gone"),), llm_url="http://127.0.0.1:1/v1")
    done = {name: run.done[name] for name in ("corpus", "augment", "mine")}
    RunFolder(copy, run.recipe, gone, done).save()

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("trainer.stages.prune", stop)
    assert main(["--out", str(copy), "--resume"]) == 130
    told = capsys.readouterr().err
    assert f"drama-train --out '{copy}' --resume" in told
    assert "augment" not in told and "\ntrain" in told

    def fill(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("trainer.stages.prune", fill)
    assert main(["--out", str(copy), "--resume"]) == 2
    assert "prune: [Errno 28] No space left on device; once that is mended go on with" in capsys.readouterr().err
    assert RunFolder.open(copy).spent["prune"] > 0
    # A stage that is run again counts as not done from its start.
    monkeypatch.setattr("trainer.stages.mine", stop)
    assert main(["mine", str(copy)]) == 130
    assert set(RunFolder.open(copy).done) == {"corpus", "augment"}


def test_progress_fits_into_one_line_of_a_terminal(monkeypatch):
    """A line that is longer than the terminal is cut, since only one line can be replaced."""
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("COLUMNS", "20")
    show_progress("x" * 30)
    assert terminal.getvalue().count("x") == 19


def _write_model_folders(folder: Path) -> None:
    """Folders of transformers as a broken download leaves them: without weights, without a tokenizer."""
    stated = {
        "model_type": "llama", "vocab_size": 300, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 4096,
    }  # fmt: skip
    for name in ("bare", "mute"):
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(json.dumps(stated), encoding="utf-8")
    (folder / "mute" / "model.safetensors").write_bytes(b"")


def _write_odd_files(folder: Path, gguf: Path) -> None:
    (folder / "papers").mkdir(parents=True)
    (folder / "tables").mkdir()
    _write_model_folders(folder)
    (folder / "papers" / "one.pdf").write_bytes(b"%PDF-1.7\n\x00\xff")
    (folder / "latin.txt").write_bytes("Größe".encode("latin-1"))
    for name in ("rows.jsonl", "tables/rows.jsonl"):
        (folder / name).write_text('\n{"body": "a"}\n', encoding="utf-8")
    (folder / "sets" / "one").mkdir(parents=True)
    (folder / "sets" / "one" / "queries.jsonl").write_text('{"_id": "q", "text": "what"}\n', encoding="utf-8")
    (folder / "blank.jsonl").write_text("\n\n", encoding="utf-8")
    (folder / "cut.gguf").write_bytes(gguf.read_bytes()[:20_000])
    (folder / "bert.gguf").write_bytes(gguf.read_bytes().replace(b"llama", b"bert\0", 1).replace(b"llama", b"bert\0"))
    recipes = {
        "kinds": '[augment]\nkinds = ["qestion"]', "width": "[prune]\nmethod = 'none'\n[export]\ndefault_width = 7",
        "long": "[prune]\nmethod = 'none'\n[train]\npassage_tokens = 5000", "key": "[train]\nstepz = 1",
    }  # fmt: skip
    for name, text in recipes.items():
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--local-llm", "{gguf}", "--corpus", "{corpus}/missing"], "no such file or folder"),
        (["--local-llm", "{corpus}/chronicles.jsonl", "--corpus", "{corpus}"], "GGUF"),
        (["--local-llm", "{gguf}", "--corpus", "{empty}"], "holds no file"),
        (["--local-llm", "{gguf}"], "--corpus"),
        (["--corpus", "{corpus}"], "--local-llm"),
        (["--local-llm", "{gguf}", "--corpus", "{corpus}", "--languages", "klingon"], "klingon"),
        (["--local-llm", "{gguf}", "--corpus", "{corpus}", "--languages", ","], "names none"),
        (["--local-llm", "{gguf}", "--corpus", "{corpus}", "--recipe", "huge"], "no such recipe"),
        (["--local-llm", "{gguf}", "--corpus", "{corpus}", "--recipe", "cpu"], "layers"),
        (["--local-llm", "{gguf}", "--corpus", "{corpus}", "--sets", "{empty}"], "no test set"),
        (["--local-llm", "{gguf}", "--corpus", "{corpus}", "--backbone", "{corpus}"], "neither"),
        (["--local-llm", "{gguf}", "--corpus", "{corpus}", "--backbone", "models/gemm.gguf"], "no such file"),
        (["--local-llm", "{gguf}", "--corpus", "{corpus}", "--backbone", "{odd}/bare"], "model.safetensors: missing"),
        (["--local-llm", "{gguf}", "--corpus", "{corpus}", "--backbone", "{odd}/mute"], "has no tokenizer"),
        (["--local-llm", "{gguf}", "--corpus", "{corpus}", "--teacher", "{gguf}"], "a language model and no embedder"),
        (["--local-llm", "{odd}/papers", "--corpus", "{corpus}", "--backbone", "retriever"], "no config.json"),
        (["--local-llm", "{gguf}", "--corpus", "{corpus}", "--sets", "{odd}/sets"], "test.tsv"),
        (["--local-llm", "{gguf}", "--corpus", "index"], "drama-app index"),
        (["--local-llm", "{gguf}", "--corpus", "{odd}/papers"], "--corpus index"),
        (["--local-llm", "{gguf}", "--corpus", "{odd}/papers/one.pdf"], "--corpus index"),
        (["--local-llm", "{gguf}", "--corpus", "{odd}/latin.txt"], "UTF-8"),
        (["--local-llm", "{gguf}", "--corpus", "{odd}/rows.jsonl"], "line 2: is no object with 'text'"),
        (["--local-llm", "{gguf}", "--corpus", "{odd}/tables"], "line 2: is no object with 'text'"),
        (["--local-llm", "{gguf}", "--pairs", "{odd}/blank.jsonl"], "is empty"),
        (["--local-llm", "{gguf}", "--pairs", "{odd}/rows.jsonl"], "'query' and 'positive'"),
        (["--local-llm", "{gguf}", "--pairs", "{corpus}"], "is no file"),
        (["--local-llm", "{odd}/cut.gguf", "--corpus", "{corpus}"], "cut short"),
        (["--no-llm", "--local-llm", "{odd}/cut.gguf", "--corpus", "{corpus}"], "cut short"),
        (["--local-llm", "{odd}/bert.gguf", "--corpus", "{corpus}"], "cannot load it"),
        (["--no-llm", "--local-llm", "{odd}/bert.gguf", "--corpus", "{corpus}"], "not supported as a backbone"),
        (["--llm-url", "ftp://here", "--local-llm", "{gguf}", "--corpus", "{corpus}"], "no address of an endpoint"),
        (["--local-llm", "{gguf}", "--corpus", "{corpus}", "--notice", "{odd}/none"], "none: cannot be read"),
        (["--local-llm", "{gguf}", "--corpus", "{corpus}", "--seed", "-1"], "seed"),
        (["--local-llm", "{gguf}", "--corpus", "{corpus}", "--recipe", "{odd}/kinds.toml"], "'qestion' is none of"),
        (["--local-llm", "{gguf}", "--corpus", "{corpus}", "--recipe", "{odd}/width.toml"], "'default_width'"),
        (["--local-llm", "{gguf}", "--corpus", "{corpus}", "--recipe", "{odd}/long.toml"], "reads 4096 tokens"),
        (["--local-llm", "{gguf}", "--corpus", "{corpus}", "--recipe", "{odd}/key.toml"], "'stepz' is not known"),
    ],
)
def test_bad_input_is_refused_before_any_work(arguments, said, corpus, gguf, tiny, tmp_path, capsys):
    """What is missing or wrong is told in a sentence at the start, and no folder is made."""
    (tmp_path / "empty").mkdir()
    _write_odd_files(tmp_path / "odd", gguf)
    names = {"corpus": corpus, "gguf": gguf, "empty": tmp_path / "empty", "odd": tmp_path / "odd"}
    given = [each.format(**names) for each in arguments]
    recipe = [] if "--recipe" in given else ["--recipe", "tiny"]

    assert main([*given, *recipe, "--retriever", str(tiny), "--out", str(tmp_path / "run")]) == 2
    told = capsys.readouterr().err
    assert said in told and "Traceback" not in told
    assert not (tmp_path / "run").exists()


def test_the_plan_comes_before_any_work(corpus, gguf, tiny, tmp_path, capsys):
    """A dry run prints a line a stage with its time, and makes nothing."""
    arguments = ["--recipe", "tiny", "--no-llm", "--local-llm", gguf, "--corpus", corpus, "--retriever", tiny,
                 "--out", tmp_path / "run", "--dry-run"]  # fmt: skip

    assert main(list(map(str, arguments))) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [*STAGES[:-1], "together"]
    assert "160 passages" in lines[0]
    assert not (tmp_path / "run").exists()


def test_the_plan_counts_what_a_teacher_reads(corpus, gguf, tmp_path, capsys):
    """Crops, which a teacher reads one by one, make its training longer."""
    seconds = []
    for crops in (0, 200):
        recipe = tmp_path / f"{crops}.toml"
        recipe.write_text(
            f'backbone = "retriever"\n[augment]\nkinds = ["crop"]\ncrops = {crops}\n[mine]\ndepth = 0\n'
            '[prune]\nmethod = "none"\n[train]\nsteps = 1\nbatch = 1\nembedding_weight = 1.0\n',
            encoding="utf-8",
        )
        folder = RunFolder(tmp_path / "run", read_recipe(recipe), Inputs(corpus=(str(corpus),)))
        plan = make_plan(folder, None, measure=lambda: 1e11)
        seconds.append(next(each.seconds for each in plan.stages if each.name == "train"))
    assert seconds[1] - seconds[0] == pytest.approx(160 / 60 / (os.cpu_count() or 1))


def test_the_plan_has_room_for_the_tables_of_learned_codebooks(corpus, tmp_path):
    """Each step that is kept holds the whole token table, which a table that stays as it was is not written with."""
    pytest.importorskip("torch")
    from trainer.bidirectional import BidirectionalConfig

    shape = BidirectionalConfig(vocab_size=10_000, hidden_size=64, layers=2, heads=2, ffn_size=128, max_tokens=32)
    disk = []
    for learned in ("false", "true"):
        recipe = tmp_path / f"{learned}.toml"
        recipe.write_text(
            'backbone = "retriever"\n[augment]\nkinds = ["crop"]\n[mine]\ndepth = 0\n[prune]\nmethod = "none"\n'
            f"[train]\nsteps = 1\nkeep_checkpoints = 3\nfreeze_tokens = true\nlearn_codes = {learned}\n"
            "[export]\ntable_bits = 2\n",
            encoding="utf-8",
        )
        folder = RunFolder(tmp_path / "run", read_recipe(recipe), Inputs(corpus=(str(corpus),)))
        disk.append(make_plan(folder, shape, measure=lambda: 1e11).disk)
    assert disk[1] - disk[0] == pytest.approx(3 * 10_000 * 64 * 4, abs=1)


def test_the_plan_asks_for_one_query_a_passage_at_most(corpus, gguf, tmp_path, capsys):
    """A small corpus has few queries written for it, whatever the recipe asks for, and the plan says so."""
    recipe = tmp_path / "many.toml"
    recipe.write_text(
        'backbone = "retriever"\n[augment]\nkinds = ["question"]\nqueries = 20000\n[mine]\ndepth = 0\n'
        '[prune]\nmethod = "none"\n[train]\nsteps = 1\nbatch = 1\n',
        encoding="utf-8",
    )
    arguments = ["--recipe", str(recipe), "--local-llm", str(gguf), "--corpus", str(corpus)]
    assert main([*arguments, "--out", str(tmp_path / "run"), "--dry-run"]) == 0
    [line] = [each for each in capsys.readouterr().out.splitlines() if each.startswith("augment")]
    assert "160 generated queries" in line


def test_half_needs_no_llm_and_no_language_model_in_its_plan(corpus, tmp_path, capsys):
    """An encoder loses layers within seconds, whatever the recipe says of continuing an LLM."""
    assert main(["--recipe", "half", "--corpus", str(corpus), "--out", str(tmp_path / "run"), "--dry-run"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert re.search(r"^prune +\d+ s +spaced-layers: 11 million", lines["prune"])
