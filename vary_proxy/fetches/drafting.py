"""What will be stored of a response, while its body is still to come."""

from __future__ import annotations

from vary_proxy.core import freshness, vary
from vary_proxy.core.message import Response
from vary_proxy.core.stored import Body, StoredResponse
from vary_proxy.core.storing import Storable
from vary_proxy.core.vary import EffectiveVary
from vary_proxy.fetches.asking import Ask, key_names

FRAMING = frozenset((b"content-length",))
_UNKNOWN = Body(b"", 0)


def drafted(
    ask: Ask,
    head: Response,
    verdict: Storable,
    effective: EffectiveVary,
    requested: float,
    now: float,
) -> StoredResponse:
    """The stored response that *head*, the answer to *ask*, comes to; its body is unknown."""
    return StoredResponse(
        status=head.status,
        fields=vary.dress(verdict.fields.without(FRAMING), effective),
        body=_UNKNOWN,
        selecting=ask.select(key_names(effective, ask.policy)),
        born=freshness.born_at(head.fields, requested, now),
        received=now,
        reason=head.reason,
        part=verdict.part,
        authorized=b"authorization" in ask.request.fields,
        keep=freshness.keeping(head.status, head.fields, now, ask.policy.cache),
    )
