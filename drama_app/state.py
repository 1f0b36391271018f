"""The state of the index as one record: what it holds, what it follows, what failed, who watches.

Reads only; opens the store where there are passages and never the retriever.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from drama_app.config import Settings, measure_folder
from drama_app.database import READERS
from drama_app.manifest import Manifest
from drama_app.mounts import away_mounts, describe_away
from drama_app.records import RootStatus, Status
from drama_app.scan import is_there

if TYPE_CHECKING:
    from drama_app.store import PassageStore


def read_status(manifest: Manifest, settings: Settings, store: "Callable[[], PassageStore]") -> Status:
    """Returns the state of the whole index."""
    documents, passages = manifest.counts()
    roots = []
    for root in manifest.roots():
        there = root.state == "never synced" or is_there(root.path)
        state = root.state if there else "missing"
        roots.append(RootStatus(root.path, *manifest.counts_below(root.path), root.synced, state))
    return Status(
        documents=documents,
        passages=passages,
        languages=store().languages() if passages else {},
        kinds=manifest.kinds(),
        bytes=measure_folder(settings.data_folder / "index"),
        retriever=manifest.get("retriever_name"),
        roots=tuple(roots),
        pending=int(manifest.get("pending", "0")),
        failed=manifest.skipped("failed"),
        passed_over=manifest.number_of("passed over"),
        watching=read_watcher(manifest, settings),
        left_out=tuple(sorted(manifest.excluded())),
        notes=(*map(describe_away, away_mounts(manifest)), *_list_advice(manifest, documents)),
    )


def _list_advice(manifest: Manifest, documents: int) -> Iterator[str]:
    if documents and int(manifest.get("readers", "0")) < READERS:
        yield "an older drama read these files: `drama-app index --again` finds text that it left out"


def read_watcher(manifest: Manifest, settings: Settings) -> str:
    """What a running watcher says of itself; its lock tells whether it runs, even after it was killed."""
    from filelock import FileLock, Timeout

    path = settings.state_folder / "watch.lock"
    if not path.exists():
        return ""
    try:
        with FileLock(path, timeout=0, thread_local=False):
            return ""
    except Timeout:
        return manifest.get("watch_state")
