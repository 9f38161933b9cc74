"""What README.md shows is so: its configurations, its commands, what it quotes."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from tests.cli.test_commands import ROOT, run
from vary_proxy.cli import cli
from vary_proxy.cli.init import PRESETS
from vary_proxy.doctor.catalogue import CATALOGUE

README = (ROOT / "README.md").read_text()
SNIPPETS = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("at", range(len(SNIPPETS)))
def test_a_configuration_is_valid(at: int, tmp_path: Path) -> None:
    text = SNIPPETS[at]
    origins = "" if "origins:" in text else "\norigins: {media: http://minio:9000}\n"
    (tmp_path / "rules.yaml").write_text(text + origins)
    done = run("validate", "rules.yaml", cwd=tmp_path)
    assert done.stdout == "rules.yaml: valid\n", done.stderr


def test_the_mistake_is_told_as_it_is_quoted(tmp_path: Path) -> None:
    (quoted,) = re.findall(r"^ {4}(rules\.yaml:14:18: .*)$", README, re.MULTILINE)
    lines = ["version: 1", "origins: {media: http://minio:9000}", *[""] * 9]
    lines += ["cors:", "  app:", '    origins: [   "https://example.com/"]']
    (tmp_path / "rules.yaml").write_text("\n".join(lines))
    assert run("validate", "rules.yaml", cwd=tmp_path).stderr.splitlines()[0] == quoted


def test_every_command_exists_and_takes_the_options_shown() -> None:
    context = click.Context(cli)
    shown = re.findall(r"(?:^ {4}|; |\| )vary-proxy ([a-z]+)([^\n#|;&>]*)", README, re.MULTILINE)
    assert len(shown) > 15
    for verb, rest in shown:
        command = cli.get_command(context, verb)
        assert command is not None, verb
        if isinstance(command, click.Group):
            command = command.get_command(context, rest.split()[0])
            assert command is not None, rest
        known = {one for option in command.params for one in option.opts}
        options = set(re.findall(r"(?<= )--?[a-zA-Z][a-z-]*", re.sub(r"'[^']*'", "", rest)))
        assert options <= known, (verb, options - known)


def test_what_is_counted_and_listed_is_so() -> None:
    assert f": {len(CATALOGUE)} findings on Vary" in README
    listed = README[README.index("`vary-proxy init --preset NAME` writes") :].partition("config/")
    assert set(PRESETS) <= set(re.findall(r"`([a-z0-9-]+)`", listed[0]))
