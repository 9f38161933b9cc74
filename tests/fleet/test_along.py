"""What one proxy of a fleet fetches the others read along, whatever becomes of the first."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path

import aiohttp
import pytest
from redis.asyncio import Redis

from tests.fleet.conftest import PATIENCE, Body, Origin, Reader, Starter, text
from tests.real.proxy import configured, running_proxy
from tests.store.servers import RedisServer
from vary_proxy.app import App
from vary_proxy.fetches import along, convoy, keeping, leading
from vary_proxy.purges.purging import Purge
from vary_proxy.store import notices
from vary_proxy.store.fleet import FleetFlights

LARGE = [os.urandom(300_000), os.urandom(500_000)]  # several blocks, and a part of one
SMALL = [b"begins ", b"and ends"]
# A proxy whose flights last half as long without headway.
HASTY = """
from vary_proxy import cli
from vary_proxy.fetches import convoy, leading
convoy.RIDE_SECONDS = leading.RIDE_SECONDS = 2.5
cli.main()
"""
OTHER = b'Cache-Control: max-age=600\r\nETag: "2"\r\n'


@pytest.mark.parametrize("chunked", [False, True], ids=["length known", "length unknown"])
@pytest.mark.parametrize("pieces", [LARGE, SMALL], ids=["large", "small"])
@pytest.mark.parametrize("late", [False, True], ids=["with the first", "after the head"])
async def test_the_first_bytes_come_while_the_rest_is_still_arriving(
    origin: Origin,
    start: Starter,
    session: aiohttp.ClientSession,
    pieces: list[bytes],
    chunked: bool,
    late: bool,
) -> None:
    body = Body(pieces, gates=[asyncio.Event()], chunked=chunked)
    origin.bodies = [body]
    one, other = Reader(session, await start() + "/a"), Reader(session, await start() + "/a")
    if late:
        await one.begin()
        await one.until(len(pieces[0]))
        await other.begin()
    else:
        await asyncio.gather(one.begin(), other.begin())
    await asyncio.gather(one.until(len(pieces[0])), other.until(len(pieces[0])))
    assert not body.gates[0].is_set()
    body.gates[0].set()
    assert await one.rest() == body.whole
    assert await other.rest() == body.whole
    assert origin.asked == 1
    assert sorted("collapsed" in reader.status for reader in (one, other)) == [False, True]
    assert sorted("stored" in reader.status for reader in (one, other)) == [False, True]


async def test_many_read_along_in_every_proxy(
    origin: Origin, start: Starter, session: aiohttp.ClientSession
) -> None:
    body = Body([os.urandom(200_000)] * 4, gates=[asyncio.Event() for _ in range(3)])
    origin.bodies = [body]
    urls = [await start() + "/a" for _ in range(3)]
    readers = [Reader(session, urls[number % 3]) for number in range(30)]
    await asyncio.gather(*(reader.begin() for reader in readers))
    for number, gate in enumerate(body.gates, 1):
        await asyncio.gather(*(reader.until(number * 200_000) for reader in readers))
        gate.set()
    for reader in readers:
        assert await reader.rest() == body.whole
    assert origin.asked == 1


async def _killed(
    origin: Origin,
    redis: RedisServer,
    tmp_path: Path,
    other: Reader,
    session: aiohttp.ClientSession,
) -> None:
    """*other* has read along with a proxy, up to the first gate, when that is killed."""
    said = configured(tmp_path, text(origin, redis))
    with running_proxy(tmp_path, *said, program=("-c", HASTY)) as leader:
        one = await Reader(session, leader.url + "/a").begin()
        await one.until(1)
        await other.begin()
        assert "collapsed" in other.status
        await other.until(len(origin.bodies[0].pieces[0]))
        os.kill(leader.pid, signal.SIGKILL)


@pytest.mark.parametrize("pieces", [LARGE, SMALL], ids=["large", "small"])
async def test_a_leader_killed_in_mid_body_costs_its_followers_nothing(
    origin: Origin,
    redis: RedisServer,
    start: Starter,
    session: aiohttp.ClientSession,
    tmp_path: Path,
    pieces: list[bytes],
) -> None:
    held, whole = Body(pieces, gates=[asyncio.Event()]), Body(pieces)
    origin.bodies = [held, whole]
    url = await start() + "/a"
    other = Reader(session, url)
    await _killed(origin, redis, tmp_path, other, session)
    assert await other.rest() == whole.whole
    assert origin.asked == 2
    again = await Reader(session, url).begin()  # what it fetched in the end is stored
    assert "hit" in again.status or "collapsed" in again.status
    assert await again.rest() == whole.whole
    assert origin.asked == 2


@pytest.mark.parametrize(
    "now",
    [
        pytest.param(Body([b"x" * 800_000], fields=OTHER), id="under another tag"),
        pytest.param(Body([b"x" * 800_000]), id="under the same tag, other bytes"),
        pytest.param(Body([LARGE[0]]), id="shorter"),
        pytest.param(Body(LARGE, fields=b"Cache-Control: no-store\r\n"), id="not to be shared"),
    ],
)
async def test_followers_of_a_dead_leader_never_get_a_mixed_body(
    origin: Origin,
    redis: RedisServer,
    start: Starter,
    session: aiohttp.ClientSession,
    tmp_path: Path,
    now: Body,
) -> None:
    origin.bodies = [Body(LARGE, gates=[asyncio.Event()]), now]
    other = Reader(session, await start() + "/a")
    await _killed(origin, redis, tmp_path, other, session)
    with pytest.raises(aiohttp.ClientPayloadError):
        await other.rest()
    assert other.read == LARGE[0]


async def test_behind_an_origin_that_breaks_off_followers_get_the_whole_all_the_same(
    origin: Origin, start: Starter, session: aiohttp.ClientSession
) -> None:
    broken = Body(LARGE[:1], gates=[], breaks_off=True, fields=b"Cache-Control: max-age=600\r\n")
    whole = Body([LARGE[0] + b"!"], fields=b"Cache-Control: max-age=600\r\n")
    gate = asyncio.Event()
    broken.pieces, broken.gates = [LARGE[0][:150_000], LARGE[0][150_000:]], [gate]
    origin.bodies = [broken, whole]
    one, other = Reader(session, await start() + "/a"), Reader(session, await start() + "/a")
    await one.begin()
    await one.until(150_000)
    await other.begin()
    await other.until(150_000)
    gate.set()
    with pytest.raises(aiohttp.ClientPayloadError):
        await one.rest()
    assert await other.rest() == whole.whole


async def test_nobody_waits_behind_a_stalled_body_for_longer_than_a_ride(
    origin: Origin, start: Starter, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (along, convoy, leading):
        monkeypatch.setattr(module, "RIDE_SECONDS", 0.5)
    origin.bodies = [Body(LARGE, gates=[asyncio.Event()]), Body(LARGE)]
    one, other = Reader(session, await start() + "/a"), Reader(session, await start() + "/a")
    await one.begin()
    await one.until(1)
    await other.begin()
    assert await other.rest() == b"".join(LARGE)
    assert origin.asked == 2
    origin.bodies[0].gates[0].set()
    assert await one.rest() == b"".join(LARGE)


async def test_nor_behind_a_head_that_does_not_come(
    origin: Origin, start: Starter, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convoy, "RIDE_SECONDS", 0.5)
    never = asyncio.Event()
    origin.bodies = [Body(SMALL, held=never), Body(SMALL)]
    one, other = Reader(session, await start() + "/a"), Reader(session, await start() + "/a")
    first = asyncio.ensure_future(one.begin())
    await origin.is_asked()
    async with asyncio.timeout(PATIENCE):
        await other.begin()
    assert await other.rest() == b"".join(SMALL)
    never.set()
    await first
    assert await one.rest() == b"".join(SMALL)


@pytest.fixture
def long_ride(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits behind another waits for longer than any test."""
    for module in (along, convoy, leading):
        monkeypatch.setattr(module, "RIDE_SECONDS", 10 * PATIENCE)


@pytest.mark.usefixtures("long_ride")
async def test_an_answer_that_cannot_be_shared_releases_everybody_at_once(
    origin: Origin, start: Starter, session: aiohttp.ClientSession
) -> None:
    gate = asyncio.Event()
    held = Body(SMALL, fields=b"Cache-Control: no-store\r\n", gates=[gate])
    origin.bodies = [held, Body(SMALL, fields=b"Cache-Control: no-store\r\n")]
    one, other = Reader(session, await start() + "/a"), Reader(session, await start() + "/a")
    await one.begin()
    async with asyncio.timeout(PATIENCE):
        await other.begin()
    assert await other.rest() == b"".join(SMALL)
    assert origin.asked == 2
    gate.set()
    assert await one.rest() == b"".join(SMALL)


@pytest.mark.parametrize(
    ("how", "store"),
    [("kill", ""), ("pause", ""), ("kill", ", memory: {max: 0, max_object: 0}")],
    ids=["killed", "paused", "killed, and nothing else to store in"],
)
async def test_a_redis_that_is_lost_in_mid_body_is_not_missed(
    origin: Origin,
    redis: RedisServer,
    start: Starter,
    session: aiohttp.ClientSession,
    how: str,
    store: str,
) -> None:
    gate = asyncio.Event()
    origin.bodies = [Body(LARGE, gates=[gate]), Body(LARGE)]
    urls = [await start(timeout="250ms", store=store) + "/a" for _ in range(2)]
    one, other = (Reader(session, url) for url in urls)
    await one.begin()
    await one.until(1)
    await other.begin()
    await other.until(len(LARGE[0]))
    getattr(redis, how)()
    try:
        assert await other.rest() == b"".join(LARGE)
        gate.set()
        assert await one.rest() == b"".join(LARGE)
    finally:
        if how == "pause":
            redis.resume()


async def test_what_was_purged_meanwhile_is_delivered_and_found_by_nobody(
    origin: Origin, redis: RedisServer, start: Starter, session: aiohttp.ClientSession
) -> None:
    """A grounded flight brings what it brings to those aboard; the next request asks anew."""
    gate = asyncio.Event()
    origin.bodies = [Body(LARGE, gates=[gate]), Body(LARGE)]
    urls = [await start() + "/a" for _ in range(2)]
    one, other = (Reader(session, url) for url in urls)
    await one.begin()
    await one.until(1)
    await other.begin()
    await other.until(1)
    async with session.post(urls[0], headers={"Host": "media.example"}) as unsafe:
        await unsafe.read()
    gate.set()
    assert await one.rest() == b"".join(LARGE)
    assert await other.rest() == b"".join(LARGE)


_PURGES = [Purge("url", "http://media.example/a"), Purge("tag", "pictures"), Purge("all")]


@pytest.mark.parametrize("purge", _PURGES, ids=lambda purge: purge.kind)
@pytest.mark.parametrize("by", [0, 1, 2], ids=["who fetches", "who follows", "another"])
async def test_a_purge_of_what_has_changed_cuts_nobody_who_is_being_served(
    origin: Origin,
    start: Starter,
    apps: list[App],
    session: aiohttp.ClientSession,
    purge: Purge,
    by: int,
) -> None:
    """Also who is slow, and reads from the store what went by long ago."""
    tagged = b"Cache-Control: max-age=600\r\nCache-Tag: pictures\r\n"
    old = Body([os.urandom(3 << 20), os.urandom(3 << 20)], fields=tagged, gates=[asyncio.Event()])
    now = Body([b"new"], fields=tagged)
    origin.bodies = [old, now]
    urls = [await start() + "/a" for _ in range(3)]
    one, other, slow, after = (Reader(session, urls[number]) for number in (0, 1, 1, 2))
    await one.begin()
    await one.until(1)
    for reader in (other, slow):
        await reader.begin()
    await other.until(3 << 20)
    await apps[by].purger.run(purge)
    async with asyncio.timeout(PATIENCE):
        while "collapsed" in (await after.begin()).status:  # until all have heard of it
            after = Reader(session, urls[2])
    assert await after.rest() == now.whole
    old.gates[0].set()
    for reader in (one, other, slow):
        assert await reader.rest() == old.whole
    assert origin.asked == 2


async def _slow(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """The body of *url* for somebody who takes little at a time, and has its head."""
    address, _, path = url.removeprefix("http://").partition("/")
    host, _, port = address.partition(":")
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 17)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=sock, limit=1 << 16)
    asked = f"GET /{path} HTTP/1.1\r\nHost: media.example\r\nConnection: close\r\n\r\n"
    writer.write(asked.encode())
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


@pytest.mark.parametrize("at", [0, 1], ids=["of who fetches", "of who follows"])
async def test_what_is_purged_stays_for_as_long_as_a_slow_reader_needs_it(
    origin: Origin,
    redis: RedisServer,
    start: Starter,
    apps: list[App],
    session: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
    at: int,
) -> None:
    """Without a validator nobody else has it. The life of its blocks is cut short here."""
    monkeypatch.setattr(keeping, "EVERY", 0.05)
    said = b"Cache-Control: max-age=600\r\n"
    old = Body([os.urandom(5 << 20), os.urandom(3 << 20)], fields=said, gates=[asyncio.Event()])
    origin.bodies = [old]
    urls = [await start() + "/a" for _ in range(2)]
    one, other = (Reader(session, url) for url in urls)
    await one.begin()
    await one.until(1)
    await other.begin()
    slow, held = await _slow(urls[at])
    await other.until(4 << 20)
    await apps[0].purger.run(_PURGES[0])
    old.gates[0].set()
    for reader in (one, other):
        assert await reader.rest() == old.whole
    async with Redis.from_url(redis.url) as client:
        names = [name async for name in client.scan_iter(match="*:b:*")]
        for name in names:
            await client.expire(name, 20)
        async with asyncio.timeout(PATIENCE):
            while min([await client.ttl(name) for name in names]) <= 20:
                await asyncio.sleep(0.01)
    async with asyncio.timeout(PATIENCE):
        assert await slow.read() == old.whole
    held.close()
    assert origin.asked == 1
    async with asyncio.timeout(PATIENCE):
        await apps[at].tasks.settle()  # nothing is kept for nobody


@pytest.mark.usefixtures("long_ride")
async def test_a_body_that_proves_too_large_holds_nobody_who_follows(
    origin: Origin, start: Starter, session: aiohttp.ClientSession
) -> None:
    pieces, gate = [os.urandom(300_000), os.urandom(900_000), b"end"], asyncio.Event()
    held = Body(pieces, chunked=True, gates=[gate, asyncio.Event()])
    origin.bodies = [held, Body(pieces, chunked=True)]
    urls = [await start(store=", max_object: 1MiB") + "/a" for _ in range(2)]
    one, other = (Reader(session, url) for url in urls)
    await one.begin()
    await one.until(1)
    await other.begin()
    await other.until(300_000)
    gate.set()
    assert await other.rest() == b"".join(pieces)
    held.gates[1].set()
    assert await one.rest() == b"".join(pieces)


async def test_nobody_finds_a_body_that_is_not_whole(
    origin: Origin, start: Starter, session: aiohttp.ClientSession
) -> None:
    gate = asyncio.Event()
    origin.bodies = [Body(LARGE, gates=[gate])]
    urls = [await start() + "/a" for _ in range(2)]
    one, other = (Reader(session, url) for url in urls)
    await one.begin()
    await one.until(1)
    await other.begin()
    await other.until(len(LARGE[0]))
    for url in urls:
        only = {"Host": "media.example", "Cache-Control": "only-if-cached"}
        async with session.get(url, headers=only) as response:
            assert response.status == 504
    gate.set()
    assert await other.rest() == b"".join(LARGE)


async def test_a_body_larger_than_what_is_kept_for_those_who_join_late(
    origin: Origin, start: Starter, session: aiohttp.ClientSession
) -> None:
    """Beyond that only what the slowest reader still needs is held; a late one follows anew."""
    pieces = [os.urandom(6 << 20), os.urandom(6 << 20)]
    body = Body(pieces, gates=[asyncio.Event()])
    origin.bodies = [body]
    urls = [await start() + "/a" for _ in range(2)]
    one, other, slow, late = (Reader(session, urls[number]) for number in (0, 1, 1, 1))
    await one.begin()
    await one.until(1)
    await asyncio.gather(other.begin(), slow.begin())
    await other.until(5 << 20)
    await late.begin()
    await late.until(5 << 20)
    body.gates[0].set()
    for reader in (other, late, one, slow):  # the slow one has read nothing so far
        assert await reader.rest() == body.whole
    assert origin.asked == 1


@pytest.mark.parametrize("asking", [0, 1], ids=["from the one that fetches", "from the other"])
@pytest.mark.parametrize("changing", [0, 1], ids=["by the one that fetches", "by the other"])
async def test_who_asks_after_a_change_gets_nothing_that_was_asked_for_before(
    origin: Origin, start: Starter, session: aiohttp.ClientSession, changing: int, asking: int
) -> None:
    gate = asyncio.Event()
    now = Body([b"new"], fields=OTHER)
    origin.bodies = [Body(LARGE, gates=[gate]), now]
    urls = [await start() + "/a" for _ in range(2)]
    one, other, after = (Reader(session, url) for url in (*urls, urls[asking]))
    await one.begin()
    await one.until(1)
    await other.begin()
    await other.until(1)
    async with session.post(urls[changing], headers={"Host": "media.example"}) as unsafe:
        await unsafe.read()
    async with asyncio.timeout(PATIENCE):
        while "collapsed" in (await after.begin()).status:  # until the others have heard of it
            after = Reader(session, urls[asking])
    assert await after.rest() == now.whole
    gate.set()
    assert await one.rest() == b"".join(LARGE)
    assert await other.rest() == b"".join(LARGE)  # it was aboard before


async def test_what_was_asked_for_before_a_change_elsewhere_is_not_stored_after_it(
    origin: Origin, start: Starter, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, heard, hear = asyncio.Event(), asyncio.Event(), FleetFlights.heard

    def hearing(self: FleetFlights, kind: bytes, subject: bytes) -> None:
        hear(self, kind, subject)
        if kind == notices.PURGED:
            heard.set()

    monkeypatch.setattr(FleetFlights, "heard", hearing)

    now = Body([b"new"], fields=OTHER)
    origin.bodies = [Body(SMALL, held=gate), now]
    urls = [await start() + "/a" for _ in range(2)]
    one = Reader(session, urls[0])
    asking = asyncio.ensure_future(one.begin())
    await origin.is_asked()
    async with asyncio.timeout(PATIENCE):
        while not heard.is_set():  # it may only be about to listen
            async with session.post(urls[1], headers={"Host": "media.example"}) as unsafe:
                await unsafe.read()
            await asyncio.sleep(0.02)
    gate.set()
    await asking
    assert await one.rest() == b"".join(SMALL)
    for url in urls:
        after = await Reader(session, url).begin()
        assert await after.rest() == now.whole
