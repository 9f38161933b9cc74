"""Each finding is made where a real server has that fault, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.test_commands import run
from tests.doctor.conftest import examined
from tests.doctor.hostile import replying, serving
from tests.doctor.sites import SITES, A, Nginx
from tests.frameworks import origins as frameworks
from tests.real.servers import ALLOWED, s3rver
from vary_proxy import config
from vary_proxy.doctor.catalogue import CATALOGUE
from vary_proxy.doctor.entry import RULES

NO_FAULTS = ("healthy", "recipe")  # of the catalogue


@pytest.mark.parametrize("name", SITES)
def test_a_site_has_its_fault_and_no_other(nginx: Nginx, name: str) -> None:
    told = examined(nginx.site(name))
    fault = [] if name.startswith(NO_FAULTS) else [name.partition("-")[0]]
    details = {id_: one["detail"] for id_, one in told.findings.items()}
    assert sorted(details) == sorted([*fault, *SITES[name].also]), details


def test_every_finding_of_the_catalogue_was_provoked() -> None:
    """What needs more than a site stands in the other tests here."""
    elsewhere = {"CA304", "CA305", "CA306", "LOG501"}
    provoked = {name.partition("-")[0] for name in SITES if not name.startswith(NO_FAULTS)}
    assert provoked | elsewhere == set(CATALOGUE)


def test_a_cache_that_mixes_askers_up_is_seen(nginx: Nginx) -> None:
    """The plain request filled it; who asks with Origin gets that, while the site would allow."""
    told = examined(f"{nginx.cached}/CV003/cat.txt")
    assert told.findings["CA304"]["detail"] == (
        "from the cache no Access-Control-Allow-Origin, past it https://a.example"
    )
    first = told.findings["CA304"]["evidence"][0]["response"]["fields"]
    assert ["x-cache-status", "HIT"] in first


def test_a_cache_that_keeps_askers_apart_is_not_accused(nginx: Nginx) -> None:
    assert examined(f"{nginx.cached}/healthy/cat.txt").findings == {}


def test_an_error_is_compared_with_what_the_same_server_serves(nginx: Nginx) -> None:
    told = examined(f"{nginx.url}/nowhere/cat.txt", nginx.site("healthy"))
    assert told.findings == {}  # nothing that it could be compared with came before
    told = examined(nginx.site("healthy"), f"{nginx.url}/nowhere/cat.txt")
    (lost,) = told.record["targets"][1]["direct"]["findings"]
    assert lost["id"] == "CV008"
    assert lost["detail"].startswith("404 lacks Access-Control-Allow-Origin and Vary: Origin")
    assert lost["cure"] == "override"  # no repair makes up a permission


def test_a_cache_that_keys_on_nothing_of_the_asker_is_seen(nginx: Nginx) -> None:
    """As CloudFront's managed policy for S3 that leaves out Origin, and the query with it."""
    told = examined(f"{nginx.cached}/CV003-blind/cat.txt")
    assert "CA304" not in told.findings
    finding = told.findings["CA306"]
    assert f"{A} and https://stranger-" in finding["detail"]
    assert finding["detail"].endswith("get no Access-Control-Allow-Origin from the cache")
    assert 'origins: "*"' in finding["rule"]


def test_severities_are_those_of_the_catalogue_but_where_nothing_is_stored(nginx: Nginx) -> None:
    assert examined(nginx.site("PF202")).findings["PF202"]["severity"] == "warning"
    kept, harmless = (examined(nginx.site(one)) for one in ("CV003", "CV003-no-store"))
    assert (kept.status, harmless.status) == (1, 0)
    assert harmless.findings["CV003"]["severity"] == "info"
    assert harmless.findings["CV003"]["detail"].endswith("as long as no-store is said")
    assert examined(nginx.site("CO101")).opinion["findings"][0]["severity"] == "critical"


def test_the_proof_is_what_was_sent_and_seen(nginx: Nginx) -> None:
    (finding,) = examined(nginx.site("CV001")).opinion["findings"]
    without, asked = finding["evidence"]
    assert without["request"]["url"] == nginx.site("CV001")
    assert "Origin" not in dict(without["request"]["fields"])
    assert "vary" not in dict(without["response"]["fields"])
    assert ["Origin", A] in asked["request"]["fields"]
    assert ["access-control-allow-origin", A] in asked["response"]["fields"]
    assert "vary: repair" in finding["rule"]


def test_what_was_not_examined_is_noted(nginx: Nginx) -> None:
    assert examined(nginx.site("CO112")).opinion["notes"] == []  # the finding says it
    (note,) = examined(f"{nginx.url}/nowhere/x").opinion["notes"][1:]
    assert note == "the URL itself answers 404; is it the right one?"
    with serving(replying(302, location="https://elsewhere.example/x")) as (url, _):
        assert (
            examined(f"{url}/x")
            .opinion["notes"][-1]
            .startswith("it redirects to https://elsewhere.example/x, which was not asked")
        )


def test_the_rule_that_cures_is_for_the_origins_that_were_named(nginx: Nginx) -> None:
    rule = examined(nginx.site("CO103")).findings["CO103"]["rule"]
    assert 'origins: ["https://a.example", "https://b.example"]' in rule
    assert config.loads(f"origins: {{a: http://a}}\n{rule}\n".encode(), "rule.yaml").rules
    guessed = run("doctor", nginx.site("CV011")).stdout
    assert 'origins: ["https://app.example"]' in guessed


# What each of these is known for: tests.frameworks has the whole of what they send.
KNOWN = {
    "s3": ({"CV001", "CV002", "CV008", "CV014"}, {"CV001", "CV008", "CV014"}),
    "flask": ({"CV002", "CV014"}, {"CV001", "CV014"}),
    "aiohttp": ({"CV003", "CV008", "CV014"}, {"CV003", "CV008", "CV014"}),
    "falcon": ({"CV003", "CO108", "CV014"}, {"CV004", "CV014"}),
    "litestar": ({"CV001", "CV002", "CV014"}, {"CV004"}),
    "quart": ({"CV014"}, {"CV010", "CV014"}),
    "hono-etag": ({"CV005"}, {"CV005"}),
    "express": (set(), set()),
    "moto": ({"CO104", "CV003", "CV008", "CV014"}, {"CV003", "CV008", "CV014"}),
}


@pytest.mark.parametrize("name", KNOWN)
def test_frameworks_are_found_as_they_are_known(name: str, tmp_path: Path) -> None:
    with frameworks.running(name, tmp_path) as framework:
        for policy, known in zip(("list", "star"), KNOWN[name], strict=True):
            told = examined(f"{framework.urls[policy]}/plain")
            bad = {one for one, said in told.findings.items() if said["severity"] != "info"}
            assert bad == known, (policy, told.findings)


def test_s3rver_is_what_every_s3_server_is(tmp_path: Path) -> None:
    with s3rver(tmp_path) as server:
        body = b"\x89PNG"
        server.client().put_object(Bucket=server.bucket, Key="cat.png", Body=body)
        url = f"{server.url}/{server.bucket}/cat.png"
        done = run("doctor", url, "--origin-header", ALLOWED)
    assert done.returncode == 1
    assert "CV00" in done.stdout


@pytest.mark.parametrize("cure", [one for one in RULES if one not in ("", "purge")])
def test_the_rules_that_cure_are_valid(cure: str) -> None:
    text = f"origins: {{site: http://a.example}}\n{RULES[cure]}\n"
    if "policy: site" in text and "cors:\n  site" not in text:  # it goes with the one before
        text += 'cors: {site: {origins: ["https://app.example"]}}\n'
    assert config.loads(text.encode(), "cure.yaml", environ={}).settings
    assert {one.cure for one in CATALOGUE.values()} <= set(RULES)
