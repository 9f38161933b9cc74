"""The findings on CORS fields (CO1xx) and preflights (PF2xx); the others are in ``catalogue``."""

from __future__ import annotations

from vary_proxy.doctor.entry import Entry

ENTRIES = {
    "CO101": Entry(
        "critical",
        "Any Origin is allowed, with credentials",
        "Every site that a visitor opens can read this server as that visitor.",
        "list the origins that may; never copy Origin into the answer unchecked",
        "override",
    ),
    "CO102": Entry(
        "critical",
        "The null origin is allowed, with credentials",
        "Any page becomes null by a sandboxed frame: everybody can read as the visitor.",
        "take null off the list",
        "override",
    ),
    "CO103": Entry(
        "warning",
        "The null origin is allowed",
        "Any page becomes null by a sandboxed frame: the list of origins keeps nobody out.",
        "take null off the list, or allow * if it is meant to be public",
        "override",
    ),
    "CO104": Entry(
        "critical",
        "Origins that only look like an allowed one are allowed",
        "The pattern is not anchored or not escaped: a stranger registers a name that passes.",
        "compare whole origins; anchor patterns at both ends and escape dots",
        "override",
    ),
    "CO105": Entry(
        "error",
        "Access-Control-Allow-Origin: * with Access-Control-Allow-Credentials: true",
        "Browsers refuse the pair for requests with cookies, so what it promises never works.",
        "name the origins, or leave credentials out",
        "override",
    ),
    "CO106": Entry(
        "error",
        "Several values of Access-Control-Allow-Origin",
        "Browsers join them and find no match: every CORS load is blocked. Most often two layers "
        "each add theirs.",
        "let one layer write the CORS fields",
        "override",
    ),
    "CO107": Entry(
        "error",
        "Access-Control-Allow-Origin is no origin that a browser could have",
        "It is compared byte for byte: a slash, a path, capitals or a default port never match.",
        "write scheme://host[:port], in lower case, without slash",
        "override",
    ),
    "CO108": Entry(
        "warning",
        "* in a list that goes with credentials",
        "Once credentials are included browsers take * for a name like any other.",
        "list the names",
        "override",
    ),
    "CO109": Entry(
        "info",
        "Authorization is not allowed by *",
        "The wildcard never covers Authorization (Fetch): requests that have it are blocked.",
        "list Authorization beside the *, if it is sent",
        "override",
    ),
    "CO110": Entry(
        "info",
        "Access-Control-Allow-Credentials without Access-Control-Allow-Origin",
        "Harmless, and a sign that the fields are written in two places.",
        "send both or neither",
        "override",
    ),
    "CO111": Entry(
        "warning",
        "Origin changes more than the CORS fields: the status, or the content",
        "Same-origin POSTs and programs that send Origin are refused as well, and a rule that "
        "owns CORS must not hide Origin from this server.",
        "answer as usual, without CORS fields; check origins of unsafe requests elsewhere",
    ),
    "CO112": Entry(
        "error",
        "An origin that is to be allowed is not",
        "Its pages cannot read the response: fetch, canvas, fonts and modules are blocked.",
        "allow it where the CORS fields are written",
        "override",
    ),
    "PF201": Entry(
        "error",
        "The preflight of an allowed origin fails",
        "Browsers want a status of 200 to 299 and Access-Control-Allow-Origin: else no request "
        "with a header or method of its own is ever sent.",
        "answer OPTIONS before authentication, redirects and method checks",
        "override",
    ),
    "PF202": Entry(
        "warning",
        "Access-Control-Max-Age is missing, or short",
        "Browsers forget the answer after 5 seconds: nearly every request is sent twice.",
        "send 600 to 7200 (Chromium's cap; Firefox takes 86400, Safari 600)",
        "override",
    ),
    "PF203": Entry(
        "warning",
        "Access-Control-Max-Age is no number of seconds",
        "Browsers ignore it and remember the answer for 5 seconds.",
        "send digits only",
        "override",
    ),
    "PF204": Entry(
        "info",
        "The preflight is asked to authenticate",
        "Browsers never send credentials with it, so it can never be answered.",
        "answer OPTIONS before authentication",
        "override",
    ),
    "PF205": Entry(
        "info",
        "Preflight answers say nothing to CDNs that keep them",
        "Without Cache-Control a CDN that is told to cache OPTIONS guesses, or does not.",
        "send Cache-Control: public, max-age=… with them, if your CDN keeps OPTIONS",
        "preflights",
    ),
    "PF206": Entry(
        "info",
        "Private Network Access is answered",
        "Browsers ask their users instead by now, and no longer send this question.",
        "leave it out",
        "override",
    ),
}  # fmt: skip
