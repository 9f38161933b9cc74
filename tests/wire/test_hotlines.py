"""Lines that are read in blocks say what they say one by one, and what is odd stays odd."""

from __future__ import annotations

import random

import pytest

from vary_proxy.hotlines import NOT_MINE, Block, Blocks, Lines, read

_WATCHED = frozenset((b"host", b"origin", b"accept", b"range", b"traceparent"))
_POOL = (
    *(b"Origin: https://a", b"Origin: https://b", b"origin: x", b"Origin: ", b"Origin:"),
    *(b"Host: a", b"Accept: 1", b"X: 1", b"", b"Origin: a\x00", b"Cookie: a=b", b"Bad", b" folded"),
    *(b"Range: b", b"X-Odd : 1", b"Content-Length: 0", b"Origin: \xff", b"Accept: \r"),
)


@pytest.mark.parametrize("crowded", [False, True])
def test_a_block_says_what_its_lines_say(crowded: bool) -> None:
    lines = Lines(_WATCHED.__contains__)
    if crowded:
        for number in range(100):  # more than are remembered with what stands around them
            assert lines[b"Origin: https://%d" % number]
    blocks = Blocks(lines)
    draw = random.Random(7)
    for _ in range(20_000):
        some = draw.choices(_POOL, k=draw.randint(1, 5))
        together, alone = blocks[b"\r\n".join(some)], Block(b"".join(map(lines.__getitem__, some)))
        assert (NOT_MINE in together.key) == any(lines[one] == NOT_MINE for one in some)
        assert _meant(together) == _meant(alone)
        assert together.key.count(b"\n") == some.count(b"")


def _meant(block: Block) -> dict[bytes, bytes] | None:
    return read(b"\rhost:h" + block.key.replace(b"\n", b"") + b"\n\n", block.origin)
