"""The whole engine over real files: sync, search, moves, copies, filters, failures, forgetting."""

import os
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from drama_app.commands.status import status_to_json
from drama_app.config import Settings
from drama_app.errors import IndexDamagedError, NoIndexError, RetrieverError, UsageError
from drama_app.library import Library
from drama_app.listing import describe_status
from drama_app.records import Filters, Progress
from tests.tiny_retriever import make_tiny_retriever


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a few documents in several formats and languages."""
    folder = tmp_path / "files"
    (folder / "mail").mkdir(parents=True)
    (folder / "bees.md").write_text("# Bees\n\nThe waggle dance tells other bees where the nectar is.\n")
    (folder / "rent.txt").write_text("Der Vermieter darf die Miete nur mit Zustimmung des Mieters erhöhen.\n")
    (folder / "tea.html").write_text("<title>Tea</title><p>绿茶要用八十度的水冲泡，不宜用滚开的水。</p>")
    (folder / "mail" / "trip.eml").write_text(
        "Subject: Trip\nFrom: a@example.org\n\nThe train leaves at noon, code QX-4711.\n"
    )
    return folder


class CountingEncoder:
    """Wraps an encoder and counts the passages that it is given."""

    def __init__(self, encoder: object) -> None:
        self.encoder = encoder
        self.passages = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self.encoder, name)

    def encode_passages(self, texts: list[str]) -> NDArray[np.float32]:
        self.passages += len(texts)
        return self.encoder.encode_passages(texts)  # type: ignore[attr-defined, no-any-return]


def count_encoded(library: Library) -> CountingEncoder:
    """Puts a counter between the library and its encoder."""
    counter = CountingEncoder(library._encoder)
    library.__dict__["_encoder"] = counter
    return counter


def names(library: Library, query: str, **filters: object) -> list[str]:
    """The file names that a keyword search finds."""
    return [hit.path.name for hit in library.search(query, mode="keywords", filters=Filters(**filters)).hits]  # type: ignore[arg-type]


def test_every_format_is_found_with_its_place(library: Library, folder: Path) -> None:
    """A search names the file, the kind, the line or page and marks the words."""
    hit = library.search("waggle dance").hits[0]

    assert (hit.path, hit.kind, hit.title) == (folder / "bees.md", "markdown", "Bees")
    passage = hit.passages[0]
    assert passage.line == 3  # of the sentence; the passage starts at 1
    assert [passage.text[a:b].lower() for a, b in passage.marks] == ["waggle", "dance"]
    assert names(library, "QX-4711") == ["trip.eml"]
    assert names(library, "绿茶") == ["tea.html"]
    assert names(library, "Vermieter") == ["rent.txt"]


def test_second_sync_does_nothing(library: Library) -> None:
    """What has not changed is neither read nor embedded again."""
    counter = count_encoded(library)
    report = library.sync()

    assert (report.added, report.changed, report.removed, report.moved) == (0, 0, 0, 0)
    assert counter.passages == 0


def test_move_and_copy_embed_nothing(library: Library, folder: Path) -> None:
    """A renamed file, a moved folder and a copy keep their vectors; the old paths are gone."""
    counter = count_encoded(library)
    (folder / "bees.md").rename(folder / "honey.md")
    (folder / "mail").rename(folder / "letters")
    shutil.copy2(folder / "rent.txt", folder / "rent copy.txt")
    report = library.sync()

    assert (report.moved, report.added, report.removed) == (2, 1, 0)
    assert counter.passages == 0
    assert names(library, "waggle") == ["honey.md"]
    assert library.search("QX-4711", mode="keywords").hits[0].path == folder / "letters" / "trip.eml"
    hit = library.search("Vermieter", mode="keywords").hits[0]
    assert {hit.path.name, *(copy.name for copy in hit.copies)} == {"rent.txt", "rent copy.txt"}


def test_change_embeds_only_what_changed(library: Library, folder: Path) -> None:
    """After an edit in a long file only the passages around it are embedded again, and the old text is gone."""
    paragraphs = [f"Paragraph {number}. " + " ".join(f"word{number}x{i}" for i in range(150)) for number in range(30)]
    path = folder / "long.txt"
    path.write_text("\n\n".join(paragraphs))
    library.sync()
    counter = count_encoded(library)
    path.write_text("\n\n".join([*paragraphs[:29], "Paragraph 29 is about zebras now."]))
    report = library.sync()

    assert report.changed == 1
    assert 0 < counter.passages <= 3
    assert names(library, "zebras") == ["long.txt"]
    assert names(library, '"word29x7"') == []


def test_delete_leaves_nothing(library: Library, folder: Path) -> None:
    """A deleted file is found no more and leaves no rows."""
    (folder / "bees.md").unlink()
    report = library.sync()

    assert report.removed == 1
    assert names(library, "waggle") == []
    assert library._store.counts().keys() == library._manifest.visible().keys()


def test_same_size_and_time_with_other_content_is_noticed(library: Library, folder: Path) -> None:
    """A file rewritten with the same length and its old modification time is still read again."""
    path = folder / "rent.txt"
    before = path.stat()
    path.write_bytes(path.read_bytes().replace(b"Vermieter", b"Hausmeist"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    report = library.sync()

    assert report.changed == 1
    assert names(library, "Hausmeist") == ["rent.txt"]


def test_filters_apply_before_the_best_are_chosen(library: Library, folder: Path) -> None:
    """One file that passes the filters is found among hundreds of better ones that do not."""
    for number in range(150):
        (folder / f"bee{number}.txt").write_text(f"bees bees bees dance {number}")
    (folder / "mail" / "other.md").write_text("Much text about other things, and a word on bees at the very end of it.")
    old = folder / "mail" / "other.md"
    os.utime(old, (1_000_000_000, 1_000_000_000))
    library.sync()

    assert names(library, "bees", folders=(folder / "mail",)) == ["other.md"]
    assert set(names(library, "bees", types=("md",))) == {"bees.md", "other.md"}
    assert set(names(library, "bees", types=("markdown",))) == {"bees.md", "other.md"}
    assert names(library, "bees", until=1_100_000_000) == ["other.md"]
    assert "other.md" not in names(library, "bees", since=1_100_000_000.0)
    meaning = library.search("bees", mode="meaning", filters=Filters(folders=(folder / "mail",))).hits
    assert {hit.path.parent.name for hit in meaning} == {"mail"}


def test_language_filter(library: Library) -> None:
    """Only passages in the languages asked for are found."""
    hits = library.search("miete", filters=Filters(languages=("de",))).hits
    assert {hit.path.name for hit in hits} == {"rent.txt"}


def test_bad_files_are_rows_with_reasons(library: Library, folder: Path) -> None:
    """Broken files are listed with reasons, photos and empty files are only counted, and the rest is indexed."""
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4 nothing follows")
    (folder / "photo.pdf").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 100)
    (folder / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 100)
    (folder / "empty.txt").write_text("")
    (folder / "good.txt").write_text("Good text about otters.")
    report = library.sync()

    reasons = {each.path.name: each.reason for each in report.failed}
    assert reasons.keys() == {"broken.pdf", "photo.pdf"}
    assert "PNG" in reasons["photo.pdf"]
    assert report.passed_over == 2
    assert names(library, "otters") == ["good.txt"]
    (folder / "broken.pdf").write_text("It was a text about lynxes after all.")
    assert [each.path.name for each in library.sync().failed] == ["photo.pdf"]
    assert names(library, "lynxes") == ["broken.pdf"]


def test_vanished_root_is_no_mass_delete(library: Library, folder: Path, tmp_path: Path) -> None:
    """When a root is gone, what was indexed of it stays, and is compared when it is back."""
    folder.rename(tmp_path / "unplugged")
    report = library.sync()

    assert report.removed == 0
    assert any("not there" in note for note in report.notes)
    assert names(library, "waggle") == ["bees.md"]
    assert library.status().roots[0].state == "missing"
    (tmp_path / "unplugged").rename(folder)
    (folder / "bees.md").unlink()
    assert library.sync().removed == 1


def test_forget_leaves_out_for_good(library: Library, folder: Path) -> None:
    """A forgotten folder below a root stays out at the next sync; indexing it again takes it back."""
    assert library.forget(folder / "mail") == 1
    library.sync()
    assert names(library, "QX-4711") == []
    library.add_root(folder)  # the root is named again, not what was taken out of it
    library.sync()
    assert names(library, "QX-4711") == []
    library.add_root(folder / "mail")
    library.sync()
    assert names(library, "QX-4711") == ["trip.eml"]
    with pytest.raises(UsageError, match="not in the index"):
        library.forget(folder.parent / "elsewhere")


def test_forgetting_what_is_not_there_hides_no_later_file(library: Library, folder: Path) -> None:
    """A name with a slip in it is refused and leaves no trace; what is left out can be seen in the status."""
    with pytest.raises(UsageError, match="not in the index"):
        library.forget(folder / "plans.txt")
    assert library.status().left_out == ()
    (folder / "plans.txt").write_text("about ferrets")
    library.sync()
    assert names(library, "ferrets") == ["plans.txt"]

    library.forget(folder / "mail")
    assert library.status().left_out == (folder / "mail",)
    assert any(line.startswith("left out     1: ") for line in describe_status(library.status()))
    (folder / "notes").mkdir()  # without text yet, but somebody wants it left out
    assert library.forget(folder / "notes") == 0
    assert len(status_to_json(library.status(), None)["left_out"]) == 2


def test_hidden_names_are_a_choice_of_the_root(library: Library, folder: Path) -> None:
    """Hidden files are indexed if the root was added so, and stay so in later syncs."""
    (folder / ".secret.txt").write_text("about ferrets")
    library.sync()
    assert names(library, "ferrets") == []
    library.add_root(folder, hidden=True)
    library.sync()
    library.sync()
    assert names(library, "ferrets") == [".secret.txt"]


def test_similar_finds_the_like_and_not_itself(library: Library, folder: Path) -> None:
    """Files like a file: the nearest other one first, never the file itself."""
    (folder / "apiary.txt").write_text("The waggle dance tells bees where nectar is to be found.")
    library.sync()
    hits = library.similar(folder / "bees.md").hits

    assert hits[0].path.name == "apiary.txt"
    assert "bees.md" not in {hit.path.name for hit in hits}
    with pytest.raises(UsageError, match="not in the index"):
        library.similar(folder / "none.txt")


def test_similar_looks_on_where_a_few_long_documents_are_nearest(
    library: Library, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Older versions of a long document do not take the places of all others that are like it."""
    for version in range(2):
        text = "\n\n".join(f"The waggle dance of bees, part {part}. " * 30 for part in range(8))
        (folder / f"thesis{version}.txt").write_text(text + f" version {version}")
    library.sync()
    monkeypatch.setattr("drama_app.search.CANDIDATES", 3)

    found = library.similar(folder / "thesis1.txt", limit=20).hits

    assert {hit.path.name for hit in found} > {"thesis0.txt", "bees.md"}


def test_a_document_whose_passages_are_gone_has_no_sentence_to_mark(library: Library) -> None:
    """What a power cut took from the store ends no search: its hit is shown without a passage."""
    results = library.search("nectar", mode="fused")
    bare = replace(results, hits=tuple(replace(hit, passages=()) for hit in results.hits))

    assert library.mark_sentences(bare).hits == bare.hits


def test_stopped_sync_keeps_what_is_finished_and_goes_on(settings: Settings, tiny: Path, tmp_path: Path) -> None:
    """A stopped sync says so; the next one adds the rest and nothing twice."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(300):
        (folder / f"{number}.txt").write_text(f"note {number} " * 50)
    stop = threading.Event()

    def stop_early(progress: Progress) -> None:
        if progress.passages > 60:
            stop.set()

    with Library.open(settings, create=True, retriever=tiny) as library:
        library.add_root(folder)
        first = library.sync(on_progress=stop_early, stop=stop)
        second = library.sync()
        assert first.stopped
        assert first.documents < 300
        assert second.documents == 300
        assert first.documents + second.added == 300
        assert library._store.counts() == library._manifest.visible()


def test_no_index_is_a_sentence(settings: Settings) -> None:
    """Opening what is not there says what to do and creates nothing."""
    with pytest.raises(NoIndexError, match="drama-app index"):
        Library.open(settings)
    assert not settings.data_folder.exists()


def test_vectors_of_two_retrievers_never_mix(library: Library, settings: Settings, tmp_path: Path) -> None:
    """Another retriever is refused for a filled index; switching embeds all again, and one step back works."""
    other = make_tiny_retriever(tmp_path / "other", dim=16, name="other", seed=3, kind="pieces")
    with pytest.raises(RetrieverError, match="drama-app model use"):
        Library.open(settings, create=True, retriever=other)
    before = [hit.path for hit in library.search("waggle dance", mode="meaning").hits]

    assert library.use_retriever(other).startswith("other")
    assert library.status().retriever.startswith("other")
    assert library.search("waggle dance").hits
    assert library._store.counts() == library._manifest.visible()
    assert library.use_retriever(None).startswith("tiny")
    assert [hit.path for hit in library.search("waggle dance", mode="meaning").hits] == before
    assert {each.name for each in library.retrievers()[0]} >= {"e5-mini", "other"}


def write_hives(folder: Path, *, hives: int, days: int) -> None:
    """So many files of so many passages each, none like another."""
    for hive in range(hives):
        days_of_hive = (f"Hive {hive}.{day}: " + f"bee {day} dances for nectar {hive}. " * 40 for day in range(days))
        (folder / f"hive{hive}.txt").write_text("\n\n".join(days_of_hive))


def test_a_rate_is_kept_once_it_says_something(library: Library, folder: Path) -> None:
    """Only passages that were embedded count, and only if they are many: few, copies and an edit leave no rate."""
    write_hives(folder, hives=8, days=2)
    shutil.copytree(folder, folder / "copies", ignore=shutil.ignore_patterns("copies"))
    library.sync()
    assert library.recall("passages_per_second") == ""

    write_hives(folder, hives=1, days=400)
    library.sync()
    rate = library.recall("passages_per_second")
    assert float(rate) > 1

    with (folder / "hive0.txt").open("a") as stream:
        stream.write("\n\nOne more line about a swarm.")
    library.sync()
    assert library.recall("passages_per_second") == rate


def test_index_is_private(library: Library, settings: Settings) -> None:
    """No other user can read what is indexed."""
    assert settings.data_folder.stat().st_mode & 0o077 == 0


def test_change_under_watch_is_found_soon(library: Library, folder: Path) -> None:
    """A file saved while the index is watched is found, and `status` of another process says that it is watched."""
    stop, states = threading.Event(), list[str]()
    watcher = threading.Thread(
        target=library.watch, kwargs={"on_report": lambda _: None, "on_state": states.append, "stop": stop}
    )
    watcher.start()
    try:
        while not any(line.startswith("up to date") for line in states):
            time.sleep(0.05)
        (folder / "new.txt").write_text("about marmots")
        end = time.monotonic() + 20
        while not names(library, "marmots") and time.monotonic() < end:
            time.sleep(0.05)
        assert names(library, "marmots") == ["new.txt"]
        assert library.status().watching.startswith("up to date") or "behind" in library.status().watching
    finally:
        stop.set()
        watcher.join()
    assert library.status().watching == ""


def test_interrupted_long_document_is_not_embedded_twice(settings: Settings, tiny: Path, tmp_path: Path) -> None:
    """What was embedded of a long document before a stop is reused by the next run."""
    folder = tmp_path / "long"
    folder.mkdir()
    text = "\n\n".join(
        f"Paragraph {n} tells about " + " ".join(f"thing{n}x{i}" for i in range(120)) for n in range(700)
    )
    (folder / "long.txt").write_text(text)
    stop = threading.Event()

    def stop_late(progress: Progress) -> None:
        if progress.passages > 600:
            stop.set()

    with Library.open(settings, create=True, retriever=tiny) as library:
        library.add_root(folder)
        assert library.sync(on_progress=stop_late, stop=stop).documents == 0
        counter = count_encoded(library)
        report = library.sync()
        assert report.documents == 1
        assert counter.passages <= report.passages - 512
        assert library._store.counts() == library._manifest.visible()


def test_interrupted_sync_does_not_look_complete(library: Library, folder: Path) -> None:
    """After a stop the root is incomplete and what is left counts as pending; the next sync settles both."""
    for number in range(200):
        (folder / f"{number}.txt").write_text(f"note {number} " * 40)
    stop = threading.Event()
    library.sync(on_progress=lambda progress: stop.set() if progress.passages > 60 else None, stop=stop)
    status = library.status()
    assert status.roots[0].state == "incomplete"
    assert 0 < status.pending <= 200
    library.sync()
    assert library.status().roots[0].state == "ok"
    assert library.status().pending == 0


def test_failures_are_told_of_the_paths_asked_for(library: Library, folder: Path) -> None:
    """Indexing one folder does not repeat the failures of the others."""
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4 nothing follows")
    assert len(library.sync().failed) == 1
    assert library.sync([folder / "mail"]).failed == ()
    assert len(library.sync([folder]).failed) == 1


def test_lost_passages_are_told_and_made_again(library: Library, settings: Settings) -> None:
    """An index whose passages were deleted says so instead of finding nothing, and the next sync repairs it."""
    shutil.rmtree(settings.data_folder / "index" / "passages")
    with Library.open(settings) as damaged:
        with pytest.raises(IndexDamagedError, match="drama-app index"):
            damaged.search("waggle dance")
        assert damaged.check() != []
        damaged.sync()
        assert damaged.search("waggle dance").hits
        assert damaged.check() == []
