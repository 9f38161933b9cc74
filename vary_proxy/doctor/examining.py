"""From URLs to what was found: one interview after another, each sheet then checked.

With a proxy in front (``via``) the same questions go through it as well, and what is found
there is what users get: the findings of the server behind are then told as cured, or not.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from vary_proxy.doctor import cachechecks, corschecks, preflightchecks, varychecks
from vary_proxy.doctor.asking import Asker, Manner, Place, Unanswered, place
from vary_proxy.doctor.catalogue import CATALOGUE
from vary_proxy.doctor.entry import SEVERITIES
from vary_proxy.doctor.interview import askers, interview
from vary_proxy.doctor.sheet import Found, Sheet

CHECKS = (varychecks.check, corschecks.check, preflightchecks.check, cachechecks.check)
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one server's answers about one URL came to. ``unreached`` says why there are none."""

    url: str
    server: str
    requests: int
    sheet: Sheet | None = None
    found: tuple[Found, ...] = ()
    unreached: str = ""


@dataclass(frozen=True, slots=True)
class Examined:
    """One URL; ``via`` is what the proxy in front of it said."""

    asked: Place
    direct: Opinion
    via: Opinion | None = None

    @property
    def judged(self) -> Opinion:
        """The opinion that counts: that on what users get."""
        return self.direct if self.via is None else self.via


def severity(found: Found) -> str:
    return found.severity or CATALOGUE[found.id].severity


def is_bad(found: Found, threshold: str) -> bool:
    """Whether *found* is at least as severe as *threshold*; nothing is for ``never``."""
    if threshold == "never":
        return False
    return SEVERITIES.index(severity(found)) >= SEVERITIES.index(threshold)


async def examine(
    urls: Sequence[str],
    named: tuple[str, ...],
    manner: Manner,
    via: str | None = None,
    progress: Progress = lambda _: None,
) -> list[Examined]:
    """What is to be said about each of *urls*. Raises ValueError before anything is asked."""
    places = [place(url) for url in urls]
    proxy = None if via is None else place(via)
    if proxy is not None and proxy.target != "/":
        raise ValueError(f"{via!r} is no proxy; write http://host:port")
    done: list[Examined] = []
    for one in places:
        progress(one.url)
        direct = await _opinion(one.server, one, named, manner, _reference(done, one, False))
        behind = None
        if proxy is not None and not direct.unreached:
            progress(f"{one.url} via {proxy.server}")
            beside = _reference(done, one, True)
            behind = await _opinion(proxy.server, one, named, manner, beside)
            behind = _compared(direct, behind)
        done.append(Examined(one, direct, behind))
    return done


def _reference(done: list[Examined], asked: Place, through: bool) -> Sheet | None:
    """A sheet of the same server about something that it does serve."""
    for one in done:
        opinion = one.via if through else one.direct
        sheet = None if opinion is None else opinion.sheet
        answer = None if sheet is None else sheet.answer("none")
        if one.asked.server == asked.server and answer is not None and answer.status == 200:
            return sheet
    return None


async def _opinion(
    server: str, asked: Place, named: tuple[str, ...], manner: Manner, reference: Sheet | None
) -> Opinion:
    token = secrets.token_hex(4)
    asker = Asker(server, asked, manner)
    try:
        sheet = await interview(asker, asked, askers(asked, named, token), token)
    except Unanswered as error:
        return Opinion(asked.url, server, asker.asked, unreached=str(error))
    finally:
        await asker.close()
    found = [one for check in CHECKS for one in check(sheet)]
    if reference is not None:
        found += varychecks.compared(sheet, reference)
    return Opinion(asked.url, server, asker.asked, sheet, in_order(found))


def _compared(direct: Opinion, via: Opinion) -> Opinion:
    if direct.sheet is None or via.sheet is None:
        return via
    more = cachechecks.compared(direct.sheet, via.sheet)
    return replace(via, found=in_order([*via.found, *more]))


def in_order(found: Sequence[Found]) -> tuple[Found, ...]:
    """The worst first, then by id; several proofs of one finding are one finding."""
    joined: dict[tuple[str, str], Found] = {}
    for one in found:
        key = one.id, severity(one)
        have = joined.get(key)
        if have is None:
            joined[key] = one
        elif one.detail not in have.detail:
            more = tuple(each for each in one.evidence if each not in have.evidence)
            detail = f"{have.detail}; {one.detail}"
            joined[key] = replace(have, detail=detail, evidence=have.evidence + more)
    ranks = {name: -at for at, name in enumerate(SEVERITIES)}
    return tuple(sorted(joined.values(), key=lambda one: (ranks[severity(one)], one.id)))
