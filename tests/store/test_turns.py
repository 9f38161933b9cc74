"""One at a time for each name, and no trace of a name that nobody wants."""

from __future__ import annotations

import asyncio

from vary_proxy.store.turns import Turns


async def test_who_comes_as_a_turn_ends_waits_for_those_who_were_there() -> None:
    turns, inside, most = Turns(), 0, 0

    async def enter(again: int) -> None:
        nonlocal inside, most
        for _ in range(again):
            async with turns.of("row"):
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0)
                inside -= 1

    await asyncio.gather(*(enter(3) for _ in range(4)))
    assert most == 1
    assert not turns


async def test_other_names_do_not_wait_and_who_leaves_in_the_queue_holds_nothing() -> None:
    turns = Turns()
    async with turns.of("a"), asyncio.timeout(5), turns.of("b"):
        waiting = asyncio.create_task(turns.of("a").__aenter__())  # type: ignore[arg-type]
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
    assert not turns
