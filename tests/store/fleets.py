"""Several Redis servers that are one store: a Cluster, and a primary behind Sentinels."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from redis import Redis

from tests.store.servers import RedisServer, SentinelServer

SLOTS = 16384
PATIENCE = 20.0  # seconds for servers to find each other on a busy machine


class Cluster:
    """Primaries that share the slots evenly, each with as many *replicas*."""

    def __init__(self, directory: Path, primaries: int = 3, replicas: int = 0) -> None:
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "500")
        options += ("--cluster-require-full-coverage", "no")
        count = primaries * (1 + replicas)
        self.nodes = [RedisServer(directory, *options) for _ in range(count)]
        self.primaries, self.replicas = self.nodes[:primaries], self.nodes[primaries:]

    @property
    def url(self) -> str:
        """Names two of the nodes; the rest is found by asking them."""
        some = [f"127.0.0.1:{node.port}" for node in (*self.nodes[1:], self.nodes[0])[:2]]
        return f"redis+cluster://{','.join(some)}"

    def start(self) -> None:
        for node in self.nodes:
            node.start()
        count, first = len(self.primaries), self.nodes[0].port
        for number, node in enumerate(self.primaries):
            bounds = [SLOTS * at // count for at in (number, number + 1)]
            tell(node, "CLUSTER", "ADDSLOTSRANGE", bounds[0], bounds[1] - 1)
        for number, node in enumerate(self.nodes):
            tell(node, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            tell(node, "CLUSTER", "MEET", "127.0.0.1", first)
        wait(lambda: all(self._sees_all(node) for node in self.nodes))
        for number, node in enumerate(self.replicas):
            of = self.primaries[number % count]
            tell(node, "CLUSTER", "REPLICATE", tell(of, "CLUSTER", "MYID"))
        wait(lambda: all(self._is_well(node) for node in self.nodes))

    def _sees_all(self, node: RedisServer) -> bool:
        return _info(node)["cluster_known_nodes"] == str(len(self.nodes))

    def _is_well(self, node: RedisServer) -> bool:
        info = _info(node)
        if (info["cluster_state"], info["cluster_slots_ok"]) != ("ok", str(SLOTS)):
            return False
        return node in self.primaries or _role(node)[3] == "connected"

    def kill(self) -> None:
        for node in self.nodes:
            node.kill()


class Watched:
    """A primary with a replica, watched by *sentinels* of which more than half must agree."""

    def __init__(self, directory: Path, sentinels: int = 1) -> None:
        self.primary = RedisServer(directory)
        self.replica = RedisServer(directory, "--replicaof", "127.0.0.1", str(self.primary.port))
        quorum = sentinels // 2 + 1
        self.sentinels = [
            SentinelServer(directory, self.primary.port, quorum=quorum) for _ in range(sentinels)
        ]

    @property
    def url(self) -> str:
        where = ",".join(f"127.0.0.1:{one.port}" for one in self.sentinels)
        return f"redis+sentinel://{where}/main/0"

    def start(self) -> None:
        for server in (self.primary, self.replica, *self.sentinels):
            server.start()
        wait(lambda: _role(self.replica)[3] == "connected")
        wait(lambda: all(self._is_ready(one) for one in self.sentinels))

    def _is_ready(self, sentinel: SentinelServer) -> bool:
        replicas = tell(sentinel, "SENTINEL", "REPLICAS", "main")
        others = tell(sentinel, "SENTINEL", "SENTINELS", "main")
        return len(replicas) == 1 and len(others) == len(self.sentinels) - 1

    def kill(self) -> None:
        for server in (*self.sentinels, self.replica, self.primary):
            server.kill()


def is_primary(server: RedisServer) -> bool:
    return bool(_role(server)[0] == "master")


def tell(server: RedisServer | SentinelServer, *words: Any) -> Any:
    """The answer of one server to one command."""
    with Redis(port=server.port, decode_responses=True, protocol=2) as client:
        client.response_callbacks.clear()  # as it was sent
        return client.execute_command(*words)


def wait(claim: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not claim():
        assert time.monotonic() < deadline, "the servers did not find each other in time"
        time.sleep(0.02)


def _info(node: RedisServer) -> dict[str, str]:
    lines = str(tell(node, "CLUSTER", "INFO")).splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _role(server: RedisServer) -> list[Any]:
    role: list[Any] = tell(server, "ROLE")
    return role
