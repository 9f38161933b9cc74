"""The same questions through the proxy: what it cures, what it does not, and whom it blocks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_commands import run
from tests.doctor.conftest import Told, examined
from tests.doctor.hostile import replying, serving
from tests.doctor.sites import A, Nginx
from tests.ports import free_port
from tests.real.proxy import Proxy, configured, running_proxy

_CONFIG = """
version: 1
origins: {{site: "{url}"}}
cors:
  ours: {{origins: ["https://a.example", "https://b.example"], methods: [GET, HEAD, PUT],
         headers: [Authorization], max_age: 2h, preflight_cache_control: true}}
rules:
  - match: {{headers: {{X-Wants: override}}}}
    cors: {{policy: ours, mode: override}}
    preflight: synthesize
admin: {{address: "127.0.0.1:{admin}"}}
log: {{access: off}}
"""


@pytest.fixture(scope="module")
def proxy(nginx: Nginx, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Proxy, str]]:
    """A proxy that repairs, and its admin listener."""
    directory = tmp_path_factory.mktemp("proxy")
    admin = free_port()
    text = _CONFIG.format(url=nginx.url, admin=admin)
    with running_proxy(directory, *configured(directory, text)) as running:
        yield running, f"http://127.0.0.1:{admin}"


REPAIRED = ("CV001", "CV002", "CV003", "CV004", "CV005", "CV006", "CV007", "CV010",
            "CV013", "CV014")  # fmt: skip


@pytest.mark.parametrize("name", REPAIRED)
def test_repair_cures(nginx: Nginx, proxy: tuple[Proxy, str], name: str) -> None:
    told = examined(nginx.site(name), "--via", proxy[0].url)
    assert told.status == 0
    assert name in told.opinion["cured"]
    assert (told.opinion["remaining"], told.opinion["new"]) == ([], [])
    direct = told.record["targets"][0]["direct"]["findings"]
    assert name in [one["id"] for one in direct]


@pytest.mark.parametrize("name", ["CO101", "CO104", "PF201", "CA301"])
def test_what_only_the_server_or_a_rule_can_mend_remains(
    nginx: Nginx, proxy: tuple[Proxy, str], name: str
) -> None:
    told = examined(nginx.site(name), "--via", proxy[0].url)
    assert name in told.opinion["remaining"]


def test_nothing_is_wrong_with_a_healthy_site_through_the_proxy(
    nginx: Nginx, proxy: tuple[Proxy, str]
) -> None:
    told = examined(nginx.site("healthy"), "--via", proxy[0].url)
    assert (told.status, told.findings) == (0, {})
    assert told.opinion["server"] == proxy[0].url


def test_vary_where_cors_is_constant_is_a_hint_and_no_more(
    nginx: Nginx, proxy: tuple[Proxy, str]
) -> None:
    told = examined(nginx.site("healthy-star"), "--via", proxy[0].url, "--fail-on", "warning")
    assert (told.status, list(told.findings)) == (0, ["CV011"])


def _overridden(nginx: Nginx, proxy: Proxy, name: str) -> Told:
    return examined(nginx.site(name), "--via", proxy.url, "-H", "X-Wants: override")


def test_a_rule_that_owns_cors_shuts_strangers_out(nginx: Nginx, proxy: tuple[Proxy, str]) -> None:
    told = _overridden(nginx, proxy[0], "CO104")
    assert "CO104" in told.opinion["cured"]


def test_two_who_write_cors_fields_are_told(nginx: Nginx, proxy: tuple[Proxy, str]) -> None:
    told = _overridden(nginx, proxy[0], "healthy-credentials")
    assert told.opinion["new"] == ["CA305"]
    proof = [one["response"]["fields"] for one in told.findings["CA305"]["evidence"]]
    assert ["access-control-allow-credentials", "true"] in proof[0]
    assert "access-control-allow-credentials" not in dict(proof[1])


def test_whom_the_proxy_blocked_is_told(nginx: Nginx, proxy: tuple[Proxy, str]) -> None:
    done = run("doctor", nginx.site("healthy"), "--origin-header", A, "--via", proxy[0].url,
               "--admin", proxy[1], "--json")  # fmt: skip
    done = run("doctor", nginx.site("healthy"), "--origin-header", A, "--admin", proxy[1],
               "--json")  # fmt: skip
    (entry,) = json.loads(done.stdout)["log"]
    assert entry["id"] == "LOG501"
    assert any(one["origin"].endswith(".invalid") for one in entry["blocked"])
    shown = run("doctor", nginx.site("healthy"), "--origin-header", A, "--admin", proxy[1]).stdout
    assert "LOG501 The proxy has blocked CORS requests" in shown


def test_answers_from_before_the_rules_changed_are_told(tmp_path: Path) -> None:
    """Stored with a permission that the server has since taken back."""
    fields = {"vary": "Origin", "cache-control": "max-age=3600", "etag": '"1"'}
    rules = {"access-control-allow-origin": A}
    with (
        serving(lambda asked: replying(**fields, **rules)(asked)) as (url, _),
        running_proxy(tmp_path, "--origin", url) as proxy,
    ):
        before = examined(f"{url}/x", "--via", proxy.url)
        assert "CA304" not in before.findings
        rules.clear()
        after = examined(f"{url}/x", "--via", proxy.url)
        told = after.findings["CA304"]["detail"]
        assert told == f"from the cache {A}, past it no Access-Control-Allow-Origin"
        assert "CA304" in after.opinion["new"]
