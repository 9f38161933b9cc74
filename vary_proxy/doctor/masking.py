"""Keeps secrets out of what is shown: credentials in fields, signatures and tokens in URLs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

_HARMLESS = frozenset(
    ("accept", "accept-encoding", "accept-language", "cache-control", "host", "user-agent")
)
_PARAMETER = re.compile(r"([?&;])([^=&;#\s\"]+)=[^&;#\s\"]*")
_SECRET = re.compile(
    r"(?:x-amz-(?:signature|credential|security-token)|x-goog-(?:signature|credential)"
    r"|awsaccesskeyid|key-pair-id|(?:[a-z0-9]+[_.-])*(?:signature|sig|token|secret|password|passwd"
    r"|pwd|auth|key|apikey|code|policy|credential|session))",
    re.IGNORECASE,
)
MASK = "***"


@dataclass(frozen=True, slots=True)
class Masks:
    """``values`` are texts that must not be shown, wherever they turn up."""

    values: tuple[str, ...] = ()

    @classmethod
    def of(cls, fields: Iterable[tuple[str, str]]) -> Masks:
        """Masks for the *fields* that a user adds: all values but those of harmless fields."""
        values: set[str] = set()
        for name, value in fields:
            if name.lower() not in _HARMLESS and value:
                values |= {value, *(one for one in value.split() if len(one) >= 8)}
        return cls(tuple(sorted(values, key=len, reverse=True)))

    def text(self, text: str) -> str:
        """*text* as it may be shown."""
        for value in self.values:
            text = text.replace(value, MASK)
        return _PARAMETER.sub(_masked, text)


def _masked(parameter: re.Match[str]) -> str:
    """The *parameter* without a secret; a server decodes its name, and so do we."""
    if _SECRET.fullmatch(unquote(parameter[2])) is None:
        return parameter[0]
    return f"{parameter[1]}{parameter[2]}={MASK}"
