"""How fast a query is as an index grows: `python -m tests.bench.queries --corpus FILE.jsonl.zst --sizes 1000,10000`.

Real passages, repeated where there are not enough; real vectors of a sample of them, repeated with noise. One home
grows from size to size. At each size a fresh process answers real questions (sentences out of other passages) through
`Library.search`, warm, and a fresh `drama-app search` is timed cold, start-up included.
"""

import argparse
import io
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np

PASSAGES_A_DOCUMENT = 10
NOISE = 0.5  # of a unit vector: neighbours stay neighbours, copies are told apart
QUERIES = 100
COLD_RUNS = 5


def read_corpus(path: Path, count: int) -> list[dict[str, str]]:
    """The first `count` passages, shuffled evenly over the languages by a fixed stride."""
    import zstandard

    with path.open("rb") as raw:
        lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(raw), encoding="utf-8")
        rows = [json.loads(line) for line in itertools.islice(lines, count)]
    return [rows[place * 7919 % len(rows)] for place in range(len(rows))]


def make_documents(rows: list[dict[str, str]], vectors: np.ndarray, start: int, end: int) -> Iterator[tuple]:
    """Documents `start` to `end` (numbers) with passages and vectors [PASSAGES_A_DOCUMENT, dim]."""
    from drama_app.records import Passage

    rng = np.random.default_rng(start)
    for number in range(start, end):
        places = [(number * PASSAGES_A_DOCUMENT + place) for place in range(PASSAGES_A_DOCUMENT)]
        passages = []
        for ordinal, place in enumerate(places):
            row = rows[place % len(rows)]
            text = row["text"]
            passages.append(Passage(ordinal, 0, len(text), text, None, None, row["title"] or "", row["lang"][:2]))
        near = vectors[np.array(places) % len(vectors)]
        near = near + rng.standard_normal(near.shape).astype(np.float32) * (NOISE / near.shape[1] ** 0.5)
        yield number, passages, near / np.linalg.norm(near, axis=1, keepdims=True)


def grow(rows: list[dict[str, str]], vectors: np.ndarray, start: int, end: int) -> float:
    """Adds documents to the index; returns the seconds that storing and tidying took.

    It is tidied once at the end: tidying whenever it has grown by a tenth, as indexing does over its hours, would write
    the index of terms fifteen times over on the way to a million.
    """
    from drama_app import caretaker
    from drama_app.config import load_settings
    from drama_app.library import Library
    from drama_app.manifest import FileRow

    with Library.open(load_settings(), create=True) as library:
        manifest, store = library._manifest, library._store
        numbers = {}
        with manifest.transaction():
            for place in range(start, end):
                number = manifest.begin_document(place.to_bytes(16), ".txt")
                manifest.finish_document(number, kind="text", title="", notes=(), passages=PASSAGES_A_DOCUMENT)
                path = Path(f"/corpus/{place % 100}/{place}.txt")
                manifest.put_files([FileRow(path, 1, place * 10**9, 0, 0, 0, "indexed", "", number)])
                numbers[place] = number
        started = time.perf_counter()
        documents = make_documents(rows, vectors, start, end)
        with mock.patch.object(caretaker, "has_grown", return_value=False):
            store.add_many((numbers[place], passages, near) for place, passages, near in documents)
        store.tidy(force=True)
        return time.perf_counter() - started


def measure(questions: list[str]) -> dict[str, float]:
    """Warm queries in this process: milliseconds and memory."""
    from drama_app.config import load_settings
    from drama_app.library import Library
    from drama_app.records import Filters

    figures: dict[str, float] = {}
    with Library.open(load_settings()) as library:
        for question in questions[:10]:
            library.search(question)
        for name, filters in (("", Filters()), ("_in_folder", Filters(folders=(Path("/corpus/7"),)))):
            times = []
            for question in questions:
                started = time.perf_counter()
                library.search(question, filters=filters)
                times.append((time.perf_counter() - started) * 1000)
            figures[f"p50_ms{name}"] = statistics.median(times)
            figures[f"p95_ms{name}"] = statistics.quantiles(times, n=20)[-1]
        figures["index_mb"] = library.status().bytes / 1e6
    figures["memory_mb"] = read_peak_mb()
    return figures


def read_peak_mb() -> float:
    """Peak memory of this process; not `ru_maxrss`, which a child inherits from the process that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def measure_cold(question: str) -> float:
    """Median seconds of a whole `drama-app search` process."""
    times = []
    for _ in range(COLD_RUNS):
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "drama_app", "search", question, "--json"], capture_output=True, check=False
        )
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def run(arguments: argparse.Namespace) -> None:
    """Grows, measures and prints a line of JSON a size."""
    from drama_app.embed import open_retriever

    rows = read_corpus(arguments.corpus, 200_000)
    encoder = open_retriever()
    vectors = encoder.encode_passages([row["text"][:1000] for row in rows[: arguments.encoded]])
    questions = [row["text"].split(". ")[0][:60] for row in rows[-QUERIES:]]  # eight words or so
    held, seconds = 0, 0.0
    for size in arguments.sizes:
        seconds += grow(rows, vectors, held // PASSAGES_A_DOCUMENT, size // PASSAGES_A_DOCUMENT)
        held = size
        text_mb = sum(len(rows[place % len(rows)]["text"].encode()) for place in range(size)) / 1e6
        command = [sys.executable, "-m", "tests.bench.queries", "--measure"]
        done = subprocess.run(command, input=json.dumps(questions), stdout=subprocess.PIPE, text=True, check=True)
        figures = json.loads(done.stdout)
        figures |= {"cold_seconds": measure_cold(questions[0]), "store_seconds": seconds}
        figures["index_mb_per_text_mb"] = figures["index_mb"] / text_mb
        print(json.dumps({"passages": size, **{name: round(value, 3) for name, value in figures.items()}}), flush=True)


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, help="JSONL of passages, zstd: text, title, lang")
    parser.add_argument("--sizes", type=lambda text: [int(part) for part in text.split(",")], default=[1000, 10_000])
    parser.add_argument("--encoded", type=int, default=2000, help="passages that get a vector of their own")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(json.load(sys.stdin))))
        return
    with tempfile.TemporaryDirectory() as home:
        os.environ["DRAMA_APP_HOME"] = home
        run(arguments)


if __name__ == "__main__":
    main()
