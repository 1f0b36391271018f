"""Reads XML of any vocabulary: mixed content as paragraphs, records as "name: value", titles of sections as headings.

Encoded binary is left out. Of entities those that a document defines as text and those of HTML are expanded, and
nothing is fetched. XHTML is handed to `web`, OpenDocument to `opendocument`.
"""

import re
from collections.abc import Iterator
from html.entities import html5
from typing import TYPE_CHECKING

from drama_app.errors import ExtractionError
from drama_app.extract.builder import TextBuilder
from drama_app.extract.encoding import MAX_TEXT_BYTES, read_text
from drama_app.extract.opendocument import is_flat, read_flat
from drama_app.extract.source import Source
from drama_app.extract.web import html_to_text, read_html
from drama_app.extract.words import split_words
from drama_app.records import Document

if TYPE_CHECKING:
    from lxml.etree import _Element

_OWN = rb"(?:&(?!amp;|lt;|gt;|quot;|apos;)[\w.-]+;)"
# An entity made of entities grows without bound; documents define characters and phrases.
_BOMB = re.compile(
    rb"<!ENTITY\s[^>\"']*(?:\"[^\"]*?" + _OWN + rb"[^\"]*?" + _OWN + rb"|'[^']*?" + _OWN + rb"[^']*?" + _OWN + rb")"
)
_DEFINITION = re.compile(rb"<!ENTITY\s+([\w.-]+)\s+(?:\"([^\"]*)\"|'([^']*)')\s*>")
_REFERENCE = re.compile(rb"&([A-Za-z][\w.-]{0,60});")
_REFERENCE_OR_VERBATIM = re.compile(rb"<!\[CDATA\[(?:.*?\]\]>|.*)|&([A-Za-z][\w.-]{0,60});", re.DOTALL)
_ESCAPED_TWICE = re.compile(rb"&#(?:38|[xX]26);(?=#?\w{1,60};)")
_PREDEFINED = frozenset({b"amp", b"lt", b"gt", b"quot", b"apos"})
_HEAD = 65_536
_MAX_ENTITY = 2_000
_MAX_EXPANDED = 2_000_000
"""Bytes that entities may add; names beyond it stay as they are written."""
_TITLES = frozenset({"title", "article-title", "book-title", "head", "invention-title"})
_REFERENCES = frozenset(
    split_words(
        "ref mixed-citation element-citation citation nlm-citation product related-object analytic monogr image caption"
    )
)
_SECTIONS = frozenset(
    split_words(
        "section sec sect1 sect2 sect3 sect4 chapter part appendix div div1 div2 div3 article book topic item entry "
        "abstract simplesect preface body group"
    )
)
_UNLABELLED = frozenset(
    split_words(
        "p para simpara text tspan desc description summary content body li item td th entry cell value string title "
        "head encoded label caption quote line v l note span b i em bold italic sup sub"
    )
)
_APART = frozenset(
    split_words(
        "p para simpara br lb pb cb tab l lg v stanza list itemizedlist orderedlist item listitem li table tr row td "
        "th entry cell note footnote fn"
    )
)
"""Elements that end a word though no space stands at their borders, unlike a bold letter."""
_BINARY = frozenset({"binary", "binarydata", "binary-data"})
"""Pictures in books of FictionBook, in Word's flat package, and in OpenDocument's flat files."""
_ENCODED = re.compile(r"(?:data:[\w/+.-]+;base64,)?[A-Za-z0-9+/=_-]{300,}$")
_ENCODED_LINE = 40
"""Characters that lines of encoded binary have at least; prose without a point or comma has shorter words."""
_SPOKEN = frozenset(
    split_words("text title body note label description desc contact_name summary caption subject comment alt")
)
"""Attributes that say something whatever their value; others count when they hold two words in a row."""
_UNSPOKEN = frozenset(
    split_words("class style d font font-family transform test select match rel rend preserveaspectratio")
)
_TWO_WORDS = re.compile(r"\b[^\W\d_]{2,}[,.;:!?)]{0,2} +[^\W\d_]{2,}")
_HTML_INSIDE = re.compile(r"<(?:p|div|br|a|span|li|h\d|img|table)[\s>/]", re.IGNORECASE)
_LETTER = re.compile(r"[^\W\d_]")
_MAX_TITLES = 3
"""Titles in one another that are looked at, since each is read to its end; the head of an outline holds its title."""
_MAX_RECORD = 200
"""Longer values speak for themselves and need no name before them; without any letter they are data."""


def read_xml(source: Source) -> Document:
    """Return an XML document.

    Raises:
        ExtractionError: too large, hostile entities, or nothing that can be parsed.
    """
    from lxml import etree

    if source.size() > MAX_TEXT_BYTES:
        read_text(source)  # says what the limit is
    data = source.read()
    if _BOMB.search(data[:_HEAD]):
        raise ExtractionError("refused: it defines entities that expand one another")
    root = _parse(_expand_entities(data))
    if root is None:
        root = _parse(_expand_entities(read_text(source).text.encode("utf-8")), encoding="utf-8")
    if root is None:
        raise ExtractionError("damaged: no XML could be read from it")
    if etree.QName(root).localname.lower() == "html":
        return read_html(source)
    if is_flat(root):
        return read_flat(root)
    _prepare_text(root)
    builder = TextBuilder()
    title = _add_tree(builder, root)
    return builder.build("xml", title)


def _expand_entities(data: bytes) -> bytes:
    """Return XML with the entities that it defines itself, and with the names of HTML, which feeds use undefined."""
    known: dict[bytes, bytes] = {}
    start = 0
    for match in _DEFINITION.finditer(data[:_HEAD]):
        start = match.end()
        value = _REFERENCE.sub(lambda reference: known.get(reference[1], reference[0]), match[2] or match[3] or b"")
        if b"<" not in value:  # it may stand in an attribute
            value = value.replace(b'"', b"&#34;").replace(b"'", b"&#39;")
        if match[1] not in _PREDEFINED and len(value) <= _MAX_ENTITY:
            known.setdefault(match[1], _ESCAPED_TWICE.sub(b"&", value))
    room = _MAX_EXPANDED

    def expand(reference: re.Match[bytes]) -> bytes:
        nonlocal room
        if reference[1] is None:
            return reference[0]
        value = known[reference[1]] if reference[1] in known else _name_character(reference[1])
        room -= len(value or b"")
        return reference[0] if value is None or room < 0 else value

    return data[:start] + _REFERENCE_OR_VERBATIM.sub(expand, data[start:])


def _name_character(name: bytes) -> bytes | None:
    """Return the character that HTML calls so, as a number; None for a name that is XML's own or nobody's."""
    characters = None if name in _PREDEFINED else html5.get(f"{name.decode('ascii')};")
    return "".join(f"&#{ord(character)};" for character in characters).encode() if characters else None


def _parse(data: bytes, *, encoding: str | None = None) -> "_Element | None":
    """Return the root element, None if there is none."""
    from lxml import etree

    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=True,  # or all behind a picture of 10 MB, or below 256 levels, would be lost without a word
        recover=True,
        remove_comments=True,
        remove_pis=True,
        encoding=encoding,
    )
    try:
        root: _Element | None = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError, LookupError):
        return None
    return root


def _prepare_text(root: "_Element") -> None:
    """Put a space to the borders of elements that stand apart, unless a line is broken in a word; empty binary ones."""
    for element in root.iter("*"):
        name = _get_name(element)
        if name in _BINARY:
            element.text = None
        elif name in _APART and element.get("break") != "no":
            element.text = f" {element.text or ''}"
            element.tail = f" {element.tail or ''}"


def _add_tree(builder: TextBuilder, root: "_Element") -> str:
    """Add all text below `root` and return the first title."""
    from lxml import etree

    title = ""
    depth = titles = 0
    said: set[str] = set()
    walker = etree.iterwalk(root, events=("start", "end"))
    for event, element in walker:
        if builder.full:
            break
        name = _get_name(element)
        if name in _SECTIONS:
            depth += 1 if event == "start" else -1
        if name in _TITLES:
            titles += 1 if event == "start" else -1
        if event == "end" or not isinstance(element.tag, str):
            continue
        if titles <= _MAX_TITLES and _is_title(element, name) and (text := _collect(element)):
            builder.heading(depth + (1 if element.getparent() is not None else 0), text)
            title = title or text
        elif _is_mixed(element):
            _add_text(builder, etree.QName(element).localname, _collect(element))
        else:
            line = " | ".join(dict.fromkeys(_list_attributes(element)))
            builder.line("" if line in said else line)
            said.add(line)  # programs call a hundred pictures "embedded image"
            continue
        walker.skip_subtree()
    return title


def _is_title(element: "_Element", name: str) -> bool:
    """True for the title of a section or of the whole, not of a work that is cited."""
    parent = element.getparent()
    if name not in _TITLES or (parent is not None and _get_name(parent) in _REFERENCES):
        return False
    text = _collect(element)
    return len(text) <= 300 and _LETTER.search(text) is not None


def _get_name(element: "_Element") -> str:
    """Return the tag without its namespace, lower case."""
    return element.tag.rpartition("}")[2].lower() if isinstance(element.tag, str) else ""


def _is_mixed(element: "_Element") -> bool:
    """True for an element that holds text or an unknown entity itself, between its children or without any."""
    if element.text and not element.text.isspace():
        return True
    if any(child.tail and not child.tail.isspace() for child in element):
        return True
    # Between elements an entity is a chapter in a file of its own.
    return len(element) > 0 and not any(isinstance(child.tag, str) for child in element)


def _collect(element: "_Element") -> str:
    """Return all text below an element on one line."""
    return " ".join("".join(str(text) for text in element.itertext()).split())


def _list_attributes(element: "_Element") -> "Iterator[str]":
    """Yield the attributes that people read, as outlines and backups of messages keep their text in nothing else."""
    for key, value in element.attrib.items():
        name, text = str(key).lower().strip("_"), str(value)
        if name in _UNSPOKEN or text == "null" or not (name in _SPOKEN or _TWO_WORDS.search(text)):
            continue
        if _LETTER.search(text) and not name.startswith("{"):  # names from elsewhere describe drawings and types
            text = html_to_text(text) if _HTML_INSIDE.search(text) else text
            yield text if name in _UNLABELLED else f"{key}: {text}"


def _add_text(builder: TextBuilder, name: str, text: str) -> None:
    """Add one element's text as prose, as the HTML that it quotes, or as a record."""
    if _is_encoded(text):
        return
    if _HTML_INSIDE.search(text):
        builder.paragraph(html_to_text(text))
    elif len(text) > _MAX_RECORD:
        if _LETTER.search(text):
            builder.paragraph(text)
    elif name.lower() in _UNLABELLED or len(name) < 3:
        builder.line(text)
    else:
        builder.line(f"{name}: {text}")


def _is_encoded(text: str) -> bool:
    """True for binary in letters, in one line or in many."""
    whole = text.replace(" ", "")
    return len(whole) >= _ENCODED_LINE * (len(text) - len(whole)) and _ENCODED.match(whole) is not None
