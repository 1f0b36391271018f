"""Pictures of the screens against those that were approved; `pytest --snapshot-update` approves new ones.

The world is frozen: dates of the files, the place they are seen from, the time that a search took, the cursor.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from drama_app.config import load_settings
from drama_app.library import Library
from drama_app.records import Results, Skipped
from drama_app.tui.app import DramaApp
from drama_app.tui.screens.search import SearchScreen
from drama_app.tui.state import UiState, save_state
from tests.tui.conftest import until

Prepare = Callable[[Pilot[None]], Awaitable[None]]


@pytest.fixture(autouse=True)
def frozen(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths are relative, searches take 12 ms."""
    monkeypatch.chdir(files)
    monkeypatch.setenv("HOME", str(files.parent))
    search = Library.search

    def timed(*arguments: Any, **options: Any) -> Results:
        return replace(search(*arguments, **options), seconds=0.012)

    monkeypatch.setattr(Library, "search", timed)


def asking(query: str, *keys: str) -> Prepare:
    """Types a query, waits for its hits and the document beside them, presses keys."""

    async def prepare(pilot: Pilot[None]) -> None:
        screen = pilot.app.screen
        assert isinstance(screen, SearchScreen)
        await until(pilot, lambda: screen.drama.library is not None and screen.drama.status is not None)
        screen.query_one("#query", Input).cursor_blink = False
        screen.query_one("#query", Input).value = query
        await until(pilot, lambda: screen.results is not None and not screen.is_waiting)
        await until(pilot, lambda: screen.preview.document is not None and screen.preview.document.passages)
        if keys:
            await pilot.press(*keys)
        await pilot.pause(0.8)  # the sentences are marked

    return prepare


def test_wide(app: DramaApp, snap_compare: Any) -> None:
    """Hits and the document stand side by side."""
    assert snap_compare(app, terminal_size=(120, 32), run_before=asking("baking bread"))


def test_narrow(app: DramaApp, snap_compare: Any) -> None:
    """At 80x24 the document stands below the hits."""
    assert snap_compare(app, terminal_size=(80, 24), run_before=asking("train of the city"))


def test_light_with_scripts_of_two_widths_and_directions(app: DramaApp, snap_compare: Any) -> None:
    """Chinese, Arabic and combining marks keep the columns; names and texts that mean harm are shown as text."""
    light = DramaApp(replace(app.settings, theme="light"))
    assert snap_compare(light, terminal_size=(110, 30), run_before=asking("bread river", "down"))


def test_no_index(own_home: Path, snap_compare: Any) -> None:
    """Without an index the screen teaches what to do."""
    settings = load_settings({"theme": "contrast"})
    save_state(settings, UiState(welcomed=True))

    async def prepare(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, DramaApp)
        await until(pilot, lambda: app.opened)
        app.screen.query_one("#query", Input).cursor_blink = False
        await pilot.pause(0.2)

    assert snap_compare(DramaApp(settings), terminal_size=(90, 24), run_before=prepare)


def test_failures(app: DramaApp, snap_compare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Failed files stand with their reasons, names cleaned."""
    status, failed = Library.status, tuple(Skipped(Path(f"/a/{name}"), why) for name, why in FAILED)
    monkeypatch.setattr(Library, "status", lambda library: replace(status(library), failed=failed))

    async def prepare(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.status is not None)
        await pilot.press("f4")
        app.screen.query_one("#log-note").display = False  # it names the test's own folder
        await pilot.pause(0.5)

    assert snap_compare(app, terminal_size=(100, 24), run_before=prepare)


FAILED = [
    ("scan.pdf", "scanned: no text layer (3 pages)"),
    ("[red]x\x1b[31m.pdf", "encrypted: needs a password"),
    ("报告.docx", "damaged Word document: its zip container is cut off or broken"),
]
