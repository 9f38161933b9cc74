"""The way of a response under each mode: received, repaired, stored, delivered."""

from __future__ import annotations

from typing import Any

import pytest

from vary_proxy.core import edge, vary
from vary_proxy.core.cors import CorsPolicy, Kind, compile_policy
from vary_proxy.core.message import Fields, Pair, Request
from vary_proxy.core.policy import CorsMode, OriginHeader, Policy, VaryMode, VaryPolicy

A = b"https://a.example"
STAR = compile_policy("star", origins="*")
LIST = compile_policy(
    "list", origins=["https://a.example", "https://b.example"], timing_allow_origin="*"
)
THREE = b"Origin, Access-Control-Request-Headers, Access-Control-Request-Method"


def rule(mode: CorsMode, cors: CorsPolicy | None = None, **more: Any) -> Policy:
    return Policy(cors=cors, cors_mode=mode, **more)


def ask(origin: bytes | None = None) -> Request:
    fields = () if origin is None else ((b"origin", origin),)
    return Request(b"GET", b"/", Fields(fields), authority=b"media.example")


def walked(policy: Policy, fields: tuple[Pair, ...], origin: bytes | None) -> tuple[Fields, Fields]:
    """What is stored, and what is delivered to *origin*."""
    kept = edge.received(policy, Fields(fields))
    stored = vary.dress(kept, vary.effective(kept, edge.nominated(policy), b"GET"))
    return stored, edge.delivered(policy, stored, ask(origin)).fields


OWN = (
    (b"vary", b"accept-encoding, ORIGIN"),
    (b"vary", b"Access-Control-Request-Headers"),
    (b"access-control-allow-origin", b"https://b.example"),
    (b"etag", b'"1"'),
)


def test_one_stored_response_serves_every_origin_under_override() -> None:
    policy = rule(CorsMode.OVERRIDE, LIST)
    stored, to_a = walked(policy, OWN, A)
    assert stored.items == ((b"vary", b"accept-encoding"), (b"etag", b'"1"'))
    assert to_a.get(b"access-control-allow-origin") == A
    assert to_a.lines(b"vary") == (b"accept-encoding, Origin",)
    _, to_nobody = walked(policy, OWN, None)
    assert b"access-control-allow-origin" not in to_nobody
    assert to_nobody.lines(b"vary") == (b"accept-encoding, Origin",)


@pytest.mark.parametrize("origin", [None, A, b"https://evil.example", b""])
def test_a_constant_policy_adds_nothing_to_vary(origin: bytes | None) -> None:
    policy = rule(CorsMode.OVERRIDE, STAR)
    _, fields = walked(policy, OWN, origin)
    assert fields.lines(b"vary") == (b"accept-encoding",)
    assert fields.lines(b"access-control-allow-origin") == (b"*",)
    _, bare = walked(policy, (), origin)
    assert bare.items == ((b"access-control-allow-origin", b"*"),)


def test_a_changed_policy_holds_at_once() -> None:
    stored, _ = walked(rule(CorsMode.OVERRIDE, LIST), OWN, A)
    changed = rule(CorsMode.OVERRIDE, compile_policy("p", origins=["https://c.example", "null"]))
    done = edge.delivered(changed, stored, ask(A))
    assert b"access-control-allow-origin" not in done.fields
    assert done.verdict.kind is Kind.REFUSED


def test_an_origin_that_is_shown_origin_keeps_it_in_its_vary() -> None:
    policy = rule(CorsMode.OVERRIDE, STAR, origin_header=OriginHeader.FORWARD)
    assert edge.hidden(policy) == {
        b"access-control-request-headers",
        b"access-control-request-method",
    }
    stored, fields = walked(policy, OWN, A)
    assert stored.lines(b"vary") == (b"accept-encoding, ORIGIN",)
    assert fields.lines(b"vary") == (b"accept-encoding, ORIGIN",)
    stored, _ = walked(policy, (), A)
    assert stored.lines(b"vary") == (b"Origin",)


@pytest.mark.parametrize("mode", [CorsMode.PASSTHROUGH, CorsMode.FILL, CorsMode.STRIP])
def test_nothing_is_hidden_and_vary_is_repaired_elsewhere(mode: CorsMode) -> None:
    policy = rule(mode, LIST if mode is CorsMode.FILL else None)
    assert edge.hidden(policy) == frozenset()
    stored, fields = walked(policy, (), A)
    assert stored.lines(b"vary") == fields.lines(b"vary") == (THREE,)


def test_the_origins_family_is_stored_as_it_was_but_for_override_and_strip() -> None:
    for mode, cors in ((CorsMode.PASSTHROUGH, None), (CorsMode.FILL, LIST)):
        stored, fields = walked(rule(mode, cors), OWN, b"https://b.example")
        assert stored.get(b"access-control-allow-origin") == b"https://b.example"
        assert fields.lines(b"access-control-allow-origin") == (b"https://b.example",)
    stored, fields = walked(rule(CorsMode.STRIP), OWN, A)
    for each in (stored, fields):
        assert b"access-control-allow-origin" not in each


@pytest.mark.parametrize("value", [b"*", b"Origin, *", b"a b"])
def test_a_star_or_an_unreadable_vary_is_passed_on(value: bytes) -> None:
    for mode, cors in ((CorsMode.OVERRIDE, LIST), (CorsMode.FILL, LIST)):
        stored, fields = walked(rule(mode, cors), ((b"vary", value),), A)
        assert stored.lines(b"vary") == fields.lines(b"vary") == (value,)


@pytest.mark.parametrize(
    ("mode", "names", "line"),
    [
        (VaryMode.REPAIR, (b"Origin", b"X-Tenant"), b"accept-encoding, X-Tenant, Origin"),
        (VaryMode.IF_MISSING, (b"Origin",), b"accept-encoding, Origin"),
        (VaryMode.PASSTHROUGH, (b"Origin",), b"accept-encoding, Origin"),
        (VaryMode.REPLACE, (b"X-Tenant", b"Origin"), b"X-Tenant, Origin"),
        (VaryMode.STRIP, (b"Origin",), None),
    ],
)
def test_every_mode_of_vary_under_override(
    mode: VaryMode, names: tuple[bytes, ...], line: bytes | None
) -> None:
    policy = rule(CorsMode.OVERRIDE, LIST, vary=VaryPolicy(mode, names))
    _, fields = walked(policy, OWN, A)
    assert fields.combined(b"vary") == line


def test_our_own_errors_carry_the_family_too() -> None:
    done = edge.delivered(rule(CorsMode.OVERRIDE, LIST), Fields(), ask(A))
    assert done.fields.items == (
        (b"access-control-allow-origin", A),
        (b"timing-allow-origin", b"*"),
        (b"vary", b"Origin"),
    )


def test_the_vary_of_a_preflight_joins_what_is_there() -> None:
    fields = edge.declaring(Fields(((b"vary", b"origin"),)), LIST.preflight_vary)
    assert fields.lines(b"vary") == (
        b"origin, Access-Control-Request-Headers, Access-Control-Request-Method",
    )
    assert edge.declaring(Fields(), STAR.preflight_vary) == Fields()


ASKED = {b"access-control-request-headers", b"access-control-request-method"}


@pytest.mark.parametrize(
    ("mode", "header", "shown_not"),
    [
        pytest.param(CorsMode.PASSTHROUGH, OriginHeader.AUTO, set(), id="all of them are shown"),
        pytest.param(CorsMode.PASSTHROUGH, OriginHeader.FORWARD, set(), id="and so here"),
        pytest.param(CorsMode.PASSTHROUGH, OriginHeader.STRIP, {b"origin"}, id="stripped"),
        pytest.param(CorsMode.FILL, OriginHeader.INJECT, {b"origin"}, id="another is shown"),
        pytest.param(CorsMode.OVERRIDE, OriginHeader.AUTO, ASKED | {b"origin"}, id="the rule owns"),
        pytest.param(CorsMode.OVERRIDE, OriginHeader.FORWARD, ASKED, id="owns, and shows"),
        pytest.param(CorsMode.OVERRIDE, OriginHeader.STRIP, ASKED | {b"origin"}, id="owns, strips"),
    ],
)
def test_what_the_origin_is_not_shown_selects_nothing(
    mode: CorsMode, header: OriginHeader, shown_not: set[bytes]
) -> None:
    assert edge.unselecting(rule(mode, LIST, origin_header=header)) == shown_not


def test_where_a_rule_owns_cors_without_a_policy_only_the_family_goes() -> None:
    said = Fields(((b"access-control-allow-origin", b"*"), (b"timing-allow-origin", b"*")))
    assert edge.received(rule(CorsMode.OVERRIDE), said) == Fields(said.items[1:])
    assert edge.received(rule(CorsMode.OVERRIDE, LIST), said) == Fields()


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        pytest.param(b"Origin", None, id="nothing is left"),
        pytest.param(b"Accept, Origin", b"Accept", id="some is"),
        pytest.param(b"*", b"*", id="a star stays"),
        pytest.param(b"Accept", b"Accept", id="nothing goes"),
    ],
)
def test_what_becomes_of_vary_where_a_rule_owns_cors(said: bytes, kept: bytes | None) -> None:
    received = edge.received(rule(CorsMode.OVERRIDE, LIST), Fields(((b"vary", said),)))
    assert received.combined(b"vary") == kept


def test_no_name_comes_into_vary_where_one_goes() -> None:
    policy = rule(CorsMode.OVERRIDE, LIST, origin_header=OriginHeader.FORWARD)
    said = Fields(((b"vary", b"Accept, access-control-request-method"),))
    assert edge.received(policy, said) == Fields(((b"vary", b"Accept"),))
