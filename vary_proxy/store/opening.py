"""Opens the store that the configuration asks for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

from vary_proxy.store.base import Store
from vary_proxy.store.breaker import Observer
from vary_proxy.store.memory import MemoryStore
from vary_proxy.tasks import Tasks

_NAMESPACE = re.compile(r"[A-Za-z0-9._-]{1,64}")


def open_store(
    kind: Literal["memory", "redis", "aiocache"],
    *,
    tasks: Tasks,
    clock: Callable[[], float],
    memory_max: int,
    memory_max_object: int,
    url: str | None = None,
    backend: str | None = None,
    options: Mapping[str, Any] | None = None,
    namespace: str = "vp",
    max_object: int = 256 << 20,
    timeout: float = 0.25,
    on_error: Literal["bypass", "fail"] = "bypass",
    observer: Observer | None = None,
) -> Store:
    """A MemoryStore, or a LayeredStore over what *url* or *backend* names.

    Nothing is connected yet: a store that cannot be reached is no reason not to start.
    Raises StoreUrlError (a ValueError) when they cannot be used.
    """
    if kind == "memory":
        return MemoryStore(memory_max, memory_max_object, clock)
    # These clients take a good part of the start-up time of a process: only who uses them pays.
    from vary_proxy.store import _aiocache
    from vary_proxy.store.anycache import CacheDriver
    from vary_proxy.store.fleet import FleetFlights
    from vary_proxy.store.layered import LayeredStore
    from vary_proxy.store.notices import Notices
    from vary_proxy.store.redis import RedisDriver
    from vary_proxy.store.shared import SharedStore

    if _NAMESPACE.fullmatch(namespace) is None:
        raise _aiocache.StoreUrlError(
            f"store.namespace: {namespace!r} must be 1 to 64 letters, digits, '.', '_' or '-'"
        )
    fail = on_error == "fail"
    if kind == "aiocache":
        path = backend or ""
        foreign = CacheDriver(path, options or {}, namespace, tasks)
        shared = SharedStore(foreign, tasks, clock, max_object, timeout, fail, observer)
        return LayeredStore(shared, None, memory_max, memory_max_object, clock)
    driver = RedisDriver(url or "redis://127.0.0.1:6379/0", namespace, timeout)
    shared = SharedStore(driver, tasks, clock, max_object, timeout, fail, observer)
    sender, deaf = shared.rows.sender, shared.breaker.deaf
    hub = Notices(driver.subscriber, driver.channel, sender, tasks, timeout, deaf)
    flights = FleetFlights(driver, shared.breaker, hub, sender)
    return LayeredStore(shared, hub, memory_max, memory_max_object, clock, flights)
