"""Purges: by URL, tag, prefix or pattern, or everything; soft (mark stale) or hard.

A URL is purged with all its variants, under every primary key that any rule could have stored
it under, unless fields of a request narrow it to the variants that such a request would get.
Without a host it is meant on every host. A shared store purges by tag, and everything, in
constant time, and so cannot count; a prefix or a pattern is looked for among all of its keys.

What is under way is grounded before and after: a response asked for before the purge reaches
those who wait for it, and is not stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, cast

import msgspec

from vary_proxy.core import keys
from vary_proxy.core.message import Fields, Request
from vary_proxy.core.policy import Policy
from vary_proxy.core.stored import Resource, StoredResponse
from vary_proxy.exchange import Exchange
from vary_proxy.fetches.asking import Ask
from vary_proxy.purges import what
from vary_proxy.purges.place import BadPurge, Place, glob, place, spellings, target_of
from vary_proxy.purges.what import Kind, Purge, Purged
from vary_proxy.store.base import Progress, Store
from vary_proxy.store.memory import MemoryStore
from vary_proxy.store.tags import tags_of

if TYPE_CHECKING:
    from vary_proxy.store.layered import LayeredStore
    from vary_proxy.workers.peers import Peers

__all__ = ("BadPurge", "Kind", "Purge", "Purged", "Purger", "place")

Matches = Callable[[bytes], bool]
Tell = Callable[[Progress], Awaitable[None]]
_AT_ONCE = 512  # resources, before others get their turn


async def _silent(progress: Progress) -> None:
    """Nobody wants to know."""


class Purger:
    """Purges *store*. *exchange* and *policies* give those in force, each time."""

    def __init__(
        self,
        store: Store,
        exchange: Callable[[], Exchange],
        policies: Callable[[], Iterable[Policy]],
    ) -> None:
        self._store = store
        # What is not in memory alone is shared; its module, and its clients, are imported then.
        self._shared = None if isinstance(store, MemoryStore) else cast("LayeredStore", store)
        self._exchange = exchange
        self._policies = policies
        self.peers: Peers | None = None  # the other workers

    async def run(self, purge: Purge, tell: Tell = _silent) -> Purged:
        """*tell* hears how far a purge has come that has to look at every resource.

        Raises BadPurge, and the store's Unsupported where it cannot list its keys.
        """
        purged = await self._here(purge, tell)
        if self.peers is None:
            return purged
        said, instead = what.said(purge), what.said(Purge("all", soft=purge.soft))
        if purge.dry_run:
            answers, missing = await self.peers.ask("purge", said), 0
        else:
            answers, missing = await self.peers.tell("purge", said, instead)
        told = [msgspec.msgpack.decode(one, type=Purged) for one in answers]
        return what.joined([purged, *told, Purged(done=not missing, missing=missing)])

    async def echo(self, said: bytes) -> bytes:
        """Do what another worker was asked to; what came of it."""
        purge = what.read(said)
        purged = Purged()
        if self._shared is None:
            purged = await self._here(purge)
        elif not purge.dry_run:  # the store is everybody's, what is under way is not
            self._exchange().forget(self._matching(purge))
        return msgspec.msgpack.encode(purged)

    async def _here(self, purge: Purge, tell: Tell = _silent) -> Purged:
        matches = self._matching(purge)
        if not purge.dry_run:
            self._exchange().forget(matches)
        try:
            return await self._run(purge, matches, tell)
        finally:
            if not purge.dry_run:
                self._exchange().forget(matches)

    async def found(self, url: str) -> list[tuple[bytes, Policy, Resource]]:
        """What is stored of *url*: primary key, the policy that it belongs to, the resource."""
        place_ = place(url)
        if place_.authority is None:
            raise BadPurge(f"{url!r} names no host; write http://host/path")
        known = self._keys(place_)
        loaded = [(key, policy, await self._store.load(key)) for key, policy in known.items()]
        return [(key, policy, one) for key, policy, one in loaded if one is not None]

    def _matching(self, purge: Purge) -> Matches:
        """Which primary keys *purge* may be about, as far as a key can tell."""
        match purge.kind:
            case "url":
                return self._url(place(purge.value))
            case "prefix":
                return place(purge.value).covers
            case "pattern":
                return glob(purge.value).covers
            case "tag" | "all":
                return _any

    def _url(self, place_: Place) -> Matches:
        if place_.authority is not None:
            return self._keys(place_).__contains__
        targets = set(map(target_of, self._keys(place_)))
        return lambda key: target_of(key) in targets

    def _keys(self, place_: Place) -> dict[bytes, Policy]:
        """Every primary key under which a rule could have stored this URL."""
        found: dict[bytes, Policy] = {}
        for scheme in (b"http", b"https"):
            for authority in spellings(place_, scheme):
                request = Request(b"GET", place_.target, Fields(), scheme, authority)
                for policy in self._policies():
                    if policy.cache.enabled:
                        found.setdefault(keys.primary_key(request, policy), policy)
        return found

    async def _run(self, purge: Purge, matches: Matches, tell: Tell) -> Purged:
        match purge.kind:
            case "url":
                return await self._purge_url(purge, matches, tell)
            case "prefix" | "pattern":
                return await self._scan(purge, matches, None, tell)
            case "tag":
                return await self._purge_tag(purge, tell)
            case "all":
                return await self._purge_all(purge, tell)

    async def _purge_url(self, purge: Purge, matches: Matches, tell: Tell) -> Purged:
        where = place(purge.value)
        if where.authority is None:
            if purge.fields.items:
                raise BadPurge("fields narrow the purge of one URL; write it with its host")
            return await self._scan(purge, matches, None, tell)
        resources = responses = 0
        done = True
        for key, policy in self._keys(where).items():
            if purge.fields.items:
                count = await self._narrowed(key, policy, purge)
            else:
                count = await self._purge_key(key, purge)
            resources += count > 0
            responses += count
            done = done and (purge.dry_run or not self._is_owed(key))
        return Purged(resources, responses, done)

    def _is_owed(self, key: bytes) -> bool:
        return self._shared is not None and self._shared.shared.debts.cover(key)

    async def _purge_key(self, key: bytes, purge: Purge) -> int:
        if purge.dry_run:
            resource = await self._store.load(key)
            return 0 if resource is None else len(resource.variants)
        return await self._store.purge(key, soft=purge.soft)

    async def _narrowed(self, key: bytes, policy: Policy, purge: Purge) -> int:
        """Purge the variants that a request with these fields would get.

        While a shared store cannot be asked which these are, all of the resource.
        """
        resource = await self._store.load(key)
        away = self._shared is not None and not self._shared.shared.breaker.readable
        if resource is None and away and not purge.dry_run:
            return await self._store.purge(key, soft=purge.soft)
        variants = () if resource is None else resource.variants
        named = purge.fields.names()
        ask = Ask(Request(b"GET", b"/", purge.fields), policy, key, (), trusted=False)
        found = [one for one in variants if _fits(one, ask, named)]
        for one in () if purge.dry_run else found:
            await self._store.purge_one(key, one, soft=purge.soft)
        return len(found)

    async def _purge_tag(self, purge: Purge, tell: Tell) -> Purged:
        tag = purge.value.encode()
        if not tag:
            raise BadPurge("a tag is empty")
        if self._shared is not None:
            _refuse_dry_run(purge)
            done = await self._shared.purge_tag(tag, soft=purge.soft)
            return Purged(None, None, done)
        return await self._scan(purge, _any, tag, tell)

    async def _purge_all(self, purge: Purge, tell: Tell) -> Purged:
        if self._shared is not None:
            _refuse_dry_run(purge)
            return Purged(None, None, await self._shared.purge_all(soft=purge.soft))
        if purge.soft or purge.dry_run:
            return await self._scan(purge, _any, None, tell)
        resources = self._store.stats().resources
        return Purged(resources, await self._store.clear())

    async def _scan(self, purge: Purge, matches: Matches, tag: bytes | None, tell: Tell) -> Purged:
        resources = responses = 0
        if self._shared is not None:
            async for progress in self._shared.purge_matching(
                matches, soft=purge.soft, dry_run=purge.dry_run
            ):
                resources = progress.purged
                await tell(progress)
            return Purged(resources, None)
        assert isinstance(self._store, MemoryStore)
        keys = self._store.keys()
        for at, key in enumerate(keys, 1):
            if at % _AT_ONCE == 0:
                await asyncio.sleep(0)  # others get their turn
                await tell(Progress(at, resources, at / len(keys)))
            resource = self._store.look(key) if matches(key) else None
            if resource is None:
                continue
            found = [one for one in resource.variants if tag is None or tag in tags_of(one.fields)]
            for one in () if purge.dry_run else found:
                await self._store.purge_one(key, one, soft=purge.soft)
            resources += bool(found)
            responses += len(found)
        return Purged(resources, responses)


def _any(key: bytes) -> bool:
    return True


def _refuse_dry_run(purge: Purge) -> None:
    if purge.dry_run:
        raise BadPurge(
            f"a shared store purges by {purge.kind} without looking at what it holds; "
            "a dry run shows a URL, a prefix or a pattern"
        )


def _fits(stored: StoredResponse, ask: Ask, named: frozenset[bytes]) -> bool:
    """True when nothing that is *named* tells *stored* from what the request asks for."""
    known = {name: value for name, value in stored.selecting if name in named}
    return dict(ask.select(tuple(known))) == known
