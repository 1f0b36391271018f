"""Files that are asked for by name are found by it, and by nothing that only looks like it."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from drama_app.config import Settings
from drama_app.file_names import MOST, fold_name, holds_words, is_meant, is_named, name_words
from drama_app.library import Library
from drama_app.manifest import FileRow, Manifest
from drama_app.records import Filters, Results

NAMES = ["Kündigung 2041.txt", "otters.txt", "Übersicht_final-v2.txt", "契約書.txt"]


@pytest.fixture
def library(settings: Settings, tiny: Path, tmp_path: Path) -> Iterator[Library]:
    """An index of files whose texts do not hold the words of their names."""
    folder = tmp_path / "files"
    folder.mkdir()
    for name in NAMES:
        (folder / name).write_text(f"{len(name)} bees dance where the nectar is.\n" + "The hive is warm.\n\n" * 200)
    with Library.open(settings, create=True, retriever=tiny) as library:
        library.add_root(folder)
        library.sync()
        yield library


def first(results: Results) -> str | None:
    """The first hit's name, if it was found by it."""
    best = results.hits[0]
    return best.path.name if any(score.source == "file name" for score in best.passages[0].scores) else None


@pytest.mark.parametrize(
    ("query", "name", "held"),
    [
        ("kundigung", "Kündigung 2041.pdf", True),
        ("2041 Kündigung", "Kündigung 2041.pdf", True),
        ("ndig", "Kündigung 2041.pdf", True),
        ("kündigung 204", "Kündigung 2041.pdf", False),
        ("kündigung 2042", "Kündigung 2041.pdf", False),
        ("bread.md", "Bread.md", True),
        ("list of v2", "list-of-parts-v2.txt", True),
        ("is it so big", "bigger bits.txt", False),
        ("契約", "新契約書.txt", True),
        ("Cafe\u0301", "café.txt", True),
    ],
)
def test_a_name_holds_every_word_of_the_query(query: str, name: str, held: bool) -> None:
    """Parts of words count, numbers and short words only whole; case and accents do not matter."""
    assert holds_words(fold_name(Path("/a") / name), name_words(query)) is held


@pytest.mark.parametrize(
    ("query", "name", "meant"),
    [
        ("tax", "syntax.md", False),
        ("rent", "parenting.md", False),
        ("tax", "taxes-2024.md", True),
        ("tax", "myTaxReport.md", True),
        ("mytax", "myTaxReport.md", True),
        ("tax", "2024tax.md", True),
        ("rfc 2616", "rfc2616.txt", True),
        ("schema", "XMLSchema.xsd", True),
        ("tax other", "syntax of others.md", False),
        ("契約", "新契約書.txt", True),
    ],
)
def test_a_word_of_the_texts_is_not_asked_of_the_inside_of_a_name(query: str, name: str, meant: bool) -> None:
    """Where passages hold a word, only names with a word that begins so are meant; else any part of a name may be."""
    words = name_words(query)

    assert holds_words(fold_name(Path("/a") / name), words)
    assert is_meant(Path("/a") / name, words, held=words) is meant
    assert is_meant(Path("/a") / name, words, held=())


def test_questions_and_single_letters_ask_for_no_name() -> None:
    """Long questions and queries of nothing but short words name no file."""
    assert not name_words("how do the bees of the hive tell each other where")
    assert not name_words("a b 1")


def test_only_the_whole_name_is_the_name() -> None:
    """A name is made of the query's words and no others, with or without its ending."""
    assert is_named("report-2024.pdf", ("2024", "report")) and is_named("report.pdf", ("report", "pdf"))
    assert not is_named("report-2024.pdf", ("report",))


@pytest.mark.parametrize(("query", "name"), [("kundigung 2041", NAMES[0]), ("final ubersicht", NAMES[2]),
                                             ("契約書", NAMES[3])])  # fmt: skip
def test_the_file_of_that_name_comes_first(library: Library, query: str, name: str) -> None:
    """A file whose text does not hold the words is found by its name, and the scores say why."""
    found = library.search(query)

    assert first(found) == name
    assert not found.nothing_good_enough


def test_conditions_and_modes_hold_for_names(library: Library, tmp_path: Path) -> None:
    """A file that the conditions leave out is not found by its name either; meaning alone knows no names."""
    elsewhere = Filters(folders=(tmp_path / "elsewhere",))

    assert not library.search("otters", filters=elsewhere).hits
    assert first(library.search("otters", mode="meaning")) is None


def test_names_follow_a_rename(library: Library, tmp_path: Path) -> None:
    """After a rename the new name finds the file and the old one does not; a copy is shown under the name asked for."""
    (tmp_path / "files" / "otters.txt").rename(tmp_path / "files" / "ferrets.txt")
    (tmp_path / "files" / "weasels.txt").write_bytes((tmp_path / "files" / "ferrets.txt").read_bytes())
    library.sync()

    assert first(library.search("ferrets")) == "ferrets.txt"
    assert first(library.search("weasels")) == "weasels.txt"
    assert first(library.search("otters")) is None


def test_texts_with_the_word_stand_above_a_name_that_holds_it_by_accident(library: Library, tmp_path: Path) -> None:
    """A search for "tax" is about tax: "syntax.txt" is not put first, and is if no text holds the word."""
    folder = tmp_path / "files"
    (folder / "syntax.txt").write_text("How verbs and nouns are put in order.")
    library.sync()
    assert first(library.search("tax")) == "syntax.txt"
    for place in range(11):
        (folder / f"letter {place}.txt").write_text(f"The tax of year {place} is paid.")
    library.sync()
    assert first(library.search("tax")) is None
    assert library.search("tax").hits[0].path.name.startswith("letter")


def test_a_word_of_many_names_names_none(library: Library, tmp_path: Path) -> None:
    """What more names hold than fit on a page puts none first, but for the file that is called just that."""
    for place in range(MOST + 1):
        (tmp_path / "files" / f"budget {place + 100}.txt").write_text(f"bees {place}")
    library.sync()
    assert first(library.search("budget")) is None
    (tmp_path / "files" / "budget.txt").write_text("bees again")
    library.sync()
    assert first(library.search("budget")) == "budget.txt"


def test_an_index_made_before_names_were_kept_gets_them(tmp_path: Path) -> None:
    """Names of files that are known already are taken in when the manifest is opened."""
    manifest = Manifest(tmp_path / "manifest.db")
    number = manifest.begin_document(b"1", ".txt")
    manifest.put_files([FileRow(Path("/a/otters.txt"), 1, 0, 0, 0, 0, "indexed", "", number)])
    manifest._connection.execute("DROP TABLE names")
    manifest.close()

    manifest = Manifest(tmp_path / "manifest.db")

    assert manifest.named(("otter",)) == [number]
    manifest.delete_documents([number])
    assert manifest.named(("otter",)) == []
    manifest.close()


def test_ten_thousand_names_are_looked_through_at_once(tmp_path: Path) -> None:
    """Names cost a query a few milliseconds."""
    manifest = Manifest(tmp_path / "manifest.db")
    rows = []
    with manifest.transaction():
        for place in range(10_000):
            number = manifest.begin_document(place.to_bytes(8), ".txt")
            rows.append(FileRow(Path(f"/a/minutes of meeting {place}.txt"), 1, 0, 0, 0, 0, "indexed", "", number))
        manifest.put_files(rows)

    def look() -> float:
        started = time.thread_time()
        assert len(manifest.named(("minutes", "9876"))) == 1
        return time.thread_time() - started

    assert min(look() for _ in range(5)) < 0.02  # 0.002 on a quiet machine
    manifest.close()
