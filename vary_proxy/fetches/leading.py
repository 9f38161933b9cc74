"""The one process of a fleet that fetches, and what it tells those who follow.

Nothing is told while nobody follows: most flights are over before the first of these questions.
A flight that makes no headway is not renewed, so that its followers look for another one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from vary_proxy.core.stored import Body, StoredResponse
from vary_proxy.fetches.spool import Spool
from vary_proxy.flights import RIDE_SECONDS
from vary_proxy.store.base import Writer
from vary_proxy.tasks import Tasks

if TYPE_CHECKING:
    from vary_proxy.fetches.convoy import Fleet
    from vary_proxy.store.bodies import SoFar
    from vary_proxy.store.codec import Headway

_TO_COME = Body(bytes(20), 0)
_STEP = 0.05  # seconds between two pieces of headway
_TICK = 1.0  # seconds between two looks whether somebody follows
LOST, FOLLOWED = 0, 2  # what a fleet says of a flight


@runtime_checkable
class Shared(Protocol):
    """A writer whose blocks others can read before it commits."""

    def so_far(self) -> SoFar | None:
        """What there is to read; None: it came to nothing."""

    def lend(self) -> None:
        """Somebody reads it: it stays for a while, also when it is not published."""


class Lead:
    """A flight of the fleet that is ours, *owner* by name."""

    def __init__(
        self, fleet: Fleet, tasks: Tasks, key: bytes, variant: bytes, owner: bytes
    ) -> None:
        self._fleet = fleet
        self._tasks = tasks
        self._key = key
        self._variant = variant
        self._owner = owner
        self._over = False
        self._followed = False
        self._body: _Body | None = None
        self._told = (-1, -1)

    def load(self, draft: StoredResponse, spool: Spool, writer: Writer) -> None:
        """The head has come, and its body begins."""
        if isinstance(writer, Shared):
            self._body = _Body(draft, spool, writer)
            self._tasks.spawn(self._tell(self._body), "lead a flight")

    def land(self) -> None:
        """It is over: stored, or not to be stored."""
        self._over = True
        self._tasks.spawn(self._release(), "release a flight")

    async def _release(self) -> None:
        last: Headway | None = None
        if self._told[0] >= 0 and self._body is not None:  # else it is found in the store, or not
            so_far = self._body.writer.so_far()
            if so_far is not None and so_far.done:
                last = self._headway(self._body, so_far)
        await self._fleet.release(self._key, self._variant, self._owner, RIDE_SECONDS, last)

    async def _tell(self, body: _Body) -> None:
        with self._fleet.ears(self._key, self._variant) as ears:
            seen, goes_on = (-1, -1), True
            while goes_on:
                news = await ears.wait(_STEP if self._followed or seen[0] < 0 else _TICK)
                so_far = body.writer.so_far()
                if self._over:
                    return
                if so_far is None:
                    await self._release()
                    return
                now = (body.spool.size, so_far.size)
                if news or now != seen:
                    goes_on, seen = await self._renew(body, so_far), now

    async def _renew(self, body: _Body, so_far: SoFar) -> bool:
        """Go on, and tell what there is if somebody wants to know; False: it is ours no more."""
        told = (so_far.size, len(so_far.tail))
        while True:
            new = self._followed and told != self._told
            found = await self._fleet.lead(
                self._key,
                self._variant,
                self._owner,
                RIDE_SECONDS,
                self._headway(body, so_far) if new else None,
            )
            if new:
                self._told = told
            was, self._followed = self._followed, found == FOLLOWED
            if self._followed:
                body.writer.lend()
            if was or not self._followed:
                return found != LOST

    def _headway(self, body: _Body, so_far: SoFar) -> Headway:
        from vary_proxy.store import codec  # only who shares a store pays for its import

        return codec.Headway(
            key=self._key,
            owner=self._owner,
            head=codec.encode_variant(self._key, replace(body.draft, body=_TO_COME)),
            length=body.spool.length,
            token=so_far.token,
            size=so_far.size,
            tail=so_far.tail,
            done=so_far.done,
        )


@dataclass(frozen=True, slots=True)
class _Body:
    draft: StoredResponse
    spool: Spool
    writer: Shared
