"""A cache weighs no more than its bound, however many distinct objects go through it.

The full form is ``python -m bench.million``: a million of them.
"""

from __future__ import annotations

import re
import subprocess
import sys

import pytest


@pytest.mark.parametrize(("store", "count"), [("memory", 6000), ("redis", 1500)])
def test_many_times_more_than_fits_stays_within_the_bound(store: str, count: int) -> None:
    command = [sys.executable, "-m", "bench.million", "--max", "4", "--store", store]
    told = subprocess.run(
        [*command, "--count", str(count)], capture_output=True, text=True, timeout=55
    )
    assert told.returncode == 0, told.stdout + told.stderr
    last = told.stdout.splitlines()[-1]
    found = re.search(r"bound 70 MiB; holds ([\d.]+) MiB in (\d+) resources; (\d+) hits", last)
    assert found is not None, last
    held, resources, hits = float(found[1]), int(found[2]), int(found[3])
    assert 1 < held <= 4  # it was full, and not more than that
    assert 100 < resources < count / 2  # what is held is much less than what went through
    assert hits > count / 50  # and of use
