"""The compose files as people use them: the README's lines, run as they are printed there.

``make image-test`` runs this; it needs a Docker engine, or root on Debian, and the ports 8080,
8081, 8082 and 8090 of this machine.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers.engine import Engine
from tests.containers.printed import Reply, Shell, commands, states

FIRST, REPLICAS, SEAWEEDFS = commands("In front of MinIO")


@pytest.fixture
def shell(docker: Engine, tmp_path: Path) -> Iterator[Shell]:
    made = Shell.at(docker, tmp_path)
    yield made
    files = "-f docker-compose.yml -f docker-compose.replicas.yml --profile seaweedfs"
    made.run(f"docker compose {files} down --volumes --timeout 1")


def test_minio_with_a_bucket_redis_and_the_proxy(shell: Shell, docker: Engine) -> None:
    up, image, canvas, hello, stats, purge, down = FIRST
    shell.run(up)
    found = states(docker)
    assert set(found) == {"minio", "seed", "redis", "proxy"}
    assert found["seed"]["Status"] == "exited"
    assert found["seed"]["ExitCode"] == 0
    healthy = {name for name, one in found.items() if "healthy" in json.dumps(one.get("Health"))}
    assert healthy == {"minio", "redis", "proxy"}
    began = {name: str(one["StartedAt"]) for name, one in found.items()}
    assert max(began["minio"], began["redis"]) < str(found["seed"]["FinishedAt"]) < began["proxy"]

    first = Reply.of(shell.run(image))
    assert first.status == 200
    assert first.content.startswith("<svg")
    assert not first.is_hit
    second = Reply.of(shell.run(canvas))
    assert second.is_hit
    assert second.fields["access-control-allow-origin"] == "*"
    third = Reply.of(shell.run(hello))
    assert third.fields["access-control-allow-origin"] == "https://app.example"
    assert "Origin" in third.fields["vary"]

    assert "33.3 % answered without the origin" in shell.run(stats)
    assert Reply.of(shell.run("curl -i http://localhost:8082/")).status == 200
    assert Reply.of(shell.run("curl -i http://localhost:8082/stats")).status == 401
    shell.run(purge)
    assert not Reply.of(shell.run(canvas)).is_hit

    redis = "docker compose exec -T redis redis-cli"
    assert int(shell.run(f"{redis} dbsize").split()[-1]) > 0
    assert shell.run(f"{redis} config get maxmemory").split()[-1] == str(256 * 1024 * 1024)
    assert "allkeys-lfu" in shell.run(f"{redis} config get maxmemory-policy")
    shell.run("docker compose stop redis")
    assert Reply.of(shell.run(image)).status == 200
    assert Reply.of(shell.run(f"{image}?another")).status == 200

    shell.run("docker compose stop proxy")
    assert states(docker)["proxy"]["ExitCode"] == 0
    shell.run(down)
    assert states(docker) == {}


def test_what_one_replica_stored_is_a_hit_on_the_other(shell: Shell, docker: Engine) -> None:
    up, first, second, purge, down = REPLICAS
    shell.run(up)
    assert not Reply.of(shell.run(first)).is_hit
    assert Reply.of(shell.run(second)).is_hit
    assert Reply.of(shell.run(second)).is_hit  # and now in its own memory
    shell.run(purge)
    assert not Reply.of(shell.run(second)).is_hit
    shell.run(down)
    assert states(docker) == {}


def test_seaweedfs_takes_minios_place(shell: Shell, docker: Engine) -> None:
    up, image, down = SEAWEEDFS
    shell.run(up)
    reply = Reply.of(shell.run(image))
    assert reply.status == 200
    assert reply.fields["server"].startswith("SeaweedFS")
    assert Reply.of(shell.run(f"{image} -H 'Origin: https://app.example'")).is_hit
    shell.run(down)
    assert states(docker) == {}
