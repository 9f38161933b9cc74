"""The command: its forms, its exit statuses, its manners, and servers that mean no good."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler
from importlib.resources import files
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
import trustme

from tests.cli.test_commands import ROOT, run
from tests.doctor.conftest import examined
from tests.doctor.hostile import replying, serving
from tests.doctor.sites import A, Nginx
from vary_proxy.doctor.asking import MOST_REQUESTS
from vary_proxy.doctor.catalogue import CATALOGUE
from vary_proxy.doctor.masking import Masks

SCHEMA = json.loads((files("vary_proxy") / "doctor" / "report.schema.json").read_text())
DEAD = "http://127.0.0.1:1/x"


@pytest.mark.parametrize(
    ("site", "args", "status"),
    [
        ("healthy", (), 0),
        ("CV001", (), 1),
        ("CV001", ("--fail-on", "critical"), 0),
        ("CV012", (), 0),
        ("CV012", ("--fail-on", "warning"), 1),
        ("CV011", ("--fail-on", "info"), 1),
        ("CO101", ("--fail-on", "never"), 0),
    ],
)
def test_the_exit_status_is_by_severity(
    nginx: Nginx, site: str, args: tuple[str, ...], status: int
) -> None:
    assert run("doctor", nginx.site(site), "--origin-header", A, *args).returncode == status


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "Missing argument"),
        (("a.example",), "write http://host/path"),
        (("http://user:pass@a.example/",), "as -H 'Authorization: …'"),
        (("http://a.example/\u00e4",), "in ASCII"),
        (("http://a.example:99999/",), "write http://host/path"),
        (("http://[::1",), "write http://host/path"),
        ((DEAD, "--origin-header", "https://a.example/"), "ends with a slash"),
        ((DEAD, "-H", "x"), "write -H 'Authorization: Bearer …'"),
        ((DEAD, "-H", "Origin: https://a.example"), "use --origin-header"),
        ((DEAD, "-H", "X-A: a\nb"), "no field can carry"),
        ((DEAD, "--via", "http://127.0.0.1:1/path"), "is no proxy"),
        ((DEAD, "--json", "--html", "-"), "cannot both go to stdout"),
        ((DEAD, "--fail-on", "most"), "'most' is not one of"),
        (("https://127.0.0.1:1/", "--cacert", "none.pem"), "none.pem: cannot read certificates"),
    ],
)
def test_usage(args: tuple[str, ...], said: str) -> None:
    done = run("doctor", *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "pass@" not in done.stderr


def test_a_url_that_cannot_be_reached(nginx: Nginx) -> None:
    done = run("doctor", DEAD, nginx.site("CV001"), "--json")
    assert done.returncode == 3
    told = json.loads(done.stdout)
    assert told["unreached"] == 1
    assert told["targets"][0]["unreached"].startswith("connection_refused")
    assert told["targets"][1]["unreached"] is None
    assert "cannot reach it: connection_refused" in run("doctor", DEAD).stdout
    said = run("doctor", "http://a..b").stdout
    assert "cannot reach it: dns_error" in said
    assert "the host is no name" in said


def test_a_proxy_that_cannot_be_reached(nginx: Nginx) -> None:
    told = examined(nginx.site("CV001"), "--via", "http://127.0.0.1:1")
    assert told.status == 3
    assert told.record["targets"][0]["unreached"].startswith("connection_refused")


@pytest.mark.parametrize("site", ["healthy", "CV001", "CO101", "CV009"])
def test_the_json_is_as_its_schema_says(nginx: Nginx, site: str) -> None:
    told = examined(nginx.site(site), DEAD)
    jsonschema.Draft202012Validator(SCHEMA).validate(told.record)


def test_text_is_for_people(nginx: Nginx) -> None:
    done = run("doctor", nginx.site("CV001"), "--origin-header", A)
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    assert lines[0] == nginx.site("CV001")
    assert f"as {A} allowed" in lines[1]
    assert "  error    CV001  Vary lacks Origin on responses to requests without Origin" in lines
    assert lines[-1] == "1 error; failed (--fail-on error)"


@pytest.mark.parametrize(("plain", "coloured"), [("", True), ("1", False)])
def test_colour_is_for_terminals_that_want_it(nginx: Nginx, plain: str, coloured: bool) -> None:
    ours, theirs = pty.openpty()
    args = [sys.executable, "-m", "vary_proxy", "doctor", nginx.site("CV001")]
    environ = {**os.environ, "NO_COLOR": plain, "TERM": "xterm"}
    seen = bytearray()

    def read() -> None:
        with os.fdopen(ours, "rb", buffering=0) as terminal:
            try:
                while data := terminal.read(4096):
                    seen.extend(data)
            except OSError:  # the other end was closed
                pass

    reader = threading.Thread(target=read)
    reader.start()
    subprocess.run(args, cwd=ROOT, stdout=theirs, stderr=subprocess.PIPE, env=environ, check=False)
    os.close(theirs)
    reader.join()
    assert b"CV00" in seen or b"requests" in seen
    assert (b"\x1b[" in seen) is coloured


def test_junit_has_a_case_for_every_finding(nginx: Nginx, tmp_path: Path) -> None:
    path = tmp_path / "doctor.xml"
    done = run("doctor", nginx.site("CV001"), DEAD, "--origin-header", A, "--junit", str(path))
    assert "CV001" in done.stdout  # beside the text, not instead of it
    root = ElementTree.fromstring(path.read_text())
    site, dead = root.findall("testsuite")
    assert site.get("tests") == str(len(CATALOGUE)) == str(len(site.findall("testcase")))
    (failed,) = [one for one in site.iter("testcase") if one.find("failure") is not None]
    assert str(failed.get("name")).startswith("CV001 ")
    assert [root.get(key) for key in ("failures", "errors")] == ["1", "1"]
    assert dead.find("testcase/error") is not None


def test_html_loads_nothing_and_has_both_schemes(nginx: Nginx) -> None:
    page = run("doctor", nginx.site("CV001"), "--origin-header", A, "--html", "-").stdout
    assert page.startswith("<!doctype html>")
    assert "prefers-color-scheme: dark" in page
    assert "default-src 'none'" in page
    assert not re.search(r"<(script|link|img|iframe|object)|\bsrc=|\bhref=|url\(|@import", page)
    assert "CV001" in page


MEAN = "Accept-Encoding, </pre><script>alert(1)</script>&\"'\x1b[31m"


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)


def test_what_a_server_says_is_obeyed_by_nobody(tmp_path: Path) -> None:
    """Neither the terminal, nor a browser, nor what reads the XML."""
    fields = {"Vary": MEAN, "Access-Control-Allow-Origin": f"https://x/{MEAN}", "ETag": MEAN}
    with serving(replying(**fields)) as (url, _):
        shown = run("doctor", f"{url}/x", "--origin-header", A, "-v").stdout
        page = run("doctor", f"{url}/x", "--origin-header", A, "--html", "-").stdout
        document = run("doctor", f"{url}/x", "--origin-header", A, "--junit", "-").stdout
    assert "<script>alert(1)" in shown
    assert "\x1b" not in shown + page + document
    parser = _Tags()
    parser.feed(page)
    assert parser.tags.isdisjoint(("script", "img"))
    assert "alert(1)" in page
    assert ElementTree.fromstring(document) is not None


def test_it_asks_a_bounded_number_of_times_and_changes_nothing(nginx: Nginx) -> None:
    fields = {"Access-Control-Allow-Origin": A, "ETag": '"1"', "Age": "1"}
    with serving(replying(**fields)) as (url, asked):
        told = examined(f"{url}/x")
    assert len(asked) == told.opinion["requests"] <= MOST_REQUESTS
    assert {one.split()[0] for one in asked} == {"GET", "HEAD", "OPTIONS"}


def test_a_redirect_elsewhere_is_not_followed() -> None:
    with (
        serving(replying()) as (elsewhere, strayed),
        serving(replying(302, location=f"{elsewhere}/x")) as (url, _),
    ):
        told = examined(f"{url}/x")
    assert strayed == []
    assert told.status == 0


@pytest.mark.parametrize("where", ["http://[", "//", "/a b", "/\u00e4", "\t", "?", "/ok#x"])
def test_a_redirect_to_anything_is_survived(where: str) -> None:
    with serving(replying(302, location=where)) as (url, asked):
        assert examined(f"{url}/x").status == 0
    assert len(asked) > 15


def test_interrupted_it_ends_with_130() -> None:
    silent = threading.Event()
    with serving(lambda _: silent.wait() and None) as (url, asked):
        command = [sys.executable, "-m", "vary_proxy", "doctor", url]
        with subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as it:
            while not asked:
                time.sleep(0.01)
            it.send_signal(signal.SIGINT)
            out, err = it.communicate(timeout=30)
        silent.set()
    assert (it.returncode, out, err.strip()) == (130, b"", b"")


def test_an_endless_body_is_left_and_a_silent_server_is_given_up() -> None:
    sent = []

    def pour(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(1 << 40))
        handler.end_headers()
        try:
            for _ in range(1 << 14):
                handler.wfile.write(b"x" * 65536)
                sent.append(65536)
        except OSError:
            handler.close_connection = True

    with serving(pour) as (url, asked):
        told = examined(f"{url}/x")
        assert sum(sent) < len(asked) * (16 << 20)
    assert told.opinion["requests"] > 10

    silent = threading.Event()
    with serving(lambda _: silent.wait() and None) as (url, asked):
        began = time.monotonic()
        done = run("doctor", f"{url}/x", "--timeout", "0.2")
        assert time.monotonic() - began < 10
        silent.set()
    assert done.returncode == 3
    assert "no whole answer within 0.2 s" in done.stdout or "timeout" in done.stdout


def test_a_server_that_falls_silent_is_left_in_peace() -> None:
    asked_for = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked_for.append(handler.path)
        if len(asked_for) > 2:
            handler.close_connection = True
            handler.connection.close()
        else:
            replying()(handler)

    with serving(answer) as (url, asked):
        told = examined(f"{url}/x")
    assert len(asked) < 12
    assert any("not asked: the questions before it had no answer" in one
               for one in told.opinion["notes"])  # fmt: skip


def test_extra_fields_are_sent_and_never_shown() -> None:
    """Not where they are echoed, nor in the URL; and never with a preflight."""
    secret = "s3cr3t-t0ken-of-mine"
    fields = {"Vary": secret, "Access-Control-Allow-Origin": f"https://x/{secret}"}
    with serving(replying(**fields)) as (url, asked):
        args = (f"{url}/x?X-Amz-Signature=abcdef0123&token=fedcba&page=2", "--origin-header", A)
        args += ("-H", f"Authorization: Bearer {secret}", "-H", "User-Agent: mine/1")
        forms = (("-v",), ("--json",), ("--html", "-"), ("--junit", "-"))
        outputs = [run("doctor", *args, *form).stdout for form in forms]
    for output in outputs:
        assert secret not in output
        assert "abcdef0123" not in output
        assert "fedcba" not in output
        assert "page=2" in output
        assert "***" in output
    assert "User-Agent: mine/1" in asked[0]
    gets = [one for one in asked if one.startswith("GET")]
    assert all(f"Authorization: Bearer {secret}" in one for one in gets)
    assert not any("Authorization:" in one for one in asked if one.startswith("OPTIONS"))


def test_a_signature_is_masked_however_its_name_is_written() -> None:
    masks = Masks()
    for name in ("X-Amz-Signature", "X%2DAmz%2dSignature", "x-amz-signature", "sig", "a_token"):
        assert masks.text(f"http://a/b?v=1&{name}=hush;w=2") == f"http://a/b?v=1&{name}=***;w=2"


def test_short_words_of_a_secret_do_not_mask_everything() -> None:
    masks = Masks.of((("Authorization", "Basic dXNlcjpwYXNz"), ("Accept", "text/html")))
    assert masks.text("Basic needs, dXNlcjpwYXNz, text/html") == "Basic needs, ***, text/html"


@pytest.fixture
def tls_site(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    authority = trustme.CA()
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with serving(replying(vary="Origin", etag='"1"'), context) as (url, _):
        yield url.replace("127.0.0.1", "localhost"), bundle


def test_https_is_verified_unless_told_otherwise(tls_site: tuple[str, Path]) -> None:
    url, bundle = tls_site
    refused = run("doctor", f"{url}/x")
    assert refused.returncode == 3
    assert "; say whom to trust by --cacert FILE, or believe any by --insecure\n" in refused.stdout
    assert "tls_certificate_error" in refused.stdout
    assert run("doctor", f"{url}/x", "--cacert", str(bundle)).returncode == 0
    assert run("doctor", f"{url}/x", "--insecure").returncode == 0


def test_without_an_origin_it_guesses_and_says_so(nginx: Nginx) -> None:
    done = run("doctor", nginx.site("healthy"))
    assert done.returncode == 0
    assert "was a guess, and is not allowed; name one that is, with --origin-header" in done.stdout


def test_a_report_that_cannot_be_written_is_told_and_the_findings_all_the_same(
    nginx: Nginx, tmp_path: Path
) -> None:
    nowhere = str(tmp_path / "none" / "report.html")
    done = run("doctor", nginx.site("CV001"), "--html", nowhere, "--fail-on", "never")
    assert done.returncode == 1
    assert done.stderr == f"{nowhere}: cannot write it: No such file or directory\n"
    assert "CV001" in done.stdout
