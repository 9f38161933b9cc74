"""Where to listen, and where origins are: addresses as values."""

from __future__ import annotations

from typing import Literal

import msgspec


class Frozen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Address(Frozen, frozen=True, kw_only=True):
    """Where to listen: ``host`` and ``port``, or a unix socket's ``path``. Host "" is any."""

    host: str = ""
    port: int = 0
    path: str | None = None

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class OriginUrl(Frozen, frozen=True, kw_only=True):
    """An origin's URL. ``prefix`` is the path put before every target, without trailing slash."""

    scheme: Literal["http", "https"]
    host: str
    port: int
    prefix: str = ""

    @property
    def authority(self) -> str:
        """host[:port] as Host says it: the default port is left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = 443 if self.scheme == "https" else 80
        return host if self.port == usual else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.prefix}"
