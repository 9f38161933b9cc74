"""The probes' listener: /livez, /readyz, /healthz and /metrics. Nothing here changes state.

A listener of its own, so that no path on the traffic port shadows an object, and so that
probes go on being answered when the traffic port has closed for a drain. A lost shared
store does not make it unready: the origin answers then.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from vary_proxy import __version__
from vary_proxy.clients.listening import refused
from vary_proxy.configuration.settings import Address

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
HEAD_SECONDS = 10.0  # in which a request must be there, on a new connection or after the last
MOST_CONNECTIONS = 256
_PLAIN = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class Site:
    """A small web application on an address of its own.

    Whoever reaches it costs no more than MOST_CONNECTIONS: who has been there longest makes
    room, and a head that drips in is not waited for.
    """

    def __init__(
        self, application: web.Application, address: Address, sock: socket.socket | None = None
    ) -> None:
        application.on_response_prepare.append(_nameless)
        application.middlewares.insert(0, self._asked)
        self._runner = web.AppRunner(
            application,
            access_log=None,
            handle_signals=False,
            shutdown_timeout=1.0,
            keepalive_timeout=HEAD_SECONDS,
        )
        self._address = address
        self._sock = sock  # listens already, and is to be used
        self._server: asyncio.Server | None = None
        self._silent: dict[web.RequestHandler, asyncio.TimerHandle] = {}
        self.bound = ""  # where it listens, once it does

    async def start(self) -> None:
        """Listen. Raises ListenError."""
        await self._runner.setup()
        address, loop = self._address, asyncio.get_running_loop()
        try:
            if self._sock is not None:
                self._server = await loop.create_server(self._accepted, sock=self._sock)
            elif address.path is not None:
                self._server = await loop.create_unix_server(self._accepted, address.path)
            else:
                host = address.host or None
                self._server = await loop.create_server(self._accepted, host, address.port)
        except OSError as failure:
            await self._runner.cleanup()
            raise refused(str(address), failure) from failure
        self.bound = str(address) if address.path is not None else _spelled(self._server)

    def _accepted(self) -> web.RequestHandler:
        server = self._runner.server
        assert server is not None
        there = server.connections
        if len(there) >= MOST_CONNECTIONS:
            there[0].force_close()
        made = server()
        later = asyncio.get_running_loop().call_later
        self._silent[made] = later(HEAD_SECONDS, self._is_late, made)
        return made

    def _is_late(self, one: web.RequestHandler) -> None:
        del self._silent[one]
        one.force_close()

    @web.middleware
    async def _asked(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        timer = self._silent.pop(request.protocol, None)
        if timer is not None:
            timer.cancel()
        return await handler(request)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for timer in self._silent.values():
            timer.cancel()
        self._silent.clear()
        await self._runner.cleanup()


async def _nameless(_: web.Request, response: web.StreamResponse) -> None:
    """Software and its version are nobody's business."""
    response.headers.popall("Server", None)


def _spelled(server: asyncio.Server) -> str:
    host, port = server.sockets[0].getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True, slots=True)
class State:
    """What the probes tell. ``metrics`` renders them for an Accept."""

    ready: Callable[[], str]  # "" when traffic is welcome, else why it is not
    metrics: Callable[[str], Awaitable[tuple[bytes, str]]]
    details: Callable[[], dict[str, Any]]


def application(state: State) -> web.Application:
    async def livez(_: web.Request) -> web.Response:
        return _text(200, "alive")  # the loop turns, or nobody would say so

    async def readyz(_: web.Request) -> web.Response:
        why = state.ready()
        return _text(503, why) if why else _text(200, "ready")

    async def healthz(_: web.Request) -> web.Response:
        told = {"status": state.ready() or "ready", "version": __version__, **state.details()}
        return web.Response(
            body=msgspec.json.encode(told) + b"\n", content_type="application/json", headers=_PLAIN
        )

    async def metrics(request: web.Request) -> web.Response:
        body, content_type = await state.metrics(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={**_PLAIN, "Content-Type": content_type})

    app = web.Application()
    for handler in (livez, readyz, healthz, metrics):
        app.router.add_get(f"/{handler.__name__}", handler)
    return app


def _text(status: int, word: str) -> web.Response:
    return web.Response(status=status, text=f"{word}\n", headers=_PLAIN)
