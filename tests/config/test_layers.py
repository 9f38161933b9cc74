"""Flag above environment, above file, above default; and each value knows where it came from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from vary_proxy.config import ConfigError, load, loads
from vary_proxy.configuration import showing

FILE = b"""
origins:
  media-1: {url: http://file.example, timeouts: {connect: 1s}}
store: {memory: {max: 1MiB}}
rules:
  - {name: a, match: {path: /a}, cache: off}
"""


def test_flag_above_environment_above_file_above_default() -> None:
    environ = {"VARY_PROXY_STORE_MEMORY_MAX": "2MiB", "VARY_PROXY_SERVER_LIMITS_HEAD": "16KiB"}
    found = loads(FILE, "f.yaml", {"store.memory.max": "3MiB"}, environ)
    assert found.settings.store.memory.max == 3 << 20
    assert found.settings.server.limits.head == 16 << 10
    assert found.settings.origins["media-1"].timeouts.connect == 1.0
    assert found.settings.server.limits.target == 8 << 10
    sources = showing.sources(showing.tree(found.settings), found.provenance)
    assert sources["store.memory.max"] == "store.memory.max"
    assert sources["server.limits.head"] == "VARY_PROXY_SERVER_LIMITS_HEAD"
    assert sources["origins.media-1.timeouts.connect"] == "f.yaml:3:59"
    assert sources["origins.media-1.url"] == "f.yaml:3:18"
    assert sources["rules[0].cache.enabled"] == "f.yaml:6:41"
    assert sources["server.limits.target"] == "default"


@pytest.mark.parametrize(
    ("name", "value", "path"),
    [
        ("VARY_PROXY_ORIGIN", "http://new.example", "origins.media-1.url"),
        ("VARY_PROXY_ORIGINS_MEDIA_1_URL", "http://new.example", "origins.media-1.url"),
        (
            "VARY_PROXY_ORIGINS_MEDIA_1_TIMEOUTS_FIRST_BYTE",
            "3s",
            "origins.media-1.timeouts.first_byte",
        ),
        ("VARY_PROXY_LISTEN", ":81", "listen[0].address"),
        ("VARY_PROXY_RULES_0_CACHE_STALE_IF_ERROR", "3s", "rules[0].cache.stale_if_error"),
        ("VARY_PROXY_RULES_0_NAME", "b", "rules[0].name"),
        ("VARY_PROXY_DEFAULTS_CACHE_KEY_QUERY_SORT", "on", "defaults.cache.key.query.sort"),
        ("VARY_PROXY_DEFAULTS_VARY", "minimal", "defaults.vary.mode"),
        ("VARY_PROXY_DEFAULTS_CACHE_TTL", "3s", "defaults.cache.ttl"),
        ("VARY_PROXY_SERVER_TRUSTED_PROXIES", "10.0.0.0/8,::1", "server.trusted_proxies[1]"),
        ("VARY_PROXY_STORE_MAX_OBJECT", "3MiB", "store.max_object"),
        ("VARY_PROXY_STORE_MEMORY_MAX_OBJECT", "1KiB", "store.memory.max_object"),
        ("VARY_PROXY_ADMIN_TOKEN", "t", "admin.token"),
        ("VARY_PROXY_LOG_ACCESS", "off", "log.access"),
    ],
)
def test_every_scalar_has_its_variable(name: str, value: str, path: str) -> None:
    found = loads(FILE, "f.yaml", (), {name: value})
    assert found.warnings == ()
    sources = showing.sources(showing.tree(found.settings), found.provenance)
    assert sources[path] == name


def test_what_a_short_form_said_stays_when_a_flag_adds_to_it() -> None:
    found = loads(
        b"origins: {main: http://a.example}\ndefaults: {vary: strip}",
        "f.yaml",
        {
            "origins.main.host": "preserve",
            "defaults.vary.headers": "Origin",
            "rules[0].cache": "off",
        },
        {},
    )
    assert str(found.settings.origins["main"].url) == "http://a.example"
    assert found.settings.origins["main"].host.mode == "preserve"
    assert found.rules.fallback.vary.mode.value == "strip"
    assert found.rules.fallback.vary.names == (b"Origin",)
    assert not found.rules.rules[0].policy.cache.enabled


def test_a_flag_does_not_reach_what_only_shares_an_anchor() -> None:
    text = b"""
origins: {main: http://a.example}
rules:
  - {match: {path: /a}, cache: &c {ttl: 1s}}
  - {match: {path: /b}, cache: *c}
"""
    found = loads(text, "f.yaml", {"rules[1].cache.ttl": "9s"}, {})
    assert [one.policy.cache.ttl.override for one in found.rules.rules] == [1.0, 9.0]


def test_unknown_variables_are_told_and_those_of_kubernetes_are_not() -> None:
    environ = {
        "VARY_PROXY_STORE_MEMORY_MAXX": "1MiB",
        "VARY_PROXY_SERVICE_HOST": "10.0.0.1",
        "VARY_PROXY_PORT": "tcp://10.0.0.1:80",
        "VARY_PROXY_PORT_80_TCP_ADDR": "10.0.0.1",
        "VARY_PROXY_ADMIN_PORT": "tcp://10.0.0.1:80",
        "VARY_PROXY_CONFIG": "x",
        "VARY_PROXY_WATCH": "no",
        "VARY_PROXY_VIA": "http://127.0.0.1:8080",
        "VARY_PROXY_ADMIN": "http://127.0.0.1:8082",  # of the commands that look on
        "VARY_PROXY_STORE_TYPE": "",
    }
    assert loads(FILE, "f.yaml", (), environ).warnings == (
        "VARY_PROXY_STORE_MEMORY_MAXX is not a setting and was ignored; "
        "did you mean VARY_PROXY_STORE_MEMORY_MAX?",
    )


@pytest.mark.parametrize(
    ("overrides", "environ", "said"),
    [
        (
            {"store.memry.max": "1"},
            {},
            "store.memry.max: store.memry: unknown key; did you mean memory?",
        ),
        ({"store..max": "1"}, {}, "store..max: store..max: unknown key; did you mean store?"),
        (
            {"rules[0].cache.ttl": "soon"},
            {},
            'rules[0].cache.ttl: rules[0].cache.ttl: "soon" is not',
        ),
        (
            {},
            {"VARY_PROXY_STORE_TIMEOUT": "x"},
            'VARY_PROXY_STORE_TIMEOUT: store.timeout: "x" is not',
        ),
    ],
)
def test_what_stands_above_the_file_is_judged_like_it(
    overrides: dict[str, str], environ: dict[str, str], said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        loads(FILE, "f.yaml", overrides, environ)
    assert str(caught.value).startswith(said)


def test_one_origin_among_several_must_be_named() -> None:
    text = b"origins: {a: http://a.example, b: http://b.example}\ndefaults: {origin: a}"
    with pytest.raises(ConfigError, match="several are named"):
        loads(text, "f.yaml", (), {"VARY_PROXY_ORIGIN": "http://c.example"})


def test_secrets_are_never_shown(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hunter2\n")
    (tmp_path / "f.yaml").write_text(
        "origins: {main: 'http://a.example'}\n"
        "admin: {token: '${file:token}'}\n"
        "store: {type: redis, url: 'redis://user:hunter2@redis/0'}\n"
        "defaults: {vary: {headers: ['${file:token}']}}\n"
    )
    found = load(tmp_path / "f.yaml", (), {})
    assert found.settings.admin.token == "hunter2"
    tree = showing.tree(found.settings, found.private)
    shown = showing.text(tree, found.provenance) + json.dumps(tree)
    assert "hunter2" not in shown
    assert "redis://***@redis/0" in shown
    options = "{type: aiocache, backend: a.B, options: {password: hunter2, db: '1'}}"
    found = loads(f"origins: {{a: http://a.example}}\nstore: {options}".encode(), "f.yaml", (), {})
    assert showing.tree(found.settings)["store"]["options"] == {"password": "***", "db": "1"}


@pytest.mark.parametrize(
    "text",
    [
        "origins: {main: '${file:secret}'}",
        "origins: {main: 'http://u:hunter2@a.example'}",
        "origins: {main: 'http//u:hunter2@a.example'}",
        "store: {url: 'hunter2'}",
        "store: {timeout: '${file:secret}'}",
    ],
)
def test_secrets_are_not_repeated_by_errors(text: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2")
    with pytest.raises(ConfigError) as caught:
        loads(text.encode(), str(tmp_path / "f.yaml"), (), {})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["rules", "canvas-images", "api-with-credentials"])
def test_what_is_shown_loads_again_to_the_same(name: str) -> None:
    flags = {"server.limits.connections": "7", "defaults.vary": "minimal"}
    first = load(Path(f"config/{name}.yaml"), flags, {})
    text = showing.text(showing.tree(first.settings), first.provenance)
    again = loads(text.encode(), "again.yaml", (), {})
    assert showing.tree(again.settings) == showing.tree(first.settings)
    assert [replace(one, where="") for one in again.rules.policies] == [
        replace(one, where="") for one in first.rules.policies
    ]


POLICY = "origins: {main: http://a.example}\ncors: {p: {origins: 'https://a.example'}}\n"


@pytest.mark.parametrize(
    ("text", "preflight"),
    [
        ("defaults: {cors: {policy: p}}", "synthesize"),
        ("defaults: {cors: {policy: p, mode: fill}}", "forward"),
        ("defaults: {cors: {policy: p}, preflight: cache}", "cache"),
        ("defaults: {cors: passthrough}", "forward"),
    ],
)
def test_whoever_writes_the_cors_fields_answers_preflights(text: str, preflight: str) -> None:
    found = loads((POLICY + text).encode(), "f.yaml", (), {})
    assert found.rules.fallback.preflight.value == preflight
    assert showing.tree(found.settings)["defaults"]["preflight"] == preflight


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("defaults: {cors: {policy: p}}", ""),
        (
            "defaults: {cors: {policy: p}, preflight: cache}",
            "f.yaml:3:42: defaults.preflight: preflights go to the origin, which is not shown what "
            "they ask under override; write preflight: synthesize",
        ),
        ("log: {level: info}", "f.yaml:2:11: cors.p: no rule uses it; use it, or remove it"),
    ],
)
def test_what_is_most_likely_not_meant_is_told(text: str, warning: str) -> None:
    found = loads((POLICY + text).encode(), "f.yaml", (), {})
    assert found.warnings == ((warning,) if warning else ())
