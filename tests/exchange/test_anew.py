"""Who asks anew for a body read along with another process, and gets another, lets go of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import pytest

from tests.exchange.conftest import Edge
from tests.store.builders import stored
from vary_proxy.core.blocks import BLOCK
from vary_proxy.core.ranges import Span
from vary_proxy.core.stored import StoredResponse
from vary_proxy.fetches.along import Along, Followed
from vary_proxy.fetches.asking import NO_VARY
from vary_proxy.fetches.convoy import Fleet
from vary_proxy.fetches.running import Run
from vary_proxy.fetches.spool import Abandoned, Spool
from vary_proxy.flights import Landed, Landing, Opened
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


async def told(edge: Edge, landing: Landing) -> None:
    """Read along what tells of ``begins`` and is lost; *landing* comes of asking anew."""
    draft = stored(etag='"1"')
    headway = Headway(b"key", b"owner", b"", 6, bytes(12), 0, b"beg", False)

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
    with pytest.raises(OriginFailure):
        async for _ in reader:
            pass


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
