"""The truth tables of CORS and Vary, row by row, between a real client and a real origin.

Every question is put twice: what is stored answers the second time, by the fast lane where it
may, and says the same. The origin answers as Amazon S3 does: CORS fields and Vary to those it
knows, and nothing of either to everybody else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from multidict import CIMultiDict

from tests.core.test_cors import GRANTS
from tests.core.test_corspreflight import TABLE
from tests.frameworks.behind import behind_proxy
from tests.real.asking import Asker, Got, asking

A, B, C = "https://a.example", "https://b.example", "https://c.example"
O, H, M = "Origin", "Access-Control-Request-Headers", "Access-Control-Request-Method"  # noqa: E741
THREE = [O, H, M]
ETAG = '"whole"'
STATUSES = {"/404": 404, "/403": 403, "/301": 301, "/410": 410, "/500": 500, "/503": 503}
SAID: dict[str, Sequence[str]] = {
    "/said/absent": [],
    "/said/empty": [""],
    "/said/other": ["Accept-Encoding"],
    "/said/origin": ["Origin"],
    "/said/two-lines": ["accept-encoding", " , ORIGIN ,accept-encoding"],
    "/said/star": ["*"],
    "/said/star-among-others": ["*, Origin"],
    "/said/unreadable": ["Accept Encoding"],
}


@dataclass
class Bucket:
    """Keeps every request it got. ``/down`` hangs up."""

    asked: list[web.BaseRequest] = field(default_factory=list)
    url: str = ""

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(request)
        path, origin = request.path, request.headers.get("Origin")
        if path == "/down":
            assert request.transport is not None
            request.transport.abort()
        if path in SAID:
            return _answer(200, [("Vary", line) for line in SAID[path]])
        fields = []
        if origin in (A, B):
            fields = [("Access-Control-Allow-Origin", origin), ("Vary", ", ".join([O, H, M]))]
        if request.method == "OPTIONS":
            return _answer(200 if fields else 403, fields, b"")
        if request.headers.get("If-None-Match") == ETAG:
            return _answer(304, fields, b"")
        if request.headers.get("Range") == "bytes=9-":
            return _answer(416, [*fields, ("Content-Range", "bytes */5")], b"")
        if request.headers.get("Range") == "bytes=0-1":
            return _answer(206, [*fields, ("Content-Range", "bytes 0-1/5")], b"he")
        return _answer(STATUSES.get(path, 200), fields)


def _answer(
    status: int, fields: list[tuple[str, str]], body: bytes = b"hello"
) -> web.StreamResponse:
    said = [*fields, ("ETag", ETAG), ("Cache-Control", "max-age=600")]
    return web.Response(status=status, headers=CIMultiDict(said), body=body)


@pytest.fixture
async def bucket() -> AsyncIterator[Bucket]:
    made = Bucket()
    runner = web.ServerRunner(web.Server(made.answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        await runner.cleanup()


@asynccontextmanager
async def before(bucket: Bucket, rule: str = "") -> AsyncIterator[Asker]:
    text = f"""
version: 1
listen: ["127.0.0.1:0"]
origins: {{bucket: {{url: "{bucket.url}"}}}}
log: {{access: off}}
{rule}
"""
    async with behind_proxy(text) as proxy, asking(proxy.url) as ask:
        yield ask


def given(got: Got) -> str | None:
    return got["access-control-allow-origin"]


# ── the three names, by what the origin said ──────────────────────────────────────────

REPAIR = "defaults: {vary: repair}"
IF_MISSING = "defaults: {vary: if-missing}"
MINIMAL = "defaults: {vary: minimal}"
STATIC = 'cors: {p: {origins: "*"}}\ndefaults: {cors: {policy: p, mode: override}}'
BOTH = ["accept-encoding", "ORIGIN"]
UNTOUCHED = {"star": ["*"], "star-among-others": ["*", O], "unreadable": ["Accept Encoding"]}
VARY = {
    REPAIR: {
        "absent": THREE,
        "empty": THREE,
        "other": ["Accept-Encoding", *THREE],
        "origin": THREE,
        "two-lines": [*BOTH, H, M],
    },
    IF_MISSING: {
        "absent": THREE,
        "empty": THREE,
        "other": ["Accept-Encoding"],
        "origin": [O],
        "two-lines": [*BOTH, "accept-encoding"],
    },
    MINIMAL: {
        "absent": [O],
        "empty": [O],
        "other": ["Accept-Encoding", O],
        "origin": [O],
        "two-lines": BOTH,
    },
    STATIC: {
        "absent": [],
        "empty": [],
        "other": ["Accept-Encoding"],
        "origin": [],
        "two-lines": ["accept-encoding"],
    },
}


@pytest.mark.parametrize("rule", VARY, ids=["repair", "if-missing", "minimal", "override"])
async def test_what_vary_comes_to(bucket: Bucket, rule: str) -> None:
    async with before(bucket, rule) as ask:
        for said, names in {**VARY[rule], **UNTOUCHED}.items():
            answers = [await ask(f"/said/{said}") for _ in range(2)]
            assert [one.vary for one in answers] == [names, names], said
            assert answers[1].is_hit is (said not in UNTOUCHED), said


# ── the origin owns the policy ────────────────────────────────────────────────────────

ASKERS = [
    (None, None),
    (A, A),
    (B, B),
    (C, None),
    ("null", None),
    ("", None),
    (f"{A}, {B}", None),
    (f"{A}/", None),
    ("HTTPS://A.EXAMPLE", None),
]


def _origin(origin: str | None) -> dict[str, str]:
    return {} if origin is None else {"Origin": origin}


@pytest.mark.parametrize("path", ["/whole", *STATUSES])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_everybody_gets_what_the_origin_gave_to_that_very_origin(
    bucket: Bucket, path: str, method: str
) -> None:
    async with before(bucket) as ask:
        for origin, grant in [*ASKERS, *ASKERS]:
            got = await ask(path, method, **_origin(origin))
            assert (got.status, given(got)) == (STATUSES.get(path, 200), grant), origin
            assert sorted(got.vary) == sorted(THREE), origin
    if method == "GET":  # one question for each: absent is a value, and empty another
        assert len(bucket.asked) == len(ASKERS)


async def test_a_condition_is_answered_from_the_variant(bucket: Bucket) -> None:
    async with before(bucket) as ask:
        for origin, grant in [*ASKERS, *ASKERS]:  # first without that variant, then with it
            got = await ask("/whole", if_none_match=ETAG, **_origin(origin))
            assert (got.status, given(got), got["etag"]) == (304, grant, ETAG), origin
            assert sorted(got.vary) == sorted(THREE), origin
            assert got["cache-control"] == "max-age=600"
    assert "If-None-Match" not in bucket.asked[0].headers  # the client's own is not forwarded


async def test_a_304_of_the_origin_updates_the_variant_that_asked(bucket: Bucket) -> None:
    async with before(bucket) as ask:
        for origin in (None, A, B):
            await ask("/whole", **_origin(origin))
        got = await ask("/whole", cache_control="no-cache", origin=A)
        assert (got.status, given(got)) == (200, A)
        last = bucket.asked[-1].headers
        assert (last["Origin"], last["If-None-Match"]) == (A, ETAG)
        for origin, grant in ((None, None), (A, A), (B, B)):
            hit = await ask("/whole", **_origin(origin))
            assert (hit.is_hit, given(hit)) == (True, grant)


@pytest.mark.parametrize(("value", "status"), [("bytes=0-1", 206), ("bytes=9-", 416)])
async def test_parts_carry_the_family_of_the_whole(bucket: Bucket, value: str, status: int) -> None:
    async with before(bucket) as ask:
        for origin, grant in [*ASKERS, *ASKERS]:
            got = await ask("/whole", range=value, **_origin(origin))
            assert (got.status, given(got)) == (status, grant), origin
            assert sorted(got.vary) == sorted(THREE), origin


async def test_our_own_errors_are_nobodys_and_not_kept(bucket: Bucket) -> None:
    async with before(bucket) as ask:
        for origin in (None, A, C):
            got = await ask("/down", **_origin(origin))
            assert (got.status, given(got), got.vary) == (502, None, THREE)
            assert got["cache-control"] == "no-store"


async def test_preflights_are_the_origins_and_not_kept(bucket: Bucket) -> None:
    async with before(bucket) as ask:
        for origin, grant, status in ((A, A, 200), (C, None, 403), (A, A, 200)):
            asked = {"Origin": origin, "Access-Control-Request-Method": "PUT"}
            got = await ask("/whole", "OPTIONS", **asked)
            assert (got.status, given(got)) == (status, grant)
            assert sorted(got.vary) == sorted(THREE)
    assert len(bucket.asked) == 3


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH"])
async def test_a_change_drops_every_variant(bucket: Bucket, method: str) -> None:
    async with before(bucket) as ask:
        for origin in (None, A, B):
            await ask("/whole", **_origin(origin))
        assert (await ask("/whole", method, origin=A)).vary == THREE
        for origin in (None, A, B):
            assert not (await ask("/whole", **_origin(origin))).is_hit


# ── the rule owns the policy ──────────────────────────────────────────────────────────

POLICIES = {
    "star": '{origins: "*"}',
    "one": "{origins: ['https://a.example']}",
    "list-cred": "{origins: ['https://a.example', 'https://b.example'], credentials: true}",
    "wildcard": "{origins: ['https://*.a.example']}",
    "regex": r"{origins: ['~https://pr-[0-9]+\.a\.example']}",
    "null": "{origins: ['https://a.example', 'null']}",
}
DYNAMIC = ("list-cred", "wildcard", "regex", "null")


def _ruled(policies: dict[str, str], common: str = "") -> str:
    texts = {name: text.replace("}", f"{common}}}") for name, text in policies.items()}
    return "\n".join(
        [
            "cors:",
            *(f'  "{name}": {text}' for name, text in texts.items()),
            "rules:",
            *(
                f'  - {{match: {{path: "/{name}/**"}}, cors: {{policy: "{name}", mode: override}}, '
                "preflight: synthesize}"
                for name in texts
            ),
        ]
    )


@pytest.mark.parametrize("name", POLICIES)
async def test_the_rule_answers_every_origin_from_one_stored_response(
    bucket: Bucket, name: str
) -> None:
    askers = [one for one in GRANTS if one is None or one.isascii()]
    async with before(bucket, _ruled(POLICIES)) as ask:
        for asker in [*askers, *askers]:
            origin = None if asker is None else asker.decode()
            got = await ask(f"/{name}/x", **_origin(origin))
            constant = {"star": "*", "one": A}.get(name)
            granted = name in DYNAMIC and GRANTS[asker][DYNAMIC.index(name)]
            assert given(got) == (origin if granted else constant), origin
            cookies = "true" if granted and name == "list-cred" else None
            assert got["access-control-allow-credentials"] == cookies
            assert got.vary == ([] if constant else [O])
    assert len(bucket.asked) == 1
    assert "Origin" not in bucket.asked[0].headers


PREFLIGHTS = {
    "star": '{origins: "*", headers: [Content-Type, X-Token]}',
    "one": "{origins: ['https://a.example'], headers: [Content-Type, X-Token]}",
    "list-cred": "{origins: ['https://a.example', 'https://b.example'], credentials: true, "
    "headers: [Content-Type, X-Token]}",
    "headers-star": '{origins: "*", headers: ["*", Authorization]}',
    "headers-star-cred": "{origins: ['https://a.example'], credentials: true, headers: '*'}",
}


@pytest.mark.parametrize(("method", "headers", "plain", "star", "cred"), TABLE)
async def test_the_rule_answers_preflights(
    bucket: Bucket,
    method: bytes,
    headers: bytes | None,
    plain: list[tuple[int, bytes | None, str]],
    star: tuple[int, bytes | None, str],
    cred: tuple[int, bytes | None, str],
) -> None:
    asked = {"Origin": A, M: method.decode()} | ({H: headers.decode()} if headers else {})
    rules = _ruled(PREFLIGHTS, ", methods: [GET, PUT]")
    async with before(bucket, rules) as ask:
        for name, (status, names, _) in zip(PREFLIGHTS, [*plain, star, cred], strict=True):
            for _ in range(2):
                got = await ask(f"/{name}/x", "OPTIONS", **asked)
                allowed = None if names is None else names.decode()
                assert (got.status, got["access-control-allow-headers"]) == (status, allowed), name
                varies = {"list-cred": THREE, "headers-star-cred": [H]}
                assert got.vary == varies.get(name, []), name
                if status == 403:
                    assert not [one for one in got.fields if one.lower().startswith("access-")]
    assert bucket.asked == []


@pytest.mark.parametrize("path", STATUSES)
async def test_every_status_carries_the_rules_family(bucket: Bucket, path: str) -> None:
    rule = (
        f"cors: {{p: {POLICIES['list-cred']}}}\ndefaults: {{cors: {{policy: p, mode: override}}}}"
    )
    async with before(bucket, rule) as ask:
        for origin, grant in ((A, A), (C, None), (None, None), (B, B)):
            got = await ask(path, **_origin(origin))
            assert (got.status, given(got), got.vary) == (STATUSES[path], grant, [O])


async def test_options_that_ask_nothing_go_to_the_origin(bucket: Bucket) -> None:
    async with before(bucket, _ruled(POLICIES)) as ask:
        await ask("/star/x", "OPTIONS", origin=A)
        await ask("/star/x", "OPTIONS", access_control_request_method="PUT")
    assert len(bucket.asked) == 2
