"""Estimates: figures near the truth, ignore rules, stops, and no trace of an index that nobody wanted."""

import threading
from pathlib import Path

import pytest

from drama_app.config import Settings
from drama_app.errors import UsageError
from drama_app.estimate import MOST_PASSAGES, estimate, passages_in
from drama_app.library import Library
from drama_app.records import Estimate

ROOT = Path(__file__).resolve().parents[2]
SENTENCE = "The waggle dance of the bees tells the others in the hive where the nectar is to be found today. "


def test_text_is_estimated_within_a_factor_of_two(settings: Settings, tiny: Path, tmp_path: Path) -> None:
    """For plain text the expected passages are between half and twice those that indexing makes."""
    folder = tmp_path / "files"
    folder.mkdir()
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8")  # prose in paragraphs, in every checkout
    for number in range(12):
        (folder / f"{number}.txt").write_text(licence[: 900 * (number + 1)])
    expected = estimate(settings, folder)

    with Library.open(settings, create=True, retriever=tiny) as library:
        library.add_root(folder)
        real = library.sync().passages

    assert expected.files == 12
    assert expected.bytes == sum(path.stat().st_size for path in folder.iterdir())
    assert real / 2 <= expected.passages <= real * 2


def test_an_estimate_without_an_index_leaves_none(settings: Settings, tmp_path: Path) -> None:
    """Whoever looks at what a folder would take and then leaves has no index afterwards."""
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.txt").write_text(SENTENCE)

    assert estimate(settings, tmp_path / "files").files == 1
    assert not settings.data_folder.exists()


def test_what_is_ignored_is_not_counted(settings: Settings, tmp_path: Path) -> None:
    """Hidden files, .gitignored ones, empty ones and the app's own folders are no work."""
    folder = tmp_path / "files"
    (folder / "build").mkdir(parents=True)
    (folder / ".gitignore").write_text("build/\n")
    for name in ("build/out.txt", ".hidden.txt", "kept.txt"):
        (folder / name).write_text(SENTENCE)
    (folder / "empty.txt").touch()

    assert estimate(settings, folder).files == 1


@pytest.mark.parametrize(
    ("name", "size", "least", "most"),
    [
        ("paper.pdf", 1_000_000, 40, 120),  # real papers: 9,300 bytes a passage; with scans 25,000
        ("letter.docx", 14_000, 1, 2),
        ("note.md", 10, 1, 1),
        ("book.EPUB", 400_000, 12, 50),
        ("photo.jpg", 3_000_000, 0, 0),
        ("no ending", 3_000_000, 0, 0),
        ("huge.log", 10**12, MOST_PASSAGES, MOST_PASSAGES),
    ],
)
def test_each_kind_has_its_own_figure(name: str, size: int, least: int, most: int) -> None:
    """A name and a size say how many passages to expect; one huge file does not drown the rest."""
    assert least <= passages_in(Path(name), size) <= most


def test_the_count_is_told_while_it_grows(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long walk tells what it has so far, marked as not complete; the last word is complete."""
    monkeypatch.setattr("drama_app.estimate.TELL_SECONDS", 0.0)
    for number in range(5):
        (tmp_path / f"{number}.txt").write_text(SENTENCE)
    told: list[Estimate] = []

    last = estimate(settings, tmp_path, tell=told.append)

    assert [each.files for each in told] == sorted(each.files for each in told)
    assert told
    assert not any(each.complete for each in told)
    assert last.complete
    assert last.files == 5


def test_a_stopped_walk_says_that_it_is_not_complete(settings: Settings, tmp_path: Path) -> None:
    """What was counted before the stop is a lower bound and says so."""
    stop = threading.Event()
    stop.set()
    (tmp_path / "a.txt").write_text(SENTENCE)

    assert not estimate(settings, tmp_path, stop=stop).complete


def test_time_follows_the_rate_that_was_measured(settings: Settings, tiny: Path, tmp_path: Path) -> None:
    """An index that knows how fast this machine is expects that speed."""
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.txt").write_text(SENTENCE * 700)
    with Library.open(settings, create=True, retriever=tiny) as library:
        before = library.estimate(tmp_path / "files")
        library._manifest.put(passages_per_second="1.0")
        after = library.estimate(tmp_path / "files")

    assert after.seconds == after.passages
    assert after.seconds > before.seconds


def test_a_folder_that_is_not_there_is_refused(settings: Settings, tmp_path: Path) -> None:
    """There is nothing to estimate, and the sentence names the path."""
    with pytest.raises(UsageError, match="nowhere"):
        estimate(settings, tmp_path / "nowhere")
