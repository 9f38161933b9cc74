"""A body read along with another process's fetch, block by block as it reaches the shared store.

Its blocks are known to those who follow the flight alone, until it is published. When the
flight ends before its time, or makes no headway for as long as a rider would wait, the same
is asked for anew, and what has been passed on already must be how the new body begins, under
the same validators: then it goes on where it was, also where nothing can be stored any more.
Else the body is cut, visibly, and never mixed with another.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from vary_proxy.core.message import Buffer, Fields
from vary_proxy.core.stored import StoredResponse
from vary_proxy.fetches.keeping import keeping
from vary_proxy.flights import (
    RIDE_SECONDS,
    Alone,
    Failed,
    Found,
    Landed,
    Landing,
    Opened,
    Validated,
)
from vary_proxy.origin import OriginFailure
from vary_proxy.store.base import BodyGone, Store
from vary_proxy.tasks import Tasks

if TYPE_CHECKING:
    from vary_proxy.fetches.convoy import Fleet
    from vary_proxy.store.codec import Headway

_HISTORY = 1 << 20  # bytes kept here; who is further behind reads the blocks himself
_LOOK = 0.5  # seconds: news may have been lost
_SHARED = ("too-large", "unproven-length")  # may be anybody's, and cannot be stored here and now
_SAME = (b"etag", b"last-modified", b"content-type", b"content-encoding", b"content-range")


@dataclass(frozen=True, slots=True)
class Followed:
    """The flight of *variant*: how far it has come, and the head that it brings."""

    variant: bytes
    headway: Headway
    draft: StoredResponse


class _Lost(Exception):
    """The flight followed brings no more."""


class Along:
    """Fills the spool of *landed*. *again* asks for the same anew."""

    def __init__(
        self,
        fleet: Fleet,
        store: Store,
        tasks: Tasks,
        key: bytes,
        followed: Followed,
        landed: Landed,
        again: Callable[[], Awaitable[Landing]],
    ) -> None:
        self._fleet = fleet
        self._store = store
        self._tasks = tasks
        self._key = key
        self._followed = followed
        self._landed = landed
        self._again = again
        self._headway = followed.headway
        self._alone = False  # the flight followed brings no more
        self._passed = 0  # bytes
        self._digest = hashlib.sha256()

    async def run(self) -> None:
        spool = self._landed.spool
        try:
            with spool.filling():
                async with aclosing(self._content()) as content:
                    async for chunk in content:
                        self._passed += len(chunk)
                        self._digest.update(chunk)
                        spool.append(bytes(chunk))
                        if spool.size > _HISTORY:
                            await self._lean()
        finally:
            await self._landed.anchor.aclose()

    async def _lean(self) -> None:
        """Keep no more than is needed: what lies in blocks is read there by who is behind."""
        spool = self._landed.spool
        if not self._alone:
            if not spool.forgets:
                self._tasks.spawn(keeping(spool, self._keep), "keep what is read")
            spool.forget(min(self._headway.size, spool.size - _HISTORY), self._back)
            return
        if spool.joinable:
            spool.release()
            await self._landed.anchor.aclose()
        await spool.room()

    async def _back(self, start: int, stop: int) -> Sequence[Buffer] | None:
        return await self._fleet.read(self._key, self._headway, start, stop)

    async def _keep(self) -> None:
        await self._fleet.keep(self._key, self._headway)

    async def _content(self) -> AsyncGenerator[Buffer, None]:
        try:
            async for chunk in self._theirs():
                yield chunk
        except _Lost:
            self._alone = True
            async with aclosing(self._ours()) as ours:
                async for chunk in ours:
                    yield chunk

    async def _theirs(self) -> AsyncIterator[Buffer]:
        """What the flight followed brings. Raises _Lost."""
        with self._fleet.ears(self._key, self._followed.variant) as ears:
            while True:
                async for chunk in self._told(self._headway):
                    yield chunk
                if self._headway.done:
                    return
                self._headway = await self._news(self._headway, ears.wait)

    async def _told(self, headway: Headway) -> AsyncIterator[Buffer]:
        """The bytes that *headway* tells of, from where we are."""
        while self._passed < headway.size:
            chunks = await self._fleet.read(self._key, headway, self._passed, headway.size)
            if not chunks:
                raise _Lost
            for chunk in chunks:
                yield chunk
        behind = headway.tail[max(0, self._passed - headway.size) :]
        if behind:
            yield behind

    async def _news(self, headway: Headway, wait: Callable[[float], Awaitable[bool]]) -> Headway:
        """How far the flight has come after *headway*. Raises _Lost when it is over, or slow."""
        # By the clock: a client of Redis can lose a cancellation, and with it a timeout.
        until = time.monotonic() + RIDE_SECONDS
        while time.monotonic() < until:
            told = await self._fleet.follow(self._key, self._followed.variant)
            if told is None:
                raise _Lost
            owner, found = told
            now = None if found is None else found[0]
            if now is None or now.owner != headway.owner:
                raise _Lost
            if now.done or now.size + len(now.tail) > self._passed:
                return now
            if owner != headway.owner:  # its leader is gone, and this was all
                raise _Lost
            await wait(_LOOK)
        raise _Lost

    async def _ours(self) -> AsyncGenerator[Buffer, None]:
        """The rest, asked for anew. Raises OriginFailure."""
        left, digest, count = self._passed, hashlib.sha256(), 0
        promised = self._followed.headway.length
        async with aclosing(self._anew()) as anew:
            async for chunk in anew:
                count += len(chunk)
                if promised is not None and count > promised:
                    raise _changed()
                if left:
                    digest.update(chunk[:left])
                    left, chunk = max(0, left - len(chunk)), chunk[left:]
                    if not left and digest.digest() != self._digest.digest():
                        raise _changed()
                if chunk:
                    yield chunk
        if left or promised not in (None, count):
            raise _changed()

    async def _anew(self) -> AsyncGenerator[Buffer, None]:
        try:
            landing = await self._again()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise OriginFailure("connection_terminated", "the fetch was ended") from None
        match landing:
            case Landed(draft, _, spool, _, anchor):
                async with aclosing(anchor):  # whoever reads nothing holds it for nobody
                    length = spool.size if spool.finished else spool.length
                    self._hold(draft.status, draft.fields, length)
                    reader = spool.reader()
                async with aclosing(reader):
                    async for chunk in reader:
                        yield chunk
            case Found(stored) | Validated(stored):
                self._hold(stored.status, stored.fields, stored.body.length)
                async for chunk in self._held(stored):
                    yield chunk
            case Alone(response, fields, reason):
                try:
                    if reason not in _SHARED:
                        raise _changed()
                    proven = not response.close_delimited
                    self._hold(response.head.status, fields, response.length, proven=proven)
                    async for chunk in response.chunks():
                        yield chunk
                finally:
                    await response.close()
            case Opened(_, _, _, opener):
                opener.close()
                raise _changed()
            case Failed(error):
                raise error or _changed()
            case other:
                assert_never(other)

    def _hold(
        self, status: int, fields: Fields, length: int | None, *, proven: bool = True
    ) -> None:
        """Raises OriginFailure unless that is what was promised.

        Not *proven*: its end proves nothing, so that its length must be known already.
        """
        draft, promised = self._followed.draft, self._followed.headway.length
        same = all(draft.fields.lines(name) == fields.lines(name) for name in _SAME)
        fits = proven if promised is None else length in (None, promised)
        if not same or draft.status != status or not fits:
            raise _changed()

    async def _held(self, stored: StoredResponse) -> AsyncIterator[Buffer]:
        content = await self._store.read(self._key, stored.body, 0, stored.body.length)
        if content is None:
            raise _changed()
        for chunk in content.chunks:
            yield chunk
        if content.stream is not None:
            try:
                async for chunk in content.stream:
                    yield chunk
            except BodyGone:
                raise _changed() from None


def _changed() -> OriginFailure:
    return OriginFailure("connection_terminated", "a body read along with another process ended")
