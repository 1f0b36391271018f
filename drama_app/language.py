"""Which language a passage is written in.

Owns the choice of a code for a text: by script where one script is one language, else by py3langid. It promises
no code where the text is too short, unsure or no prose: "" is kept rather than a guess that a filter would trust.
"""

from collections import Counter
from functools import cache
from typing import TYPE_CHECKING

import regex

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

_LETTERS_NEEDED = 12
_SPECIMEN = 400
"""Characters that are looked at; 1,400 name the language no better and cost three times as much."""
_LEAST_SURE = 0.35
"""Right answers for 300 characters lie above it (hr lowest, at 0.5), most of those for unknown Māori below."""
_LEAST_PROSE = 0.5
"""Share of letters and marks among what is not white space; tables and logs lie below."""

_SCRIPTS = {
    "ar": "Arabic", "bn": "Bengali", "bo": "Tibetan", "el": "Greek", "am": "Ethiopic", "gu": "Gujarati", "he": "Hebrew",
    "hi": "Devanagari", "hy": "Armenian", "ka": "Georgian", "km": "Khmer", "kn": "Kannada", "ko": "Hangul", "lo": "Lao",
    "ml": "Malayalam", "my": "Myanmar", "or": "Oriya", "pa": "Gurmukhi", "ru": "Cyrillic", "si": "Sinhala",
    "ta": "Tamil", "te": "Telugu", "th": "Thai", "zh": "Han",
}  # fmt: skip
_SHARED = frozenset({"ar", "bn", "hi", "ru"})
"""Scripts of several languages, and the one of each that is most written."""
_RUNS = regex.compile(
    r"(?P<ja>[\p{Hiragana}\p{Katakana}]+)|"
    + "|".join(rf"(?P<{code}>\p{{{script}}}+)" for code, script in _SCRIPTS.items())
    + r"|(?P<latin>[\p{L}\p{M}]+)"
)
_TIGRINYA = regex.compile("[ኣቐ-ቝ]")
"""Over 1 % of the letters in 9 of 10 Tigrinya texts, in 1 of 100 Amharic ones; the model knows Amharic only."""

_KIN = (
    frozenset({"hr", "bs", "sr"}),
    frozenset({"id", "ms"}),
    frozenset({"no", "nn", "da"}),
    frozenset({"cs", "sk"}),
    frozenset({"pt", "gl", "es"}),
    frozenset({"zu", "xh"}),
)
"""Languages confused passage by passage: within a document the most frequent one stands for its kin."""
_LONGER_CODES = frozenset({"pcm", "nso"})


def detect_languages(texts: list[str]) -> list[str]:
    """Return a language code for each passage of one document, "" where it cannot be told.

    The passages vote: one whose own words are too few, or of a language close to the majority's, takes the
    majority's. Numbers and code stay without a language.
    """
    own = [_detect(text) for text in texts]
    votes = Counter(code for code in own if code)
    if not votes:
        return ["" if code is None else code for code in own]
    majority, count = votes.most_common(1)[0]
    leads = 2 * count > sum(code is not None for code in own)
    return [_settle(code, majority, leads=leads) for code in own]


def _settle(code: str | None, majority: str, *, leads: bool) -> str:
    if code is None:
        return ""
    if not code:
        return majority if leads else ""
    return majority if leads and any(code in kin and majority in kin for kin in _KIN) else code


def _detect(text: str) -> str | None:
    """Return a code, "" where the words are too few or unsure, None where there is no prose at all."""
    specimen = text[: 4 * _SPECIMEN].lstrip()[:_SPECIMEN]
    scripts: Counter[str] = Counter()
    for run in _RUNS.finditer(specimen):
        scripts[run.lastgroup or ""] += run.end() - run.start()
    letters = scripts.total()
    if letters < _LEAST_PROSE * len("".join(specimen.split())) or not letters:
        return None
    if letters < _LETTERS_NEEDED and set(scripts) & {"latin", *_SHARED}:
        return ""
    code, most = scripts.most_common(1)[0]
    if scripts["ja"] and scripts["ja"] + scripts["zh"] >= most and 10 * scripts["ja"] >= scripts["zh"]:
        return "ja"
    if code == "am":
        return "ti" if 100 * len(_TIGRINYA.findall(specimen)) > most else "am"
    if code != "latin" and code not in _SHARED and 2 * most > letters:
        return code
    return _ask_model(specimen)


def _ask_model(specimen: str) -> str:
    code, sureness = _load_identifier().classify(specimen)
    if sureness < _LEAST_SURE or (len(code) != 2 and code not in _LONGER_CODES):
        return ""
    return str(code)


@cache
def _load_identifier() -> "LanguageIdentifier":
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
