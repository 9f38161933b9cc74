"""The proxy in front of an origin, in this process."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from vary_proxy import config
from vary_proxy.app import App

PASSED_THROUGH = """
version: 1
listen: [{{address: "127.0.0.1:0"}}]
origins: {{it: {{url: "{url}", timeouts: {{connect: 30s, first_byte: 60s}}}}}}
log: {{access: off}}
"""


@dataclass(frozen=True)
class Proxy:
    """``url`` has no trailing slash."""

    url: str
    app: App

    async def settle(self) -> None:
        """Wait until all that came from the origin is stored."""
        await self.app.tasks.settle()


@asynccontextmanager
async def behind_proxy(text: str, clock: Callable[[], float] = time.time) -> AsyncIterator[Proxy]:
    """A proxy that is configured with *text*."""
    app = App(config.loads(text.encode(), "vary-proxy.yaml", environ={}), clock)
    (address,) = await app.start()
    try:
        yield Proxy(f"http://{address}", app)
    finally:
        await app.close()
