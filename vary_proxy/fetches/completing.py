"""The whole, of a beginning that is held and the rest that its origin sends. RFC 9111 §3.4.

What a small store lets go of meanwhile is asked for too: before the head has gone out the whole
instead, later the very bytes that are missing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from vary_proxy.core import parts
from vary_proxy.core.message import Response
from vary_proxy.core.stored import StoredResponse
from vary_proxy.fetches.asking import Ask
from vary_proxy.fetches.resuming import Resume, resuming, steadily
from vary_proxy.origin import Origin, OriginResponse
from vary_proxy.store.base import Content, Store


class Completed:
    """Fulfils vary_proxy.origin.OriginResponse: *held*, then *rest*, under one *head*."""

    def __init__(
        self,
        head: Response,
        part: StoredResponse,
        held: Content,
        rest: OriginResponse,
        resume: Resume,
    ) -> None:
        assert part.part is not None
        self.head = head
        self.length = part.part.total
        self.close_delimited = rest.close_delimited
        self._stop = part.body.length
        self._held = held
        self._rest = rest
        self._resume = resume

    async def chunks(self) -> AsyncIterator[bytes]:
        for chunk in self._held.chunks:
            yield bytes(chunk)
        if self._held.stream is not None:
            async for held in steadily(self._held.stream, self._stop, self._resume):
                yield bytes(held)
        async for chunk in self._rest.chunks():
            yield chunk

    async def close(self) -> None:
        await self._rest.close()


async def completed(
    store: Store,
    origins: Mapping[str, Origin],
    ask: Ask,
    part: StoredResponse,
    head: Response,
    rest: OriginResponse,
) -> Completed | None:
    """*part* with the *rest* that came under *head* in answer to *ask*; None: *part* has gone."""
    held = await store.read(ask.key, part.body, 0, part.body.length)
    if held is None:
        return None
    resume = resuming(origins, ask, part)
    return Completed(parts.completed_head(part, head), part, held, rest, resume)
