"""Traces, as a collector receives them by OTLP over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.admin.conftest import Origin, Proxy, Start
from vary_proxy.cli import status
from vary_proxy.configuration.tracingsettings import Tracing
from vary_proxy.observation import tracing
from vary_proxy.observation.tracing import TracingError, Untraced

SERVER, CLIENT = 2, 3
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = f"00-{TRACE}-{PARENT}-01"


@dataclass
class Span:
    name: str
    kind: int
    trace: str
    own: str
    parent: str
    failed: bool
    seconds: float
    said: dict[str, Any]
    resource: dict[str, Any]


@dataclass
class Collector:
    url: str = ""
    spans: list[Span] = field(default_factory=list)

    async def receive(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/x-protobuf"
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        told = ExportTraceServiceRequest.FromString(body)
        for group in told.resource_spans:
            resource = _plain(group.resource.attributes)
            for scope in group.scope_spans:
                self.spans += [_span(one, resource) for one in scope.spans]
        return web.Response(
            body=ExportTraceServiceResponse().SerializeToString(),
            content_type="application/x-protobuf",
        )

    def of(self, kind: int, **said: Any) -> list[Span]:
        wanted = {name.replace("__", "."): value for name, value in said.items()}
        return [
            one for one in self.spans if one.kind == kind and wanted.items() <= one.said.items()
        ]


def _plain(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


def _span(one: Any, resource: dict[str, Any]) -> Span:
    return Span(
        one.name, one.kind, one.trace_id.hex(), one.span_id.hex(), one.parent_span_id.hex(),
        one.status.code == 2, (one.end_time_unix_nano - one.start_time_unix_nano) / 1e9,
        _plain(one.attributes), resource,
    )  # fmt: skip


@pytest.fixture
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Collector]:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    made = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", made.receive)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


async def until(claim: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not claim():
            await asyncio.sleep(0.01)


def traced(collector: Collector, more: str = "") -> str:
    return f'tracing: {{endpoint: "{collector.url}"{more}}}\n'


async def test_a_request_continues_its_trace_and_the_origin_gets_it(
    start: Start, origin: Origin, collector: Collector
) -> None:
    given: list[str | None] = []

    async def answer(request: web.Request) -> web.Response:
        given.append(request.headers.get("traceparent"))
        assert request.headers.get("tracestate") == "vendor=1"
        return web.Response(text="content", headers={"Cache-Control": "max-age=60"})

    origin.handler = answer
    proxy = await start(traced(collector, ", service: edge"))
    target = "/a%20b?X-Amz-Signature=secret&c=d"
    await proxy.get(target, traceparent=SAMPLED, tracestate="vendor=1", user_agent="me")
    await until(lambda: len(collector.spans) == 2)
    (server,), (client,) = collector.of(SERVER), collector.of(CLIENT)
    assert (server.name, server.trace, server.parent) == ("GET", TRACE, PARENT)
    assert (client.name, client.trace, client.parent) == ("GET", TRACE, server.own)
    assert given == [f"00-{TRACE}-{client.own}-01"]
    assert server.resource["service.name"] == "edge"
    port = int(proxy.url.rpartition(":")[2])
    expected = {
        "http.request.method": "GET", "url.path": "/a%20b", "url.scheme": "http",
        "url.query": "X-Amz-Signature=***&c=d", "server.address": "127.0.0.1",
        "server.port": port, "client.address": "127.0.0.1", "user_agent.original": "me",
        "network.protocol.version": "1.1", "http.response.status_code": 200,
        "http.response.body.size": 7, "vary_proxy.rule": "defaults", "vary_proxy.cache": "pass",
    }  # fmt: skip
    assert expected.items() <= server.said.items()
    assert client.said["url.full"] == f"{origin.url}/a%20b?X-Amz-Signature=***&c=d"
    assert (client.said["http.response.status_code"], client.said["vary_proxy.origin"]) == (
        200, "media",
    )  # fmt: skip
    assert {server.failed, client.failed} == {False}
    assert server.seconds >= client.seconds > 0
    assert "secret" not in str(collector.spans)


async def test_the_log_names_the_trace_that_was_begun_here(
    start: Start, collector: Collector, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    proxy = await start(traced(collector) + f'log: {{access: "{log}"}}\n')
    await proxy.get("/a")
    await until(lambda: log.read_text() and collector.spans)
    assert json.loads(log.read_text())["trace"] == collector.spans[0].trace


async def test_hits_are_told_where_there_is_a_trace(
    start: Start, origin: Origin, collector: Collector
) -> None:
    proxy = await start(traced(collector))
    for _ in range(3):
        await proxy.get("/a")
    await until(lambda: len(collector.of(SERVER)) == 2)  # a miss, and a hit by the long way
    await proxy.get("/a", traceparent=SAMPLED)  # by the fast lane
    await until(lambda: len(collector.of(SERVER)) == 3)
    last = collector.of(SERVER)[-1]
    assert (last.trace, last.parent, last.said["vary_proxy.cache"]) == (TRACE, PARENT, "hit")
    assert len(collector.of(CLIENT)) == 1
    assert last.resource["service.name"] == "vary-proxy"


async def test_what_is_not_sampled_is_passed_on_and_not_told(
    start: Start, origin: Origin, collector: Collector
) -> None:
    given: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        given.append(request.headers["traceparent"])
        return web.Response(text="x")

    origin.handler = answer
    proxy = await start(traced(collector, ", sample: 0"))
    await proxy.get("/a", traceparent=SAMPLED[:-1] + "0")
    await proxy.get("/b")
    await proxy.get("/c", traceparent=SAMPLED)  # sampled by who began it
    await until(lambda: len(collector.spans) == 2)
    assert [one.said.get("url.path") for one in collector.of(SERVER)] == ["/c"]
    assert given[0].startswith(f"00-{TRACE}-")
    assert [int(one[-2:], 16) & 1 for one in given] == [0, 0, 1]


async def test_failures_are_told_as_such(
    start: Start, origin: Origin, collector: Collector
) -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.path == "/cut":
            assert request.transport is not None
            request.transport.close()
        return web.Response(status=503 if request.path == "/down" else 404)

    origin.handler = answer
    proxy = await start(traced(collector))
    for target in ("/down", "/cut", "/none"):
        await proxy.get(target)
    await until(lambda: len(collector.spans) == 6)
    (down,) = collector.of(SERVER, url__path="/down")
    assert (down.failed, down.said["http.response.status_code"]) == (True, 503)
    (cut,) = collector.of(SERVER, url__path="/cut")
    assert (cut.failed, cut.said["http.response.status_code"]) == (True, 502)
    assert cut.said["error.type"] == "connection_terminated"
    (asked,) = collector.of(CLIENT, error__type="connection_terminated")
    assert asked.failed
    (none,) = collector.of(SERVER, url__path="/none")
    assert not none.failed  # a client's mistake is none of ours


async def test_operations_on_a_shared_store_are_told(start: Start, collector: Collector) -> None:
    store = "store: {type: aiocache, backend: aiocache.SimpleMemoryCache}\n"
    proxy = await start(traced(collector) + store)
    await proxy.get("/a", traceparent=SAMPLED)

    def operations() -> list[Span]:
        return collector.of(CLIENT, db__system__name="aiocache")

    await until(operations)
    assert {one.trace for one in operations()} == {TRACE}
    assert all(one.said["db.operation.name"] for one in operations())


async def test_spans_that_nobody_takes_hold_up_no_end(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vary_proxy.observation.spans._LAST_WORDS", 0.2)
    proxy = await start('tracing: "http://127.0.0.1:9"\n')
    await proxy.get("/a")
    async with asyncio.timeout(30):
        await proxy.app.close()


async def test_the_environment_alone_can_ask_for_traces(
    start: Start, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "by-environment")
    proxy = await start("")
    await proxy.get("/a")
    await until(lambda: len(collector.spans) == 2)
    assert collector.spans[0].resource["service.name"] == "by-environment"


SAID = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {**SAID, "OTEL_SDK_DISABLED": "true"},
        {**SAID, "OTEL_TRACES_EXPORTER": "none"},
        {**SAID, "OTEL_TRACES_EXPORTER": "console"},
    ],
)
def test_nothing_is_traced_unless_asked_for(environ: dict[str, str]) -> None:
    assert isinstance(tracing.tracer(Tracing(), "memory", environ), Untraced)


def test_another_protocol_is_refused() -> None:
    with pytest.raises(TracingError, match="http/protobuf, not grpc"):
        tracing.tracer(Tracing(), "memory", {**SAID, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})


def test_without_the_extra_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(tracing, "find_spec", lambda name: None)
    args = ["run", "--origin", "http://127.0.0.1:9", "--listen", "127.0.0.1:0"]
    assert status([*args, "--set", "tracing.endpoint=http://127.0.0.1:9"]) == 1
    assert "pip install 'vary-proxy[otel]'" in capsys.readouterr().err
    # Variables may be there for every program of a machine: that is no reason not to serve.
    assert isinstance(tracing.tracer(Tracing(), "memory", SAID), Untraced)
    assert "pip install 'vary-proxy[otel]'" in caplog.text


async def test_untraced_requests_pass_traceparent_on_as_it_came(
    proxy: Proxy, origin: Origin
) -> None:
    given: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        given.append(request.headers["traceparent"])
        return web.Response(text="x")

    origin.handler = answer
    await proxy.get("/a", traceparent=SAMPLED)
    assert given == [SAMPLED]
    with contextlib.suppress(AttributeError):
        assert not proxy.app._tracer.observers


def test_where_nothing_is_traced_nothing_of_it_is_loaded_or_stands_between() -> None:
    untraced = Untraced()

    async def handler(request: Any, channel: Any) -> Any:
        return None

    assert untraced.handler(handler) is handler
    assert (untraced.store(None), untraced.observers, untraced.named) == (None, (), None)
    code = (
        "import sys; from vary_proxy.app import App; from vary_proxy.config import loads;"
        "App(loads(b'origins: {a: http://127.0.0.1:9}', 'x.yaml', {}, environ={}));"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    clean = {name: one for name, one in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=clean)
    assert done.stdout == "[]\n", done.stderr
