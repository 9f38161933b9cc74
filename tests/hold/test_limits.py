"""The limits that SECURITY.md names, at their defaults or small, and what comes beyond each.

That the numbers are the defaults is in test_security_page.py. The same for what is stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time

import pytest
from redis import Redis

from tests.hold.test_framing import everything, post
from tests.hold.worlds import HOST, Asked, front, get, responses, said
from tests.store.servers import RedisServer
from tests.wire.rawclient import Client
from tests.wire.raworigin import until

ON_EACH_STORE = pytest.mark.usefixtures("each_store")
LANES = pytest.mark.parametrize("fast", [True, False], ids=["fast lane", "long way"])
FRESH = b"Cache-Control: max-age=600"
BEGIN = b"GET / HTTP/1.1\r\nHost: " + HOST + b"\r\n"
KIB = 1024

# What is within a limit, and what is beyond it, complete; a beginning that never ends.
HEADS = {
    "head": (
        get(b"/", *(b"X: ".ljust(1000, b"x"),) * 31),
        get(b"/", *(b"X: ".ljust(1000, b"x"),) * 33),
        BEGIN + (b"X: ".ljust(1000, b"x") + b"\r\n") * 33,
        431,
    ),
    "line": (
        get(b"/", b"X: ".ljust(16 * KIB, b"x")),
        get(b"/", b"X: ".ljust(16 * KIB + 1, b"x")),
        BEGIN + b"X: ".ljust(33 * KIB, b"x"),
        431,
    ),
    "fields": (
        get(b"/", *(b"X: x",) * 99),
        get(b"/", *(b"X: x",) * 100),
        BEGIN + b"X: x\r\n" * 20_000,
        431,
    ),
    "target": (
        get(b"/".ljust(8 * KIB, b"x")),
        get(b"/".ljust(8 * KIB + 1, b"x")),
        b"GET /".ljust(33 * KIB, b"x"),
        414,
    ),
}


@ON_EACH_STORE
@LANES
@pytest.mark.parametrize("limit", HEADS)
async def test_a_head_is_bounded_whole_and_while_it_arrives(limit: str, fast: bool) -> None:
    within, beyond, endless, status = HEADS[limit]
    async with front(lambda asked: said(b"ok", FRESH), fast=fast) as edge:
        for _ in range(3):  # the third comes from the store
            assert (await edge.ask(within)).status == 200
            await edge.settle()
            asked = len(edge.origin.asked)
            for before, data in itertools.product((b"", get()), (beyond, endless)):
                if before:
                    await edge.primed()
                    asked = len(edge.origin.asked)
                client = await edge.client()
                client.send(before, data)
                told = responses(await everything(client))
                assert [one.status for one in told] == [200] * bool(before) + [status]
            assert len(edge.origin.asked) == asked


@LANES
async def test_a_body_is_bounded_announced_or_not(fast: bool) -> None:
    async with front(fast=fast, server="limits: {body: 1KiB}") as edge:
        await edge.primed()
        length = b"Content-Length: %d"
        chunk = b"%x\r\n%s\r\n0\r\n\r\n"
        coded = b"Transfer-Encoding: chunked"
        for size, status in ((KIB, 200), (KIB + 1, 413)):
            body = bytes(size)
            assert (await edge.ask(post(length % size, body=body))).status == status
            assert (await edge.ask(post(coded, body=chunk % (size, body)))).status == status
        whole = [len(one.body) for one in edge.origin.asked]
        assert max(whole) == KIB


@LANES
async def test_connections_beyond_the_limit_are_told_and_beyond_256_more_reset(fast: bool) -> None:
    async with front(fast=fast, server="limits: {connections: 5}") as edge:
        await edge.primed()
        await until(lambda: not edge.app.server._hub.live)
        held = [await edge.client() for _ in range(5)]
        for client in held:
            assert (await client.ask(get())).status == 200
        more = [await edge.client(receive=4096) for _ in range(300)]
        told = [await _told(client) for client in more]
        assert set(told) == {503, 0}
        assert told.count(503) >= 256  # whoever has read and left makes room for another
        for client in held:
            assert (await client.ask(get())).status == 200


async def _told(client: Client) -> int:
    """The status that comes unasked; 0 when the connection is reset."""
    try:
        return int((await asyncio.wait_for(client.reader.readline(), 20)).split(b" ")[1])
    except (ConnectionError, IndexError):
        return 0


@LANES
async def test_who_says_nothing_more_is_let_go(fast: bool) -> None:
    """A head, idleness and a body, each with its own end."""
    times = "timeouts: {head: 200ms, idle: 300ms}"
    async with front(lambda asked: said(b"ok", FRESH), fast=fast, server=times) as edge:
        await edge.primed()
        for before in (b"", get()):
            for data, statuses in (
                (b"", []),
                (get()[:-1], [408]),
                (post(b"Content-Length: 5", body=b"123"), [408]),
            ):
                client = await edge.client()
                client.send(before, data)
                begun = time.monotonic()
                told = responses(await everything(client))
                assert [one.status for one in told] == [200] * bool(before) + statuses
                assert time.monotonic() - begun < 10


@ON_EACH_STORE
@LANES
async def test_who_takes_nothing_is_let_go(fast: bool) -> None:
    large = said(bytes(8 << 20), FRESH)
    async with front(lambda asked: large, fast=fast, server="timeouts: {write: 200ms}") as edge:
        await edge.primed()
        client = await edge.client(receive=4096)
        client.send(get())
        await until(lambda: edge.app.server._hub.live)
        await until(lambda: not edge.app.server._hub.live)
        with pytest.raises(ConnectionResetError):
            await client.reader.readexactly(8 << 20)


@LANES
async def test_what_is_not_asked_for_again_makes_room(fast: bool) -> None:
    body = bytes(20_000)
    store = "{type: memory, memory: {max: 1MiB}}"
    async with front(lambda asked: said(body, FRESH), fast=fast, store=store) as edge:
        await edge.primed(b"/again")
        client = await edge.client()
        for number in range(200):  # four times what there is room for
            assert (await client.ask(get(b"/%d" % number))).status == 200
            assert "; hit;" in (await client.ask(get(b"/again")))["cache-status"]
        await edge.settle()
        asked = len(edge.origin.asked)
        assert (await client.ask(get(b"/0"))).body == body
        assert len(edge.origin.asked) == asked + 1


@LANES
@pytest.mark.parametrize("kind", ["memory", "redis"])
async def test_what_is_too_large_is_passed_on_and_not_stored(
    kind: str, fast: bool, redis_server: RedisServer
) -> None:
    where = f'type: redis, url: "{redis_server.url}", namespace: large{fast}, timeout: 5s'
    which = where if kind == "redis" else "type: memory"
    store = f"{{{which}, max_object: 10KiB}}"
    sized = lambda asked: said(bytes(int(asked.target[1:])), FRESH)  # noqa: E731
    async with front(sized, fast=fast, store=store) as edge:
        for size in (10 * KIB, 10 * KIB + 1):
            for _ in range(3):
                assert (await edge.get(b"/%d" % size)).body == bytes(size)
                await edge.settle()
        assert [int(one.target[1:]) for one in edge.origin.asked] == [10 * KIB] + [10 * KIB + 1] * 3


@ON_EACH_STORE
@LANES
async def test_64_variants_of_a_url_are_stored_and_more_are_served(fast: bool) -> None:
    def by_kind(asked: Asked) -> bytes:
        return said(b"for " + (asked.get(b"x-kind") or b"-"), FRESH, b"Vary: X-Kind")

    async with front(by_kind, fast=fast) as edge:
        for turn in range(2):
            edge.origin.asked.clear()
            for number in range(80):
                told = await edge.get(b"/", b"X-Kind: %d" % number)
                assert told.body == b"for %d" % number
                await edge.settle()
            assert turn == 0 or len(edge.origin.asked) == 16


@ON_EACH_STORE
@LANES
async def test_beyond_16_ranges_the_whole_is_sent(fast: bool) -> None:
    body = bytes(range(256)) * 40
    async with front(lambda asked: said(body, FRESH, b'ETag: "v"'), fast=fast) as edge:
        await edge.primed()
        for count, status in ((16, 206), (17, 200)):
            ranges = b",".join(b"%d-%d" % (at, at + 9) for at in range(0, 20 * count, 20))
            answer = await edge.get(b"/", b"Range: bytes=" + ranges)
            assert answer.status == status
            assert (answer.body == body) == (status == 200)


@LANES
async def test_a_hit_from_redis_alone_reads_all_variants_and_one_from_memory_none(
    fast: bool, redis_server: RedisServer
) -> None:
    def by_kind(asked: Asked) -> bytes:
        return said(b"page", FRESH, b"Vary: X-Kind")

    for kept, memory in (("alone", "{max: 0, max_object: 0}"), ("layered", "{max: 16MiB}")):
        where = f'type: redis, url: "{redis_server.url}", namespace: many{kept}{fast}, timeout: 5s'
        async with front(by_kind, fast=fast, store=f"{{{where}, memory: {memory}}}") as edge:
            read = []
            for count in (1, 50):
                await edge.primed(b"/", b"X-Kind: 0")
                for number in range(1, count):
                    await edge.get(b"/", b"X-Kind: %d" % number)
                    await edge.settle()
                before = _sent(redis_server)
                for _ in range(10):
                    answer = await edge.get(b"/", b"X-Kind: 0")
                    assert "; hit;" in answer["cache-status"]
                read.append(_sent(redis_server) - before)
        if kept == "alone":
            assert read[1] > 10 * read[0]
        else:
            assert max(read) < 2000


def _sent(server: RedisServer) -> int:
    """Bytes that *server* has sent to anybody, ourselves included."""
    with contextlib.closing(Redis.from_url(server.url)) as direct:
        return int(direct.info("stats")["total_net_output_bytes"])
