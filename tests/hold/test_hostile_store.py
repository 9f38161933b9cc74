"""The store is not trusted: whoever writes to it at random changes no answer, on both lanes.

Through whole proxies: each value that is in Redis is spoiled, and a proxy that has nothing in
memory yet must still give what the origin says, with no error. What a writer with care can do is
in test_admitted.py.
"""

from __future__ import annotations

import itertools
import pickle
from collections.abc import AsyncIterator, Callable
from typing import ClassVar

import pytest
from redis import Redis

from tests.hold.worlds import Asked, Front, Origin, front, get, said
from tests.store.servers import RedisServer

LANES = pytest.mark.parametrize("fast", [True, False], ids=["fast lane", "long way"])
FRESH = b"Cache-Control: max-age=600"
LARGE = bytes(range(256)) * 1500  # several blocks
Spoil = Callable[[bytes, bytes], bytes]  # a value, and another of its kind


class _Trap:
    sprung: ClassVar[list[str]] = []

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return (_Trap.sprung.append, ("run",))


SPOILERS: dict[str, Spoil] = {
    "garbage": lambda value, other: b"\x00\xffgarbage",
    "nothing": lambda value, other: b"",
    "cut by a byte": lambda value, other: value[:-1],
    "cut in the middle": lambda value, other: value[: len(value) // 2],
    "longer by a byte": lambda value, other: value + b"\0",
    "the first bit": lambda value, other: bytes((value[0] ^ 1,)) + value[1:],
    "another version": lambda value, other: bytes((value[0] + 1 & 255,)) + value[1:],
    "a bit in the middle": lambda value, other: _flipped(value, len(value) // 2),
    "the last bit": lambda value, other: _flipped(value, len(value) - 1),
    "another's": lambda value, other: other,
    "zeros": lambda value, other: bytes(len(value)),
    "a pickle": lambda value, other: pickle.dumps(_Trap()),
}


def _flipped(value: bytes, at: int) -> bytes:
    return value[:at] + bytes((value[at] ^ 4,)) + value[at + 1 :]


def _told(asked: Asked) -> bytes:
    """Each target and each Origin has its own; one is large, and one no longer there."""
    who = asked.get(b"origin") or b"nobody"
    if asked.target == b"/large":
        return said(LARGE, FRESH, b'ETag: "large"')
    if asked.target == b"/gone":
        return said(b"gone", b"Cache-Control: max-age=60", status=b"404 Not Found")
    return said(asked.target + b" for " + who, FRESH, b"X-Whose: " + asked.target)


TARGETS = (b"/a", b"/b", b"/large", b"/gone")
SITES = ((), (b"Origin: https://a.example",))


async def _asked(edge: Front, how: str) -> None:
    """Everything, as the origin has it, until it is stored."""
    for target in TARGETS:
        for site in SITES:
            wanted = _told(Asked(get(target, *site)))
            head, _, body = wanted.partition(b"\r\n\r\n")
            answer = await edge.get(target, *site)
            assert answer.body == body, (how, target, site)
            assert b"%d " % answer.status in head[:13]
            if b"X-Whose" in head:
                assert answer["x-whose"].encode() == target
    await edge.settle()


def _spoiled(direct: Redis, namespace: str, spoil: Spoil) -> int:
    """How many values were: each becomes what *spoil* makes of it and of another of its kind."""
    rows: dict[bytes, dict[bytes, bytes]] = {}
    plain: dict[bytes, bytes] = {}
    for name in sorted(direct.scan_iter(f"{namespace}:*")):
        kind = direct.type(name)
        if kind == b"hash":
            rows[name] = direct.hgetall(name)
        elif kind == b"string":
            plain[name] = direct.get(name) or b""
    changed = 0
    every = list(rows.values())
    for at, (name, fields) in enumerate(rows.items()):
        beside = every[(at + 1) % len(every)]
        for field, value in fields.items():
            like = [one for key, one in beside.items() if key[:1] == field[:1]]
            new = spoil(value, like[0] if like else b"?")
            changed += new != value
            direct.hset(name, field, new)
    others = list(plain.values())
    for at, (name, value) in enumerate(plain.items()):
        new = spoil(value, others[(at + 1) % len(others)])
        changed += new != value
        direct.set(name, new, keepttl=True)
    return changed


@pytest.fixture(params=["{max: 16MiB}", "{max: 0, max_object: 0}"], ids=["redis", "redis alone"])
def memory(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    made = Origin(_told)
    await made.start()
    yield made
    await made.stop()


@LANES
async def test_whatever_is_in_a_store_no_answer_is_wrong(
    fast: bool, memory: str, redis_server: RedisServer, origin: Origin
) -> None:
    namespace = f"spoiled{fast}{len(memory)}"
    where = f'type: redis, url: "{redis_server.url}", namespace: {namespace}, timeout: 5s'
    store = f"{{{where}, memory: {memory}}}"
    for how, following in itertools.pairwise(("not at all", *SPOILERS, "")):
        origin.asked.clear()
        async with front(fast=fast, shared=origin, store=store) as edge:
            await _asked(edge, how)
            assert len(origin.asked) >= len(TARGETS), how  # nothing that was spoiled was believed
            for _ in range(3):  # what came instead is stored, if not at once
                asked = len(origin.asked)
                await _asked(edge, how)
                if len(origin.asked) == asked:
                    break
            assert len(origin.asked) == asked, how
        if following:
            with Redis.from_url(redis_server.url) as direct:
                assert _spoiled(direct, namespace, SPOILERS[following]) > 8, following
    assert _Trap.sprung == []
