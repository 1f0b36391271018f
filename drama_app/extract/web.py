"""Reads HTML: title, headings, paragraphs, lists, tables as rows; scripts, styles, menus and hidden parts dropped.

Runs no script and fetches nothing. XML that is no HTML belongs to `xml`.
"""

import re
from itertools import islice
from typing import TYPE_CHECKING

from drama_app.errors import ExtractionError
from drama_app.extract.builder import TextBuilder
from drama_app.extract.encoding import read_text
from drama_app.extract.source import Source
from drama_app.extract.words import split_words
from drama_app.records import Document

if TYPE_CHECKING:
    from lxml.etree import _Element

_DECLARED = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?\s*([\w.:-]+)""", re.IGNORECASE)
_XML_DECLARATION = re.compile(r"\A\s*<\?xml[^>]*>")  # lxml refuses text that names an encoding, closed well or not
# The parser drops what stands behind them, as the foot that a mail server adds and the second of two joined pages do.
_LAST_TAGS = re.compile(r"</(?:html|body)(\s{0,9})>", re.IGNORECASE)
_SKIPPED = frozenset(
    split_words(
        "script style noscript template svg math iframe object embed canvas audio video head nav select button input "
        "datalist dialog map menu"
    )
)
_SKIPPED_ROLES = frozenset({"navigation", "search", "menu", "menubar", "toolbar", "dialog", "alertdialog"})
# Class and id names of parts around the text that big publishing systems agree on.
_SKIPPED_NAMES = frozenset(
    split_words(
        "nav navbar navbox breadcrumb breadcrumbs sidebar-nav site-footer footer-nav skip-link "
        "mw-editsection mw-jump-link catlinks printfooter noprint vector-header mw-portlet cookie-banner "
        "cookie-notice share-buttons social-share sr-only visually-hidden screen-reader-text"
    )
)
# A restaurant's menu has the same name as a page's: most of the latter's text is links.
_LINKED_NAMES = frozenset({"menu", "navigation", "toc"})
_LINKED_EVENTS = 400
"""Starts and ends of elements after which it is plain whether a part is made of links."""
_BLOCKS = frozenset(
    split_words(
        "address article aside blockquote body center dd details div dl dt fieldset figcaption figure footer form "
        "header hr html li main ol p pre section summary table tbody tfoot thead tr ul caption"
    )
)
_READINGS = frozenset({"rt", "rp", "rtc"})  # stand above the word whose sound they tell, and would tear it apart
_NO_READING = _BLOCKS | {"rb"}  # in a reading that was never closed; what follows it is text
_ENTRIES = frozenset(split_words("h1 h2 h3 h4 h5 h6 summary dt li"))
_NO_CELL = frozenset(split_words("table h1 h2 h3 h4 h5 h6 pre blockquote section article"))
_MAX_ROW = 2_000
"""Characters; a longer row lays out a page."""
_TITLE_TRIES = 10
_MAX_AROUND = 4
"""Elements around a button that are looked at."""
_TAG = re.compile(r"</?([a-zA-Z]\w*)\b[^<>]*>")
_SKIP_LINK = re.compile(r"(?:^|[\s_-])skip[_-]?(?:to|link|nav)", re.IGNORECASE)
_BULLETS = "•·▪‣◦●○ "
_MIN_SHARE = 0.25
"""If dropping menus leaves less than this of the page's words, the page is built of them: keep everything."""


def read_html(source: Source) -> Document:
    """Return an HTML page.

    The bytes decide the encoding where they can (marks, valid UTF-8); then the declared one, unless the letters it
    yields are nonsense.
    """
    declared = _DECLARED.search(source.head(4096))
    decoded = read_text(source, hint=declared.group(1).decode("ascii") if declared else "")
    root = parse_html(decoded.text)
    if root is None:
        raise ExtractionError("no text inside")
    builder = TextBuilder()
    add_html(builder, root)
    return builder.build("html", find_html_title(root), notes=decoded.notes)


def parse_html(text: str) -> "_Element | None":
    """Return the root of a page or fragment, None if there is nothing in it."""
    text = _LAST_TAGS.sub(r"\1", _XML_DECLARATION.sub("", text.replace("\x00", "")))
    root, is_whole = _parse(text)
    return root if is_whole else _parse(_TAG.sub(_flatten, text))[0]


def _parse(text: str) -> "tuple[_Element | None, bool]":
    """Return the root, None if there is none, and whether the parser came to the end of the text."""
    from lxml import etree, html

    # Tags that are never closed, as old mail programmes write them, nest deeper than the 256 levels of a small tree.
    parser = html.HTMLParser(no_network=True, huge_tree=True, remove_comments=True, remove_pis=True)
    try:
        root: _Element | None = html.document_fromstring(text, parser=parser) if text.strip() else None
    except (etree.ParserError, etree.XMLSyntaxError):
        return None, True
    return root, all(error.type != etree.ErrorTypes.ERR_RESOURCE_LIMIT for error in parser.error_log)


def _flatten(tag: re.Match[str]) -> str:
    """Return what stands for a tag in a page too deep to be parsed: blocks become paragraphs, which do not nest."""
    name = tag.group(1).lower()
    if name in ("html", "head", "title", "script", "style", "body", "br"):
        return tag.group()
    return "<p>" if name in _BLOCKS or _is_heading(name) else ""


def find_html_title(root: "_Element") -> str:
    """Return what the page calls itself."""
    for path in ("//head/title", "//title", "//h1"):
        # Empty ones that nest thousands deep would each be searched for text to the end.
        for element in root.xpath(path)[:_TITLE_TRIES]:
            title = " ".join("".join(element.itertext()).split())
            if title:
                return title
    for value in root.xpath("//meta[@property='og:title']/@content"):
        return str(value)
    return ""


def add_html(builder: TextBuilder, root: "_Element") -> None:
    """Add the text of a parsed page to `builder`; `ebook` and `mail` use it too."""
    bodies = root.xpath("//body")
    body = bodies[0] if len(bodies) == 1 else root
    everything = sum(len(text) for text in body.itertext() if not text.isspace())
    walker = _Walker(builder, lenient=False)
    if _estimate_kept(body) < _MIN_SHARE * everything:
        walker = _Walker(builder, lenient=True)
    walker.walk(body)
    if len(builder) < 200:
        for value in root.xpath("//meta[@name='description' or @property='og:description']/@content"):
            builder.paragraph(str(value))
            break


def html_to_text(text: str) -> str:
    """Return the plain text of an HTML fragment, blocks as paragraphs."""
    root = parse_html(text)
    if root is None:
        return ""
    builder = TextBuilder()
    _Walker(builder, lenient=True).walk(root)
    return builder.build("html").text


def _estimate_kept(body: "_Element") -> int:
    """Return the characters outside skipped parts and scripts, plus those of scripts so that they do not count."""
    from lxml import etree

    kept = 0
    walker = etree.iterwalk(body, events=("start",))
    for _, element in walker:
        if element.tag in ("script", "style", "noscript", "template", "svg"):
            kept += sum(len(text) for text in element.itertext() if not text.isspace())
            walker.skip_subtree()
        elif _is_skipped(element, lenient=False) and element is not body:
            walker.skip_subtree()
        elif element.text and not element.text.isspace():
            kept += len(element.text)
        if element.tail and not element.tail.isspace() and element is not body:
            kept += len(element.tail)
    return kept


def _is_skipped(element: "_Element", *, lenient: bool) -> bool:
    """True for a part that a reader of the page does not read."""
    tag = element.tag
    if not isinstance(tag, str):
        return True
    if tag in _SKIPPED and not (lenient and tag in ("nav", "menu", "button")) and not _is_entry(element):
        return True
    if tag in _READINGS and not any(inner.tag in _NO_READING for inner in islice(element.iterdescendants(), 9)):
        return True
    if element.get("hidden") is not None or "display:none" in (element.get("style") or "").replace(" ", "").lower():
        return not lenient
    if lenient or tag in ("html", "body", "main", "article"):
        return False
    if element.get("role") in _SKIPPED_ROLES:
        return True
    names = f"{element.get('class') or ''} {element.get('id') or ''}"
    words = names.lower().split()
    if not _SKIPPED_NAMES.isdisjoint(words) or _SKIP_LINK.search(names):
        return True
    return not _LINKED_NAMES.isdisjoint(words) and _is_linked(element)


def _is_linked(element: "_Element") -> bool:
    """True if most of a part's text is links."""
    from lxml import etree

    depth = total = linked = 0
    for event, child in islice(etree.iterwalk(element, events=("start", "end")), _LINKED_EVENTS):
        depth += (child.tag == "a") * (1 if event == "start" else -1)
        text = child.text if event == "start" else child.tail if child is not element else ""
        size = len("".join((text or "").split()))
        total += size
        linked += size if depth else 0
    return 2 * linked >= total


def _is_entry(element: "_Element") -> bool:
    """True for a button that opens a heading or list item: a question that unfolds its answer, not "Copy" behind it."""
    if element.tag != "button":
        return False
    for _ in range(_MAX_AROUND):
        parent = element.getparent()
        if parent is None or (parent.text or "").strip():
            return False
        before = islice(element.itersiblings(preceding=True), _MAX_AROUND)
        if any(map(str.strip, (text for sibling in before for text in islice(sibling.itertext(), _MAX_AROUND)))):
            return False
        if parent.tag in _ENTRIES:
            return True
        element = parent
    return False


class _Walker:
    """Walks a tree without recursion and adds its blocks."""

    def __init__(self, builder: TextBuilder, *, lenient: bool) -> None:
        self._builder = builder
        self._lenient = lenient
        self._inline: list[str] = []
        self._list_depth = 0
        self._preformatted = 0

    def walk(self, root: "_Element") -> None:
        """Add everything below `root` in document order."""
        from lxml import etree

        walker = etree.iterwalk(root, events=("start", "end"))
        for event, element in walker:
            if self._builder.full:
                return
            if event == "start" and _is_skipped(element, lenient=self._lenient) and element is not root:
                walker.skip_subtree()
                self._inline.append("" if element.tag in _READINGS else " ")
            elif event == "start":
                if self._start(element):
                    walker.skip_subtree()
            else:
                if not _is_skipped(element, lenient=self._lenient):
                    self._end(element)
                if element.tail and element is not root:
                    self._add_inline(element.tail)
        self._flush()

    def _start(self, element: "_Element") -> bool:
        """Handle an opening tag; return True if its content was taken whole."""
        tag = str(element.tag)
        if tag in _BLOCKS or _is_heading(tag):
            self._flush()
        if _is_heading(tag):
            self._builder.heading(int(tag[1]), _collect(element))
            return True
        if tag == "tr" and not _holds_blocks(element):
            self._builder.line(" | ".join(cell for cell in map(_collect, element) if cell))
            return True
        self._list_depth += tag == "li"
        self._preformatted += tag == "pre"
        if tag in ("br", "hr"):
            self._inline.append("\n")
        elif tag == "img":
            self._inline.append(_get_alt(element))
        elif tag in ("td", "th"):
            self._inline.append(" ")
        if element.text:
            self._add_inline(element.text)
        return False

    def _end(self, element: "_Element") -> None:
        tag = str(element.tag)
        if tag in _BLOCKS:
            self._flush()
        self._list_depth -= tag == "li"
        self._preformatted -= tag == "pre"

    def _add_inline(self, text: str) -> None:
        self._inline.append(text if self._preformatted else re.sub(r"\s+", " ", text))

    def _flush(self) -> None:
        """Add the inline text gathered so far as one block."""
        text = "".join(self._inline)
        self._inline.clear()
        if not text.strip():
            return
        if self._preformatted:
            self._builder.paragraph(text.strip("\n"))
        elif self._list_depth:
            self._builder.line(f"• {text.strip().lstrip(_BULLETS)}")
        else:
            self._builder.paragraph("\n".join(" ".join(line.split()) for line in text.split("\n")))


def _is_heading(tag: str) -> bool:
    return len(tag) == 2 and tag[0] == "h" and tag[1] in "123456"


def _holds_blocks(row: "_Element") -> bool:
    """True for a row that lays out a page rather than holding data."""
    if any(element.tag in _NO_CELL for element in row.iterdescendants()):
        return True
    return sum(map(len, row.itertext())) > _MAX_ROW


def _get_alt(picture: "_Element") -> str:
    """Return what is said of a picture; one or two words name its file or its button."""
    alt = picture.get("alt") or ""
    return f" {alt} " if len(alt.split()) > 2 else ""


def _collect(element: "_Element") -> str:
    """Return the visible text below an element on one line; pictures alone are worth a word as well."""
    from lxml import etree

    parts = [element.text or ""] if isinstance(element.tag, str) else []
    walker = etree.iterwalk(element, events=("start", "end"))
    for event, child in walker:
        if child is element:
            continue
        if event == "start" and _is_skipped(child, lenient=False):
            walker.skip_subtree()
        elif event == "start":
            parts.append(" · " if child.tag == "li" else " " if child.tag in _BLOCKS or child.tag == "br" else "")
            parts.append(_get_alt(child) if child.tag == "img" else child.text or "")
        else:
            parts.append((" " if child.tag in _BLOCKS else "") + (child.tail or ""))
    text = " ".join("".join(parts).split()).removeprefix("· ")
    return text or " ".join(" ".join(element.xpath("(.//img)[position() < 10]/@alt")).split())
