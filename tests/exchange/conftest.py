"""An edge without sockets: a scripted origin, a hand-moved clock, the real exchange.

``edge.origin.replies(...)`` queues what the origin says next; ``edge.get(...)`` sends a request
through the exchange and gives the whole reply. Time passes by ``edge.clock.forward(seconds)``.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from vary_proxy.core.message import Fields, Record, Reply, Request, Response
from vary_proxy.core.policy import Policy
from vary_proxy.core.syntax import format_date
from vary_proxy.exchange import Exchange
from vary_proxy.origin import Interim, Naming, OriginFailure
from vary_proxy.store.memory import MemoryStore
from vary_proxy.tasks import Tasks

START = 1_700_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Said:
    """One scripted answer of the origin."""

    status: int = 200
    fields: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes | list[bytes] = b""
    length: int | None = -1  # -1: that of the body
    failure: OriginFailure | None = None  # instead of an answer
    cut: OriginFailure | None = None  # after the body's bytes
    gate: asyncio.Event | None = None  # waited for before the head
    body_gate: asyncio.Event | None = None  # waited for before the last chunk
    close_delimited: bool = False
    interim: tuple[Response, ...] = ()


class ScriptedResponse:
    """A body given as bytes comes with its head, unless something happens to it on its way."""

    def __init__(self, said: Said, method: bytes) -> None:
        self.head = Response(said.status, Fields(said.fields))
        self.close_delimited = said.close_delimited
        self._said = said
        self._bodiless = method == b"HEAD" or said.status in (204, 304)
        chunks = [said.body] if isinstance(said.body, bytes) else said.body
        self._chunks = [] if self._bodiless else [chunk for chunk in chunks if chunk]
        total = sum(map(len, self._chunks))
        self.length = total if said.length == -1 else said.length
        eventful = said.cut or said.body_gate or said.close_delimited or said.length != -1
        at_hand = isinstance(said.body, bytes) and len(self._chunks) == 1 and not eventful
        self.at_hand = self._chunks[0] if at_hand else None
        self.closed = self.read_to_end = at_hand

    async def chunks(self) -> AsyncIterator[bytes]:
        for number, chunk in enumerate(self._chunks, 1):
            if self._said.body_gate is not None and number == len(self._chunks):
                await self._said.body_gate.wait()
            yield chunk
        if self._said.cut is not None:
            raise self._said.cut
        self.read_to_end = True

    async def close(self) -> None:
        self.closed = True


@dataclass
class ScriptedOrigin:
    """Answers from a queue, or by ``handler``; keeps every request it got."""

    clock: Clock
    naming: Naming = field(
        default_factory=lambda: Naming(b"origin.example", host=b"origin.example")
    )
    requests: list[Request] = field(default_factory=list)
    bodies: list[bytes | None] = field(default_factory=list)
    responses: list[ScriptedResponse] = field(default_factory=list)
    queue: deque[Said] = field(default_factory=deque)
    handler: Callable[[Request], Said] | None = None

    @property
    def asked(self) -> int:
        return len(self.requests)

    @property
    def last(self) -> Request:
        return self.requests[-1]

    def replies(
        self,
        status: int = 200,
        *,
        body: bytes | list[bytes] = b"",
        acao: bytes | None = None,
        dated: bool = True,
        fields: tuple[tuple[bytes, bytes], ...] = (),
        **said: object,
    ) -> Said:
        """Queue one answer. Keyword fields: ``cache_control=b"max-age=60"`` and so on."""
        options = {name: said.pop(name) for name in list(said) if name in _OPTIONS}
        pairs = [(name.replace("_", "-").encode(), value) for name, value in said.items()]
        if acao is not None:
            pairs.append((b"access-control-allow-origin", acao))
        if dated and not any(name == b"date" for name, _ in pairs):
            pairs.append((b"date", format_date(self.clock())))
        one = Said(status, (*pairs, *fields), body, **options)  # type: ignore[arg-type]
        self.queue.append(one)
        return one

    def fails(self, error: str = "connection_refused", status: int = 502) -> None:
        self.queue.append(Said(failure=OriginFailure(error, status=status)))

    async def fetch(
        self,
        request: Request,
        body: AsyncIterator[bytes] | None = None,
        on_interim: Interim | None = None,
    ) -> ScriptedResponse:
        self.requests.append(request)
        said = self.handler(request) if self.handler is not None else self.queue.popleft()
        received = None if body is None else b"".join([chunk async for chunk in body])
        self.bodies.append(received)
        for interim in said.interim:
            if on_interim is not None:
                await on_interim(interim)
        if said.gate is not None:
            await said.gate.wait()
        if said.failure is not None:
            raise said.failure
        response = ScriptedResponse(said, request.method)
        self.responses.append(response)
        return response

    async def close(self) -> None:
        pass


_OPTIONS = frozenset(
    ("length", "cut", "gate", "body_gate", "close_delimited", "interim", "failure")
)


class ScriptedChannel:
    def __init__(self, body: bytes | None) -> None:
        self._body = body
        self.interims: list[Response] = []
        self.left = False

    @property
    def body(self) -> AsyncIterator[bytes] | None:
        return None if self._body is None else self._chunks(self._body)

    async def _chunks(self, body: bytes) -> AsyncIterator[bytes]:
        yield body

    async def interim(self, response: Response) -> None:
        self.interims.append(response)

    def gone(self) -> bool:
        return self.left


@dataclass
class Answer:
    """A reply read to its end. ``cut`` holds what ended its body early."""

    status: int
    fields: Fields
    body: bytes
    record: Record
    interims: list[Response]
    cut: BaseException | None = None

    def __getitem__(self, name: str) -> bytes | None:
        return self.fields.combined(name.encode())

    @property
    def cache_status(self) -> str:
        return (self["cache-status"] or b"").decode()


async def read(reply: Reply, channel: ScriptedChannel) -> Answer:
    parts = [bytes(chunk) for chunk in reply.chunks]
    cut: BaseException | None = None
    if reply.stream is not None:
        try:
            async for chunk in reply.stream:
                parts.append(bytes(chunk))
        except OriginFailure as failure:
            cut = failure
        finally:
            close = getattr(reply.stream, "aclose", None)
            if close is not None:
                await close()
    body = b"" if reply.bodiless else b"".join(parts)
    return Answer(reply.status, reply.fields, body, reply.record, channel.interims, cut)


class FixedRules:
    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def match(self, request: Request) -> Policy:
        return self.policy

    def possible(self, request: Request) -> tuple[Policy, ...]:
        return (self.policy,)


class Edge:
    """The exchange with everything around it scripted."""

    def __init__(self, policy: Policy | None = None, **store: int) -> None:
        self.clock = Clock()
        self.origin = ScriptedOrigin(self.clock)
        self.tasks = Tasks()
        self.store = MemoryStore(
            store.get("max_bytes", 64 << 20), store.get("max_object", 8 << 20), self.clock
        )
        self.rules = FixedRules(policy or Policy())
        self.exchange = Exchange(
            self.rules, {self.rules.policy.origin: self.origin}, self.store, self.tasks, self.clock
        )

    async def start(
        self,
        target: str | bytes,
        method: bytes = b"GET",
        *,
        body: bytes | None = None,
        host: bytes = b"edge.example",
        client: str = "192.0.2.1",
        fields: tuple[tuple[bytes, bytes], ...] = (),
        **named: bytes,
    ) -> tuple[Reply, ScriptedChannel]:
        """Send, and return when the reply's head is there; its body is not yet read."""
        pairs = [(name.replace("_", "-").encode(), value) for name, value in named.items()]
        request = Request(
            method,
            target.encode() if isinstance(target, str) else target,
            Fields((*pairs, *fields)),
            authority=host,
            client=client,
            has_body=body is not None,
            body_length=None if body is None else len(body),
        )
        channel = ScriptedChannel(body)
        return await self.exchange.answer(request, channel), channel

    async def send(self, target: str | bytes, method: bytes = b"GET", **options: object) -> Answer:
        reply, channel = await self.start(target, method, **options)  # type: ignore[arg-type]
        return await read(reply, channel)

    async def get(self, target: str | bytes, **options: object) -> Answer:
        return await self.send(target, b"GET", **options)

    async def settle(self) -> None:
        """Let everything that runs in the background end."""
        await self.tasks.settle()


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    one = Edge()
    yield one
    await one.tasks.close()


@pytest.fixture
async def edges() -> AsyncIterator[Callable[..., Edge]]:
    """A factory of edges with policies of their own."""
    made: list[Edge] = []

    def make(policy: Policy | None = None, **store: int) -> Edge:
        made.append(Edge(policy, **store))
        return made[-1]

    yield make
    for one in made:
        await one.tasks.close()
