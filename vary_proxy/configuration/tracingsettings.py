"""What the configuration may say of traces."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from vary_proxy.configuration.addresses import OriginUrl


class Tracing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    short: ClassVar[str] = "endpoint"
    endpoint: Annotated[OriginUrl | None, "origin_url"] = None  # None: as OTEL_* variables say
    service: str | None = None  # None: as they say, or vary-proxy
    sample: Annotated[float | None, "share"] = None  # of requests without a trace of their own
