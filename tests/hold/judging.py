"""`make judge`: realms of every sort, one after the other, until so many answers were judged.

    python -m tests.hold.judging [--answers 1000000] [--seed 1] [--each 5000]

Each realm has a seed of its own, which is printed when an answer in it was wrong. What meets
what is a matter of moments too: the same seed makes the same realm, not the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import logging
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.hold.realms import SORTS, judged
from tests.hold.verdicts import answers_in
from tests.store.servers import RedisServer, running


async def until_judged(answers: int, seed: int, each: int, most: float) -> None:
    total: Counter[str] = Counter()
    begun = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as directory,
        running(RedisServer(Path(directory))) as server,
    ):
        for number in itertools.count(seed):
            sort = SORTS[number % len(SORTS)]
            try:
                realm = await judged(sort, each, number, server, Path(directory))
            except BaseException:
                print(f"wrong in the realm of seed {number}: {sort}", flush=True)
                raise
            total += realm.seen
            count, spent = answers_in(total), time.monotonic() - begun
            print(f"{spent:7.0f} s {count:>9} answers, seed {number}: {sort}", flush=True)
            if count >= answers or spent > most:
                break
    print(f"{answers_in(total)} answers judged from seed {seed} on, none wrong")
    print(", ".join(f"{name}: {count}" for name, count in sorted(total.items())))


if __name__ == "__main__":
    options = argparse.ArgumentParser(description="random requests, judged byte by byte")
    options.add_argument("--answers", type=int, default=1_000_000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--each", type=int, default=5_000, help="answers in one realm")
    options.add_argument("--seconds", type=float, default=float("inf"), help="and no longer")
    chosen = options.parse_args()
    logging.disable(logging.CRITICAL)  # faults are what it is about
    asyncio.run(until_judged(chosen.answers, chosen.seed, chosen.each, chosen.seconds))
    sys.exit(0)
