"""Recognises formats by how a file starts.

Pure predicates over the first bytes of a file. Those for texts expect the bytes as `strip_encoding` leaves them, so
that UTF-16 and byte order marks make no difference.
"""

import re

_MAIL_FIELDS = re.compile(
    rb"(?:from|to|cc|subject|date|received|return-path|message-id|mime-version|delivered-to|reply-to|sender"
    rb"|content-type|x-[a-z-]+|dkim-signature|authentication-results|arc-[a-z-]+|references|in-reply-to):[ \t]",
    re.IGNORECASE,
)
_TRANSPORT_FIELDS = re.compile(
    rb"(?:received|return-path|message-id|mime-version|content-type|content-transfer-encoding|dkim-signature):[ \t]",
    re.IGNORECASE,
)
_MAIL_LINE = re.compile(rb"[!-9;-~]{1,60}:")
_MBOX_LINE = re.compile(rb"From +\S+ .{0,60}\d\d:\d\d.{0,60}\r?\n(?:>From |[!-9;-~]+:[ \t\r\n])")
_HTML = re.compile(
    rb"(?:<\?xml[^>]{0,200}>\s*)?(?:<!--.{0,4000}?-->\s*)*<(?:!doctype\s+html|html|head|body)[\s>]",
    re.IGNORECASE | re.DOTALL,
)
_HTML_PART = re.compile(
    rb"(?:<!--.{0,4000}?-->\s*)?<(?:table|style|meta|title|link|div|center|font|h[1-6]|p|b)[\s>]",
    re.IGNORECASE | re.DOTALL,
)
_XML = re.compile(rb"(?:<\?xml\s|<!DOCTYPE\s|<(?:rss|feed|svg|gpx|kml|plist)[\s>])")
_SRT = re.compile(rb"\d{1,5}[ \t]*\r?\n\d{1,3}:\d\d:\d\d[,.]\d{1,3}[ \t]*-->")
_LATEX = re.compile(rb"(?:%[^\r\n]*\r?\n|\s)*\\(?:documentclass|documentstyle|begin\{document\})")
_NOTEBOOK = re.compile(rb'\{\s*"(?:cells|metadata|nbformat(?:_minor)?)"\s*:')
_SCRIPT = re.compile(rb"#![ \t]*/\S*(?:bin|nix)/")

_CONTROL = re.compile(rb"[\x00-\x06\x10-\x19\x1c-\x1f]")

# Marks at the start of the file -> what it is. Longer marks before those that they begin with.
_MEDIA: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF87a", "a GIF image"),
    (b"GIF89a", "a GIF image"),
    (b"II*\x00", "a TIFF image"),
    (b"MM\x00*", "a TIFF image"),
    (b"8BPS", "a Photoshop image"),
    (b"\x00\x00\x01\x00", "an icon"),
    (b"\x00\x00\x02\x00\x01\x00", "an icon"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL image"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 image"),
    (b"AT&TFORM", "a DjVu scan"),
    (b"gimp xcf", "a GIMP image"),
    (b"ID3", "an audio file"),
    (b"\xff\xfb", "an audio file"),
    (b"\xff\xf3", "an audio file"),
    (b"\xff\xf2", "an audio file"),
    (b"\xff\xf1", "an audio file"),
    (b"fLaC", "an audio file"),
    (b"OggS", "an audio or video file"),
    (b"MThd", "a MIDI file"),
    (b"\x1a\x45\xdf\xa3", "a video"),
    (b"FLV\x01", "a video"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "an audio or video file"),
    (b"\x00\x00\x01\xba", "a video"),
    (b"\x00\x00\x01\xb3", "a video"),
    (b"\x1f\x8b", "an archive"),
    (b"BZh", "an archive"),
    (b"\xfd7zXZ\x00", "an archive"),
    (b"\x28\xb5\x2f\xfd", "an archive"),
    (b"\x04\x22\x4d\x18", "an archive"),
    (b"7z\xbc\xaf\x27\x1c", "an archive"),
    (b"Rar!\x1a\x07", "an archive"),
    (b"MSCF\x00", "an archive"),
    (b"!<arch>\n", "an archive"),
    (b"\xed\xab\xee\xdb", "a package"),
    (b"\x7fELF", "a program"),
    (b"\xfe\xed\xfa\xce", "a program"),
    (b"\xfe\xed\xfa\xcf", "a program"),
    (b"\xce\xfa\xed\xfe", "a program"),
    (b"\xcf\xfa\xed\xfe", "a program"),
    (b"\xca\xfe\xba\xbe", "a program"),
    (b"\x00asm", "a program"),
    (b"dex\n", "a program"),
    (b"SQLite format 3\x00", "a database"),
    (b"\x00\x01\x00\x00Standard ", "a database"),
    (b"!BDN", "an Outlook data file"),
    (b"PAR1", "a data file"),
    (b"ARROW1\x00", "a data file"),
    (b"\x89HDF\r\n\x1a\n", "a data file"),
    (b"\x93NUMPY", "a data file"),
    (b"GGUF", "a model file"),
    (b"\x00\x01\x00\x00\x00", "a font"),
    (b"OTTO\x00", "a font"),
    (b"ttcf\x00", "a font"),
    (b"wOFF", "a font"),
    (b"wOF2", "a font"),
    (b"Cr24", "a browser extension"),
    (b"age-encryption.org/", "an encrypted file"),
    (b"Salted__", "an encrypted file"),
    (b"%!PS", "a PostScript file"),
)
_RIFF = {b"WAVE": "an audio file", b"AVI ": "a video", b"WEBP": "a WebP image"}
_FOUR_LETTERS_OF_IMAGES = (b"heic", b"heix", b"mif1", b"msf1", b"avif", b"avis", b"hevc")


def strip_encoding(head: bytes) -> bytes:
    """Return the head without byte order mark, zero bytes of wide encodings, and leading white space."""
    for mark in (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"):
        head = head.removeprefix(mark)
    return head.replace(b"\x00", b"").lstrip()


def holds_controls(head: bytes) -> bool:
    """True for bytes that no text without NUL holds; terminal colours, overstriking and old end marks are text."""
    return _CONTROL.search(head) is not None


def starts_pdf(head: bytes) -> bool:
    """True for a PDF; readers allow up to 1024 bytes before its mark."""
    return re.search(rb"(?:\A|[\x00\r\n ]|\xef\xbb\xbf)%PDF-\d", head[:1032]) is not None


def starts_zip(head: bytes) -> bool:
    """True for a zip container."""
    return head.startswith((b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"))


def starts_ole2(head: bytes) -> bool:
    """True for the container of legacy office files and Outlook messages."""
    return head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")


def name_medium(head: bytes) -> str | None:
    """Return what a file without text is ("a PNG image"), None if its start is not known."""
    for mark, name in _MEDIA:
        if head.startswith(mark):
            return name
    if head.startswith(b"RIFF"):
        return _RIFF.get(head[8:12], "a media file")
    if head[4:8] == b"ftyp":
        return "an image" if head[8:12] in _FOUR_LETTERS_OF_IMAGES else "a video"
    if head.startswith(b"FORM") and head[8:12] in (b"AIFF", b"AIFC"):
        return "an audio file"
    return _name_weak_medium(head)


def _name_weak_medium(head: bytes) -> str | None:
    """Return what a file is whose mark is so short, or so late, that more must fit."""
    if head.startswith(b"BM") and head[6:10] == b"\x00\x00\x00\x00":
        return "a BMP image"
    if head.startswith(b"MZ") and b"\x00" in head[:64]:
        return "a program"
    if head[4:10] == b'\0\0\0\0{"':  # safetensors: the length of its JSON, which is far below 4 GB, then the JSON
        return "a model file"
    if head[257:262] == b"ustar":
        return "an archive"
    if head[:1] == b"\x47" and head[188:189] == b"\x47" and head[376:377] == b"\x47":
        return "a video"
    return None


def starts_rtf(plain: bytes) -> bool:
    """True for rich text."""
    return plain.startswith(b"{\\rtf")


def starts_mbox(plain: bytes) -> bool:
    """True for a mailbox: the line that separates mails, then a header."""
    return _MBOX_LINE.match(plain) is not None


def starts_mail(plain: bytes) -> bool:
    """True for a mail: a run of header lines of which three are those of mail."""
    lines = _list_mail_lines(plain)
    if not _MAIL_LINE.match(plain):
        return False
    if not all(line[:1] in (b" ", b"\t") or _MAIL_LINE.match(line) for line in lines[:40] if line):
        return False
    return sum(1 for line in lines if _MAIL_FIELDS.match(line)) >= 3


def names_transport(plain: bytes) -> bool:
    """True for a head of a mail with fields that no person writes; a memo has From, To, Date and Subject as well."""
    return any(_TRANSPORT_FIELDS.match(line) for line in _list_mail_lines(plain))


def _list_mail_lines(plain: bytes) -> list[bytes]:
    """Return the lines before the first blank one."""
    return plain[:16_384].replace(b"\r\n", b"\n").split(b"\n\n", 1)[0].split(b"\n")


def starts_html(plain: bytes) -> bool:
    """True for HTML and XHTML."""
    return _HTML.match(plain) is not None


def starts_html_part(plain: bytes) -> bool:
    """True for what programs save as a workbook or a letter and what is a piece of HTML: a table, a style."""
    return _HTML_PART.match(plain) is not None


def starts_spreadsheetml(plain: bytes) -> bool:
    """True for a workbook in the XML of Excel 2003."""
    return starts_xml(plain) and b"urn:schemas-microsoft-com:office:spreadsheet" in plain[:4096]


def starts_xml(plain: bytes) -> bool:
    """True for XML with a declaration, or a root that is always XML."""
    return _XML.match(plain) is not None


def starts_calendar(plain: bytes) -> bool:
    """True for iCalendar."""
    return plain[:15].upper() == b"BEGIN:VCALENDAR"


def starts_card(plain: bytes) -> bool:
    """True for vCard."""
    return plain[:11].upper() == b"BEGIN:VCARD"


def starts_vtt(plain: bytes) -> bool:
    """True for WebVTT."""
    return re.match(rb"WEBVTT(?:[ \t\r\n]|\Z)", plain) is not None


def starts_srt(plain: bytes) -> bool:
    """True for SubRip: a number, then a line of times."""
    return _SRT.match(plain) is not None


def starts_notebook(plain: bytes) -> bool:
    """True for a Jupyter notebook."""
    return _NOTEBOOK.match(plain) is not None and b'"cell_type"' in plain


def starts_latex(plain: bytes) -> bool:
    """True for LaTeX with its first command."""
    return _LATEX.match(plain) is not None


def starts_script(plain: bytes) -> bool:
    """True for a script with an interpreter line."""
    return _SCRIPT.match(plain) is not None
