"""From texts to passages."""

import json

import pytest
import zstandard

from drama_app.errors import UsageError
from trainer.corpus import build_corpus, convert_pairs
from trainer.duplicates import NearDuplicates, sign
from trainer.input_checks import _check_source, list_texts
from trainer.overlap import collect_ids
from trainer.plan import _measure_corpus
from trainer.recipe import CorpusRecipe
from trainer.records import Passage, Query, read_records, text_id

RIVER = "The river rises in the mountains, crosses four countries and reaches the sea after nine hundred kilometres."
STEEL = "Steel is an alloy of iron and carbon with improved strength compared with other forms of iron found today."
GERMAN = (
    "Die Stadt liegt an einem breiten Fluss und wurde im zwölften Jahrhundert von Kaufleuten gegründet und befestigt."
)


def _write(path, rows):
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_bytes(zstandard.compress(text.encode()) if path.suffix == ".zst" else text.encode())
    return path


def test_every_text_comes_once_with_its_language(tmp_path):
    """Exact and near duplicates and short texts are left out and counted; a missing language is told."""
    rows = [
        {"text": RIVER, "lang": "en", "source": "a"},
        {"text": RIVER.upper()},
        {"text": RIVER.replace("four", "five")},
        {"text": "Too short."},
        {"text": GERMAN},
    ]
    report = build_corpus([_write(tmp_path / "in.jsonl.zst", rows)], tmp_path / "out.jsonl", CorpusRecipe())

    assert [each.text for each in read_records(tmp_path / "out.jsonl", Passage)] == [RIVER, GERMAN]
    assert report.rejected == {"duplicate": 1, "near duplicate": 1, "too short": 1}
    assert report.languages == {"en": 1, "de": 1}


@pytest.mark.parametrize("stated", [["en"], 3, None, ""])
def test_a_language_that_is_no_text_is_detected(stated, tmp_path):
    """A row that states its language as a list or a number has the one that is detected."""
    rows = [{"text": RIVER, "lang": stated, "query": "Which river?", "positive": RIVER}]
    source = _write(tmp_path / "in.jsonl", rows)
    convert_pairs([source], tmp_path / "p.jsonl", tmp_path / "q.jsonl")

    assert build_corpus([source], tmp_path / "out.jsonl", CorpusRecipe()).languages == {"en": 1}
    assert [each.language for each in read_records(tmp_path / "p.jsonl", Passage)] == ["en"]


def test_limits_by_language(tmp_path):
    """Only the languages asked for are kept, and no more of each than asked for."""
    rows = [{"text": RIVER}, {"text": STEEL}, {"text": GERMAN}]
    recipe = CorpusRecipe(languages=("en",), most_a_language=1)
    report = build_corpus([_write(tmp_path / "in.jsonl", rows)], tmp_path / "out.jsonl", recipe)

    assert report.kept == 1
    assert report.rejected == {"another language": 1, "enough of its language": 1}


def test_folders_of_text_are_cut(tmp_path):
    """A long text file becomes several passages of one document; other files are counted."""
    folder = tmp_path / "texts"
    folder.mkdir()
    sentences = [f"Chapter {number} tells of the {number * 7919}th year and its harvest." for number in range(200)]
    (folder / "book.txt").write_text(" ".join(sentences))
    (folder / "latin1.txt").write_bytes(b"caf\xe9 " * 40)
    (folder / "photo.jpg").write_bytes(b"\xff\xd8")
    recipe = CorpusRecipe(passage_tokens=100, near_duplicate=1.0)
    report = build_corpus([folder], tmp_path / "out.jsonl", recipe)
    passages = list(read_records(tmp_path / "out.jsonl", Passage))

    assert len(passages) > 10
    assert {each.document for each in passages} == {str(folder / "book.txt")}
    assert all(len(each.text) < 1000 for each in passages)
    assert report.rejected == {"a file that is not in UTF-8": 1, "a file that is no text": 1}


def test_dense_scripts_may_be_shorter(tmp_path):
    """25 Chinese characters say as much as 75 Latin letters, and are kept."""
    text = "这条河发源于山区，流经四个国家，最后在九百公里外流入大海。"
    report = build_corpus([_write(tmp_path / "in.jsonl", [{"text": text}])], tmp_path / "out.jsonl", CorpusRecipe())
    assert report.languages == {"zh": 1}


def test_long_passages_are_cut_between_words(tmp_path):
    """A passage never exceeds the limit and ends with a whole word; what lost its end is counted."""
    text = " ".join(f"word{number}" for number in range(600))
    source = _write(tmp_path / "in.jsonl", [{"text": text, "lang": "en"}])
    report = build_corpus([source], tmp_path / "out.jsonl", CorpusRecipe(most_characters=500))
    assert report.cut_off == 1
    [passage] = read_records(tmp_path / "out.jsonl", Passage)
    assert 480 < len(passage.text) <= 500
    assert text[len(passage.text)] == " "
    source = _write(tmp_path / "in.jsonl", [{"text": "2024年 " + "报告" * 1000, "lang": "zh"}])
    build_corpus([source], tmp_path / "out.jsonl", CorpusRecipe(most_characters=500))
    assert [len(each.text) for each in read_records(tmp_path / "out.jsonl", Passage)] == [500]


def test_half_an_emoji_harms_nothing(tmp_path):
    """A lone surrogate, which JSON may hold and UTF-8 may not, is replaced in texts and in pairs."""
    source = _write(tmp_path / "in.jsonl", [{"text": "A text that ends in half an emoji. " * 9, "lang": "en"}])
    source.write_text(source.read_text().replace("emoji", "emoji \\ud83d"))
    build_corpus([source], tmp_path / "out.jsonl", CorpusRecipe())
    [passage] = read_records(tmp_path / "out.jsonl", Passage)
    assert "half an emoji ?." in passage.text
    (tmp_path / "pairs.jsonl").write_text('{"query": "what \\ud83d", "positive": "that", "lang": "en"}\n')
    convert_pairs([tmp_path / "pairs.jsonl"], tmp_path / "p.jsonl", tmp_path / "q.jsonl")
    assert [query.text for query in read_records(tmp_path / "q.jsonl", Query)] == ["what ?"]


def test_a_byte_order_mark_is_no_text(tmp_path):
    """A table as Windows tools write it is read, plain or compressed."""
    rows = b"\xef\xbb\xbf" + json.dumps({"text": RIVER}).encode() + b"\r\n"
    (tmp_path / "a.jsonl").write_bytes(rows)
    (tmp_path / "b.jsonl.zst").write_bytes(zstandard.compress(rows))
    for name in ("a.jsonl", "b.jsonl.zst"):
        assert build_corpus([tmp_path / name], tmp_path / "out.jsonl", CorpusRecipe()).kept == 1


def test_a_table_in_capitals_is_a_table(tmp_path):
    """A file named .JSONL is read as rows by all who look at it, and not cut as prose."""
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "A.JSONL").write_text(json.dumps({"text": RIVER}) + "\n")
    (folder / "B.Jsonl.ZST").write_bytes(zstandard.compress((json.dumps({"text": STEEL}) + "\n").encode()))
    build_corpus([folder], tmp_path / "out.jsonl", CorpusRecipe())

    assert [each.text for each in read_records(tmp_path / "out.jsonl", Passage)] == [RIVER, STEEL]
    assert _measure_corpus([str(folder), str(folder / "A.JSONL")]).passages == 3
    (folder / "A.JSONL").write_text("{}")
    with pytest.raises(UsageError, match=r"A.JSONL, line 1: is no object with 'text'"):
        _check_source(str(folder))
    with pytest.raises(UsageError, match=r"A.JSONL, line 1: is no object with 'text'"):
        _check_source(str(folder / "A.JSONL"))


def test_a_run_among_its_texts_is_no_text(tmp_path):
    """What a run in the folder of its corpus wrote is counted, not learnt, nor looked at; another run.json is none."""
    run, other = tmp_path / "texts" / "run", tmp_path / "texts" / "sport"
    (run / "queries").mkdir(parents=True)
    other.mkdir()
    for name in ("run.json", "recipe.toml"):
        (run / name).write_text("{}")
    (other / "run.json").write_text("{}")
    (run / "queries" / "crops.jsonl").write_text(json.dumps({"text": STEEL}) + "\n")
    (other / "river.txt").write_text(RIVER)
    report = build_corpus([tmp_path / "texts"], tmp_path / "out.jsonl", CorpusRecipe())

    assert [each.text for each in read_records(tmp_path / "out.jsonl", Passage)] == [RIVER]
    assert report.rejected == {"a file of a run": 3, "a file that is no text": 1}
    assert list_texts(tmp_path / "texts") == [other / "river.txt"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}\n", "line 1: needs a 'text'"),
        ("x\n", "line 1: not JSON"),
        ("[" * 100_000, "line 1: not JSON"),
        ("", "no passage is left"),
        ("3\n", "no object"),
    ],
)
def test_useless_source_is_refused(tmp_path, content, message):
    """A source without texts ends in a sentence, and no finished file is left."""
    (tmp_path / "in.jsonl").write_text(content)
    with pytest.raises(UsageError, match=message):
        build_corpus([tmp_path / "in.jsonl"], tmp_path / "out.jsonl", CorpusRecipe())
    assert not (tmp_path / "out.jsonl").exists()


def test_pairs_become_queries_and_passages(tmp_path):
    """Pairs keep their languages and the kind that their file's name tells; repetitions come once."""
    pair = {"query": "Where?", "positive": RIVER, "title": "River", "lang": "en", "source": "s"}
    written = _write(tmp_path / "qa.jsonl", [pair, pair, {**pair, "query": "How long?"}])
    crossing = _write(tmp_path / "parallel.jsonl.zst", [{"query": "Der Fluss", "positive": STEEL, "lang": "de>en"}])
    assert convert_pairs([written, crossing], tmp_path / "p.jsonl", tmp_path / "q.jsonl") == (3, {})

    passages = {each.id: each for each in read_records(tmp_path / "p.jsonl", Passage)}
    queries = list(read_records(tmp_path / "q.jsonl", Query))
    assert [(each.kind, each.language, passages[each.passage].language) for each in queries] == [
        ("written", "en", "en"), ("written", "en", "en"), ("parallel", "de", "en"),
    ]  # fmt: skip
    assert len(passages) == 2
    with pytest.raises(UsageError, match="line 1: needs the texts"):
        convert_pairs([_write(tmp_path / "bad.jsonl", [{"query": " "}])], tmp_path / "p2", tmp_path / "q2")


def test_pairs_of_other_languages_are_left_out(tmp_path):
    """Both sides must be in a language that is asked for; where none is stated the passage's own is found out."""
    rows = [
        {"query": "Wo?", "positive": GERMAN}, {"query": "Where?", "positive": RIVER},
        {"query": "Where to?", "positive": GERMAN, "lang": "en>de"},
    ]  # fmt: skip
    source = _write(tmp_path / "qa.jsonl", rows)
    assert convert_pairs([source], tmp_path / "p", tmp_path / "q", languages=["de"]) == (
        1, {"a pair in another language": 2},
    )  # fmt: skip
    [query] = read_records(tmp_path / "q", Query)
    assert (query.text, query.language) == ("Wo?", "de")


def test_signature_estimates_the_share_of_common_sequences():
    """Equal entries follow the Jaccard similarity of five-character sequences within three deviations."""
    words = [f"w{number:04d}" for number in range(400)]
    for shared in (0, 100, 200, 300, 400):
        one, other = "".join(words[:300]), "".join(words[300 - shared : 600 - shared] or words[:300])
        sets = [{text[at : at + 5] for at in range(len(text) - 4)} for text in (one, other)]
        truth = len(sets[0] & sets[1]) / len(sets[0] | sets[1])
        assert (sign(one) == sign(other)).mean() == pytest.approx(truth, abs=0.2)


def test_short_and_empty_texts_have_signatures():
    """Texts below five characters are compared too."""
    near = NearDuplicates(0.8)
    assert [near.add(text) for text in ("ab", "cd", "AB ", "", "")] == [None, None, 0, None, 2]


def test_a_long_document_of_a_test_set_is_known_in_pieces(tmp_path):
    """Given as a row, which is cut off, or as a file, which is cut into passages, none of it trains."""
    text = " ".join(f"Sentence {number} of a meeting that goes on and on." for number in range(200))
    (tmp_path / "set").mkdir()
    _write(tmp_path / "set" / "corpus.jsonl", [{"_id": "d", "text": text}])
    _write(tmp_path / "set" / "queries.jsonl", [{"_id": "q", "text": "What goes on?"}])
    (tmp_path / "meeting.txt").write_text(text)
    rows = _write(tmp_path / "in.jsonl", [{"text": text}, {"text": GERMAN}])
    recipe = CorpusRecipe()
    evaluation = collect_ids(tmp_path / "set", recipe)
    report = build_corpus([rows, tmp_path / "meeting.txt"], tmp_path / "out.jsonl", recipe, evaluation=evaluation)
    assert [each.text for each in read_records(tmp_path / "out.jsonl", Passage)] == [GERMAN]
    assert report.rejected["in an evaluation set"] > 5


def test_texts_of_evaluation_sets_are_left_out(tmp_path):
    """Neither a passage nor a query of a test set gets into the training data, with its title or without."""
    forbidden = {text_id(RIVER): "set", text_id("Metal\n" + STEEL): "set", text_id("Where?"): "set"}
    rows = [{"text": RIVER.upper()}, {"text": STEEL, "title": "Metal"}, {"text": GERMAN}]
    source = _write(tmp_path / "in.jsonl", rows)
    report = build_corpus([source], tmp_path / "out.jsonl", CorpusRecipe(), evaluation=forbidden)
    assert (report.kept, report.rejected) == (1, {"in an evaluation set": 2})

    pairs = [
        {"query": query, "positive": text} for query, text in (("Where?", GERMAN), ("Who?", RIVER), ("A?", GERMAN))
    ]
    source = _write(tmp_path / "qa.jsonl", pairs)
    assert convert_pairs([source], tmp_path / "p", tmp_path / "q", evaluation=forbidden) == (
        1,
        {"a pair in an evaluation set": 2},
    )
