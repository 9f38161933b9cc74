"""What must hold of any field value that grammars_values makes: it means what was meant."""

from __future__ import annotations

import asyncio
import email.utils
from collections.abc import Callable

from tests.hold.grammars_values import FLAGS, NOW, SECONDS, Value
from vary_proxy.clients import proxyprotocol
from vary_proxy.core import directives, forwarding, ranges, syntax, vary
from vary_proxy.core.message import Fields, Request
from vary_proxy.core.policy import Policy, VaryMode, VaryPolicy

MOST = 2**31


def controls(value: Value) -> None:
    fields = Fields(tuple((b"cache-control", line) for line in value.lines))
    said = directives.of_response(fields)
    for name in SECONDS:
        arguments = [argument for key, argument in value.meaning if key == name]
        expected = _seconds(arguments) if arguments else None
        assert getattr(said, name.decode().replace("-", "_")) == expected, name
    for name in FLAGS:
        given = any(key == name for key, _ in value.meaning)
        assert getattr(said, name.decode().replace("-", "_")) is given, name
    for name, found in ((b"no-cache", said.no_cache), (b"private", said.private)):
        assert found == _names([argument for key, argument in value.meaning if key == name]), name


def _seconds(arguments: list[bytes]) -> int:
    """Stale where anything cannot be read, or two differ."""
    values = set()
    for one in arguments:
        digits = one[1:-1] if one[:1] == b'"' == one[-1:] and len(one) > 1 else one.rstrip(b" ")
        values.add(min(int(digits), MOST) if digits and set(digits) <= set(b"0123456789") else -1)
    return 0 if len(values) > 1 or -1 in values else values.pop()


def _names(arguments: list[bytes | None]) -> bool | frozenset[bytes]:
    if not arguments:
        return False
    names: set[bytes] = set()
    for one in arguments:
        if one is None or one in (b'""', b'"a b"'):
            return True
        names |= {name.strip(b" ").lower() for name in one.strip(b'"').split(b",")}
    return frozenset(names)


def varies(value: Value) -> None:
    fields = Fields((*((b"vary", line) for line in value.lines), (b"etag", b'"v"')))
    for mode in VaryMode:
        policy = VaryPolicy(mode)
        found = vary.effective(fields, policy, b"GET")
        assert found.star is (value.meaning is None)
        if found.star:
            continue
        assert value.meaning <= set(found.names)
        sent = vary.dress(fields, found).combined(b"vary")
        told = {name.strip().lower() for name in (sent or b"").split(b",")} - {b""}
        if mode is not VaryMode.STRIP:
            assert told <= set(found.names)  # what is told selects
        if mode in (VaryMode.REPAIR, VaryMode.PASSTHROUGH, VaryMode.IF_MISSING):
            assert value.meaning <= told


def spans(value: Value) -> None:
    total, wanted = value.meaning
    specs = ranges.specs(value.lines[0])
    assert (specs is None) is (wanted is None)
    if specs is not None:
        resolved = ranges.resolve(specs, total)
        assert [set(range(one.start, one.stop)) for one in resolved] == wanted


def dates(value: Value) -> None:
    (text,) = value.lines
    assert syntax.http_date(text, NOW) == value.meaning
    if value.meaning is not None and not text[3:4].isalpha():
        parsed = email.utils.parsedate_tz(text.decode())  # asctime has no zone there: UTC to us
        assert parsed is not None
        assert email.utils.mktime_tz((*parsed[:9], 0)) == value.meaning


def tags(value: Value) -> None:
    if value.meaning is None:
        return
    expected = tuple(syntax.EntityTag(b'"' + opaque + b'"', weak) for weak, opaque in value.meaning)
    assert syntax.entity_tags(value.lines[0]) == expected
    for tag in expected:
        assert syntax.entity_tag(bytes(tag)) == tag
        assert tag.strong_match(tag) is not tag.weak


def content_ranges(value: Value) -> None:
    fields = Fields(((b"content-range", value.lines[0]),))
    part, length = ranges.content_range(fields), ranges.part_length(fields)
    found = None if part is None else (part.first, length, part.total)
    assert found == value.meaning


def hops(value: Value) -> None:
    """Forwarded is read as RFC 7239 writes it: pairs of a token and a token or quoted string."""
    client, host, proto = value.lines
    request = Request(b"GET", b"/", scheme=proto, authority=host, client=client.decode())
    sent = forwarding.to_origin(request, Policy(), forwarding.Hop())
    pairs = _parameters(sent.fields.combined(b"forwarded") or b"")
    node = b"[" + client + b"]" if b":" in client else client
    assert pairs == {b"for": node, b"host": host, b"proto": proto}
    assert sent.fields.lines(b"x-forwarded-for") == (client,)
    assert sent.fields.lines(b"x-forwarded-host") == (host,)


def _parameters(text: bytes) -> dict[bytes, bytes]:
    """The one element of Forwarded that *text* is."""
    found: dict[bytes, bytes] = {}
    while text:
        name, equals, text = text.partition(b"=")
        assert equals
        assert syntax.is_token(name)
        if text[:1] == b'"':
            end = 1
            while text[end : end + 1] != b'"':
                end += 2 if text[end : end + 1] == b"\\" else 1
            quoted, text = text[1:end], text[end + 1 :]
            found[name] = quoted.replace(b'\\"', b'"').replace(b"\\\\", b"\\")
        else:
            found[name], mark, rest = text.partition(b";")
            assert syntax.is_token(found[name])
            text = mark + rest
        assert not text or text[:1] == b";"
        text = text[1:]
    return found


BEHIND = b"\x16\x03\x01 what follows"


def proxies(value: Value) -> None:
    left = value.lines[0] + BEHIND

    async def receive(count: int) -> bytes:
        nonlocal left
        piece, left = left[:count], left[count:]
        if len(piece) < count:
            raise proxyprotocol.Malformed("it ended")
        return piece

    async def read() -> str | None:
        try:
            return await proxyprotocol.read(receive) or ""
        except proxyprotocol.Malformed:
            return None

    found = asyncio.run(read())
    assert found == value.meaning
    assert found is None or left == BEHIND  # no byte further


HOLDS: dict[str, Callable[[Value], None]] = {
    "controls": controls, "varies": varies, "ranges": spans, "dates": dates, "tags": tags,
    "content ranges": content_ranges, "hops": hops, "proxies": proxies,
}  # fmt: skip


def a_value(drawn: tuple[str, Value]) -> None:
    name, value = drawn
    HOLDS[name](value)
