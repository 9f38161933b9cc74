"""Rules per path in a file: the README's lines, run as they are printed there."""

from __future__ import annotations

import signal
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.containers.engine import ROOT, Engine
from tests.containers.printed import Shell, commands

PLAIN, IMAGE = commands("By rules per path")


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return reply.status
    except urllib.error.HTTPError as refused:
        return refused.code
    except OSError:
        return 0


def serves_until_told_to_end(shell: Shell, line: str) -> None:
    """That *line* answers on port 8080, and that SIGTERM ends it well."""
    running = shell.begin(line)
    deadline = time.monotonic() + 30
    while status("http://127.0.0.1:8080/img/cat.png") == 0:
        assert running.poll() is None, running.communicate()[0]
        assert time.monotonic() < deadline, f"nothing answers on 8080 after: {line}"
        time.sleep(0.2)
    # There is no origin where the file points: the proxy says so, and whose fault it is.
    assert status("http://127.0.0.1:8080/img/cat.png") in (502, 504)
    running.send_signal(signal.SIGTERM)
    told, _ = running.communicate(timeout=60)
    assert running.returncode == 0, told


def test_a_file_is_made_checked_explained_and_run(docker: Engine, tmp_path: Path) -> None:
    shell = Shell.at(docker, tmp_path, tmp_path)
    init, validate, explain, run = PLAIN
    shell.run(init)
    assert "rules.yaml: valid" in shell.run(validate)
    assert "canvas-images" in shell.run(explain)
    serves_until_told_to_end(shell, run)


def test_the_same_file_in_the_image(docker: Engine, tmp_path: Path) -> None:
    shell = Shell.at(docker, tmp_path, tmp_path)
    shell.run(PLAIN[0])
    build, validate, run = IMAGE
    Shell(docker, ROOT, shell.plugins).run(build)
    tmp_path.chmod(0o755)
    assert "vary-proxy.yaml: valid" in shell.run(validate)
    networked = run if docker.host is None else run.replace("-p ", "--network host -p ")
    serves_until_told_to_end(shell, networked)
