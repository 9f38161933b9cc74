"""One run: the bytes of one response on their way to those who read along (runs.py)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from vary_proxy.core import blocks
from vary_proxy.core.blocks import BLOCK
from vary_proxy.core.message import Buffer
from vary_proxy.core.ranges import Span
from vary_proxy.core.stored import StoredResponse
from vary_proxy.fetches.spool import Abandoned

AHEAD = BLOCK  # bytes that a run may be ahead of its fastest reader
NEAR = 2 * BLOCK  # bytes that a run may be behind one who waits for it
TRAIL = 2 * BLOCK  # bytes that a reader may be behind and still read along
_SMALL = 32 << 10  # bytes; smaller chunks are put together


class Run:
    """Bytes [first, stop) of *of* on their way; ``position``: so far they have come."""

    def __init__(self, span: Span, of: StoredResponse, *, joinable: bool) -> None:
        self.of = of
        self.first, self.stop = span.start, span.stop
        self.position = span.start
        self.joinable = joinable
        self.landed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._base = span.start  # offset of the first chunk kept
        self._chunks: deque[bytes] = deque()
        self._readers: set[RunReader] = set()
        self._error: BaseException | None = None
        self._ended = False
        self.is_followed = False  # by another process, for which the store gets every block
        self._wanted = 0  # who has left wanted the bytes up to here, in whole blocks
        self._more: asyncio.Future[None] | None = None
        self._less: asyncio.Future[None] | None = None

    def covers(self, offset: int) -> bool:
        """True when who wants the byte at *offset* had better read along."""
        if self._base <= offset < self.position:
            return True
        near = self.position <= offset <= self.position + NEAR
        return near and offset < self.stop and not self._ended

    def reader(self, offset: int) -> RunReader:
        """A reader of the bytes from *offset* on; the run goes on as long as there is one."""
        return RunReader(self, offset)

    def land(self, span: Span) -> None:
        """The response is there, and brings *span*."""
        self.first, self.stop = span.start, span.stop
        self.position = self._base = span.start
        self.landed.set_result(None)

    def append(self, chunk: bytes) -> None:
        if self._chunks and len(self._chunks[-1]) + len(chunk) <= _SMALL:
            self._chunks[-1] += chunk
        else:
            self._chunks.append(chunk)
        self.position += len(chunk)
        self._wake()

    def end(self, error: BaseException | None = None) -> None:
        """Readers get what there is, then *error*."""
        self._ended, self._error = True, error
        self._wake()

    def cut(self, span: Span) -> bytes:
        """The bytes of *span*, all of which are kept."""
        out: list[Buffer] = []
        begin = self._base
        for chunk in self._chunks:
            end = begin + len(chunk)
            if end > span.start and begin < span.stop:
                low, high = max(0, span.start - begin), min(len(chunk), span.stop - begin)
                out.append(memoryview(chunk)[low:high])
            begin = end
        return b"".join(out)

    def trim(self) -> None:
        """Let go of what is stored and nobody near wants."""
        near = [one.at for one in self._readers if one.at >= self.position - TRAIL]
        keep = min((self.position - self.position % BLOCK, *near))
        while self._chunks and self._base + len(self._chunks[0]) <= keep:
            self._base += len(self._chunks.popleft())

    async def room(self, *, kept: bool) -> None:
        """Wait until the fastest reader is near.

        Raises Abandoned when there is none left; where blocks are *kept*, once the one is here
        that the last of them left in the middle. Nobody is waited for while others follow.
        """
        while not (kept and self.is_followed):
            if not self._readers:
                if not kept or self.position >= self._wanted:
                    raise Abandoned
                return
            if self.position - max(one.at for one in self._readers) <= AHEAD:
                return
            self._less = self._less or asyncio.get_running_loop().create_future()
            await self._less

    @property
    def is_held(self) -> bool:
        """True while it waits for its own readers."""
        return self._less is not None

    def follow(self, followed: bool) -> None:
        self.is_followed = followed
        self.moved()

    def at(self, offset: int) -> Buffer | None:
        """What is kept from *offset* on, of one chunk; None: nothing yet, or no more."""
        begin = self._base
        if offset < begin:
            return None
        for chunk in self._chunks:
            end = begin + len(chunk)
            if offset < end:
                return chunk if offset == begin else memoryview(chunk)[offset - begin :]
            begin = end
        return None

    async def wait(self, offset: int) -> bool:
        """Wait for the byte at *offset*; False when it will not come. Raises what ended us."""
        if offset < self._base:
            return False
        if self._error is not None:
            raise self._error
        if self._ended:
            return False
        self._more = self._more or asyncio.get_running_loop().create_future()
        await asyncio.shield(self._more)
        return True

    def enter(self, reader: RunReader) -> None:
        self._readers.add(reader)
        self.moved()  # it may be ahead of all others

    def leave(self, reader: RunReader) -> None:
        if reader in self._readers and reader.at > self.first:
            self._wanted = max(self._wanted, blocks.around(Span(0, reader.at), self.stop).stop)
        self._readers.discard(reader)
        self.moved()

    def is_read_by(self, reader: RunReader) -> bool:
        return reader in self._readers

    def moved(self) -> None:
        if self._less is not None:
            if not self._less.done():
                self._less.set_result(None)
            self._less = None

    def _wake(self) -> None:
        if self._more is not None:
            if not self._more.done():
                self._more.set_result(None)
            self._more = None


class RunReader:
    """One reader's place in a Run, counted from its creation; to be closed."""

    def __init__(self, run: Run, offset: int) -> None:
        self.at = offset
        self.run = run
        run.enter(self)

    def goes_on_at(self, offset: int) -> bool:
        """True, and we are there, when the run brings the byte at *offset*, and we still read."""
        if not self.run.is_read_by(self) or not self.run.covers(offset):
            return False
        self.at = offset
        self.run.moved()
        return True

    async def upto(self, stop: int) -> AsyncIterator[Buffer]:
        """Bytes as they come, to *stop*, or until there are no more, or we have fallen behind."""
        while self.at < stop:
            chunk = self.run.at(self.at)
            if chunk is None:
                if not await self.run.wait(self.at):
                    return
                continue
            if len(chunk) > stop - self.at:
                chunk = memoryview(chunk)[: stop - self.at]
            yield chunk
            # It is moved once the chunk has been taken, not when it was offered.
            self.at += len(chunk)
            self.run.moved()

    def close(self) -> None:
        self.run.leave(self)
