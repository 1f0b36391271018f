"""One query from words to hits: both candidate lists side by side, fused, grouped, described.

Owns the order of these steps and the look-ups between them; the scores are `rank`'s, the candidates the store's, the
marks `highlight`'s. It changes nothing in the index.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from drama_app.errors import IndexDamagedError, UsageError
from drama_app.highlight import best_sentence, mark_words
from drama_app.manifest import DocumentRow, FileRow, Manifest, passes
from drama_app.records import Filters, Hit, Mode, Passage, PassageHit, Results
from drama_app.sentences import split_sentences

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from drama_app.embed import Encoder
    from drama_app.rank import Fused, Group
    from drama_app.store import Candidate, Key, PassageStore, StoredPassage

    Vectors = NDArray[np.float32]

CANDIDATES = 100  # of each list: the fused first ten come from the first 60 of both in 99 % of queries
MANY = 2_000  # of each list where the first ones lie in fewer documents than asked for
LOOKED_UP = 30  # keyword candidates whose text and vector are fetched; those further down rarely rise
SAMPLE = 400  # vectors that tell how cosines to passages in general are spread
SENTENCES = 40  # encoded at most to mark sentences by meaning: about 0.1 s on two cores


class Searcher:
    """Answers queries over one index. Opens the store and the encoder when a query needs them."""

    def __init__(
        self, manifest: Manifest, store: "Callable[[], PassageStore]", encoder: "Callable[[], Encoder]"
    ) -> None:
        self._manifest = manifest
        self._store = store
        self._encoder = encoder
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="search")
        self._sample: tuple[int, Vectors | None] = (-1, None)

    def search(self, query: str, *, mode: Mode, limit: int, filters: Filters, passages: int) -> Results:
        """The documents that answer `query`, best first; see `Library.search`."""
        from drama_app import rank

        started = time.monotonic()
        documents = self._manifest.matching(filters)
        vector, meaning, keywords = self._find_candidates(query, mode, documents, filters.languages, CANDIDATES)
        if max(len(meaning), len(keywords)) >= CANDIDATES and _count_documents(meaning, keywords) < limit:
            # A few long documents fill both lists: look further for others.
            vector, meaning, keywords = self._find_candidates(query, mode, documents, filters.languages, MANY)
        known = self._look_up(meaning, keywords) if mode == "fused" else {}
        scale = rank.measure_scale(vector, self._draw_sample()) if vector is not None else rank.Scale()
        fused = rank.fuse(
            query,
            meaning,
            keywords,
            mode=mode,
            scale=scale,
            cosines=_cosines(vector, known) if vector is not None else None,
            texts={key: row.passage.text for key, row in known.items()},
        )
        hits = self._describe(query, fused, limit=limit, passages=passages, filters=filters, known=known)
        if not fused:
            self._check_passages()
        hopeless = not hits or rank.is_hopeless(fused, keywords, scale)
        return Results(query, mode, tuple(hits), hopeless, time.monotonic() - started)

    def similar(self, path: Path, *, page: int | None, limit: int, filters: Filters) -> Results:
        """Documents with passages like those of one file; see `Library.similar`."""
        import numpy as np

        from drama_app import rank

        started = time.monotonic()
        row = self._manifest.file(path)
        if row is None or row.document is None:
            raise UsageError(f"{path} is not in the index: `drama-app index` it first")
        stored = self._open_newest().document_passages(row.document)
        own = [each for each in stored if page in (None, each.passage.page)]
        vectors = [each.vector for each in own if each.vector is not None]
        if not vectors:
            raise UsageError(f"{path} has no text on page {page}" if page else f"{path} has no text")
        centre = np.mean(vectors, axis=0)
        centre /= max(float(np.linalg.norm(centre)), 1e-12)
        documents = self._manifest.matching(filters)
        found = self._store().nearest(
            centre, limit=CANDIDATES + len(own), documents=documents, languages=filters.languages
        )
        others = [each for each in found if each.document != row.document]
        fused = rank.fuse("", others, [], mode="meaning", scale=rank.measure_scale(centre, self._draw_sample()))
        hits = self._describe("", fused, limit=limit, passages=3, filters=filters, known={})
        name = f"{path}#{page}" if page else str(path)
        return Results(name, "meaning", tuple(hits), not hits, time.monotonic() - started)

    def mark_sentences(self, results: Results) -> Results:
        """Marks every passage, and chooses the best passage's sentence by meaning where no word marked one."""
        if not results.query:
            return results
        hits = [
            replace(hit, passages=(*hit.passages[:1], *(_mark(results.query, each) for each in hit.passages[1:])))
            for hit in results.hits
        ]
        wanted = {place: hit.passages[0] for place, hit in enumerate(hits) if hit.passages[0].sentence is None}
        spans = [(place, span) for place, passage in wanted.items() for span in split_sentences(passage.text)]
        best = self._choose_sentences(results.query, [(p, span, wanted[p].text) for p, span in spans[:SENTENCES]])
        for place, span in best.items():
            first, *others = hits[place].passages
            hits[place] = replace(hits[place], passages=(replace(first, sentence=span), *others))
        return replace(results, hits=tuple(hits))

    def _choose_sentences(
        self, query: str, spans: list[tuple[int, tuple[int, int], str]]
    ) -> dict[int, tuple[int, int]]:
        """The nearest sentence of each hit; `spans` are hit, place in the text, text."""
        if not spans:
            return {}
        vectors = self._encoder().encode_passages([text[start:end] for _, (start, end), text in spans])
        scores = vectors @ self._encoder().encode_queries([query])[0]
        order = sorted(zip(scores.tolist(), spans, strict=True), key=lambda pair: pair[0])
        return {place: span for _, (place, span, _) in order}  # the last, nearest one stays

    # --- candidates ------------------------------------------------------------------------------------------

    def _find_candidates(
        self, query: str, mode: Mode, documents: set[int] | None, languages: Sequence[str], count: int
    ) -> "tuple[Vectors | None, list[Candidate], list[Candidate]]":
        """The query's vector and both lists. Opening the store overlaps with encoding, the two lists with each other.

        Keywords beside the encoder would be no faster on two cores: its threads wait for each other (28.6 ms, so 27.6).
        """
        opening = self._beside.submit(self._open_newest)
        vector = None if mode == "keywords" else self._encoder().encode_queries([query])[0]
        store = opening.result()
        keywords: Future[list[Candidate]] | None = None
        if mode != "meaning":
            keywords = self._beside.submit(store.keywords, query, limit=count, documents=documents, languages=languages)
        meaning = []
        if vector is not None:
            meaning = store.nearest(vector, limit=count, documents=documents, languages=languages)
        return vector, meaning, keywords.result() if keywords is not None else []

    def _open_newest(self) -> "PassageStore":
        store = self._store()
        store.refresh()
        return store

    def _look_up(self, meaning: "Sequence[Candidate]", keywords: "Sequence[Candidate]") -> "dict[Key, StoredPassage]":
        """Text and vectors of what keywords found, for exact matches and cosines."""
        listed = {each.key for each in meaning}
        keys = [each.key for each in keywords]
        wanted = keys[:LOOKED_UP] + [key for key in keys[LOOKED_UP:] if key in listed]
        rows = self._store().passages(wanted, vectors=True)
        return {(row.document, row.passage.ordinal): row for row in rows}

    def _check_passages(self) -> None:
        """Tells an index that lost its passages from one in which nothing matches."""
        if self._manifest.counts()[1] and not self._store().count():
            raise IndexDamagedError("the passages of the index are gone: run `drama-app index` to make them again")

    def _draw_sample(self) -> "Vectors | None":
        """Vectors of passages in general; drawn anew when the index has grown or shrunk by a tenth."""
        count = self._store().count()
        if abs(count - self._sample[0]) > self._sample[0] / 10:
            self._sample = (count, self._store().sample(SAMPLE))
        return self._sample[1]

    # --- hits ------------------------------------------------------------------------------------------------

    def _describe(
        self,
        query: str,
        fused: "Sequence[Fused]",
        *,
        limit: int,
        passages: int,
        filters: Filters,
        known: "dict[Key, StoredPassage]",
    ) -> list[Hit]:
        """Hits of the best documents that are visible and have a file that passes the filters."""
        from drama_app import rank

        groups = rank.group(fused, limit=MANY, passages=passages)
        chosen: dict[bytes, tuple[Group, DocumentRow, list[FileRow]]] = {}
        for start in range(0, len(groups), 2 * limit):
            if len(chosen) >= limit:
                break
            self._choose(groups[start : start + 2 * limit], limit, filters, chosen)
        missing = [item.key for each, _, _ in chosen.values() for item in each.passages if item.key not in known]
        for stored in self._store().passages(missing):
            known[(stored.document, stored.passage.ordinal)] = stored
        return [_hit(query, each, row, places, known) for each, row, places in chosen.values()]

    def _choose(
        self,
        groups: "Sequence[Group]",
        limit: int,
        filters: Filters,
        chosen: "dict[bytes, tuple[Group, DocumentRow, list[FileRow]]]",
    ) -> None:
        """Adds the visible documents among `groups`, by content, until there are `limit`."""
        numbers = [each.document for each in groups]
        documents, files = self._manifest.documents(numbers), self._manifest.paths_of(numbers)
        for each in groups:
            row = documents.get(each.document)
            if row is None:
                continue  # not finished yet, or about to be removed
            places = [file for file in files.get(row.id, ()) if passes(file, filters, row.kind)]
            if row.hash in chosen:
                chosen[row.hash][2].extend(places)  # the same bytes under another ending
            elif places and len(chosen) < limit:
                chosen[row.hash] = (each, row, places)


def _hit(query: str, group: "Group", row: DocumentRow, places: list[FileRow], known: "dict[Key, StoredPassage]") -> Hit:
    found = [_passage_hit(item, known[item.key].passage) for item in group.passages if item.key in known]
    return Hit(
        path=places[0].path,
        copies=tuple(place.path for place in places[1:]),
        title=row.title,
        kind=row.kind,
        modified=places[0].mtime_ns / 1e9,
        score=group.score,
        passages=(*(_mark(query, passage) for passage in found[:1]), *found[1:]),
    )


def _mark(query: str, passage: PassageHit) -> PassageHit:
    """The passage with words and sentence marked."""
    return replace(passage, marks=mark_words(query, passage.text), sentence=best_sentence(query, passage.text))


def _passage_hit(item: "Fused", passage: Passage) -> PassageHit:
    return PassageHit(
        ordinal=passage.ordinal,
        page=passage.page,
        line=passage.line,
        start=passage.start,
        end=passage.end,
        heading=passage.heading,
        language=passage.language,
        text=passage.text,
        score=item.score,
        scores=item.scores,
    )


def _count_documents(meaning: "Sequence[Candidate]", keywords: "Sequence[Candidate]") -> int:
    return len({each.document for each in (*meaning, *keywords)})


def _cosines(vector: "Vectors", known: "dict[Key, StoredPassage]") -> "dict[Key, float]":
    return {key: float(row.vector @ vector) for key, row in known.items() if row.vector is not None}
