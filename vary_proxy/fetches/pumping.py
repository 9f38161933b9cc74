"""Moves one body from the origin to its readers and the store, and publishes it last.

A body is stored as whole only when its framing proved it so. One that was cut short is kept
as the part that it is, if a strong validator lets the rest be asked for later; parts that
touch are joined (RFC 9111 §3.3, §3.4).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Protocol, runtime_checkable

from vary_proxy.core import parts, ranges
from vary_proxy.core.message import Buffer
from vary_proxy.core.stored import StoredResponse
from vary_proxy.core.values import immutable
from vary_proxy.fetches.keeping import keeping
from vary_proxy.fetches.spool import Spool
from vary_proxy.flights import Flight, Flights
from vary_proxy.origin import OriginFailure, OriginResponse, at_hand
from vary_proxy.store.base import BodyGone, Store, TooLarge, Writer
from vary_proxy.store.memorywriter import MemoryWriter
from vary_proxy.tasks import Tasks

HISTORY = 1 << 20  # bytes of a body kept here once the store has what goes before


@runtime_checkable
class Lender(Protocol):
    """A writer from which what was written can be read back before it commits."""

    def lent(self) -> int | None:
        """How many bytes ``back`` gives from now on; None when no more will be stored."""

    async def back(self, start: int, stop: int) -> Sequence[Buffer] | None:
        """Some of bytes [start, stop) that were lent; None: they have gone."""

    async def finish(self) -> None:
        """That was all, and it is not to be published: for those alone who read it already."""

    async def keep(self) -> None:
        """What was lent is read still: it stays for a while longer."""


@immutable
class Load:
    """One body to move."""

    response: OriginResponse
    spool: Spool
    writer: Writer
    draft: StoredResponse
    flight: Flight
    max_variants: int


class Pump:
    def __init__(
        self, store: Store, flights: Flights, tasks: Tasks, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._tasks = tasks
        self._flights = flights
        self._clock = clock

    def at_once(self, load: Load) -> bool | None:
        """Move a whole body that came with its head into a store that does not wait.

        True when it was published, False when its resource did not take it in. None: nothing
        was done, and it is to ``run``.
        """
        body, writer, flight = at_hand(load.response), load.writer, load.flight
        if body is None or load.draft.part is not None:
            return None
        if flight.on_load is not None or not isinstance(writer, MemoryWriter):
            return None
        taken = flight.grounded or writer.publish(load.draft, body)
        load.spool.append(body)
        load.spool.finish()
        self._flights.close(flight)
        return taken

    async def run(self, load: Load) -> None:
        spool = load.spool
        stored: StoredResponse | None = None
        if load.flight.on_load is not None:
            load.flight.on_load(load.draft, spool, load.writer)
        try:
            with spool.filling():
                async with AsyncExitStack() as stack:
                    stored = await self._move(load, await stack.enter_async_context(load.writer))
        finally:
            await load.response.close()
            self._flights.close(load.flight)
        if stored is not None and stored.part is not None:
            await self._join(load, stored)

    async def _move(self, load: Load, writer: Writer) -> StoredResponse | None:
        """Move everything; what was published, None when nothing. Raises OriginFailure."""
        open_writer: Writer | None = writer
        try:
            async for chunk in load.response.chunks():
                load.spool.append(chunk)
                if open_writer is not None:
                    open_writer = await self._write(load, open_writer, chunk)
                if open_writer is not None:
                    open_writer = self._lean(load, open_writer)
                if open_writer is None:
                    await load.spool.room()
        except OriginFailure:
            if open_writer is not None and not load.flight.grounded:
                await self._keep_part(load, open_writer)
            raise
        if open_writer is None or not _is_all(load):
            return None
        if load.flight.grounded:
            if isinstance(open_writer, Lender):
                await open_writer.finish()
            return None
        return await open_writer.commit(load.draft)

    async def _held(self, key: bytes, stored: StoredResponse, start: int) -> AsyncIterator[bytes]:
        content = await self._store.read(key, stored.body, start, stored.body.length)
        if content is None:
            raise OriginFailure("connection_terminated", "a stored part went away")
        held: Buffer
        for held in content.chunks:
            yield bytes(held)
        if content.stream is None:
            return
        try:
            async for held in content.stream:
                yield bytes(held)
        except BodyGone:
            raise OriginFailure("connection_terminated", "a stored part went away") from None

    async def _write(self, load: Load, writer: Writer, chunk: bytes) -> Writer | None:
        try:
            await writer.write(chunk)
        except TooLarge:
            self._flights.unlist(load.flight)
            self._flights.remember_unstorable(load.flight.key, self._clock())
            load.spool.release()
            return None
        return writer

    def _lean(self, load: Load, writer: Writer) -> Writer | None:
        """Leave to the store what it has of a long history; None when it will have none."""
        spool = load.spool
        if spool.length is None or spool.size <= HISTORY or not isinstance(writer, Lender):
            return writer
        lent = writer.lent()
        if lent is None:
            self._flights.unlist(load.flight)
            spool.release()
            return None
        if not spool.forgets:
            self._tasks.spawn(keeping(spool, writer.keep), "keep what is read")
        spool.forget(min(lent, spool.size - HISTORY), writer.back)
        return writer

    async def _keep_part(self, load: Load, writer: Writer) -> None:
        kept = parts.incomplete(load.draft, load.spool.length, load.spool.size)
        if kept is not None:
            await writer.commit(kept)

    async def _join(self, load: Load, stored: StoredResponse) -> None:
        """Join *stored* with the parts beside it, as far as they reach."""
        key = load.flight.key
        while not load.flight.grounded:
            other = parts.neighbour(await self._store.load(key), stored)
            if other is None:
                return
            before, after = parts.in_order(stored, other)
            draft, skip = parts.joined(stored, other)
            length = before.body.length + max(0, after.body.length - skip)
            writer = self._store.writer(key, length, load.max_variants, load.flight.since)
            if writer is None:
                return
            try:
                async with writer:
                    async for chunk in self._held(key, before, 0):
                        await writer.write(chunk)
                    if skip < after.body.length:
                        async for chunk in self._held(key, after, skip):
                            await writer.write(chunk)
                    stored = await writer.commit(draft)
            except (OriginFailure, TooLarge):
                return
            if stored.part is None:
                return


def _is_all(load: Load) -> bool:
    """True when the body has the length that was announced, by whatever announced it."""
    size, draft = load.spool.size, load.draft
    if draft.part is not None:
        return ranges.part_length(draft.fields) == size
    return load.spool.length is None or load.spool.length == size
