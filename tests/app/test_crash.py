"""A run that is killed at any moment: nothing finished is lost, nothing half shows, nothing is doubled."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from drama_app.config import Settings
from drama_app.library import Library

KILLS = 50
SCRIPT = """
import sys
from pathlib import Path
from drama_app.config import load_settings
from drama_app.library import Library
with Library.open(load_settings(), create=True, retriever=Path(sys.argv[2])) as library:
    library.add_root(Path(sys.argv[1]))
    print("ready", flush=True)
    library.sync()
"""


def write(folder: Path, name: str, rng: random.Random) -> None:
    """A file of one to some thousand sentences, each with a word of its own to search by."""
    sentences = rng.choice([1, 3, 40, 400])
    text = " ".join(
        f"Sentence {rng.randrange(10**9)} of {name} tells about {rng.choice('abcdefgh') * 5}." for _ in range(sentences)
    )
    (folder / name).write_text(text, encoding="utf-8")


def change(folder: Path, rng: random.Random) -> None:
    """Adds, rewrites, renames or deletes a few files."""
    for _ in range(rng.randrange(1, 6)):
        files = sorted(folder.iterdir())
        action = rng.choice(["add", "add", "rewrite", "rename", "delete"])
        if action == "add" or len(files) < 5:
            write(folder, f"file{rng.randrange(10**6)}.txt", rng)
        elif action == "rewrite":
            write(folder, rng.choice(files).name, rng)
        elif action == "rename":
            rng.choice(files).rename(folder / f"moved{rng.randrange(10**6)}.txt")
        else:
            rng.choice(files).unlink()


def run_and_kill(folder: Path, retriever: Path, delay: float) -> None:
    """Starts an index run in a process of its own and kills it `delay` seconds after it began to write."""
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder), str(retriever)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


def assert_consistent(library: Library) -> None:
    """Every visible document has exactly its passages, each once, and every indexed file has a document."""
    manifest, store = library._manifest, library._store
    visible, stored = manifest.visible(), store.counts()
    assert {number: stored.get(number, 0) for number in visible} == visible
    for number, passages in visible.items():
        ordinals = [row.passage.ordinal for row in store.document_passages(number, vectors=False)]
        assert ordinals == list(range(passages))
    for row in manifest.files():
        assert row.status != "indexed" or row.document in visible


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_kill_at_random_moments_loses_nothing(tmp_path: Path, settings: Settings, tiny: Path) -> None:
    """After 50 kills at random moments of indexing and updating, one run brings exactly what is on disk."""
    rng = random.Random(20)
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(60):
        write(folder, f"file{number}.txt", rng)
    finished: set[bytes] = set()
    for _ in range(KILLS):
        run_and_kill(folder, tiny, rng.uniform(0.0, 0.6))
        with Library.open(settings) as library:
            if library._manifest.get("table"):
                assert_consistent(library)
            now = {os.fsencode(row.path) for row in library._manifest.files() if row.status == "indexed"}
        on_disk = {os.fsencode(path) for path in folder.iterdir()}
        assert finished & on_disk <= now, "a finished document was lost"
        finished = now
        change(folder, rng)
        finished &= {os.fsencode(path) for path in folder.iterdir()}

    with Library.open(settings) as library:
        report = library.sync()
        assert not report.failed
        assert {row.path for row in library._manifest.files()} == set(folder.iterdir())
        assert_consistent(library)
        assert library._store.counts().keys() == library._manifest.visible().keys(), "rows of a dead document remain"
        for path in folder.iterdir():
            word = path.read_text(encoding="utf-8").split()[1]
            hits = library.search(f'"{word}"', mode="keywords", limit=3).hits
            assert path in {each for hit in hits for each in (hit.path, *hit.copies)}
