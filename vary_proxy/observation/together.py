"""What all workers saw, as if there were one: the others are asked each time.

The blocked requests of all are joined by origin, reason and rule; all else is a sum, but for
the start, which is the oldest, and the last reload, which was good only if it was for all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from vary_proxy.observation.blocked import Blocked
from vary_proxy.observation.tally import REMEMBERED, Moment, Tally, Timed
from vary_proxy.store.base import StoreStats

if TYPE_CHECKING:
    from vary_proxy.observation.eyes import Eyes, Watchable

_COUNTED = ("requests", "vary", "cors", "preflights", "stores", "collapsed", "asked")
_TIMED = ("timed", "asked_timed")
_MOST_BLOCKED = 200


class Seen(msgspec.Struct):
    """As in a Tally, by the same names."""

    requests: dict[tuple[str, str, int, str], int]
    vary: dict[tuple[str, str], int]
    cors: dict[tuple[str, str, str], int]
    preflights: dict[tuple[str, str], int]
    stores: dict[tuple[str, str], int]
    collapsed: dict[str, int]
    asked: dict[tuple[str, str], int]
    timed: dict[tuple[str, str], Timed]
    asked_timed: dict[str, Timed]
    pairs: dict[str, dict[tuple[str, str], int]]
    history: list[Moment]
    blocked: list[Blocked]
    stats: StoreStats
    started: float
    reloaded: bool
    workers: int = 1


def own(app: Watchable, eyes: Eyes) -> Seen:
    """What this worker saw."""
    tally = eyes.tally or Tally()
    return Seen(
        **{name: getattr(tally, name) for name in (*_COUNTED, *_TIMED)},
        pairs={rule: dict(pairs) for rule, pairs in tally.pairs.items()},
        history=list(tally.history),
        blocked=eyes.blocked.top(_MOST_BLOCKED),
        stats=app.store.stats(),
        started=eyes.started,
        reloaded=app.last_reload_ok,
    )


async def everybody(app: Watchable, eyes: Eyes) -> Seen:
    """What all workers saw."""
    mine = own(app, eyes)
    if eyes.peers is None:
        return mine
    answers = await eyes.peers.ask("stats")
    return joined([mine, *(msgspec.msgpack.decode(one, type=Seen) for one in answers)])


def joined(several: list[Seen]) -> Seen:
    rules = {rule for one in several for rule in one.pairs}
    added: dict[str, Any] = {
        **{name: _sum(getattr(one, name) for one in several) for name in _COUNTED},
        **{name: _timed(getattr(one, name) for one in several) for name in _TIMED},
    }
    return Seen(
        **added,
        pairs={rule: _sum(one.pairs.get(rule, {}) for one in several) for rule in rules},
        history=_history(several),
        blocked=_blocked(several),
        stats=_stats([one.stats for one in several]),
        started=min(one.started for one in several),
        reloaded=all(one.reloaded for one in several),
        workers=sum(one.workers for one in several),
    )


def _stats(several: list[StoreStats]) -> StoreStats:
    return StoreStats(
        sum(one.bytes for one in several),
        sum(one.resources for one in several),
        sum(one.stored_responses for one in several),
        sum(one.evictions for one in several),
        all(one.available for one in several),
    )


def _sum(several: Iterable[Mapping[Any, int]]) -> dict[Any, int]:
    found: Counter[Any] = Counter()
    for one in several:
        found.update(one)
    return found


def _timed(several: Iterable[Mapping[Any, Timed]]) -> dict[Any, Timed]:
    found: dict[Any, Timed] = {}
    for one in several:
        for key, timed in one.items():
            into = found.setdefault(key, Timed())
            into.buckets = [a + b for a, b in zip(into.buckets, timed.buckets, strict=True)]
            into.seconds += timed.seconds
            into.bytes += timed.bytes
    return found


def _history(several: list[Seen]) -> list[Moment]:
    found: dict[int, Moment] = {}
    for moment in (moment for one in several for moment in one.history):
        into = found.setdefault(moment.second, Moment(moment.second))
        for name in ("requests", "from_cache", "errors", "blocked", "origin", "seconds", "bytes"):
            setattr(into, name, getattr(into, name) + getattr(moment, name))
    return sorted(found.values(), key=lambda moment: moment.second)[-REMEMBERED:]


def _blocked(several: list[Seen]) -> list[Blocked]:
    found: dict[tuple[str, str, str], Blocked] = {}
    for one in (one for seen in several for one in seen.blocked):
        key = (one.origin, one.reason, one.rule)
        into = found.setdefault(key, Blocked(*key))
        into.count += one.count
        if one.at >= into.at:
            into.method, into.path, into.at = one.method, one.path, one.at
    return sorted(found.values(), key=lambda one: -one.count)
