"""Whatever the framework and the order, an answer through the proxy is the origin's own.

The origin is asked every question directly; then the proxy is asked the same questions in
seeded random orders, each of them twice. Status, body and CORS fields are those of the
direct answer, Vary is complete, and an answer that is held is a hit.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import defaultdict
from dataclasses import dataclass, field

import pytest

from tests.frameworks.conftest import Origin
from tests.frameworks.corpus import (
    REQUESTERS,
    Question,
    content,
    family,
    others,
    repaired,
    said_vary,
)
from tests.real.asking import Asker, Got, asking, is_hit

SEEDS = range(3)


@dataclass
class Held:
    """What a store must hold by now: requesters by path, and the names that select there.

    A name that was not known when a response was stored makes that one unusable: nobody can
    say what its request had there (RFC 9111 §4.1). Litestar drops the application's Vary from
    its CORS answers alone; what is known is put back.
    """

    requesters: dict[str, set[str | None]] = field(default_factory=lambda: defaultdict(set))
    names: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def has(self, question: Question) -> bool:
        is_read = question.method in ("GET", "HEAD")
        return is_read and question.origin in self.requesters[question.name]

    def learn(self, question: Question, direct: Got, vary: list[str]) -> None:
        """What is held after the answer to *question*, which was *direct* from the origin."""
        requesters, names = self.requesters[question.name], self.names[question.name]
        if question.method == "GET" and "max-age" in direct.fields.get("cache-control", ""):
            if new := [name for name in vary if name not in names]:
                requesters.clear()
                names.extend(new)
            requesters.add(question.origin)
        if question.method in ("PUT", "POST") and direct.status < 400:
            requesters.clear()
            names.clear()


@pytest.mark.parametrize("seed", SEEDS)
async def test_answers_are_the_origins_own_in_any_order(origin: Origin, seed: int) -> None:
    order = await origin.ask_all() * 2
    random.Random(seed).shuffle(order)
    held = Held()
    async with origin.behind() as proxy, asking(proxy.url) as ask:
        for question in order:
            got = await question.put_to(ask)
            known = held.names[question.name] if question.method in ("GET", "HEAD") else []
            _check(origin, question, got, hit=held.has(question), known=known)
            held.learn(question, origin.told[question], said_vary(got))
            await proxy.settle()  # what is on its way is no hit yet


def _check(origin: Origin, question: Question, got: Got, *, hit: bool, known: list[str]) -> None:
    """*got* is the origin's own answer to *question*, with the names *known* of its page."""
    direct = origin.told[question]
    whole = _whole(origin, question) if question.is_conditional else direct
    asked = f"{question}\ndirect: {dict(direct.fields)}\nthrough the proxy: {dict(got.fields)}"
    assert (got.status, content(got)) == (direct.status, content(direct)), asked
    bare = direct.status == 304 and origin.program.bare_304
    assert family(got) == family(whole if bare else direct), asked
    assert said_vary(got) == repaired(said_vary(whole), known), asked
    assert len(got.fields.getall("vary")) == 1, asked
    assert others(got) == _others(direct, whole), asked
    body = got.body if question.method != "HEAD" else _whole(origin, question).body
    assert got.fields.get("content-length") in (None, str(len(body))), asked
    assert got.fields["via"] == "1.1 vary-proxy", asked
    assert is_hit(got.fields["cache-status"]) == hit, asked
    from_store = hit or "fwd-status=304" in got.fields["cache-status"]
    assert ("age" in got.fields) == from_store, asked


def _whole(origin: Origin, question: Question) -> Got:
    """What the origin told this requester when it asked for the same page, and nothing else."""
    return origin.told[Question("get", "GET", question.name, question.origin)]


def _others(direct: Got, whole: Got) -> list[tuple[str, str]]:
    """The remaining fields that are due: a 304 of ours has those of the 200 that it stands for."""
    if direct.status != 304:
        return others(direct)
    return others(Got(304, whole.fields, b""))


async def test_who_came_before_makes_no_difference(origin: Origin) -> None:
    """Every order of five requesters, each order on a resource of its own, all at once."""
    await origin.ask_all()
    orders = list(itertools.permutations(REQUESTERS))
    async with origin.behind() as proxy, asking(proxy.url) as ask:
        limit = asyncio.Semaphore(16)
        await asyncio.gather(
            *(_in_order(origin, ask, f"?order={n}", order, limit) for n, order in enumerate(orders))
        )


async def _in_order(
    origin: Origin,
    ask: Asker,
    query: str,
    order: tuple[str | None, ...],
    limit: asyncio.Semaphore,
) -> None:
    async with limit:
        for one in order:
            question = Question("get", "GET", "plain", one)
            got = await question.put_to(ask, query)
            assert family(got) == family(origin.told[question]), (order, one)
            assert said_vary(got) == repaired(said_vary(origin.told[question])), (order, one)


async def test_nothing_bleeds_between_those_who_ask_at_once(origin: Origin) -> None:
    """Ten of each requester, all on their way before the first answer is there."""
    await origin.ask_all()
    crowd = [Question("get", "GET", "plain", one) for one in REQUESTERS * 10]
    random.Random(1).shuffle(crowd)
    async with origin.behind() as proxy, asking(proxy.url) as ask:
        answers = await asyncio.gather(*(one.put_to(ask) for one in crowd))
    for question, got in zip(crowd, answers, strict=True):
        assert family(got) == family(origin.told[question]), question
        assert got.body == origin.told[question].body


async def test_a_part_has_the_family_of_the_whole(origin: Origin) -> None:
    await origin.ask_all()
    async with origin.behind() as proxy, asking(proxy.url) as ask:
        for requester in REQUESTERS:
            whole = Question("get", "GET", "plain", requester)
            await whole.put_to(ask)
            await proxy.settle()
            direct = origin.told[whole]
            for wanted, status, body in (
                ("bytes=2-5", 206, direct.body[2:6]),
                ("bytes=99999-", 416, b""),
            ):
                part = Question("range", "GET", "plain", requester, (("Range", wanted),))
                got = await part.put_to(ask)
                assert (got.status, got.body, got.is_hit) == (status, body, True)
                assert family(got) == family(direct), (requester, wanted)
                assert said_vary(got) == repaired(said_vary(direct)), (requester, wanted)


@dataclass
class Clock:
    """The time, *behind* by so many seconds."""

    behind: float

    def __call__(self) -> float:
        return time.time() - self.behind


async def test_a_stale_variant_is_validated_for_its_own_requester(origin: Origin) -> None:
    """Also where a 304 says nothing of CORS: then what was said before stands."""
    await origin.ask_all()
    asked = [Question("get", "GET", "plain", one) for one in REQUESTERS]
    clock = Clock(behind=7200)  # at first, so that the origin's Date is never in its past
    async with origin.behind(clock) as proxy, asking(proxy.url) as ask:
        for said in ("fwd=", "; fwd=stale; fwd-status=304", "; hit"):
            for question in asked:
                got = await question.put_to(ask)
                await proxy.settle()
                direct = origin.told[question]
                assert said in got.fields["cache-status"]
                assert (got.status, got.body) == (200, direct.body)
                assert family(got) == family(direct), (question, said)
                assert said_vary(got) == repaired(said_vary(direct)), (question, said)
            clock.behind = 0
