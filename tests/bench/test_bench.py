"""The benchmark reads what it measures, and computes what it says. Nothing here is timed."""

from __future__ import annotations

import asyncio
import os

import pytest

from bench import crowd, report, servers
from bench.load import Measure, Wrong, parse
from bench.processes import read_stat, tree
from bench.scenarios import BY_NAME, SCENARIOS
from tests.serving import listening


def measure(cpu_us: float, requests: int = 1000, **said: float) -> Measure:
    told = {"seconds": 2.0, "median_us": 100, "p99_us": 500, "origin_share": 0.0, **said}
    return Measure(requests=requests, cpu=cpu_us * requests / 1e6, **told)  # type: ignore[arg-type]  # a mix of int and float


def test_cpu_per_request_and_rate():
    one = measure(15.0, requests=4000, seconds=2.0)
    assert one.cpu_us == pytest.approx(15.0)
    assert one.rate == 2000


def test_user_and_system_ticks_are_read_behind_any_name():
    line = "7 (a b) c) S 1 7 7 0 -1 4194304 90 0 0 0 120 34 0 0 20 0 1 0 5 0 0"
    assert read_stat(line) == 154


def test_a_process_tree_begins_with_its_root():
    assert tree(os.getpid())[0] == os.getpid()


def test_wrk_figures_are_read_from_its_last_words():
    assert parse('Running 1s test\nRESULT {"requests": 5}\nBye') == {"requests": 5}


def test_wrk_without_figures_is_an_error():
    with pytest.raises(Wrong):
        parse("unable to connect")


ROUNDS = [
    {"vary-proxy": measure(10), "nginx": measure(20), "varnish": measure(40)},
    {"vary-proxy": measure(30), "nginx": measure(30), "varnish": measure(30)},
    {"vary-proxy": measure(12), "nginx": measure(16), "varnish": measure(48)},
]


def test_ratios_are_made_within_a_round():
    assert report.ratios(ROUNDS, "nginx") == pytest.approx([0.5, 1.0, 0.75])


def test_a_target_is_held_against_the_median_ratio():
    row = report.table({"hit-1k": ROUNDS}).splitlines()[-1]
    assert "**0.75** (0.50–1.00)" in row
    assert "**0.25** (0.25–1.00)" in row
    assert row.endswith("| yes, yes |")


def test_a_missed_target_is_said_aloud():
    rounds = [{"vary-proxy": measure(20), "nginx": measure(20), "varnish": measure(20)}]
    assert report.table({"hit-1k": rounds}).splitlines()[-1].endswith("| **no**, **no** |")


def test_edge_cors_is_held_against_our_own_plain_hit():
    rounds = [{"vary-proxy": measure(12)}]
    row = report.table({"hit-1k": ROUNDS, "edge-cors": rounds}).splitlines()[-1]
    assert "≤ 1.1 × hit-1k (is 1.00)" in row
    assert row.endswith("| yes |")


def test_a_scenario_without_its_peers_has_dashes():
    row = report.rates({"logged": [{"vary-proxy": measure(10), "nginx": measure(10)}]})
    assert row.splitlines()[-1].count("–") == 2


def test_every_scenario_names_a_file_of_the_origin_and_peers_that_are_there():
    for one in SCENARIOS:
        assert one.path.strip("/") in {*servers.FILES, "cors", "many", "pass"}
        assert set(one.targets) <= {*report.PEERS, "itself"}
        assert one.beside in {"", *BY_NAME}


def test_a_crowd_is_of_many_browsers_and_is_answered():
    async def answered(reader, writer):
        while head := await reader.readuntil(b"\r\n\r\n"):
            asked.append(head)
            writer.write(b'HTTP/1.1 200 OK\r\nETag: "a"\r\nContent-Length: 2\r\n\r\nok')

    async def served():
        async with listening(answered) as port:
            return await asyncio.to_thread(crowd.main, port, 0.5, 7, False)

    asked: list[bytes] = []
    found = asyncio.run(served())
    assert found["requests"] > 100
    assert not found["bad_status"]
    assert len({head.partition(b"\r\nUser-Agent: ")[2][:120] for head in asked}) > 20
    assert any(b'\r\nIf-None-Match: "a"\r\n' in head for head in asked)
    assert any(b"\r\nCookie: session=" in head for head in asked)
