"""Behind a real balancer: HAProxy follows /readyz and says by the PROXY protocol who is there."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lifecycle.command import Command
from tests.lifecycle.parts import Client, origin, until
from tests.ports import free_port, free_ports

# Nothing is tried again. A server is left as soon as it says that it is not ready, and not because
# a machine that is busy answers a check late.
CONFIG = """
global
  log stderr format raw daemon
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
  timeout check 20s
  retries 0
listen traffic
  bind 127.0.0.1:{port}
  option httpchk GET /readyz
  default-server check inter 300ms fall 1 rise 1 send-proxy-v2 proxy-v2-options crc32c
{servers}
"""


@dataclass
class Place:
    """A proxy behind the balancer: its port, and that of its probes."""

    port: int
    probes: int
    folder: Path
    url: str
    command: Command | None = None

    @property
    def log(self) -> Path:
        return self.folder / f"{self.port}.log"

    def served(self) -> int:
        """Bytes of log: it grows while the balancer sends traffic here."""
        return self.log.stat().st_size

    def start(self) -> None:
        path = self.folder / f"{self.port}.yaml"
        path.write_text(
            f"""version: 1
listen: [{{address: "127.0.0.1:{self.port}", proxy_protocol: true}}]
probes: "127.0.0.1:{self.probes}"
origins: {{main: "{self.url}"}}
server: {{drain: {{delay: 2s}}}}
log: {{access: "{self.log}"}}
"""
        )
        self.command = Command("-c", str(path))
        self.command.hears("^store ")

    async def restarts(self) -> None:
        assert self.command is not None
        self.command.send(signal.SIGTERM)
        assert await asyncio.to_thread(self.command.ends) == 0
        self.command.close()
        await asyncio.to_thread(self.start)


@pytest.fixture
def places(tmp_path: Path) -> Iterator[list[Place]]:
    ports = free_ports(4)
    made = [Place(*ports[:2], tmp_path, ""), Place(*ports[2:], tmp_path, "")]
    yield made
    for one in made:
        if one.command is not None:
            one.command.close()


@contextlib.asynccontextmanager
async def balanced(folder: Path, places: list[Place]) -> AsyncIterator[int]:
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    program = shutil.which("haproxy", path=path)
    assert program is not None, "haproxy is not installed: apt-get install haproxy"
    port = free_port()
    servers = "\n".join(
        f"  server s{at} 127.0.0.1:{one.port} port {one.probes}" for at, one in enumerate(places)
    )
    (folder / "haproxy.cfg").write_text(CONFIG.format(port=port, servers=servers))
    with (folder / "haproxy.log").open("wb") as log:
        process = subprocess.Popen(
            [program, "-db", "-f", str(folder / "haproxy.cfg")], stdout=log, stderr=log
        )
        try:
            yield port
        finally:
            process.kill()
            process.wait()


async def is_up(port: int) -> bool:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        client = await Client.at(port)
        try:
            return (await client.get("/up")).status == 200
        finally:
            client.close()
    return False


async def test_a_deployment_loses_nothing_and_clients_keep_their_names(
    tmp_path: Path, places: list[Place]
) -> None:
    async with origin("A") as a:
        for one in places:
            one.url = a.url
            one.start()
        async with balanced(tmp_path, places) as port, asyncio.timeout(100):
            while not await is_up(port):
                await asyncio.sleep(0.05)
            seen: Counter[int] = Counter()
            ended = False

            async def ask(number: int) -> None:
                client, at = await Client.at(port), 0
                while not ended:
                    at += 1
                    kind = ("stored", "live")[(at + number) % 2]
                    answer = await client.get(f"/{kind}/{at % 7}")
                    seen[answer.status] += 1
                    await asyncio.sleep(0.005)
                client.close()

            clients = asyncio.gather(*map(ask, range(6)))
            for one in places:
                await one.restarts()
                before = one.served()
                await until(lambda one=one, before=before: one.served() > before, 30)
            ended = True
            await clients
            assert seen == {200: seen.total()}
    for one in places:
        assert '"client":"127.0.0.1"' in one.log.read_text()
        assert '"client":""' not in one.log.read_text()
        assert one.command is not None
        assert not any("a connection from" in line for line in one.command.said)
