"""Dresses every reply: Age, Date, Via, Cache-Status, Vary; 304, 206 and 416 from a whole.

Hit, miss, validated, passed and refused all come through here, so that they agree. A Plan
says which bytes of the body go out; somebody else fetches and writes them.
RFC 9110 §15.3.7, §15.4.5, RFC 9111 §5.1, RFC 9211.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from hashlib import blake2b

from vary_proxy.core import freshness, ranges, reuse, syntax, validation
from vary_proxy.core.loops import PSEUDONYM
from vary_proxy.core.message import Fields, Pair, Request
from vary_proxy.core.ranges import Span
from vary_proxy.core.stored import StoredResponse
from vary_proxy.core.values import immutable

BODILESS = frozenset((204, 304))

# A 304 carries what guides a cache, not what describes the body (RFC 9110 §15.4.5).
_NOT_IN_304 = frozenset(
    (b"content-length", b"content-type", b"content-encoding", b"content-language")
    + (b"content-range", b"content-md5", b"content-digest", b"repr-digest", b"digest")
    + (b"content-disposition", b"transfer-encoding", b"accept-ranges")
)
_NOT_IN_416 = (_NOT_IN_304 - {b"accept-ranges"}) | frozenset(
    (b"etag", b"last-modified", b"expires", b"pragma", b"cdn-cache-control", b"surrogate-control")
)


@immutable
class CacheStatus:
    """One member of Cache-Status (RFC 9211 §2)."""

    hit: bool = False
    fwd: str = ""
    fwd_status: int = 0
    ttl: float | None = None
    stored: bool = False
    collapsed: bool = False
    detail: str = ""

    def __bytes__(self) -> bytes:
        ttl = None if self.ttl is None else int(max(-999999999999, min(self.ttl, 999999999999)))
        told = (self.hit, self.fwd, self.fwd_status, ttl, self.stored, self.collapsed, self.detail)
        return _member(*told)

    def of(self, status: int, detail: str = "", *, stored: bool = False) -> CacheStatus:
        """The same, of a request that was forwarded and answered with *status*."""
        return CacheStatus(self.hit, self.fwd, status, None, stored, self.collapsed, detail)


@lru_cache(maxsize=1024)
def _member(
    hit: bool,
    fwd: str,
    fwd_status: int,
    ttl: int | None,
    stored: bool,
    collapsed: bool,
    detail: str,
) -> bytes:
    out = [PSEUDONYM]
    if hit:
        out.append(b"hit")
    if fwd:
        out.append(b"fwd=" + fwd.encode())
    if fwd_status:
        out.append(b"fwd-status=%d" % fwd_status)
    if ttl is not None:
        out.append(b"ttl=%d" % ttl)
    if stored:
        out.append(b"stored")
    if collapsed:
        out.append(b"collapsed")
    if detail:
        out.append(b"detail=" + _token_or_string(detail.encode("ascii", "replace")))
    return b"; ".join(out)


def _token_or_string(value: bytes) -> bytes:
    # A structured token begins with a letter; anything else goes in quotes (RFC 9651 §3.3).
    if syntax.is_token(value) and value[:1].isalpha():
        return value
    return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


@immutable
class Plan:
    """A head, and the pieces of its body in order: bytes of ours, or spans of the stored body."""

    status: int
    fields: Fields
    reason: bytes = b""
    pieces: tuple[bytes | Span, ...] = ()
    bodiless: bool = False


def compose(
    request: Request,
    stored: StoredResponse,
    fields: Fields,
    status: CacheStatus,
    now: float,
    *,
    aged: bool = True,
    length: int | None = None,
) -> Plan:
    """The answer that *stored*, with its *fields* as dressed for this requester, gives.

    *aged* adds Age, as does a ride on another's fetch: the response comes from the store.
    *length* is the length of the body held; None when it is not known yet, and then only the
    whole can be sent.
    """
    fields = fields.without(_SET_HERE)
    told = aged or status.collapsed  # a rider's answer may have been coming for long
    head = [(b"age", b"%d" % int(freshness.current_age(stored, now)))] if told else []
    if not told and (age := stored.fields.get(b"age")) is not None:
        head.append((b"age", age))
    fields = fields.plus((*head, (b"cache-status", _chained(stored.fields, status))))
    if validation.not_modified(request, stored):
        return Plan(304, of_not_modified(fields), bodiless=True)
    if length is None or (stored.part is not None and not aged):
        return _whole(request, stored, fields, length)  # a part just asked for goes as it came
    if stored.status == 200 or stored.part is not None:
        partial = _partial(request, stored, fields, length)
        if partial is not None:
            return partial
    return _whole(request, stored, fields, length)


_SET_HERE = frozenset((b"age", b"cache-status", b"content-length"))


def of_not_modified(fields: Fields) -> Fields:
    """What of *fields* a 304 carries: all but what describes the body (RFC 9110 §15.4.5)."""
    return fields.without(_NOT_IN_304)


def _chained(fields: Fields, status: CacheStatus) -> bytes:
    before = fields.combined(b"cache-status")
    return bytes(status) if before is None else before + b", " + bytes(status)


def _whole(request: Request, stored: StoredResponse, fields: Fields, length: int | None) -> Plan:
    bodiless = request.method == b"HEAD" or stored.status in BODILESS
    if length is not None and stored.status not in BODILESS:
        fields = fields.plus(((b"content-length", b"%d" % length),))
    pieces = () if bodiless else (Span(0, length if length is not None else -1),)
    return Plan(stored.status, fields, stored.reason, pieces, bodiless)


def _partial(request: Request, stored: StoredResponse, fields: Fields, length: int) -> Plan | None:
    """206 or 416 where the request asks for ranges that can be answered; else None."""
    value = request.fields.combined(b"range")
    if value is None or request.method != b"GET":
        return None
    wanted = ranges.specs(value)
    if wanted is None or not ranges.if_range_holds(request.fields.combined(b"if-range"), stored):
        return None
    total, offset = length, 0
    if stored.part is not None:
        offset = stored.part.first
        if stored.part.total is None:
            return _of_part(stored, reuse.wanted_spans(stored, request), fields, offset, None)
        total = stored.part.total
    spans = ranges.resolve(wanted, total)
    if not spans:
        return _unsatisfiable(fields, total)
    if not ranges.is_reasonable(spans, total):
        return None
    return _of_part(stored, spans, fields, offset, total)


def _unsatisfiable(fields: Fields, total: int) -> Plan:
    told: tuple[Pair, ...] = ((b"content-range", b"bytes */%d" % total), (b"content-length", b"0"))
    # A cache after us may keep any status that states a lifetime, and would answer whole GETs
    # with it: what the document may do, this must not.
    kept = fields.without(_NOT_IN_416).replaced(b"cache-control", b"no-store")
    return Plan(416, kept.plus(told))


def _of_part(
    stored: StoredResponse,
    spans: tuple[Span, ...],
    fields: Fields,
    offset: int,
    total: int | None,
) -> Plan:
    size = b"*" if total is None else b"%d" % total
    fields = fields.without({b"content-range"})
    if len(spans) == 1:
        span = spans[0]
        told: tuple[Pair, ...] = (
            (b"content-range", _content_range(span, size)),
            (b"content-length", b"%d" % span.length),
        )
        held = Span(span.start - offset, span.stop - offset)
        return Plan(206, fields.plus(told), pieces=(held,))
    return _multipart(_boundary(stored, spans), spans, fields, offset, size)


def _content_range(span: Span, size: bytes) -> bytes:
    return b"bytes %d-%d/%s" % (span.start, span.stop - 1, size)


def _boundary(stored: StoredResponse, spans: tuple[Span, ...]) -> bytes:
    """What nobody can have known who wrote the body: it depends on that, and on when it came."""
    when = struct.pack(">dd", stored.born, stored.received)
    where = b"%d-%d" % (spans[0].start, spans[-1].stop)
    return blake2b(stored.body.digest + when + where, digest_size=12).hexdigest().encode()


def _multipart(
    boundary: bytes, spans: tuple[Span, ...], fields: Fields, offset: int, size: bytes
) -> Plan:
    """multipart/byteranges (RFC 9110 §14.6)."""
    kind = fields.get(b"content-type")
    pieces: list[bytes | Span] = []
    length = 0
    for span in spans:
        head = b"\r\n--" + boundary + b"\r\n"
        if kind is not None:
            head += b"Content-Type: " + kind + b"\r\n"
        head += b"Content-Range: " + _content_range(span, size) + b"\r\n\r\n"
        pieces += [head, Span(span.start - offset, span.stop - offset)]
        length += len(head) + span.length
    pieces.append(b"\r\n--" + boundary + b"--\r\n")
    length += len(boundary) + 8
    fields = fields.replaced(b"content-type", b"multipart/byteranges; boundary=" + boundary)
    return Plan(206, fields.plus(((b"content-length", b"%d" % length),)), pieces=tuple(pieces))


def chained(fields: Fields, status: CacheStatus) -> Fields:
    """*fields* with our member of Cache-Status after those of caches nearer the origin."""
    return fields.replaced(b"cache-status", _chained(fields, status))


def received(fields: Fields, now: float) -> Fields:
    """*fields* with what every recipient adds: Via, and Date where there was none (§6.6.1)."""
    if b"date" not in fields:
        fields = fields.plus(((b"date", syntax.format_date(now)),))
    before = fields.combined(b"via")
    mine = b"1.1 " + PSEUDONYM
    return fields.replaced(b"via", mine if before is None else before + b", " + mine)
