"""Real S3 servers, each with one public bucket, started on free loopback ports.

A server is a child process of its own, with its data under a directory of its own; it is
ready when it answers HTTP, and it is ended by its process id. What each of them does about
CORS and Vary is described in ``tests/real/__init__.py``.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import botocore
from botocore.config import Config

from tests.ports import free_port, free_ports

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
NODE_MODULES = ROOT / "tests" / "node" / "node_modules"

BUCKET = "media"
ALLOWED = "https://app.example"  # the one origin that a bucket's CORS rules name
READY_WITHIN = 120.0  # seconds

CORS_RULES = {
    "CORSRules": [
        {
            "AllowedOrigins": [ALLOWED],
            "AllowedMethods": ["GET", "HEAD", "PUT"],
            "AllowedHeaders": ["*"],
            "ExposeHeaders": ["ETag", "Content-Range"],
            "MaxAgeSeconds": 3000,
        }
    ]
}

S3RVER_CORS = f"""<CORSConfiguration>
  <CORSRule>
    <AllowedOrigin>{ALLOWED}</AllowedOrigin>
    <AllowedMethod>GET</AllowedMethod>
    <AllowedMethod>HEAD</AllowedMethod>
    <AllowedMethod>PUT</AllowedMethod>
    <AllowedHeader>*</AllowedHeader>
    <ExposeHeader>ETag</ExposeHeader>
    <ExposeHeader>Content-Range</ExposeHeader>
    <MaxAgeSeconds>3000</MaxAgeSeconds>
  </CORSRule>
</CORSConfiguration>
"""


@dataclass(frozen=True)
class S3Server:
    """A running server: ``url`` without a trailing slash, ``pid`` of the process."""

    name: str
    url: str
    pid: int
    access_key: str = "testkey"
    secret_key: str = "testsecret"
    bucket: str = BUCKET

    def client(
        self, endpoint: str | None = None, *, signed: bool = True, ca: Path | None = None
    ) -> Any:
        """A boto3 client for this server, or for *endpoint* in front of it; *ca* is trusted."""
        config = Config(
            signature_version="s3v4" if signed else botocore.UNSIGNED,
            s3={"addressing_style": "path"},
            retries={"max_attempts": 1},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        return boto3.client(
            "s3",
            endpoint_url=endpoint or self.url,
            region_name="us-east-1",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=config,
            verify=None if ca is None else str(ca),
        )


def answers(url: str, accepted: Callable[[int], bool] = lambda status: status < 500) -> bool:
    """Whether *url* gives an HTTP answer whose status is *accepted*."""
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:
            return accepted(reply.status)
    except urllib.error.HTTPError as reply:
        return accepted(reply.code)
    except OSError:
        return False


@contextmanager
def child(
    args: list[str | Path], log: Path, ready: str, env: Mapping[str, str] | None = None
) -> Iterator[int]:
    """Run *args* until the block ends; yields its process id once *ready* answers."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            args,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=log.parent,
            env={**os.environ, **(env or {})},
            start_new_session=True,  # so that it ends with all that it has started
        )
        try:
            deadline = time.monotonic() + READY_WITHIN
            while not answers(ready):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(
                        f"{args[0]} did not answer at {ready} (exit {process.poll()}):\n"
                        + log.read_text(errors="replace")[-4000:]
                    )
                time.sleep(0.05)
            yield process.pid
        finally:
            with suppress(ProcessLookupError):
                # Its data is thrown away: there is nothing to put in order.
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def s3rver(directory: Path) -> Iterator[S3Server]:
    """s3rver, told the bucket and its CORS rules on its command line."""
    program = NODE_MODULES / "s3rver" / "bin" / "s3rver.js"
    if not program.exists():
        raise RuntimeError("s3rver is not installed: run `make test`, or `npm ci` in tests/node")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    rules = directory / "cors.xml"
    rules.write_text(S3RVER_CORS)
    args: list[str | Path] = ["node", program, "--directory", directory, "--port", str(port)]
    args += ["--address", "127.0.0.1", "--no-vhost-buckets", "--silent"]
    args += ["--configure-bucket", BUCKET, rules]
    with child(args, directory / "s3rver.log", url) as pid:
        yield S3Server("s3rver", url, pid, "S3RVER", "S3RVER")


@contextmanager
def moto(directory: Path) -> Iterator[S3Server]:
    """moto's server, with its own CORS handling off so that the bucket's rules speak."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    args: list[str | Path] = [BIN / "moto_server", "-H", "127.0.0.1", "-p", str(port)]
    env = {"MOTO_DISABLE_GLOBAL_CORS": "true"}
    with child(args, directory / "moto.log", f"{url}/moto-api/", env) as pid:
        server = S3Server("moto", url, pid)
        client = server.client()
        client.create_bucket(Bucket=BUCKET)
        client.put_bucket_cors(Bucket=BUCKET, CORSConfiguration=CORS_RULES)
        yield server


@contextmanager
def seaweedfs(directory: Path) -> Iterator[S3Server]:
    """SeaweedFS: master, volume, filer and S3 gateway in one process."""
    names = ["s3.port", "s3.port.grpc", "filer.port", "filer.port.grpc"]
    names += ["master.port", "master.port.grpc", "volume.port", "volume.port.grpc"]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    url = f"http://127.0.0.1:{ports['s3.port']}"
    args: list[str | Path] = [BIN / "weed", "server", f"-dir={directory}", "-ip=127.0.0.1"]
    args += [f"-{name}={port}" for name, port in ports.items()]
    args += ["-s3", "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"]
    args += [f"-s3.localSocket={directory}/s3.sock", f"-filer.localSocket={directory}/filer.sock"]
    args += ["-volume.max=20", "-master.volumeSizeLimitMB=256", "-volume.preStopSeconds=0"]
    with child(args, directory / "weed.log", f"{url}/status") as pid:
        server = S3Server("seaweedfs", url, pid)
        client = server.client()
        client.create_bucket(Bucket=BUCKET)
        client.put_bucket_cors(Bucket=BUCKET, CORSConfiguration=CORS_RULES)
        yield server


@contextmanager
def private_seaweedfs(directory: Path, cert: Path, key: Path) -> Iterator[S3Server]:
    """SeaweedFS over TLS: checks signatures, and knows buckets by ``BUCKET.localhost``."""
    names = ["s3.port", "s3.port.grpc", "filer.port", "filer.port.grpc"]
    names += ["master.port", "master.port.grpc", "volume.port", "volume.port.grpc"]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    known = {"accessKey": "testkey", "secretKey": "testsecret"}
    owner = {"name": "owner", "credentials": [known], "actions": ["Admin", "Read", "List", "Write"]}
    (directory / "identities.json").write_text(json.dumps({"identities": [owner]}))
    args: list[str | Path] = [BIN / "weed", "server", f"-dir={directory}", "-ip=127.0.0.1"]
    args += [f"-{name}={port}" for name, port in ports.items()]
    args += ["-s3", "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"]
    args += [f"-s3.localSocket={directory}/s3.sock", f"-filer.localSocket={directory}/filer.sock"]
    args += ["-volume.max=20", "-master.volumeSizeLimitMB=256", "-volume.preStopSeconds=0"]
    args += [f"-s3.cert.file={cert}", f"-s3.key.file={key}", "-s3.domainName=localhost"]
    args += [f"-s3.config={directory}/identities.json"]
    with child(args, directory / "weed.log", f"http://127.0.0.1:{ports['filer.port']}/") as pid:
        _until(lambda: _listens(ports["s3.port"]))
        yield S3Server("seaweedfs", f"https://localhost:{ports['s3.port']}", pid)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@contextmanager
def minio(directory: Path) -> Iterator[S3Server]:
    """MinIO's HTTP front end, as the gateway of a JuiceFS volume on local files."""
    port, metrics = free_ports(2)
    url = f"http://127.0.0.1:{port}"
    juicefs, meta = BIN / "juicefs", f"sqlite3://{directory}/meta.db"
    env = {
        "HOME": str(directory),
        "MINIO_ROOT_USER": "testkey",
        "MINIO_ROOT_PASSWORD": "testsecret",
    }
    subprocess.run(
        [juicefs, "format", "--storage", "file", "--bucket", f"{directory}/data/"]
        + ["--trash-days", "0", meta, BUCKET],
        env={**os.environ, **env},
        check=True,
        capture_output=True,
    )
    args: list[str | Path] = [juicefs, "gateway", "--no-agent", "--no-usage-report", "--no-banner"]
    args += ["--cache-dir", directory / "cache", "--log", directory / "gateway.log"]
    args += [
        "--metrics",
        f"127.0.0.1:{metrics}",
        "--keep-etag",
        "--object-meta",
        "--backup-meta",
        "0",
    ]
    args += [meta, f"127.0.0.1:{port}"]
    with child(args, directory / "juicefs.log", f"{url}/minio/health/live", env) as pid:
        server = S3Server("minio", url, pid)
        _until(lambda: b"IAM initialization complete" in (directory / "juicefs.log").read_bytes())
        server.client().put_object(Bucket=BUCKET, Key="probe", Body=b"")
        _until(lambda: _opened(server))
        yield server


def _opened(server: S3Server) -> bool:
    """Whether anybody may read now: its start-up may undo a policy that came too early."""
    server.client().put_bucket_policy(Bucket=BUCKET, Policy=_public_policy())
    return answers(f"{server.url}/{BUCKET}/probe", lambda status: status == 200)


def _until(claim: Callable[[], bool]) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while not claim():
        if time.monotonic() > deadline:
            raise RuntimeError("the server did not come up")
        time.sleep(0.05)


def _public_policy() -> str:
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"AWS": ["*"]},
                    "Action": ["s3:GetObject"],
                    "Resource": [f"arn:aws:s3:::{BUCKET}/*"],
                }
            ],
        }
    )


SERVERS = {"s3rver": s3rver, "moto": moto, "seaweedfs": seaweedfs, "minio": minio}
