"""The sample bucket of the compose file, put into MinIO's front end by its own step."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.ports import free_port
from tests.real.servers import S3Server, minio

SEED = Path(__file__).parents[2] / "config/compose/seed.py"


def seed(url: str, more: str = "") -> subprocess.CompletedProcess[str]:
    keys = {"AWS_ACCESS_KEY_ID": "testkey", "AWS_SECRET_ACCESS_KEY": "testsecret"}
    return subprocess.run(
        [
            sys.executable,
            "-c",
            f"import runpy, sys\n{more}\nrunpy.run_path({str(SEED)!r})['main']()",
        ],
        env={**os.environ, **keys, "S3_ENDPOINT": url},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_anybody_may_read_what_the_step_put_in_and_it_may_run_again(tmp_path: Path) -> None:
    with minio(tmp_path) as server:
        for _ in range(2):
            done = seed(server.url)
            assert done.returncode == 0, done.stderr
            assert done.stdout == f"seed: 3 objects in {server.url}/media\n"
        _is_public(server)


def _is_public(server: S3Server) -> None:
    with urllib.request.urlopen(f"{server.url}/media/img/cat.svg", timeout=10) as reply:
        assert reply.headers["Content-Type"] == "image/svg+xml"
        assert reply.headers["Cache-Control"] == "public, max-age=600"
        assert reply.read().startswith(b"<svg ")


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    port = free_port()
    at_once = "import time; now = iter((0.0, 61.0)); time.monotonic = lambda: next(now, 61.0)"
    done = seed(f"http://127.0.0.1:{port}", at_once)
    assert done.returncode == 1
    assert done.stderr.startswith(f"seed: http://127.0.0.1:{port}: ")
