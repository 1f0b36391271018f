"""Tells in which languages a test set asks and answers: by its rows, else by its `meta.json`, else by its texts.

It reads no set; it gets what was read.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from drama_app.errors import UsageError
from drama_app.language import detect_languages

_SPECIMENS = 100
"""Texts that are looked at: a set is of one language, or says so in its rows."""


def name_languages(
    queries: Mapping[str, str],
    answers: Mapping[str, str],
    *,
    stated: str,
    asked: Sequence[str],
    answering: Sequence[str],
) -> dict[str, str]:
    """The language of each query, "en", or "en>de" where its answers are in another; "" if nothing tells.

    Args:
        queries: What the rows say of each query; "" where they say nothing.
        answers: What the rows say of each query's answer.
        stated: The languages of the whole set, as `read_stated` gives them.
        asked: Texts of queries.
        answering: Texts of documents.
    """
    if not stated and not all(queries.values()):
        stated = join_languages(_detect(asked), _detect(answering))
    spoken, _, answered = stated.partition(">")
    return {
        query: join_languages(language or spoken, answers.get(query) or answered or language or spoken)
        for query, language in queries.items()
    }


def join_languages(query: str, answer: str) -> str:
    """One label for both."""
    return f"{query}>{answer}" if query and answer and query != answer else query or answer


def read_stated(folder: Path) -> str:
    """The languages that a set's `meta.json` states under "lang" or "language", "" if it does not.

    Raises:
        UsageError: The file is not JSON.
    """
    path = folder / "meta.json"
    if not path.is_file():
        return ""
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read ({error})") from error
    return find_language(stated) if isinstance(stated, dict) else ""


def find_language(row: Mapping[str, Any]) -> str:
    """What a row says of its language under "lang" or "language", "" if nothing."""
    return next((found for key in ("lang", "language") if isinstance(found := row.get(key), str) and found), "")


def _detect(texts: Iterable[str]) -> str:
    """The language of most texts."""
    found = Counter(code for code in (detect_languages([text])[0] for text in list(texts)[:_SPECIMENS]) if code)
    return found.most_common(1)[0][0] if found else ""
