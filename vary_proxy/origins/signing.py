"""Requests to a private bucket, signed with Signature Version 4 by botocore's signer.

What is signed is what is sent: the path is first brought into the one form in which S3 encodes
it, and only the parameters that choose an object's version or part are kept, since our
signature would give strangers the others too (listings, ACLs, response headers of their own
making). For the same reason no ``x-amz-*`` field of the client goes under our signature, nor
what says that the request was for another host (servers verify by that name), and the bucket
itself and paths with dot segments go unsigned, as do all methods but GET and HEAD:
the origin refuses them as it would anybody's. A request that is signed already is passed on
byte for byte with its Host.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from vary_proxy.core import keys
from vary_proxy.core.message import Fields, Pair, Request, Response
from vary_proxy.origin import Interim, Naming, OriginResponse
from vary_proxy.origins.credentials import EXTRA, Keys, MissingExtra
from vary_proxy.origins.layer import AsClientsSay, Reached
from vary_proxy.origins.upstreams import addressed

UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
_SIGNED = frozenset((b"GET", b"HEAD"))
_KEPT = frozenset((b"versionId", b"partNumber"))
_OTHER_HOST = frozenset((b"forwarded", b"x-forwarded-host", b"x-forwarded-port"))
_OTHER_HOST |= {b"x-forwarded-prefix", b"x-forwarded-proto"}
_DOTS = re.compile(rb"(^|[/\\])\.{1,2}([/\\]|\Z)")

Sign = Callable[[Request, Keys], tuple[Pair, ...]]


def signer(region: str) -> Sign:
    """What gives the fields that sign a request for S3 in *region*. Raises MissingExtra."""
    try:
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest
    except ImportError:
        raise MissingExtra(EXTRA) from None

    class Auth(S3SigV4Auth):  # type: ignore[misc]  # botocore has no types
        def payload(self, request: Any) -> str:
            return UNSIGNED_PAYLOAD

    def sign(request: Request, held: Keys) -> tuple[Pair, ...]:
        url = b"%s://%s%s" % (request.scheme, request.authority, request.target)
        asked = AWSRequest(method=request.method.decode(), url=url.decode("ascii"))
        asked.headers["Host"] = request.authority.decode("latin-1")
        Auth(held, "s3", region).add_auth(asked)
        return tuple(
            (name.lower().encode(), value.encode())
            for name, value in asked.headers.items()
            if name.lower() != "host"
        )

    return sign


class Signing(AsClientsSay):
    """The Origin that is a private bucket, addressed by *own*."""

    def __init__(
        self,
        reached: Reached,
        own: Naming,
        sign: Sign,
        held: Callable[[], Awaitable[Keys]],
    ) -> None:
        super().__init__(reached, own)
        self._sign = sign
        self._held = held

    async def fetch(
        self,
        request: Request,
        body: AsyncIterator[bytes] | None = None,
        on_interim: Interim | None = None,
    ) -> OriginResponse:
        if is_signed(request):
            theirs = replace(request, scheme=self.own.scheme)
            return _Private(await super().fetch(theirs, body, on_interim))
        if body is None and not request.has_body and is_for_object(request):
            request = canonical(addressed(request, self.own))
            request = replace(request, fields=_ours(request.fields))
            signature = self._sign(request, await self._held())
            request = replace(request, fields=request.fields.plus(signature))
        else:
            request = addressed(request, self.own)
        return await super().fetch(request, body, on_interim)


class _Private:
    """An answer to a client's own signature: nobody else's, whatever its object says.

    What such a request names may lie outside our bucket, under a path that names another
    object to everybody else.
    """

    def __init__(self, response: OriginResponse) -> None:
        head = response.head
        fields = head.fields.plus(((b"cache-control", b"private"),))
        self.head = Response(head.status, fields, head.reason)
        self.length = response.length
        self.close_delimited = response.close_delimited
        self._response = response

    def chunks(self) -> AsyncIterator[bytes]:
        return self._response.chunks()

    async def close(self) -> None:
        await self._response.close()


def is_signed(request: Request) -> bool:
    """True for a request that carries credentials or a signature of the client's own."""
    return b"authorization" in request.fields or keys.is_presigned(request.target)


def is_for_object(request: Request) -> bool:
    """True when our signature on *request* gives away an object of the bucket and no more."""
    path = unquote_to_bytes(request.target.partition(b"?")[0])
    return request.method in _SIGNED and path.strip(b"/") != b"" and not _DOTS.search(path)


def canonical(request: Request) -> Request:
    """*request* with its target as S3 encodes it: what is signed is then what is sent."""
    path, _, query = request.target.partition(b"?")
    kept = sorted(
        (name, quote(unquote_to_bytes(value), safe="-_.~").encode())
        for name, _, value in (part.partition(b"=") for part in query.split(b"&"))
        if name in _KEPT
    )
    target = quote(unquote_to_bytes(path), safe="/-_.~").encode()
    if kept:
        target += b"?" + b"&".join(name + b"=" + value for name, value in kept)
    return replace(request, target=target)


def _ours(fields: Fields) -> Fields:
    """*fields* without those that would change what our signature gives away, or break it."""
    amz = {name for name in fields.names() if name.startswith(b"x-amz-")}
    return fields.without(amz | _OTHER_HOST)
