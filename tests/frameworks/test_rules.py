"""Where a rule speaks of CORS, its word holds, whatever the framework would say.

The rule allows one origin that the frameworks allow too, and one that none of them knows.
"""

from __future__ import annotations

import random
from collections import defaultdict

from tests.frameworks.behind import behind_proxy
from tests.frameworks.conftest import Origin
from tests.frameworks.corpus import (
    REQUESTERS,
    STRANGER,
    THREE,
    A,
    B,
    Question,
    content,
    family,
    repaired,
    said_vary,
)
from tests.real.asking import asking, is_hit

RULED = "https://ruled.example"
RULE = """
version: 1
listen: [{{address: "127.0.0.1:0"}}]
origins: {{it: {{url: "{url}", timeouts: {{connect: 30s, first_byte: 60s}}}}}}
cors:
  ruled:
    origins: ["https://a.example", "https://ruled.example"]
    methods: [GET, HEAD, PUT]
    headers: [X-Token]
    expose: [X-Rule]
    credentials: true
    max_age: 5m
defaults: {{{rule}}}
log: {{access: off}}
"""
OVERRIDE = "cors: {policy: ruled, mode: override}, preflight: synthesize"

READS = ("get", "head", "get-if-none-match", "get-if-none-match-else")


def given(origin: str | None) -> list[tuple[str, str]]:
    """The CORS fields that the rule gives to *origin*."""
    if origin is None or origin not in (A, RULED):
        return []
    return [
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-origin", origin),
        ("access-control-expose-headers", "X-Rule"),
    ]


async def reads(origin: Origin) -> list[Question]:
    """What is read without a condition that the framework itself does not know, by all."""
    asked = [one for one in await origin.ask_all() if one.label in READS and one.origin is None]
    requesters = (*REQUESTERS, RULED)
    return [
        Question(one.label, one.method, one.name, requester, one.fields)
        for one in asked
        for requester in requesters
    ]


async def test_override_gives_the_rules_answers_from_one_stored_response(origin: Origin) -> None:
    order = await reads(origin) * 2
    random.Random(1).shuffle(order)
    held: set[str] = set()
    text = RULE.format(url=origin.url, rule=OVERRIDE)
    async with behind_proxy(text) as proxy, asking(proxy.url) as ask:
        for question in order:
            got = await question.put_to(ask)
            await proxy.settle()
            plain = Question(question.label, question.method, question.name, None, question.fields)
            direct = origin.told[plain]
            assert (got.status, content(got)) == (direct.status, content(direct)), question
            assert family(got) == given(question.origin), question
            own = [one for one in said_vary(direct) if one.lower() not in map(str.lower, THREE)]
            assert said_vary(got) == [*own, "Origin"], question
            assert is_hit(got.fields["cache-status"]) == (question.name in held), question
            if question.method == "GET" and "max-age" in direct.fields.get("cache-control", ""):
                held.add(question.name)
        assert proxy.app.store.stats().stored_responses == len(held)


async def test_override_answers_preflights_from_the_rule(origin: Origin) -> None:
    asks = (("Access-Control-Request-Method", "PUT"), ("Access-Control-Request-Headers", "x-token"))
    text = RULE.format(url=origin.url, rule=OVERRIDE)
    async with behind_proxy(text) as proxy, asking(proxy.url) as ask:
        for requester in (A, RULED):
            got = await Question("preflight", "OPTIONS", "plain", requester, asks).put_to(ask)
            assert got.status == 204
            assert family(got) == [
                ("access-control-allow-credentials", "true"),
                ("access-control-allow-headers", "X-Token"),
                ("access-control-allow-methods", "GET, HEAD, PUT"),
                ("access-control-allow-origin", requester),
                ("access-control-max-age", "300"),
            ]
            assert said_vary(got) == list(THREE)
        for requester in (B, STRANGER, "null"):
            got = await Question("preflight", "OPTIONS", "plain", requester, asks).put_to(ask)
            assert (got.status, family(got), said_vary(got)) == (403, [], list(THREE))


async def test_strip_leaves_no_cors_field(origin: Origin) -> None:
    async with (
        behind_proxy(RULE.format(url=origin.url, rule="cors: {mode: strip}")) as proxy,
        asking(proxy.url) as ask,
    ):
        for question in await origin.ask_all():
            if question.method == "GET":
                got = await question.put_to(ask)
                assert family(got) == [], question
                assert {name.lower() for name in THREE} <= {*map(str.lower, said_vary(got))}


async def test_fill_adds_the_rules_fields_where_the_origin_allows_nobody(origin: Origin) -> None:
    text = RULE.format(url=origin.url, rule="cors: {policy: ruled, mode: fill}")
    asked = [one for one in await origin.ask_all() if one.label == "get"]
    known: dict[str, list[str]] = defaultdict(list)  # the Vary of what is stored of a page
    async with behind_proxy(text) as proxy, asking(proxy.url) as ask, asking(origin.url) as direct:
        for question in [one for one in asked if one.origin is None]:
            unknown = Question(question.label, question.method, question.name, RULED)
            alone = await unknown.put_to(direct)
            got = await unknown.put_to(ask)
            allowed = alone.fields.get("access-control-allow-origin", RULED)
            assert got.fields.getall("access-control-allow-origin") == [allowed], question
            known[question.name] = said_vary(got)
        for question in asked:
            own = origin.told[question].fields.getall("access-control-allow-origin", [])
            got = await question.put_to(ask)
            due = own or ([A] if question.origin == A else [])
            assert got.fields.getall("access-control-allow-origin", []) == due, question
            told = said_vary(origin.told[question])
            assert said_vary(got) == repaired(told, known[question.name]), question
            known[question.name] = said_vary(got)


async def test_kept_preflights_are_the_origins_own(origin: Origin) -> None:
    asked = [one for one in await origin.ask_all() if one.label.startswith("preflight")]
    order = asked * 2
    random.Random(2).shuffle(order)
    kept: set[Question] = set()
    text = RULE.format(url=origin.url, rule="preflight: cache")
    async with behind_proxy(text) as proxy, asking(proxy.url) as ask:
        for question in order:
            got = await question.put_to(ask)
            direct = origin.told[question]
            assert (got.status, content(got)) == (direct.status, content(direct)), question
            assert family(got) == family(direct), question
            assert said_vary(got) == repaired(said_vary(direct)), question
            if is_hit(got.fields["cache-status"]):
                kept.add(question)
    lasting = {
        one
        for one in asked
        if (one.label, one.origin) in (("preflight-good", A), ("preflight-good", B))
        and origin.told[one].status < 300
        and "access-control-max-age" in origin.told[one].fields
    }
    assert lasting
    assert lasting <= kept
