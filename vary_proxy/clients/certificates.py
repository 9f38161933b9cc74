"""Certificates of TLS listeners: read at the start, and again when their files change.

A renewed pair is tried in a context of its own first; only one that fits together replaces
what new handshakes are given. Connections that stand are not touched. TLS 1.2 or newer, and
HTTP/1.1 by ALPN (RFC 7301), for that is what is spoken here.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path

from vary_proxy.reloading import digest

_log = logging.getLogger("vary_proxy")


class CertificateError(Exception):
    """A pair that cannot be used; its text names the file, what is wrong, and what to do."""


class Certificate:
    """A certificate chain, its key, and the ``context`` that presents them.

    Raises CertificateError when they cannot be used.
    """

    def __init__(self, cert: Path, key: Path) -> None:
        self._cert = cert
        self._key = key
        self._seen = self._digests()
        self.context = _context()
        self._load(self.context)

    async def look(self) -> bool:
        """Read the files again if they changed; True when a new pair is in use."""
        now = await asyncio.to_thread(self._digests)
        if now == self._seen:
            return False
        self._seen = now
        try:
            await asyncio.to_thread(lambda: self._load(_context()))
            self._load(self.context)
        except CertificateError as error:
            _log.error("the old certificate goes on: %s", error)
            return False
        _log.info("the certificate was reloaded from %s", self._cert)
        return True

    def _digests(self) -> tuple[bytes, bytes]:
        return digest(self._cert), digest(self._key)

    def _load(self, context: ssl.SSLContext) -> None:
        for path in (self._cert, self._key):
            try:
                path.read_bytes()
            except OSError as error:
                raise CertificateError(
                    f"{path}: {error.strerror}; name a file that exists and can be read"
                ) from None
        try:
            context.load_cert_chain(self._cert, self._key, _no_password)
        except ssl.SSLError as error:
            raise CertificateError(self._explained(error)) from None
        except (OSError, ValueError) as error:
            raise CertificateError(f"{self._cert}: {error}") from None

    def _explained(self, error: ssl.SSLError) -> str:
        if error.reason == "KEY_VALUES_MISMATCH":
            return f"{self._key}: not the key of {self._cert}; give the pair that belongs together"
        said = error.reason or str(error)
        return (
            f"{self._cert}, {self._key}: cannot be read as PEM ({said});"
            " the one holds the certificate and then its issuers, the other the private key"
        )


def _no_password() -> str:
    # Without this OpenSSL would ask at the terminal, and wait.
    raise ValueError("the key is encrypted; store it without a password")


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    return context
