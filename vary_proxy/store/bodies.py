"""Bodies in a shared store: written block by block as they arrive, read by a small window.

A writer sends full blocks behind the caller's back and holds at most eight that are not yet
sent; then it waits, one deadline long, and gives up: a body is never held up for the sake
of being stored. The last block travels with the change that publishes the body. Blocks have a
short life until then, so what a dead writer left goes by itself.

A reader asks for two blocks at a time. A block that is missing in mid-stream, because the
store evicted or lost it, ends the stream with BodyGone; where it ended is part of the error.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING

from vary_proxy.core.message import Buffer
from vary_proxy.core.stored import Body, Resource, StoredResponse
from vary_proxy.store import codec, layout
from vary_proxy.store.base import BodyGone, Content, Since, TooLarge
from vary_proxy.store.codec import Place
from vary_proxy.store.rows import Written

if TYPE_CHECKING:
    from vary_proxy.store.shared import SharedStore

WINDOW = 2  # blocks that a reader holds
BACKLOG = 8  # blocks that a writer holds
_PATIENCE = 3  # times that what was lent is asked for: whoever waits for it has nothing else


@dataclass(frozen=True, slots=True)
class SoFar:
    """A body on its way into the store: *size* bytes of it are there, *tail* comes next.

    ``done``: there is no more. It is published then, or never will be.
    """

    token: bytes
    size: int
    tail: bytes
    done: bool = False


class SharedWriter:
    """Fulfils vary_proxy.store.base.Writer. ``resource`` is what commit made, None: nothing."""

    def __init__(self, store: SharedStore, key: bytes, max_variants: int, since: Since | None):
        self.resource: Resource | None = None
        self._store = store
        self._key = key
        self._max_variants = max_variants
        self._since = since
        self._row = layout.row(key)
        self._token = os.urandom(codec.TOKEN)
        self._digest = hashlib.sha256()
        self._length = 0
        self._buffer = bytearray()
        self._queue: deque[tuple[str, bytes]] = deque()
        self._sent: list[str] = []
        self._sender: asyncio.Task[None] | None = None
        self._room = asyncio.Event()
        self._dead = since is None  # it could not be told from what was purged meanwhile
        self._lent = False  # somebody may read back what was sent
        self._whole = False  # all of it was sent
        self._renewed = time.monotonic()

    async def __aenter__(self) -> SharedWriter:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._dead = True
        self._queue.clear()
        self._drop()

    def lent(self) -> int | None:
        """How many bytes ``back`` gives from now on; None when no more will be stored."""
        self.lend()
        return None if self._dead else len(self._sent) * layout.BLOCK

    def lend(self) -> None:
        """Others read what was sent: it stays for a while, also when it is not published."""
        self._lent = True

    async def back(self, start: int, stop: int) -> Sequence[Buffer] | None:
        """Some of bytes [start, stop) that were lent, from the first on; None: they have gone."""
        place = Place(b"", len(self._sent) * layout.BLOCK, self._token, layout.BLOCK)
        spans = layout.spans(place, start, min(stop, place.length))[:WINDOW]
        for _ in range(_PATIENCE if spans else 0):
            found = await fetch(self._store.get_blocks, self._row, place, spans)
            if found is not None:
                return found
        return None

    async def write(self, chunk: bytes) -> None:
        self._length += len(chunk)
        if self._length > self._store.max_object:
            self._give_up()
            raise TooLarge
        self._digest.update(chunk)
        if self._dead:
            return
        self._buffer += chunk
        while len(self._buffer) > layout.BLOCK:
            name = self._name(len(self._sent) + len(self._queue))
            with memoryview(self._buffer) as view:
                self._queue.append((name, codec.encode_block(name, view[: layout.BLOCK])))
            del self._buffer[: layout.BLOCK]
        if self._queue:
            await self._send()
        elif self._is_due():
            self._renewed = time.monotonic()
            self._store.tasks.spawn(self.keep(), "store writer")

    async def commit(self, stored: StoredResponse) -> StoredResponse:
        body = Body(self._digest.digest()[: codec.DIGEST], self._length)
        stored = replace(stored, body=body)
        await self._sent_all()
        if self._dead:
            return stored
        last: list[tuple[str, bytes]] = []
        if self._buffer:
            name = self._name(len(self._sent))
            last.append((name, codec.encode_block(name, self._buffer)))
        place = Place(body.digest, body.length, self._token, layout.BLOCK)
        written = Written(place, last, self._sent)
        self.resource = await self._store.publish(
            self._key, stored, self._max_variants, self._since, written
        )
        self._whole = True
        return stored

    async def finish(self) -> None:
        """That was all, and it is not to be published: for those alone who read it already."""
        await self._sent_all()
        self._whole = not self._dead
        if self._lent and not self._dead:
            await self.keep()

    async def keep(self) -> None:
        """What was lent is read still, and its row waits for it: they stay for a while longer."""
        self._renewed = time.monotonic()
        await self._store.prolong_blocks([self._row, *self._sent], layout.ABANDONED)

    async def _sent_all(self) -> None:
        if self._sender is not None:
            await asyncio.wait({self._sender})

    def so_far(self) -> SoFar | None:
        """What others can read already; None when it came to nothing."""
        sent = len(self._sent) * layout.BLOCK
        if self.resource is not None:
            return SoFar(self._token, self._length, b"", done=True)
        if self._whole:
            return SoFar(self._token, sent, bytes(self._buffer), done=True)
        if self._dead:
            return None
        return SoFar(self._token, sent, b"" if self._queue else bytes(self._buffer))

    def _name(self, number: int) -> str:
        place = Place(b"", 0, self._token, layout.BLOCK)
        return layout.block_names(self._row, place, number, number + 1)[0]

    async def _send(self) -> None:
        if self._sender is None or self._sender.done():
            self._sender = self._store.tasks.spawn(self._drain(), "store writer")
        try:
            async with asyncio.timeout(self._store.deadline):
                while len(self._queue) >= BACKLOG:
                    self._room.clear()
                    await self._room.wait()
        except TimeoutError:
            self._give_up()

    async def _drain(self) -> None:
        while self._queue and not self._dead:
            name, value = self._queue[0]
            if not await self._store.put_block(name, value):
                self._give_up()
                break
            if self._queue:  # empty when the writer was left meanwhile
                self._queue.popleft()
            self._sent.append(name)
            self._room.set()
            await self._renew()
        if self._dead:
            self._drop()

    def _drop(self) -> None:
        """Give back the room of what was not published; what was lent goes by itself, in time."""
        if self.resource is None and self._sent and not self._lent:
            self._store.drop_later(self._sent)

    async def _renew(self) -> None:
        """Keep the first blocks of a long body alive while its last ones are under way."""
        if self._is_due():
            await self.keep()

    def _is_due(self) -> bool:
        return time.monotonic() - self._renewed > layout.ABANDONED / 4

    def _give_up(self) -> None:
        self._dead = True
        self._queue.clear()
        self._buffer.clear()
        self._room.set()


Fetch = Callable[[Sequence[str]], Awaitable[Sequence[object] | None]]
Moved = Callable[[], Awaitable[Place | None]]


async def fetch(
    get: Fetch, row: str, place: Place, spans: Sequence[layout.Span]
) -> list[Buffer] | None:
    """What *spans* cover, checked; None when a block is missing or not what it should be."""
    names = [layout.block_names(row, place, one.number, one.number + 1)[0] for one in spans]
    values = await get(names)
    if values is None or len(values) != len(names):
        return None
    out: list[Buffer] = []
    for span, name, value in zip(spans, names, values, strict=True):
        data = codec.decode_block(name, value, span.length)
        if data is None:
            return None
        out.append(data[span.start : span.stop])
    return out


async def stream(
    get: Fetch,
    row: str,
    place: Place,
    spans: Sequence[layout.Span],
    moved: Moved,
) -> AsyncIterator[Buffer]:
    """The rest of a body. Raises BodyGone; *moved* tells where the body is now, if anywhere."""
    at = 0
    while at < len(spans):
        window = spans[at : at + WINDOW]
        chunks = await fetch(get, row, place, window)
        if chunks is None:
            # Another variant may have brought the same content again, under a new token.
            now = await moved()
            if now is None or now.token == place.token or now.block != place.block:
                raise BodyGone(window[0].number * place.block + window[0].start)
            place = now
            continue
        for chunk in chunks:
            yield chunk
        at += len(window)


async def whole(content: Content | None, body: Body) -> bytes | None:
    """All of *body* in one piece, checked against its digest; None when it is not all there."""
    if content is None:
        return None
    chunks = list(content.chunks)
    try:
        if content.stream is not None:
            chunks += [chunk async for chunk in content.stream]
    except BodyGone:
        return None
    joined = b"".join(chunks)
    digest = hashlib.sha256(joined).digest()[: codec.DIGEST]
    return joined if digest == body.digest else None
