"""Nothing is lost and nothing is changed: five hundred objects through the proxy.

Each client reads every object that the server keeps, first as a miss and then as a hit, with
a proxy of its own that starts out empty. aiohttp also reads with Origin, and in ranges, some
of them before the whole is stored.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.asking import Asker, asking, curl, is_hit
from tests.real.conftest import Filled
from tests.real.objects import MIB, Object
from tests.real.proxy import Proxy, configured, running_proxy
from tests.real.servers import ALLOWED

THREE = ["Origin", "Access-Control-Request-Headers", "Access-Control-Request-Method"]
AT_ONCE = 8  # requests in flight

CONFIG = """
version: 1
origins:
  media: {{url: "{url}"}}
store:
  memory: {{max: 1GiB, max_object: 128MiB}}
  max_object: 128MiB
log: {{access: off}}
"""


@pytest.fixture
def proxy(filled: Filled, tmp_path: Path) -> Iterator[Proxy]:
    """In front of the filled server, with room for every object."""
    text = CONFIG.format(url=filled.server.url)
    with running_proxy(tmp_path, *configured(tmp_path, text)) as running:
        yield running


async def test_aiohttp_reads_every_object(filled: Filled, proxy: Proxy) -> None:
    slots = asyncio.Semaphore(AT_ONCE)

    async def read(ask: Asker, one: Object) -> None:
        async with slots:
            target = f"/{filled.server.bucket}/{one.path}"
            dice = random.Random(one.key)
            known = dice.random() < 0.2
            if known:  # whole, where its blocks are as much as the range asked for
                await _range_of(ask, target, one, dice, odd=filled.server.name != "s3rver")
            await _miss_then_hit(ask, target, one, known)
            await _miss_then_hit(ask, target, one, known, origin=ALLOWED)
            for _ in range(3):
                await _range_of(ask, target, one, dice, hit=True)

    async with asking(proxy.url) as ask, asyncio.TaskGroup() as tasks:
        for one in filled.kept:
            tasks.create_task(read(ask, one))


async def _miss_then_hit(ask: Asker, target: str, one: Object, known: bool, **fields: str) -> None:
    """*known*: the first may be a hit as well."""
    for hit in (False, True):
        got = await ask(target, **fields)
        assert got.status == 200, (one.key, got)
        assert got.body == one.body, (one.key, hit)
        assert got.is_hit is hit or (known and not hit), (one.key, got.cache_status)
        assert got["content-length"] == str(len(one.body)), one.key
        assert sorted(got.vary) == sorted(THREE), one.key
        assert got["access-control-allow-origin"] == fields.get("origin"), one.key
        assert not hit or got["age"] is not None, one.key


async def _range_of(
    ask: Asker,
    target: str,
    one: Object,
    dice: random.Random,
    *,
    hit: bool | None = None,
    odd: bool = True,
) -> None:
    """A random range: the rest, or if *odd* one of the middle or the end.

    s3rver reads ``-3`` as ``0-3`` and ``0-0`` as everything.
    """
    size = len(one.body)
    first = dice.randrange(size) if size else 0
    last = dice.randrange(first, min(size, first + MIB)) if size else 0
    span, wanted = dice.choice(
        [
            (f"{first}-", one.body[first:]),
            (f"{first}-{last}", one.body[first : last + 1]),
            (f"-{last + 1}", one.body[-(last + 1) :]),
        ][: 3 if odd else 1]
    )
    origin = {"origin": ALLOWED} if dice.random() < 0.5 else {}
    got = await ask(target, range=f"bytes={span}", **origin)
    if size == 0:  # servers and caches may ignore a range of nothing (RFC 9110 §14.2)
        assert got.status in (200, 206, 416), (one.key, got)
        return
    assert got.status == 206, (one.key, span, got)
    assert got.body == wanted, (one.key, span)
    start = size - len(wanted) if span.startswith("-") else first
    assert got["content-range"] == f"bytes {start}-{start + len(wanted) - 1}/{size}", one.key
    assert sorted(got.vary) == sorted(THREE), one.key
    assert hit is None or got.is_hit is hit, (one.key, span, got.cache_status)


def test_boto3_reads_every_object(filled: Filled, proxy: Proxy) -> None:
    client = filled.server.client(proxy.url, signed=False)
    for hit in (False, True):
        for one in filled.kept:
            reply = client.get_object(Bucket=filled.server.bucket, Key=one.key)
            assert reply["Body"].read() == one.body, (one.key, hit)
            cache_status = reply["ResponseMetadata"]["HTTPHeaders"]["cache-status"]
            assert is_hit(cache_status) is hit, (one.key, cache_status)


def test_curl_reads_every_object(filled: Filled, proxy: Proxy, tmp_path: Path) -> None:
    """One curl for all: it says what each answer was, and leaves each body in a file."""
    lines = ['write-out = "%{http_code} %{size_download} %header{cache-status}\\n"']
    for at, one in enumerate(filled.kept):
        lines.append(f'url = "{proxy.url}/{filled.server.bucket}/{one.path}"')
        lines.append(f'output = "{tmp_path}/{at}"')
    script = tmp_path / "curl.config"
    script.write_text("\n".join(lines))
    for hit in (False, True):
        said = curl("--config", script).splitlines()
        assert len(said) == len(filled.kept)
        for at, (one, line) in enumerate(zip(filled.kept, said, strict=True)):
            status, size, cache_status = line.split(" ", 2)
            assert (status, size) == ("200", str(len(one.body))), one.key
            assert is_hit(cache_status) is hit, (one.key, cache_status)
            path = tmp_path / str(at)
            content = path.read_bytes() if path.exists() else b""
            assert content == one.body, one.key
            path.unlink(missing_ok=True)
