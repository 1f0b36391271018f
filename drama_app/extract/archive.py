"""Opens zip-based documents (Office, OpenDocument, EPUB) so that a hostile one cannot fill memory or escape.

Owns the limits on unpacking. Refuses members that point outside and
documents that unpack out of proportion; writes nothing to disk.
"""

import errno
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING

from drama_app.errors import ExtractionError
from drama_app.extract.elements import parse_xml
from drama_app.extract.source import Source

if TYPE_CHECKING:
    from lxml.etree import _Element

MAX_UNPACKED = 200_000_000
"""Bytes; the XML of a 3,000-page manual takes about 40 MB."""
MAX_RATIO = 200
"""Office XML packs 5 to 30 times; a run of one byte 1,000 times."""
RATIO_FROM = 50_000_000
"""Bytes unpacked below which the ratio does not matter."""
MAX_MEMBERS = 100_000

_MEDIA_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".gif", ".webp", ".avif", ".heic", ".mp3", ".m4a", ".ogg", ".opus", ".flac", ".wav",
     ".wma", ".mp4", ".m4v", ".mov", ".avi", ".wmv", ".mkv", ".webm", ".ttf", ".otf", ".woff", ".woff2", ".odttf",
     ".fntdata"}
)  # fmt: skip
_MEDIA_RATIO = 5
"""Real pictures and films hardly pack; what packs better is counted like text, whatever its name."""
_ENCRYPTED_FLAG = 0x1
_BLOCK = 1 << 20


class SafeZip:
    """A zip whose members can be read up to a total; made by `open_archive`."""

    def __init__(self, container: zipfile.ZipFile, *, limit: int, packed: int) -> None:
        self._container = container
        self._limit = limit
        self._packed = max(1, packed)
        self._read = 0
        self._members = {member.filename: member for member in container.infolist()}
        self._check_directory()

    def names(self) -> list[str]:
        """Return the names of all members."""
        return list(self._members)

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def read(self, name: str) -> bytes:
        """Return a member's bytes.

        Raises:
            ExtractionError: the member is missing, encrypted or damaged, or the limit on unpacking is reached.
        """
        member = self._members.get(name)
        if member is None:
            raise ExtractionError(f"damaged: its part {name} is missing")
        if member.flag_bits & _ENCRYPTED_FLAG:
            raise ExtractionError("encrypted: needs a password")
        try:
            with self._container.open(member) as stream:
                return self._read_counted(stream)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OSError) as error:
            reraise_disk_error(error)
            raise ExtractionError(f"damaged: its part {name} cannot be unpacked") from error

    def read_xml(self, name: str) -> "_Element":
        """Return the root of an XML member.

        Raises:
            ExtractionError: as `read`; also for broken XML and for XML that declares entities.
        """
        return parse_xml(self.read(name), name=name)

    def _read_counted(self, stream: IO[bytes]) -> bytes:
        """Return the rest of a stream, counting what really comes out."""
        blocks = []
        while block := stream.read(_BLOCK):
            self._read += len(block)
            self._check_total(self._read)
            blocks.append(block)
        return b"".join(blocks)

    def _check_directory(self) -> None:
        """Refuse names that point outside and declared sizes beyond the limits."""
        if len(self._members) > MAX_MEMBERS:
            raise ExtractionError(f"holds more than {MAX_MEMBERS:,} members (looks like a zip bomb)")
        declared = 0
        for member in self._container.infolist():
            name = member.filename.replace("\\", "/")
            if name.startswith("/") or ".." in PurePosixPath(name).parts or name[1:2] == ":":
                raise ExtractionError("refused: a member of its zip container points outside of it")
            declared += 0 if _is_media(member) else member.file_size
        self._check_total(declared)

    def _check_total(self, unpacked: int) -> None:
        """Refuse a total that no document reaches."""
        if unpacked > self._limit or (unpacked > RATIO_FROM and unpacked > MAX_RATIO * self._packed):
            limit = min(self._limit, RATIO_FROM) if unpacked <= self._limit else self._limit
            raise ExtractionError(f"unpacks to more than {limit // 1_000_000} MB (looks like a zip bomb)")


@contextmanager
def open_archive(source: Source, *, limit: int = MAX_UNPACKED) -> Iterator[SafeZip]:
    """Open a zip-based document and check its directory.

    Args:
        source: The document.
        limit: Most bytes that its members may unpack to; pictures, sound and fonts do not count, since nobody
            opens them.

    Raises:
        ExtractionError: not a readable zip, a member that points outside, or a zip bomb.
    """
    with source.open() as stream:
        try:
            container = zipfile.ZipFile(stream)
        except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, ValueError, NotImplementedError, OSError) as error:
            reraise_disk_error(error)
            raise ExtractionError("damaged: its zip container is cut off or broken") from error
        with container:
            yield SafeZip(container, limit=limit, packed=source.size())


def reraise_disk_error(error: Exception) -> None:
    """Raise an error of the disk again; a damaged directory sends zipfile before the start of a file that is well."""
    if isinstance(error, OSError) and error.errno != errno.EINVAL:
        raise error


def _is_media(member: zipfile.ZipInfo) -> bool:
    """Return whether a member is a picture, sound, film or font by its name and by how badly it packs."""
    suffix = PurePosixPath(member.filename).suffix.lower()
    return suffix in _MEDIA_SUFFIXES and member.file_size <= _MEDIA_RATIO * max(1, member.compress_size)
