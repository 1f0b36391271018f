"""The one object that every front end holds: open it, then sync, search, watch, ask for its status.

Owns which retriever fills and queries the index, the writer's lock and the laziness: what a verb does not need is
neither imported nor opened. It decides nothing about ranking or extraction.
"""

import os
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from drama_app.config import Settings, make_private
from drama_app.errors import Interrupted, NoIndexError, RetrieverError
from drama_app.manifest import Manifest
from drama_app.records import Estimate, Filters, Mode, Passage, Progress, Results, Status, SyncReport
from drama_app.writer_lock import LOCK, WriterLock

if TYPE_CHECKING:
    from drama_app.embed import OnnxEncoder
    from drama_app.retriever import Retriever
    from drama_app.search import Searcher
    from drama_app.store import PassageStore

NOTHING_YET = "nothing is indexed yet: run `drama-app index FOLDER` first"


class Library:
    """An index on disk. Safe to use from several threads; several processes may search while one writes."""

    def __init__(self, settings: Settings, manifest: Manifest) -> None:
        self._settings = settings
        self._manifest = manifest
        self._opening_store = threading.RLock()
        self._opening_encoder = threading.RLock()  # its own: a cold search opens both side by side
        self._writing = threading.Lock()
        self._table = manifest.get("table")
        self._whole = False  # whether a writer has opened the store, which makes what is missing

    @classmethod
    def open(cls, settings: Settings, *, create: bool = False, retriever: Path | None = None) -> Self:
        """Opens the index of `settings`.

        Args:
            settings: Where things are and what was chosen.
            create: Make an empty index if there is none.
            retriever: The folder of the retriever that a new index is to use. An index that is filled keeps its own.

        Raises:
            NoIndexError: there is none and `create` is False.
            RetrieverError: `retriever` is not the one that filled the index, or was refused.
            IndexDamagedError: the index is of another version or unreadable.
        """
        folder = settings.data_folder / "index"
        if not create and not (folder / "manifest.db").exists():
            raise NoIndexError(NOTHING_YET)
        make_private(folder)
        library = cls(settings, Manifest(folder / "manifest.db"))
        if create:
            from drama_app.switching import choose

            choose(library._manifest, settings, retriever or settings.retriever)
            library._renew()
        return library

    def close(self) -> None:
        """Releases the files of the index."""
        self._manifest.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- roots and syncing -----------------------------------------------------------------------------------

    def roots(self) -> tuple[Path, ...]:
        """The folders and files that the index follows."""
        return tuple(root.path for root in self._manifest.roots())

    def add_root(
        self, path: Path, *, hidden: bool | None = None, ignore: Sequence[str] | None = None, yes: bool = False
    ) -> Path:
        """Follows `path` from the next sync on.

        Args:
            path: A folder or a file; links are resolved.
            hidden: Index names that start with a dot too; None keeps what was said before.
            ignore: Patterns as in a .gitignore; None keeps what was said before.
            yes: Agree to a whole home folder, drive or system folder.

        Returns:
            The path as it is kept: absolute, without links. Inside another root it is part of that one.

        Raises:
            UsageError: there is nothing to index there, too much by accident, or it is part of a root that is paused
                or whose own `hidden` and `ignore` hold for it.
        """
        from drama_app.roots import add_root
        from drama_app.scan import check_root

        settings = self._settings
        own = (settings.data_folder, settings.config_folder, settings.state_folder, settings.cache_folder)
        root = check_root(path, yes=yes, own=own)
        add_root(self._manifest, settings, root, hidden=hidden, ignore=ignore)
        return root

    def sync(
        self,
        changed: Iterable[Path] | None = None,
        *,
        on_progress: Callable[[Progress], None] | None = None,
        stop: threading.Event | None = None,
    ) -> SyncReport:
        """Brings the index in line with the disk: everything below the roots, or the `changed` paths only.

        Waits while another process writes. What is finished is kept when `stop` is set or the process is killed.
        """
        from drama_app.indexer import sync

        stop = stop or threading.Event()
        with self._alone(stop):
            report = sync(
                self._manifest,
                self._store,
                lambda: self._encoder,
                self._settings,
                changed=None if changed is None else tuple(changed),
                on_progress=on_progress or (lambda _: None),
                stop=stop,
            )
            if report.embedded_per_second:
                self._manifest.put(passages_per_second=f"{report.embedded_per_second:.2f}")  # the next estimate's
            return report

    def retry(
        self,
        paths: Iterable[Path] | None = None,
        *,
        on_progress: Callable[[Progress], None] | None = None,
        stop: threading.Event | None = None,
    ) -> SyncReport:
        """A sync that reads files again that failed, though they have not changed."""
        from drama_app.indexer import distrust_failures

        paths = None if paths is None else tuple(paths)
        distrust_failures(self._manifest, paths)
        return self.sync(paths, on_progress=on_progress, stop=stop)

    def forget_reading(self, below: Collection[Path] = (), *, stop: threading.Event | None = None) -> int:
        """Lets the next whole sync read unchanged files again; see `indexer.forget_reading`."""
        from drama_app.indexer import forget_reading

        with self._alone(stop or threading.Event()):
            return forget_reading(self._manifest, lambda: self._encoder, below)

    def pause(self, root: Path) -> None:
        """Leaves a root alone until `resume`; what is indexed of it stays searchable."""
        self._manifest.pause_root(root, paused=True)

    def resume(self, root: Path) -> bool:
        """Follows a paused root again from the next sync on. False if it was not paused."""
        return self._manifest.pause_root(root, paused=False)

    def estimate(
        self, path: Path, *, tell: Callable[[Estimate], None] | None = None, stop: threading.Event | None = None
    ) -> Estimate:
        """What indexing `path` would read, take and occupy, and so far by `tell`; walks the folder, reads no file.

        Raises:
            UsageError: there is nothing to index there.
        """
        from drama_app.estimate import estimate

        return estimate(self._settings, path, manifest=self._manifest, tell=tell, stop=stop)

    def root_above(self, path: Path) -> Path | None:
        """The root with which `path` is indexed already: itself, or one above whose rules do not leave it out."""
        from drama_app.roots import root_above

        return root_above(self._manifest, self._settings, Path(os.path.realpath(path)))

    def watch(
        self,
        *,
        on_report: Callable[[SyncReport], None],
        on_state: Callable[[str], None],
        stop: threading.Event,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        """Keeps the index true until `stop` is set: catches up first, then follows changes. Blocks."""
        from drama_app.following import follow

        follow(
            self,
            self._manifest,
            self._settings,
            on_report=on_report,
            on_state=on_state,
            stop=stop,
            on_progress=on_progress,
        )

    def forget(self, path: Path, *, stop: threading.Event | None = None) -> int:
        """Removes a root, or leaves out what is below one; returns how many files left; `stop` ends the wait."""
        from drama_app.indexer import forget_files, remove_orphans
        from drama_app.switching import remove_elsewhere

        path = Path(os.path.realpath(path))
        with self._alone(stop or threading.Event()):
            number = forget_files(self._manifest, path)
            gone = remove_orphans(self._manifest, self._store)
            remove_elsewhere(self._manifest, self._settings, gone)
            if gone:
                self._store.tidy(for_good=True)
            return number

    # --- searching -------------------------------------------------------------------------------------------

    def search(
        self, query: str, *, mode: Mode = "fused", limit: int = 10, filters: Filters | None = None, passages: int = 3
    ) -> Results:
        """The documents that answer `query`, best first, at most `limit`, each with up to `passages` passages."""
        chosen = filters or Filters()
        return self._ask(lambda by: by.search(query, mode=mode, limit=limit, filters=chosen, passages=passages))

    def similar(
        self, path: Path, *, page: int | None = None, limit: int = 10, filters: Filters | None = None
    ) -> Results:
        """Documents with passages like those of an indexed file, or of one page of it.

        Raises:
            UsageError: the file is not in the index or has no such page.
        """
        path, chosen = Path(os.path.realpath(path)), filters or Filters()
        return self._ask(lambda by: by.similar(path, page=page, limit=limit, filters=chosen))

    def passages_of(self, path: Path) -> tuple[Passage, ...]:
        """The whole text of an indexed file as its passages, in order; empty if the file is not in the index."""
        row = self._manifest.file(path)
        if row is None or row.document is None:
            return ()
        self._renew()
        self._store.refresh()
        return tuple(each.passage for each in self._store.document_passages(row.document, vectors=False))

    def mark_sentences(self, results: Results) -> Results:
        """The same results with each best sentence chosen by meaning where words do not tell it."""
        return self._searcher.mark_sentences(results)

    # --- state -----------------------------------------------------------------------------------------------

    def status(self) -> Status:
        """The state of the index. Opens neither the retriever nor, when nothing is indexed, the store."""
        from drama_app.state import read_status

        self._renew()
        return read_status(self._manifest, self._settings, lambda: self._store)

    def passed_over(self) -> tuple[tuple[Path, str], ...]:
        """Files without text to search (photos, archives, empty files), with what they are."""
        return tuple((each.path, each.reason) for each in self._manifest.skipped("passed over"))

    def check(self) -> list[str]:
        """What is wrong between manifest and store, one sentence each; empty if they agree."""
        self._renew()
        self._store.refresh()
        visible, stored = self._manifest.visible(), self._store.counts()
        lost = [number for number, passages in visible.items() if stored.get(number, 0) != passages]
        if not lost:
            return []
        return [f"{len(lost)} documents miss passages: run `drama-app index` to index them again"]

    # --- retrievers ------------------------------------------------------------------------------------------

    def retriever_folder(self) -> Path:
        """The folder of the retriever that the index uses."""
        from drama_app.switching import SHIPPED, folder_of

        return folder_of(self._manifest.get("retriever_folder", SHIPPED))

    def use_retriever(
        self,
        folder: Path | None,
        *,
        on_progress: Callable[[Progress], None] | None = None,
        stop: threading.Event | None = None,
    ) -> str:
        """Embeds every passage again with another retriever, then switches; searches use the old one until then.

        Args:
            folder: A retriever folder; None goes one step back.
            on_progress: Called about ten times a second.
            stop: Set it to stop; the next call goes on from there.

        Returns:
            Name and version of the retriever in use afterwards.
        """
        from drama_app.switching import switch

        stop = stop or threading.Event()
        with self._writing, self._lock(stop):
            name = switch(self._manifest, self._settings, folder, on_progress=on_progress, stop=stop)
            self._renew()
        return name

    def recall(self, key: str) -> str:
        """What the index keeps of itself, "" if nothing: "passages_per_second", "previous_retriever_name"."""
        return self._manifest.get(key)

    def _renew(self) -> str:
        """Lets go of store and encoder of a retriever that is in use no more; returns the table of the one that is."""
        self._manifest.check_place()
        table = self._manifest.get("table")
        if table != self._table:
            with self._opening_store, self._opening_encoder:
                self._table, self._whole = table, False
                for opened in ("_store", "_encoder", "_searcher"):
                    self.__dict__.pop(opened, None)
        return table

    def retrievers(self) -> tuple[list["Retriever"], list[str]]:
        """The shipped retriever and those that `use_retriever` installed; and why others of these do not open."""
        from drama_app.switching import list_retrievers

        return list_retrievers(self._settings)

    # --- inside ----------------------------------------------------------------------------------------------

    def _ask(self, question: "Callable[[Searcher], Results]") -> Results:
        from drama_app.search import ask_one_retriever

        return ask_one_retriever(self._renew, lambda: question(self._searcher))

    @cached_property
    def _store(self) -> "PassageStore":
        try:
            return self._open_store(create=False)
        except NoIndexError:  # of a first sync that was killed at once, or that is just beginning
            with suppress(Interrupted), self._lock(None):
                return self._open_store(create=True)
        return self.__dict__.get("_store") or self._open_store(create=False)  # a writer in this process has made it

    def _open_store(self, *, create: bool) -> "PassageStore":
        from drama_app.store import PassageStore

        folder = self._settings.data_folder / "index" / "passages"
        with self._opening_store:
            return PassageStore.open(folder, dim=self._dim, table=self._table, create=create)

    @contextmanager
    def _alone(self, stop: threading.Event) -> Iterator[None]:
        """The only writer, with the retriever in use and a store that lacks nothing."""
        with self._writing, self._lock(stop):
            self._renew()
            with self._opening_store:
                if not self._whole:
                    self.__dict__["_store"], self._whole = self._open_store(create=True), True
            yield

    @property
    def _dim(self) -> int:
        """Width of the vectors; a run that was killed at once leaves an index without a retriever."""
        if not (dim := self._manifest.get("dim")):
            raise NoIndexError(NOTHING_YET)
        return int(dim)

    @cached_property
    def _encoder(self) -> "OnnxEncoder":
        from drama_app.embed import open_retriever

        with self._opening_encoder:
            encoder = open_retriever(
                self.retriever_folder(),
                dim=self._dim,
                threads=self._settings.threads or None,
                cache=make_private(self._settings.cache_folder),
            )
            if encoder.fingerprint != self._manifest.get("fingerprint"):
                raise RetrieverError(
                    f"the index was filled by {self._manifest.get('retriever_name')}, which {self.retriever_folder()} "
                    "no longer holds: `drama-app model use shipped` embeds its passages anew with the one that drama "
                    "has now; until then --mode keywords answers"
                )
            return encoder

    @cached_property
    def _searcher(self) -> "Searcher":
        from drama_app.search import Searcher

        return Searcher(self._manifest, lambda: self._store, lambda: self._encoder)

    def _lock(self, stop: threading.Event | None) -> WriterLock:
        return WriterLock(make_private(self._settings.state_folder) / LOCK, stop)
