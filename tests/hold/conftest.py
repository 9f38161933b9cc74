"""The stores that the suites of this folder run on."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from tests.hold import worlds
from tests.store.conftest import redis_server  # noqa: F401  the fixture
from tests.store.servers import RedisServer

_numbers = itertools.count()
NONE = "{max: 0, max_object: 0}"


def _in_redis(server: RedisServer, memory: str) -> Callable[[], str]:
    """A namespace of its own for every proxy, and a deadline that a busy machine keeps."""

    def text() -> str:
        namespace = f"hold{next(_numbers)}"
        where = f'type: redis, url: "{server.url}", namespace: {namespace}, timeout: 5s'
        return f"{{{where}, memory: {memory}}}"

    return text


@pytest.fixture(params=["memory", "redis"])
def each_memory(
    request: pytest.FixtureRequest,
    redis_server: RedisServer,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The proxies of the test keep what they keep in memory, or in Redis behind it too."""
    if request.param == "redis":
        monkeypatch.setattr(worlds, "default_store", _in_redis(redis_server, "{max: 16MiB}"))


@pytest.fixture(params=["memory", "redis", "redis alone"])
def each_store(
    request: pytest.FixtureRequest,
    redis_server: RedisServer,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As ``each_memory``, or in Redis alone."""
    if request.param == "redis":
        monkeypatch.setattr(worlds, "default_store", _in_redis(redis_server, "{max: 16MiB}"))
    elif request.param == "redis alone":
        monkeypatch.setattr(worlds, "default_store", _in_redis(redis_server, NONE))


@pytest.fixture
def redis_alone(
    redis_server: RedisServer,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The proxies of the test keep what they keep in Redis, and nothing in memory."""
    monkeypatch.setattr(worlds, "default_store", _in_redis(redis_server, NONE))
