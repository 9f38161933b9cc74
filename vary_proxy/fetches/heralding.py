"""One fetch of a missing block for the whole fleet, where processes share a store.

A run (runs.py) is announced before it asks, and then where it is: which blocks of which body it
brings. Another process that wants one of them, and that the run is about to bring, waits for it
in the store instead of asking. Nobody waits longer than riders would, nor twice for the same run
in vain, nor for one of his own process: he would read along. While somebody waits, the run goes
on at the pace of the origin, whatever its own readers take; when it makes no headway, or its
process dies, its announcement expires, and who waits asks for himself. The name of a body is
drawn by lot for each that is published, so what was announced of one that was purged is of no
other.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import struct
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from vary_proxy.core import blocks
from vary_proxy.core.blocks import BLOCK
from vary_proxy.core.ranges import Span
from vary_proxy.core.stored import Body
from vary_proxy.fetches.leading import FOLLOWED, LOST
from vary_proxy.fetches.running import NEAR, Run
from vary_proxy.flights import RIDE_SECONDS
from vary_proxy.store.base import Store
from vary_proxy.tasks import Tasks

if TYPE_CHECKING:
    from vary_proxy.fetches.convoy import Fleet

_OWNER = struct.Struct(">QQ8s")  # the blocks [first, stop), and a name drawn by lot
_REGION = 8  # blocks: of so many one run is announced at a time
_NEAR = NEAR // BLOCK  # blocks that it may be behind one who waits for it
_LOOK = 0.05  # seconds between two looks for a block
_TICK = 1.0  # seconds between two signs of life
_IGNORED = 1024  # runs that nobody waits for are remembered, at most


class Heralds:
    def __init__(self, fleet: Fleet, store: Store, tasks: Tasks) -> None:
        self._fleet = fleet
        self._store = store
        self._tasks = tasks
        self._ignored: OrderedDict[bytes, None] = OrderedDict()  # by owner

    async def announce(self, key: bytes, body: Body, span: Span) -> Herald | None:
        """A run of *span* is ours from now on; None: another process has one hereabouts."""
        herald = Herald(self._fleet, self._tasks, key, body, blocks.numbers(span))
        self._ignore(herald.owner)
        return herald if await herald.enter(span.start // BLOCK) else None

    async def brought(self, key: bytes, body: Body, offset: int) -> bool:
        """True once the block at *offset* is there that another process was about to bring.

        False: nobody does, or he takes too long.
        """
        # By the clock: a client of Redis can lose a cancellation, and with it a timeout.
        until = time.monotonic() + RIDE_SECONDS
        while (owner := await self._near(key, body, offset // BLOCK)) is not None:
            if time.monotonic() >= until:
                self._ignore(owner)
                return False
            await asyncio.sleep(_LOOK)
            if await self.is_there(key, body, offset):
                return True
        return await self.is_there(key, body, offset)  # it may just have ended

    def _ignore(self, owner: bytes) -> None:
        self._ignored[owner] = None
        if len(self._ignored) > _IGNORED:
            self._ignored.popitem(last=False)

    async def is_there(self, key: bytes, body: Body, offset: int) -> bool:
        number = offset // BLOCK
        return all(await self._store.blocks.present(key, body, range(number, number + 1)))

    async def _near(self, key: bytes, body: Body, number: int) -> bytes | None:
        """The owner of a run that was announced and brings this block soon; None: there is none."""
        for region in {number // _REGION, max(0, number - _NEAR) // _REGION}:
            told = await self._fleet.follow(key, _variant(body, region))
            if told is None or len(told[0]) != _OWNER.size or told[0] in self._ignored:
                continue
            first, stop, _ = _OWNER.unpack(told[0])
            if first <= number < stop:
                before = range(max(first, number - _NEAR), number)
                if before.start == first or any(
                    await self._store.blocks.present(key, body, before)
                ):
                    return told[0]
        return None


class Herald:
    """Announces one run, of the blocks *numbers*, in the region where it is."""

    def __init__(self, fleet: Fleet, tasks: Tasks, key: bytes, body: Body, numbers: range) -> None:
        self._fleet = fleet
        self._tasks = tasks
        self._key = key
        self._body = body
        self.owner = _OWNER.pack(numbers.start, numbers.stop, os.urandom(8))
        self._region = -1
        self._variant = b""  # empty: it is announced nowhere

    async def enter(self, number: int) -> bool:
        """Announce the run where it brings block *number*; False when another is there."""
        self.land()
        self._region = number // _REGION
        variant = _variant(self._body, self._region)
        if await self._fleet.acquire(self._key, variant, self.owner, RIDE_SECONDS):
            self._variant = variant
        return bool(self._variant)

    def fly(self, run: Run) -> None:
        """The response to *run* has come, or it is in another region."""
        if self._variant:
            self._tasks.spawn(self._tell(run, self._variant), "herald a run")

    async def moved(self, run: Run) -> None:
        """*run* has brought more blocks."""
        number = run.position // BLOCK
        if number // _REGION == self._region:
            return
        if await self.enter(number):
            self.fly(run)
        else:
            run.follow(False)

    def land(self) -> None:
        """It has ended, or is elsewhere, or brings nothing for others any more."""
        if self._variant:
            variant, self._variant = self._variant, b""
            self._tasks.spawn(self._release(variant), "release a run")

    async def _release(self, variant: bytes) -> None:
        await self._fleet.release(self._key, variant, self.owner, RIDE_SECONDS, None)

    async def _tell(self, run: Run, variant: bytes) -> None:
        with self._fleet.ears(self._key, variant) as ears:
            seen = -1
            while variant == self._variant:
                if run.is_held or run.position != seen:
                    seen = run.position
                    found = await self._fleet.lead(
                        self._key, variant, self.owner, RIDE_SECONDS, None
                    )
                    run.follow(found == FOLLOWED)
                    if found == LOST:
                        return
                if await ears.wait(_TICK):
                    seen = -1  # somebody wants to know
                # Else one that stalls is not renewed: who waits for it looks for another.


def _variant(body: Body, region: int) -> bytes:
    """What the runs are announced under that are in *region* now."""
    return hashlib.sha256(b"run\0%b%d" % (body.digest, region)).digest()[:16]
