"""XML from untrusted files: a parser that expands and fetches nothing, and names without their namespaces.

Owns how XML is parsed and looked at. Knows no format. Names are compared without namespaces, since the strict and
the transitional edition of one format differ in nothing else that matters to text.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from drama_app.errors import ExtractionError

if TYPE_CHECKING:
    from lxml.etree import _Element


def parse_xml(data: bytes, *, name: str = "") -> "_Element":
    """Return the root of an XML document without ever expanding or fetching an entity.

    Raises:
        ExtractionError: broken XML, or XML that declares entities.
    """
    from lxml import etree

    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, remove_comments=True,
        remove_pis=True, huge_tree=False,
    )  # fmt: skip
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise ExtractionError(f"damaged: its part {name} is not well-formed XML") from error
    doctype = root.getroottree().docinfo.internalDTD
    if doctype is not None and any(True for _ in doctype.iterentities()):
        raise ExtractionError(f"refused: its part {name} declares XML entities")
    return root


def get_name(element: "_Element") -> str:
    """Return an element's name without its namespace, "" for what is no element."""
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def get_attribute(element: "_Element", name: str, default: str = "") -> str:
    """Return the value of an attribute, whatever its namespace."""
    for key, value in element.attrib.items():
        if str(key).rpartition("}")[2] == name:
            return str(value)
    return default


def find_child(element: "_Element | None", *names: str) -> "_Element | None":
    """Return the element at the end of a path of child names, None if a step is missing."""
    for name in names:
        if element is None:
            return None
        element = next((child for child in element if get_name(child) == name), None)
    return element


def find_all(element: "_Element", *names: str) -> "Iterator[_Element]":
    """Yield the descendants of these names in document order."""
    for found in element.iter("{*}" + names[0] if len(names) == 1 else "*"):
        if len(names) == 1 or get_name(found) in names:
            yield found


def join_text(element: "_Element | None") -> str:
    """Return all text below an element, "" for None."""
    return "" if element is None else "".join(str(piece) for piece in element.itertext())
