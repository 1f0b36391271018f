"""Where a query's words stand in a passage, and which of its sentences is the best.

Owns matching by form: without case and diacritics, and with other endings. It knows nothing of meaning or of how
a passage was found; offsets are those of the text as given, whatever case folding does to its length.
"""

import unicodedata
from bisect import bisect_left
from functools import lru_cache
from typing import NamedTuple

import regex

from drama_app.keywords import NO_QUOTE
from drama_app.sentences import split_sentences

_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_WORDS = regex.compile(
    rf"(?V1)(?P<run>[{_UNSPACED}ー々〆][{_UNSPACED}ー々〆\p{{M}}]*+)"
    rf"|(?P<word>[[\p{{L}}\p{{N}}]--[{_UNSPACED}]][[\p{{L}}\p{{N}}\p{{M}}\p{{Cf}}]--[{_UNSPACED}]]*+"
    rf"(?:(?<=\p{{N}})[.,:/_'’-]\p{{N}}++)*+)"
)
_QUOTED = regex.compile(
    NO_QUOTE + r'(?:"([^"]{2,200})"|“([^”]{2,200})”|„([^“”]{2,200})[“”]|«([^»]{2,200})»|「([^」]{2,200})」)'
)
_MOST_QUERY = 1000
"""Characters of a query that are looked at."""
_STEM = 5
"""Letters from which a word also matches with another ending."""
_FIRST_DENSE = "\u0590"
"""From Hebrew on, letters without vowels or syllables: shorter words tell, and articles stand before them."""
_MOST_ENDING = 4
"""Letters that the longer of two forms may have beyond what they share."""
_TIED = 0.9
"""Of the best sentence's weight. By eye at 0.92 on 450 questions whose passage is known: of ten in which meaning then
chose another sentence it was the better one in eight; at 0.8 to 0.85 in 20 of 33, with eight worse (LOG.md)."""

_STOP_WORDS = frozenset(
    """
    a an and are as at be by can do does for from had has have how i in is it its my no not of on or our so that the
    their them there these they this to was we were what when where which who whom whose why will with would you your
    au aux avec ce ces cette dans de des du elle en est et il la le les leur mais ne nous ou par pas pour qu que quel
    quelle qui quoi sa se ses son sont sur un une vous
    am auf aus bei das dem den der des die ein eine einem einen einer es hat ich ihr im ist mit nach nicht oder sich
    sie sind und uns vom von vor wann war warum was wegen wer wie wir wird wo zu zum zur
    al como con cual cuando del donde el ella ellos fue las lo los mas o para pero por porque quien se si sin sobre su
    sus y ao aos com da das do dos e foi mais na nas nem no nos onde os pela pelo qual quando quem sao sem um uma
    che chi ci come cosa cui da dal dalla degli dei del della delle di dove gli ha i il nel nella non per perche piu
    quale quali quando si sono sul una uno de een en het hij hoe in is niet of op te van voor waar wat wie zijn
    av att den det en ett for fran hur i med ar och om pa som till vad var vem er hva hvem hvor og ikke
    ja on ei oli kuka mika milloin missa mita se kun czy do gdzie jak jest kiedy kto na nie od po sie to w z za co
    kde kdo kdy je ve se ktery bir bu da de icin ile kim mi mu ne nerede ve a az egy es hol ki mi mikor hogy
    в во и из к как когда кто ли на не о об от по с со то у что это где за для или
    και με να για από που το τα του της των ο η οι στο στη στην είναι τι πως
    من في على إلى عن ما هو هي هل كم أين متى كيف لماذا التي الذي أن و
    का की के को में से है हैं था थी थे और क्या कौन कब कहां पर ने यह वह
    """.split()  # noqa: SIM905
)
_STOP_CHARACTERS = frozenset(
    "的了是在有和与及或于之其这那哪什么谁吗呢をはがにのとでへもやかたてしいなるれすま何誰どこつ"
)


class _Folded(NamedTuple):
    """A text without case and diacritics, and the offset of each of its characters in the original."""

    text: str
    places: list[int]


class _Word(NamedTuple):
    start: int
    end: int
    form: str
    is_run: bool
    """A stretch of a script that puts no spaces between words."""


class _Query(NamedTuple):
    phrases: tuple[tuple[str, ...], ...]
    words: frozenset[str]
    stems: tuple[str, ...]
    """Words that may stand with another ending."""
    cores: tuple[str, ...]
    """Words of scripts that write particles and articles on to the word."""
    pieces: frozenset[str]
    """Every two neighbouring characters of unspaced runs."""


def mark_words(query: str, text: str) -> tuple[tuple[int, int], ...]:
    """Return where the query's words stand in a text, as (start, end) offsets in order, without overlaps.

    A word of five letters or more also matches with another ending; numbers, codes and quoted phrases match as
    they are. Function words are marked only if the query holds nothing else.
    """
    return tuple((start, end) for start, end, _ in _find_marks(_read_query(query[:_MOST_QUERY]), text))


def best_sentence(query: str, text: str) -> tuple[int, int] | None:
    """Return the first of `best_sentences`, None if no word of the query stands in the text."""
    return next(iter(best_sentences(query, text)), None)


def best_sentences(query: str, text: str) -> list[tuple[int, int]]:
    """Return the sentence that holds the largest share of the query's words, longer words counting more.

    After it those, best first, that hold so nearly as much that words alone do not tell which is meant.
    """
    found = _find_marks(_read_query(query[:_MOST_QUERY]), text)
    if not found:
        return []
    starts = [start for start, _, _ in found]
    weights: dict[tuple[int, int], float] = {}
    for start, end in split_sentences(text):
        keys = {key: last - first for first, last, key in found[bisect_left(starts, start) : bisect_left(starts, end)]}
        weights[start, end] = sum(length**0.5 for length in keys.values()) / (1 + (end - start) / 1000)
    least = max(_TIED * max(weights.values()), 1e-9)
    return sorted((span for span, weight in weights.items() if weight >= least), key=lambda span: -weights[span])


def _fold(text: str) -> _Folded:
    """Fold case and diacritics; Greek, Latin and Cyrillic accents go, vowel signs of Indic scripts stay."""
    if text.isascii():
        return _Folded(text.lower(), list(range(len(text) + 1)))
    whole = text.translate(_FOLDS)
    if len(whole) == len(text) and "\0" not in whole:
        return _Folded(whole, list(range(len(text) + 1)))
    characters: list[str] = []
    places: list[int] = []
    for place, character in enumerate(text):
        folded = _FOLDS[ord(character)].replace("\0", "")
        characters.append(folded)
        places.extend([place] * len(folded))
    places.append(len(text))
    return _Folded("".join(characters), places)


@lru_cache(maxsize=8192)
def _fold_character(character: str) -> str:
    parts = unicodedata.normalize("NFKD", character.casefold())
    return unicodedata.normalize("NFC", "".join(part for part in parts if not _is_accent(part)))


class _Folds(dict[int, str]):
    """Folded characters by code point, filled as they are met: `str.translate` then folds a text in one call.

    What folds to nothing or to more than one character makes the text longer or shorter, or holds a zero character,
    which no extracted text does: then places are counted one by one.
    """

    def __missing__(self, code: int) -> str:
        folded = _fold_character(chr(code))
        self[code] = folded if len(folded) == 1 else folded + "\0"
        return self[code]


_FOLDS = _Folds()


def _is_accent(character: str) -> bool:
    """Accents of Latin, Greek and Cyrillic, Hebrew points, Arabic vowel signs and joiners."""
    return (
        "\u0300" <= character <= "\u036f"
        or "\u0591" <= character <= "\u05c7"
        or "\u064b" <= character <= "\u0655"
        or character in "\u0640\u0670\u00ad\u200b\u200c\u200d\u2060"
    )


def _list_words(folded: _Folded) -> list[_Word]:
    words = []
    for match in _WORDS.finditer(folded.text):
        start, last = folded.places[match.start()], folded.places[match.end() - 1]
        words.append(_Word(start, _end_after(folded, match.end(), last), match[0], match["run"] is not None))
    return words


def _end_after(folded: _Folded, position: int, last: int) -> int:
    """Return the original offset after a folded character, with the accents that folding took away."""
    following = folded.places[position]
    return following if following > last else last + 1


@lru_cache(maxsize=64)
def _read_query(query: str) -> _Query:
    phrases = []
    for match in _QUOTED.finditer(query):
        phrase = tuple(word.form for word in _list_words(_fold(next(filter(None, match.groups())))))
        if phrase:
            phrases.append(phrase)
    words = _list_words(_fold(_QUOTED.sub(" ", query)))
    forms = {word.form for word in words if not word.is_run}
    telling = {form for form in forms if form not in _STOP_WORDS and (len(form) > 1 or form.isdigit())}
    runs = [word.form for word in words if word.is_run]
    pairs = {run[i : i + 2] for run in runs for i in range(len(run) - 1)}
    pieces = {pair for pair in pairs if not _STOP_CHARACTERS.issuperset(pair)}
    if not telling and not pieces and not runs and not phrases:
        telling = forms
    stems = tuple(form for form in telling if len(form) >= _STEM and form.isalpha() and form < _FIRST_DENSE)
    cores = tuple(form for form in telling if form >= _FIRST_DENSE and len(form) >= (2 if _is_hangul(form) else 3))
    if not pieces and not telling:
        pieces = {run for run in runs if len(run) == 1}
    return _Query(tuple(phrases), frozenset(telling), stems, cores, frozenset(pieces))


@lru_cache(maxsize=16)  # marks and best sentence of a passage are asked for one after the other
def _find_marks(query: _Query, text: str) -> list[tuple[int, int, str]]:
    """Return the marks as (start, end, the query's word), in order, without overlaps."""
    folded = _fold(text)
    words = _list_words(folded)
    found = [mark for phrase in query.phrases for mark in _find_phrase(phrase, words)]
    shared: dict[str, str] = {}
    for word in words:
        if word.is_run:
            found.extend(_find_pieces(query, word, folded))
            continue
        if word.form not in shared:
            shared[word.form] = _match_word(word.form, query)
        if shared[word.form]:
            found.append((word.start, word.end, shared[word.form]))
    return _without_overlaps(found)


def _match_word(form: str, query: _Query) -> str:
    """Return the query's word that a form of the text stands for, "" if none."""
    if form in query.words:
        return form
    if form in _STOP_WORDS:
        return ""
    if form >= _FIRST_DENSE:
        return next((core for core in query.cores if core in form and len(form) - len(core) <= _MOST_ENDING), "")
    if len(form) < _STEM - 1:
        return ""
    for stem in query.stems:
        if stem[:3] == form[:3] and _shares_stem(stem, form):
            return stem
    return ""


def _is_hangul(form: str) -> bool:
    return "\uac00" <= form[0] <= "\ud7af"


def _shares_stem(one: str, other: str) -> bool:
    """Two words with a long common beginning and short endings: fliegen, fliegt; retrieval, retrieve."""
    common = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        common += 1
    shorter, longer = sorted((len(one), len(other)))
    return common >= max(4, -(-2 * shorter // 3)) and longer - common <= _MOST_ENDING and shorter - common <= 3


def _find_phrase(phrase: tuple[str, ...], words: list[_Word]) -> list[tuple[int, int, str]]:
    """Return where the words of a phrase follow one another."""
    last = len(phrase) - 1
    return [
        (words[i].start, words[i + last].end, " ".join(phrase))
        for i in range(len(words) - last)
        if words[i].form == phrase[0] and all(words[i + j].form == form for j, form in enumerate(phrase))
    ]


def _find_pieces(query: _Query, word: _Word, folded: _Folded) -> list[tuple[int, int, str]]:
    """Return the longest stretches of an unspaced run whose every pair of characters stands in the query."""
    if not query.pieces:
        return []
    begin = bisect_left(folded.places, word.start)
    form, found, i = word.form, list[tuple[int, int, str]](), 0
    while i < len(form):
        j = i
        while form[j : j + 2] in query.pieces and j + 1 < len(form):
            j += 1
        if j == i and form[i] in query.pieces:
            found.append((folded.places[begin + i], folded.places[begin + i] + 1, form[i]))
        elif j > i:
            last = folded.places[begin + j]
            found.append((folded.places[begin + i], _end_after(folded, begin + j + 1, last), form[i : j + 1]))
        i = j + 1
    return found


def _without_overlaps(found: list[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """Keep the longer of marks that overlap."""
    kept: list[tuple[int, int, str]] = []
    for mark in sorted(found, key=lambda mark: (mark[0], -mark[1])):
        if not kept or mark[0] >= kept[-1][1]:
            kept.append(mark)
        elif mark[1] - mark[0] > kept[-1][1] - kept[-1][0]:
            kept[-1] = mark
    return kept
