"""What every key of the configuration is for, in a sentence: for the JSON Schema.

Keyed by the Struct of ``settings.py`` and its field. A test holds the two together.
"""

from __future__ import annotations

DESCRIPTIONS: dict[str, dict[str, str]] = {
    "Settings": {
        "version": "Version of this format.",
        "listen": "Where to accept requests.",
        "server": "How clients are served.",
        "origins": "What stands behind the proxy, by name.",
        "store": "Where stored responses are kept.",
        "cors": "CORS policies, by name; rules refer to them.",
        "defaults": "What lies under every rule.",
        "rules": "What holds for which requests; the first match wins.",
        "probes": "Listener for probes and metrics; nothing there changes state.",
        "admin": "Listener for purge, reload, explain, inspect and the dashboard.",
        "log": "What is logged, and how.",
        "tracing": "Distributed traces, by OpenTelemetry.",
    },
    "Listen": {
        "address": "host:port, [v6]:port, :port for all addresses, or unix:/path.",
        "tls": "Certificate and key; re-read when the files change.",
        "proxy_protocol": "A trusted proxy begins every connection with a PROXY header, v1 or v2.",
    },
    "Tracing": {
        "endpoint": "An OTLP/HTTP collector, http://host:4318; without it OTEL_* variables say.",
        "service": "Name of this service in traces; without it as OTEL_* variables say.",
        "sample": "Share of requests to trace that come without a trace, from 0 to 1.",
    },
    "Tls": {"cert": "File with the certificate chain, PEM.", "key": "File with its key, PEM."},
    "Server": {
        "workers": "Processes that share the port; auto is one per CPU.",
        "trusted_proxies": "Networks whose Forwarded and X-Forwarded-* are believed.",
        "limits": "Bounds on what clients may send.",
        "timeouts": "Deadlines towards clients.",
        "drain": "What happens between SIGTERM and the end.",
    },
    "Limits": {
        "head": "Largest request head; larger ones get 431.",
        "line": "Longest field line; longer ones get 431.",
        "fields": "Most field lines; more get 431.",
        "target": "Longest request target; longer ones get 414.",
        "connections": "Most connections at a time; more get 503.",
        "body": "Largest request body; larger ones get 413.",
    },
    "ServerTimeouts": {
        "head": "For a whole request head; then 408.",
        "idle": "Between requests on a connection, and without progress in a request body.",
        "write": "Without progress while a response is written.",
    },
    "Drain": {
        "delay": "How long to go on accepting after readiness has fallen.",
        "timeout": "How long running requests may take to finish.",
    },
    "Origin": {
        "urls": "Several URLs to balance; failing ones are set aside.",
        "url": "scheme://host[:port]; a path here is put before every target.",
        "host": "What Host says: upstream, preserve (the client's), or a literal host.",
        "bucket": "Bucket put before every target, or before the host.",
        "addressing": "How the bucket is addressed.",
        "sign": "Sign GET and HEAD for objects of a private bucket; all else goes unsigned.",
        "origin_header": (
            "What becomes of Origin: forward, strip, inject:ORIGIN, or auto: forward, "
            "unless the rule owns CORS (mode override)."
        ),
        "timeouts": "Deadlines towards the origin.",
        "tls": "How an https origin is trusted, and who we are to it; files are re-read on change.",
        "retry": "Repeat idempotent, body-less requests before the first byte; twice in all "
        "where there are several URLs.",
        "health": "Ask regularly, and set aside what fails.",
    },
    "Sign": {
        "type": "The signature's algorithm.",
        "region": "The bucket's region.",
        "credentials": "auto (environment, files, web identity, container, instance), or "
        "profile:NAME of the shared files.",
    },
    "OriginTimeouts": {
        "connect": "To be connected.",
        "first_byte": "To the response head; then 504.",
        "idle": "Without progress in the body.",
    },
    "OriginTls": {
        "ca": "File with the authorities that are trusted instead of the system's, PEM.",
        "cert": "File with the client certificate that is shown to the origin, PEM.",
        "key": "File with its private key, PEM.",
        "server_name": "Name sent as SNI, which the origin's certificate must fit.",
        "verify": "false: any certificate will do; for tests only.",
    },
    "Retry": {"attempts": "How often a request is sent at most."},
    "Health": {
        "path": "What is asked for.",
        "every": "How often.",
        "fail_after": "Failures in a row that set an origin aside.",
    },
    "Store": {
        "type": "memory, redis, or any backend of aiocache.",
        "url": "redis:// rediss:// unix:// redis+sentinel:// or redis+cluster://",
        "backend": "Dotted path of an aiocache backend.",
        "options": "What the backend is made with.",
        "namespace": "Put before every key.",
        "memory": "The tier that every worker keeps in memory.",
        "max_object": "Largest object that is stored at all.",
        "timeout": "Deadline for the shared store; then it counts as absent.",
        "on_error": "Without the shared store: bypass (ask the origin) or fail (503).",
    },
    "MemoryStore": {
        "max": "Bytes held at most.",
        "max_object": "Largest object held in memory.",
    },
    "Cors": {
        "origins": '"*", null, origins, https://*.wildcards, and ~patterns.',
        "methods": "Methods that a preflight is allowed.",
        "headers": 'Request fields that a preflight is allowed; "X-Amz-*" for a family.',
        "expose": "Response fields that scripts may read.",
        "credentials": "Cookies and Authorization allowed; never with any origin.",
        "max_age": "How long browsers keep a preflight's answer.",
        "on_reject": "Status of a refused preflight.",
        "timing_allow_origin": "Sent as Timing-Allow-Origin.",
        "resource_policy": "Sent as Cross-Origin-Resource-Policy.",
        "allow_private_network": "Answer preflights for private networks.",
        "preflight_cache_control": "Let caches before us keep preflights for max_age too.",
    },
    "Match": {
        "path": "Globs (* within a segment, ** across, ?) or ~regex, on the whole raw path.",
        "host": "Globs (* within a label) or ~regex; without port unless one is given.",
        "methods": "Methods; a preflight also counts as the method that it asks for.",
        "query": "Parameters that must be there, by glob of name and of value.",
        "headers": "Fields that must be there, by name and glob of value.",
    },
    "VaryRule": {
        "mode": "What is sent as Vary.",
        "headers": "The names that the repair makes sure of.",
    },
    "CorsRule": {
        "policy": "Name of a policy under cors.",
        "mode": "Who writes the CORS fields.",
    },
    "QueryRule": {
        "ignore": "Parameters left out of the key, by glob of their names.",
        "only": "The only parameters in the key.",
        "sort": "Order of parameters does not matter.",
    },
    "KeyRule": {
        "origin": (
            "How Origin partitions the store: exact; presence, which stores answers for all (*) "
            "alone; verdict and ignore, where the rule owns CORS."
        ),
        "query": "How the query enters the key; byte for byte unless said otherwise.",
    },
    "TtlRule": {
        "override": "Lifetime that replaces what the origin said.",
        "default": "Lifetime where the origin said nothing.",
    },
    "CacheRule": {
        "enabled": "false: nothing is stored or taken from the store.",
        "ttl": "origin, a lifetime that replaces the origin's, or lifetimes by status.",
        "stale_while_revalidate": "How long a stale response is served while it is validated.",
        "stale_if_error": "How long a stale response is served while the origin fails.",
        "collapse": "One request to the origin for all that want the same at once.",
        "set_cookie": "store: responses with Set-Cookie are stored too.",
        "request_directives": "Whether the client's Cache-Control counts.",
        "heuristic": "A lifetime from Last-Modified where the origin said nothing.",
        "variants": "Variants of one URL that are kept at most.",
        "key": "What partitions the store.",
    },
    "Defaults": {
        "origin": "Name of the origin asked.",
        "vary": "What is sent as Vary.",
        "cors": "Who writes the CORS fields, and by which policy.",
        "preflight": "Who answers preflights.",
        "cache": "What is stored, for how long, under which key; off for nothing.",
    },
    "Rule": {
        "name": "Names the rule in logs and metrics.",
        "match": "Which requests it is for; all of these must hold. Without it: every one.",
    },
    "Probes": {"address": "host:port, or off."},
    "Admin": {
        "address": "host:port or unix:/path, or off.",
        "token": "Asked of whoever uses it; needed on a public address.",
        "dashboard": "Serve the dashboard there.",
        "purge_from": "Addresses whose PURGE on the traffic port is obeyed; none by default.",
    },
    "Log": {
        "level": "Least severity of messages.",
        "format": "Form of the access log.",
        "access": "Where it goes: off, stdout, or a file's path.",
    },
}
DESCRIPTIONS["Rule"] |= DESCRIPTIONS["Defaults"]
