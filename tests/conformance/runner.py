"""Runs the public HTTP cache suite against vary-proxy and compares it with what is recorded.

    python -m tests.conformance.runner                  both profiles, in full
    python -m tests.conformance.runner --profile suite  one of them
    python -m tests.conformance.runner --record         keep what was found in outcomes.json
    python -m tests.conformance.runner --base URL       any cache in front of the suite's origin
    python -m tests.conformance.runner --serve PROGRAM  … started by PROGRAM ORIGIN PORT
    python -m tests.conformance.runner --peers          what the suite's authors published
    python -m tests.conformance.runner --id TEST        one test, with its messages printed

Two profiles, because two of our defaults contradict the suite on purpose. ``default`` has
nothing configured but the origin; our Vary repair would fail the suite's comparison of every
received field, so Vary joins its list of fields that may change. ``suite`` turns the repair
off and stores responses with Set-Cookie, and the suite runs as published.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conformance import servers, suite
from tests.conformance.suite import HERE, SUITE, Test
from tests.ports import free_port

OUTCOMES = HERE / "outcomes.json"
KINDS = ("required", "optimal", "check")

_SUITE_RULES = """\
version: 1
origins: {suite: {url: "ORIGIN", timeouts: {connect: 30s}}}
defaults: {origin: suite, vary: passthrough, cache: {set_cookie: store}}
"""


@dataclass(frozen=True, slots=True)
class Profile:
    """One way to configure the proxy, and the fields that the suite is not to compare."""

    rules: str | None = None
    skip: tuple[str, ...] = ()


PROFILES = {
    "default": Profile(skip=("vary",)),
    "suite": Profile(rules=_SUITE_RULES),
}


@dataclass(frozen=True, slots=True)
class Run:
    """Everything that one run of the suite found."""

    known: Mapping[str, Test]
    results: Mapping[str, Any]
    outcomes: Mapping[str, str] = field(default_factory=dict)

    def deviations(self) -> dict[str, str]:
        """Required and optimal tests that did not pass, and every question's answer."""
        return {name: outcome for name, outcome in self.outcomes.items() if outcome != "pass"}

    def message(self, name: str) -> str:
        result = self.results.get(name)
        return result[1] if isinstance(result, list) else str(result)


def run(base: str, skip: tuple[str, ...] = (), directory: Path = SUITE) -> Run:
    """The suite's results for the cache at *base*, which is in front of the suite's origin."""
    known = suite.catalogue(directory)
    results = json.loads(_client(base, skip, directory, "-"))
    return Run(known, results, suite.classify(known, results))


def run_profile(name: str) -> Run:
    """The suite's results for vary-proxy, configured as *name* says.

    The suite lives by seconds, so a machine that stalls can fail it: what looks worse than
    recorded is asked once more, alone, and that answer counts.
    """
    skip = PROFILES[name].skip
    with _profile(name) as base:
        found = run(base, skip)
        doubtful = {line.partition(":")[0] for line in changes(found, recorded(name))[0]}
        doubtful &= set(found.known)
        if not doubtful:
            return found
        # A second name keeps a single test from printing its messages.
        listed = ",".join(("-", *sorted(doubtful)))
        results = {**found.results, **json.loads(_client(base, skip, SUITE, listed))}
    return Run(found.known, results, suite.classify(found.known, results))


@contextmanager
def _profile(name: str) -> Iterator[str]:
    with servers.origin() as origin, servers.proxy(origin, PROFILES[name].rules) as base:
        yield base


def _client(base: str, skip: tuple[str, ...], directory: Path, test: str) -> str:
    done = subprocess.run(
        ["node", "--no-warnings", str(HERE / "client.mjs"), str(directory), base, test, *skip],
        capture_output=True,
        text=True,
        timeout=180,
    )
    if done.returncode or not done.stdout.strip():
        raise RuntimeError(f"the suite ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def recorded(name: str) -> dict[str, dict[str, str]]:
    """Test id -> outcome and reason, for everything that is not a plain pass."""
    if not OUTCOMES.exists():
        return {}
    profile: dict[str, dict[str, str]] = json.loads(OUTCOMES.read_text())["profiles"].get(name, {})
    return profile


def changes(found: Run, expected: Mapping[str, Mapping[str, str]]) -> tuple[list[str], list[str]]:
    """What became worse, and what else changed, as lines to print.

    Worse is a test that no longer passes. A question has no better answer, and a test that did
    not pass may fail in another way.
    """
    worse, other = [], []
    for name, outcome in found.outcomes.items():
        before = expected.get(name, {}).get("outcome", "pass")
        if outcome == before:
            continue
        line = f"{name}: was {before}, is {outcome} ({found.message(name)})"
        passed = before == "pass" and found.known[name].kind != "check"
        (worse if passed else other).append(line)
    worse += [f"{name}: no longer in the suite" for name in expected if name not in found.known]
    return worse, other


def record(name: str, found: Run) -> None:
    """Keep *found* as the outcomes of profile *name*; reasons written before stay."""
    document = json.loads(OUTCOMES.read_text()) if OUTCOMES.exists() else {"profiles": {}}
    before = recorded(name)
    document["profiles"][name] = {
        test: {"outcome": outcome, **_reason(found, test, before.get(test, {}))}
        for test, outcome in found.deviations().items()
    }
    OUTCOMES.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def _reason(found: Run, test: str, before: Mapping[str, str]) -> dict[str, str]:
    if found.known[test].kind == "check" and "reason" not in before:
        return {}
    return {"reason": before.get("reason", "")}


def table(rows: Mapping[str, Run]) -> str:
    """Counts per kind, one row per run, as Markdown."""
    lines = ["| cache | required | optimal | questions answered yes |", "|---|---|---|---|"]
    for name, one in rows.items():
        counts = [str(suite.count(one.known, one.outcomes, kind)) for kind in KINDS]
        lines.append(f"| {' | '.join((name, *counts))} |")
    return "\n".join(lines)


_PUBLISHED = {
    "trafficserver": "Traffic Server 8.0.8",
    "varnish": "Varnish 6.4.0",
    "squid": "Squid 4.13",
    "apache": "httpd 2.4.46",
    "nginx": "nginx 1.18.0",
    "nuster": "nuster",
    "fastly": "Fastly (2019)",
}


def peers(directory: Path = SUITE) -> dict[str, Run]:
    """The results that the suite's authors published with it, read as ours are."""
    known = suite.catalogue(directory)
    found = {}
    for name, title in _PUBLISHED.items():
        results = json.loads((directory / "results" / f"{name}.json").read_text())
        found[title] = Run(known, results, suite.classify(known, results))
    return found


def report(name: str, found: Run) -> list[str]:
    """Print what changed; returns what became worse."""
    worse, other = changes(found, recorded(name))
    for title, lines in (("worse", worse), ("changed, record it", other)):
        for line in lines:
            print(f"{name}: {title}: {line}")
    return worse


def _failures(found: Run) -> Iterator[str]:
    for name, outcome in found.deviations().items():
        if outcome not in ("yes", "no"):
            yield f"{found.known[name].kind:8} {outcome:10} {name}: {found.message(name)}"


def _foreign(options: argparse.Namespace) -> int:
    """Measure somebody else's cache: nothing is recorded for it."""
    skip = tuple(options.skip)
    if options.base:
        found = run(options.base, skip)
    else:
        port = free_port()
        with servers.origin() as origin:
            command = [options.serve, origin, str(port)]
            with servers.program(command, port, Path(options.log)):
                found = run(f"http://127.0.0.1:{port}", skip)
    print("\n".join(_failures(found)), table({"measured": found}), sep="\n\n")
    return 0


def _one(profile: str, test: str) -> int:
    with _profile(profile) as base:
        print(_client(base, PROFILES[profile].skip, SUITE, test))
    return 0


def main() -> int:
    options = _options()
    if options.peers:
        print(table(peers()))
        return 0
    if options.base or options.serve:
        return _foreign(options)
    names = [options.profile] if options.profile else list(PROFILES)
    if options.id:
        return _one(names[0], options.id)
    rows, worse = {}, []
    for name in names:
        found = rows[f"vary-proxy ({name})"] = run_profile(name)
        if options.verbose:
            print("\n".join(_failures(found)))
        worse += report(name, found)
        if options.record:
            record(name, found)
    print(table(rows))
    return 1 if worse and not options.record else 0


def _options() -> argparse.Namespace:
    summary, _, details = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m tests.conformance.runner",
        description=summary,
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--profile", choices=tuple(PROFILES), help="run only this one")
    parser.add_argument("--record", action="store_true", help="write outcomes.json")
    parser.add_argument("--verbose", action="store_true", help="print every test not passed")
    parser.add_argument("--peers", action="store_true", help="print the published results")
    parser.add_argument("--id", help="run one test, and print its messages")
    parser.add_argument("--base", help="measure the cache at this URL")
    parser.add_argument("--serve", help="measure the cache that this program starts")
    parser.add_argument("--skip", nargs="*", default=[], help="fields not to be compared")
    parser.add_argument("--log", default="/dev/null", help="where --serve's output goes")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
