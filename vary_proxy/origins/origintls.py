"""TLS towards an origin: whom we trust, who we say we are, and both anew when files change.

An origin's certificate is verified against the system's authorities or those of a file, and
must fit the host of the URL or the ``server_name`` given. A client certificate is shown to
whoever asks for one. Files that change make a new context; when they cannot be used the old
one goes on, and the log says why. Connections that stand are not touched.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path

from vary_proxy.configuration import settings as said
from vary_proxy.reloading import digest

_log = logging.getLogger("vary_proxy")


class OriginTls:
    """What *tls* of an origin says, files relative to *beside*, as a ``context``.

    Raises ValueError, which says what is wrong with which file.
    """

    def __init__(self, tls: said.OriginTls, beside: Path) -> None:
        self._verify = tls.verify
        self._ca = None if tls.ca is None else beside / tls.ca
        self._pair = None if tls.cert is None else (beside / tls.cert, beside / (tls.key or ""))
        self._files = [one for one in (self._ca, *(self._pair or ())) if one is not None]
        self._seen = self._digests()
        self.context = self._made()

    async def look(self) -> bool:
        """Read the files again if they changed; True when there is a new ``context``."""
        now = await asyncio.to_thread(self._digests)
        if now == self._seen:
            return False
        self._seen = now
        try:
            self.context = await asyncio.to_thread(self._made)
        except ValueError as error:
            _log.error("the old certificates for an origin go on: %s", error)
            return False
        _log.info("certificates for an origin were reloaded: %s", ", ".join(map(str, self._files)))
        return True

    def _digests(self) -> tuple[bytes, ...]:
        return tuple(map(digest, self._files))

    def _made(self) -> ssl.SSLContext:
        for path in self._files:
            try:
                path.read_bytes()
            except OSError as error:
                raise ValueError(
                    f"{path}: {error.strerror}; name a file that exists and can be read"
                ) from None
        context = self._trusting()
        context.set_alpn_protocols(["http/1.1"])
        if self._pair is not None:
            self._show(context, *self._pair)
        return context

    def _trusting(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self._ca)
        except (ssl.SSLError, OSError):
            raise ValueError(f"{self._ca}: holds no certificate in PEM") from None
        if not self._verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def _show(self, context: ssl.SSLContext, cert: Path, key: Path) -> None:
        try:
            context.load_cert_chain(cert, key, _no_password)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise ValueError(f"{key}: not the key of {cert}; give the pair") from None
            told = error.reason or error
            raise ValueError(f"{cert}, {key}: cannot be read as PEM ({told})") from None


def _no_password() -> str:
    # Without this OpenSSL would ask at the terminal, and wait.
    raise ValueError("a client certificate's key is encrypted; store it without a password")
