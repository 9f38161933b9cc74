"""A Docker engine for what ships as an image: the one that runs here, or one of our own.

Where ``docker info`` answers, that engine is used, with the images that the files name. Elsewhere,
as root on Debian, an engine is started by hand under a directory of its own, touching neither
the machine's firewall nor its routes, and is ended by its process id. It has no registry, so that
every image that the files name is made from Debian's packages and from the servers that the other
tests use (``standins/``), under the same name.

``VARY_PROXY_ENGINE_DIR`` keeps that directory, and so the images, from one run to the next.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[2]
STANDINS = Path(__file__).parent / "standins"
BIN = Path(sys.executable).parent
STARTED_WITHIN = 60.0  # seconds
DEBIAN = "debian:trixie-slim"
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")

# Nothing that the machine's own network would notice; networks of containers still work.
QUIET = ("--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false")
QUIET += ("--ip-masq=false",)


@dataclass(frozen=True)
class Engine:
    """An engine that answers; ``host`` is None for the machine's own."""

    host: str | None

    @property
    def environment(self) -> dict[str, str]:
        ours = {} if self.host is None else {"DOCKER_HOST": self.host}
        return {**os.environ, "DOCKER_BUILDKIT": "1", **ours}

    def run(self, *command: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
        """What *command* came to, with the engine and *more* in its environment."""
        return subprocess.run(
            [str(part) for part in command],
            cwd=ROOT,
            env={**self.environment, **more},
            capture_output=True,
            text=True,
            timeout=600,
        )

    def docker(self, *arguments: str | Path) -> str:
        """The output of ``docker``, which must succeed."""
        done = self.run(program("docker"), *arguments)
        assert done.returncode == 0, f"docker {arguments}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def build(self, name: str, *arguments: str | Path) -> None:
        """Build image *name*; an engine of ours borrows the machine's network for it."""
        borrowed = () if self.host is None else ("--network=host",)
        self.docker("build", "--quiet", *borrowed, "--tag", name, *arguments)

    def has(self, image: str) -> bool:
        return bool(self.docker("images", "--quiet", image))


def program(name: str) -> str:
    # Debian's client goes with Debian's engine; another one may come first in PATH.
    found = shutil.which(name, path="/usr/bin:/usr/sbin:" + os.environ["PATH"])
    assert found is not None, f"{name} is missing: `make image-test` installs it on Debian"
    return found


@contextmanager
def engine() -> Iterator[Engine]:
    """An engine that has every image but our own."""
    machines = Engine(None)
    if machines.run(program("docker"), "info").returncode == 0:
        yield machines
        return
    assert os.geteuid() == 0, "no Docker engine answers here, and only root can start one"
    kept = os.environ.get("VARY_PROXY_ENGINE_DIR")
    directory = Path(kept or tempfile.mkdtemp(prefix="vary-proxy-engine-"))
    try:
        with _started(directory) as ours:
            _stand_in(ours, directory)
            yield ours
    finally:
        if kept is None:
            shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def _started(directory: Path) -> Iterator[Engine]:
    directory.mkdir(parents=True, exist_ok=True)
    host = f"unix://{directory}/docker.sock"
    places = (f"--data-root={directory}/data", f"--exec-root={directory}/exec")
    places += (f"--pidfile={directory}/pid", f"--host={host}")
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [program("dockerd"), *QUIET, *places, "--storage-driver=overlay2"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    ours = Engine(host)
    try:
        deadline = time.monotonic() + STARTED_WITHIN
        while ours.run(program("docker"), "info").returncode:
            said = (directory / "log").read_text(errors="replace")[-3000:]
            assert process.poll() is None, f"dockerd ended:\n{said}"
            assert time.monotonic() < deadline, f"dockerd does not answer:\n{said}"
            time.sleep(0.2)
        yield ours
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        for left in (directory / "exec" / "netns").glob("*"):  # it leaves the machine's there
            subprocess.run(["umount", left], capture_output=True)


def _stand_in(ours: Engine, directory: Path) -> None:
    """Make the images that the Dockerfile and the compose file name, where they are not there."""
    if not ours.has(DEBIAN):
        _debian(ours, directory / "debian")
    context = directory / "standins"
    shutil.rmtree(context, ignore_errors=True)
    shutil.copytree(STANDINS, context)
    for server in ("juicefs", "weed"):
        os.link(shutil.copy(BIN / server, directory), context / server)
    for image in named():
        kind = image.split(":")[0].split("/")[-1]
        if not ours.has(image):
            ours.build(image, "--file", context / f"{kind}.Dockerfile", context)


def _debian(ours: Engine, root: Path) -> None:
    """Debian's smallest system, trusting whom this machine trusts."""
    shutil.rmtree(root, ignore_errors=True)
    step = [program("debootstrap"), "--variant=minbase", "--include=ca-certificates"]
    done = subprocess.run(
        [*step, "trixie", root], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:]
    if AUTHORITIES.exists():
        shutil.copy(AUTHORITIES, root / AUTHORITIES.relative_to("/"))
    for spare in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale"):
        shutil.rmtree(root / spare)
    archive = root.with_suffix(".tar")
    subprocess.run(["tar", "-C", root, "-cf", archive, "."], check=True)
    ours.docker("import", archive, DEBIAN)
    archive.unlink()
    shutil.rmtree(root)


def named() -> list[str]:
    """The images that the Dockerfile and the compose file begin from."""
    compose = (ROOT / "docker-compose.yml").read_text().split()
    pairs = pairwise(compose)
    images = {image for key, image in pairs if key == "image:"} - {"vary-proxy"}
    lines = dict(line.split("=", 1) for line in _dockerfile() if line.startswith("ARG PYTHON="))
    return sorted(images | {f"python:{lines['ARG PYTHON']}-slim"})


def _dockerfile() -> list[str]:
    return (ROOT / "Dockerfile").read_text().splitlines()
