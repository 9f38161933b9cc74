"""Response bodies: whole or visibly cut, at the reader's pace, within the deadlines."""

from __future__ import annotations

import asyncio
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.raworigin import (
    OK,
    Peer,
    ask,
    client,
    keeps,
    on_both_loops,
    outcome,
    read,
    replies,
    serving,
    until,
)
from vary_proxy.origin import OriginFailure
from vary_proxy.origins.httpreader import Chunks, Limits

COUNTED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nT: 1\r\n\r\n"
)
UNTIL_END = b"HTTP/1.1 200 OK\r\n\r\nhello"
HTTP_1_0 = b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello"
PROVABLE = [
    pytest.param(COUNTED, id="counted"),
    pytest.param(CHUNKED, id="chunked"),
    pytest.param(HTTP_1_0, id="HTTP/1.0 counted"),
]


@pytest.mark.parametrize("wire", [*PROVABLE, pytest.param(UNTIL_END, id="until the end")])
@pytest.mark.parametrize("size", [1, 3, 1000])
@on_both_loops
async def test_a_whole_body_in_pieces_of_any_size(wire: bytes, size: int) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        for at in range(0, len(wire), size):
            await peer.send(wire[at : at + size])

    async with serving(script) as origin, client(origin) as http:
        assert await outcome(http, ask()) == (200, b"hello")


@pytest.mark.parametrize("wire", PROVABLE)
@on_both_loops
async def test_a_response_cut_at_any_byte_is_never_whole(wire: bytes) -> None:
    cuts = [replies(wire[:at]) for at in range(len(wire))]
    async with serving(*cuts, replies(wire)) as origin, client(origin) as http:
        end_of_head = wire.index(b"\r\n\r\n") + 4
        for at in range(len(wire)):
            expected = "http_response_incomplete" if at else "connection_terminated"
            assert await outcome(http, ask()) == expected, at
        assert end_of_head < len(cuts) == origin.connections
        assert await outcome(http, ask()) == (200, b"hello")


@pytest.mark.parametrize("wire", [*PROVABLE, pytest.param(UNTIL_END, id="until the end")])
@on_both_loops
async def test_a_response_reset_at_any_byte_is_never_whole(wire: bytes) -> None:
    sent = -1
    reset_after = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.head()
        await peer.send(wire[:reset_after])
        sent = reset_after
        peer.reset()

    async with serving(script) as origin, client(origin) as http:
        last = len(wire) if wire is UNTIL_END else len(wire) - 1
        for reset_after in range(last + 1):
            assert await outcome(http, ask()) == "connection_terminated", reset_after
            assert sent == reset_after


@on_both_loops
async def test_the_end_of_the_connection_proves_nothing_and_says_so() -> None:
    async with serving(replies(UNTIL_END), replies(COUNTED)) as origin, client(origin) as http:
        response = await http.fetch(ask())
        assert (response.length, response.close_delimited) == (None, True)
        assert await read(response) == b"hello"
        response = await http.fetch(ask())
        assert (response.length, response.close_delimited) == (5, False)
        assert await read(response) == b"hello"
        assert origin.connections == 2


async def test_a_chunked_body_has_no_known_length() -> None:
    async with serving(replies(CHUNKED)) as origin, client(origin) as http:
        response = await http.fetch(ask())
        assert (response.length, response.close_delimited) == (None, False)
        assert await read(response) == b"hello"


CODED = (
    b'4\r\nWiki\r\n6;a=1;b="c d"\r\npedia \r\nE  ;x\r\nin \r\n\r\nchunks.\r\n'
    b"000\r\nA: 1\r\nB:\r\n\r\n"
)


def test_the_chunked_coding_reads_the_same_however_it_is_split() -> None:
    plain = b"Wikipedia in \r\n\r\nchunks."
    for at in range(len(CODED)):
        for after in (at + 1, at + 7, len(CODED)):
            decoder = Chunks(Limits())
            out: list[bytes] = []
            for part in (CODED[:at], CODED[at:after], CODED[after:] + b"REST"):
                if decoder.rest is None:
                    out += decoder.feed(part)
                else:
                    decoder.rest += part
            assert b"".join(out) == plain, (at, after)
            assert decoder.rest == b"REST"
    decoder = Chunks(Limits())
    assert b"".join(p for at in CODED for p in decoder.feed(bytes([at]))) == plain
    assert decoder.rest == b""


def decoded(parts: list[bytes]) -> tuple[bytes, bytes | None] | None:
    """Body and rest; None when the framing is broken."""
    decoder, out = Chunks(Limits()), b""
    try:
        for at, part in enumerate(parts):
            out += b"".join(decoder.feed(part)) if part else b""
            if decoder.rest is not None:
                return out, decoder.rest + b"".join(parts[at + 1 :])
    except OriginFailure:
        return None
    return out, None


SOUP = st.lists(
    st.sampled_from([b"0", b"3", b"A", b"abc", b"\r\n", b"\r", b"\n", b";x", b" ", b"T: 1", b"\0"]),
    max_size=16,
).map(b"".join)


@settings(max_examples=300, deadline=None)
@given(SOUP, st.lists(st.integers(0, 40), max_size=4))
def test_any_chunked_coding_reads_the_same_however_it_is_split(
    soup: bytes, cuts: list[int]
) -> None:
    coded = b"3\r\nabc\r\n" + soup
    bounds = [0, *sorted(min(cut, len(coded)) for cut in cuts), len(coded)]
    parts = [coded[start:end] for start, end in pairwise(bounds)]
    assert decoded(parts) == decoded([coded])


def test_big_chunks_are_passed_through_uncopied() -> None:
    decoder = Chunks(Limits())
    assert decoder.feed(b"100000\r\n") == []
    data = b"x" * 65536
    for _ in range(16):
        assert decoder.feed(data)[0] is data
    assert decoder.feed(b"\r\n0\r\n\r\n") == []
    assert decoder.rest == b""


BROKEN_CHUNKS = [
    pytest.param(b"\r\n", id="empty size"),
    pytest.param(b"g\r\n", id="not hexadecimal"),
    pytest.param(b"-1\r\n", id="minus"),
    pytest.param(b"+1\r\nx\r\n0\r\n\r\n", id="plus"),
    pytest.param(b"0x1\r\nx\r\n0\r\n\r\n", id="0x"),
    pytest.param(b"1_0\r\n", id="underscore"),
    pytest.param(b" 1\r\nx\r\n0\r\n\r\n", id="space before"),
    pytest.param(b"1 \r\nx\r\n0\r\n\r\n", id="space after"),
    pytest.param(b"1 x\r\nx\r\n0\r\n\r\n", id="something after"),
    pytest.param(b"1\nx\r\n0\r\n\r\n", id="bare LF after the size"),
    pytest.param(b"1\r\nx\n0\r\n\r\n", id="bare LF after the data"),
    pytest.param(b"1\r\rx\r\n0\r\n\r\n", id="bare CR after the size"),
    pytest.param(b"1;a\nb\r\nx\r\n0\r\n\r\n", id="bare LF in an extension"),
    pytest.param(b"1;a\rb\r\nx\r\n0\r\n\r\n", id="bare CR in an extension"),
    pytest.param(b"1;\0\r\nx\r\n0\r\n\r\n", id="NUL in an extension"),
    pytest.param(b"1\0\r\nx\r\n0\r\n\r\n", id="NUL after the size"),
    pytest.param(b"1\r\nxy\r\n0\r\n\r\n", id="data longer than its size"),
    pytest.param(b"1\r\nx0\r\n\r\n", id="no CRLF after the data"),
    pytest.param(b"10000000000000000\r\n", id="17 digits"),
    pytest.param(b"FFFFFFFFFFFFFFFF\r\n", id="16 digits"),
    pytest.param(b"1" + b";" * 5000 + b"\r\n", id="long extension"),
    pytest.param(b"1;" + b"a" * 5000, id="long extension without end"),
    pytest.param(b"0\r\nno colon\r\n\r\n", id="trailer without colon"),
    pytest.param(b"0\r\n folded: 1\r\n\r\n", id="trailer folded"),
    pytest.param(b"0\r\na: 1\n\r\n", id="trailer with bare LF"),
    pytest.param(b"0\r\na: \0\r\n\r\n", id="trailer with NUL"),
    pytest.param(b"0\r\n\n", id="bare LF at the end"),
    pytest.param(b"0\r\n" + b"a: 1\r\n" * 20000, id="endless trailer"),
    pytest.param(b"0\r\na: " + b"1" * 70000, id="endless trailer line"),
    pytest.param(b"hello, this is not chunked at all", id="not chunked"),
]


@pytest.mark.parametrize("coded", BROKEN_CHUNKS)
async def test_a_broken_chunked_coding_is_a_failure(coded: bytes) -> None:
    wire = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + coded
    async with serving(keeps(wire), replies(OK)) as origin, client(origin) as http:
        failed = ("http_protocol_error", "http_response_header_section_size")
        assert await outcome(http, ask()) in failed
        assert await outcome(http, ask()) == (200, b"ok")
        assert origin.connections == 2


@pytest.mark.parametrize("coded", BROKEN_CHUNKS)
def test_a_broken_chunked_coding_is_broken_byte_by_byte_too(coded: bytes) -> None:
    decoder = Chunks(Limits())

    def feed_all() -> None:
        for at in range(len(coded)):
            decoder.feed(coded[at : at + 1])

    with pytest.raises(OriginFailure):
        feed_all()
    assert decoder.rest is None


async def waits(peer: Peer) -> None:
    await peer.head()
    await peer.left()


def stalls_after(wire: bytes):
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(wire)
        await peer.left()
        peer.origin.left = True  # type: ignore[attr-defined]

    return script


@pytest.mark.parametrize("wire", [b"", b"HTTP/1.1 200 OK\r\nConten", b"HTTP/1.1 100 \r\n\r\n"])
@on_both_loops
async def test_a_head_that_does_not_come_is_given_up(wire: bytes) -> None:
    script = stalls_after(wire)
    async with serving(script) as origin, client(origin, first_byte_timeout=0.05) as http:
        with pytest.raises(OriginFailure) as failure:
            await http.fetch(ask())
        assert failure.value.error == "http_response_timeout"
        assert failure.value.status == 504
        assert failure.value.sent
        await until(lambda: getattr(origin, "left", False))


@on_both_loops
async def test_a_head_that_drips_is_given_up() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\n")
        while not peer.writer.is_closing():
            await peer.send(b"A: 1\r\n")
            await asyncio.sleep(0.01)

    async with serving(script) as origin, client(origin, first_byte_timeout=0.1) as http:
        assert await outcome(http, ask()) == "http_response_timeout"


@pytest.mark.parametrize("cut", [-1, -5])
@pytest.mark.parametrize("wire", [*PROVABLE, pytest.param(UNTIL_END, id="until the end")])
@on_both_loops
async def test_a_body_that_stalls_is_given_up(wire: bytes, cut: int) -> None:
    async with (
        serving(stalls_after(wire[:cut])) as origin,
        client(origin, idle_timeout=0.05) as http,
    ):
        response = await http.fetch(ask())
        with pytest.raises(OriginFailure) as failure:
            await read(response)
        assert (failure.value.error, failure.value.status) == ("connection_read_timeout", 504)
        await until(lambda: getattr(origin, "left", False))


@on_both_loops
async def test_a_slow_reader_is_no_idle_origin() -> None:
    async with serving(keeps(COUNTED)) as origin, client(origin, idle_timeout=0.05) as http:
        response = await http.fetch(ask())
        await asyncio.sleep(0.15)
        assert await read(response) == b"hello"


@on_both_loops
async def test_a_deadline_met_does_not_ring_later() -> None:
    """Neither that of an exchange gone by nor that of a head ends a later body."""
    proceed = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.answer(OK)
        await peer.head()
        await peer.send(COUNTED[:-1])
        await proceed.wait()
        await peer.send(COUNTED[-1:])
        await peer.left()

    async with serving(script) as origin, client(origin, first_byte_timeout=0.3) as http:
        assert await outcome(http, ask()) == (200, b"ok")
        response = await http.fetch(ask())
        await asyncio.sleep(0.7)
        proceed.set()
        assert await read(response) == b"hello"
        assert origin.connections == 1


@pytest.mark.parametrize("chunked", [False, True], ids=["counted", "chunked"])
@on_both_loops
async def test_a_reader_that_stops_stops_the_origin(chunked: bool) -> None:
    size = 256 * 2**20
    sent = 0
    piece = b"x" * 65536

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.head()
        framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % size
        await peer.send(b"HTTP/1.1 200 OK\r\n%s\r\n\r\n" % framing)
        while sent < size:
            await peer.send(b"10000\r\n%s\r\n" % piece if chunked else piece)
            sent += len(piece)
        await peer.left()

    async with serving(script) as origin, client(origin) as http:
        response = await http.fetch(ask())
        chunks = response.chunks()
        await anext(chunks)
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.05)
        assert sent < 16 * 2**20  # what the kernel's buffers take
        await response.close()


@on_both_loops
async def test_a_large_body_takes_no_memory_and_comes_in_large_chunks() -> None:
    size = 64 * 2**20

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        piece = b"x" * 262144
        for _ in range(size // len(piece)):
            await peer.send(piece)

    async with serving(script) as origin, client(origin) as http:
        response = await http.fetch(ask())
        total = count = 0
        tracemalloc.start()
        try:
            async for chunk in response.chunks():
                total += len(chunk)
                count += 1
                if count % 16 == 0:
                    await asyncio.sleep(0.001)  # fall behind, now and then
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        await response.close()
        assert total == size
        assert total / count >= 16384
        assert peak < 4 * 2**20


@on_both_loops
async def test_small_pieces_that_wait_are_joined() -> None:
    size = 200 * 100

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(200):
            await peer.send(b"y" * 100)
            await asyncio.sleep(0)
        await peer.left()

    async with serving(script) as origin, client(origin) as http:
        response = await http.fetch(ask())
        link = response._link
        await until(lambda: link._held == size)
        chunks = [chunk async for chunk in response.chunks()]
        assert [len(chunk) for chunk in chunks] == [size]
        await response.close()
