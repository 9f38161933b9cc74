"""Who rides on another's fetch of the same blocks gets the range that he asked for himself."""

from __future__ import annotations

import asyncio

import pytest

from tests.exchange.conftest import Edge, read
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


async def test_who_rides_on_a_body_that_has_long_been_coming_is_told_how_old_it_is(
    edge: Edge,
) -> None:
    gate = asyncio.Event()
    edge.origin.replies(200, body=[b"begins", b"ends"], body_gate=gate, cache_control=b"max-age=60")
    first, leader = await edge.start("/v")
    edge.clock.forward(20)
    second, rider = await edge.start("/v")
    gate.set()
    answers = [await read(first, leader), await read(second, rider)]
    assert [one.body for one in answers] == [b"beginsends"] * 2
    assert [one["age"] for one in answers] == [None, b"20"]
    assert edge.origin.asked == 1
