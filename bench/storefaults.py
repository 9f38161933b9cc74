"""A steady load through a proxy whose Redis is killed, restarted and paused all the while.

    .venv/bin/python -m bench.storefaults [--seconds 120] [--kills 20] [--rate 200]

Every answer is checked to the byte. Prints requests, failures, wrong answers and latencies;
exits with 1 when there was a failure or a wrong answer. Redis is paused for five seconds twice.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from tests.store.servers import RedisServer
from vary_proxy import config
from vary_proxy.app import App

_PATHS = 3000
_PAUSE = 5.0


def body(path: str) -> bytes:
    return (path.encode() + b"|") * 300


async def origin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            content = body(head.split(b" ")[1].decode())
            writer.write(
                b'HTTP/1.1 200 OK\r\nCache-Control: max-age=3\r\nETag: "1"\r\n'
                b"Content-Length: %d\r\n\r\n%b" % (len(content), content)
            )
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


@dataclass
class Run:
    base: str
    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    async def one(self, session: aiohttp.ClientSession) -> None:
        path = f"/{random.randrange(_PATHS)}"
        began = time.monotonic()
        try:
            async with session.get(self.base + path) as response:
                got = await response.read()
                if response.status != 200 or got != body(path):
                    self.wrong.append(f"{response.status} {path}")
        except (aiohttp.ClientError, TimeoutError) as error:
            self.wrong.append(repr(error))
        self.seconds.append(time.monotonic() - began)

    async def load(self, rate: int, seconds: float) -> None:
        began, sent, running = time.monotonic(), 0, set()
        limit = aiohttp.ClientTimeout(total=10)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, timeout=limit) as session:
            while time.monotonic() < began + seconds:
                sent += 1
                task = asyncio.ensure_future(self.one(session))
                running.add(task)
                task.add_done_callback(running.discard)
                await asyncio.sleep(max(0.0, began + sent / rate - time.monotonic()))
            await asyncio.gather(*running)

    def report(self) -> str:
        ordered = sorted(self.seconds)
        at = [1000 * ordered[int(len(ordered) * share)] for share in (0.5, 0.99)]
        return (
            f"requests {len(ordered)}, failed or wrong {len(self.wrong)}, "
            f"p50 {at[0]:.1f} ms, p99 {at[1]:.1f} ms, worst {1000 * ordered[-1]:.0f} ms"
        )


async def chaos(redis: RedisServer, kills: int, seconds: float) -> None:
    every = seconds / (kills + 3)
    for kill in range(kills):
        await asyncio.sleep(every * 0.7)
        if kill in (kills // 3, 2 * kills // 3):
            redis.pause()
            await asyncio.sleep(_PAUSE)
            redis.resume()
        redis.kill()
        await asyncio.sleep(every * 0.3)
        await asyncio.to_thread(redis.start)


async def main(seconds: float, kills: int, rate: int) -> int:
    server = await asyncio.start_server(origin, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with tempfile.TemporaryDirectory() as directory:
        redis = RedisServer(Path(directory))
        redis.start()
        text = f"""\
version: 1
listen: [{{address: "127.0.0.1:0"}}]
origins: {{o: {{url: "http://127.0.0.1:{port}"}}}}
store: {{type: redis, url: "{redis.url}", memory: {{max: 1MiB}}}}
log: {{access: off}}
"""
        app = App(config.loads(text.encode(), "storefaults.yaml", (), {}))
        run = Run("http://" + (await app.start())[0])
        trouble = asyncio.ensure_future(chaos(redis, kills, seconds))
        try:
            await run.load(rate, seconds)
        finally:
            trouble.cancel()
            with suppress(asyncio.CancelledError):
                await trouble
            await app.close()
            redis.kill()
            server.close()
    print(run.report())
    for wrong in run.wrong[:5]:
        print(wrong, file=sys.stderr)
    return 1 if run.wrong else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--rate", type=int, default=200)
    given = parser.parse_args()
    sys.exit(asyncio.run(main(given.seconds, given.kills, given.rate)))
