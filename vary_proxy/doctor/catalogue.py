"""Every finding that there is: how bad, what it is, why it matters, what cures it.

``cure`` names what of vary-proxy makes it disappear, by the names in ``entry.RULES``: ``repair``
is the default, ``override`` a rule that owns the CORS fields and answers preflights; it is empty
where only the server itself can be mended.
"""

from __future__ import annotations

from vary_proxy.doctor.entry import Entry

_ALWAYS_VARY = "send Vary: Origin on every response of the URL, whatever the request had"
_STORED = "A browser, CDN or proxy that stored it for one asker hands it to another"

CATALOGUE = {
    "CV001": Entry(
        "error",
        "Vary lacks Origin on responses to requests without Origin",
        f"{_STORED}: a plain <img> fills the cache, and the CORS load after it is blocked.",
        _ALWAYS_VARY, "repair",
    ),
    "CV002": Entry(
        "error",
        "Vary lacks Origin on responses to an origin that is not allowed",
        "One request with a foreign Origin fills the cache for everybody who is allowed.",
        _ALWAYS_VARY, "repair",
    ),
    "CV003": Entry(
        "error",
        "Access-Control-Allow-Origin depends on Origin, and no response says so",
        f"{_STORED}: what one site may read, another is given, or is refused its own.",
        _ALWAYS_VARY, "repair",
    ),
    "CV004": Entry(
        "error",
        "Access-Control-Allow-Origin: * only for requests with Origin, without Vary",
        f"{_STORED}: a plain <img> fills the cache with a response that no CORS load may read.",
        "send the * on every response, or Vary: Origin on every response",
        "repair",
    ),
    "CV005": Entry(
        "error",
        "304 lacks the CORS fields that the 200 has",
        "A browser validates what another asker stored, and judges by the fields of that and the "
        "304: without Access-Control-Allow-Origin it blocks, however right Vary is.",
        "send the CORS fields with 304 as with 200",
        "repair",
    ),
    "CV006": Entry(
        "error",
        "304 lacks the Vary that the 200 has, or has the CORS fields of another origin",
        "Caches update what they stored with a 304's fields (RFC 9111 §3.2): they forget what "
        "the response depends on, or give one asker's permission to another.",
        "make 304s with the same fields as the 200 (RFC 9110 §15.4.5)",
        "repair",
    ),
    "CV007": Entry(
        "warning",
        "304 carries fields that would overwrite those of the 200",
        "Caches replace the stored fields by these (RFC 9111 §3.2): the next reader gets, for "
        "example, an image as text/html.",
        "leave representation metadata out of 304s, or make it that of the 200",
        "repair",
    ),
    "CV008": Entry(
        "error",
        "Errors or partial responses lack the Vary or CORS fields that the 200 has",
        "Errors are cached too, and a page cannot tell a 404 from a CORS failure.",
        "send both on every status (nginx: add_header … always; Apache: Header always set)",
        "repair",
    ),
    "CV009": Entry(
        "error",
        "A redirect lacks the Vary or CORS fields that its target has",
        "Browsers make the CORS check on every redirect, and caches store redirects.",
        "send both on redirects as well",
        "repair",
    ),
    "CV010": Entry(
        "error",
        "A name in Vary is lost on responses to requests with Origin",
        "Something overwrites Vary where it should add to it: an encoded or otherwise selected "
        "response reaches those who cannot read it.",
        "append to Vary, never set it",
        "repair",
    ),
    "CV011": Entry(
        "info",
        "Vary: Origin, although the CORS fields are the same for everybody",
        "Caches keep one copy per asking site, without need: fewer hits, more traffic.",
        "leave Vary: Origin out where the answer is constant, on every status",
        "override",
    ),
    "CV012": Entry(
        "warning",
        "Vary: * (or a Vary that cannot be read)",
        "Nothing can be stored: every request goes all the way to the server.",
        "name the fields that matter",
    ),
    "CV013": Entry(
        "info",
        "Vary in several lines, with repeated names, or in odd case",
        "It is allowed, and nginx before 1.23 and some CDNs read only one line of it.",
        "send one line, each name once",
        "repair",
    ),
    "CV014": Entry(
        "warning",
        "Preflight answers do not say what they depend on",
        "A CDN that keeps answers to OPTIONS gives one page the permission, or refusal, that was "
        "meant for another.",
        "send Vary: Origin, Access-Control-Request-Headers, Access-Control-Request-Method",
        "repair",
    ),
    "CV015": Entry(
        "warning",
        "Vary names fields of which every visitor has another value",
        "Each visitor gets a copy of their own: the cache never helps.",
        "leave User-Agent, Cookie, Referer and Sec-Fetch-* out, or mark the response private",
        "replace",
    ),
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
        "warning",
        "Authorization is asked for, and only * is allowed",
        "The wildcard never covers Authorization (Fetch): such requests are blocked.",
        "list Authorization beside the *",
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
    "CA301": Entry(
        "warning",
        "No strong ETag",
        "Without one each Origin, and each stale copy, costs the whole body instead of a 304.",
        "send a strong ETag: one without W/",
    ),
    "CA302": Entry(
        "error",
        "ETag depends on Origin, although the content does not",
        "A copy stored for one site can never be validated for another: full bodies each time.",
        "make the ETag of the content alone",
        "override",
    ),
    "CA303": Entry(
        "info",
        "Stored for long, and without CORS fields for the origins that were named",
        "Pages that need CORS dodge such copies with made-up parameters, and fetch all twice.",
        "allow the origins, or leave them out of this check",
        "override",
    ),
    "CA304": Entry(
        "warning",
        "A cache serves CORS fields that the server no longer sends",
        "It was stored before the rules changed, or for another asker: it stays so until purged.",
        "purge the URL, and key the cache by Origin",
        "purge",
    ),
    "CA305": Entry(
        "warning",
        "Both the server and what stands before it write CORS fields",
        "Two places to change, one of them forgotten; values may double.",
        "let one of them write: mode: override here, or none at all",
        "override",
    ),
    "SEC401": Entry(
        "info",
        "Timing-Allow-Origin echoes Origin",
        "It is read on plain image loads too, which have no Origin: they get nothing.",
        "send * or a fixed list",
        "override",
    ),
    "SEC402": Entry(
        "info",
        "Cross-Origin-Resource-Policy shuts out sites that CORS lets in",
        "Plain loads by the very sites that may read it are blocked.",
        "send cross-origin here, or leave it out",
        "override",
    ),
    "LOG501": Entry(
        "info",
        "The proxy has blocked CORS requests",
        "Visitors of these sites see broken pages, or somebody is trying doors.",
        "allow the origins that are yours, and leave the others",
        "override",
    ),
}  # fmt: skip
