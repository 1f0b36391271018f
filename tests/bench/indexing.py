"""What indexing costs besides encoding: `python -m tests.bench.indexing --corpus passages.jsonl.zst`.

One run measures, over the same documents: the whole sync, the bare encoding of the passages that it stored, peak
memory of the process, the size of the index, and the seconds from saving a file under
`watch` until a search finds it. Documents are real passages joined by language into text and HTML files.
"""

import argparse
import io
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

from drama_app.chunk import embedded_text
from drama_app.config import load_settings
from drama_app.library import Library
from tests.bench.queries import read_peak_mb

PASSAGES_A_FILE = 12


def write_documents(corpus: Path, folder: Path, count: int) -> int:
    """Writes `count` files of real text; returns their characters."""
    import zstandard

    waiting: dict[str, list[str]] = {}
    written = characters = 0
    with corpus.open("rb") as raw:
        for line in io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(raw), encoding="utf-8"):
            row = json.loads(line)
            group = waiting.setdefault(row["lang"], [])
            group.append(row["text"])
            if len(group) < PASSAGES_A_FILE:
                continue
            text = "\n\n".join(waiting.pop(row["lang"]))
            html = written % 3 == 0
            content = f"<html><body>{''.join(f'<p>{part}</p>' for part in text.split(chr(10) * 2))}</body></html>"
            path = folder / f"{written:05}-{row['lang']}.{'html' if html else 'txt'}"
            path.write_text(content if html else text, encoding="utf-8")
            characters += len(text)
            written += 1
            if written == count:
                break
    return characters


def measure_sync(library: Library, folder: Path) -> dict[str, float]:
    """The whole sync against the bare encoding of the same passages, encoded in the same windows."""
    library.add_root(folder)
    encoder = library._encoder
    encoder.encode_passages(["warm up"])
    started = time.perf_counter()
    report = library.sync()
    whole = time.perf_counter() - started
    texts = []
    for number in library._manifest.visible():
        title = library._manifest.title_of(number)
        texts += [embedded_text(title, row.passage) for row in library._store.document_passages(number, vectors=False)]
    started = time.perf_counter()
    for start in range(0, len(texts), 64):
        encoder.encode_passages(texts[start : start + 64])
    bare = time.perf_counter() - started
    return {
        "documents": report.documents,
        "passages": report.passages,
        "sync_seconds": whole,
        "encoding_seconds": bare,
        "share_not_encoding": 1 - bare / whole,
        "passages_per_second": report.passages / whole,
    }


def measure_freshness(library: Library, folder: Path, times: int = 10) -> list[float]:
    """Seconds from the end of a save until a search finds the new word."""
    stop, states = threading.Event(), list[str]()
    watcher = threading.Thread(
        target=library.watch, kwargs={"on_report": lambda _: None, "on_state": states.append, "stop": stop}
    )
    watcher.start()
    while not any(line.startswith("up to date") for line in states):
        time.sleep(0.05)
    seconds = []
    for number in range(times):
        word = f"freshword{number}x{os.getpid()}"
        (folder / f"fresh{number}.md").write_text(f"# A new note\n\nIt tells about {word} and nothing else.\n")
        saved = time.perf_counter()
        while not library.search(f'"{word}"', mode="keywords", limit=1).hits:
            time.sleep(0.02)
        seconds.append(time.perf_counter() - saved)
        time.sleep(0.5)
    stop.set()
    watcher.join()
    return seconds


def main() -> None:
    """Runs the benchmark and prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True, help="JSONL of passages, zstd: text, lang")
    parser.add_argument("--documents", type=int, default=200)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        os.environ["DRAMA_APP_HOME"] = str(Path(place) / "home")
        folder = Path(place) / "files"
        folder.mkdir()
        characters = write_documents(arguments.corpus, folder, arguments.documents)
        text_bytes = sum(path.stat().st_size for path in folder.iterdir())
        with Library.open(load_settings(), create=True) as library:
            figures = measure_sync(library, folder)
            figures["index_bytes"] = library.status().bytes
            fresh = measure_freshness(library, folder)
    figures |= {
        "characters": characters,
        "index_bytes_per_text_byte": figures["index_bytes"] / text_bytes,
        "peak_mb": read_peak_mb(),
        "fresh_seconds_median": statistics.median(fresh),
        "fresh_seconds_worst": max(fresh),
    }
    json.dump({name: round(value, 3) for name, value in figures.items()}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
