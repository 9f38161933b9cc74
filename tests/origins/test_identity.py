"""What was read with one identity is not given out under another, and stays what it was."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.lifecycle.parts import Client, running
from tests.serving import listening

KEYS = "".join(
    f"[{name.lower()}]\naws_access_key_id={name}\naws_secret_access_key=s\n"
    for name in ("ONE", "TWO")
)


class Bucket:
    """Answers with the access key that a request was signed with; under /slow when ``go`` is."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.begun, self.go = asyncio.Event(), asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := (await reader.readuntil(b"\r\n\r\n")).decode():
            signed = head.lower().partition("credential=")[2].partition("/")[0].upper()
            self.asked.append(signed)
            if "/slow" in head:
                self.begun.set()
                await self.go.wait()
            writer.write(
                b"HTTP/1.1 200 OK\r\nCache-Control: max-age=1000\r\nContent-Length: 4\r\n\r\n"
                + (signed or "none").encode().ljust(4)
            )


def written(path: Path, url: str, more: str) -> None:
    path.write_text(
        f'listen: "127.0.0.1:0"\norigins: {{main: {{url: "{url}", bucket: media{more}}}}}\n'
        "log: {access: off}\n"
    )


async def test_a_reload_that_changes_who_asks_keeps_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, path, bucket = tmp_path / "credentials", tmp_path / "p.yaml", Bucket()
    file.write_text(KEYS)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    identity = {name: f", sign: {{credentials: 'profile:{name}'}}" for name in ("one", "two")}
    async with AsyncExitStack() as stack:
        url = f"http://127.0.0.1:{await stack.enter_async_context(listening(bucket))}"
        written(path, url, identity["one"])
        app, port = await stack.enter_async_context(running(path))
        client, other = await Client.at(port), await Client.at(port)

        async def body() -> tuple[str, bool]:
            answer = await client.get("/a")
            return answer.body.decode().strip(), "hit" in answer.fields["cache-status"]

        assert [await body(), await body()] == [("ONE", False), ("ONE", True)]
        slow = asyncio.ensure_future(other.get("/slow"))
        await bucket.begun.wait()
        written(path, url, identity["two"])
        assert (await app.reload()).ok
        assert [await body(), await body()] == [("TWO", False), ("TWO", True)]
        late = asyncio.ensure_future(client.get("/slow"))
        while len(bucket.asked) < 4:
            await asyncio.sleep(0.005)
        bucket.go.set()
        assert (await slow).body.strip() == b"ONE"  # it ends as it began, and for itself
        assert (await late).body.strip() == b"TWO"
        written(path, url, "")
        assert (await app.reload()).ok
        assert await body() == ("none", False)
        written(path, url, identity["two"])
        assert (await app.reload()).ok
        assert await body() == ("TWO", True)  # whose answers are there still
        assert bucket.asked == ["ONE", "ONE", "TWO", "TWO", ""]
