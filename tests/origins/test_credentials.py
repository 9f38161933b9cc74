"""Every place in which credentials lie, as botocore finds them; renewed, and used to the last."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.lifecycle.command import get, letters, soon
from tests.origins.givers import Giver, Instance, Pod, TokenService, giving
from tests.real.proxy import configured, running_proxy
from tests.real.servers import moto
from tests.wire.raworigin import until
from vary_proxy.origin import OriginFailure
from vary_proxy.origins.credentials import Credentials, Keys, chain


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of this machine: no variable, no file, no instance."""
    for name in [one for one in os.environ if one.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


class Clock:
    """Moved by hand; what botocore goes by is the machine's."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@contextlib.asynccontextmanager
async def holding(**how: Any) -> AsyncIterator[Credentials]:
    held = Credentials(chain(region="eu-central-1"), **how)
    try:
        yield held
    finally:
        await held.close()


def lasts(held: Credentials, seconds: float) -> None:
    """Let the keys that are held have so much life left, by botocore's clock."""
    held._held._expiry_time = datetime.now(UTC) + timedelta(seconds=seconds)


@pytest.fixture
def instance(monkeypatch: pytest.MonkeyPatch) -> Iterator[Giver]:
    with giving(Instance) as giver:
        monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", giver.url)
        yield giver


@pytest.fixture
def pod(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Giver]:
    with giving(Pod) as giver:
        token = tmp_path / "pod-token"
        token.write_text("first")
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{giver.url}/v1/credentials")
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(token))
        yield giver


@pytest.fixture
def web_identity(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    token = tmp_path / "web-token"
    token.write_text("first")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/media")
    return token


@pytest.fixture
def token_service(monkeypatch: pytest.MonkeyPatch, web_identity: Path) -> Iterator[Giver]:
    with giving(TokenService) as giver:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", giver.url)
        yield giver


@pytest.fixture(params=["instance", "pod", "token_service"])
def giver(request: pytest.FixtureRequest) -> Giver:
    """Each of those that give keys which expire."""
    given: Giver = request.getfixturevalue(request.param)
    return given


async def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AK")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "T")
    async with holding() as held:
        assert await held.keys() == Keys("AK", "s", "T")


def written(path: Path, key: str, profile: str = "default") -> None:
    path.write_text(f"[{profile}]\naws_access_key_id={key}\naws_secret_access_key=s\n")


async def test_a_shared_file_and_what_it_is_rotated_to(tmp_path: Path) -> None:
    file, clock = tmp_path / "AWS_SHARED_CREDENTIALS_FILE", Clock()
    written(file, "AK1")
    async with holding(clock=clock) as held:
        assert (await held.keys()).access_key == "AK1"
        written(file, "AK2")
        assert (await held.keys()).access_key == "AK1"  # not looked at for every request
        clock.now += 61.0
        await held.keys()
        await held._tasks.settle()
        assert (await held.keys()).access_key == "AK2"
        file.unlink()  # for a moment, or for good: what we have may still do
        clock.now += 61.0
        await held.keys()
        await held._tasks.settle()
        assert (await held.keys()).access_key == "AK2"


async def test_a_named_profile_wins_over_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of the environment")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    written(tmp_path / "AWS_SHARED_CREDENTIALS_FILE", "AK", "media")
    held = Credentials(chain("media"))
    assert (await held.keys()).access_key == "AK"
    await held.close()


async def test_a_pods_agent_is_shown_the_token_of_the_moment(pod: Giver, tmp_path: Path) -> None:
    pod.life, clock = 800, Clock()  # so little life that they are soon fetched again
    async with holding(clock=clock) as held:
        first = await held.keys()
        assert set(pod.proofs) == {"first"}
        (tmp_path / "pod-token").write_text("second")
        clock.now += 31.0
        assert await held.keys() == first
        await held._tasks.settle()
        assert pod.proofs[-1] == "second"
        assert await held.keys() == Keys(f"AK{pod.given}", "s", f"T{pod.given}")


async def test_instance_metadata_is_asked_with_a_session_token(instance: Giver) -> None:
    async with holding() as held:
        assert await held.keys() == Keys("AK1", "s", "T1")
    assert set(instance.proofs) == {"SESSION"}


async def test_a_web_identity_is_exchanged_and_its_file_read_anew(
    token_service: Giver, web_identity: Path
) -> None:
    token_service.life, clock = 800, Clock()
    async with holding(clock=clock) as held:
        first = await held.keys()
        assert set(token_service.proofs) == {"first"}
        web_identity.write_text("second")
        clock.now += 31.0
        assert await held.keys() == first
        await held._tasks.settle()
        given = token_service.given
        assert token_service.proofs[-1] == "second"
        assert await held.keys() == Keys(f"AK{given}", "s", f"T{given}")


async def test_a_web_identity_at_a_token_service_of_another_make(
    web_identity: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/media")
    with moto(tmp_path) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.url)
        async with holding(patience=30.0) as held:
            keys = await held.keys()
    assert keys.access_key.startswith("ASIA")
    assert keys.token


async def test_keys_are_looked_for_before_anybody_asks(giver: Giver) -> None:
    async with holding() as held:
        held.begin()
        await until(lambda: giver.given > 0)
        await held._tasks.settle()
        given = giver.given
        assert (await held.keys()).access_key == f"AK{given}"
        assert giver.given == given


async def test_nobody_waits_while_the_old_ones_hold(giver: Giver) -> None:
    giver.life, clock = 800, Clock()
    async with holding(clock=clock) as held:
        first = await held.keys()
        lasts(held, 800)  # where botocore thinks that an instance's last longer than is said
        giver.begun.clear()
        giver.go.clear()  # from here on nobody is answered
        clock.now += 31.0
        assert await held.keys() == first
        await until(giver.begun.is_set)  # it is being asked, and the loop turns
        assert await held.keys() == first
        given = giver.given
        giver.go.set()
        await until(lambda: giver.given > given)
        await held._tasks.settle()
        assert (await held.keys()).access_key != first.access_key


async def test_a_giver_that_hangs_holds_nobody_up_for_long(giver: Giver) -> None:
    giver.go.clear()
    async with holding(patience=0.2) as held:
        with pytest.raises(OriginFailure, match="has not answered yet") as failure:
            await held.keys()
        assert (failure.value.error, failure.value.status) == ("proxy_configuration_error", 503)
        began = asyncio.get_running_loop().time()
        for _ in range(50):  # the next do not wait anew
            with pytest.raises(OriginFailure):
                await held.keys()
        assert asyncio.get_running_loop().time() - began < 9.0  # else fifty times 0.2


async def test_what_cannot_be_renewed_serves_until_it_expires_and_not_beyond(
    pod: Giver, caplog: pytest.LogCaptureFixture
) -> None:
    pod.life, clock = 800, Clock()
    async with holding(patience=30.0, clock=clock) as held:
        first = await held.keys()
        held._patience, pod.works = 0.1, False
        for left in (800, 400, 50, 1):
            lasts(held, left)
            clock.now += 31.0
            assert await held.keys() == first
        lasts(held, -1)
        with pytest.raises(OriginFailure):
            await held.keys()
        await held._tasks.settle()
        with pytest.raises(OriginFailure, match="Received non 200 response 500"):
            await held.keys()
        assert "cannot be signed: CredentialRetrievalError" in caplog.text
        assert "Traceback" not in caplog.text
        pod.works, pod.life = True, 3600
        clock.now += 31.0
        with caplog.at_level(logging.INFO):
            held.begin()
            await held._tasks.settle()
        assert await held.keys() == Keys(f"AK{pod.given}", "s", f"T{pod.given}")
        assert "are signed again" in caplog.text


async def test_where_nobody_has_any_it_says_so(caplog: pytest.LogCaptureFixture) -> None:
    async with holding() as held:
        for _ in range(3):
            with pytest.raises(OriginFailure, match="no credentials were found"):
                await held.keys()
    assert caplog.text.count("cannot be signed") == 1


async def test_what_is_secret_is_not_told_at_debug(
    token_service: Giver, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with holding() as held:
            await held.keys()
    assert "<SecretAccessKey>" not in caplog.text
    assert "WebIdentityToken" not in caplog.text


def test_a_start_waits_for_no_giver_and_other_origins_are_served(
    pod: Giver, tmp_path: Path
) -> None:
    """The whole command, whose credentials come late."""
    pod.go.clear()
    with letters("A") as (url, _):
        text = f"""\
version: 1
origins:
  open: "{url}"
  private: {{url: "{url}", bucket: media, sign: {{region: eu-central-1}}}}
defaults: {{origin: open}}
rules: [{{match: {{path: "/private/**"}}, origin: private}}]
"""
        with running_proxy(tmp_path, *configured(tmp_path, text)) as proxy:
            port = int(proxy.url.rpartition(":")[2])
            assert pod.begun.wait(20)  # nobody has asked for anything yet
            assert get(port, "/open") == b"AA"
            with pytest.raises(AssertionError, match="no valid credentials"):
                get(port, "/private/a")
            assert get(port, "/open/2") == b"AA"
            assert "proxy_configuration_error: " in proxy.log.read_text()
            pod.go.set()

            def is_served() -> bool:
                with contextlib.suppress(AssertionError):
                    return get(port, "/private/a") == b"AA"
                return False

            soon(is_served, 60)
