"""What a sync makes of roots in roots, roots that turn into links, other processes at work, and killed verbs."""

import errno
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drama_app.config import Settings
from drama_app.errors import NoIndexError, UsageError
from drama_app.library import Library
from drama_app.manifest import Manifest
from drama_app.store import PassageStore
from tests.tiny_retriever import make_tiny_retriever


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two documents."""
    folder = tmp_path / "files"
    (folder / "mail").mkdir(parents=True)
    (folder / "bees.md").write_text("# Bees\n\nThe waggle dance tells other bees where the nectar is.\n")
    (folder / "mail" / "trip.txt").write_text("The train leaves at noon, code QX-4711.\n")
    return folder


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Another retriever."""
    return make_tiny_retriever(tmp_path / "other", dim=16, name="other", seed=3, kind="unigram")


def names(library: Library, query: str) -> list[str]:
    """The file names that a keyword search finds."""
    return [hit.path.name for hit in library.search(query, mode="keywords").hits]


def test_what_another_process_indexed_is_not_done_again(library: Library, settings: Settings, folder: Path) -> None:
    """`index` beside a running `watch`: the watch finds the new documents whole and leaves them as they are."""
    for number in range(5):
        (folder / f"{number}.txt").write_text(f"about otters number {number}")
    with Library.open(settings) as second:
        second.sync()
    before = library._manifest.visible()
    report = library.sync()

    assert (report.added, report.changed, report.removed) == (0, 0, 0)
    assert library._manifest.visible() == before
    assert library.similar(folder / "1.txt").hits
    assert library.check() == []


def test_retriever_changed_by_another_process(library: Library, settings: Settings, folder: Path, other: Path) -> None:
    """`model use` beside a running `watch`: what changes afterwards goes to the retriever in use, and is found."""
    with Library.open(settings) as second:
        second.use_retriever(other)
    (folder / "new.txt").write_text("about marmots")
    library.sync()

    assert names(library, "marmots") == ["new.txt"]
    with Library.open(settings) as third:
        assert third.check() == []
        assert {hit.path.name for hit in third.search("marmots", mode="meaning").hits} >= {"new.txt"}


def test_search_beside_the_end_of_a_switch_is_of_one_retriever(
    library: Library, settings: Settings, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A retriever that changes while a query is encoded gives an answer of the new one, and no error."""
    encoder = library._encoder
    encode = encoder.encode_queries

    def switch_and_encode(queries: list[str]) -> object:
        with Library.open(settings) as second:
            second.use_retriever(other)
        library._renew()  # as another search of this process does
        return encode(queries)

    monkeypatch.setattr(encoder, "encode_queries", switch_and_encode)
    assert len(library.search("waggle dance", mode="meaning").hits) == 2
    assert library._encoder is not encoder


def test_folder_that_is_left_out_can_be_a_root(library: Library, folder: Path) -> None:
    """What was asked for by name is indexed, though the root around it passes over it, and stays so."""
    secret = folder / ".secret"
    secret.mkdir()
    (secret / "a.txt").write_text("about ferrets")
    library.sync()
    assert names(library, "ferrets") == []
    library.add_root(secret)
    library.sync([secret])
    library.sync()
    library.sync([folder])
    assert names(library, "ferrets") == ["a.txt"]
    assert names(library, "waggle") == ["bees.md"]
    library.forget(folder)
    assert (names(library, "ferrets"), names(library, "waggle")) == (["a.txt"], [])
    library.forget(secret)
    assert names(library, "ferrets") == []


def test_forgetting_a_folder_around_roots_names_them(library: Library, folder: Path) -> None:
    """A folder that only holds roots is refused with their names: nothing of it would be taken out."""
    with pytest.raises(UsageError, match=f"name it: {folder}$"):
        library.forget(folder.parent)
    assert names(library, "waggle") == ["bees.md"]
    assert library.status().left_out == ()


def test_root_around_a_hidden_root_leaves_it_in(settings: Settings, tiny: Path, folder: Path) -> None:
    """Indexing a folder does not drop what was indexed of a hidden folder in it."""
    (folder / ".secret").mkdir()
    (folder / ".secret" / "a.txt").write_text("about ferrets")
    with Library.open(settings, create=True, retriever=tiny) as library:
        library.add_root(folder / ".secret")
        library.sync()
        library.add_root(folder)
        assert library.sync().removed == 0
        assert names(library, "ferrets") == ["a.txt"]
        (folder / ".secret" / "a.txt").unlink()
        assert library.sync([folder / ".secret" / "a.txt"]).removed == 1


def test_root_that_became_a_link_is_no_mass_delete(library: Library, folder: Path, tmp_path: Path) -> None:
    """A root moved away, with a link in its place, counts as missing: nothing of it is removed."""
    folder.rename(tmp_path / "moved")
    folder.symlink_to(tmp_path / "moved")
    report = library.sync()

    assert (report.removed, report.documents) == (0, 2)
    assert any("not there" in note for note in report.notes)


def test_no_change_is_followed_through_a_link(library: Library, folder: Path, tmp_path: Path) -> None:
    """A folder moved out of the root, with a link in its place, is gone: the watcher still hears of its files."""
    (folder / "mail").rename(tmp_path / "mail")
    (folder / "mail").symlink_to(tmp_path / "mail")
    (tmp_path / "mail" / "trip.txt").write_text("about badgers")
    report = library.sync([folder / "mail" / "trip.txt"])

    assert (report.added, report.changed, report.removed) == (0, 0, 1)
    assert names(library, "badgers") == names(library, "train") == []


def test_search_beside_a_first_index_makes_no_table(settings: Settings, tiny: Path, folder: Path) -> None:
    """While another process writes, a search that finds no table says so: both made it at once, and one failed."""
    with Library.open(settings, create=True, retriever=tiny) as library:
        passages = settings.data_folder / "index" / "passages"
        with library._lock(threading.Event()), pytest.raises(NoIndexError, match="drama-app index"):
            library.search("waggle", mode="keywords")
        assert not passages.exists()
        assert names(library, "waggle") == []  # nobody writes now
        library.add_root(folder)
        library.sync()
        assert names(library, "waggle") == ["bees.md"]


def test_index_that_a_search_opened_first_is_made_whole(settings: Settings, tiny: Path, folder: Path) -> None:
    """A table whose making was killed before its indexes is finished by the next sync of the same process."""
    with Library.open(settings, create=True, retriever=tiny) as library:
        library.status()
        store = PassageStore.open(settings.data_folder / "index" / "passages", dim=32, table=library._table)
        store._table.drop_index("terms_idx")
        assert library._store.count() == 0
        library.add_root(folder)
        library.sync()
        assert names(library, "waggle") == ["bees.md"]


def test_killed_forget_is_all_or_nothing(
    library: Library, settings: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A `forget` that dies midway leaves the root, not files without a root that would be found for ever."""

    def die(*_: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Manifest, "remove_files", die)
        with pytest.raises(KeyboardInterrupt):
            library.forget(folder)
    assert library.roots() == (folder,)
    assert library.forget(folder) == 2
    assert names(library, "waggle") == []


def test_forgotten_text_leaves_every_table(
    library: Library, settings: Settings, folder: Path, other: Path, tmp_path: Path
) -> None:
    """What is forgotten is kept for no earlier retriever; tables that no step leads back to are removed."""
    library.use_retriever(other)
    library.forget(folder / "mail")
    manifest, passages = library._manifest, settings.data_folder / "index" / "passages"
    before = PassageStore.open(passages, dim=int(manifest.get("previous_dim")), table=manifest.get("previous_table"))
    assert before.document_ids() == manifest.visible().keys()

    (folder / "more.txt").write_text("about otters")
    library.sync()
    (folder / "bees.md").write_text("# Bees\n\nThe waggle dance was something else before.\n")
    library.sync()
    assert PassageStore.open(passages, dim=32, table=manifest.get("previous_table")).document_ids() == set()

    library.use_retriever(make_tiny_retriever(tmp_path / "third", dim=16, name="third", seed=4))
    assert {table.stem for table in passages.glob("*.lance")} == {manifest.get("table"), manifest.get("previous_table")}
    assert library.use_retriever(None).startswith("other")
    assert names(library, "waggle") == ["bees.md"]


def test_a_damaged_table_of_the_retriever_before_ends_no_sync(
    library: Library, settings: Settings, folder: Path, other: Path
) -> None:
    """The index in use is whole: what nobody can step back to is removed, and no step back is offered."""
    library.use_retriever(other)
    table = settings.data_folder / "index" / "passages" / f"{library._manifest.get('previous_table')}.lance"
    for version in (table / "_versions").iterdir():
        version.write_bytes(b"damaged")
    (folder / "bees.md").unlink()
    library.sync()
    assert not table.exists() and not library._manifest.get("previous_table")


def test_run_killed_at_its_start_leaves_no_riddle(settings: Settings) -> None:
    """An index whose making was interrupted before it had a retriever answers as one that is not there."""
    (settings.data_folder / "index").mkdir(parents=True)
    Manifest(settings.data_folder / "index" / "manifest.db").close()
    with Library.open(settings) as library:
        assert library.status().documents == 0
        with pytest.raises(NoIndexError, match="drama-app index"):
            library.search("bees")


def test_retriever_copied_by_half_is_not_listed(library: Library, settings: Settings, tiny: Path) -> None:
    """A `model use` that was killed while it copied does not break the list of retrievers."""
    partial = settings.data_folder / "retrievers" / ".half.partial"
    partial.mkdir(parents=True)
    shutil.copy(tiny / "retriever.json", partial)

    assert partial not in [each.folder for each in library.retrievers()[0]]


def test_damaged_retriever_is_mended_by_naming_the_good_folder(settings: Settings, tiny: Path, other: Path) -> None:
    """A damaged installed retriever is left out of the list with its reason, and copied again when asked for."""
    with Library.open(settings, create=True, retriever=tiny) as library:
        library.use_retriever(other)
        installed = library.retriever_folder()
        library.use_retriever(None)
        (installed / "tokenizer.json").write_text("{}")
        listed, faults = library.retrievers()
        assert installed not in [each.folder for each in listed]
        assert len(faults) == 1 and str(installed) in faults[0]
        library.use_retriever(other)
        assert library.retriever_folder() == installed
        assert installed in [each.folder for each in library.retrievers()[0]]


def test_watch_survives_odd_names_and_sees_folders_go(library: Library, folder: Path, tmp_path: Path) -> None:
    """A failed file whose name is no UTF-8 does not end `watch`; a folder named like a temporary file is seen to go."""
    Path(os.fsdecode(os.fsencode(folder) + b"/n\xe9.pdf")).write_bytes(b"%PDF-1.4 nothing follows")
    (folder / "x.tmp").mkdir()
    (folder / "x.tmp" / "a.txt").write_text("about ferrets")
    stop, states = threading.Event(), list[str]()
    watcher = threading.Thread(
        target=library.watch, kwargs={"on_report": lambda _: None, "on_state": states.append, "stop": stop}
    )
    watcher.start()
    try:
        end = time.monotonic() + 10
        while not any("1 failed" in line for line in states) and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(1.5)  # the look that follows the start has passed: from here on only events tell
        assert names(library, "ferrets") == ["a.txt"]
        (folder / "x.tmp").rename(tmp_path / "away")
        end = time.monotonic() + 10
        while names(library, "ferrets") and time.monotonic() < end:
            time.sleep(0.05)
        assert names(library, "ferrets") == []
        assert watcher.is_alive()
    finally:
        stop.set()
        watcher.join()


def test_a_root_that_the_system_refuses_is_missing(library: Library, folder: Path, tmp_path: Path) -> None:
    """A root on a dead mount neither ends the sync of the others nor the status, which calls it missing."""
    for place in (tmp_path, folder):  # for itself, and below another root
        refused = place / ("x" * 300)  # ENAMETOOLONG stands for ENOTCONN, which only a dead mount gives
        library._manifest.add_root(refused)
        library._manifest.mark_root(refused, state="ok", device=None, synced=None)
    (folder / "new.txt").write_text("about marmots")

    assert library.sync().added == 1
    assert [root.state for root in library.status().roots if root.path.name[0] == "x"] == ["missing", "missing"]


def test_a_dead_mount_below_a_root_loses_nothing(
    library: Library, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is indexed of a mount that died stays searchable, the failure is told, and its return ends that."""
    dead = folder / "mail"

    def refuse(real: Callable[..., object]) -> Callable[..., object]:
        def ask(path: object, *arguments: object, **options: object) -> object:
            if isinstance(path, str | Path) and Path(path).is_relative_to(dead):
                raise OSError(errno.ENOTCONN, "Transport endpoint is not connected", str(path))
            return real(path, *arguments, **options)

        return ask

    with monkeypatch.context() as patch:
        for name, real in (("scandir", os.scandir), ("stat", os.stat), ("lstat", os.lstat)):
            patch.setattr(os, name, refuse(real))
        report = library.sync()

    assert report.removed == 0
    assert [each.path for each in report.failed] == [dead]
    assert names(library, "QX-4711") == ["trip.txt"]
    assert library.sync().failed == ()
    assert names(library, "QX-4711") == ["trip.txt"]


def test_a_drive_that_comes_loose_during_the_walk_loses_nothing(
    library: Library, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that can be listed and not looked at stay as they were, vectors included; one note tells it."""
    before = library._manifest.file(folder / "mail" / "trip.txt")
    real = os.DirEntry.stat

    class Loose:
        def __init__(self, entry: "os.DirEntry[str]") -> None:
            self._entry, self.name, self.path = entry, entry.name, entry.path

        def is_dir(self, **options: bool) -> bool:
            return self._entry.is_dir(**options)

        def is_file(self, **options: bool) -> bool:
            return self._entry.is_file(**options)

        def stat(self, **options: bool) -> os.stat_result:
            if "mail" in self.path:
                raise OSError(errno.EIO, "Input/output error", self.path)
            return real(self._entry, **options)

    with monkeypatch.context() as patch:
        listed = os.scandir
        patch.setattr("drama_app.scan.os.scandir", lambda place: _Listing(listed(place), Loose))
        report = library.sync()

    assert (report.removed, report.failed) == (0, ())
    assert any("1 file in" in note and "cannot be read just now" in note for note in report.notes)
    assert library._manifest.file(folder / "mail" / "trip.txt") == before
    assert names(library, "QX-4711") == ["trip.txt"]


class _Listing:
    """A listing as `os.scandir` gives it."""

    def __init__(self, entries: "Iterator[os.DirEntry[str]]", wrap: Callable[["os.DirEntry[str]"], object]) -> None:
        self._entries, self._wrap = entries, wrap

    def __iter__(self) -> "_Listing":
        return self

    def __next__(self) -> object:
        return self._wrap(next(self._entries))

    def __enter__(self) -> "_Listing":
        return self

    def __exit__(self, *_: object) -> None:
        self._entries.close()  # type: ignore[attr-defined]  # as all that scandir gives


def test_a_drive_that_comes_loose_before_a_file_is_read_is_tried_again(
    library: Library, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A changed file that cannot be read just now stays searchable as it was; a new one is read at the next sync."""
    (folder / "mail" / "trip.txt").write_text("The train leaves at midnight.\n")
    (folder / "new.txt").write_text("The otters sleep.\n")

    def loose(path: Path) -> bytes:
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected", str(path))

    with monkeypatch.context() as patch:
        patch.setattr("drama_app.pipeline._hash", loose)
        report = library.sync()

    assert [each.path.name for each in report.failed] == ["new.txt"]
    assert any("trip.txt" in note and "cannot be read just now" in note for note in report.notes)
    assert names(library, "QX-4711") == ["trip.txt"]
    again = library.sync()
    assert again.failed == ()
    assert (names(library, "midnight"), names(library, "otters")) == (["trip.txt"], ["new.txt"])


def test_file_from_a_far_year_ends_no_sync(library: Library, folder: Path) -> None:
    """A time that SQLite cannot hold, as a dead clock's battery leaves it, is no reason to index nothing."""
    far = folder / "far.txt"
    far.write_text("about wombats")
    os.utime(far, (10_413_792_000, 10_413_792_000))  # the year 2300
    assert library.sync().added == 1
    assert names(library, "wombats") == ["far.txt"]
    assert library.sync().added == 0
