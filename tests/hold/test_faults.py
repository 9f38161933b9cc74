"""Correct under faults: origins that reset, stall and lie, clients that vanish, at every moment.

A cut is seen as a cut, nothing of it is stored as whole, and nobody else waits or suffers.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import time
from typing import Any

import pytest

from tests.hold.worlds import Asked, Front, front, get, reset, said
from tests.wire.rawclient import Client
from tests.wire.raworigin import until
from vary_proxy import flights

pytestmark = pytest.mark.usefixtures("each_store")
LANES = pytest.mark.parametrize("fast", [True, False], ids=["fast lane", "long way"])
FRESH = b"Cache-Control: max-age=600"
BODY = b"0123456789"
COUNTED = said(BODY, FRESH, b'ETag: "v1"')
CHUNKED = (
    b'HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nETag: "v1"\r\n'
    b"Transfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n6\r\n456789\r\n0\r\n\r\n"
)
UNTIL_END = b'HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nETag: "v1"\r\n\r\n' + BODY
FRAMINGS = [
    pytest.param(COUNTED, id="counted"),
    pytest.param(CHUNKED, id="chunked"),
    pytest.param(UNTIL_END, id="until the end"),
]


async def received(client: Client) -> tuple[int, bytes, bool]:
    """Status, content, and whether a reader would take it for whole; 0: no response at all."""
    data = b""
    ended = True
    try:
        while more := await client.reader.read(1 << 16):
            data += more
    except ConnectionError:
        ended = False
    head, mark, content = data.partition(b"\r\n\r\n")
    if not mark:
        return 0, b"", False
    status = int(head[9:12])
    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
    if length is not None:
        return status, content, len(content) == int(length[1])
    if b"chunked" in head.lower():
        pieces = re.findall(rb"([0-9a-f]+)\r\n(.*?)\r\n", content, re.DOTALL)
        return status, b"".join(piece for _, piece in pieces), content.endswith(b"0\r\n\r\n")
    return status, content, ended


async def one(edge: Front, *fields: bytes) -> tuple[int, bytes, bool]:
    client = await edge.client()
    client.send(get(b"/", b"Connection: close", *fields))
    try:
        return await asyncio.wait_for(received(client), 20)
    finally:
        await client.leave()


def cutting(edge: Front, wire: bytes, cut: int, *, by_reset: bool) -> Any:
    """Sends the first *cut* bytes of *wire* and leaves: the first time, then it is whole."""
    times = 0

    async def connection(origin: Any, reader: Any, writer: Any) -> None:
        nonlocal times
        asked = await origin.read(reader)
        if asked is None:
            return
        times += 1
        writer.write(wire[:cut] if times == 1 else wire)
        await writer.drain()
        if by_reset:
            await asyncio.sleep(0.002)  # or the reset would overtake what was sent
            reset(writer)

    return connection


@pytest.mark.parametrize("wire", FRAMINGS)
@pytest.mark.parametrize("by_reset", [False, True], ids=["end", "reset"])
async def test_a_response_cut_at_any_byte_is_seen_cut_and_asked_for_again(
    wire: bytes, by_reset: bool, request: pytest.FixtureRequest
) -> None:
    """One that ends with its connection, in order, may be whole: it is passed on, and not kept.

    The two lanes take turns from cut to cut.
    """
    proved = wire is not UNTIL_END
    in_memory = request.node.callspec.params["each_store"] == "memory"
    for number, cut in enumerate(range(0, len(wire), 1 if in_memory else 4)):
        async with front(fast=number % 2 == 0) as edge:
            edge.origin.on_connection = cutting(edge, wire, cut, by_reset=by_reset)
            status, content, whole = await one(edge)
            if proved or by_reset:
                assert not (status == 200 and whole), (cut, content)
            before = len(edge.origin.asked)
            edge.origin.on_connection = cutting(edge, COUNTED, len(COUNTED), by_reset=False)
            status, content, whole = await one(edge)
            assert (status, content, whole) == (200, BODY, True), cut
            assert len(edge.origin.asked) == before + 1, cut  # nothing cut was taken for whole
            assert (await edge.get()).body == BODY, cut


@LANES
async def test_an_origin_that_ends_idle_connections_as_a_request_leaves(fast: bool) -> None:
    async with front(fast=fast) as edge:

        async def once(origin: Any, reader: Any, writer: Any) -> None:
            if await origin.read(reader) is not None:
                writer.write(said(b"ok", b"Cache-Control: no-store"))
                await writer.drain()
                await reader.readexactly(1)  # the next request has just left
                reset(writer)

        edge.origin.on_connection = once
        for _ in range(20):
            assert (await edge.get()).status == 200


async def _breaks_off(origin: Any, reader: Any, writer: Any) -> None:
    await origin.read(reader)
    writer.write(COUNTED[:-15])
    await writer.drain()
    reset(writer)


async def _stalls(origin: Any, reader: Any, writer: Any) -> None:
    await origin.read(reader)
    await asyncio.sleep(60)


async def _talks_nonsense(origin: Any, reader: Any, writer: Any) -> None:
    await origin.read(reader)
    writer.write(b"nonsense\r\n\r\n")


FAILING = [_breaks_off, _stalls, _talks_nonsense]


@LANES
async def test_what_must_be_validated_is_never_stale(fast: bool) -> None:
    """No failure of the origin makes what forbids stale use give way, whatever allows it."""
    times = "timeouts: {first_byte: 50ms, idle: 50ms}, retry: {attempts: 1}"
    for control in (
        *(b"max-age=10, must-revalidate", b"max-age=10, proxy-revalidate", b"s-maxage=10"),
        *(b"max-age=10, no-cache", b"max-age=10, must-revalidate, stale-if-error=600"),
        b"max-age=10, s-maxage=10, stale-while-revalidate=600, stale-if-error=600",
    ):
        state = {"up": True}

        def respond(asked: Asked, state: dict[str, bool] = state, how: bytes = control) -> bytes:
            if state["up"]:
                return said(b"ok", b"Cache-Control: " + how, b'ETag: "v1"')
            return said(b"no", status=b"503 No")

        async with front(respond, fast=fast, origin=times) as edge:
            await edge.primed()
            state["up"] = False
            if b"no-cache" in control:  # is validated each time, however young
                assert (await edge.get()).status == 503
            edge.clock.now += 11
            assert (await edge.get()).status == 503
            for failing in FAILING:
                edge.origin.on_connection = failing
                edge.origin.hang_up()
                status, _, whole = await one(edge)
                assert status in (502, 503, 504) or not whole
            await edge.origin.stop()
            await asyncio.sleep(0)
            assert (await edge.get()).status in (502, 503, 504)


@LANES
async def test_a_burst_of_5xx_is_not_kept_and_may_be_bridged(fast: bool) -> None:
    state = {"up": True}

    def respond(asked: Asked) -> bytes:
        if not state["up"]:
            return said(b"no", status=b"503 No")
        return said(b"ok", b"Cache-Control: max-age=10, stale-if-error=60", b'ETag: "v1"')

    async with front(respond, fast=fast) as edge:
        await edge.primed()
        edge.clock.now += 11
        state["up"] = False
        for _ in range(5):
            bridged = await edge.get()
            assert (bridged.status, bridged.body) == (200, b"ok")
            assert (await edge.get(b"/new")).status == 503
        state["up"] = True
        assert (await edge.get(b"/new")).status == 200
        edge.clock.now += 71
        state["up"] = False
        assert (await edge.get()).status == 503  # beyond its window


@LANES
@pytest.mark.parametrize("status", [b"404 Gone fishing", b"410 Gone", b"403 No"])
async def test_no_becomes_no_at_once(status: bytes, fast: bool) -> None:
    state = {"there": True}

    def respond(asked: Asked) -> bytes:
        if state["there"]:
            return said(b"ok", b"Cache-Control: max-age=10, stale-if-error=600", b'ETag: "v1"')
        return said(b"no", status=status)

    async with front(respond, fast=fast) as edge:
        await edge.primed()
        edge.clock.now += 11
        state["there"] = False
        assert (await edge.get()).status == int(status[:3])
        await edge.origin.stop()
        assert (await edge.get()).status in (502, 503, 504)  # what was stored is not brought back


@LANES
async def test_no_to_one_says_nothing_of_the_others_variants(fast: bool) -> None:
    """Or a stranger who is refused would take from the others what is bridged for them."""
    there = True

    def respond(asked: Asked) -> bytes:
        if there:
            return said(b"ok", b"Cache-Control: max-age=10, stale-if-error=600", b"Vary: Accept")
        return said(b"no", status=b"403 No")

    async with front(respond, fast=fast) as edge:
        for accept in (b"Accept: a", b"Accept: b"):
            await edge.primed(b"/", accept)
        edge.clock.now += 11
        there = False
        assert (await edge.get(b"/", b"Accept: a")).status == 403
        await edge.origin.stop()
        assert (await edge.get(b"/", b"Accept: a")).status in (502, 503, 504)
        assert (await edge.get(b"/", b"Accept: b")).body == b"ok"


@LANES
async def test_clients_that_vanish_at_any_moment_harm_nobody(fast: bool) -> None:
    large = b"x" * 300_000
    async with front(lambda asked: said(large, FRESH), fast=fast) as edge:
        request = get(b"/large")
        for cut in range(0, len(request) + 1, 3):
            client = await edge.client()
            client.send(request[:cut])
            await client.writer.drain()
            reset(client.writer)
        for taken in (1, 100, 5_000, 100_000, 299_000):
            client = await edge.client(receive=4096)
            client.send(request)
            await client.reader.read(min(taken, 4096))
            reset(client.writer)
        answer = await edge.get(b"/large")
        assert answer.body == large
        await until(lambda: len(edge.app.server._hub.live) == 0)  # type: ignore[attr-defined]


@LANES
async def test_a_leader_that_dies_costs_only_its_own_client(fast: bool) -> None:
    go = asyncio.Event()

    async def slowly(asked: Asked) -> bytes:
        await go.wait()
        return said(b"ok", FRESH)

    async with front(slowly, fast=fast) as edge:
        clients = [await edge.client() for _ in range(20)]
        clients[0].send(get())
        await until(lambda: edge.origin.asked)
        for client in clients[1:]:
            client.send(get())
        await asyncio.sleep(0.05)
        reset(clients[0].writer)
        await asyncio.sleep(0.05)
        go.set()
        answers = await asyncio.gather(*(client.answer() for client in clients[1:]))
        assert {(answer.status, answer.body) for answer in answers} == {(200, b"ok")}
        assert len(edge.origin.asked) <= 2


@LANES
async def test_nobody_waits_for_more_than_one_fetch_of_what_cannot_be_stored(fast: bool) -> None:
    under_way = 0
    everybody_else = asyncio.Event()

    async def private(asked: Asked) -> bytes:
        nonlocal under_way
        if len(edge.origin.asked) > 1:  # one was waited for; the others then go all at once
            under_way += 1
            if under_way == 39:
                everybody_else.set()
            async with asyncio.timeout(20):
                await everybody_else.wait()
        return said(b"yours", b"Cache-Control: private")

    async with front(private, fast=fast) as edge:
        clients = [await edge.client() for _ in range(40)]
        for client in clients:
            client.send(get())
        answers = await asyncio.gather(*(client.answer() for client in clients))
        assert {answer.status for answer in answers} == {200}
        assert len(edge.origin.asked) == 40


@LANES
async def test_nobody_waits_longer_behind_a_stalled_fetch(
    fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, module in list(sys.modules.items()):  # 5 in earnest: tested below
        if name.startswith("vary_proxy.") and hasattr(module, "RIDE_SECONDS"):
            monkeypatch.setattr(module, "RIDE_SECONDS", 0.2)
    first = asyncio.Event()

    async def stalls_once(asked: Asked) -> bytes:
        if len(edge.origin.asked) == 1:
            await first.wait()
        return said(b"ok", FRESH)

    async with front(stalls_once, fast=fast) as edge:
        leader = await edge.client()
        leader.send(get())
        await until(lambda: edge.origin.asked)
        riders = [await edge.client() for _ in range(10)]
        begun = time.monotonic()
        for rider in riders:
            rider.send(get())
        answers = await asyncio.gather(*(rider.answer() for rider in riders))
        assert {answer.status for answer in answers} == {200}
        assert time.monotonic() - begun < 5
        first.set()
        assert (await leader.answer()).status == 200


def test_nobody_waits_over_five_seconds_for_anothers_head() -> None:
    assert flights.RIDE_SECONDS == 5.0


@LANES
async def test_an_origin_that_stalls_is_given_up(fast: bool) -> None:
    times = "timeouts: {first_byte: 100ms, idle: 100ms}"
    for said_first in (b"", b"HTTP/1.1 200 OK\r\n", COUNTED[:-3], CHUNKED[:-9]):
        async with front(fast=fast, origin=times) as edge:

            async def stall(
                origin: Any, reader: Any, writer: Any, wire: bytes = said_first
            ) -> None:
                await origin.read(reader)
                writer.write(wire)
                await asyncio.sleep(60)

            edge.origin.on_connection = stall
            status, _, whole = await one(edge)
            assert status in (504, 502) or not whole


@LANES
async def test_an_origin_that_is_gone_and_back(fast: bool) -> None:
    async with front(lambda asked: said(b"ok", b"Cache-Control: max-age=10"), fast=fast) as edge:
        await edge.primed()
        edge.clock.now += 11
        port = edge.origin.port
        await edge.origin.stop()
        with contextlib.suppress(ConnectionError):
            assert (await edge.get(b"/new")).status == 502
        stale = await edge.get()
        assert (stale.status, stale.body) == (200, b"ok")  # there is no connection
        assert "stale-if-error" in stale["cache-status"]
        server = await asyncio.start_server(edge.origin._serve, "127.0.0.1", port)
        edge.origin._server = server
        assert (await edge.get(b"/new")).status == 200
