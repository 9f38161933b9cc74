"""Builds an origin from what the configuration says of it, from the inside out.

One HttpOrigin for each URL; around it what addresses or signs; around all of them what
balances, checks and retries; outermost what continues a broken body. A part that has nothing
to do is left out.
"""

from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path

from vary_proxy import settings as said
from vary_proxy.continuing import Continued
from vary_proxy.credentials import Credentials, chain
from vary_proxy.httpclient import HttpOrigin, OriginOptions
from vary_proxy.origin import Naming
from vary_proxy.signing import Sign, Signing, signer
from vary_proxy.upstreams import Addressed, Care, Reached, Upstream, Upstreams

_PROFILE = "profile:"


class OriginError(ValueError):
    """An origin cannot be built as the configuration says."""


def reached(origin: said.Origin, beside: Path = Path()) -> Continued:
    """The origin that *origin* describes; paths are relative to *beside*. Raises OriginError."""
    try:
        return Continued(_cared_for(origin, beside))
    except (ValueError, OSError, ssl.SSLError) as error:
        raise OriginError(f"origin {origin.url}: {error}") from error


def _cared_for(origin: said.Origin, beside: Path) -> Reached:
    options = [origin_options(origin, url, beside) for url in origin.urls]
    several = len(options) > 1
    cared = several or origin.retry is not None or origin.health is not None
    if not cared and origin.bucket is None and origin.sign is None:
        return HttpOrigin(options[0])
    owner = _Owner(origin)
    doors = [owner.member(one) for one in options]
    if owner.held is None and not cared:
        return doors[0].door
    return _Owned(doors, _care(origin, several=several), owner.held)


class _Owned(Upstreams):
    """Upstreams that share credentials, and give them back."""

    def __init__(self, members: list[Upstream], care: Care, held: Credentials | None) -> None:
        super().__init__(members, care)
        self._held = held

    async def close(self) -> None:
        await super().close()
        if self._held is not None:
            await self._held.close()


class _Owner:
    """Makes the members of one origin; ``held`` are the credentials that they sign with."""

    def __init__(self, origin: said.Origin) -> None:
        self._origin = origin
        self.held: Credentials | None = None
        self._sign: Sign | None = None
        if origin.sign is not None:
            said_of = origin.sign.credentials
            profile = said_of.removeprefix(_PROFILE) if said_of.startswith(_PROFILE) else None
            self.held = Credentials(chain(profile))
            self._sign = signer(origin.sign.region)

    def member(self, options: OriginOptions) -> Upstream:
        bare = HttpOrigin(options)
        named = bucket_naming(bare.naming, self._origin.bucket, self._origin.addressing)
        if self._sign is None or self.held is None:
            return Upstream(Addressed(bare, named), bare)
        return Upstream(Signing(bare, named, self._sign, self.held.keys), bare)


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


def origin_options(origin: said.Origin, url: said.OriginUrl, beside: Path) -> OriginOptions:
    times, tls = origin.timeouts, origin.tls
    return OriginOptions(
        url=str(url),
        host=origin.host.value if origin.host.mode == "literal" else origin.host.mode,
        connect_timeout=times.connect,
        first_byte_timeout=times.first_byte,
        idle_timeout=times.idle,
        ca_file=None if tls.ca is None else str(beside / tls.ca),
        verify=tls.verify,
    )
