"""What looks at a running app: counts, blocked requests, the probes and the admin listener.

Without such a listener nothing is counted, and neither the listeners' modules nor
``prometheus_client`` are imported.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from vary_proxy.config import Loaded
from vary_proxy.configuration.settings import Address, Settings
from vary_proxy.observation.blocked import BlockedRequests
from vary_proxy.observation.tally import Tally, Watched
from vary_proxy.origin import Origin
from vary_proxy.server import Observer, Server
from vary_proxy.store.base import Store

if TYPE_CHECKING:
    from aiohttp.web import Application

    from vary_proxy.observation.metrics import Metrics
    from vary_proxy.observation.probes import Site
    from vary_proxy.observation.tailing import Feeds
    from vary_proxy.purges.purging import Purger
    from vary_proxy.reloading import ReloadOutcome
    from vary_proxy.workers.inherited import Inherited
    from vary_proxy.workers.peers import Peers


class Told(Protocol):
    """Those who are told what requests came to."""

    def append(self, observer: Observer) -> None: ...

    def remove(self, observer: Observer) -> None: ...


class Watchable(Protocol):
    """What there is to look at: an App."""

    loaded: Loaded
    server: Server
    store: Store
    draining: bool
    purger: Purger

    @property
    def observers(self) -> Told: ...

    @property
    def origins(self) -> Mapping[str, Origin]: ...

    @property
    def last_reload_ok(self) -> bool: ...

    async def reload(self) -> ReloadOutcome: ...


class Eyes:
    """*clock* gives Unix seconds. ``bound`` says where its listeners listen, by their names."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self.settle: Callable[[], None] = lambda: None  # has what was put off counted now
        self._blocked = BlockedRequests(clock)
        self._tally: Tally | None = None
        if settings.probes.address is not None or settings.admin.address is not None:
            self._tally = Tally(clock, tiers=settings.store.type != "memory")
        self.clock = clock
        self.started = clock()
        self.listening = False  # set when traffic can come
        self.inherited: Inherited | None = None  # where it is one of several workers
        self.peers: Peers | None = None
        self.lost_lines: Callable[[], int] = lambda: 0  # of the access log
        self.feeds: Feeds | None = None  # where there is an admin listener
        self._metrics: Metrics | None = None
        self._sites: dict[str, Site] = {}

    @property
    def blocked(self) -> BlockedRequests:
        """As of now."""
        self.settle()
        return self._blocked

    @property
    def tally(self) -> Tally | None:
        """As of now; None where nothing is counted."""
        self.settle()
        return self._tally

    @property
    def observers(self) -> list[Observer]:
        return [self.blocked] if self.tally is None else [self.blocked, self.tally]

    @property
    def bound(self) -> dict[str, str]:
        return {name: site.bound for name, site in self._sites.items()}

    def origins(self, origins: Mapping[str, Origin]) -> Mapping[str, Origin]:
        """*origins*, counted if anything is; holds *origins* for as long as it lives."""
        return origins if self.tally is None else _Counted(origins, self.tally)

    def purged(self, kind: str) -> None:
        if self.tally is not None:
            self.tally.purged[kind] += 1

    def missed(self) -> None:
        """Another worker did not hear in time of what has become invalid."""
        if self.tally is not None:
            self.tally.failures["invalidate", "peer"] += 1

    def unready(self, app: Watchable) -> str:
        """Why traffic is not welcome; "" when it is."""
        if app.draining:
            return "draining"
        return "" if self.listening else "starting"

    async def open(self, app: Watchable) -> None:
        """Start the listeners. Raises ListenError."""
        settings = app.loaded.settings
        if settings.probes.address is not None:
            from vary_proxy.observation import probes

            state = self._state(app)
            await self._start("probes", probes.application(state), settings.probes.address)
        if settings.admin.address is not None:
            from vary_proxy import admin
            from vary_proxy.observation import tailing

            self.feeds = tailing.Feeds(app.observers)

            await self._start("admin", admin.application(app, self), settings.admin.address)

    def _state(self, app: Watchable) -> Any:
        from vary_proxy.observation.probes import State

        self._metrics = self._made(app)
        return State(lambda: self.unready(app), self._rendered, lambda: _details(app))

    async def _rendered(self, accept: str) -> tuple[bytes, str]:
        assert self._metrics is not None
        if self.peers is None:
            self.settle()
            return self._metrics.render(accept)
        from vary_proxy.observation import summing

        return summing.render([self.page(), *await self.peers.ask("metrics")], accept)

    def page(self) -> bytes:
        """The metrics of this worker alone; nothing where none are asked for."""
        self.settle()
        return b"" if self._metrics is None else self._metrics.render()[0]

    def answers(self, app: Watchable) -> dict[str, Callable[[bytes], Awaitable[bytes]]]:
        """What other workers may ask of this one, by the verb."""
        from vary_proxy.observation import overview, together

        async def metrics(_: bytes) -> bytes:
            return self.page()

        async def stats(_: bytes) -> bytes:
            return msgspec.msgpack.encode(together.own(app, self))

        async def inspect(url: bytes) -> bytes:
            found = await app.purger.found(url.decode())
            return msgspec.json.encode(overview.inspected(found, self.clock()))

        async def tail(question: bytes) -> bytes:
            return b"" if self.feeds is None else await self.feeds.answer(question)

        return {
            "metrics": metrics, "stats": stats, "inspect": inspect, "purge": app.purger.echo,
            "tail": tail,
        }  # fmt: skip

    async def others_hold(self, url: str) -> list[dict[str, Any]]:
        """What the memories of the other workers hold of *url*."""
        if self.peers is None or (self.tally is not None and self.tally.tiers):
            return []
        answers = await self.peers.ask("inspect", url.encode())
        return [one for answer in answers for one in msgspec.json.decode(answer)]

    def _made(self, app: Watchable) -> Metrics:
        from vary_proxy.observation.metrics import Metrics, Sources

        assert self.tally is not None
        sources = Sources(
            lambda: app.server.in_flight,
            lambda: app.store.stats(),
            lambda: app.last_reload_ok,
            lambda: app.origins,
            lambda: self.lost_lines(),
        )
        return Metrics(self.tally, sources)

    async def _start(self, name: str, application: Application, address: Address) -> None:
        from vary_proxy.observation.probes import Site

        sock = None if self.inherited is None else self.inherited.sockets.get(name)
        site = Site(application, address, sock)
        await site.start()
        self._sites[name] = site

    async def close(self) -> None:
        if self.feeds is not None:
            self.feeds.closed = True
        for site in self._sites.values():
            await site.close()
        self._sites.clear()


class _Counted(dict[str, Origin]):
    __slots__ = ("of",)

    def __init__(self, of: Mapping[str, Origin], tally: Tally) -> None:
        super().__init__({name: Watched(name, one, tally) for name, one in of.items()})
        self.of = of  # what is watched may be asked for as long as somebody holds it


def _details(app: Watchable) -> dict[str, Any]:
    stats = app.store.stats()
    return {
        "connections": app.server.connections,
        "in_flight": app.server.in_flight,
        "store": {"type": app.loaded.settings.store.type, "bytes": stats.bytes},
    }
