"""The driver for any ``aiocache.BaseCache``: Memcached, a cloud table, somebody's own class.

Nothing is asked of it but get, set, add and delete of bytes (multi_get where it has one). A row is
one value beside a second one with its generation, so that a purge holds even against a slow
writer in another process. There is no compare-and-set: of two writers in different processes
one may lose a variant, which is a miss. Lifetimes cannot be extended: everything is written
with the longest, and bodies that live on in memory tiers are read again when it is over.
Purges of many are numbered by the clocks of the machines, with a margin of two seconds.

An operation is never cancelled, only no longer waited for: clients exist that would hand a
connection whose answer is still to come to the next caller.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any, TypeVar

from vary_proxy.store import _aiocache, codec, layout
from vary_proxy.store.driver import Applied, Batch, Change, Epochs, Row, Unsupported
from vary_proxy.store.turns import Turns
from vary_proxy.tasks import Tasks

T = TypeVar("T")
_LIFETIME = layout.MAXIMUM
_LARGEST = 900 << 10  # bytes of one value: Memcached takes a mebibyte
_LOOKED_AT = 4  # blocks fetched to see whether they are there
_MARGIN = 2.0  # seconds by which clocks may differ
_ALL = "all"


class CacheDriver:
    """Fulfils vary_proxy.store.driver.Driver."""

    def __init__(self, path: str, options: Mapping[str, Any], namespace: str, tasks: Tasks) -> None:
        self.label = path
        self.cache = _aiocache.load_cache(path, options, namespace)
        self._tasks = tasks
        self._turns = Turns()
        self._probe: asyncio.Task[object] | None = None

    async def look(self, row: str) -> Row:
        names = (row, _generation(row), *_epoch_names(_ALL))
        bundle, generation, hard, soft = await self._get(names)
        epochs = Epochs(_milliseconds(), _number(hard), _number(soft))
        generation = generation if isinstance(generation, bytes) else b""
        found = codec.decode_bundle(bundle)
        if found is None:
            return Row(generation=generation, epochs=epochs)
        version, of, index, values = found
        if of != generation:  # written by somebody who had not heard of a purge
            return Row(generation=generation, epochs=epochs)
        return Row(index, values, version, generation, epochs)

    async def apply(self, row: str, change: Change) -> Applied:
        async with self._turns.of(row):
            return await self._apply(row, change)

    async def _apply(self, row: str, change: Change) -> Applied:
        now = await self.look(row)
        if now.generation != change.generation:
            return Applied.PURGED
        if now.version != change.version:
            return Applied.CHANGED
        written = {name for name, _ in change.blocks}
        needed = [name for name in change.needed if name not in written]
        if needed and None in await self._get(needed):
            return Applied.BODILESS
        generation = change.renewed or change.generation
        bundle = codec.encode_bundle(os.urandom(8), generation, change.index, dict(change.values))
        if len(bundle) > _LARGEST:
            return Applied.BODILESS
        for name, value in change.blocks:
            await self._set(name, value)
        if change.renewed:
            await self._set(_generation(row), generation)
        await self._set(row, bundle)
        return Applied.DONE

    async def mark(self, row: str, generation: bytes, lifetime: float) -> bytes:
        name = _generation(row)
        try:
            await self._call(lambda: self.cache.add(name, generation, ttl=_LIFETIME))
        except ValueError:  # aiocache's word for: it is there
            (had,) = await self._get((name,))
            return had if isinstance(had, bytes) else b""
        return generation

    async def wipe(self, row: str, generation: bytes, message: bytes) -> Row:
        was = await self.look(row)
        await self._set(_generation(row), generation)
        await self._call(lambda: self.cache.delete(row))
        return was

    async def get_blocks(self, names: Sequence[str]) -> Sequence[object]:
        return await self._get(names)

    async def held(self, names: Sequence[str]) -> Sequence[bool]:
        """Beyond the first few all are taken to be there; who reads them sees."""
        found = [value is not None for value in await self._get(names[:_LOOKED_AT])]
        return found + [True] * (len(names) - len(found))

    async def put_block(self, name: str, value: bytes, lifetime: float) -> None:
        await self._set(name, value)

    async def keep_blocks(self, names: Sequence[str], lifetime: float) -> None:
        """Nothing: they were written to stay, and those who need not will be evicted."""

    async def prolong_blocks(self, names: Sequence[str], lifetime: float) -> None:
        """Nothing, as ``keep_blocks``."""

    async def drop_blocks(self, names: Sequence[str]) -> None:
        for name in names:
            await self._call(lambda name=name: self.cache.delete(name))  # type: ignore[misc]

    async def tag_epochs(self, tags: Sequence[bytes]) -> Sequence[Epochs]:
        names = [name for tag in tags for name in _epoch_names(_tag(tag))]
        numbers = list(map(_number, await self._get(names)))
        return [
            Epochs(hard=hard, soft=soft)
            for hard, soft in zip(numbers[::2], numbers[1::2], strict=True)
        ]

    async def advance(self, tag: bytes | None, *, soft: bool, message: bytes) -> int:
        number = _milliseconds() + int(_MARGIN * 1000)
        hard_name, soft_name = _epoch_names(_ALL if tag is None else _tag(tag))
        await self._set(soft_name if soft else hard_name, b"%d" % number)
        return number

    async def fence(self, message: bytes) -> None:
        raise Unsupported(f"{self.label} cannot list its keys: purge by URL, by tag, or all")

    async def scan(self) -> AsyncIterator[Batch]:
        await self.fence(b"")
        yield Batch(())  # what makes this an iterator

    async def ping(self, *, write: bool) -> None:
        # One at a time: each would take a connection for as long as the store keeps silent.
        if self._probe is None or self._probe.done():
            if write:
                self._probe = self._start(lambda: self.cache.set(layout.PROBE, b"1", ttl=60))
            else:
                self._probe = self._start(lambda: self.cache.get(layout.PROBE))
        outcome = await asyncio.shield(self._probe)
        if isinstance(outcome, BaseException):
            raise outcome

    def kind_of(self, error: BaseException) -> str:
        if isinstance(error, TimeoutError):
            return "timeout"
        if isinstance(error, OSError | EOFError):
            return "refused"
        return _aiocache.kind_of_foreign(error)

    async def close(self) -> None:
        await self.cache.close()

    async def _get(self, names: Sequence[str]) -> Sequence[object]:
        if len(names) == 1:
            return (await self._call(lambda: self.cache.get(names[0])),)
        try:
            found = await self._call(lambda: self.cache.multi_get(list(names)))
        except NotImplementedError:
            found = [await self._call(lambda name=name: self.cache.get(name)) for name in names]  # type: ignore[misc]
        return list(found)

    async def _set(self, name: str, value: bytes) -> None:
        await self._call(lambda: self.cache.set(name, value, ttl=_LIFETIME))

    async def _call(self, action: Callable[[], Awaitable[T]]) -> T:
        outcome = await asyncio.shield(self._start(action))
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome  # type: ignore[return-value]  # what it is when it is no exception

    def _start(self, action: Callable[[], Awaitable[object]]) -> asyncio.Task[object]:
        async def outcome() -> object:
            try:
                return await action()
            except Exception as error:  # for whoever still waits; nobody else wants to know
                return error

        return self._tasks.spawn(outcome(), "store operation")


def _generation(row: str) -> str:
    return row[:-1] + "g"


def _epoch_names(what: str) -> tuple[str, str]:
    return f"{layout.EPOCHS}:h:{what}", f"{layout.EPOCHS}:s:{what}"


def _tag(tag: bytes) -> str:
    return "t:" + sha256(tag).hexdigest()[:40]


def _number(value: object) -> int:
    return int(value) if isinstance(value, bytes) and value.isdigit() and len(value) < 16 else 0


def _milliseconds() -> int:
    return int(time.time() * 1000)
