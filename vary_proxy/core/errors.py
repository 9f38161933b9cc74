"""The replies that are ours: short, plain, never stored, and honest about who failed.

RFC 9110 §15, RFC 9209 (Proxy-Status), RFC 9211 (Cache-Status).
"""

from __future__ import annotations

from http import HTTPStatus

from vary_proxy.core.message import Fields, Record, Reply


def error_reply(
    status: int,
    message: str,
    *,
    proxy_error: str,
    cache_detail: str = "",
    vary: bytes,
    close: bool = True,
    date: bytes = b"",
) -> Reply:
    """A plain-text reply that says what happened and what to do.

    *proxy_error* is a token of RFC 9209 §2.3; *cache_detail* the token of Cache-Status, by
    default the same. An empty *proxy_error*, for what is nobody's failure, *vary* or *date*
    leaves its field out. *close* ends the connection, for when the request was not read to its end.
    """
    phrase = HTTPStatus(status).phrase
    body = f"{status} {phrase}\n{message}\n".encode("ascii", "replace")
    detail = (cache_detail or proxy_error).encode("ascii")
    failed = proxy_error.encode("ascii")
    fields = [
        (b"date", date),
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"vary", vary),
        (b"cache-status", b"vary-proxy; detail=" + detail),
        (b"proxy-status", failed and b"vary-proxy; error=" + failed),
    ]
    return Reply(
        status,
        Fields(tuple(pair for pair in fields if pair[1])),
        chunks=(body,),
        close=close,
        record=Record(cache="error", reason=proxy_error),
    )
