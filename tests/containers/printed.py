"""The commands that the README prints, as they stand there, and a shell to run them in."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.containers.engine import BIN, ROOT, Engine, program

# An engine of ours has no network to build on but the machine's; nobody's README needs to know.
BORROWED = "services: {proxy: {build: {network: host}}}\n"


def commands(heading: str) -> list[list[str]]:
    """The blocks of commands below *heading*, in their order."""
    readme = (ROOT / "README.md").read_text()
    (section,) = re.findall(rf"^### {re.escape(heading)}.*?\n(.*?)(?=^##)", readme, re.M | re.S)
    blocks = re.findall(r"(?:^    \S.*\n)+", section, re.M)
    return [[line.strip() for line in block.splitlines()] for block in blocks]


@dataclass(frozen=True)
class Shell:
    """Runs printed lines in *directory*, under a client that knows ``docker compose``."""

    docker: Engine
    directory: Path
    plugins: Path

    @classmethod
    def at(cls, docker: Engine, scratch: Path, directory: Path = ROOT) -> Shell:
        plugins = scratch / "client" / "cli-plugins"
        plugins.mkdir(parents=True)
        (plugins / "docker-compose").symlink_to(BIN / "docker-compose")
        (scratch / "borrowed.yml").write_text(BORROWED)
        return cls(docker, directory, plugins)

    def begin(self, line: str) -> subprocess.Popen[str]:
        """Start *line* as a shell does; its output is both of its streams."""
        path = f"{Path(program('docker')).parent}:{BIN}:/usr/bin:/bin"
        return subprocess.Popen(
            ["/bin/sh", "-c", f"exec {self._on_ours(line)}"],
            cwd=self.directory,
            env={
                **self.docker.environment,
                "PATH": path,
                "DOCKER_CONFIG": str(self.plugins.parent),
                "PYTHONPATH": str(ROOT),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, line: str) -> str:
        """The output of *line*, which must succeed."""
        process = self.begin(line)
        told, _ = process.communicate(timeout=600)
        assert process.returncode == 0, f"$ {line}\n{told}"
        return told

    def _on_ours(self, line: str) -> str:
        line = re.sub(r"^(\w+=\S+) ", r"env \1 ", line)
        if self.docker.host is None:
            return line
        more = f"-f {self.plugins.parent.parent}/borrowed.yml"
        line = re.sub(r"docker compose (?!.*-f )", "docker compose -f docker-compose.yml ", line)
        line = re.sub(r"(docker compose (?:-f \S+ )+)", rf"\1{more} ", line)
        return re.sub(r"^docker build ", "docker build --network=host ", line)


@dataclass(frozen=True)
class Reply:
    """What ``curl -i`` printed."""

    status: int
    fields: dict[str, str]
    content: str

    @classmethod
    def of(cls, told: str) -> Reply:
        head, _, content = told[told.index("HTTP/1.1 ") :].replace("\r", "").partition("\n\n")
        first, *lines = head.splitlines()
        fields = dict(line.split(": ", 1) for line in lines)
        return cls(int(first.split()[1]), {k.lower(): v for k, v in fields.items()}, content)

    @property
    def is_hit(self) -> bool:
        return "vary-proxy; hit" in self.fields["cache-status"]


def states(docker: Engine) -> dict[str, dict[str, object]]:
    """State of each container of the compose project, by service."""
    of = ("--filter", "label=com.docker.compose.project=vary-proxy")
    found = docker.docker("ps", "--all", "--quiet", *of).split()
    made = json.loads(docker.docker("inspect", *found)) if found else []
    name = "com.docker.compose.service"
    return {one["Config"]["Labels"][name]: one["State"] for one in made}
