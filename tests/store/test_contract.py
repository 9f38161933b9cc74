"""What every store promises (vary_proxy/store/base.py): one suite, run against each of them."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace

import pytest

from tests.store.builders import (
    KEY,
    Clock,
    body_of,
    bytes_of,
    digest,
    found,
    put,
    stored,
)
from vary_proxy.core.stored import Part
from vary_proxy.store.base import Store, TooLarge

A, B = b"https://a.example", b"https://b.example"


async def test_what_was_never_stored_is_not_found(store: Store) -> None:
    assert store.peek(KEY) is None
    assert await store.load(KEY) is None


async def test_a_committed_response_is_found_with_all_that_was_said_of_it(store: Store) -> None:
    response = stored(A, etag='"1"', part=Part(10, 100))
    published = await put(store, KEY, response, b"body")
    assert (published.body.digest, published.body.length) == (digest(b"body"), 4)
    resource = await found(store, KEY)
    assert resource is not None
    assert resource.variants == (published,)
    assert await body_of(store, KEY, resource.variants[0]) == b"body"


async def test_what_was_found_can_be_looked_at_again_at_once(store: Store) -> None:
    await put(store, KEY, stored(A))
    resource = await found(store, KEY)
    assert resource is not None
    assert store.look(KEY) == resource
    assert store.look(b"something else") is None


async def test_a_response_with_more_fields_than_a_store_takes_is_there_whole_or_not(
    store: Store,
) -> None:
    many = tuple((b"x-%d" % number, b"v") for number in range(600))
    response = replace(stored(A), fields=stored(A).fields.plus(many))
    await put(store, KEY, response, b"body")
    resource = await found(store, KEY)
    assert resource is None or resource.variants[0].fields == response.fields
    again = await put(store, KEY, stored(A), b"body")
    resource = await found(store, KEY)
    assert resource is not None
    assert resource.variants == (again,)


async def test_leaving_a_writer_without_commit_leaves_nothing(store: Store) -> None:
    writer = store.writer(KEY, None, 64, await store.since(KEY))
    assert writer is not None
    async with writer:
        await writer.write(b"half")
    assert await found(store, KEY) is None


async def test_nothing_is_visible_before_commit(store: Store) -> None:
    writer = store.writer(KEY, 400_000, 64, await store.since(KEY))
    assert writer is not None
    async with writer:
        await writer.write(os.urandom(400_000))
        assert await found(store, KEY) is None
        await writer.commit(stored())
    assert await found(store, KEY) is not None


async def test_an_error_in_the_writer_is_the_callers_and_leaves_nothing(store: Store) -> None:
    writer = store.writer(KEY, 300_001, 64, await store.since(KEY))
    assert writer is not None

    async def fail() -> None:
        async with writer:
            await writer.write(os.urandom(300_000))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await found(store, KEY) is None


async def test_a_cancelled_writer_leaves_nothing(store: Store, tasks: object) -> None:
    started = asyncio.Event()

    async def fetch() -> None:
        writer = store.writer(KEY, None, 64, await store.since(KEY))
        assert writer is not None
        async with writer:
            await writer.write(b"half")
            started.set()
            await asyncio.Event().wait()

    task = asyncio.get_running_loop().create_task(fetch())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await found(store, KEY) is None


@pytest.mark.parametrize("size", [0, 1, 131_071, 131_072, 131_073, 262_144, 700_001])
async def test_bodies_of_any_size_come_back_whole(store: Store, size: int) -> None:
    body = os.urandom(size)
    published = await put(store, KEY, stored(), body, chunk=50_000)
    assert published.body.length == size
    assert await body_of(store, KEY, published) == body


async def test_a_range_of_a_body_is_exactly_that_range(store: Store) -> None:
    body = os.urandom(600_000)
    published = await put(store, KEY, stored(), body)
    for start, stop in [(0, 1), (5, 5), (131_071, 131_073), (1, 599_999), (599_999, 600_000)]:
        content = await store.read(KEY, published.body, start, stop)
        assert await bytes_of(content) == body[start:stop]


async def test_too_large_a_body_is_refused_before_or_while_it_is_written(
    opened: object, redis_server: object
) -> None:
    for kind in ("memory", "redis"):
        small = opened(  # type: ignore[operator]
            kind,
            url=redis_server.url,  # type: ignore[attr-defined]
            memory_max_object=1000,
            max_object=1000,
        )
        assert small.writer(KEY, 1001, 64, await small.since(KEY)) is None
        async with small.writer(KEY, 1000, 64, await small.since(KEY)) as writer:
            await writer.write(b"x" * 1000)
            with pytest.raises(TooLarge):
                await writer.write(b"x")
        async with small.writer(KEY, None, 64, await small.since(KEY)) as writer:
            with pytest.raises(TooLarge):
                await writer.write(b"x" * 1001)
        assert await found(small, KEY) is None


async def test_variants_of_one_resource_stand_side_by_side_newest_first(store: Store) -> None:
    first = await put(store, KEY, stored(A), b"for a")
    second = await put(store, KEY, stored(B), b"for b")
    resource = await found(store, KEY)
    assert resource is not None
    assert resource.variants == (second, first)
    assert await body_of(store, KEY, first) == b"for a"
    assert await body_of(store, KEY, second) == b"for b"


async def test_a_variant_takes_the_place_of_the_one_with_its_selecting_values(
    store: Store,
) -> None:
    await put(store, KEY, stored(A), b"old")
    new = await put(store, KEY, stored(A, etag='"2"'), b"new")
    resource = await found(store, KEY)
    assert resource is not None
    assert resource.variants == (new,)
    assert await body_of(store, KEY, new) == b"new"


async def test_resources_do_not_see_each_other(store: Store) -> None:
    await put(store, KEY, stored(A), b"one")
    await put(store, KEY + b"?v=2", stored(A, etag='"2"'), b"two")
    assert await store.purge(KEY) == 1
    assert await found(store, KEY) is None
    other = await found(store, KEY + b"?v=2")
    assert other is not None
    assert await body_of(store, KEY + b"?v=2", other.variants[0]) == b"two"


async def test_variants_are_bounded(store: Store, clock: Clock) -> None:
    for number in range(6):
        await put(store, KEY, stored(b"https://%d.example" % number), max_variants=3)
        clock.now += 100  # each is stale when the next arrives, and may make room
    resource = await found(store, KEY)
    assert resource is not None
    assert len(resource.variants) == 3


async def test_a_variant_can_be_added_to_a_body_that_is_here(store: Store) -> None:
    first = await put(store, KEY, stored(A), b"shared")
    second = replace(stored(B), body=first.body)
    assert await store.add(KEY, second, 64, await store.since(KEY))
    resource = await found(store, KEY)
    assert resource is not None
    assert resource.variants == (second, first)
    assert await body_of(store, KEY, second) == b"shared"


async def test_a_variant_cannot_be_added_without_its_body(store: Store) -> None:
    first = await put(store, KEY, stored(A), b"gone soon")
    await store.purge(KEY)
    assert not await store.add(KEY, first, 64, await store.since(KEY))
    assert await found(store, KEY) is None


async def test_freshening_changes_metadata_and_leaves_the_body(store: Store) -> None:
    old = await put(store, KEY, stored(A), b"body")
    other = await put(store, KEY, stored(B), b"other")
    new = replace(old, born=old.born + 60, received=old.received + 60)
    await store.replace(KEY, old, new, await store.since(KEY))
    resource = await found(store, KEY)
    assert resource is not None
    assert set(resource.variants) == {new, other}
    assert await body_of(store, KEY, new) == b"body"


async def test_freshening_what_stands_no_more_changes_nothing(store: Store) -> None:
    old = await put(store, KEY, stored(A), b"old")
    current = await put(store, KEY, stored(A, etag='"2"'), b"new")
    await store.replace(KEY, old, replace(old, born=old.born + 60), await store.since(KEY))
    resource = await found(store, KEY)
    assert resource is not None
    assert resource.variants == (current,)


async def test_one_variant_can_be_dropped(store: Store) -> None:
    first = await put(store, KEY, stored(A), b"for a")
    second = await put(store, KEY, stored(B), b"for b")
    await store.drop(KEY, first)
    resource = await found(store, KEY)
    assert resource is not None
    assert resource.variants == (second,)
    await store.drop(KEY, first)
    await store.drop(KEY, second)
    assert await found(store, KEY) is None


async def test_a_purge_takes_all_variants_and_counts_them(store: Store) -> None:
    await put(store, KEY, stored(A))
    await put(store, KEY, stored(B))
    assert await store.purge(KEY) == 2
    assert await found(store, KEY) is None
    assert await store.purge(KEY) == 0


async def test_a_soft_purge_marks_all_variants_stale(store: Store) -> None:
    first = await put(store, KEY, stored(A), b"body")
    await put(store, KEY, stored(B))
    assert await store.purge(KEY, soft=True) == 2
    resource = await found(store, KEY)
    assert resource is not None
    assert [one.stale for one in resource.variants] == [True, True]
    assert await body_of(store, KEY, first) == b"body"


async def test_what_comes_after_a_purge_is_found(store: Store) -> None:
    await put(store, KEY, stored(A), b"before")
    await store.purge(KEY)
    after = await put(store, KEY, stored(A), b"after")
    resource = await found(store, KEY)
    assert resource is not None
    assert resource.variants == (after,)
    assert await body_of(store, KEY, after) == b"after"


async def test_clearing_takes_everything(store: Store) -> None:
    await put(store, KEY, stored(A))
    await put(store, KEY + b"2", stored(B))
    await store.clear()
    assert await found(store, KEY) is None
    assert await found(store, KEY + b"2") is None


async def test_a_body_that_is_not_here_reads_as_gone(store: Store) -> None:
    published = await put(store, KEY, stored(), b"here")
    await store.purge(KEY)
    await put(store, KEY, stored(), b"another")
    assert await store.read(KEY, published.body, 0, 4) is None


async def test_what_is_at_hand_is_that_range_and_nothing_waits_for_it(store: Store) -> None:
    body = os.urandom(300_000)
    published = await put(store, KEY, stored(), body)
    chunks = store.chunks(KEY, published.body, 1000, 299_000)
    assert chunks is None or b"".join(chunks) == body[1000:299_000]
    assert store.chunks(KEY + b"x", published.body, 0, 1) is None


async def test_many_writers_of_one_resource_lose_no_variant(store: Store) -> None:
    origins = [b"https://%d.example" % number for number in range(12)]
    await asyncio.gather(*(put(store, KEY, stored(one), one) for one in origins))
    resource = await found(store, KEY)
    assert resource is not None
    assert {one.selecting[0][1] for one in resource.variants} == set(origins)
    for one in resource.variants:
        assert await body_of(store, KEY, one) == one.selecting[0][1]


async def test_keys_of_any_bytes_are_kept_apart(store: Store) -> None:
    keys = [b"", b"\0", b"a b", b"{a}", b"a\r\nb", b"\xff" * 3000, b"*", b"vp:*", b"%s"]
    for key in keys:
        await put(store, key, stored(A), b"<" + key + b">")
    for key in keys:
        resource = await found(store, key)
        assert resource is not None
        assert await body_of(store, key, resource.variants[0]) == b"<" + key + b">"
