"""The steps of a search that need no real retriever: what is hidden, how far is looked, what is measured once."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from drama_app import search
from drama_app.config import Settings
from drama_app.errors import UsageError
from drama_app.library import Library
from drama_app.records import Passage
from drama_app.sentences import split_sentences
from tests.app.test_extract_pdf import make_writer


@pytest.fixture
def library(settings: Settings, tiny: Path, tmp_path: Path) -> Iterator[Library]:
    """An index of three documents."""
    folder = tmp_path / "files"
    folder.mkdir()
    for name in ("bees", "otters", "ferrets"):
        (folder / f"{name}.txt").write_text(f"{name} dance where the nectar is, says a book about {name}")
    with Library.open(settings, create=True, retriever=tiny) as library:
        library.add_root(folder)
        library.sync()
        yield library


def hide(library: Library, passages: int) -> None:
    """A document under way, all of whose passages answer "bees dance" better than any other."""
    number = library._manifest.begin_document(b"0" * 16, ".txt")
    texts = [f"bees dance {place}" for place in range(passages)]
    rows = [Passage(n, 0, len(text), text, None, None, "", "en") for n, text in enumerate(texts)]
    vector = library._encoder.encode_queries(["bees dance"])
    library._store.add(number, rows, np.repeat(vector, passages, axis=0))


@pytest.mark.parametrize("mode", ["fused", "meaning", "keywords"])
def test_a_long_document_under_way_hides_nothing(
    library: Library, monkeypatch: pytest.MonkeyPatch, mode: search.Mode
) -> None:
    """However many passages are stored of a file that is not finished, the finished ones are found."""
    monkeypatch.setattr(search, "MORE", 70)
    monkeypatch.setattr(search, "MANY", 70)
    hide(library, 120)

    found = {hit.path.stem for hit in library.search("bees dance", mode=mode).hits}

    assert found == {"bees", "otters", "ferrets"}


def test_similar_documents_are_found_beside_one_under_way(library: Library, tmp_path: Path) -> None:
    """Neither the file's own passages nor hidden ones take the places of others."""
    hide(library, 120)

    found = {hit.path.stem for hit in library.similar(tmp_path / "files" / "bees.txt").hits}

    assert found == {"otters", "ferrets"}


def test_numpy_is_imported_before_threads_that_would_both_import_it() -> None:
    """Opening store and encoder side by side cannot fail over a NumPy that is half imported."""
    code = "import sys, drama_app.search as s; s.Searcher(None, None, None); assert 'numpy' in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_same_search_twice_is_the_same(library: Library) -> None:
    """What was remembered of the first answers the second as well."""
    first, second = library.search("nectar of bees"), library.search("nectar of bees")

    assert first.hits == second.hits
    assert first.hits[0].passages[0].text.startswith("bees dance")


def test_meaning_chooses_among_sentences_that_words_do_not_tell_apart(library: Library, tmp_path: Path) -> None:
    """Of two that hold the query's word the nearer one is shown; by keywords alone the shorter."""
    encoder = library._encoder
    query, words = encoder.encode_queries(["ferrets"])[0], ("train", "garden", "bread", "nectar", "house", "dance")

    def likeness(sentence: str) -> float:
        return float(encoder.encode_passages([sentence])[0] @ query)

    nearer = max((f"Ferrets {word} {word} yes." for word in words), key=likeness)
    shorter = min((f"Ferrets {word}." for word in words), key=likeness)
    assert likeness(nearer) > likeness(shorter)
    sentences = nearer, shorter
    (tmp_path / "files" / "notes.txt").write_text(" ".join([*sentences, "All the rest has no word of the question."]))
    library.sync()

    def choose(mode: search.Mode) -> str:
        hits = library.mark_sentences(library.search("ferrets", mode=mode)).hits
        passage = next(hit for hit in hits if hit.path.name == "notes.txt").passages[0]
        start, end = passage.sentence or (0, 0)
        return passage.text[start:end]

    assert (choose("keywords"), choose("fused")) == (shorter, nearer)


def test_the_best_hits_are_read_whole(library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where not all sentences can be encoded it is the last hits that get none by meaning, never half a passage."""
    for name, verb in (("one", "bake"), ("two", "mend"), ("three", "paint")):
        (tmp_path / "files" / f"{name}.txt").write_text(f"We {verb} bread. They {verb} roofs. Some {verb} walls.")
    library.sync()
    results = library.search("zeppelins", mode="meaning")
    assert len(results.hits) > 3
    assert not any(hit.passages[0].sentence for hit in results.hits)
    read: list[str] = []
    real = library._encoder.encode_passages
    monkeypatch.setattr(library._encoder, "encode_passages", lambda texts: read.extend(texts) or real(texts))
    monkeypatch.setattr(search, "SENTENCES", 4)

    marked = library.mark_sentences(results).hits

    count = next(place for place, hit in enumerate(marked) if not hit.passages[0].sentence)
    assert count > 0 and not any(hit.passages[0].sentence for hit in marked[count:])
    assert read == [
        hit.passages[0].text[start:end]
        for hit in marked[:count]
        for start, end in split_sentences(hit.passages[0].text)
    ]
    assert len(read) >= 4


def test_a_hit_tells_where_its_sentence_stands(library: Library, tmp_path: Path) -> None:
    """Page and line are those of the best sentence, though its passage began before; so is a page's own likeness."""
    folder = tmp_path / "files"
    pages = [
        ["The first page tells of badgers."],
        ["The second one of walnuts."],
        ["The third page is about kestrels."],
    ]
    with (folder / "book.pdf").open("wb") as stream:
        make_writer(pages).write(stream)
    (folder / "notes.txt").write_text("Buy milk.\nCall the plumber.\nThe gazebo needs paint.\n")
    library.sync()

    places = [
        (hit.passages[0].page, hit.passages[0].line)
        for hit in (
            library.search(word, mode="keywords").hits[0] for word in ("badgers", "walnuts", "kestrels", "gazebo")
        )
    ]
    assert places == [(1, None), (2, None), (3, None), (None, 3)]
    hits = library.search("kestrels walnuts", mode="keywords")
    assert library.mark_sentences(library.mark_sentences(hits)).hits == hits.hits
    assert library.similar(folder / "book.pdf", page=3).hits
    with pytest.raises(UsageError, match="no text on page 4"):
        library.similar(folder / "book.pdf", page=4)
    kept = library._manifest._rows("SELECT * FROM pages")
    assert len(kept) == 1
    (folder / "book.pdf").unlink()
    library.sync()
    assert library._manifest._rows("SELECT * FROM pages") == []
