"""Imports aiocache and redis-py, with ``connecting.py`` and ``clustering.py``, and knows what
their versions do.

aiocache 0.12 carries opaque bytes under a namespace: get, multi_get, set, add, delete. Three
of its habits are undone here. Its ``timeout`` wraps every call in a task: it is off, and the
breaker's deadline holds for a group. Its SETEX and PSETEX warn under redis-py 8.1 and refuse
a lifetime of 0: ``set`` writes with PX. Its ``clear`` runs KEYS or FLUSHDB: it is refused.
Serializers are the null one without decoding, so that no value is ever unpickled.

The client is our own: aiocache knows host and port, we need URLs, TLS, unix sockets, Sentinel
and Cluster, no retries (the breaker decides), and a pool that waits instead of raising.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import aiocache
import aiocache.serializers
import redis.exceptions as failures
from redis.asyncio import BlockingConnectionPool, Redis, Sentinel
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from vary_proxy.store.breaker import WIDTH
from vary_proxy.store.clustering import Cluster
from vary_proxy.store.connecting import look_up_apart

_SPARE = 8  # connections for the subscription and for probes, beside those of the breaker


class StoreUrlError(ValueError):
    """The URL of a store cannot be used; the message says why and what would do."""


class BytesCache(aiocache.RedisCache):  # type: ignore[misc]  # aiocache has no types
    """aiocache's RedisCache over a client of ours, for bytes only."""

    def __init__(self, client: Any, namespace: str) -> None:
        super().__init__(serializer=raw(), namespace=namespace, timeout=0)
        self.client = client

    async def _set(
        self,
        key: str,
        value: bytes,
        ttl: float | None = None,
        _cas_token: Any = None,
        _conn: Any = None,
    ) -> Any:
        if ttl is None or _cas_token is not None:
            raise TypeError("every value has a lifetime, and none is swapped by token")
        return await self.client.set(key, value, px=milliseconds(ttl))

    async def _clear(self, namespace: str | None = None, _conn: Any = None) -> Any:
        raise TypeError("KEYS and FLUSHDB are not for servers that others use")

    async def _close(self, *args: Any, _conn: Any = None, **kwargs: Any) -> None:
        await getattr(self.client, "end", self.client.aclose)()
        manager = getattr(getattr(self.client, "connection_pool", None), "sentinel_manager", None)
        for sentinel in () if manager is None else manager.sentinels:
            await sentinel.aclose()  # the client does not think of these


def raw() -> Any:
    """A serializer that leaves bytes alone."""
    return aiocache.serializers.NullSerializer(encoding=None)


def milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))


def load_cache(path: str, options: Mapping[str, Any], namespace: str) -> Any:
    """The ``aiocache.BaseCache`` at dotted *path*, made with *options*, set up for bytes."""
    module, _, name = path.rpartition(".")
    try:
        kind = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise StoreUrlError(
            f"store.backend: {path!r} cannot be imported ({error}); "
            "write a dotted path, for example aiocache.MemcachedCache"
        ) from error
    if not (isinstance(kind, type) and issubclass(kind, aiocache.BaseCache)):
        raise StoreUrlError(f"store.backend: {path!r} is not an aiocache.BaseCache")
    numbers = {key: _number(value) for key, value in options.items()}
    return kind(serializer=raw(), namespace=namespace + ":", timeout=0, **numbers)


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isdecimal() else value


@dataclass(frozen=True, slots=True)
class Target:
    """A Redis URL, read."""

    kind: str  # plain | sentinel | cluster
    label: str  # where it is, without secrets
    nodes: tuple[tuple[str, int], ...]
    options: Mapping[str, Any]
    service: str = ""
    url: str = ""


def read_url(url: str) -> Target:
    """Raises StoreUrlError. Schemes: redis, rediss, unix, and redis or rediss with
    +sentinel (path: /SERVICE/DB) or +cluster; these take several host:port."""
    try:
        parts = urlsplit(url)
        scheme, _, mode = parts.scheme.partition("+")
        if (scheme, mode) not in _SCHEMES:
            raise ValueError("unknown scheme")
        where = parts.netloc.rpartition("@")[2] + parts.path
        label = f"{parts.scheme}://{where}"
        if not mode:
            # A trial: what redis-py cannot read it says now, not at the first request.
            BlockingConnectionPool.from_url(url)
            return Target("plain", label, (), {}, url=url)
        nodes = tuple(
            _nodes(parts.netloc.rpartition("@")[2], 26379 if mode == "sentinel" else 6379)
        )
        options = _options(parts.netloc, parts.query, scheme == "rediss")
        service, _, db = parts.path.strip("/").partition("/")
        if mode == "sentinel":
            if not service:
                raise ValueError("the path must name the service, for example /mymaster/0")
            options["db"] = int(db or 0)
        return Target(mode, label, nodes, options, service=service)
    except ValueError as error:
        raise StoreUrlError(
            f"store.url: {error}; write redis://host:6379/0, rediss://…, unix:///path, "
            "redis+sentinel://host:26379,host:26379/service/0 or redis+cluster://host:6379"
        ) from None


_SCHEMES = {("unix", "")} | {
    (scheme, mode) for scheme in ("redis", "rediss") for mode in ("", "sentinel", "cluster")
}


def _nodes(hosts: str, port: int) -> Iterable[tuple[str, int]]:
    for one in hosts.split(","):
        split = urlsplit(f"//{one}")
        if not split.hostname:
            raise ValueError("a host is missing")
        yield split.hostname, split.port or port


def _options(netloc: str, query: str, tls: bool) -> dict[str, Any]:
    options: dict[str, Any] = {
        name: values[0] for name, values in parse_qs(query, strict_parsing=bool(query)).items()
    }
    if tls:
        options["ssl"] = True
    user, _, password = netloc.rpartition("@")[0].partition(":")
    if user:
        options["username"] = unquote(user)
    if password:
        options["password"] = unquote(password)
    return options


def connect(target: Target, deadline: float) -> Any:
    """A redis-py client; it connects when first used. *deadline* in seconds."""
    common = _common(deadline)
    if target.kind == "plain":
        pool = BlockingConnectionPool.from_url(
            target.url, max_connections=WIDTH + _SPARE, timeout=deadline, **common
        )
        look_up_apart(pool)
        return Redis.from_pool(pool)
    if target.kind == "cluster":
        # Its retries are rounds through the topology after MOVED, not repetitions.
        more = {"retry": Retry(NoBackoff(), 2), "max_connections": 2 * (WIDTH + _SPARE)}
        return Cluster(target.nodes, **{**common, **more, **target.options})
    options = dict(target.options)
    names = ("sentinel_username", "sentinel_password")
    own = {name[9:]: options.pop(name) for name in names if name in options}
    if options.get("ssl"):
        own["ssl"] = True
    sentinel: Any = Sentinel(  # type: ignore[no-untyped-call]
        list(target.nodes),
        sentinel_kwargs={
            **common,
            "socket_timeout": deadline,
            "socket_connect_timeout": deadline,
            **own,
        },
        **common,
        **options,
    )
    return sentinel.master_for(target.service, max_connections=2 * (WIDTH + _SPARE))


def _common(deadline: float) -> dict[str, Any]:
    return {
        "socket_timeout": max(deadline, 1.0),  # the breaker's deadline comes first
        "socket_connect_timeout": max(deadline, 1.0),
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }


async def renew(client: Any) -> None:
    """Look again at who is where: the server that was asked in vain may have been replaced, and
    connections that wait for use still lead to it."""
    if isinstance(client, Cluster):
        await client.look()
    else:
        await client.connection_pool.disconnect(inuse_connections=False)


async def subscriber(target: Target, client: Any, deadline: float) -> tuple[Any, bool]:
    """A client that can subscribe, and whether it is to be closed afterwards.

    In a cluster every node hears every message: any primary will do.
    """
    if target.kind != "cluster":
        return client, False
    return await client.any_primary(**_common(deadline), **target.options), True


def kind_of(error: BaseException) -> str:
    """timeout | refused | full | read-only | garbage | denied."""
    if isinstance(error, TimeoutError | failures.TimeoutError):
        return "timeout"
    text = str(error)
    if isinstance(error, failures.OutOfMemoryError) or "OOM command" in text:
        return "full"
    if isinstance(error, failures.ReadOnlyError) or "READONLY" in text:
        return "read-only"
    if "MISCONF" in text or "NOREPLICAS" in text:  # the first words, but in what a script says
        return "full"
    if isinstance(error, failures.AuthenticationError | failures.NoPermissionError):
        return "denied"
    if isinstance(error, failures.ResponseError) and any(one in text for one in _REFUSALS):
        return "denied"
    if isinstance(error, failures.ClusterError | failures.BusyLoadingError):
        return "refused"
    if isinstance(error, failures.ResponseError):
        return "refused" if text.startswith(_UNWELL) else "garbage"
    return "refused"


_REFUSALS = (
    "NOPERM",
    "NOAUTH",
    "WRONGPASS",
    "DENIED",
    "ACL failure",  # in a script
    "The user executing the script can't",
    "unknown command",
    "Unknown Redis command called from",
    "DB index is out of range",
)
_UNWELL = (
    "LOADING",
    "CLUSTERDOWN",
    "MASTERDOWN",
    "TRYAGAIN",
    "BUSY",
    "max number of clients",
)


def is_wrong_type(error: object) -> bool:
    """True when a key of ours holds something that we would never put there."""
    return isinstance(error, failures.ResponseError) and "WRONGTYPE" in str(error)


def first_error(results: Sequence[Any]) -> None:
    """Raise the first failure among the results of a pipeline."""
    for result in results:
        if isinstance(result, Exception):
            raise result


def kind_of_foreign(error: BaseException) -> str:
    """The same for caches of any make: what is wrong with a value must not stop the store."""
    if isinstance(error, failures.RedisError):
        return kind_of(error)
    text = str(error).lower()
    if "out of memory" in text:
        return "full"
    if isinstance(error, ValueError | TypeError | LookupError) or "too large" in text:
        return "garbage"
    return "refused"
