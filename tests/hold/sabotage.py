"""Faults put into the product on purpose: the checker is worth what it finds of them.

    python -m tests.hold.sabotage [NAME…] [--answers 3000] [--seeds 4]

Each takes the place of one function, as a slip of somebody's hand might. For each it is told
after how many answers the checker said what was wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests.hold.realms import Sort, judged
from tests.hold.verdicts import Wrong
from tests.store.servers import RedisServer, running
from vary_proxy.core import blocks
from vary_proxy.core.directives import RequestDirectives
from vary_proxy.core.policy import CorsMode
from vary_proxy.core.ranges import Span

CALM = Sort()
FAULTY = Sort(faults=0.08)
LONG_WAY = Sort(fast=False)
LARGE = Sort(large=0.6)
TWO = Sort(store="redis", proxies=2)
Make = Callable[[Any], Any]


@dataclass(frozen=True)
class Sabotage:
    """*make* makes another of what is at *where*, a dotted path."""

    name: str
    where: str
    make: Make
    sort: Sort = CALM


class NotSeen(Exception):
    """The checker judged so many answers, and found nothing wrong."""


def always(value: Any) -> Make:
    return lambda original: lambda *args, **more: value


def never_awaited(value: Any) -> Make:
    async def instead(*args: Any, **more: Any) -> Any:
        return value

    return lambda original: instead


def _without_host(original: Any) -> Any:
    return lambda request, policy: original(replace(request, authority=b"one.example"), policy)


def _one_less(original: Any) -> Any:
    def resolve(wanted: Any, total: int) -> Any:
        spans = original(wanted, total)
        return tuple(Span(one.start, max(one.start + 1, one.stop - 1)) for one in spans)

    return resolve


def _one_later(original: Any) -> Any:
    """The same Content-Range, and the bytes beside it."""

    def chunks(store: Any, key: bytes, body: Any, start: int, stop: int) -> Any:
        off = start > 0 and stop < body.length
        return original(store, key, body, start + off, stop + off)

    return chunks


def _twice(original: Any) -> Any:
    def lifetime(*args: Any) -> Any:
        found = original(*args)
        return None if found is None else 2 * found

    return lifetime


def _frozen(original: Any) -> Any:
    return lambda stored, now: 0.0


def _unless(reason: str) -> Make:
    """Storable all the same, were it only for *reason*."""

    def make(original: Any) -> Any:
        def by_response(*args: Any) -> str:
            found: str = original(*args)
            return "" if found == reason else found

        return by_response

    return make


def _first_alone(original: Any) -> Any:
    return lambda *args: original(*args)[:1]


def _last(original: Any) -> Any:
    return lambda head, candidates: candidates[-1] if candidates else None


def _blind_to(name: bytes) -> Make:
    """*name* selects nothing."""

    def make(original: Any) -> Any:
        def select(names: Any, *args: Any, **more: Any) -> Any:
            return original(tuple(one for one in names if one != name), *args, **more)

        return select

    return make


def _no_such_field(name: bytes) -> Make:
    def make(original: Any) -> Any:
        def received(policy: Any, fields: Any) -> Any:
            return original(policy, fields).without({name})

        return received

    return make


def _lost(original: Any) -> Any:
    """Every fourth reader's second chunk."""
    turns = iter(range(1 << 30))

    async def anext_(reader: Any) -> Any:
        chunk = await original(reader)
        if reader.index == 2 and next(turns) % 4 == 0:
            return await original(reader)
        return chunk

    return anext_


def _unseen_cut(original: Any) -> Any:
    """A body that ends too early is a body."""

    async def chunks(response: Any) -> AsyncIterator[bytes]:
        from vary_proxy.origin import OriginFailure

        try:
            async for chunk in original(response):
                yield chunk
        except OriginFailure:
            return

    return chunks


def _as_whole(original: Any) -> Any:
    from vary_proxy.core.storing import Storable

    def judge(request: Any, response: Any, *args: Any, **more: Any) -> Any:
        verdict = original(request, response, *args, **more)
        return replace(verdict, part=None) if isinstance(verdict, Storable) else verdict

    return judge


def _only_read(original: Any) -> Any:
    """A 206 is what it says it is not."""
    return lambda *args, **more: None


def _head_too(original: Any) -> Any:
    async def received(fetcher: Any, ask: Any, *args: Any) -> Any:
        return await original(
            fetcher, replace(ask, request=replace(ask.request, method=b"GET")), *args
        )

    return received


def _asked_nothing(original: Any) -> Any:
    return lambda fields: RequestDirectives()


def _passed_on(original: Any) -> Any:
    return lambda mode, *args: original(CorsMode.PASSTHROUGH, *args)


def _anybody(original: Any) -> Any:
    """Whoever waited for another's answer takes it."""
    from vary_proxy.flights import Landed

    async def ride(riding: Any, ask: Any, name: bytes) -> Any:
        flight = riding._flights.find(name)
        if flight is None or flight.landing.done():
            return await original(riding, ask, name)
        await asyncio.wait((flight.landing,))
        landing = None if flight.landing.cancelled() else flight.landing.result()
        return landing if isinstance(landing, Landed) and landing.spool.joinable else None

    return ride


def _next_block(original: Any) -> Any:
    """Where there is one more, the block behind."""

    async def read(held: Any, key: bytes, body: Any, numbers: range) -> Any:
        behind = range(numbers.start + 1, min(numbers.stop + 1, blocks.count(body.length)))
        found = await original(held, key, body, behind)
        return found or await original(held, key, body, numbers)

    return read


def _deaf(original: Any) -> Any:
    return lambda store, kind, subject: None


def _not_marked(original: Any) -> Any:
    return lambda stored: stored


def _another_length(original: Any) -> Any:
    def place(number: int, total: int) -> Any:
        span = original(number, total)
        return span if number == 0 else Span(span.start - 1, span.stop - 1)

    return place


def _without_end(original: Any) -> Any:
    return lambda *args, **more: 1e9


_FRESH = "vary_proxy.core.freshness."
_STORING = "vary_proxy.core.storing."
TABLE = (
    Sabotage("the key without the host", "vary_proxy.core.keys.primary_key", _without_host),
    Sabotage("every variant matches", "vary_proxy.core.keys.matches", always(True)),
    Sabotage("Origin does not select", "vary_proxy.core.keys.select", _blind_to(b"origin")),
    Sabotage("Accept-Encoding does not select", "vary_proxy.core.keys.select",
             _blind_to(b"accept-encoding")),
    Sabotage("Accept-Language does not select", "vary_proxy.core.keys.select",
             _blind_to(b"accept-language"), LONG_WAY),
    Sabotage("Vary is lost on its way", "vary_proxy.core.edge.received", _no_such_field(b"vary")),
    Sabotage("Authorization is shared", _STORING + "shares_authorized", always(True)),
    Sabotage("Set-Cookie is stored", _STORING + "_by_response", _unless("set-cookie")),
    Sabotage("private is stored", _STORING + "_by_response", _unless("private")),
    Sabotage("no-store is stored", _STORING + "_by_response", _unless("no-store")),
    Sabotage("a part is stored as the whole", _STORING + "judge", _as_whole),
    Sabotage("purges do nothing", "vary_proxy.store.memory.MemoryStore.purge", never_awaited(0)),
    Sabotage("soft purges mark nothing", "vary_proxy.core.stored.StoredResponse.marked_stale",
             _not_marked),
    Sabotage("tags are not read", "vary_proxy.purges.purging.tags_of", always(())),
    Sabotage("prefixes cover nothing", "vary_proxy.purges.place.Place.covers", always(False)),
    Sabotage("patterns cover nothing", "vary_proxy.purges.place.Glob.covers", always(False)),
    Sabotage("unsafe methods invalidate nothing", "vary_proxy.core.invalidation.targets",
             always(())),
    Sabotage("Location invalidates nothing", "vary_proxy.core.invalidation.targets", _first_alone),
    Sabotage("what is under way survives a change", "vary_proxy.flights.Flights.ground",
             always(None)),
    Sabotage("notices are not heard", "vary_proxy.store.layered.LayeredStore.heard", _deaf, TWO),
    Sabotage("ranges end a byte early", "vary_proxy.core.ranges.resolve", _one_less),
    Sabotage("pieces are a byte late", "vary_proxy.store.memory.MemoryStore.chunks", _one_later),
    Sabotage("If-Range is ignored", "vary_proxy.core.ranges.if_range_holds", always(True)),
    Sabotage("blocks of another validator", "vary_proxy.fetches.sowing._same_bytes",
             always(True), LARGE),
    Sabotage("blocks in another order", "vary_proxy.store.memoryblocks.MemoryBlocks.read",
             _next_block, LARGE),
    Sabotage("a block is a byte early", "vary_proxy.core.blocks.place", _another_length, LARGE),
    Sabotage("another's range of the same blocks", "vary_proxy.fetches.asking.is_its_part",
             always(True), LARGE),
    Sabotage("lifetimes are doubled", _FRESH + "stored_lifetime", _twice),
    Sabotage("must-revalidate is ignored", _FRESH + "forbids_stale", always(False), FAULTY),
    Sabotage("no-cache is ignored", "vary_proxy.core.reuse._must_ask", always(False), FAULTY),
    Sabotage("stale-while-revalidate has no end", _FRESH + "revalidate_window", _without_end),
    Sabotage("stale-if-error has no end", _FRESH + "error_window", _without_end, FAULTY),
    Sabotage("Age does not grow", _FRESH + "current_age", _frozen),
    Sabotage("the request asks for nothing", "vary_proxy.core.reuse.of_request", _asked_nothing),
    Sabotage("a 304 is about the last that was asked about",
             "vary_proxy.core.validation.identified", _last),
    Sabotage("CORS fields come from a sibling", "vary_proxy.core.validation.is_of_the_requester",
             always(False)),
    Sabotage("an override only passes on", "vary_proxy.core.edge.apply", _passed_on),
    Sabotage("everything is as the client has it", "vary_proxy.core.validation.has_already",
             always(True)),
    Sabotage("HEAD is stored as GET", "vary_proxy.fetches.fetching.Fetcher._received", _head_too),
    Sabotage("riders take what does not fit", "vary_proxy.fetches.riding.Riding._ride", _anybody),
    Sabotage("a chunk is lost", "vary_proxy.fetches.spool.SpoolReader.__anext__", _lost),
    Sabotage("a counted body that breaks off is whole",
             "vary_proxy.origins.httpresponse.HttpResponse._counted", _unseen_cut, FAULTY),
    Sabotage("a chunked body that breaks off is whole",
             "vary_proxy.origins.httpresponse.HttpResponse._chunked", _unseen_cut, FAULTY),
    Sabotage("a body that ends with its connection is whole",
             "vary_proxy.origins.httpresponse.HttpResponse._until_end", _unseen_cut, FAULTY),
    Sabotage("kept preflights are everybody's",
             "vary_proxy.core.preflight.preflight_key", always(())),
)  # fmt: skip
_QUICK = {
    "the key without the host",
    "purges do nothing",
    "unsafe methods invalidate nothing",
    "Set-Cookie is stored",
    "Age does not grow",
    "ranges end a byte early",
}
QUICK = tuple(one for one in TABLE if one.name in _QUICK)


async def seen(
    sabotage: Sabotage, server: RedisServer, answers: int, seeds: range
) -> tuple[int, Wrong]:
    """After how many answers it was found, and how. Raises NotSeen."""
    where, _, name = sabotage.where.rpartition(".")
    owner = _found(where)
    made = sabotage.make(getattr(owner, name))
    count = 0
    with tempfile.TemporaryDirectory() as directory, patch.object(owner, name, made):
        for seed in seeds:
            try:
                await judged(sabotage.sort, answers, seed, server, Path(directory))
            except (Wrong, BaseExceptionGroup) as failure:
                wrong = _first_wrong(failure)
                if wrong is None:
                    raise
                return count + wrong.judged, wrong
            count += answers
    raise NotSeen(f"{sabotage.name}: not in {count} answers")


def _first_wrong(failure: BaseException) -> Wrong | None:
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure if isinstance(failure, Wrong) else None


def _found(path: str) -> Any:
    try:
        return import_module(path)
    except ModuleNotFoundError:
        module, _, name = path.rpartition(".")
        return getattr(import_module(module), name)


async def report(names: list[str], answers: int, seeds: range) -> int:
    missed = 0
    with (
        tempfile.TemporaryDirectory() as directory,
        running(RedisServer(Path(directory))) as server,
    ):
        for one in TABLE:
            if names and one.name not in names:
                continue
            try:
                count, wrong = await seen(one, server, answers, seeds)
                print(f"{count:>6} answers  {one.name}: {str(wrong)[:90]}", flush=True)
            except NotSeen:
                missed += 1
                print(f"  NEVER in {answers * len(seeds)}  {one.name}", flush=True)
    return missed


if __name__ == "__main__":
    options = argparse.ArgumentParser(description="faults on purpose, and when they are seen")
    options.add_argument("names", nargs="*")
    options.add_argument("--answers", type=int, default=3000, help="in one realm")
    options.add_argument("--seeds", type=int, default=4, help="realms, until it must be seen")
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    logging.disable(logging.CRITICAL)
    last = chosen.seed + chosen.seeds
    sys.exit(asyncio.run(report(chosen.names, chosen.answers, range(chosen.seed, last))) > 0)
