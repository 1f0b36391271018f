"""Asks 70 questions in 19 languages over real files: `python -m tests.bench.real_files FOLDER [RETRIEVER]`.

The questions and a part of the expected file's path (alternatives by `|`) stand in `real_files.tsv`; they were written
before the first of them was asked. FOLDER holds the files that public projects test their parsers with (docling,
markitdown, pdf.js, pypdf, Apache Tika), among others.
"""

import re
import sys
import tempfile
from pathlib import Path

from drama_app.config import load_settings
from drama_app.library import Library
from drama_app.records import Results

QUESTIONS = Path(__file__).with_name("real_files.tsv")
FOLDERS = ("Downloads", "Code", "Data", "Encodings")


def find_rank(results: Results, wanted: str) -> int:
    """The place of the first hit whose path has what is wanted, 0 if none has."""
    return next((place for place, hit in enumerate(results.hits, 1) if re.search(wanted, str(hit.path))), 0)


def main(folder: Path, retriever: Path | None) -> None:
    """Indexes the files, asks, and prints what was not first or was called hopeless."""
    asked = [line.split("\t") for line in QUESTIONS.read_text(encoding="utf-8").splitlines()]
    with tempfile.TemporaryDirectory() as home:
        settings = load_settings(environment={"DRAMA_APP_HOME": home})
        with Library.open(settings, create=True, retriever=retriever) as library:
            for name in FOLDERS:
                library.add_root(folder / name)
            report = library.sync()
            print(f"{report.documents} documents, {report.passages} passages")
            results = [library.search(question) for question, _ in asked]
    ranks = [find_rank(each, wanted) for each, (_, wanted) in zip(results, asked, strict=True)]
    hopeless = [each.nothing_good_enough for each in results]
    for rank, lost, (question, _) in zip(ranks, hopeless, asked, strict=True):
        if rank != 1 or lost:
            print(f"{rank or 'none':>4}  {'nothing good enough' if lost else '':19}  {question}")
    print(
        f"{len(asked)} questions: first {ranks.count(1)}, among five {sum(1 <= rank <= 5 for rank in ranks)}, mean "
        f"reciprocal rank {sum(1 / rank for rank in ranks if rank) / len(asked):.3f}, "
        f"called hopeless {sum(hopeless)}"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve() if len(sys.argv) > 2 else None)
