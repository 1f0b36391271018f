"""Tells what a file is, from its first bytes and its name, and which handler reads it.

Owns the table of kinds and the reasons why a file is not read. Content decides between binary formats, the name
between kinds of text. Reads no text itself.
"""

from collections.abc import Callable
from dataclasses import dataclass

from drama_app.errors import ExtractionError
from drama_app.extract import containers, signatures
from drama_app.extract.encoding import looks_binary
from drama_app.extract.source import Source
from drama_app.extract.words import split_words

HEAD_BYTES = 65_536
"""Enough to judge a text by; a zip or OLE2 directory is read through the stream."""
_SAMPLE_BYTES = 16_384
"""Of the middle and of the end, where a text is longer than its head."""
_MAY_HOLD_BYTES = frozenset({"eml", "mbox", "rtf"})
"""Texts around raw data: mails with parts that are not encoded (yEnc, binary), RTF with \\bin pictures."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the table."""

    name: str
    suffixes: tuple[str, ...]
    """File name endings that claim this kind, lower case with dot."""
    handler: str
    """"module:function" in this package, imported when it is needed."""
    starts: Callable[[bytes], bool] | None = None
    """True for the head of a text of this kind under a strange name; None if content cannot tell."""


CODE_SUFFIXES = split_words(
    ".py .pyi .pyw .pyx .js .mjs .cjs .jsx .ts .tsx .mts .cts .vue .svelte .astro .c .h .cc .cpp .cxx .hh .hpp .hxx "
    ".ino .cu .cs .java .kt .kts .scala .groovy .gradle .go .rs .rb .php .pl .pm .t .lua .r .jl .swift .m .mm .dart "
    ".ex .exs .erl .hrl .hs .lhs .ml .mli .fs .fsx .fsi .clj .cljs .cljc .edn .lisp .el .scm .rkt .nim .zig .v .vhd "
    ".vhdl .sv .asm .s .f .f90 .f95 .for .pas .pp .d .ada .adb .ads .cob .cbl .vb .vbs .bas .ps1 .psm1 .bat .cmd .sh "
    ".bash .zsh .fish .ksh .awk .sed .sql .graphql .gql .proto .thrift .css .scss .sass .less .cmake .mk .tf .hcl "
    ".nix .dockerfile .sol .tcl .coffee .elm .purs .cr .hx .wat .glsl .hlsl .wgsl .jinja .j2 .ejs .hbs .pug"
)

# The order matters twice: the first kind whose `starts` fits wins, and filters list kinds in it.
KINDS: tuple[Kind, ...] = (
    Kind("pdf", (".pdf",), "pdf:read_pdf"),
    Kind("docx", (".docx", ".docm", ".dotx", ".dotm"), "word:read_docx"),
    Kind("pptx", (".pptx", ".pptm", ".ppsx", ".ppsm", ".potx", ".potm"), "slides:read_pptx"),
    Kind("xlsx", (".xlsx", ".xlsm", ".xltx", ".xltm"), "sheets:read_xlsx"),
    Kind("odt", (".odt", ".ott", ".odm"), "opendocument:read_opendocument"),
    Kind("ods", (".ods", ".ots"), "opendocument:read_opendocument"),
    Kind("odp", (".odp", ".otp"), "opendocument:read_opendocument"),
    Kind("epub", (".epub",), "ebook:read_epub"),
    Kind("doc", (".doc", ".dot"), "legacy:read_doc"),
    Kind("ppt", (".ppt", ".pps", ".pot"), "legacy:read_ppt"),
    Kind("xls", (".xls", ".xlt"), "sheets:read_xls"),
    Kind("msg", (".msg",), "outlook:read_msg"),
    Kind("rtf", (".rtf",), "rtf:read_rtf", signatures.starts_rtf),
    Kind("mbox", (".mbox", ".mbx"), "mail:read_mbox", signatures.starts_mbox),
    Kind("eml", (".eml", ".emlx", ".mht", ".mhtml"), "mail:read_eml", signatures.starts_mail),
    Kind("html", (".html", ".htm", ".xhtml", ".xht", ".shtml"), "web:read_html", signatures.starts_html),
    Kind(
        "xml",
        split_words(
            ".xml .rss .atom .kml .gpx .svg .xsd .xsl .xslt .dita .docbook .dbk .jats .nxml .tei .fb2 .opml .fodt "
            ".fods .fodp .xliff .xlf .tmx .wsdl .plist .rdf .owl .resx .mml"
        ),
        "xml:read_xml",
        signatures.starts_xml,
    ),
    Kind("ics", (".ics", ".ical", ".ifb"), "cards:read_ics", signatures.starts_calendar),
    Kind("vcf", (".vcf", ".vcard"), "cards:read_vcf", signatures.starts_card),
    Kind("vtt", (".vtt",), "timed:read_vtt", signatures.starts_vtt),
    Kind("srt", (".srt",), "timed:read_srt", signatures.starts_srt),
    Kind("ipynb", (".ipynb",), "data:read_ipynb", signatures.starts_notebook),
    Kind("json", (".json", ".jsonl", ".ndjson", ".geojson", ".webmanifest", ".har"), "data:read_json"),
    Kind("csv", (".csv",), "data:read_csv"),
    Kind("tsv", (".tsv", ".tab"), "data:read_csv"),
    Kind("markdown", (".md", ".markdown", ".mdown", ".mkd", ".mdx", ".qmd", ".rmd"), "markup:read_markdown"),
    Kind("rst", (".rst", ".rest"), "markup:read_rst"),
    Kind("latex", (".tex", ".ltx", ".latex"), "latex:read_latex", signatures.starts_latex),
    Kind("org", (".org",), "markup:read_org"),
    Kind("code", CODE_SUFFIXES, "code:read_code", signatures.starts_script),
    Kind("text", (".txt", ".text", ".log", ".asc", ".nfo"), "text:read_text_file"),
)

KIND_SUFFIXES: dict[str, tuple[str, ...]] = {kind.name: kind.suffixes for kind in KINDS}
"""Kind -> the file name endings that claim it."""

_KIND_BY_SUFFIX: dict[str, str] = {suffix: kind.name for kind in KINDS for suffix in kind.suffixes}
_HANDLERS: dict[str, str] = {kind.name: kind.handler for kind in KINDS}
_BINARY_KINDS = frozenset({"pdf", "docx", "pptx", "xlsx", "odt", "ods", "odp", "epub", "doc", "ppt", "xls", "msg"})

# Formats that we do not read, whose names make a person expect text all the same.
_LEGACY_SUFFIXES: dict[str, str] = {
    ".pages": "Pages document",
    ".numbers": "Numbers document",
    ".key": "Keynote presentation",
}

_NAMES: dict[str, str] = {
    "pdf": "PDF",
    "docx": "Word document",
    "pptx": "PowerPoint presentation",
    "xlsx": "Excel workbook",
    "odt": "OpenDocument text",
    "ods": "OpenDocument spreadsheet",
    "odp": "OpenDocument presentation",
    "epub": "EPUB book",
    "doc": "Word document",
    "ppt": "PowerPoint presentation",
    "xls": "Excel workbook",
    "msg": "Outlook message",
}


def get_handler(kind: str) -> str:
    """Return "module:function" of the kind's handler."""
    return _HANDLERS[kind]


def detect(source: Source) -> str:
    """Return the kind of a file or attachment.

    Raises:
        ExtractionError: the file is empty, or is no document; the text says what it is instead.
    """
    head = source.head(HEAD_BYTES)
    if not head:
        raise ExtractionError("empty file", passed_over=True)
    # Words can look like marks ("ID3 tags are", "GGUF is"): a file named as a text must hold bytes that no text has.
    claims_text = _claimed(source) == "text file"
    kind = _detect_binary_kind(source, head) if not claims_text or signatures.holds_controls(head) else ""
    if kind:
        return kind
    if looks_binary(head):
        raise _refuse_binary(source)
    kind = _detect_text_kind(source, head)
    if kind not in _MAY_HOLD_BYTES and _turns_binary(source, head):
        raise _refuse_binary(source)
    return kind


def _turns_binary(source: Source, head: bytes) -> bool:
    """True if both the middle and the end are bytes of no text: 3 MB of them took tens of minutes to encode.

    Zeros do not count, since a log that a power cut met is full of them; of wide encodings the head tells enough.
    """
    size = source.size()
    if size <= HEAD_BYTES or b"\x00" in head:
        return False
    with source.open() as stream:
        for start in (size // 2, size - _SAMPLE_BYTES):
            stream.seek(start)
            if not looks_binary(stream.read(_SAMPLE_BYTES).replace(b"\x00", b"")):
                return False
    return True


def _detect_binary_kind(source: Source, head: bytes) -> str:
    """Return the kind that the marks of binary formats show, "" if there are none; refuse those without text."""
    if signatures.starts_pdf(head):
        return "pdf"
    if signatures.starts_zip(head):
        return containers.detect_zip(source, expected=_claimed(source))
    if signatures.starts_ole2(head):
        return containers.detect_ole2(source)
    medium = signatures.name_medium(head)
    if medium is not None:
        raise _refuse_medium(source, medium)
    return ""


def _detect_text_kind(source: Source, head: bytes) -> str:
    """Return the kind of a file whose bytes look like text."""
    claimed = _KIND_BY_SUFFIX.get(source.suffix, "")
    plain = signatures.strip_encoding(head)
    if claimed in ("html", "xml") and signatures.starts_mail(plain):
        return "eml"
    if claimed in ("xls", "xlsx", "xml") and signatures.starts_spreadsheetml(plain):
        return "xls"
    if claimed in ("xls", "xlsx", "doc", "docx") and signatures.starts_html_part(plain):
        return "html"
    if claimed and claimed not in _BINARY_KINDS and claimed not in ("text", "rtf"):
        return claimed
    for kind in KINDS:
        if kind.starts is None or not kind.starts(plain):
            continue
        # A memo in a text file may begin like a mail, and read as one would lose its other fields.
        if (kind.name, claimed) != ("eml", "text") or signatures.names_transport(plain):
            return kind.name
    return "text"


def _claimed(source: Source) -> str:
    """Return what the name says the file is, "" if it says nothing of a document."""
    kind = _KIND_BY_SUFFIX.get(source.suffix, "")
    return _NAMES.get(kind, _LEGACY_SUFFIXES.get(source.suffix, "text file" if kind else ""))


def _refuse_medium(source: Source, medium: str) -> ExtractionError:
    """Return the error for an image, sound, archive, program and the like."""
    if _claimed(source):
        return ExtractionError(f"{medium} named {source.suffix}")
    family = medium.removeprefix("an ").removeprefix("a ")
    return ExtractionError(f"{family}: no text inside", passed_over=True)


def _refuse_binary(source: Source) -> ExtractionError:
    """Return the error for bytes that are neither text nor a known format."""
    claimed = _claimed(source)
    if claimed == "text file":
        return ExtractionError("binary data, not text")
    if claimed:
        return ExtractionError(f"not a {claimed}: the file does not start as one")
    return ExtractionError("binary file: no text inside", passed_over=True)
