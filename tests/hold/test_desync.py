"""No real server behind the proxy ever sees what was not asked of it (see desyncing.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hold.desyncing import SHORT, Judge, Try, corpus, judged, served, tapped
from tests.hold.test_framing import SMUGGLED
from tests.hold.worlds import get
from vary_proxy.core.message import Request
from vary_proxy.origins import httpclient, httprequest

TRIES = corpus(40, number=1, every=3)


@pytest.mark.parametrize("server", SHORT)
async def test_a_server_sees_what_was_forwarded_and_nothing_else(
    server: str, tmp_path: Path
) -> None:
    judge = await judged(server, tmp_path, TRIES)
    assert judge.forwarded > 40
    assert judge.seen > 30


async def test_a_body_that_its_head_does_not_announce_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that drops the length of a GET's body, as some did."""

    def careless(request: Request, *, has_body: bool) -> bytes:
        return httprequest.request_head(request, has_body=has_body and request.method != b"GET")

    monkeypatch.setattr(httpclient, "request_head", careless)
    smuggling = get(b"/", b"Content-Length: %d" % len(SMUGGLED)) + SMUGGLED
    with served("node", tmp_path) as port:
        async with tapped(port) as edge:
            with pytest.raises(AssertionError):
                await Judge(edge).judge(Try("smuggling", smuggling, b"GET"))
