"""A plain HTTP client for tests, which decodes nothing."""

from dataclasses import dataclass

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.web.client import Agent, HTTPConnectionPool, readBody
from twisted.web.http_headers import Headers

__all__ = ["Answer", "get"]


@dataclass(frozen=True)
class Answer:
    """What came: the headers by name in small letters."""

    code: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8")


def get(url: str, *, method: str = "GET", **headers: str) -> "Deferred[Answer]":
    """Ask.

    :param headers: with underscores for hyphens.
    """
    return Deferred.fromCoroutine(_get(url, method, headers))


async def _get(url: str, method: str, headers: dict[str, str]) -> Answer:
    named = Headers({name.replace("_", "-"): [value] for name, value in headers.items()})
    agent = Agent(reactor, pool=HTTPConnectionPool(reactor, persistent=False))
    response = await agent.request(method.encode("ascii"), url.encode("ascii"), named)
    body: bytes = await readBody(response)
    came = {name.decode().lower(): b", ".join(values).decode() for name, values in response.headers.getAllRawHeaders()}
    return Answer(response.code, came, body)
