"""Owns the comparison of training texts with the texts of evaluation sets, by the ids of their normalised words."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from drama_app.chunk import cut
from drama_app.errors import UsageError
from drama_app.records import Document
from trainer.recipe import CorpusRecipe
from trainer.records import Passage, iterate_lines, mend, text_id
from trainer.set_folders import list_sets

NOTHING: Mapping[str, str] = MappingProxyType({})
"""No evaluation set."""


def collect_ids(sets: Path, limits: CorpusRecipe | None = None) -> dict[str, str]:
    """The id of every query and passage of the sets at or below a folder, and the set that holds it.

    Args:
        sets: The folder.
        limits: How a corpus is cut: the same document given as a text to train on is known by its pieces too.

    Raises:
        UsageError: There is no set, or a line is not JSON.
    """
    found: dict[str, str] = {}
    folders = list_sets(sets)
    if not folders:
        raise UsageError(f"{sets}: no test set found (a folder with corpus.jsonl and queries.jsonl)")
    for path in (folder / name for folder in folders for name in ("queries.jsonl", "corpus.jsonl")):
        for number, line in iterate_lines(path):
            try:
                row = json.loads(line)
                title, text = mend(str(row.get("title") or "")), mend(str(row["text"]))
            except (ValueError, RecursionError, KeyError, AttributeError) as error:
                raise UsageError(f"{path}, line {number}: is no row of a test set") from error
            for form in {text, f"{title}\n{text}", *(_cut_as_corpus(text, limits) if limits else ())}:
                found.setdefault(text_id(form), path.parent.name)
    return found


def shorten(text: str, most: int) -> str:
    """A text of at most so many characters, cut at a space if that keeps half: Chinese may have its last one early."""
    if len(text) <= most:
        return text
    end = text.rfind(" ", 0, most)
    return text[:end] if end >= most // 2 else text[:most]


def _cut_as_corpus(text: str, limits: CorpusRecipe) -> Iterator[str]:
    """What a long document becomes in a table of texts, and in a file of its own."""
    yield shorten(text.strip(), limits.most_characters)
    if len(text) > limits.passage_tokens:  # in no script has a token less than a character, as a rule
        yield from (piece.text for piece in cut(Document(text=text, kind="text"), size=limits.passage_tokens))


def is_evaluated(passage: Passage, evaluation: Mapping[str, str]) -> bool:
    """Whether a passage is in an evaluation set, with its title or without."""
    return passage.id in evaluation or (bool(evaluation) and text_id(passage.embedded) in evaluation)


def refuse_overlap(ids: Iterable[str], evaluation: Mapping[str, str], what: str) -> None:
    """Stop where training data and evaluation sets share a text.

    Raises:
        UsageError: They do; the text says how many and in which set first.
    """
    shared = [each for each in ids if each in evaluation]
    if shared:
        raise UsageError(
            f"{what}: {len(shared)} texts are also in evaluation sets (the first in '{evaluation[shared[0]]}'), so "
            "that figures on them would mean nothing; build passages and groups again with these sets named, which "
            "leaves such texts out"
        )
