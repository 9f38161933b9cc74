"""Ranges of large objects: their blocks are stored, and only what is missing is fetched.

RFC 9110 §14, §15.3.7, RFC 9111 §3.3, §3.4, RFC 9211 §2.2.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.exchange.conftest import Answer, Edge, Said, read
from tests.exchange.large import Large, blocks
from vary_proxy.core.blocks import BLOCK, STRETCH
from vary_proxy.core.message import Fields, Request
from vary_proxy.core.policy import CachePolicy, Policy
from vary_proxy.origin import OriginFailure

MIDDLE = b"bytes=300000-300099"  # within block 2


@pytest.fixture
def large(edge: Edge) -> Large:
    return Large(edge)


def span(large: Large, first: int, last: int) -> bytes:
    return large.whole[first : last + 1]


async def ranged(edge: Edge, large: Large, first: int, last: int, **fields: bytes) -> Answer:
    """The answer to one range, which must be exactly that."""
    reply = await edge.get("/v", range=b"bytes=%d-%d" % (first, last), **fields)
    assert reply.cut is None
    last = min(last, large.total - 1)
    assert reply.status == 206
    assert reply["content-range"] == b"bytes %d-%d/%d" % (first, last, large.total)
    assert reply["content-length"] == b"%d" % (last + 1 - first)
    assert reply.body == span(large, first, last)
    return reply


# ── whole blocks are asked for, and just what was asked for is given ────────────────────


async def test_the_origin_is_asked_for_whole_blocks(edge: Edge, large: Large) -> None:
    reply = await ranged(edge, large, 300_000, 300_099)
    assert large.asked == [blocks(2, 2)]
    assert reply.cache_status == "vary-proxy; fwd=uri-miss; fwd-status=206; stored"


async def test_what_lies_in_the_same_block_is_a_hit(edge: Edge, large: Large) -> None:
    await ranged(edge, large, 300_000, 300_099)
    reply = await ranged(edge, large, 2 * BLOCK, 3 * BLOCK - 1)
    assert large.asked == [blocks(2, 2)]
    assert reply.cache_status.startswith("vary-proxy; hit; ttl=60")
    assert reply["age"] == b"0"


async def test_only_what_is_missing_is_fetched(edge: Edge, large: Large) -> None:
    await ranged(edge, large, 300_000, 300_099)
    reply = await ranged(edge, large, 200_000, 500_000)  # blocks 1 to 3
    assert large.asked == [blocks(2, 2), blocks(1, 1), blocks(3, 3)]
    sent = edge.origin.last.fields
    assert sent.get(b"if-match") == b'"v1"'
    assert reply.cache_status == "vary-proxy; fwd=partial; fwd-status=206; stored"


async def test_a_gap_is_one_request(edge: Edge, large: Large) -> None:
    await ranged(edge, large, 0, 9)
    await ranged(edge, large, 6 * BLOCK, 6 * BLOCK)
    await ranged(edge, large, 0, 8 * BLOCK - 1)
    assert large.asked[2:] == [blocks(1, 5), blocks(7, 7)]


async def test_a_suffix(edge: Edge, large: Large) -> None:
    reply = await edge.get("/v", range=b"bytes=-500")
    assert reply.body == large.whole[-500:]
    assert reply["content-range"] == b"bytes %d-%d/%d" % (
        large.total - 500,
        large.total - 1,
        large.total,
    )
    again = await edge.get("/v", range=b"bytes=-100")
    assert again.body == large.whole[-100:]
    assert again.cache_status.startswith("vary-proxy; hit")
    reply = await ranged(edge, large, 9 * BLOCK + 50, 9 * BLOCK + 59)
    assert reply.cache_status.startswith("vary-proxy; hit")
    assert large.asked == [b"bytes=-%d" % (500 + BLOCK - 1)]


async def test_an_open_end(edge: Edge, large: Large) -> None:
    reply = await edge.get("/v", range=b"bytes=900000-")
    assert reply.body == large.whole[900_000:]
    assert large.asked == [blocks(6, 6 + STRETCH - 1)]
    assert (await ranged(edge, large, 7 * BLOCK, large.total)).cache_status.startswith(
        "vary-proxy; hit"
    )


async def test_several_ranges_in_one_request(edge: Edge, large: Large) -> None:
    await ranged(edge, large, 300_000, 300_099)
    reply = await edge.get("/v", range=b"bytes=900000-900009,0-9,300000-300009")
    assert reply.status == 206
    assert (reply["content-type"] or b"").startswith(b"multipart/byteranges")
    for first in (900_000, 0, 300_000):
        assert span(large, first, first + 9) in reply.body
    assert large.asked[1:] == [blocks(6, 6), blocks(0, 0)]
    again = await edge.get("/v", range=b"bytes=900000-900009,0-9,300000-300009")
    assert again.body == reply.body
    assert again.cache_status.startswith("vary-proxy; hit")


async def test_several_ranges_of_what_is_not_stored(edge: Edge, large: Large) -> None:
    reply = await edge.get("/v", range=b"bytes=0-9,900000-900009")
    assert span(large, 0, 9) in reply.body
    assert span(large, 900_000, 900_009) in reply.body
    assert large.asked == [blocks(0, 0), blocks(6, 6)]


@pytest.mark.parametrize("last", [b"-5", b"0-9"])
async def test_one_range_beyond_the_end_takes_nothing_from_the_others(
    edge: Edge, large: Large, last: bytes
) -> None:
    """A 416 is for a set of which no range is there (RFC 9110 §14.2)."""
    first = b"%d-%d" % (large.total, large.total + 9)
    reply = await edge.get("/v", range=b"bytes=%b, %b" % (first, last))
    assert reply.status == 206
    assert reply.body == (large.whole[-5:] if last == b"-5" else large.whole[:10])


async def test_many_small_ranges_in_any_order(edge: Edge, large: Large) -> None:
    dice = random.Random(5)
    for _ in range(200):
        first = dice.randrange(large.total)
        await ranged(edge, large, first, min(large.total - 1, first + dice.randrange(400_000)))
    assert large.sent == large.total  # each byte once


async def test_blocks_that_are_all_there_are_the_whole(edge: Edge, large: Large) -> None:
    await ranged(edge, large, 0, 9)
    await edge.get("/v", range=b"bytes=%d-" % BLOCK)
    reply = await edge.get("/v")
    assert (reply.status, reply.body) == (200, large.whole)
    assert reply.cache_status.startswith("vary-proxy; hit")
    assert reply["content-range"] is None


async def test_the_whole_is_pieced_together(edge: Edge, large: Large) -> None:
    await ranged(edge, large, 300_000, 300_099)
    reply = await edge.get("/v")
    assert (reply.status, reply.body) == (200, large.whole)
    assert reply["content-length"] == b"%d" % large.total
    assert reply.cache_status == "vary-proxy; fwd=partial; fwd-status=206; stored"
    last = b"bytes=%d-%d" % (3 * BLOCK, large.total - 1)
    assert large.asked == [blocks(2, 2), blocks(0, 1), last]


async def test_head_needs_no_bytes(edge: Edge, large: Large) -> None:
    await ranged(edge, large, 0, 9)
    reply = await edge.send("/v", b"HEAD")
    assert (reply.status, reply.body) == (200, b"")
    assert reply["content-length"] == b"%d" % large.total
    assert len(large.asked) == 1


async def test_conditions_are_answered_from_it(edge: Edge, large: Large) -> None:
    await ranged(edge, large, 0, 9)
    reply = await edge.get("/v", if_none_match=b'"v1"')
    assert (reply.status, reply.body) == (304, b"")
    assert len(large.asked) == 1


async def test_beyond_the_end_is_416_without_asking(edge: Edge, large: Large) -> None:
    await ranged(edge, large, 0, 9)
    reply = await edge.get("/v", range=b"bytes=%d-" % large.total)
    assert reply.status == 416
    assert reply["content-range"] == b"bytes */%d" % large.total
    assert len(large.asked) == 1


async def test_beyond_the_end_of_what_is_not_stored(edge: Edge, large: Large) -> None:
    for first in (large.total + 5, large.total + 5 * BLOCK):
        reply = await edge.get("/v", range=b"bytes=%d-%d" % (first, first + 9))
        assert reply.status == 416
        assert reply["content-range"] == b"bytes */%d" % large.total


async def test_a_small_object_is_whole_at_once(edge: Edge) -> None:
    small = Large(edge, total=2000)
    reply = await ranged(edge, small, 10, 19)
    assert reply.cache_status == "vary-proxy; fwd=uri-miss; fwd-status=200; stored"
    whole = await edge.get("/v")
    assert (whole.status, whole.body) == (200, small.whole)
    assert small.asked == [blocks(0, 0)]


# ── If-Range of the client ─────────────────────────────────────────────────────────────


async def test_if_range_that_holds(edge: Edge, large: Large) -> None:
    for _ in range(2):
        reply = await ranged(edge, large, 300_000, 300_099, if_range=b'"v1"')
    assert large.asked == [blocks(2, 2)]
    assert reply.cache_status.startswith("vary-proxy; hit")


@pytest.mark.parametrize("known", [False, True])
async def test_if_range_that_does_not_hold_gives_the_whole(
    edge: Edge, large: Large, known: bool
) -> None:
    if known:
        await ranged(edge, large, 0, 9)
    reply = await edge.get("/v", range=MIDDLE, if_range=b'"v0"')
    assert (reply.status, reply.body) == (200, large.whole)


# ── what has changed is never mixed ─────────────────────────────────────────────────────


@pytest.mark.parametrize("conditions", [True, False])
async def test_a_change_seen_before_the_head_gives_the_new_one(
    edge: Edge, large: Large, conditions: bool
) -> None:
    large.conditions = conditions
    await ranged(edge, large, 300_000, 300_099)
    large.version = 2
    await ranged(edge, large, 200_000, 500_000)
    reply = await ranged(edge, large, 300_000, 300_099)
    assert reply["etag"] == b'"v2"'


@pytest.mark.parametrize("conditions", [True, False])
async def test_a_change_seen_later_is_a_visible_cut(
    edge: Edge, large: Large, conditions: bool
) -> None:
    large.conditions = conditions
    old = large.whole
    for block in (0, 2, 4):
        await ranged(edge, large, block * BLOCK, block * BLOCK)
    reply, channel = await edge.start("/v", range=b"bytes=0-%d" % (5 * BLOCK))
    large.version = 2  # block 1 was asked for with the head
    answer = await read(reply, channel)
    assert isinstance(answer.cut, OriginFailure)
    assert answer.body == old[: len(answer.body)]
    assert len(answer.body) == 3 * BLOCK
    assert (await ranged(edge, large, 0, 5 * BLOCK))["etag"] == b'"v2"'


@pytest.mark.parametrize("late", [1, 8], ids=["one more", "eight more"])
async def test_who_rides_on_an_answer_that_is_superseded_in_that_instant_gets_the_new_one(
    edge: Edge, large: Large, late: int
) -> None:
    large.most, answer, old = BLOCK, large.answer, large.whole

    def changing(request: Request) -> Said:
        said, large.version = answer(request), 2
        return said

    edge.origin.handler = changing
    wanted = b"bytes=0-%d" % (3 * BLOCK)
    one, *others = await asyncio.gather(*(edge.get("/v", range=wanted) for _ in range(1 + late)))
    assert isinstance(one.cut, OriginFailure)  # some of the old one had been sent
    assert one.body == old[:BLOCK]
    for other in others:
        assert (other.status, other["etag"], other.cut) == (206, b'"v2"', None)
        assert other.body == span(large, 0, 3 * BLOCK)
    await edge.settle()
    assert (await ranged(edge, large, 0, 3 * BLOCK))["etag"] == b'"v2"'
    assert large.sent == BLOCK + 4 * BLOCK  # each byte of either once


async def test_a_change_of_length_alone_is_a_change(edge: Edge, large: Large) -> None:
    await ranged(edge, large, 300_000, 300_099)
    large.total += BLOCK  # under the same tag, which is wrong
    await ranged(edge, large, 200_000, 500_000)


async def test_the_object_is_gone(edge: Edge, large: Large) -> None:
    await ranged(edge, large, 0, 9)
    edge.origin.handler = None
    edge.origin.replies(412)
    edge.origin.replies(404, body=b"no such key")
    reply = await edge.get("/v", range=MIDDLE)
    assert (reply.status, reply.body) == (404, b"no such key")


async def test_an_origin_that_fails_harms_nothing_stored(edge: Edge, large: Large) -> None:
    await ranged(edge, large, 0, 9)
    edge.origin.handler = None
    edge.origin.replies(503, body=b"busy")
    edge.origin.replies(503, body=b"busy")
    assert (await edge.get("/v", range=MIDDLE)).status == 503
    large.edge.origin.handler = large.answer
    assert (await ranged(edge, large, 0, 9)).cache_status.startswith("vary-proxy; hit")


async def test_an_origin_that_is_down(edge: Edge, large: Large) -> None:
    await ranged(edge, large, 0, 9)
    large.down = True
    assert (await edge.get("/v", range=MIDDLE)).status == 502
    assert (await ranged(edge, large, 0, 9)).status == 206


# ── freshness ─────────────────────────────────────────────────────────────────────────


async def test_stale_blocks_are_validated_and_kept(edge: Edge, large: Large) -> None:
    await ranged(edge, large, 300_000, 300_099)
    edge.clock.forward(100)
    reply = await ranged(edge, large, 300_000, 300_099)
    assert edge.origin.last.fields.get(b"if-none-match") == b'"v1"'
    assert large.sent == BLOCK
    assert "fwd=stale; fwd-status=304" in reply.cache_status
    assert (await ranged(edge, large, 300_000, 300_099)).cache_status.startswith("vary-proxy; hit")


async def test_stale_blocks_that_have_changed_cost_the_new_blocks_alone(
    edge: Edge, large: Large
) -> None:
    await ranged(edge, large, 300_000, 300_099)
    edge.clock.forward(100)
    large.version = 2
    await ranged(edge, large, 300_000, 300_099)
    assert large.sent == 2 * BLOCK


async def test_a_purge_is_of_the_blocks_too(edge: Edge, large: Large) -> None:
    await ranged(edge, large, 0, 9)
    resource_key = edge.store.keys()[0]
    await edge.store.purge(resource_key)
    assert edge.store.stats().bytes == 0
    large.version = 2
    await ranged(edge, large, 0, 9)


async def test_a_purge_while_they_come_leaves_nothing(edge: Edge, large: Large) -> None:
    gate = asyncio.Event()
    answer = large.answer

    def gated(request):  # type: ignore[no-untyped-def]  # as the handler
        return replace(answer(request), body_gate=gate)

    edge.origin.handler = gated
    asking = asyncio.create_task(edge.get("/v", range=MIDDLE))
    while not large.asked:
        await asyncio.sleep(0)
    edge.exchange.forget(lambda key: True)
    for key in list(edge.store.keys()):
        await edge.store.purge(key)
    gate.set()
    assert (await asking).body == span(large, 300_000, 300_099)
    await edge.settle()
    edge.origin.handler = answer
    large.version = 2
    await ranged(edge, large, 300_000, 300_099)


# ── what may not be combined or kept ─────────────────────────────────────────────────────


async def test_under_a_weak_validator_nothing_is_joined(edge: Edge, large: Large) -> None:
    large.weak = True
    await ranged(edge, large, 300_000, 300_099)
    assert edge.store.stats().bytes < BLOCK
    await ranged(edge, large, 300_100, 300_199)
    assert len(large.asked) == 2
    assert (await ranged(edge, large, 300_110, 300_120)).cache_status.startswith("vary-proxy; hit")


@pytest.mark.parametrize("said", [b"no-store", b"private"])
async def test_what_may_not_be_stored_is_given_exactly(
    edge: Edge, large: Large, said: bytes
) -> None:
    large.cache_control = said
    for first in (300_000, 5, 900_000):
        reply = await ranged(edge, large, first, first + 99)
        assert "stored" not in reply.cache_status.replace("no-store", "")
    assert edge.store.stats().bytes == 0
    assert large.asked[1] == b"bytes=5-104"  # it is known by then: no more than was asked for


async def test_a_206_that_does_not_say_what_it_brings_answers_its_own_question_alone(
    edge: Edge, large: Large
) -> None:
    answer = large.answer

    def silent(request):  # type: ignore[no-untyped-def]  # as the handler
        said = answer(request)
        return replace(said, fields=tuple(one for one in said.fields if one[0] != b"content-range"))

    edge.origin.handler = silent
    reply = await edge.get("/v", range=MIDDLE)
    assert reply.body == span(large, 300_000, 300_099)
    assert large.asked == [blocks(2, 2), MIDDLE]


@pytest.mark.parametrize("last", [b"", b"%d" % (STRETCH * BLOCK + 99)], ids=["open", "closed"])
@pytest.mark.parametrize("weak", [False, True], ids=["no-store", "weak"])
async def test_a_long_range_of_it_is_given_to_its_end(edge: Edge, weak: bool, last: bytes) -> None:
    """Who resumes a download takes the end of a 206 for the end of the file."""
    said = b"max-age=60" if weak else b"no-store"
    large = Large(edge, total=STRETCH * BLOCK + 2 * BLOCK, weak=weak, cache_control=said)
    reply = await edge.get("/v", range=b"bytes=1000-" + last)
    stop = int(last or large.total - 1) + 1
    assert reply["content-range"] == b"bytes 1000-%d/%d" % (stop - 1, large.total)
    assert reply.body == large.whole[1000:stop]


@pytest.mark.parametrize("said", [b"no-store", b"max-age=60"], ids=["passed", "stored"])
async def test_what_breaks_off_behind_the_range_asked_for_cuts_nobody(
    edge: Edge, said: bytes
) -> None:
    """The whole block was asked for; of what the client did not want nothing is missed."""
    large = Large(edge, weak=True, cache_control=said, cut=50_000)
    answer = large.answer

    def chunked(request):  # type: ignore[no-untyped-def]  # as the handler
        said = answer(request)
        fields = tuple(pair for pair in said.fields if pair[0] != b"content-length")
        return replace(said, fields=fields, length=None)

    edge.origin.handler = chunked
    reply = await edge.get("/v", range=b"bytes=1000-1099")
    assert (reply.status, reply.body, reply.cut) == (206, span(large, 1000, 1099), None)
    await edge.settle()
    assert edge.origin.responses[-1].closed


async def test_a_small_object_that_may_not_be_stored_is_given_exactly(edge: Edge) -> None:
    small = Large(edge, total=900, cache_control=b"no-store")
    await ranged(edge, small, 10, 19)
    reply = await edge.get("/v", range=b"bytes=-2000")
    assert (reply.status, reply.body) == (206, small.whole)
    assert reply["content-range"] == b"bytes 0-899/900"


async def test_what_may_no_longer_be_stored_is_not(edge: Edge, large: Large) -> None:
    await ranged(edge, large, 0, 9)
    large.cache_control = b"no-store"
    await ranged(edge, large, 300_000, 300_099)
    await edge.settle()
    assert edge.store.stats().bytes == 0


async def test_with_authorization_the_range_is_asked_for_as_it_is(edge: Edge, large: Large) -> None:
    await ranged(edge, large, 300_000, 300_099, authorization=b"Basic x")
    assert large.asked == [MIDDLE]
    assert edge.store.stats().bytes == 0


async def test_no_store_in_the_request_adds_nothing(edge: Edge, large: Large) -> None:
    await ranged(edge, large, 0, 9)
    before = edge.store.stats().bytes
    await ranged(edge, large, 0, 2 * BLOCK, cache_control=b"no-store")
    await edge.settle()
    assert edge.store.stats().bytes == before


# ── origins that do not do as they are asked ─────────────────────────────────────────────


async def test_an_origin_that_knows_no_ranges(edge: Edge, large: Large) -> None:
    large.ranges = False
    await ranged(edge, large, 300_000, 300_099)
    assert (await ranged(edge, large, 0, 9)).cache_status.startswith("vary-proxy; hit")
    assert len(large.asked) == 1


async def test_an_origin_that_forgets_ranges(edge: Edge, large: Large) -> None:
    await ranged(edge, large, 0, 9)
    large.ranges = False
    await ranged(edge, large, 300_000, 300_099)
    await ranged(edge, large, 900_000, 900_099)
    assert (await edge.get("/v")).body == large.whole


async def test_an_origin_that_sends_less_than_asked(edge: Edge, large: Large) -> None:
    large.most = BLOCK + 1000
    await ranged(edge, large, 100_000, 900_000)
    assert (await edge.get("/v")).body == large.whole


@pytest.mark.parametrize("shift", [-5000, 5000, 3 * BLOCK])
async def test_an_origin_that_sends_other_bytes_is_not_believed_to_have_sent_these(
    edge: Edge, large: Large, shift: int
) -> None:
    await ranged(edge, large, 0, 9)
    large.shift = shift
    reply = await edge.get("/v", range=MIDDLE)
    assert reply.status in (206, 502)
    if reply.status == 206 and reply.cut is None:
        first, last = map(int, (reply["content-range"] or b"")[6:].split(b"/")[0].split(b"-"))
        assert reply.body == span(large, first, last)
    large.shift = 0
    await ranged(edge, large, 250_000, 350_000)


@pytest.mark.parametrize("over", [-1000, 1, BLOCK, 3 * BLOCK])
@pytest.mark.parametrize("held", [False, True], ids=["at first", "in a gap"])
async def test_a_chunked_body_of_another_length_than_its_range_leaves_nothing_wrong(
    edge: Edge, large: Large, over: int, held: bool
) -> None:
    if held:
        await ranged(edge, large, 900_000, 900_009)
    answer = large.answer

    def lying(request):  # type: ignore[no-untyped-def]  # as the handler
        said = answer(request)
        fields = tuple(pair for pair in said.fields if pair[0] != b"content-length")
        body = b"".join(said.body)
        body = body[:over] if over < 0 else body + b"!" * over
        return replace(said, fields=fields, body=[body], length=None)

    edge.origin.handler = lying
    reply = await edge.get("/v", range=MIDDLE)
    assert reply.status in (206, 502)
    assert reply.cut is not None or reply.body in (span(large, 300_000, 300_099), b"")
    await edge.settle()
    edge.origin.handler = answer
    assert (await edge.get("/v")).body == large.whole


@pytest.mark.parametrize("over", [-100, 100])
async def test_nor_does_one_that_brings_the_whole(edge: Edge, over: int) -> None:
    small = Large(edge, total=900)
    said = small.answer(Request(b"GET", b"/v", Fields(((b"range", blocks(0, 0)),))))
    fields = tuple(pair for pair in said.fields if pair[0] != b"content-length")
    body = small.whole[:over] if over < 0 else small.whole + b"!" * over
    edge.origin.handler = lambda request: replace(said, fields=fields, body=[body], length=None)
    await edge.get("/v", range=b"bytes=10-19")
    await edge.settle()
    edge.origin.handler = small.answer
    assert (await edge.get("/v")).body == small.whole


async def test_a_body_that_breaks_off_is_gone_on_with(edge: Edge, large: Large) -> None:
    await ranged(edge, large, 0, 9)
    large.cut = 3 * BLOCK + 5
    await ranged(edge, large, 0, large.total - 1)


# ── several at once ────────────────────────────────────────────────────────────────────


async def test_the_same_blocks_are_asked_for_once(edge: Edge, large: Large) -> None:
    firsts = [300_000, 300_001, 299_000, 270_000, 300_000]
    await asyncio.gather(*(ranged(edge, large, one, one + 99) for one in firsts))
    assert large.asked == [blocks(2, 2)]


async def test_a_missing_block_is_asked_for_once(edge: Edge, large: Large) -> None:
    await ranged(edge, large, 0, 9)
    await asyncio.gather(*(ranged(edge, large, 100 + n, 3 * BLOCK + n) for n in range(20)))
    assert large.asked == [blocks(0, 0), blocks(1, 3)]


async def test_ranges_of_what_is_not_stored_become_one_body(edge: Edge, large: Large) -> None:
    await asyncio.gather(*(ranged(edge, large, n * BLOCK, n * BLOCK + 9) for n in range(5)))
    await edge.settle()
    reply = await ranged(edge, large, 0, 5 * BLOCK - 1)
    assert reply.cache_status.startswith("vary-proxy; hit")


async def test_a_client_that_leaves_takes_no_more_than_it_read(edge: Edge, large: Large) -> None:
    large.total = 200 * BLOCK
    reply, _ = await edge.start("/v", range=b"bytes=0-")
    assert reply.stream is not None
    await anext(reply.stream)
    await reply.stream.aclose()  # type: ignore[attr-defined]
    await edge.settle()
    assert edge.store.stats().bytes < 4 * BLOCK
    assert edge.origin.responses[-1].closed
    assert (await ranged(edge, large, 0, 9)).cache_status.startswith("vary-proxy; hit")


async def test_a_block_is_stored_though_little_of_it_was_read(edge: Edge, large: Large) -> None:
    """Its last bytes come when whoever asked has long had his."""
    gate, answer = asyncio.Event(), large.answer

    def gated(request):  # type: ignore[no-untyped-def]  # as the handler
        return replace(answer(request), body_gate=gate)

    edge.origin.handler = gated
    await ranged(edge, large, 0, 9)
    gate.set()
    await edge.settle()
    assert (await ranged(edge, large, BLOCK - 9, BLOCK - 1)).cache_status.startswith(
        "vary-proxy; hit"
    )


async def test_a_reply_that_is_never_read_holds_nothing(edge: Edge, large: Large) -> None:
    large.total = 50 * BLOCK
    for first in (b"0", b"5", b"3000000"):
        reply, _ = await edge.start("/v", range=b"bytes=%b-" % first)
        assert reply.stream is not None
        await reply.stream.aclose()  # type: ignore[attr-defined]
    await edge.settle()
    assert all(response.closed for response in edge.origin.responses)


async def test_a_slow_reader_holds_nobody(edge: Edge, large: Large) -> None:
    large.total = 40 * BLOCK
    slow, slow_channel = await edge.start("/v", range=b"bytes=0-")
    assert slow.stream is not None
    first = await anext(slow.stream)
    fast = await asyncio.wait_for(ranged(edge, large, 0, large.total - 1), 30)
    assert len(fast.body) == large.total
    rest = await read(slow, slow_channel)
    assert bytes(first) + rest.body == large.whole
    assert large.sent <= large.total + 2 * BLOCK


# ── memory ────────────────────────────────────────────────────────────────────────────


async def test_an_object_larger_than_the_store(edges: Callable[..., Edge]) -> None:
    edge = edges(None, max_bytes=6 * BLOCK, max_object=2 * BLOCK)
    large = Large(edge, total=60 * BLOCK + 1)
    await ranged(edge, large, 3 * BLOCK, 3 * BLOCK + 9)
    assert (await ranged(edge, large, 3 * BLOCK, 3 * BLOCK + 9)).cache_status.startswith(
        "vary-proxy; hit"
    )
    reply = await ranged(edge, large, 0, large.total - 1)
    assert len(reply.body) == large.total
    assert edge.store.stats().bytes <= 6 * BLOCK
    assert (await edge.get("/v")).body == large.whole


# ── for whom ───────────────────────────────────────────────────────────────────────────


async def test_another_origin_has_its_own_fields_and_the_same_blocks(
    edge: Edge, large: Large
) -> None:
    answer = large.answer

    def reflecting(request):  # type: ignore[no-untyped-def]  # as the handler
        who = request.fields.get(b"origin")
        large.fields = () if who is None else ((b"access-control-allow-origin", who),)
        return answer(request)

    edge.origin.handler = reflecting
    first = await ranged(edge, large, 0, 9)
    assert first["access-control-allow-origin"] is None
    one = await ranged(edge, large, 0, 9, origin=b"https://a.example")
    assert one["access-control-allow-origin"] == b"https://a.example"
    two = await ranged(edge, large, 300_000, 300_009, origin=b"https://b.example")
    assert two["access-control-allow-origin"] == b"https://b.example"
    before = large.sent
    again = await ranged(edge, large, 300_000, 300_009, origin=b"https://a.example")
    assert again["access-control-allow-origin"] == b"https://a.example"
    assert large.sent == before  # one body for all of them
    for reply in (first, one, two, again):
        assert b"Origin" in (reply["vary"] or b"")


async def test_what_vary_names_keeps_them_apart(edge: Edge, large: Large) -> None:
    large.fields = ((b"vary", b"Accept-Language"),)
    await ranged(edge, large, 0, 9, accept_language=b"de")
    large.version = 2
    await ranged(edge, large, 0, 9, accept_language=b"en")
    assert len(large.asked) == 2


async def test_a_rules_lifetime_holds_for_ranges(edges: Callable[..., Edge]) -> None:
    edge = edges(Policy(cache=CachePolicy(collapse=False)))
    large = Large(edge)
    await asyncio.gather(*(ranged(edge, large, 0, 9) for _ in range(3)))
    assert len(large.asked) == 3  # nobody rides along where a rule forbids it
