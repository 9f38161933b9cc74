"""What workers tell each other: which resource changed, what was purged, how flights go on.

One channel, one connection per process. Messages are lost when nobody listens, so what
counts is to know when one may have been lost: the connection is asked for a sign of life
every second, and as soon as it fails or keeps silent the listeners are told that it is lost,
and told again when a new one listens. In between nothing that others may have changed is to
be trusted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol

from vary_proxy.tasks import Tasks

_log = logging.getLogger("vary_proxy")

SENDER = 8  # bytes
CHANGED, PURGED, TAG, ALL, FENCE, FLIGHT = b"c", b"p", b"t", b"a", b"g", b"f"
_KINDS = frozenset((CHANGED, PURGED, TAG, ALL, FENCE, FLIGHT))
BEAT = 1.0  # seconds between signs of life, and until one is missed
_RETRY = (0.1, 0.25, 0.5, 1.0, 2.0)  # seconds


def notice(sender: bytes, kind: bytes, subject: bytes) -> bytes:
    """A message about *subject*: a primary key, a tag, a flight's name; empty for ALL and FENCE."""
    return sender + kind + subject


class Listener(Protocol):
    def heard(self, kind: bytes, subject: bytes) -> None: ...

    def listening(self, sure: bool) -> None:
        """True: from now on every notice arrives. False: from now on some may not."""


class Notices:
    """``sure`` is True while every notice arrives. ``start`` may be called at every request."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[tuple[Any, bool]]],
        channel: str,
        sender: bytes,
        tasks: Tasks,
        deadline: float,
        complain: Callable[[Exception], None] = lambda _: None,
    ) -> None:
        self.sure = False
        self._connect = connect  # a client, and whether it is ours to close
        self._channel = channel
        self._sender = sender
        self._tasks = tasks
        self._deadline = max(deadline, 0.25)
        self._complain = complain  # told once each time that the subscription is lost
        self._listeners: list[Listener] = []
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def add(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def remove(self, listener: Listener) -> None:
        with suppress(ValueError):
            self._listeners.remove(listener)

    def start(self) -> None:
        if self._task is None and not self._closed:
            self._task = self._tasks.spawn(self._run(), "store notices", lasting=True)

    async def close(self) -> None:
        self._closed = True
        while self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=0.1)

    async def _run(self) -> None:
        failures = 0
        while not self._is_over():
            try:
                async for _ in self._listen():
                    failures = 0
            except Exception as error:  # whatever the client raises: the subscription is lost
                _log.debug("store notices: %r", error)
                failures += 1
                if failures == 1:
                    self._complain(error)
            finally:
                self._tell(sure=False)
            await asyncio.sleep(_RETRY[min(failures, len(_RETRY)) - 1])

    def _is_over(self) -> bool:
        # asyncio.wait_for, which the client uses, can lose a cancellation that arrives together
        # with its result (Python before 3.12); the task still knows of it.
        task = asyncio.current_task()
        return self._closed or (task is not None and task.cancelling() > 0)

    async def _listen(self) -> Any:
        """Yields at every sign of life; raises when there is none."""
        async with asyncio.timeout(self._deadline):
            client, ours = await self._connect()
        pubsub = client.pubsub()
        try:
            async with asyncio.timeout(self._deadline):
                await pubsub.subscribe(self._channel)
                while (await pubsub.get_message(timeout=self._deadline) or {}).get(
                    "type"
                ) != "subscribe":
                    pass
            self._tell(sure=True)
            while not self._is_over():
                await self._hear(pubsub)
                yield True
        finally:
            await pubsub.aclose()
            if ours:
                await client.aclose()

    async def _hear(self, pubsub: Any) -> None:
        message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=BEAT)
        if message is None:
            await pubsub.ping()
            message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=BEAT)
            if message is None:
                raise TimeoutError("no sign of life on the subscription")
        if message["type"] == "message":
            self._dispatch(message["data"])

    def _dispatch(self, data: object) -> None:
        if not isinstance(data, bytes) or len(data) <= SENDER or data[:SENDER] == self._sender:
            return
        kind = data[SENDER : SENDER + 1]
        if kind in _KINDS:
            for listener in tuple(self._listeners):
                listener.heard(kind, data[SENDER + 1 :])

    def _tell(self, *, sure: bool) -> None:
        if sure != self.sure:
            self.sure = sure
            for listener in tuple(self._listeners):
                listener.listening(sure)
