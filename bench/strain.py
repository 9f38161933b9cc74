"""What strangers cost the others, at full size: the figures that SECURITY.md gives.

    python -m bench.strain [--variants 100000] [--idle 5000] [--slow 500] [--only NAME …]

Origin, clients and proxy are in one process, but for the idle connections, whose proxy is the
command itself. Each figure stands beside its limit; the exit status is 0 when all are kept.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.hold import strain, troubles
from tests.hold.worlds import MAX_AGE, front, get, resident, said

MIB = 1 << 20
Figure = tuple[str, float, float, str]  # what, measured, its limit, the unit


async def slow(options: argparse.Namespace) -> list[Figure]:
    figures: list[Figure] = []
    for fast in (True, False):
        limit = f"limits: {{connections: {options.slow + 500}}}"
        async with front(strain.site, fast=fast, server=limit) as edge:
            felt = await strain.felt(edge, options.slow, 4000)
        figures += [
            (f"{_lane(fast)}: p99 of others, alone", felt.alone * 1000, 1e9, "ms"),
            (f"{_lane(fast)}: p99 among {options.slow} slow", felt.among * 1000, 100, "ms"),
        ]
    return figures


async def variants(options: argparse.Namespace) -> list[Figure]:
    figures: list[Figure] = []
    for fast in (True, False):
        for target, field in ((b"/page", b"User-Agent"), (b"/cors", b"Origin")):
            async with front(strain.varying, fast=fast) as edge:
                before = resident()
                tried = await strain.tried(edge, target, field, options.variants)
                grown = (resident() - before) / MIB
            what = f"{_lane(fast)}: {options.variants} values of {field.decode()}"
            figures += [
                (f"{what}, a hit there", tried.before * 1e6, 1e9, "us"),
                (f"{what}, a hit there after", tried.after / tried.before, 2, "times"),
                (f"{what}, elsewhere after", tried.other_after / tried.other_before, 2, "times"),
                (f"{what}, memory", grown, 1.5 * 16 + 64, "MiB"),
            ]
    return figures


async def idle(options: argparse.Namespace) -> list[Figure]:
    count = options.idle
    strain.allow_files(count + 1000)
    with tempfile.TemporaryDirectory() as directory:
        async with strain.an_origin() as origin:
            text = strain.ONE_PROXY.format(connections=count, port=origin.port)
            async with troubles.outside(Path(directory) / "p.yaml", text, workers=1) as proxy:
                many = strain.Idle(proxy.port)
                await asyncio.to_thread(many.connect, 100, asking=True)
                pid = proxy.command.serving()
                before = strain.resident_of(pid)
                await asyncio.to_thread(many.connect, count - 100, asking=True)
                each = (strain.resident_of(pid) - before) / (count - 100)
                total = strain.resident_of(pid) / MIB
                more = strain.Idle(proxy.port)
                await asyncio.to_thread(more.connect, 100, asking=False)
                told = [await asyncio.to_thread(more.status, link) for link in more.open]
                more.close()
                many.close()
    return [
        (f"{count} idle connections, each", each / 1024, 16, "KiB"),
        (f"{count} idle connections, the whole process", total, 64 + 1.5 * 256, "MiB"),
        ("of 100 more, neither told 503 nor ended", 100 - told.count(503) - told.count(0), 0, ""),
    ]


async def readers(options: argparse.Namespace) -> list[Figure]:
    figures: list[Figure] = []
    for control in (MAX_AGE, b"Cache-Control: no-store"):
        async with front(store="{type: memory, memory: {max: 64MiB}}") as edge:
            edge.origin.on_connection = strain.streaming(8 * MIB, control)
            await edge.primed(b"/large")
            grown = await strain.readers(edge, 40) / MIB
        kind = control.decode().partition(" ")[2]
        figures.append((f"40 slow readers of 8 MiB, {kind}", grown, 200, "MiB"))
    return figures


async def filling(options: argparse.Namespace) -> list[Figure]:
    figures: list[Figure] = []
    size = 32
    for body in (bytes(100), bytes(40_000)):
        store = f"{{type: memory, memory: {{max: {size}MiB}}}}"
        async with front(lambda asked, body=body: said(body, MAX_AGE), store=store) as edge:  # type: ignore[misc]
            client = await edge.client()
            before = resident()
            for number in range(options.urls):
                await client.ask(get(b"/%d" % number))
                edge.origin.asked.clear()
            grown = (resident() - before) / MIB
        what = f"{options.urls} URLs of {len(body)} bytes, a cache of {size} MiB"
        figures.append((what, grown, 1.5 * size + 64, "MiB"))
    return figures


def _lane(fast: bool) -> str:
    return "fast lane" if fast else "long way"


SCENARIOS: dict[str, Callable[[argparse.Namespace], Awaitable[list[Figure]]]] = {
    "slow": slow, "idle": idle, "readers": readers, "filling": filling, "variants": variants,
}  # fmt: skip


async def measure(options: argparse.Namespace) -> int:
    kept = True
    for name in options.only or SCENARIOS:
        for what, value, limit, unit in await SCENARIOS[name](options):
            kept = kept and value <= limit
            beside = (
                "" if limit >= 1e9 else f"   (limit {limit:g}{'' if value <= limit else ': OVER'})"
            )
            print(f"{what:<64} {value:>9.2f} {unit}{beside}", flush=True)
    return 0 if kept else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="what strangers cost the others")
    parser.add_argument("--variants", type=int, default=100_000)
    parser.add_argument("--urls", type=int, default=50_000)
    parser.add_argument("--idle", type=int, default=5_000)
    parser.add_argument("--slow", type=int, default=500)
    parser.add_argument("--only", nargs="*", choices=SCENARIOS, default=[])
    logging.disable(logging.CRITICAL)
    sys.exit(asyncio.run(measure(parser.parse_args())))
