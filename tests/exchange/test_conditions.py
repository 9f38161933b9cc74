"""A client's condition is answered here also when nothing of the answer can be stored."""

from __future__ import annotations

import pytest

from tests.exchange.conftest import Edge

A = b"https://a.example"


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize("condition", ["if_none_match", "if_modified_since"])
async def test_a_condition_is_answered_for_what_is_not_stored(
    edge: Edge, method: bytes, condition: str
) -> None:
    date = b"Tue, 14 Nov 2023 10:00:00 GMT"
    edge.origin.replies(
        200,
        acao=A,
        etag=b'"1"',
        last_modified=date,
        cache_control=b"private",
        content_type=b"text/plain",
        body=b"whole",
    )
    value = b'"1"' if condition == "if_none_match" else date
    reply = await edge.send("/a", method, origin=A, **{condition: value})
    assert condition.replace("_", "-").encode() not in edge.origin.last.fields
    assert (reply.status, reply.body) == (304, b"")
    assert reply["access-control-allow-origin"] == A
    assert reply["vary"] == b"Origin, Access-Control-Request-Headers, Access-Control-Request-Method"
    assert (reply["etag"], reply["content-type"], reply["content-length"]) == (b'"1"', None, None)
    assert edge.origin.responses[0].closed


async def test_a_condition_that_fails_gets_the_whole_of_what_is_not_stored(edge: Edge) -> None:
    edge.origin.replies(200, etag=b'"2"', cache_control=b"no-store", body=b"whole")
    reply = await edge.get("/a", if_none_match=b'"1"')
    assert (reply.status, reply.body) == (200, b"whole")


async def test_an_error_has_no_304(edge: Edge) -> None:
    edge.origin.replies(404, etag=b'"1"', body=b"none")
    reply = await edge.get("/a", if_none_match=b'"1"')
    assert (reply.status, reply.body) == (404, b"none")


async def test_the_origins_own_304_passes_where_the_condition_went_to_it(edge: Edge) -> None:
    edge.origin.replies(304, etag=b'"1"', access_control_allow_origin=A)
    reply = await edge.get("/a?X-Amz-Signature=s", if_none_match=b'"1"')
    assert edge.origin.last.fields.get(b"if-none-match") == b'"1"'
    assert (reply.status, reply["access-control-allow-origin"]) == (304, A)
