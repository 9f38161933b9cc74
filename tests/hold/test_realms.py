"""What SECURITY.md says that the checker's realms are made of, they are made of."""

from __future__ import annotations

import random
from collections import Counter

from tests.hold.callers import Callers
from tests.hold.pages import pages
from tests.hold.realm import Realm
from tests.hold.realms import SORTS
from tests.hold.verdicts import UNSAFE


def test_realms_are_of_every_sort_that_is_said() -> None:
    alone = [sort for sort in SORTS if sort.proxies == 1 and not sort.workers]
    for store in ("memory", "redis", "redis alone"):
        lanes = {sort.fast for sort in alone if sort.store == store and sort.faults}
        assert lanes == {True, False}
    assert any(sort.proxies > 1 and sort.store == "redis" and sort.faults for sort in SORTS)
    assert any(sort.workers > 1 and sort.breaks and sort.faults for sort in SORTS)
    assert any(sort.clock and sort.reloads and sort.breaks for sort in SORTS)
    assert any(sort.store == "redis" and sort.breaks and sort.proxies > 1 for sort in SORTS)


def test_clients_ask_in_every_way_that_is_said() -> None:
    dice = random.Random(5)
    callers = Callers(Realm(pages(80, dice), dice, faults=0.05))
    seen: Counter[str] = Counter()
    for _ in range(4000):
        call = callers.draw()
        seen[call.method.decode()] += 1
        seen.update(name.decode() for name in call.said)
        if call.method == b"OPTIONS" and b"access-control-request-method" in call.said:
            seen["preflights"] += 1
        if call.method in UNSAFE and call.body:
            seen["bodies"] += 1
        if b"," in call.said.get(b"range", b""):
            seen["several ranges"] += 1
    said = {"GET", "HEAD", "OPTIONS", "PUT", "POST", "DELETE", "origin", "range", "if-range"}
    said |= {"if-none-match", "if-modified-since", "if-match", "if-unmodified-since", "preflights"}
    said |= {"cache-control", "authorization", "bodies", "several ranges", "accept-language"}
    assert {name for name in said if seen[name] < 5} == set()
