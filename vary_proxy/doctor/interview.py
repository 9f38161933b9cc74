"""Which questions are put to a server, in which order.

At most MOST_REQUESTS in all, one after another: plain and with several Origins, conditional,
encoded, for a part, for what is not there, preflights, and the first ones once more, so that
caches show. A redirect is never followed unseen: its target on the same server is asked for
as a question of its own.
"""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

from vary_proxy.core import lookalikes
from vary_proxy.core.corsorigins import parse_origin
from vary_proxy.doctor.asking import Asker, Place, Unanswered, place
from vary_proxy.doctor.sheet import Askers, Pairs, Probe, Sheet

_ACRM, _ACRH = "Access-Control-Request-Method", "Access-Control-Request-Headers"
_PRIVATE = "Access-Control-Request-Private-Network"
_MOST_SILENT = 3  # unanswered questions in a row, after which we leave it in peace
_PAST_THE_END = (("Range", "bytes=999999999999999-"),)


def askers(asked: Place, named: tuple[str, ...], token: str) -> Askers:
    """Whom to ask as: those *named*, or else a guess: the site that the URL's host belongs to."""
    stranger = f"https://stranger-{token}.invalid"
    if named:
        return Askers(named[0], named[1] if len(named) > 1 else None, stranger, named=True)
    parts = urlsplit(asked.server)
    host = parts.hostname or ""
    labels = host.split(".")
    is_name = not labels[-1].isdigit() and ":" not in host
    site = ".".join(labels[1:]) if is_name and len(labels) > 2 else parts.netloc.lower()
    return Askers(f"{parts.scheme}://{site}", None, stranger)


async def interview(asker: Asker, asked: Place, who: Askers, token: str) -> Sheet:
    """What the server says. Raises Unanswered when it does not answer the first question."""
    talk = _Talk(asker, Sheet(asked.url, who))
    talk.sheet.exchanges["none"] = await asker.ask(Probe("none"))
    await talk.about_askers(who)
    await talk.about_conditions(who)
    await talk.about_what_is_not_there(who, asked, token)
    await talk.about_preflights(who)
    await talk.again(who, asked, token)
    return talk.sheet


class _Talk:
    def __init__(self, asker: Asker, sheet: Sheet) -> None:
        self.asker = asker
        self.sheet = sheet
        self.silent_in_a_row = 0

    async def put(
        self,
        label: str,
        origin: str | None = None,
        fields: Pairs = (),
        method: str = "GET",
        target: str | None = None,
    ) -> None:
        if self.silent_in_a_row >= _MOST_SILENT:
            self.sheet.silent[label] = "not asked: the questions before it had no answer"
            return
        try:
            probe = Probe(label, method, origin, fields, target)
            self.sheet.exchanges[label] = await self.asker.ask(probe)
            self.silent_in_a_row = 0
        except Unanswered as error:
            self.sheet.silent[label] = str(error)
            self.silent_in_a_row += 1

    async def about_askers(self, who: Askers) -> None:
        await self.put("allowed", who.allowed)
        if who.second is not None:
            await self.put("second", who.second)
        await self.put("stranger", who.stranger)
        await self.put("null", "null")
        if self.sheet.echoes("allowed") and not self.sheet.accepts("stranger"):
            for kind, origin in _alike(who).items():
                self.sheet.likes[kind] = origin
                await self.put(f"like-{kind}", origin)
        await self.put("head", who.allowed, method="HEAD")
        gzip = (("Accept-Encoding", "gzip"),)
        await self.put("gzip-none", None, gzip)
        await self.put("gzip-allowed", who.allowed, gzip)

    async def about_conditions(self, who: Askers) -> None:
        """Each asker with the validator that was given to it."""
        for name, origin in (("none", None), ("allowed", who.allowed), ("second", who.second)):
            whole = self.sheet.answer(name)
            if whole is None or whole.status != 200:
                continue
            tag, date = whole.text("etag"), whole.text("last-modified")
            if tag is not None:
                await self.put(f"304-{name}", origin, (("If-None-Match", tag),))
            elif date is not None:
                await self.put(f"304-{name}", origin, (("If-Modified-Since", date),))

    async def about_what_is_not_there(self, who: Askers, asked: Place, token: str) -> None:
        missing = _beside(asked.target, token)
        await self.put("missing-none", target=missing)
        await self.put("missing-allowed", who.allowed, target=missing)
        await self.put("part-allowed", who.allowed, (("Range", "bytes=0-0"),))
        await self.put("past-none", None, _PAST_THE_END)
        await self.put("past-allowed", who.allowed, _PAST_THE_END)
        target = self._redirect_target(asked)
        if target is not None:
            await self.put("target-none", target=target)
            await self.put("target-allowed", who.allowed, target=target)

    def _redirect_target(self, asked: Place) -> str | None:
        """Where the URL redirects to, when that is on the same server."""
        for label in ("allowed", "none"):
            answer = self.sheet.answer(label)
            where = answer.text("location") if answer and 300 <= answer.status < 400 else None
            if where is None:
                continue
            try:
                target = place(urljoin(asked.url, where))
            except ValueError:
                continue
            if target.server == asked.server:
                return target.target
        return None

    async def about_preflights(self, who: Askers) -> None:
        a = who.allowed
        asking: tuple[tuple[str, str, Pairs], ...] = (
            ("pre-get", a, ((_ACRM, "GET"),)),
            ("pre-put", a, ((_ACRM, "PUT"), (_ACRH, "x-doctor-one"))),
            ("pre-other-header", a, ((_ACRM, "PUT"), (_ACRH, "x-doctor-two"))),
            ("pre-other-method", a, ((_ACRM, "DELETE"), (_ACRH, "x-doctor-one"))),
            ("pre-put-plain", a, ((_ACRM, "PUT"),)),
            ("pre-authorization", a, ((_ACRM, "GET"), (_ACRH, "authorization"))),
            ("pre-private", a, ((_ACRM, "GET"), (_PRIVATE, "true"))),
            ("pre-stranger", who.stranger, ((_ACRM, "GET"),)),
            ("options", a, ()),
        )
        for label, origin, fields in asking:
            await self.put(label, origin, fields, method="OPTIONS")

    async def again(self, who: Askers, asked: Place, token: str) -> None:
        """The first questions once more; what a cache answered, also past the cache."""
        await self.put("again-none")
        await self.put("again-allowed", who.allowed)
        answers = [one.answer for one in self.sheet.some("allowed", "again-allowed")]
        if any(one.is_from_cache for one in answers):
            mark = "&" if "?" in asked.target else "?"
            target = f"{asked.target}{mark}vary-proxy-doctor={token}"
            await self.put("fresh-allowed", who.allowed, target=target)


def _beside(target: str, token: str) -> str:
    """A target that nothing is at, in the same directory and with the same ending."""
    path, mark, query = target.partition("?")
    directory, _, name = path.rpartition("/")
    dot = name.rfind(".")
    return f"{directory}/missing-{token}{name[dot:] if dot > 0 else ''}{mark}{query}"


def _alike(who: Askers) -> dict[str, str]:
    """Look-alikes of the allowed origin, by trick; none that the user wants to be allowed."""
    if parse_origin(who.allowed.encode()) is None:
        return {}
    alike = lookalikes.examples(who.allowed.encode())
    wanted = ("suffix", "prefix", "dot", "port", "scheme")
    found = {kind: alike[kind].decode() for kind in wanted if kind in alike}
    return {kind: one for kind, one in found.items() if one != who.second}
