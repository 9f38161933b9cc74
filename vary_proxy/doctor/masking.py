"""Keeps secrets out of what is shown: credentials in fields, signatures and tokens in URLs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_HARMLESS = frozenset(
    ("accept", "accept-encoding", "accept-language", "cache-control", "host", "user-agent")
)
_SECRET_PARAMETER = re.compile(
    r"([?&;](?:x-amz-(?:signature|credential|security-token)|x-goog-(?:signature|credential)"
    r"|awsaccesskeyid|key-pair-id|(?:[a-z0-9]+[_.-])*(?:signature|sig|token|secret|password|passwd"
    r"|pwd|auth|key|apikey|code|policy|credential|session))=)[^&;#\s\"]*",
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
        return _SECRET_PARAMETER.sub(rf"\1{MASK}", text)
