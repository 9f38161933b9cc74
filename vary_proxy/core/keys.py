"""The primary key of a target URI, and the selecting values that make a variant key.

Keys are joined with NUL, which no part can hold: the server refuses control bytes, and
names come from the configuration. What the origin sees unnormalised is not normalised
here, unless a rule says that a query parameter does not matter, but for three lists of which
the members count and neither their order nor their case. RFC 9111 §2, §4.1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from re import Pattern
from urllib.parse import unquote_to_bytes

from vary_proxy.core import syntax
from vary_proxy.core.memo import remembered
from vary_proxy.core.message import Fields, Request
from vary_proxy.core.policy import Policy, QueryKey
from vary_proxy.core.stored import Selecting, StoredResponse

# Parameters of which one makes a URL a capability of whoever was given it.
_SIGNATURES = (b"x-amz-signature=", b"x-goog-signature=", b"signature=", b"x-amz-credential=")


def primary_key(request: Request, policy: Policy) -> bytes:
    """The key under which the resource of *request* is kept (RFC 9111 §2).

    GET and HEAD share it. The repair mode is part of it: what was stored under another one
    may lack the names that this one needs. So is the policy's mark: an origin that is another
    by now, under the name of the old one, has other content.
    """
    target = request.target if policy.cache.query == _AT_REST else _by_rule(request.target, policy)
    return b"\0".join((policy.home, request.scheme, request.authority, target))


_AT_REST = QueryKey()


def _by_rule(target: bytes, policy: Policy) -> bytes:
    path, mark, query = target.partition(b"?")
    if not mark:
        return target
    rule = policy.cache.query
    kept = [part for part in query.split(b"&") if _counts(part, rule)]
    if rule.sort:
        kept.sort(key=_name)  # those of one name stay in order: which comes first may matter
    return path + b"?" + b"&".join(kept) if kept else path


def _name(part: bytes) -> bytes:
    return unquote_to_bytes(part.partition(b"=")[0])


def _counts(part: bytes, rule: QueryKey) -> bool:
    if b";" in part:
        return True  # some origins read several parameters here, and not all may be ignored
    name = _name(part)
    if _any(rule.ignore, name):
        return False
    return rule.only is None or _any(rule.only, name)


def _any(patterns: Iterable[Pattern[bytes]], name: bytes) -> bool:
    return any(pattern.fullmatch(name) is not None for pattern in patterns)


def is_presigned(target: bytes) -> bool:
    """True for a URL whose query carries a signature: a capability, never to be shared."""
    _, mark, query = target.partition(b"?")
    if not mark:
        return False
    # As the origin reads it, and rather one too many than one too few: names may be encoded, and
    # some split at semicolons too.
    lowered = (unquote_to_bytes(query) if b"%" in query else query).lower().replace(b";", b"&")
    return any(lowered.startswith(name) or b"&" + name in lowered for name in _SIGNATURES)


def unsigned(target: bytes) -> bytes:
    """*target* without the parameters that sign it: the URL that others know it by."""
    path, _, query = target.partition(b"?")
    kept = [part for part in query.split(b"&") if not _signs(part)]
    return path + b"?" + b"&".join(kept) if kept else path


def _signs(part: bytes) -> bool:
    return (_name(part) + b"=").lower().startswith(_OF_SIGNATURES)


_OF_SIGNATURES = (b"x-amz-", b"x-goog-", b"signature=", b"awsaccesskeyid=", b"expires=", b"x-id=")


def select(
    names: tuple[bytes, ...], fields: Fields, origin_value: bytes | None, *, exact_origin: bool
) -> Selecting:
    """The normalised value that *fields* have for each name, None where absent (§4.1).

    *origin_value* stands for ``Origin`` where a rule partitions by something else than its
    exact value (*exact_origin* False).
    """
    found: list[tuple[bytes, bytes | None]] = []
    for name in (_ordered if len(names) <= 32 else _ordered.__wrapped__)(names):
        if name == b"origin" and not exact_origin:
            found.append((name, origin_value))
            continue
        value = fields.combined(name)
        if value is not None and (normalise := _NORMALISERS.get(name)) is not None:
            value = normalise(value)
        found.append((name, value))
    return tuple(found)


@lru_cache(maxsize=512)
def _ordered(names: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return tuple(sorted(set(names)))


@remembered
def _lower_set(value: bytes) -> bytes:
    return b",".join(sorted({part.lower() for part in syntax.members(value)}))


@remembered
def _weighted(value: bytes) -> bytes:
    # ``gzip;q=0.5`` and ``gzip; q=0.5`` mean the same, and the order of members nothing. White
    # space anywhere else makes another member: the origin does not take ``d e`` for ``de``.
    return b",".join(sorted(_AROUND.sub(b";", part.lower()) for part in syntax.members(value)))


_AROUND = re.compile(rb"[ \t]*;[ \t]*")


_NORMALISERS: dict[bytes, Callable[[bytes], bytes]] = {
    b"access-control-request-headers": _lower_set,
    b"accept-encoding": _weighted,
    b"accept-language": _weighted,
}


def matches(stored: StoredResponse, wanted: Selecting) -> bool:
    """True when *stored* was selected by the very values *wanted* (RFC 9111 §4.1).

    *wanted* covers every name seen on the resource, sorted as those of *stored* are. A stored
    response that knows nothing of one of them cannot be told apart and does not match.
    """
    return stored.selecting == wanted
