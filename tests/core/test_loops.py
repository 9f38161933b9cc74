"""Which requests have closed a circle (RFC 9110 §7.6.3, RFC 8586)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.core.given import request
from vary_proxy.core import forwarding, loops
from vary_proxy.core.forwarding import Hop
from vary_proxy.core.message import Fields, Request
from vary_proxy.core.policy import Policy

HERE = Policy(lot=b"here", mark=b"to there")
THERE = Policy(lot=b"there", mark=b"to here")
TWIN = replace(HERE, lot=b"another")  # as configured here, and another process
METHODS = [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS"]


def through(asked: Request, *policies: Policy) -> Request:
    """*asked* once proxies with these *policies* have sent it on, with the Host that came."""
    for policy in policies:
        asked = forwarding.to_origin(asked, policy, Hop())
    return asked


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("between", [(), (THERE,), (THERE, TWIN)], ids=len)
def test_8586_2_a_request_that_comes_back_has_closed_a_circle(method, between):
    asked = request(method)
    assert not loops.is_closed(asked, HERE)
    assert loops.is_closed(through(asked, HERE, *between), HERE)
    assert not loops.is_closed(through(asked, *between), HERE)


def test_the_same_rules_elsewhere_are_another_instance():
    assert not loops.is_closed(through(request(), TWIN), HERE)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"target": b"/b"}, id="another target"),
        pytest.param({"method": b"POST"}, id="another method"),
        pytest.param({"authority": b"other.example"}, id="another Host"),
    ],
)
def test_who_is_asked_twice_for_different_things_is_no_loop(other):
    assert not loops.is_closed(replace(through(request(), HERE, THERE), **other), HERE)


def test_by_another_rule_to_another_origin_is_no_loop():
    elsewhere = replace(HERE, origin="resized")
    assert not loops.is_closed(through(request(), HERE, THERE), elsewhere)


@pytest.mark.parametrize("name", [b"via", b"cdn-loop"])
def test_7_6_3_what_changes_at_every_hop_is_called_a_loop_at_last(name):
    """A prefix that grows is another request each time. Either field may get lost on the way."""
    asked = request()
    for hops in range(loops.MOST_HOPS):
        assert not loops.is_closed(asked, HERE), hops
        asked = replace(through(asked, THERE), target=b"/more" + asked.target)
    kept = tuple(pair for pair in asked.fields.items if pair[0] == name)
    assert loops.is_closed(replace(asked, fields=Fields(kept)), HERE)


def test_who_was_sent_on_for_the_same_does_not_wait_for_it():
    assert not loops.is_sent_on(request(), HERE)
    assert loops.is_sent_on(through(request(), TWIN, THERE), HERE)
    assert not loops.is_sent_on(through(request(), THERE), HERE)
    assert not loops.is_sent_on(replace(through(request(), TWIN), target=b"/b"), HERE)


def test_8586_2_what_others_said_stays_before_ours():
    chain = b'cdn.example;x="a, b", other'
    lines = through(request(cdn_loop=chain), HERE).fields.lines(b"cdn-loop")
    assert len(lines) == 1
    assert lines[0].startswith(chain + b", vary-proxy;id=")


@pytest.mark.parametrize(
    "chain", [b"vary-proxy", b"vary-proxy;id=0123456789abcdef", b"cdn.example", b"", b'"vary-proxy']
)
def test_what_somebody_made_up_is_no_loop(chain):
    asked = request(cdn_loop=chain)
    assert not loops.is_closed(asked, HERE)
    assert not loops.is_sent_on(asked, HERE)


def test_8586_2_connection_cannot_take_it_off():
    asked = request(connection=b"cdn-loop, via", cdn_loop=b"a", via=b"1.1 a")
    kept = forwarding.believed(asked, trusted=False).fields
    assert kept.get(b"cdn-loop") == b"a"
    assert (
        b"cdn_loop"
        not in forwarding.believed(request(b"GET", b"/", (b"cdn_loop", b"a")), trusted=True).fields
    )
