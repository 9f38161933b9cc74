"""Writes PNG files from rows of colours, with zlib and nothing else."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence

Colour = tuple[int, int, int]  # red, green, blue: 0 to 255


def indexed(width: int, rows: Iterable[bytes], palette: Sequence[Colour]) -> bytes:
    """A picture of one byte per pixel, each an index into *palette* (at most 256 colours)."""
    return _file(width, list(rows), 3, _chunk(b"PLTE", bytes(v for rgb in palette for v in rgb)))


def truecolour(width: int, rows: Iterable[bytes]) -> bytes:
    """A picture of three bytes per pixel: red, green, blue."""
    return _file(width, list(rows), 2, b"")


def _file(width: int, rows: Sequence[bytes], colour_type: int, palette: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", width, len(rows), 8, colour_type, 0, 0, 0)
    # Every row is preceded by its filter: 0, none.
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows), 6)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", head),
            palette,
            _chunk(b"IDAT", pixels),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
