"""Owns which files of a folder are texts to learn from: tables, plain text, Markdown, but nothing that a run made."""

from pathlib import Path

TABLES = (".jsonl", ".jsonl.zst")
KINDS = {".txt": "text", ".text": "text", ".md": "markdown", ".markdown": "markdown"}
"""Of documents, by the ending of their files."""
_OF_A_RUN = ("run.json", "recipe.toml")


def is_table(path: Path) -> bool:
    """Whether a file is a table, by its name."""
    return path.name.lower().endswith(TABLES)


def is_text(path: Path) -> bool:
    """Whether a corpus is made of files of such a name."""
    return is_table(path) or path.suffix.lower() in KINDS


def divide_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files in and below a folder in order, and apart from them those of runs below it.

    A run in the folder of its own corpus would learn its queries as passages.
    """
    files = sorted(each for each in folder.rglob("*") if each.is_file())
    begun = {each.parent for each in files if each.name == _OF_A_RUN[0]} - {folder}
    runs = {each for each in begun if all((each / name).is_file() for name in _OF_A_RUN)}
    own: list[Path] = []
    made: list[Path] = []
    for each in files:
        (own if runs.isdisjoint(each.parents) else made).append(each)
    return own, made
