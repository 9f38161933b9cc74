"""The store is not trusted: whatever is written to it at random changes no answer, on both lanes.

Through whole proxies: each page's values in Redis are spoiled in a way of its own, and a proxy
that has nothing in memory yet must give what the origin says, with no error. Indexes, variants and
blocks of bodies are spoiled apart, so that none hides what would come of another. What a writer
with care can do is in test_admitted.py.
"""

from __future__ import annotations

import pickle
from collections.abc import AsyncIterator, Callable
from typing import ClassVar

import pytest
from redis import Redis

from tests.hold.worlds import Asked, Front, Origin, front, get, said
from tests.store.servers import RedisServer

LANES = pytest.mark.parametrize("fast", [True, False], ids=["fast lane", "long way"])
FRESH = b"Cache-Control: max-age=600"
SIZE = 140_000  # more than one block
Spoil = Callable[[bytes, bytes], bytes]  # a value, and another of its kind


class _Trap:
    sprung: ClassVar[list[str]] = []

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return (_Trap.sprung.append, ("run",))


def _flipped(part: float) -> Spoil:
    def spoil(value: bytes, other: bytes) -> bytes:
        at = int(part * (len(value) - 1))
        return value[:at] + bytes((value[at] ^ 4,)) + value[at + 1 :]

    return spoil


SPOILERS: dict[str, Spoil] = {
    "garbage": lambda value, other: b"\x00\xffgarbage",
    "nothing": lambda value, other: b"",
    "cut by a byte": lambda value, other: value[:-1],
    "cut in the middle": lambda value, other: value[: len(value) // 2],
    "longer by a byte": lambda value, other: value + b"\0",
    "another version": lambda value, other: bytes((value[0] + 1 & 255,)) + value[1:],
    "another's": lambda value, other: other,
    "zeros": lambda value, other: bytes(len(value)),
    "zeros behind its head": lambda value, other: value[:20] + bytes(len(value) - 20),
    "a pickle": lambda value, other: pickle.dumps(_Trap()),
    **{f"a bit at {at}/14": _flipped(at / 14) for at in range(15)},
}
PAGES = {how: b"/%02d" % number for number, how in enumerate(SPOILERS)}


def _told(asked: Asked) -> bytes:
    """Of each page something else, in its fields and throughout its content."""
    content = (asked.target + b" ") * (SIZE // (len(asked.target) + 1))
    return said(content, FRESH, b"X-Whose: " + asked.target * 20, b'ETag: "' + asked.target + b'"')


async def _is_right(edge: Front, how: str) -> None:
    answer = await edge.get(PAGES[how])
    body = _told(Asked(get(PAGES[how]))).partition(b"\r\n\r\n")[2]
    assert (answer.status, answer.body == body) == (200, True), how
    assert answer["x-whose"].encode() == PAGES[how] * 20, how
    assert answer["etag"].encode() == b'"' + PAGES[how] + b'"', how
    await edge.settle()


def _names(direct: Redis, namespace: str) -> set[bytes]:
    return set(direct.scan_iter(f"{namespace}:*:[rb]*", count=1000))


Values = dict[tuple[bytes, bytes], bytes]  # name of a key, field in it (empty: itself) -> value


def _values(direct: Redis, names: set[bytes], kind: str) -> Values:
    """The values of one page that are of *kind*."""
    found: Values = {}
    for name in sorted(names):
        if direct.type(name) != b"hash":
            if kind == "blocks":
                found[name, b""] = direct.get(name) or b""
            continue
        for field, value in direct.hgetall(name).items():
            if (kind, field[:1]) in (("indexes", b"i"), ("variants", b"v")):
                found[name, field] = value
    return found


def _spoil(direct: Redis, pages: dict[str, Values]) -> None:
    hows = list(pages)
    for number, (how, values) in enumerate(pages.items()):
        assert values, how
        others = list(pages[hows[number - 1]].values())
        for ((name, field), value), other in zip(values.items(), others, strict=False):
            new = SPOILERS[how](value, other)
            assert new != value
            if field:
                direct.hset(name, field, new)
            else:
                direct.set(name, new, keepttl=True)


@pytest.fixture(params=["{max: 64MiB}", "{max: 0, max_object: 0}"], ids=["redis", "redis alone"])
def memory(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    made = Origin(_told)
    await made.start()
    yield made
    await made.stop()


@LANES
@pytest.mark.parametrize("kind", ["indexes", "variants", "blocks"])
async def test_whatever_is_in_a_store_no_answer_is_wrong(
    kind: str, fast: bool, memory: str, redis_server: RedisServer, origin: Origin
) -> None:
    namespace = f"spoiled{kind}{fast}{len(memory)}"
    where = f'type: redis, url: "{redis_server.url}", namespace: {namespace}, timeout: 5s'
    store = f"{{{where}, memory: {memory}}}"
    with Redis.from_url(redis_server.url) as direct:
        pages: dict[str, Values] = {}
        known: set[bytes] = set()
        async with front(fast=fast, shared=origin, store=store) as edge:
            for how in SPOILERS:
                await _is_right(edge, how)
                names = _names(direct, namespace) - known
                known |= names
                pages[how] = _values(direct, names, kind)
        assert len(origin.asked) == len(SPOILERS)
        _spoil(direct, pages)
        origin.asked.clear()
        async with front(fast=fast, shared=origin, store=store) as edge:
            for how in SPOILERS:
                await _is_right(edge, how)
            asked = {one.target for one in origin.asked}
            believed = [how for how, target in PAGES.items() if target not in asked]
            assert believed == []
            for _ in range(3):  # what came instead is stored, if not at once
                origin.asked.clear()
                for how in SPOILERS:
                    await _is_right(edge, how)
                if not origin.asked:
                    break
            assert origin.asked == []
    assert _Trap.sprung == []
