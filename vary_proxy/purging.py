"""Purges: by URL, by tag, by prefix, or everything; soft (mark stale) or hard.

A URL is purged with all its variants, under every primary key that any rule could have stored
it under, unless fields of a request narrow it to the variants that such a request would get.
Without a host it is meant on every host. A shared store purges by tag, and everything, in
constant time, and so cannot count; a prefix is looked for among all of its keys.

What is under way is grounded before and after: a response asked for before the purge reaches
those who wait for it, and is not stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

import msgspec

from vary_proxy.asking import Ask
from vary_proxy.core import keys
from vary_proxy.core.message import Fields, Request
from vary_proxy.core.policy import Policy
from vary_proxy.core.stored import Resource, StoredResponse
from vary_proxy.exchange import Exchange
from vary_proxy.place import BadPurge, Place, place, spellings, target_of
from vary_proxy.store.base import Store
from vary_proxy.store.memory import MemoryStore
from vary_proxy.store.tags import tags_of

if TYPE_CHECKING:
    from vary_proxy.store.layered import LayeredStore

__all__ = ("BadPurge", "Kind", "Purge", "Purged", "Purger", "place")

Kind = Literal["url", "tag", "prefix", "all"]
Matches = Callable[[bytes], bool]
_AT_ONCE = 512  # resources, before others get their turn
_NONE = Fields()


@dataclass(frozen=True, slots=True)
class Purge:
    """What is to go. ``value`` is a URL, a tag or a prefix of URLs; ``fields`` narrow a URL."""

    kind: Kind
    value: str = ""
    fields: Fields = _NONE
    soft: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Purged:
    """What went, or would go; None: not counted. ``done`` False: the shared store is away,
    and the purge is made up for when it is back.
    """

    resources: int | None = 0
    stored_responses: int | None = 0
    done: bool = True


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
        self.ask: Callable[[str, bytes], Awaitable[list[bytes]]] | None = None  # other workers

    async def run(self, purge: Purge) -> Purged:
        """Raises BadPurge, and the store's Unsupported where it cannot list its keys."""
        purged = await self._here(purge)
        if self.ask is None:
            return purged
        answers = await self.ask("purge", msgspec.msgpack.encode(purge))
        return _joined([purged, *(msgspec.msgpack.decode(one, type=Purged) for one in answers)])

    async def echo(self, said: bytes) -> bytes:
        """Do what another worker was asked to; what came of it."""
        purge = msgspec.msgpack.decode(said, type=Purge)
        purged = Purged()
        if self._shared is None:
            purged = await self._here(purge)
        elif not purge.dry_run:  # the store is everybody's, what is under way is not
            self._exchange().forget(self._matching(purge))
        return msgspec.msgpack.encode(purged)

    async def _here(self, purge: Purge) -> Purged:
        matches = self._matching(purge)
        if not purge.dry_run:
            self._exchange().forget(matches)
        try:
            return await self._run(purge, matches)
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

    async def _run(self, purge: Purge, matches: Matches) -> Purged:
        match purge.kind:
            case "url":
                return await self._purge_url(purge, matches)
            case "prefix":
                return await self._scan(purge, matches, None)
            case "tag":
                return await self._purge_tag(purge)
            case "all":
                return await self._purge_all(purge)

    async def _purge_url(self, purge: Purge, matches: Matches) -> Purged:
        where = place(purge.value)
        if where.authority is None:
            if purge.fields.items:
                raise BadPurge("fields narrow the purge of one URL; write it with its host")
            return await self._scan(purge, matches, None)
        resources = responses = 0
        for key, policy in self._keys(where).items():
            if purge.fields.items:
                count = await self._narrowed(key, policy, purge)
            else:
                count = await self._purge_key(key, purge)
            resources += count > 0
            responses += count
        return Purged(resources, responses)

    async def _purge_key(self, key: bytes, purge: Purge) -> int:
        if purge.dry_run:
            resource = await self._store.load(key)
            return 0 if resource is None else len(resource.variants)
        return await self._store.purge(key, soft=purge.soft)

    async def _narrowed(self, key: bytes, policy: Policy, purge: Purge) -> int:
        """Purge the variants that a request with these fields would get."""
        resource = await self._store.load(key)
        variants = () if resource is None else resource.variants
        named = purge.fields.names()
        ask = Ask(Request(b"GET", b"/", purge.fields), policy, key, (), trusted=False)
        found = [one for one in variants if _fits(one, ask, named)]
        for one in () if purge.dry_run else found:
            await self._take(key, one, soft=purge.soft)
        return len(found)

    async def _take(self, key: bytes, stored: StoredResponse, *, soft: bool) -> None:
        if soft:
            await self._store.replace(key, stored, stored.marked_stale())
        else:
            await self._store.drop(key, stored)

    async def _purge_tag(self, purge: Purge) -> Purged:
        tag = purge.value.encode()
        if not tag:
            raise BadPurge("a tag is empty")
        if self._shared is not None:
            _refuse_dry_run(purge)
            done = await self._shared.purge_tag(tag, soft=purge.soft)
            return Purged(None, None, done)
        return await self._scan(purge, _any, tag)

    async def _purge_all(self, purge: Purge) -> Purged:
        if self._shared is not None:
            _refuse_dry_run(purge)
            return Purged(None, None, await self._shared.purge_all(soft=purge.soft))
        if purge.soft or purge.dry_run:
            return await self._scan(purge, _any, None)
        resources = self._store.stats().resources
        return Purged(resources, await self._store.clear())

    async def _scan(self, purge: Purge, matches: Matches, tag: bytes | None) -> Purged:
        if self._shared is not None:
            resources = 0
            async for progress in self._shared.purge_matching(
                matches, soft=purge.soft, dry_run=purge.dry_run
            ):
                resources = progress.purged
            return Purged(resources, None)
        resources = responses = 0
        async for key, resource in self._held(matches):
            found = [one for one in resource.variants if tag is None or tag in tags_of(one.fields)]
            for one in () if purge.dry_run else found:
                await self._take(key, one, soft=purge.soft)
            resources += bool(found)
            responses += len(found)
        return Purged(resources, responses)

    async def _held(self, matches: Matches) -> AsyncIterator[tuple[bytes, Resource]]:
        """What the memory store holds under keys that match; others get their turn meanwhile."""
        assert isinstance(self._store, MemoryStore)
        for at, key in enumerate(self._store.keys()):
            if at % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
            if matches(key) and (resource := self._store.look(key)) is not None:
                yield key, resource


def _joined(several: list[Purged]) -> Purged:
    resources = [one.resources for one in several]
    responses = [one.stored_responses for one in several]
    return Purged(_sum(resources), _sum(responses), all(one.done for one in several))


def _sum(counts: list[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _any(key: bytes) -> bool:
    return True


def _refuse_dry_run(purge: Purge) -> None:
    if purge.dry_run:
        raise BadPurge(
            f"a shared store purges by {purge.kind} without looking at what it holds; "
            "a dry run shows a URL or a prefix"
        )


def _fits(stored: StoredResponse, ask: Ask, named: frozenset[bytes]) -> bool:
    """True when nothing that is *named* tells *stored* from what the request asks for."""
    known = {name: value for name, value in stored.selecting if name in named}
    return dict(ask.select(tuple(known))) == known
