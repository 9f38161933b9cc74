"""What is measured, and what the proxy is to cost beside its peers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

OBJECTS = 1000
ORIGINS = 8  # that ask, where a rule answers each by its name
MANY_ORIGINS = 1000
_PREFLIGHT = (
    "Access-Control-Request-Method: PUT\r\n"
    "Access-Control-Request-Headers: content-type,x-amz-date\r\n"
)


@dataclass(frozen=True)
class Scenario:
    """``targets`` are the most CPU per request allowed, as a share of a peer's."""

    name: str
    title: str
    path: str = "/1k/"
    objects: int = OBJECTS
    unique: float = 0.0  # share of requests for targets never asked for before
    method: str = "GET"
    origins: int = 1
    origin_always: bool = False
    fields: str = ""  # lines that end in CRLF; %ETAG% stands for the object's
    connections: int = 64
    status: int = 200
    crowd: bool = False  # asked by bench/crowd.py, not by wrk
    closing: bool = False  # one request on a connection, by HTTP/1.0
    logged: bool = False  # asks the servers that write an access log
    targets: Mapping[str, float] = field(default_factory=dict)
    beside: str = ""  # the scenario of our own that ``targets["itself"]`` is about


SCENARIOS = (
    Scenario("hit-1k", "hit, 1 KiB", targets={"nginx": 0.85, "varnish": 0.5}),
    Scenario("hit-64k", "hit, 64 KiB", "/64k/", targets={"nginx": 1.1}),
    Scenario("hit-1m", "hit, 1 MiB", "/1m/", objects=100, targets={"nginx": 1.1}),
    Scenario(
        "not-modified",
        "304 on If-None-Match",
        fields="If-None-Match: %ETAG%\r\n",
        status=304,
        targets={"nginx": 0.85},
    ),
    Scenario(
        "range",
        "Range of 1 KiB in 1 MiB",
        "/1m/",
        objects=100,
        fields="Range: bytes=524288-525311\r\n",
        status=206,
        targets={"nginx": 1.1},
    ),
    Scenario(
        "preflight",
        "synthesized preflight",
        "/cors/",
        method="OPTIONS",
        origins=ORIGINS,
        origin_always=True,
        fields=_PREFLIGHT,
        status=204,
        targets={"nginx": 1.3, "varnish": 0.5},
    ),
    Scenario(
        "edge-cors",
        "hit, 1 KiB, CORS written at the edge",
        "/cors/",
        origins=ORIGINS,
        targets={"itself": 1.1},
        beside="hit-1k",
    ),
    Scenario(
        "origins-1000",
        "hit, 1 KiB, 1 000 origins allowed by a pattern",
        "/many/",
        origins=MANY_ORIGINS,
        origin_always=True,
        targets={"itself": 1.1},
        beside="hit-1k",
    ),
    Scenario("hits-95", "95 % hits, 1 KiB", unique=0.05, targets={"nginx": 1.0}),
    Scenario(
        "crowd",
        "hits of 200 browsers, 10 000 objects, 10 requests a connection",
        crowd=True,
    ),
    Scenario("closing", "hit, 1 KiB, HTTP/1.0 with Connection: close", closing=True),
    Scenario("connections", "hit, 1 KiB, 256 connections", connections=256),
    Scenario("logged", "hit, 1 KiB, JSON access log", logged=True, targets={"nginx": 1.2}),
    Scenario("pass", "uncacheable, 1 KiB, passed", "/pass/"),
    Scenario("miss-1k", "miss and store, 1 KiB", unique=1.0, targets={"nginx": 3.0}),
    Scenario("miss-64k", "miss and store, 64 KiB", "/64k/", unique=1.0, targets={"nginx": 3.0}),
)
BY_NAME = {one.name: one for one in SCENARIOS}
