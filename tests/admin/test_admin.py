"""The admin listener: who gets in, and what it shows."""

from __future__ import annotations

import pytest
from yarl import URL

from tests.admin.conftest import LETS_IN, TOKEN, Origin, Proxy, Start
from vary_proxy.admin import is_this_machine
from vary_proxy.config import ConfigError, loads

OPEN = 'admin: {address: "127.0.0.1:0"}\n'
DATA = ("stats", "config", "inspect?url=http://a/", "nowhere")


@pytest.mark.parametrize("path", DATA)
@pytest.mark.parametrize(
    "said", ["", "Bearer", "Bearer wrong", "Bearer open-sesamE", f"Basic {TOKEN}", "Bearer é"]
)
async def test_without_the_token_nobody_gets_in(proxy: Proxy, path: str, said: str) -> None:
    headers = {"Authorization": said} if said else {}
    answer = await proxy.ask(f"{proxy.admin}/{path}", headers=headers)
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert set(answer.json()) == {"error"}


async def test_without_the_token_nothing_changes(proxy: Proxy) -> None:
    await proxy.get("/a")
    answer = await proxy.ask(f"{proxy.admin}/purge", "POST", json={"all": True})
    assert answer.status == 401
    assert await proxy.is_stored("/a")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_no_page_of_another_site_gets_in(start: Start, headers: dict[str, str]) -> None:
    proxy = await start(OPEN)  # no token: whoever is on this machine may
    await proxy.get("/a")
    url = f"{proxy.admin}/purge"
    assert (await proxy.ask(url, "POST", json={"all": True}, headers=headers)).status == 403
    assert await proxy.is_stored("/a")
    form = {"Content-Type": "text/plain"}
    assert (await proxy.ask(url, "POST", data='{"all":true}', headers=form)).status == 415
    assert await proxy.is_stored("/a")
    assert (await proxy.ask(url, "POST", json={"all": True})).status == 200
    assert not await proxy.is_stored("/a")


@pytest.mark.parametrize(
    "headers",
    [{"Host": "[::1"}, {"Host": "[x]:1"}, {"Origin": "http://["}, {"Origin": "http://[x]:1"}],
)
async def test_a_name_that_cannot_be_read_is_foreign(
    start: Start, headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    proxy = await start(OPEN)
    for path in ("stats", "x%0AERROR%20forged"):
        answer = await proxy.ask(URL(f"{proxy.admin}/{path}", encoded=True), headers=headers)
        assert answer.status == 403
    assert caplog.text == ""


async def test_without_a_token_no_foreign_name_leads_here(start: Start) -> None:
    proxy = await start(OPEN)
    rebound = {"Host": "rebound.example"}
    assert (await proxy.ask(f"{proxy.admin}/stats", headers=rebound)).status == 403
    assert (await proxy.ask(f"{proxy.admin}/stats")).status == 200


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        ("localhost:8082", True),
        ("127.0.0.1", True),
        ("[::1]:8082", True),
        ("a.example:8082", False),
        ("localhost.example", False),
        ("127.0.0.1.nip.example", False),
    ],
)
def test_names_of_this_machine(host: str, is_ours: bool) -> None:
    assert is_this_machine(host) is is_ours


def test_a_public_admin_listener_needs_a_token() -> None:
    text = 'origins: {a: "http://a"}\nadmin: {address: "0.0.0.0:8082"}\n'
    with pytest.raises(ConfigError, match="has no token"):
        loads(text.encode(), "f.yaml", (), {})


async def test_the_configuration_is_shown_without_its_secrets(proxy: Proxy) -> None:
    answer = await proxy.ask(f"{proxy.admin}/config", headers=LETS_IN)
    assert answer.json()["origins"]["media"]["url"].startswith("http://127.0.0.1:")
    assert TOKEN not in answer.text


async def test_inspect_tells_the_variants_apart(proxy: Proxy, origin: Origin) -> None:
    origin.fields = {"Vary": "Accept-Language"}
    await proxy.get("/a", origin="https://a.example", accept_language="de")
    await proxy.get("/a")
    proxy.clock.now += 100
    query = {"url": f"{proxy.url}/a"}
    answer = await proxy.ask(f"{proxy.admin}/inspect", params=query, headers=LETS_IN)
    newest, oldest = answer.json()["variants"]
    assert newest["selecting"]["origin"] is None
    assert oldest["selecting"]["origin"] == "https://a.example"
    assert oldest["selecting"]["accept-language"] == "de"
    assert 100 <= oldest["age"] <= 105
    assert (oldest["status"], oldest["bytes"], oldest["lifetime"]) == (200, 7, 3600)
    assert oldest["rule"] == "defaults"
    query = {"url": f"{proxy.url}/nothing"}
    answer = await proxy.ask(f"{proxy.admin}/inspect", params=query, headers=LETS_IN)
    assert answer.json()["variants"] == []


async def test_explain_is_what_the_command_says(proxy: Proxy) -> None:
    body = {"url": "http://h.example/a?b", "headers": {"Origin": "https://a.example"}}
    answer = await proxy.ask(f"{proxy.admin}/explain", "POST", json=body, headers=LETS_IN)
    told = answer.json()
    assert told["request"] == "GET h.example/a?b"
    assert told["key"]["selecting"]["origin"] == "https://a.example"
    for wrong in ({"url": "no url"}, {"url": "/a", "method": "A B"}, {"nope": 1}, {}):
        answer = await proxy.ask(f"{proxy.admin}/explain", "POST", json=wrong, headers=LETS_IN)
        assert answer.status == 400
        assert answer.json()["error"]


async def test_stats_tell_what_was_sent_and_what_we_made_of_it(
    proxy: Proxy, origin: Origin
) -> None:
    await proxy.get("/a")
    origin.fields = {"Vary": "Accept-Encoding, Origin"}
    await proxy.get("/b")
    for _ in range(2):
        await proxy.get("/a", origin="https://evil.example")
    told = await proxy.stats()
    totals = told["totals"]
    assert (totals["requests"], totals["from_cache"], totals["blocked"]) == (4, 1, 2)
    three = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"
    rest = three.removeprefix("Origin, ")
    pairs = {(one["said"], one["sent"]) for one in told["vary"]}
    assert ("", three) in pairs
    assert ("Accept-Encoding, Origin", f"Accept-Encoding, Origin, {rest}") in pairs
    (blocked,) = told["blocked"]
    assert (blocked["origin"], blocked["count"]) == ("https://evil.example", 2)
    assert sum(row[1] for row in told["history"]) == 4
    assert told["origins"][0]["requests"] == 3


async def test_a_reload_that_cannot_be_says_why(proxy: Proxy) -> None:
    answer = await proxy.ask(f"{proxy.admin}/reload", "POST", json={}, headers=LETS_IN)
    assert answer.status == 422
    assert "test.yaml" in answer.json()["problems"][0]
    assert "config_last_reload_successful 0.0" in await proxy.metrics()


async def test_the_page_holds_no_data_and_asks_nobody_else(proxy: Proxy) -> None:
    answer = await proxy.ask(f"{proxy.admin}/")
    assert answer.status == 200
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "http:" not in policy
    for foreign in ("http://", "https://", "//cdn", "@import", "url("):
        found = answer.text.replace("http://host", "").replace("http://www.w3.org/2000/svg", "")
        assert foreign not in found, foreign


async def test_no_dashboard_where_none_is_wanted(start: Start) -> None:
    text = f'admin: {{address: "127.0.0.1:0", token: {TOKEN}, dashboard: off}}\n'
    proxy = await start(text)
    assert (await proxy.ask(f"{proxy.admin}/", headers=LETS_IN)).status == 404
