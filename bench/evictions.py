"""Which eviction policy keeps what is asked for again? Hit ratios on traces made to rule.

    python -m bench.evictions [--requests 300000] [--objects 30000] [--seed 1]

Policies with the same bound in bytes: LRU; segmented LRU (a fifth for what is new, the rest for
what was asked for again); SIEVE (Zhang and others, NSDI 2024: one queue and a hand); S3-FIFO
(Yang and others, SOSP 2023: a small queue of a tenth, a main queue with reinsertion, a ghost of
what the small one let go); and vary_proxy/store/memory.py itself. Traces are made as published
ones are described: popularity by Zipf's law, flat and steep; a scan through it; a loop larger
than the cache; sizes mixed over four powers of ten; popularity that moves on; and mostly
one-hit objects, as at the edge of a CDN. What does not fit into a tenth of a cache is left out.
"""

from __future__ import annotations

import argparse
import bisect
import random
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

from vary_proxy.core.message import Fields
from vary_proxy.core.stored import Body, StoredResponse
from vary_proxy.store.memory import MemoryStore

Trace = list[tuple[int, int]]  # what is asked for, and its size in bytes


class Policy(Protocol):
    def asked(self, key: int, size: int) -> bool:
        """True for a hit; else it is stored, for which others may have to go."""


class Lru:
    def __init__(self, bound: int) -> None:
        self._left = bound
        self._sizes: OrderedDict[int, int] = OrderedDict()

    def asked(self, key: int, size: int) -> bool:
        if key in self._sizes:
            self._sizes.move_to_end(key)
            return True
        self._sizes[key] = size
        self._left -= size
        while self._left < 0:
            self._left += self._sizes.popitem(last=False)[1]
        return False


class SegmentedLru:
    _NEW = 0.2  # of the bound

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._new: OrderedDict[int, int] = OrderedDict()
        self._proven: OrderedDict[int, int] = OrderedDict()
        self._in_new = self._in_proven = 0

    def asked(self, key: int, size: int) -> bool:
        if key in self._proven:
            self._proven.move_to_end(key)
            return True
        if key in self._new:
            self._in_new -= self._new.pop(key)
            self._proven[key] = size
            self._in_proven += size
            while self._in_proven > self._bound * (1 - self._NEW):
                demoted, its = self._proven.popitem(last=False)
                self._in_proven -= its
                self._new[demoted] = its
                self._in_new += its
            return True
        self._new[key] = size
        self._in_new += size
        while self._in_new + self._in_proven > self._bound:
            self._in_new -= self._new.popitem(last=False)[1]
        return False


class S3Fifo:
    _SMALL = 0.1  # of the bound
    _MOST = 3  # uses that count

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._small: OrderedDict[int, int] = OrderedDict()
        self._main: OrderedDict[int, int] = OrderedDict()
        self._ghost: OrderedDict[int, int] = OrderedDict()
        self._used: dict[int, int] = {}
        self._in_small = self._in_main = self._in_ghost = 0

    def asked(self, key: int, size: int) -> bool:
        if key in self._used:
            self._used[key] = min(self._MOST, self._used[key] + 1)
            return True
        while self._in_small + self._in_main + size > self._bound:
            if self._in_small >= self._bound * self._SMALL or not self._main:
                self._evict_small()
            else:
                self._evict_main()
        self._used[key] = 0
        if key in self._ghost:
            self._in_ghost -= self._ghost.pop(key)
            self._main[key] = size
            self._in_main += size
        else:
            self._small[key] = size
            self._in_small += size
        return False

    def _evict_small(self) -> None:
        key, size = self._small.popitem(last=False)
        self._in_small -= size
        if self._used[key] > 0:
            self._used[key] = 0
            self._main[key] = size
            self._in_main += size
            return
        del self._used[key]
        self._ghost[key] = size
        self._in_ghost += size
        while self._in_ghost > self._bound * (1 - self._SMALL):
            self._in_ghost -= self._ghost.popitem(last=False)[1]

    def _evict_main(self) -> None:
        while self._main:
            key, size = self._main.popitem(last=False)
            if not self._used[key]:
                self._in_main -= size
                del self._used[key]
                return
            self._used[key] -= 1
            self._main[key] = size


@dataclass(slots=True)
class _Node:
    key: int
    size: int
    newer: _Node | None = None
    older: _Node | None = None
    used: bool = False


class Sieve:
    def __init__(self, bound: int) -> None:
        self._left = bound
        self._nodes: dict[int, _Node] = {}
        self._newest: _Node | None = None
        self._oldest: _Node | None = None
        self._hand: _Node | None = None

    def asked(self, key: int, size: int) -> bool:
        node = self._nodes.get(key)
        if node is not None:
            node.used = True
            return True
        self._left -= size
        while self._left < 0:
            self._evict()
        node = self._nodes[key] = _Node(key, size, older=self._newest)
        if self._newest is not None:
            self._newest.newer = node
        self._newest = node
        self._oldest = self._oldest or node
        return False

    def _evict(self) -> None:
        node = self._hand or self._oldest
        assert node is not None
        while node.used:
            node.used = False
            node = node.newer or self._oldest
            assert node is not None
        self._hand = node.newer
        if node.older is not None:
            node.older.newer = node.newer
        else:
            self._oldest = node.newer
        if node.newer is not None:
            node.newer.older = node.older
        else:
            self._newest = node.older
        del self._nodes[node.key]
        self._left += node.size


class Ours:
    """The memory store itself; what it counts beside the bytes of a body is given to it."""

    _HEAD = StoredResponse(200, Fields(), Body(b"", 0), (), 0.0, 0.0)
    _COUNTED = 708  # bytes of a key and of what a stored response costs

    def __init__(self, bound: int) -> None:
        self._store = MemoryStore(bound, bound, lambda: 0.0)

    def asked(self, key: int, size: int) -> bool:
        name = key.to_bytes(8, "big")
        if self._store.peek(name) is not None:
            return True
        self._store.put(name, self._HEAD, (_Bytes(max(0, size - self._COUNTED)),), 8)  # type: ignore[arg-type]
        return False


class _Bytes:
    """As many bytes, of which only the number is there."""

    __slots__ = ("_size",)

    def __init__(self, size: int) -> None:
        self._size = size

    def __len__(self) -> int:
        return self._size


POLICIES: dict[str, Callable[[int], Policy]] = {
    "LRU": Lru,
    "segmented LRU": SegmentedLru,
    "SIEVE": Sieve,
    "S3-FIFO": S3Fifo,
    "ours": Ours,
}


class Zipf:
    """Draws numbers below *count*, of which low ones are popular."""

    def __init__(self, count: int, steepness: float, chance: random.Random) -> None:
        self._sums = list(accumulate(1 / (rank**steepness) for rank in range(1, count + 1)))
        self._chance = chance

    def draw(self) -> int:
        return bisect.bisect_left(self._sums, self._chance.random() * self._sums[-1])


_KIB = 1024
_EVEN = 8 * _KIB


def _even(keys: Iterator[int]) -> Trace:
    return [(key, _EVEN) for key in keys]


def zipf(requests: int, objects: int, chance: random.Random, steepness: float) -> Trace:
    drawn = Zipf(objects, steepness, chance)
    return _even(drawn.draw() for _ in range(requests))


def scanned(requests: int, objects: int, chance: random.Random) -> Trace:
    """Zipf, and every now and then a run over a tenth of as many objects, each asked for once."""
    drawn, new = Zipf(objects, 0.9, chance), objects

    def keys() -> Iterator[int]:
        nonlocal new
        for number in range(requests):
            if number % objects < objects // 4:
                new += 1
                yield new
            else:
                yield drawn.draw()

    return _even(keys())


def looped(requests: int, objects: int, chance: random.Random) -> Trace:
    """Half by Zipf, half round and round over a fifth of the objects."""
    drawn = Zipf(objects, 0.9, chance)
    return _even(
        objects + number // 2 % (objects // 5) if number % 2 else drawn.draw()
        for number in range(requests)
    )


def mixed(requests: int, objects: int, chance: random.Random) -> Trace:
    """Zipf, sizes log-normal: from icons to films."""
    drawn = Zipf(objects, 0.9, chance)
    sizes = [max(200, min(4 << 20, int(chance.lognormvariate(9.0, 1.8)))) for _ in range(objects)]
    return [(key, sizes[key]) for key in (drawn.draw() for _ in range(requests))]


def moving(requests: int, objects: int, chance: random.Random) -> Trace:
    """Zipf over what is new: every object's time comes, and goes."""
    drawn = Zipf(objects // 3, 1.0, chance)
    return _even(drawn.draw() + number * objects // requests for number in range(requests))


def edge(requests: int, objects: int, chance: random.Random) -> Trace:
    """Half of all requests are for what nobody asks for again."""
    drawn, new = Zipf(objects, 0.8, chance), objects

    def keys() -> Iterator[int]:
        nonlocal new
        for _ in range(requests):
            if chance.random() < 0.5:
                new += 1
                yield new
            else:
                yield drawn.draw()

    return _even(keys())


TRACES: dict[str, Callable[[int, int, random.Random], Trace]] = {
    "Zipf 0.8": lambda a, b, c: zipf(a, b, c, 0.8),
    "Zipf 1.1": lambda a, b, c: zipf(a, b, c, 1.1),
    "Zipf 0.9 and scans": scanned,
    "Zipf 0.9 and a loop": looped,
    "Zipf 0.9, mixed sizes": mixed,
    "popularity that moves on": moving,
    "half of it one-hit": edge,
}
SHARES = (0.01, 0.1)  # of the bytes of all objects of a trace


@dataclass(frozen=True)
class Result:
    trace: str
    share: float
    hits: dict[str, float]  # policy -> share of requests


def play(trace: Trace, bound: int, policy: Callable[[int], Policy]) -> float:
    """The share of requests that hit, once a quarter of them has warmed the cache."""
    cache, warm, hits = policy(bound), len(trace) // 4, 0
    for at, (key, size) in enumerate(trace):
        if size <= bound // 10 and cache.asked(key, size) and at >= warm:
            hits += 1
    return hits / (len(trace) - warm)


def results(requests: int, objects: int, seed: int) -> Iterator[Result]:
    for name, make in TRACES.items():
        trace = make(requests, objects, random.Random(seed))
        total = sum(dict(trace).values())
        for share in SHARES:
            bound = int(total * share)
            hits = {one: play(trace, bound, policy) for one, policy in POLICIES.items()}
            yield Result(name, share, hits)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=300_000)
    parser.add_argument("--objects", type=int, default=30_000)
    parser.add_argument("--seed", type=int, default=1)
    said = parser.parse_args()
    print("| trace | cache | " + " | ".join(POLICIES) + " |")
    print("|---|---|" + "---|" * len(POLICIES))
    sums = dict.fromkeys(POLICIES, 0.0)
    count = 0
    for one in results(said.requests, said.objects, said.seed):
        count += 1
        for name, share in one.hits.items():
            sums[name] += share
        shown = " | ".join(f"{share:.1%}" for share in one.hits.values())
        print(f"| {one.trace} | {one.share:.0%} | {shown} |", flush=True)
    print("| mean | | " + " | ".join(f"{total / count:.1%}" for total in sums.values()) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
