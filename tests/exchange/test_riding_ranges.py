"""Who rides on another's fetch of the same blocks gets the range that he asked for himself."""

from __future__ import annotations

import asyncio

import pytest

from tests.exchange.conftest import Edge
from tests.exchange.large import Large
from vary_proxy.core.blocks import BLOCK


@pytest.mark.parametrize("most", [BLOCK - 1, 4000], ids=["a little less", "much less"])
async def test_an_origin_that_sends_less_gives_nobody_anothers_range(edge: Edge, most: int) -> None:
    large = Large(edge, most=most)
    ranges = (b"bytes=1-131070", b"bytes=0-54", b"bytes=7000-7999")
    answers = await asyncio.gather(*(edge.get("/v", range=one) for one in ranges))
    for asked, answer in zip(ranges, answers, strict=True):
        first, last = map(int, asked[6:].split(b"-"))
        told = (answer["content-range"] or b"").removeprefix(b"bytes ").partition(b"/")[0]
        begins, ends = map(int, told.split(b"-"))
        assert (answer.status, begins) == (206, first)
        assert ends <= last
        assert answer.body == large.whole[begins : ends + 1]
