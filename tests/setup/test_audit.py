"""What `make audit` says of reports: a release that nobody looked at is not a clean one."""

from __future__ import annotations

from importlib.metadata import version

from tests.setup.audit import declared, needed, verdict

CLEAN = {"name": "aiohttp", "version": "3.14.5", "vulns": []}
HOLE = {"id": "PYSEC-2026-1", "fix_versions": ["8.1.1"], "aliases": [], "description": ""}
HOLED = {"name": "redis", "version": "8.0.0", "vulns": [HOLE]}
UNKNOWN = {"name": "redis", "skip_reason": "Dependency not found on PyPI"}
WANTED = {"aiohttp": "3.14.5", "redis": "8.0.0"}


def test_a_vulnerable_release_fails() -> None:
    status, said = verdict({"dependencies": [CLEAN, HOLED]}, WANTED)
    assert status == 1
    assert said == ["redis 8.0.0: PYSEC-2026-1, mended in 8.1.1"]


def test_what_was_skipped_was_not_audited() -> None:
    status, said = verdict({"dependencies": [CLEAN, UNKNOWN]}, WANTED)
    assert (status, said) == (2, ["not audited: redis"])


def test_all_audited_and_clean() -> None:
    status, _ = verdict({"dependencies": [CLEAN, {**HOLED, "vulns": []}]}, WANTED)
    assert status == 0


def test_all_that_production_needs_is_audited() -> None:
    names = set(needed())
    assert {"aiohttp", "aiocache", "redis", "hiredis", "pyyaml", "botocore"} <= names
    assert {"multidict", "yarl", "urllib3"} <= names  # what those need
    assert not {"pytest", "mypy", "django"} & names


def test_every_release_here_is_in_its_declared_range() -> None:
    for wanted in declared():
        assert wanted.specifier, wanted.name
        assert wanted.specifier.contains(version(wanted.name), prereleases=True), wanted


def test_what_we_know_the_insides_of_is_bounded_above() -> None:
    upper = {one.name for one in declared() for part in one.specifier if part.operator == "<"}
    assert {"aiohttp", "aiocache", "redis"} <= upper
