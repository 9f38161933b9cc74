"""The request log, live, for whoever listens at the admin listener: one JSON object a line.

Nobody listening costs nothing: only then is there an observer. Every listener has a bounded
queue of its own in every worker; what does not fit is lost and counted, and no request waits.
The worker that was asked collects from the others, several times a second.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from vary_proxy.core.message import Reply, Request
from vary_proxy.observation import accesslog

if TYPE_CHECKING:
    from vary_proxy.observation.eyes import Eyes, Told

MOST_LISTENERS = 16
MOST_WAITING = 2048  # lines in one queue
_EVERY = 0.2  # seconds between two looks
_QUIET = 10.0  # seconds without a line after which an empty one shows that we are there
_PATIENCE = 30.0  # seconds in which a listener must take what it is sent
_ABANDONED = 60.0  # seconds after which nobody will ask for a queue again
_STATUS = re.compile(r"[1-5](?:[0-9][0-9]|xx)", re.I | re.A)


class Wanted(msgspec.Struct, frozen=True):
    """Which requests; what is empty leaves nothing out. A status is 404, or 4 for 4xx."""

    rules: tuple[str, ...] = ()
    statuses: tuple[int, ...] = ()
    caches: tuple[str, ...] = ()

    def holds(self, reply: Reply) -> bool:
        record, status = reply.record, reply.status
        if self.rules and record.rule not in self.rules:
            return False
        if self.statuses and not {status, status // 100} & {*self.statuses}:
            return False
        return not self.caches or record.cache in self.caches


class Question(msgspec.Struct):
    """What one worker asks another for a listener; *last*: and never again."""

    name: str
    wanted: Wanted
    last: bool = False


class Batch(msgspec.Struct):
    """Lines with their instants, and how many were lost before them."""

    lines: list[tuple[float, bytes]]
    lost: int = 0


class _Queue:
    def __init__(self, wanted: Wanted, now: float) -> None:
        self.wanted = wanted
        self.entries: deque[accesslog.Entry] = deque()
        self.lost = 0
        self.asked = now


class Feeds:
    """The queues of one worker. *observers* are those whom its requests are told to."""

    def __init__(self, observers: Told, timer: Callable[[], float] = time.monotonic) -> None:
        self._observers = observers
        self._timer = timer
        self._queues: dict[str, _Queue] = {}
        self.closed = False

    def __len__(self) -> int:
        return len(self._queues)

    def has_room(self) -> bool:
        """False while as many listen as may."""
        self._forget_abandoned()
        return len(self) < MOST_LISTENERS

    def take(self, asked: Question) -> Batch:
        """What has come since the last time; the first time begins it."""
        queue = self._queues.get(asked.name)
        if queue is None:
            if asked.last:
                return Batch([])
            self._forget_abandoned()
            queue = self._queues[asked.name] = _Queue(asked.wanted, self._timer())
            if len(self._queues) == 1:
                self._observers.append(self._told)
        queue.asked = self._timer()
        entries, queue.entries = queue.entries, deque()
        batch = Batch([(one[0], accesslog.as_json(one)) for one in entries], queue.lost)
        queue.lost = 0
        if asked.last:
            self._forget(asked.name)
        return batch

    def _told(self, request: Request, reply: Reply, sent: int, seconds: float) -> None:
        entry = None
        for name, queue in tuple(self._queues.items()):
            if not queue.wanted.holds(reply):
                continue
            if len(queue.entries) >= MOST_WAITING:
                queue.lost += 1
                if self._is_abandoned(queue):
                    self._forget(name)
                continue
            if entry is None:
                entry = (time.time(), request, reply.record, reply.status, sent, seconds)
            queue.entries.append(entry)

    def _is_abandoned(self, queue: _Queue) -> bool:
        """True where nobody asks any more: the worker of its listener has fallen."""
        return self._timer() - queue.asked > _ABANDONED

    def _forget_abandoned(self) -> None:
        for name in [name for name, one in self._queues.items() if self._is_abandoned(one)]:
            self._forget(name)

    def _forget(self, name: str) -> None:
        if self._queues.pop(name, None) is not None and not self._queues:
            self._observers.remove(self._told)

    async def answer(self, question: bytes) -> bytes:
        """For another worker."""
        return msgspec.msgpack.encode(self.take(msgspec.msgpack.decode(question, type=Question)))


async def stream(request: web.Request, eyes: Eyes) -> web.StreamResponse:
    """Lines as they come, until either side has enough."""
    assert eyes.feeds is not None
    wanted = _wanted(request)
    if not eyes.feeds.has_room():
        raise web.HTTPServiceUnavailable(text=f"{MOST_LISTENERS} listen already; end one")
    asked = Question(secrets.token_hex(8), wanted)
    response = web.StreamResponse(
        headers={"Cache-Control": "no-store", "Content-Type": "application/x-ndjson"}
    )
    await _collected(eyes, asked)  # begin before we say so: what happens from now on is told,
    since = time.time()  # by every worker
    try:
        await response.prepare(request)
        quiet = 0.0
        held: list[tuple[float, bytes]] = []
        while not eyes.feeds.closed and not _is_gone(request):
            # Workers are asked one after the other: what is younger than the first answer waits
            # for the next turn, so that lines are in the order of time.
            until = time.time()
            batches = await _collected(eyes, asked)
            came = (line for one in batches for line in one.lines if line[0] >= since)
            lines = sorted([*held, *came])
            held = [line for line in lines if line[0] > until]
            text = _text(lines[: len(lines) - len(held)], sum(one.lost for one in batches))
            quiet = 0.0 if text else quiet + _EVERY
            if text or quiet >= _QUIET:
                quiet = 0.0
                async with asyncio.timeout(_PATIENCE):
                    await response.write(text or b"\n")
            await asyncio.sleep(_EVERY)
    except (ConnectionError, TimeoutError):
        pass
    finally:
        await asyncio.shield(_collected(eyes, Question(asked.name, wanted, last=True)))
    return response


def _is_gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


async def _collected(eyes: Eyes, asked: Question) -> list[Batch]:
    assert eyes.feeds is not None
    batches = [eyes.feeds.take(asked)]
    if eyes.peers is not None:
        answers = await eyes.peers.ask("tail", msgspec.msgpack.encode(asked))
        batches += [msgspec.msgpack.decode(one, type=Batch) for one in answers if one]
    return batches


def _text(lines: Sequence[tuple[float, bytes]], lost: int) -> bytes:
    told = [line for _, line in lines]
    if lost:
        told.append(b'{"lost":%d}' % lost)
    return b"".join(line + b"\n" for line in told)


def _wanted(request: web.Request) -> Wanted:
    query: Any = request.query
    statuses = []
    for one in query.getall("status", ()):
        if not _STATUS.fullmatch(one):
            raise web.HTTPBadRequest(text=f"{one!r} is no status; write 404, or 4xx")
        statuses.append(int(one.lower().removesuffix("xx")))
    unknown = set(query) - {"rule", "status", "cache"}
    if unknown:
        raise web.HTTPBadRequest(text=f"{min(unknown)!r} is not known; rule, status and cache are")
    return Wanted(
        tuple(query.getall("rule", ())), tuple(statuses), tuple(query.getall("cache", ()))
    )
