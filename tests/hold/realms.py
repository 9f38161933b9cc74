"""Realms of every kind, with the proxies in them: one, two on one Redis, one with workers."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

from redis.exceptions import RedisError

from tests.hold import troubles
from tests.hold.callers import BLOCK, Callers, Door
from tests.hold.pages import Page, pages
from tests.hold.realm import Realm
from tests.hold.worlds import CONFIG, Front, Origin, front
from tests.ports import free_ports
from tests.store.servers import RedisServer
from vary_proxy.purges.purging import Kind as PurgeKind
from vary_proxy.purges.purging import Purge
from vary_proxy.store.base import StoreUnavailable

CLIENTS = 24
PAGES = 80
TIMES = "timeouts: {first_byte: 200ms, idle: 500ms}"
_numbers = itertools.count()
_CACHE = "cache: {stale_if_error: 15s}"
POLICIES = """\
cors:
  app: {origins: ["https://a.example", "https://b.example"], credentials: true,
        methods: [GET, HEAD, PUT], headers: [Content-Type, Range]}
  public: {origins: "*", methods: [GET, HEAD, PUT], headers: [Content-Type, Range]}
"""
RULES = """\
rules:
  - {name: o, match: {path: "/o/**"}, cors: {policy: app, mode: override}, preflight: synthesize,
     cache: {stale_if_error: 15s}}
  - {name: v, match: {path: "/v/**"}, cors: {policy: public, mode: override},
     preflight: synthesize,
     cache: {stale_if_error: 15s, key: {origin: verdict, query: {ignore: [_ctx]}}}}
  - {name: c, match: {path: "/c/**"}, preflight: cache, cache: {stale_if_error: 15s}}
  - {name: p, match: {path: "/p/**"}, cache: {stale_if_error: 15s}}
"""
TEXT = POLICIES + RULES
RELOADS = (
    {"rules": TEXT + '  - {name: elsewhere, match: {path: "/elsewhere/**"}, cache: off}\n'},
    {"rules": TEXT + '  - {name: x, match: {path: "/x/**", headers: {X-A: b}}, cache: off}\n'},
    {"origin": "timeouts: {first_byte: 250ms, idle: 500ms}"},  # its connections are new ones
    {"server": "timeouts: {idle: 30s}"},
)


@dataclass(frozen=True)
class Sort:
    """Of a realm: its lane, its store, how often the origin fails, and what else does."""

    fast: bool = True
    store: str = "memory"  # memory | redis | redis alone
    proxies: int = 1  # on one store
    workers: int = 0  # of a proxy that runs as a command, on the machine's clock
    faults: float = 0.0
    clock: bool = False
    reloads: bool = False
    breaks: bool = False  # Redis does, or workers are killed
    large: float = 0.1  # of all pages, those of several blocks

    def __str__(self) -> str:
        lane = (
            f"{self.workers} workers" if self.workers else ("fast lane", "long way")[not self.fast]
        )
        many = f"{self.proxies} proxies, " if self.proxies > 1 else ""
        weather = "all goes wrong" if self.breaks else "faults" if self.faults else "calm"
        weather += ", large" if self.large > 0.5 else ""
        jumps = ", clocks jump" if self.clock else ""
        return f"{many}{lane}, {self.store}, {weather}{jumps}"


SORTS = [
    *(Sort(fast, store, faults=faults) for store in ("memory", "redis", "redis alone")
      for fast in (True, False) for faults in (0.0, 0.06)),
    *(Sort(fast, "memory", faults=0.05, clock=True, reloads=True) for fast in (True, False)),
    *(Sort(fast, "redis", faults=0.05, clock=True, reloads=True, breaks=True)
      for fast in (True, False)),
    *(Sort(True, store, 2, faults=faults) for store in ("redis", "redis alone")
      for faults in (0.0, 0.06)),
    Sort(True, "redis", 2, faults=0.05, reloads=True, breaks=True),
    *(Sort(True, store, proxies, workers, faults=0.04, breaks=breaks)
      for store, proxies, workers in (("memory", 1, 2), ("redis", 1, 2), ("redis", 2, 1))
      for breaks in (False, True)),
    *(Sort(True, store, proxies, faults=faults, large=0.6)
      for store, proxies in (("memory", 1), ("redis", 2)) for faults in (0.0, 0.05)),
]  # fmt: skip


def store_of(sort: Sort, server: RedisServer) -> str:
    if sort.store == "memory":
        return "{type: memory, memory: {max: 4MiB}}"
    patience = "300ms" if sort.breaks and not sort.workers else "5s"  # on a busy machine
    where = f'type: redis, url: "{server.url}", namespace: realm{next(_numbers)}'
    memory = (
        "{max: 0, max_object: 0}"
        if sort.store == "redis alone"
        else "{max: 2MiB, max_object: 64KiB}"
    )
    return f"{{{where}, timeout: {patience}, memory: {memory}}}"


def realm_of(sort: Sort, seed: int) -> Realm:
    dice = random.Random(seed)
    # Workers tell each other before they answer, and one store is the same for all who ask it.
    # Its notices take a moment on a busy machine; while it is away, that while.
    told = sort.store != "redis"
    grace = 0.0 if told else 8.0 if sort.breaks else 1.5
    speed = 1.0 if sort.workers else 20.0
    return Realm(
        pages(PAGES, dice, sort.large),
        dice,
        sort.faults,
        speed=speed,
        grace=grace,
        dated=not sort.clock,
    )


async def judged(sort: Sort, answers: int, seed: int, server: RedisServer, where: Path) -> Realm:
    """A realm in which *answers* were judged, or more, until all has happened that is to happen
    in it. Raises Wrong at the first that is wrong.
    """
    realm = realm_of(sort, seed)
    callers = Callers(realm, losable=sort.workers > 0 and sort.breaks)
    opened = _outside(sort, realm, server, where) if sort.workers else _inside(sort, realm, server)
    async with (
        opened as (doors, purge, lives),
        troubles.during(realm.live(), purges(callers, doors, purge), races(callers, doors), *lives),
    ):
        await ask(callers, doors, answers)
        while not _has_happened(sort, realm):
            await ask(callers, doors, CLIENTS)
    return realm


def _has_happened(sort: Sort, realm: Realm) -> bool:
    seen = realm.seen
    purged = sort.workers > 0 or any(name.startswith("purged by") for name in seen)
    jumped = not sort.clock or seen["clock jumps"] > 0
    reloaded = not sort.reloads or seen["reloads"] > 0
    return purged and jumped and reloaded and {"200", "206", "304"} <= set(seen)


async def ask(callers: Callers, doors: list[Door], answers: int) -> None:
    each = answers // CLIENTS + 1
    async with asyncio.TaskGroup() as group:
        for _ in range(CLIENTS):
            group.create_task(callers.call(doors, each))


Purging = Callable[[PurgeKind, str, bool], Awaitable[tuple[bool, object]]]
Lives = list[Coroutine[object, object, None]]
Opened = tuple[list[Door], Purging, Lives]
EVERYWHERE = object()


async def purges(callers: Callers, doors: list[Door], purge: Purging) -> None:
    """Content changes behind the proxy's back, and an operator says so: asked before and after."""
    realm, dice = callers.realm, callers.realm.dice
    while True:
        await asyncio.sleep(dice.uniform(0.02, 0.15))
        page, door = callers.drawn(), dice.choice(doors)
        for _ in range(2):
            await callers.plainly(door, page)
        version = realm.change(page)
        kind, value = _named(page, dice)
        soft = dice.random() < 0.3
        done, lane = await purge(kind, value, soft)
        realm.seen[f"purged by {kind}"] += 1
        if not done:
            continue
        told = (realm.softly if soft else realm.told)[page.host, page.target]
        if lane is EVERYWHERE:
            told.everywhere = max(told.everywhere, version)
        told.tell(version, lane)
        await callers.plainly(door, page)


async def races(callers: Callers, doors: list[Door]) -> None:
    """What is under way when it is changed: it is late, and the change is answered before it."""
    realm, dice = callers.realm, callers.realm.dice
    while True:
        await asyncio.sleep(dice.uniform(0.05, 0.3))
        page = callers.drawn()
        key = (page.host, page.target)
        first, other = dice.choice(doors), dice.choice(doors)
        method = dice.choice((b"GET", b"GET", b"POST"))
        await callers.plainly(other, page, b"PUT")
        realm.slow.add(key)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(callers.plainly(first, page, method))
                await asyncio.sleep(dice.uniform(0.005, 0.05))
                await callers.plainly(other, page, b"PUT")
        finally:
            realm.slow.discard(key)
        for door in (first, other):
            await callers.plainly(door, page)


async def crowds(callers: Callers, doors: list[Door]) -> None:
    """Several at once who want the same, or ranges of it, when it is not there."""
    dice = callers.realm.dice
    large = [page for page in callers.realm.pages if page.size > BLOCK]
    while True:
        await asyncio.sleep(dice.uniform(0.02, 0.2))
        page = dice.choice(large) if large and dice.random() < 0.6 else callers.drawn()
        await callers.plainly(dice.choice(doors), page, b"PUT")
        block = dice.randrange(page.size // BLOCK + 1) if dice.random() < 0.8 else None
        async with asyncio.TaskGroup() as group:
            for _ in range(dice.randrange(2, 9)):
                door = dice.choice(doors)
                group.create_task(callers.plainly(door, page, block=block))


def _named(page: Page, dice: random.Random) -> tuple[PurgeKind, str]:
    target, host = page.target.decode(), page.host.decode()
    named: list[tuple[PurgeKind, str]] = [
        ("url", f"http://{host}{target}"),
        ("url", f"http://{host}{target}"),
        ("url", target),
        ("tag", f"n{page.number}"),
        ("tag", f"n{page.number}"),
        ("prefix", f"http://{host}{target[:-4]}"),
        ("prefix", target[:-2]),
        ("pattern", f"/*/{page.number}.bin"),
        ("pattern", f"http://{host}/{page.rule}/{page.number}.*"),
    ]
    return dice.choice(named)


@contextlib.asynccontextmanager
async def _inside(sort: Sort, realm: Realm, server: RedisServer) -> AsyncIterator[Opened]:
    async with inside(sort, realm, store_of(sort, server)) as (doors, purge):
        yield [*doors], purge, _troubles(sort, doors, realm, server)


@contextlib.asynccontextmanager
async def inside(
    sort: Sort, realm: Realm, store: str
) -> AsyncIterator[tuple[list[Front], Purging]]:
    """Proxies in this process, on *store* (YAML) and a clock that the realm moves."""
    times = TIMES if sort.faults else ""
    origin = Origin()
    origin.on_connection = realm.connection
    await origin.start()
    try:
        async with contextlib.AsyncExitStack() as stack:
            doors = [
                await stack.enter_async_context(
                    front(fast=sort.fast, store=store, origin=times, clock=realm.clock, rules=TEXT,
                          reloads=RELOADS, shared=origin)
                )
                for _ in range(sort.proxies)
            ]  # fmt: skip

            async def purge(kind: PurgeKind, value: str, soft: bool) -> tuple[bool, object]:
                door = realm.dice.choice(doors)
                try:
                    purged = await door.app.purger.run(Purge(kind, value, soft=soft))
                except (StoreUnavailable, RedisError):
                    return False, door.lane
                return purged.done, door.lane

            yield doors, purge
    finally:
        await origin.stop()


def _troubles(sort: Sort, doors: list[Front], realm: Realm, server: RedisServer) -> Lives:
    lives: Lives = []
    if sort.clock:
        lives.append(troubles.clock_jumps(realm))
    if sort.reloads:
        lives += [troubles.reloads(door, realm) for door in doors]
    if sort.breaks:
        lives.append(troubles.redis_troubles(server, realm))
    return lives


@contextlib.asynccontextmanager
async def _outside(
    sort: Sort, realm: Realm, server: RedisServer, where: Path
) -> AsyncIterator[Opened]:
    """The command itself, on the machine's clock: as many as there are proxies."""
    origin = Origin()
    origin.on_connection = realm.connection
    await origin.start()
    store = store_of(sort, server)
    ports = free_ports(sort.proxies)
    try:
        async with contextlib.AsyncExitStack() as stack:
            doors = []
            for port in ports:
                text = CONFIG.format(
                    at="127.0.0.1", port=origin.port, host="preserve", trusted="[]",
                    server=", drain: {delay: 0s}", origin=", " + TIMES, store=store,
                    rules=TEXT + "probes: {address: '127.0.0.1:0'}\n"
                    f"admin: {{address: '127.0.0.1:{port}'}}",
                )  # fmt: skip
                path = where / f"realm-{port}.yaml"
                opened = troubles.outside(path, text, sort.workers)
                doors.append(await stack.enter_async_context(opened))
                if sort.workers == 1:
                    doors[-1].lane = object()

            async def purge(kind: PurgeKind, value: str, soft: bool) -> tuple[bool, object]:
                at = realm.dice.randrange(len(ports))
                done = await asyncio.to_thread(_post, ports[at], {kind: value, "soft": soft})
                alone = sort.store == "memory"
                return done, EVERYWHERE if alone else doors[at].lane

            yield [*doors], purge, _kills(sort, doors, realm)
    finally:
        await origin.stop()


def _kills(sort: Sort, doors: list[troubles.Outside], realm: Realm) -> Lives:
    if not sort.breaks:
        return []
    lacking = realm.lacking.append
    return [troubles.worker_kills(door, realm, lacking) for door in doors if sort.workers > 1]


def _post(port: int, body: dict[str, object]) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        fields = {"Content-Type": "application/json"}
        connection.request("POST", "/purge", json.dumps(body), fields)
        answer = connection.getresponse()
        told = json.loads(answer.read())
        assert answer.status in (200, 503), told
        return answer.status == 200 and bool(told["done"])
    except OSError:  # the process that has the listener was killed
        return False
    finally:
        connection.close()
