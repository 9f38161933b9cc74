"""How a finding is described, and the rules of vary-proxy that cure."""

from __future__ import annotations

from dataclasses import dataclass

SEVERITIES = ("info", "warning", "error", "critical")


@dataclass(frozen=True, slots=True)
class Entry:
    severity: str
    title: str
    why: str
    remedy: str
    cure: str = ""


EXAMPLE = '"https://app.example"'  # to be replaced by the origins that are to be allowed
RULES = {
    "": "",
    "repair": "defaults: {vary: repair}    # the default: `vary-proxy run --origin URL` is enough",
    "override": (
        "cors:\n"
        '  site: {origins: ["https://app.example"], methods: [GET, HEAD], max_age: 2h}\n'
        "rules:\n"
        '  - match: {path: "/**"}\n'
        "    cors: {policy: site, mode: override}\n"
        "    preflight: synthesize"
    ),
    "everybody": (
        "cors:\n"
        '  everybody: {origins: "*", methods: [GET, HEAD], max_age: 2h}    # where all may read\n'
        "rules:\n"
        '  - match: {path: "/**"}\n'
        "    cors: {policy: everybody, mode: override}\n"
        "    preflight: synthesize"
    ),
    "preflights": (
        "cors:\n"
        '  site: {origins: ["https://app.example"], methods: [GET, HEAD], max_age: 2h,\n'
        "    preflight_cache_control: true}\n"
        "rules:\n"
        '  - match: {path: "/**"}\n'
        "    cors: {policy: site, mode: override}\n"
        "    preflight: synthesize"
    ),
    "replace": "rules:\n  - match: {path: \"/**\"}\n    vary: {mode: replace, headers: [Origin]}",
    "purge": "vary-proxy purge URL    # or --prefix, --tag, --all",
}  # fmt: skip
