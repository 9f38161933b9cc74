"""A gibibyte passes through in bounded memory.

The stub makes the bytes up as they are taken, in a process of its own; the growth is that of
the proxy's peak, as the kernel counted it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import aiohttp
import pytest

from tests.real.awsstub import BLOCK
from tests.real.proxy import Proxy, configured, running_proxy

MIB = 1 << 20
GIB = 1 << 30
PIECE = 1 << 16

CONFIG = """
version: 1
origins:
  stub: {{url: "{url}"}}
{store}
log: {{access: off}}
"""


async def _digest(url: str) -> tuple[int, str]:
    """Bytes and SHA-256 of what *url* gives."""
    digest, count = hashlib.sha256(), 0
    async with aiohttp.ClientSession(auto_decompress=False) as session, session.get(url) as reply:
        assert reply.status == 200
        async for piece in reply.content.iter_chunked(PIECE):
            digest.update(piece)
            count += len(piece)
    return count, digest.hexdigest()


@pytest.fixture(scope="module")
def expected() -> tuple[int, str]:
    digest = hashlib.sha256()
    for _ in range(GIB // len(BLOCK)):
        digest.update(BLOCK)
    return GIB, digest.hexdigest()


async def _grown(proxy: Proxy, target: str, expected: tuple[int, str]) -> int:
    """Bytes by which the proxy's peak rose above its memory before *target* was read."""
    await _digest(f"{proxy.url}/sized/1000")  # imports and pools are there from the first request
    before = proxy.memory("VmRSS")
    assert await _digest(proxy.url + target) == expected
    return proxy.memory("VmHWM") - before


@pytest.mark.parametrize("framing", ["sized", "chunked"])
async def test_a_gibibyte_passes_in_64_mib(
    framing: str, stub_url: str, expected: tuple[int, str], tmp_path: Path
) -> None:
    with running_proxy(tmp_path, "--origin", stub_url) as proxy:
        grown = await _grown(proxy, f"/{framing}/{GIB}", expected)
    assert grown < 64 * MIB, f"grew by {grown / MIB:.1f} MiB"


@pytest.mark.parametrize("framing", ["sized", "chunked"])
async def test_one_that_might_be_stored_grows_by_the_store_at_most(
    framing: str, stub_url: str, expected: tuple[int, str], tmp_path: Path
) -> None:
    """With a length it is known too large at once; without, only once it has outgrown the store."""
    store = "store: {memory: {max: 32MiB, max_object: 16MiB}}"
    text = CONFIG.format(url=stub_url, store=store)
    with running_proxy(tmp_path, *configured(tmp_path, text)) as proxy:
        grown = await _grown(proxy, f"/{framing}/{GIB}?cc=max-age=60", expected)
    assert grown < 64 * MIB, f"grew by {grown / MIB:.1f} MiB"
