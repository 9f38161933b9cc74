"""Fixtures: each real S3 server once per session, filled with objects, and proxies before it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest

from tests.real.awsstub import AwsStub, aws_stub
from tests.real.objects import Object, fill, objects
from tests.real.servers import ROOT, SERVERS, S3Server


@dataclass(frozen=True)
class Filled:
    """A server with the objects that it ``kept``, and the keys that it ``refused``."""

    server: S3Server
    kept: list[Object]
    refused: list[str]


@pytest.fixture(scope="session", params=SERVERS)
def s3(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[S3Server]:
    """Each of the real servers in turn, with an empty public bucket and its CORS rules."""
    name: str = request.param
    with SERVERS[name](tmp_path_factory.mktemp(name)) as server:
        yield server


@pytest.fixture(scope="session")
def filled(s3: S3Server) -> Filled:
    """The server with the five hundred objects, less those that it cannot keep."""
    kept, refused = fill(s3, objects())
    return Filled(s3, kept, refused)


@pytest.fixture(scope="session")
def stub_url() -> Iterator[str]:
    """The stub as a process, ended by the end of its input."""
    args = [sys.executable, "-m", "tests.real.awsstub"]
    with subprocess.Popen(
        args, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.stdin.close()


@pytest.fixture
async def stub() -> AsyncIterator[AwsStub]:
    async with aws_stub() as running:
        yield running
