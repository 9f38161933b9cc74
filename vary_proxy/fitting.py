"""Settings as the parts of an app take them: a store, and the options of the server."""

from __future__ import annotations

from collections.abc import Callable

from vary_proxy.configuration import settings as said
from vary_proxy.core import edge, vary
from vary_proxy.core.policy import Policy
from vary_proxy.core.wire import HeadLimits
from vary_proxy.server import ServerOptions
from vary_proxy.store.base import Store
from vary_proxy.store.breaker import Observer
from vary_proxy.store.opening import open_store
from vary_proxy.tasks import Tasks

_DEFAULT_TIER_OBJECT = 1 << 20  # bytes; the biggest body kept in front of a shared store


def opened(
    store: said.Store,
    tasks: Tasks,
    clock: Callable[[], float],
    observer: Observer | None = None,
) -> Store:
    """The store that the configuration names. Raises ValueError when it cannot be used."""
    memory = store.memory
    most = memory.max_object
    if most is None:
        most = memory.max // 4 if store.type == "memory" else _DEFAULT_TIER_OBJECT
    return open_store(
        store.type,
        tasks=tasks,
        clock=clock,
        memory_max=memory.max,
        memory_max_object=min(most, store.max_object),
        url=store.url,
        backend=store.backend,
        options=store.options,
        namespace=store.namespace,
        max_object=store.max_object,
        timeout=store.timeout,
        on_error=store.on_error,
        observer=observer,
    )


def server_options(server: said.Server, fallback: Policy) -> ServerOptions:
    limits, times = server.limits, server.timeouts
    return ServerOptions(
        head=HeadLimits(limits.head, limits.line, limits.fields, limits.target),
        body=limits.body,
        connections=limits.connections,
        head_timeout=times.head,
        idle_timeout=times.idle,
        body_timeout=times.idle,
        write_timeout=times.write,
        error_vary=vary.for_errors(edge.nominated(fallback), b"GET"),
    )
