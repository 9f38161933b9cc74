"""Spans by OpenTelemetry: of requests, of what is asked of origins, of the shared store.

A request continues the trace that its ``traceparent`` names; the origin gets the span that
asks it as its parent (W3C Trace Context). What runs for a request finds its span in the
context that tasks inherit. A hit of the fast lane asks nobody: it becomes a span afterwards,
and only where the client has a trace already. Attributes are those of the HTTP semantic
conventions, and a few of ours.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from opentelemetry import context as contexts
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from vary_proxy import __version__
from vary_proxy.channel import Channel
from vary_proxy.clients.asked import Handler
from vary_proxy.configuration.tracingsettings import Tracing
from vary_proxy.core.message import Pair, Reply, Request
from vary_proxy.observation.accesslog import masked
from vary_proxy.observation.observing import Observer
from vary_proxy.origin import Interim, Naming, Origin, OriginFailure, OriginResponse
from vary_proxy.store import breaker

_MOST_UNDER_WAY = 65536
_LAST_WORDS = 3.0  # seconds in which the last spans must be taken
_CARRIERS = frozenset((b"traceparent", b"tracestate"))
_METHODS = frozenset(
    (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT")
)
_W3C = TraceContextTextMapPropagator()
Attributes = dict[str, str | int | float | bool]


class Spans:
    """A Tracer. *store* names the type of the store."""

    def __init__(self, said: Tracing, store: str, environ: Mapping[str, str]) -> None:
        self._store = store
        named = "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
        service = said.service
        if service is None and not named and not environ.get("OTEL_SERVICE_NAME"):
            service = "vary-proxy"
        told = {"service.version": __version__} | ({"service.name": service} if service else {})
        self._provider = TracerProvider(
            sampler=_sampler(said), resource=Resource.create(told), shutdown_on_exit=False
        )
        endpoint = None if said.endpoint is None else f"{said.endpoint}/v1/traces"
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
        self._tracer = self._provider.get_tracer("vary_proxy", __version__)
        self._under_way: dict[int, tuple[Request, Span]] = {}

    @property
    def observers(self) -> tuple[Observer, ...]:
        return (self._answered,)

    def named(self, request: Request) -> Request:
        """*request* with the traceparent of its trace, where we began one that is kept."""
        found = self._under_way.get(id(request))
        if found is None or b"traceparent" in request.fields or not found[1].is_recording():
            return request
        return replace(request, fields=request.fields.plus(_carried(found[1])))

    def handler(self, handler: Handler) -> Handler:
        """*handler* within a span for each request, which ends when its reply is written."""

        async def answer(request: Request, channel: Channel) -> Reply:
            span = self._begun(request)
            if len(self._under_way) < _MOST_UNDER_WAY:
                self._under_way[id(request)] = request, span
            token = contexts.attach(set_span_in_context(span))
            try:
                return await handler(request, channel)
            except asyncio.CancelledError:
                self._under_way.pop(id(request), None)
                span.end()
                raise
            finally:
                contexts.detach(token)

        return answer

    def origins(self, origins: Mapping[str, Origin]) -> Mapping[str, Origin]:
        return _TracedOrigins(origins, self)

    def store(self, observer: breaker.Observer | None) -> breaker.Observer:
        return _TracedStore(self, self._store, observer)

    async def close(self) -> None:
        """Send what is left, for a few seconds at most."""
        last = threading.Thread(target=self._provider.shutdown, daemon=True)
        last.start()
        await asyncio.to_thread(last.join, _LAST_WORDS)

    def start(self, name: str, kind: SpanKind, told: Attributes, began: float = 0.0) -> Span:
        """A span in the context of who calls; *began* in Unix seconds."""
        return self._tracer.start_span(
            name, kind=kind, attributes=told, start_time=int(began * 1e9) or None
        )

    def _begun(self, request: Request, began: float | None = None) -> Span:
        known = request.method in _METHODS
        start = None if began is None else int(began * 1e9)
        return self._tracer.start_span(
            request.method.decode() if known else "HTTP",
            _parent(request),
            SpanKind.SERVER,
            _of_request(request),
            start_time=start,
        )

    def _answered(self, request: Request, reply: Reply, sent: int, seconds: float) -> None:
        found = self._under_way.pop(id(request), None)
        if found is not None:
            self._end(found[1], reply, sent)
        elif seconds == 0.0 and b"traceparent" in request.fields:  # the fast lane's
            self._end(self._begun(request, time.time()), reply, sent)

    def _end(self, span: Span, reply: Reply, sent: int) -> None:
        if span.is_recording():
            record = reply.record
            span.set_attribute("http.response.status_code", reply.status)
            span.set_attribute("http.response.body.size", sent)
            for name in ("rule", "cache", "reason", "cors", "cors_reason"):
                if value := getattr(record, name):
                    span.set_attribute(f"vary_proxy.{name}", value)
            if reply.status >= 500:
                span.set_attribute("error.type", record.reason or str(reply.status))
                span.set_status(Status(StatusCode.ERROR))
        span.end()


def _sampler(said: Tracing) -> Sampler | None:
    """None: as OTEL_TRACES_SAMPLER says."""
    return None if said.sample is None else ParentBased(TraceIdRatioBased(said.sample))


def _parent(request: Request) -> Context:
    carrier = {
        name.decode(): (request.fields.combined(name) or b"").decode("latin-1")
        for name in _CARRIERS
        if name in request.fields
    }
    return _W3C.extract(carrier, Context())


def _carried(span: Span) -> tuple[Pair, ...]:
    """The fields that tell others of *span*."""
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, set_span_in_context(span))
    return tuple((name.encode(), value.encode()) for name, value in carrier.items())


def _of_request(request: Request) -> Attributes:
    path, _, query = masked(request.target).partition("?")
    told: Attributes = {
        "http.request.method": _method(request.method),
        "url.path": path,
        "url.scheme": request.scheme.decode(),
        "network.protocol.version": f"{request.version[0]}.{request.version[1]}",
    }
    if told["http.request.method"] == "_OTHER":
        told["http.request.method_original"] = request.method.decode("latin-1")
    if query:
        told["url.query"] = query
    told |= _server(request.authority, request.scheme)
    if request.client:
        told["client.address"] = told["network.peer.address"] = request.client
    if (agent := request.fields.get(b"user-agent")) is not None:
        told["user_agent.original"] = agent.decode("latin-1")
    return told


def _method(method: bytes) -> str:
    return method.decode() if method in _METHODS else "_OTHER"


def _server(authority: bytes, scheme: bytes) -> Attributes:
    try:
        parts = urlsplit(f"//{authority.decode('latin-1')}")
        port = parts.port or (443 if scheme == b"https" else 80)
    except ValueError:
        return {}
    return {"server.address": parts.hostname, "server.port": port} if parts.hostname else {}


class _TracedOrigins(dict[str, Origin]):
    __slots__ = ("of",)

    def __init__(self, of: Mapping[str, Origin], spans: Spans) -> None:
        super().__init__({name: _TracedOrigin(name, one, spans) for name, one in of.items()})
        self.of = of  # they may be asked for as long as somebody holds these


class _TracedOrigin:
    def __init__(self, name: str, origin: Origin, spans: Spans) -> None:
        self._name = name
        self._origin = origin
        self._spans = spans

    @property
    def naming(self) -> Naming:
        return self._origin.naming

    async def fetch(
        self,
        request: Request,
        body: AsyncIterator[bytes] | None = None,
        on_interim: Interim | None = None,
    ) -> OriginResponse:
        span = self._begun(request)
        fields = request.fields.without(_CARRIERS).plus(_carried(span))
        asked = replace(request, fields=fields)
        try:
            response = await self._origin.fetch(asked, body, on_interim)
            status = response.head.status
            span.set_attribute("http.response.status_code", status)
            if status >= 400:
                span.set_attribute("error.type", str(status))
                span.set_status(Status(StatusCode.ERROR))
            return response
        except OriginFailure as failure:
            span.set_attribute("error.type", failure.error)
            span.set_status(Status(StatusCode.ERROR, failure.detail))
            raise
        finally:
            span.end()  # the head is here; the body takes as long as its reader does

    def _begun(self, request: Request) -> Span:
        naming = self._origin.naming
        host = naming.authority.decode("latin-1")
        scheme = naming.scheme.decode()
        told: Attributes = {
            "http.request.method": _method(request.method),
            "url.full": f"{scheme}://{host}{masked(request.target)}",
            "vary_proxy.origin": self._name,
            **_server(naming.authority, naming.scheme),
        }
        name = request.method.decode() if request.method in _METHODS else "HTTP"
        return self._spans.start(name, SpanKind.CLIENT, told)

    async def close(self) -> None:
        await self._origin.close()


class _TracedStore:
    """Makes a span of every group of operations that has ended."""

    def __init__(self, spans: Spans, kind: str, inner: breaker.Observer | None) -> None:
        self._spans = spans
        self._kind = kind
        self._inner = inner

    def operation(self, op: str, seconds: float, error: str | None) -> None:
        if self._inner is not None:
            self._inner.operation(op, seconds, error)
        told: Attributes = {"db.system.name": self._kind, "db.operation.name": op}
        began = time.time() - seconds
        span = self._spans.start(f"{op} {self._kind}", SpanKind.CLIENT, told, began)
        if error is not None:
            span.set_attribute("error.type", error)
            span.set_status(Status(StatusCode.ERROR))
        span.end()
