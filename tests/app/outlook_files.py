"""Small messages of Outlook, written into the OLE2 container that they come in."""

import struct
from pathlib import Path

_SECTOR = 512
_END = 0xFFFFFFFE
_NONE = 0xFFFFFFFF


def make_msg(path: Path, *, code_page: int = 1252, **properties: bytes) -> Path:
    """Write a message of properties "p0037001E" (number and type) -> bytes."""
    numbers = [int(name[1:], 16) for name in properties]
    rows = [
        struct.pack("<IIQ", number, 6, len(data)) for number, data in zip(numbers, properties.values(), strict=True)
    ]
    rows.append(struct.pack("<IIQ", 0x3FDE0003, 6, code_page))
    streams = {f"__substg1.0_{name[1:]}": data for name, data in properties.items()}
    path.write_bytes(_make_ole2({"__properties_version1.0": bytes(32) + b"".join(rows), **streams}))
    return path


def _make_ole2(streams: dict[str, bytes]) -> bytes:
    """Return a container of streams below its root, all of them in the stream for those below 4096 bytes."""
    ordered = sorted(streams.items(), key=lambda item: (len(item[0]), item[0].upper()))
    entries = b""
    small = _Sectors(64)
    for number, (name, data) in enumerate(ordered, start=1):
        right = number + 1 if number < len(ordered) else _NONE
        entries += _make_entry(name, 2, right=right, start=small.add(data), size=len(data))
    sectors = _Sectors(_SECTOR)
    root = _make_entry("Root Entry", 5, child=1, start=sectors.add(small.body), size=len(small.body))
    directory = sectors.add(root + entries)
    small_table = sectors.add(small.make_table())
    sectors.chain.append(0xFFFFFFFD)
    table = sectors.make_table().ljust(_SECTOR, b"\xff")
    assert len(table) == _SECTOR
    head = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(16) + struct.pack("<HHHHH6x", 0x3E, 3, 0xFFFE, 9, 6)
    head += struct.pack("<10I", 0, 1, directory, 0, 4096, small_table, 1, _END, 0, len(sectors.chain) - 1)
    return head.ljust(_SECTOR, b"\xff") + sectors.body + table


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
