"""Reads messages that Outlook saved (.msg).

Owns where in one subject, people and body stand and in which code page; what a letter is belongs to `mail`.
"""

import datetime
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from drama_app.errors import ExtractionError
from drama_app.extract.builder import TextBuilder
from drama_app.extract.clean import clean_line
from drama_app.extract.compressed_rtf import unpack_rtf
from drama_app.extract.mail import HEADERS, Letter, add_letter, choose_version, decode_header, decode_part, shorten
from drama_app.extract.rtf import MAX_BYTES, read_rtf
from drama_app.extract.source import Source
from drama_app.records import Document

if TYPE_CHECKING:
    from oxmsg import Message as OutlookMessage

_SENDER = "0C1A001E"
_CODE_PAGE = 0x3FFD
"""Of names and subject; few messages say it, and it need not be that of the body."""
_RECIPIENT = "__recip_version1.0_#"
_RICH_BODY = "__substg1.0_10090102"


def read_msg(source: Source) -> Document:
    """Return a message that Outlook saved."""
    import struct

    import olefile
    from oxmsg import Message as OutlookMessage

    try:
        with source.open() as stream:
            message = OutlookMessage.load(stream)
            stream.seek(0)
            with olefile.OleFileIO(stream) as container:
                letter = _convert_outlook(message, container)
                if not any(text.strip() for _, text in letter.body):
                    _add_rich_body(letter, container, source)
    except (OSError, ValueError, KeyError, struct.error, IndexError, AssertionError, AttributeError) as error:
        raise ExtractionError("damaged, or not really an Outlook message") from error
    builder = TextBuilder()
    return builder.build("msg", letter.subject, notes=shorten(add_letter(builder, source, letter)))


def _convert_outlook(message: "OutlookMessage", container: Any) -> Letter:
    """Return an Outlook message as a letter; `container` is the OLE2 file that it was loaded from."""
    headers = {name.title(): decode_header(value) for name, value in message.message_headers.items()}
    sent = message.sent_date
    charset = message.properties.body_encoding.replace("windows-", "cp")
    raw = partial(_read_raw, container, charset)
    named = message.properties.int_prop_value(_CODE_PAGE)
    raw_name = partial(_read_raw, container, f"cp{named}") if named else raw
    fallbacks = {
        "From": decode_header(_read_sender(message, raw_name)),
        "To": _join_recipients(message, container, raw_name),
        "Date": sent.strftime("%Y-%m-%d %H:%M") if isinstance(sent, datetime.datetime) else "",
    }
    letter = Letter(subject=clean_line(_read_property(lambda: message.subject, raw_name, "0037001E")))
    for name in HEADERS:
        value = headers.get(name) or clean_line(fallbacks.get(name, ""))
        if value:
            letter.headers.append((name, value))
    plain = _read_property(lambda: message.body, raw, "1000001E")
    html = _read_property(lambda: message.html_body, raw, "10130102", "1013001E")
    letter.body = choose_version([[("plain", plain)], [("html", html)]])
    for number, attachment in enumerate(message.attachments, start=1):
        name = f"attachment {number}"
        with suppress(LookupError, UnicodeDecodeError):
            name = clean_line(attachment.file_name or "") or name
        if attachment.file_bytes:
            letter.attachments.append((name, attachment.file_bytes))
        else:
            letter.notes.append(f"{name}: Outlook items inside messages are not searched")
    return letter


def _add_rich_body(letter: Letter, container: Any, source: Source) -> None:
    """Add the body of a message that Outlook keeps as compressed RTF alone, as Exchange does."""
    if not container.exists(_RICH_BODY):
        return
    try:
        data = unpack_rtf(container.openstream(_RICH_BODY).read(), limit=MAX_BYTES)
        letter.body = [("plain", read_rtf(replace(source, name="body.rtf", data=data)).text)]
    except (ExtractionError, ValueError):
        letter.notes.append("the body, which is RTF, cannot be read")


def _read_raw(container: Any, charset: str, number: str, *, folder: str = "") -> str:
    """Return a property of the message, or of a recipient's folder, by number and type, decoded from its bytes."""
    name = f"{folder}/__substg1.0_{number}" if folder else f"__substg1.0_{number}"
    # Some writers end a text with a zero, which no text holds.
    return decode_part(container.openstream(name).read().rstrip(b"\0"), charset) if container.exists(name) else ""


def _read_sender(message: "OutlookMessage", raw: Callable[[str], str]) -> str:
    """Return the sender's name and address; the library reads both as one text."""
    try:
        text = message.sender or ""
    except (LookupError, UnicodeDecodeError):
        return raw(_SENDER)
    name, address = raw(_SENDER), text.rpartition("<")[2]
    return f'"{name}" <{address}' if name and text.endswith(">") and not text.isascii() else text


def _join_recipients(message: "OutlookMessage", container: Any, raw: Callable[..., str]) -> str:
    """Return names and addresses of all recipients."""
    folders = sorted({entry[0] for entry in container.listdir() if entry[0].startswith(_RECIPIENT)})
    found = []
    for folder, person in zip(folders, message.recipients, strict=False):
        read = partial(raw, folder=folder)
        name = _read_property(partial(getattr, person, "name"), read, "3001001E")
        address = _read_property(partial(getattr, person, "email_address"), read, "39FE001E", "3003001E")
        found.append(f"{name} <{address}>" if address else name)
    return ", ".join(found)


def _read_property(read: Callable[[], str | None], raw: Callable[[str], str], *numbers: str) -> str:
    """Return a text of an Outlook message; where it names a code page Python lacks, the bytes decide."""
    try:
        text = read() or ""
    except (LookupError, UnicodeDecodeError):
        text = ""
    else:
        if text.isascii():
            return text
    # Without a code page of its own, an 8-bit text was read as Western European, whatever the body is in.
    return next(filter(None, map(raw, numbers)), text)
