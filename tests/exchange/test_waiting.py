"""Whoever waits for bytes that another's fetch brings gets them, whatever that other does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.exchange.conftest import Edge, ScriptedChannel, read
from tests.exchange.large import Large
from vary_proxy.core.blocks import BLOCK
from vary_proxy.core.message import Reply
from vary_proxy.core.ranges import Span
from vary_proxy.fetches.resuming import SteadyPieces
from vary_proxy.fetches.spool import Abandoned, Spool
from vary_proxy.store.memorywriter import MemoryWriter

SOON = 5.0  # seconds of the machine's, in which nothing that is here takes a tenth


@pytest.fixture
def large(edge: Edge) -> Large:
    return Large(edge, total=24 * BLOCK)


async def paused(edge: Edge, wanted: bytes, **fields: Any) -> tuple[Reply, ScriptedChannel]:
    """A reply whose client reads nothing yet; what it asks the origin for has come to a halt."""
    began = await edge.start("/v", range=wanted, **fields)
    for _ in range(50):
        await asyncio.sleep(0)
    return began


async def test_who_begins_just_ahead_of_one_that_is_slow_does_not_wait_for_him(
    edge: Edge, large: Large
) -> None:
    async with asyncio.timeout(SOON):
        await edge.get("/v", range=b"bytes=%d-" % (23 * BLOCK))
        slow = await paused(edge, b"bytes=%d-%d" % (10 * BLOCK, 20 * BLOCK - 1))
        at = (BLOCK, 12 * BLOCK)
        found = await edge.get(
            "/v", range=b"bytes=" + b",".join(b"%d-%d" % (one, one + 99) for one in at)
        )
        assert found.status == 206
        assert all(large.whole[one : one + 100] in found.body for one in at)
        assert (await read(*slow)).body == large.whole[10 * BLOCK : 20 * BLOCK]


async def test_who_goes_on_where_his_own_fetch_will_be_is_given_it(
    edge: Edge, large: Large
) -> None:
    async with asyncio.timeout(SOON):
        await edge.get("/v", range=b"bytes=%d-" % (23 * BLOCK))
        began = await paused(edge, b"bytes=0-%d" % (8 * BLOCK - 1), cache_control=b"no-store")
        await edge.get("/v", range=b"bytes=0-%d" % (2 * BLOCK - 1))  # these are stored now
        assert (await read(*began)).body == large.whole[: 8 * BLOCK]


# ── a body on its way that the store does not take after all ────────────────────────────

WANTED = b"bytes=0-9,-5"


@pytest.fixture
def refused(edge: Edge) -> Large:
    """An object that comes whole, of which the store refuses all but the beginning."""
    writer = edge.store.writer

    def refusing(key: bytes, length: int | None, most: int) -> MemoryWriter | None:
        made = writer(key, length, most)
        if made is not None:
            made._limit = 2 * BLOCK
        return made

    edge.store.writer = refusing  # type: ignore[assignment, method-assign]
    return Large(edge, total=24 * BLOCK, ranges=False)


async def test_several_ranges_of_it_are_read_to_their_end(edge: Edge, refused: Large) -> None:
    async with asyncio.timeout(SOON):
        found = await edge.get("/v", range=WANTED)
        assert found.cut is None
        assert refused.whole[:10] in found.body
        assert refused.whole[-5:] in found.body


async def test_in_any_order(edge: Edge, refused: Large) -> None:
    wanted = (20 * BLOCK, 10 * BLOCK, 15 * BLOCK, 23 * BLOCK)
    async with asyncio.timeout(SOON):
        reply, channel = await edge.start(
            "/v", range=b"bytes=" + b",".join(b"%d-%d" % (one, one + 9) for one in wanted)
        )
        refused.ranges = True  # what lies behind is asked for
        found = await read(reply, channel)
        assert found.cut is None
        assert all(refused.whole[one : one + 10] in found.body for one in wanted)


@pytest.mark.parametrize("chunks", [0, 1, 2, 4])
async def test_who_leaves_in_the_middle_of_them_holds_nothing(chunks: int) -> None:
    spool = Spool(30)
    for _ in range(3):
        spool.append(bytes(10))
    leaves = SteadyPieces(spool, (b"--", Span(0, 5), b"--", Span(25, 30)), None)
    spool.release()
    for _ in range(chunks):
        await anext(leaves)
    await spool.room()  # there is one who reads
    await leaves.aclose()
    with pytest.raises(Abandoned):
        await spool.room()
