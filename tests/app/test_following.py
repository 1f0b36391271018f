"""The loop behind `watch`: how often it looks at the disk, and what it makes of errors there."""

import errno
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from drama_app.config import Settings
from drama_app.library import Library
from drama_app.records import SyncReport


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one document."""
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "bees.md").write_text("The waggle dance tells other bees where the nectar is.\n")
    return folder


@pytest.fixture
def library(settings: Settings, tiny: Path, folder: Path) -> Iterator[Library]:
    """An empty index that follows the folder and tries again soon."""
    with Library.open(replace(settings, poll_seconds=0.2), create=True, retriever=tiny) as library:
        library.add_root(folder)
        yield library


class Watch:
    """`watch` in a thread, with what it says."""

    def __init__(self, library: Library) -> None:
        self.reports: list[SyncReport] = []
        self.states: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=library.watch,
            kwargs={"on_report": self.reports.append, "on_state": self.states.append, "stop": self._stop},
        )

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(20)
        assert not self._thread.is_alive()


def wait_for(condition: Callable[[], bool]) -> None:
    """Returns when it holds; fails after 20 seconds."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_the_disk_is_walked_once_at_the_start(library: Library, folder: Path) -> None:
    """One sync catches up, and the next one is that of the next change."""
    with Watch(library) as watch:
        wait_for(lambda: any(line.startswith("up to date") for line in watch.states))
        time.sleep(1.0)
        assert len(watch.reports) == 1
        (folder / "otters.txt").write_text("about otters")
        wait_for(lambda: len(watch.reports) == 2)

    assert [report.added for report in watch.reports] == [1, 1]


def test_an_index_without_roots_is_up_to_date_at_once(settings: Settings, tiny: Path) -> None:
    """Nothing to follow is no reason to wait for ever."""
    with Library.open(settings, create=True, retriever=tiny) as library, Watch(library) as watch:
        wait_for(lambda: any(line.startswith("up to date") for line in watch.states))


def test_a_disk_error_is_told_and_tried_again(library: Library, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk does not end the watch: the line of state says so, and what was missed is made good."""
    sync, left = library.sync, [2]

    def fail(*arguments: object, **options: object) -> SyncReport:
        if left[0]:
            left[0] -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        return sync(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(library, "sync", fail)
    with Watch(library) as watch:
        wait_for(lambda: len(watch.reports) == 1)
        left[0] = 1
        (folder / "otters.txt").write_text("about otters")
        wait_for(lambda: len(watch.reports) == 2)

    assert [report.added for report in watch.reports] == [1, 1]
    assert any("No space left on device" in line for line in watch.states)


def test_a_watch_that_cannot_write_is_stopped_at_once(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for the disk ends when a person wants it."""

    def fail(*_: object, **__: object) -> SyncReport:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(library, "sync", fail)
    with Watch(library) as watch:
        wait_for(lambda: any("Input/output error" in line for line in watch.states))

    assert watch.reports == []


def test_a_manifest_that_takes_no_line_does_not_end_the_watch(library: Library, folder: Path) -> None:
    """While SQLite refuses every write the person is told, and when it writes again all is made good and kept."""
    refuse = library._manifest._connection.execute
    with Watch(library) as watch:
        wait_for(lambda: any(line.startswith("up to date") for line in watch.states))
        refuse("PRAGMA query_only = ON")  # the error of a full disk, without filling one
        (folder / "otters.txt").write_text("about otters")
        wait_for(lambda: any("trying again" in line for line in watch.states))
        time.sleep(0.5)  # more than one try
        assert len(watch.reports) == 1
        refuse("PRAGMA query_only = OFF")
        wait_for(lambda: watch.states[-1].startswith("up to date: 2"))
        wait_for(lambda: library.status().watching.startswith("up to date: 2"))

    assert [report.added for report in watch.reports] == [1, 1]
