"""Origins whose name server does not answer hold up nobody else's."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.wire.raworigin import OK, ask, read, replies, serving
from vary_proxy.origin import OriginFailure
from vary_proxy.origins.httpclient import HttpOrigin, OriginOptions


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Names below .silent.test are looked up for ever, until this is set."""
    over, real = threading.Event(), socket.getaddrinfo

    def look_up(host: str, *args: object, **named: object) -> object:
        if not str(host).endswith(".silent.test"):
            return real(host, *args, **named)  # type: ignore[arg-type]
        over.wait(30)
        raise socket.gaierror(socket.EAI_AGAIN, "nobody answers")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield over
    over.set()


async def test_an_origin_is_reached_while_the_names_of_many_others_are_looked_up(
    silent: threading.Event,
) -> None:
    """More of them than threads for such things in any event loop."""
    others = [
        HttpOrigin(OriginOptions(f"http://o{at}.silent.test", connect_timeout=20))
        for at in range(40)
    ]
    waiting = [asyncio.ensure_future(one.fetch(ask())) for one in others]
    async with asyncio.timeout(30):  # each has a thread of its own
        while threading.active_count() < len(others):
            await asyncio.sleep(0)
    async with serving(replies(OK)) as origin:
        here = HttpOrigin(OriginOptions(origin.url.replace("127.0.0.1", "localhost")))
        assert await read(await here.fetch(ask())) == b"ok"
        await here.close()
    silent.set()
    for failed in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(failed, OriginFailure)
        assert failed.error == "dns_error"
    for one in others:
        await one.close()
