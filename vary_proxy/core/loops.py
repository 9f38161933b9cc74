"""Requests that come back to whoever sent them on: how that is told, and how it is seen.

Via says how often a request has come through proxies like this one. It does not say which: two
of them may stand one before the other, and one may rightly see a request twice, for one thing and
then another. So CDN-Loop (RFC 8586) says what it was asked for, as two digests of method and
primary key: ``id``, with the secret of this instance, and ``key``, without. A request
with our own ``id`` has closed a circle, and waiting for what was asked for by it would be waiting
for itself. One with the same ``key`` was sent on by somebody who may share a store with us.

Whoever invents such a request is refused, or fetches alone; nobody else is.
"""

from __future__ import annotations

from hashlib import blake2b

from vary_proxy.core import keys
from vary_proxy.core.message import Request
from vary_proxy.core.policy import Policy

PSEUDONYM = b"vary-proxy"
MOST_HOPS = 8  # through ourselves, before it is called a loop


def is_closed(request: Request, policy: Policy) -> bool:
    """True when *request* has been here before, or too often at some like us."""
    fields = request.fields
    via, chain = fields.combined(b"via"), fields.combined(b"cdn-loop")
    if via is not None and via.count(b" " + PSEUDONYM) >= MOST_HOPS:
        return True
    if chain is None or PSEUDONYM not in chain:
        return False
    return chain.count(PSEUDONYM) >= MOST_HOPS or _id(_key(request, policy), policy) in chain


def is_sent_on(request: Request, policy: Policy) -> bool:
    """True when somebody asked for the same, on whose behalf *request* came.

    It must not wait for what is under way: that may be waiting for it.
    """
    chain = request.fields.combined(b"cdn-loop")
    return chain is not None and PSEUDONYM in chain and _key(request, policy) in chain


def told(request: Request, policy: Policy) -> bytes:
    """CDN-Loop as it goes on (RFC 8586 §2)."""
    key = _key(request, policy)
    mine = b"%b;id=%b;key=%b" % (PSEUDONYM, _id(key, policy), key)
    before = request.fields.combined(b"cdn-loop")
    return mine if before is None else before + b", " + mine


def _key(request: Request, policy: Policy) -> bytes:
    asked = request.method + b"\0" + keys.primary_key(request, policy)
    return blake2b(asked, digest_size=8).hexdigest().encode()


def _id(key: bytes, policy: Policy) -> bytes:
    return blake2b(key, digest_size=8, key=policy.lot).hexdigest().encode()
