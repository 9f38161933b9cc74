"""Preflights at the edge: answered by a rule, denied, or kept from the origin's own answers.

Kept answers have a store of their own: answers to OPTIONS are not cacheable by HTTP (RFC
9110 §9.3.7), so that keeping them is a rule's wish, keyed by all that they can depend on and by
what their Vary names, bounded per URL and in all, and gone with the URL when it is purged. What
no browser sends with a preflight, a body or credentials, has no part in it. A write leaves them:
they tell what the origin allows, not what it has, and every write is preceded by one.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from vary_proxy.core import cors, edge, keys, preflight, vary
from vary_proxy.core.delivery import CacheStatus, chained
from vary_proxy.core.message import Buffer, Fields, Reply, Request
from vary_proxy.core.policy import PreflightMode, VaryPolicy
from vary_proxy.core.preflight import PreflightAnswer
from vary_proxy.core.stored import Selecting
from vary_proxy.core.syntax import format_date
from vary_proxy.replying.replies import Walk

_MOST_URLS = 4096
_MOST_A_URL = 64
_MOST_BYTES = 8 << 20
_LONGEST_BODY = 4096


def at_the_edge(walk: Walk, now: float) -> Reply | None:
    """The answer that the rule gives to a preflight; None where the origin is to be asked."""
    mode, policy = walk.policy.preflight, walk.policy.cors
    if mode is PreflightMode.DENY:
        return _answered(walk, preflight.denied(walk.request), now)
    if mode is PreflightMode.SYNTHESIZE and policy is not None:
        return _answered(walk, preflight.preflight_reply(policy, walk.request), now)
    return None


def _answered(walk: Walk, answer: PreflightAnswer, now: float) -> Reply:
    record = walk.record
    refused = bool(answer.failing) and answer.status == 403
    record.cache = "edge"
    record.preflight = "refused" if refused else "synthesized"
    record.reason = f"preflight-{record.preflight}"
    record.cors = answer.verdict.kind.value
    record.cors_reason = cors.blocked(walk.request, answer.verdict) or ""
    if answer.culprit:
        record.notes["culprit"] = answer.culprit.decode("ascii", "backslashreplace")[:200]
    fields = edge.declaring(Fields(answer.fields), answer.vary)
    body = b"This preflight is refused.\n" if answer.status == 403 else b""
    if body:
        fields = fields.plus(
            (
                (b"content-type", b"text/plain; charset=utf-8"),
                (b"content-length", b"%d" % len(body)),
            )
        )
    fields = chained(fields, CacheStatus(detail=record.reason))
    fields = fields.plus(((b"date", format_date(now)),))
    return Reply(
        answer.status,
        fields,
        chunks=(body,) if body else (),
        bodiless=not body,
        close=walk.request.has_body,
        record=record,
    )


@dataclass(frozen=True, slots=True)
class _Kept:
    status: int
    reason: bytes
    fields: Fields
    body: bytes
    received: float
    expires: float
    varies: Selecting  # by what Vary names beyond what every preflight is told apart by


class Kept:
    """The origin's answers to preflights, for rules that say ``preflight: cache``."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._urls: OrderedDict[bytes, OrderedDict[Selecting, _Kept]] = OrderedDict()
        self._bytes = 0
        self._era = 0  # goes on with every purge

    def find(self, walk: Walk, key: bytes) -> Reply | None:
        """A kept answer to this very preflight, while it lasts."""
        found = self._urls.get(key)
        selecting = preflight.preflight_key(walk.request)
        kept = None if found is None else found.get(selecting)
        now = self._clock()
        if found is None or kept is None or not _is_plain(walk.request):
            return None
        if _selected(tuple(name for name, _ in kept.varies), walk.request) != kept.varies:
            return None
        if now >= kept.expires:
            self._drop(key, selecting)
            return None
        self._urls.move_to_end(key)
        found.move_to_end(selecting)
        walk.record.cache = "hit"
        walk.record.preflight = "cached"
        status = CacheStatus(hit=True, ttl=kept.expires - now)
        fields = chained(walk.dressed(kept.fields), status)
        fields = fields.replaced(b"age", b"%d" % int(now - kept.received))
        chunks = (kept.body,) if kept.body else ()
        return Reply(
            kept.status, fields, kept.reason, chunks=chunks, bodiless=not chunks, record=walk.record
        )

    async def keep(self, walk: Walk, key: bytes, asked: Awaitable[Reply]) -> Reply:
        """What *asked*, a question to the origin, comes to: kept if it may be."""
        walk.record.preflight = "forwarded"
        era = self._era
        reply = await asked
        lifetime = preflight.preflight_lifetime(reply.fields)
        if not 200 <= reply.status < 300 or not lifetime or b"set-cookie" in reply.fields:
            return reply
        said = vary.effective(reply.fields, _AS_SAID, b"OPTIONS")
        if said.star or not _is_plain(walk.request):
            return reply
        body = await _short_body(reply)
        if body is None or era != self._era:  # purged meanwhile, as far as can be told
            return reply
        now = self._clock()
        fields = reply.fields.without({b"cache-status", b"age"})
        selecting = preflight.preflight_key(walk.request)
        known = {name for name, _ in selecting}
        varies = _selected(tuple(set(said.names) - known), walk.request)
        kept = _Kept(reply.status, reply.reason, fields, body, now, now + lifetime, varies)
        self._put(key, selecting, kept)
        walk.record.stored = True
        return reply

    def forget(self, matches: Callable[[bytes], bool]) -> None:
        """Drop what is kept for primary keys that *match*, and keep nothing that is under way."""
        self._era += 1
        for key in filter(matches, tuple(self._urls)):
            self._forget(key)

    def drop(self, key: bytes) -> None:
        """Drop what is kept for this one."""
        if key in self._urls:
            self._forget(key)

    def _put(self, key: bytes, selecting: Selecting, kept: _Kept) -> None:
        if selecting in self._urls.get(key, ()):
            self._drop(key, selecting)
        found = self._urls.setdefault(key, OrderedDict())
        self._urls.move_to_end(key)
        found[selecting] = kept
        self._bytes += _cost(key, selecting, kept)
        if len(found) > _MOST_A_URL:
            self._drop(key, next(iter(found)))
        while len(self._urls) > _MOST_URLS or self._bytes > _MOST_BYTES:
            self._forget(next(iter(self._urls)))

    def _drop(self, key: bytes, selecting: Selecting) -> None:
        self._bytes -= _cost(key, selecting, self._urls[key].pop(selecting))
        if not self._urls[key]:
            del self._urls[key]

    def _forget(self, key: bytes) -> None:
        for selecting in tuple(self._urls[key]):
            self._drop(key, selecting)


def _cost(key: bytes, selecting: Selecting, kept: _Kept) -> int:
    """About the bytes that a kept answer takes."""
    told = sum(len(value or b"") for _, value in (*selecting, *kept.varies))
    fields = sum(len(name) + len(value) + 120 for name, value in kept.fields.items)
    return 1024 + len(key) + told + fields + len(kept.body)


async def _short_body(reply: Reply) -> bytes | None:
    """The whole body of *reply*, which is given it back; None when it is too long to keep."""
    parts: list[Buffer] = list(reply.chunks)
    size = sum(map(len, parts))
    stream = None if reply.bodiless else reply.stream
    while stream is not None and size <= _LONGEST_BODY:
        chunk = await anext(stream, None)
        if chunk is None:
            reply.stream = None
            reply.chunks = parts
            return b"".join(parts)
        parts.append(chunk)
        size += len(chunk)
    if stream is None:
        return b"".join(parts)
    reply.stream = _Followed(parts, stream)
    reply.chunks = ()
    return None


class _Followed(AsyncIterator[Buffer]):
    """*parts*, then the rest of *stream*, which is closed with it: also when nothing was read."""

    def __init__(self, parts: list[Buffer], stream: AsyncIterator[Buffer]) -> None:
        self._parts = deque(parts)
        self._stream = stream

    async def __anext__(self) -> Buffer:
        return self._parts.popleft() if self._parts else await anext(self._stream)

    async def aclose(self) -> None:
        close = getattr(self._stream, "aclose", None)
        if close is not None:
            await close()


_AS_SAID = VaryPolicy(names=())


def _is_plain(request: Request) -> bool:
    """True for a preflight as browsers send it: without a body, and without credentials."""
    return not request.has_body and request.fields.lacks(_PERSONAL)


_PERSONAL = frozenset((b"authorization", b"cookie"))


def _selected(names: tuple[bytes, ...], request: Request) -> Selecting:
    return keys.select(names, request.fields, None, exact_origin=True)
