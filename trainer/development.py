"""Owns the development sets of a run: held-out queries in BEIR layout, a language each, to measure what was made.

Whole documents are held out with their near-duplicates; a set's other passages are there to be told apart from the
answers. It measures nothing.
"""

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from trainer.records import Passage, Query, RecordWriter, read_records
from trainer.splits import split_passages

_NOT_ASKED = frozenset({"crop", "triplet", "parallel"})
"""Kinds that no person would ask like."""
_LEAST_QUERIES = 10
"""A language with fewer goes into the set "other"."""
_PASSAGES = 2000
"""Of a set: with fewer, a retriever that knows the topic alone would do."""
OTHER = "other"
_ENOUGH, _MOST = 200, 0.25
"""Held-out queries below which more documents are held out than asked for, and their share at most: with 300 queries
and a share of 0.05 seven were left to judge by."""


def divide(
    queries: Sequence[Path], passages: Sequence[Path], *, training_queries: Path, training_passages: Path,
    development: Path, held_out: float, most: int, seed: int,
) -> dict[str, object]:  # fmt: skip
    """Write what trains and what measures.

    Args:
        queries: Files of `Query`.
        passages: Files of `Passage`; an id that comes again is left out.
        training_queries: Gets the queries whose documents train.
        training_passages: Gets all passages but those held out.
        development: Folder for the sets; what is in it goes.
        held_out: Share of the documents with queries to hold out; more of a small corpus.
        most: Queries a set.
        seed: Of the split.

    Returns:
        Figures: queries that train and that are held out, and queries by development set.
    """
    asked = [query for path in queries for query in read_records(path, Query)]
    known = {passage.id: passage for path in passages for passage in read_records(path, Passage)}
    targets = {query.passage for query in asked}
    asking = sum(query.kind not in _NOT_ASKED for query in asked) or len(asked)
    share = max(held_out, min(_MOST, _ENOUGH / max(1, asking)))
    split = split_passages([each for each in known.values() if each.id in targets], held_out=share, seed=seed)
    training, held = split.divide(asked)
    # A question that is held out with one of its answers does not train with another.
    measured = {query.id for query in held}
    training = [query for query in training if query.id not in measured]
    held_out_passages = _complete(split.held_out, known)
    _write(training_queries, training)
    _write(training_passages, (each for each in known.values() if each.id not in held_out_passages))
    shutil.rmtree(development, ignore_errors=True)
    answers = _find_answers(asked, measured, known)
    sets = _choose(held, most)
    for name, chosen in sets.items():
        _write_set(development / name, name, chosen, answers, known, held_out_passages)
    sizes = {name: len(chosen) for name, chosen in sorted(sets.items())}
    return {"training_queries": len(training), "held_out_queries": len(held), "development": sizes}


def _find_answers(asked: Iterable[Query], measured: set[str], known: Mapping[str, Passage]) -> dict[str, set[str]]:
    """All passages that answer a held-out question, by its id."""
    answers: dict[str, set[str]] = {}
    for query in asked:
        if query.id in measured and query.passage in known:
            answers.setdefault(query.id, set()).add(query.passage)
    return answers


def _complete(held_out: frozenset[str], known: Mapping[str, Passage]) -> frozenset[str]:
    """Held-out passages with those of their documents that no query asks for."""
    documents = {known[each].document for each in held_out} - {""}
    return held_out | {each for each, passage in known.items() if passage.document in documents}


def _choose(held: Iterable[Query], most: int) -> dict[str, list[Query]]:
    """Queries by set, each once: in the order of their ids, which is none."""
    held = sorted(held, key=lambda query: query.id)
    asked = [query for query in held if query.kind not in _NOT_ASKED] or held
    asked = list({query.id: query for query in asked}.values())
    sizes = Counter(query.language for query in asked)
    sets: dict[str, list[Query]] = {}
    for query in asked:
        name = query.language if sizes[query.language] >= _LEAST_QUERIES and query.language.isalnum() else OTHER
        chosen = sets.setdefault(name, [])
        if len(chosen) < most:
            chosen.append(query)
    return sets


def _write_set(
    folder: Path, name: str, queries: Sequence[Query], relevant: Mapping[str, set[str]],
    known: Mapping[str, Passage], held_out: frozenset[str],
) -> None:  # fmt: skip
    """One set: its answers first, then held-out passages of their languages, then others of them."""
    answers = {each for query in queries for each in relevant[query.id]}
    spoken = {known[each].language for each in answers}
    others = sorted(
        (each for each, passage in known.items() if passage.language in spoken and each not in answers),
        key=lambda each: (each not in held_out, each),
    )
    (folder / "qrels").mkdir(parents=True)
    with (folder / "corpus.jsonl").open("w", encoding="utf-8") as stream:
        for each in [*sorted(answers), *others[: max(0, _PASSAGES - len(answers))]]:
            passage = known[each]
            row = {"_id": each, "title": passage.title, "text": passage.text, "lang": passage.language}
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
    with (folder / "queries.jsonl").open("w", encoding="utf-8") as stream:
        for query in queries:
            row = {"_id": query.id, "text": query.text, "lang": query.language}
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
    judged = [(query.id, each) for query in queries for each in sorted(relevant[query.id])]
    lines = ["query-id\tcorpus-id\tscore", *(f"{query}\t{passage}\t1" for query, passage in judged)]
    (folder / "qrels" / "test.tsv").write_text("\n".join([*lines, ""]), encoding="utf-8")
    languages = {"language": "" if name == OTHER else name}
    (folder / "meta.json").write_text(json.dumps(languages) + "\n", encoding="utf-8")


def _write(path: Path, records: "Iterable[Query] | Iterable[Passage]") -> None:
    with RecordWriter(path) as writer:
        for record in records:
            writer.write(record)
