"""Passage size, overlap and the title above a passage, measured by nDCG@10 of a search by meaning.

    python -m tests.bench.passages --retriever FOLDER --eval FOLDER [--train FOLDER] --out results.jsonl sizes titles

A document scores as its best passage, by exact cosine. Sets of short passages are made long by joining five
neighbours, of one title where they have titles. One line of JSON a measurement; vectors of equal texts are kept
between runs in `--cache`. It chooses no default: the figures and the choice stand in LOG.md.
"""

import argparse
import hashlib
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import zstandard
from numpy.typing import NDArray

from drama_app import chunk
from drama_app.records import Document, Passage

Vectors = NDArray[np.float32]

JOINED = ("xquad-en", "xquad-zh", "xquad-ar", "tydi-fi", "tydi-ko", "jaquad-dev")
WHOLE = ("qmsum-long", "cranfield")


class Task(NamedTuple):
    """Documents by id, queries by id, and the relevance of documents for each query."""

    name: str
    documents: dict[str, Document]
    queries: dict[str, str]
    relevant: dict[str, dict[str, int]]


class Encoder:
    """The retriever of a folder on one thread, with its vectors kept by the text they stand for."""

    def __init__(self, folder: Path, cache: Path, *, threads: int) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        self._settings = json.loads((folder / "retriever.json").read_text())
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(self._settings["max_tokens"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options)
        self._cache = cache
        self._known: dict[str, Vectors] = {}
        self.tokens = 0
        if cache.exists():
            with np.load(cache) as kept:
                self._known = dict(zip(kept["keys"].tolist(), kept["vectors"], strict=True))

    def encode(self, texts: list[str], kind: str) -> Vectors:
        """Return unit vectors [texts, width]; kind is "query" or "passage"."""
        prefixed = [self._settings[f"{kind}_prefix"] + text for text in texts]
        keys = [hashlib.sha256(text.encode()).hexdigest()[:24] for text in prefixed]
        missing = {key: text for key, text in zip(keys, prefixed, strict=True) if key not in self._known}
        self._encode_missing(missing)
        return np.stack([self._known[key] for key in keys])

    def _encode_missing(self, missing: dict[str, str]) -> None:
        encodings = self._tokenizer.encode_batch(list(missing.values()))
        order = sorted(zip(missing, encodings, strict=True), key=lambda pair: len(pair[1].ids))
        for start in range(0, len(order), 4):
            batch = order[start : start + 4]
            longest = len(batch[-1][1].ids)
            ids = np.full((len(batch), longest), self._settings["pad_token_id"], np.int64)
            mask = np.zeros((len(batch), longest), np.int64)
            for row, (_, encoding) in enumerate(batch):
                ids[row, : len(encoding.ids)] = encoding.ids
                mask[row, : len(encoding.ids)] = 1
            self.tokens += int(mask.sum())
            vectors = self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            self._known.update((key, vector) for (key, _), vector in zip(batch, vectors, strict=True))

    def keep(self) -> None:
        """Write all vectors to the cache."""
        keys = list(self._known)
        np.savez(self._cache, keys=np.array(keys), vectors=np.stack([self._known[key] for key in keys]))


def read_lines(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def load_task(folder: Path, *, joined: int, most_documents: int, most_queries: int) -> Task:
    """Read a set in BEIR layout; `joined` neighbours become one document."""
    rows = list(read_lines(folder / "corpus.jsonl"))
    if joined > 1:
        rows.sort(key=lambda row: row["title"])
    groups = list(group_rows(rows, joined))
    picked = groups if len(groups) <= most_documents else random.Random(1).sample(groups, most_documents)
    home = {row["_id"]: group[0]["_id"] for group in picked for row in group}
    documents = {
        group[0]["_id"]: Document("\n\n".join(row["text"] for row in group), "text", title=group[0]["title"])
        for group in picked
    }
    relevant: dict[str, dict[str, int]] = {}
    for line in (folder / "qrels" / "test.tsv").read_text().splitlines()[1:]:
        query, row, score = line.split("\t")
        if row in home and int(score) > 0:
            relevant.setdefault(query, {})[home[row]] = int(score)
    queries = {row["_id"]: row["text"] for row in read_lines(folder / "queries.jsonl") if row["_id"] in relevant}
    kept = sorted(queries) if len(queries) <= most_queries else random.Random(2).sample(sorted(queries), most_queries)
    return Task(folder.name, documents, {query: queries[query] for query in kept}, relevant)


def group_rows(rows: list[dict[str, str]], joined: int) -> Iterator[list[dict[str, str]]]:
    """Join neighbours; where titles come in runs of two and more, never two titles in one document."""
    titled = len({row["title"] for row in rows}) < len(rows) / 2
    group: list[dict[str, str]] = []
    for row in rows:
        if group and (len(group) == joined or (titled and row["title"] != group[0]["title"])):
            yield group
            group = []
        group.append(row)
    yield group


def cut(document: Document, *, size: int, overlap: int) -> list[Passage]:
    """Cut without looking for languages, which no vector depends on."""
    return list(chunk.describe_spans(document, chunk.cut_spans(document, size=size, overlap=overlap)))


def score(task: Task, texts: dict[str, list[str]], encoder: Encoder) -> tuple[float, float]:
    """Return the mean nDCG@10 over queries and its standard error."""
    owners = np.repeat(np.arange(len(texts)), [len(parts) for parts in texts.values()])
    vectors = encoder.encode([text for parts in texts.values() for text in parts], "passage")
    queries = encoder.encode(list(task.queries.values()), "query")
    names = np.array(list(texts))
    gains = []
    for query, row in zip(task.queries, queries @ vectors.T, strict=True):
        best = np.full(len(texts), -2.0)
        np.maximum.at(best, owners, row)
        order = names[np.argsort(-best, kind="stable")[:10]]
        gains.append(ndcg(order.tolist(), task.relevant[query]))
    return float(np.mean(gains)), float(np.std(gains) / len(gains) ** 0.5)


def ndcg(ranked: list[str], relevant: dict[str, int]) -> float:
    gain = sum(relevant.get(name, 0) / np.log2(rank + 2) for rank, name in enumerate(ranked))
    ideal = sum(value / np.log2(rank + 2) for rank, value in enumerate(sorted(relevant.values(), reverse=True)[:10]))
    return float(gain / ideal)


def measure(task: Task, encoder: Encoder, out: Path, *, size: int, overlap: int, above: str) -> None:
    """Score a task at one setting and append the figures to the results."""
    started, before = time.perf_counter(), encoder.tokens
    texts = {}
    for name, document in task.documents.items():
        passages = cut(document, size=size, overlap=overlap)
        texts[name] = [place_above(document.title, passage, above) for passage in passages] or [" "]
    value, error = score(task, texts, encoder)
    encoder.keep()
    row = {
        "task": task.name,
        "size": size,
        "overlap": overlap,
        "above": above,
        "ndcg@10": round(value, 4),
        "standard_error": round(error, 4),
        "documents": len(texts),
        "passages": sum(map(len, texts.values())),
        "queries": len(task.queries),
        "tokens_encoded": encoder.tokens - before,
        "seconds": round(time.perf_counter() - started, 1),
    }
    with out.open("a") as lines:
        lines.write(json.dumps(row) + "\n")
    print(json.dumps(row), flush=True)


def place_above(title: str, passage: Passage, above: str) -> str:
    if above == "nothing":
        return passage.text
    if above == "shipped":
        return chunk.embedded_text(title, passage)
    parts = [title if "title" in above else "", passage.heading if "heading" in above else "", passage.text]
    return "\n".join(part for part in parts if part)


def run_sizes(arguments: argparse.Namespace, encoder: Encoder) -> None:
    """Every size without overlap, then overlaps of the size in use."""
    tasks = [
        load_task(arguments.eval / name, joined=5 if name in JOINED else 1, most_documents=arguments.documents,
                  most_queries=arguments.queries)
        for name in arguments.sets
    ]  # fmt: skip
    for size in arguments.sizes:
        for share in arguments.overlaps:
            for task in tasks:
                measure(task, encoder, arguments.out, size=size, overlap=round(size * share), above="nothing")


def run_titles(arguments: argparse.Namespace, encoder: Encoder) -> None:
    """Title and heading above the passage or not."""
    tasks = [load_task(arguments.eval / name, joined=1, most_documents=arguments.documents,
                       most_queries=arguments.queries)
             for name in ("cranfield", "jaquad-dev", "tydi-fi", "tydi-ko")]  # fmt: skip
    if arguments.train:
        tasks += [load_titled(arguments.train, source) for source in ("medquad", "poquad-sample", "persianqa-test")]
    for task in tasks:
        for above in ("nothing", "title"):
            measure(task, encoder, arguments.out, size=chunk.SIZE, overlap=chunk.OVERLAP, above=above)


def load_titled(train: Path, source: str) -> Task:
    """Questions with their titled passages from the open question sets; the shipped retriever saw part of them."""
    with (train / "qa_open_licence.jsonl.zst").open("rb") as packed:
        stream = zstandard.ZstdDecompressor().stream_reader(packed).read().decode()
    rows = [row for row in map(json.loads, stream.splitlines()) if row["source"] == source and row.get("title")]
    texts = {row["positive"]: row for row in rows}
    documents = {
        hashlib.sha256(text.encode()).hexdigest()[:12]: Document(text, "text", title=row["title"])
        for text, row in list(texts.items())[:250]
    }
    names = {document.text: name for name, document in documents.items()}
    asked = random.Random(3).sample(rows, len(rows))
    queries = {str(i): row for i, row in enumerate(asked) if row["positive"] in names}
    queries = dict(list(queries.items())[:300])
    relevant = {key: {names[row["positive"]]: 1} for key, row in queries.items()}
    return Task(source, documents, {key: row["query"] for key, row in queries.items()}, relevant)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiments", nargs="+", choices=("sizes", "titles"))
    parser.add_argument("--retriever", type=Path, required=True)
    parser.add_argument("--eval", type=Path, required=True, help="folder of sets in BEIR layout")
    parser.add_argument("--train", type=Path, help="folder of the open question sets")
    parser.add_argument("--out", type=Path, default=Path("passages.jsonl"))
    parser.add_argument("--cache", type=Path, default=Path("passages.npz"))
    parser.add_argument("--sets", nargs="+", default=[*JOINED, *WHOLE])
    parser.add_argument("--sizes", nargs="+", type=int, default=[128, 192, 256, 384, 448])
    parser.add_argument("--overlaps", nargs="+", type=float, default=[0.0], help="shares of the size")
    parser.add_argument("--documents", type=int, default=10_000, help="most documents a set")
    parser.add_argument("--queries", type=int, default=150, help="most queries a set")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    encoder = Encoder(arguments.retriever, arguments.cache, threads=arguments.threads)
    for experiment in arguments.experiments:
        {"sizes": run_sizes, "titles": run_titles}[experiment](arguments, encoder)


if __name__ == "__main__":
    main()
