"""The pod of the manifest, as an engine can play it: its containers in one network of their own.

What the kubelet does is done by hand, as the manifest says: the ConfigMap as a directory of
symlinks that are swapped, the security context, the memory limit, the probes, and the order in
which containers start and end. ``make image-test`` runs this.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.containers.conftest import IMAGE
from tests.containers.engine import Engine, program
from tests.containers.test_files import manifests

MiB = 1024 * 1024

# The application, and the bucket: everything is there, 256 KiB long, and fresh for an hour.
APP = """
import http.server, signal, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = (self.path.encode() + b" ") * (262144 // (len(self.path) + 1))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "max-age=3600")
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments): pass
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
http.server.ThreadingHTTPServer(("127.0.0.1", 3000), Handler).serve_forever()
"""

# Ask for so many different objects, by so many clients at once: how many came whole.
CLIENTS = """
import concurrent.futures, urllib.request
def ask(number):
    with urllib.request.urlopen(f"http://127.0.0.1:8080/media/{number % %(different)d}") as reply:
        return len(reply.read()) > 200000
with concurrent.futures.ThreadPoolExecutor(32) as clients:
    print(sum(clients.map(ask, range(%(requests)d))))
"""

FETCH = """
import urllib.request, urllib.error
try:
    with urllib.request.urlopen("http://127.0.0.1:%(port)d%(path)s") as reply:
        print(reply.status, reply.headers.get("Cache-Status"), reply.headers.get("Via"))
except urllib.error.HTTPError as refused: print(refused.code)
except OSError as error: print(0, error)
"""


class Pod:
    """The containers of one pod, by name."""

    def __init__(self, docker: Engine, directory: Path) -> None:
        self.docker = docker
        self.ids: dict[str, str] = {}
        self.directory = directory  # where the ConfigMap is seen
        found = manifests()
        self.spec: dict[str, Any] = found["Deployment"]["spec"]["template"]["spec"]
        (self.sidecar,) = self.spec["initContainers"]
        self.text: str = found["ConfigMap"]["data"]["vary-proxy.yaml"]
        self.text = self.text.replace(
            "https://my-bucket.s3.eu-central-1.amazonaws.com", "http://127.0.0.1:3000"
        )

    def start(self, name: str, *arguments: str) -> None:
        self.ids[name] = self.docker.docker("run", "--detach", *arguments)

    def start_network(self) -> None:
        nap = ("--entrypoint", "python", IMAGE, "-c", "import time; time.sleep(600)")
        self.start("pause", "--network", "none", *nap)

    def start_app(self) -> None:
        self.start("app", *self._joined(), "--entrypoint", "python", IMAGE, "-c", APP)

    def start_sidecar(self) -> None:
        wanted = self.sidecar["securityContext"]
        (mount,) = self.sidecar["volumeMounts"]
        flags = [f"--user={wanted['runAsUser']}:{wanted['runAsGroup']}"]
        flags += ["--read-only"] * wanted["readOnlyRootFilesystem"]
        flags += [f"--cap-drop={one}" for one in wanted["capabilities"]["drop"]]
        flags += ["--security-opt=no-new-privileges"] * (not wanted["allowPrivilegeEscalation"])
        flags += [f"--memory={self.memory}", f"--memory-swap={self.memory}"]
        flags += [f"--volume={self.directory}:{mount['mountPath']}:ro"]
        self.start("sidecar", *self._joined(), *flags, IMAGE, *self.sidecar["args"])

    def _joined(self) -> tuple[str, str]:
        return "--network", f"container:{self.ids['pause']}"

    @property
    def memory(self) -> int:
        """The limit, in bytes."""
        return int(self.sidecar["resources"]["limits"]["memory"].removesuffix("Mi")) * MiB

    def used(self) -> float:
        """The most memory that the proxy held at any time, in MiB."""
        script = "print(open('/proc/1/status').read().split('VmHWM:')[1].split()[0])"
        return int(self.inside(script)) / 1024

    def inside(self, script: str, name: str = "sidecar") -> str:
        return self.docker.docker("exec", self.ids[name], "python", "-c", script)

    def get(self, path: str, port: int = 8080) -> str:
        return self.inside(FETCH % {"port": port, "path": path}, "pause")

    def probe(self, kind: str) -> bool:
        asked = self.sidecar[f"{kind}Probe"]["httpGet"]
        ports = {one["name"]: one["containerPort"] for one in self.sidecar["ports"]}
        return self.get(asked["path"], ports[asked["port"]]).startswith("200")

    def configure(self, text: str) -> None:
        """Write the ConfigMap as the kubelet does: a new directory, then one symlink swapped."""
        fresh = self.directory / f"..{time.time_ns()}"
        fresh.mkdir()
        (fresh / "vary-proxy.yaml").write_text(text)
        (self.directory / "..fresh").symlink_to(fresh.name)
        os.replace(self.directory / "..fresh", self.directory / "..data")
        seen = self.directory / "vary-proxy.yaml"
        if not seen.is_symlink():
            seen.symlink_to("..data/vary-proxy.yaml")

    def log(self) -> str:
        done = self.docker.run(program("docker"), "logs", self.ids["sidecar"])
        return done.stdout + done.stderr

    def signal(self, name: str, what: str = "TERM") -> None:
        self.docker.docker("kill", "--signal", what, self.ids[name])

    def ended(self, name: str) -> str:
        """The exit status; empty while it runs."""
        form = "{{if not .State.Running}}{{.State.ExitCode}} {{.State.OOMKilled}}{{end}}"
        return self.docker.docker("inspect", "--format", form, self.ids[name])


@pytest.fixture
def pod(docker: Engine, tmp_path: Path) -> Iterator[Pod]:
    tmp_path.chmod(0o755)
    made = Pod(docker, tmp_path)
    try:
        made.configure(made.text)
        made.start_network()
        made.start_sidecar()
        until(lambda: made.probe("startup"))
        made.start_app()
        until(lambda: made.get("/").startswith("200"))
        yield made
    finally:
        for one in reversed(made.ids.values()):
            docker.docker("rm", "--force", one)


def until(claim: Callable[[], bool], within: float = 40.0) -> float:
    """Seconds that it took."""
    began = time.monotonic()
    while not claim():
        assert time.monotonic() - began < within, "it did not come to pass"
        time.sleep(0.1)
    return time.monotonic() - began


def test_the_pod_serves_its_application_and_keeps_what_the_bucket_sent(pod: Pod) -> None:
    assert pod.probe("readiness")
    assert pod.probe("liveness")
    assert "1.1 vary-proxy" in pod.get("/")
    assert "stored" in pod.get("/media/cat")
    assert "hit" in pod.get("/media/cat")


def test_a_changed_config_map_is_read_again_and_a_bad_one_changes_nothing(pod: Pod) -> None:
    pod.configure(pod.text.replace('path: "/media/**"', 'path: "/else/**"'))
    until(lambda: "reloaded" in pod.log())
    pod.configure(pod.text.replace("origins:", "orgins:"))
    until(lambda: "orgins: unknown key" in pod.log())
    assert pod.probe("readiness")
    assert pod.get("/media/cat").startswith("200")


def test_a_full_store_stays_within_the_memory_that_the_manifest_allows(pod: Pod) -> None:
    idle = pod.used()
    assert pod.inside(CLIENTS.replace("% %(", "%% %(") % {"different": 1500, "requests": 6000},
                      "pause") == "6000"  # fmt: skip
    full = pod.used()
    print(f"idle {idle:.0f} MiB, with its store full {full:.0f} MiB of {pod.memory / MiB:.0f}")
    assert pod.ended("sidecar") == ""
    assert full < 0.9 * pod.memory / MiB


def test_it_ends_within_the_pods_grace_after_its_application(pod: Pod) -> None:
    before = pod.spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    pod.signal("app")
    until(lambda: pod.ended("app") != "")
    pod.signal("sidecar")
    until(lambda: not pod.probe("readiness"), 4)
    assert pod.probe("liveness")
    took = until(lambda: pod.ended("sidecar") != "", pod.spec["terminationGracePeriodSeconds"])
    assert pod.ended("sidecar") == "0 false"
    assert before + took < pod.spec["terminationGracePeriodSeconds"]
