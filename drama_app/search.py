"""One query from words to hits: both candidate lists side by side, fused, grouped, described.

Owns the order of these steps and the look-ups between them, those by file name too; the scores are `rank`'s, the
candidates the store's, the marks `highlight`'s. It changes nothing in the index.
"""

import sys
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from drama_app.errors import IndexDamagedError, UsageError
from drama_app.file_filters import passes
from drama_app.file_names import MOST, fold_name, holds_words, is_meant, is_named, name_words
from drama_app.highlight import best_sentence, best_sentences, mark_words
from drama_app.manifest import DocumentRow, FileRow, Manifest
from drama_app.records import Filters, Hit, Mode, Passage, PassageHit, Results
from drama_app.sentences import split_sentences

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from drama_app.embed import Encoder
    from drama_app.passage_table import StoredPassage
    from drama_app.rank import Fused, Group, Scale
    from drama_app.store import Candidate, Key, PassageStore

    Vectors = NDArray[np.float32]

CANDIDATES = 60  # of each list: as good as 100 on six development sets (nDCG@10 within 0.0012), and 40 is nearly so
MORE = 300
MANY = 2_000  # of each list where those before lie in fewer documents than asked for
SAMPLE = 400  # vectors that tell how cosines to passages in general are spread
RIVALS = 3  # sentences of a passage that hold about as many of the query's words, of which meaning chooses one
SENTENCES = 40  # encoded to mark sentences by meaning before no further passage is: about 0.1 s on two cores


@dataclass(frozen=True, slots=True)
class _Found:
    """The candidates of a query."""

    vector: "Vectors | None"
    meaning: "list[Candidate]"
    keywords: "list[Candidate]"
    known: "dict[Key, StoredPassage]"
    """The best of `keywords` with their vectors."""
    named: list[int]
    """Documents that are asked for by their file's name."""

    def is_full(self, count: int) -> bool:
        """Whether there may be more than the `count` asked for."""
        return max(len(self.meaning), len(self.keywords)) >= count

    def documents(self) -> list[int]:
        """The numbers of all documents."""
        return list({*(each.document for each in (*self.meaning, *self.keywords)), *self.named})


def ask_one_retriever(table: Callable[[], str], ask: Callable[[], Results]) -> Results:
    """The answer of one retriever: a switch that ends meanwhile brings the vectors of one to the passages of another.

    Args:
        table: Tells the table in use, and lets go of what belongs to another one.
        ask: The question, which is asked again if that has changed.
    """
    while True:
        before = table()
        try:
            results = ask()
        except Exception:  # vectors of another width, for example
            if table() == before:
                raise
            continue
        if table() == before:
            return results


class Searcher:
    """Answers queries over one index. Opens the store and the encoder when a query needs them."""

    def __init__(
        self, manifest: Manifest, store: "Callable[[], PassageStore]", encoder: "Callable[[], Encoder]"
    ) -> None:
        # LanceDB and ONNX Runtime are imported side by side and both import NumPy: under load one of them met it half
        # imported and failed ("import numpy failed", seen once).
        import numpy  # noqa: F401

        self._manifest = manifest
        self._store = store
        self._encoder = encoder
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="search")
        self._sample: tuple[int, Vectors | None, Scale | None] = (-1, None, None)

    def search(self, query: str, *, mode: Mode, limit: int, filters: Filters, passages: int) -> Results:
        """The documents that answer `query`, best first; see `Library.search`."""
        from drama_app import rank

        started = time.monotonic()
        found = self._find_candidates(query, mode, filters, CANDIDATES)
        visible = self._manifest.documents(found.documents())
        for more, count in ((CANDIDATES, MORE), (MORE, MANY)):
            if not found.is_full(more) or len(visible) >= limit:
                break
            # A few long documents, or one that is still being indexed, fill both lists: look further for others.
            hidden = self._manifest.unfinished()
            found = self._find_candidates(query, mode, filters, count, without=hidden)
            visible = self._manifest.documents(found.documents())
        scale = rank.measure_scale(found.vector, *self._draw_sample()) if found.vector is not None else rank.Scale()
        fused = rank.fuse(
            query,
            found.meaning,
            found.keywords,
            mode=mode,
            scale=scale,
            cosines=_cosines(found) if mode == "fused" else None,
            texts={key: row.passage.text for key, row in found.known.items()},
            named=found.named,
        )
        hits = self._describe(query, fused, visible, limit=limit, passages=passages, filters=filters)
        if not fused:
            self._check_passages()
        hopeless = not hits or rank.is_hopeless(fused, found.keywords, scale, query=query)
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
        own = _find_page(stored, page, self._manifest.page_starts([row.document]).get(row.document, ()))
        vectors = [each.vector for each in own if each.vector is not None]
        if not vectors:
            raise UsageError(f"{path} has no text on page {page}" if page else f"{path} has no text")
        centre = np.mean(vectors, axis=0)
        centre /= max(float(np.linalg.norm(centre)), 1e-12)
        documents = self._manifest.matching(filters)
        # Without its own passages, and without those of documents under way, which may be thousands.
        without = [row.document, *self._manifest.unfinished()]
        for count in (CANDIDATES, MORE, MANY):  # a few long documents may fill the list, as older versions of it do
            found = self._store().nearest(
                centre, limit=count, documents=documents, languages=filters.languages, without=without
            )
            visible = self._manifest.documents([each.document for each in found])
            if len(found) < count or len(visible) >= limit:
                break
        fused = rank.fuse("", found, [], mode="meaning", scale=rank.measure_scale(centre, *self._draw_sample()))
        hits = self._describe("", fused, visible, limit=limit, passages=3, filters=filters)
        name = f"{path}#{page}" if page else str(path)
        return Results(name, "meaning", tuple(hits), not hits, time.monotonic() - started)

    def mark_sentences(self, results: Results) -> Results:
        """Marks every passage, and chooses the best passage's sentence by meaning where words do not tell it.

        A search by keywords needs no retriever, and must not here: it answers where the retriever is gone.
        """
        if not results.query:
            return results
        hits = [
            replace(hit, passages=(*hit.passages[:1], *(_mark(results.query, each) for each in hit.passages[1:])))
            for hit in results.hits
        ]
        firsts = [(place, hit.passages[0]) for place, hit in enumerate(hits) if hit.passages]
        spans: list[tuple[int, tuple[int, int], str]] = []
        for place, first in firsts if results.mode != "keywords" else ():
            rivals = best_sentences(results.query, first.text)
            own = rivals[:RIVALS] if rivals else split_sentences(first.text)  # no word of the query stands in it
            if len(own) > 1 or not rivals:
                spans += [(place, span, first.text) for span in own]
            if len(spans) >= SENTENCES:  # the passage that passes the limit is read whole
                break
        for place, span in self._choose_sentences(results.query, spans).items():
            first, *others = hits[place].passages
            hits[place] = replace(hits[place], passages=(first.choose(span), *others))
        return replace(results, hits=tuple(hits))

    def _choose_sentences(
        self, query: str, spans: list[tuple[int, tuple[int, int], str]]
    ) -> dict[int, tuple[int, int]]:
        """The nearest sentence of each hit; `spans` are hit, place in the text, text."""
        if not spans:
            return {}
        vectors = self._encoder().encode_passages([text[start:end] for _, (start, end), text in spans])
        scores = vectors @ self._encoder().encode_queries([query])[0]
        order = sorted(zip(scores.tolist(), spans, strict=True), key=lambda pair: -pair[0])[::-1]
        return {place: span for _, (place, span, _) in order}  # the last, nearest one stays; of equals the first given

    # --- candidates ------------------------------------------------------------------------------------------

    def _find_candidates(
        self, query: str, mode: Mode, filters: Filters, count: int, *, without: Sequence[int] = ()
    ) -> _Found:
        """The query's vector, both lists, and the rows of the first keyword candidates.

        Keywords and their rows are looked up beside encoding and the nearest: two chains of about equal length.
        """
        documents = self._manifest.matching(filters)

        def match() -> "tuple[list[Candidate], dict[Key, StoredPassage], list[int]]":
            from drama_app.store import LOOKED_UP

            store = self._open_newest()
            if mode == "meaning":
                return [], {}, []
            found = store.keywords(
                query, limit=count, documents=documents, languages=filters.languages, without=without
            )
            rows = store.passages([each.key for each in found[:LOOKED_UP]], vectors=True)
            named = self._find_named(query, filters, rows) if mode == "fused" else []
            return found, {row.key: row for row in rows}, named

        matching = self._beside.submit(match)
        vector, meaning = None, []
        if mode != "keywords":
            vector = self._encoder().encode_queries([query])[0]
            meaning = self._store().nearest(
                vector, limit=count, documents=documents, languages=filters.languages, without=without
            )
        return _Found(vector, meaning, *matching.result())

    def _find_named(self, query: str, filters: Filters, rows: "Sequence[StoredPassage]") -> list[int]:
        """Documents with a file that is named so and passes the filters; none if a word stands in too many names.

        `rows` are the passages that hold words of the query: what they hold whole is not asked of the inside of names.
        """
        words = name_words(query)
        if not words or filters.languages:  # which passage is in one of these languages is not known here
            return []
        numbers = self._manifest.named(words)
        known, places = self._manifest.documents(numbers), self._manifest.paths_of(numbers)
        held = {term for row in rows for term in row.terms.split()} if numbers else set()
        found, exact = [], []
        for number in (each for each in numbers if each in known and known[each].passages):
            kind = known[number].kind
            paths = [each.path for each in places.get(number, ()) if passes(each, filters, kind)]
            if any(holds_words(fold_name(path), words) and is_meant(path, words, held) for path in paths):
                found.append(number)
            if any(is_named(fold_name(path), words) for path in paths):
                exact.append(number)
        return found if len(found) <= MOST else exact[:MOST]

    def _open_newest(self) -> "PassageStore":
        store = self._store()
        store.refresh()
        return store

    def _check_passages(self) -> None:
        """Tells an index that lost its passages from one in which nothing matches."""
        if self._manifest.counts()[1] and not self._store().count():
            raise IndexDamagedError("the passages of the index are gone: run `drama-app index` to make them again")

    def _draw_sample(self) -> "tuple[Vectors | None, Scale | None]":
        """Vectors of passages in general and how they lie; drawn anew when the index has grown or shrunk by a tenth."""
        from drama_app.rank import measure_pairs

        count = self._store().count()
        if abs(count - self._sample[0]) > self._sample[0] / 10:
            sample = self._store().sample(SAMPLE)
            self._sample = count, sample, measure_pairs(sample)
        return self._sample[1:]

    # --- hits ------------------------------------------------------------------------------------------------

    def _describe(
        self,
        query: str,
        fused: "Sequence[Fused]",
        visible: dict[int, DocumentRow],
        *,
        limit: int,
        passages: int,
        filters: Filters,
    ) -> list[Hit]:
        """Hits of the best documents that are visible and have a file that passes the filters."""
        from drama_app import rank

        groups = [each for each in rank.group(fused, limit=MANY, passages=passages) if each.document in visible]
        words = name_words(query)
        chosen: dict[bytes, tuple[Group, DocumentRow, list[FileRow]]] = {}
        for start in range(0, len(groups), 2 * limit):
            if len(chosen) >= limit:
                break
            self._choose(groups[start : start + 2 * limit], visible, limit, filters, chosen, words)
        keys = [item.key for each, _, _ in chosen.values() for item in each.passages]
        known = {stored.key: stored for stored in self._store().passages(keys)}
        pages = self._manifest.page_starts([each.document for each, _, _ in chosen.values()])
        return [
            _hit(query, each, row, places, known, pages.get(each.document, ())) for each, row, places in chosen.values()
        ]

    def _choose(
        self,
        groups: "Sequence[Group]",
        visible: dict[int, DocumentRow],
        limit: int,
        filters: Filters,
        chosen: "dict[bytes, tuple[Group, DocumentRow, list[FileRow]]]",
        words: Sequence[str],
    ) -> None:
        """Adds the documents of `groups`, by content, until there are `limit`; files named after `words` first."""
        files = self._manifest.paths_of([each.document for each in groups])
        for each in groups:
            row = visible[each.document]
            places = [file for file in files.get(row.id, ()) if passes(file, filters, row.kind)]
            places.sort(key=lambda file: not (words and holds_words(fold_name(file.path), words)))
            if row.hash in chosen:
                chosen[row.hash][2].extend(places)  # the same bytes under another ending
            elif places and len(chosen) < limit:
                chosen[row.hash] = (each, row, places)


def _hit(
    query: str, group: "Group", row: DocumentRow, places: list[FileRow], known: "dict[Key, StoredPassage]",
    pages: tuple[int, ...],
) -> Hit:  # fmt: skip
    found = [_passage_hit(item, known[item.key].passage, pages) for item in group.passages if item.key in known]
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
    return replace(passage, marks=mark_words(query, passage.text)).choose(best_sentence(query, passage.text))


def _passage_hit(item: "Fused", passage: Passage, pages: tuple[int, ...]) -> PassageHit:
    later = slice(bisect_right(pages, passage.start), bisect_left(pages, passage.end))
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
        page_starts=tuple(start - passage.start for start in pages[later]),
    )


def _find_page(stored: "Sequence[StoredPassage]", page: int | None, starts: tuple[int, ...]) -> "list[StoredPassage]":
    """The passages that stand on a page, or all; by where they start alone in an index from before pages were kept."""
    if page is None:
        return list(stored)
    if not starts:
        return [each for each in stored if each.passage.page == page]
    if not 0 < page <= len(starts):
        return []
    first, last = starts[page - 1], starts[page] if page < len(starts) else sys.maxsize
    return [each for each in stored if each.passage.start < last and each.passage.end > first]


def _cosines(found: _Found) -> "dict[Key, float] | None":
    """Exact cosines of the best that keywords found."""
    import numpy as np

    from drama_app.rank import cosines_of

    if found.vector is None or not found.known:
        return None
    vectors = np.stack([row.vector for row in found.known.values() if row.vector is not None])
    return dict(zip(found.known, cosines_of(found.vector, vectors).tolist(), strict=True))
