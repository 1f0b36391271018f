"""Reads mail: single messages (.eml, .emlx) and mailboxes (mbox); `outlook` reads those of Outlook.

Owns what a letter is, and which parts of a message are its body and which are attachments. Attachments are read by
their own kind; pictures that belong to an HTML body are left out. Trusts no declared charset.
"""

import codecs
import email
import email.errors
import email.header
import email.policy
import mimetypes
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message
from itertools import chain, pairwise
from typing import BinaryIO

from drama_app.errors import ExtractionError
from drama_app.extract.builder import TextBuilder
from drama_app.extract.clean import clean_line
from drama_app.extract.nested import add_attachments
from drama_app.extract.signatures import starts_html, starts_mbox, strip_encoding
from drama_app.extract.source import Source
from drama_app.records import Document

MAX_MESSAGES = 10_000
MAX_MESSAGE_BYTES = 100_000_000
MAX_LETTER_BYTES = 40_000_000
"""Of a letter in a mailbox: parsing base64 takes up to nine times as much, and none may cost the others."""
MAX_NOTES = 20

HEADERS = ("From", "To", "Cc", "Date")
_TNEF = ("application/ms-tnef", "application/vnd.ms-tnef")
_DRESSING = re.compile(r"text/css|(?:text|application)/(?:x-)?(?:java|ecma)script|image/|font/|application/(?:x-)?font")
_STUB_FACTOR = 3
"""Plain text beside an HTML version this many times as long only says that there is one, or begins it."""
_PIECE = 8
"""Characters: hardly two texts share a piece this long by chance."""
_PIECES = 100
_WHOLE = 0.95
"""Share of pieces: that of a text which stands in another but for how it is laid out."""
_MOST = 0.8
"""Of the plain version, so that nothing it alone says is lost where the other one takes its place."""
_HALF = 0.5
_ADDRESS = re.compile(r"https?://\S+")
_HEADER_BYTES = 200
"""Of the line behind a mailbox's separator: enough to tell a header."""
_EMLX_LENGTH = re.compile(rb"\s*(\d{1,10})[ \t]*\r?\n")
_FLOWED = re.compile(r"(?<=[^\n ])(?<!^--)( *) \n(?=[^\n> ])(?!-- *$)", re.MULTILINE)
"""The end of a line that goes on in the next; the "-- " above a signature is no such line."""
_NOT_BASE64 = re.compile(rb"^(?![ \t]*[A-Za-z0-9+/]*=*[ \t]*\r*$)", re.MULTILINE)


@dataclass
class Letter:
    """A message as a person sees it, whatever the format."""

    subject: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    """(name, value) of From, To, Cc and Date, those that are there."""
    body: list[tuple[str, str]] = field(default_factory=list)
    """("plain" or "html", text) of each part that is the message itself, in order."""
    attachments: list[tuple[str, bytes]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_eml(source: Source) -> Document:
    """Return one message: its subject, who wrote to whom and when, its body, its attachments."""
    if source.size() > MAX_MESSAGE_BYTES:
        raise ExtractionError(f"larger than {MAX_MESSAGE_BYTES // 1_000_000} MB")
    # A blank line before the headers, as careless programmes leave it, would end them before they begin.
    letter = _parse(_unwrap_emlx(source.read()).removeprefix(codecs.BOM_UTF8).lstrip())
    builder = TextBuilder()
    return builder.build("eml", letter.subject, notes=shorten(add_letter(builder, source, letter)))


def _unwrap_emlx(data: bytes) -> bytes:
    """Return the message of a file of Apple Mail, which holds its length before it and a property list behind it."""
    length = _EMLX_LENGTH.match(data)
    return data[length.end() : length.end() + int(length.group(1))] if length else data


def read_mbox(source: Source) -> Document:
    """Return the messages of a mailbox, each under its subject; the file is read as a stream."""
    builder = TextBuilder()
    notes: list[str] = []
    broken = cut = 0
    with source.open() as stream:
        for number, raw in enumerate(_split_mailbox(stream)):
            if builder.full:
                break
            if number == MAX_MESSAGES:
                notes.append(f"only the first {MAX_MESSAGES:,} messages are searchable")
                break
            cut += len(raw) == MAX_LETTER_BYTES
            try:
                notes += add_letter(builder, source, _parse(raw))
            except MemoryError:
                raise
            except Exception:  # whatever a letter is made of, it must not cost the mailbox
                broken += 1
    if broken:
        notes.append(f"{broken:,} of its messages cannot be read whole")
    if cut:
        notes.append(f"of {cut:,} of its messages only the first {MAX_LETTER_BYTES // 1_000_000} MB are searchable")
    return builder.build("mbox", notes=shorten(notes))


def add_letter(builder: TextBuilder, source: Source, letter: Letter) -> list[str]:
    """Add a message and return notes on what of it is not searchable."""
    builder.heading(1, letter.subject)
    for name, value in letter.headers:
        builder.line(f"{name}: {value}")
    # Some programmes send the same text plain and as HTML without saying that they are alternatives.
    texts = (_read_html(text) if kind == "html" else text for kind, text in letter.body)
    for text in {"".join(text.split()): text for text in texts}.values():
        builder.paragraph(text)
    return letter.notes + add_attachments(builder, source, letter.attachments, level=2)


def _parse(raw: bytes) -> Letter:
    """Return a message from its bytes; headers that break the rules are taken as they are."""
    message = email.message_from_bytes(raw, policy=email.policy.compat32)
    letter = Letter(subject=decode_header(message.get("Subject")))
    for name in HEADERS:
        values = [decode_header(value) for value in message.get_all(name, [])]
        if any(values):
            letter.headers.append((name, ", ".join(value for value in values if value)))
    _add_part(letter, message)
    return letter


def _add_part(letter: Letter, part: "Message[str, str]") -> None:
    """Sort a part and those in it into body and attachments."""
    kind = part.get_content_type()
    if kind == "multipart/encrypted":
        letter.notes.append("the message is encrypted")
    elif kind.removeprefix("application/").removeprefix("x-") == "pkcs7-mime":
        is_signed = "signed" in str(part.get_params())
        letter.notes.append(
            "text inside an S/MIME signature is not searched" if is_signed else "the message is encrypted"
        )
    elif kind == "multipart/alternative" and part.is_multipart():
        _add_alternatives(letter, part)
    elif kind == "message/rfc822":
        inner = part.get_payload()
        if isinstance(inner, list) and inner and isinstance(inner[0], Message):
            forwarded = _unwrap_letter(inner[0], _get_encoding(part))
            name = decode_header(forwarded.get("Subject")) or "message"
            letter.attachments.append((f"{name.replace('/', '-')}.eml", forwarded.as_bytes()))
    elif kind.startswith("multipart/") and not part.is_multipart():
        _add_undivided(letter, part)
    elif part.is_multipart():
        for inner_part in part.get_payload():
            if isinstance(inner_part, Message) and not (kind == "multipart/related" and _is_dressing(inner_part)):
                _add_part(letter, inner_part)
    else:
        _add_leaf(letter, part, kind)


def _get_encoding(part: "Message[str, str]") -> str:
    """Return what a part says of how its bytes are encoded, "" if nothing."""
    return str(part.get("Content-Transfer-Encoding", "")).strip().lower()


def _unwrap_letter(letter: "Message[str, str]", encoding: str) -> "Message[str, str]":
    """Return a letter inside another; one that is encoded, which the rules forbid, was parsed as it stands."""
    kind = str(letter.get("Content-Type", "")).upper() or letter.as_string().upper()
    # Careless programmes name an encoding and send the letter as it is.
    if not (
        (encoding == "base64" and not letter.keys())
        or (encoding == "quoted-printable" and ("=3D" in kind or "=" not in kind))
    ):
        return letter
    raw = letter.as_bytes()
    if any(isinstance(defect, email.errors.MissingHeaderBodySeparatorDefect) for defect in letter.defects):
        # Written anew it has a blank line where the parser lost the headers, at a line broken by the encoding.
        raw = raw.replace(b"\n\n", b"\n", 1)
    wrapped: Message[str, str] = Message()
    wrapped["Content-Transfer-Encoding"] = encoding
    wrapped.set_payload(raw.decode("ascii", "surrogateescape"))
    return email.message_from_bytes(_decode_payload(wrapped).lstrip(), policy=email.policy.compat32)


def _decode_payload(part: "Message[str, str]") -> bytes:
    """Return the content of a part that holds no other."""
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _is_dressing(part: "Message[str, str]") -> bool:
    """True for what a page in HTML is only dressed with, as browsers save it: styles, scripts, nameless pictures."""
    return _DRESSING.match(part.get_content_type()) is not None and not part.get_filename()


def _add_alternatives(letter: Letter, part: "Message[str, str]") -> None:
    """Add one version of a message, and what is attached to any."""
    versions = []
    for inner in part.get_payload():
        if isinstance(inner, Message):
            version = Letter()
            _add_part(version, inner)
            letter.attachments += version.attachments
            letter.notes += version.notes
            versions.append(version.body)
    letter.body += choose_version(versions)


def choose_version(versions: list[list[tuple[str, str]]]) -> list[tuple[str, str]]:
    """Return the plain one of several versions of a text; with or instead of it one that says what it does not.

    Of two that share more than half of their text, yet not nearly all, the one that says more is the whole letter.
    """
    best: list[tuple[str, str]] = []
    shown = ""
    for version in sorted(versions, key=lambda version: all(kind == "html" for kind, _ in version)):
        text = "".join(_show(kind, text) for kind, text in version)
        held = _share(text, shown)
        if held >= _WHOLE or (held >= _HALF and _count_letters(version) <= _count_letters(best)):
            continue
        kept = _share(_tell(best), text)
        if kept >= (_MOST if held >= _HALF else _HALF) or (held < _HALF and len(text) > _STUB_FACTOR * len(shown)):
            best, shown = version, text
        else:
            best, shown = best + version, shown + text
    return best


def _share(text: str, other: str) -> float:
    """Return how much of a text stands in another one, from 0 to 1, judged by pieces of it."""
    step = max(_PIECE, len(text) // _PIECES)
    pieces = [text[start : start + _PIECE] for start in range(0, len(text), step)]
    return sum(piece in other for piece in pieces) / len(pieces) if pieces else 1.0


def _count_letters(version: list[tuple[str, str]]) -> int:
    """Return how much a version says: signs say nothing."""
    return sum(map(str.isalnum, _tell(version)))


def _tell(version: list[tuple[str, str]]) -> str:
    """Return what a version says to a person, without addresses of links, which plain text writes out."""
    return "".join(_show(kind, _ADDRESS.sub(" ", text) if kind == "plain" else text) for kind, text in version)


def _show(kind: str, text: str) -> str:
    """Return about the letters of a body that a person sees, for comparing; far quicker than to lay it out."""
    from lxml import etree

    from drama_app.extract.web import parse_html

    root = parse_html(text) if kind == "html" else None
    if root is not None:
        etree.strip_elements(root, "head", "script", "style", with_tail=False)
    texts = [text] if kind == "plain" else [] if root is None else map(str, root.itertext())
    return "".join("".join(text.split()) for text in texts).casefold()


def _add_undivided(letter: Letter, part: "Message[str, str]") -> None:
    """Add the content of a multipart whose parts cannot be told apart, since it names no boundary or a wrong one."""
    data = _decode_payload(part)
    text = decode_part(data, part.get_content_charset() or "")
    letter.body.append(("html" if starts_html(strip_encoding(data)) else "plain", text))


def _add_leaf(letter: Letter, part: "Message[str, str]", kind: str) -> None:
    """Add a part that holds no other."""
    name = decode_header(part.get_filename())
    attached = part.get_content_disposition() == "attachment" or bool(name)
    is_body = kind in ("text/plain", "text/html") and not attached
    appended = _cut_base64(part) if is_body and _get_encoding(part) == "base64" else b""
    data = _decode_payload(part)
    if is_body:
        text = decode_part(data, part.get_content_charset() or "")
        if kind == "text/plain" and str(part.get_param("format")).lower() == "flowed":
            deletes_space = str(part.get_param("delsp")).lower() == "yes"
            text = _FLOWED.sub(r"\1" if deletes_space else " ", text.replace("\r\n", "\n"))
        letter.body.append((kind.removeprefix("text/"), text))
        if appended.strip():
            letter.body.append(("plain", decode_part(appended, "")))
    elif kind.startswith("image/") and part.get("Content-ID") is not None:
        return
    elif kind in _TNEF or name.lower() == "winmail.dat":
        letter.notes.append("what Outlook put into winmail.dat is not searched")
    elif data and not kind.startswith(("message/delivery", "application/pgp-sig", "application/pkcs7-sig")):
        suffix = "" if "." in name else mimetypes.guess_extension(kind) or ""
        letter.attachments.append((f"{name or 'part'}{suffix}", data))


def _cut_base64(part: "Message[str, str]") -> bytes:
    """Return what a server wrote behind the base64 of a text, and take it away there, where it spoils the text."""
    del part["Content-Transfer-Encoding"]
    raw = _decode_payload(part)  # without an encoding these are the bytes as they stand
    part["Content-Transfer-Encoding"] = "base64"
    foreign = _NOT_BASE64.search(raw)
    if not foreign or not raw[: foreign.start()].strip():
        return b""
    part.set_payload(raw[: foreign.start()].decode("ascii"))
    return raw[foreign.start() :]


def _read_html(text: str) -> str:
    """Return the text of an HTML body."""
    from drama_app.extract.web import add_html, parse_html

    root = parse_html(text)
    if root is None:
        return ""
    body = TextBuilder()
    add_html(body, root)
    return body.build("html").text


def decode_part(data: bytes, charset: str) -> str:
    """Return the text of a part; a declared charset is a hint, since senders get it wrong."""
    from drama_app.extract.encoding import decode

    try:
        return decode(data, hint=charset).text
    except ExtractionError:
        return ""


def decode_header(value: object) -> str:
    """Return a header's text, encoded words decoded, raw bytes guessed."""
    if value is None:
        return ""
    pieces = []
    try:
        decoded = email.header.decode_header(value if isinstance(value, email.header.Header) else str(value))
    except (email.errors.HeaderParseError, ValueError):
        return clean_line(str(value))
    for piece, charset in decoded:
        if isinstance(piece, bytes):
            charset = "" if charset in (None, "unknown-8bit") else str(charset)
            pieces.append(piece.decode("ascii") if piece.isascii() and not charset else decode_part(piece, charset))
        else:
            raw = piece.encode("utf-8", "surrogateescape")
            pieces.append(piece if raw.isascii() else decode_part(raw, ""))
    return clean_line("".join(pieces))


def _split_mailbox(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the messages of a mailbox; one that is too large is cut."""
    letter = bytearray()
    after_blank = True
    for line, following in pairwise(chain(stream, (b"",))):
        # Programmes that do not quote "From " in a body leave sentences that begin like a separator.
        if after_blank and starts_mbox(line + following[:_HEADER_BYTES]):
            if letter:
                raw = bytes(letter)
                letter.clear()  # before it is parsed, which takes memory enough
                yield raw
        elif len(letter) < MAX_LETTER_BYTES:
            letter += line[1:] if re.match(rb">+From ", line) else line
            del letter[MAX_LETTER_BYTES:]
        after_blank = not line.strip()
    if letter:
        yield bytes(letter)


def shorten(notes: list[str]) -> list[str]:
    """Return the first notes and how many more there are."""
    return notes if len(notes) <= MAX_NOTES else [*notes[:MAX_NOTES], f"and {len(notes) - MAX_NOTES:,} more notes"]
