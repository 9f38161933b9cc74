"""core.errors: what our own replies say."""

from __future__ import annotations

import http_sf
import pytest

from vary_proxy.core.errors import error_reply
from vary_proxy.core.message import Reply


def reply(status: int = 502, **more: object) -> Reply:
    given: dict[str, object] = {"proxy_error": "dns_error", "vary": b"Origin", **more}
    return error_reply(status, "The origin has no address.", **given)  # type: ignore[arg-type]


def test_it_is_plain_and_never_stored() -> None:
    made = reply(date=b"Sun, 22 Nov 2026 00:00:00 GMT")
    assert made.status == 502
    body = b"".join(bytes(chunk) for chunk in made.chunks)
    assert body == b"502 Bad Gateway\nThe origin has no address.\n"
    assert made.fields.items == (
        (b"date", b"Sun, 22 Nov 2026 00:00:00 GMT"),
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"vary", b"Origin"),
        (b"cache-status", b"vary-proxy; detail=dns_error"),
        (b"proxy-status", b"vary-proxy; error=dns_error"),
    )
    assert (made.record.cache, made.record.reason) == ("error", "dns_error")


def test_what_is_empty_is_left_out() -> None:
    assert not {b"vary", b"date"} & reply(vary=b"").fields.names()
    nobodys = reply(proxy_error="", cache_detail="only-if-cached").fields
    assert b"proxy-status" not in nobodys
    assert nobodys.get(b"cache-status") == b"vary-proxy; detail=only-if-cached"


@pytest.mark.parametrize("close", [True, False])
def test_the_connection_may_stay(close: bool) -> None:
    assert reply(close=close).close is close


@pytest.mark.parametrize("detail", ["", "two-framings", "coding-in-1.0", "connection_timeout"])
def test_the_reasons_are_structured_fields(detail: str) -> None:
    made = reply(cache_detail=detail)
    for name, key in ((b"cache-status", "detail"), (b"proxy-status", "error")):
        value = made.fields.get(name)
        assert value is not None
        ((token, parameters),) = http_sf.parse(value, tltype="list")
        assert (str(token), list(parameters)) == ("vary-proxy", [key])
