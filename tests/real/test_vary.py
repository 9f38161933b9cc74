"""Every mode of Vary repair, on every kind of status: the origin's and our own.

One running proxy per mode, all in front of the same stub, which says no Vary, one, a
complete one or ``*`` as the query asks. The expected names are written out here, not
computed, so that this table can be read as documentation.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from urllib.parse import quote

import pytest

from tests.ports import free_port
from tests.real.asking import Asker, Got, asking, raw
from tests.real.awsstub import ALLOWED
from tests.real.proxy import Proxy, configured, running_proxy

ORIGIN, HEADERS = "Origin", "Access-Control-Request-Headers"
METHOD, ENCODING = "Access-Control-Request-Method", "Accept-Encoding"
THREE = [ORIGIN, HEADERS, METHOD]

# What the origin says on a request without Origin -> what we send, by mode.
NOTHING, ONE, STAR = "", "&vary=Accept-Encoding", "&vary=*"
TWO_LINES = "&vary=accept-encoding&vary=,ORIGIN"
EXPECTED: dict[str, dict[str, list[str]]] = {
    "repair": {
        NOTHING: THREE,
        ONE: [ENCODING, *THREE],
        TWO_LINES: ["accept-encoding", "ORIGIN", HEADERS, METHOD],
        STAR: ["*"],
    },
    "if-missing": {
        NOTHING: THREE,
        ONE: [ENCODING],
        TWO_LINES: ["accept-encoding", "ORIGIN"],
        STAR: ["*"],
    },
    "minimal": {
        NOTHING: [ORIGIN],
        ONE: [ENCODING, ORIGIN],
        TWO_LINES: ["accept-encoding", "ORIGIN"],
        STAR: ["*"],
    },
    "replace": {NOTHING: THREE, ONE: THREE, TWO_LINES: THREE, STAR: ["*"]},
    "passthrough": {
        NOTHING: [],
        ONE: [ENCODING],
        TWO_LINES: ["accept-encoding", "ORIGIN"],
        STAR: ["*"],
    },
    "strip": {NOTHING: [], ONE: [], TWO_LINES: [], STAR: ["*"]},
}
# The stub's own CORS answers name all three already.
ON_CORS = {mode: [] if mode == "strip" else THREE for mode in EXPECTED}
ON_OPTIONS = {mode: EXPECTED[mode][NOTHING] for mode in EXPECTED} | {"minimal": THREE}

CONFIG = """
version: 1
origins:
  stub: {{url: "{stub}", timeouts: {{first_byte: 300ms}}}}
  dead: {{url: "http://127.0.0.1:{dead}"}}
defaults: {{origin: stub, vary: {mode}, cache: {{stale_if_error: 0s}}}}
rules:
  - {{match: {{path: "/dead/**"}}, origin: dead}}
log: {{access: off}}
"""


@dataclass(frozen=True)
class Edge:
    """A proxy in *mode*; ``token`` makes targets that no other test asks for."""

    mode: str
    url: str
    ask: Asker
    token: str


@pytest.fixture(scope="module", params=EXPECTED)
def proxy(
    request: pytest.FixtureRequest, stub_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Proxy]]:
    mode: str = request.param
    directory = tmp_path_factory.mktemp(mode)
    dead = free_port()
    text = CONFIG.format(stub=stub_url, dead=dead, mode=mode)
    with running_proxy(directory, *configured(directory, text)) as running:
        yield mode, running


@pytest.fixture
async def edge(request: pytest.FixtureRequest, proxy: tuple[str, Proxy]) -> AsyncIterator[Edge]:
    mode, running = proxy
    async with asking(running.url) as ask:
        yield Edge(mode, running.url, ask, f"n={quote(request.node.name, safe='')}")


async def _asked(edge: Edge, status: int, said: str, **fields: str) -> Got:
    """A response of *status* whose origin *said* that Vary, asked for as it takes."""
    path = f"/object/{status}"
    if status in (301, 404, 500):
        path = f"/status/{status}"
    if status == 304:
        fields["if_none_match"] = "*"
    if status == 206:
        fields["range"] = "bytes=2-5"
    if status == 416:
        fields["range"] = "bytes=100000-"
    return await edge.ask(f"{path}?{edge.token}&cc=max-age=60{said}", **fields)


@pytest.mark.parametrize("status", [200, 206, 301, 304, 404, 416, 500])
async def test_vary_of_the_origins_answers(edge: Edge, status: int) -> None:
    seen: dict[str, list[list[str]]] = {said: [] for said in EXPECTED[edge.mode]}
    for said in seen:
        for _ in ("miss", "hit or miss"):
            got = await _asked(edge, status, said)
            # What turns out not to be storable was asked for without the condition.
            assert got.status in ((200, 304) if (status, said) == (304, STAR) else (status,))
            seen[said].append(got.vary)
    assert seen == {said: [names, names] for said, names in EXPECTED[edge.mode].items()}


@pytest.mark.parametrize("status", [200, 206, 301, 304, 404, 416, 500])
async def test_vary_of_cors_answers(edge: Edge, status: int) -> None:
    for _ in ("miss", "hit or miss"):
        got = await _asked(edge, status, NOTHING, origin=ALLOWED)
        assert got.status == status
        assert got["access-control-allow-origin"] == ALLOWED
        assert got.vary == ON_CORS[edge.mode]


async def test_vary_of_a_304_that_the_store_answers(edge: Edge) -> None:
    target = f"/object/stored?{edge.token}&cc=max-age=60"
    tag = (await edge.ask(target, origin=ALLOWED))["etag"]
    assert tag is not None
    got = await edge.ask(target, origin=ALLOWED, if_none_match=tag)
    assert (got.status, got.vary, got.is_hit) == (304, ON_CORS[edge.mode], True)
    assert got["access-control-allow-origin"] == ALLOWED


async def test_vary_of_preflights(edge: Edge) -> None:
    """An allowed one has the three names; S3's 403 and 400 have none of their own."""
    fields = {"origin": ALLOWED, "access_control_request_method": "PUT"}
    got = await edge.ask("/object/x", "OPTIONS", **fields)
    assert (got.status, got.vary) == (200, ON_CORS[edge.mode])
    got = await edge.ask("/object/x", "OPTIONS", **(fields | {"origin": "https://evil.example"}))
    assert (got.status, got.vary) == (403, ON_OPTIONS[edge.mode])
    assert b"evalution of Origin" in got.body
    got = await edge.ask("/object/x", "OPTIONS")
    assert (got.status, got.vary) == (400, ON_OPTIONS[edge.mode])


async def test_vary_of_our_502(edge: Edge) -> None:
    got = await edge.ask("/dead/x")
    assert (got.status, got.vary) == (502, EXPECTED[edge.mode][NOTHING])
    assert got["cache-control"] == "no-store"
    got = await edge.ask("/dead/x", "OPTIONS")
    assert (got.status, got.vary) == (502, ON_OPTIONS[edge.mode])


async def test_vary_of_our_504(edge: Edge) -> None:
    got = await edge.ask("/slow/head")
    assert (got.status, got.vary) == (504, EXPECTED[edge.mode][NOTHING])
    assert got["cache-control"] == "no-store"


async def test_vary_of_our_504_for_only_if_cached(edge: Edge) -> None:
    got = await edge.ask("/object/never-asked", cache_control="only-if-cached")
    assert (got.status, got.vary) == (504, EXPECTED[edge.mode][NOTHING])


async def test_vary_of_our_400(edge: Edge) -> None:
    """A second Host line is refused, and its answer depends on what the path's others do."""
    twice = b"GET /object/x HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n\r\n"
    got = await raw(edge.url, twice)
    assert (got.status, got.vary) == (400, EXPECTED[edge.mode][NOTHING])
    assert got["cache-control"] == "no-store"
