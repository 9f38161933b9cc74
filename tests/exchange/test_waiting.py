"""Whoever waits for bytes that another's fetch brings gets them, whatever that other does."""

from __future__ import annotations

import asyncio

import pytest

from tests.exchange.conftest import Edge, ScriptedChannel, read
from tests.exchange.large import Large
from vary_proxy.core.blocks import BLOCK
from vary_proxy.core.message import Reply

SOON = 5.0  # seconds of the machine's, in which nothing that is here takes a tenth


@pytest.fixture
def large(edge: Edge) -> Large:
    return Large(edge, total=24 * BLOCK)


async def paused(edge: Edge, wanted: bytes, **fields: bytes) -> tuple[Reply, ScriptedChannel]:
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
