"""A store that processes and machines share, on top of a driver.

What is read from it is checked. Every group of operations goes through the breaker, so
nothing here raises because the store is slow, full or gone: it is a miss, or is not stored.
What a purge could not do because of that is owed: it reads as gone here, and the purge is
made up for before the store is written to again (sweeping.py, debts.py).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

from vary_proxy.core import variants
from vary_proxy.core.stored import Body, Resource, StoredResponse
from vary_proxy.store import bodies, codec, layout
from vary_proxy.store.base import Content, Progress, Since, StoreStats, StoreUnavailable
from vary_proxy.store.bodies import SharedWriter
from vary_proxy.store.breaker import Breaker, Observer
from vary_proxy.store.codec import Place
from vary_proxy.store.debts import Debts
from vary_proxy.store.driver import Driver
from vary_proxy.store.found import Found
from vary_proxy.store.rows import Rows, Written
from vary_proxy.store.sparse import SharedBlocks
from vary_proxy.store.sweeping import Sweeper
from vary_proxy.tasks import Tasks


class SharedStore:
    """Fulfils vary_proxy.store.base.Store, and the purges of many resources."""

    def __init__(
        self,
        driver: Driver,
        tasks: Tasks,
        clock: Callable[[], float],
        max_object: int,
        deadline: float,
        fail: bool = False,
        observer: Observer | None = None,
    ) -> None:
        self.driver = driver
        self.tasks = tasks
        self.max_object = max_object
        self.deadline = deadline
        self.debts = Debts()
        self.breaker = Breaker(driver, tasks, deadline, observer, self._repay)
        self.rows = Rows(driver, self.breaker, self.debts, tasks, clock)
        self.blocks = SharedBlocks(self, clock)
        self._sweeper = Sweeper(self)
        self._clock = clock
        self._fail = fail
        self.breaker.on_change.append(lambda readable: None if readable else self.debts.doubt())

    def peek(self, key: bytes) -> Resource | None:
        return None

    def slot(self, key: bytes) -> None:
        return None

    def look(self, key: bytes) -> Resource | None:
        seen = self.rows.recall(key)
        return None if seen is None else seen.resource

    def chunks(self, key: bytes, body: Body, start: int, stop: int) -> None:
        return None

    async def load(self, key: bytes) -> Resource | None:
        """Raises StoreUnavailable only where the store was configured to fail."""
        result = await self.find(key)
        if result is None:
            self.require()
            return None
        return result.resource if result.resource.variants else None

    async def find(self, key: bytes) -> Found | None:
        """As ``load``, but None means that there is no answer."""
        result = await self.rows.find(key)
        if result is not None and result.spoiled:
            self.tasks.spawn(self.rows.tidy(key, result), "store tidy")
        return result

    def require(self) -> None:
        """Raises StoreUnavailable where the store does not answer and was configured to fail."""
        if self._fail and not self.breaker.readable:
            raise StoreUnavailable

    async def since(self, key: bytes) -> Since | None:
        return await self.rows.since(key)

    def writer(
        self, key: bytes, length: int | None, max_variants: int, since: Since | None
    ) -> SharedWriter | None:
        if (length is not None and length > self.max_object) or not self.breaker.writable:
            return None
        return SharedWriter(self, key, max_variants, since)

    async def add(
        self, key: bytes, stored: StoredResponse, max_variants: int, since: Since | None
    ) -> bool:
        return await self.publish(key, stored, max_variants, since) is not None

    async def publish(
        self,
        key: bytes,
        stored: StoredResponse,
        max_variants: int,
        since: Since | None,
        written: Written | None = None,
    ) -> Resource | None:
        """Make *stored* visible, unless its resource was purged after *since*.

        Its body is the one *written*, or has long been here. What the resource is now; None when
        *stored* was not taken, which may be for more fields than a value holds.
        """
        if since is None:
            return None

        def edit(resource: Resource) -> Resource | None:
            if not codec.holds(stored):
                return None
            return variants.joined(resource, stored, max_variants, self._clock())

        return await self.rows.edit(key, edit, since, stored.body, written)

    async def replace(
        self, key: bytes, old: StoredResponse, new: StoredResponse, since: Since | None
    ) -> None:
        await self.replaced(key, old, new, since)

    async def replaced(
        self, key: bytes, old: StoredResponse, new: StoredResponse, since: Since | None
    ) -> Resource | None:
        """As ``replace``, and what the resource is now."""

        def edit(resource: Resource) -> Resource | None:
            return variants.replaced(resource, old, new)

        return None if since is None else await self.rows.edit(key, edit, since, new.body)

    async def drop(self, key: bytes, stored: StoredResponse) -> None:
        await self._sweeper.superseded(key, stored)

    async def read(self, key: bytes, body: Body, start: int, stop: int) -> Content | None:
        stop = min(stop, body.length)
        if start >= stop:
            return Content()
        place, seen = await self._place(key, body), None
        while place is not None and place.token != seen:
            spans = layout.spans(place, start, stop)
            head, rest = spans[: bodies.WINDOW], spans[bodies.WINDOW :]
            row = layout.row(key)
            first = await bodies.fetch(self.get_blocks, row, place, head)
            if first is not None:
                moved = self._moved(key, body)
                more = bodies.stream(self.get_blocks, row, place, rest, moved) if rest else None
                return Content(first, more)
            seen, place = place.token, await self._moved(key, body)()
        return None

    async def purge(self, key: bytes, *, soft: bool = False) -> int:
        return await self._sweeper.resource(key, soft=soft)

    async def purge_one(self, key: bytes, stored: StoredResponse, *, soft: bool = False) -> None:
        await self._sweeper.variant(key, stored, soft=soft)

    async def supersede(self, key: bytes, since: Since | None) -> Since | None:
        return await self._sweeper.anew(key, since)

    async def purge_all(self, *, soft: bool = False) -> bool:
        """True when it is done; else it is owed."""
        return await self._sweeper.many(None, soft=soft)

    async def purge_tag(self, tag: bytes, *, soft: bool = False) -> bool:
        """True when it is done; else it is owed."""
        return await self._sweeper.many(tag, soft=soft)

    def purge_matching(
        self, matches: Callable[[bytes], bool], *, soft: bool = False, dry_run: bool = False
    ) -> AsyncIterator[Progress]:
        """Purge every resource whose primary key *matches*, telling how far it has come.

        Raises Unsupported where keys cannot be listed, and what the client raises.
        """
        return self._sweeper.matching(matches, soft=soft, dry_run=dry_run)

    async def clear(self) -> int:
        """Everything at once, in constant time; so nothing is counted: 0."""
        await self.purge_all()
        return 0

    def stats(self) -> StoreStats:
        return StoreStats()

    async def close(self) -> None:
        await self.breaker.close()
        await self.driver.close()

    async def put_block(self, name: str, value: bytes) -> bool:
        async def put() -> bool:
            await self.driver.put_block(name, value, layout.ABANDONED)
            return True

        return await self.breaker.run("write", put, False, write=True)

    async def prolong_blocks(self, names: Sequence[str], seconds: float) -> None:
        names = list(names)
        await self.breaker.run(
            "keep", lambda: self.driver.prolong_blocks(names, seconds), None, write=True
        )

    def drop_later(self, names: Sequence[str]) -> None:
        """Give back the blocks of a body that was not published; nobody waits."""
        names = list(names)

        async def drop() -> None:
            await self.breaker.run("drop", lambda: self.driver.drop_blocks(names), None, write=True)

        if names:
            self.tasks.spawn(drop(), "store drop")

    def doubt(self) -> None:
        """Whoever takes this store's place may not have heard of its last purges: say them again.

        Called when notices are lost, which is how the end of a server shows to who asks nothing.
        """
        self.debts.doubt()
        if self.debts and self.breaker.writable:
            self.tasks.spawn(self.breaker.run("purge", self._repay, None, write=True), "purges")

    def _moved(self, key: bytes, body: Body) -> bodies.Moved:
        async def moved() -> Place | None:
            self.rows.forget(key)
            return await self._place(key, body)

        return moved

    async def _place(self, key: bytes, body: Body) -> Place | None:
        result = self.rows.recall(key)
        if result is None or body.digest not in result.places:
            result = await self.rows.find(key)
        return None if result is None else result.places.get(body.digest)

    async def get_blocks(self, names: Sequence[str]) -> Sequence[object] | None:
        run = self.breaker.run if len(names) == 1 else self.breaker.run_bulky
        return await run("read", lambda: self.driver.get_blocks(names), None)

    async def _repay(self) -> None:
        while self.debts:  # and what comes to be owed meanwhile
            await self.debts.repay(self.driver, self.rows.notice)
