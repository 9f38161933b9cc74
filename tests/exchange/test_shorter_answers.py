"""Origins that send less than they are asked for: what is missing is asked for where they stopped.

RFC 9110 §15.3.7: whoever asks a range looks what the 206 brings, and asks for the remainder.
"""

from __future__ import annotations

import asyncio

import pytest

from tests.exchange.conftest import Answer, Edge
from tests.exchange.large import Large, blocks
from vary_proxy.core.blocks import BLOCK


@pytest.fixture
def large(edge: Edge) -> Large:
    return Large(edge, total=4 * BLOCK + 100)


async def begun(edge: Edge, large: Large) -> None:
    """Its last block is stored; from now on the origin sends no more than half a block."""
    await edge.get("/v", range=b"bytes=%d-%d" % (4 * BLOCK, large.total - 1))
    large.asked.clear()
    large.most = BLOCK // 2


async def ranged(edge: Edge, large: Large, first: int, last: int, **fields: bytes) -> Answer:
    reply = await edge.get("/v", range=b"bytes=%d-%d" % (first, last), **fields)
    assert reply.cut is None
    assert (reply.status, reply.body) == (206, large.whole[first : last + 1])
    return reply


@pytest.mark.parametrize("most", [BLOCK // 2, BLOCK // 3, BLOCK - 1, BLOCK + 1, 50_000])
async def test_answers_of_less_than_a_block_are_put_together(
    edge: Edge, large: Large, most: int
) -> None:
    await begun(edge, large)
    large.most = most
    await ranged(edge, large, BLOCK - 500, 3 * BLOCK)
    await edge.settle()
    count = len(large.asked)
    assert count == -(-4 * BLOCK // most)  # nothing was asked for twice
    reply = await edge.get("/v")
    assert (reply.status, reply.body, reply.cut) == (200, large.whole, None)
    assert reply.cache_status.startswith("vary-proxy; hit")
    assert len(large.asked) == count


async def test_a_gap_in_the_middle_of_a_reply_is_closed_piece_by_piece(
    edge: Edge, large: Large
) -> None:
    for number in (0, 1, 3):
        await ranged(edge, large, number * BLOCK, number * BLOCK + 9)
    await begun(edge, large)
    reply = await edge.get("/v")
    assert (reply.status, reply.body, reply.cut) == (200, large.whole, None)
    half = 2 * BLOCK + BLOCK // 2
    assert large.asked == [blocks(2, 2), b"bytes=%d-%d" % (half, 3 * BLOCK - 1)]
    assert edge.origin.last.fields.get(b"if-match") == b'"v1"'


async def test_who_wants_what_the_first_answer_does_not_reach_waits_for_the_next(
    edge: Edge, large: Large
) -> None:
    await begun(edge, large)
    await ranged(edge, large, 2 * BLOCK - 10, 2 * BLOCK - 1)
    assert len(large.asked) == 2


async def test_all_who_want_it_share_the_answers(edge: Edge, large: Large) -> None:
    await begun(edge, large)
    await asyncio.gather(*(ranged(edge, large, at, BLOCK - 1) for at in (0, 5, BLOCK // 2, 99_999)))
    assert len(large.asked) == 2


async def test_a_change_between_two_answers_is_never_mixed_in(edge: Edge, large: Large) -> None:
    await begun(edge, large)
    old, answer = large.whole, large.answer

    def changing(request: object) -> object:
        said = answer(request)  # type: ignore[arg-type]
        large.version = 2
        return said

    edge.origin.handler = changing  # type: ignore[assignment]
    reply = await edge.get("/v", range=b"bytes=0-%d" % (2 * BLOCK - 1))
    assert reply.cut is not None
    assert reply.body == old[: BLOCK // 2]
    await edge.settle()
    assert all(response.closed for response in edge.origin.responses)
    again = await edge.get("/v", range=b"bytes=0-9")
    assert (again.body, again["etag"]) == (large.whole[:10], b'"v2"')


async def test_who_leaves_ends_the_asking(edge: Edge, large: Large) -> None:
    """With the block that he left in the middle."""
    await begun(edge, large)
    large.most = BLOCK // 4
    reply, _ = await edge.start("/v", range=b"bytes=0-%d" % (4 * BLOCK - 1))
    assert reply.stream is not None
    assert await anext(reply.stream)
    await reply.stream.aclose()  # type: ignore[attr-defined]
    await edge.settle()
    assert len(large.asked) <= 8
    large.asked.clear()
    await ranged(edge, large, 0, BLOCK - 1)
    assert large.asked == []


async def test_crumbs_are_not_asked_for_without_end(edge: Edge, large: Large) -> None:
    """An origin that sends a byte at a time costs a bounded number of requests for a block."""
    await begun(edge, large)
    large.most = 1
    reply = await edge.get("/v", range=b"bytes=0-%d" % (BLOCK - 1))
    assert reply.cut is not None
    assert reply.body == large.whole[: len(reply.body)]
    assert len(large.asked) < 1000
