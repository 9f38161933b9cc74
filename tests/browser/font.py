"""A TrueType font of two glyphs, made here: nothing, and for ``A`` a square three ems wide."""

from __future__ import annotations

import struct

EM = 1000
ADVANCE = 3 * EM  # no font of the system has so wide an A
_SQUARE = (0, 0, EM, EM)


def make() -> bytes:
    """The font, whole; a browser's sanitizer takes it."""
    tables = {
        b"OS/2": _os2(),
        b"cmap": _cmap(),
        b"glyf": _glyph(),
        b"head": _head(),
        b"hhea": struct.pack(
            ">IhhhHhhhhhhhhhhhH", 0x10000, EM, 0, 0, ADVANCE, *(0, 0, EM, 1), *(0,) * 7, 2
        ),
        b"hmtx": struct.pack(">HhHh", EM, 0, ADVANCE, 0),
        b"loca": struct.pack(">HHH", 0, 0, len(_glyph()) // 2),
        b"maxp": struct.pack(">IHHHHHHHHHHHHHH", 0x10000, 2, 4, 1, 0, 0, 1, *(0,) * 8),
        b"name": _name(),
        b"post": struct.pack(">IIhhIIIII", 0x30000, 0, 0, 0, 0, 0, 0, 0, 0),
    }
    return _file(tables)


def _file(tables: dict[bytes, bytes]) -> bytes:
    count = len(tables)
    power = 1 << (count.bit_length() - 1)
    head = struct.pack(
        ">IHHHH", 0x10000, count, power * 16, power.bit_length() - 1, (count - power) * 16
    )
    at = len(head) + 16 * count
    directory, body = b"", b""
    for tag, data in tables.items():
        padded = data + bytes(-len(data) % 4)
        directory += struct.pack(">4sIII", tag, _sum(padded), at + len(body), len(data))
        body += padded
    return head + directory + body


def _sum(padded: bytes) -> int:
    return sum(struct.unpack(f">{len(padded) // 4}I", padded)) & 0xFFFFFFFF


def _head() -> bytes:
    dates = (0, 0)
    return struct.pack(
        ">IIIIHHqqhhhhHHhhh",
        *(0x10000, 0x10000, 0, 0x5F0F3CF5, 0, EM),
        *dates,
        *_SQUARE,
        *(0, 8, 2, 0, 0),
    )


def _glyph() -> bytes:
    """The square: one contour of four points, each on the curve, as steps of two bytes."""
    steps = ((0, 0), (EM, 0), (0, EM), (-EM, 0))
    xs, ys = (struct.pack(">4h", *line) for line in zip(*steps, strict=True))
    data = struct.pack(">h4hHH", 1, *_SQUARE, 3, 0) + b"\x01" * 4 + xs + ys
    return data + bytes(len(data) % 2)


def _cmap() -> bytes:
    ends, starts, deltas = (0x41, 0xFFFF), (0x41, 0xFFFF), (1 - 0x41, 1)
    segments = struct.pack(">HHH", *ends, 0) + struct.pack(">HH", *starts)
    segments += struct.pack(">hhHH", *deltas, 0, 0)
    table = struct.pack(">HHHHHHH", 4, 14 + len(segments), 0, 4, 4, 1, 0) + segments
    return struct.pack(">HHHHI", 0, 1, 3, 1, 12) + table


def _name() -> bytes:
    said = {1: "Square", 2: "Regular", 4: "Square", 6: "Square"}
    text, records = b"", b""
    for number, value in said.items():
        data = value.encode("utf-16-be")
        records += struct.pack(">HHHHHH", 3, 1, 0x409, number, len(data), len(text))
        text += data
    return struct.pack(">HHH", 0, len(said), 6 + len(records)) + records + text


def _os2() -> bytes:
    return struct.pack(
        ">HhHHH10hh10s4I4sHHHhhhHH2IhhHHH",
        *(4, EM, 400, 5, 0),
        *(0,) * 10,
        *(0, bytes(10), 0, 0, 0, 0, b"NONE", 0x40, 0x41, 0x41),
        *(EM, 0, 0, EM, 0),
        *(1, 0, 500, EM, 0, 32, 0),
    )
