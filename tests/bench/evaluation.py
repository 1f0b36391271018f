"""Prints the peak memory of mining and of evaluation at 100,000 passages, each in a process of its own.

python -m tests.bench.evaluation [--passages N] [--queries N] [--dim N] [--texts FILE.jsonl[.zst]] [mine] [evaluate]

Texts are those of a file of passages (rows with "text"), each repeated with a number of its own until there are
enough; without a file they are drawn from a vocabulary of 50,000 words. Vectors are random but the same for the same
text, so that no time goes into a network; what a network needs comes on top (e5-mini: 210 MB).
"""

import argparse
import hashlib
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from trainer.contestants import Contestant
from trainer.records import Passage, Query, RecordWriter, iterate_lines, text_id


class RandomEncoder:
    """A random vector for each text; a question's is near that of the passage whose number it begins with."""

    fingerprint = "random"

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def encode_passages(self, texts: list[str]) -> np.ndarray:
        """Unit vectors [texts, dim]."""
        return np.stack([self._draw(_find_number(text)) for text in texts])

    def encode_queries(self, texts: list[str]) -> np.ndarray:
        """Unit vectors [texts, dim]."""
        near = self.encode_passages(texts) + 0.7 * np.stack([self._draw(text) for text in texts])
        return (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)

    def _draw(self, seed: str) -> np.ndarray:
        digest = int.from_bytes(hashlib.blake2b(seed.encode(), digest_size=8).digest(), "big")
        vector = np.random.default_rng(digest).standard_normal(self.dim, dtype=np.float32)
        return vector / np.linalg.norm(vector)


def main() -> int:
    """Run each part in a process of its own and print a row a part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["mine", "evaluate"], help="mine, evaluate")
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        return _measure(PARTS[options.parts[0]], options)
    sys.stdout.write("| part | passages | queries | width | seconds | peak MB | of it before |\n")
    sys.stdout.write("|---|---:|---:|---:|---:|---:|---:|\n")
    for part in options.parts:
        sys.stdout.flush()
        flags = [f"--{name}={getattr(options, name)}" for name in ("passages", "queries", "dim")]
        flags += [f"--texts={options.texts}"] if options.texts else []
        subprocess.run([sys.executable, "-m", "tests.bench.evaluation", part, "--alone", *flags], check=True)
    return 0


def _measure(run: Callable[[argparse.Namespace, Path], None], options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory() as folder:
        run(options, Path(folder))
    return 0


def _tell(options: argparse.Namespace, part: str, before: float, begun: float) -> None:
    cells = (part, options.passages, options.queries, options.dim, f"{time.monotonic() - begun:.0f}",
             f"{_read_peak():.0f}", f"{before:.0f}")  # fmt: skip
    sys.stdout.write(f"| {' | '.join(map(str, cells))} |\n")
    sys.stdout.flush()


def _read_peak() -> float:
    """Peak resident set of this process in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure_mining(options: argparse.Namespace, folder: Path) -> None:
    """Groups of all queries with the ranks of the recipe."""
    from trainer.mine import mine
    from trainer.recipe import MineRecipe

    passages, queries = folder / "passages.jsonl", folder / "queries.jsonl"
    with RecordWriter(passages) as some, RecordWriter(queries) as others:
        for number, text in enumerate(_iterate_texts(options)):
            some.write(Passage(id=text_id(text), text=text, language="en"))
            if number < options.queries:
                asked = f"{_find_number(text)} asked"
                others.write(Query(id=text_id(asked), text=asked, passage=text_id(text), kind="question"))
    from trainer.records import read_records

    before, begun = _read_peak(), time.monotonic()
    mine(read_records(queries, Query), passages, RandomEncoder(options.dim), MineRecipe(), folder / "groups.jsonl",
         work=folder / "work")  # fmt: skip
    _tell(options, "mine", before, begun)


def measure_evaluation(options: argparse.Namespace, folder: Path) -> None:
    """BM25 and all three modes of the app's search."""
    from trainer.compare import evaluate_contestants

    own = folder / "set"
    (own / "qrels").mkdir(parents=True)
    judged = ["query-id\tcorpus-id\tscore"]
    with (own / "corpus.jsonl").open("w") as corpus, (own / "queries.jsonl").open("w") as queries:
        for number, text in enumerate(_iterate_texts(options)):
            corpus.write(json.dumps({"_id": str(number), "title": "", "text": text}) + "\n")
            if number < options.queries:
                words = " ".join(text.split()[:6])
                queries.write(json.dumps({"_id": f"q{number}", "text": words}) + "\n")
                judged.append(f"q{number}\t{number}\t1")
    (own / "qrels" / "test.tsv").write_text("\n".join(judged) + "\n")
    (own / "meta.json").write_text('{"lang": "en"}')
    contestant = Contestant(name="random", encoder=RandomEncoder(options.dim), widths=(options.dim,))
    before, begun = _read_peak(), time.monotonic()
    found = evaluate_contestants([contestant], own, report=lambda text: None)
    _tell(options, "evaluate", before, begun)
    for column in found.columns:
        sys.stderr.write(f"{column}: {found.score(column).mean:.3f}\n")


def _iterate_texts(options: argparse.Namespace) -> Iterator[str]:
    """Different texts that begin with their number."""
    if options.texts:
        sources = [json.loads(line)["text"] for _, line in iterate_lines(options.texts)]
        yield from (f"n{number} {sources[number % len(sources)]}" for number in range(options.passages))
        return
    chooser = random.Random(0)
    words = ["".join(chooser.choices("abcdefghijklmnopqrstuvwxyz", k=chooser.randint(3, 10))) for _ in range(50_000)]
    weights = [1 / (rank + 10) for rank in range(len(words))]  # as common as words are
    sums = np.cumsum(weights).tolist()
    for number in range(options.passages):
        yield f"n{number} " + " ".join(chooser.choices(words, cum_weights=sums, k=120))


def _find_number(text: str) -> str:
    return text.split(None, 1)[0]


PARTS = {"mine": measure_mining, "evaluate": measure_evaluation}

if __name__ == "__main__":
    sys.exit(main())
