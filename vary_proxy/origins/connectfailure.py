"""What a connection that could not be made is called (RFC 9209 §2.3), and what we answer."""

from __future__ import annotations

import errno
import os

import aiohttp

from vary_proxy.origin import OriginFailure

_BY_ERRNO = {
    errno.ECONNREFUSED: ("connection_refused", 502),
    errno.EHOSTUNREACH: ("destination_ip_unroutable", 502),
    errno.ENETUNREACH: ("destination_ip_unroutable", 502),
    errno.ETIMEDOUT: ("connection_timeout", 504),
    errno.ECONNRESET: ("connection_terminated", 502),
    errno.ECONNABORTED: ("connection_terminated", 502),
    errno.EPIPE: ("connection_terminated", 502),
    errno.EMFILE: ("proxy_internal_error", 503),
    errno.ENFILE: ("proxy_internal_error", 503),
    errno.EADDRNOTAVAIL: ("proxy_internal_error", 503),
}


def connect_failure(error: Exception, *, full: bool) -> OriginFailure:
    """What a failed connect is called in RFC 9209 §2.3; *full* when all connections are in use."""
    name, status = "connection_refused", 502
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        name = "tls_certificate_error"
    elif isinstance(error, aiohttp.ClientSSLError):
        name = "tls_protocol_error"
    elif isinstance(error, aiohttp.ClientConnectorDNSError | aiohttp.InvalidURL):
        name = "dns_error"
    elif isinstance(error, TimeoutError):
        name, status = ("connection_limit_reached", 503) if full else ("connection_timeout", 504)
    elif isinstance(error, OSError):
        name, status = _BY_ERRNO.get(error.errno or 0, (name, status))
    return OriginFailure(name, _why(error), status=status)


def _why(error: Exception) -> str:
    """What the system said, without the client library's words around it."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        inner = error.certificate_error
        return str(getattr(inner, "verify_message", "") or inner)
    if isinstance(error, aiohttp.ClientConnectorError) and (said := error.os_error.strerror):
        number = error.os_error.errno or 0  # asyncio puts words of its own beside it
        host = f"[{error.host}]" if ":" in error.host else error.host
        return f"{host}:{error.port}: {os.strerror(number) if number > 0 else said}"
    return str(error)
