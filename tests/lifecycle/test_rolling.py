"""A deployment: two proxies behind a balancer that follows /readyz, restarted under load."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import pytest

from tests.lifecycle.command import Command
from tests.lifecycle.parts import Client, origin, until
from tests.ports import free_ports

DELAY = 0.5  # seconds of drain.delay; the balancer looks every 50 ms


@dataclass
class Place:
    """One of the two: where it listens, and whether the balancer sends it traffic."""

    port: int
    probes: int
    url: str
    ready: bool = False
    served: int = 0
    command: Command | None = None

    def start(self) -> None:
        settings = (f"server.drain.delay={DELAY}s", "log.access=off")
        said = [word for one in settings for word in ("--set", one)]
        said += ["--set", f"probes.address=127.0.0.1:{self.probes}"]
        listen = f"127.0.0.1:{self.port}"
        self.command = Command("--origin", self.url, "--listen", listen, *said)

    def stands(self) -> bool:
        """True when traffic is sent here. Fails when the command has ended."""
        assert self.command is not None
        assert self.command.process.poll() is None, self.command.said
        return self.ready

    async def look(self) -> None:
        """Follow /readyz, as a balancer does."""
        while True:
            try:
                client = await Client.at(self.probes)
                self.ready = (await client.get("/readyz")).status == 200
                client.close()
            except (OSError, asyncio.IncompleteReadError):
                self.ready = False
            await asyncio.sleep(0.05)


@dataclass
class Balancer:
    """Passes every request on a new connection to one that is ready; never tries again."""

    places: list[Place]
    turn: int = 0
    failed: list[str] = field(default_factory=list)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                ready = [one for one in self.places if one.ready]
                assert ready, "nobody is ready"
                self.turn += 1
                place = ready[self.turn % len(ready)]
                try:
                    answer = await _passed(place.port, head)
                except (OSError, asyncio.IncompleteReadError) as failure:
                    self.failed.append(f"{place.port}: {failure!r}")
                    break
                place.served += 1
                writer.write(answer)
        writer.close()


async def _passed(port: int, head: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    try:
        first = await reader.readuntil(b"\r\n\r\n")
        if b" 200 OK" not in first.partition(b"\r\n")[0]:
            raise OSError(first.decode("latin-1"))
        length = int(first.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return first.replace(b"Connection: close\r\n", b"") + await reader.readexactly(length)
    finally:
        writer.close()


@pytest.fixture
def places() -> Iterator[list[Place]]:
    ports = free_ports(4)
    made = [Place(ports[0], ports[1], ""), Place(ports[2], ports[3], "")]
    yield made
    for one in made:
        if one.command is not None:
            one.command.close()


@contextlib.asynccontextmanager
async def balanced(places: list[Place]) -> AsyncIterator[tuple[Balancer, int]]:
    balancer = Balancer(places)
    server = await asyncio.start_server(balancer, "127.0.0.1", 0)
    looking = [asyncio.ensure_future(one.look()) for one in places]
    try:
        yield balancer, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for one in looking:
            one.cancel()


async def test_a_rolling_restart_fails_no_request(places: list[Place]) -> None:
    async with origin("A") as a, balanced(places) as (balancer, port):
        for place in places:
            place.url = a.url
            place.start()
        await until(lambda: all(one.stands() for one in places), 60)
        done = 0
        ended = False

        async def ask(number: int) -> None:
            nonlocal done
            client = await Client.at(port)
            at = 0
            while not ended:
                at += 1
                kind = ("stored", "live")[(at + number) % 2]
                answer = await client.get(f"/{kind}/{at % 7}", "Origin: https://x.example")
                assert (answer.status, answer.body) == (200, b"AA")
                done += 1
                await asyncio.sleep(0.005)
            client.close()

        clients = asyncio.gather(*map(ask, range(6)))
        for _ in range(3):
            for place in places:
                assert place.command is not None
                before = place.served
                place.command.send(signal.SIGTERM)
                await until(lambda place=place: not place.ready)
                status = await asyncio.to_thread(place.command.ends)
                assert status == 0
                place.command.close()
                place.start()
                await until(place.stands, 60)
                await until(lambda place=place, before=before: place.served > before + 10)
        ended = True
        await clients
        assert balancer.failed == []
        assert done > 500
        assert min(one.served for one in places) > 100
