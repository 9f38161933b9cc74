"""The pictures are whole PNG files, and no two are alike."""

from __future__ import annotations

import struct
import zlib

import pytest

from vary_proxy.demo import pictures, png


def read(data: bytes) -> tuple[int, int, int, list[bytes], bytes]:
    """Width, height, colour type, rows and palette of a PNG file whose rows are not filtered."""
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    at, chunks = 8, {}
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        content = data[at + 8 : at + 8 + length]
        (check,) = struct.unpack_from(">I", data, at + 8 + length)
        assert check == zlib.crc32(kind + content)
        chunks[kind] = content
        at += 12 + length
    assert list(chunks)[-1] == b"IEND"
    width, height, depth, colour_type, *rest = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert (depth, rest) == (8, [0, 0, 0])
    pixels = zlib.decompress(chunks[b"IDAT"])
    stride = 1 + width * (3 if colour_type == 2 else 1)
    assert len(pixels) == stride * height
    rows = [pixels[i : i + stride] for i in range(0, len(pixels), stride)]
    assert {row[0] for row in rows} == {0}
    return width, height, colour_type, [row[1:] for row in rows], chunks.get(b"PLTE", b"")


@pytest.mark.parametrize("name", pictures.NAMES)
def test_a_picture_is_a_whole_png_of_many_colours(name: str) -> None:
    width, height, colour_type, rows, palette = read(pictures.draw(name))
    assert (width, height) == (pictures.WIDTH, pictures.HEIGHT)
    if colour_type == 3:
        assert len(palette) == 256 * 3
        assert len({value for row in rows for value in row}) > 32
    else:
        assert len({row[i : i + 3] for row in rows for i in range(0, len(row), 3)}) > 32


def test_indexed_and_true_colour_say_the_same_picture() -> None:
    red, blue = (255, 0, 0), (0, 0, 255)
    *_, rows, palette = read(png.indexed(2, [b"\0\1", b"\1\0"], [red, blue]))
    looked_up = [b"".join(palette[3 * i : 3 * i + 3] for i in row) for row in rows]
    true = [bytes(red + blue), bytes(blue + red)]
    assert looked_up == true
    assert read(png.truecolour(2, true))[3] == true
