"""An origin without sockets: each request gets the next answer of its list."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from vary_proxy.core.message import Fields, Request, Response
from vary_proxy.origin import Interim, Naming, OriginFailure


class Answer:
    """A response whose body breaks off behind *body* when *length* promises more."""

    close_delimited = False

    def __init__(
        self,
        status: int,
        body: bytes,
        fields: Iterable[tuple[bytes, bytes]] = (),
        length: int | None = -1,
    ) -> None:
        self.head = Response(status, Fields(tuple(fields)))
        self.length = len(body) if length == -1 else length
        self.body = body
        self.closed = False

    async def chunks(self) -> AsyncIterator[bytes]:
        for at in range(0, len(self.body), 3):
            yield self.body[at : at + 3]
        if self.length is not None and len(self.body) < self.length:
            raise OriginFailure("http_response_incomplete", "cut", sent=True)

    async def close(self) -> None:
        self.closed = True


def refused(error: str = "connection_refused") -> OriginFailure:
    return OriginFailure(error, sent=error != "connection_refused")


class Scripted:
    """The last answer is given again and again. ``asked`` are the requests that came."""

    def __init__(self, *answers: Answer | OriginFailure, name: bytes = b"a.example") -> None:
        self.answers = list(answers)
        self.asked: list[Request] = []
        self.in_use = 0
        self.naming = Naming(name, b"http", b"", name)

    async def fetch(
        self,
        request: Request,
        body: AsyncIterator[bytes] | None = None,
        on_interim: Interim | None = None,
    ) -> Answer:
        self.asked.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, OriginFailure):
            raise answer
        return answer

    async def close(self) -> None:
        pass
