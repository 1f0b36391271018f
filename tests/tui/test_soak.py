"""Use at random for a while: keys, sizes, files that come and go under the app.

DRAMA_SOAK_SECONDS sets how long; for an hour, with the memory told every minute:
`DRAMA_SOAK_SECONDS=3600 pytest tests/tui/test_soak.py --log-cli-level=INFO`.
"""

import gc
import logging
import os
import random
import time
from pathlib import Path

import pytest
from textual.pilot import Pilot

from drama_app.config import load_settings
from drama_app.library import Library
from drama_app.tui.app import DramaApp

log = logging.getLogger(__name__)

SECONDS = float(os.environ.get("DRAMA_SOAK_SECONDS", "15"))
SLACK_SECONDS = 180.0  # to start, to finish what is being indexed and to leave
GROWTH_MB = 60.0
WORDS = ["bees", "Brücke", "蜜蜂", "нектар", "الماء", "castle", "“quoted words”", "zx-42", "e\u0301clair"]
KEYS = [
    "up",
    "down",
    "pageup",
    "pagedown",
    "home",
    "end",
    "tab",
    "shift+tab",
    "enter",
    "escape",
    "f1",
    "f2",
    "f3",
    "f4",
    "f5",
    "f6",
    "f7",
    "f8",
    "ctrl+g",
    "n",
    "m",
    "w",
    "space",
    "backspace",
    "ctrl+u",
    "question_mark",
    "left",
    "right",
]


def write_file(folder: Path, chance: random.Random) -> None:
    """A file of random words, or a change of one that is there."""
    text = "\n\n".join(" ".join(chance.choices(WORDS, k=60)) for _ in range(chance.randint(1, 8)))
    (folder / f"{chance.randint(0, 30)}.md").write_text(f"# {chance.choice(WORDS)}\n\n{text}\n", encoding="utf-8")


def measure_memory() -> float:
    """Resident memory of this process in MB."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


async def act(pilot: Pilot[None], folder: Path, chance: random.Random) -> None:
    """One random thing that a person or the disk may do."""
    match chance.randint(0, 9):
        case 0:
            write_file(folder, chance)
        case 1:
            for path in list(folder.iterdir())[:1]:
                path.unlink(missing_ok=True)
        case 2:
            await pilot.resize_terminal(chance.choice([40, 80, 120, 200]), chance.choice([10, 24, 50]))
        case 3 | 4:
            await pilot.press(*chance.choice(["bees", "castle", "nectar"]))
        case _:
            await pilot.press(chance.choice(KEYS))


@pytest.mark.timeout(SECONDS + SLACK_SECONDS)
async def test_random_use_neither_fails_nor_grows(own_home: Path, tmp_path: Path, tiny: Path, monkeypatch) -> None:
    """Keys, resizes, new and vanishing files in any order raise nothing, and memory stays flat."""
    monkeypatch.setattr("drama_app.tui.opening.open_file", lambda *_: "opened")
    # A switch to the shipped retriever and back leaves 60 to 180 MB with the allocator, at whichever minute it comes.
    monkeypatch.setattr(DramaApp, "use_retriever", lambda *_: None)
    folder, chance = tmp_path / "files", random.Random(5)
    folder.mkdir()
    for _ in range(12):
        write_file(folder, chance)
    settings = load_settings({"retriever": tiny, "settle_seconds": 0.1})
    with Library.open(settings, create=True) as library:
        library.add_root(folder)
        library.sync()
    app = DramaApp(settings)
    async with app.run_test(size=(120, 40)) as pilot:
        begun, warm, minute = time.monotonic(), 0.0, 0
        while (passed := time.monotonic() - begun) < SECONDS:
            await act(pilot, folder, chance)
            if passed >= minute * 60:
                log.info("minute %d: %.0f MB", minute, measure_memory())
                minute += 1
            if not warm and passed > SECONDS / 2:
                gc.collect()
                warm = measure_memory()
        gc.collect()
        grown = measure_memory() - warm

    assert app.return_code in (None, 0)
    assert grown < GROWTH_MB
