"""What `config show` prints says all that holds: loaded again, it comes to the same."""

from __future__ import annotations

import pytest

from vary_proxy.config import ConfigError, Loaded, loads
from vary_proxy.configuration import showing

ORIGIN = "origins: {main: 'http://a.example'}\n"


def load(text: str) -> Loaded:
    return loads(text.encode(), "f.yaml", (), {})


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("server: {trusted_proxies: []}", id="nobody is trusted"),
        pytest.param("defaults: {vary: {headers: []}}", id="no name is added to Vary"),
        pytest.param("cors: {a: {origins: ['*'], methods: []}}", id="no method is allowed"),
        pytest.param("defaults: {cache: {key: {query: {only: []}}}}", id="no parameter counts"),
        pytest.param("rules: [{match: {path: [], host: a}}]", id="no condition"),
        pytest.param("server: {timeouts: {idle: 1h1ms}}", id="a long and odd duration"),
        pytest.param("server: {timeouts: {idle: 1000000.001s}}", id="a longer one"),
        pytest.param("server: {timeouts: {idle: 0.001ms}}", id="a microsecond"),
        pytest.param("server: {timeouts: {idle: 0.000001ms}}", id="a nanosecond"),
        pytest.param("tracing: {sample: 0.000001}", id="a small share"),
        pytest.param("log: {access: '/var/log/$${A}.log'}", id="a dollar and a brace"),
        pytest.param(
            'rules: [{name: "a\\x7f\\u0085\\ufeff\\U0001f600", match: {path: /a}}]',
            id="odd characters",
        ),
        pytest.param(
            'rules: [{name: "", match: {path: /a}}, {name: "${A:-}"}]', id="an empty name"
        ),
        pytest.param(
            "rules: [{match: {headers: {a: '~x', b: 'Null', c: 'TRUE', d: '1', e: 'x: y'}}}]",
            id="words of YAML",
        ),
    ],
)
def test_what_is_shown_loads_to_the_same(text: str) -> None:
    found = load(ORIGIN + text)
    tree = showing.tree(found.settings, found.private)
    shown = showing.text(tree, found.provenance)
    again = load(shown)
    assert showing.tree(again.settings, again.private) == tree
    assert again.settings.server == found.settings.server
    assert [_told(one) for one in again.rules.policies] == [
        _told(one) for one in found.rules.policies
    ]


def _told(policy: object) -> list[object]:
    names = [name for name in type(policy).__slots__ if name != "where"]
    return [getattr(policy, name) for name in names]


@pytest.mark.parametrize("origin", ["[]", "{urls: []}", "{url: []}"])
def test_an_origin_without_a_url_is_refused(origin: str) -> None:
    with pytest.raises(ConfigError, match=r"f\.yaml:1:\d+: origins\.main: no URL to ask; add url"):
        load(f"origins: {{main: {origin}}}")


@pytest.mark.parametrize(
    "url",
    [
        "redis://:SECRET@redis/0",
        "redis://user:SECRET@x:SECRET@redis/0",
        "redis://user:SEC/SECRET@redis/0",
        "redis://a:SECRET#SECRET@redis/0",
        "redis://redis/0?password=SECRET",
        "redis://redis/0?db=1&Password=SECRET&a=b",
        "redis+sentinel://SECRET@a,b/main?sentinel_username=SECRET&sentinel_password=SECRET",
        "unix://u:SECRET@/run/redis.sock?pass%77ord=SECRET",
    ],
)
def test_no_part_of_a_stores_password_is_shown(url: str) -> None:
    said = load(f"{ORIGIN}store: {{type: redis, url: '{url}'}}").settings
    shown = showing.tree(said)["store"]["url"]
    assert "SEC" not in shown
    assert "***" in shown
    assert shown.partition("://")[0] == url.partition("://")[0]


def test_the_rest_of_a_stores_url_is_shown() -> None:
    url = "rediss://redis-1.example:6379/3?db=1&timeout=2"
    said = load(f"{ORIGIN}store: {{type: redis, url: '{url}'}}").settings
    assert showing.tree(said)["store"]["url"] == url
