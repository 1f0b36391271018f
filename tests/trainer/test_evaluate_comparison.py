"""Comparisons: several retrievers, widths and BM25 on the same sets, with what their differences are worth."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from drama_app.errors import RetrieverError, UsageError
from tests.tiny_retriever import make_tiny_retriever
from trainer.cli import main
from trainer.compare import Column, evaluate_contestants, evaluation_json
from trainer.contestants import Contestant, give_own_names, open_contestant
from trainer.evaluate import BM25, find_sets, read_set
from trainer.metrics import bootstrap, bootstrap_sets, paired_bootstrap_sets
from trainer.tables import format_tables
from trainer.words import WordIndex, split_words

WORDS = ("river", "mountain", "bread", "baking", "flour", "train", "station", "harbour", "violin", "piano")


class WordEncoder:
    """Counts the words it knows, the first ones loudest, so that cutting its vectors loses the others."""

    fingerprint = "words"

    def __init__(self, known=10):
        self.dim, self.asked = len(WORDS) + 1, 0
        self._known = known

    def encode_passages(self, texts):
        self.asked += len(texts)
        return self._encode(texts)

    def encode_queries(self, texts):
        return self._encode(texts)

    def _encode(self, texts):
        counts = np.full((len(texts), self.dim), 0.01, dtype=np.float32)
        for row, text in enumerate(texts):
            for place, word in enumerate(WORDS[: self._known]):
                counts[row, place] += text.lower().count(word)
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)


def write_set(folder, pairs, *, spoken="", **meta):
    """A set with a query for each text that is to be found by it."""
    (folder / "qrels").mkdir(parents=True)
    rows = [{"_id": str(place), "text": text, **({"lang": spoken} if spoken else {})}
            for place, (_, text) in enumerate(pairs)]  # fmt: skip
    asked = [{"_id": f"q{place}", "text": query} for place, (query, _) in enumerate(pairs)]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    (folder / "qrels" / "test.tsv").write_text("".join(f"q{place}\t{place}\t1\n" for place in range(len(pairs))))
    if meta:
        (folder / "meta.json").write_text(json.dumps(meta))
    return folder


@pytest.fixture
def sets(tmp_path):
    """Two sets: one in one language, one across two."""
    write_set(tmp_path / "sets" / "near", [(word, f"The {word} is old.") for word in WORDS], lang="en")
    write_set(tmp_path / "sets" / "far", [(word, f"Das {word} ist alt.") for word in WORDS[:4]], lang="en>de")
    return tmp_path / "sets"


def compare(sets, *contestants, **options):
    return evaluate_contestants(list(contestants), sets, report=lambda text: None, **options)


def test_each_contestant_encodes_a_set_once_for_all_modes_and_widths(sets):
    """Widths are cut from the same vectors, and every mode is measured with them."""
    encoder = WordEncoder()
    found = compare(sets, Contestant(name="all", encoder=encoder, widths=(11, 5)))

    assert encoder.asked == 14
    assert set(found.columns) == {
        (BM25, 0, BM25), ("all", 11, "meaning"), ("all", 11, "keywords"), ("all", 11, "fused"), ("all", 5, "meaning"),
        ("all", 5, "fused"),
    }  # fmt: skip
    assert found.score(Column("all", 11, "meaning")).mean == 1
    # Five of ten words are all that five numbers hold, and the other set knows only four of them.
    assert found.score(Column("all", 5, "meaning"), name="far").mean == 1
    assert found.score(Column("all", 5, "meaning"), name="near").mean < 0.8


def test_differences_are_paired_and_of_the_judged_one(sets):
    """The first contestant is compared with each other one, with BM25, and each width with the full one."""
    judged = Contestant(name="half", encoder=WordEncoder(5), widths=(11, 5))
    found = compare(sets, judged, Contestant(name="all", encoder=WordEncoder(), widths=(11,)), modes=("meaning",))
    own, other = Column("half", 11, "meaning"), Column("all", 11, "meaning")

    assert list(found.pairs()) == [(own, (BM25, 0, BM25)), (own, other), (own._replace(width=5), own)]
    change = found.difference(own, other)
    assert change.mean == pytest.approx(found.score(own).mean - found.score(other).mean)
    assert change.high < 0
    assert found.difference(own, other, name="far").mean == 0


def test_means_weigh_sets_alike_and_languages_gather_over_sets(sets):
    """A mean over sets is that of their means; a language's takes its queries wherever they are."""
    write_set(sets / "more", [("violin", "A violin."), ("tuba", "A horn.")], lang="en")
    found = compare(sets, Contestant(name="all", encoder=WordEncoder(), widths=(11,)), modes=("keywords",))
    column = Column("all", 11, "keywords")

    assert found.languages == ["en", "en>de"]
    assert [report.ndcg10.mean for report in found.of(column)] == [1.0, 0.5, 1.0]
    assert found.score(column).mean == pytest.approx(2.5 / 3)
    assert found.score(column, language="en").mean == pytest.approx(1.5 / 2)
    assert found.score(column, language="en>de").mean == 1


def test_json_holds_every_figure(sets):
    """What scripts read stands under `reports`; the rest beside it, all with intervals."""
    contestants = [Contestant(name=name, encoder=WordEncoder(known), widths=(11, 5)) for name, known in
                   (("a", 10), ("b", 3))]  # fmt: skip
    written = json.loads(json.dumps(evaluation_json(compare(sets, *contestants, modes=("meaning", "fused")))))

    assert [(row["set"], row["mode"]) for row in written["reports"]] == [
        ("far", "meaning"), ("far", "fused"), ("near", "meaning"), ("near", "fused"),
    ]  # fmt: skip
    assert {"ndcg10", "ndcg10_low", "ndcg10_high", "recall10", "queries", "passages"} <= written["reports"][0].keys()
    assert {row["system"] for row in written["others"]} == {"a", "b", BM25}
    assert {(row["system"], row["width"]) for row in written["means"]} == {
        (BM25, 0), ("a", 11), ("a", 5), ("b", 11), ("b", 5),
    }  # fmt: skip
    [change] = [row for row in written["differences"] if row["scope"] == "mean" and row["against_system"] == "b"
                and (row["system"], row["width"], row["mode"]) == ("a", 11, "meaning")]  # fmt: skip
    assert 0 < change["ndcg10_low"] < change["ndcg10"] < change["ndcg10_high"]
    assert {row["language"] for row in written["languages"]} == {"en", "en>de"}


def test_tables_mark_what_is_sure(sets):
    """A difference whose interval leaves out zero is bold, one that may be nothing is not; names bring no commands."""
    one, two = (Contestant(name=name, encoder=WordEncoder(known), widths=(11,)) for name, known in
                (("all", 10), ("f\x1b[31mew|", 2)))  # fmt: skip
    table = format_tables(compare(sets, one, two, modes=("meaning",)))

    assert "| set | meaning: all - BM25 | meaning: all - f␛[31mew\\| |" in table
    lines = [line for line in table.splitlines() if line.startswith("| mean |")]
    assert lines[1].count("**") == 2
    assert "+0.000 (+0.000 to +0.000)" in lines[1]
    assert "| near | en | 10 | 10 |" in table


def test_equal_names_are_told_apart():
    """A retriever may be compared with another version of the same name."""
    contestant = Contestant(name="same", encoder=WordEncoder(), widths=(11,))
    assert [each.name for each in give_own_names([contestant] * 3)] == ["same", "same (2)", "same (3)"]


# Languages of a set.


@pytest.mark.parametrize(
    ("spoken", "meta", "expected"),
    [
        ("", {"lang": "en>de"}, "en>de"),
        ("", {"language": "de"}, "de"),
        ("fr", {"lang": "en"}, "en>fr"),
        ("", {"source": "x"}, "en>de"),
    ],
)
def test_languages_are_stated_or_told_by_the_texts(tmp_path, spoken, meta, expected):
    """Rows say more than the set, the set more than a guess from its texts."""
    pairs = [
        ("When does the harbour of the old city freeze in winter?", "Der Hafen der Stadt ist nie ohne Schiffe."),
        ("Who has baked the bread for the people of the village?", "Das Brot wird am Morgen vom Bäcker gebacken."),
    ]
    test_set = read_set(write_set(tmp_path / "set", pairs, spoken=spoken, **meta), name="x")
    assert set(test_set.languages.values()) == {expected}


def test_broken_description_of_a_set_is_refused(tmp_path):
    """A meta.json that is no JSON is told by its name."""
    folder = write_set(tmp_path / "set", [("a", "b")])
    (folder / "meta.json").write_text("{")
    with pytest.raises(UsageError, match=r"meta\.json: cannot be read"):
        read_set(find_sets(tmp_path)[0], name="x")


# BM25.


def test_bm25_is_the_textbooks():
    """Scores order documents as the formula worked out by hand does."""
    texts = ["red fox", "red red fox jumps over the lazy dog", "blue sea", "red"]
    lengths = [len(text.split()) for text in texts]
    mean = sum(lengths) / len(lengths)

    def score(text, length, word):
        holding = sum(word in other.split() for other in texts)
        inverse = np.log(1 + (len(texts) - holding + 0.5) / (holding + 0.5))
        count = text.split().count(word)
        return inverse * count / (count + 1.2 * (1 - 0.75 + 0.75 * length / mean))

    for query in ("red fox", "red", "dog sea", "red sea lazy"):
        scores = [sum(score(*pair, word) for word in query.split()) for pair in zip(texts, lengths, strict=True)]
        expected = [place for place in np.argsort(-np.array(scores), kind="stable") if scores[place] > 0]
        assert WordIndex(texts).search(query, limit=10) == expected


def test_words_of_every_script():
    """Case and accents are folded; scripts without spaces give pairs of characters; unknown words find nothing."""
    assert list(split_words("Crème-BRÛLÉE 42")) == ["creme", "brulee", "42"]
    assert list(split_words("龙井茶 tea")) == ["龙井", "井茶", "tea"]
    index = WordIndex(["龙井茶的采摘", "地震への備え", ""])
    assert index.search("井茶", limit=3) == [0]
    assert index.search("???", limit=3) == []
    assert WordIndex(["", "  "]).search("tea", limit=3) == []


# Intervals.


def test_mean_over_sets_draws_the_queries_of_each_set_anew():
    """The interval of a mean over sets is narrower than a set's by the square root of their number."""
    coin = [0.0, 1.0] * 100
    one, four = bootstrap(coin), bootstrap_sets([coin] * 4)

    assert four.mean == 0.5
    assert (four.high - four.low) / (one.high - one.low) == pytest.approx(0.5, abs=0.05)
    # A large set weighs no more than a small one.
    assert bootstrap_sets([[1.0] * 1000, [0.0]]).mean == 0.5
    with pytest.raises(ValueError, match="no values"):
        bootstrap_sets([[1.0], []])


def test_mean_difference_pairs_queries_inside_their_sets():
    """A steady gain in every set is certain, however different sets and queries are."""
    sets = [[0.0, 0.9, 0.3], [0.1, 0.5, 0.8]]
    gain = paired_bootstrap_sets([[value + 0.1 for value in values] for values in sets], sets)

    assert (gain.low, gain.mean, gain.high) == tuple(pytest.approx(0.1) for _ in range(3))
    with pytest.raises(ValueError, match="longer"):
        paired_bootstrap_sets([[0.1]], sets[:1])


# Real folders.


def test_verb_compares_folders_and_widths(sets, tmp_path, capsys):
    """Retriever folders are opened, cut to every width that both offer and compared."""
    one, two = (make_tiny_retriever(tmp_path / name, name=name, seed=seed) for seed, name in enumerate(("one", "two")))
    out = tmp_path / "out.json"
    arguments = ["--mode", "meaning", "--width", "all", "--json", str(out)]
    assert main(["evaluate", "--retriever", str(one), "--against", str(two), "--sets", str(sets), *arguments]) == 0

    written = json.loads(out.read_text())
    assert [(each["name"], each["widths"]) for each in written["systems"]] == [("one 1", [32, 16]), ("two 1", [32, 16])]
    assert written["dim"] == 32
    shown = capsys.readouterr().out
    assert "| one 1 | meaning | 16 |" in shown
    assert "meaning: one 1 - two 1 | meaning at 16: one 1 - two 1 |" in shown


def test_log_file_shows_how_far_it_is(sets, tmp_path, capsys, monkeypatch):
    """An evaluation of an hour tells its set and passage where stderr is no terminal, too."""
    monkeypatch.setattr("trainer.narration._QUIET", 0.0)
    one = make_tiny_retriever(tmp_path / "one", name="one")
    assert main(["evaluate", "--retriever", str(one), "--sets", str(sets), "--mode", "meaning"]) == 0
    assert re.search(r"^evaluate: .*passage \d+ of \d+$", capsys.readouterr().err, re.MULTILINE)


def test_rival_without_a_width_is_compared_at_the_others(sets, tmp_path, capsys):
    """Only the judged retriever must offer what is asked for."""
    one = make_tiny_retriever(tmp_path / "one", name="one")
    two = make_tiny_retriever(tmp_path / "two", name="two", changes={"dims": [32, 8]})
    arguments = ["--sets", str(sets), "--mode", "meaning", "--width", "16"]
    assert main(["evaluate", "--retriever", str(one), "--against", str(two), *arguments]) == 0

    shown = capsys.readouterr().out
    assert "one 1 - two 1 |" in shown
    assert "at 16: one 1 - two 1" not in shown
    assert "| two 1 | meaning | 8 |" not in shown


def test_width_that_is_not_offered_is_refused(tmp_path):
    """A width between those of the folder would measure what nobody can use."""
    with pytest.raises(RetrieverError, match="width 24 are not offered, only 32, 16"):
        open_contestant(make_tiny_retriever(tmp_path / "tiny"), widths=(24,))


def test_checkpoint_and_its_export_are_compared_in_fp32(sets, tmp_path, capsys):
    """A checkpoint is measured through torch, and so are a folder's own weights, beside what the app runs."""
    torch_encoder = pytest.importorskip("trainer.torch_encoder")
    from tests.trainer.test_export import make_backbone
    from trainer.bidirectional import BidirectionalConfig
    from trainer.checkpoint import save_checkpoint
    from trainer.export import Label, export_retriever
    from trainer.network import build_network
    from trainer.onnx_graph import FULL_PRECISION

    shape = BidirectionalConfig(vocab_size=256, hidden_size=32, layers=1, heads=2, ffn_size=32, max_tokens=64)
    backbone = make_backbone(tmp_path, build_network(shape, seed=3))
    label = Label(name="made", version="1", dims=(32, 16))
    export_retriever(backbone, tmp_path / "made", label, precision=FULL_PRECISION)
    checkpoint = save_checkpoint(
        tmp_path / "run" / "final", backbone.network, tokenizer=backbone.tokenizer, origin=backbone.origin
    )
    out = tmp_path / "out.json"
    assert main(["evaluate", "--retriever", str(tmp_path / "made"), "--fp32", "--against", str(checkpoint.folder),
                 "--sets", str(sets), "--mode", "meaning", "--json", str(out)]) == 0  # fmt: skip

    written = json.loads(out.read_text())
    assert [each["name"] for each in written["systems"]] == ["made 1", "run/final, fp32", "made 1, fp32"]
    scores = {row["system"]: row["ndcg10"] for row in written["means"] if row["system"] != BM25}
    assert len(set(scores.values())) == 1
    assert "made 1 - made 1, fp32" in capsys.readouterr().out
    encoder = torch_encoder.TorchEncoder(backbone, device="cpu")
    texts = ["river", "a much longer text of a river and a mountain", ""]
    together = encoder.encode_passages(texts)
    alone = np.concatenate([encoder.encode_passages([text]) for text in texts])
    assert together == pytest.approx(alone, abs=1e-5)
    assert np.linalg.norm(together, axis=1) == pytest.approx(1, abs=1e-5)
    narrow = torch_encoder.TorchEncoder(replace(backbone, origin=replace(backbone.origin, dims=(16, 8))), device="cpu")
    cut = narrow.encode_passages(texts)  # columns beyond the widest that was trained are nobody's
    assert (narrow.dim, narrow.dims, cut.shape) == (16, (16, 8), (3, 16))
    assert cut * np.linalg.norm(together[:, :16], axis=1, keepdims=True) == pytest.approx(together[:, :16], abs=1e-5)
