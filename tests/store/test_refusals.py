"""A Redis that refuses: one line in the log with what helps, no wrong answer, soon back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from tests.ports import free_port
from tests.store.builders import KEY, body_of, found, put, stored
from tests.store.conftest import eventually
from tests.store.servers import RedisServer, running
from tests.store.test_failures import exercise
from vary_proxy.store import breaker as breaker_module
from vary_proxy.store import layout
from vary_proxy.store.base import StoreUnavailable
from vary_proxy.store.layered import LayeredStore
from vary_proxy.store.remedies import remedy

A = b"https://a.example"
BACK = 6.0  # seconds
Opened = Callable[..., LayeredStore]
Deed = Callable[[Redis], Awaitable[object]]
# What README.md says that a user needs.
RIGHTS = (
    "reset on >secret ~{} &{} -@all +ping +select +get +mget +set +exists +type +del +unlink "
    "+pexpire +pttl +hget +hgetall +hmget +hset +hdel +hlen +eval +time +scan +publish "
    "+subscribe +unsubscribe"
)


@pytest.fixture(autouse=True)
def _probe_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker_module, "LAST_PROBE", 0.5)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What the log has of the store."""
    caplog.set_level(logging.WARNING, logger="vary_proxy")
    return lambda: [one.getMessage() for one in caplog.records if one.name == "vary_proxy"]


async def say(direct: Any, *words: str) -> None:
    await direct.execute_command(*words)


def user(*rights: str) -> Deed:
    """The user has these rights, in the end; ``RIGHTS`` before."""
    words = RIGHTS.format("*", "*").split()
    return lambda direct: say(direct, "ACL", "SETUSER", "u", *words, *rights)


def config(name: str, value: int) -> Deed:
    return lambda direct: direct.config_set(name, value)


async def _crowded(direct: Redis) -> None:
    await direct.config_set("maxclients", 1)
    await direct.client_kill_filter(skipme=True)


async def _rotated(direct: Redis) -> None:
    await user(">other", "<secret")(direct)
    await direct.client_kill_filter(skipme=True)


CASES: dict[str, tuple[Deed, Deed, str, str]] = {
    "another password": (_rotated, user(), "denied", "user and password"),
    "a user that is off": (user("off"), user(), "denied", "ACL"),
    "no EVAL": (user("-eval"), user(), "denied", "ACL"),
    "no HGETALL": (user("-hgetall"), user(), "denied", "ACL"),
    "no UNLINK": (user("-unlink"), user(), "denied", "ACL"),
    "no PUBLISH": (user("-publish"), user(), "denied", "ACL"),
    "not this channel": (user("resetchannels"), user(), "denied", "ACL"),
    "not these keys": (user("resetkeys", "~other:*"), user(), "denied", "ACL"),
    "too many clients": (_crowded, config("maxclients", 1000), "refused", "raise its maxclients"),
    "full": (config("maxmemory", 1), config("maxmemory", 0), "full", "raise its maxmemory"),
    "too few replicas": (
        config("min-replicas-to-write", 1), config("min-replicas-to-write", 0),
        "full", "min-replicas-to-write",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
async def test_a_refusal_is_told_once_with_what_helps_and_gets_over(
    case: str, server: RedisServer, direct: Redis, opened: Opened, lines: Callable[[], list[str]]
) -> None:
    hurt, heal, kind, words = CASES[case]
    await user()(direct)
    url = server.url.replace("redis://", "redis://u:secret@")
    store, other = opened("redis", url=url), opened("redis", url=url)
    await put(store, KEY, stored(A), b"before")
    await hurt(direct)
    for number in range(12):
        await exercise(store, b"%d" % number)
        await store.purge(b"%d" % number)
    assert await store.purge(KEY) <= 1
    assert await found(store, KEY) is None
    (line,) = [one for one in lines() if "until it is back" in one]
    assert kind in line
    assert words in line
    assert len(lines()) <= 4, lines()  # and of the subscription that is lost, for each that had one
    await heal(direct)
    await eventually(lambda: store.shared.breaker.writable, BACK)
    assert not store.shared.debts
    assert await other.load(KEY) is None
    await put(store, KEY, stored(A), b"after")
    assert await other.load(KEY) is not None


async def test_the_rights_that_are_named_suffice(
    server: RedisServer, direct: Redis, opened: Opened, namespace: str
) -> None:
    words = RIGHTS.format(f"{namespace}:*", f"{namespace}:*").split()
    await say(direct, "ACL", "SETUSER", "u", *words)
    store = opened("redis", url=server.url.replace("redis://", "redis://u:secret@"))
    await store.load(KEY)
    await eventually(lambda: store.trusted)
    await exercise(store)
    await store.shared.driver.ping(write=True)
    await store.shared.driver.ping(write=False)
    await store.purge_tag(b"x", soft=True)
    await store.purge_all()
    assert not store.shared.breaker.errors


async def test_rights_of_subscribing_alone_are_told_and_each_request_asks(
    server: RedisServer, direct: Redis, opened: Opened, lines: Callable[[], list[str]]
) -> None:
    await user("-subscribe")(direct)
    url = server.url.replace("redis://", "redis://u:secret@")
    store, other = opened("redis", url=url), opened("redis", url=url)
    await put(store, KEY, stored(A))
    assert await found(store, KEY) is not None
    await eventually(lambda: len(lines()) == 1)
    assert "changes are not heard of" in lines()[0]
    assert not store.trusted
    await other.purge(KEY)
    assert await found(store, KEY) is None
    await asyncio.sleep(0.5)
    assert len(lines()) == 1, "and not again"
    await user()(direct)
    await eventually(lambda: store.trusted, BACK)


async def test_commands_under_other_names_are_told(
    tmp_path: Path, opened: Opened, lines: Callable[[], list[str]]
) -> None:
    with running(RedisServer(tmp_path, "--rename-command", "EVAL", "")) as server:
        store = opened("redis", url=server.url)
        for number in range(8):
            await exercise(store, b"%d" % number)
            await store.purge(b"%d" % number)
        (line,) = lines()
        assert "unknown command" in line
        assert "README.md" in line
        await asyncio.sleep(1)  # probes do not mistake it for one that is well
        await exercise(store)
        assert lines() == [line]


async def test_a_database_that_is_not_there_is_told(
    server: RedisServer, opened: Opened, lines: Callable[[], list[str]]
) -> None:
    store = opened("redis", url=f"redis://127.0.0.1:{server.port}/99", on_error="fail")
    for _ in range(4):
        with contextlib.suppress(StoreUnavailable):
            await exercise(store)
    (line,) = [one for one in lines() if "until it is back" in one]
    assert "number of a database" in line


async def test_a_busy_script_costs_what_a_slow_server_does(
    server: RedisServer, direct: Redis, opened: Opened, lines: Callable[[], list[str]]
) -> None:
    store = opened("redis", url=server.url, timeout=0.25)
    await direct.config_set("busy-reply-threshold", 1)
    looping = asyncio.get_running_loop().create_task(_loop(server.port))
    await asyncio.sleep(0.1)
    for number in range(8):
        await exercise(store, b"%d" % number)
    (line,) = [one for one in lines() if "until it is back" in one]
    assert "SCRIPT KILL" in line or "timeout" in line
    await direct.script_kill()
    await looping
    await eventually(lambda: store.shared.breaker.writable, BACK)


async def _loop(port: int) -> None:
    async with Redis(port=port, socket_timeout=30) as client:
        with contextlib.suppress(RedisError):
            await client.eval("while true do redis.call('GET', 'x') end", 0)


async def test_a_server_that_still_loads_is_waited_for(
    tmp_path: Path, opened: Opened, lines: Callable[[], list[str]]
) -> None:
    slow = ("--key-load-delay", "5000", "--loading-process-events-interval-bytes", "1024")
    server = RedisServer(tmp_path, *slow, "--rdbcompression", "no", "--enable-debug-command", "yes")
    with running(server):
        async with Redis(port=server.port) as direct:
            await say(direct, "DEBUG", "POPULATE", "4000", "old", "100")
            await direct.save()
        server.kill()
        server._pong = b"-LOADING"
        server.start()
        store = opened("redis", url=server.url)
        for number in range(8):
            await exercise(store, b"%d" % number)
        (line,) = [one for one in lines() if "until it is back" in one]
        assert "it reads its data" in line
        async with Redis(port=server.port) as direct:
            await direct.config_set("key-load-delay", 0)
        await eventually(lambda: store.shared.breaker.writable, 3 * BACK)
        await put(store, KEY, stored(A))
        assert await store.shared.load(KEY) is not None


async def test_a_certificate_of_nobodys_is_told(
    tmp_path: Path, opened: Opened, lines: Callable[[], list[str]]
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-keyout", key, "-out", certificate, "-subj", "/CN=localhost", "-days", "2",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    port = free_port()
    options: list[Any] = ["--tls-port", port, "--tls-cert-file", certificate]
    options += ["--tls-key-file", key, "--tls-auth-clients", "no"]
    with running(RedisServer(tmp_path, *map(str, options))):
        url = f"rediss://127.0.0.1:{port}/0"
        store = opened("redis", url=url)
        for number in range(4):
            await exercise(store, b"%d" % number)
        (line,) = [one for one in lines() if "until it is back" in one]
        assert "ssl_ca_certs" in line
        trusting = opened("redis", url=f"{url}?ssl_ca_certs={certificate}")
        published = await put(trusting, KEY, stored(A), b"secret")
        assert await body_of(trusting.shared, KEY, published) == b"secret"


async def test_all_connections_killed_again_and_again_harm_nobody(
    server: RedisServer, direct: Redis, opened: Opened, lines: Callable[[], list[str]]
) -> None:
    store = opened("redis", url=server.url)
    await put(store, KEY, stored(A), b"here")
    for number in range(10):
        await direct.client_kill_filter(skipme=True)
        await exercise(store, b"%d" % number)
    await eventually(lambda: store.shared.breaker.writable and store.trusted, BACK)
    assert await store.load(KEY) is not None
    assert len(lines()) <= 2


async def test_a_primary_made_a_replica_takes_no_more_and_its_purges_read_as_gone(
    server: RedisServer, direct: Redis, opened: Opened, lines: Callable[[], list[str]]
) -> None:
    store, other = opened("redis", url=server.url), opened("redis", url=server.url)
    await put(store, KEY, stored(A))
    await direct.replicaof("127.0.0.1", str(free_port()))  # of nobody: it keeps what it has
    assert await store.purge(KEY) == 1
    assert await found(store, KEY) is None
    for number in range(8):
        await exercise(store, b"%d" % number)
    (line,) = [one for one in lines() if "until it is back" in one]
    assert "write its primary" in line
    await direct.replicaof("NO", "ONE")
    await eventually(lambda: store.shared.breaker.writable, BACK)
    assert await found(other, KEY) is None


async def test_a_purge_that_failed_for_a_value_alone_is_made_up_for(
    server: RedisServer, direct: Redis, opened: Opened, namespace: str
) -> None:
    """The purge of a tag meets a foreign value in place of the epochs: it is owed, not lost."""
    store, other = opened("redis", url=server.url), opened("redis", url=server.url)
    await put(store, KEY, stored(A, cache_tag="news"))
    await direct.set(f"{namespace}:{layout.EPOCHS}", b"foreign")
    await store.purge_tag(b"news")
    assert await found(store, KEY) is None
    await store.load(b"somebody looks")  # who finds what is foreign removes it
    await eventually(lambda: store.shared.breaker.writable and not store.shared.debts, BACK)
    assert await found(other, KEY) is None


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        ("denied", "DENIED Redis is running in protected mode", "give it a password"),
        ("full", "MISCONF Redis is configured to save RDB snapshots", "it cannot save"),
        ("refused", "Error 111 connecting to 127.0.0.1:1", "see that it runs"),
        ("garbage", "WRONGTYPE Operation against a key", "store.namespace"),
    ],
)
def test_remedies(kind: str, text: str, words: str) -> None:
    assert words in remedy(kind, text)
