"""A bucket's CORS rules behave here as they do there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_commands import ROOT, run
from tests.core.fetchoracle import Asked, Lines, cors_check, max_age, preflight_passes
from tests.frameworks.behind import behind_proxy
from tests.importing.s3rules import (
    BY_HEADER,
    CONFIGURATIONS,
    ORIGINS,
    Rules,
    as_xml,
    asked_for,
    granting,
)
from tests.real.asking import Asker, Got, asking
from tests.real.servers import S3Server, moto, s3rver
from vary_proxy import config
from vary_proxy.importing import s3cors
from vary_proxy.importing.writing import Unreadable


def imported(rules: Rules, origin: str = "http://127.0.0.1:1") -> str:
    """A configuration of ours, on a port that is free."""
    listening = 'listen: "127.0.0.1:0"\nlog: {access: off}\n'
    return (
        listening
        + s3cors.convert(json.dumps({"CORSRules": rules}).encode(), "cors.json", origin).text()
    )


def _lines(got: Got) -> Lines:
    return [(name.lower().encode(), value.encode()) for name, value in got.fields.items()]


async def _preflight(ask: Asker, asked: Asked, target: str = "/key") -> Got:
    fields = {name.decode(): value.decode() for name, value in asked.preflight_lines()}
    return await ask(target, "OPTIONS", **fields)


async def _passes(ask: Asker, asked: Asked, target: str = "/key") -> bool:
    got = await _preflight(ask, asked, target)
    return preflight_passes(asked, got.status, _lines(got))


@pytest.mark.parametrize("name", CONFIGURATIONS)
async def test_preflights_pass_as_s3_documents(name: str) -> None:
    rules = CONFIGURATIONS[name]
    wrong = []
    async with behind_proxy(imported(rules)) as proxy, asking(proxy.url) as ask:
        for asked in asked_for():
            if await _passes(ask, asked) != (granting(rules, asked) is not None):
                wrong.append(asked)
    assert wrong == []


async def test_the_first_rule_that_has_all_headers_answers() -> None:
    """Its Max-Age tells which rule it was."""
    async with behind_proxy(imported(BY_HEADER)) as proxy, asking(proxy.url) as ask:
        for asked in asked_for():
            got = await _preflight(ask, asked)
            rule = granting(BY_HEADER, asked)
            assert preflight_passes(asked, got.status, _lines(got)) == (rule is not None), asked
            if rule is not None:
                assert max_age(_lines(got)) == rule + 1, asked


async def _readable(ask: Asker, asked: Asked, target: str) -> bool:
    """Whether a page may read the object."""
    got = await ask(target, origin=asked.origin.decode())
    assert got.status == 200
    return cors_check(asked, _lines(got))


# moto knows one rule, lets browsers judge methods, and takes a header's * for a letter.
COMPARABLE = {"s3rver": tuple(CONFIGURATIONS), "moto": ("plain", "plain and public")}


@pytest.fixture(scope="module", params=["moto", "s3rver"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[S3Server]:
    start = {"moto": moto, "s3rver": s3rver}[request.param]
    with start(tmp_path_factory.mktemp(request.param)) as started:
        client = started.client()
        client.put_object(Bucket=started.bucket, Key="key", Body=b"x", ACL="public-read")
        yield started


async def test_pages_may_do_what_they_may_at_a_real_server(server: S3Server) -> None:
    client = server.client()
    target, wrong, passed = f"/{server.bucket}/key", [], 0
    for name in COMPARABLE[server.name]:
        rules = CONFIGURATIONS[name]
        client.put_bucket_cors(Bucket=server.bucket, CORSConfiguration={"CORSRules": rules})
        async with (
            behind_proxy(imported(rules, server.url)) as proxy,
            asking(proxy.url) as ours,
            asking(server.url) as theirs,
        ):
            for asked in asked_for():
                passes = await _passes(theirs, asked, target)
                passed += passes
                if await _passes(ours, asked, target) != passes:
                    wrong.append((name, asked))
            for origin in ORIGINS:
                asked = Asked(origin)
                if await _readable(ours, asked, target) != await _readable(theirs, asked, target):
                    wrong.append((name, asked))
    assert passed > 20  # neither refuses everything
    assert wrong == []


async def test_actual_responses_have_the_fields_of_their_rule() -> None:
    text = imported(CONFIGURATIONS["one origin"])
    async with behind_proxy(text) as proxy, asking(proxy.url) as ask:
        got = await ask("/key", origin="https://a.example")  # the bucket is away: our own 502
        assert got["access-control-allow-origin"] == "https://a.example"
        assert got["access-control-allow-credentials"] == "true"
        assert got["access-control-expose-headers"] == "ETag"
        got = await ask("/key", "POST", origin="https://a.example")
        assert got["access-control-allow-origin"] is None  # as no rule names POST


def test_every_form_of_the_same_rules_comes_to_the_same(tmp_path: Path) -> None:
    rules = CONFIGURATIONS["by method"]
    cloudformation = [
        {{"MaxAgeSeconds": "MaxAge", "ID": "Id"}.get(key, key): value for key, value in one.items()}
        for one in rules
    ]
    forms = {
        "api.json": json.dumps({"CORSRules": rules}),
        "console.json": json.dumps(rules),
        "cli.json": json.dumps({"CORSConfiguration": {"CORSRules": rules}}),
        "formation.json": json.dumps({"CorsConfiguration": {"CorsRules": cloudformation}}),
        "plain.xml": as_xml(rules),
        "declared.xml": f'\ufeff<?xml version="1.0" encoding="UTF-8"?>\n{as_xml(rules)}',
    }
    made = set()
    for name, text in forms.items():
        (tmp_path / name).write_text(text)
        done = run("import", "s3-cors", name, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        made.add(done.stdout.replace(name, "FILE"))
        (tmp_path / "made.yaml").write_text(done.stdout)
        assert run("validate", "made.yaml", cwd=tmp_path).stdout == "made.yaml: valid\n"
    assert len(made) == 1


def _one(**said: object) -> bytes:
    rule = {"AllowedOrigins": ["https://a.example"], "AllowedMethods": ["GET"], **said}
    return json.dumps({"CORSRules": [rule]}).encode()


@pytest.mark.parametrize(
    ("origin", "taken", "said"),
    [
        ("https://*.a.example", '"https://*.a.example"', ""),
        ("http://localhost:*", '"~http://localhost:[0-9]+"', ""),
        ("https://pr-*.a.example", '"~https://pr-[a-z0-9._-]*\\\\.a\\\\.example"', ""),
        ("*.a.example", '"https://*.a.example", "http://*.a.example"', ""),
        ("http*://a.example", '"https://a.example", "http://a.example"', ""),
        ("https://*a.example", '"https://a.example", "https://*.a.example"', "evila.example"),
        ("http://localhost*", '"~http://localhost(:[0-9]+)?"', "all but that host, with any port"),
        ("https://a.*", "", "strangers can have a name that it admits"),
        ("https://a.example/", "", "ends with a slash; write https://a.example"),
        ("https://*.*.example", "", "more than one *"),
        ("null", "", "any page can be null"),
        ("ftp*", "", "no browser sends such a value"),
    ],
)
def test_what_becomes_of_an_origin(origin: str, taken: str, said: str) -> None:
    """What is meant is kept; what else it admits, as strangers' names, is not, and is said."""
    made = s3cors.convert(_one(AllowedOrigins=["https://kept.example", origin]), "cors.json")
    listed = ", ".join(filter(None, ('"https://kept.example"', taken)))
    assert f"    origins: [{listed}]\n" in made.text()
    if said:
        (warning,) = made.left_out
        assert said in warning
    else:
        assert made.left_out == []


def test_what_is_not_taken_over_is_said_twice(tmp_path: Path) -> None:
    (tmp_path / "cors.json").write_bytes(
        _one(AllowedMethods=["GET", "PATCH"], AllowedHeaders=["x-*-y"], Colour="blue")
    )
    done = run("import", "s3-cors", "cors.json", cwd=tmp_path)
    assert done.returncode == 0
    for said in ('the method "PATCH"', 'the header "x-*-y"', '"Colour", which no CORSRule has'):
        assert f"warning: not taken over: CORSRule 1: {said}" in done.stderr
        assert f"# NOT TAKEN OVER: CORSRule 1: {said}" in done.stdout
    assert run("import", "s3-cors", "cors.json", "--strict", cwd=tmp_path).returncode == 1


XML = (
    b"<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin>"
    b"<AllowedMethod>GET</AllowedMethod>%s</CORSRule></CORSConfiguration>"
)
_BOMB = (
    '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    "<CORSConfiguration><CORSRule><AllowedOrigin>&b;</AllowedOrigin></CORSRule></CORSConfiguration>"
)
_OUTSIDE = (
    '<!DOCTYPE x SYSTEM "file:///etc/passwd"><CORSConfiguration><CORSRule/></CORSConfiguration>'
)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "there is nothing in it"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[" * 100_000, "nested too deep"),
        (b"{", "cors.json:1:2: neither JSON nor XML"),
        (b"3", 'write {"CORSRules"'),
        (b'{"CORSRules": []}', "it has no CORSRule"),
        (b"[3]", "CORSRule 1: not an object"),
        (b'[{"AllowedMethods": ["GET"]}]', "it has no AllowedOrigins"),
        (b'[{"ID": "a", "ID": "b"}]', '"ID" stands twice'),
        (_one(AllowedHeaders=[3]), "AllowedHeaders: not a list of texts"),
        (_one(MaxAgeSeconds="soon"), "MaxAgeSeconds: not a number of seconds"),
        (_one(MaxAgeSeconds=True), "MaxAgeSeconds: not a number of seconds"),
        (_one(AllowedOrigins=["nowhere"]), "no rule is left"),
        (json.dumps([{}] * 101).encode(), "101 rules; S3 takes 100"),
        (b" " * (1 << 20) + b"{}", "more than 1048576 bytes"),
        (_BOMB.encode(), "it has a document type or entities"),
        (_OUTSIDE.encode(), "it has a document type or entities"),
        (b"<CORSConfiguration>" + b"<a>" * 100, "too many elements, or too deep"),
        (b"<CORSConfiguration>" + b"<CORSRule/>" * 30_000, "too many elements, or too deep"),
        (b"<CORSConfiguration><CORSRule>", "not XML: no element found"),
        (
            XML % b"<MaxAgeSeconds>1</MaxAgeSeconds><MaxAgeSeconds>2</MaxAgeSeconds>",
            "CORSRule 1: <MaxAgeSeconds> stands twice",
        ),
        (XML % b"<AllowedHeader>a<b>c</b></AllowedHeader>", "<AllowedHeader> holds <b>"),
        (XML % b"Content-Type", "CORSRule 1: text outside of its elements"),
        (b"<html/>", "<html> is no <CORSConfiguration>"),
        (b"<CORSConfiguration><a/></CORSConfiguration>", "<a> where only <CORSRule> can be"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(data: bytes, said: str) -> None:
    with pytest.raises(Unreadable, match=re.escape(said)):
        s3cors.convert(data, "cors.json").text()


def test_a_file_that_is_not_there_and_one_on_stdin(tmp_path: Path) -> None:
    done = run("import", "s3-cors", "no.json", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "no.json: cannot read it: No such file or directory\n"
    command = [sys.executable, "-m", "vary_proxy", "import", "s3-cors", "-"]
    piped = subprocess.run(command, input=_one(), capture_output=True, cwd=ROOT, check=False)
    assert (piped.returncode, piped.stderr) == (0, b"")
    assert b"The CORS rules of stdin" in piped.stdout


def test_nothing_in_it_becomes_structure_or_is_filled_in() -> None:
    """Line ends, quotes, references to the environment and to files stay text."""
    evil = 'x"\n  b: {url: http://evil.example}\n# ${file:/etc/passwd} ${HOME} \u2028\x85\x1b[31m'
    made = s3cors.convert(
        _one(ID=evil, AllowedHeaders=[evil, "X-Ok"], ExposeHeaders=[evil]), evil, "http://${HOME}/"
    )
    with pytest.raises(Unreadable, match="no valid configuration comes of it"):
        made.text()  # the URL was taken as it was written, and is none
    text = s3cors.convert(_one(ID=evil, AllowedHeaders=[evil, "X-Ok"]), evil).text()
    loaded = config.loads(text.encode(), "made.yaml", environ={"HOME": "/secret"})
    assert list(loaded.settings.origins) == ["bucket"]
    (policy,) = loaded.settings.cors.values()
    assert policy.headers == ("X-Ok",)
    assert "\x1b" not in text
    assert "\x1b" not in "".join(made.left_out)


def test_rules_chosen_by_headers_whatever_the_names_are() -> None:
    """Names under a prefix, names twice, and more than a pattern can hold."""
    names = ["x-amz-*", "X-Amz-Meta-A", "x-amz-meta-*", "x-token", "X-Token"]
    first = {"AllowedOrigins": ["https://a.example"], "AllowedMethods": ["PUT"]}
    later = {"AllowedOrigins": ["https://a.example"], "AllowedMethods": ["PUT"]}
    text = imported([{**first, "AllowedHeaders": names}, {**later, "AllowedHeaders": ["range"]}])
    assert '"~ *(x-amz-[a-z0-9_-]*|x-token) *(, *(x-amz-[a-z0-9_-]*|x-token) *)*"' in text
    many = [f"x-header-number-{at}" for at in range(40)]
    rules = [{**first, "AllowedHeaders": many}, {**later, "AllowedHeaders": ["range"]}]
    made = s3cors.convert(json.dumps(rules).encode(), "cors.json")
    assert made.text()
    assert made.left_out == ["s3-1: its headers, which are too many to choose a rule by"]


def test_a_lifetime_beyond_reason_is_ten_years() -> None:
    assert "max_age: 315360000s" in s3cors.convert(_one(MaxAgeSeconds=999999999), "x").text()
