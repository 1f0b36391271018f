"""Makes the pictures of the README: `python -m tests.pictures`, from the sample documents, into assets/pictures."""

import asyncio
import os
import re
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "assets" / "pictures"


async def take() -> None:
    """Runs the app over an index of the samples and saves a picture a screen."""
    from drama_app.config import load_settings
    from drama_app.library import Library
    from drama_app.tui.app import DramaApp
    from drama_app.tui.state import UiState, save_state

    settings = load_settings()
    with Library.open(settings, create=True) as library:
        library.add_root(ROOT / "assets" / "sample")
        library.sync()
    save_state(settings, UiState(welcomed=True))
    app = DramaApp(settings)
    async with app.run_test(size=(120, 34)) as pilot:
        await pilot.pause(2.0)
        await pilot.press(*"how do bees tell others where the nectar is")
        await pilot.pause(2.0)
        await app.workers.wait_for_complete()
        await pilot.pause(1.0)
        save(app.export_screenshot(), "search")
        for key, name in (("f3", "library"), ("f4", "activity"), ("f5", "model"), ("f1", "help")):
            await pilot.press(*(("f2", "tab") if name == "help" else ()), key)  # help over the hits
            await pilot.pause(0.5)
            await app.workers.wait_for_complete()  # on a busy machine a retriever takes seconds to be read
            await pilot.pause(0.5)
            save(app.export_screenshot(), name)


def save(svg: str, name: str) -> None:
    """Writes a picture without the web font that Textual links: nothing is fetched by who looks at it."""
    FOLDER.mkdir(exist_ok=True)
    text = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    # Where the clone lies on this machine is nobody's business; without its set width the rest of the line moves up.
    for place, shown in ((str(ROOT), "~/drama"), (os.environ["DRAMA_APP_HOME"] + "/config", "~/.config/drama-app")):
        text = re.sub(r' textLength="[^"]*"([^>]*>[^<]*' + re.escape(place) + ")", r"\1", text)
        text = text.replace(place, shown)
    (FOLDER / f"{name}.svg").write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n", encoding="utf-8")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        os.environ["DRAMA_APP_HOME"] = home
        asyncio.run(take())
