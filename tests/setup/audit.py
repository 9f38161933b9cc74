"""`make audit`: are there known vulnerabilities in what a user of vary-proxy installs?

The releases audited are those installed here that the package and its extras need. pip-audit
asks PyPI's advisories, then OSV's. It is content with what neither knows; here nothing counts
as audited that was not, and the status says so: 0 all audited and clean, 1 vulnerable, 2 not
(all) audited.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).parents[2] / "pyproject.toml"
NOT_FOR_USERS = ("dev", "audit")  # extras; the others are what production may install
SERVICES = ("pypi", "osv")


def declared() -> list[Requirement]:
    """What pyproject.toml asks for, for those who run the proxy."""
    said = tomllib.loads(PROJECT.read_text("utf-8"))["project"]
    extras = said["optional-dependencies"].items()
    more = (line for name, lines in extras if name not in NOT_FOR_USERS for line in lines)
    return [Requirement(line) for line in (*said["dependencies"], *more)]


def needed() -> dict[str, str]:
    """Name and release of all that these need, as installed here."""
    found: dict[str, str] = {}
    ahead = [one for one in declared() if one.marker is None or one.marker.evaluate()]
    while ahead:
        wanted = ahead.pop()
        name = canonicalize_name(wanted.name)
        if name in found:
            continue
        try:
            here = distribution(name)
        except PackageNotFoundError:
            raise SystemExit(f"{name} is not installed here: make audit installs it") from None
        found[name] = here.version
        for one in map(Requirement, here.requires or ()):
            extras = ("", *wanted.extras)
            if one.marker is None or any(one.marker.evaluate({"extra": it}) for it in extras):
                ahead.append(one)
    return dict(sorted(found.items()))


def verdict(report: dict[str, Any], wanted: dict[str, str]) -> tuple[int, list[str]]:
    """The exit status and the lines to print for what pip-audit found."""
    audited = {
        canonicalize_name(one["name"]): one
        for one in report["dependencies"]
        if "skip_reason" not in one
    }
    said = [
        f"{name} {one['version']}: {hole['id']}, mended in {', '.join(hole['fix_versions']) or '-'}"
        for name, one in audited.items()
        for hole in one["vulns"]
    ]
    missing = sorted(set(wanted) - set(audited))
    if said:
        return 1, said
    if missing:
        return 2, [f"not audited: {', '.join(missing)}"]
    return 0, [f"{len(wanted)} releases audited, no known vulnerability"]


def asked(service: str, wanted: dict[str, str]) -> dict[str, Any] | None:
    """pip-audit's report; None when *service* could not be asked."""
    with tempfile.TemporaryDirectory() as directory:
        pins = Path(directory) / "pins.txt"
        pins.write_text("".join(f"{name}=={version}\n" for name, version in wanted.items()))
        options = ["-r", str(pins), "--no-deps", "--disable-pip", "-f", "json", "-s", service]
        command = [sys.executable, "-m", "pip_audit", "--timeout", "20", *options]
        done = subprocess.run(command, capture_output=True, text=True)
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        print(f"{service}: {(done.stderr.strip().splitlines() or ['no answer'])[-1]}")
        return None
    return report


def main() -> int:
    wanted = needed()
    worst = 2
    for service in SERVICES:
        report = asked(service, wanted)
        if report is None:
            continue
        worst, said = verdict(report, wanted)
        print(*(f"{service}: {line}" for line in said), sep="\n")
        if worst != 2:
            return worst
    print("no service of advisories could be asked about all of it: nothing is known either way")
    return worst


if __name__ == "__main__":
    sys.exit(main())
