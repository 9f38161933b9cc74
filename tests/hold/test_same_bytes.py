"""Both lanes say the same, byte for byte, from each store and to a client that closes its side.

tests/wire/test_lanes.py has the long corpus, from memory; this is a shorter one, from each store.
"""

from __future__ import annotations

import asyncio
import re

import pytest

from tests.hold.test_framing import everything, post
from tests.hold.worlds import Asked, Clock, Front, front, get, said
from tests.wire.raworigin import on_both_loops

BODY = bytes(range(256)) * 40
RULES = """\
cors:
  app: {origins: ["https://a.example"], methods: [GET, PUT], headers: [X-Token], max_age: 60s}
rules:
  - {match: {path: "/edge/**"}, cors: {policy: app, mode: override}, preflight: synthesize}
"""
SITE, EVIL = b"Origin: https://a.example", b"Origin: https://evil.example"
ASKING = b"Access-Control-Request-Method: PUT"


def page(asked: Asked) -> bytes:
    lines = [b"Cache-Control: max-age=30", b'ETag: "v1"', b"Vary: Accept-Language"]
    lines += [b"Date: Fri, 15 Jan 2027 08:00:00 GMT"]
    if (origin := asked.get(b"origin")) is not None:
        lines.append(b"Access-Control-Allow-Origin: " + origin)
    if asked.get(b"if-none-match") == b'"v1"':
        return b"\r\n".join((b"HTTP/1.1 304 Not Modified", *lines, b"", b""))
    if asked.target == b"/missing":
        return said(b"no", *lines, status=b"404 Not Found")
    whole = said(BODY, *lines)
    return whole[: -len(BODY)] if asked.method == b"HEAD" else whole


CORPUS = [
    get(),
    get(b"/", SITE),
    get(b"/", EVIL),
    get(method=b"HEAD"),
    get(b"/", b"Accept-Language: de"),
    get(b"/", b'If-None-Match: "v1"'),
    get(b"/", b'If-None-Match: "v0"'),
    get(b"/", b"Range: bytes=0-99"),
    get(b"/", b"Range: bytes=0-9,100-199"),
    get(b"/", b"Range: bytes=99999-"),
    get(b"/", b"Cache-Control: no-cache"),
    get(b"/", b"Cache-Control: only-if-cached"),
    get(b"/", b"Authorization: Basic x"),
    get(b"/", b"Connection: close"),
    get(b"/missing"),
    get(b"/edge/a"),
    get(b"/edge/a", SITE),
    get(b"/edge/a", EVIL),
    get(b"/edge/a", SITE, ASKING, method=b"OPTIONS"),
    get(b"/edge/a", EVIL, ASKING, method=b"OPTIONS"),
    get().replace(b"1.1", b"1.0"),
    get(b"/", b"Host: two.example"),
    get(b"/", b"X : y"),
    get()[:-2],
    get() + get(b"/", SITE) + get(b"/", b"Range: bytes=1-2"),
    get() + post(b"Content-Length: 3", body=b"abc") + get(),
    get() + get(b"/", b"A: b\rc") + get(),
    b"\r\n" + get() + b"\r\n",
]
# The server dates what it refuses, and what the origin did not date, by the machine's clock.
OWN_DATE = re.compile(rb"Date: \w{3}, \d\d \w{3} (?!2027)\d{4} [\d:]{8} GMT\r\n")


async def said_by(edge: Front, data: bytes) -> bytes:
    """All that comes for *data* from a client that then closes its side."""
    client = await edge.client()
    client.send(data)
    client.stop_sending()
    got = await asyncio.wait_for(everything(client), 20)
    edge.clients.remove(client)
    await client.leave()
    await edge.settle()
    return OWN_DATE.sub(b"", got)


@pytest.mark.usefixtures("each_store")
@on_both_loops
async def test_both_lanes_say_the_same_from_each_store() -> None:
    clock = Clock()
    async with (
        front(page, fast=True, rules=RULES, clock=clock) as one,
        front(page, fast=False, rules=RULES, clock=clock) as other,
    ):
        for turn in range(4):  # cold, learnt, known, and when all of it is stale
            for data in CORPUS:
                fast = await said_by(one, data)
                assert fast == await said_by(other, data), (turn, data)
                assert fast.startswith(b"HTTP/1.1 ")
            clock.now += 7 if turn < 2 else 40
        assert len(one.origin.asked) == len(other.origin.asked)
