"""Every finding that there is: how bad, what it is, why it matters, what cures it.

``cure`` names what of vary-proxy makes it disappear, by the names in ``entry.RULES``: ``repair``
is the default, ``override`` a rule that owns the CORS fields and answers preflights; it is empty
where only the server itself can be mended.
"""

from __future__ import annotations

from vary_proxy.doctor.corsentries import ENTRIES
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
    **ENTRIES,
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
    "CA306": Entry(
        "error",
        "A cache gives everybody what it stored for somebody else",
        "Origin is no part of its key: who asks first decides whether all others are blocked.",
        "put Origin into the key (CloudFront: by its cache policy), or send * on every response; "
        "then purge",
        "everybody",
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
