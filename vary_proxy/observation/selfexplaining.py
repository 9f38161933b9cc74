"""Answers that explain themselves, for whoever sends the admin token in Vary-Proxy-Explain.

The object stays what it is: the explanation is one response field of that name, a dictionary
of RFC 9651. So that no cache gives it to anybody else, it goes out with ``no-store``, and the
lifetimes that were to be sent stand in the explanation. The request field is read and taken
off before anything else: it selects nothing, no origin sees it, and a wrong token changes
nothing at all.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from vary_proxy.config import Loaded
from vary_proxy.core import forwarding, freshness, structured, syntax
from vary_proxy.core.directives import of_response
from vary_proxy.core.message import Fields, Reply, Request
from vary_proxy.core.policy import Policy
from vary_proxy.core.vary import EffectiveVary
from vary_proxy.fetches.asking import key_names
from vary_proxy.observation import explaining

FIELD = b"vary-proxy-explain"
_FORWARDED = re.compile(rb"vary-proxy;[^,]*\bfwd=([a-z-]+)[^,]*$")
_LONGEST = 1024  # bytes of one string
# What would let a cache keep the answer, or keep it longer, whatever Cache-Control says.
_LIFETIMES = frozenset((b"cache-control", b"expires", b"pragma", b"surrogate-control", FIELD))
Answer = Callable[[Request], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Asked:
    """By which configuration, and which admin token; "" is nobody's. *trusted*: of the peer."""

    loaded: Loaded
    token: str
    clock: Callable[[], float]
    trusted: bool = False

    async def answer(self, request: Request, answer: Answer) -> Reply:
        """What *answer* gives for *request* less the field, explained where the token is in it."""
        given = request.fields.combined(FIELD) or b""
        plain = replace(request, fields=request.fields.without({FIELD}))
        reply = await answer(plain)
        right = hmac.compare_digest(given, self.token.encode("utf-8", "surrogateescape"))
        if not right or not self.token:
            return reply
        believed = forwarding.believed(plain, trusted=self.trusted)
        return _explained(believed, reply, self.loaded, self.clock())


def _explained(request: Request, reply: Reply, loaded: Loaded, now: float) -> Reply:
    members = ", ".join(_members(request, reply, loaded, now))
    kept = tuple(pair for pair in reply.fields.items if not _is_lifetime(pair[0]))
    fields = Fields(kept).plus(((b"cache-control", b"no-store"), (FIELD, members.encode())))
    return replace(reply, fields=fields)


def _is_lifetime(name: bytes) -> bool:
    return name in _LIFETIMES or name.endswith(b"-cache-control")


def _members(request: Request, reply: Reply, loaded: Loaded, now: float) -> Iterator[str]:
    policy = loaded.rules.match(request)
    told = explaining.explain(loaded, request)
    record = reply.record
    yield _member("rule", policy.rule, where=told["where"])
    sent = reply.fields.combined(b"vary")
    if told["key"] is not None:
        yield _member("key", told["key"]["primary"], origin=told["key"]["origin"])
        names = _selecting(policy, record.vary_said, sent)
        yield f"selecting=({' '.join(map(_string, names))})"
    asked = {"action": record.vary_action, "in": record.vary_said or False}
    done = asked if record.vary_action else {}
    yield _member("vary", told["vary"]["mode"], out=sent or False, **done)
    yield _member(
        "cors", record.cors or "none", mode=policy.cors_mode.value, reason=record.cors_reason,
        policy=told["cors"]["policy"] or "", preflight=record.preflight,
    )  # fmt: skip
    yield _member("cache", record.cache or "none", reason=record.reason)
    stored = record.stored or record.cache in ("hit", "stale", "validated", "collapsed")
    yield _member("stored", stored, reason="" if stored else _why_not(told, reply))
    yield from _lifetime(reply, policy, told, now)
    if record.origin:
        took = {"status": record.origin_status, "seconds": round(record.origin_seconds, 3)}
        yield _member("origin", record.origin, url=told["origin"]["url"], **took)


def _why_not(told: dict[str, Any], reply: Reply) -> str:
    if reply.record.preflight:
        return "a preflight"
    if told["cache"] is None:
        return "cache-off"
    if reply.record.reason:
        return reply.record.reason
    ours = _FORWARDED.search(reply.fields.combined(b"cache-status") or b"")
    return "" if ours is None else ours[1].decode()


def _lifetime(reply: Reply, policy: Policy, told: dict[str, Any], now: float) -> Iterator[str]:
    """Seconds it stays fresh, by which word, and what a client would have been told."""
    if told["cache"] is None:
        return
    fields = reply.fields
    said = of_response(fields)
    seconds = freshness.lifetime(reply.status, fields, said, now, policy.cache)
    age = syntax.delta_seconds(fields.get(b"age") or b"0") or 0
    line = fields.combined(b"cache-control") or False
    by = told["cache"]["lifetime"]
    value = False if seconds is None else int(min(seconds, 10**14))
    yield _member("lifetime", value, by=by, said=line, age=age)


def _selecting(policy: Policy, said: bytes | None, sent: bytes | None) -> tuple[bytes, ...]:
    """Names of the request fields that tell variants of this response apart."""
    both = b",".join(line for line in (said, sent) if line)
    names = {one.lower() for one in syntax.members(both)}
    return key_names(EffectiveVary(None, tuple(names - {b"*"})), policy)


def _member(name: str, value: object, **parameters: object) -> str:
    """A member of the dictionary; parameters that are empty are left out."""
    return f"{name}={_item(value)}" + "".join(
        f";{key}={_item(one)}" for key, one in parameters.items() if one != ""
    )


def _item(value: object) -> str:
    """Absent things are ``?0``, what can be a token is one (RFC 9651 §3.3)."""
    if isinstance(value, bool):
        return "?1" if value else "?0"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"{value:.3f}"
    return _string(value if isinstance(value, bytes) else str(value).encode())


def _string(value: bytes) -> str:
    return structured.string(value[:_LONGEST])
