"""Turns what was decided into Replies: from the store, from a spool, passed on, or our own.

Nothing here decides about reuse. A Walk is one request on its way through the exchange, with
the Record of what happened to it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from vary_proxy.channel import Channel
from vary_proxy.core import cors, delivery, edge, validation, vary
from vary_proxy.core.delivery import CacheStatus, Plan
from vary_proxy.core.errors import error_reply
from vary_proxy.core.message import Buffer, Fields, Record, Reply, Request
from vary_proxy.core.policy import CorsMode, Policy
from vary_proxy.core.ranges import Span
from vary_proxy.core.stored import Resource, StoredResponse
from vary_proxy.core.syntax import format_date
from vary_proxy.core.vary import EffectiveVary
from vary_proxy.fetches.resuming import Resume, Steady, SteadyPieces, steadily
from vary_proxy.fetches.spool import Spool
from vary_proxy.origin import OriginFailure, OriginResponse, at_hand
from vary_proxy.store.base import Store


@dataclass(slots=True)
class Walk:
    """One request on its way."""

    request: Request
    policy: Policy
    channel: Channel
    record: Record
    resource: Resource | None = None  # what was found in the store

    def note(self, effective: EffectiveVary) -> None:
        """Remember what was done to Vary."""
        self.record.vary_action, self.record.vary_said = effective.action, effective.said
        self.record.vary_added = effective.added

    def asked(self, origin: str, status: int, seconds: float) -> None:
        """Remember the *origin* asked, and its answer: a *status*, or 0, after *seconds*."""
        record = self.record
        record.origin, record.origin_status = origin, status
        record.origin_seconds = max(0.0, seconds)

    def dressed(self, fields: Fields) -> Fields:
        """*fields* with the CORS family and the Vary that this requester gets."""
        applied = edge.delivered(self.policy, fields, self.request)
        self.record.cors = applied.verdict.kind.value
        self.record.cors_reason = cors.blocked(self.request, applied.verdict) or ""
        return applied.fields


async def from_store(
    walk: Walk,
    store: Store,
    key: bytes,
    stored: StoredResponse,
    status: CacheStatus,
    now: float,
    resume: Resume,
) -> Reply | None:
    """The reply that *stored* gives; None when its body has gone. *resume* goes on in its place."""
    fields = walk.dressed(stored.fields)
    plan = delivery.compose(walk.request, stored, fields, status, now, length=stored.body.length)
    chunks: list[Buffer] = []
    for at, piece in enumerate(plan.pieces):
        if isinstance(piece, bytes):
            chunks.append(piece)
            continue
        content = await store.read(key, stored.body, piece.start, piece.stop)
        if content is None:
            return None
        chunks.extend(content.chunks)
        if content.stream is not None:
            first = steadily(content.stream, piece.stop, resume)
            rest = _rest(store, key, stored, first, plan.pieces[at + 1 :], resume)
            return _reply(walk, plan, chunks, rest)
    return _reply(walk, plan, chunks, None)


async def _rest(
    store: Store,
    key: bytes,
    stored: StoredResponse,
    first: AsyncIterator[Buffer],
    pieces: Sequence[bytes | Span],
    resume: Resume,
) -> AsyncIterator[Buffer]:
    async for chunk in first:
        yield chunk
    for piece in pieces:
        if isinstance(piece, bytes):
            yield piece
            continue
        content = await store.read(key, stored.body, piece.start, piece.stop)
        for held in content.chunks if content is not None else ():
            yield held
        stream = resume(piece.start, piece.stop) if content is None else content.stream
        if stream is not None:
            async for chunk in steadily(stream, piece.stop, resume):
                yield chunk


def from_spool(
    walk: Walk,
    draft: StoredResponse,
    spool: Spool,
    status: CacheStatus,
    now: float,
    resume: Resume | None = None,
) -> Reply:
    """The reply that a response still arriving gives; *resume* goes on where the store lost it."""
    length = spool.size if spool.finished else spool.length
    fields = walk.dressed(draft.fields)
    plan = delivery.compose(walk.request, draft, fields, status, now, aged=False, length=length)
    walk.record.stored, walk.record.reason = status.stored, status.detail
    stream: AsyncIterator[Buffer] | None = None
    if len(plan.pieces) == 1 and isinstance(plan.pieces[0], Span):
        span = plan.pieces[0]
        piece = spool.piece(span.start, span.stop)
        if piece is not None:
            return _reply(walk, plan, (piece,), None)
        reader = spool.reader(span.start, None if span.stop < 0 else span.stop)
        stream = reader if span.stop < 0 else Steady(reader, span.stop, resume)
    elif plan.pieces:
        stream = SteadyPieces(spool, plan.pieces, resume)
    return _reply(walk, plan, (), stream)


def alone(walk: Walk, response: OriginResponse, fields: Fields, status: CacheStatus) -> Reply:
    """A response passed to its requester, and to nobody else."""
    head = response.head
    effective = edge.effective(walk.policy, fields, walk.request, walk.resource)
    walk.note(effective)
    walk.record.cache = "pass"
    walk.record.reason = status.detail
    status = status.of(head.status, status.detail)
    dressed = delivery.chained(walk.dressed(vary.dress(fields, effective)), status)
    body = at_hand(response)
    return Reply(
        head.status,
        dressed,
        head.reason,
        chunks=() if body is None else (body,),
        stream=_Passing(response) if body is None else None,
        bodiless=walk.request.method == b"HEAD" or head.status in delivery.BODILESS,
        record=walk.record,
    )


def unconditional(
    walk: Walk, response: OriginResponse, fields: Fields, status: CacheStatus, now: float
) -> Reply:
    """As ``alone``, of a response asked for without the client's condition: that is answered here.

    The whole CORS family is then on the 304 too, whatever the origin's own would lack.
    """
    reply = alone(walk, response, fields, status)
    if validation.has_already(walk.request, reply.status, fields, now):
        reply.status, reply.reason, reply.bodiless = 304, b"", True
        reply.fields = delivery.of_not_modified(reply.fields)
    return reply


class _Passing(AsyncIterator[Buffer]):
    """The body of a response, which is closed with it: also when nothing was read."""

    def __init__(self, response: OriginResponse) -> None:
        self._response = response
        self._chunks = response.chunks()

    async def __anext__(self) -> Buffer:
        try:
            return await anext(self._chunks)
        except BaseException:
            await self._response.close()
            raise

    async def aclose(self) -> None:
        await self._response.close()


def _reply(
    walk: Walk,
    plan: Plan,
    chunks: Sequence[Buffer],
    stream: AsyncIterator[Buffer] | None,
) -> Reply:
    return Reply(
        plan.status,
        plan.fields,
        plan.reason,
        chunks=chunks,
        stream=stream,
        bodiless=plan.bodiless,
        record=walk.record,
    )


_EXPLAINED = {
    "connection_refused": "The origin server refuses connections.",
    "connection_timeout": "The origin server could not be reached in time.",
    "connection_terminated": "The origin server ended the connection without an answer.",
    "connection_read_timeout": "The origin server stopped in the middle of its answer.",
    "dns_error": "The origin server's name could not be resolved.",
    "dns_timeout": "The origin server's name could not be resolved in time.",
    "http_response_timeout": "The origin server did not answer in time.",
    "http_protocol_error": "The origin server's answer could not be read as HTTP.",
    "http_response_incomplete": "The origin server's answer ended early.",
    "http_response_header_section_size": "The origin server's answer has too large a head.",
    "proxy_internal_error": "The proxy's store does not answer, and it may not do without it.",
    "proxy_configuration_error": "The proxy has no valid credentials to ask the origin with.",
    "proxy_loop_detected": "This request leads in a circle: what is asked as the origin asks back.",
    "tls_certificate_error": "The origin server's certificate could not be verified.",
    "tls_protocol_error": "No TLS connection to the origin server could be made.",
}


def failure(walk: Walk, failed: OriginFailure, now: float) -> Reply:
    """Our own 502, 503 or 504 for an origin that gave no usable answer."""
    walk.record.cache = "error"
    walk.record.reason = failed.error
    message = _EXPLAINED.get(failed.error, "The origin server gave no usable answer.")
    return _own(walk, failed.status, message, failed.error, "", now)


def refused(walk: Walk, now: float) -> Reply:
    """504 for only-if-cached (RFC 9111 §5.2.1.7)."""
    walk.record.cache = "error"
    walk.record.reason = "only-if-cached"
    message = "Nothing stored fits this request, and it asked for nothing else (only-if-cached)."
    return _own(walk, 504, message, "", "only-if-cached", now)


def final(walk: Walk, now: float) -> Reply:
    """To an OPTIONS or TRACE that Max-Forwards lets go no further (RFC 9110 §7.6.2)."""
    walk.record.cache = "edge"
    walk.record.reason = "max-forwards"
    message = "The request was to end here, and TRACE is not answered by this proxy."
    reply = _own(walk, 501, message, "", "max-forwards", now)
    if walk.request.method == b"OPTIONS":
        reply.status, reply.chunks, reply.bodiless = 204, (), True
        reply.fields = reply.fields.without({b"content-type", b"content-length"})
    return reply


def _own(
    walk: Walk, status: int, message: str, proxy_error: str, cache_detail: str, now: float
) -> Reply:
    reply = error_reply(
        status,
        message,
        proxy_error=proxy_error,
        cache_detail=cache_detail,
        vary=vary.for_errors(edge.nominated(walk.policy), walk.request.method),
        close=walk.request.has_body,
        date=format_date(now),
    )
    reply.fields = walk.dressed(reply.fields)
    if walk.policy.cors_mode is CorsMode.PASSTHROUGH:
        # Nobody has judged who asks: the origin, which does, did not answer.
        walk.record.cors = walk.record.cors_reason = ""
    reply.bodiless = walk.request.method == b"HEAD"
    reply.record = walk.record
    return reply
