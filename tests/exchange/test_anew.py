"""Who asks anew for a body read along with another process, and gets another, lets go of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import pytest

from tests.exchange.conftest import Edge, Said, ScriptedResponse
from tests.store.builders import stored
from vary_proxy.core.blocks import BLOCK
from vary_proxy.core.ranges import Span
from vary_proxy.core.stored import StoredResponse
from vary_proxy.fetches.along import Along, Followed
from vary_proxy.fetches.asking import NO_VARY
from vary_proxy.fetches.convoy import Fleet
from vary_proxy.fetches.running import Run
from vary_proxy.fetches.spool import Abandoned, Spool
from vary_proxy.flights import Alone, Landed, Landing, Opened
from vary_proxy.origin import OriginFailure
from vary_proxy.store.codec import Headway


class Silent:
    """A fleet that knows of no flight any more."""

    @contextmanager
    def ears(self, *_: object) -> Iterator[Silent]:
        yield self

    async def wait(self, seconds: float) -> bool:
        return False

    async def follow(self, *_: object) -> None:
        return None


def landed(draft: StoredResponse, body: bytes = b"") -> Landed:
    spool = Spool(6)
    if body:
        spool.append(body)
    return Landed(draft, draft, spool, NO_VARY, spool.reader())


async def read_along(edge: Edge, landing: Landing, length: int | None = 6) -> bytes:
    """Read along what tells of ``begins`` and is lost; *landing* comes of asking anew."""
    draft = stored(etag='"1"')
    headway = Headway(b"key", b"owner", b"", length, bytes(12), 0, b"beg", False)

    async def again() -> Landing:
        return landing

    ours = landed(draft)
    along = Along(
        cast(Fleet, Silent()),
        edge.store,
        edge.tasks,
        b"key",
        Followed(b"variant", headway, draft),
        ours,
        again,
    )
    reader = ours.spool.reader()
    await along.run()
    return b"".join([bytes(chunk) async for chunk in reader])


async def told(edge: Edge, landing: Landing) -> None:
    """As ``read_along``, which fails."""
    with pytest.raises(OriginFailure):
        await read_along(edge, landing)


def alone(reason: str, body: bytes = b"begins", tag: str = '"1"', **said: object) -> Alone:
    """What the origin says now, which cannot be stored for that *reason*."""
    fields = stored(etag=tag).fields
    response = ScriptedResponse(Said(200, fields.items, [body[:2], body[2:]], **said), b"GET")  # type: ignore[arg-type]
    return Alone(response, fields, reason)


@pytest.mark.parametrize(
    ("tag", "body"), [('"2"', b"begins"), ('"1"', b"others")], ids=["validator", "bytes"]
)
async def test_nobody_waits_for_who_wanted_another_body(edge: Edge, tag: str, body: bytes) -> None:
    other = landed(stored(etag=tag), body)
    await told(edge, other)
    other.spool.release()
    with pytest.raises(Abandoned):
        await other.spool.room()


async def test_nor_for_who_wanted_no_blocks(edge: Edge) -> None:
    sparse = stored(etag='"1"')
    run = Run(Span(0, BLOCK), sparse, joinable=True)
    await told(edge, Opened(sparse, sparse, NO_VARY, run.reader(0)))
    with pytest.raises(Abandoned):
        await run.room(kept=False)


@pytest.mark.parametrize(
    ("landing", "length"),
    [
        pytest.param(alone("too-large"), 6, id="no room"),
        pytest.param(alone("too-large"), None, id="nor a length"),
        pytest.param(alone("too-large", length=None), 6, id="in chunks now"),
        pytest.param(
            alone("unproven-length", length=None, close_delimited=True), 6, id="of a proven length"
        ),
    ],
)
async def test_what_cannot_be_stored_now_is_gone_on_with(
    edge: Edge, landing: Alone, length: int | None
) -> None:
    """It may be shared all the same, and is the same: a store that is away cuts nobody."""
    assert await read_along(edge, landing, length) == b"begins"
    assert cast(ScriptedResponse, landing.response).closed


@pytest.mark.parametrize(
    ("landing", "length"),
    [
        pytest.param(alone("private"), 6, id="another's"),
        pytest.param(alone("too-large", tag='"2"'), 6, id="validator"),
        pytest.param(alone("too-large", b"others"), 6, id="bytes"),
        pytest.param(alone("too-large", b"begin", length=None), 6, id="shorter"),
        pytest.param(alone("too-large", b"beginning", length=None), 6, id="longer"),
        pytest.param(
            alone("unproven-length", length=None, close_delimited=True), None, id="of no length"
        ),
    ],
)
async def test_but_nothing_else_is(edge: Edge, landing: Alone, length: int | None) -> None:
    with pytest.raises(OriginFailure):
        await read_along(edge, landing, length)
    assert cast(ScriptedResponse, landing.response).closed
