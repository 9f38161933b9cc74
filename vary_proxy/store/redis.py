"""The Redis driver: rows are hashes, changes are scripts, blocks are strings.

aiocache carries the blocks (get, set, multi_get, delete of opaque bytes under a namespace);
its client does what a cache interface has no words for: hashes, scripts, pipelines, SCAN, and
the subscription. A load is one round trip, whatever the number of variants; publishing a
body of one block is one too.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from typing import Any

from vary_proxy.store import _aiocache, codec, layout, scripts
from vary_proxy.store.driver import Applied, Batch, Change, Epochs, Row

_BATCH = 512  # commands in one pipeline, keys in one UNLINK
_LOOKED_AT = 1000  # keys by one SCAN
_WORD = (1 << 64) - 1
_MOST_TAGS = 100_000  # purges of single tags remembered, before they become one of everything
_EPOCHS = (b"latest", b"h:all", b"s:all")


class RedisDriver:
    """Fulfils vary_proxy.store.driver.Driver."""

    def __init__(self, url: str, namespace: str, deadline: float) -> None:
        self._target = _aiocache.read_url(url)
        self.label = self._target.label
        self.client = _aiocache.connect(self._target, deadline)
        self.cache = _aiocache.BytesCache(self.client, namespace)
        self.channel = self._key(f"{layout.VERSION}:changes")
        self._deadline = deadline
        self._is_split = self._target.kind == "cluster"

    async def look(self, row: str) -> Row:
        async with self.client.pipeline(transaction=False) as pipe:
            pipe.hgetall(self._key(row))
            pipe.hmget(self._key(layout.EPOCHS), _EPOCHS)
            fields, numbers = await pipe.execute(raise_on_error=False)
        if _aiocache.is_wrong_type(fields):
            await self.client.unlink(self._key(row))
            fields = {}
        if _aiocache.is_wrong_type(numbers):
            await self.client.unlink(self._key(layout.EPOCHS))
            numbers = (None, None, None)
        _aiocache.first_error((fields, numbers))
        if numbers[0] is None:
            return await self._look_anew(fields)
        return _row(fields, Epochs(*map(_number, numbers)))

    async def _look_anew(self, fields: dict[bytes, bytes]) -> Row:
        """The epochs were lost, or never there: from now on purges are numbered again.

        Which purges there were is not known, so what was there before counts as purged; also
        where the server takes no writes, and the number cannot be set.
        """
        try:
            await self.advance(None, soft=False, message=b"", only_latest=True)
            numbers = await self.client.hmget(self._key(layout.EPOCHS), _EPOCHS)
            return _row(fields, Epochs(*map(_number, numbers)))
        except Exception as error:
            if self.kind_of(error) not in ("full", "read-only"):
                raise
            row = _row(fields, Epochs())
            return Row(version=row.version, generation=row.generation)

    async def apply(self, row: str, change: Change) -> Applied:
        kept = list(change.kept)
        while len(kept) > _BATCH:
            await self.keep_blocks(kept[:_BATCH], change.lifetime)
            del kept[:_BATCH]
        if await self._is_fenced(change):
            return Applied.PURGED
        lifetime = _aiocache.milliseconds(change.lifetime)
        epochs = () if change.since is None or self._is_split else (self._key(layout.EPOCHS),)
        fields: list[bytes] = [b"i", change.index]
        for ident in change.new:
            fields += (b"v" + ident, change.values[ident])
        async with self.client.pipeline(transaction=False) as pipe:
            for name in kept:
                pipe.pexpire(self._key(name), lifetime)
            for name, value in change.blocks:
                pipe.set(self._key(name), value, px=lifetime)
            pipe.eval(
                scripts.APPLY,
                1 + len(change.needed) + len(epochs),
                self._key(row),
                *map(self._key, change.needed),
                *epochs,
                change.version,
                change.generation,
                os.urandom(8),
                lifetime,
                self.channel,
                change.message,
                change.renewed,
                change.since if epochs else b"",
                len(change.gone),
                *(b"v" + ident for ident in change.gone),
                *fields,
            )
            results = await pipe.execute(raise_on_error=False)
        _aiocache.first_error(results)
        return Applied(_text(results[-1]))

    async def _is_fenced(self, change: Change) -> bool:
        """Where the epochs are on another node than the row, the script cannot look at them."""
        if change.since is None or not self._is_split:
            return False
        return _number(await self.client.hget(self._key(layout.EPOCHS), b"f:all")) > change.since

    async def mark(self, row: str, generation: bytes, lifetime: float) -> bytes:
        milliseconds = _aiocache.milliseconds(lifetime)
        return bytes(
            await self.client.eval(scripts.MARK, 1, self._key(row), generation, milliseconds)
        )

    async def wipe(self, row: str, generation: bytes, message: bytes) -> Row:
        was = await self.client.eval(
            scripts.WIPE,
            1,
            self._key(row),
            generation,
            layout.TOMBSTONE * 1000,
            self.channel,
            message,
        )
        return _row(dict(zip(was[::2], was[1::2], strict=True)), Epochs())

    async def get_blocks(self, names: Sequence[str]) -> Sequence[object]:
        if len(names) == 1:
            return (await self.cache.get(names[0]),)
        found: Sequence[object] = await self.cache.multi_get(names)
        return found

    async def held(self, names: Sequence[str]) -> Sequence[bool]:
        if not names:
            return ()
        count = await self.client.exists(*map(self._key, names))
        if count in (0, len(names)):  # nearly always: one command instead of many
            return [bool(count)] * len(names)
        found: list[bool] = []
        for start in range(0, len(names), _BATCH):
            async with self.client.pipeline(transaction=False) as pipe:
                for name in names[start : start + _BATCH]:
                    pipe.exists(self._key(name))
                found += map(bool, await pipe.execute())
        return found

    async def put_block(self, name: str, value: bytes, lifetime: float) -> None:
        await self.cache.set(name, value, ttl=lifetime)

    async def keep_blocks(self, names: Sequence[str], lifetime: float) -> None:
        await self._each(scripts.KEEP, names, lifetime)

    async def prolong_blocks(self, names: Sequence[str], lifetime: float) -> None:
        await self._each(scripts.PROLONG, names, lifetime)

    async def _each(self, script: str, names: Sequence[str], lifetime: float) -> None:
        for start in range(0, len(names), _BATCH):  # one command: an eighth of what 512 cost
            keys = [self._key(name) for name in names[start : start + _BATCH]]
            milliseconds = _aiocache.milliseconds(lifetime)
            await self.client.eval(script, len(keys), *keys, milliseconds)

    async def drop_blocks(self, names: Sequence[str]) -> None:
        for start in range(0, len(names), _BATCH):
            await self.client.unlink(*map(self._key, names[start : start + _BATCH]))

    async def tag_epochs(self, tags: Sequence[bytes]) -> Sequence[Epochs]:
        fields = [kind + b":t:" + tag for tag in tags for kind in (b"h", b"s")]
        asked = await self.client.hmget(self._key(layout.EPOCHS), [*_EPOCHS[:2], *fields])
        latest, everything, *numbers = map(_number, asked)
        if not latest:  # evicted since the row was looked at: which purges there were is not known
            everything = _WORD
        return [
            Epochs(hard=max(hard, everything), soft=soft)
            for hard, soft in zip(numbers[::2], numbers[1::2], strict=True)
        ]

    async def advance(
        self, tag: bytes | None, *, soft: bool, message: bytes, only_latest: bool = False
    ) -> int:
        field = b"" if only_latest else b"all" if tag is None else b"t:" + tag
        return await self._advance(field, "s" if soft else "h", message)

    async def fence(self, message: bytes) -> None:
        await self._advance(b"all", "f", message)

    async def _advance(self, field: bytes, kind: str, message: bytes) -> int:
        number = await self.client.eval(
            scripts.ADVANCE,
            1,
            self._key(layout.EPOCHS),
            field,
            kind,
            layout.EPOCHS_KEPT * 1000,
            self.channel,
            message,
            _MOST_TAGS,
        )
        return int(number)

    async def scan(self) -> AsyncIterator[Batch]:
        pattern = _literal(self._key(f"{layout.VERSION}:{{")) + "*}:r"
        if self._is_split:  # one after the other, each with a cursor of its own
            names: list[bytes | str] = []
            async for name in self.client.scan_iter(match=pattern, count=_LOOKED_AT):
                names.append(name)
                if len(names) == _BATCH:
                    yield Batch(await self._indices(names))
                    names = []
            yield Batch(await self._indices(names), 1.0)
            return
        cursor: int | None = None
        while cursor != 0:
            cursor, names = await self.client.scan(cursor or 0, match=pattern, count=_LOOKED_AT)
            yield Batch(await self._indices(names), _fraction(int(cursor)))

    async def _indices(self, rows: Sequence[bytes | str]) -> Sequence[object]:
        if not rows:
            return ()
        async with self.client.pipeline(transaction=False) as pipe:
            for row in rows:
                pipe.hget(row, b"i")
            return [found for found in await pipe.execute(raise_on_error=False) if found]

    async def ping(self, *, write: bool) -> None:
        row, block = self._key(f"{layout.PROBE}:r"), self._key(layout.PROBE)
        if write:
            try:
                await self.client.eval(scripts.TRY, 2, row, block, self.channel)
            except Exception as error:
                if self.kind_of(error) != "full":  # else those who read would lose connections
                    await _aiocache.renew(self.client)
                raise
            return
        await _aiocache.renew(self.client)
        async with self.client.pipeline(transaction=False) as pipe:
            pipe.hgetall(row)  # PING is answered by replicas that would refuse to serve
            pipe.hmget(row, _EPOCHS)
            pipe.get(block)
            _aiocache.first_error(await pipe.execute(raise_on_error=False))

    def kind_of(self, error: BaseException) -> str:
        return _aiocache.kind_of(error)

    async def subscriber(self) -> tuple[Any, bool]:
        """A client to subscribe with, and whether it is to be closed afterwards."""
        return await _aiocache.subscriber(self._target, self.client, self._deadline)

    async def close(self) -> None:
        await self.cache.close()

    def _key(self, name: str) -> str:
        key: str = self.cache.build_key(name, self.cache.namespace)
        return key


def _row(fields: dict[bytes, bytes], epochs: Epochs) -> Row:
    return Row(
        index=fields.get(b"i"),
        values={
            name[1:]: value
            for name, value in fields.items()
            if name[:1] == b"v" and len(name) == 1 + codec.IDENT
        },
        version=fields.get(b"n", b""),
        generation=fields.get(b"g", b""),
        epochs=epochs,
    )


def _number(value: bytes | None) -> int:
    return int(value) if value is not None and value.isdigit() else 0


def _fraction(cursor: int) -> float:
    """How much of all keys a SCAN has passed.

    The cursor counts buckets with its bits in reverse, whatever the size of the table.
    """
    return int(f"{cursor & _WORD:064b}"[::-1], 2) / (_WORD + 1) if cursor else 1.0


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _literal(text: str) -> str:
    """*text* with nothing in it that SCAN's patterns read as special."""
    return "".join("\\" + char if char in "*?[]\\^" else char for char in text)
