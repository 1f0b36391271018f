"""What nobody expected: an error in a handler is told and the rest goes on; a dialog that ends late harms nothing."""

import threading
from pathlib import Path

import pytest
from textual.app import App
from textual.widgets import Input

from drama_app.errors import DramaError
from drama_app.library import Library
from drama_app.tui.app import DramaApp
from drama_app.tui.enduring import MOST_ERRORS
from drama_app.tui.screens.add_folder import AddFolderScreen
from drama_app.tui.screens.install_model import InstallModelScreen
from drama_app.tui.screens.search import SearchScreen
from drama_app.tui.widgets.clean_input import CleanInput
from drama_app.writer_lock import WriterLock
from tests.tui.conftest import until


class BrokenError(Exception):
    """An error that nobody expects."""


def fail(*_: object) -> None:
    """Stands for a handler with a fault."""
    raise BrokenError("something is not as it was thought")


@pytest.fixture
def seen(app: DramaApp, monkeypatch: pytest.MonkeyPatch) -> DramaApp:
    """The app as on a terminal: under a test's driver every error ends it, so that tests see it."""
    monkeypatch.setattr(DramaApp, "is_headless", property(lambda _: False))
    return app


def told(app: DramaApp) -> list[str]:
    """The toasts."""
    return [notification.message for notification in app._notifications]


async def test_an_error_in_a_key_or_on_a_screen_is_told_and_the_app_goes_on(
    seen: DramaApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a fault in a key's action and one in a screen's own handler a query is still asked and answered."""
    monkeypatch.setattr(DramaApp, "action_help", fail)
    async with seen.run_test() as pilot:
        await until(pilot, lambda: seen.status is not None)
        screen = seen.screen
        assert isinstance(screen, SearchScreen)
        await pilot.press("f1")
        screen.call_later(fail)
        await until(pilot, lambda: len(told(seen)) == 2)
        assert all("BrokenError: something is not" in each and "drama-app.log" in each for each in told(seen))

        screen.bar.input.value = "bread"
        await until(pilot, lambda: screen.results is not None and screen.results.hits)
        assert seen.is_running and screen.is_running


async def test_errors_in_a_loop_end_the_app_with_code_1(seen: DramaApp) -> None:
    """A screen that fails again and again would hold the machine: the app ends, and says so to whoever started it."""
    with pytest.raises(BrokenError):
        async with seen.run_test() as pilot:
            await until(pilot, lambda: seen.status is not None)
            for _ in range(MOST_ERRORS + 1):
                seen.screen.call_later(fail)
            await until(pilot, lambda: not seen.is_running)
    assert seen.return_code == 1


async def test_a_dialog_that_is_covered_ends_when_it_is_shown_again(app: DramaApp) -> None:
    """What was entered is carried out though another screen is looked at, and no other dialog is closed for it."""
    ended: list[object] = []
    async with app.run_test() as pilot:
        await until(pilot, lambda: app.status is not None)
        await pilot.press("f3")
        dialog = AddFolderScreen()
        await app.push_screen(dialog, ended.append)
        await pilot.press("f2")
        await until(pilot, lambda: isinstance(app.screen, SearchScreen))
        dialog.action_leave()
        await pilot.pause()
        assert isinstance(app.screen, SearchScreen)
        await pilot.press("f3")
        await until(pilot, lambda: app.current_mode == "library" and app.screen is not dialog)
        assert ended == [None]


async def test_an_install_that_was_left_says_what_became_of_it(
    app: DramaApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Esc while a folder is copied leaves the dialog; what is open then stays, and a sentence says what was done."""
    go_on = threading.Event()

    def slowly(*_: object) -> str:
        assert go_on.wait(10)
        return str(tmp_path / "mine")

    monkeypatch.setattr("drama_app.switching.install", slowly)
    async with app.run_test() as pilot:
        await until(pilot, lambda: app.status is not None)
        dialog = InstallModelScreen()
        await app.push_screen(dialog)
        dialog.query_one(Input).value = str(tmp_path)
        await pilot.press("enter", "enter", "escape")
        await until(pilot, lambda: app.screen is not dialog)
        await pilot.press("f1")
        await until(pilot, lambda: type(app.screen).__name__ == "HelpScreen")
        go_on.set()
        await until(pilot, lambda: "Installed: mine" in told(app))
        assert type(app.screen).__name__ == "HelpScreen"
        assert told(app).count("Installed: mine") == 1


async def test_a_name_with_control_characters_is_drawn_without_them() -> None:
    """A line that holds the name of a file keeps it exactly, and draws a mark where a terminal would obey."""

    class Shown(App[None]):
        def compose(self):  # type: ignore[no-untyped-def]
            yield CleanInput(value="/a/\x1b]0;owned\x1b\\\u202eb\nc")

    async with Shown().run_test() as pilot:
        field = pilot.app.query_one(CleanInput)
        assert field.value == "/a/\x1b]0;owned\x1b\\\u202eb\nc"
        drawn = "".join(segment.text for segment in field.render_line(0))
        assert "\x1b" not in drawn and "\u202e" not in drawn and "\n" not in drawn and "/a/\ufffd]0;owned" in drawn


async def test_a_full_disk_is_told_where_a_change_was_asked_for(app: DramaApp) -> None:
    """LanceDB tells a full disk by an error of its own kind: the change is told as failed, and the app goes on."""

    def full(_: Library) -> None:
        raise RuntimeError("lance error: No space left on device")

    async with app.run_test() as pilot:
        await until(pilot, lambda: app.status is not None)
        app.change(full, "pause")
        await until(pilot, lambda: any("No space left" in each for each in told(app)))
        assert any(each.startswith("pause: ") for each in told(app))


async def test_leaving_does_not_wait_for_another_program_that_writes(
    app: DramaApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that was to go stays when another drama-app writes for long: the app ends all the same."""
    monkeypatch.setattr("drama_app.tui.removal.LAST_SECONDS", 0.1)
    async with app.run_test() as pilot:
        await until(pilot, lambda: app.library is not None and app.status is not None)
        library = app.library
        assert library is not None
        app.settings.state_folder.mkdir(parents=True, exist_ok=True)
        with WriterLock(app.settings.state_folder / "writer.lock", threading.Event()):
            app.removals.begin(library.roots()[0])
            await pilot.press("ctrl+q")
            await until(pilot, lambda: not app.is_running)
        with pytest.raises(DramaError):
            library.forget(Path("/no/such/place"))


async def test_a_home_folder_of_nobody_is_refused_in_the_dialog(app: DramaApp) -> None:
    """A "~name" that leads nowhere is told where it was typed."""
    async with app.run_test() as pilot:
        await until(pilot, lambda: app.status is not None)
        dialog = AddFolderScreen()
        await app.push_screen(dialog)
        dialog.query_one(Input).value = "~nobody-here/docs"
        await until(pilot, lambda: "there is no such home folder" in str(dialog.query_one("#said").render()))
        assert app.screen is dialog and app.library is not None and len(app.library.roots()) == 1
