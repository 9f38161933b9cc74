"""A response whose head has arrived, and its body in chunks.

Every way in which a body can end is here: by its length, by its last chunk, or by the end of
the connection, which proves nothing. The connection is given back the moment the body is
whole; in every other case it is ended. RFC 9112 §6.3, §9.3.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from vary_proxy.core.message import Response
from vary_proxy.origin import OriginFailure
from vary_proxy.origins.httplink import Link
from vary_proxy.origins.httpreader import Chunks, Framing, Limits


class HttpResponse:
    """A response whose head has arrived; owns the connection until the body ends."""

    __slots__ = (
        "_framing",
        "_give_back",
        "_idle",
        "_limits",
        "_link",
        "_owns",
        "_upload",
        "at_hand",
        "close_delimited",
        "head",
        "length",
    )

    def __init__(
        self,
        head: Response,
        framing: Framing,
        link: Link,
        upload: asyncio.Task[bool] | None,
        limits: Limits,
        idle: float,
        give_back: Callable[[Link], None],
    ) -> None:
        """*give_back* takes *link* once the body is whole, if it can carry another request."""
        self.head = head
        self.length = framing.length
        self.close_delimited = framing.length is None and not framing.chunked
        self._framing = framing
        self._link = link
        self._owns = True  # the link is ours until the body ends
        self._upload = upload
        self._limits = limits
        self._idle = idle
        self._give_back = give_back
        self.at_hand: bytes | None = None  # the body, where all of it came with the head

    def begin(self, rest: bytes) -> None:
        """Take *rest*, which came behind the head: it may be all that is to come."""
        length = self.length
        if length == 0:
            self._link.unread(rest)
            self._finish()
        elif length is None or length > len(rest) or self._upload is not None:
            self._link.unread(rest)
        else:
            self.at_hand = rest[:length]
            self._link.unread(rest[length:])
            self._finish()

    def chunks(self) -> AsyncIterator[bytes]:
        if self._framing.chunked:
            return self._chunked()
        return self._counted() if self.length is not None else self._until_end()

    async def _counted(self) -> AsyncIterator[bytes]:
        left = self.length or 0
        if self.at_hand is not None:
            left = 0
            yield self.at_hand
        while left:
            data = await self._receive()
            if not data:
                raise self._cut(f"{left} bytes missing")
            if len(data) > left:
                self._link.unread(data[left:])
                data = data[:left]
            left -= len(data)
            if not left:
                self._finish()
            yield data

    async def _chunked(self) -> AsyncIterator[bytes]:
        decoder = Chunks(self._limits)
        while decoder.rest is None:
            data = await self._receive()
            if not data:
                raise self._cut("the last chunk is missing")
            try:
                pieces = decoder.feed(data)
            except OriginFailure:
                self._abandon()
                raise
            if decoder.rest is not None:
                self._link.unread(decoder.rest)
                self._finish()
            if pieces:
                yield pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _until_end(self) -> AsyncIterator[bytes]:
        while data := await self._receive():
            yield data
        self._finish()

    async def _receive(self) -> bytes:
        if not self._owns:
            raise OriginFailure("connection_terminated", "the response was closed", sent=True)
        try:
            return await self._link.receive(self._idle)
        except OriginFailure:
            self._abandon()
            raise

    def _cut(self, detail: str) -> OriginFailure:
        self._abandon()
        return OriginFailure("http_response_incomplete", detail, sent=True)

    def _finish(self) -> None:
        """The body is whole: the connection is free, unless the request is still being sent."""
        if not self._owns:
            return
        self._owns = False
        framing, upload, link = self._framing, self._upload, self._link
        sent = upload is None or (upload.done() and not upload.cancelled() and upload.result())
        if link.rest(persistent=framing.persistent and sent, patience=framing.patience):
            self._give_back(link)
        else:
            link.end()
        if upload is not None:
            upload.cancel()

    def _abandon(self) -> None:
        if self._owns:
            self._owns = False
            self._link.end()
        if self._upload is not None:
            self._upload.cancel()

    async def close(self) -> None:
        self._abandon()
        await ended(self._upload)


async def ended(task: asyncio.Task[bool] | None) -> None:
    if task is not None and not task.done():
        task.cancel()
        await asyncio.wait([task])
