"""The image as it runs: who it is, what is in it, what it needs, how it ends.

``make image-test`` runs this; it needs a Docker engine, or root on Debian.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.containers.conftest import IMAGE
from tests.containers.engine import ROOT, Engine, named, program

MOST_ABOVE_THE_BASE = 120 * 1024 * 1024
HARD = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
ALONE = ("--network", "none")


class Container:
    """A container of the image that runs in the background until the test ends."""

    def __init__(self, docker: Engine, *arguments: str) -> None:
        self._docker = docker
        self.id = docker.docker("run", "--detach", *HARD, *ALONE, *arguments)

    def state(self) -> dict[str, Any]:
        return json.loads(self._docker.docker("inspect", "--format", "{{json .State}}", self.id))

    def does(self, script: str) -> subprocess.CompletedProcess[str]:
        """What a Python *script* came to within the container."""
        command = (program("docker"), "exec", self.id, "python", "-c", script)
        return self._docker.run(*command)

    def signal(self, name: str) -> None:
        self._docker.docker("kill", "--signal", name, self.id)

    def log(self) -> str:
        done = self._docker.run(program("docker"), "logs", self.id)
        return done.stdout + done.stderr

    def answers(self) -> bool:
        return self.does(ASK.format(path="/readyz")).stdout.strip() == "200"


ASK = (
    "import urllib.request, urllib.error\n"
    "try: print(urllib.request.urlopen('http://127.0.0.1:8081{path}').status)\n"
    "except urllib.error.HTTPError as e: print(e.code)"
)


@pytest.fixture
def start(docker: Engine) -> Iterator[Callable[..., Container]]:
    running: list[Container] = []

    def begin(*arguments: str) -> Container:
        running.append(Container(docker, *arguments))
        return running[-1]

    yield begin
    for one in running:
        docker.docker("rm", "--force", one.id)


def until(claim: Callable[[], bool], within: float = 60.0) -> None:
    deadline = time.monotonic() + within
    while not claim():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.2)


def sized(docker: Engine, image: str) -> int:
    return int(docker.docker("image", "inspect", "--format", "{{.Size}}", image))


def once(docker: Engine, *arguments: str) -> subprocess.CompletedProcess[str]:
    return docker.run(program("docker"), "run", "--rm", *HARD, *ALONE, *arguments)


def test_it_adds_little_to_its_base(docker: Engine) -> None:
    (base,) = [one for one in named() if one.startswith("python:")]
    above = sized(docker, IMAGE) - sized(docker, base)
    print(f"{above / 1024**2:.1f} MiB above {base}")
    assert above <= MOST_ABOVE_THE_BASE


def test_it_is_nobody_and_says_what_it_is(docker: Engine) -> None:
    (made,) = json.loads(docker.docker("image", "inspect", IMAGE))
    settings = made["Config"]
    assert settings["User"] == "65532:65532"
    assert settings["StopSignal"] == "SIGTERM"
    assert set(settings["ExposedPorts"]) == {"8080/tcp", "8081/tcp"}
    told = {key.rpartition(".")[2] for key in settings["Labels"] if ".opencontainers." in key}
    assert told >= {"title", "description", "version", "licenses", "source", "documentation"}


def test_no_compiler_no_pip_and_nothing_of_the_build_is_left_inside(docker: Engine) -> None:
    script = (
        "for name in gcc cc make; do command -v $name; done;"
        "ls -d /src /opt/build /opt/vary-proxy/bin/pip* /root/.cache /tmp/* 2>/dev/null;"
        "ls -A /opt; true"
    )
    found = once(docker, "--user", "0", "--entrypoint", "sh", IMAGE, "-c", script)
    assert found.stdout.split() == ["vary-proxy"]


def test_nothing_in_it_can_be_written(docker: Engine) -> None:
    script = (
        "for d in / /tmp /opt/vary-proxy /etc/vary-proxy; do touch $d/x && echo $d; done; id -u"
    )
    assert once(docker, "--entrypoint", "sh", IMAGE, "-c", script).stdout == "65532\n"


def test_it_validates_the_file_that_is_mounted(docker: Engine, tmp_path: Path) -> None:
    wrong = tmp_path / "rules.yaml"
    wrong.write_text("version: 1\norigins: {o: {url: 'http://o.example'}}\nlistn: []\n")
    wrong.chmod(0o644)
    mount = f"{wrong}:/etc/vary-proxy/vary-proxy.yaml:ro"
    told = once(docker, "-v", mount, IMAGE, "validate")
    assert told.returncode == 1
    assert "/etc/vary-proxy/vary-proxy.yaml:3:1: listn: unknown key" in told.stderr
    assert once(docker, IMAGE, "validate").returncode == 0


@pytest.mark.parametrize("name", ["container.yaml", "minimal.yaml", "s3-private.yaml"])
def test_it_turns_healthy_with_any_file_drains_and_ends_well(
    start: Callable[..., Container], name: str
) -> None:
    mount = f"{ROOT}/config/{name}:/etc/vary-proxy/vary-proxy.yaml:ro"
    keys = ("-e", "AWS_ACCESS_KEY_ID=a", "-e", "AWS_SECRET_ACCESS_KEY=b")
    running = start("-v", mount, *keys, IMAGE)
    until(lambda: running.state()["Health"]["Status"] == "healthy")
    running.signal("TERM")
    until(lambda: not running.state()["Running"] or not running.answers(), 5)
    until(lambda: not running.state()["Running"])
    assert running.state()["ExitCode"] == 0
    assert "draining" in running.log()


def test_readiness_falls_first(start: Callable[..., Container]) -> None:
    running = start(IMAGE, "run", "--origin", "http://127.0.0.1:9")
    until(running.answers)
    running.signal("TERM")
    until(lambda: running.does(ASK.format(path="/readyz")).stdout.strip() == "503", 4)
    assert running.does(ASK.format(path="/livez")).stdout.strip() == "200"


def test_ctrl_c_ends_it_at_once_and_well(start: Callable[..., Container]) -> None:
    running = start(IMAGE)
    until(running.answers)
    began = time.monotonic()
    running.signal("INT")
    until(lambda: not running.state()["Running"])
    assert running.state()["ExitCode"] == 0
    assert time.monotonic() - began < 4  # without drain.delay


def test_a_file_that_is_replaced_is_read_again_and_a_bad_one_changes_nothing(
    start: Callable[..., Container], tmp_path: Path
) -> None:
    tmp_path.chmod(0o755)
    file = tmp_path / "vary-proxy.yaml"
    file.write_text("version: 1\norigins: {first: {url: 'http://first.example'}}\n")
    running = start("-v", f"{tmp_path}:/etc/vary-proxy:ro", IMAGE)
    until(running.answers)
    file.write_text("version: 1\norigins: {second: {url: 'http://second.example'}}\n")
    until(lambda: "reloaded" in running.log(), 20)
    file.write_text("version: 1\norigins: {second: nonsense}\n")
    until(lambda: "vary-proxy.yaml:2" in running.log(), 20)
    assert running.answers()
