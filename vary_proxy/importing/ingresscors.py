"""The CORS annotations of ingress-nginx, into a policy, with what it takes where none is given.

There an origin is matched without case and at its end only, and its ``*`` is one label. Here
the whole value is matched; what the looser match would let in besides is not taken over.
"""

from __future__ import annotations

import re

from vary_proxy.core import syntax
from vary_proxy.importing.manifests import Ingress
from vary_proxy.importing.origins import Taken, take
from vary_proxy.importing.writing import LONGEST, Writing, listed, quoted

USED = frozenset(
    ("enable-cors", "cors-allow-origin", "cors-allow-methods", "cors-allow-headers",
     "cors-expose-headers", "cors-allow-credentials", "cors-max-age")
)  # fmt: skip
_METHODS = "GET, PUT, POST, DELETE, PATCH, OPTIONS"
_HEADERS = (
    "DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,Content-Type,"
    "Range,Authorization"
)
_MAX_AGE = "1728000"
_NEVER_SENT = ("CONNECT", "TRACE", "TRACK")


def is_on(text: str) -> bool:
    """Whether an annotation is true, as Go reads it."""
    return text in ("1", "t", "T", "true", "TRUE", "True")


def write(ingress: Ingress, name: str, out: Writing) -> str:
    """The name of the policy that was written; "" where CORS is not enabled, or for nobody."""
    said = ingress.annotations
    if not is_on(said.get("enable-cors", "")):
        return ""
    out.comment(f"Ingress {ingress.name}", 2)
    origins = _split(said.get("cors-allow-origin", "*")) or ["*"]
    credentials = is_on(said.get("cors-allow-credentials", "true"))
    taken = _taken(origins, credentials=credentials and "*" not in origins)
    for one in taken.said:
        out.warn(f"Ingress {ingress.name}: {one}", 2)
    if taken.wide or taken.empty:
        out.warn(f"Ingress {ingress.name}: its CORS: no origin of it can be taken over", 2)
        return ""
    if taken.anyone and credentials:
        what = "credentials: browsers refuse them together with *, so they never worked"
        out.warn(f"Ingress {ingress.name}: {what}", 2)
        credentials = False
    out.add(f"  {name}:")
    out.add(f"    origins: {quoted('*') if taken.anyone else listed(taken.listed)}")
    for key, variable, usual in (
        ("methods", "cors-allow-methods", _METHODS),
        ("headers", "cors-allow-headers", _HEADERS),
        ("expose", "cors-expose-headers", ""),
    ):
        _names(key, said.get(variable, usual), out, ingress, credentials=credentials)
    if credentials:
        out.add("    credentials: true")
    _age(said.get("cors-max-age", _MAX_AGE), ingress, out)
    return name


def _split(text: str) -> list[str]:
    return [one.strip() for one in text.split(",") if one.strip()]


def _taken(origins: list[str], *, credentials: bool) -> Taken:
    """What the *origins* come to; a ``*.`` is one label, as it is there."""
    ours = take([one for one in origins if "://*." not in one], credentials=credentials)
    for one in origins:
        if "://*." not in one:
            continue
        loose = take([one.lower()], credentials=credentials)
        ours.said += loose.said
        for found in loose.listed:
            scheme, _, domain = found.partition("://*.")
            escaped = re.sub(r"([.^$*+?()\[\]{}|\\])", r"\\\1", domain)
            ours.listed.append(f"~{scheme}://[a-z0-9-]+\\.{escaped}")
    return ours


def _names(key: str, text: str, out: Writing, ingress: Ingress, *, credentials: bool) -> None:
    kept = []
    for one in _split(text):
        if one == "*" and credentials:
            what = f"* among its {key}: with credentials it means nothing"
            out.warn(f"Ingress {ingress.name}: {what}", 4)
        elif not syntax.is_token(one.encode("utf-8", "replace")) or one[:-1].count("*"):
            out.warn(f'Ingress {ingress.name}: "{one}" among its {key}', 4)
        elif key == "methods" and (one.upper() in _NEVER_SENT or one != one.upper()):
            out.warn(f'Ingress {ingress.name}: the method "{one}", which browsers never send', 4)
        else:
            kept.append(one)
    kept = list(dict.fromkeys(kept))
    if kept or key == "methods":
        out.add(f"    {key}: {listed(kept)}")


def _age(text: str, ingress: Ingress, out: Writing) -> None:
    if text.isascii() and text.isdigit() and len(text) <= 9:
        out.add(f"    max_age: {min(int(text), LONGEST)}s")
    else:
        out.warn(f"Ingress {ingress.name}: cors-max-age: {text}", 4)
