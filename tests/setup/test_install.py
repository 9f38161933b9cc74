"""The set-up says what is missing and how to get it, retries, and refuses an old Python."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = [
    "curl", "node", "npm", "redis-server", "promtool", "memcached", "nginx", "wrk", "chromium",
    "haproxy",
]  # fmt: skip


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A PATH of its own, on which only what a shell script needs is found."""
    path = tmp_path / "bin"
    path.mkdir()
    for name in ("sh", "env", "cat", "rm", "chmod", "mkdir"):
        (path / name).symlink_to(f"/bin/{name}")
    _program(path, "sleep", "exit 0")
    return path


def _program(path: Path, name: str, text: str) -> None:
    """A program *name* on *path* that does *text*."""
    file = path / name
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)


def _install(path: Path, *args: str, **env: str) -> tuple[int, str]:
    """Exit status and messages of ``install.sh ARGS`` with *path* as its PATH.

    The script looks into the system's sbin too; a copy of it without that stays within *path*.
    """
    script = (ROOT / "tests" / "setup" / "install.sh").read_text()
    copy = path.parent / "install.sh"
    copy.write_text(script.replace(":/usr/sbin:/sbin", ""))
    done = subprocess.run(
        ["/bin/sh", copy, *args],
        cwd=path.parent,
        env={"PATH": str(path), "POLICY_RC": str(path.parent / "policy-rc.d"), **env},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_all_there_is_silence(programs: Path) -> None:
    for name in PROGRAMS:
        _program(programs, name, "exit 0")
    assert _install(programs, "system") == (0, "")


def test_what_is_missing_is_named_where_it_cannot_be_installed(programs: Path) -> None:
    for name in set(PROGRAMS) - {"nginx", "node"}:
        _program(programs, name, "exit 0")
    _program(programs, "id", "echo 1000")
    status, said = _install(programs, "system")
    assert status == 1
    assert "node nginx\n" in said
    assert "sudo apt-get install nodejs nginx-light" in said
    assert "brew install node nginx" in said


def test_root_on_debian_installs_only_what_is_missing(programs: Path) -> None:
    """apt-get fails in passing, is tried again, and then brings what was named to it."""
    for name in set(PROGRAMS) - {"wrk"}:
        _program(programs, name, "exit 0")
    _program(programs, "id", "echo 0")
    log, here = programs.parent / "apt.log", programs / "wrk"
    _program(
        programs,
        "apt-get",
        f'echo "$@" >>{log}\n[ -x "$POLICY_RC" ] || exit 99\n'
        f"[ -e {log}.second ] || {{ : >{log}.second; exit 100; }}\n"
        f'case "$*" in *install*wrk*) echo >{here}; chmod 755 {here} ;; esac',
    )
    status, said = _install(programs, "system")
    assert status == 0, said
    assert "installing: wrk" in said
    assert "trying again" in said
    asked = log.read_text().splitlines()
    assert [line.split()[-1] for line in asked] == ["update", "update", "wrk"]
    assert not (programs.parent / "policy-rc.d").exists()


def test_apt_that_brings_nothing_is_a_failure(programs: Path) -> None:
    _program(programs, "id", "echo 0")
    _program(programs, "apt-get", "exit 0")
    status, said = _install(programs, "system")
    assert status == 1
    assert "curl is still missing" in said


def test_an_old_python_is_refused(programs: Path) -> None:
    _program(programs, "python3", 'case "$1" in -V) echo "Python 3.10.4" ;; -c) exit 1 ;; esac')
    status, said = _install(programs, "venv")
    assert status == 1
    assert "Python 3.10.4; vary-proxy needs Python 3.11 or later" in said


def test_no_python_is_said_plainly(programs: Path) -> None:
    status, said = _install(programs, "venv", PYTHON="python9")
    assert status == 1
    assert "python9 is not here" in said


def test_make_alone_lists_its_targets() -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    said = subprocess.run(
        ["make"], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    ).stdout
    for target in ("run", "test", "lint", "format", "clean"):
        assert f"  make {target} " in said
