"""Real frameworks as origins: each one's programs, started on free loopback ports.

A program binds its own ports and says them; it is ended by its process id, and ends itself
when nobody holds its standard input any more.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.frameworks.apps.site import NAMES, POLICIES, SITE
from tests.real.servers import NODE_MODULES, ROOT, S3Server, answers, moto

APPS = Path(__file__).parent / "apps"
READY_WITHIN = 60.0  # seconds


@dataclass(frozen=True)
class Program:
    """How a framework is started. ``apart``: one process for each policy."""

    title: str  # as its users call it
    source: str  # a file in ``apps``
    packages: tuple[str, ...] = ()  # whose versions matter
    apart: bool = False
    env: dict[str, str] = field(default_factory=dict)
    offers: tuple[str, ...] = (*NAMES, "nowhere")  # paths without their slash
    bare_304: bool = False  # its 304s lack the CORS fields that its 200s have
    unasked: frozenset[str] = frozenset()  # labels of questions


PROGRAMS = {
    "express": Program("Express, `cors`", "on_express.mjs", ("express", "cors")),
    "fastify": Program("Fastify, `@fastify/cors`", "on_fastify.mjs", ("fastify", "@fastify/cors")),
    "hono": Program("Hono, `cors()`", "on_hono.mjs", ("hono",)),
    "hono-etag": Program(
        "Hono, `cors()` and `etag()`",
        "on_hono.mjs",
        ("hono",),
        env={"HONO_ETAG": "1"},
        bare_304=True,
        unasked=frozenset(("get-if-modified-since",)),  # it knows no dates
    ),
    "koa": Program("Koa, `@koa/cors`", "on_koa.mjs", ("koa", "@koa/cors")),
    "flask": Program("Flask, Flask-CORS", "on_flask.py", ("Flask", "Flask-CORS")),
    "django": Program(
        "Django, django-cors-headers",
        "on_django.py",
        ("Django", "django-cors-headers"),
        apart=True,
        unasked=frozenset(("head-if-none-match",)),  # it answers conditions of GET alone
    ),
    "starlette": Program("Starlette", "on_starlette.py", ("starlette",)),
    "litestar": Program("Litestar", "on_litestar.py", ("litestar",)),
    "aiohttp": Program("aiohttp, aiohttp-cors", "on_aiohttp.py", ("aiohttp", "aiohttp-cors")),
    "falcon": Program("Falcon", "on_falcon.py", ("falcon",)),
    "quart": Program("Quart, quart-cors", "on_quart.py", ("quart", "quart-cors")),
    "s3": Program("AWS S3 (a stub)", "on_s3.py", offers=(*SITE["answers"], "nowhere")),
}
# moto's HEAD and conditions are not S3's, and PUT would be taken at its word.
_NOT_MOTO = frozenset(
    ("head", "head-if-none-match", "get-if-modified-since", "get-if-none-match", "put", "post")
)
MOTO = Program("S3 by moto", "", ("moto",), offers=("plain", "missing"), unasked=_NOT_MOTO)
NAMED = {**PROGRAMS, "moto": MOTO}


@dataclass(frozen=True)
class Framework:
    """A running one: ``urls`` by policy, without a trailing slash."""

    name: str
    program: Program
    urls: dict[str, str]


@contextmanager
def running(name: str, directory: Path) -> Iterator[Framework]:
    """The framework *name* with both policies, until the block ends."""
    if name == "moto":
        with moto(directory) as server:
            yield Framework(name, MOTO, _buckets(server))
        return
    program = PROGRAMS[name]
    groups = [[one] for one in POLICIES] if program.apart else [list(POLICIES)]
    with ExitStack() as stack:
        urls: dict[str, str] = {}
        for group in groups:
            ports = stack.enter_context(_process(program, group, directory))
            urls |= {policy: f"http://127.0.0.1:{port}" for policy, port in ports.items()}
        for url in urls.values():
            _ready(url)
        yield Framework(name, program, urls)


@contextmanager
def _process(program: Program, policies: list[str], directory: Path) -> Iterator[dict[str, int]]:
    """One process that serves *policies*; yields their ports."""
    module = f"{__package__}.apps.{Path(program.source).stem}"
    start = [sys.executable, "-m", module]
    if program.source.endswith(".mjs"):
        start = ["node", str(APPS / program.source)]
        if not NODE_MODULES.exists():
            raise RuntimeError("run `make test`, or `npm ci` in tests/node: no packages are there")
    log = directory / f"{policies[0]}.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [*start, *policies],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            cwd=ROOT,
            env={**os.environ, **program.env},
        ) as process,
    ):
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            if not said.startswith(b"{"):
                process.kill()
                raise RuntimeError(f"{program.title} did not start:\n{log.read_text()[-4000:]}")
            yield json.loads(said)
        finally:
            process.kill()


def _ready(url: str) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while not answers(f"{url}/plain"):
        if time.monotonic() > deadline:
            raise RuntimeError(f"{url} does not answer")
        time.sleep(0.02)


def _buckets(server: S3Server) -> dict[str, str]:
    """A bucket of the server's for each policy, with the one object of the site."""
    client = server.client()
    for name, policy in POLICIES.items():
        client.create_bucket(Bucket=name)
        rule = {
            "AllowedOrigins": policy.listed,
            "AllowedMethods": list(policy.methods),
            "AllowedHeaders": list(policy.headers),
            "ExposeHeaders": list(policy.expose),
            "MaxAgeSeconds": policy.max_age,
        }
        client.put_bucket_cors(Bucket=name, CORSConfiguration={"CORSRules": [rule]})
        client.put_object(
            Bucket=name,
            Key="plain",
            Body=SITE["body"].encode(),
            CacheControl="public, max-age=3600",
            ACL="public-read",
        )
    return {name: f"{server.url}/{name}" for name in POLICIES}
