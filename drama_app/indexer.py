"""One sync: what is on disk against what the manifest knows, then only the difference.

Shared by `drama-app index` (every root) and by the watcher (some paths). Removes first what is gone, so that no search
shows it, but keeps the content of vanished files until the end: a moved file finds its passages there.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from drama_app.config import Settings
from drama_app.database import READERS
from drama_app.embed import Encoder
from drama_app.errors import UsageError
from drama_app.extract.pool import ExtractionPool
from drama_app.ignore import IgnoreRules
from drama_app.manifest import FileRow, Manifest, now_ns
from drama_app.mounts import MountFinder, describe_away, find_away, forget_mounts, keep_mounts
from drama_app.pipeline import Pipeline, Tally
from drama_app.records import SOME_PASSAGES, Progress, Skipped, SyncReport
from drama_app.roots import followed_roots, rules_for
from drama_app.scan import (
    Found,
    Known,
    folder_is_there,
    is_behind_link,
    is_gone,
    is_there,
    merge_roots,
    needs_check,
    root_is_gone,
    scan,
)
from drama_app.store import PassageStore
from drama_app.switching import remove_from_previous

log = logging.getLogger(__name__)

SETTLE_SECONDS = 0.5  # how long a file that changed while it was read is left alone before it is read again


@dataclass(slots=True)
class Survey:
    """The difference between disk and manifest."""

    to_check: dict[Path, Found] = field(default_factory=dict)
    gone: set[Path] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    roots: list[Path] = field(default_factory=list)
    """Roots that were walked whole; up to date when all that was found is indexed."""


def sync(
    manifest: Manifest,
    store: PassageStore,
    encoder: Callable[[], Encoder],
    settings: Settings,
    *,
    changed: Collection[Path] | None,
    on_progress: Callable[[Progress], None],
    stop: threading.Event,
) -> SyncReport:
    """Brings the index in line with the disk. The caller holds the writer's lock.

    Args:
        manifest: What is known.
        store: The passages of the retriever in use.
        encoder: Opens the retriever; not called if there is nothing to embed.
        settings: Limits and ignore rules.
        changed: Files and folders to look at; None looks at every root.
        on_progress: Called about ten times a second.
        stop: When set, what is finished is kept and the report says `stopped`.
    """
    started = time.monotonic()
    on_progress(Progress("scan"))
    store.refresh()  # another process may have written since: its documents would look like lost ones
    roots = followed_roots(manifest, settings)
    if changed is None or not set(roots).isdisjoint(changed):
        _heal(manifest, store)
    survey = _survey_paths(manifest, settings, roots if changed is None else changed, stop)
    gone_documents = _remove_gone(manifest, survey.gone)
    files = sorted(survey.to_check.values(), key=lambda found: (found.size, found.path))  # first results early
    pipeline = _run_pipeline(manifest, store, encoder, settings, files, gone_documents, on_progress, stop)
    if not stop.is_set():  # what an interrupted run leaves is invisible, and spares the next one its encoding
        on_progress(Progress("tidy", files_done=len(files), files_total=len(files)))
        remove_from_previous(manifest, settings, remove_orphans(manifest, store))
        store.tidy()
        for root in survey.roots:
            manifest.mark_root(root, state="ok", device=None, synced=time.time())
    report = _report(manifest, survey, pipeline.tally, _failed(manifest, changed))
    looked_at = None if changed is None else tuple(changed)
    return replace(report, seconds=time.monotonic() - started, stopped=stop.is_set(), looked_at=looked_at)


def _report(manifest: Manifest, survey: Survey, tally: Tally, failed: tuple[Skipped, ...]) -> SyncReport:
    """What a sync has found and done."""
    documents, passages = manifest.counts()
    rate = tally.embedded / tally.embedding_seconds if tally.embedded >= SOME_PASSAGES else 0.0
    return SyncReport(
        documents=documents,
        passages=passages,
        added=tally.added,
        changed=tally.changed,
        removed=max(0, len(survey.gone) - tally.moved),
        moved=tally.moved,
        failed=failed,
        passed_over=tally.passed_over,
        seconds=0.0,
        notes=(
            *survey.notes,
            *(f"{path} keeps changing: it is read when it rests" for path in tally.unsettled),
            *_tell_kept("that changed", tally.kept),
        ),
        embedded_per_second=rate,
    )


def _tell_kept(which: str, kept: Sequence[Skipped]) -> list[str]:
    """A note on files that the system would not give just now: thousands of them are one sentence."""
    if not kept:
        return []
    files, example = f"{len(kept):,} file{'s' * (len(kept) > 1)}", f"{kept[0].path}: {kept[0].reason}"
    return [f"{files} {which} cannot be read just now; what is indexed stays searchable ({example})"]


def _failed(manifest: Manifest, below: Collection[Path] | None) -> tuple[Skipped, ...]:
    """The files without text at and below some paths; None means everywhere."""
    failed = manifest.skipped("failed")
    if below is None:
        return failed
    wanted = set(below)
    return tuple(each for each in failed if not wanted.isdisjoint((each.path, *each.path.parents)))


def forget_reading(manifest: Manifest, encoder: Callable[[], Encoder], below: Collection[Path]) -> int:
    """Lets the next whole sync read files again that have not changed, and their copies elsewhere; returns how many.

    Until then they are found as they were. Passages that stay the same keep their vectors. What cannot be read now
    stays as it is, with its copies: a drive that is unplugged, a folder that is paused.

    Args:
        manifest: Of the index.
        encoder: Opens the retriever: without it nothing could be read to the end.
        below: Files, and folders of files; empty is all.

    Raises:
        RetrieverError: the retriever is gone.
    """
    encoder()
    chosen, paused = set(below), {row.path for row in manifest.roots() if row.state == "paused"}
    every = list(manifest.files())
    away = {row.path for row in every if not paused.isdisjoint(row.path.parents) or not is_there(row.path)}
    spared = {row.document for row in every if row.path in away} - {None}
    rows = [
        row for row in every
        if (not chosen or not chosen.isdisjoint((row.path, *row.path.parents)))
        and row.path not in away and row.document not in spared
    ]  # fmt: skip
    with manifest.transaction():
        manifest.supersede(list({row.document for row in rows if row.document is not None}))
        manifest.put_files(replace(row, checked_ns=row.mtime_ns) for row in rows)
    if len(rows) == len(every):
        manifest.put(readers=str(READERS))
    return len(rows)


def distrust_failures(manifest: Manifest, below: Collection[Path] | None) -> None:
    """Has the next sync read again what failed at and below some paths; until then it stays told as failed."""
    with manifest.transaction():  # a sync of another process may settle a file between the look and the change
        rows = [manifest.file(each.path) for each in _failed(manifest, below)]
        manifest.put_files(replace(row, checked_ns=row.mtime_ns) for row in rows if row is not None)


def remove_orphans(manifest: Manifest, store: PassageStore) -> list[int]:
    """Removes documents that no file holds, and what a killed run left: hidden first, so that nothing half shows.

    Returns:
        Their numbers.
    """
    numbers = manifest.hide_orphans()
    if numbers:
        store.remove(numbers)
        manifest.delete_documents(numbers)
    return numbers


def forget_files(manifest: Manifest, path: Path) -> int:
    """Removes a root, or leaves out what is below one; its documents stay until `remove_orphans`.

    Returns:
        How many files were forgotten.

    Raises:
        UsageError: nothing of it is known, or only roots of their own below it.
    """
    with manifest.transaction():  # half of it would leave files without a root, found for ever
        was_root = manifest.remove_root(path)
        roots = [row.path for row in manifest.roots()]
        kept = {root for root in roots if path in root.parents}  # roots of their own, below what is forgotten
        gone = [row.path for row in manifest.files(path) if kept.isdisjoint((row.path, *row.path.parents))]
        if kept and not (gone or was_root):
            folders = ", ".join(map(str, sorted(kept)))
            raise UsageError(f"nothing was taken out: {path} holds what is indexed by itself; name it: {folders}")
        inside = any(root in path.parents for root in roots)
        if not (gone or was_root or (inside and is_there(path))):  # a slip of the pen would hide a later document
            raise UsageError(f"{path} is not in the index; `drama-app status` lists the folders that are")
        if inside:
            manifest.exclude(path)
        manifest.remove_files(gone)
        forget_mounts(manifest)
    return len(gone)


def _heal(manifest: Manifest, store: PassageStore) -> None:
    """Makes manifest and store agree after a power cut, when either may have lost its last writes."""
    stored, visible = store.counts(), manifest.visible()
    if not visible:
        manifest.put(readers=str(READERS))  # nothing is left that older ones read
    lost = [number for number, passages in visible.items() if stored.get(number, 0) != passages]
    if lost:
        log.warning("%d documents miss passages and are indexed again", len(lost))
        manifest.distrust(lost)
    unknown = stored.keys() - visible.keys() - set(manifest.unfinished())
    if unknown:
        store.remove(unknown)


def _remove_gone(manifest: Manifest, gone: set[Path]) -> set[int]:
    """Forgets vanished files; returns the documents that they held, where a moved file may find its passages."""
    rows = [row for path in gone if (row := manifest.file(path)) is not None]
    manifest.remove_files(row.path for row in rows)
    return {row.document for row in rows if row.document is not None}


def _run_pipeline(
    manifest: Manifest,
    store: PassageStore,
    encoder: Callable[[], Encoder],
    settings: Settings,
    files: list[Found],
    gone: set[int],
    on_progress: Callable[[Progress], None],
    stop: threading.Event,
) -> Pipeline:
    def report(progress: Progress) -> None:
        manifest.put(pending=str(progress.files_total - progress.files_done))
        on_progress(progress)

    pool = ExtractionPool(
        workers=settings.workers or max(1, (os.cpu_count() or 1) // 4),
        timeout=settings.timeout_seconds,
        memory_mb=settings.memory_megabytes,
        stop=stop,
    )
    with pool:
        pipeline = Pipeline(
            manifest, store, encoder, pool,
            max_file_bytes=settings.max_file_bytes, stop=stop, on_progress=report, gone=gone,
        )  # fmt: skip
        pipeline.run(files)
        unsettled, pipeline.tally.unsettled = pipeline.tally.unsettled, []
        if unsettled and not stop.wait(SETTLE_SECONDS):
            wanted = set(unsettled)
            pipeline.run([found for found in files if found.path in wanted])
    manifest.put(pending=str(len(files) - pipeline.tally.done))
    return pipeline


def _survey_paths(manifest: Manifest, settings: Settings, paths: Collection[Path], stop: threading.Event) -> Survey:
    """Looks at roots, or at files and folders below them; one that is inside another is looked at once."""
    survey = Survey()
    devices = {row.path: row.device for row in manifest.roots()}
    roots = followed_roots(manifest, settings)
    paused = {row.path for row in manifest.roots() if row.state == "paused"}
    for root, path in _places(roots, paths):
        if stop.is_set():
            break
        below = {other for other in (*roots, *paused) if root in other.parents}
        known = {file: row for file, row in _known(manifest, path) if below.isdisjoint((file, *file.parents))}
        rules = rules_for(manifest, settings, root)
        if root_is_gone(root, device=devices[root], has_files=bool(known), is_file=root in known):
            _miss(manifest, survey, root)
        elif is_gone(path) or is_behind_link(path, root) or rules.ignored(path, is_folder=folder_is_there(path)):
            _take_for_gone(manifest, survey, known)
        else:
            inside = [each for each in devices if path in (each, *each.parents)]
            inside = [each for each in inside if below.isdisjoint((each, *each.parents))]  # and not for itself
            drives = (each for each in inside if devices[each] not in (None, _device(root)))
            away = {each for each in drives if _is_away(each, devices[each], known)}
            known = {file: row for file, row in known.items() if away.isdisjoint((file, *file.parents))}
            for each in away:
                _miss(manifest, survey, each)
            mounts = MountFinder(root, _device(root))
            _compare(manifest, survey, path, rules, known, mounts, stop)
            for each in inside:
                if each not in away and is_there(each):
                    survey.roots.append(each)
                    manifest.mark_root(each, state="incomplete", device=_device(each), synced=None)
    return survey


def _is_away(root: Path, device: int | None, known: Collection[Path]) -> bool:
    """Whether a drive that is a root inside another is unplugged: then its files are not gone."""
    has_files = any(root in (file, *file.parents) for file in known)
    return root_is_gone(root, device=device, has_files=has_files, is_file=root in known)


def _miss(manifest: Manifest, survey: Survey, root: Path) -> None:
    manifest.mark_root(root, state="missing", device=None, synced=None)
    survey.notes.append(f"{root} is not there now: what is indexed of it stays searchable")


def _places(roots: Collection[Path], paths: Collection[Path]) -> Iterator[tuple[Path, Path]]:
    """Each path with the innermost root that it lies in; of paths inside each other the outer one."""
    grouped: dict[Path, list[Path]] = {root: [] for root in roots}
    for path in paths:
        above = [root for root in roots if root == path or root in path.parents]
        if above:
            grouped[max(above, key=lambda root: len(root.parts))].append(path)
    for root, inside in grouped.items():
        yield from ((root, path) for path in merge_roots(inside))


def _compare(
    manifest: Manifest,
    survey: Survey,
    top: Path,
    rules: IgnoreRules,
    known: dict[Path, Known],
    mounts: MountFinder,
    stop: threading.Event,
) -> None:
    """Walks `top` and adds to the survey what differs from `known`."""
    seen: set[Path] = set()
    closed: list[Path] = []
    unsure: list[Skipped] = []
    for found in scan(top, rules, stop=stop):
        if isinstance(found, Skipped) and is_gone(found.path):
            continue  # it went away during the walk: gone, not failed
        seen.add(found.path)
        if isinstance(found, Skipped) and found.for_now and found.path in known:
            unsure.append(found)  # its good row stays, and with it what is indexed
        elif isinstance(found, Skipped):
            closed.append(found.path)
            manifest.put_files([FileRow(found.path, 0, 0, 0, 0, now_ns(), "failed", found.reason, None)])
        else:
            mounts.look_at(found)
            if needs_check(found, known.get(found.path)):
                survey.to_check[found.path] = found
    keep_mounts(manifest, top, mounts.seen)
    survey.notes += _tell_kept(f"in {top}", unsure)
    if stop.is_set():
        return  # what was not walked is not gone
    missing = known.keys() - seen
    # What lies in a folder that cannot be read just now may well be there.
    missing = {path for path in missing if not any(folder in path.parents for folder in closed)}
    _take_for_gone(manifest, survey, missing)


def _take_for_gone(manifest: Manifest, survey: Survey, missing: Collection[Path]) -> None:
    """What is missing is gone, unless it lies on a drive that is unplugged: that may come back."""
    away = find_away(manifest, missing)
    survey.notes += map(describe_away, sorted(away))
    survey.gone |= {path for path in missing if away.isdisjoint(path.parents)}


def _known(manifest: Manifest, below: Path) -> Iterable[tuple[Path, Known]]:
    for row in manifest.files(below):
        yield row.path, Known(row.size, row.mtime_ns, row.ctime_ns, row.inode, row.checked_ns)


def _device(path: Path) -> int | None:
    try:
        return path.stat().st_dev
    except OSError:
        return None
