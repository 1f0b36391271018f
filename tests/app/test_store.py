"""The passage store with the real LanceDB: what is found, what is gone, and what a kill leaves."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drama_app import caretaker, passage_table, phrases, store
from drama_app.errors import DiskError, IndexDamagedError
from drama_app.passage_table import StoredPassage
from drama_app.records import Passage
from drama_app.row_cache import RowCache
from drama_app.store import PassageStore

ROOT = Path(__file__).resolve().parents[2]
DIM = 16


def passage(
    text: str, ordinal: int = 0, *, language: str = "en", heading: str = "", page: int | None = None
) -> Passage:
    """A passage at made-up offsets."""
    start = ordinal * 100
    return Passage(ordinal, start, start + len(text), text, page, None, heading, language)


def vectors(*seeds: int) -> np.ndarray:
    """Unit vectors that differ by seed."""
    rows = np.stack([np.random.default_rng(seed).standard_normal(DIM) for seed in seeds]).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def fill(target: PassageStore, count: int, *, first: int = 0) -> None:
    """Documents of one passage each, with the document's number as a word and as the vector's seed."""
    target.add_many((n, [passage(f"common filler number{n}")], vectors(n)) for n in range(first, first + count))


@pytest.fixture
def passages(tmp_path: Path) -> PassageStore:
    """An empty store."""
    return PassageStore.open(tmp_path / "store", dim=DIM)


def test_a_passage_comes_back_as_it_went_in(passages: PassageStore) -> None:
    """Every field survives, absent pages and quotes included; vectors come back at length 1."""
    rows = [passage('it\'s "so"', 0, heading="A › B", page=3, language="de"), passage("第二段", 1, language="zh")]
    passages.add(7, rows, vectors(1, 2) * 5)

    stored = passages.document_passages(7)

    assert [each.passage for each in stored] == rows
    assert np.allclose(np.stack([each.vector for each in stored]), vectors(1, 2), atol=2e-3)
    assert passages.passages([(7, 1), (8, 0), (7, 0)])[0].passage == rows[1]
    assert (passages.count(), passages.counts(), passages.document_ids()) == (2, {7: 2}, {7})
    assert passages.languages() == {"de": 1, "zh": 1}


def test_new_rows_are_found_at_once_and_removed_rows_are_gone_at_once(passages: PassageStore) -> None:
    """Neither needs the caretaker."""
    fill(passages, 50)
    passages.tidy(force=True)
    passages.add(900, [passage("a zebra crossing")], vectors(900))

    assert [each.key for each in passages.keywords("zebra", limit=5)] == [(900, 0)]
    assert passages.nearest(vectors(900)[0], limit=1)[0].key == (900, 0)

    passages.remove([900, 12345])

    assert passages.keywords("zebra", limit=5) == []
    assert passages.nearest(vectors(900)[0], limit=1)[0].key != (900, 0)
    assert passages.passages([(900, 0)]) == []


def test_scores_are_cosines(passages: PassageStore) -> None:
    """`nearest` gives cosines, best first."""
    fill(passages, 30)
    query = vectors(99)[0]
    truth = sorted((vectors(*range(30)) @ query).tolist(), reverse=True)[:5]

    assert np.allclose([each.score for each in passages.nearest(query, limit=5)], truth, atol=2e-3)


@pytest.mark.parametrize("indexed", [False, True])
def test_filters_apply_before_the_best_are_chosen(
    passages: PassageStore, monkeypatch: pytest.MonkeyPatch, indexed: bool
) -> None:
    """One document among 5,000 that all match better is found, with and without a vector index."""
    fill(passages, 5000)
    passages.add(6000, [passage("common " + "padding " * 50, language="x'y")], -vectors(1))
    if indexed:
        monkeypatch.setattr(caretaker, "_VECTOR_INDEX_ROWS", 100)
        passages.tidy(force=True)
        assert passages._table.index_stats(passage_table.VECTOR_INDEX)
    query = vectors(1)[0]

    many = {"documents": set(range(2500, 9000)) - {7000}, "languages": ("x'y", "'")}
    for filters in ({"documents": {6000, 70_000}}, {"languages": ("x'y",)}, many):
        assert [each.key for each in passages.nearest(query, limit=10, **filters)] == [(6000, 0)]
        assert [each.key for each in passages.keywords("common", limit=10, **filters)] == [(6000, 0)]
    assert passages.nearest(query, limit=10, documents=set()) == []
    assert passages.keywords("common", limit=10, documents=set()) == []


def test_a_long_list_of_documents_gives_what_an_exact_filter_gives(
    passages: PassageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking further and sorting out is only a shortcut: the answer is that of the filter."""
    fill(passages, 600)
    query, some = vectors(601)[0], set(range(0, 600, 7))
    exact = [each.key for each in passages.nearest(query, limit=20, documents=some)]

    monkeypatch.setattr(store, "_LONG_LIST", 10)

    assert [each.key for each in passages.nearest(query, limit=20, documents=some)] == exact
    assert [each.key for each in passages.nearest(query, limit=20, documents=set(range(600)))] == [
        each.key for each in passages.nearest(query, limit=20)
    ]
    assert passages.keywords("zebraquagga", limit=20, documents=set(range(600))) == []  # no row to choose from
    assert passages.nearest(query, limit=20, documents=set(range(600)), languages=("xx",)) == []


@pytest.mark.parametrize(
    "documents", [[5], [1, 2, 3], list(range(100)), [*range(40), 50, *range(60, 90)], list(range(0, 400, 20))]
)
def test_runs_of_documents_select_what_lists_do(passages: PassageStore, documents: list[int]) -> None:
    """Ranges in a condition take in no neighbour and leave out no end."""
    fill(passages, 120)

    passages.remove(documents)

    assert passages.document_ids() == set(range(120)) - set(documents)


@pytest.mark.parametrize(
    "query", ["it's", "'; DROP TABLE passages; --", '"', "a OR b AND (", "*", "\x00", "%_\\", "  "]
)
def test_no_query_is_taken_for_code(passages: PassageStore, query: str) -> None:
    """Quotes, operators and control characters are text."""
    fill(passages, 3)
    passages.keywords(query, limit=5, languages=("en' OR '1'='1", query))

    assert passages.count() == 3


def test_a_phrase_whose_words_stand_nowhere_finds_nothing(passages: PassageStore) -> None:
    """A quoted phrase without any match is no error."""
    assert passages.keywords('"zebra quagga"', limit=10) == []


def test_a_sample_of_nothing_is_empty(passages: PassageStore) -> None:
    """An empty store has an empty sample, of the right width."""
    assert passages.sample(10).shape == (0, DIM)


def test_a_sample_is_of_many_documents(passages: PassageStore) -> None:
    """One document of hundreds of passages does not crowd the others out of a sample."""
    passages.add(1, [passage("log line", number) for number in range(300)], np.tile(vectors(1), (300, 1)))
    for number in range(2, 10):
        passages.add(number, [passage("letter", place) for place in range(12)], np.tile(vectors(number), (12, 1)))

    sample = passages.sample(10)

    assert len(np.unique(sample.round(3), axis=0)) >= 6


def test_a_quoted_phrase_is_demanded(passages: PassageStore) -> None:
    """Passages with the words in another order are left out."""
    passages.add(
        1, [passage("the lost bicycle of the mayor"), passage("bicycle lost, the mayor said", 1)], vectors(1, 2)
    )

    assert {each.key for each in passages.keywords("lost bicycle", limit=5)} == {(1, 0), (1, 1)}
    assert [each.key for each in passages.keywords('"Lost bicycle"', limit=5)] == [(1, 0)]


@pytest.mark.parametrize("query", ['"in the end"', 'how does it go "in the end" of it'])
def test_a_phrase_of_common_words_is_found_behind_all_that_hold_its_words(passages: PassageStore, query: str) -> None:
    """A phrase is found although more passages than are read at once rank above it by its words alone."""
    passages.add_many((n, [passage("the end, in how it goes")], vectors(n)) for n in range(phrases.SLICE + 60))
    passages.add(999, [passage(f"{'words of another matter ' * 30} in the end")], vectors(999))
    passages.add(1000, [passage("in short, the matter")], vectors(1000))

    assert [each.key for each in passages.keywords(query, limit=5)] == [(999, 0)]


def test_a_heading_is_searched_with_its_text(passages: PassageStore) -> None:
    """A word that stands only in the heading finds the passage."""
    passages.add(1, [passage("see the table below", heading="Gebührenordnung")], vectors(1))

    assert [each.key for each in passages.keywords("gebührenordnung", limit=5)] == [(1, 0)]


def test_coverage_counts_rare_words_more(passages: PassageStore) -> None:
    """The share of a query that a passage holds is weighted by how rare its words are."""
    fill(passages, 200)
    passages.add(300, [passage("common things")], vectors(300))
    passages.add(301, [passage("a walrus")], vectors(301))
    passages.tidy(force=True)

    found = {each.document: each.coverage for each in passages.keywords("common walrus", limit=300)}

    assert found[301] > 0.9
    assert found[300] < 0.1
    assert passages.keywords("common things", limit=1)[0].coverage == pytest.approx(1.0)


def test_rows_that_moved_are_fetched_all_the_same(passages: PassageStore) -> None:
    """Merging parts moves rows; a key found before it still gives its own passage."""
    for n in range(8):
        fill(passages, 5, first=n * 5)
    keys = [each.key for each in passages.nearest(vectors(3)[0], limit=20)]
    passages.remove([0, 1, 2])
    passages.tidy(force=True)

    fetched = passages.passages(keys)

    assert [(each.document, each.passage.ordinal) for each in fetched] == [key for key in keys if key[0] > 2]
    assert all(each.passage.text.endswith(f"number{each.document}") for each in fetched)


def test_what_another_process_removed_is_not_remembered(tmp_path: Path) -> None:
    """Rows that a reader has fetched are gone for it as well, once it looks for the newest state."""
    reader, writer = PassageStore.open(tmp_path, dim=DIM), PassageStore.open(tmp_path, dim=DIM)
    fill(writer, 5)
    reader.refresh()
    keys = [each.key for each in reader.nearest(vectors(3)[0], limit=5)]
    assert len(reader.passages(keys, vectors=True)) == 5

    writer.remove([3])
    reader.refresh()

    assert {each.document for each in reader.passages(keys)} == {0, 1, 2, 4}


def test_rows_that_were_read_before_a_change_are_not_kept() -> None:
    """A slow query beside a writer must not leave what the writer has removed."""
    cache = RowCache()
    seen = StoredPassage(1, passage("old"))
    before = cache.generation
    cache.note_places(before, [((1, 0), 7)])
    cache.forget()
    cache.note_passages(before, [seen])

    assert (cache.places([(1, 0)]), cache.passages([(1, 0)], vectors=False)) == ([], {})
    cache.note_passages(cache.generation, [seen])
    assert cache.passages([(1, 0)], vectors=False) == {(1, 0): seen}
    assert cache.passages([(1, 0)], vectors=True) == {}


class Shrinking:
    """A table from which a writer removes rows just after they were counted."""

    def __init__(self, table: Any) -> None:
        self._table = table
        self._left = 1

    def count_rows(self) -> int:
        count = int(self._table.count_rows())
        if self._left:
            self._left -= 1
            self._table.delete("document >= 3")
        return count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)


def test_a_sample_is_drawn_beside_a_writer_that_removes(passages: PassageStore) -> None:
    """Rows that go between counting and reading are no error."""
    fill(passages, 50)
    passages._table = Shrinking(passages._table)

    assert 1 <= len(passages.sample(10)) <= 3


def test_documents_are_left_out_on_demand(passages: PassageStore) -> None:
    """Both lists pass over some documents, beside the other filters."""
    fill(passages, 40)
    query = vectors(5)[0]

    for filters in ({}, {"documents": {4, 5, 6}}, {"languages": ("en",)}):
        assert 5 in {each.document for each in passages.nearest(query, limit=50, **filters)}
        assert 5 not in {each.document for each in passages.nearest(query, limit=50, without=[5], **filters)}
        assert 5 not in {each.document for each in passages.keywords("common", limit=50, without=[5], **filters)}


def test_only_the_best_by_keywords_are_described(passages: PassageStore) -> None:
    """Those have a coverage and are at hand with their vectors; the others are listed all the same."""
    fill(passages, 50)

    found = passages.keywords("common", limit=50)

    assert [each.coverage for each in found] == [1.0] * store.LOOKED_UP + [0.0] * (50 - store.LOOKED_UP)
    assert all(each.vector is not None for each in passages.passages([each.key for each in found], vectors=True))


def test_a_table_that_grows_is_tidied_meanwhile(passages: PassageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A first index of a large folder is searched by its indexes before the sync ends."""
    monkeypatch.setattr(caretaker, "_GROWN_ROWS", 50)
    for n in range(12):
        fill(passages, 10, first=n * 10)

    assert passages._table.index_stats(passage_table.TERMS_INDEX).num_unindexed_rows < 50
    assert passages._table.stats()["fragment_stats"]["num_fragments"] < 6


def test_the_caretaker_works_only_when_it_pays(passages: PassageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few new rows are left alone, many are taken into the indexes, and many writes leave few files."""
    monkeypatch.setattr(caretaker, "_SMALL_PARTS", 10)
    monkeypatch.setattr(caretaker, "_RETENTION", caretaker.timedelta(milliseconds=1))
    fill(passages, 20)
    assert not passages.tidy()

    for n in range(12):
        fill(passages, 2, first=100 + 2 * n)
    time.sleep(0.01)
    assert passages.tidy()

    assert passages._table.stats()["fragment_stats"]["num_fragments"] == 1
    assert len(passages._table.list_versions()) <= 3
    assert passages._table.index_stats(passage_table.TERMS_INDEX).num_unindexed_rows == 0
    assert not passages.tidy()


def test_what_is_removed_for_good_leaves_the_disk(passages: PassageStore, tmp_path: Path) -> None:
    """No file of the table holds a word of it, though it was one row of many; a reader goes on, and the rest is found.

    LanceDB's own tidying leaves such a row in its part, marked as removed.
    """
    fill(passages, 50)
    passages.add(60, [passage("a wombat here")], vectors(60))
    passages.tidy(force=True)
    reader = PassageStore.open(tmp_path / "store", dim=DIM)
    assert reader.count() == 51
    passages.remove([60])
    assert passages.tidy(for_good=True)

    files = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert not any(b"wombat" in path.read_bytes() for path in files)
    assert reader.keywords("number7", limit=5)[0].key == (7, 0)
    assert reader.keywords("wombat", limit=5) == []
    assert passages.nearest(vectors(3)[0], limit=1)[0].key == (3, 0)
    passages.remove(range(50))
    assert passages.tidy(for_good=True) and passages.count() == 0


def test_another_schema_or_width_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence says what to do; the table is left as it was."""
    fill(PassageStore.open(tmp_path, dim=DIM), 3)

    with pytest.raises(IndexDamagedError, match="index again"):
        PassageStore.open(tmp_path, dim=DIM * 2)
    monkeypatch.setattr(passage_table, "SCHEMA_VERSION", passage_table.SCHEMA_VERSION + 1)
    with pytest.raises(IndexDamagedError, match="another version"):
        PassageStore.open(tmp_path, dim=DIM)
    monkeypatch.undo()

    assert PassageStore.open(tmp_path, dim=DIM).count() == 3


def test_a_broken_table_is_a_sentence(tmp_path: Path) -> None:
    """Damage on disk is reported as such."""
    fill(PassageStore.open(tmp_path, dim=DIM), 3)
    for path in (tmp_path / "passages.lance" / "_versions").iterdir():
        path.write_bytes(b"nonsense")

    with pytest.raises(IndexDamagedError, match="cannot be read"):
        PassageStore.open(tmp_path, dim=DIM)


def test_only_damage_is_answered_with_a_purge(tmp_path: Path) -> None:
    """A table whose rows are gone is to be made anew, and the sentence has the cause; a full disk says so, no more."""
    fill(PassageStore.open(tmp_path, dim=DIM), 3)
    for path in (tmp_path / "passages.lance" / "data").iterdir():
        path.unlink()
    with pytest.raises(IndexDamagedError, match=r"Not found.*purge.* and index again"):
        PassageStore.open(tmp_path, dim=DIM).document_passages(1)


def test_a_disk_that_refuses_is_told_as_such(passages: PassageStore) -> None:
    """What LanceDB says of a full disk becomes a sentence, for a change as for a look."""
    full = "lance error: LanceError(IO): Generic error: No space left on device (os error 28), /root/lance.rs:258:9"

    class Table:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(full)

    passages._table = Table()
    said = "cannot be {}: No space left on device: make room and try again$"
    with pytest.raises(DiskError, match=said.format("written")):
        passages.remove([1])
    with pytest.raises(DiskError, match=said.format("read")):
        passages.count()


def test_wrong_vectors_are_refused_before_anything_is_written(passages: PassageStore) -> None:
    """Width and number of the vectors must fit."""
    with pytest.raises(ValueError, match="vectors"):
        passages.add(1, [passage("a")], np.zeros((1, DIM + 1), np.float32))
    with pytest.raises(ValueError, match="vectors"):
        passages.add(1, [passage("a")], vectors(1, 2))
    assert passages.count() == 0


def test_two_tables_do_not_meet(tmp_path: Path) -> None:
    """Each retriever has its own table and width."""
    one = PassageStore.open(tmp_path, dim=DIM, table="one")
    two = PassageStore.open(tmp_path, dim=8, table="two")
    fill(one, 2)

    assert (one.count(), two.count()) == (2, 0)


def run(code: str, folder: Path) -> "subprocess.Popen[str]":
    """A process of its own with the store's names at hand."""
    script = f"""
import sys, numpy as np
from pathlib import Path
from tests.app.test_store import *
target = PassageStore.open(Path(sys.argv[1]), dim=DIM)
{code}
"""
    return subprocess.Popen(
        [sys.executable, "-c", script, str(folder)], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_a_reader_sees_what_another_process_wrote_and_tidied(tmp_path: Path) -> None:
    """After `refresh` a reader sees new rows; a version tidied away below it is no error; stderr stays silent."""
    reader = PassageStore.open(tmp_path, dim=DIM)
    fill(reader, 10)
    assert 12 not in {each.document for each in reader.keywords("number12", limit=20)}

    writer = run(
        """
caretaker._RETENTION = caretaker.timedelta(milliseconds=1)
fill(target, 10, first=10)
target.remove([1])
target.tidy(force=True)
fill(target, 1, first=20)
time.sleep(0.01)
target.tidy(force=True)
target.keywords("number3", limit=3), target.nearest(vectors(3)[0], limit=3)
""",
        tmp_path,
    )
    out, err = writer.communicate(timeout=60)
    assert (writer.returncode, out, err) == (0, "", "")

    assert [each.document for each in reader.nearest(vectors(3)[0], limit=1)] == [3]
    reader.refresh()
    assert reader.keywords("number12", limit=3)[0].key == (12, 0)
    assert reader.count() == 20


@pytest.mark.slow
def test_a_killed_writer_leaves_a_store_of_whole_documents(tmp_path: Path) -> None:
    """Ten kills at any moment of adding, removing and tidying: the store opens, is whole and takes writes."""
    loop = """
print("ready", flush=True)
number = max(target.document_ids(), default=0)
while True:
    number += 1
    passages = [passage(f"text {number}", ordinal) for ordinal in range(4)]
    target.add_many((number * 10 + n, passages, vectors(*range(4))) for n in range(3))
    target.remove([number * 10])
    if number % 3 == 0:
        target.tidy(force=True)
"""
    for kill in range(10):
        writer = run(loop, tmp_path)
        assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
        time.sleep(0.03 + 0.037 * kill)
        os.kill(writer.pid, signal.SIGKILL)
        writer.communicate()

        left = PassageStore.open(tmp_path, dim=DIM)
        assert set(left.counts().values()) <= {4}
        left.add(1, [passage("after the kill")], vectors(1))
        assert [each.key for each in left.keywords("kill", limit=3)] == [(1, 0)]
        left.remove([1])
    left.tidy(force=True)
    assert len(left.nearest(vectors(1)[0], limit=5)) == 5


def test_a_creation_that_was_killed_is_finished_by_the_next(tmp_path: Path) -> None:
    """An empty folder of the table's name, or a table without its indexes, is completed on opening."""
    (tmp_path / "passages.lance" / "_versions").mkdir(parents=True)
    fill(PassageStore.open(tmp_path, dim=DIM), 2)
    PassageStore.open(tmp_path, dim=DIM)._table.drop_index(passage_table.TERMS_INDEX)

    assert PassageStore.open(tmp_path, dim=DIM).keywords("number1", limit=3)[0].key == (1, 0)
