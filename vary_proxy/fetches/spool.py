"""A body on its way: written once, read by many, each at its own pace.

While a body is being stored its history is kept, so that anybody may join from the first byte:
here, or, where the store has it in another place, there: ``forget`` drops what can be read
``back``, and who is slower or later reads it from the store at his own pace. Once it is known that
it will not be stored, ``release`` turns the spool into a window: what every reader has passed is
dropped, and the writer waits for the slowest, but for nobody who has yet to begin further on.
Readers that leave are forgotten at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

from vary_proxy.core.message import Buffer
from vary_proxy.origin import OriginFailure
from vary_proxy.store.base import BodyGone

Back = Callable[[int, int], Awaitable[Sequence[Buffer] | None]]  # some of bytes [start, stop)

WINDOW = 512 * 1024  # bytes ahead of the slowest reader, once released


class Abandoned(Exception):
    """Nobody reads any more, and nothing is stored: the fetch may end."""


class Spool:
    def __init__(self, length: int | None) -> None:
        self.length = length  # bytes announced; None when unknown
        self.size = 0  # bytes written so far
        self.finished = False
        self._error: BaseException | None = None
        self._chunks: deque[bytes] = deque()
        self._dropped = 0  # chunks gone from the front
        self._gone = 0  # bytes in them
        self._back: Back | None = None
        self._released = False
        self._readers: set[SpoolReader] = set()
        self._more: asyncio.Future[None] | None = None
        self._less: asyncio.Future[None] | None = None
        self._rested = asyncio.Event()

    @property
    def joinable(self) -> bool:
        """True while a new reader can begin at the first byte, and the end is not a failure."""
        if self._released or self._error is not None:
            return False
        return self._dropped == 0 or self._back is not None

    def append(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self.size += len(chunk)
        self._wake_readers()

    def finish(self) -> None:
        self.finished = True
        self._wake_readers()
        self.rest()

    def fail(self, error: BaseException) -> None:
        """Readers get what there is, then *error*."""
        self._error = error
        self._wake_readers()
        self.rest()

    @contextmanager
    def filling(self) -> Iterator[None]:
        """Around all that writes: readers learn how it ended; only what is unforeseen is raised."""
        try:
            yield
            self.finish()
        except Abandoned:
            self.fail(OriginFailure("connection_terminated", "nobody read on"))
        except OriginFailure as failure:
            self.fail(failure)
        except asyncio.CancelledError:
            self.fail(OriginFailure("connection_terminated", "shutting down"))
            raise
        except BaseException:
            self.fail(OriginFailure("proxy_internal_error"))
            raise

    def forget(self, stop: int, back: Back) -> None:
        """Keep nothing of the chunks before byte *stop*: *back* gives their bytes."""
        self._back = back
        while self._chunks and self._gone + len(self._chunks[0]) <= stop:
            self._drop()

    @property
    def forgets(self) -> bool:
        """True once something is to be read ``back``."""
        return self._back is not None

    async def behind(self, start: int) -> Sequence[Buffer] | None:
        """Some bytes from *start* on that are here no more; None: they are. Raises BodyGone."""
        if start >= self._gone:
            return None
        found = None if self._back is None else await self._back(start, self._gone)
        if not found:
            raise BodyGone(start)
        return found

    def rest(self) -> None:
        """To be called when a reader has caught up: nobody may need what is not here any more."""
        ended = self.finished or self._error is not None
        if ended and all(reader.index >= self._dropped for reader in self._readers):
            self._rested.set()

    async def rested(self, seconds: float) -> bool:
        """Wait, no longer than *seconds*, until nobody needs what was forgotten, nor ever will."""
        try:
            async with asyncio.timeout(seconds):
                await self._rested.wait()
        except TimeoutError:
            return False
        return True

    @property
    def begins(self) -> tuple[int, int]:
        """The first chunk that is here, and its offset."""
        return self._dropped, self._gone

    def release(self) -> None:
        """Keep no history from now on."""
        self._released = True
        self._trim()

    async def room(self) -> None:
        """Wait, once released, until the slowest reader is near. Raises Abandoned."""
        while self._released:
            if not self._readers:
                raise Abandoned
            if self.size - min(reader.needs for reader in self._readers) <= WINDOW:
                return
            self._less = self._less or asyncio.get_running_loop().create_future()
            await self._less

    def reader(self, start: int = 0, stop: int | None = None) -> SpoolReader:
        """A reader of bytes [start, stop) from now on; to be closed if not read to its end."""
        return SpoolReader(self, start, stop)

    def piece(self, start: int, stop: int) -> bytes | None:
        """Bytes [start, stop), where all came in one piece and are here; None: to be read."""
        if not self.finished or self._dropped or len(self._chunks) != 1:
            return None
        whole = self._chunks[0]
        return whole if start == 0 and stop in (-1, len(whole)) else whole[start:stop]

    def _wake_readers(self) -> None:
        if self._more is not None:
            if not self._more.done():
                self._more.set_result(None)
            self._more = None

    def _trim(self) -> None:
        needed = min((reader.needs for reader in self._readers), default=self._gone)
        while self._chunks and self._gone + len(self._chunks[0]) <= needed:
            self._drop()
        if self._less is not None:
            if not self._less.done():
                self._less.set_result(None)
            self._less = None

    def _drop(self) -> None:
        self._gone += len(self._chunks.popleft())
        self._dropped += 1

    def chunk(self, index: int) -> bytes | None:
        """The chunk at *index* of all ever written; None when it is not there yet."""
        at = index - self._dropped
        return self._chunks[at] if 0 <= at < len(self._chunks) else None

    async def wait(self) -> bool:
        """Wait for more; False when there will be none. Raises what ended the body early."""
        if self._error is not None:
            raise self._error
        if self.finished:
            return False
        self._more = self._more or asyncio.get_running_loop().create_future()
        await asyncio.shield(self._more)
        return True

    def enter(self, reader: SpoolReader) -> None:
        self._readers.add(reader)

    def leave(self, reader: SpoolReader) -> None:
        self._readers.discard(reader)
        self.moved()
        self.rest()

    def moved(self) -> None:
        """A reader has gone on: what all have passed can go."""
        if self._released:
            self._trim()


class SpoolReader(AsyncIterator[Buffer]):
    """One reader's place in a Spool. It counts from its creation, not from its first read."""

    def __init__(self, spool: Spool, start: int, stop: int | None) -> None:
        self._spool = spool
        self._start = start
        self._stop = stop
        self.index = 0  # next chunk to look at
        self.passed = 0  # bytes of the body up to that chunk
        self._behind: deque[Buffer] = deque()  # from the store, before that chunk
        spool.enter(self)

    @property
    def needs(self) -> int:
        """Where the bytes begin that are still to be read."""
        return max(self.passed, self._start)

    def __aiter__(self) -> SpoolReader:
        return self

    async def __anext__(self) -> Buffer:
        while self._stop is None or self.passed < self._stop:
            if await self._is_behind():
                begin, held = self.passed, self._behind.popleft()
                self.passed += len(held)
                piece = self._cut(held, begin)
                if piece:
                    return piece
                continue
            chunk = self._spool.chunk(self.index)
            if chunk is None:
                try:
                    more = await self._spool.wait()
                except BaseException:
                    await self.aclose()
                    raise
                if not more:
                    break
                continue
            begin = self.passed
            self.index += 1
            self.passed += len(chunk)
            self._spool.moved()
            piece = self._cut(chunk, begin)
            if piece:
                return piece
        await self.aclose()
        raise StopAsyncIteration

    async def _is_behind(self) -> bool:
        """True when the next bytes are to be had from the store alone, and are here now."""
        if self._behind:
            return True
        dropped, gone = self._spool.begins
        if self.index >= dropped:
            return False
        self.passed = max(self.passed, min(self._start, gone))
        try:
            found = await self._spool.behind(self.passed)
        except BaseException:
            await self.aclose()
            raise
        if found is None:
            self.index, self.passed = self._spool.begins
            self._spool.rest()
            return False
        self._behind.extend(found)
        return True

    def _cut(self, chunk: Buffer, begin: int) -> Buffer:
        low = max(0, self._start - begin)
        high = len(chunk) if self._stop is None else min(len(chunk), self._stop - begin)
        return chunk if low == 0 and high == len(chunk) else chunk[low:high]

    def close(self) -> None:
        self._spool.leave(self)

    async def aclose(self) -> None:
        self.close()
