"""Evaluation end to end with a stand-in for the encoder and the real store."""

import json

import numpy as np
import pytest

from drama_app.errors import UsageError
from trainer.cli import main
from trainer.evaluate import as_json, evaluate_set, find_sets, read_set
from trainer.overlap import collect_ids

CORPUS = {"fox": "The quick red fox hunts.", "tax": "Income tax is due in May.", "sea": "The sea is deep blue."}
QUERIES = {"q1": "red fox", "q2": "income tax in May", "q3": "never judged"}


class LetterEncoder:
    """Counts letters: near enough to meaning for texts that share words."""

    dim = 26
    fingerprint = "letters"

    def encode_queries(self, texts):
        counts = np.array([[text.lower().count(chr(97 + i)) for i in range(26)] for text in texts], dtype=np.float32)
        return counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-9)

    encode_passages = encode_queries


@pytest.fixture
def sets(tmp_path):
    """A folder with one nested set."""
    folder = tmp_path / "sets" / "tiny" / "en"
    (folder / "qrels").mkdir(parents=True)
    _write(folder / "corpus.jsonl", ({"_id": key, "title": "", "text": text} for key, text in CORPUS.items()))
    _write(folder / "queries.jsonl", ({"_id": key, "text": text} for key, text in QUERIES.items()))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\tfox\t1\nq2\ttax\t1\n")
    return tmp_path / "sets"


def _write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_figures_are_those_of_a_real_search(sets):
    """Each mode indexes, searches and scores the set; only judged queries count, and two give no interval."""
    test_set = read_set(find_sets(sets)[0], name="tiny/en")
    reports = evaluate_set(test_set, LetterEncoder(), report=lambda text: None)

    assert [each.mode for each in reports] == ["meaning", "keywords", "fused"]
    assert as_json(reports[2]) == {
        "set": "tiny/en", "system": "", "width": 26, "mode": "fused", "ndcg10": 1.0, "ndcg10_low": 0.0,
        "ndcg10_high": 1.0, "recall10": 1.0, "mrr": 1.0, "queries": 2, "documents": 3, "passages": 3,
        "languages": ["en"],
    }  # fmt: skip


def test_sets_behind_links_are_found_once(sets, tmp_path):
    """A linked set counts, for measuring and for what must not be trained on; a link in a circle is no end."""
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "one").symlink_to(sets / "tiny", target_is_directory=True)
    (linked / "circle").symlink_to(linked, target_is_directory=True)
    (linked / "again").symlink_to(sets / "tiny" / "en", target_is_directory=True)

    assert len(find_sets(linked)) == 1
    assert len(collect_ids(linked)) == len(CORPUS) + len(QUERIES)
    with pytest.raises(UsageError, match="no test set"):
        find_sets(tmp_path / "nowhere")


def test_wrong_ranking_scores_less(sets):
    """The figures follow the judgements: with the relevant document swapped they fall."""
    (sets / "tiny" / "en" / "qrels" / "test.tsv").write_text("q1\tsea\t1\nq2\ttax\t1\n")
    [report] = evaluate_set(
        read_set(sets / "tiny" / "en", name="x"), LetterEncoder(), modes=("keywords",), report=lambda text: None
    )

    assert report.values == [0.0, 1.0]
    assert (report.recall10, report.mrr) == (0.5, 0.5)


def test_queries_can_be_limited(sets):
    """Only the first judged queries are taken."""
    assert list(read_set(sets / "tiny" / "en", name="x", limit_queries=1).queries) == ["q1"]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("corpus.jsonl", "{", "line 1: not JSON"),
        ("corpus.jsonl", '{"_id": 3}', "line 1: needs the texts"),
        ("qrels/test.tsv", "q1\tfox\n", "line 1: needs a query"),
        ("qrels/test.tsv", "q9\tfox\t1\n", "no query"),
        ("qrels/test.tsv", "q1\tfox\t1\nq2\ttax\tinf\n", "line 2: the grade must be a finite number, not inf"),
        ("qrels/test.tsv", "q1\tfox\tnan\n", "line 1: the grade must be a finite number"),
        ("qrels/test.tsv", "q1\tfox\t0\nq2\ttax\t0\n", "no document a grade above 0"),
        ("qrels/test.tsv", "q1\t17\t1\nq2\tsea\t0\n", "no document that answers .* is in corpus.jsonl"),
        ("corpus.jsonl", "", "no document of corpus.jsonl has a text"),
        ("corpus.jsonl", '{"_id": "fox", "text": " "}\n', "no document of corpus.jsonl has a text"),
    ],
)
def test_broken_set_is_refused_with_its_line(sets, file, content, message):
    """A set that is not as it should be is refused in a sentence that names file and line."""
    (sets / "tiny" / "en" / file).write_text(content)
    with pytest.raises(UsageError, match=message):
        read_set(sets / "tiny" / "en", name="x")


def test_a_part_of_a_set_is_measured_and_told(sets, caplog):
    """Answers that the corpus lacks are counted in a sentence; what a limit leaves out counts as there."""
    (sets / "tiny" / "en" / "qrels" / "test.tsv").write_text("q1\t17\t1\nq2\ttax\t1\n")

    assert len(read_set(sets / "tiny" / "en", name="x", limit_queries=1).queries) == 1
    assert "1 of 2 documents that answer are not in corpus.jsonl" in caplog.text


def test_a_byte_order_mark_is_no_fault(sets):
    """Files as Windows tools write them are read, and a line keeps its number behind empty ones."""
    plain = read_set(sets / "tiny" / "en", name="x")
    for name in ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv"):
        path = sets / "tiny" / "en" / name
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))

    assert read_set(sets / "tiny" / "en", name="x") == plain
    (sets / "tiny" / "en" / "qrels" / "test.tsv").write_text("\n\nq1\tfox\n")
    with pytest.raises(UsageError, match="line 3: needs a query"):
        read_set(sets / "tiny" / "en", name="x")


def test_missing_sets_end_with_code_2_and_one_line(tmp_path, capsys):
    """An empty folder is an error in one line on stderr, with nothing on stdout."""
    assert main(["evaluate", "--sets", str(tmp_path)]) == 2
    output = capsys.readouterr()
    assert (output.out, output.err.count("\n")) == ("", 1)
    assert "no test set found" in output.err
