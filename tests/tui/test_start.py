"""The process around the app: what is there at the first paint, where stderr goes, how it is left."""

import os
import select
import signal
import subprocess
import sys
import threading
import time

import pytest
from textual.widgets import Input

from drama_app.cli import main
from drama_app.config import Settings
from drama_app.records import Progress
from drama_app.tui.app import DramaApp
from drama_app.tui.start import stderr_to_log
from drama_app.tui.state import UiState, save_state
from tests.tui.conftest import until


def test_native_stderr_goes_to_the_log(settings: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    """What a library writes to file descriptor 2 reaches the log file, never the terminal."""
    with stderr_to_log(settings):
        os.write(2, b"a warning of a native library\n")
        subprocess.run([sys.executable, "-c", "import sys; sys.stderr.write('of a child')"], check=True)
    os.write(2, b"afterwards")

    assert "a warning of a native library\nof a child" in settings.log_file.read_text()
    assert capfd.readouterr().err == "afterwards"


def test_the_log_is_readable_by_its_owner_only(settings: Settings) -> None:
    """The log names files; nobody else may read it."""
    with stderr_to_log(settings):
        pass

    assert settings.log_file.stat().st_mode & 0o077 == 0


def test_without_a_terminal_the_ui_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    """In a pipe `drama-app` names the verbs and leaves with 2."""
    assert main([]) == 2
    assert "drama-app index FOLDER" in capsys.readouterr().err


async def test_leaving_while_indexing_runs_says_what_it_waits_for(app: DramaApp) -> None:
    """The wait for the file at hand is told at once, and the UI lives until it is over."""
    written = threading.Event()

    class Slow:
        def close(self, *, seconds: float = 5.0) -> None:
            written.wait(seconds)

    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: app.library is not None)
        app._indexing = Slow()  # type: ignore[assignment]
        app.progress = Progress("index")
        await pilot.press("ctrl+q")
        await until(pilot, lambda: any("Stopping" in each.message for each in app._notifications))
        assert app.is_running
        written.set()
        await until(pilot, lambda: not app.is_running)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has neither signal")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_kill_keeps_the_state_and_restores_the_terminal(name: str, settings: Settings) -> None:
    """The real program, told to end, leaves the alternate screen and has kept what is worth keeping."""
    import pty

    save_state(settings, UiState(mode="keywords", welcomed=True))
    state = settings.state_folder / "ui.json"
    before = state.stat().st_mtime_ns
    terminal, line = pty.openpty()
    program = subprocess.Popen(
        [sys.executable, "-m", "drama_app"], stdin=line, stdout=line, stderr=line, start_new_session=True,
        env=os.environ | {"TERM": "xterm-256color"},
    )  # fmt: skip
    os.close(line)
    drawn, killed, end = b"", False, time.monotonic() + 30
    while time.monotonic() < end:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                drawn += os.read(terminal, 1 << 16)
            except OSError:  # Linux: the other end is closed
                break
        elif b"Palette" in drawn and not killed:  # drawn, and still: the handlers are in place
            program.send_signal(getattr(signal, name))
            killed = True
    os.close(terminal)
    try:
        assert (killed, program.wait(10)) == (True, 1)
    finally:
        program.kill()
    assert b"\x1b[?1049h" in drawn and drawn.rindex(b"\x1b[?1049l") > drawn.rindex(b"\x1b[?1049h")
    assert state.stat().st_mtime_ns > before and '"keywords"' in state.read_text()


async def test_the_search_and_the_last_theme_are_there_at_the_first_paint(settings: Settings) -> None:
    """The kept theme is not put on after another one was shown."""
    save_state(settings, UiState(theme="drama-light", welcomed=True))
    app = DramaApp(settings)
    assert (app.current_mode, app.theme) == ("search", "drama-light")
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: app.opened)
        assert app.has_class("-light-mode") and not app.has_class("-dark-mode")
        assert [type(screen).__name__ for screen in app.screen_stack] == ["SearchScreen"]


@pytest.mark.parametrize(("key", "mode"), [("f3", "library"), ("f4", "activity")])
async def test_a_query_typed_after_the_start_is_a_query(app: DramaApp, key: str, mode: str) -> None:
    """Wherever the app was left, it starts in the search: what is typed there first must not be taken as commands."""
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press(key)
        await until(pilot, lambda: app.current_mode == mode)
        await pilot.press("ctrl+q")
    again = DramaApp(app.settings)
    async with again.run_test(size=(100, 30)) as pilot:
        await pilot.press(*"a dad")
        await until(pilot, lambda: again.screen.query_one(Input).value == "a dad")
        assert again.current_mode == "search"
