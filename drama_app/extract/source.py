"""Where the bytes of one extraction come from: a file on disk or an attachment in memory.

Owns reading. Knows nothing of formats.
"""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO


@dataclass(frozen=True, slots=True)
class Source:
    """The bytes to extract text from."""

    path: Path
    """The file on disk; for an attachment the file that holds it."""
    name: str
    """File name with its ending, as the person or the mail gave it."""
    data: bytes | None = None
    """An attachment's bytes; None if they are those of `path`."""
    depth: int = 0
    """0 for a file on disk, one more for each container around an attachment."""

    @property
    def suffix(self) -> str:
        """The name's ending in lower case with its dot, "" if it has none."""
        return Path(self.name.strip()).suffix.lower()

    def size(self) -> int:
        """Return the number of bytes."""
        return self.path.stat().st_size if self.data is None else len(self.data)

    def open(self) -> BinaryIO:
        """Return a seekable binary stream; the caller closes it."""
        return self.path.open("rb") if self.data is None else BytesIO(self.data)

    def read(self) -> bytes:
        """Return all bytes; the caller has checked `size()`."""
        return self.path.read_bytes() if self.data is None else self.data

    def head(self, count: int) -> bytes:
        """Return the first `count` bytes, fewer if there are no more."""
        with self.open() as stream:
            return stream.read(count)
