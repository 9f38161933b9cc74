"""What one worker finds to be invalid is so for the memories of all others. RFC 9111 §4.4.

Each of the others is told by itself. What comes up while one is being told goes with the next
message to it, so that a stream of unsafe requests costs one message at a time. Who asked waits
for the others for a moment only, and not for one that did not answer the last time: that one is
counted as missed, and hears of it when it comes back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

import msgspec

from vary_proxy.exchange import Exchange
from vary_proxy.store.base import Store
from vary_proxy.store.memory import MemoryStore
from vary_proxy.tasks import Tasks
from vary_proxy.workers.peers import Peers

if TYPE_CHECKING:
    from vary_proxy.store.layered import LayeredStore

VERB = "invalidate"
WAIT = 0.1  # seconds
_MOST = 10_000  # primary keys in one message; of more it is everything


class Echoing:
    """Tells *peers*, and takes their word for *store* and *exchange*, as it is each time.

    *missed* is called for each message that one of them did not answer.
    """

    def __init__(
        self,
        peers: Peers,
        tasks: Tasks,
        store: Store,
        exchange: Callable[[], Exchange],
        missed: Callable[[], None],
    ) -> None:
        self._lines = [_Line(peers, one, tasks, missed) for one in peers.addresses]
        # What is not in memory alone is shared; its module is imported only then.
        self._shared = None if isinstance(store, MemoryStore) else cast("LayeredStore", store)
        self._store = store
        self._exchange = exchange

    async def say(self, keys: Sequence[bytes]) -> None:
        """*keys* are invalid. Done when the others know, or after WAIT seconds."""
        if self._shared is not None and self._shared.flights is not None and not self._alone():
            return  # a shared store that is well tells them itself
        told = [line.add(keys) for line in self._lines]
        waited_for = [one for one in told if one is not None]
        if waited_for:
            await asyncio.wait(waited_for, timeout=WAIT)

    async def hear(self, said: bytes) -> bytes:
        """What another worker says; nothing comes of it but that it is so."""
        keys, exchange = decoded(said), self._exchange()
        if keys is None:
            exchange.forget(lambda key: True)
            await self._store.clear()
        elif self._alone():
            await exchange.invalidate(keys)
        for key in keys or ():
            exchange.flights.ground(key)
        return b""

    def _alone(self) -> bool:
        """True while what is stored is in the memory of each worker."""
        return self._shared is None or not self._shared.shared.breaker.writable


def encoded(keys: Sequence[bytes] | None) -> bytes:
    """That these primary keys are invalid; None: any may be."""
    return msgspec.msgpack.encode(keys)


def decoded(said: bytes) -> Sequence[bytes] | None:
    return msgspec.msgpack.decode(said, type=list[bytes] | None)


class _Line:
    """To one of the others."""

    def __init__(
        self, peers: Peers, address: bytes | str, tasks: Tasks, missed: Callable[[], None]
    ) -> None:
        self._peers = peers
        self._address = address
        self._tasks = tasks
        self._missed = missed
        self._next: dict[bytes, None] = {}
        self._told: asyncio.Future[None] | None = None  # all that is in _next
        self._is_speaking = False
        self._is_silent = False  # it gave no answer the last time

    def add(self, keys: Sequence[bytes]) -> asyncio.Future[None] | None:
        """Comes to its end when *keys* are known there; None: that may take long."""
        self._next.update(dict.fromkeys(keys))
        if self._told is None:
            self._told = asyncio.get_running_loop().create_future()
        told = self._told
        if not self._is_speaking:
            self._is_speaking = True
            self._tasks.spawn(self._speak(), "tell of invalidations")
        return None if self._is_silent else told

    async def _speak(self) -> None:
        try:
            while self._told is not None:
                keys, told = self._next, self._told
                self._next, self._told = {}, None
                said = encoded(None if len(keys) > _MOST else list(keys))
                answer = await self._peers.tell_one(self._address, VERB, said, encoded(None))
                self._is_silent = answer is None
                if answer is None:
                    self._missed()
                told.set_result(None)
        finally:
            self._is_speaking = False
