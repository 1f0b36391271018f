"""Drives below a root: what was indexed of them outlives their being unplugged, until a person says otherwise."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from drama_app import scan
from drama_app.commands.doctor import check_index
from drama_app.config import Settings
from drama_app.library import Library
from drama_app.scan import Found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a document of its own and a drive with one more; the drive's name is no UTF-8."""
    drive = tmp_path / "files" / os.fsdecode(b"usb\xe9") / "deep"
    drive.mkdir(parents=True)
    (drive / "trip.txt").write_text("The train leaves at noon, code QX-4711.\n")
    (drive.parent.parent / "bees.txt").write_text("The waggle dance tells other bees where the nectar is.\n")
    return drive.parent.parent


@pytest.fixture
def drive(folder: Path) -> Path:
    """Where the drive is mounted."""
    return folder / os.fsdecode(b"usb\xe9")


@pytest.fixture(autouse=True)
def mounted(drive: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The mount points; a test takes the drive's out, since only root can unmount."""
    mounts = [drive]
    found = scan._found

    def on_its_device(path: Path, status: os.stat_result, root: Path | None) -> Found:
        file = found(path, status, root)
        return replace(file, device=file.device + 1) if any(mount in path.parents for mount in mounts) else file

    monkeypatch.setattr(scan, "_found", on_its_device)
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) in mounts)
    return mounts


def names(library: Library, query: str) -> list[str]:
    """The file names that a keyword search finds."""
    return [hit.path.name for hit in library.search(query, mode="keywords").hits]


@pytest.mark.parametrize("folder_stays", [True, False])
def test_an_unplugged_drive_loses_nothing(
    library: Library, settings: Settings, folder: Path, drive: Path, mounted: list[Path], folder_stays: bool
) -> None:
    """Its files stay searchable while its mount point is empty or gone, which is told, until it is back."""
    away = drive.rename(folder.parent / "away")
    mounted[:] = []
    if folder_stays:
        drive.mkdir()
    for looked_at in (None, [drive], [drive / "deep" / "trip.txt"]):
        report = library.sync(looked_at)
        assert (report.removed, len(report.notes)) == (0, 1)
        assert "is not plugged in now" in report.notes[0]
    assert names(library, "QX-4711") == ["trip.txt"]
    assert library.status().notes == report.notes
    assert [each.state for each in check_index(settings)] == ["ok", "warn"]

    shutil.rmtree(drive, ignore_errors=True)
    away.rename(drive)
    mounted[:] = [drive]
    assert library.sync().notes == library.status().notes == ()
    (drive / "deep" / "trip.txt").unlink()
    assert library.sync().removed == 1


def test_an_unplugged_drive_can_be_forgotten(library: Library, drive: Path, mounted: list[Path]) -> None:
    """Who says that it does not come back has its files out of the index, and hears no more of it."""
    shutil.rmtree(drive)
    mounted[:] = []
    library.sync()
    assert library.forget(drive) == 1
    assert names(library, "QX-4711") == []
    assert library.sync().notes == library.status().notes == ()
    assert library.recall("mounts") == "{}"


def test_a_folder_in_the_place_of_a_drive_is_like_any_other(library: Library, drive: Path, mounted: list[Path]) -> None:
    """Files that were copied to where the drive was mounted are gone when they are deleted."""
    mounted[:] = []
    (drive / "new.txt").write_text("The otters sleep.\n")
    library.sync()
    shutil.rmtree(drive)
    assert (library.sync().removed, names(library, "otters")) == (2, [])
