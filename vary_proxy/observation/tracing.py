"""Distributed traces, when they are asked for: by the configuration, or as OTEL_* variables say.

This module only decides whether; ``spans.py``, and with it OpenTelemetry, is imported when
there is something to trace. Otherwise everything passes through untouched.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Protocol

from vary_proxy.clients.asked import Handler
from vary_proxy.configuration.tracingsettings import Tracing
from vary_proxy.observation.accesslog import Named
from vary_proxy.observation.observing import Observer
from vary_proxy.origin import Origin
from vary_proxy.store import breaker

_log = logging.getLogger("vary_proxy")
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_INSTALL = "pip install 'vary-proxy[otel]'"


class TracingError(Exception):
    """Traces are asked for and cannot be made; the message says what to do."""


class Tracer(Protocol):
    """What is put around the parts of an app."""

    def handler(self, handler: Handler) -> Handler: ...

    def origins(self, origins: Mapping[str, Origin]) -> Mapping[str, Origin]: ...

    def store(self, observer: breaker.Observer | None) -> breaker.Observer | None: ...

    @property
    def named(self) -> Named | None:
        """Gives a request that is being answered the ``traceparent`` of its trace, if any."""

    @property
    def observers(self) -> tuple[Observer, ...]:
        """To be told last: the trace of a request is known until then."""

    async def close(self) -> None: ...


class Untraced:
    """No traces."""

    observers: tuple[Observer, ...] = ()
    named: Named | None = None

    def handler(self, handler: Handler) -> Handler:
        return handler

    def origins(self, origins: Mapping[str, Origin]) -> Mapping[str, Origin]:
        return origins

    def store(self, observer: breaker.Observer | None) -> breaker.Observer | None:
        return observer

    async def close(self) -> None:
        pass


def tracer(said: Tracing, store: str, environ: Mapping[str, str]) -> Tracer:
    """The tracer that is asked for; *store* names its type. Raises TracingError."""
    by_file = said.endpoint is not None
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return Untraced()
    if not by_file and not _asked_by(environ):
        return Untraced()
    lacking = not _is_installed()
    if lacking and by_file:
        raise TracingError(f"tracing.endpoint needs OpenTelemetry; {_INSTALL}")
    protocol = next((environ[name] for name in _PROTOCOLS if environ.get(name)), "http/protobuf")
    if protocol != "http/protobuf":
        raise TracingError(f"traces go out as http/protobuf, not {protocol}; set {_PROTOCOLS[0]}")
    if lacking:  # the variables may be there for every program of a machine
        _log.warning("not traced, though OTEL_* variables ask for it: %s", _INSTALL)
        return Untraced()
    from vary_proxy.observation.spans import Spans

    return Spans(said, store, environ)


def _asked_by(environ: Mapping[str, str]) -> bool:
    exporter = environ.get("OTEL_TRACES_EXPORTER", "")
    if exporter:
        return exporter == "otlp"
    return any(environ.get(name) for name in _ENDPOINTS)


def _is_installed() -> bool:
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False
