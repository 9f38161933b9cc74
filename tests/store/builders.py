"""Stored responses and stores, for the tests of stores."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from vary_proxy.core.message import Fields
from vary_proxy.core.stored import Body, Part, Resource, StoredResponse
from vary_proxy.store import notices
from vary_proxy.store.base import Content, Store
from vary_proxy.store.layered import LayeredStore

KEY = b"media\0repair/origin/exact\0http\0media.example\0/img/logo.svg"


class Clock:
    def __init__(self, now: float = 1_790_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def stored(
    origin: bytes | None = None,
    *,
    born: float = 1_790_000_000.0,
    status: int = 200,
    part: Part | None = None,
    **fields: str,
) -> StoredResponse:
    """A variant that answers *origin*; fields by name, ``_`` for ``-``."""
    items = [(b"content-type", b"image/svg+xml"), (b"vary", b"Origin")]
    if "cache_control" not in fields:
        items.append((b"cache-control", b"max-age=60"))
    items += [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    if origin is not None:
        items.append((b"access-control-allow-origin", origin))
    return StoredResponse(
        status=status,
        fields=Fields(tuple(items)),
        body=Body(b"", 0),
        selecting=((b"origin", origin),),
        born=born,
        received=born + 0.25,
        part=part,
    )


async def put(
    store: Store,
    key: bytes,
    response: StoredResponse,
    body: bytes = b"<svg/>",
    *,
    max_variants: int = 64,
    chunk: int = 1 << 16,
) -> StoredResponse:
    writer = store.writer(key, len(body), max_variants, await store.since(key))
    assert writer is not None, "the store does not take this body"
    async with writer:
        for start in range(0, len(body), chunk):
            await writer.write(body[start : start + chunk])
        return await writer.commit(response)


async def bytes_of(content: Content | None) -> bytes | None:
    if content is None:
        return None
    out = b"".join(content.chunks)
    if content.stream is not None:
        async for chunk in content.stream:
            out += chunk
    return out


async def body_of(store: Store, key: bytes, response: StoredResponse) -> bytes | None:
    return await bytes_of(await store.read(key, response.body, 0, response.body.length))


async def found(store: Store, key: bytes) -> Resource | None:
    """What a request would find: at hand, or after waiting."""
    return store.peek(key) or await store.load(key)


class Heard:
    """The subjects of which a worker hears from others, None for everything."""

    def __init__(self, worker: LayeredStore) -> None:
        self.subjects: list[bytes | None] = []
        assert worker._notices is not None
        worker._notices.add(self)

    def heard(self, kind: bytes, subject: bytes) -> None:
        self.subjects.append(None if kind == notices.ALL else subject)

    def listening(self, sure: bool) -> None:
        """That is seen by whether the worker trusts what it hears."""


def digest(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()[:20]


Opener = Callable[..., Any]
