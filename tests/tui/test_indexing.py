"""The thread that keeps the index true: follow, pause, resume, cancel, elsewhere, failed, retry, switch."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from textual.message import Message

from drama_app.config import Settings
from drama_app.errors import IndexDamagedError
from drama_app.library import Library
from drama_app.records import Progress
from drama_app.tui import indexing
from drama_app.tui.indexing import Indexing
from drama_app.tui.messages import Failed, IndexingChanged, Progressed, StateSaid, SyncEnded, WorkEnded
from tests.tiny_retriever import make_tiny_retriever


class World:
    """A library, its thread, and what was said."""

    def __init__(self, library: Library, folder: Path) -> None:
        self.library = library
        self.folder = folder
        self.said: list[Message] = []
        self.indexing = Indexing(library, self.post)

    def post(self, message: Message) -> bool:
        self.said.append(message)
        return True

    def of(self, kind: type[Message]) -> list[Message]:
        """The messages of a kind, oldest first."""
        return [message for message in self.said if isinstance(message, kind)]

    @property
    def states(self) -> list[str]:
        """The states that were told."""
        return [message.state for message in self.said if isinstance(message, IndexingChanged)]


def until(condition: Callable[[], object], seconds: float = 15.0) -> None:
    """Waits for something to become true; fails if it does not."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def world(settings: Settings, tiny: Path, tmp_path: Path) -> Iterator[World]:
    """An index that follows a folder with one document, not yet read."""
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "train.txt").write_text("The train leaves the station.\n")
    with Library.open(settings, create=True, retriever=tiny) as library:
        library.add_root(folder)
        world = World(library, folder)
        yield world
        world.indexing.close()


def test_it_catches_up_and_follows(world: World) -> None:
    """Started, it reads what is there, then what comes, and says how it stands; a second start changes nothing."""
    world.indexing.start()
    world.indexing.start()
    until(lambda: world.of(SyncEnded))
    until(lambda: any("up to date" in message.line for message in world.of(StateSaid)))  # type: ignore[attr-defined]
    (world.folder / "ship.txt").write_text("The ship lies in the harbour.\n")
    until(lambda: world.library.status().documents == 2)

    assert world.states == ["following"]
    assert world.of(Progressed)
    assert world.indexing.is_following


def test_a_pause_ends_it_and_a_start_goes_on(world: World) -> None:
    """Paused, nothing new is read; started again, it is."""
    world.indexing.start()
    until(lambda: world.of(SyncEnded))
    world.indexing.pause()
    until(lambda: not world.indexing._thread.is_alive())  # type: ignore[union-attr]
    (world.folder / "ship.txt").write_text("The ship lies in the harbour.\n")
    assert world.states == ["following", "paused"]
    assert world.library.status().documents == 1
    world.indexing.start()
    until(lambda: world.library.status().documents == 2)
    assert world.states == ["following", "paused", "following"]


def test_cancel_pauses_what_is_not_finished_and_follows_the_rest(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder in the middle of its first sync is paused; the finished one is still followed."""
    world.library.sync()
    more = tmp_path / "more"
    more.mkdir()
    (more / "song.txt").write_text("A song.\n")
    world.library.add_root(more)
    began, sync = threading.Event(), world.library.sync

    def slow(*args: object, stop: threading.Event, **rest: object) -> object:
        began.set()
        stop.wait(10)
        return sync(*args, stop=stop, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(world.library, "sync", slow)
    world.indexing.start()
    assert began.wait(10)
    monkeypatch.setattr(world.library, "sync", sync)
    world.indexing.cancel()

    states = {root.path: root.state for root in world.library.status().roots}
    assert states[more] == "paused"
    assert states[world.folder] != "paused"
    (world.folder / "ship.txt").write_text("The ship lies in the harbour.\n")
    until(lambda: world.library.status().documents == 2)


def test_cancel_pauses_the_folder_of_the_file_at_hand(world: World, tmp_path: Path) -> None:
    """A folder that was complete before is paused when its new files are what is read; another one is not."""
    (tmp_path / "more").mkdir()
    world.library.add_root(tmp_path / "more")
    world.library.sync()
    for root in world.library.roots():
        world.library._manifest.mark_root(root, state="incomplete", device=None, synced=None)  # a sync has begun
    world.indexing._tell(Progress("index", current=world.folder / "train.txt"))
    world.indexing.cancel()

    states = {root.path: root.state for root in world.library.status().roots}
    assert states == {world.folder: "paused", tmp_path / "more": "incomplete"}


def test_a_change_between_syncs_interrupts_and_goes_on(world: World) -> None:
    """Work that needs the writer's lock runs while nothing else does; following resumes only where it was."""
    order: list[bool] = []
    world.indexing.between(lambda: order.append(world.indexing.is_following))
    assert world.states == []
    world.indexing.start()
    until(lambda: world.of(SyncEnded))
    world.indexing.between(lambda: order.append(world.indexing._thread.is_alive()))  # type: ignore[union-attr]
    until(lambda: world.states == ["following", "following"])
    assert order == [False, False]


def test_another_drama_app_is_told_and_followed_upon(
    world: World, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another follows this index, this one says so and does not fight; when that ends, this one keeps it true."""
    monkeypatch.setattr(indexing, "RETRY_SECONDS", 0.1)
    world.indexing.start()
    until(lambda: world.of(SyncEnded))
    with Library.open(settings) as library:
        second = World(library, world.folder)
        second.indexing.start()
        until(lambda: second.states == ["following", "elsewhere"])
        assert "another drama-app" in second.of(IndexingChanged)[-1].reason  # type: ignore[attr-defined]
        time.sleep(0.5)  # several looks
        assert second.states == ["following", "elsewhere"]
        world.indexing.close()
        until(lambda: second.states == ["following", "elsewhere", "following"])
        (world.folder / "later.txt").write_text("Written later.\n")
        until(lambda: any(event.report.added for event in second.of(SyncEnded)))  # type: ignore[attr-defined]
        second.indexing.close()
        assert not second.indexing.is_following


@pytest.mark.parametrize("error", [IndexDamagedError("it is damaged"), OSError("no space left"), ValueError("a bug")])
def test_a_failure_is_told_with_its_reason(world: World, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Whatever ends the following, the person hears why, and it can be started again."""

    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(world.library, "watch", fail)
    world.indexing.start()
    until(lambda: world.states == ["following", "failed"])
    assert str(error) in world.of(IndexingChanged)[-1].reason  # type: ignore[attr-defined]
    monkeypatch.undo()
    world.indexing.start()
    until(lambda: world.of(SyncEnded))


def test_a_retry_reads_again_and_tells_its_end(world: World) -> None:
    """Failed files are read again beside the following, and the end is told."""
    world.library.sync()
    world.indexing.retry([world.folder / "train.txt"])
    until(lambda: world.of(WorkEnded))
    assert world.of(SyncEnded)
    assert world.of(WorkEnded)[0].sentence == "Read again: 1 of 1"  # type: ignore[attr-defined]


def test_a_switch_tells_the_new_name_or_why_not(world: World, tmp_path: Path) -> None:
    """A switch ends with the name in use; one that is refused ends, too, and says why."""
    world.library.sync()
    world.indexing.switch(make_tiny_retriever(tmp_path / "other", name="other", seed=3))
    until(lambda: world.of(WorkEnded))
    assert world.of(WorkEnded)[0].sentence == "The index uses other 1 now"  # type: ignore[attr-defined]
    world.indexing.switch(tmp_path)
    until(lambda: world.of(Failed))
    assert len(world.of(WorkEnded)) == 2


def test_a_switch_follows_again_where_the_retriever_was_gone(world: World, tmp_path: Path) -> None:
    """Following ends when what filled the index is gone; the switch starts it again, unless it was paused."""
    world.library.sync()
    manifest, fingerprint = world.library._manifest, world.library._manifest.get("fingerprint")
    manifest.put(fingerprint="sha256:" + "0" * 64)
    world.library.__dict__.pop("_encoder", None)
    (world.folder / "ship.txt").write_text("The ship lies in the harbour.\n")
    world.indexing.start()
    until(lambda: world.states[-1:] == ["failed"])
    assert "model use shipped" in world.of(IndexingChanged)[-1].reason  # type: ignore[attr-defined]

    world.indexing.switch(make_tiny_retriever(tmp_path / "other", name="other", seed=3))
    until(lambda: world.library.status().documents == 2)
    assert world.indexing.is_following
    assert world.library.recall("fingerprint") != fingerprint

    world.indexing.pause()
    world.indexing.switch(make_tiny_retriever(tmp_path / "third", name="third", seed=4))
    until(lambda: len(world.of(WorkEnded)) == 2)
    assert not world.indexing.is_following


def test_a_paused_switch_is_no_error(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopping a switch is told in the log, not as something that went wrong."""
    world.library.sync()
    use = world.library.use_retriever
    began = threading.Event()

    def slow(folder: Path | None, *, stop: threading.Event, **rest: object) -> str:
        began.set()
        stop.wait(10)
        return use(folder, stop=stop, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(world.library, "use_retriever", slow)
    world.indexing.switch(make_tiny_retriever(tmp_path / "other", name="other", seed=3))
    assert began.wait(10)
    world.indexing.pause()
    until(lambda: world.of(WorkEnded))
    assert "goes on from there" in world.of(WorkEnded)[0].sentence  # type: ignore[attr-defined]
    assert not world.of(Failed)


def test_leaving_while_a_thread_still_writes_ends_cleanly() -> None:
    """A thread that does not stop in time neither holds up the end nor turns it into an abort."""
    code = (
        "import threading, time\n"
        "from drama_app.tui.start import leave_at_once_if_indexing\n"
        "threading.Thread(target=time.sleep, args=(60,), name='indexing', daemon=False).start()\n"
        "print('said', end='')\n"
        "leave_at_once_if_indexing(3)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)

    assert (done.returncode, done.stdout, done.stderr) == (3, "said", "")
