"""Requests byte for byte, and their answers, for tests."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL


@dataclass(frozen=True)
class Got:
    status: int
    fields: CIMultiDictProxy[str]
    body: bytes

    def __getitem__(self, name: str) -> str | None:
        """The one line of *name*, None when absent; several are a failure."""
        lines = self.fields.getall(name, [])
        assert len(lines) <= 1, f"{name} in {len(lines)} lines: {lines}"
        return lines[0] if lines else None

    @property
    def cache_status(self) -> str:
        line = self["cache-status"]
        assert line is not None, dict(self.fields)
        return line

    @property
    def is_hit(self) -> bool:
        return is_hit(self.cache_status)

    @property
    def vary(self) -> list[str]:
        """Names in order; one field line at most."""
        return [name.strip() for name in (self["vary"] or "").split(",") if name.strip()]


def is_hit(cache_status: str) -> bool:
    """Whether the answer came from the store (RFC 9211 §2.1)."""
    assert cache_status.startswith("vary-proxy;"), cache_status
    return "hit" in [part.strip() for part in cache_status.split(";")]


@dataclass(frozen=True)
class Asker:
    """Asks *url*: targets go out as they are written, nothing is decoded or followed."""

    url: str
    session: aiohttp.ClientSession

    async def __call__(self, target: str, method: str = "GET", **fields: str) -> Got:
        """Ask for *target*; ``if_none_match="…"`` becomes a field of that name."""
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        async with self.session.request(
            method,
            URL(self.url + target, encoded=True),
            headers={"Accept": "*/*"} | headers,
            skip_auto_headers=["User-Agent", "Accept-Encoding", "Content-Type"],
            allow_redirects=False,
        ) as reply:
            return Got(reply.status, reply.headers, await reply.read())


@asynccontextmanager
async def asking(url: str) -> AsyncIterator[Asker]:
    """An Asker on connections of its own."""
    jar = aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(cookie_jar=jar, auto_decompress=False) as session:
        yield Asker(url, session)


async def raw(url: str, request: bytes) -> Got:
    """The answer to exactly these bytes, from a connection that the server must then close."""
    address = URL(url)
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        writer.write(request)
        head, _, body = (await asyncio.wait_for(reader.read(), 30)).partition(b"\r\n\r\n")
    finally:
        writer.close()
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = CIMultiDict(tuple(line.split(": ", 1)) for line in lines)
    return Got(int(first.split(" ")[1]), CIMultiDictProxy(fields), body)


def curl(*args: str | Path) -> str:
    """What curl prints on both outputs; a failure of curl is a failure of the test."""
    done = subprocess.run(
        [
            "curl",
            "--silent",
            "--show-error",
            "--path-as-is",
            "--globoff",
            "--max-time",
            "60",
            *args,
        ],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return (done.stdout + done.stderr).decode(errors="replace")
