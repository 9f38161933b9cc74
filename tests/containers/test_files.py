"""What ships beside the code: image, compose files, manifests, held against their own tools."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from vary_proxy import __version__, config
from vary_proxy.configuration.settings import Settings

ROOT = Path(__file__).parents[2]
APART = {"ports", "depends_on", "build", "pull_policy"}  # in what two replicas differ
COMPOSE = ("docker-compose.yml", "docker-compose.replicas.yml")


def tool(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the virtual environment in the repository."""
    beside = Path(sys.executable).parent / name
    program = str(beside) if beside.exists() else shutil.which(name)
    assert program is not None, f"{name} is missing: pip install -e '.[dev]' brings it"
    return subprocess.run(
        [program, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120
    )


def test_the_dockerfile_is_clean() -> None:
    done = tool("hadolint", "Dockerfile")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("count", [1, 2])
def test_the_compose_files_are_valid(count: int) -> None:
    files = [part for name in COMPOSE[:count] for part in ("-f", name)]
    done = tool("docker-compose", *files, "config", "--quiet")
    assert done.returncode == 0, done.stderr


def test_every_service_of_the_compose_file_waits_for_what_it_needs() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    needed = services["proxy"]["depends_on"]
    assert needed["redis"]["condition"] == "service_healthy"
    assert needed["seed"]["condition"] == "service_completed_successfully"
    assert services["seed"]["depends_on"]["minio"]["condition"] == "service_healthy"
    assert "maxmemory-policy" in " ".join(services["redis"]["command"])
    assert all(":latest" not in one.get("image", "") for one in services.values())


@pytest.mark.parametrize("name", ["sidecar.yaml", "redis.yaml"])
def test_a_manifest_is_valid(name: str) -> None:
    done = tool("kubernetes-validate", "--strict", f"config/kubernetes/{name}")
    assert done.returncode == 0, done.stderr + done.stdout


def manifests(name: str = "sidecar.yaml") -> dict[str, Any]:
    text = (ROOT / "config/kubernetes" / name).read_text()
    return {one["kind"]: one for one in yaml.safe_load_all(text)}


def mounted(text: str) -> Settings:
    return config.loads(text.encode(), "vary-proxy.yaml", (), {}).settings


def test_the_sidecar_runs_as_nobody_on_a_read_only_root_and_is_probed_where_it_listens() -> None:
    found = manifests()
    settings = mounted(found["ConfigMap"]["data"]["vary-proxy.yaml"])
    (sidecar,) = found["Deployment"]["spec"]["template"]["spec"]["initContainers"]
    assert sidecar["restartPolicy"] == "Always"
    assert sidecar["securityContext"] == {
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    ports = {one["name"]: one["containerPort"] for one in sidecar["ports"]}
    assert settings.probes.address is not None
    assert ports == {
        "http": settings.listen[0].address.port,
        "probes": settings.probes.address.port,
    }
    for kind in ("startup", "readiness"):
        assert sidecar[f"{kind}Probe"]["httpGet"] == {"path": "/readyz", "port": "probes"}
    assert sidecar["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "probes"}
    (mount,) = sidecar["volumeMounts"]
    assert "subPath" not in mount  # which would never be updated
    assert found["Service"]["spec"]["ports"][0]["targetPort"] == "http"


def test_the_pod_has_time_for_its_application_and_then_for_the_drain() -> None:
    found = manifests()
    drain = mounted(found["ConfigMap"]["data"]["vary-proxy.yaml"]).server.drain
    spec = found["Deployment"]["spec"]["template"]["spec"]
    (app,) = spec["containers"]
    before = app["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert spec["terminationGracePeriodSeconds"] > before + drain.delay + drain.timeout


def test_the_sidecars_redis_can_be_commented_in() -> None:
    text = manifests()["ConfigMap"]["data"]["vary-proxy.yaml"]
    settings = mounted(re.sub(r"^#  (type|url):", r"  \1:", text, flags=re.MULTILINE))
    redis = manifests("redis.yaml")
    name = redis["Service"]["metadata"]["name"]
    assert settings.store.type == "redis"
    assert settings.store.url == f"redis://{name}:6379/0"


def test_the_pod_is_scraped_where_its_metrics_are() -> None:
    (monitored,) = manifests("monitoring.yaml")["PodMonitor"]["spec"]["podMetricsEndpoints"]
    template = manifests()["Deployment"]["spec"]["template"]
    (sidecar,) = template["spec"]["initContainers"]
    ports = {one["name"]: one["containerPort"] for one in sidecar["ports"]}
    assert template["metadata"]["annotations"]["prometheus.io/port"] == str(ports["probes"])
    assert monitored["port"] in ports
    labels = manifests("monitoring.yaml")["PodMonitor"]["spec"]["selector"]["matchLabels"]
    assert labels.items() <= template["metadata"]["labels"].items()


def test_the_images_user_port_and_file_agree_with_its_configuration() -> None:
    text = (ROOT / "Dockerfile").read_text()
    settings = config.load(ROOT / "config/container.yaml", (), {}).settings
    ports = re.search(r"EXPOSE (\d+) (\d+)", text)
    assert ports is not None
    assert settings.listen[0].address.port == int(ports[1])
    assert settings.probes.address is not None
    assert settings.probes.address.port == int(ports[2])
    assert "USER 65532" in text
    assert "STOPSIGNAL SIGTERM" in text
    # Whatever file is mounted, HEALTHCHECK asks where the probes then listen.
    assert f"VARY_PROXY_PROBES_ADDRESS=0.0.0.0:{ports[2]}" in text


def test_the_image_says_the_version_that_it_holds() -> None:
    said = re.search(r"^ARG VERSION=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert said is not None
    assert said[1] == __version__


def test_the_replicas_file_gives_the_second_proxy_what_the_first_has() -> None:
    files = [part for name in COMPOSE for part in ("-f", name)]
    done = tool("docker-compose", *files, "config", "--format", "json")
    services = json.loads(done.stdout)["services"]
    proxies = [services["proxy"], services["proxy-b"]]
    shared = [{k: v for k, v in one.items() if k not in APART} for one in proxies]
    assert shared[0] == shared[1]
    published = [{port["published"] for port in one["ports"]} for one in proxies]
    assert not published[0] & published[1]


def test_the_images_steps_work_in_a_clean_environment(tmp_path: Path) -> None:
    """The build stage replayed: only what .dockerignore lets in, only wheels, one install."""
    source = tmp_path / "src"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "vary_proxy", source / "vary_proxy", ignore=ignored)
    built, served = tmp_path / "build", tmp_path / "venv"
    wheels = tmp_path / "wheels"
    steps: tuple[tuple[str | Path, ...], ...] = (
        (sys.executable, "-m", "venv", built),
        (sys.executable, "-m", "venv", "--without-pip", served),
        (built / "bin/pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", wheels, "."),
    )
    for step in steps:
        subprocess.run(step, cwd=source, check=True, timeout=200)
    (wheel,) = wheels.iterdir()
    install = ("--quiet", "--only-binary=:all:", "--no-compile", f"{wheel}[aws]")
    pip = (built / "bin/pip", "--python", served / "bin/python", "install", *install)
    subprocess.run(pip, cwd=source, check=True, timeout=400)
    program = tmp_path / "venv/bin/vary-proxy"
    clean = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    checked = subprocess.run(
        [program, "validate", ROOT / "config/container.yaml"],
        cwd=tmp_path,
        env=clean,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert checked.returncode == 0, checked.stderr
    asked = subprocess.run(
        [program, "health", "--probes", "http://127.0.0.1:9"],
        cwd=tmp_path,
        env=clean,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert asked.returncode == 3, asked.stderr


def test_validate_without_a_name_reads_the_file_that_run_would(tmp_path: Path) -> None:
    (tmp_path / "vary-proxy.yaml").write_text("version: 1\nlistn: []\n")
    done = subprocess.run(
        [sys.executable, "-m", "vary_proxy", "validate"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "vary-proxy.yaml:2:1: listn: unknown key" in done.stderr
