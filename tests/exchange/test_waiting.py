"""Whoever waits for bytes that another's fetch brings gets them, whatever that other does."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import pytest

from tests.exchange.conftest import Edge, ScriptedChannel, read
from tests.exchange.large import Large
from vary_proxy.core.blocks import BLOCK
from vary_proxy.core.message import Reply
from vary_proxy.core.ranges import Span
from vary_proxy.core.stored import Body
from vary_proxy.fetches import heralding
from vary_proxy.fetches.heralding import Heralds
from vary_proxy.fetches.resuming import SteadyPieces
from vary_proxy.fetches.running import Run
from vary_proxy.fetches.spool import Abandoned, Spool
from vary_proxy.store.memorywriter import MemoryWriter

SOON = 20.0  # seconds of the machine's, in which nothing that is here takes a tenth


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


async def test_nobody_waits_long_for_the_head_of_anothers_fetch(
    edge: Edge, large: Large, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor at every block anew."""
    monkeypatch.setattr("vary_proxy.fetches.gaps.RIDE_SECONDS", 0.6)
    async with asyncio.timeout(SOON):
        await edge.get("/v", range=b"bytes=%d-" % (23 * BLOCK))
        loop, gate = asyncio.get_running_loop(), asyncio.Event()
        late, large.gate = asyncio.ensure_future(edge.get("/v", range=b"bytes=0-9")), gate
        await asyncio.sleep(0)
        while len(large.asked) < 2:
            await asyncio.sleep(0)
        large.gate, large.most, began = None, BLOCK, loop.time()
        for block in (0, 1, 2):
            found = await edge.get("/v", range=b"bytes=%d-%d" % (block * BLOCK, 4 * BLOCK - 1))
            assert found.body == large.whole[block * BLOCK : 4 * BLOCK]
        assert loop.time() - began < 2.4
        gate.set()
        assert (await late).body == large.whole[:10]


# ── a body on its way that the store does not take after all ────────────────────────────

WANTED = b"bytes=0-9,-5"


@pytest.fixture
def refused(edge: Edge) -> Large:
    """An object that comes whole, of which the store refuses all but the beginning."""
    writer = edge.store.writer

    def refusing(key: bytes, length: int | None, most: int, since: None) -> MemoryWriter | None:
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


# ── a block that another process is about to bring ──────────────────────────────────────


class Fleet:
    """One run of another process, of blocks 0 to 9, whatever is asked for."""

    owner = struct.pack(">QQ8s", 0, 10, b"theirs")

    def __init__(self) -> None:
        self.mine: bytes | None = None
        self.followed = 0

    async def follow(self, key: bytes, variant: bytes) -> tuple[bytes, None]:
        self.followed += 1
        return self.mine or self.owner, None

    async def acquire(self, key: bytes, variant: bytes, owner: bytes, seconds: float) -> bool:
        self.mine = owner
        return True


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


@pytest.fixture
def heralds(edge: Edge, fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> Heralds:
    monkeypatch.setattr(heralding, "RIDE_SECONDS", 0.3)
    monkeypatch.setattr(heralding, "_LOOK", 0.01)
    return Heralds(fleet, edge.store, edge.tasks)  # type: ignore[arg-type]


BODY = Body(b"one", 10 * BLOCK)


async def test_who_waited_for_a_run_in_vain_does_not_wait_for_it_again(
    heralds: Heralds, fleet: Fleet
) -> None:
    assert not await heralds.brought(b"key", BODY, 0)
    assert fleet.followed > 2
    fleet.followed = 0
    for offset in range(0, 10 * BLOCK, BLOCK // 4):
        assert not await heralds.brought(b"key", BODY, offset)
    assert fleet.followed <= 40 * 2  # what lies near two regions is looked for in both


async def test_nobody_waits_for_a_run_of_his_own_process(heralds: Heralds, fleet: Fleet) -> None:
    assert await heralds.announce(b"key", BODY, Span(0, 10 * BLOCK)) is not None
    assert not await heralds.brought(b"key", BODY, 0)
    assert fleet.followed == 1


class Announced:
    """Fulfils what runs need of Heralds and Herald."""

    def __init__(self) -> None:
        self.said: list[str] = []

    async def announce(self, *_: object) -> Announced:
        return self

    async def is_there(self, *_: object) -> bool:
        return False

    def fly(self, run: Run) -> None:
        self.said.append("fly")

    async def moved(self, run: Run) -> None:
        self.said.append("moved")

    def land(self) -> None:
        self.said.append("land")


async def refuse(*_: object) -> bool:
    """As when the variant was purged meanwhile."""
    return False


@pytest.mark.parametrize("kept", [True, False])
async def test_a_run_that_is_not_stored_any_more_is_announced_no_longer(
    edge: Edge, large: Large, kept: bool
) -> None:
    async with asyncio.timeout(SOON):
        await edge.get("/v", range=b"bytes=%d-" % (23 * BLOCK))
        announced = edge.exchange._fetcher.runs.heralds = Announced()  # type: ignore[assignment]
        if not kept:
            edge.store.blocks.put = refuse  # type: ignore[assignment, method-assign]
        slow = await paused(edge, b"bytes=0-%d" % (20 * BLOCK - 1))
        assert announced.said == (["fly", "moved"] if kept else ["fly", "land"])
        assert (await read(*slow)).body == large.whole[: 20 * BLOCK]
