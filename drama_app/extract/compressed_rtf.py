"""Unpacks the RTF in which Outlook keeps the body of a message (MS-OXRTFCP).

Owns the compression only; the RTF itself belongs to `rtf`. Checks no sum: a text with a fault is worth reading.
"""

import struct

_HEADER = struct.Struct("<IIII")
_COMPRESSED = 0x75465A4C
_STORED = 0x414C454D
_WINDOW = 4096
_START = (
    rb"{\rtf1\ansi\mac\deff0\deftab720{\fonttbl;}{\f0\fnil \froman \fswiss \fmodern \fscript \fdecor MS Sans Serif"
    rb"SymbolArialTimes New RomanCourier{\colortbl\red0\green0\blue0"
    + b"\r\n"
    + rb"\par \pard\plain\f0\fs20\b\i\u\tab\tx"
)
"""What every window begins with; the first reference may point into it."""


def unpack_rtf(data: bytes, *, limit: int) -> bytes:
    """Return the RTF, no more than `limit` bytes of it.

    Args:
        data: The property's bytes: a header of sizes and kind, then the text.
        limit: A byte of input makes up to nine, so what a message unpacks to must be bounded.

    Raises:
        ValueError: neither compressed nor stored RTF.
    """
    if len(data) < _HEADER.size:
        raise ValueError("shorter than the header of compressed RTF")
    _, size, kind, _ = _HEADER.unpack_from(data)
    size = min(size, limit)
    if kind == _STORED:
        return data[_HEADER.size : _HEADER.size + size]
    if kind != _COMPRESSED:
        raise ValueError("not compressed RTF")
    return _unpack(data, size)


def _unpack(data: bytes, size: int) -> bytes:
    """Return what the runs behind the header say: a byte as it is, or a reference into the last 4096 bytes."""
    # All that was written stands behind the start of the window, so the window is the end of one long text.
    out = bytearray(_START)
    end = len(_START) + size
    at = _HEADER.size
    while at < len(data) and len(out) < end:
        control, at = data[at], at + 1
        for bit in range(8):
            if not control >> bit & 1:
                out += data[at : at + 1]
                at += 1
                continue
            if at + 2 > len(data):
                return bytes(out[len(_START) : end])
            reference, at = data[at] << 8 | data[at + 1], at + 2
            back = (len(out) - (reference >> 4)) % _WINDOW
            if back == 0:  # a reference to the place that is written next ends the text
                return bytes(out[len(_START) : end])
            _copy(out, back, (reference & 0xF) + 2)
    return bytes(out[len(_START) : end])


def _copy(out: bytearray, back: int, length: int) -> None:
    """Append what stands `back` bytes before the end; it may run into what it appends."""
    for _ in range(length):
        # A place that nothing was written to yet holds zeros.
        out.append(out[-back] if back <= len(out) else 0)
