"""Owns the way from other people's texts to passages: JSONL, plain or zstd, and folders of text files.

It drops what is too short, of another language, or there already, and counts each by its reason. It writes no query.
"""

import json
import logging
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import regex

from drama_app.chunk import cut
from drama_app.errors import UsageError
from drama_app.language import detect_languages
from drama_app.records import Document
from trainer.duplicates import NearDuplicates
from trainer.overlap import NOTHING, is_evaluated, shorten
from trainer.recipe import CorpusRecipe
from trainer.records import Passage, Query, RecordWriter, iterate_lines, mend, text_id
from trainer.text_files import KINDS, divide_files, is_table, is_text

_DENSE = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]")
_DENSE_FACTOR = 3
"""A text in these scripts says as much in a third of the characters."""
_KIND_OF_FILE = {"weak": "weak", "parallel": "parallel", "crop": "crop", "generated": "question"}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CorpusReport:
    """What became of the texts."""

    kept: int
    rejected: dict[str, int]
    """Passages by reason."""
    languages: dict[str, int]
    """Passages kept by language."""
    cut_off: int = 0
    """Rows that were longer than a passage may be, and lost their end."""


def build_corpus(
    sources: list[Path], out: Path, recipe: CorpusRecipe, *, evaluation: Mapping[str, str] = NOTHING
) -> CorpusReport:
    """Read texts and write passages, each once.

    Args:
        sources: JSONL files (rows with `text` and, if known, `title`, `lang`, `source`, `document`; a row is a passage
            and loses what is too long), text files, which are cut into passages, or folders of both.
        out: The file of passages to write.
        recipe: Limits.
        evaluation: Ids of texts to leave out, from `overlap.collect_ids`.

    Raises:
        UsageError: A source cannot be read, or nothing is left.
    """
    rejected: Counter[str] = Counter()
    languages: Counter[str] = Counter()
    seen: set[str] = set()
    cut_off = 0
    near = NearDuplicates(recipe.near_duplicate) if recipe.near_duplicate < 1 else None
    with RecordWriter(out) as writer:
        for passage in (each for source in sources for each in _iterate_source(source, recipe, rejected)):
            whole = len(passage.text.strip())
            passage = _fill_in(passage, recipe)
            reason = "in an evaluation set" if is_evaluated(passage, evaluation) else ""
            if reason := reason or _find_fault(passage, recipe, seen, languages, near):
                rejected[reason] += 1
                continue
            seen.add(passage.id)
            languages[passage.language] += 1
            cut_off += len(passage.text) < whole
            writer.write(passage)
        if not writer.written:
            named = ", ".join(map(str, sources))
            raise UsageError(f"{named}: no passage is left ({_list_counts(rejected) or 'there was no text'})")
    return CorpusReport(writer.written, dict(rejected), dict(languages), cut_off)


def convert_pairs(
    sources: list[Path],
    passages_out: Path,
    queries_out: Path,
    *,
    languages: Collection[str] = (),
    evaluation: Mapping[str, str] = NOTHING,
) -> tuple[int, dict[str, int]]:
    """Split pairs that people wrote (rows with `query`, `positive` and, if known, `title`, `lang`, `source`).

    The kind of the queries follows the file's name: weak..., parallel..., otherwise "written". A pair of two
    languages, "de>en", gives each side its own; one that names none has that of its passage, as far as it can be told.
    With `languages` both sides must be in one of them.

    Returns:
        How many queries were written, and by reason how many pairs were left out; an exact repetition of a pair comes
        once.

    Raises:
        UsageError: A file cannot be read or a line is no pair.
    """
    passages: set[str] = set()
    queries: set[tuple[str, str]] = set()
    left_out: Counter[str] = Counter()
    with RecordWriter(passages_out) as passage_writer, RecordWriter(queries_out) as query_writer:
        for source in sources:
            kind = _KIND_OF_FILE.get(source.name.partition("_")[0].partition(".")[0], "written")
            for place, row in _iterate_rows(source):
                query, passage = _split_pair(row, kind, place)
                if query.id in evaluation or is_evaluated(passage, evaluation):
                    left_out["a pair in an evaluation set"] += 1
                elif languages and not {query.language, passage.language} <= set(languages):
                    left_out["a pair in another language"] += 1
                elif (query.id, passage.id) not in queries:
                    queries.add((query.id, passage.id))
                    query_writer.write(query)
                    if passage.id not in passages:
                        passages.add(passage.id)
                        passage_writer.write(passage)
    return len(queries), dict(left_out)


def _split_pair(row: dict[str, object], kind: str, place: str) -> tuple[Query, Passage]:
    texts = [row.get("query"), row.get("positive")]
    if not all(isinstance(text, str) and text.strip() for text in texts):
        raise UsageError(f"{place}: needs the texts 'query' and 'positive'")
    query, positive = map(str, texts)
    asked, _, answered = (_find_text(row, "lang") or detect_languages([positive])[0]).partition(">")
    passage = Passage(
        id=text_id(positive), text=positive, title=str(row.get("title") or ""), language=answered or asked,
        source=str(row.get("source") or ""),
    )  # fmt: skip
    return Query(
        id=text_id(query), text=query, passage=passage.id, kind=kind, language=asked, source=passage.source, exact=True
    ), passage


def _iterate_source(source: Path, recipe: CorpusRecipe, rejected: Counter[str]) -> Iterator[Passage]:
    if source.is_dir():
        files, made = divide_files(source)
        if made:
            rejected["a file of a run"] += len(made)
        for path in files:
            if is_text(path):
                yield from _iterate_source(path, recipe, rejected)
            else:
                rejected["a file that is no text"] += 1
    elif is_table(source):
        for place, row in _iterate_rows(source):
            if not isinstance(row.get("text"), str):
                raise UsageError(f"{place}: needs a 'text'")
            yield _read_row(row)
    else:
        yield from _cut_file(source, recipe, rejected)


def _iterate_rows(source: Path) -> Iterator[tuple[str, dict[str, object]]]:
    for number, line in iterate_lines(source):
        place = f"{source}, line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{place}: not JSON") from error
        if not isinstance(row, dict):
            raise UsageError(f"{place}: is no object")
        yield place, {key: mend(value) if isinstance(value, str) else value for key, value in row.items()}


def _read_row(row: dict[str, object]) -> Passage:
    title, source = str(row.get("title") or ""), str(row.get("source") or "")
    document = str(row.get("document") or (f"{source}/{title}" if title else ""))
    return Passage(
        id="", text=str(row["text"]), title=title, language=_find_text(row, "language", "lang"), source=source,
        document=document,
    )  # fmt: skip


def _find_text(row: dict[str, object], *keys: str) -> str:
    """What a row says under the first of some names, "" if no text: a list of languages tells none."""
    return next((found for key in keys if isinstance(found := row.get(key), str) and found), "")


def _cut_file(path: Path, recipe: CorpusRecipe, rejected: Counter[str]) -> Iterator[Passage]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        rejected["a file that is not in UTF-8"] += 1
        return
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error})") from error
    document = Document(text=text, kind=KINDS.get(path.suffix.lower(), "text"))
    for piece in cut(document, size=recipe.passage_tokens):
        yield Passage(
            id="", text=piece.text, title=piece.heading, language=piece.language, source=path.name, document=str(path)
        )


def _fill_in(passage: Passage, recipe: CorpusRecipe) -> Passage:
    text = shorten(passage.text.strip(), recipe.most_characters)
    language = passage.language or detect_languages([text])[0]
    return replace(passage, id=text_id(text), text=text, language=language)


def _find_fault(
    passage: Passage, recipe: CorpusRecipe, seen: set[str], languages: Counter[str], near: NearDuplicates | None
) -> str:
    """Why a passage is left out, "" if it is kept."""
    # Only the beginning tells the script: counting in 2,400 characters costs as much as all else here.
    size = len(passage.text) + (_DENSE_FACTOR - 1) * len(_DENSE.findall(passage.text[: recipe.least_characters]))
    if size < recipe.least_characters:
        return "too short"
    if recipe.languages and passage.language not in recipe.languages:
        return "another language"
    if recipe.most_a_language and languages[passage.language] >= recipe.most_a_language:
        return "enough of its language"
    if passage.id in seen:
        return "duplicate"
    if near is not None and near.add(passage.text) is not None:
        return "near duplicate"
    return ""


def _list_counts(counts: Counter[str]) -> str:
    return ", ".join(f"{reason}: {count}" for reason, count in counts.most_common())
