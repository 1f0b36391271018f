"""Files -> text -> passages -> vectors -> store, crash-safe and overlapped.

Three threads, each with one duty: the feeder hashes files, drives the extraction workers and cuts passages; the
caller's thread encodes, which is nearly all of the time; the writer stores what is encoded. The order of writes makes
a killed run harmless: a document gets a number (1), its passages are stored (2), it becomes visible together with the
rows of its files (3). A run that dies between (1) and (3) leaves an invisible document that the next run removes,
after it has reused its vectors.
"""

import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from drama_app.chunk import cut, embedded_text, fold_repeats
from drama_app.embed import Encoder
from drama_app.errors import ExtractionError
from drama_app.extract.kinds import KIND_SUFFIXES
from drama_app.extract.pool import ExtractionPool
from drama_app.jobs import Ahead, Job, Vectors, Writer
from drama_app.manifest import FileRow, Manifest, now_ns
from drama_app.pace import Pace
from drama_app.records import Document, Passage, Progress, Skipped
from drama_app.scan import Found, describe, look_again
from drama_app.store import PassageStore

log = logging.getLogger(__name__)

ENCODE_PASSAGES = 64  # a window to sort by length in: more gains under 2 % and delays the first results
CHARACTERS_AHEAD = 4_000_000  # extracted text that may wait for the encoder; bounds memory, not speed

_SUPPORTED = frozenset(suffix for suffixes in KIND_SUFFIXES.values() for suffix in suffixes)


@dataclass(slots=True)
class Tally:
    """What a sync has done so far."""

    added: int = 0
    changed: int = 0
    moved: int = 0
    done: int = 0
    passages: int = 0
    embedded: int = 0  # those of them whose text was not known
    embedding_seconds: float = 0.0
    failed: list[Skipped] = field(default_factory=list)
    kept: list[Skipped] = field(default_factory=list)  # not read just now, and searchable as before
    passed_over: int = 0
    unsettled: list[Path] = field(default_factory=list)
    """Files that changed or went while they were read."""


class Pipeline:
    """Brings a list of files into the index. One object a sync."""

    def __init__(
        self,
        manifest: Manifest,
        store: PassageStore,
        encoder: Callable[[], Encoder],
        pool: ExtractionPool,
        *,
        max_file_bytes: int,
        stop: threading.Event,
        on_progress: Callable[[Progress], None],
        gone: set[int],
    ) -> None:
        self._manifest = manifest
        self._store = store
        self._encoder = encoder
        self._pool = pool
        self._max_file_bytes = max_file_bytes
        self._stop = stop
        self._on_progress = on_progress
        self._gone = gone
        self.tally = Tally()
        self._underway: dict[tuple[bytes, str], Job] = {}
        self._jobs: dict[Path, Job] = {}
        self._settle_lock = threading.RLock()
        self._total = 0
        self._pace = Pace()
        self._reading: Path | None = None

    # --- the caller's thread: encode -------------------------------------------------------------------------

    def run(self, files: Sequence[Found]) -> None:
        """Indexes `files` in their order, until all are settled or `stop` is set. Again for those left unsettled."""
        self._total = self.tally.done + len(files)
        self._pace.expect(sum(found.size for found in files))
        self._told = time.monotonic()
        ready = Ahead(CHARACTERS_AHEAD)
        feeder = threading.Thread(target=self._feed, args=(files, ready), name="feeder", daemon=True)
        feeder.start()
        try:
            self._encode_all(ready)
        except BaseException:
            self._pool.close()  # or the feeder would wait for the file that is being read, for up to its time limit
            raise
        finally:
            ready.abandon()
            feeder.join()
        if ready.error is not None:
            raise ready.error

    def _encode_all(self, ready: Ahead) -> None:
        with ThreadPoolExecutor(1, thread_name_prefix="writer") as executor:
            writer = Writer(self._store.add_many, self._settle, executor)
            window: list[tuple[Job, Passage]] = []
            for job in ready:
                if self._stop.is_set():
                    break  # what waits may be minutes of encoding
                if job is None:
                    writer.flush_late()
                    self._report(self._reading)
                    continue
                self._report(job.found.path)
                if not job.passages:
                    writer.finish(job)
                for encoded, passage in enumerate(job.passages, 1):
                    window.append((job, passage))
                    if len(window) >= ENCODE_PASSAGES:
                        writer.take(window, self._encode(window))
                        window = []
                        self._report(job.found.path)
                        if self._stop.is_set() or self._drop_gone(job, encoded):
                            break
                # A quiet queue means that waiting would only delay results.
                if window and (ready.idle() or self._stop.is_set()):
                    writer.take(window, self._encode(window))
                    window = []
                ready.release(job)
            if window:
                writer.take(window, self._encode(window))
            writer.flush()
            writer.wait()

    def _drop_gone(self, job: Job, encoded: int) -> bool:
        """True if a file and its copies went while it is encoded: the rest may be minutes for what is removed next.

        What is stored of it stays invisible, and is removed with the orphans. In its second half it is finished, since
        it may have been moved: the next sync finds it by its content.
        """
        with self._settle_lock:  # or a copy that is met in between would wait for a document that never comes
            files = (job, *job.copies)
            if 2 * encoded > len(job.passages) or any(os.path.lexists(each.found.path) for each in files):
                return False
            self._abandon(job)
        self._pace.cut(-job.found.size, encoded - len(job.passages))
        return True

    def _encode(self, window: list[tuple[Job, Passage]]) -> Vectors:
        """Vectors of a window, float32 [passages, dim]; text that is known is not encoded again."""
        texts = [embedded_text(job.title, passage) for job, passage in window]
        known = {}
        for job in {id(job): job for job, _ in window}.values():
            known.update(self._stored_vectors(job))
        missing = [text for text in dict.fromkeys(texts) if text not in known]
        if missing:
            encoder, started = self._encoder(), time.monotonic()
            known.update(zip(missing, encoder.encode_passages(missing), strict=True))
            self.tally.embedded += len(missing)
            self.tally.embedding_seconds += time.monotonic() - started
        self.tally.passages += len(window)
        return np.stack([known[text] for text in texts])

    def _stored_vectors(self, job: Job) -> dict[str, Vectors]:
        """What the index holds of the file's former content, by embedded text."""
        if job.known is None:
            job.known = {}
            for number in job.reuse:
                title = self._manifest.title_of(number)
                for row in self._store.document_passages(number):
                    assert row.vector is not None
                    job.known[embedded_text(title, row.passage)] = row.vector
        return job.known

    # --- the feeder's thread: hash, extract, cut -------------------------------------------------------------

    def _feed(self, files: Sequence[Found], ready: Ahead) -> None:
        try:
            for path, outcome in self._pool.extract_all(self._to_extract(files, ready)):
                if self._stop.is_set() or ready.abandoned:
                    break
                job = self._jobs.pop(path)
                if isinstance(outcome, ExtractionError) and not os.path.lexists(path):
                    self._abandon(job)  # gone before it was read; its copies are not
                elif isinstance(outcome, ExtractionError):
                    self._fail(job, outcome)
                elif self._accept(job, outcome):
                    ready.put(job)
        except BaseException as error:  # shown by the caller's thread, which is the one that can be interrupted
            ready.error = error
        finally:
            ready.end()

    def _to_extract(self, files: Sequence[Found], ready: Ahead) -> Iterator[Path]:
        """Settles files whose content is known and yields the others."""
        for found in files:
            if self._stop.is_set() or ready.abandoned:
                return
            self._reading = found.path
            try:
                job = self._begin(found)
            except (FileNotFoundError, NotADirectoryError):
                self._count(found)  # gone since the scan: the next sync removes it
                continue
            except OSError as error:
                lasting = isinstance(error, PermissionError)
                self._fail(Job(found, now_ns()), ExtractionError(describe(error)), for_now=not lasting)
                continue
            except ExtractionError as error:
                self._fail(Job(found, now_ns()), error)
                continue
            if job is not None:
                self._jobs[job.found.path] = job
                yield job.found.path

    def _begin(self, found: Found) -> Job | None:
        """A job for one file, or None if its content is known or on its way."""
        job = Job(look_again(found), now_ns())
        if job.found.size > self._max_file_bytes and job.suffix in _SUPPORTED:
            limit = self._max_file_bytes // 2**20
            raise ExtractionError(
                f"too large: {job.found.size // 2**20} MB, the limit is {limit} MB: "
                "raise index.max_file_megabytes, then run `drama-app index --retry`"
            )
        if job.suffix not in _SUPPORTED:
            return job  # mostly photos, films and archives: a look at their first bytes is cheaper than a hash
        job.digest = _hash(job.found.path)
        return None if self._settle_known(job) else job

    def _settle_known(self, job: Job) -> bool:
        """True if the content is in the index or under way: then there is nothing to extract."""
        assert job.digest is not None
        with self._settle_lock:
            leader = self._underway.get((job.digest, job.suffix))
            if leader is not None:
                leader.copies.append(job)
                return True
            document = self._manifest.find_document(job.digest, job.suffix)
            if document is not None and document.complete:
                self._manifest.put_files([self._row(job, document.id)])
                self._count(job.found)
                return True
            job.reuse = self._former(job, document.id if document is not None else None)
            job.number = self._manifest.begin_document(job.digest, job.suffix)
            self._underway[(job.digest, job.suffix)] = job
            return False

    def _former(self, job: Job, unfinished: int | None) -> tuple[int, ...]:
        known = self._manifest.file(job.found.path)
        former = known.document if known is not None else None
        return tuple(number for number in (unfinished, former) if number is not None)

    def _accept(self, job: Job, document: Document) -> bool:
        """Cuts an extracted document into passages. False if the file changed meanwhile or is a known content."""
        try:
            if job.digest is None:
                job.digest = _hash(job.found.path)
                if self._settle_known(job):
                    return False
            still = _same_stat(job.found)
        except OSError:
            still = False
        if not still:
            self._abandon(job)
            return False
        job.document = document
        try:
            job.passages = fold_repeats(cut(document))
        except Exception:  # one odd text must not keep every other file out of the index, sync after sync
            log.exception("%s cannot be cut into passages", job.found.path)
            self._fail(job, ExtractionError("its text cannot be cut into passages; the log file says why"))
            return False
        self._pace.cut(job.found.size, len(job.passages))
        self._manifest.name_document(job.number, document.title)  # an interrupted run needs it to reuse vectors
        return True

    def _abandon(self, job: Job) -> None:
        """The file changed or went while it was read: what was read may be half of each state."""
        self.tally.unsettled += [each.found.path for each in self._close(job)]

    # --- settling --------------------------------------------------------------------------------------------

    def _close(self, job: Job) -> list[Job]:
        """Takes a job off the way; returns it and its copies."""
        with self._settle_lock:
            if job.digest is not None:
                self._underway.pop((job.digest, job.suffix), None)
            return [job, *job.copies]

    def _fail(self, job: Job, error: ExtractionError, *, for_now: bool = False) -> None:
        """Notes a failure. `for_now`: not the file's, so what is indexed of it stays, and the next sync looks again."""
        status = "passed over" if error.passed_over else "failed"
        rows = []
        for each in self._close(job):
            self._count(each.found)
            row = replace(self._row(each, None), status=status, reason=str(error))
            known = self._manifest.file(row.path) if for_now else None
            if known is not None and known.document is not None:
                self.tally.kept.append(Skipped(row.path, row.reason))
                continue
            rows.append(replace(row, checked_ns=row.mtime_ns) if for_now else row)
            self.tally.passed_over += error.passed_over
            if not error.passed_over:
                self.tally.failed.append(Skipped(row.path, row.reason))
        self._manifest.put_files(rows)

    def _settle(self, job: Job) -> None:
        """Makes a document visible whose passages are all stored. Called by the writer."""
        assert job.document is not None
        job.known = None
        # Under the lock: a copy met in between would find the content neither under way nor complete.
        with self._settle_lock, self._manifest.transaction():
            jobs = self._close(job)
            self._manifest.finish_document(
                job.number, kind=job.document.kind, title=job.title, notes=job.document.notes,
                passages=len(job.passages), pages=job.document.pages,
            )  # fmt: skip
            self._manifest.put_files([self._row(each, job.number) for each in jobs])
            self._manifest.hide_replaced(job.reuse)
        self._pace.store(job.found.size)
        for each in jobs:
            self._count(each.found)

    def _row(self, job: Job, document: int | None) -> FileRow:
        found = job.found
        if document is not None:
            self._tell_apart(job, document)
        return FileRow(
            path=found.path, size=found.size, mtime_ns=found.mtime_ns, ctime_ns=found.ctime_ns, inode=found.inode,
            checked_ns=job.checked_ns, status="indexed", reason="", document=document,
        )  # fmt: skip

    def _tell_apart(self, job: Job, document: int) -> None:
        """Counts the file as added, changed or moved."""
        known = self._manifest.file(job.found.path)
        if known is not None and known.document == document:
            return  # touched, not changed
        if known is not None and known.document is not None:
            self.tally.changed += 1
        elif document in self._gone:
            self._gone.discard(document)
            self.tally.moved += 1
        else:
            self.tally.added += 1

    def _count(self, found: Found) -> None:
        with self._settle_lock:  # feeder and writer both count
            self.tally.done += 1
            self._pace.settle(found.size)

    def _report(self, current: Path | None) -> None:
        now = time.monotonic()
        if now - self._told < 0.1:  # ten a second are enough for any display
            return
        self._told = now
        spent = self._pace.spent()
        self._on_progress(
            Progress(
                phase="index",
                files_done=self.tally.done,
                files_total=self._total,
                passages=self.tally.passages,
                failed=len(self.tally.failed),
                passages_per_second=self.tally.passages / spent if spent else 0.0,
                seconds_left=self._pace.seconds_left(self.tally.passages),
                current=current,
            )
        )


def _same_stat(found: Found) -> bool:
    return look_again(found) == found


def _hash(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()
