"""What splitting a cache by Origin costs, and what it costs here: three sites, two rules.

A site is asked by its own pages, which send no Origin, by allowed origins, and by strangers
that each come once. Pages and origins are popular by Zipf's law. Its origin server answers
with a strong ETag, names Vary only to origins that it allows, and repeats the CORS fields on
its 304s, as S3 does. ``passthrough`` leaves CORS to it: a variant for each Origin, filled by
validation. With ``override`` the rule answers for it, and one stored response serves all.

    python -m bench.hitratio [--requests 50000] [--pages 500] [--seed 1]

Everything runs on real sockets of the loopback interface: one client connection, the proxy,
and the origin server, one request at a time. A reply whose CORS fields are not those due to
its requester ends the run.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from vary_proxy import config
from vary_proxy.app import App

BODY = b"the same for everybody\n" * 40
ETAG = b'"1"'


@dataclass(frozen=True)
class Site:
    """Who asks. ``plain`` and ``new`` are shares of all requests."""

    title: str
    plain: float  # without Origin
    origins: int  # allowed ones
    new: float  # from origins that were never seen before, and are not allowed

    @property
    def allowed(self) -> list[str]:
        return [f"https://site-{number}.example" for number in range(self.origins)]


SITES = (
    Site("40 % without Origin, 20 origins, 0.5 % ever-new", 0.40, 20, 0.005),
    Site("10 % without Origin, 200 origins, 0.5 % ever-new", 0.10, 200, 0.005),
    Site("10 % without Origin, 200 origins, 20 % ever-new", 0.10, 200, 0.20),
)
MODES = ("passthrough", "override")


def requests(site: Site, count: int, pages: int, seed: int) -> Iterator[tuple[str, str | None]]:
    """*count* requests for *pages* pages, each a path and an Origin; the same for one *seed*."""
    chance = random.Random(seed)
    allowed = site.allowed
    paths = [f"/page-{number}" for number in range(pages)]
    by_page = [1 / (rank + 1) for rank in range(pages)]
    by_origin = [1 / (rank + 1) for rank in range(site.origins)]
    for number, path in enumerate(chance.choices(paths, by_page, k=count)):
        kind = chance.random()
        if kind < site.plain:
            yield path, None
        elif kind < site.plain + site.new:
            yield path, f"https://new-{number}.example"
        else:
            yield path, chance.choices(allowed, by_origin)[0]


def due(site: Site, origin: str | None) -> str | None:
    """The Access-Control-Allow-Origin that a requester from *origin* is due."""
    return origin if origin in site.allowed else None


def configuration(site: Site, mode: str, url: str) -> str:
    """The proxy's configuration for *site* at *url*."""
    listed = ", ".join(f'"{origin}"' for origin in site.allowed)
    rule = "defaults: {cache: {stale_while_revalidate: 0s}}"
    if mode == "override":
        rule = (
            f"cors: {{app: {{origins: [{listed}], credentials: true}}}}\n"
            "defaults: {cors: {policy: app, mode: override}}"
        )
    return f"""
version: 1
listen: [{{address: "127.0.0.1:0"}}]
origins: {{site: {{url: "{url}"}}}}
{rule}
log: {{access: off}}
"""


@dataclass
class Outcome:
    """Counts of one run."""

    requests: int = 0
    hits: int = 0
    bodies: int = 0  # answers of the origin with content
    header_sets: int = 0  # stored responses at the end
    seconds: float = 0.0

    def row(self, mode: str) -> str:
        hits, bodiless = self.hits / self.requests, 1 - self.bodies / self.requests
        return f"| {mode} | {hits:.1%} | {bodiless:.1%} | {self.header_sets} |"


class Origin:
    """The site's origin server; ``bodies`` counts the answers with content."""

    def __init__(self, allowed: list[str]) -> None:
        self._allowed = {origin.encode() for origin in allowed}
        self.bodies = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._answer(_fields(head)))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def _answer(self, fields: dict[bytes, bytes]) -> bytes:
        same = b"ETag: " + ETAG + b"\r\nCache-Control: max-age=86400\r\n"
        origin = fields.get(b"origin")
        if origin in self._allowed:
            same += b"Access-Control-Allow-Origin: " + origin + b"\r\nVary: Origin\r\n"
            same += b"Access-Control-Allow-Credentials: true\r\n"
        if ETAG in fields.get(b"if-none-match", b""):
            return b"HTTP/1.1 304 Not Modified\r\n" + same + b"\r\n"
        self.bodies += 1
        length = b"Content-Type: text/plain\r\nContent-Length: %d\r\n" % len(BODY)
        return b"HTTP/1.1 200 OK\r\n" + length + same + b"\r\n" + BODY


def _fields(head: bytes) -> dict[bytes, bytes]:
    pairs = (line.partition(b":") for line in head.split(b"\r\n")[1:-2])
    return {name.lower(): value.strip() for name, _, value in pairs}


class Client:
    """One connection to the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def get(self, path: str, origin: str | None) -> dict[bytes, bytes]:
        """The fields of the answer, whose content has been read and compared."""
        sent = f"GET {path} HTTP/1.1\r\nHost: site.example\r\n"
        sent += "" if origin is None else f"Origin: {origin}\r\n"
        self._writer.write(f"{sent}\r\n".encode())
        head = await self._reader.readuntil(b"\r\n\r\n")
        fields = _fields(head)
        body = await self._reader.readexactly(int(fields[b"content-length"]))
        if not head.startswith(b"HTTP/1.1 200 ") or body != BODY:
            raise AssertionError(f"{path} for {origin}: {head!r}")
        return fields


@asynccontextmanager
async def behind_proxy(site: Site, mode: str) -> AsyncIterator[tuple[Origin, App, Client]]:
    """The site's origin server, the proxy before it, and a client of the proxy."""
    origin = Origin(site.allowed)
    server = await asyncio.start_server(origin.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    text = configuration(site, mode, f"http://127.0.0.1:{port}")
    app = App(config.loads(text.encode(), "hitratio.yaml", environ={}))
    (address,) = await app.start()
    try:
        host, _, number = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(number))
        yield origin, app, Client(reader, writer)
        writer.close()
    finally:
        await app.close()
        server.close()


async def run(site: Site, mode: str, count: int, pages: int, seed: int) -> Outcome:
    """Send *count* requests one after another. Raises AssertionError for a wrong answer."""
    outcome = Outcome()
    started = time.perf_counter()
    async with behind_proxy(site, mode) as (origin, app, client):
        for path, requester in requests(site, count, pages, seed):
            fields = await client.get(path, requester)
            told = fields.get(b"access-control-allow-origin")
            expected = due(site, requester)
            if (told and told.decode()) != expected:
                raise AssertionError(f"{path} for {requester}: {told!r}, due is {expected}")
            outcome.requests += 1
            outcome.hits += b"; hit" in fields[b"cache-status"]
        await app.tasks.settle()
        outcome.bodies = origin.bodies
        outcome.header_sets = app.store.stats().stored_responses
    outcome.seconds = time.perf_counter() - started
    return outcome


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.hitratio", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--requests", type=int, default=50_000, metavar="N")
    parser.add_argument("--pages", type=int, default=500, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    asked = parser.parse_args()
    logging.getLogger("vary_proxy").setLevel(logging.ERROR)  # strangers ask on purpose
    for site in SITES:
        print(f"**{site.title}** ({asked.requests} requests, {asked.pages} pages)\n")
        print("| rule | hit ratio | no body from the origin | stored header sets |")
        print("|---|---|---|---|")
        for mode in MODES:
            outcome = await run(site, mode, asked.requests, asked.pages, asked.seed)
            print(outcome.row(mode), flush=True)
            print(f"{mode}: {outcome.seconds:.1f} s", file=sys.stderr)
        print()


if __name__ == "__main__":
    asyncio.run(main())
