"""One flight per variant for a whole fleet: a lock with an owner and an expiry, and its headway.

Whoever gets the lock fetches. While somebody follows, it tells what it brings: the head, and
how much of the body lies in blocks that only its followers know of, with what comes behind
these. Nothing depends on it but the number of fetches: when the store does not answer everybody
may fetch, and when a leader dies its lock expires.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from vary_proxy.core.message import Buffer
from vary_proxy.core.stored import StoredResponse
from vary_proxy.store import _aiocache, bodies, codec, layout, notices, scripts
from vary_proxy.store.breaker import Breaker
from vary_proxy.store.codec import Headway, Place
from vary_proxy.store.notices import Notices
from vary_proxy.store.redis import RedisDriver

LOST, ALONE, FOLLOWED = 0, 1, 2
_PURGES = frozenset((notices.PURGED, notices.TAG, notices.ALL, notices.FENCE))
_FOLLOWING = 2.0  # seconds for which a question counts as following


class Ears:
    """Hears that there is news of one flight."""

    def __init__(self) -> None:
        self.event = asyncio.Event()

    async def wait(self, seconds: float) -> bool:
        """True when there is news, False when there was none for *seconds*."""
        try:
            async with asyncio.timeout(seconds):
                await self.event.wait()
        except TimeoutError:
            return False
        self.event.clear()
        return True


class FleetFlights:
    def __init__(self, driver: RedisDriver, breaker: Breaker, hub: Notices, sender: bytes) -> None:
        self._driver = driver
        self._breaker = breaker
        self._hub = hub
        self._sender = sender
        self._ears: dict[bytes, set[Ears]] = {}
        self.on_purge: list[Callable[[bytes | None], None]] = []  # a key, or None: any; by others
        hub.add(self)

    async def acquire(self, key: bytes, variant: bytes, owner: bytes, seconds: float) -> bool:
        """True: *owner* fetches, and has *seconds* until it must tell. Also without a store."""
        name = layout.flight(key, variant)

        async def add() -> bool:
            try:
                await self._driver.cache.add(name, owner, ttl=float(seconds))
            except ValueError:  # aiocache's word for: somebody else has it
                return False
            return True

        return await self._breaker.run("flight", add, True, write=True)

    async def lead(
        self, key: bytes, variant: bytes, owner: bytes, seconds: float, headway: Headway | None
    ) -> int:
        """LOST, ALONE or FOLLOWED; the flight goes on for *seconds*, with *headway* if any."""
        name = layout.flight(key, variant)
        said = b"" if headway is None else codec.encode_headway(headway)
        arguments = (owner, _aiocache.milliseconds(seconds), said, *self._news(name))
        return int(await self._run(scripts.LEAD, _keys(name), arguments, LOST))

    async def release(
        self, key: bytes, variant: bytes, owner: bytes, seconds: float, headway: Headway | None
    ) -> None:
        """End the flight, if it is still *owner*'s; *headway* is kept for *seconds*."""
        name = layout.flight(key, variant)
        self.heard(notices.FLIGHT, name.encode())
        said = b"" if headway is None else codec.encode_headway(headway)
        arguments = (owner, _aiocache.milliseconds(seconds), said, *self._news(name))
        await self._run(scripts.LAND, _keys(name)[:2], arguments, 0)

    async def follow(
        self, key: bytes, variant: bytes
    ) -> tuple[bytes, tuple[Headway, StoredResponse] | None] | None:
        """The flight's owner (empty: it is over) and its headway; None: there is no answer."""
        name = layout.flight(key, variant)
        arguments = (_aiocache.milliseconds(_FOLLOWING), *self._news(name))
        found = await self._run(scripts.FOLLOW, _keys(name), arguments, None)
        if found is None:
            return None
        owner, said = found
        return bytes(owner), codec.decode_headway(key, said)

    async def read(
        self, key: bytes, headway: Headway, start: int, stop: int
    ) -> Sequence[Buffer] | None:
        """Some bytes of the body of a flight from *start*, not beyond *stop*; None: they are gone.

        *stop* is within what its headway says is there.
        """
        place = Place(b"", headway.size, headway.token, layout.BLOCK)
        spans = layout.spans(place, start, stop)[: bodies.WINDOW]
        return await bodies.fetch(self._get, layout.row(key), place, spans)

    async def keep(self, key: bytes, headway: Headway) -> None:
        """What *headway* tells of is read still: it stays for a while longer."""
        place = Place(b"", headway.size, headway.token, layout.BLOCK)
        names = layout.block_names(layout.row(key), place)
        await self._breaker.run(
            "keep",
            lambda: self._driver.prolong_blocks(names, layout.ABANDONED),
            None,
            write=True,
        )

    @contextmanager
    def ears(self, key: bytes, variant: bytes) -> Iterator[Ears]:
        """Hear of this flight for as long as the block lasts."""
        name = layout.flight(key, variant).encode()
        ears = Ears()
        self._ears.setdefault(name, set()).add(ears)
        self._hub.start()
        try:
            yield ears
        finally:
            self._ears[name].discard(ears)
            if not self._ears[name]:
                del self._ears[name]

    def heard(self, kind: bytes, subject: bytes) -> None:
        if kind == notices.FLIGHT:
            for ears in self._ears.get(subject, ()):
                ears.event.set()
        elif kind in _PURGES:
            for tell in self.on_purge:
                tell(subject if kind == notices.PURGED else None)

    def listening(self, sure: bool) -> None:
        """Followers and leaders look by themselves, only later."""

    def _news(self, name: str) -> tuple[str, bytes]:
        return (
            self._driver.channel,
            notices.notice(self._sender, notices.FLIGHT, name.encode()),
        )

    async def _get(self, names: Sequence[str]) -> Sequence[object] | None:
        return await self._breaker.run("read", lambda: self._driver.get_blocks(names), None)

    async def _run(
        self, script: str, names: Sequence[str], arguments: Sequence[Any], otherwise: Any
    ) -> Any:
        cache = self._driver.cache
        keys = [cache.build_key(one, cache.namespace) for one in names]

        async def run() -> Any:
            return await self._driver.client.eval(script, len(keys), *keys, *arguments)

        return await self._breaker.run("flight", run, otherwise, write=True)


def _keys(name: str) -> tuple[str, str, str]:
    return name, f"{name}:h", f"{name}:w"
