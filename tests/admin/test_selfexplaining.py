"""``Vary-Proxy-Explain: TOKEN``: the answer explains itself, to nobody else."""

from __future__ import annotations

from typing import Any

import http_sf
import pytest
from aiohttp import web

from tests.admin.conftest import ADMIN, TOKEN, Answer, Origin, Proxy, Start

RULES = (
    ADMIN
    + """\
cors: {public: {origins: ["https://a.example", "https://c.example"]}}
rules:
  - name: pictures
    match: {path: "/img/**"}
    cors: {policy: public, mode: override}
    cache: {ttl: {default: 1h}}
  - {name: live, match: {path: "/live/**"}, cache: off}
  - {name: bare, match: {path: "/bare/**"}, vary: strip}
"""
)


def explained(answer: Answer) -> dict[str, tuple[Any, dict[str, Any]]]:
    found: dict[str, tuple[Any, dict[str, Any]]] = http_sf.parse(
        answer.headers["vary-proxy-explain"].encode(), tltype="dictionary"
    )
    return found


async def test_a_miss_and_a_hit_say_all_there_is_to_say(start: Start, origin: Origin) -> None:
    proxy = await start(RULES)
    origin.fields = {"Vary": "Accept-Encoding", "Cache-Control": "public, max-age=90"}
    said = {"vary_proxy_explain": TOKEN, "origin": "https://a.example"}
    miss = explained(await proxy.get("/img/a", **said))
    assert miss["rule"] == ("pictures", {"where": "test.yaml:9"})
    assert [name for name, _ in miss["selecting"][0]] == [
        "accept-encoding",
        "x-forwarded-host",
        "x-forwarded-proto",
    ]
    assert miss["key"][0].endswith("/img/a")
    mode, vary = miss["vary"]
    assert (mode, vary["action"], vary["in"]) == ("repair", "complete", "Accept-Encoding")
    assert vary["out"] == "Accept-Encoding, Origin"
    assert miss["cors"][0] == "allowed"
    assert miss["cors"][1] == {"mode": "override", "policy": "public"}
    assert miss["cache"] == ("miss", {})
    assert miss["stored"] == (True, {})
    assert miss["lifetime"] == (
        90, {"by": "what the origin says, else 1h", "said": "public, max-age=90", "age": 0},
    )  # fmt: skip
    assert (miss["origin"][0], miss["origin"][1]["status"]) == ("media", 200)
    proxy.clock.now += 10
    hit = explained(await proxy.get("/img/a", **{**said, "origin": "https://b.example"}))
    assert hit["cache"] == ("hit", {})
    assert (hit["cors"][0], hit["cors"][1]["reason"]) == ("refused", "origin")
    assert (hit["lifetime"][0], hit["lifetime"][1]["age"]) == (90, 10)
    assert "origin" not in hit


@pytest.mark.parametrize(
    ("target", "headers", "reason"),
    [
        ("/live/a", {}, "cache-off"),
        ("/a", {"authorization": "Basic eA=="}, "authorization"),
        ("/private", {}, "private"),
    ],
)
async def test_what_is_not_stored_says_why(
    start: Start, origin: Origin, target: str, headers: dict[str, str], reason: str
) -> None:
    proxy = await start(RULES)
    origin.fields = {"Cache-Control": "private" if target == "/private" else "max-age=90"}
    found = explained(await proxy.get(target, vary_proxy_explain=TOKEN, **headers))
    assert found["stored"] == (False, {"reason": reason})


async def test_vary_that_is_stripped_is_told_as_it_came(start: Start, origin: Origin) -> None:
    proxy = await start(RULES)
    origin.fields = {"Vary": "Cookie"}
    answer = await proxy.get("/bare/a", vary_proxy_explain=TOKEN)
    assert "vary" not in answer.headers
    found = explained(answer)["vary"]
    assert found == ("strip", {"out": False, "action": "stripped", "in": "Cookie"})
    (told,) = (await proxy.stats())["vary"]
    assert (told["said"], told["sent"]) == ("Cookie", "")


async def test_nobody_keeps_an_explained_answer(start: Start, origin: Origin) -> None:
    proxy = await start(RULES)
    origin.fields = {"Cache-Control": "max-age=90", "CDN-Cache-Control": "max-age=99",
                     "Expires": "Thu, 01 Jan 2099 00:00:00 GMT"}  # fmt: skip
    for _ in range(2):
        answer = await proxy.get("/img/a", vary_proxy_explain=TOKEN)
        assert answer.text == "content"
        assert answer.headers["cache-control"] == "no-store"
        assert not {"expires", "cdn-cache-control"} & set(answer.headers)
    plain = await proxy.get("/img/a")
    assert "hit" in plain.headers["cache-status"]
    assert plain.headers["cache-control"] == "max-age=90"
    assert "vary-proxy-explain" not in plain.headers


@pytest.mark.parametrize("warm", [True, False])
async def test_a_wrong_token_changes_nothing(proxy: Proxy, origin: Origin, warm: bool) -> None:
    seen: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request)
        return web.Response(
            text="x", headers={"Cache-Control": "max-age=90", "Vary": "Vary-Proxy-Explain"}
        )

    origin.handler = answer
    if warm:
        await proxy.get("/a")
    plain = await proxy.get("/a" if warm else "/b")
    for wrong in ("wrong", "", TOKEN + "x", TOKEN[:-1], f"{TOKEN}, {TOKEN}", "\u00fc"):
        target = "/a" if warm else f"/b?{len(wrong)}"
        found = await proxy.get(target, vary_proxy_explain=wrong)
        same = {**found.headers, "date": plain.headers["date"]}
        assert (found.status, same, found.text) == (plain.status, plain.headers, plain.text)
    assert not [one for one in seen if "Vary-Proxy-Explain" in one.headers]
    assert len(seen) == (1 if warm else 7)


async def test_the_right_token_reaches_no_origin_and_selects_nothing(
    proxy: Proxy, origin: Origin
) -> None:
    seen: list[Any] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Vary-Proxy-Explain"))
        return web.Response(
            text="x", headers={"Cache-Control": "max-age=90", "Vary": "Vary-Proxy-Explain"}
        )

    origin.handler = answer
    assert "vary-proxy-explain" in (await proxy.get("/a", vary_proxy_explain=TOKEN)).headers
    assert "hit" in (await proxy.get("/a")).headers["cache-status"]
    await proxy.get("/p", "POST", vary_proxy_explain=TOKEN)
    assert seen == [None, None]


async def test_without_an_admin_token_there_is_no_explanation(start: Start) -> None:
    for admin in ("", 'admin: {address: "127.0.0.1:0"}\n'):
        proxy = await start(admin)
        for given in ("", "None", '""'):
            answer = await proxy.get("/a", vary_proxy_explain=given)
            assert "vary-proxy-explain" not in answer.headers


async def test_errors_preflights_and_304_explain_themselves_too(
    start: Start, origin: Origin
) -> None:
    proxy = await start(RULES.replace("mode: override}", "mode: override}\n    preflight: deny"))
    said = {"vary_proxy_explain": TOKEN}
    refused = await proxy.get("/img/a", cache_control="only-if-cached", **said)
    assert refused.status == 504
    assert explained(refused)["cache"] == ("error", {"reason": "only-if-cached"})
    preflight = await proxy.get(
        "/img/a", "OPTIONS", origin="https://a.example", access_control_request_method="GET", **said
    )
    assert explained(preflight)["stored"] == (False, {"reason": "a preflight"})
    origin.fields = {"ETag": '"1"'}
    await proxy.get("/img/a")
    unchanged = await proxy.get("/img/a", if_none_match='"1"', **said)
    assert unchanged.status == 304
    assert explained(unchanged)["cache"] == ("hit", {})


async def test_what_no_string_can_hold_is_told_in_another_way(start: Start) -> None:
    proxy = await start(RULES)
    odd = '/img/%C3%BC?"a\\b=' + "x" * 3000
    answer = await proxy.get(odd, vary_proxy_explain=TOKEN)
    key = explained(answer)["key"][0]
    assert "%25C3" in key
    assert len(answer.headers["vary-proxy-explain"]) < 4096
