"""One flight per variant for a whole fleet: a lock with an owner and an expiry.

Whoever gets it fetches; the others watch until it is over and look into the store. Nothing
depends on it but the number of fetches: when the store does not answer everybody may fetch,
and when a leader dies its lock expires.
"""

from __future__ import annotations

import asyncio

from vary_proxy.store import _aiocache, layout, notices, scripts
from vary_proxy.store.breaker import Breaker
from vary_proxy.store.notices import Notices
from vary_proxy.store.redis import RedisDriver

_POLL = 0.5  # seconds: a notice may have been lost


class FleetFlights:
    def __init__(self, driver: RedisDriver, breaker: Breaker, hub: Notices, sender: bytes) -> None:
        self._driver = driver
        self._breaker = breaker
        self._hub = hub
        self._sender = sender
        self._watched: dict[bytes, set[asyncio.Event]] = {}
        hub.add(self)

    async def acquire(self, key: bytes, variant: bytes, owner: bytes, seconds: float) -> bool:
        """True: *owner* fetches, and has *seconds* until it must renew. Also without a store."""
        name = layout.flight(key, variant)

        async def add() -> bool:
            try:
                await self._driver.cache.add(name, owner, ttl=float(seconds))
            except ValueError:  # aiocache's word for: somebody else has it
                return False
            return True

        return await self._breaker.run("flight", add, True, write=True)

    async def renew(self, key: bytes, variant: bytes, owner: bytes, seconds: float) -> bool:
        """False: the lock is somebody else's by now, or nobody's."""
        milliseconds = _aiocache.milliseconds(seconds)
        return await self._script(layout.flight(key, variant), owner, milliseconds, b"")

    async def release(self, key: bytes, variant: bytes, owner: bytes) -> None:
        """End the flight, if it is still *owner*'s, and tell those who watch it."""
        name = layout.flight(key, variant)
        message = notices.notice(self._sender, notices.LANDED, name.encode())
        self.heard(notices.LANDED, name.encode())
        await self._script(name, owner, 0, message)

    async def watch(self, key: bytes, variant: bytes, seconds: float) -> bool:
        """True when the flight is over; False when it is not after *seconds*."""
        name = layout.flight(key, variant)
        landed = asyncio.Event()
        watchers = self._watched.setdefault(name.encode(), set())
        watchers.add(landed)
        self._hub.start()
        try:
            async with asyncio.timeout(seconds):
                while await self._is_under_way(name):
                    try:
                        async with asyncio.timeout(_POLL):
                            await landed.wait()
                        return True
                    except TimeoutError:
                        continue
            return True
        except TimeoutError:
            return False
        finally:
            watchers.discard(landed)
            if not watchers:
                self._watched.pop(name.encode(), None)

    def heard(self, kind: bytes, subject: bytes) -> None:
        if kind == notices.LANDED:
            for event in self._watched.get(subject, ()):
                event.set()

    def listening(self, sure: bool) -> None:
        """Watchers ask by themselves."""

    async def _is_under_way(self, name: str) -> bool:
        value = await self._breaker.run("flight", lambda: self._driver.cache.get(name), None)
        return value is not None

    async def _script(self, name: str, owner: bytes, milliseconds: int, message: bytes) -> bool:
        async def renew() -> bool:
            key = self._driver.cache.build_key(name, self._driver.cache.namespace)
            arguments = (owner, milliseconds, self._driver.channel, message)
            return bool(await self._driver.client.eval(scripts.RENEW, 1, key, *arguments))

        return await self._breaker.run("flight", renew, False, write=True)
