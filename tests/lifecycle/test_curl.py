"""Every kind of listener, asked by curl: what it says for whom, and what the log says of others."""

from __future__ import annotations

import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.lifecycle.command import Command, letters, soon
from tests.ports import free_ports

AUTHORITY = trustme.CA()


class Listeners:
    """A running proxy with one listener of each kind."""

    def __init__(self, folder: Path, url: str, workers: int) -> None:
        pair = AUTHORITY.issue_cert("localhost")
        pair.private_key_and_cert_chain_pem.write_to_path(folder / "both.pem")
        AUTHORITY.cert_pem.write_to_path(folder / "ca.pem")
        self.folder = folder
        self.ports = free_ports(3)
        announced, secure, both = self.ports
        tls = "tls: {cert: both.pem, key: both.pem}"
        (folder / "p.yaml").write_text(
            f"""version: 1
listen:
  - {{address: "127.0.0.1:{announced}", proxy_protocol: true}}
  - {{address: "127.0.0.1:{secure}", {tls}}}
  - {{address: "127.0.0.1:{both}", {tls}, proxy_protocol: true}}
  - "unix:{folder}/plain.sock"
  - {{address: "unix:{folder}/announced.sock", proxy_protocol: true}}
  - {{address: "unix:{folder}/secure.sock", {tls}}}
admin: "unix:{folder}/admin.sock"
origins: {{main: "{url}"}}
server: {{workers: {workers}, drain: {{delay: 0s}}}}
log: {{access: "{folder}/access.log"}}
"""
        )
        self.command = Command("-c", str(folder / "p.yaml"))
        self.command.hears("^store ")

    def clients(self) -> str:
        return (self.folder / "access.log").read_text()


@pytest.fixture(scope="module", params=[1, 2], ids=["one process", "two workers"])
def proxy(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Listeners]:
    with letters("A") as (url, _):
        made = Listeners(tmp_path_factory.mktemp("listeners"), url, request.param)
        try:
            yield made
        finally:
            made.command.close()


def curl(*args: str | Path) -> tuple[int, str]:
    """Its exit status, and what came."""
    program = shutil.which("curl")
    assert program is not None, "curl is not installed: apt-get install curl"
    said = subprocess.run(
        [program, "-sS", "-m", "20", *args], capture_output=True, text=True, check=False
    )
    return said.returncode, said.stdout or said.stderr


HEADER = "--haproxy-protocol"


@pytest.mark.parametrize(
    ("url", "args"),
    [
        pytest.param("http://localhost:{0}", [HEADER], id="PROXY"),
        pytest.param("https://localhost:{1}", [], id="TLS"),
        pytest.param("https://localhost:{1}", ["--http2", "--tlsv1.3"], id="TLS 1.3, HTTP/2 asked"),
        pytest.param("https://localhost:{1}", ["--tls-max", "1.2"], id="TLS 1.2"),
        pytest.param("https://localhost:{2}", [HEADER], id="PROXY, TLS"),
        pytest.param("http://media.example", ["--unix-socket", "plain.sock"], id="unix"),
        pytest.param(
            "http://media.example", ["--unix-socket", "announced.sock", HEADER], id="unix, PROXY"
        ),
        pytest.param("https://localhost", ["--unix-socket", "secure.sock"], id="unix, TLS"),
    ],
)
def test_it_serves(proxy: Listeners, url: str, args: list[str]) -> None:
    given = [str(proxy.folder / one) if one.endswith(".sock") else one for one in args]
    ca = ["--cacert", str(proxy.folder / "ca.pem")]
    target = url.format(*proxy.ports) + "/a"
    assert curl(*given, *ca, target, target) == (0, "AAAA")  # on one connection


@pytest.mark.parametrize(("at", "scheme"), [(0, "http"), (2, "https")])
def test_who_does_not_say_for_whom_it_comes_is_told_of_in_the_log(
    proxy: Listeners, at: int, scheme: str
) -> None:
    port = proxy.ports[at]
    status, _ = curl("-k", f"{scheme}://127.0.0.1:{port}/a")
    assert status in (35, 52, 56)  # closed
    proxy.command.hears(
        rf"127.0.0.1:{port}: a connection from 127.0.0.1 was closed: no PROXY header: neither"
    )


def test_a_client_that_curl_names_is_the_client(proxy: Listeners) -> None:
    version = curl("--version")[1].split()[1]
    if tuple(map(int, version.split(".")[:2])) >= (8, 2):
        args, named = ["--haproxy-clientip", "192.0.2.77"], "192.0.2.77"
    else:
        args, named = [HEADER], "127.0.0.1"
    assert curl(*args, f"http://127.0.0.1:{proxy.ports[0]}/named") == (0, "AA")
    soon(lambda: "/named" in proxy.clients())
    (line,) = [one for one in proxy.clients().splitlines() if "/named" in one]
    assert f'"client":"{named}"' in line


def test_who_may_connect_to_a_socket(proxy: Listeners) -> None:
    modes = {
        one.name: stat.S_IMODE(one.stat().st_mode) for one in proxy.folder.iterdir()
        if one.suffix == ".sock"
    }  # fmt: skip
    assert modes["plain.sock"] == modes["announced.sock"] == modes["secure.sock"] == 0o666
    assert modes["admin.sock"] & 0o022 == 0  # nobody else may write, which connecting needs
