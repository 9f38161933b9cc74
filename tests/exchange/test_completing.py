"""A beginning is held and its rest asked for: who may not share the whole gets all of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.exchange.conftest import Edge
from tests.exchange.large import Large
from vary_proxy.core.stored import Body
from vary_proxy.store.base import BodyGone, Content


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        pytest.param({"authorization": b"Basic YTph"}, b"max-age=60", id="with Authorization"),
        pytest.param({}, b"private", id="private by now"),
    ],
)
async def test_the_rest_alone_is_nobodys_answer(
    edge: Edge, asked: dict[str, bytes], said: bytes
) -> None:
    large = Large(edge, total=900, most=500)
    await edge.get("/v", range=b"bytes=0-499")
    large.most, large.cache_control = None, said
    answer = await edge.get("/v", **asked)  # type: ignore[arg-type]
    assert (answer.status, answer.body) == (200, large.whole)


async def test_a_beginning_that_goes_while_its_rest_is_asked_for_is_asked_for_too(
    edge: Edge,
) -> None:
    large = Large(edge, total=900, most=500)
    await edge.get("/v", range=b"bytes=0-499")
    large.most = None
    held = asyncio.Event()
    answer = large.answer
    edge.origin.handler = lambda request: replace(answer(request), gate=held)
    waiting = asyncio.create_task(edge.get("/v"))
    while len(large.asked) < 2:
        await asyncio.sleep(0)
    await edge.store.clear()  # for room, or by an operator
    edge.origin.handler = answer
    held.set()
    got = await waiting
    assert got.cut is None
    assert (got.status, got.body) == (200, large.whole)
    assert large.asked[1:] == [b"bytes=500-", None]


@pytest.mark.parametrize("at", [0, 200])
async def test_a_beginning_that_goes_while_it_is_read_is_asked_for_too(edge: Edge, at: int) -> None:
    large = Large(edge, total=900, most=500)
    await edge.get("/v", range=b"bytes=0-499")
    large.most = None

    async def stream(start: int) -> AsyncIterator[bytes]:
        yield large.whole[start:at]
        raise BodyGone(at)

    async def lost(key: bytes, body: Body, start: int, stop: int) -> Content:
        return Content((), stream(start))

    edge.store.read = lost  # type: ignore[method-assign]
    got = await edge.get("/v")
    assert got.cut is None
    assert (got.status, got.body) == (200, large.whole)
    assert large.asked[1:] == [b"bytes=500-", b"bytes=%d-499" % at]
