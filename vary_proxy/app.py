"""Puts the parts together, and takes them apart in order.

Nothing here decides: it reads Settings, builds origins, store, exchange and server, and owns
their lives. ``start`` leaves everything running, or nothing.
"""

from __future__ import annotations

import ipaddress
import logging
import time
from collections.abc import Callable

from vary_proxy import settings as said
from vary_proxy.accesslog import AccessLog
from vary_proxy.config import Loaded
from vary_proxy.core.message import Reply, Request
from vary_proxy.core.wire import HeadLimits
from vary_proxy.exchange import Exchange
from vary_proxy.httpclient import HttpOrigin, OriginOptions
from vary_proxy.server import Observer, Server, ServerOptions
from vary_proxy.store.base import Store
from vary_proxy.store.opening import open_store
from vary_proxy.tasks import Tasks

_log = logging.getLogger("vary_proxy")
_MOST_REMEMBERED = 4096  # addresses whose trust has been settled


class App:
    """One worker: everything between its listening sockets and the origins.

    ``observers`` are called once at the end of each request with the request, the reply, the
    bytes of content sent, and seconds.
    """

    def __init__(self, loaded: Loaded, clock: Callable[[], float] = time.time) -> None:
        self.loaded = loaded
        self.observers: list[Observer] = []
        self.tasks = Tasks()
        self.store = opened(loaded.settings.store, self.tasks, clock)
        self.origins = {
            name: HttpOrigin(origin_options(one)) for name, one in loaded.settings.origins.items()
        }
        self.exchange = Exchange(
            loaded.rules,
            self.origins,
            self.store,
            self.tasks,
            clock,
            trusted=Trust(loaded.settings.server.trusted_proxies),
        )
        self.server = Server(
            self.exchange.answer, server_options(loaded.settings.server), self._observe
        )
        self._access: AccessLog | None = None

    async def start(self) -> list[str]:
        """Listen; the addresses bound. Raises ListenError, or OSError for the access log."""
        log = self.loaded.settings.log
        if log.access != "off":
            path = None if log.access == "stdout" else log.access
            self._access = AccessLog(log.format, path)
            self.observers.append(self._access)
        try:
            return await self.server.start(str(one.address) for one in self.loaded.settings.listen)
        except BaseException:
            await self.close()
            raise

    async def drain(self) -> bool:
        """Finish what runs and take nothing new; False when some had to be cut."""
        return await self.server.drain(self.loaded.settings.server.drain.timeout)

    async def close(self) -> None:
        """Stop now, and give everything back."""
        await self.server.close()
        await self.tasks.close()
        for origin in self.origins.values():
            await origin.close()
        await self.store.close()
        if self._access is not None:
            self._access.close()

    def _observe(self, request: Request, reply: Reply, sent: int, seconds: float) -> None:
        for observer in self.observers:
            try:
                observer(request, reply, sent, seconds)
            except Exception:
                _log.exception("an observer failed")


class Trust:
    """Says whether a peer's forwarding fields are believed."""

    def __init__(self, networks: tuple[said.Network, ...]) -> None:
        self._networks = networks
        self._known: dict[str, bool] = {}

    def __call__(self, client: str) -> bool:
        known = self._known.get(client)
        if known is None:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            known = self._known[client] = self._is_trusted(client)
        return known

    def _is_trusted(self, client: str) -> bool:
        try:
            address = ipaddress.ip_address(client)
        except ValueError:  # a unix socket has no address: whoever may open it is local
            return client == ""
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._networks)


_DEFAULT_TIER_OBJECT = 1 << 20  # bytes; the biggest body kept in front of a shared store


def opened(store: said.Store, tasks: Tasks, clock: Callable[[], float]) -> Store:
    """The store that the configuration names. Raises ValueError when it cannot be used."""
    memory = store.memory
    most = memory.max_object
    if most is None:
        most = memory.max // 4 if store.type == "memory" else _DEFAULT_TIER_OBJECT
    return open_store(
        store.type,
        tasks=tasks,
        clock=clock,
        memory_max=memory.max,
        memory_max_object=min(most, store.max_object),
        url=store.url,
        backend=store.backend,
        options=store.options,
        namespace=store.namespace,
        max_object=store.max_object,
        timeout=store.timeout,
        on_error=store.on_error,
    )


def origin_options(origin: said.Origin) -> OriginOptions:
    times = origin.timeouts
    host = origin.host.value if origin.host.mode == "literal" else origin.host.mode
    return OriginOptions(
        url=str(origin.url),
        host=host,
        connect_timeout=times.connect,
        first_byte_timeout=times.first_byte,
        idle_timeout=times.idle,
    )


def server_options(server: said.Server) -> ServerOptions:
    limits, times = server.limits, server.timeouts
    return ServerOptions(
        head=HeadLimits(head=limits.head, line=min(limits.head, 16384), target=limits.target),
        body=limits.body,
        connections=limits.connections,
        head_timeout=times.head,
        idle_timeout=times.idle,
        body_timeout=times.idle,
        write_timeout=times.write,
    )
