"""Changing the retriever of an index: every stored passage is embedded again into a table of its own.

The old table answers until the new one is complete, and stays afterwards, so that one step back costs only what
changed since. Text comes from the store, not from the files: nothing is extracted again. A stopped or killed switch
goes on where it was.
"""

import logging
import shutil
import threading
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from drama_app.chunk import embedded_text
from drama_app.config import Settings, make_private
from drama_app.embed import Encoder, open_retriever
from drama_app.errors import DramaError, IndexDamagedError, Interrupted, RetrieverError, UsageError
from drama_app.manifest import Manifest
from drama_app.passage_table import is_made
from drama_app.records import SOME_PASSAGES, Passage, Progress
from drama_app.retriever import Retriever, default_retriever_folder, open_retriever_folder
from drama_app.store import PassageStore

if TYPE_CHECKING:
    from drama_app.embed import Vectors

log = logging.getLogger(__name__)

Batch = list[tuple[int, str, list[Passage]]]
"""Documents by number, with title and passages."""

SHIPPED = "shipped"
"""Stands for the retriever inside the package, wherever that is installed."""

_KEYS = ("fingerprint", "retriever_name", "retriever_folder", "dim", "table")
_BATCH = 256  # passages: a window to sort by length in, and a write of a fifth of a megabyte


def settings_of(retriever: Retriever, folder: str) -> dict[str, str]:
    """What the manifest keeps of the retriever in use; `folder` may be `SHIPPED`."""
    return {
        "fingerprint": retriever.fingerprint,
        "retriever_name": f"{retriever.name} {retriever.version}",
        "retriever_folder": folder,
        "dim": str(retriever.default_dim),
        "table": f"passages_{_short(retriever)}",
    }


def folder_of(name: str) -> Path:
    """The folder that the manifest names."""
    return default_retriever_folder() if name == SHIPPED else Path(name)


def choose(manifest: Manifest, settings: Settings, folder: Path | None) -> None:
    """Settles the retriever of a new index; None is the shipped one.

    Raises:
        RetrieverError: the folder was refused, or holds another one than that of an index that has its own.
    """
    fingerprint = manifest.get("fingerprint")
    if fingerprint and folder is None:
        return
    retriever = open_retriever_folder(folder or default_retriever_folder())
    if fingerprint and fingerprint != retriever.fingerprint:
        raise RetrieverError(
            f"the index is filled by {manifest.get('retriever_name')}, not by {retriever.name} "
            f"{retriever.version}: run `drama-app model use {folder}` to change it"
        )
    if not fingerprint:
        manifest.put(**settings_of(retriever, install(settings, folder) if folder else SHIPPED))


def install(settings: Settings, folder: Path) -> str:
    """Copies a retriever folder into the app's own data, unless it is there whole or shipped; returns its name there.

    Raises:
        RetrieverError: the folder was refused.
    """
    retriever = open_retriever_folder(folder)
    shipped = default_retriever_folder()
    if folder.resolve() == shipped.resolve() or retriever.fingerprint == open_retriever_folder(shipped).fingerprint:
        return SHIPPED
    home = settings.data_folder / "retrievers"
    target = home / f"{retriever.name}-{retriever.version}-{_short(retriever)}"
    if not _holds(target, retriever.fingerprint):
        partial = make_private(home) / f".{target.name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(folder, partial)
        shutil.rmtree(target, ignore_errors=True)  # damaged: the good folder is named to mend it
        partial.rename(target)  # a folder is there whole or not at all
    return str(target)


def list_retrievers(settings: Settings) -> tuple[list[Retriever], list[str]]:
    """The shipped retriever and those that are installed, not those left half copied; and why some do not open."""
    found, faults = [open_retriever_folder(default_retriever_folder())], []
    for place in sorted((settings.data_folder / "retrievers").glob("[!.]*/retriever.json")):
        try:
            found.append(open_retriever_folder(place.parent))
        except DramaError as error:  # one that is damaged must not hide the others
            faults.append(str(error))
    return found, faults


def switch(
    manifest: Manifest,
    settings: Settings,
    folder: Path | None,
    *,
    on_progress: Callable[[Progress], None] | None,
    stop: threading.Event,
) -> str:
    """Fills the table of another retriever and makes it the one in use; returns its name and version.

    Args:
        manifest: Of an index that may be empty.
        settings: Where retrievers are installed.
        folder: The retriever; None is the one before.
        on_progress: Called after every document.
        stop: Set it to stop.

    Raises:
        Interrupted: `stop` was set; the retriever in use is the old one.
        UsageError: there is no step back, or nothing to change.
    """
    if folder is None:
        wanted = _previous(manifest)
    else:
        wanted = settings_of(open_retriever_folder(folder), install(settings, folder))
    if wanted["fingerprint"] == manifest.get("fingerprint"):
        raise UsageError(f"{wanted['retriever_name']} is in use already")
    _fill(manifest, settings, wanted, on_progress or (lambda _: None), stop)
    # No step leads back to a retriever that is gone: a new version of drama ships another one in the same place.
    is_there = _is_there(manifest)
    previous = {f"previous_{key}": manifest.get(key) if is_there else "" for key in _KEYS}
    manifest.put(**wanted, **previous)
    remove_elsewhere(manifest, settings, ())
    return wanted["retriever_name"]


def remove_elsewhere(manifest: Manifest, settings: Settings, documents: Collection[int]) -> None:
    """Removes documents from the table of the retriever before, and whole tables that no step leads back to.

    What a person forgets must not stay on disk for the sake of a retriever that is not in use.
    """
    folder = settings.data_folder / "index" / "passages"
    kept = {manifest.get("table"), manifest.get("previous_table")}
    for table in folder.glob("passages_*.lance"):
        if table.stem not in kept:  # of an earlier retriever, or of a switch that was never finished
            shutil.rmtree(table, ignore_errors=True)
    if previous := remove_from_previous(manifest, settings, documents):
        previous.tidy(for_good=True)


def remove_from_previous(manifest: Manifest, settings: Settings, documents: Collection[int]) -> PassageStore | None:
    """Removes documents from the table of the retriever before; that table, if it held one of them."""
    folder, table = settings.data_folder / "index" / "passages", manifest.get("previous_table")
    if not documents or not table or table == manifest.get("table") or not is_made(folder / f"{table}.lance"):
        return None
    try:
        store = PassageStore.open(folder, dim=int(manifest.get("previous_dim")), table=table)
    except IndexDamagedError as error:  # nobody can step back to it, and the index in use is whole
        log.warning("The table of the retriever before is damaged and removed: %s", error)
        shutil.rmtree(folder / f"{table}.lance", ignore_errors=True)
        manifest.put(**{f"previous_{key}": "" for key in _KEYS})
        return None
    held = store.document_ids().intersection(documents)  # to remove nothing makes one more version
    store.remove(held)
    return store if held else None


def _is_there(manifest: Manifest) -> bool:
    """Whether the retriever in use is still where it was."""
    return _holds(folder_of(manifest.get("retriever_folder", SHIPPED)), manifest.get("fingerprint"))


def _holds(folder: Path, fingerprint: str) -> bool:
    """Whether the folder holds this retriever, whole."""
    try:
        return open_retriever_folder(folder).fingerprint == fingerprint
    except DramaError:
        return False


def _previous(manifest: Manifest) -> dict[str, str]:
    previous = {key: manifest.get(f"previous_{key}") for key in _KEYS}
    if not previous["fingerprint"]:
        raise UsageError("there is no earlier retriever to go back to")
    return previous


def _fill(
    manifest: Manifest,
    settings: Settings,
    wanted: dict[str, str],
    on_progress: Callable[[Progress], None],
    stop: threading.Event,
) -> None:
    """Makes the wanted retriever's table hold what the present one holds, embedding only what it lacks."""
    encoder = _open(wanted, settings)
    visible = manifest.visible()
    if not visible:
        return
    store_folder = settings.data_folder / "index" / "passages"
    source = PassageStore.open(store_folder, dim=int(manifest.get("dim")), table=manifest.get("table"))
    target = PassageStore.open(store_folder, dim=int(wanted["dim"]), table=wanted["table"])
    stored = target.counts()
    target.remove([number for number, passages in stored.items() if visible.get(number) != passages])
    missing = [number for number, passages in visible.items() if passages and stored.get(number) != passages]
    started, done, passages = time.monotonic(), 0, 0
    for batch in _batches(manifest, source, missing):
        if stop.is_set():
            raise Interrupted("stopped; run the same command again to go on, searches use the old retriever till then")
        rows = list(_embed(encoder, batch))
        target.add_many(rows)
        done, passages = done + len(batch), passages + sum(len(group) for _, group, _ in rows)
        spent = time.monotonic() - started
        on_progress(
            Progress(
                "index",
                files_done=done,
                files_total=len(missing),
                passages=passages,
                passages_per_second=passages / spent,
                seconds_left=spent / done * (len(missing) - done),
            )
        )
    if passages >= SOME_PASSAGES:
        manifest.put(passages_per_second=f"{passages / (time.monotonic() - started):.2f}")  # the next estimate's
    target.tidy(force=True)


def _open(wanted: dict[str, str], settings: Settings) -> Encoder:
    """The wanted retriever, as it was when it was chosen."""
    folder = folder_of(wanted["retriever_folder"])
    encoder = open_retriever(folder, dim=int(wanted["dim"]), threads=settings.threads or None)
    if encoder.fingerprint != wanted["fingerprint"]:
        raise RetrieverError(f"{wanted['retriever_folder']} no longer holds {wanted['retriever_name']}")
    return encoder


def _embed(encoder: Encoder, batch: Batch) -> "Iterator[tuple[int, list[Passage], Vectors]]":
    """Each document's passages with their vectors [passages, dim]."""
    vectors = encoder.encode_passages([embedded_text(title, passage) for _, title, group in batch for passage in group])
    offset = 0
    for number, _, group in batch:
        yield number, group, vectors[offset : offset + len(group)]
        offset += len(group)


def _batches(manifest: Manifest, source: PassageStore, numbers: list[int]) -> Iterator[Batch]:
    """Documents with titles and passages, about `_BATCH` passages at a time; no document is split."""
    batch: Batch = []
    size = 0
    for number in numbers:
        group = [row.passage for row in source.document_passages(number, vectors=False)]
        batch.append((number, manifest.title_of(number), group))
        size += len(group)
        if size >= _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _short(retriever: Retriever) -> str:
    return retriever.fingerprint.rpartition(":")[2][:12]
