"""What went over the wire, as the page shows it: exchanges of each run, and running counts.

A picture's path is ``/gallery/RUN/NAME.png``: each run of the page has addresses of its own,
so that no cache knows them. Visitors, whom the page sends in crowds, are counted only.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from aiohttp import web

from vary_proxy.core.message import Pair, Reply, Request

Observer = Callable[[Request, Reply, int, float], None]
Door = Literal["direct", "proxy", "origin"]  # browser to bucket, to proxy; proxy to bucket

GALLERY = "/gallery/"
VISITOR = "vary-proxy-demo-visitor"
_RUNS = 64  # remembered; older ones are forgotten
_EXCHANGES = 64  # remembered of one run
_HITS = frozenset({"hit", "stale", "collapsed"})
_REPAIRS = frozenset({"added", "repaired"})


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and the head of its answer. Names of fields are in lower case."""

    door: Door
    method: str
    target: str
    asked: tuple[tuple[str, str], ...]
    status: int
    answered: tuple[tuple[str, str], ...]
    cache: str = ""
    vary_added: tuple[str, ...] = ()


@dataclass(slots=True)
class Traffic:
    counts: Counter[str] = field(default_factory=Counter)
    version: int = 0  # rises with every change
    _runs: OrderedDict[str, list[Exchange]] = field(default_factory=OrderedDict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def of(self, run: str) -> list[dict[str, Any]]:
        """The exchanges of *run*, in the order in which they ended."""
        return [asdict(exchange) for exchange in self._runs.get(run, ())]

    async def change(self, since: int, within: float) -> None:
        """Return when the version is not *since* any more, or after *within* seconds."""
        if self.version == since:
            with suppress(TimeoutError):
                async with asyncio.timeout(within):
                    await self._changed.wait()

    def wake(self) -> None:
        """Let everybody who waits for a change go on."""
        self.version += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def saw_origin(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        """The bucket answered: a browser directly, or the proxy, which says Via."""
        door: Door = "origin" if "Via" in request.headers else "direct"
        exchange = Exchange(
            door,
            request.method,
            request.raw_path,
            _text(request.raw_headers),
            response.status,
            tuple((name.lower(), value) for name, value in response.headers.items()),
        )
        self._note(exchange, (door,))

    def saw_proxy(self, request: Request, reply: Reply, size: int, seconds: float) -> None:
        """The proxy answered: an observer of the application."""
        record = reply.record
        exchange = Exchange(
            "proxy",
            request.method.decode(),
            request.target.decode("latin-1"),
            _text(request.fields.items),
            reply.status,
            _text(reply.fields.items),
            record.cache,
            tuple(name.decode() for name in record.vary_added),
        )
        if record.cache in _HITS:
            self._note(exchange, ("hit",))
        else:
            repaired = record.vary_action in _REPAIRS
            self._note(exchange, ("miss", "repair") if repaired else ("miss",))

    def _note(self, exchange: Exchange, verdicts: Iterable[str]) -> None:
        if not exchange.target.startswith(GALLERY):
            return
        self.counts.update(verdicts)
        if ("user-agent", VISITOR) not in exchange.asked:
            run = exchange.target.removeprefix(GALLERY).partition("/")[0]
            exchanges = self._runs.setdefault(run, [])
            if len(exchanges) < _EXCHANGES:
                exchanges.append(exchange)
            if len(self._runs) > _RUNS:
                self._runs.popitem(last=False)
        self.wake()


def _text(pairs: Iterable[Pair]) -> tuple[tuple[str, str], ...]:
    return tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in pairs)
