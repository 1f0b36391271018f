"""Decodes text of unknown encoding.

Owns the guess and its order: marks, UTF-8, wide encodings, escape-based ones, then legacy code pages. Refuses bytes
that are no text. Declared charsets (HTML, mail) are the business of those formats, which may pass one as a hint.
"""

import codecs
import re
import unicodedata
from dataclasses import dataclass

from drama_app.errors import ExtractionError
from drama_app.extract.alphabets import ALPHABETS, TYPOGRAPHY
from drama_app.extract.source import Source

MAX_TEXT_BYTES = 64 * 1024 * 1024
"""Texts beyond it are dumps and logs; decoding one needs about six times its size in memory."""

_BINARY_SHARE = 0.02
"""Random bytes hold 9 % of the control characters counted here, texts none."""
_CONTROLS = bytes(byte for byte in range(0x20) if byte not in b"\t\n\x0b\r\x0c\x08\x1b\x0e\x0f\x1a\x00") + b"\x7f"
_LETTER_RUN = re.compile(rb"[^\n\x00]*[\x80-\xff][^\n\x00]*")
# UTF-8 that a code page shows as "Ã©", "Å‚" or "â€œ", which no language writes: Latin letters and their quotes.
_TELLTALE = re.compile(rb"[\xc2-\xc5][\x80-\xbf]|\xe2\x80[\x80-\xbf]")
_CUT_TAIL = re.compile(rb"(?:[\xc2-\xf4]|[\xe0-\xf4][\x80-\xbf]|[\xf0-\xf4][\x80-\xbf]{2})\Z")
_SAMPLE_BYTES = 100_000
_RIVAL_BYTES = 8_000
"""Enough letters to tell code pages apart; all rivals on it cost 0.1 s."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BOMS = tuple(mark for mark, _ in _MARKS)
# What the detector says -> Python's codec, the widest of its family.
_CODECS = {
    "Big5": "big5hkscs",
    "EUC-JP": "euc_jis_2004",
    "EUC-KR": "cp949",
    "GBK": "gb18030",
    "IBM866": "cp866",
    "ISO-8859-8-I": "iso8859_8",
    "Shift_JIS": "cp932",
    "windows-874": "cp874",
    "x-mac-cyrillic": "mac_cyrillic",
}
_LEGACY_FAMILIES = ("big5", "cp", "euc", "gb", "hz", "iso", "johab", "koi8", "kz1048", "mac", "ptcp", "shift", "tis")
_DECLARED = {
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "euc_kr": "cp949",
    "euc_jp": "euc_jis_2004",
    "shift_jis": "cp932",
    "big5": "big5hkscs",
}
"""What browsers make of a declared charset: the superset that pages are really in."""
_MULTIBYTE = frozenset({"big5hkscs", "euc_jis_2004", "cp949", "gb18030", "cp932"})
# Code pages tried against the detector's guess, which knows none of Apple's and few of DOS.
_LATIN_RIVALS = ("cp1252", "cp1250", "iso8859_2", "cp1257", "iso8859_13", "cp1254", "iso8859_16", "mac_roman",
                 "mac_iceland", "mac_turkish", "cp850", "cp852", "mac_latin2")  # fmt: skip
_OTHER_RIVALS = ("cp1251", "koi8_u", "cp866", "mac_cyrillic", "cp1253", "mac_greek", "cp737")
_RIVAL_MARGIN = 0.9
"""A rival must cut the penalty by a tenth and by half a letter; ties go to the detector."""
_FIRST_NOT_LATIN = "\u0370"
_LONE_LETTERS = "àáâãéèêëíîóôòöúüåäæøœýşșłžışé"


@dataclass(frozen=True, slots=True)
class Decoded:
    """Text and how it was read."""

    text: str
    encoding: str
    notes: tuple[str, ...] = ()


def read_text(source: Source, *, hint: str = "") -> Decoded:
    """Return the decoded text of a file.

    Raises:
        ExtractionError: too large, or binary.
    """
    size = source.size()
    if size > MAX_TEXT_BYTES:
        mega = 1024 * 1024
        raise ExtractionError(f"too large: {size // mega} MB, the limit is {MAX_TEXT_BYTES // mega} MB")
    return decode(source.read(), hint=hint)


def decode(data: bytes, *, hint: str = "") -> Decoded:
    """Return `data` as text.

    Args:
        data: All bytes of a text.
        hint: A declared charset; taken if the bytes are valid in it and are not plainly UTF-8.

    Raises:
        ExtractionError: the bytes are binary.
    """
    for mark, name in _MARKS:
        if data.startswith(mark) and not (name == "utf-16" and len(data) % 2 and b"\x00" not in data):
            return Decoded(data.decode(name, "replace"), name)
    wide = _guess_wide(data) if b"\x00" in data[:_SAMPLE_BYTES] else ""
    if wide:
        return Decoded(data.decode(wide, "replace"), wide)
    if looks_binary(data[:_SAMPLE_BYTES]):
        raise ExtractionError("binary data, not text")
    if b"\x1b$" in data or b"\x1b(" in data:
        for name in ("iso2022_jp_ext", "iso2022_jp_2004", "iso2022_kr"):
            text = _try_decode(data, name)
            if text is not None and not text.isascii():
                return Decoded(text, name)
    text = _try_decode(data, "utf-8")
    if text is not None:
        return Decoded(text, "utf-8")
    return _decode_legacy(data, hint)


def looks_binary(head: bytes) -> bool:
    """True if these first bytes of a file are no text in any encoding."""
    if b"\x00" in head and (head.startswith(_BOMS) or _guess_wide(head)):
        return False
    zeros = head.count(b"\x00")
    controls = len(head) - len(head.translate(None, _CONTROLS))
    return zeros + controls > _BINARY_SHARE * len(head)


def _guess_wide(data: bytes) -> str:
    """Return the name of the UTF-16 or UTF-32 variant that unmarked bytes are in, "" if in none."""
    sample = data[: 4 * 4096]
    sample = sample[: len(sample) // 4 * 4] or data
    for name in ("utf-32-le", "utf-32-be"):
        if len(sample) % 4 == 0 and _try_decode(sample, name) is not None:
            return name
    sample = data[: 2 * 8192]
    sample = sample[: len(sample) // 2 * 2]
    best_name, best = "", 0.5
    for name in ("utf-16-le", "utf-16-be"):
        share = _rate_wide(sample.decode(name, "replace"))
        if share > best:
            best_name, best = name, share
    return best_name


def _rate_wide(text: str) -> float:
    """Return how much of the text is ordinary: 1.0 for prose, low if bytes were paired the wrong way round."""
    if not text:
        return 0.0
    ordinary = odd = 0
    for character in text:
        category = unicodedata.category(character)
        if category in ("Cn", "Co", "Cs") or (category == "Cc" and character not in "\t\n\r\x0c\x1b"):
            odd += 1
        elif character in " \n\r\t" or "a" <= character <= "z" or character in "、。，,.।":
            ordinary += 1
    if odd > 0.01 * len(text) or not ordinary:
        return 0.0
    blocks = len({ord(character) >> 8 for character in text})
    return 1.0 - 0.5 * blocks / len(text)


def _try_decode(data: bytes, name: str) -> str | None:
    """Return the text, None if the bytes are not valid in that encoding."""
    try:
        return data.decode(name)
    except (UnicodeError, LookupError):
        return None


def _decode_legacy(data: bytes, hint: str) -> Decoded:
    """Decode bytes that are not valid UTF-8: damaged UTF-8, or a code page."""
    patched = data.decode("utf-8", "replace")
    bad = patched.count("\ufffd")
    damaged = Decoded(patched, "utf-8", (f"{bad} characters are not valid UTF-8",))
    cut = _CUT_TAIL.search(data[-3:]) is not None
    bad -= cut
    good = sum(1 for character in patched[: 4 * _SAMPLE_BYTES] if character > "\x7f" and character != "\ufffd")
    if good >= 10 * bad + 3 * cut:
        return damaged
    name = _guess_code_page(data)
    declared = _resolve_hint(hint)
    telltale = sum(1 for _ in _TELLTALE.finditer(data[: 4 * _SAMPLE_BYTES]))
    # Pairs of bytes in East Asian code pages happen to be valid: there the tenfold counts.
    if telltale > bad and _MULTIBYTE.isdisjoint((name, declared)):
        return damaged
    if declared and _is_plausible(data, declared, name):
        name = declared
    text = data.decode(name, "replace")
    lost = text.count("\ufffd")
    return Decoded(text, name, (f"{lost} characters could not be decoded as {name}",) if lost else ())


def _guess_code_page(data: bytes) -> str:
    """Return the codec of legacy bytes: the detector's guess, or a rival whose letters fit a language better."""
    from chardetng_py import EncodingDetector

    sample = _collect_sample(data)
    detector = EncodingDetector()
    detector.feed(sample, last=True)
    name = str(detector.guess(tld=None, allow_utf8=False))
    guess = _CODECS.get(name, name)
    if guess in _MULTIBYTE:
        return guess
    sample = sample[:_RIVAL_BYTES]
    best_name, best = guess, _penalise(sample.decode(guess, "replace"))
    for rival in _LATIN_RIVALS + _OTHER_RIVALS:
        penalty = _penalise(sample.decode(rival, "replace"))
        if penalty < min(best * _RIVAL_MARGIN, best - 0.5):
            best_name, best = rival, penalty
    return best_name


def _resolve_hint(hint: str) -> str:
    """Return the codec that a declared charset means in practice, "" for one that no text is in."""
    try:
        name = str(codecs.lookup(hint).name)
    except (LookupError, ValueError):
        return ""
    return _DECLARED.get(name, name) if name.startswith(_LEGACY_FAMILIES) else ""


def _is_plausible(data: bytes, declared: str, guess: str) -> bool:
    """True if the bytes are valid as declared and the letters make about as much sense as guessed."""
    if _try_decode(data, declared) is None:
        return False
    sample = _collect_sample(data)[:_RIVAL_BYTES]
    if len(sample.decode(declared, "replace")) < 0.8 * len(sample):
        return True  # valid in an encoding of several bytes a character: no accident
    return _penalise(sample.decode(declared, "replace")) <= 1.5 * _penalise(sample.decode(guess, "replace")) + 2


def _collect_sample(data: bytes) -> bytes:
    """Return up to `_SAMPLE_BYTES` of the lines that hold bytes outside ASCII."""
    parts: list[bytes] = []
    size = 0
    for match in _LETTER_RUN.finditer(data):
        part = match.group()[: _SAMPLE_BYTES - size]
        parts.append(part)
        size += len(part)
        if size >= _SAMPLE_BYTES:
            break
    return b"\n".join(parts)


def _penalise(text: str) -> float:
    """Return how badly the characters outside ASCII fit the one language that they fit best; 0 is perfect."""
    counts: dict[str, int] = {}
    oddities = 0.0
    before = " "
    for index, character in enumerate(text):
        if character > "\x7f":
            after = text[index + 1] if index + 1 < len(text) else " "
            oddities += _penalise_place(character, before, after)
            if character.isalpha() and character not in TYPOGRAPHY:
                lower = character.lower()
                counts[lower] = counts.get(lower, 0) + 1
        before = character
    total = sum(counts.values())
    best = min((total - sum(counts.get(letter, 0) for letter in alphabet) for alphabet in ALPHABETS), default=total)
    return oddities + best


def _penalise_place(character: str, before: str, after: str) -> float:
    """Return the penalty of one character for where it stands."""
    if character.isalpha() and character not in TYPOGRAPHY:
        return _penalise_letter(character, before, after)
    joins = before.isalpha() + after.isalpha()
    if character in TYPOGRAPHY:
        return 1.0 if joins == 2 and character not in "’\xad·" else 0.0
    if unicodedata.category(character) in ("Cc", "Cn", "Co") or character == "\ufffd":
        return 2.0
    if unicodedata.combining(character):
        return 0.0 if before.isalpha() or unicodedata.combining(before) else 1.0
    return 1.5 if joins else 0.8


def _penalise_letter(letter: str, before: str, after: str) -> float:
    """Return the penalty of a letter outside ASCII for its case, its neighbours' script, or standing alone."""
    if letter >= _FIRST_NOT_LATIN and (_is_ascii_letter(before) or _is_ascii_letter(after)):
        return 1.5
    if (letter.isupper() and before.islower()) or (letter.islower() and after.isupper()):
        return 1.0
    if letter in "ąŁ" and after.isdigit() and not before.isalnum():
        return 0.7  # ±5 and £4; other letters stand before numbers often: Ö1, А4, М5
    alone = not before.isalnum() and not after.isalnum()
    return 0.7 if alone and letter < _FIRST_NOT_LATIN and letter.lower() not in _LONE_LETTERS else 0.0


def _is_ascii_letter(character: str) -> bool:
    return character.isascii() and character.isalpha()
