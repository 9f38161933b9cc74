"""Limits of request heads, as configured: the same for what is stored and for what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lifecycle.parts import Client, origin, running

LIMITS = "{head: 1KiB, line: 200B, fields: 10, target: 100B}"


def written(path: Path, url: str, limits: str) -> None:
    path.write_text(
        f'listen: "127.0.0.1:0"\norigins: {{main: "{url}"}}\nserver: {{limits: {limits}}}\n'
        "log: {access: off}\n"
    )


def head(target: str = "/a", count: int = 0, line: int = 0, size: int = 0) -> list[str]:
    """Lines of a head with *count* fields beside Host, one of *line* bytes, and *size* more."""
    lines = [f"X-{at}: y" for at in range(count)]
    if line:
        lines.append("X-Long: ".ljust(line, "z"))
    lines += [f"X-S{at}: ".ljust(100, "s") for at in range(size // 102)]
    return [target, *lines]


CASES = [
    pytest.param(head(count=9), 200, id="ten fields"),
    pytest.param(head(count=10), 431, id="eleven"),
    pytest.param(head(line=200), 200, id="a line as long as may be"),
    pytest.param(head(line=201), 431, id="a longer one"),
    pytest.param(head(size=800), 200, id="a head within"),
    pytest.param(head(size=1100), 431, id="a head beyond"),
    pytest.param(head("/" + "a" * 99), 200, id="a target as long as may be"),
    pytest.param(head("/" + "a" * 100), 414, id="a longer target"),
]


@pytest.mark.parametrize("warm", [False, True], ids=["first", "from memory"])
@pytest.mark.parametrize(("lines", "status"), CASES)
async def test_a_head_is_measured(
    tmp_path: Path, lines: list[str], status: int, warm: bool
) -> None:
    path = tmp_path / "p.yaml"
    async with origin("A") as a:
        written(path, a.url, LIMITS)
        async with running(path) as (_, port):
            client = await Client.at(port)
            for _ in range(3 if warm else 0):  # known on the fast lane by now
                if len(lines[0]) <= 100:
                    assert (await client.get(lines[0])).status == 200
            answer = await client.get(*lines)
            assert answer.status == status
            if status != 200:
                assert "vary" in answer.fields
                assert "vary-proxy; detail=" in answer.fields["cache-status"]
            elif warm:
                assert "; hit" in answer.fields["cache-status"]
            client.close()


async def test_they_change_with_a_reload(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    async with origin("A") as a:
        written(path, a.url, "{fields: 200}")
        async with running(path) as (app, port):
            for limits, expected in (("{fields: 20}", 431), ("{fields: 60}", 200)):
                client = await Client.at(port)
                for _ in range(3):
                    assert (await client.get("/a")).status == 200
                assert (await client.get(*head(count=15))).status == 200
                written(path, a.url, limits)
                assert (await app.reload()).ok
                after = await Client.at(port)
                for _ in range(3):
                    assert (await after.get("/a")).status == 200
                assert (await after.get(*head(count=40))).status == expected
                client.close()
                after.close()
