"""``vary-proxy demo`` as a command."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys

import pytest

DEMO = (sys.executable, "-m", "vary_proxy", "demo", "--no-open")


def refused(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [*DEMO, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_0_and_without_a_word(number: signal.Signals) -> None:
    with subprocess.Popen(
        [*DEMO, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        told = ""
        for line in process.stdout:
            told += line
            if "Ctrl-C" in line:
                break
        for name in ("the page", "the bucket", "the proxy"):
            assert f"{name} " in told
        process.send_signal(number)
        _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")


def test_a_taken_port_is_told_with_a_remedy() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, errors = refused("--port", str(port))
    assert status == 1
    assert f"127.0.0.1:{port}" in errors
    assert "choose another port with --port" in errors


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        pytest.param(("--listen", "somewhere"), "is not an address", id="no port"),
        pytest.param(("--listen", "127.0.0.1:99999"), "is not an address", id="no such port"),
        pytest.param(("--port", "1", "--listen", "127.0.0.1:1"), "give one", id="both"),
    ],
)
def test_a_wrong_address_is_a_usage_error(arguments: tuple[str, ...], told: str) -> None:
    status, errors = refused(*arguments)
    assert status == 2
    assert told in errors
