"""Real servers behind the proxy, as second readers of every byte that we send.

Between the two a tap keeps what is forwarded, read strictly; the application behind the server
says what it saw. For each odd thing that a client tried, both must tell the same, and the marked
request behind it must be answered with its own answer, or not at all.

    python -m tests.hold.desyncing [--count 2000] [--seed 1] [SERVER …]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.hold import grammars, readers
from tests.hold.test_framing import BROKEN_BODIES, DOUBTFUL, HEADED, ODD_BUT_CLEAR
from tests.hold.worlds import Asked, Front, Origin, front, get
from tests.ports import free_ports
from tests.real.servers import ROOT, child
from tests.wire.rawclient import Answer

ECHOING = Path(__file__).with_suffix("").with_name("echoing")
NGINX = """
daemon off; worker_processes 1; error_log {folder}/error.log; pid {folder}/nginx.pid;
events {{ worker_connections 256; }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream behind {{ server 127.0.0.1:{behind}; keepalive 4; }}
  server {{
    listen 127.0.0.1:{port}; merge_slashes off;
    proxy_http_version 1.1; proxy_set_header Connection "";
    location / {{ proxy_pass http://behind; }}
  }}
}}
"""
HAPROXY = """
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend here
  bind 127.0.0.1:{port}
  default_backend behind
backend behind
  http-reuse always
  server one 127.0.0.1:{behind}
"""
VARNISH = """
vcl 4.1;
backend default {{ .host = "127.0.0.1"; .port = "{behind}"; }}
sub vcl_recv {{ return (pass); }}
"""


@contextmanager
def served(name: str, folder: Path) -> Iterator[int]:
    """The port of a server that is called *name*, with the application behind it."""
    with ExitStack() as stack:
        port, behind = free_ports(2)
        starts: dict[str, Callable[[], list[str | Path]]] = {
            "nginx": lambda: [_program("nginx"), "-c", folder / "server.cfg", "-e", "stderr"],
            "haproxy": lambda: [_program("haproxy"), "-db", "-f", folder / "server.cfg"],
            "varnish": lambda: [
                *(_program("varnishd"), "-F", "-f", folder / "server.cfg"),
                *("-a", f"127.0.0.1:{port}", "-n", folder / "work", "-s", "malloc,16m"),
            ],
        }
        texts = {"nginx": NGINX, "haproxy": HAPROXY, "varnish": VARNISH}
        if name in texts:
            stack.enter_context(_started(_echoing("node", behind), folder / "behind.log", behind))
            text = texts[name].format(folder=folder, port=port, behind=behind)
            (folder / "server.cfg").write_text(text)
            folder.chmod(0o755)  # Varnish reads it as nobody
        args = starts[name]() if name in starts else _echoing(name, port)
        stack.enter_context(_started(args, folder / "server.log", port))
        yield port


def _program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    assert found is not None, f"{name} is not installed: run `make test`, or apt-get install {name}"
    return found


def _echoing(name: str, port: int) -> list[str | Path]:
    if name == "node":
        return ["node", ECHOING.with_suffix(".mjs"), str(port)]
    return [sys.executable, "-m", "tests.hold.echoing", name, str(port)]


@contextmanager
def _started(args: list[str | Path], log: Path, port: int) -> Iterator[int]:
    env = {"PYTHONPATH": str(ROOT)}
    with child(args, log, f"http://127.0.0.1:{port}/ready", env) as pid:
        yield pid


@dataclass(frozen=True)
class Try:
    """What a client sends before the marked request."""

    name: str
    data: bytes
    method: bytes


def corpus(count: int, number: int, every: int = 1) -> list[Try]:
    """The odd and the doubtful of other tests, *every* so many, and *count* made by grammars."""
    known = [(name, data) for name, data in DOUBTFUL[:: every * 3]]
    known += [(name, HEADED + data) for name, data in BROKEN_BODIES[::every] if len(data) < 9999]
    known += [(name, data) for name, data, _ in ODD_BUT_CLEAR]
    tries = [Try(name, data, data.lstrip().partition(b" ")[0]) for name, data in known]
    return [*tries, *_made(count, number)]


def _made(count: int, number: int) -> list[Try]:
    made: list[Try] = []

    @seed(number)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(grammars.requests())
    def gather(message: grammars.Message) -> None:
        made.append(Try(message.doubt or "a grammar's", bytes(message), message.start[0]))

    gather()
    return made


@dataclass(frozen=True)
class Saw:
    """One request as the application saw it."""

    number: int
    method: bytes
    target: bytes
    body: bytes


def _saw(answer: Answer) -> Saw | None:
    """What *answer* says was seen; None when it is no answer of the application."""
    if not answer.has("x-saw"):
        return None
    number, *words = answer["x-saw"].split(" ")
    method, target, body = (b"" if word == "-" else bytes.fromhex(word) for word in words)
    return Saw(int(number), method, target, body)


@contextlib.asynccontextmanager
async def tapped(port: int) -> AsyncIterator[Front]:
    """A proxy whose origin is the server at *port*; its ``origin`` keeps what passes."""

    async def tap(
        origin: Origin, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        back, forth = await asyncio.open_connection("127.0.0.1", port)
        shadow = asyncio.StreamReader(limit=1 << 20)

        async def strictly() -> None:
            with contextlib.suppress(asyncio.IncompleteReadError):
                while await _read(shadow, origin):
                    pass

        async def answers() -> None:
            while data := await back.read(1 << 16):
                writer.write(data)
            writer.close()

        tasks = [asyncio.ensure_future(one()) for one in (strictly, answers)]
        try:
            while data := await reader.read(1 << 16):
                shadow.feed_data(data)
                forth.write(data)
        finally:
            shadow.feed_eof()
            forth.close()
            await asyncio.wait(tasks, timeout=5)

    async with front() as edge:
        edge.origin.on_connection = tap
        yield edge


async def _read(shadow: asyncio.StreamReader, origin: Origin) -> bool:
    """Keep the next request as *origin* would; False when it is not exactly one."""
    try:
        head = data = await shadow.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as left:
        if left.partial:  # a head is written at once: these are stray bytes
            origin.unclear.append(left.partial)
        return False
    fields = dict(Asked(head).fields)
    if b"transfer-encoding" in fields:
        while not data.endswith(b"\r\n0\r\n\r\n"):
            line = await shadow.readuntil(b"\r\n")
            data += line + await shadow.readexactly(int(line, 16) + 2)
    else:
        data += await shadow.readexactly(int(fields.get(b"content-length", b"0")))
    read = readers.by_the_letter(data)
    if read is None:
        origin.unclear.append(data)
        return False
    origin.asked.append(Asked(head, read.body))
    return True


class Judge:
    """Sends one try after the other, and holds what each side says against the other's."""

    def __init__(
        self,
        edge: Front,
        shows: Callable[[bytes], bytes] = bytes,
        drops: frozenset[bytes] = frozenset(),
    ) -> None:
        self.edge = edge
        self.shows = shows  # how the server tells an application of a target
        self.drops = drops  # methods whose content it reads and keeps to itself
        self.number: int | None = None  # of the request that the application saw last
        self.tried = self.forwarded = self.seen = self.missed = 0

    async def judge(self, one: Try) -> None:
        self.tried += 1
        marked = b"/marked-%d" % self.tried
        before = len(self.edge.origin.asked)
        client = await self.edge.client()
        client.send(one.data, get(marked, b"Connection: close"))
        data = await _everything(client.reader)
        self.edge.clients.remove(client)
        await client.leave()
        answers = _answers(data, (one.method, b"GET"))
        asked = self.edge.origin.asked[before:]
        context = (one, data, asked)
        assert 1 <= len(answers) <= 2, context
        assert self.edge.origin.unclear == [], context
        assert len(asked) <= len(answers), context
        self._told(answers, asked, marked, context)
        if len(answers) == 2:
            assert asked[-1:], context
            assert asked[-1].target == marked, context
            saw = _saw(answers[1])
            assert saw is not None, context
            assert (saw.method, saw.target, saw.body) == (b"GET", marked, b""), context

    def _told(
        self, answers: list[Answer], asked: list[Asked], marked: bytes, context: object
    ) -> None:
        """Every answer of the application is that to the request in its place."""
        waiting = list(asked)
        for answer in answers:
            saw = _saw(answer)
            if saw is None:  # ours, or the server's own
                assert answer.status >= 400, context
                if waiting and (waiting[0].target != marked or len(answers) == 1):
                    del waiting[0]
                    # A server between may lose the answer to what was seen behind it.
                    self.missed += answer.status in (502, 503, 504)
                continue
            assert waiting, context
            forwarded = waiting.pop(0)
            assert saw.method == forwarded.method, context
            assert saw.target == self.shows(forwarded.target), context
            kept = b"" if saw.method in self.drops else forwarded.body
            assert saw.body == kept, context
            last = saw.number - 1 if self.number is None else self.number
            assert 1 <= saw.number - last <= 1 + self.missed, (last, context)
            self.missed = 0
            self.number = saw.number
            self.seen += 1
        assert not waiting, context
        self.forwarded += len(asked)


def _without_empty_query(target: bytes) -> bytes:
    """ASGI has no word for it."""
    return target[:-1] if target.find(b"?") == len(target) - 1 else target


def _with_one_slash(target: bytes) -> bytes:
    """And its bytes as characters of UTF-8."""
    target = target.decode("latin-1").encode()
    return b"/" + target.lstrip(b"/") if target[:2] == b"//" else target


SHOWN = {
    "uvicorn-h11": _without_empty_query,
    "uvicorn-httptools": _without_empty_query,
    "werkzeug": _with_one_slash,
}
DROPPED = {"varnish": frozenset((b"GET", b"HEAD"))}


def _answers(data: bytes, methods: tuple[bytes, ...]) -> list[Answer]:
    """The final responses in all that a client was sent; the last may end with the connection."""
    found: list[Answer] = []
    while data:
        head, mark, data = data.partition(b"\r\n\r\n")
        assert mark, f"not a response: {head[:200]!r}"
        line, *lines = head.decode("latin-1").split("\r\n")
        fields = [(name, value) for name, _, value in (text.partition(": ") for text in lines)]
        answer = Answer(int(line[9:12]), fields, b"", head)
        if answer.status < 200:
            continue
        if methods[len(found) :][:1] == (b"HEAD",) or answer.status in (204, 304):
            pass
        elif answer.has("transfer-encoding"):
            answer.body, data = readers.dechunked(data)
        else:
            length = int(answer["content-length"]) if answer.has("content-length") else len(data)
            answer.body, data = data[:length], data[length:]
        found.append(answer)
    return found


async def _everything(reader: asyncio.StreamReader) -> bytes:
    got = b""
    with contextlib.suppress(ConnectionError):
        while more := await asyncio.wait_for(reader.read(1 << 16), 20):
            got += more
    return got


async def judged(name: str, folder: Path, tries: list[Try]) -> Judge:
    with served(name, folder) as port:
        async with tapped(port) as edge:
            judge = Judge(edge, SHOWN.get(name, bytes), DROPPED.get(name, frozenset()))
            for one in tries:
                await judge.judge(one)
            await judge.judge(Try("the last", get(b"/last"), b"GET"))  # nothing was seen since
            return judge


SHORT = ("nginx", "haproxy", "node", "gunicorn", "uvicorn-h11", "uvicorn-httptools")
SHORT += ("aiohttp", "werkzeug")
LONG = (*SHORT, "gunicorn-gthread", "varnish")


def main() -> int:
    options = argparse.ArgumentParser(description="real servers as second readers")
    options.add_argument("servers", nargs="*", metavar="SERVER", default=list(LONG))
    options.add_argument("--count", type=int, default=2000, help="requests made by grammars")
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    logging.disable(logging.WARNING)
    tries = corpus(chosen.count, chosen.seed)
    failed = 0
    for name in chosen.servers:
        with tempfile.TemporaryDirectory() as folder:
            try:
                judge = asyncio.run(judged(name, Path(folder), tries))
            except AssertionError as found:
                failed, said = 1, f"FOUND {found}"
            else:
                said = f"{judge.tried} tried, {judge.forwarded} forwarded, {judge.seen} seen"
        print(f"{name:<18} {said}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
