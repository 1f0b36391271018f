"""The `watch` verb: what it tells of the reports that come in while it follows."""

from pathlib import Path

import pytest

from drama_app.commands.watch import _News
from drama_app.library import Library
from drama_app.output import Output
from drama_app.records import Skipped, SyncReport

DOCS, MAIL = Path("/docs"), Path("/mail")
BROKEN, LOCKED = Skipped(DOCS / "broken.pdf", "damaged"), Skipped(MAIL / "x.eml", "permission denied")


def report(*failed: Skipped, notes: tuple[str, ...] = (), looked_at: tuple[Path, ...] | None = None) -> SyncReport:
    """What a sync of some paths says."""
    return SyncReport(1, 1, 0, 0, 0, 0, failed, 0, 0.1, notes=notes, looked_at=looked_at)


def test_watch_tells_each_failure_and_note_once(capsys: pytest.CaptureFixture[str]) -> None:
    """A look at one file or folder has nothing retold at the next whole look; what healed and came back is told."""
    news = _News(Output(), lambda: (DOCS, MAIL))

    def told(each: SyncReport) -> str:
        news.tell(each)
        return capsys.readouterr().err

    first = told(report(BROKEN, LOCKED, notes=("/mail/usb is away",)))
    assert all(words in first for words in ("broken.pdf", "x.eml", "/mail/usb is away"))
    assert told(report(looked_at=(DOCS / "other.txt",))) == ""
    assert told(report(BROKEN, looked_at=(DOCS,))) == ""
    assert told(report(BROKEN, LOCKED, notes=("/mail/usb is away",), looked_at=(DOCS, MAIL))) == ""
    assert told(report(looked_at=(BROKEN.path,))) == ""  # it is whole now
    again = told(report(BROKEN, LOCKED, looked_at=(DOCS, MAIL)))
    assert "broken.pdf" in again and "x.eml" not in again
    assert "/mail/usb is away" in told(report(BROKEN, LOCKED, notes=("/mail/usb is away",)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a document and a file that fails."""
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "bees.txt").write_text("The waggle dance.\n")
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4 nothing of a document")
    return folder


def test_an_edit_of_one_file_has_no_other_failure_retold(
    library: Library, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Reports as the syncs give them: catch-up, one edit, a whole look."""
    news = _News(Output(), library.roots)
    news.tell(library.sync())
    assert "broken.pdf" in capsys.readouterr().err
    (folder / "bees.txt").write_text("The waggle dance of bees.\n")
    for looked_at in ([folder / "bees.txt"], [folder], None):
        news.tell(library.sync(looked_at))
        assert capsys.readouterr().err == ""
