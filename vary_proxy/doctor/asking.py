"""Puts probes to a server: one at a time, with a deadline, a bound on the body, and a budget.

The client is the proxy's own towards origins: nothing is followed, decoded, invented or kept.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

from vary_proxy.core.message import Fields, Request
from vary_proxy.doctor.sheet import Answer, Exchange, Pairs, Probe
from vary_proxy.origin import OriginFailure
from vary_proxy.origins.httpclient import HttpOrigin, OriginOptions
from vary_proxy.origins.httpresponse import HttpResponse

MOST_REQUESTS = 36  # to one server about one URL
MOST_BODY = 256 * 1024  # bytes that are read of a body
TIMEOUT = 10.0  # seconds for one answer, body included


_REMEDIES = {
    "connection_refused": "; is it running there, and is the URL right?",
    "dns_error": "; is the URL right?",
    "tls_certificate_error": "; say whom to trust by --cacert FILE, or believe any by --insecure",
    "tls_protocol_error": "; does it speak TLS on that port?",
}


class Unanswered(Exception):
    """No usable answer; the text says why."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How to ask. ``fields`` come with every request; ``ca`` is a file of certificates."""

    fields: Pairs = ()
    ca: str | None = None
    verify: bool = True
    timeout: float = TIMEOUT


@dataclass(frozen=True, slots=True)
class Place:
    """A URL taken apart: ``server`` is scheme://authority, ``target`` what is asked for there."""

    url: str
    server: str
    authority: str
    target: str


def place(url: str) -> Place:
    """*url* taken apart. Raises ValueError, whose text says what to write."""
    wrong = ValueError(f"{url!r} is no URL; write http://host/path or https://host/path, in ASCII")
    if not url.isascii() or any(one <= " " or one == "\x7f" for one in url):
        raise wrong
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # brackets, or a port out of range
        raise wrong from None
    if not usable:
        raise wrong
    if parts.username is not None:
        raise ValueError("a URL with a user in it; give credentials as -H 'Authorization: …'")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    server = f"{parts.scheme}://{parts.netloc}"
    return Place(url.partition("#")[0], server, parts.netloc, target)


class Asker:
    """Asks *server* (scheme://host[:port]) about *asked*. To be closed. Raises ValueError."""

    def __init__(self, server: str, asked: Place, manner: Manner) -> None:
        options = OriginOptions(
            url=server,
            connect_timeout=manner.timeout,
            first_byte_timeout=manner.timeout,
            idle_timeout=manner.timeout,
            ca_file=manner.ca,
            verify=manner.verify,
        )
        try:
            self._client = HttpOrigin(options)
        except ValueError as error:
            raise ValueError(f"{server!r} is no server: {error}; write http://host:port") from None
        except (OSError, ssl.SSLError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ValueError(f"{manner.ca}: cannot read certificates: {reason}") from None
        self._place = asked
        self._manner = manner
        self.asked = 0

    async def ask(self, probe: Probe) -> Exchange:
        """The answer to *probe*. Raises Unanswered."""
        if self.asked >= MOST_REQUESTS:
            raise Unanswered(f"{MOST_REQUESTS} requests were made already")
        self.asked += 1
        sent = self._fields(probe)
        target = probe.target or self._place.target
        try:
            async with asyncio.timeout(self._manner.timeout):
                answer = await self._answer(probe.method, target, sent)
        except TimeoutError:
            raise Unanswered(f"no whole answer within {self._manner.timeout:g} s") from None
        except OriginFailure as failure:
            said = re.sub(r" ssl:\S+ ", " ", str(failure))
            raise Unanswered(said + _REMEDIES.get(failure.error, "")) from None
        return Exchange(probe, probe.method, target, sent, answer)

    def _fields(self, probe: Probe) -> Pairs:
        """The fields of the request: what the user gave stands above what we would say."""
        given = {name.lower() for name, _ in self._manner.fields}
        usual = (("Accept", "*/*"), ("User-Agent", "vary-proxy-doctor"))
        asker = () if probe.origin is None else (("Origin", probe.origin),)
        own = tuple(pair for pair in usual if pair[0].lower() not in given)
        # A preflight is sent by the browser itself: nothing of the page's goes with it.
        extra = self._manner.fields
        if probe.method == "OPTIONS":
            extra = tuple(pair for pair in extra if pair[0].lower() == "host")
        return (*own, *extra, *asker, *probe.fields)

    async def _answer(self, method: str, target: str, sent: Pairs) -> Answer:
        host = [value for name, value in sent if name.lower() == "host"]
        fields = tuple(
            (name.lower().encode(), value.encode("latin-1", "replace")) for name, value in sent
        )
        authority = (host[0] if host else self._place.authority).encode("latin-1", "replace")
        request = Request(method.encode(), target.encode(), Fields(fields), authority=authority)
        response = await self._client.fetch(request)
        try:
            body = await _digest(response)
        finally:
            await response.close()
        return Answer(response.head.status, response.head.fields, body)

    async def close(self) -> None:
        await self._client.close()


async def _digest(response: HttpResponse) -> bytes:
    digest, read = hashlib.blake2b(digest_size=16), 0
    async for chunk in response.chunks():
        digest.update(chunk[: MOST_BODY - read])
        read += len(chunk)
        if read >= MOST_BODY:
            break
    return digest.digest()
