"""Puts the parts together, and takes them apart in order.

Nothing here decides: it reads Settings, builds origins, store, exchange and server, and owns
their lives. ``start`` leaves everything running, or nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import msgspec

from vary_proxy.channel import Channel
from vary_proxy.clients.certificates import Certificate, CertificateError
from vary_proxy.clients.listening import Listener, ListenError
from vary_proxy.clients.trusting import Trust
from vary_proxy.config import Loaded, load
from vary_proxy.configuration import settings as said
from vary_proxy.core.message import Reply, Request
from vary_proxy.exchange import Exchange, OnInvalid
from vary_proxy.fastlane import FastLane
from vary_proxy.fitting import opened, server_options
from vary_proxy.flights import Flights
from vary_proxy.hot import Hot
from vary_proxy.observation import selfexplaining
from vary_proxy.observation.accesslog import AccessLog
from vary_proxy.observation.eyes import Eyes
from vary_proxy.observation.logfile import LogFile
from vary_proxy.observation.observing import Observers
from vary_proxy.observation.tracing import tracer
from vary_proxy.origins.reaching import reached
from vary_proxy.purges.purgemethod import PurgeMethod
from vary_proxy.purges.purging import Purger
from vary_proxy.reloading import LOOK_SECONDS, OriginMap, Reloader, ReloadOutcome, looking, retire
from vary_proxy.server import Server
from vary_proxy.tasks import Tasks
from vary_proxy.workers.echoing import VERB, Echoing
from vary_proxy.workers.inherited import Inherited
from vary_proxy.workers.peers import Peers

_log = logging.getLogger("vary_proxy")


class App:
    """One worker: everything between its listening sockets and the origins.

    ``observers`` are called once at the end of each request with the request, the reply, the
    bytes of content sent, and seconds.
    """

    def __init__(
        self,
        loaded: Loaded,
        clock: Callable[[], float] = time.time,
        *,
        fast: bool = True,
        reread: Callable[[], Loaded] | None = None,
        inherited: Inherited | None = None,
    ) -> None:
        self.loaded, settings = loaded, loaded.settings
        self.draining = False  # traffic still goes on, but readiness has ended
        self._clock = clock
        self._token = loaded.settings.admin.token  # as the admin listener has it
        self.eyes = Eyes(loaded.settings, clock)
        self.observers = Observers(self.eyes.observers)
        self._tracer = tracer(settings.tracing, settings.store.type, os.environ)
        self.tasks = Tasks()
        self.store = opened(settings.store, self.tasks, clock, self._tracer.store(self.eyes.tally))
        beside = _beside(loaded)
        self.origins = {name: reached(one, beside) for name, one in settings.origins.items()}
        self.hot = Hot(self.store, clock, loaded.rules.header_names, settings.store.memory.max // 4)
        self._asked = self._watched()
        self.trusted = Trust(settings.server.trusted_proxies)
        self._on_invalid: OnInvalid | None = None  # there are other workers to be told
        self.exchange = self._exchange(Flights())
        self.purger = Purger(self.store, lambda: self.exchange, lambda: self.loaded.rules.policies)
        self._purge = PurgeMethod(
            self.purger, loaded.settings.admin.purge_from, clock, self.eyes.purged
        )
        self._reloader = Reloader(loaded, reread or (lambda: load(loaded.path)), self.take)
        options = server_options(loaded.settings.server, loaded.rules.fallback)
        lane = FastLane(self.hot, self.observers, self._believes, clock)
        self.eyes.settle, self._bound = lane.settle, lane.bound
        self._bound(options.head)
        answer = self._tracer.handler(self._answer)
        self.server = Server(answer, options, self.observers.tell, lane if fast else None)
        self._access: AccessLog | None = None
        self._certificates: list[Certificate] = []
        self._inherited = self.eyes.inherited = inherited
        self.peers: Peers | None = None

    async def start(self) -> list[str]:
        """Listen; the addresses bound. Raises ListenError, or OSError for the access log."""
        log = self.loaded.settings.log
        if log.access != "off":
            path = None if log.access == "stdout" else log.access
            turns = None if self._inherited is None else self._inherited.turns
            access = self._access = AccessLog(log.format, LogFile(path, turns), self._tracer.named)
            self.eyes.lost_lines = lambda: access.lost
            self.observers.append(self._access)
        for observer in self._tracer.observers:
            self.observers.append(observer)
        try:
            if self._inherited is not None:
                self.peers = self.eyes.peers = await self._met(self._inherited)
            await self.eyes.open(self)
            for origin in self.origins.values():
                origin.begin()
            bound = await self.server.start(self._listeners())
            self.eyes.listening = True
            return bound
        except BaseException:
            await self.close()
            raise

    async def _met(self, inherited: Inherited) -> Peers:
        """Those who share our port, ready to be asked and answered."""

        async def reload(_: bytes) -> bytes:
            return msgspec.json.encode(await self.reload(alone=True))

        peers = Peers(inherited.own, inherited.others())
        echoing = Echoing(peers, self.tasks, self.store, lambda: self.exchange, self.eyes.missed)
        answers = {"reload": reload, VERB: echoing.hear}
        await peers.serve({**self.eyes.answers(self), **answers})
        self.purger.peers = peers
        self._on_invalid = self.exchange.invalid.to = echoing.say
        return peers

    def _listeners(self) -> Iterator[Listener]:
        """Where to listen, and how. Raises ListenError when a certificate cannot be used."""
        for at, one in enumerate(self.loaded.settings.listen):
            listener = self._listener(one)
            if self._inherited is None:
                yield listener
            elif (sock := self._inherited.sockets.get(f"listen[{at}]")) is not None:
                yield replace(listener, sock=sock)
            else:
                for address in self._inherited.ports[at]:
                    yield replace(listener, address=address, reuse_port=True)

    def _listener(self, one: said.Listen) -> Listener:
        context = None
        if one.tls is not None:
            beside = _beside(self.loaded)
            try:
                certificate = Certificate(beside / one.tls.cert, beside / one.tls.key)
            except CertificateError as error:
                raise ListenError(str(one.address), str(error)) from None
            self._certificates.append(certificate)
            context = certificate.context
        announced = (lambda peer: self.trusted(peer)) if one.proxy_protocol else None
        return Listener(str(one.address), context, announced=announced)

    async def drain(self, *, patient: bool = True) -> bool:
        """Finish what runs and take nothing new; False when some had to be cut.

        Readiness ends at once. A *patient* drain serves on for ``drain.delay``, in which
        balancers learn of it.
        """
        self.draining = True
        drain = self.loaded.settings.server.drain
        if patient:
            await asyncio.sleep(drain.delay)
        return await self.server.drain(drain.timeout)

    @property
    def last_reload_ok(self) -> bool:
        """Whether the newest configuration is the one in use."""
        return self._reloader.last_ok

    async def reload(self, *, alone: bool = False) -> ReloadOutcome:
        """Read the configuration and certificates again; what cannot be used changes nothing.

        The other workers do so too, unless we are to do it *alone*.
        """
        await self._renew()
        return await self._reloader.reload(None if alone else self.peers)

    def _watched(self) -> OriginMap:
        """The origins as requests ask them: counted and traced, where that is wanted."""
        return OriginMap(self._tracer.origins(self.eyes.origins(self.origins)))

    async def hang_up(self) -> None:
        """What SIGHUP asks for: the access log opened anew, the configuration read again."""
        if self._access is not None:
            self._access.reopen()
        await self.reload(alone=True)  # a supervisor tells every worker

    async def watch(self) -> None:
        """Reload what changes on disk, for ever."""
        await looking(self._look, LOOK_SECONDS)

    async def _look(self) -> None:
        await self._renew()
        await self._reloader.look()

    async def _renew(self) -> None:
        for certificate in self._certificates:
            await certificate.look()
        for origin in tuple(self.origins.values()):
            await origin.renew()

    def _answer(self, request: Request, channel: Channel) -> Awaitable[Reply]:
        if request.method == b"PURGE" and self.loaded.settings.admin.purge_from:
            return self._purge.answer(request)
        # A request keeps the exchange that it began with: rules and origins of one configuration.
        if selfexplaining.FIELD in request.fields:
            return self._explained(request, channel, self.exchange)
        return self.exchange.answer(request, channel)

    def _explained(
        self, request: Request, channel: Channel, exchange: Exchange
    ) -> Awaitable[Reply]:
        asked = selfexplaining.Asked(
            self.loaded, self._token, self._clock, trusted=self.trusted(request.client)
        )
        return asked.answer(request, lambda plain: exchange.answer(plain, channel))

    def _exchange(self, flights: Flights) -> Exchange:
        fleet = getattr(self.store, "flights", None)
        if fleet is not None:
            fleet.on_purge[:] = [self._purged_elsewhere]
        exchange = Exchange(
            self.loaded.rules,
            self._asked,
            self.store,
            self.tasks,
            self._clock,
            trusted=self.trusted,
            flights=flights,
            fleet=fleet,
        )
        exchange.on_hit, exchange.on_edge = self.hot.learn, self.hot.learn_edge
        exchange.invalid.to = self._on_invalid
        return exchange

    def take(self, loaded: Loaded) -> None:
        """Answer from now on by *loaded*; what is under way ends as it began."""
        before, said_before = self.origins, self.loaded.settings.origins
        said_now = loaded.settings.origins
        now = {
            name: before[name] if one == said_before.get(name) else reached(one, _beside(loaded))
            for name, one in said_now.items()
        }
        gone, old = self._asked, self.exchange
        self.loaded, self.origins = loaded, now
        self._asked = gone.later = self._watched()
        self.trusted = Trust(loaded.settings.server.trusted_proxies)
        old.on_hit = old.on_edge = None  # what it still answers is not to be given again
        self.exchange = self._exchange(old.flights)
        self.hot.restart(loaded.rules.header_names)
        options = server_options(loaded.settings.server, loaded.rules.fallback)
        self._bound(options.head)
        self.server.change(options)
        _log.setLevel(loaded.settings.log.level.upper())
        for one in set(now.values()) - set(before.values()):
            one.begin()
        kept = set(now.values())
        retire(gone, [one for one in before.values() if one not in kept], self.tasks)
        if self._inherited is not None:
            self._inherited.agreed.keep(loaded.text)

    async def close(self) -> None:
        """Stop now, and give everything back."""
        await self.server.close()
        self.eyes.settle()
        await self.eyes.close()
        if self.peers is not None:
            await self.peers.close()
        await self.store.close()  # which may still say goodbye through a task
        await self.tasks.close()
        for origin in self.origins.values():
            await origin.close()
        await self._tracer.close()
        if self._access is not None:
            self._access.close()

    def _purged_elsewhere(self, key: bytes | None) -> None:
        """Who asks from now on joins nothing that was asked for before."""
        if key is None:
            self.exchange.forget(lambda _: True)
        else:
            self.exchange.forget_one(key)

    def _believes(self, client: str) -> bool:
        return self.trusted(client)  # a reload puts another in its place


def _beside(loaded: Loaded) -> Path:
    """Where relative paths of the configuration begin."""
    return Path() if loaded.path is None else loaded.path.parent
