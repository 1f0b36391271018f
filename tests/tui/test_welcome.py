"""The first run: suggestions with estimates, a folder that is indexed while one reads on, and never a second time."""

from dataclasses import replace
from pathlib import Path

import pytest
from textual.widgets import OptionList, Static

from drama_app.config import Settings
from drama_app.tui.adding import list_suggestions
from drama_app.tui.app import DramaApp
from drama_app.tui.screens.add_folder import AddFolderScreen
from drama_app.tui.screens.welcome import WelcomeScreen
from drama_app.tui.widgets.path_input import PathInput, read_path
from tests.tui.conftest import until


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's home with documents."""
    home = tmp_path / "someone"
    (home / "Documents").mkdir(parents=True)
    (home / "Documents" / "a.txt").write_text("The winter is cold.\n")
    (home / "Downloads").mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home)
    return home


@pytest.fixture
def fresh(settings: Settings, home: Path, tiny: Path) -> DramaApp:
    """The app on its first start."""
    return DramaApp(replace(settings, retriever=tiny))


def prompts(app: DramaApp) -> list[str]:
    """What is suggested."""
    folders = app.screen.query_one(OptionList)
    return [str(folders.get_option_at_index(index).prompt) for index in range(folders.option_count)]


async def test_the_three_steps(fresh: DramaApp, home: Path) -> None:
    """Suggestions come with estimates; the chosen folder is indexed while the next steps are read; then the search."""
    async with fresh.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: isinstance(fresh.screen, WelcomeScreen) and fresh.screen.is_mounted)
        welcome = fresh.screen
        await until(pilot, lambda: len(prompts(fresh)) == 3)
        await until(pilot, lambda: "about 1 file" in prompts(fresh)[0])
        await until(pilot, lambda: "no file to index" in prompts(fresh)[1])
        assert "Documents" in prompts(fresh)[0]
        await pilot.press("enter")
        await until(pilot, lambda: welcome._step == "first", 30)
        await until(pilot, lambda: "1 document searchable" in str(welcome.query_one("#progress", Static).visual), 10)
        assert fresh.library is not None
        assert fresh.library.roots() == (home / "Documents",)
        await pilot.press("enter")
        await until(pilot, lambda: welcome._step == "keys")
        await pilot.press("enter")
        await until(pilot, lambda: fresh.screen is not welcome)
        assert fresh.current_mode == "search"
        assert fresh.ui.welcomed


async def test_a_folder_that_would_be_refused_is_not_suggested(
    fresh: DramaApp, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one Enter could not follow is none to choose: a folder above the home asks for a second agreement."""
    monkeypatch.chdir(home.parent)
    assert list_suggestions(fresh.settings) == (home / "Documents", home / "Downloads")
    monkeypatch.chdir("/dev")
    assert list_suggestions(fresh.settings) == (home / "Documents", home / "Downloads")


async def test_a_folder_that_is_refused_keeps_the_first_step(fresh: DramaApp, home: Path) -> None:
    """Nothing says that a folder is read before it is followed; why it is not stands where it was chosen."""
    async with fresh.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: isinstance(fresh.screen, WelcomeScreen) and fresh.screen.is_mounted)
        welcome = fresh.screen
        await until(pilot, lambda: len(prompts(fresh)) == 3)
        (home / "Documents" / "a.txt").unlink()
        (home / "Documents").rmdir()
        await pilot.press("enter")
        refusal = welcome.query_one("#refusal", Static)
        await until(pilot, lambda: "cannot be indexed" in str(refusal.visual), 30)
        assert (welcome._step, welcome._chosen, refusal.display) == ("choose", None, True)
        await pilot.press("down", "enter")
        await until(pilot, lambda: welcome._step == "first", 30)
        assert fresh.library is not None and fresh.library.roots() == (home / "Downloads",)


async def test_a_path_typed_on_the_first_step_is_taken(fresh: DramaApp, home: Path) -> None:
    """Letters open the line for a path and stand in it, so that Enter does not take the suggestion instead."""
    async with fresh.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: isinstance(fresh.screen, WelcomeScreen) and fresh.screen.is_mounted)
        await until(pilot, lambda: len(prompts(fresh)) == 3)
        await pilot.press(*"~/Docum")
        await until(pilot, lambda: isinstance(fresh.screen, AddFolderScreen))
        line = fresh.screen.query_one(PathInput)
        await until(pilot, lambda: line.value == "~/Docum")
        await pilot.press("tab", "enter")
        await until(pilot, lambda: fresh.library is not None and fresh.library.roots() == (home / "Documents",), 30)


async def test_skipping_leaves_no_index_and_is_remembered(fresh: DramaApp) -> None:
    """Esc leaves at once; the next start does not ask again."""
    async with fresh.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: isinstance(fresh.screen, WelcomeScreen) and fresh.screen.is_mounted)
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(fresh.screen, WelcomeScreen) and fresh.screen.is_mounted)
        await pilot.press("ctrl+q")
    assert not (fresh.settings.data_folder / "index").exists()
    again = DramaApp(fresh.settings)
    async with again.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: again.opened)
        await pilot.pause()
        assert not isinstance(again.screen, WelcomeScreen)


async def test_another_folder_can_be_chosen(fresh: DramaApp, home: Path) -> None:
    """a opens the dialog with path and tree; leaving it comes back to the first step."""
    async with fresh.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: isinstance(fresh.screen, WelcomeScreen) and fresh.screen.is_mounted)
        await until(pilot, lambda: len(prompts(fresh)) == 3)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(fresh.screen, AddFolderScreen))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(fresh.screen, WelcomeScreen) and fresh.screen.is_mounted)
        fresh.screen.query_one(OptionList).highlighted = 2
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(fresh.screen, AddFolderScreen))


async def test_a_folder_that_was_added_in_the_library_ends_the_welcome(fresh: DramaApp, home: Path) -> None:
    """Who goes to F3 instead finds the search without the first step over it."""
    async with fresh.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: isinstance(fresh.screen, WelcomeScreen) and fresh.screen.is_mounted)
        await pilot.press("f3")
        await until(pilot, lambda: fresh.current_mode == "library")
        fresh.add_folder(home / "Documents")
        await until(pilot, lambda: fresh.status is not None and fresh.status.roots, 30)
        await pilot.press("f2")
        await until(pilot, lambda: fresh.current_mode == "search" and not isinstance(fresh.screen, WelcomeScreen))
        assert fresh.ui.welcomed


async def test_who_has_an_index_is_not_welcomed(app: DramaApp) -> None:
    """A home that is indexed already opens at the search, even when nothing is remembered."""
    app.ui.welcomed = False
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.library)
        await pilot.pause()
        assert not isinstance(app.screen, WelcomeScreen)
        assert app.ui.welcomed


async def test_a_damaged_index_is_no_first_run(fresh: DramaApp) -> None:
    """An index that does not open is told of, not welcomed over."""
    folder = fresh.settings.data_folder / "index"
    folder.mkdir(parents=True)
    (folder / "manifest.db").write_bytes(b"no manifest at all, but something" * 50)
    async with fresh.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: fresh.opened and fresh.log_lines)
        assert not isinstance(fresh.screen, WelcomeScreen)
        assert "manifest" in fresh.log_lines[-1]


def test_a_path_that_is_half_typed_never_raises(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is typed becomes a whole path; a "~name" of nobody, or in a folder that is gone, stays as it is."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    assert read_path(" ~/docs ") == tmp_path / "docs"
    assert read_path("~nobody-here/docs") == Path("~nobody-here/docs")
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert read_path("docs") == Path("docs")


async def test_a_welcome_over_another_screen_can_be_left(fresh: DramaApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first start may find a person in the library already: Esc leaves the welcome there, to the query."""
    app = fresh
    monkeypatch.setattr(app, "_begin", lambda: None)
    async with app.run_test() as pilot:
        await pilot.press("f3")
        await until(pilot, lambda: app.current_mode == "library")
        app.open_library()
        await until(pilot, lambda: isinstance(app.screen, WelcomeScreen) and app.screen.is_mounted)
        assert app.current_mode == "library"
        await pilot.press("escape")
        await until(pilot, lambda: app.current_mode == "search" and not isinstance(app.screen, WelcomeScreen))
        assert app.ui.welcomed
