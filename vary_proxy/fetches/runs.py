"""Runs: fetches of the blocks that are missing of a sparse body, and those who read along.

A run moves the bytes of one response to its readers and, block by block, to the store. It keeps
what is not stored yet and little more: it goes on at the pace of its fastest reader, and who
falls behind leaves it and reads the blocks from the store. So memory does not depend on the size
of what is asked for, and nobody waits for anybody slower. A run that nobody reads any more ends
with the block that was read last; what it has stored stays. A response that is of another
representation is never read. RFC 9111 §3.4, RFC 9110 §15.3.7.3.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from vary_proxy.core import blocks
from vary_proxy.core.blocks import BLOCK
from vary_proxy.core.ranges import Span
from vary_proxy.core.stored import Body, StoredResponse
from vary_proxy.fetches.heralding import Herald, Heralds
from vary_proxy.fetches.running import Run
from vary_proxy.fetches.spool import Abandoned
from vary_proxy.origin import OriginFailure, OriginResponse
from vary_proxy.store.base import Store
from vary_proxy.tasks import Tasks

PUTS = 4  # blocks on their way into the store at once: each is there more than once meanwhile

Asked = Callable[[], Awaitable[tuple[OriginResponse, Span]]]
Publish = Callable[[], Awaitable[bool]]


class Changed(Exception):
    """The origin has another representation now, or none. ``gone``: it said so itself."""

    def __init__(self, status: int, *, gone: bool) -> None:
        super().__init__(f"the origin answered {status}")
        self.status = status
        self.gone = gone


class Elsewhere(Exception):
    """Another process of the fleet has asked, and what was missing is in the store."""


class Runs:
    """The runs under way, by the body that they are of."""

    def __init__(self, store: Store, tasks: Tasks, heralds: Heralds | None = None) -> None:
        self.heralds = heralds  # None: this process is alone
        self._store = store
        self._tasks = tasks
        self._by_body: dict[Body, list[Run]] = {}
        self._puts = asyncio.Semaphore(PUTS)

    def near(self, body: Body, offset: int) -> Run | None:
        """A run that anybody may join who wants the byte at *offset*: best, one that has landed."""
        runs = [one for one in self._by_body.get(body, ()) if one.joinable and one.covers(offset)]
        return next((one for one in runs if one.landed.done()), runs[0] if runs else None)

    def next_after(self, body: Body, offset: int) -> int | None:
        """Where the next run begins after *offset* that anybody may join."""
        runs = self._by_body.get(body, ())
        return min((one.first for one in runs if one.joinable and one.first > offset), default=None)

    def _is_passed(self, body: Body, run: Run) -> bool:
        """True when another run has been where *run* is now, and has left it in the store."""
        return any(
            one is not run and one.joinable and one.first <= run.position < one.position - BLOCK
            for one in self._by_body.get(body, ())
        )

    def start(
        self,
        key: bytes,
        stored: StoredResponse,
        span: Span,
        asked: Asked,
        *,
        joinable: bool,
        publish: Publish | None = None,
    ) -> Run:
        """A run of *span*, whose response *asked* gives, with what it brings.

        *publish* makes *stored* visible first; without it, it is. What *asked* raises ends the
        run, and is what ``landed`` comes to; Elsewhere, where another process is asking already.
        """
        run = Run(span, stored, joinable=joinable)
        run.landed.add_done_callback(_heard)
        self._by_body.setdefault(stored.body, []).append(run)
        self._tasks.spawn(self._fly(key, stored, run, asked, publish), "run")
        return run

    async def _fly(
        self, key: bytes, stored: StoredResponse, run: Run, asked: Asked, publish: Publish | None
    ) -> None:
        herald: Herald | None = None
        response: OriginResponse | None = None
        error: BaseException | None = OriginFailure("connection_terminated", "shutting down")
        try:
            if publish is None:
                herald = await self._announced(key, stored, run)
            response, span = await asked()
            run.land(span)
            if publish is not None and self.heralds is not None and run.joinable:
                herald = await self.heralds.announce(key, stored.body, span)
            if herald is not None:
                herald.fly(run)
            kept = publish is None or await publish()
            await self._move(key, stored, run, response, herald if kept else None, kept=kept)
            error = None
        except (OriginFailure, Changed, Elsewhere) as failure:
            error = failure
        except Abandoned:
            error = None
        finally:
            if not run.landed.done():
                run.landed.set_exception(error or Abandoned())
            run.end(error)
            self._leave(stored.body, run)
            if herald is not None:
                herald.land()
            if response is not None:
                await response.close()

    async def _announced(self, key: bytes, stored: StoredResponse, run: Run) -> Herald | None:
        """Announce *run* to the fleet. Raises Elsewhere when another brought its beginning."""
        if self.heralds is None or not run.joinable:
            return None
        herald = await self.heralds.announce(key, stored.body, Span(run.first, run.stop))
        if herald is None:
            if await self.heralds.brought(key, stored.body, run.first):
                raise Elsewhere
        elif await self.heralds.is_there(key, stored.body, run.first):  # since it was looked for
            herald.land()
            raise Elsewhere
        return herald

    def _leave(self, body: Body, run: Run) -> None:
        runs = self._by_body[body]
        runs.remove(run)
        if not runs:
            del self._by_body[body]

    async def _put(self, key: bytes, stored: StoredResponse, number: int, run: Run) -> bool:
        async with self._puts:
            data = run.cut(blocks.place(number, stored.body.length))
            return await self._store.blocks.put(key, stored, number, data)

    async def _move(
        self,
        key: bytes,
        stored: StoredResponse,
        run: Run,
        response: OriginResponse,
        herald: Herald | None,
        *,
        kept: bool,
    ) -> None:
        total = stored.body.length
        number = blocks.whole_blocks(Span(run.first, run.stop), total).start
        await run.room(kept=kept)
        async for chunk in response.chunks():
            if run.position + len(chunk) > run.stop:
                raise OriginFailure("http_protocol_error", "more than its Content-Range says")
            run.append(chunk)
            before = number
            while (place := blocks.place(number, total)).stop <= run.position and place.length > 0:
                kept = kept and await self._put(key, stored, number, run)
                number += 1
            run.trim()
            if herald is not None and not kept:
                herald.land()  # who waits for a block in the store waits in vain
                herald = None
            if herald is not None and number > before:
                await herald.moved(run)
            if kept and number > before and self._is_passed(stored.body, run):
                return
            await run.room(kept=kept)


def _heard(landed: asyncio.Future[None]) -> None:
    """Its failure is told to who waits; that nobody does is no mistake."""
    if not landed.cancelled():
        landed.exception()
