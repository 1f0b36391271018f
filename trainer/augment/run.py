"""Owns augmentation as a stage: which passages, in which order, into which files; each kind can be continued.

`crop_passages`, `write_queries`, `rerank_queries` and `invent_triplets` each write one file of records and return a
tally by language and reason. The kinds themselves are elsewhere.
"""

import hashlib
import heapq
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drama_app.errors import UsageError
from trainer.augment.crop import crop
from trainer.augment.filters import RoundTrip
from trainer.augment.ledger import Outcome, Tally, read_finished, run_blocks
from trainer.augment.llm import Generator, Sampling
from trainer.augment.prompts import (
    STYLES,
    find_prompts,
    match_language,
    read_query_prompts,
    read_rerank_prompt,
    read_triplet_prompts,
)
from trainer.augment.queries import QueryBlock, plan_blocks, write_block
from trainer.augment.rerank import CANDIDATES, Candidates, rerank_block
from trainer.augment.triplets import write_triplets
from trainer.recipe import AugmentRecipe
from trainer.records import Passage, Query, RecordWriter, make_key, read_records
from trainer.retrieve import encode_passages, search

if TYPE_CHECKING:
    from drama_app.embed import Encoder

_LOOKED_AT = 5 * CANDIDATES
"""Of all languages, to find the candidates of one."""
ROUND_TRIP_POOL = 256
"""Passages of a language that a query's own has to stand out from; all are looked at once more when mining."""
ROUND_TRIP_RANK = 1
"""Rank 3 let vague ones through ("What is the default language for your system?")."""
_SPARE = 4
"""Passages chosen for each query wanted: of a small model's queries up to three in four are rejected."""
_CROP_BLOCK, _RERANK_BLOCK = 2048, 16

Report = Callable[[str], None]


def crop_passages(
    passages: Path, out: Path, recipe: AugmentRecipe, *, seed: int, report: Report | None = None
) -> Tally:
    """Write up to `recipe.crops` queries that are cropped from passages, languages by the root of their passages.

    Raises:
        UsageError: The passages cannot be read, or none is in a language asked for.
    """
    chosen = choose_passages(passages, recipe.crops, languages=recipe.languages, seed=seed)
    blocks = plan_blocks(chosen, size=_CROP_BLOCK, styles=("crop",))

    def make(block: QueryBlock, _: Counter[str]) -> Iterator[Outcome]:
        for passage in block.passages:
            found = crop(passage, seed=seed)
            yield Outcome(_stand_in(passage, "crop"), found) if isinstance(found, str) else Outcome(found)

    key = make_key("crop", seed, recipe, passages)
    return run_blocks(blocks, make, out, key=key, most=recipe.crops, report=report)


def write_queries(
    passages: Path, out: Path, recipe: AugmentRecipe, generator: Generator, *, seed: int,
    encoder: "Encoder | None" = None, rounds: int = 1, report: Report | None = None,
) -> Tally:  # fmt: skip
    """Write up to `recipe.queries` queries of the styles that the recipe names.

    Args:
        passages: A file of `Passage`; those in a language without prompts are passed over.
        out: The file of `Query`.
        recipe: How many, of which kinds and languages, and how they are drawn.
        generator: The model.
        seed: The same seed and model give the same file.
        encoder: A retriever that must find each query's passage again; None leaves that check out.
        rounds: Queries a passage, each of another style.
        report: Called with a sentence after each block.

    Raises:
        UsageError: No style is named, or no passage is in a language with prompts.
    """
    styles = [style for style in STYLES if style in recipe.kinds]
    if not styles:
        raise UsageError(f"generated queries need a kind of {', '.join(STYLES)}; named: {', '.join(recipe.kinds)}")
    prompts = read_query_prompts()
    chosen = choose_passages(
        passages, math.ceil(_SPARE * recipe.queries / rounds), languages=recipe.languages, offered=prompts, seed=seed
    )
    blocks = plan_blocks(chosen, size=generator.batch, styles=styles, rounds=rounds)
    pools = {language: some[:ROUND_TRIP_POOL] for language, some in chosen.items()}
    round_trip = RoundTrip(encoder, pools, rank=ROUND_TRIP_RANK) if encoder else None
    sampling = Sampling(most_tokens=recipe.most_tokens, temperature=recipe.temperature, top_p=recipe.top_p)

    def make(block: QueryBlock, _: Counter[str]) -> Iterator[Outcome]:
        return write_block(
            block, generator, prompts[block.language], sampling=sampling, seed=seed, round_trip=round_trip
        )

    key = make_key("queries", seed, recipe, rounds, generator.name, generator.batch, _name(encoder), passages,
                   find_prompts() / "queries.toml")  # fmt: skip
    most, usage = recipe.queries, generator.usage
    return run_blocks(blocks, make, out, key=key, most=most, usage=usage, report=report, must_keep=True)


def rerank_queries(
    queries: Path, passages: Path, out: Path, generator: Generator, encoder: "Encoder", *, work: Path, most: int = 0,
    report: Report | None = None,
) -> Tally:  # fmt: skip
    """Write training groups whose order a model chose among the first twenty passages of a retriever.

    Args:
        queries: A file of `Query`.
        passages: A file of `Passage`; a query's candidates are in the language of its own.
        out: The file of `TrainingGroup`.
        generator: The model.
        encoder: The retriever.
        work: Folder for the vectors of the passages.
        most: Queries at most; 0 takes all.
        report: Called with a sentence after each block.

    Raises:
        UsageError: A file cannot be read, or a query names no passage of the file.
    """
    corpus = list(read_records(passages, Passage))
    languages = {each.id: each.language for each in corpus}
    asked = _read_asked(queries, most, languages)
    key = make_key("rerank", generator.name, generator.batch, _name(encoder), queries, passages, most,
                   find_prompts() / "rerank.toml")  # fmt: skip
    vectors = encode_passages(encoder, passages, work, report=report)
    prompt = read_rerank_prompt()

    def make(block: Sequence[Query], notes: Counter[str]) -> Iterator[Outcome]:
        found = search(encoder.encode_queries([query.text for query in block]), vectors, _LOOKED_AT)
        ranked = [
            _candidates(query, scores, rows, corpus, languages)
            for query, scores, rows in zip(block, *found, strict=True)
        ]
        asking = [each for each in ranked if each.passages]
        notes["no candidates"] += len(ranked) - len(asking)
        return rerank_block(asking, generator, prompt, notes)

    blocks = [asked[at : at + _RERANK_BLOCK] for at in range(0, len(asked), _RERANK_BLOCK)]
    return run_blocks(blocks, make, out, key=key, usage=generator.usage, report=report)


def _read_asked(path: Path, most: int, languages: dict[str, str]) -> list[Query]:
    """The queries to rerank, each with a passage that is known: generated ones first, as in the paper, of all languages
    alike; a file's beginning may be crops of one language."""
    asked = list(read_records(path, Query))
    if most:
        asked = sorted(asked, key=lambda query: (query.kind not in STYLES, _hash(0, query.id)))[:most]
    if unknown := next((each.passage for each in asked if each.passage not in languages), None):
        raise UsageError(f"{path}: passage {unknown} is not among the passages")
    return asked


def _candidates(
    query: Query, scores: Iterable[Any], rows: Iterable[int], corpus: Sequence[Passage], languages: dict[str, str]
) -> Candidates:
    """The first passages in the language of the query's own."""
    near = [
        (corpus[row], round(float(score), 4))
        for row, score in zip(rows, scores, strict=True)
        if corpus[row].language == languages[query.passage]
    ][:CANDIDATES]
    return Candidates(query, tuple(passage for passage, _ in near), tuple(score for _, score in near))


def invent_triplets(
    passages: Path, out: Path, passages_out: Path, recipe: AugmentRecipe, generator: Generator, *, seed: int,
    most: int, report: Report | None = None,
) -> Tally:  # fmt: skip
    """Write queries around topics of passages, and to `passages_out` the passages that a model invented for them.

    The near miss stands behind the answer as a passage of the same `document`. Passages of a run that was stopped may
    stand in their file twice; the id tells.

    Raises:
        UsageError: No passage is in a language with prompts.
    """
    prompts = read_triplet_prompts()
    chosen = choose_passages(passages, _SPARE * most, languages=recipe.languages, offered=prompts, seed=seed)
    blocks = plan_blocks(chosen, size=generator.batch, styles=("triplet",))
    key = make_key("triplets", seed, recipe, generator.name, generator.batch, most, passages,
                   find_prompts() / "triplets.toml")  # fmt: skip
    invented = out.with_name(out.name + ".passages.jsonl")
    return _run_triplets(blocks, prompts, out, passages_out, invented, recipe, generator, seed, key, most, report)


def choose_passages(
    path: Path, count: int, *, languages: Sequence[str] = (), offered: dict[str, Any] | None = None, seed: int
) -> dict[str, list[Passage]]:
    """Passages for so many queries, each language's share by the square root of how many it has.

    Args:
        path: A file of `Passage`.
        count: How many to choose; fewer where there are fewer.
        languages: Only these codes; empty is all.
        offered: Codes for which there are prompts; None takes every language under its own code.
        seed: Decides which, and in which order; the file's order does not.

    Returns:
        Passages by code; held in memory, about 2 kB each.

    Raises:
        UsageError: None is left.
    """
    ranked = _rank_passages(path, languages, offered, seed)
    if not ranked:
        known = f"; there are prompts for {', '.join(sorted(offered))}" if offered else ""
        raise UsageError(f"{path}: no passage is in a language asked for{known}")
    shares = share_out({code: len(some) for code, some in ranked.items()}, count)
    order = {
        each: (code, place)
        for code, some in ranked.items()
        for place, (_, each) in enumerate(heapq.nsmallest(shares[code], some))
    }
    chosen: dict[str, list[Passage | None]] = {code: [None] * shares[code] for code in shares if shares[code]}
    for passage in read_records(path, Passage):
        if passage.id in order:
            code, place = order[passage.id]
            chosen[code][place] = passage
    return {code: [each for each in some if each] for code, some in chosen.items()}


def _rank_passages(
    path: Path, languages: Sequence[str], offered: dict[str, Any] | None, seed: int
) -> dict[str, list[tuple[bytes, str]]]:
    """By code, each passage's place in the order that the seed gives, and its id."""
    codes: dict[str, str] = {}
    ranked: dict[str, list[tuple[bytes, str]]] = {}
    for passage in read_records(path, Passage):
        code = codes.setdefault(
            passage.language, passage.language if offered is None else match_language(passage.language, offered)
        )
        wanted = not languages or passage.language in languages or code in languages
        if wanted and (code or offered is None):
            ranked.setdefault(code, []).append((_hash(seed, passage.id), passage.id))
    return ranked


def share_out(sizes: dict[str, int], count: int) -> dict[str, int]:
    """Divide a count among languages by the roots of their sizes; what a small one cannot take goes to the others."""
    shares = dict.fromkeys(sizes, 0)
    left = min(count, sum(sizes.values()))
    while left:
        weights = {code: math.sqrt(size) for code, size in sizes.items() if shares[code] < size}
        if left <= len(weights):
            # One each for those that are furthest below their share.
            for code in sorted(weights, key=lambda code: (shares[code] / weights[code], code))[:left]:
                shares[code] += 1
            break
        total, before = sum(weights.values()), left
        for code, weight in weights.items():
            more = min(sizes[code] - shares[code], int(before * weight / total))
            shares[code] += more
            left -= more
    return shares


def _run_triplets(
    blocks: Sequence[QueryBlock], prompts: dict[str, Any], out: Path, passages_out: Path, invented: Path,
    recipe: AugmentRecipe, generator: Generator, seed: int, key: str, most: int, report: Report | None,
) -> Tally:  # fmt: skip
    """Triplets into a scratch file as they come, then each passage that a kept query has once into its own."""
    if passages_out.exists() and (tally := read_finished(out, key)) is not None:
        return tally
    invented.parent.mkdir(parents=True, exist_ok=True)
    if invented.exists() and out.exists():  # stopped between the two files
        invented.replace(invented.with_name(invented.name + ".partial"))
    with RecordWriter(invented, resume=True) as scratch:

        def make(block: QueryBlock, _: Counter[str]) -> Iterator[Outcome]:
            for each in write_triplets(
                block.passages, generator, prompts[block.language], seed=seed, temperature=recipe.temperature
            ):
                for passage in () if each.fault else each.passages:
                    scratch.write(passage)
                yield each.as_outcome()
            # Before the ledger notes the block as done.
            scratch.flush()

        tally = run_blocks(blocks, make, out, key=key, most=most, usage=generator.usage, report=report)
    kept = {query.passage for query in read_records(out, Query)}
    documents = {each.document for each in read_records(invented, Passage) if each.id in kept}
    _write_once((each for each in read_records(invented, Passage) if each.document in documents), passages_out)
    invented.unlink()
    return tally


def _write_once(passages: Iterable[Passage], out: Path) -> None:
    seen: set[str] = set()
    with RecordWriter(out) as writer:
        for passage in passages:
            if passage.id not in seen:
                seen.add(passage.id)
                writer.write(passage)


def _stand_in(passage: Passage, kind: str) -> Query:
    """A query that was not made, to be counted by its language."""
    return Query(id=passage.id, text="", passage=passage.id, kind=kind, language=passage.language)


def _hash(seed: int, name: str) -> bytes:
    return hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest()


def _name(encoder: "Encoder | None") -> str:
    return f"{encoder.fingerprint}/{encoder.dim}" if encoder else ""
