"""One question to the origin, and what makes two questions the same. RFC 9111 §4."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from vary_proxy.core import blocks, cors, edge, forwarding, keys, loops, ranges, validation
from vary_proxy.core.directives import of_request
from vary_proxy.core.message import Fields, Pair, Request
from vary_proxy.core.policy import OriginKey, Policy
from vary_proxy.core.stored import Resource, Selecting, StoredResponse
from vary_proxy.core.values import immutable
from vary_proxy.core.vary import EffectiveVary
from vary_proxy.origin import Interim, Naming

NO_VARY = EffectiveVary(None, ())


@immutable
class Ask:
    """One question to the origin.

    ``candidates`` are validated; when ``filling``, they are siblings whose body may serve.
    ``names`` are the selecting names known of the resource. ``stale`` may stand in. ``part`` is the
    beginning of the whole: only the rest is asked for. ``resource`` is what was stored when it
    was put, whose Vary is said of the answer as well.
    """

    request: Request
    policy: Policy
    key: bytes
    names: tuple[bytes, ...]
    trusted: bool
    candidates: tuple[StoredResponse, ...] = ()
    filling: bool = False
    stale: StoredResponse | None = None
    part: StoredResponse | None = None
    whole: bool = False  # leave out the client's Range
    slot: bytes = b""  # the Range of whole blocks to ask for instead of the client's
    interim: Interim | None = None
    resource: Resource | None = None

    def vary(self, fields: Fields) -> EffectiveVary:
        """What Vary comes to for an answer with *fields*, next to what the resource has said."""
        return edge.effective(self.policy, fields, self.request, self.resource)

    def select(self, names: tuple[bytes, ...]) -> Selecting:
        """This request's selecting values for *names* and all those known."""
        key = self.policy.cache.origin_key
        exact = key is OriginKey.EXACT
        value = None if exact else cors.key_value(self.policy.cors, key, self.request)
        return keys.select((*names, *self.names), self.request.fields, value, exact_origin=exact)

    def validating(self, stored: StoredResponse) -> Ask:
        """Whether *stored* still holds: the question of who has asked for nothing else yet."""
        return Ask(
            self.request,
            self.policy,
            self.key,
            self.names,
            self.trusted,
            (stored,),
            stale=stored,
            interim=self.interim,
            resource=self.resource,
        )

    def anew(self) -> Ask:
        """The same question, with nothing to validate."""
        return replace(self, candidates=(), filling=False)


def to_origin(
    ask: Ask, naming: Naming, drop: frozenset[bytes], add: tuple[Pair, ...] = ()
) -> Request:
    """The request of *ask* as its origin, so named, gets it: less *drop*, plus *add*."""
    hop = forwarding.Hop(naming.host, naming.prefix, ask.trusted, naming.scheme)
    return forwarding.to_origin(ask.request, ask.policy, hop, drop=drop, add=add)


def for_bytes(ask: Ask, naming: Naming, add: tuple[Pair, ...]) -> Request:
    """As ``to_origin``, for bytes that *add* asks for, in the place of the client's conditions."""
    got = replace(ask, request=replace(ask.request, method=b"GET"))
    return to_origin(got, naming, validation.CLIENT_CONDITIONS | RANGE, add)


RANGE = frozenset((b"range", b"if-range"))


def flight_name(ask: Ask, wanted: Selecting) -> bytes:
    """What tells flights of one resource apart: the variant, the ranges, the question."""
    parts = [ask.key, ask.request.method, b"validate" if ask.candidates else b"fetch"]
    parts.append(ask.slot or ask.request.fields.combined(b"range") or b"")
    parts.append(ask.request.fields.combined(b"if-range") or b"")
    for name, value in wanted:
        parts += [name, b"-" if value is None else b"=" + value]
    return b"\0".join(parts)


def in_blocks(ask: Ask) -> Ask:
    """*ask*, where it asks for a range, as asking for the whole blocks in which that lies."""
    fields = ask.request.fields
    value = fields.combined(b"range")
    if value is None or ask.request.method != b"GET" or b"authorization" in fields:
        return ask
    if ask.whole or ask.filling or ask.part is not None:
        return ask
    if not all(one.sparse for one in ask.candidates):
        return ask
    wanted = ranges.specs(value)
    return ask if wanted is None else replace(ask, slot=blocks.slot(wanted) or b"")


def is_its_part(ask: Ask, draft: StoredResponse, length: int | None) -> bool:
    """False for a part, of *length* bytes, that is not the very one *ask* is for.

    Ranges that lie in the same blocks share a flight. Where the origin sent less than these,
    the answer is to the range of whoever opened it.
    """
    if draft.part is None:
        return True
    wanted = ranges.specs(ask.request.fields.combined(b"range") or b"")
    if length is None or wanted is None or len(wanted) != 1:
        return False
    first, stop = draft.part.first, draft.part.first + length
    total = draft.part.total
    if total is None:
        return wanted[0] == (first, stop - 1)
    return ranges.resolve(wanted, total) == (ranges.Span(first, stop),)


def may_share(ask: Ask) -> bool:
    """False for a request whose answer could never be another's."""
    fields = ask.request.fields
    return (
        ask.policy.cache.collapse
        and ask.request.method == b"GET"
        and b"authorization" not in fields
        and not of_request(fields).no_store
        and not loops.is_sent_on(ask.request, ask.policy)
    )


def plain(request: Request) -> Request:
    """*request* without what asks for a part, or for something special."""
    return replace(request, method=b"GET", fields=request.fields.without(SPECIAL))


SPECIAL = frozenset(
    (b"range", b"if-range", b"if-none-match", b"if-modified-since", b"cache-control", b"pragma")
)


def key_names(effective: EffectiveVary, policy: Policy) -> tuple[bytes, ...]:
    """The names that partition the store for a response with this Vary under *policy*."""
    ignored = policy.cache.origin_key is OriginKey.IGNORE
    return _key_names(effective.names, ignored, edge.unselecting(policy))


@lru_cache(maxsize=512)
def _key_names(
    said: tuple[bytes, ...], origin_ignored: bool, unselecting: frozenset[bytes]
) -> tuple[bytes, ...]:
    names = {*said, b"origin"} - {b"origin"} if origin_ignored else {*said, b"origin"}
    return tuple(sorted((names - unselecting) | _TOLD))


# A trusted proxy tells the origin these, which shapes redirects and links without being named
# in Vary. From anybody else they have been taken off: absent is their value then.
_TOLD = frozenset((b"x-forwarded-host", b"x-forwarded-proto"))


def validatable(stored: StoredResponse) -> tuple[StoredResponse, ...]:
    return (stored,) if validation.has_validator(stored) and stored.part is None else ()


def fallback(resource: Resource | None, wanted: Selecting) -> StoredResponse | None:
    """What may stand in, should the origin fail: a whole variant that fits."""
    variants = () if resource is None else resource.variants
    return next((one for one in variants if one.part is None and keys.matches(one, wanted)), None)
