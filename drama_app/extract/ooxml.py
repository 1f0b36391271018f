"""What the Office Open XML formats share: parts, the relationships between them, and the title.

Owns the package; the text inside belongs to the modules of the formats.
"""

import posixpath
from typing import TYPE_CHECKING

from drama_app.errors import ExtractionError
from drama_app.extract.archive import SafeZip
from drama_app.extract.elements import find_all, get_attribute, join_text

if TYPE_CHECKING:
    from lxml.etree import _Element


class Package:
    """The parts of a .docx or .pptx file."""

    def __init__(self, archive: SafeZip) -> None:
        self._archive = archive
        # Part names do not depend on case, and some writers differ between the parts and their relationships.
        self._names = {name.replace("\\", "/").lower(): name for name in archive.names()}
        self._damaged: set[str] = set()

    def find_main(self, fallback: str) -> str:
        """Return the name of the part that the package is about."""
        main = next(iter(self.find_related("", "officeDocument")), fallback)
        if main.lower() not in self._names:
            raise ExtractionError(f"damaged: its part {main} is missing")
        return main

    def read(self, part: str) -> "_Element | None":
        """Return the root of a part, None if the package lacks it."""
        name = self._names.get(part.lower())
        return None if name is None else self._archive.read_xml(name)

    def read_aside(self, part: str) -> "_Element | None":
        """Return the root of a part that is not the text itself; a damaged one is left out and told in the notes."""
        try:
            return self.read(part)
        except ExtractionError:
            self._damaged.add(part)
            return None

    def read_bytes(self, part: str) -> bytes:
        """Return the bytes of a part that need not be XML."""
        return self._archive.read(self._names.get(part.lower(), part))

    def list_relations(self, part: str) -> dict[str, tuple[str, str]]:
        """Return relationship id -> (last word of its type, part name) of what a part refers to in the package."""
        folder, name = posixpath.split(part)
        root = self.read_aside(posixpath.join(folder, "_rels", f"{name}.rels"))
        found = {}
        for relation in [] if root is None else find_all(root, "Relationship"):
            if get_attribute(relation, "TargetMode") == "External":
                continue
            target = get_attribute(relation, "Target").replace("\\", "/")
            resolved = posixpath.normpath(posixpath.join("/" + folder, target)).lstrip("/")
            kind = get_attribute(relation, "Type").rpartition("/")[2]
            found[get_attribute(relation, "Id")] = (kind, resolved)
        return found

    def find_related(self, part: str, kind: str) -> list[str]:
        """Return the names of the parts of one type that a part refers to."""
        return [name for relation, name in self.list_relations(part).values() if relation == kind]

    def read_related(self, part: str, kind: str) -> "list[_Element]":
        """Return the roots of the parts of one type that a part refers to; missing and damaged ones are left out."""
        roots = [self.read_aside(name) for name in self.find_related(part, kind)]
        return [root for root in roots if root is not None]

    def read_title(self) -> str:
        """Return the title in the document's properties."""
        for root in self.read_related("", "core-properties"):
            for title in find_all(root, "title"):
                return join_text(title)
        return ""

    def list_notes(self) -> list[str]:
        """Return how many whole files are embedded, and which parts are damaged.

        The tables behind charts are no embedded files: they only repeat them.
        """
        charts = [name for name in self._names if "/charts/" in name and name.endswith(".xml")]
        tables = {part.lower() for chart in charts for _, part in self.list_relations(chart).values()}
        count = sum("/embeddings/" in name and name not in tables for name in self._names)
        notes = [f"embedded files are not searched: {count}"] if count else []
        return notes + [f"damaged, so left out: {part}" for part in sorted(self._damaged)]
