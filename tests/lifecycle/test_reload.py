"""A reload under traffic: all of the new configuration or all of the old, and nothing cut."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.lifecycle.parts import Client, NamedOrigin, asked, origin, running, until
from vary_proxy.cli.run import _on_hangup
from vary_proxy.reloading import OriginMap, retire
from vary_proxy.tasks import Tasks

BROKEN = ("rules: [", "version: 1\nrulez: []\n", "version: 1\norigins: {main: ftp://x}\n")


def written(path: Path, at: NamedOrigin, more: str = "") -> None:
    """A file whose origin and CORS policy both name *at*."""
    path.write_text(
        f"""version: 1
listen: ["127.0.0.1:0"]
origins: {{main: "{at.url}"}}
cors: {{named: {{origins: "*", expose: [X-{at.name}]}}}}
defaults: {{cors: {{policy: named}}}}
log: {{access: off}}
server: {{drain: {{delay: 0s}}}}
{more}"""
    )


async def test_requests_during_reloads_see_one_configuration_whole(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    async with origin("A") as a, origin("B") as b:
        written(path, a)
        async with running(path) as (app, port):
            ended = False
            seen = {"A": 0, "B": 0}

            async def ask(number: int) -> None:
                client = await Client.at(port)
                at = 0
                while not ended:
                    at += 1
                    kind = ("stored", "live")[(at + number) % 2]
                    answer = await client.get(f"/{kind}/{at % 5}", "Origin: https://x.example")
                    assert answer.status == 200
                    name = answer.body.decode()[0]
                    assert answer.body.decode() == name * 2
                    assert answer.fields["access-control-expose-headers"] == f"X-{name}"
                    seen[name] += 1
                client.close()

            clients = asyncio.gather(*map(ask, range(8)))
            now = a
            for turn in range(1, 51):
                enough = sum(seen.values()) + 200
                await until(lambda enough=enough: sum(seen.values()) >= enough)
                if turn % 5 == 0:
                    path.write_text(BROKEN[turn // 5 % 3])
                    assert not (await app.reload()).ok
                    assert not app.last_reload_ok
                else:
                    now = b if now is a else a
                    written(path, now)
                    assert (await app.reload()).ok
                    assert app.last_reload_ok
                client = await Client.at(port)
                for target in (f"/live/{turn}", f"/stored/{turn % 5}"):
                    answer = await client.get(target, "Origin: https://x.example")
                    assert answer.body.decode() == now.name * 2
                client.close()
            ended = True
            await clients
            assert sum(seen.values()) >= 10_000
            assert min(seen.values()) > 1000


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Nothing is collected meanwhile: what ends does so because nobody holds it."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
async def test_what_is_under_way_ends_as_it_began(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    async with origin("A") as a, origin("B") as b:
        written(path, a)
        async with running(path) as (app, port):
            client = await Client.at(port)
            asking = asyncio.ensure_future(client.get("/slow/live"))
            await a.begun.wait()
            written(path, b)
            assert (await app.reload()).ok
            assert (await asked(port, "/x")).body == b"BB"
            assert a.clients == 1
            a.go.set()
            answer = await asking
            assert (answer.status, answer.body) == (200, b"AA")
            await until(lambda: a.clients == 0)  # then the removed origin is closed


_THEIRS = b"Access-Control-Allow-Origin: https://old.example\r\nSet-Cookie: who=1\r\n"
_AFTER = "cors: {named: {origins: [https://new.example]}}\n"


@pytest.mark.parametrize("arrived", [False, True], ids=["on its way", "stored"])
@pytest.mark.parametrize(
    ("before", "after", "given"),
    [
        pytest.param("", "cache: off", "https://old.example", id="cache off"),
        pytest.param("", "cors: {policy: named, mode: override}", None, id="CORS override"),
        pytest.param("", "cors: {mode: strip}", None, id="CORS stripped"),
        pytest.param(
            "cors: {mode: strip}", "cors: {mode: passthrough}", "https://old.example",
            id="CORS passed through",
        ),
        pytest.param("", "vary: passthrough", "https://old.example", id="Vary as it comes"),
        pytest.param(
            "cache: {set_cookie: store}", "cache: {set_cookie: default}", "https://old.example",
            id="cookies for one alone",
        ),
        pytest.param("", "cache: {collapse: false}", "https://old.example", id="each for himself"),
    ],
)  # fmt: skip
async def test_who_asks_after_a_reload_gets_what_its_rules_make_of_it(
    tmp_path: Path, before: str, after: str, given: str | None, arrived: bool
) -> None:
    """Not what was asked for under the old ones, though it is still under way, or stored."""
    path = tmp_path / "p.yaml"

    def write(defaults: str) -> None:
        cookies = "" if "cache" in defaults else "cache: {set_cookie: store}, "
        path.write_text(
            f'version: 1\nlisten: [{{address: "127.0.0.1:0"}}]\n'
            f'origins: {{main: {{url: "{a.url}"}}}}\n'
            f"{_AFTER}defaults: {{{cookies}{defaults}}}\nlog: {{access: off}}\n"
        )

    async with origin("A") as a:
        a.more = _THEIRS
        write(before)
        async with running(path) as (app, port):
            one, other = await Client.at(port), await Client.at(port)
            old = asyncio.ensure_future(one.get("/slow", "Origin: https://new.example"))
            await a.begun.wait()
            if arrived:
                a.go.set()
                assert (await old).body == b"AA"
            write(after)
            assert (await app.reload()).ok
            new = asyncio.ensure_future(other.get("/slow", "Origin: https://new.example"))
            each = "collapse" in after and arrived  # what is stored is everybody's all the same
            if not each:
                await until(lambda: len(a.asked) == 2)
            a.go.set()
            answer = await new
            assert answer.body == b"AA"
            named = "https://new.example" if "override" in after else given
            assert answer.fields.get("access-control-allow-origin") == named
            assert (await old).body == b"AA"


async def test_an_origin_that_stays_keeps_its_connections_and_its_cache(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    async with origin("A") as a:
        written(path, a)
        async with running(path) as (app, port):
            client = await Client.at(port)
            assert (await client.get("/x")).body == b"AA"
            before = app.origins["main"]
            written(path, a, "rules: [{name: other, match: {path: /other}, cache: off}]\n")
            assert (await app.reload()).ok
            assert app.origins["main"] is before
            answer = await client.get("/x")
            assert "hit" in answer.fields["cache-status"]
            assert a.asked == ["/x"]


async def test_a_bad_file_says_why_and_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "p.yaml"
    async with origin("A") as a:
        written(path, a)
        async with running(path) as (app, port):
            written(path, a, "rules: [{name: x, math: {path: /}}]\n")
            outcome = await app.reload()
            assert not outcome.ok
            assert not app.last_reload_ok
            assert outcome.problems[0].startswith(f"{path}:8:")
            assert "math" in outcome.problems[0]
            assert outcome.problems[0] in caplog.text
            path.unlink()
            assert "cannot read it" in (await app.reload()).problems[0]
            assert (await asked(port, "/x")).body == b"AA"
            written(path, a)
            assert (await app.reload()).ok
            assert app.last_reload_ok


async def test_what_only_a_restart_can_change_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "p.yaml"
    async with origin("A") as a:
        written(path, a)
        async with running(path) as (app, _):
            text = path.read_text().replace("127.0.0.1:0", "127.0.0.1:1")
            path.write_text(text + "store: {memory: {max: 1MiB}}\n")
            outcome = await app.reload()
            assert outcome.ok
            assert outcome.needs_restart == ("listen", "store")
            assert "waiting for a restart: listen, store" in caplog.text
            written(path, a)
            assert (await app.reload()).needs_restart == ()


async def test_limits_hold_for_connections_to_come(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    async with origin("A") as a:
        written(path, a)
        async with running(path) as (app, port):
            before = await Client.at(port)
            assert (await before.get("/x" * 50)).status == 200
            text = path.read_text().replace("server: {", "server: {limits: {target: 64B}, ")
            path.write_text(text.replace("cors: {policy: named}", "vary: {headers: [X-A]}"))
            outcome = await app.reload()
            assert outcome.ok
            assert outcome.needs_restart == ()
            assert (await before.get("/x" * 50)).status == 200
            after = await Client.at(port)
            refused = await after.get("/x" * 50)
            assert refused.status == 414
            assert refused.fields["vary"] == "X-A"
            before.close()
            after.close()


async def test_trust_and_drain_change_too(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    async with origin("A") as a:
        written(path, a)
        async with running(path) as (app, _):
            assert app.trusted("127.0.0.1")
            text = path.read_text().replace("delay: 0s", "delay: 3s, timeout: 7s")
            path.write_text(text.replace("server: {", "server: {trusted_proxies: [10.0.0.0/8], "))
            assert (await app.reload()).ok
            assert not app.trusted("127.0.0.1")
            assert app.trusted("10.1.1.1")
            assert app.loaded.settings.server.drain.timeout == 7


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("vary_proxy.app.LOOK_SECONDS", 0.01)
    caplog.set_level(logging.INFO, "vary_proxy")


@pytest.mark.usefixtures("quick")
async def test_a_swapped_config_map_is_seen(tmp_path: Path) -> None:
    async with origin("A") as a, origin("B") as b:
        for at, one in (("1", a), ("2", b)):
            (tmp_path / at).mkdir()
            written(tmp_path / at / "p.yaml", one)
            os.utime(tmp_path / at / "p.yaml", (1, 1))
        data, path = tmp_path / "..data", tmp_path / "p.yaml"
        data.symlink_to("1")
        path.symlink_to("..data/p.yaml")
        async with running(path) as (app, port):
            watch = asyncio.ensure_future(app.watch())
            client = await Client.at(port)
            assert (await client.get("/x")).body == b"AA"
            (tmp_path / "new").symlink_to("2")
            (tmp_path / "new").rename(data)
            await until(lambda: app.loaded.settings.origins["main"].url.port == int(b.url[17:]))
            assert (await client.get("/x")).body == b"BB"
            (tmp_path / "2" / "p.yaml").write_text("rules: [")
            await until(lambda: not app.last_reload_ok)
            assert (await client.get("/x")).body == b"BB"
            written(tmp_path / "2" / "p.yaml", a)
            await until(lambda: app.last_reload_ok)
            assert (await client.get("/x")).body == b"AA"
            watch.cancel()


@pytest.mark.usefixtures("quick")
async def test_a_file_that_is_touched_only_is_not_reloaded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "p.yaml"
    async with origin("A") as a, origin("B") as b:
        written(path, a)
        async with running(path) as (app, _):
            watch = asyncio.ensure_future(app.watch())
            path.write_text(path.read_text())
            loaded = app.loaded
            await asyncio.sleep(0.1)
            assert app.loaded is loaded
            written(path, b)
            await until(lambda: app.loaded is not loaded)
            assert caplog.text.count("the configuration was reloaded") == 1
            watch.cancel()


@pytest.mark.usefixtures("quick")
async def test_a_secret_that_is_swapped_is_taken_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As Kubernetes changes a mounted Secret: by one symbolic link, times kept."""
    async with origin("A") as a:
        secret, data = tmp_path / "secret", tmp_path / "secret" / "..data"
        secret.mkdir()
        for version in ("one", "two"):
            (secret / version).mkdir()
            (secret / version / "site").write_text(f"https://{version}.example\n")
            os.utime(secret / version / "site", (1, 1))
        data.symlink_to("one")
        (secret / "site").symlink_to("..data/site")
        path = tmp_path / "p.yaml"
        written(path, a)
        path.write_text(path.read_text().replace('"*"', '"${file:secret/site}"'))
        async with running(path) as (app, port):
            watch = asyncio.ensure_future(app.watch())
            client = await Client.at(port)

            async def allowed(site: str) -> bool:
                origin = f"https://{site}.example"
                answer = await client.get("/x", f"Origin: {origin}")
                return answer.fields.get("access-control-allow-origin") == origin

            assert await allowed("one")
            (secret / "new").symlink_to("two")
            (secret / "new").rename(data)
            await until(lambda: "the configuration was reloaded" in caplog.text)
            assert await allowed("two")
            assert not await allowed("one")
            data.unlink()  # gone for a moment: the old configuration goes on
            await until(lambda: not app.last_reload_ok)
            assert await allowed("two")
            data.symlink_to("one")
            await until(lambda: app.last_reload_ok)
            assert await allowed("one")
            await asyncio.sleep(0.1)
            assert caplog.text.count("the configuration was reloaded") == 2
            watch.cancel()


@pytest.mark.usefixtures("quick")
async def test_what_is_wrong_is_told_once_and_not_every_second(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where a secret has changed with a file that cannot even be read as YAML."""
    path, secret = tmp_path / "p.yaml", tmp_path / "site"
    async with origin("A") as a:
        secret.write_text("https://one.example")
        written(path, a)
        path.write_text(path.read_text().replace('"*"', '"${file:site}"'))
        async with running(path) as (app, _):
            secret.write_text("https://two.example")
            path.write_text("rules: [")
            watch = asyncio.ensure_future(app.watch())
            await until(lambda: not app.last_reload_ok)
            await asyncio.sleep(0.2)
            assert caplog.text.count("not reloaded, the old configuration goes on") == 1
            written(path, a)
            await until(lambda: app.last_reload_ok)
            watch.cancel()


@pytest.mark.usefixtures("quick")
async def test_a_look_that_fails_does_not_end_the_watch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "p.yaml"
    async with origin("A") as a, origin("B") as b:
        written(path, a)
        async with running(path) as (app, _):
            failures = 0

            async def full(*_: object) -> None:
                nonlocal failures
                failures += 1
                raise RuntimeError("can't start new thread")

            with monkeypatch.context() as patched:
                patched.setattr(asyncio, "to_thread", full)
                watch = asyncio.ensure_future(app.watch())
                await until(lambda: failures > 3)
            written(path, b)
            await until(lambda: app.loaded.settings.origins["main"].url.port == int(b.url[17:]))
            assert caplog.text.count("could not look at the files") == 1
            watch.cancel()


async def test_a_hangup_that_fails_is_told_and_the_next_one_counts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    taken = asyncio.Event()
    signals = SimpleNamespace(hangup=asyncio.Event())
    turns = iter((RuntimeError("can't start new thread"), None))

    async def hang_up() -> None:
        failure = next(turns)
        if failure is not None:
            raise failure
        taken.set()

    signals.hangup.set()
    listening: Any = _on_hangup(SimpleNamespace(hang_up=hang_up), signals)  # type: ignore[arg-type]
    task = asyncio.ensure_future(listening)
    await until(lambda: "send it again" in caplog.text)
    signals.hangup.set()
    await asyncio.wait_for(taken.wait(), 30)
    task.cancel()


@pytest.mark.usefixtures("uncollected")
async def test_an_origin_of_an_earlier_configuration_is_open_for_who_asks_by_that() -> None:
    """Two reloads of which only the second removes it, while somebody is still about to ask."""

    class Removed:
        in_use, closed = 0, False

        async def close(self) -> None:
            self.closed = True

    removed, tasks = Removed(), Tasks()
    asked, between = OriginMap(), OriginMap()
    asked.later = between
    retire(between, [removed], tasks, 0.001)  # type: ignore[list-item]
    del between
    for _ in range(3):
        await asyncio.sleep(0.002)
    assert not removed.closed
    del asked
    await until(lambda: removed.closed)
    await tasks.close()
