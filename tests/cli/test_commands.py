"""The commands as users run them: results on stdout, messages on stderr, exit statuses."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest

from tests.doctor.hostile import replying, serving
from vary_proxy.cli import status

ROOT = Path(__file__).resolve().parents[2]
GOOD = "origins: {main: http://a.example}\n"
BAD = "origins: {main: a.example}\nstore: {typ: memory}\n"


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


def run(*args: str, cwd: Path | None = None, **environ: str) -> Done:
    """The command line within this process, in a directory and an environment of its own."""
    out, err = io.StringIO(), io.StringIO()
    clean = {key: value for key, value in os.environ.items() if not key.startswith("VARY_PROXY_")}
    with (
        mock.patch.dict(os.environ, {**clean, **environ}, clear=True),
        contextlib.chdir(cwd or ROOT),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = status(list(args))
    return Done(code, out.getvalue(), err.getvalue())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "bad.yaml").write_text(BAD)
    return tmp_path


def test_help_lists_every_command_and_imports_none() -> None:
    found = run("--help")
    assert found.returncode == 0
    for verb in (
        "run",
        "demo",
        "import",
        "validate",
        "config",
        "schema",
        "explain",
        "doctor",
        "version",
    ):
        assert f"\n  {verb} " in found.stdout
    code = (
        "import sys; from vary_proxy.cli import status; status(['--help']);"
        "heavy = {'aiohttp', 'msgspec', 'yaml', 'rich', 'redis', 'asyncio', 'uvloop'};"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stderr == "[]\n"


@pytest.mark.parametrize(
    ("args", "expected", "said"),
    [
        ([], 2, "Usage:"),
        (["validat"], 2, "did you mean validate?"),
        (["run", "--nope"], 2, "No such option"),
        (["run", "--origin"], 2, "requires an argument"),
        (["run", "-c", "missing.yaml"], 1, "missing.yaml: cannot read it: No such file"),
        (["run", "-c", "bad.yaml"], 1, 'bad.yaml:1:17: origins.main: "a.example" is not a URL'),
        (["run"], 1, "neither vary-proxy.yaml here nor /etc/vary-proxy/vary-proxy.yaml; name the"),
        (["explain", "GET", "/"], 1, "or begin one with vary-proxy init"),
        (["run", "rules.yaml"], 2, "'rules.yaml' stands alone; write -c rules.yaml"),
        (["run", "http://a.example"], 2, "write --origin http://a.example"),
        (["import", "nginx"], 2, "no import of 'nginx'; write ingress-nginx, nginx-s3-gateway or"),
        (["config", "shwo"], 2, "did you mean show?"),
        (["init", "."], 1, ". is a directory; name a file in it"),
        (["validate"], 2, "no file vary-proxy.yaml and no /etc/vary-proxy/vary-proxy.yaml; name"),
        (["validate", "x" * 5000], 1, "File name too long"),
        (["health"], 2, "set probes.address, or say where it is by --probes URL"),
        (["run", "--origin", "a.example:80"], 2, "write http://a.example:80"),
        (["run", "--origin", "http://a/?q"], 2, "is not a path"),
        (["run", "--origin", "http://a", "--listen", "8080"], 2, "for example 0.0.0.0:8080"),
        (["run", "--origin", "http://a", "--set", "x"], 2, "write --set path.to.key=value"),
        (["run", "--origin", "http://a", "--set", "stor.type=memory"], 2, "did you mean store?"),
        (["run", "-c", "good.yaml", "--loop", "fast"], 2, "'fast' is not one of"),
        (["validate", "missing.yaml"], 2, "there is no file missing.yaml"),
        (["validate", "bad.yaml"], 1, "bad.yaml:2:9: store.typ: unknown key; did you mean type?"),
        (["validate", "bad.yaml", "good.yaml"], 1, "bad.yaml: 2 problems"),
        (["validate", "."], 1, "Is a directory"),
        (["config", "show", "-c", "bad.yaml"], 1, "bad.yaml:2:9"),
        (["explain", "GET"], 2, "Missing argument"),
        (["explain", "GET", "no-slash", "--origin", "http://a"], 2, "is no URL"),
        (["explain", "G T", "/", "--origin", "http://a"], 2, "no request can carry"),
        (["explain", "GET", "/", "-H", "x", "--origin", "http://a"], 2, "is no field"),
        (["explain", "GET", "/", "-c", "bad.yaml"], 1, "bad.yaml:2:9"),
        (
            ["explain", "GET", "/", "-c", "good.yaml", "--live", "--via", "http://127.0.0.1:1"],
            3,
            "cannot reach http://127.0.0.1:1: nothing listens there",
        ),
        (["stats", "--admin", "127.0.0.1:1"], 3, "cannot reach 127.0.0.1:1: nothing listens"),
        (["stats", "--admin", ":1"], 3, "cannot reach :1: nothing listens there"),
        (["stats", "--admin", "[::1]:1"], 3, "cannot reach [::1]:1: "),
        (["stats", "--admin", "127.0.0.1"], 3, "write http://host:port, or unix:/path"),
        (["stats", "--admin", "http://127.0.0.1:1"], 3, "--set admin.address=127.0.0.1:8082"),
        (["reload", "--admin", "unix:/none"], 3, "cannot reach unix:/none: nothing listens there"),
        (["health", "--probes", "http://127.0.0.1:1"], 3, "is the proxy running?"),
        (["completion", "tcsh"], 2, "'tcsh' is not one of"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_wrong_is_told_plainly(
    args: list[str], expected: int, said: str, file: Path
) -> None:
    found = run(*args, cwd=file)
    assert found.returncode == expected, found
    assert said in found.stderr
    assert "Traceback" not in found.stderr
    assert found.stdout == (
        "good.yaml: valid\n" if "good.yaml" in args and "validate" in args else ""
    )


@pytest.mark.parametrize(
    ("text", "expected", "out", "err"),
    [
        (GOOD, 0, "stdin: valid\n", ""),
        (BAD, 1, "", "stdin:2:9: store.typ: unknown key; did you mean type?"),
    ],
)
def test_validate_reads_stdin(
    text: str, expected: int, out: str, err: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    found = run("validate", "-")
    assert (found.returncode, found.stdout) == (expected, out)
    assert err in found.stderr


def test_validate_tells_of_certificates_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "tls.yaml").write_text(
        "version: 1\norigins: {m: {url: https://a, tls: {ca: ca.pem}}}\n"
        "listen: [{address: '127.0.0.1:1', tls: {cert: /none/tls.crt, key: tls.yaml}}]\n"
    )
    found = run("validate", "tls.yaml", cwd=tmp_path)
    assert (found.returncode, found.stdout) == (0, "tls.yaml: valid\n")
    rest = "; run will not start without it"
    assert found.stderr.splitlines() == [
        "warning: tls.yaml:3:47: listen[0].tls.cert: there is no file /none/tls.crt" + rest,
        "warning: tls.yaml:2:41: origins.m.tls.ca: there is no file ca.pem" + rest,
    ]


def test_ctrl_c_while_the_program_is_loaded_ends_it_quietly(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt\n")
    done = subprocess.run(
        [sys.executable, "-m", "vary_proxy", "version"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_what_cors_origins_allows_is_enough_for_ranges_and_can_be_set() -> None:
    asked = ("-H", "Origin: https://a.example", "-H", "Access-Control-Request-Method: GET",
             "-H", "Access-Control-Request-Headers: if-range,range")  # fmt: skip
    flags = ("--origin", "http://o", "--cors-origins", "https://a.example")
    said = run("explain", "OPTIONS", "/x", *asked, *flags).stdout
    assert "verdict: allowed" in said
    assert "Access-Control-Max-Age: 86400" in said
    said = run("explain", "GET", "/x", *asked[:2], *flags).stdout
    assert "Access-Control-Expose-Headers: ETag, Content-Range, Content-Length" in said
    own = ("--set", "cors.flags.max_age=1h", "--set", "cors.flags.headers=Range,If-Range")
    said = run("explain", "OPTIONS", "/x", *asked, *flags, *own).stdout
    assert "Access-Control-Max-Age: 3600" in said


def test_validate_says_so_and_can_say_it_as_json(file: Path) -> None:
    assert run("validate", "good.yaml", cwd=file).stdout == "good.yaml: valid\n"
    found = run("validate", "good.yaml", "bad.yaml", "--json", cwd=file)
    assert found.returncode == 1
    good, bad = json.loads(found.stdout)["files"]
    assert good == {"file": "good.yaml", "valid": True, "problems": []}
    assert bad["problems"][1] == {
        "where": "bad.yaml:2:9",
        "path": "store.typ",
        "what": "unknown key",
        "remedy": "did you mean type?",
    }


def test_variables_count_and_unknown_ones_are_told(file: Path) -> None:
    found = run("validate", "good.yaml", cwd=file, VARY_PROXY_STORE_TIMEOUT="soon")
    assert found.returncode == 1
    assert 'VARY_PROXY_STORE_TIMEOUT: store.timeout: "soon" is not a duration' in found.stderr
    found = run("config", "show", cwd=file, VARY_PROXY_CONFIG="good.yaml", VARY_PROXY_LOG_LEVL="x")
    assert found.returncode == 0
    assert "did you mean VARY_PROXY_LOG_LEVEL?" in found.stderr


def test_config_show_tells_every_source(file: Path) -> None:
    args = ("-c", "good.yaml", "--set", "log.level=debug", "--listen", ":81")
    environ = {"VARY_PROXY_SERVER_DRAIN_DELAY": "1s"}
    found = run("config", "show", *args, "--json", cwd=file, **environ)
    told = json.loads(found.stdout)
    assert told["settings"]["log"]["level"] == "debug"
    assert told["sources"]["log.level"] == "--set log.level"
    assert told["sources"]["listen[0].address"] == "--listen"
    assert told["sources"]["server.drain.delay"] == "VARY_PROXY_SERVER_DRAIN_DELAY"
    assert told["sources"]["origins.main.url"] == "good.yaml:1:17"
    assert told["sources"]["store.type"] == "default"
    text = run("config", "show", *args, cwd=file, **environ).stdout
    assert any(
        line.split() == ["level:", "debug", "#", "--set", "log.level"] for line in text.splitlines()
    )


def test_a_file_in_the_directory_is_found(file: Path) -> None:
    (file / "vary-proxy.yaml").write_text(GOOD)
    found = run("config", "show", "--json", cwd=file)
    assert json.loads(found.stdout)["sources"]["origins.main.url"] == "vary-proxy.yaml:1:17"
    found = run("config", "show", "--json", "--origin", "http://b.example", cwd=file)
    assert json.loads(found.stdout)["settings"]["origins"] == {
        "default": json.loads(found.stdout)["settings"]["origins"]["default"]
    }


def test_the_schema_is_json() -> None:
    assert json.loads(run("schema").stdout)["title"] == "Configuration of vary-proxy"


def test_explain_names_the_rule_its_line_and_the_key() -> None:
    args = ("-c", "config/rules.yaml", "-H", "Origin: https://a.example", "--json")
    told = json.loads(run("explain", "GET", "/img/a.png?utm_x=1&v=2", *args).stdout)
    assert (told["rule"], told["where"]) == ("images", "config/rules.yaml:28")
    assert [one["reason"] for one in told["considered"]] == [
        "no query parameter X-Amz-Signature",
        "",
        "images matched before it",
        "images matched before it",
    ]
    assert told["key"]["primary"].endswith("/img/a.png?v=2")
    assert told["key"]["selecting"]["origin"] == "https://a.example"
    assert told["vary"]["by_origin"][1]["we_send"].startswith("Accept-Encoding, Origin, ")
    assert told["cache"]["lifetime"] == "404: 10s, 5xx: 0, what the origin says, else 1h"
    text = run("explain", "GET", "/img/a.png", *args[:-1]).stdout
    assert "rule      images  (config/rules.yaml:28)" in text


def test_version_and_completion() -> None:
    from vary_proxy import __version__

    assert run("version").stdout == run("--version").stdout == f"vary-proxy {__version__}\n"
    assert json.loads(run("version", "--json").stdout)["vary-proxy"] == __version__
    for shell in ("bash", "zsh", "fish"):
        assert "_VARY_PROXY_COMPLETE" in run("completion", shell).stdout


def test_nothing_is_coloured_and_a_closed_pipe_is_no_error(file: Path) -> None:
    assert "\x1b" not in run("config", "show", "-c", "good.yaml", cwd=file, NO_COLOR="1").stdout
    done = subprocess.run(
        f"{sys.executable} -m vary_proxy schema | head -n 1; echo ${{PIPESTATUS[0]}}",
        shell=True, executable="/bin/bash", capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert done.stdout == "{\n0\n"
    assert done.stderr == ""


@pytest.mark.parametrize("args", ["schema", "--help", "init -"])
def test_a_full_disk_is_told_and_a_reader_that_has_left_is_not(args: str) -> None:
    command = f"{sys.executable} -m vary_proxy {args}"
    full, left = (
        subprocess.run(
            f"{command} {rest}",
            shell=True,
            executable="/bin/bash",
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
        for rest in (">/dev/full", "| true; exit ${PIPESTATUS[0]}")
    )
    said = "cannot write the output: No space left on device\n"
    assert (full.returncode, full.stderr) == (1, said)
    assert (left.returncode, left.stderr) == (0, "")


def test_explain_gives_the_verdict_of_the_policy() -> None:
    def cors(*args: str) -> dict[str, object]:
        flags = ("--cors-origins", "https://a.example,https://b.example", "--json")
        flags += (
            "--cors-origins",
            "~https://[a-z]{1,3}\\.c\\.example",
            "--origin",
            "http://o.example",
        )
        found: dict[str, object] = json.loads(run("explain", *args, *flags).stdout)["cors"]
        return found

    for origin in ("https://a.example", "https://b.example", "https://ab.c.example"):
        told = cors("GET", "/a", "-H", f"Origin: {origin}")
        assert told["verdict"] == "allowed"
        assert ["Access-Control-Allow-Origin", origin] in told["fields"]
    told = cors("GET", "/a", "-H", "Origin: https://evil.example")
    assert (told["verdict"], told["reason"], told["fields"]) == ("refused", "origin", [])
    asked = ("-H", "Origin: https://a.example", "-H", "Access-Control-Request-Method: DELETE")
    told = cors("OPTIONS", "/a", *asked)
    assert (told["verdict"], told["reason"], told["status"]) == ("refused", "method", 403)
    assert told["culprit"] == "DELETE"


def test_explain_says_what_becomes_of_origin() -> None:
    def line(*args: str) -> str:
        said = run("explain", "GET", "/a", "--origin", "http://o.example", *args).stdout
        return next(one for one in said.splitlines() if one.startswith("origin "))

    assert line().endswith("(Origin: forward (auto))")
    owned = line("--cors-origins", "https://a.example")
    assert owned.endswith("(Origin: strip (auto: the rule owns CORS))")
    set_to = "origins.default.origin_header=inject:https://a.example"
    assert line("--set", set_to).endswith("(Origin: inject:https://a.example)")


@pytest.mark.parametrize(
    "args", [("stats",), ("top", "--once"), ("tail",), ("purge", "--all"), ("reload",)]
)
@pytest.mark.parametrize("body", [b"<html/>", b"[]", b"{}"])
def test_another_server_is_not_taken_for_the_admin_listener(
    args: tuple[str, ...], body: bytes
) -> None:
    with serving(replying(body=body)) as (url, _):
        found = run(*args, "--admin", url)
    assert (found.returncode, found.stdout) == (3, "")
    assert "what answers there is no admin listener of vary-proxy" in found.stderr


@pytest.mark.parametrize("token", ["a\nb", "\u20ac"])
def test_a_token_that_no_field_can_carry_is_not_shown(token: str) -> None:
    for args in (("stats",), ("top",), ("tail",), ("purge", "--all")):
        found = run(*args, "--admin", "http://127.0.0.1:1", VARY_PROXY_ADMIN_TOKEN=token)
        assert found.returncode == 2
        assert "VARY_PROXY_ADMIN_TOKEN holds what no field can carry" in found.stderr
        assert token not in found.stderr
