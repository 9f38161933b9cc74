"""Bodies that break off between a real origin and the whole proxy, and origins that are out.

The origin resets connections in the middle of bodies; what clients read is compared byte by
byte, with the memory and with a real Redis behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.lifecycle.parts import Client
from tests.real.proxy import Proxy, configured, running_proxy
from tests.serving import listening
from tests.store.servers import RedisServer, running

SIZE = 300_000
CUT = 130_001


def content(version: int) -> bytes:
    return b"".join(b"%d:%08d;" % (version, at) for at in range(SIZE // 11 + 1))[:SIZE]


@dataclass
class Breaking:
    """An origin: ``/KIND/…`` is one object each, cut when it is first asked for.

    ``strong``: what follows can be had by Range. ``often``: that is cut too, twice. ``weak``,
    ``none``: no strong validator. ``changed``: another version from the second request on.
    ``ignored``: Range is not known. ``slow``: cut when ``go`` is set.
    """

    url: str = ""
    asked: list[tuple[str, str, str]] = field(default_factory=list)  # path, Range, If-Range
    times: Counter[str] = field(default_factory=Counter)
    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := (await reader.readuntil(b"\r\n\r\n")).decode():
            if not await self._answer(head, writer):
                writer.transport.abort()

    async def _answer(self, head: str, writer: asyncio.StreamWriter) -> bool:
        path = head.split(" ", 2)[1]
        kind = path.split("/")[1]
        span, condition = (_field(head, name) for name in ("range", "if-range"))
        self.asked.append((path, span, condition))
        self.times[path] += 1
        version = 2 if kind == "changed" and self.times[path] > 1 else 1
        tag = {"weak": f'W/"{version}"', "none": ""}.get(kind, f'"{version}"')
        body, status, more = content(version), "200 OK", ""
        part = re.fullmatch(r"bytes=(\d+)-(\d+)", span)
        if part and kind != "ignored" and condition in ("", tag):
            first, last = int(part[1]), min(int(part[2]), SIZE - 1)
            status, more = "206 Partial Content", f"Content-Range: bytes {first}-{last}/{SIZE}\r\n"
            body = body[first : last + 1]
        said = f"ETag: {tag}\r\n" if tag else ""
        writer.write(
            f"HTTP/1.1 {status}\r\n{said}{more}Cache-Control: max-age=1000\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
        )
        if self.times[path] > {"often": 3}.get(kind, 1):
            writer.write(body)
            await writer.drain()
            return True
        writer.write(body[: min(CUT, len(body) // 2)])
        await writer.drain()
        if kind == "slow":
            await self.go.wait()
        await asyncio.sleep(0.02)  # a reset also takes back what was not read
        return False


def _field(head: str, name: str) -> str:
    found = re.search(rf"^{name}: (.*)\r$", head, re.IGNORECASE | re.MULTILINE)
    return found[1] if found else ""


@pytest.fixture
async def origin() -> AsyncIterator[Breaking]:
    made = Breaking()
    async with listening(made) as port:
        made.url = f"http://127.0.0.1:{port}"
        yield made


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """In memory, unless a test says otherwise."""
    if getattr(request, "param", "memory") == "memory":
        yield ""
        return
    with running(RedisServer(tmp_path)) as redis:
        yield f"store: {{type: redis, url: '{redis.url}', timeout: 5s, memory: {{max: 1KiB}}}}\n"


@pytest.fixture
def proxy(origin: Breaking, store: str, tmp_path: Path) -> Iterator[Proxy]:
    text = f"version: 1\norigins: {{main: '{origin.url}'}}\n{store}"
    with running_proxy(tmp_path, *configured(tmp_path, text)) as proxy:
        yield proxy


async def read(proxy: Proxy, path: str, *lines: str) -> tuple[int, str, bytes, bool]:
    """Status, Cache-Status, all of the body that came, and whether it was whole."""
    client = await Client.at(int(proxy.url.rpartition(":")[2]))
    fields = "".join(f"{line}\r\n" for line in lines)
    client.writer.write(f"GET {path} HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n".encode())
    head = (await client.reader.readuntil(b"\r\n\r\n")).decode()
    length = int(_field(head, "content-length"))
    try:
        body, whole = await client.reader.readexactly(length), True
    except asyncio.IncompleteReadError as cut:
        body, whole = cut.partial, False
    except ConnectionError:
        body, whole = b"", False
    client.close()
    return int(head.split()[1]), _field(head, "cache-status"), body, whole


async def stored(proxy: Proxy, path: str) -> bytes:
    """What is given from the store, once the write behind the last answer has ended."""
    async with asyncio.timeout(30):
        while True:
            _, cached, body, _ = await read(proxy, path)
            if "; hit" in cached:
                return body


@pytest.mark.parametrize(
    ("store", "kind"),
    [("memory", "strong"), ("redis", "strong"), ("memory", "often")],
    indirect=["store"],
)
async def test_under_a_strong_validator_nobody_sees_it(
    origin: Breaking, proxy: Proxy, kind: str
) -> None:
    status, _, body, whole = await read(proxy, f"/{kind}/a")
    assert (status, whole, body == content(1)) == (200, True, True)
    for path, span, condition in origin.asked[1:]:
        assert (path, condition) == (f"/{kind}/a", '"1"')
        assert re.fullmatch(rf"bytes=\d+-{SIZE - 1}", span)
    assert len(origin.asked) == {"strong": 2, "often": 4}[kind]
    assert (await stored(proxy, f"/{kind}/a")) == content(1)


async def test_a_part_goes_on_too(origin: Breaking, proxy: Proxy) -> None:
    _, _, body, whole = await read(proxy, "/strong/a", "Range: bytes=1000-200999")
    assert (whole, body == content(1)[1000:201000]) == (True, True)
    first, second = (span.partition("=")[2] for _, span, _ in origin.asked)
    assert second.split("-")[1] == first.split("-")[1]  # to the end of what was asked for
    assert int(second.split("-")[0]) > 1000


@pytest.mark.parametrize(
    ("store", "kind"),
    [("memory", "weak"), ("redis", "weak"), ("memory", "none"), ("memory", "changed")]
    + [("redis", "changed"), ("memory", "ignored")],
    indirect=["store"],
)
async def test_where_it_cannot_be_joined_the_cut_is_seen_and_nothing_is_kept(
    origin: Breaking, proxy: Proxy, kind: str
) -> None:
    status, _, body, whole = await read(proxy, f"/{kind}/a")
    assert (status, whole) == (200, False)
    assert content(1).startswith(body)
    assert len(origin.asked) == (1 if kind in ("weak", "none") else 2)
    version = 2 if kind == "changed" else 1
    _, cached, body, whole = await read(proxy, f"/{kind}/a")
    assert (whole, body == content(version), "; hit" in cached) == (True, True, False)
    assert (await stored(proxy, f"/{kind}/a")) == content(version)


async def test_all_who_ride_on_one_fetch_read_the_same(origin: Breaking, proxy: Proxy) -> None:
    riders = [asyncio.ensure_future(read(proxy, "/slow/a")) for _ in range(8)]
    while not origin.asked:
        await asyncio.sleep(0.005)
    origin.go.set()
    for status, _, body, whole in await asyncio.gather(*riders):
        assert (status, whole, body == content(1)) == (200, True, True)
    assert len(origin.asked) == 2


@dataclass
class Outage:
    """An origin that takes every request and answers none."""

    url: str = ""
    asked: Counter[str] = field(default_factory=Counter)
    after: bytes = b""  # what it says before it ends the connection

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.asked[head.split(" ", 1)[0]] += 1
        writer.write(self.after)
        await writer.drain()


@contextlib.asynccontextmanager
async def out(folder: Path, urls: int = 1) -> AsyncIterator[tuple[Outage, int]]:
    outage = Outage()
    async with listening(outage) as port:
        outage.url = f"http://127.0.0.1:{port}"
        said = ", ".join(f"'{outage.url}/{at}'" for at in range(urls))
        text = f"version: 1\norigins: {{main: {{urls: [{said}], retry: {{attempts: 4}}}}}}\n"
        with running_proxy(folder, *configured(folder, text)) as proxy:
            yield outage, int(proxy.url.rpartition(":")[2])


async def storm(port: int, method: str, count: int, clients: int = 20) -> Counter[int]:
    """How *count* requests were answered."""
    seen: Counter[int] = Counter()

    async def ask(number: int) -> None:
        client = await Client.at(port)
        for at in range(count // clients):
            head = (
                f"{method} /{number}/{at} HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n"
            )
            client.writer.write(head.encode())
            seen[(await client.answer()).status] += 1
        client.close()

    await asyncio.gather(*map(ask, range(clients)))
    return seen


@pytest.mark.parametrize("urls", [1, 3])
async def test_an_outage_is_not_made_worse(tmp_path: Path, urls: int) -> None:
    async with out(tmp_path, urls) as (outage, port):
        assert await storm(port, "GET", 1000) == {502: 1000}
        # A fifth, and what went to URLs that were not yet known to be out.
        assert 1000 < outage.asked["GET"] <= 1000 * 1.2 + 3 + 20 * (urls - 1)


async def test_what_is_not_safe_is_sent_once(tmp_path: Path) -> None:
    unsafe = ["POST", "PUT", "DELETE", "PATCH"]
    async with out(tmp_path, 2) as (outage, port):
        for method in unsafe:
            assert await storm(port, method, 100) == {502: 100}
        assert outage.asked == dict.fromkeys(unsafe, 100)


@pytest.mark.parametrize(
    "after",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Le", id="within the head"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", id="within the body"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", id="before the body"),
    ],
)
async def test_nothing_is_sent_again_once_something_has_come(tmp_path: Path, after: bytes) -> None:
    async with out(tmp_path, 2) as (outage, port):
        outage.after = after
        client = await Client.at(port)
        client.writer.write(b"GET /a HTTP/1.1\r\nHost: a.example\r\n\r\n")
        head = await client.reader.readuntil(b"\r\n\r\n")
        if b" 200 " in head.split(b"\r\n")[0]:
            with contextlib.suppress(ConnectionResetError):
                assert len(await client.reader.read()) < 9  # the cut is seen
        assert outage.asked == {"GET": 1}
        client.close()
