"""A name server that does not answer: one look-up, nobody else held up, and a process that ends."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from vary_proxy.names import Names
from vary_proxy.store.redis import RedisDriver

NAME = "redis.test"


class Resolver:
    """``getaddrinfo`` that knows no name until ``answer`` is set, and counts who asks."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer = threading.Event()
        self.real = socket.getaddrinfo

    def __call__(self, host: str, *args: object, **named: object) -> object:
        if host != NAME:
            return self.real(host, *args, **named)  # type: ignore[arg-type]
        self.asked.append(host)
        self.answer.wait(30)
        raise socket.gaierror(socket.EAI_AGAIN, "nobody answers")


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    made = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", made)
    yield made
    made.answer.set()


async def test_many_who_ask_share_one_look_up_and_leave_at_their_own_deadline(
    resolver: Resolver,
) -> None:
    driver = RedisDriver(f"redis://{NAME}:6379/0", "vp", 0.05)

    async def asked() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await driver.ping(write=False)

    await asyncio.gather(*(asked() for _ in range(30)))
    assert resolver.asked == [NAME]
    resolver.answer.set()
    with pytest.raises(Exception, match="nobody answers"):
        await driver.ping(write=False)
    await driver.close()


async def test_another_name_is_found_meanwhile(resolver: Resolver) -> None:
    names = Names()
    waiting = [asyncio.ensure_future(names.addresses(NAME, 1)) for _ in range(20)]
    found = await names.addresses("localhost", 80)
    assert {one[4][1] for one in found} == {80}
    resolver.answer.set()
    ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(one) for one in ended} == {socket.gaierror}
    assert resolver.asked == [NAME]


async def test_what_was_found_is_not_kept_for_later(resolver: Resolver) -> None:
    resolver.answer.set()
    names = Names()
    for _ in range(2):
        with pytest.raises(socket.gaierror):
            await names.addresses(NAME, 1)
    assert resolver.asked == [NAME, NAME]


async def test_no_thread_to_be_had_fails_one_look_up_and_no_later_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    names = Names()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", full)
        with pytest.raises(OSError, match="can't start new thread"):
            await names.addresses("localhost", 80)
    async with asyncio.timeout(30):
        assert await names.addresses("localhost", 80)


ENDS = """
import asyncio, socket, time
socket.getaddrinfo = lambda *a, **k: time.sleep(60)
from vary_proxy.store.redis import RedisDriver

async def main():
    driver = RedisDriver("redis://redis.test:6379/0", "vp", 0.05)
    try:
        async with asyncio.timeout(0.1):
            await driver.ping(write=False)
    except TimeoutError:
        print("gave up")
    await driver.close()

import uvloop
with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(main())
"""


def test_the_end_of_the_process_waits_for_no_look_up() -> None:
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", ENDS], capture_output=True, text=True, timeout=50)
    assert done.stdout == "gave up\n", done.stderr
    assert done.returncode == 0
    assert time.monotonic() - began < 30
