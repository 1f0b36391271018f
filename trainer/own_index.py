"""Owns the way from the app's index to texts for training: what a person has indexed is what a retriever can learn.

It reads the passages as they were cut and changes nothing in the index.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from drama_app.config import load_settings
from drama_app.errors import NoIndexError
from drama_app.manifest import Manifest
from drama_app.store import PassageStore


def write_index_texts(out: Path) -> int:
    """Write every visible passage of the app's index as a row that `build_corpus` reads; returns how many.

    Raises:
        NoIndexError: Nothing is indexed.
    """
    count = 0
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", encoding="utf-8") as stream:
        for row in _iterate_rows():
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    if not count:
        raise NoIndexError("the app's index holds no passage; index a folder first: drama-app index FOLDER")
    return count


def count_index_passages() -> int:
    """How many passages the app's index holds, 0 without one."""
    manifest = _open_manifest()
    return manifest.counts()[1] if manifest else 0


def _open_manifest() -> Manifest | None:
    path = load_settings().data_folder / "index" / "manifest.db"
    return Manifest(path) if path.is_file() else None


def _iterate_rows() -> Iterator[dict[str, str]]:
    manifest = _open_manifest()
    if manifest is None or not manifest.get("dim"):
        return
    folder = load_settings().data_folder / "index" / "passages"
    store = PassageStore.open(folder, dim=int(manifest.get("dim")), table=manifest.get("table"), create=False)
    visible = sorted(manifest.visible())
    titles = {number: row.title for number, row in manifest.documents(visible).items()}
    for number in visible:
        for stored in store.document_passages(number, vectors=False):
            passage = stored.passage
            title = "\n".join(
                part for part in (titles.get(number, ""), passage.heading) if part
            )  # as the app embeds it
            yield {
                "text": passage.text, "title": title, "lang": passage.language, "source": "index",
                "document": f"document {number}",
            }  # fmt: skip
