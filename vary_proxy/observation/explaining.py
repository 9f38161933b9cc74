"""What the configuration makes of a request, told without sending it.

Everything here is asked of the very functions that serve traffic: the rule book, the primary
key, the selecting values, the effective Vary for what origins commonly say.
"""

from __future__ import annotations

from typing import Any

from vary_proxy.config import Loaded
from vary_proxy.configuration.quantities import written_duration
from vary_proxy.configuration.settings import Address, Settings
from vary_proxy.core import cors, edge, keys, preflight
from vary_proxy.core.message import Fields, Request
from vary_proxy.core.policy import (
    CachePolicy,
    CorsMode,
    OriginHeader,
    Policy,
    PreflightMode,
    TtlPolicy,
)
from vary_proxy.core.vary import EffectiveVary, dress, effective
from vary_proxy.core.wire import spelled
from vary_proxy.fetches.asking import Ask, key_names

_SAID = (None, b"Accept-Encoding", b"Origin", b"*")


def explain(loaded: Loaded, request: Request) -> dict[str, Any]:
    """Rule, origin, key, Vary, CORS and lifetimes, as plain values."""
    policy = loaded.rules.match(request)
    considered = [
        {"rule": one.rule, "where": one.where, "matched": one.matched, "reason": one.reason}
        for one in loaded.rules.explain(request)
    ]
    origin = loaded.settings.origins[policy.origin]
    return {
        "request": f"{_text(request.method)} {_text(request.authority)}{_text(request.target)}",
        "rule": policy.rule,
        "where": policy.where or "built-in defaults",
        "considered": considered,
        "origin": {"name": policy.origin, "url": str(origin.url), "Origin": _origin_header(policy)},
        "vary": {"mode": policy.vary.mode.value, "by_origin": _vary(policy, request)},
        "cors": _cors(policy, request),
        "key": _key(policy, request) if policy.cache.enabled else None,
        "cache": _cache(policy.cache) if policy.cache.enabled else None,
    }


def own_address(settings: Settings) -> str:
    """Where this configuration listens, as a client on this machine would ask it."""
    first = settings.listen[0]
    where = reachable(first.address)
    return where if first.tls is None else where.replace("http:", "https:", 1)


def reachable(address: Address) -> str:
    """Where a listener at *address* is asked from this machine."""
    if address.path is not None:
        return f"unix:{address.path}"
    host = "127.0.0.1" if address.host in ("", "0.0.0.0", "::") else address.host  # noqa: S104  meant
    return f"http://[{host}]:{address.port}" if ":" in host else f"http://{host}:{address.port}"


def _origin_header(policy: Policy) -> str:
    if policy.origin_header is OriginHeader.AUTO:
        hidden = b"origin" in edge.hidden(policy)
        return "strip (auto: the rule owns CORS)" if hidden else "forward (auto)"
    value = _text(policy.origin_value)
    return f"{policy.origin_header.value}:{value}" if value else policy.origin_header.value


def _vary(policy: Policy, request: Request) -> list[dict[str, Any]]:
    answer = _preflight(policy, request)
    if answer is not None:  # the origin is not asked
        line = edge.declaring(Fields(), answer.vary).combined(b"vary")
        sent = None if line is None else _text(line)
        return [{"origin_says": None, "we_send": sent, "action": "preflight"}]
    rows = []
    for said in _SAID:
        found, fields = _dressed(policy, request, said)
        line = edge.delivered(policy, fields, request).fields.combined(b"vary")
        sent = None if line is None else _text(line)
        before = None if said is None else _text(said)
        rows.append({"origin_says": before, "we_send": sent, "action": found.action})
    return rows


def _dressed(policy: Policy, request: Request, said: bytes | None) -> tuple[EffectiveVary, Fields]:
    """A response with this Vary as it is judged and stored: its effective Vary, its fields."""
    fields = edge.received(policy, Fields() if said is None else Fields(((b"vary", said),)))
    found = effective(fields, edge.nominated(policy), request.method)
    return found, dress(fields, found)


def _cors(policy: Policy, request: Request) -> dict[str, Any]:
    told: dict[str, Any] = {
        "mode": policy.cors_mode.value,
        "policy": policy.cors.name if policy.cors is not None else None,
        "preflight": policy.preflight.value,
    }
    answer = _preflight(policy, request)
    if answer is not None:
        judged, given, told["status"] = answer.verdict, answer.fields, answer.status
    elif policy.cors is not None and policy.cors_mode in (CorsMode.FILL, CorsMode.OVERRIDE):
        judged = cors.verdict_of(policy.cors, request)
        given = judged.fields
    else:
        return told | {"verdict": "the origin's", "reason": "", "fields": []}
    fields = [[_text(spelled(name)), _text(value)] for name, value in given]
    told |= {"verdict": judged.kind.value, "reason": judged.reason, "fields": fields}
    return told | {"culprit": _text(answer.culprit)} if answer is not None else told


def _preflight(policy: Policy, request: Request) -> preflight.PreflightAnswer | None:
    """What the edge answers; None where *request* is no preflight, or the origin's to answer."""
    if not preflight.is_preflight(request):
        return None
    if policy.preflight is PreflightMode.DENY:
        return preflight.denied(request)
    if policy.preflight is PreflightMode.SYNTHESIZE and policy.cors is not None:
        return preflight.preflight_reply(policy.cors, request)
    return None


def _key(policy: Policy, request: Request) -> dict[str, Any]:
    found, _ = _dressed(policy, request, None)
    ask = Ask(request, policy, keys.primary_key(request, policy), (), trusted=False)
    return {
        "primary": _text(ask.key).replace("\0", " "),
        "origin": policy.cache.origin_key.value,
        "selecting": {
            _text(name): None if value is None else _text(value)
            for name, value in ask.select(key_names(found, policy))
        },
        "variants": policy.cache.max_variants,
    }


def _cache(cache: CachePolicy) -> dict[str, Any]:
    return {
        "lifetime": _lifetime(cache.ttl, heuristic=cache.heuristic),
        "stale_while_revalidate": written_duration(cache.stale_while_revalidate),
        "stale_if_error": _on_error(cache.stale_if_error),
        "collapse": cache.collapse,
        "request_directives": "honour" if cache.honour_request else "ignore",
        "set_cookie": "store" if cache.store_set_cookie else "default",
    }


def _on_error(seconds: float | None) -> str:
    return "1d without a connection, 0" if seconds is None else written_duration(seconds)


def _lifetime(ttl: TtlPolicy, *, heuristic: bool) -> str:
    said = [
        f"{f'{status}xx' if status < 10 else status}: {written_duration(seconds)}"
        for status, seconds in sorted(ttl.statuses.items(), key=lambda pair: -pair[0])
    ]
    if ttl.override is not None:
        said.append(
            f"else {written_duration(ttl.override)}" if said else written_duration(ttl.override)
        )
        return ", ".join(said)
    said.append("what the origin says")
    if ttl.default is not None:
        said.append(f"else {written_duration(ttl.default)}")
    elif heuristic:
        said.append("else a tenth of the time since Last-Modified")
    return ", ".join(said)


def text(told: dict[str, Any]) -> str:
    """The explanation for people."""
    said, origin = told["cors"], told["origin"]
    lines = [told["request"], "", f"rule      {told['rule']}  ({told['where']})"]
    for one in told["considered"]:
        why = ", ".join(filter(None, ("matched" if one["matched"] else "", one["reason"])))
        place = f"  ({one['where']})" if one["where"] else ""
        lines.append(f"          {'+' if one['matched'] else '-'} {one['rule']}{place}: {why}")
    lines.append(f"origin    {origin['name']}  {origin['url']}  (Origin: {origin['Origin']})")
    lines.append(f"vary      {told['vary']['mode']}")
    for row in told["vary"]["by_origin"]:
        before, after = row["origin_says"] or "(none)", row["we_send"] or "(none)"
        lines.append(f"          {before} -> {after}  ({row['action']})")
    policy = f", policy {said['policy']}" if said["policy"] else ""
    lines.append(f"cors      {said['mode']}{policy}, preflight {said['preflight']}")
    status = f", {said['status']}" if "status" in said else ""
    culprit = f": {said['culprit']}" if said.get("culprit") else ""
    why = f" ({said['reason']}{culprit})" if said["reason"] else ""
    lines.append(f"          verdict: {said['verdict']}{why}{status}")
    lines += [f"          {name}: {value}" for name, value in said["fields"]]
    lines += _text_of_cache(told)
    if "live" in told:
        lines += ["", f"{told['live']['via']} answers {told['live']['status']}"]
        lines += [f"          {name}: {value}" for name, value in told["live"]["fields"]]
    return "\n".join(lines)


def _text_of_cache(told: dict[str, Any]) -> list[str]:
    key, cache = told["key"], told["cache"]
    if cache is None:
        return ["cache     off"]
    lines = [f"key       {key['primary']}"]
    for name, value in key["selecting"].items():
        lines.append(f"          {name}: {'(absent)' if value is None else value}")
    lines.append(f"lifetime  {cache['lifetime']}")
    stale = (cache["stale_while_revalidate"], cache["stale_if_error"])
    lines.append(
        f"stale     {stale[0]} while revalidating, {stale[1]} on error, where the origin is silent"
    )
    return lines


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")
