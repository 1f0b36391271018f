"""Files that are asked for by name: which words of a query a name must hold, and whether it does. Opens nothing."""

import re
from collections.abc import Collection, Sequence
from pathlib import Path

import regex

from drama_app.keywords import fold

MOST = 10
"""What more files are named after is a common word and names none of them."""
_MOST_WORDS = 8  # a longer query is a question
_LEAST = 3  # letters of which a part of a name may be meant; fewer must be a whole word
_FIRST_UNSPACED = "\u0e00"  # from Thai on two characters are as telling
_WORD = re.compile(r"[^\W_]+")
_HUMP = regex.compile(r"(?<=\p{Ll})(?=\p{Lu})|(?<=\p{Lu})(?=\p{Lu}\p{Ll})")
"""Where the second word of "taxReport" and of "XMLSchema" begins."""


def fold_name(path: Path) -> str:
    """The name of a file as it is compared: without case and accents."""
    return fold(path.name)


def name_words(query: str) -> tuple[str, ...]:
    """The words of a query, folded, all of which a name must hold; none if the query asks for no name."""
    words = tuple(dict.fromkeys(_WORD.findall(fold(query))))
    return words if len(words) <= _MOST_WORDS and any(map(_is_telling, words)) else ()


def holds_words(name: str, words: Sequence[str]) -> bool:
    """Whether a folded name holds all the words: as a part of it, or as a whole word if short or a number."""
    return all(
        word in name if _is_telling(word) and not word.isdecimal() else _stands_alone(word, name) for word in words
    )


def is_meant(path: Path, words: Sequence[str], held: Collection[str]) -> bool:
    """Whether a name that holds the words is asked for by them, if passages hold the words `held` as whole words.

    Then "syntax.md" is not what "tax" asks for, while "taxes.md" and "myTax.md" may be. What no passage holds may be
    meant as any part of a name.
    """
    names = fold_name(path), fold(_HUMP.sub(" ", path.name))
    return all(any(_begins_word(word, name) for name in names) for word in words if word in held)


def is_named(name: str, words: Sequence[str]) -> bool:
    """Whether a folded name, with or without its ending, is made of these words and no others."""
    return sorted(words) in (sorted(_WORD.findall(name)), sorted(_WORD.findall(name.rpartition(".")[0])))


def _is_telling(word: str) -> bool:
    return len(word) >= _LEAST or (len(word) > 1 and word[0] >= _FIRST_UNSPACED)


def _begins_word(word: str, name: str) -> bool:
    # A number begins anew wherever it stands: "rfc2616".
    return (
        word[0] >= _FIRST_UNSPACED
        or word.isdecimal()
        or re.search(rf"(?<![^\W\d_]){re.escape(word)}", name) is not None
    )


def _stands_alone(word: str, name: str) -> bool:
    """A number does not go on as a number, a short word not as a word."""
    more = r"\d" if word.isdecimal() else r"[^\W_]"
    return re.search(rf"(?<!{more}){re.escape(word)}(?!{more})", name) is not None
