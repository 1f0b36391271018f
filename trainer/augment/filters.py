"""Owns the judgement of generated queries: each is kept, or rejected for the first reason that applies.

It writes no query and changes none beyond white space, quotation marks and bullets.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

import regex

from drama_app.keywords import index_terms
from drama_app.language import detect_languages
from trainer.augment.prompts import QueryPrompts
from trainer.records import Passage, normalise

if TYPE_CHECKING:
    from drama_app.embed import Encoder, Vectors

_DENSE = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]")
_DENSE_FACTOR = 3
"""A text in these scripts says as much in a third of the characters."""
_WIDTHS = {"question": (14, 170), "keywords": (5, 100), "claim": (18, 190)}
"""Least and most of each style, in characters; what is longer was mostly cut off by the limit of tokens."""
_COPIED_SHARE = {"question": 0.65, "keywords": 1.1, "claim": 0.65}
"""Share of a query that one run of the passage may make up. People do search with the words of a text, so keywords
may stand in it as they are, if they are few."""
_COPIED_WIDTH = {"question": 60, "keywords": 40, "claim": 60}
_LEAST_LEAK = {True: 2, False: 1}
"""Terms of a shot that give a leak away: pairs of characters (True) occur by chance more easily than words."""
_APED = 0.5
"""Share of a query's terms, beyond those of its passage, that one answer of a shot may have."""
_PIECES = regex.compile(r"[\p{L}\p{M}\p{N}]+")
_MARKS = "\"'„“”«»‚‘’`「」『』*#"
_LEAST_SINGLE = 10
"""Characters of a search of one word: compounds have more."""
_BULLET = regex.compile(r"^(?:[-–—•*#>]+|\(?\d{1,2}[.)])\s+")
_LETTER = regex.compile(r"\p{L}")
_SCRIPTS = regex.compile(
    "|".join(
        rf"(?P<{name}>\p{{{name}}})"
        for name in ("Latin", "Cyrillic", "Greek", "Arabic", "Hebrew", "Devanagari", "Bengali", "Tamil", "Telugu",
                     "Thai", "Hangul", "Hiragana", "Katakana", "Han")
    )
)  # fmt: skip
_LEAST_SCRIPT = 0.25
"""Share of letters in the scripts of the language; the rest are names and terms."""
_LETTERS_FOR_MODEL = 30
"""Below, the language model names a Latin or Cyrillic text wrongly too often to reject by it."""
_KIN = (
    {"hr", "bs", "sr"}, {"id", "ms", "jv"}, {"no", "nb", "nn", "da", "sv"}, {"cs", "sk"}, {"pt", "gl", "es"},
    {"ru", "uk", "be", "bg", "mk"}, {"hi", "mr", "ne"}, {"ar", "fa", "ur"}, {"bn", "as"}, {"nl", "af", "de", "lb"},
    {"fi", "et"}, {"it", "es", "fr", "ro", "ca", "la", "oc"}, {"sw", "rw", "zu", "xh"},
)  # fmt: skip
"""Languages that short questions are confused between; a small model hardly drifts from one to the other."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked of the model for one query."""

    style: str
    language: str
    """Code of the prompts."""
    passage: Passage
    excerpt: str
    """The part of the passage that the model saw."""


def measure_width(text: str) -> int:
    """Characters, those of scripts without spaces three times."""
    return len(text) + (_DENSE_FACTOR - 1) * len(_DENSE.findall(text))


def clean(text: str, style: str) -> str:
    """A model's output as a query: one line without bullets, quotation marks around it, or a full stop on keywords."""
    text = _BULLET.sub("", " ".join(text.split()))
    while len(text) > 1 and text[0] in _MARKS and text[-1] in _MARKS:
        text = text[1:-1].strip()
    text = text.strip("*#` ")
    return text.rstrip(".。,、;") if style == "keywords" else text


def find_fault(query: str, asked: Asked, prompts: QueryPrompts) -> str:
    """Why a query is rejected, "" if it is kept so far: what one query alone can tell."""
    least, most = _WIDTHS[asked.style]
    width = measure_width(query)
    if not _LETTER.search(query):
        return "nothing written"
    if width < least or (not _DENSE.search(query) and _has_few_words(query, asked.style)):
        return "too short"
    if width > most:
        return "too long"
    if not _is_finished(query, asked.style, prompts):
        return "not finished"
    if _echoes_prompt(query, prompts):
        return "echoes the prompt"
    if _repeats(query):
        return "repeats itself"
    if _leaks_shot(query, asked, prompts):
        return "leaks a shot"
    if not _speaks(query, asked, prompts):
        return "another language"
    if _is_copied(query, asked):
        return "copied"
    return ""


def find_longest_run(query: str, passage: str) -> str:
    """The longest stretch of a query that stands in a passage, both compared by letters and digits alone."""
    query, passage = _flatten(query), _flatten(passage)
    low, high, found = 0, len(query), ""
    while low < high:
        # A run of some length holds runs of every shorter one, so halving the interval finds the longest.
        length = (low + high + 1) // 2
        starts = range(len(query) - length + 1)
        run = next((query[at : at + length] for at in starts if query[at : at + length] in passage), "")
        low, high, found = (length, high, run) if run else (low, length - 1, found)
    return found.strip()


def _flatten(text: str) -> str:
    return " ".join(_PIECES.findall(normalise(text)))


def _is_copied(query: str, asked: Asked) -> bool:
    run = measure_width(find_longest_run(query, asked.passage.embedded))
    share = run / max(1, measure_width(_flatten(query)))
    return share > _COPIED_SHARE[asked.style] or run > _COPIED_WIDTH[asked.style]


def _has_few_words(query: str, style: str) -> bool:
    """Below three words nothing is asked or claimed; a single short word ("diet") searches for anything."""
    return len(query.split()) < 3 if style != "keywords" else len(query) < _LEAST_SINGLE and " " not in query


def _is_finished(query: str, style: str, prompts: QueryPrompts) -> bool:
    """Whether a query ends as the shots do: not in the middle of a sentence, and a question as a question."""
    ends = {shot.outputs[style][-1] for shot in prompts.shots}
    if style == "keywords" or any(_LETTER.match(end) or regex.match(r"\p{M}", end) for end in ends):
        return True
    return query[-1] in ends | (set("?？؟") if style == "question" else set(".!。！।"))


def _echoes_prompt(query: str, prompts: QueryPrompts) -> bool:
    labels = (prompts.text_label, *prompts.labels.values())
    return any(f"{label}{colon}" in query for label in labels for colon in ":：")


def _repeats(query: str) -> bool:
    words = normalise(query).split()
    if len(words) < 4 and _DENSE.search(query):
        words = list("".join(words))
    pairs = list(pairwise(words))
    return len(pairs) > 4 and len(set(pairs)) < 0.7 * len(pairs)


def _leaks_shot(query: str, asked: Asked, prompts: QueryPrompts) -> bool:
    """Whether the query speaks of a shot's subject that its own passage does not have, or repeats a shot's answer."""
    dense = bool(_DENSE.search(prompts.text_label + prompts.shots[0].text))
    terms = _list_terms(query)
    own = terms - _list_terms(asked.passage.embedded)
    shots = tuple((shot.text, *shot.outputs.values()) for shot in prompts.shots)
    if any(len(own & subject) >= _LEAST_LEAK[dense] for subject in _find_subjects(shots)):
        return True
    answers = (_list_terms(answer) for shot in prompts.shots for answer in shot.outputs.values())
    return any(len(own & answer) > _APED * len(terms) for answer in answers)


@lru_cache(maxsize=128)
def _find_subjects(shots: tuple[tuple[str, ...], ...]) -> tuple[frozenset[str], ...]:
    """The terms that make up the subject of each shot: at least two of its texts have them, no other shot does."""
    terms = [[_list_terms(text) for text in shot] for shot in shots]
    everywhere = [frozenset[str]().union(*shot) for shot in terms]
    subjects = []
    for place, shot in enumerate(terms):
        others = frozenset[str]().union(*(each for at, each in enumerate(everywhere) if at != place))
        often = {term for term in everywhere[place] if sum(term in each for each in shot) >= 2}
        subjects.append(frozenset(term for term in often - others if len(term) > 4 or _DENSE.search(term)))
    return tuple(subjects)


def _list_terms(text: str) -> frozenset[str]:
    return frozenset(index_terms(text).split())


def _speaks(query: str, asked: Asked, prompts: QueryPrompts) -> bool:
    """Whether a query is in its language: by script, and by the model where it is long enough.

    Of up to 300 questions that people wrote in each of 23 languages it takes none, or one, for foreign: those full of
    names in another script.
    """
    wanted = _count_scripts(" ".join(shot.text for shot in prompts.shots))
    scripts = {name for name, count in wanted.items() if count >= 0.05 * wanted.total()}
    found = _count_scripts(query)
    if sum(found[name] for name in scripts) < _LEAST_SCRIPT * found.total():
        return False
    base = asked.language.partition("-")[0]
    if base == "ja" and asked.style != "keywords" and not (found["Hiragana"] or found["Katakana"]):
        return False
    if asked.style == "keywords" or found.total() < _LETTERS_FOR_MODEL:
        return True
    spoken = detect_languages([query])[0]
    foreign = spoken and spoken != base and not any(spoken in kin and base in kin for kin in _KIN)
    # Names in Latin letters mislead it; a query in the script of its language, and of few others, is no drift.
    return not foreign or not scripts <= {"Latin", "Cyrillic", "Arabic", "Devanagari"}


def _count_scripts(text: str) -> Counter[str]:
    return Counter(match.lastgroup or "" for match in _SCRIPTS.finditer(text))


class RoundTrip:
    """Asks a retriever whether a query finds the passage it was written for, among others of the same language."""

    def __init__(self, encoder: "Encoder", pools: Mapping[str, Sequence[Passage]], *, rank: int) -> None:
        self._encoder, self._pools, self._rank = encoder, pools, rank
        self._vectors: dict[str, Vectors] = {}

    def find_lost(self, queries: Sequence[str], passages: Sequence[Passage], language: str) -> list[bool]:
        """For each query whether its passage does not come back within the rank; one passage a query."""
        if not queries:
            return []
        pool = self._pools[language]
        if language not in self._vectors:
            self._vectors[language] = self._encoder.encode_passages([each.embedded for each in pool])
        asked = self._encoder.encode_queries(list(queries))
        own = self._encoder.encode_passages([each.embedded for each in passages])
        own_scores = (asked * own).sum(1, keepdims=True)
        better = asked @ self._vectors[language].T > own_scores
        lost = []
        for row, passage in enumerate(passages):
            others = [place for place, each in enumerate(pool) if each.id != passage.id]
            lost.append(int(better[row, others].sum()) >= self._rank)
        return lost
