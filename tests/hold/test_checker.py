"""All of it at once, judged byte by byte; VARY_PROXY_HOLD_ANSWERS sets how many answers.

`make judge` goes on through realm after realm, to a million answers. That the judge sees what
is wrong is shown by faults put in on purpose; `python -m tests.hold.sabotage` tries them all.
"""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hold.realms import SORTS, Sort, judged
from tests.hold.sabotage import QUICK, TABLE, Sabotage, seen
from tests.hold.verdicts import answers_in
from tests.store.servers import RedisServer, running

ANSWERS = int(os.environ.get("VARY_PROXY_HOLD_ANSWERS", "200"))
SEED = int(os.environ.get("VARY_PROXY_HOLD_SEED", "20"))
SABOTAGES = TABLE if "VARY_PROXY_HOLD_SABOTAGE" in os.environ else QUICK
CALM = (SORTS[0], next(sort for sort in SORTS if sort.proxies > 1))
TRIED = [sort for sort in SORTS if sort.faults or ANSWERS > 1000 or sort in CALM]
pytestmark = pytest.mark.timeout(24 * 3600 if ANSWERS > 1000 else 300)


@pytest.fixture(scope="module")
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that may be paused, killed and emptied."""
    with running(RedisServer(tmp_path_factory.mktemp("judged"))) as server:
        yield server


@pytest.mark.parametrize("sort", TRIED, ids=str)
async def test_no_answer_is_wrong(sort: Sort, own_redis: RedisServer, tmp_path: Path) -> None:
    realm = await judged(sort, ANSWERS, SEED, own_redis, tmp_path)
    told = realm.seen
    assert answers_in(told) >= ANSWERS * 0.5  # some clients leave before theirs, some are cut off
    assert {"200", "206", "304"} <= set(told)
    if not sort.workers:
        assert any(name.startswith("purged by") for name in told)
    assert sort.clock == (told["clock jumps"] > 0)
    assert sort.reloads == (told["reloads"] > 0)
    assert all(seconds < 5 for seconds in realm.lacking)  # a worker is back within 5 s


@pytest.fixture
def abandoned() -> Iterator[None]:
    """What a run leaves open that is given up in its midst is nobody's fault."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.mark.usefixtures("abandoned")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda one: one.name)
async def test_the_judge_sees_what_is_wrong(sabotage: Sabotage, own_redis: RedisServer) -> None:
    await seen(sabotage, own_redis, 1500, range(SEED, SEED + 6))


def test_every_sabotage_is_another() -> None:
    assert len({one.name for one in TABLE}) == len(TABLE) > 40
