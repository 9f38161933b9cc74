"""The origin over HTTP/1.1: sends a request byte for byte, and streams the response.

aiohttp's connector connects and pools; the exchange of messages is ours, because a proxy
needs what an HTTP client library tidies away: raw targets, interim responses, odd but
harmless heads, and a body whose end is proved. httpreader reads, httplink carries.
RFC 9112; errors are the tokens of RFC 9209 §2.3.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import cast
from urllib.parse import quote, urlsplit

import aiohttp
from aiohttp import ClientRequest, ClientTimeout
from yarl import URL

from vary_proxy.core.message import Request, Response
from vary_proxy.origin import Interim, Naming, OriginFailure
from vary_proxy.origins.connectfailure import connect_failure
from vary_proxy.origins.httpidle import Idle
from vary_proxy.origins.httplink import Link
from vary_proxy.origins.httppool import Pool
from vary_proxy.origins.httpreader import Limits, head_end, malformed, read_framing, read_head
from vary_proxy.origins.httprequest import request_head
from vary_proxy.origins.httpresponse import HttpResponse, ended
from vary_proxy.tasks import Tasks

_REPEATABLE = frozenset((b"GET", b"HEAD", b"OPTIONS"))
_IDLE_FOR_UNSAFE = 1.0  # seconds; a request that cannot be repeated wants a lively connection
_MOST_INTERIM = 64


@dataclass(frozen=True, slots=True)
class OriginOptions:
    """How to reach and treat one origin. Times in seconds, sizes in bytes.

    ``host`` is ``upstream`` (that of the URL), ``preserve`` (the client's) or a literal.
    ``limit`` bounds the connections in use; ``keepalive`` is how long idle ones are kept.
    ``context`` gives what TLS connections are made with from now on; without it, they are made
    by ``ca_file`` (None: the system's authorities) and ``verify``. ``server_name`` is asked for
    by SNI, and the certificate must fit it; None: the host of the URL.
    """

    url: str
    host: str = "upstream"
    connect_timeout: float = 2.0
    first_byte_timeout: float = 10.0
    idle_timeout: float = 30.0
    max_head: int = 64 * 1024
    max_line: int = 32 * 1024
    ca_file: str | None = None
    verify: bool = True
    context: Callable[[], ssl.SSLContext] | None = None
    server_name: str | None = None
    limit: int = 512
    keepalive: float = 30.0


def naming(options: OriginOptions) -> Naming:
    """How requests are addressed to the origin. Raises ValueError on an unusable URL."""
    parts = urlsplit(options.url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{options.url!r} is not an origin; write http://host[:port][/prefix]")
    if parts.query or parts.fragment or parts.username is not None:
        raise ValueError(f"{options.url!r}: an origin has no query, fragment or user")
    authority = URL(options.url).raw_authority.encode("ascii")
    host: bytes | None = options.host.encode("latin-1")
    if options.host in ("upstream", "preserve"):
        host = authority if options.host == "upstream" else None
    prefix = quote(parts.path, safe="%/:@!$&'()*+,;=~-._").rstrip("/").encode("ascii")
    return Naming(authority, parts.scheme.encode("ascii"), prefix, host)


class HttpOrigin:
    """The Origin behind one URL. To be used within one event loop, and closed."""

    def __init__(self, options: OriginOptions) -> None:
        self._options = options
        self._naming = naming(options)
        self._limits = Limits(options.max_head, options.max_line)
        self._context: ssl.SSLContext | bool = options.verify  # that of the address
        if options.verify and options.ca_file is not None:
            self._context = ssl.create_default_context(cafile=options.ca_file)
            self._context.set_alpn_protocols(["http/1.1"])
        self._timeout = ClientTimeout(connect=options.connect_timeout, ceil_threshold=math.inf)
        self._tasks = Tasks()
        self._pool: Pool | None = None
        self._address: ClientRequest | None = None
        self._idle: Idle | None = None
        self._closed = False

    @property
    def naming(self) -> Naming:
        return self._naming

    @property
    def in_use(self) -> int:
        """Connections on which something is under way."""
        if self._pool is None or self._idle is None:
            return 0
        return self._pool.in_use - len(self._idle)

    async def fetch(
        self,
        request: Request,
        body: AsyncIterator[bytes] | None = None,
        on_interim: Interim | None = None,
    ) -> HttpResponse:
        """Send *request*; see Origin.fetch. What *body* raises is raised here, unchanged.

        A connection that was idle may end just as we write, or bring what is left of the answer
        before, as a body behind the head that answers a HEAD: then a safe request without body is
        sent once more, on a connection made for it (RFC 9110 §9.2.2, RFC 9112 §6.3).
        """
        head = request_head(request, has_body=body is not None)
        repeatable = body is None and request.method in _REPEATABLE
        idle = math.inf if repeatable else _IDLE_FOR_UNSAFE
        while True:
            link = self._at_rest(idle) or await self._connect(idle)
            try:
                return await self._exchange(link, head, request, body, on_interim)
            except OriginFailure as failure:
                if not (repeatable and link.exchanges > 1 and _is_of_before(failure, link)):
                    raise
            idle = 0.0

    async def _exchange(
        self,
        link: Link,
        head: bytes,
        request: Request,
        body: AsyncIterator[bytes] | None,
        on_interim: Interim | None,
    ) -> HttpResponse:
        upload: asyncio.Task[bool] | None = None
        try:
            link.begin()
            link.write(head)
            if body is not None:
                link.prick_up()
                upload = self._tasks.spawn(self._send(link, body, request.body_length), "upload")
            else:
                link.arm(self._options.first_byte_timeout, "http_response_timeout")
            response, minor, rest = await self._answer(link, upload, on_interim)
            response, framing = read_framing(response, minor, request.method)
        except BaseException:
            link.end()
            await ended(upload)
            raise
        if upload is not None and response.status >= 400:
            # What is still sent to an origin that refused may reset the connection under
            # the explanation that we are about to read (RFC 9112 §9.6).
            upload.cancel()
        idle = self._options.idle_timeout
        given = HttpResponse(response, framing, link, upload, self._limits, idle, self._give_back)
        given.begin(rest)
        return given

    def _give_back(self, link: Link) -> None:
        """Keep *link* for the next, unless others wait for it or it has become of no use."""
        pool = self._pool
        if pool is None or self._idle is None or pool.is_full or link.address is not self._address:
            link.leave()
        else:
            self._idle.put(link)

    async def _answer(
        self, link: Link, upload: asyncio.Task[bool] | None, on_interim: Interim | None
    ) -> tuple[Response, int, bytes]:
        """The final response head, its minor version, and what came behind it.

        Interim ones are passed on (RFC 9110 §15.2).
        """
        for _ in range(_MOST_INTERIM):
            data = await link.receive()
            while (end := head_end(data, self._limits)) < 0 and data:
                if not (more := await link.receive()):
                    raise _unanswered("http_response_incomplete")
                data += more
            if not data:
                raise _unanswered("connection_terminated")
            link.disarm()
            response, minor = read_head(data[:end], self._limits)
            if response.status >= 200:
                link.awaited = False
                return response, minor, data[end:]
            link.unread(data[end:])
            if response.status == 101:
                raise malformed("a switch of protocols that nobody asked for")
            if response.status != 100 and on_interim is not None:
                await on_interim(response)
            if upload is None or upload.done():
                link.arm(self._options.first_byte_timeout, "http_response_timeout")
        raise malformed(f"more than {_MOST_INTERIM} interim responses")

    async def _send(self, link: Link, body: AsyncIterator[bytes], length: int | None) -> bool:
        """Send *body*, framed, no faster than the origin takes it. True when all was sent."""
        options = self._options
        left = math.inf if length is None else length
        try:
            async for data in body:
                left -= len(data)
                await link.listen()
                if not link.is_connected():
                    return False
                if left < 0:
                    break
                if data:
                    link.write(data if length is not None else b"%x\r\n%b\r\n" % (len(data), data))
                await link.drain(options.idle_timeout)
            if length is None:
                link.write(b"0\r\n\r\n")
            elif left:
                raise OriginFailure("http_request_error", "the body has another length", sent=True)
        except Exception as error:  # whatever ends the client's body ends the exchange
            link.fail(error)
            return False
        if link.awaited:
            link.arm(options.first_byte_timeout, "http_response_timeout")
        return link.is_connected()

    def _at_rest(self, idle: float) -> Link | None:
        """A connection that was at rest for less than *idle* seconds, made as they are made now."""
        options = self._options
        if self._idle is None or (options.context and options.context() is not self._context):
            return None
        link = self._idle.take(idle)
        if link is None and self._pool is not None and self._pool.is_full:
            self._idle.make_room()
        return link

    async def _connect(self, idle: float) -> Link:
        """A connection from the pool on which a request may be sent."""
        pool, address = self._opened()
        while True:
            try:
                connection = await pool.connect(address, [], self._timeout)
            except (OSError, aiohttp.ClientError) as error:
                failure = connect_failure(error, full=pool.is_full)
                raise (_closed() if self._closed else failure) from error
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if self._closed and not (task and task.cancelling()):
                    raise _closed() from None
                raise
            link = cast(Link, connection.protocol)
            link.connection, link.address = connection, address
            if link.is_fit(idle):
                return link
            link.end()

    def _opened(self) -> tuple[Pool, ClientRequest]:
        """The pool, and what to ask it for: connections by the newest certificates."""
        options = self._options
        context = self._context if options.context is None else options.context()
        if self._pool and self._address and context is self._context:
            return self._pool, self._address
        if self._closed:
            raise _closed()
        if self._pool is None:
            self._pool = Pool(limit=options.limit, keepalive=options.keepalive)
        self._context = context
        loop = asyncio.get_running_loop()
        if self._idle is not None:
            self._idle.clear()
        self._idle = Idle(loop, options.keepalive)
        url, name = URL(options.url).origin(), options.server_name
        self._address = ClientRequest("GET", url, loop=loop, ssl=context, server_hostname=name)
        return self._pool, self._address

    async def close(self) -> None:
        self._closed = True
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()  # which waits until those at rest have ended too
        if self._idle is not None:
            self._idle.clear()
        await self._tasks.close()


def _is_of_before(failure: OriginFailure, link: Link) -> bool:
    """True when it is the exchange before on *link* that accounts for *failure*."""
    if failure.error == "connection_terminated":
        return not link.answered
    return failure.error == "http_protocol_error" and link.awaited


def _unanswered(error: str) -> OriginFailure:
    return OriginFailure(error, "the origin ended the connection", sent=True)


def _closed() -> OriginFailure:
    return OriginFailure("proxy_internal_error", "the origin client is closed", status=503)
