"""A fleet with its web in memory, and a client that speaks plain HTTP to it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct
from twisted.internet.address import IPv4Address
from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.roles import ROLES, Role
from cmmd.store.interface import IStore
from cmmd.web.service import Web
from tests.control_world import ControlWorld
from tests.transports import MemoryTransport
from tests.world import CATALOG

__all__ = ["HOST", "Answered", "Client", "WebTestCase", "WebWorld"]

HOST = "gensets.example:21380"


class Answered(Struct):
    """An answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """Of a problem, which this has to be."""
        assert self.headers["content-type"] == "application/problem+json", self
        problem = self.json
        assert problem["status"] == self.status, problem
        code: str = problem["code"]
        return code


class Served(Protocol):
    """What has a web."""

    @property
    def web(self) -> Web: ...


class Client:
    """One connection to the web."""

    def __init__(self, world: Served, peer: str = "192.0.2.7") -> None:
        self._world = world
        self.transport = MemoryTransport(peer=peer, host=IPv4Address("TCP", "127.0.0.1", 21380))
        self.protocol = world.web.site.buildProtocol(IPv4Address("TCP", peer, 40000))
        self.refused = self.protocol is None
        if not self.refused:
            self.transport.protocol = self.protocol
            self.protocol.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        self.protocol.dataReceived(data)

    def request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> None:
        """Send a request; values that are empty are left out."""
        sent = {"Host": HOST, **(headers or {})}
        if body is not None:
            sent.setdefault("Content-Length", str(len(body)))
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items() if value)]
        self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b""))

    def pause(self) -> None:
        """Read no more."""
        assert self.transport.producer is not None
        self.transport.producer.pauseProducing()

    def resume(self) -> None:
        """Read again."""
        assert self.transport.producer is not None
        self.transport.producer.resumeProducing()

    @property
    def received(self) -> bytes:
        whole: bytes = self.transport.value()
        return whole

    def answer(self, head: bool = False) -> Answered | None:
        """What was answered, as soon as it is whole, and then no more; None: it is not."""
        whole = self.received
        text, found, rest = whole.partition(b"\r\n\r\n")
        if not found:
            return None
        first, *lines = text.decode("latin-1").split("\r\n")
        status = int(first.split()[1])
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        if head or status in (204, 304):
            body = b""
        elif headers.get("transfer-encoding") == "chunked":
            body, ended = _unchunked(rest)
            if not ended:
                return None
            rest = b""
        else:
            length = int(headers["content-length"])
            if len(rest) < length:
                return None
            body, rest = rest[:length], rest[length:]
        self.transport.clear()
        self.transport.write(rest)
        return Answered(status, headers, body)

    def stream(self) -> bytes:
        """What a stream has said so far."""
        _, _, rest = self.received.partition(b"\r\n\r\n")
        return _unchunked(rest)[0]


def _unchunked(text: bytes) -> tuple[bytes, bool]:
    parts: list[bytes] = []
    while True:
        length, found, text = text.partition(b"\r\n")
        if not found:
            return b"".join(parts), False
        size = int(length, 16)
        if not size:
            return b"".join(parts), True
        parts.append(text[:size])
        text = text[size + 2 :]


class WebWorld(ControlWorld):
    """A fleet with its web.

    :param state: the directory with the tokens.
    """

    def __init__(self, state: Path, *, store: IStore | None = None, max_devices: int = 100, **named: Any) -> None:
        super().__init__(store=store, max_devices=max_devices, **named)
        state.mkdir(parents=True, exist_ok=True)
        self.web = Web([], self.operations, catalog=CATALOG, state=state, now=self.clock.seconds, reactor=self.clock)
        self.tokens = self.web.access.tokens

    def ask(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        body: object = None,
        peer: str = "192.0.2.7",
        **headers: str,
    ) -> Answered:
        """Ask, and wait as long as it takes no time.

        :param headers: with ``_`` for ``-``. :param body: becomes JSON, unless it is bytes.
        """
        client = self.begin(method, path, token=token, body=body, peer=peer, **headers)
        answer = self.settle(client, head=method == "HEAD")
        assert answer is not None, client.received
        return answer

    def begin(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        body: object = None,
        peer: str = "192.0.2.7",
        **headers: str,
    ) -> Client:
        """The same, and do not wait."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        text: bytes | None = None
        if body is not None:
            text = body if isinstance(body, bytes) else json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        client = Client(self, peer)
        client.request(method, path, sent, text)
        return client

    def settle(self, client: Client, head: bool = False) -> Answered | None:
        """Let what is due happen, without time passing but what writing takes."""
        for _ in range(100):
            answer = client.answer(head)
            if answer is not None:
                return answer
            self.clock.advance(0)
        self.world.write_batch()
        return client.answer(head)


class WebTestCase(SynchronousTestCase):
    """Has a web with one device that is online, and a token of each role.

    :ivar tokens: by role.
    """

    def setUp(self) -> None:
        self.state = Path(self.mktemp())
        self.world = WebWorld(self.state)
        self.world.online()
        self.clock = self.world.clock
        self.tokens: dict[Role, str] = {role: self.world.tokens.add(role, role) for role in ROLES}

    def get(self, path: str, role: Role = "viewer", **headers: str) -> Answered:
        return self.world.ask("GET", f"/api/v1{path}", token=self.tokens[role], **headers)

    def ask(self, method: str, path: str, body: object = None, role: Role = "admin", **headers: str) -> Answered:
        return self.world.ask(method, f"/api/v1{path}", token=self.tokens[role], body=body, **headers)
