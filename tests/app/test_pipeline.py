"""What goes wrong on the way of a file into the index: odd names, swapped files, stops, errors, slow readers."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from drama_app import pipeline
from drama_app.chunk import cut
from drama_app.config import Settings
from drama_app.extract import pool
from drama_app.jobs import Job
from drama_app.library import Library
from drama_app.records import Document, Passage, Progress
from drama_app.scan import Found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder that is indexed."""
    folder = tmp_path / "files"
    folder.mkdir()
    return folder


@pytest.fixture
def library(settings: Settings, tiny: Path, folder: Path) -> Iterator[Library]:
    """An index that follows that folder, without anything in it."""
    with Library.open(settings, create=True, retriever=tiny) as library:
        library.add_root(folder)
        yield library


class Encoder:
    """The library's encoder, with something done before each window."""

    def __init__(self, library: Library, before: Callable[[], None]) -> None:
        self._encoder, self._before = library._encoder, before
        self.passages = 0
        library.__dict__["_encoder"] = self

    def __getattr__(self, name: str) -> object:
        return getattr(self._encoder, name)

    def encode_passages(self, texts: list[str]) -> NDArray[np.float32]:
        self._before()
        self.passages += len(texts)
        return self._encoder.encode_passages(texts)


def names(library: Library, query: str) -> list[str]:
    """The file names that a keyword search finds."""
    return [hit.path.name for hit in library.search(query, mode="keywords").hits]


def before_run(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Does something between the walk and the reading of the files."""
    run = pipeline.Pipeline.run

    def changed(self: pipeline.Pipeline, files: list[Found]) -> None:
        act()
        run(self, files)

    monkeypatch.setattr(pipeline.Pipeline, "run", changed)


def test_names_that_are_no_utf8(library: Library, folder: Path) -> None:
    """A file whose name and ending are no UTF-8 is found, and one that fails under such a name is a row."""
    odd = Path(os.fsdecode(os.fsencode(folder) + b"/n\xe9.\xff"))
    odd.write_text("about otters and rivers and the fish in them\n" * 5)
    Path(os.fsdecode(os.fsencode(folder) + b"/n\xe9.pdf")).write_bytes(b"%PDF-1.4 nothing follows")

    assert len(library.sync().failed) == 1
    assert [hit.path for hit in library.search("otters", mode="keywords").hits] == [odd]
    assert library.sync().added == 0


def test_copy_met_while_its_content_settles_is_no_second_document(
    library: Library, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the threads meet, a content is one document, and its copies are folded."""
    first, copy = folder / "a.txt", folder / "copy.txt"
    for path in (first, copy):
        path.write_text("about otters in rivers")
    status = copy.lstat()
    late = Found(copy, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)
    begun: list[threading.Thread] = []
    close = pipeline.Pipeline._close

    def close_slowly(self: pipeline.Pipeline, job: Job) -> list[Job]:
        closed = close(self, job)
        begun.append(threading.Thread(target=self._begin, args=(late,)))
        begun[-1].start()
        begun[-1].join(0.3)
        return closed

    monkeypatch.setattr(pipeline.Pipeline, "_close", close_slowly)
    library.sync([first])
    for thread in begun:
        thread.join()
    hits = library.search("otters", mode="keywords").hits

    assert [len(hit.copies) for hit in hits] == [1]


def test_stop_leaves_what_waits_for_the_encoder(library: Library, folder: Path) -> None:
    """After Ctrl-C at most the window under way is still encoded, whatever has been read ahead."""
    for number in range(300):
        (folder / f"{number}.txt").write_text(f"note {number} " * 20)
    stop = threading.Event()
    encoder = Encoder(library, lambda: time.sleep(0 if stop.is_set() else 2))
    threading.Timer(1.5, stop.set).start()
    report = library.sync(stop=stop)

    assert report.stopped
    assert encoder.passages <= 2 * pipeline.ENCODE_PASSAGES
    assert library.status().pending == 300 - report.documents


@pytest.mark.parametrize("copied", [False, True])
def test_a_file_that_goes_while_it_is_encoded_is_encoded_no_further(
    library: Library, folder: Path, copied: bool
) -> None:
    """Nothing of it stays, unless a copy is there: then its content is wanted to the end."""
    large = folder / "large.txt"
    large.write_text("\n\n".join(f"Otter {number} swims in river {number}. " * 30 for number in range(300)))
    if copied:
        (folder / "a larger.txt").write_bytes(large.read_bytes())
    (folder / "small.txt").write_text("about marmots")
    encoder = Encoder(library, lambda: (folder / "large.txt").unlink(missing_ok=True))
    report = library.sync()

    assert (encoder.passages > 2 * pipeline.ENCODE_PASSAGES) is copied
    assert names(library, "marmots") == ["small.txt"]
    assert report.notes == () and not report.failed
    library.sync()
    assert names(library, "otter") == (["a larger.txt"] if copied else [])
    assert library.check() == [] and library._manifest.unfinished() == []
    assert set(library._store.counts()) == set(library._manifest.visible())


def test_slow_file_holds_back_no_other(library: Library, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one file takes its time, those before it become searchable, and progress goes on being told."""
    (folder / "quick.txt").write_text("about otters")
    (folder / "slow.txt").write_text("about marmots and much more")
    ask, go = pool._Child.ask, threading.Event()

    def ask_slowly(self: pool._Child, path: Path) -> tuple[pool.Outcome, bool]:
        if path.name == "slow.txt":
            go.wait(20)
        return ask(self, path)

    monkeypatch.setattr(pool._Child, "ask", ask_slowly)
    monkeypatch.setattr("drama_app.jobs.WRITE_SECONDS", 0.5)
    told: list[Progress] = []
    thread = threading.Thread(target=library.sync, kwargs={"on_progress": told.append})
    thread.start()
    end = time.monotonic() + 10
    while time.monotonic() < end and not names(library, "otters"):
        time.sleep(0.05)
    found, last = names(library, "otters"), told[-1]
    go.set()
    thread.join()

    assert found == ["quick.txt"]
    assert (last.phase, last.current) == ("index", folder / "slow.txt")


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_file_replaced_by_something_else_is_not_followed(
    library: Library, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A pipe put in a file's place does not hang the run, a link out of the roots is not read."""
    path, secret = folder / "x.txt", tmp_path / "secret.txt"
    path.write_text("about otters")
    secret.write_text("about zebras")

    def swap() -> None:
        path.unlink()
        if kind == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to(secret)

    before_run(monkeypatch, swap)
    thread = threading.Thread(target=library.sync, daemon=True)
    thread.start()
    thread.join(10)

    assert not thread.is_alive()
    assert names(library, "zebras") == []


def test_text_that_cannot_be_cut_is_a_row(library: Library, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect that one text brings out does not keep the other files out of the index."""
    (folder / "odd.txt").write_text("about otters")
    (folder / "plain.txt").write_text("about marmots and much more")

    def cut_some(document: Document) -> list[Passage]:
        if "otters" in document.text:
            raise IndexError(document.text)
        return cut(document)

    monkeypatch.setattr("drama_app.pipeline.cut", cut_some)

    assert [each.path.name for each in library.sync().failed] == ["odd.txt"]
    assert names(library, "marmots") == ["plain.txt"]


def test_error_does_not_wait_for_the_file_that_is_read(
    library: Library, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When encoding or storing fails, the run ends at once and not when the reader is done with its file."""
    (folder / "a.txt").write_text("about otters")
    (folder / "slow.txt").write_text("about marmots and much more")
    ask = pool._Child.ask

    def ask_slowly(self: pool._Child, path: Path) -> tuple[pool.Outcome, bool]:
        end = time.monotonic() + 20
        while path.name == "slow.txt" and time.monotonic() < end and self._process.poll() is None:
            time.sleep(0.05)
        return ask(self, path)

    def fail() -> None:
        time.sleep(0.5)
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(pool._Child, "ask", ask_slowly)
    Encoder(library, fail)
    started = time.monotonic()
    with pytest.raises(RuntimeError, match="disk is full"):
        library.sync()

    assert time.monotonic() - started < 10


def test_file_that_changes_while_it_is_read_is_counted_once(
    library: Library, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read again when it rests; files done never exceed the files there are, and none is left pending."""
    for number in range(5):
        (folder / f"{number}.txt").write_text(f"about otters {number}")
    same, changed = pipeline._same_stat, set[Path]()

    def change_once(found: Found) -> bool:
        time.sleep(0.12)  # progress is told ten times a second
        if found.path.name == "3.txt" and found.path not in changed:
            changed.add(found.path)
            return False
        return same(found)

    monkeypatch.setattr(pipeline, "_same_stat", change_once)
    told: list[Progress] = []
    report = library.sync(on_progress=told.append)

    assert (report.documents, report.added, library.status().pending) == (5, 5, 0)
    counts = {(each.files_done, each.files_total) for each in told if each.phase == "index"}
    assert counts
    assert all(done <= total == 5 for done, total in counts)


def test_a_file_that_goes_before_it_is_read_is_no_failure(
    library: Library, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is gone, not failed, and another file with its content is found."""
    extract_all = pool.ExtractionPool.extract_all

    def chase(self: pool.ExtractionPool, paths: Iterator[Path]) -> Iterator[object]:
        def without_first() -> Iterator[Path]:
            for path in paths:
                if path.name == "a.txt":
                    path.unlink()
                yield path

        return extract_all(self, without_first())

    monkeypatch.setattr(pool.ExtractionPool, "extract_all", chase)
    for name in ("a.txt", "b.txt"):
        (folder / name).write_text("about the otters of the river")

    report = library.sync()

    assert report.failed == ()
    assert names(library, "otters") == ["b.txt"]
