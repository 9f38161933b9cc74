"""The sites of ``bench.hitratio``, small, without sockets: who pays for splitting by Origin.

Every page asked for costs one body, 1 % of the requests. Where the origin owns CORS, a page
costs another one for each requester who is given no CORS fields and comes before the first
304 of that page that has some: only then is a 304 without them believed. Where *p* is the
share of such requesters, these are p / (1 - p) per page in the mean at most: 0.7, 0.1 and 0.4
of them, so that both together stay below 2 %.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from bench.hitratio import ETAG, SITES, Site, due, requests
from tests.exchange.conftest import Edge, Said
from vary_proxy.core.corspolicy import compile_policy
from vary_proxy.core.message import Request
from vary_proxy.core.policy import CachePolicy, CorsMode, Policy

REQUESTS, PAGES = 3000, 30


def origin_of(site: Site) -> Callable[[Request], Said]:
    """As S3: Vary and CORS fields only for whom it allows, on 304s too."""
    allowed = {origin.encode() for origin in site.allowed}

    def answer(request: Request) -> Said:
        fields = [(b"etag", ETAG), (b"cache-control", b"max-age=86400")]
        origin = request.fields.get(b"origin")
        if origin in allowed:
            fields += [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]
        unchanged = request.fields.get(b"if-none-match") == ETAG
        return Said(304 if unchanged else 200, tuple(fields), b"" if unchanged else b"the body")

    return answer


async def ask_all(edge: Edge, site: Site) -> set[str]:
    """Send the site's requests; every answer is what its requester is due. The pages asked for."""
    pages = set()
    for page, origin in requests(site, REQUESTS, PAGES, seed=1):
        pages.add(page)
        sent = {} if origin is None else {"origin": origin.encode()}
        reply = await edge.get(page, **sent)
        if "; hit" not in reply.cache_status:
            await edge.settle()
        told = reply["access-control-allow-origin"]
        assert (told and told.decode()) == due(site, origin), (page, origin)
        assert reply.body == b"the body"
    return pages


def bodies(edge: Edge) -> int:
    return [one.head.status for one in edge.origin.responses].count(200)


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.title)
async def test_new_origins_cost_a_304_where_the_origin_owns_cors(
    edges: Callable[..., Edge], site: Site
) -> None:
    edge = edges()
    edge.origin.handler = origin_of(site)
    pages = await ask_all(edge, site)
    assert len(pages) <= bodies(edge) <= 0.02 * REQUESTS
    most = CachePolicy().max_variants
    assert len(pages) < edge.store.stats().stored_responses <= most * len(pages)


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.title)
async def test_a_page_is_fetched_once_where_the_rule_owns_cors(
    edges: Callable[..., Edge], site: Site
) -> None:
    policy = compile_policy("app", origins=site.allowed, methods=["GET"], credentials=True)
    edge = edges(replace(Policy(), cors=policy, cors_mode=CorsMode.OVERRIDE))
    edge.origin.handler = origin_of(site)
    pages = await ask_all(edge, site)
    assert edge.origin.asked == bodies(edge) == len(pages)
    assert edge.store.stats().stored_responses == len(pages)
