"""The page of a run: complete where the run is, honest where it is not, and harmless whatever the files hold."""

import json
import math
import re
from html.parser import HTMLParser

import pytest

from drama_app.errors import UsageError
from trainer.commands import report as verb
from trainer.drawing import choose_marks, draw_curve, draw_spans, show_number
from trainer.records import Passage, Query, RecordWriter, text_id
from trainer.report import gather, write_report

EVIL = "<script>alert('x')</script>"
VOID = {"meta", "link", "br", "line", "circle", "path", "hr", "input", "img"}


class Page(HTMLParser):
    """Tags, attributes and text of a page; refuses one whose tags do not match."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.words, self.open = [], [], [], []
        self.feed(text)
        assert not self.open
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.words.append(data)


def make_run(folder, *, name="tiny", poison=""):
    """A small run as the stages leave it; `poison` stands wherever a file may hold foreign text."""
    (folder / "train").mkdir(parents=True)
    tally = {
        "counts": {"de": {"kept": 30, f"copied{poison}": 10}, f"fi{poison}": {"kept": 5, "wrong language": 15}},
        "notes": {}, "seconds": 70.0, "usage": {"read": 1, "reused": 1, "written": 1},
    }  # fmt: skip
    about = {
        "schema": 1, "name": name + poison, "created": 1.7e9, "seed": 3,
        "inputs": {"corpus": [f"/texts{poison}"], "local_llm": f"m{poison}.gguf", "pairs": []},
        "versions": {"python": "3.11", "torch": f"2.13{poison}"},
        "stages": {
            "corpus": {"seconds": 2.5, "finished": 1.7e9, "passages": 50,
                       "languages": {"de": 30, f"fi{poison}": 20}, "rejected": {f"too short{poison}": 4}},
            "augment": {"seconds": 70, "finished": 1.7e9, "tallies": {f"generated{poison}": tally}},
            "mine": {"seconds": 1, "groups": 33, "rejected": {"its passage does not come back": 2},
                     "passed_over": {f"another language{poison}": 7}},
            "prune": {"seconds": 5, "origin": f"gemma{poison}", "layers": 6, "kept": {"heads": [4, 4]}},
            "train": {"seconds": 9, "steps": 400, "loss": 0.5, "gemm_share": 0.47},
            "export": {"seconds": 3, "chosen": f"int8{poison}",
                       "by_language": {f"{code}{poison}": 0.8 for code in ("de", "fi", "en", "fr", "es", "ru", "zh")},
                       "tried": [{"name": f"4 bits{poison}", "worst": [0.02, 0.01], "passes": False,
                                  "change": {f"de{poison}": -0.02}},
                                 {"name": "8 bits", "worst": [0.003, 0], "passes": True,
                                  "change": {f"de{poison}": -0.003, "fi": 0.001}}]},
        },
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(about))
    (folder / "recipe.toml").write_text(f'name = "{name}{poison}"\n')
    history = [
        {"step": step, "loss": 3 / step, "right": 1 - 1 / step, "learning_rate": 1e-4, "tokens_per_second": 900.0}
        for step in range(1, 401)
    ]
    (folder / "train" / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in history))
    with RecordWriter(folder / "corpus" / "passages.jsonl") as passages, \
            RecordWriter(folder / "queries" / "generated.jsonl") as queries:  # fmt: skip
        for number in range(12):
            text = f"Die Stadt Nummer {number} liegt am Fluss.{poison}"
            passages.write(Passage(id=text_id(text), text=text, language="de", title=poison))
            asked = f"Wo liegt die Stadt {number}?{poison}"
            queries.write(Query(id=text_id(asked), text=asked, passage=text_id(text), kind="question", language="de"))
    (folder / "evaluation.json").write_text(json.dumps(make_evaluation(poison)))
    return folder


def make_evaluation(poison=""):
    """An evaluation by the library itself, with figures that are known."""
    from trainer.compare import Evaluation, System, evaluation_json
    from trainer.evaluate import BM25, Report
    from trainer.metrics import bootstrap

    new, old = f"tiny 1{poison}", f"old 0{poison}"

    def measure(name, system, width, mode, values):
        return Report(
            name=name, mode=mode, ndcg10=bootstrap(values), recall10=0.5, mrr=0.5, queries=len(values), documents=9,
            passages=11, values=values, languages=["de"] * (len(values) - 1) + ["fi"], system=system, width=width,
        )  # fmt: skip

    reports = [
        measure(name + poison, *column, values)
        for name in ("one", "two")
        for column, values in (
            ((BM25, 0, BM25), [0.1] * 20), ((new, 32, "meaning"), [0.8] * 20), ((new, 32, "fused"), [0.7] * 20),
            ((new, 16, "meaning"), [0.5] * 20), ((old, 16, "meaning"), [0.45] * 20),
            ((old, 32, "meaning"), [0.6] * 20), ((old, 32, "fused"), [0.7] * 20),
        )
    ]  # fmt: skip
    systems = (System(name=new, fingerprint="a", widths=(32, 16)), System(name=old, fingerprint="b", widths=(32, 16)))
    return evaluation_json(Evaluation(systems=systems, reports=tuple(reports)))


@pytest.fixture
def page(tmp_path):
    """The page of a whole run."""
    assert write_report(make_run(tmp_path / "run"), tmp_path / "out" / "page.html") == []
    return Page((tmp_path / "out" / "page.html").read_text(encoding="utf-8"))


def test_page_tells_all_that_the_run_has(page):
    """Scores, curves, corpus, queries, mining, pruning, export, recipe and versions stand on one page."""
    for told in (
        "+0.200 nDCG@10 (+0.200 to +0.200): tiny 1 scores 0.800 in the mode “meaning”, better than old 0",
        "Mean of 2 test sets with 40 queries",
        "tiny 1 minus set language queries passages BM25 old 0 tiny 1 BM25 old 0 one", "By meaning alone, by language",
        "As the app searches", "tiny 1 meaning 16 0.500 0.500 to 0.500 -0.300 -0.300 to -0.300 +0.050",
        "old 0 meaning 16 0.450 0.450 to 0.450 -0.150 -0.150 to -0.150 Training",
        "Loss", "Learning rate", "from 2.25 to", "400 steps",
        "de 30 60.0 %", "too short 4", "35 kept of 60, 42 % rejected", "0.50 kept a second", "wrong language 15",
        "passed over: another language 7", "kept: heads 4, 4", "4 bits 0.02, 0.01 no",
        "4 bits 8 bits de -0.02 -0.003 fi 0.001", "by language de 0.8 fi 0.8", "gemm share 0.47",
        "corpus 2.5", "torch 2.13", "seed 3", 'name = "tiny"',
    ):  # fmt: skip
        assert told in page.text, told
    assert page.tags.count("svg") == 4 + 2
    assert "Not told here" not in page.text


def test_page_needs_nothing_from_outside(page):
    """No script, no link elsewhere, no picture, no font: it works offline and forever."""
    assert not {"script", "link", "img", "iframe", "object", "form"} & set(page.tags)
    targets = [value for name, value in page.attributes if name in ("href", "src", "xlink:href", "action")]
    assert targets
    assert all(target.startswith("#") for target in targets)
    sections = {value for name, value in page.attributes if name == "id"}
    assert {target[1:] for target in targets} == sections
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes


def test_page_can_be_read_aloud(page):
    """Pictures have a text, head cells a scope, the page a language and one heading of the first level."""
    assert ("lang", "en") in page.attributes
    assert page.tags.count("h1") == page.tags.count("main") == 1
    assert page.tags.count("svg") == [name for name, _ in page.attributes].count("aria-label") - 1 - 4
    assert page.tags.count("th") == [name for name, _ in page.attributes].count("scope")


def test_samples_are_the_same_each_time_and_few(tmp_path):
    """Three queries a language with their passages, chosen by chance but always the same."""
    run = make_run(tmp_path / "run")
    [first], [second] = gather(run)["samples"], gather(run)["samples"]

    assert first == second
    assert first["language"] == "de"
    assert len(first["queries"]) == 3
    for query, passage in first["queries"]:
        assert re.search(r"\d+", query.text)[0] == re.search(r"\d+", passage)[0]


def test_poisoned_files_come_out_harmless(tmp_path):
    """Whatever a file holds is text on the page: names, queries, passages, reasons, recipes, versions."""
    write_report(make_run(tmp_path / "run", poison=EVIL), tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")

    assert "<script" not in text
    assert text.count("&lt;script&gt;") > 25
    assert "script" not in Page(text).tags


def test_unfinished_run_says_what_is_missing(tmp_path):
    """A page of a run that has only begun is a page, with a list of what it cannot tell."""
    run = make_run(tmp_path / "run")
    for name in ("evaluation.json", "recipe.toml", "queries/generated.jsonl"):
        (run / name).unlink()
    (run / "run.json").write_text("{")
    with (run / "train" / "history.jsonl").open("a") as stream:
        stream.write('{"step": 401, "lo')
    missing = write_report(run, tmp_path / "page.html")

    assert [each.split(":")[0] for each in missing] == [
        "run.json", "history.jsonl", "evaluation.json", "recipe.toml", "queries/generated.jsonl",
    ]  # fmt: skip
    page = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "Not told here" in page.text
    assert "line 401 cannot be read" in page.text
    assert "400 steps" in page.text
    assert "Before and after" not in page.text


def test_a_broken_line_of_queries_costs_no_page(tmp_path):
    """Samples come from what can be read, and the page says which line could not be."""
    run = make_run(tmp_path / "run")
    for name in ("queries/generated.jsonl", "corpus/passages.jsonl"):
        with (run / name).open("a") as stream:
            stream.write("{\n")
    missing = write_report(run, tmp_path / "page.html")

    assert missing == [
        "generated.jsonl, line 13: not JSON; what stands there and below is not shown",
        "passages.jsonl, line 13: not JSON; what stands there and below is not shown",
    ]
    assert "Wo liegt die Stadt" in Page((tmp_path / "page.html").read_text(encoding="utf-8")).text


def test_evaluation_of_another_form_is_left_out(tmp_path):
    """A file that another version wrote costs its part of the page, not the page."""
    run = make_run(tmp_path / "run")
    (run / "evaluation.json").write_text(json.dumps({"reports": [{"mode": "meaning"}], "systems": []}))
    missing = write_report(run, tmp_path / "page.html")

    assert [each.split(":")[0] for each in missing] == ["evaluation.json"]


def test_several_evaluations_stand_under_their_names(tmp_path):
    """Development sets and test sets are told apart; of the first the page says whom generated queries favour."""
    run = make_run(tmp_path / "run")
    (run / "evaluation.json").write_text(json.dumps({"development": make_evaluation(), "sets": make_evaluation()}))
    write_report(run, tmp_path / "page.html")
    text = Page((tmp_path / "page.html").read_text(encoding="utf-8")).text

    assert "Development Generated queries were kept because the present retriever found" in text
    assert "Sets The baseline is" in text


def test_tallies_are_found_beside_the_queries(tmp_path):
    """A run that was stopped before its augmentation was noted still tells what the files know."""
    run = make_run(tmp_path / "run")
    about = json.loads((run / "run.json").read_text())
    [tally] = about["stages"].pop("augment")["tallies"].values()
    (run / "run.json").write_text(json.dumps(about))
    (run / "queries" / "crop.jsonl.report.json").write_text(json.dumps({"key": "k"} | tally))

    [found] = gather(run)["tallies"]
    assert (found["kind"], found["kept"], found["made"]) == ("crop", 35, 60)


def test_folder_without_a_run_is_refused(tmp_path):
    """A wrong folder is told at once, and no page is written."""
    with pytest.raises(UsageError, match="holds nothing of a run"):
        write_report(tmp_path, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_verb_writes_the_page_where_it_is_asked_to(tmp_path, capsys):
    """The verb's page lies in the run's folder unless --out names a file."""
    import argparse

    parser = argparse.ArgumentParser()
    verb.declare(parser)
    run = make_run(tmp_path / "run")
    assert verb.run(parser.parse_args([str(run)])) == 0
    assert verb.run(parser.parse_args([str(run), "--out", str(tmp_path / "a" / "page.html")])) == 0

    assert (run / "report.html").stat().st_size == (tmp_path / "a" / "page.html").stat().st_size
    output = capsys.readouterr()
    assert (output.out, output.err.count("is written")) == ("", 2)


# Drawing.


def test_curve_goes_through_its_values():
    """First and last points stand at the ends of the axes' marks; marks are round."""
    curve = draw_curve("x", [0, 10], [0.0, 4.0])
    assert curve.line == "M58.0,186.0 L612.0,14.0"
    assert curve.band == ""
    assert [mark.text for mark in curve.values] == ["0", "1", "2", "3", "4"]
    assert [mark.text for mark in curve.steps] == ["0", "2", "4", "6", "8", "10"]


def test_long_curve_keeps_its_extremes():
    """Of many steps the line is the mean, and the band still reaches the one that stands out."""
    values = [1.0] * 5000
    values[2500] = 9.0
    curve = draw_curve("x", range(5000), values)
    heights = [float(y) for y in re.findall(r",([\d.]+)", curve.band)]

    assert curve.line.count("L") < 300
    assert min(heights) == pytest.approx(14 + (10 - 9) / 10 * 172, abs=0.2)


def test_curve_of_nothing_is_none():
    """No line is drawn through one value, or through what is no number."""
    assert draw_curve("x", [1, 2, 3], [1.0, math.nan, math.inf]) is None


@pytest.mark.parametrize(("low", "high"), [(0, 0), (-0.003, 0.02), (0.4, 0.4), (1e-9, 4e-5), (-7, 123456), (0.97, 1)])
def test_marks_cover_their_values(low, high):
    """Every value lies between the first and the last mark, of which there are few."""
    marks = choose_marks(low, high)
    assert marks[0] <= low <= high <= marks[-1]
    assert 2 <= len(marks) <= 8


def test_intervals_stand_on_one_scale_with_zero():
    """The sign of a difference can be seen."""
    spans = draw_spans([(0.01, 0.02, 0.03), (-0.02, 0.0, 0.02)], left=0, right=100)
    assert spans.rows[0].low > spans.zero == spans.rows[1].mean
    assert [show_number(each) for each in (12345.6, 0.00012, 2.0, math.inf)] == ["12,346", "0.00012", "2", "inf"]
