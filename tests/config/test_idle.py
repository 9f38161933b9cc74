"""What is written in a file and changes nothing there is told, with its place and a remedy."""

from __future__ import annotations

import pytest

from vary_proxy.config import loads

_TEXT = """\
version: 1
origins: {media: {url: http://minio:9000}}
"""
SHARED = "a store of type memory is not shared, and always answers"
REMEDY = "write type: redis and a url, or leave it out"


def warnings(text: str, *overrides: tuple[str, str]) -> list[str]:
    return list(loads((_TEXT + text).encode(), "v.yaml", dict(overrides), {}).warnings)


@pytest.mark.parametrize("key", ["namespace: vp", "timeout: 1s", "on_error: fail"])
def test_what_only_a_shared_store_obeys_is_told_of_one_in_memory(key: str) -> None:
    (told,) = warnings(f"store:\n  {key}\n")
    name = key.partition(":")[0]
    assert told == f"v.yaml:4:{len(name) + 5}: store.{name}: has no effect: {SHARED}; {REMEDY}"
    assert warnings(f"store: {{type: redis, url: 'redis://r', {key}}}\n") == []


def test_so_it_is_when_a_flag_says_it() -> None:
    (told,) = warnings("", ("store.namespace", "other"))
    assert told == f"store.namespace: store.namespace: has no effect: {SHARED}; {REMEDY}"


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ("{path: '/**'}", "{path: /img/*}", True),
        ("{path: [/a, /b]}", "{path: /b, methods: PUT}", True),
        ("{host: a.example}", "{host: a.example, query: {x: '*'}}", True),
        ("{path: /a}", "{path: [/a, /b]}", False),
        ("{path: '/**', methods: GET}", "{path: /a}", False),
        ("{path: '/**', headers: {X-A: '*'}}", "{path: /a}", False),
        ("{path: /img/**}", "{path: '/**'}", False),
    ],
)
def test_a_rule_behind_one_that_takes_all_is_told(first: str, second: str, told: bool) -> None:
    found = warnings(f"rules:\n  - match: {first}\n  - match: {second}\n")
    what = "is never reached: rules[0] matches all that it does; put it before rules[0]"
    assert found == ([f"v.yaml:5:5: rules[1]: {what}"] if told else [])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "cors: {p: {origins: '*'}}\n"
            "rules: [{match: {path: /a}, cors: {policy: p, mode: strip}}]",
            "v.yaml:4:44: rules[0].cors.policy: has no effect: under strip the policy says "
            "nothing; write mode: fill or override, or leave it out",
        ),
        (
            "cors: {p: {origins: '*'}}\n"
            "rules: [{match: {path: /a}, cors: {policy: p, mode: strip}, preflight: synthesize}]",
            None,
        ),
        (
            "cors: {p: {origins: '*'}}\n"
            "defaults: {cors: {policy: p}}\n"
            "rules: [{match: {path: /a}, cors: {mode: fill}}]",
            None,
        ),
        (
            "rules: [{match: {path: /a}, vary: {mode: strip, headers: [Origin]}}]",
            "v.yaml:3:58: rules[0].vary.headers: has no effect: strip adds no names; leave it out",
        ),
        (
            "admin: {dashboard: true}",
            "v.yaml:3:20: admin.dashboard: there is no admin listener; "
            "add admin.address, or leave it out",
        ),
        ("admin: {address: '127.0.0.1:8082', dashboard: true}", None),
        ("admin: {token: secret}", None),  # what explains itself asks for it too
    ],
)
def test_other_keys_that_change_nothing(text: str, told: str | None) -> None:
    assert warnings(text + "\n") == ([] if told is None else [told])
