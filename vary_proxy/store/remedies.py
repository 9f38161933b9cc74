"""What to do about a store that fails: a few words for the one line that the log has of it."""

from __future__ import annotations

_BY_TEXT = (
    ("max number of clients", "raise its maxclients; a worker takes up to 40 connections"),
    ("loading the dataset", "nothing is to be done, it reads its data"),
    ("BUSY", "somebody's script holds it, and SCRIPT KILL ends that"),
    ("MISCONF", 'it cannot save its data: see its log, or run it without (save "")'),
    ("NOREPLICAS", "it waits for replicas: see its min-replicas-to-write"),
    ("unknown command", "it lacks a command: let it have all that README.md names"),
    ("protected mode", "give it a password and write that into store.url"),
    ("DB index", "store.url ends with the number of a database that it has not"),
    ("invalid database", "store.url ends with the number of a database that it has not"),
    ("certificate", "add ?ssl_ca_certs=/path/to/ca.pem of who signed it to store.url"),
)
_BY_KIND = {
    "denied": "see user and password in store.url, and the ACL that README.md names",
    "full": "raise its maxmemory, or set its maxmemory-policy to allkeys-lru",
    "read-only": "it is a replica: write its primary, or redis+sentinel://, into store.url",
    "timeout": "see whether it has too much to do, or raise store.timeout",
    "garbage": "others write where this proxy does: give it a store.namespace of its own",
}


def remedy(kind: str, text: str) -> str:
    """What helps against an error of *kind* that says *text*."""
    lower = text.lower()
    for words, advice in _BY_TEXT:
        if words.lower() in lower:
            return advice
    return _BY_KIND.get(kind, "see that it runs, and can be reached from here")
