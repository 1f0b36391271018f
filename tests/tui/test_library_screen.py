"""The library screen: every key over a real index, adding with an estimate, removing with a way back."""

from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest
from rich.cells import cell_len
from textual.message import Message
from textual.widgets import Input, Static

from drama_app.config import Settings
from drama_app.library import Library
from drama_app.records import Estimate, Progress, RootStatus
from drama_app.tui.adding import Proposal, describe_proposal, list_suggestions, weigh
from drama_app.tui.app import DramaApp
from drama_app.tui.messages import IndexingChanged, SearchInside, StateSaid
from drama_app.tui.screens.add_folder import AddFolderScreen
from drama_app.tui.screens.confirm import ConfirmScreen
from drama_app.tui.screens.library import LibraryScreen, list_most
from drama_app.tui.standing import Standing, describe_root
from drama_app.tui.state import UiState, save_state
from drama_app.tui.widgets.folder_tree import FolderTree
from drama_app.tui.widgets.path_input import PathInput, list_completions
from drama_app.tui.widgets.root_table import RootTable, shorten_middle
from tests.tui.conftest import until

SIZE = (110, 30)


async def show(pilot) -> LibraryScreen:  # type: ignore[no-untyped-def]
    """Goes to the library screen and waits for its counts."""
    await pilot.press("f3")
    app = pilot.app
    await until(pilot, lambda: isinstance(app.screen, LibraryScreen))
    if app.library is not None:
        await until(pilot, lambda: app.screen.query_one(RootTable).row_count)
    return app.screen


def cells(screen: LibraryScreen) -> list[str]:
    """The first row, as plain text."""
    return [str(cell) for cell in screen.query_one(RootTable).get_row_at(0)]


def text_of(screen, part: str) -> str:  # type: ignore[no-untyped-def]
    """What a part of the screen shows."""
    return str(screen.query_one(part, Static).visual)


async def test_folders_are_listed_with_counts_and_state(app: DramaApp, files: Path) -> None:
    """Each folder shows its state, documents, passages and last sync; the index its size, languages and types."""
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: app.status)
        app.post_message(IndexingChanged("following"))
        screen = await show(pilot)
        await until(pilot, lambda: "following" in cells(screen))

        assert app.status is not None
        assert f"{app.status.documents:,}" in cells(screen)
        assert f"{app.status.passages:,}" in cells(screen)
        assert cells(screen)[-1].startswith("20")
        assert str(files) in text_of(screen, "#detail").replace("\n", "")
        assert screen._facts[0][1].endswith("on disk")
        assert "text" in screen._facts[2][1]


async def test_a_folder_without_events_says_how_it_is_followed(app: DramaApp, files: Path) -> None:
    """A network mount is shown as polled, with the reason."""
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: app.status)
        app.post_message(IndexingChanged("following"))
        line = f"up to date: 1 documents; {files} is not watched but looked at every 30 s: network mount (nfs4)"
        app.post_message(StateSaid(line))
        screen = await show(pilot)

        await until(pilot, lambda: "polled: network mount (nfs4), every 30 s" in cells(screen))


async def test_a_missing_folder_stands_out(app: DramaApp, files: Path, own_home: Path) -> None:
    """An unplugged folder is shown as missing, not as empty."""
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: app.library)
        screen = await show(pilot)

        def shows_missing() -> bool:
            """Marked anew each time: following starts beside the test, and may find the folder there after the mark."""
            assert app.library is not None
            app.library._manifest.mark_root(files, state="missing", device=None, synced=None)
            app.refresh_status()
            return "missing: unplugged?" in cells(screen)

        await until(pilot, shows_missing)


async def test_pause_and_resume_one_folder(app: DramaApp) -> None:
    """p leaves a folder alone, p again follows it."""
    async with app.run_test(size=SIZE) as pilot:
        screen = await show(pilot)
        await pilot.press("p")
        await until(pilot, lambda: "paused" in cells(screen))
        await pilot.press("p")
        await until(pilot, lambda: "paused" not in cells(screen))
        assert app.status is not None
        assert app.status.roots[0].state == "incomplete"


async def test_a_removal_asks_and_can_be_undone(app: DramaApp) -> None:
    """d says what goes and what stays; Esc changes nothing; after yes u keeps the folder."""
    async with app.run_test(size=SIZE) as pilot:
        screen = await show(pilot)
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        assert "files themselves stay" in text_of(app.screen, "#said")
        assert "passages" in text_of(app.screen, "#said")
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is screen)
        assert app.removals.paths == ()

        await pilot.press("delete")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("y")
        await until(pilot, lambda: "being removed: u keeps it" in cells(screen))
        await pilot.press("u")
        await until(pilot, lambda: "being removed: u keeps it" not in cells(screen))
        assert app.removals.paths == ()
        assert app.library is not None
        assert len(app.library.roots()) == 1


async def test_a_removal_is_carried_out_after_its_time(
    app: DramaApp, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When nobody undoes it the folder leaves the index, its files stay, and the screen teaches again."""
    monkeypatch.setattr("drama_app.tui.removal.UNDO_SECONDS", 0.05)
    async with app.run_test(size=SIZE) as pilot:
        screen = await show(pilot)
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("enter")
        assert app.library is not None
        await until(pilot, lambda: not app.library.roots())
        await until(pilot, lambda: screen.has_class("-empty"))
        assert "Press a to add a folder" in text_of(screen, "#empty")
        assert (files / "travel" / "train.txt").exists()
        await until(pilot, lambda: any("taken out" in line for line in app.log_lines))


async def test_leaving_carries_a_removal_out(app: DramaApp) -> None:
    """A removal that still waits when the app ends is done, not forgotten."""
    async with app.run_test(size=SIZE) as pilot:
        await show(pilot)
        library = app.library
        assert library is not None
        app.removals.begin(library.roots()[0])
        await pilot.press("ctrl+q")
        await until(pilot, lambda: not app.is_running)
        assert library.roots() == ()


async def test_enter_searches_inside_and_s_looks_again(app: DramaApp, files: Path) -> None:
    """Enter hands the folder to the search screen; s asks for a new look at every folder."""
    async with app.run_test(size=SIZE) as pilot:
        await show(pilot)
        asked: list[str] = []
        app.restart_indexing = lambda: asked.append("restart")  # type: ignore[method-assign]
        await pilot.press("s")
        assert asked == ["restart"]

        handed: list[SearchInside] = []
        search = app._screen_stacks["search"][0]
        post = search.post_message

        def catch(message: Message) -> bool:
            if isinstance(message, SearchInside):
                handed.append(message)
            return post(message)

        search.post_message = catch  # type: ignore[method-assign]
        await pilot.press("enter")
        await until(pilot, lambda: handed)
        assert app.current_mode == "search"
        assert handed[0].path == files


async def test_an_index_that_an_older_drama_read_says_so_and_r_reads_it_again(app: DramaApp) -> None:
    """The note of `status` stands below the counts; r asks, lets every file be read anew, and the note goes."""
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: app.status)
        assert app.library is not None and app.status is not None
        app.library._manifest.put(readers="1")
        screen = await show(pilot)
        await until(pilot, lambda: any("an older drama" in value for _, value in screen._facts))
        app.library.sync()  # other tests may have touched the files
        seen: list[Progress] = []
        app.library.sync(on_progress=seen.append)
        assert max(each.files_total for each in seen) == 0

        await pilot.press("r")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        assert "found as they are" in text_of(app.screen, "#said")
        await pilot.press("y")
        await until(pilot, lambda: not any("an older drama" in value for _, value in screen._facts))
        app.library.sync(on_progress=seen.append)
        assert seen[-1].files_done >= app.status.documents


async def test_open_and_copy_act_on_the_folder(app: DramaApp, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """o shows the folder in the file manager, y copies its path."""
    shown: list[Path] = []
    monkeypatch.setattr("drama_app.tui.opening.show_in_folder", lambda path: shown.append(path) or "shown")
    copied: list[str] = []
    monkeypatch.setattr("drama_app.tui.clipboard.copy", lambda _, text, what="": copied.append(text) or what)
    async with app.run_test(size=SIZE) as pilot:
        await show(pilot)
        await pilot.press("o", "y")
        await until(pilot, lambda: shown and copied)
        assert shown == [files]
        assert copied == [str(files)]


async def test_adding_shows_an_estimate_before_it_starts(
    app: DramaApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A typed folder is weighed; Enter follows it; until then nothing changes."""
    new = tmp_path / "new folder"
    new.mkdir()
    (new / "a.txt").write_text("The winter is cold.\n" * 100)
    async with app.run_test(size=SIZE) as pilot:
        await show(pilot)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, AddFolderScreen))
        app.screen.query_one(PathInput).value = str(new)
        await until(pilot, lambda: "about 1 file, 2.0 KB, 3 passages" in text_of(app.screen, "#said"))
        assert " of disk; " in text_of(app.screen, "#said").replace("\n", " ")
        assert app.library is not None
        assert len(app.library.roots()) == 1
        await pilot.press("enter")
        await until(pilot, lambda: len(app.library.roots()) == 2)


async def test_a_path_that_is_entered_at_once_is_weighed_first(app: DramaApp, tmp_path: Path) -> None:
    """Enter before the estimate follows a folder once it is counted, and one without files not at all."""
    empty, good = tmp_path / "empty", tmp_path / "good"
    for folder in (empty, good):
        folder.mkdir()
    (good / "a.txt").write_text("The winter is cold.\n")
    async with app.run_test(size=SIZE) as pilot:
        await show(pilot)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, AddFolderScreen))
        adding = app.screen
        adding.query_one(PathInput).value = str(empty)
        await pilot.press("enter")
        await until(pilot, lambda: "no file to index" in text_of(adding, "#said"))
        await pilot.pause(0.3)
        assert app.library is not None and app.screen is adding and len(app.library.roots()) == 1
        adding.query_one(PathInput).value = str(good)
        await pilot.press("enter")
        await until(pilot, lambda: good in app.library.roots())


@pytest.mark.parametrize("name", ["own", "inside", "nowhere", "empty"])
async def test_what_cannot_be_added_says_why(app: DramaApp, files: Path, tmp_path: Path, name: str) -> None:
    """The app's own data, a part of a root, a missing folder and an empty one are refused with a reason."""
    empty = tmp_path / "empty"
    empty.mkdir()
    path, reason = {
        "own": (app.settings.data_folder, "drama-app's own folder"),
        "inside": (files / "travel", "which is followed already"),
        "nowhere": (tmp_path / "nowhere", "there is no such"),
        "empty": (empty, "no file to index"),
    }[name]
    async with app.run_test(size=SIZE) as pilot:
        await show(pilot)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, AddFolderScreen))
        app.screen.query_one(PathInput).value = str(path)
        await until(pilot, lambda: reason in text_of(app.screen, "#said").replace("\n", " "))
        await pilot.press("enter")
        await pilot.pause()
        assert isinstance(app.screen, AddFolderScreen)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, LibraryScreen))


async def test_a_whole_home_folder_needs_a_second_agreement(
    app: DramaApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A home folder is warned of and asked about; no keeps the person where they were, yes follows it."""
    home = tmp_path / "someone"
    home.mkdir()
    (home / "a.txt").write_text("The winter is cold.\n")
    monkeypatch.setenv("HOME", str(home))
    async with app.run_test(size=SIZE) as pilot:
        await show(pilot)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, AddFolderScreen))
        adding = app.screen
        await pilot.press("~")
        await until(pilot, lambda: "whole home" in text_of(adding, "#said"))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("n")
        await until(pilot, lambda: app.screen is adding)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("y")
        assert app.library is not None
        await until(pilot, lambda: home in app.library.roots())


async def test_a_folder_can_be_picked_in_the_tree(
    app: DramaApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arrows move through the folders of the home, the line follows, Enter takes the folder at the cursor."""
    (tmp_path / "someone" / "[red]notes").mkdir(parents=True)
    (tmp_path / "someone" / ".hidden").mkdir()
    (tmp_path / "someone" / "[red]notes" / "a.txt").write_text("The winter is cold.\n")
    monkeypatch.setenv("HOME", str(tmp_path / "someone"))
    async with app.run_test(size=SIZE) as pilot:
        await show(pilot)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, AddFolderScreen))
        tree = app.screen.query_one(FolderTree)
        tree.focus()
        await until(pilot, lambda: len(tree.root.children) == 1)
        await pilot.press("down")
        chosen = tmp_path / "someone" / "[red]notes"
        await until(pilot, lambda: app.screen.query_one(Input).value == str(chosen))
        await pilot.press("enter")
        assert app.library is not None
        await until(pilot, lambda: chosen in app.library.roots())


async def test_tab_completes_folders(app: DramaApp, tmp_path: Path) -> None:
    """Tab goes on as far as it is clear and then names what there is."""
    for name in ("reports-2024", "reports-2025", ".secret"):
        (tmp_path / "x" / name).mkdir(parents=True)
    (tmp_path / "x" / "reports.txt").touch()
    async with app.run_test(size=SIZE) as pilot:
        await show(pilot)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, AddFolderScreen))
        line = app.screen.query_one(PathInput)
        line.value = str(tmp_path / "x" / "re")
        line.cursor_position = len(line.value)
        await pilot.press("tab")
        await until(pilot, lambda: line.value.endswith("reports-202"))
        await until(pilot, lambda: "reports-2024  reports-2025" in text_of(app.screen, "#said"))
        await pilot.press("5", "tab")
        await until(pilot, lambda: line.value.endswith("reports-2025/"))


def test_completions_are_folders_and_hidden_ones_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are no completion, dots must be typed, ~ stays ~, and what cannot be read completes to nothing."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("Docs", "docs", ".git", "a\x1bb"):
        (tmp_path / name).mkdir()
    (tmp_path / "file.txt").touch()

    assert list_completions("~") == ["~/"]
    assert list_completions("~/") == ["~/Docs/", "~/docs/"]
    assert list_completions("~/do") == ["~/docs/"]
    assert list_completions("~/.g") == ["~/.git/"]
    assert list_completions(f"{tmp_path}/DO") == [f"{tmp_path}/Docs/", f"{tmp_path}/docs/"]
    assert list_completions("~/nowhere/x") == []


async def test_without_an_index_the_first_folder_makes_one(settings: Settings, tmp_path: Path, tiny: Path) -> None:
    """The empty screen teaches; leaving the dialog leaves no index; adding makes it and lists the folder."""
    save_state(settings, UiState(welcomed=True))
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("The winter is cold.\n")
    app = DramaApp(replace(settings, retriever=tiny))
    async with app.run_test(size=SIZE) as pilot:
        screen = await show(pilot)
        await until(pilot, lambda: "No folder yet" in text_of(screen, "#empty"))
        for last in ("escape", "enter"):
            await pilot.press("a")
            await until(pilot, lambda: isinstance(app.screen, AddFolderScreen))
            app.screen.query_one(PathInput).value = str(tmp_path / "notes")
            await until(pilot, lambda: "about 1 file" in text_of(app.screen, "#said"))
            assert not (settings.data_folder / "index").exists()
            await pilot.press(last)
            await until(pilot, lambda: isinstance(app.screen, LibraryScreen))
        await until(pilot, lambda: screen.query_one(RootTable).row_count == 1, 10)
        await until(pilot, lambda: app.status is not None and app.status.documents == 1, 10)


async def test_a_narrow_screen_keeps_path_and_state(app: DramaApp) -> None:
    """At 60 columns the table shows the path's end, the state and the documents, and nothing overflows."""
    async with app.run_test(size=(60, 20)) as pilot:
        screen = await show(pilot)
        table = screen.query_one(RootTable)
        assert len(table.columns) == 3
        assert cells(screen)[0].endswith("files")
        assert table.virtual_size.width <= 60


def test_a_proposal_is_told_in_round_numbers() -> None:
    """An estimate shows two digits of passages; an unfinished count says so; scarce disk is noticed."""
    done = Proposal(Path("/x"), Estimate(1234, 340_000_000, 9_876, 372.0, 41_000_000), free=73_000_000_000)
    assert describe_proposal(done) == "about 1,234 files, 340 MB, 9,900 passages, 6 min, 41.0 MB of disk; 73.0 GB free"
    part = Proposal(Path("/x"), Estimate(12, 3_400, 5, 3.0, 1_000, complete=False), free=1_050)
    assert describe_proposal(part).startswith("so far 12 files, 3.4 KB, 5 passages, a moment")
    assert part.is_scarce
    assert not done.is_scarce


def test_weighing_a_folder_that_holds_roots_says_so(app: DramaApp, files: Path) -> None:
    """A folder above a followed one can be added, and the person is told of the one inside."""
    with Library.open(app.settings) as library:
        proposal = weigh(library, app.settings, files.parent, tell=lambda _: None, stop=Event())
    assert proposal.refusal == ""
    assert proposal.warnings == ("1 folder in it is followed already",)


def test_suggestions_are_folders_that_exist(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Documents, notes and the current folder are suggested where they are; the home itself never."""
    home = tmp_path / "someone"
    (home / "Documents").mkdir(parents=True)
    (home / "work").mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home / "work")
    assert list_suggestions(settings) == (home / "Documents", home / "work")
    monkeypatch.chdir(home)
    assert list_suggestions(settings) == (home / "Documents",)


def test_long_paths_lose_their_middle_and_double_width_counts() -> None:
    """Both ends of a path stay; a Chinese name takes two cells a character."""
    assert shorten_middle("/home/someone/reports/2024", 12) == "/home…s/2024"
    for width in (8, 9, 20):
        assert cell_len(shorten_middle("/家/龙井茶的采摘与冲泡/文件夹", width)) <= width
    assert list_most({"en": 3, "": 1}) == "en 3, unknown 1"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("up to date: 3 documents", "following"),
        ("not up to date: the index is gone; trying again every 5 s", "not up to date"),
    ],
)
def test_a_folder_that_cannot_be_written_is_not_called_followed(line: str, said: str) -> None:
    """While the watcher cannot write what it sees, no folder is said to be followed."""
    root = RootStatus(Path("/home/b"), 3, 9, 0.0, "ok")
    assert describe_root(root, Standing(True, True, None, None, "following", line)) == said
