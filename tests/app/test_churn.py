"""A thousand file operations while the index is watched: then it equals the disk."""

import random
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from drama_app.config import Settings
from drama_app.library import Library

OPERATIONS = 1000


def on_disk(folder: Path) -> dict[Path, str]:
    """Every file below the folder with its text."""
    return {path: path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.is_file()}


def in_index(library: Library) -> dict[Path, str]:
    """Every indexed file with the text of its passages."""
    found = {}
    for row in library._manifest.files():
        assert row.status == "indexed", f"{row.path}: {row.reason}"
        assert row.document is not None
        passages = library._store.document_passages(row.document, vectors=False)
        found[row.path] = " ".join(each.passage.text for each in passages)
    return found


def churn(folder: Path, rng: random.Random, number: int) -> None:
    """One random operation such as people, editors and programs make."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    folders = sorted(path for path in folder.rglob("*") if path.is_dir())
    where = rng.choice([folder, *folders])
    text = f"note {number} about {rng.choice(['bees', 'bridges', 'bread', 'rent'])}"
    action = rng.choice(["add"] * 4 + ["rewrite", "append", "replace", "rename", "delete", "delete", "copy", "mkdir",
                        "move folder", "remove folder"])  # fmt: skip
    if action == "mkdir":
        (where / f"folder{number}").mkdir()
    elif action == "add" or not files:
        (where / f"note{number}.txt").write_text(text, encoding="utf-8")
    elif action == "rewrite":
        rng.choice(files).write_text(text, encoding="utf-8")
    elif action == "append":
        with rng.choice(files).open("a", encoding="utf-8") as file:
            file.write(f" and {text}")
    elif action == "replace":  # what editors do
        beside = where / f"note{number}.txt.swap"
        beside.write_text(text, encoding="utf-8")
        beside.replace(rng.choice(files))
    elif action == "rename":
        rng.choice(files).rename(where / f"renamed{number}.txt")
    elif action == "copy":
        shutil.copy2(rng.choice(files), where / f"copy{number}.txt")
    elif action == "delete":
        rng.choice(files).unlink()
    elif folders:
        one = rng.choice(folders)
        if action == "remove folder" and len(list(one.rglob("*"))) < 12:
            shutil.rmtree(one)
        elif one not in (where, *where.parents):
            one.rename(where / f"moved{number}")


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether the condition came true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.2)
    return condition()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_index_equals_disk_after_a_thousand_operations(tmp_path: Path, settings: Settings, tiny: Path) -> None:
    """Creates, edits, renames, moves, copies and deletes under `watch` end in an index equal to the disk."""
    rng = random.Random(5)
    folder = tmp_path / "files"
    folder.mkdir()
    stop, failures = threading.Event(), list[BaseException]()
    with Library.open(settings, create=True, retriever=tiny) as library:
        library.add_root(folder)

        def run() -> None:
            try:
                library.watch(on_report=lambda report: None, on_state=lambda line: None, stop=stop)
            except BaseException as error:
                failures.append(error)

        watcher = threading.Thread(target=run)
        watcher.start()
        try:
            for number in range(OPERATIONS):
                churn(folder, rng, number)
                time.sleep(rng.choice([0, 0, 0, 0.01, 0.05]))
            same = wait_until(lambda: bool(failures) or in_index(library) == on_disk(folder), seconds=60)
        finally:
            stop.set()
            watcher.join()
        assert not failures
        assert same, set(in_index(library).items()) ^ set(on_disk(folder).items())
        assert len(on_disk(folder)) > 100
