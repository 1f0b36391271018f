"""What front ends ask of a library beside syncing and searching: pause, retry, passages, folders that cover others."""

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from drama_app.errors import NoIndexError, RetrieverError, UsageError
from drama_app.library import Library
from drama_app.records import Progress
from drama_app.roots import followed_roots
from tests.app.test_library import count_encoded


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two documents."""
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "bread.md").write_text("# Baking\n\n## Dough\n\nThe flour of bread.\n\n## Oven\n\nBread needs heat.\n")
    (folder / "train.txt").write_text("The train leaves the station.\n")
    return folder


def state_of(library: Library, path: Path) -> str:
    """The state of one root."""
    return next(root.state for root in library.status().roots if root.path == path)


def test_a_paused_folder_is_left_alone_and_stays_searchable(library: Library, folder: Path) -> None:
    """While a root is paused nothing new of it is read, what is indexed is found, and resuming catches up."""
    library.pause(folder)
    (folder / "ship.txt").write_text("The ship lies in the harbour.\n")

    assert library.sync().added == 0
    assert state_of(library, folder) == "paused"
    assert library.search("train", mode="keywords").hits

    library.resume(folder)
    assert library.sync().added == 1
    assert state_of(library, folder) == "ok"


def test_what_lies_in_a_paused_folder_is_refused(library: Library, folder: Path) -> None:
    """A part of a paused root would not be read: the refusal names the root; a root of its own in it is taken."""
    (folder / "deep").mkdir()
    (folder / "own").mkdir()
    library._manifest.add_root(folder / "own")
    library.pause(folder)

    with pytest.raises(UsageError, match=f"which is paused: `drama-app index {folder}`"):
        library.add_root(folder / "deep")
    assert library.add_root(folder / "own") == folder / "own"


def test_choices_that_would_do_nothing_are_refused(library: Library, folder: Path) -> None:
    """What is told to leave out of a part of a root would stay searchable; told of the root itself it is left out."""
    (folder / "deep" / "er").mkdir(parents=True)
    for place in (folder / "deep", folder / "deep" / "er", folder):
        (place / "secret.txt").write_text(f"The password lies in {place.name}.\n")
    library.sync()
    for choice in ({"ignore": ["secret*"]}, {"hidden": True}, {"hidden": False}):
        with pytest.raises(UsageError, match=f"name {folder} with them") as refused:
            library.add_root(folder / "deep", **choice)
    assert library.roots() == (folder,)

    pattern = str(refused.value).rpartition("--ignore '")[2].partition("'")[0].replace("PATTERN", "secret*")
    library.add_root(folder, ignore=[pattern])
    assert library.sync().removed == 2
    assert [hit.path for hit in library.search("password", mode="keywords").hits] == [folder / "secret.txt"]
    with pytest.raises(UsageError, match="replaces what it has: /deep"):
        library.add_root(folder / "deep", ignore=["*.bak"])


def test_everything_is_read_again_and_nothing_embedded_anew(library: Library, folder: Path) -> None:
    """After an update of the readers unchanged files give what they hold now; equal passages keep their vectors."""
    (folder / "copy.txt").write_text((folder / "train.txt").read_text())
    library.sync()
    number = library._manifest.file(folder / "bread.md").document  # type: ignore[union-attr]
    library._manifest.finish_document(number, kind="text", title="Baking", notes=(), passages=1)
    assert library.search("bread", mode="keywords").hits[0].kind == "text"
    counter = count_encoded(library)

    assert library.forget_reading([folder]) == 3
    library.sync()

    assert library.search("bread", mode="keywords").hits[0].kind == "markdown"
    assert library.search("train", mode="keywords").hits[0].copies
    assert counter.passages == 0


def test_reading_again_hides_nothing_meanwhile(library: Library, folder: Path) -> None:
    """Until files are read again all are found as before, and a sync of something else takes no vector away."""
    library.forget_reading()
    assert len(library.search("train bread", mode="keywords").hits) == 2

    stop = threading.Event()
    stop.set()
    library.sync(stop=stop)
    (folder / "ship.txt").write_text("The ship lies in the harbour.\n")
    library.sync([folder / "ship.txt"])
    assert len(library.search("train bread", mode="keywords").hits) == 2
    counter = count_encoded(library)
    report = library.sync()  # a plain one goes on

    assert (report.added, report.changed, report.removed, counter.passages) == (0, 2, 0, 0)
    assert library.sync().changed == 0
    assert len(library._store.document_ids()) == 3


def test_a_rename_after_a_stopped_reading_again_keeps_its_vectors(library: Library, folder: Path) -> None:
    """What waits to be read again is known by its content too: files that moved meanwhile are not embedded anew."""
    library.forget_reading()
    stop = threading.Event()
    stop.set()
    library.sync(stop=stop)
    for number, path in enumerate(sorted(folder.iterdir())):
        path.rename(folder / f"moved-{number}{path.suffix}")
    counter = count_encoded(library)
    library.sync()

    assert counter.passages == 0
    assert len(library.search("train bread", mode="keywords").hits) == 2


def test_what_was_replaced_fills_no_search(library: Library, folder: Path) -> None:
    """As soon as a file is read again its former content is no document any more, long before it is removed."""
    library.forget_reading()
    stop = threading.Event()
    library.sync(on_progress=lambda progress: stop.set() if progress.files_done else None, stop=stop)
    held = {row.document for row in library._manifest.files()}

    assert set(library._manifest.visible()) <= held
    assert len(library.search("train bread", mode="keywords").hits) == 2


def test_reading_again_is_refused_before_anything_changes(library: Library) -> None:
    """Where the retriever that filled the index is gone, reading again says so, and the index stays as it was."""
    library._manifest.put(fingerprint="another")
    library.__dict__.pop("_encoder")
    before = list(library._manifest.files()), library._manifest.visible()

    with pytest.raises(RetrieverError, match="drama-app model use shipped"):
        library.forget_reading()
    assert (list(library._manifest.files()), library._manifest.visible()) == before
    assert library.search("train", mode="keywords").hits


def test_what_is_unplugged_is_not_forgotten(library: Library, folder: Path) -> None:
    """Reading everything again leaves alone what cannot be read now."""
    library.sync()
    away = folder.rename(folder.with_name("away"))
    assert library.forget_reading() == 0
    assert library.search("train", mode="keywords").hits
    away.rename(folder)
    library.pause(folder)
    assert library.forget_reading() == 0
    library.sync()
    assert library.search("train", mode="keywords").hits


def test_a_root_in_a_root_in_a_root_is_walked_once(library: Library, folder: Path) -> None:
    """What a folder with choices covers is not followed for itself a second time."""
    (folder / "b" / "c").mkdir(parents=True)
    library.forget(folder)
    library.add_root(folder / "b" / "c")
    library.add_root(folder / "b", ignore=["*.bak"])
    library.add_root(folder)
    assert followed_roots(library._manifest, library._settings) == [folder, folder / "b"]


def test_a_root_in_a_root_is_synced_with_it(library: Library, folder: Path) -> None:
    """What a stopped sync or an unplugged drive left said of it ends with the outer one; what is paused stays so."""
    library.forget(folder)
    states = {"begun": "incomplete", "away": "missing", "paused": "paused", "own": "never synced"}
    for name, state in states.items():
        (folder / name).mkdir()
        library.add_root(folder / name, ignore=["*.bak"] if name == "own" else None)
        library._manifest.mark_root(folder / name, state=state, device=None, synced=None)
    library.add_root(folder)
    library.sync([folder])

    found = {root.path.name: (root.state, root.synced is not None) for root in library.status().roots}
    assert found == {
        "files": ("ok", True), "begun": ("ok", True), "away": ("ok", True),
        "paused": ("paused", False), "own": ("never synced", False),
    }  # fmt: skip
    before = library.status().roots
    library.sync([folder / "begun"])
    assert [root.path.name for root, old in zip(library.status().roots, before, strict=True) if root != old] == [
        "begun"
    ]


@pytest.mark.parametrize("unplugged", ["empty", "missing"])
def test_a_drive_that_is_a_root_in_a_root_may_be_unplugged(library: Library, folder: Path, unplugged: str) -> None:
    """Indexed before the folder around it, a drive keeps its files when that is looked at without it."""
    library.forget(folder)
    stick = folder / "stick"
    stick.mkdir()
    (stick / "diary.txt").write_text("The weather is under control.\n")
    library.sync([library.add_root(stick)])
    library._manifest.mark_root(stick, state="ok", device=stick.stat().st_dev + 1, synced=None)
    (stick / "diary.txt").unlink()
    if unplugged == "missing":
        stick.rmdir()
    library.add_root(folder)
    library.sync()

    assert library.search("weather", mode="keywords").hits
    assert {root.path: root.state for root in library.status().roots}[stick] == "missing"


def test_a_paused_folder_with_choices_stays_searchable_below_another(library: Library, folder: Path) -> None:
    """The folder above leaves it alone, and takes nothing of it out of the index."""
    library.forget(folder)
    (folder / "inner").mkdir()
    (folder / "inner" / "diary.txt").write_text("The weather is under control.\n")
    library.add_root(folder / "inner", ignore=["*.bak"])
    library.sync()
    library.add_root(folder)
    library.sync()
    library.pause(folder / "inner")
    library.sync()
    assert library.search("weather", mode="keywords").hits


def test_what_a_folder_leaves_out_stays_out_when_one_above_is_added(library: Library, folder: Path) -> None:
    """A person who kept secrets out of a folder has them in no index because its parent is indexed later."""
    private = folder / "private"
    private.mkdir()
    (private / "secret.txt").write_text("The treasure is under the oak.\n")
    (private / "diary.txt").write_text("The weather is under control.\n")
    library.forget(folder)
    library.add_root(private, ignore=["secret*"])
    library.sync()
    library.add_root(folder)
    library.sync()

    assert not library.search("treasure", mode="keywords").hits
    assert library.search("weather", mode="keywords").hits
    assert library.search("train", mode="keywords").hits


def test_a_pause_outlives_the_sync_that_was_under_way(library: Library, folder: Path) -> None:
    """A sync that began before the pause does not wake the root when it ends."""
    (folder / "ship.txt").write_text("The ship lies in the harbour.\n")

    def pause(progress: Progress) -> None:
        if progress.phase == "tidy":
            library.pause(folder)

    library.sync(on_progress=pause)

    assert state_of(library, folder) == "paused"


def test_a_file_that_fails_again_stays_a_failure(library: Library, folder: Path) -> None:
    """A retry of a broken file and of one that never failed changes nothing."""
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4 nothing of a document")
    library.sync()
    assert [each.path.name for each in library.status().failed] == ["broken.pdf"]

    report = library.retry([folder / "broken.pdf", folder / "train.txt"])

    assert [each.path.name for each in report.failed] == ["broken.pdf"]
    assert report.changed == report.added == 0
    assert [each.path.name for each in library.status().failed] == ["broken.pdf"]


def test_a_retry_picks_up_what_became_readable(library: Library, folder: Path) -> None:
    """The same bytes that failed are a document once the cause is gone."""
    (folder / "song.txt").write_text("A song for the violin.\n")
    library.sync()
    row = library._manifest.file(folder / "song.txt")
    assert row is not None
    settled = row.checked_ns + 10**10  # as if it had been looked at long after its last change
    library._manifest.put_files([replace(row, status="failed", reason="timed out", document=None, checked_ns=settled)])
    assert library.sync().added == 0
    assert [each.reason for each in library.status().failed] == ["timed out"]

    library.retry([folder / "song.txt"])

    assert not library.status().failed
    assert library.search("violin", mode="keywords").hits[0].path == folder / "song.txt"


def test_a_retry_of_a_root_that_is_away_forgets_no_failure(library: Library, folder: Path) -> None:
    """What cannot be read again now stays told as failed."""
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4 nothing of a document")
    library.sync()
    folder.rename(folder.with_name("away"))

    library.retry()

    assert [each.path.name for each in library.status().failed] == ["broken.pdf"]


def test_passages_of_a_file_come_in_order(library: Library, folder: Path) -> None:
    """All passages of a document, first to last; of a file that is not indexed none."""
    passages = library.passages_of(folder / "bread.md")

    assert [each.ordinal for each in passages] == list(range(len(passages)))
    assert "flour" in passages[0].text
    assert "heat" in passages[-1].text
    assert library.passages_of(folder / "nothing.md") == ()


def test_the_root_above_is_told_unless_its_rules_leave_the_folder_out(library: Library, folder: Path) -> None:
    """A folder inside a root is part of it; a hidden one, which the root passes over, is not."""
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / ".hidden").mkdir()

    assert library.root_above(folder) == folder
    assert library.root_above(folder / "deep" / "er") == folder
    assert library.root_above(folder / ".hidden") is None
    assert library.root_above(folder.parent) is None


def test_the_index_recalls_its_retriever(library: Library) -> None:
    """What the index keeps of itself can be asked for; what it does not keep is empty."""
    assert library.recall("retriever_name") == "tiny 1"
    assert library.recall("previous_retriever_name") == ""


@pytest.mark.skipif(os.name == "nt", reason="Windows deletes no open file")
def test_an_index_that_is_deleted_or_replaced_while_open_is_told(library: Library, folder: Path, settings) -> None:
    """Neither a search nor a sync goes on as if it were there; another index in its place is not taken for it."""
    place = settings.data_folder / "index"
    place.rename(place.with_name("away"))
    for work in (lambda: library.search("bread"), library.sync, library.status, lambda: library.forget(folder)):
        with pytest.raises(NoIndexError, match="deleted or replaced"):
            work()
    with Library.open(settings, create=True), pytest.raises(NoIndexError, match="start drama-app again"):
        library.search("bread")


def test_a_paused_folder_in_a_followed_one_is_left_alone(library: Library, folder: Path) -> None:
    """What is paused is not read with the folder above it: new files wait, removed ones stay, until it goes on."""
    library.forget(folder)
    inner = folder / "work"
    inner.mkdir()
    (inner / "plan.txt").write_text("The plan is secret.\n")
    library.add_root(inner)
    library.add_root(folder)
    library.sync()
    library.pause(inner)
    (inner / "ship.txt").write_text("The ship lies in the harbour.\n")
    (inner / "plan.txt").unlink()

    report = library.sync()

    assert (report.added, report.removed, state_of(library, inner)) == (0, 0, "paused")
    assert library.search("plan", mode="keywords").hits and not library.search("harbour", mode="keywords").hits
    library.resume(inner)
    report = library.sync()
    assert (report.added, report.removed) == (1, 1)
