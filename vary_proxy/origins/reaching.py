"""Builds an origin from what the configuration says of it, from the inside out.

One HttpOrigin for each URL; around it what addresses or signs; around all of them what
balances, checks and retries; outermost what continues a broken body. A part that has nothing
to do is left out.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from vary_proxy.configuration import settings as said
from vary_proxy.origin import Naming, OriginFailure
from vary_proxy.origins.continuing import Continued
from vary_proxy.origins.credentials import Credentials, chain
from vary_proxy.origins.httpclient import HttpOrigin, OriginOptions
from vary_proxy.origins.layer import Reached
from vary_proxy.origins.origintls import OriginTls
from vary_proxy.origins.signing import Sign, Signing, signer
from vary_proxy.origins.upstreams import Addressed, Care, Upstream, Upstreams

_PROFILE = "profile:"
_TOLD_FOR = 60.0  # seconds in which a failure of one kind is not told again
_REMEDIES = {
    "connection_refused": "; is it running there, and is the url right?",
    "dns_error": "; is the url right?",
    "tls_certificate_error": "; name its authority by tls: {ca: FILE}",
    "tls_protocol_error": "; does it speak TLS there? else write http:// in the url",
}

_log = logging.getLogger("vary_proxy")


class OriginError(ValueError):
    """An origin cannot be built as the configuration says."""


def reached(origin: said.Origin, beside: Path = Path()) -> WholeOrigin:
    """The origin that *origin* describes; paths are relative to *beside*. Raises OriginError."""
    try:
        return _Builder(origin, beside).whole()
    except (ValueError, OSError) as error:
        raise OriginError(f"origin {origin.url}: {error}") from error


class WholeOrigin(Continued):
    """All layers of an origin, and what they hold in common. Its failures are logged."""

    def __init__(
        self,
        origin: Reached,
        name: str,
        held: Credentials | None = None,
        tls: OriginTls | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(origin)
        self._name = name
        self._held = held
        self._tls = tls
        self._clock = clock
        self._told: dict[str, float] = {}  # when, by the failure

    def begin(self) -> None:
        """Look for credentials, and after the URLs, before anybody asks."""
        if self._held is not None:
            self._held.begin()
        super().begin()

    async def renew(self) -> None:
        """Take certificates that have changed."""
        if self._tls is not None:
            await self._tls.look()

    def failed(self, failure: OriginFailure) -> None:
        """Log *failure*, once a while."""
        if failure.error == "http_request_error":  # the client's doing
            return
        now = self._clock()
        if now - self._told.get(failure.error, -_TOLD_FOR) >= _TOLD_FOR:
            self._told[failure.error] = now
            said = " ".join(str(failure).split()) + _REMEDIES.get(failure.error, "")
            _log.warning("origin %s: %s", self._name, said)

    async def close(self) -> None:
        await super().close()
        if self._held is not None:
            await self._held.close()


class _Builder:
    """Makes the layers of one origin."""

    def __init__(self, origin: said.Origin, beside: Path) -> None:
        self._origin = origin
        self._held: Credentials | None = None
        self._sign: Sign | None = None
        if origin.sign is not None:
            said_of = origin.sign.credentials
            profile = said_of.removeprefix(_PROFILE) if said_of.startswith(_PROFILE) else None
            look = chain(profile, origin.sign.region)
            self._held = Credentials(look, whom=str(origin.url))
            self._sign = signer(origin.sign.region)
        secure = any(url.scheme == "https" for url in origin.urls)
        self._tls = OriginTls(origin.tls, beside) if secure else None

    def whole(self) -> WholeOrigin:
        name = " ".join(map(str, self._origin.urls))
        return WholeOrigin(self._cared_for(), name, self._held, self._tls)

    def _cared_for(self) -> Reached:
        origin = self._origin
        options = [origin_options(origin, url, self._tls) for url in origin.urls]
        several = len(options) > 1
        cared = several or origin.retry is not None or origin.health is not None
        if not cared and origin.bucket is None and origin.sign is None:
            return HttpOrigin(options[0])
        doors = [self._member(one) for one in options]
        return Upstreams(doors, _care(origin, several=several)) if cared else doors[0].door

    def _member(self, options: OriginOptions) -> Upstream:
        bare = HttpOrigin(options)
        named = bucket_naming(bare.naming, self._origin.bucket, self._origin.addressing)
        if self._sign is None or self._held is None:
            return Upstream(Addressed(bare, named), bare, options.url)
        return Upstream(Signing(bare, named, self._sign, self._held.keys), bare, options.url)


def bucket_naming(naming: Naming, bucket: str | None, addressing: str) -> Naming:
    """*naming* with *bucket* before every target (``path``), or before the host (``virtual``)."""
    if bucket is None:
        return naming
    name = bucket.encode()
    if addressing == "path":
        return replace(naming, prefix=naming.prefix + b"/" + name)
    return replace(naming, host=name + b"." + (naming.host or naming.authority))


def _care(origin: said.Origin, *, several: bool) -> Care:
    attempts = 2 if several else 1
    if origin.retry is not None:
        attempts = origin.retry.attempts
    if origin.health is None:
        return Care(attempts)
    health = origin.health
    return Care(
        attempts, health.fail_after, check=health.path.encode("latin-1"), every=health.every
    )


def origin_options(
    origin: said.Origin, url: said.OriginUrl, tls: OriginTls | None
) -> OriginOptions:
    times = origin.timeouts
    return OriginOptions(
        url=str(url),
        host=origin.host.value if origin.host.mode == "literal" else origin.host.mode,
        connect_timeout=times.connect,
        first_byte_timeout=times.first_byte,
        idle_timeout=times.idle,
        context=None if tls is None else lambda: tls.context,
        server_name=origin.tls.server_name,
    )
