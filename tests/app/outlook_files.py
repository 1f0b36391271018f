"""Small messages of Outlook, written into the OLE2 container that they come in."""

import struct
from pathlib import Path

_SECTOR = 512
_END = 0xFFFFFFFE
_NONE = 0xFFFFFFFF


def make_msg(
    path: Path, *, code_page: int = 1252, recipient: dict[str, bytes] | None = None, **properties: bytes
) -> Path:
    """Write a message of properties "p0037001E" (number and type) -> bytes, and one recipient of such properties."""
    streams = _make_streams(properties, 32, struct.pack("<IIQ", 0x3FDE0003, 6, code_page))
    path.write_bytes(_make_ole2(streams, _make_streams(recipient, 8) if recipient else {}))
    return path


def _make_streams(properties: dict[str, bytes], header: int, *rows: bytes) -> dict[str, bytes]:
    """Return the streams of properties and the one that lists them, which begins with a header."""
    listed = [struct.pack("<IIQ", int(name[1:], 16), 6, len(data)) for name, data in properties.items()]
    streams = {f"__substg1.0_{name[1:]}": data for name, data in properties.items()}
    return {"__properties_version1.0": bytes(header) + b"".join([*listed, *rows]), **streams}


def _make_ole2(streams: dict[str, bytes], inner: dict[str, bytes]) -> bytes:
    """Return a container of streams below its root and in one folder, all in the stream for those below 4096 bytes."""
    small = _Sectors(64)
    has_folder = bool(inner)
    top = _make_entries(streams, small, first=1, is_open=has_folder)
    if has_folder:
        child = len(streams) + 2
        top += _make_entry("__recip_version1.0_#00000000", 1, child=child)
        top += _make_entries(inner, small, first=child)
    sectors = _Sectors(_SECTOR)
    root = _make_entry("Root Entry", 5, child=1, start=sectors.add(small.body), size=len(small.body))
    directory = sectors.add(root + top)
    small_table = sectors.add(small.make_table())
    sectors.chain.append(0xFFFFFFFD)
    table = sectors.make_table().ljust(_SECTOR, b"\xff")
    assert len(table) == _SECTOR
    head = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(16) + struct.pack("<HHHHH6x", 0x3E, 3, 0xFFFE, 9, 6)
    head += struct.pack("<10I", 0, 1, directory, 0, 4096, small_table, 1, _END, 0, len(sectors.chain) - 1)
    return head.ljust(_SECTOR, b"\xff") + sectors.body + table


def _make_entries(streams: dict[str, bytes], small: "_Sectors", *, first: int, is_open: bool = False) -> bytes:
    """Return the entries of streams, each pointing to the next; `is_open` if an entry follows the last."""
    entries = b""
    for number, (name, data) in enumerate(streams.items(), start=first):
        right = number + 1 if is_open or number < first + len(streams) - 1 else _NONE
        entries += _make_entry(name, 2, right=right, start=small.add(data), size=len(data))
    return entries


class _Sectors:
    """Sectors of one size and which follows which."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.body = b""
        self.chain: list[int] = []

    def add(self, data: bytes) -> int:
        """Add the sectors of one stream and return its first."""
        start, count = len(self.chain), max(1, -(-len(data) // self.size))
        self.body += data.ljust(count * self.size, b"\0")
        self.chain += [*range(start + 1, start + count), _END]
        return start

    def make_table(self) -> bytes:
        """Return the table of what follows each sector."""
        table = struct.pack(f"<{len(self.chain)}I", *self.chain)
        return table.ljust(-(-len(table) // _SECTOR) * _SECTOR, b"\xff")


def _make_entry(
    name: str, kind: int, *, right: int = _NONE, child: int = _NONE, start: int = 0, size: int = 0
) -> bytes:
    """Return one entry of the directory."""
    wide = name.encode("utf-16-le") + b"\0\0"
    head = wide.ljust(64, b"\0") + struct.pack("<HBBIII", len(wide), kind, 1, _NONE, right, child)
    return head + bytes(36) + struct.pack("<IQ", start, size)
