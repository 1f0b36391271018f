"""An index that is ready, made once and copied for each test, and an app over it that follows no folder."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from drama_app.config import load_settings
from drama_app.library import Library
from drama_app.tui.app import DramaApp
from drama_app.tui.state import UiState, save_state

NOON = 1_699_963_200  # 2023-11-14 everywhere but near the date line: pictures show dates
HOSTILE = "\x1b]0;owned\x07[red]bread[@click=app.quit].md"
FILES = {
    "recipes/bread.md": "# Baking\n\n## Dough\n\nThe flour and the yeast of bread need time.\n\n## Oven\n\n"
    + "Baking bread needs heat.\n\n" * 3,
    "recipes/copy of bread.md": "",  # filled below: the same bytes
    "travel/train.txt": "The train leaves the station of the city at noon.\n",
    "travel/hafen.txt": "Das Schiff liegt im Hafen, der Zug steht am Bahnhof und wartet auf die Reisenden der Stadt.\n",
    "travel/tea.txt": "绿茶要用八十度的水冲泡，不宜用滚开的水。 bread river\n",
    "travel/water.txt": "الماء أساس الحياة على الأرض والنهر يجري في الوادي. bread river\n",
    "travel/eclair.txt": "Un q\u0301clair se mange avec du pain crq\u0301meux. bread river\n",
    f"odd/{HOSTILE}": "\x1b[31mriver[/red] bread [@click=app.quit]library[/] and the harbour.\n",
}


@pytest.fixture(scope="session")
def ready(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    """A home with an index of some files, beside them in `files`; tests copy the home and leave the files alone."""
    folder = tmp_path_factory.mktemp("ready")
    for name, text in FILES.items():
        path = folder / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text or FILES["recipes/bread.md"], encoding="utf-8")
    for number in range(30):
        text = f"The song number {number} of the music library.\n"
        (folder / "files" / "travel" / f"song{number:02}.txt").write_text(text, encoding="utf-8")
    for path in (folder / "files").rglob("*.*"):
        os.utime(path, (NOON, NOON))
    settings = load_settings(environment={"DRAMA_APP_HOME": str(folder / "home")})
    with Library.open(settings, create=True, retriever=tiny) as library:
        library.add_root(folder / "files")
        library.sync()
    return folder


@pytest.fixture
def files(ready: Path) -> Path:
    """The files that are indexed."""
    return ready / "files"


@pytest.fixture
def app(ready: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> DramaApp:
    """The app over a copy of the index; nothing is followed, so that nothing moves on its own."""
    monkeypatch.setattr("drama_app.tui.indexing.Indexing.start", lambda _: None)
    shutil.copytree(ready / "home", own_home)
    settings = load_settings()
    save_state(settings, UiState(welcomed=True))
    return DramaApp(settings)


async def until(pilot: Pilot[None], condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Waits for something to become true; fails if it does not."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this did not happen in time"
        await pilot.pause(0.01)
