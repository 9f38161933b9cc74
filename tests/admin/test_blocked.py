"""Blocked requests: one warning each, but for repetitions; counted whatever is written."""

from __future__ import annotations

import logging

import pytest

from tests.admin.conftest import Clock, Start
from vary_proxy.core.message import Fields, Record, Reply, Request
from vary_proxy.observation.blocked import BlockedRequests

RULES = """\
cors: {app: {origins: ["https://ok.example", "https://also.example"]}}
rules: [{name: api, match: {path: "/api/**"}, cors: {policy: app}, preflight: synthesize}]
"""


class Seen:
    """Blocked requests on a clock moved by hand."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.blocked = BlockedRequests(self.clock)

    def refuse(self, origin: str, reason: str = "origin", target: str = "/a") -> None:
        fields = Fields(((b"origin", origin.encode()),))
        request = Request(b"GET", target.encode(), fields, authority=b"h")
        record = Record(rule="api", cors="refused", cors_reason=reason)
        self.blocked(request, Reply(200, Fields(), record=record), 0, 0.0)


def lines(log: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in log.records if "blocked by CORS" in one.getMessage()]


def test_a_warning_says_who_where_and_why(caplog: pytest.LogCaptureFixture) -> None:
    Seen().refuse("https://evil.example", target="/a?X-Amz-Signature=deadbeef&b=1")
    (line,) = lines(caplog)
    assert line == (
        'blocked by CORS: reason=origin origin="https://evil.example" method=GET '
        'path="/a?X-Amz-Signature=***&b=1" rule=api'
    )
    assert caplog.records[0].levelno == logging.WARNING


def test_the_same_is_told_once_a_minute_with_what_was_held(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen = Seen()
    for _ in range(5):
        seen.refuse("https://evil.example")
    seen.refuse("https://evil.example", "method")  # another reason is another line
    assert len(lines(caplog)) == 2
    seen.clock.now += 61
    seen.refuse("https://evil.example")
    assert lines(caplog)[-1].endswith("; 4 more like it since the last such line")
    assert [one.count for one in seen.blocked.top()] == [6, 1]


def test_at_most_ten_lines_a_second_whatever_comes(caplog: pytest.LogCaptureFixture) -> None:
    seen = Seen()
    seen.clock.now = 1000.0
    for number in range(500):
        seen.refuse(f"https://{number}.example")
    assert len(lines(caplog)) == 10
    seen.clock.now += 1
    seen.refuse("https://last.example")
    assert lines(caplog)[-1].endswith("; 490 lines held back in all")


def test_what_is_remembered_of_clients_is_bounded() -> None:
    seen = Seen()
    for number in range(3000):
        seen.refuse(f"https://{number}.example/" + "x" * 5000)
    top = seen.blocked.top(10_000)
    assert len(top) <= 512
    assert max(len(one.origin) for one in top) <= 200


def test_nothing_that_a_client_sends_breaks_the_line(caplog: pytest.LogCaptureFixture) -> None:
    Seen().refuse('https://a\x1b[31m"\\ reason=none', target="/\x1b[2J")
    (line,) = lines(caplog)
    assert line.isprintable()
    assert '\\"' in line


async def test_requests_that_are_not_blocked_are_not_told(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    proxy = await start(RULES)
    await proxy.get("/api/1", origin="https://ok.example")
    await proxy.get("/api/1")
    host = proxy.url.removeprefix("http://")
    await proxy.get("/api/1", origin=f"http://{host}")  # the page's own host: no CORS request
    assert lines(caplog) == []


async def test_every_way_to_an_answer_tells_who_was_refused(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """From the origin, from the store, from the fast lane, and at the edge."""
    proxy = await start(RULES)
    for _ in range(4):
        await proxy.get("/api/1", origin="https://evil.example")
    asked = {"origin": "https://evil.example", "access_control_request_method": "GET"}
    assert (await proxy.get("/api/1", "OPTIONS", **asked)).status == 403
    assert (await proxy.get("/api/1", "OPTIONS", **asked)).status == 403
    (one,) = proxy.app.eyes.blocked.top()
    assert (one.origin, one.rule, one.reason, one.count) == (
        "https://evil.example",
        "api",
        "origin",
        6,
    )
    assert len(lines(caplog)) == 1
