"""A server made of memory, for the device's side: accepts, records and answers as docs/protocol.md says, or as told."""

import json
from collections.abc import Callable
from typing import Any

from twisted.internet import error
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.internet.task import Clock
from zope.interface import implementer

from cmmd.gateway.link.address import Address
from cmmd.gateway.link.source import NO_INPUTS, InputStates, Precondition, unopposed
from cmmd.wire.messages import ChangeParams, LoginParams
from tests.transports import MemoryTransport

PLAN = "01010000005ABC31;01030000002D85D7;0103002E000AA5C4"
LOGIN_SERVER = Address("login.example", 21318)
LIVE_SERVER = Address("live.example", 21319)
HOSTID = "3439333633355115004B003D"

LOGIN_ANSWER: dict[str, Any] = {
    "method": "login",
    "result": {
        "register": 1,
        "historic": str(LIVE_SERVER),
        "liveData": str(LIVE_SERVER),
        "realTime": "1700872746",
        "para_command": PLAN,
        "con_command": PLAN,
        "online_rate": 3000,
        "offline_rate": 3000,
        "moduletype": "HGM6120N",
        "data_mode": 1,
        "modulePort": 2,
        "moduleBaud": 0,
    },
    "retcode": "000000",
}
UPLOAD_ANSWER = {"method": "reqdata", "message": "OK", "retcode": "000000"}
TIMING_ANSWER = {"message": "ok", "retcode": "000000", "method": "timing", "result": "1497811080077"}
RESET = {"message": "ok", "retcode": "000000", "method": "reset"}

Reply = dict[str, Any] | bytes | None


def login_answer(**result: Any) -> dict[str, Any]:
    """The usual answer to a login, with some members of ``result`` changed."""
    return {**LOGIN_ANSWER, "result": {**LOGIN_ANSWER["result"], **result}}


def refusal(method: str, retcode: str) -> dict[str, Any]:
    return {"method": method, "message": "no", "retcode": retcode}


def run(clock: Clock, seconds: float) -> None:
    """Let time pass call by call, so that nothing that is due in it is late."""
    end = clock.seconds() + seconds
    while clock.calls and clock.calls[0].getTime() <= end:  # it keeps them in their order
        clock.advance(max(clock.calls[0].getTime() - clock.seconds(), 0))
    clock.advance(max(end - clock.seconds(), 0))


class Accepted(MemoryTransport):
    """One connection, seen from the server.

    :ivar received: every message, one a write.
    """

    def __init__(self, server: "ScriptedServer", address: Address) -> None:
        super().__init__()
        self.server = server
        self.address = address
        self.received: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.stuck = False  # unsent data does not leave: an orderly close has to wait

    @property
    def methods(self) -> list[str]:
        return [message["method"] for message in self.received]

    def of(self, method: str) -> list[dict[str, Any]]:
        return [message for message in self.received if message["method"] == method]

    def times_of(self, method: str) -> list[float]:
        return [time for time, message in zip(self.times, self.received, strict=True) if message["method"] == method]

    def write(self, data: bytes) -> None:
        message = json.loads(data)  # one write, one message
        self.received.append(message)
        self.times.append(self.server.clock.seconds())
        reply = self.server.reply(self, message)
        if reply is not None:
            self.server.clock.callLater(self.server.latency, self.send, reply)

    def send(self, message: dict[str, Any] | bytes) -> None:
        if not self.lost:
            self.protocol.dataReceived(message if isinstance(message, bytes) else json.dumps(message).encode())

    @property
    def gone(self) -> bool:
        """Whether the gateway has been told of the end."""
        return self.lost

    def closing(self, why: Exception) -> None:
        if not self.stuck or self.aborted:
            self.server.clock.callLater(0, self.lose, why)


class ScriptedServer:
    """Every address leads here.

    :ivar replies: method -> what to answer, or what to call for it; None: nothing.
    :ivar accepting: whether connections are taken, refused, or left waiting.
    :ivar latency: seconds to an answer.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.accepting: bool | None = True
        self.latency = 0.01
        self.attempts: list[tuple[float, Address]] = []
        self.connections: list[Accepted] = []
        self.cancelled = 0
        self.replies: dict[str, Reply | Callable[[Accepted], Reply]] = {
            "login": LOGIN_ANSWER,
            "LongCon": {"method": "LongCon", "message": "OK", "retcode": "000000"},
            "HB": {"method": "HB", "message": "OK", "retcode": "000000"},
            "reqdata": UPLOAD_ANSWER,
            "reqdatachange": UPLOAD_ANSWER,
            "timing": TIMING_ANSWER,
        }

    def endpoint(self, address: Address) -> IStreamClientEndpoint:
        return _Endpoint(self, address)

    def reply(self, connection: Accepted, message: dict[str, Any]) -> Reply:
        reply = self.replies.get(message["method"])
        return reply(connection) if callable(reply) else reply

    @property
    def last(self) -> Accepted:
        return self.connections[-1]

    def all_gone(self) -> bool:
        return all(connection.lost for connection in self.connections)

    def accept(self, address: Address, factory: IProtocolFactory) -> "Deferred[IProtocol]":
        self.attempts.append((self.clock.seconds(), address))
        answer: Deferred[IProtocol] = Deferred(self._cancel)
        if self.accepting:
            transport = Accepted(self, address)
            self.connections.append(transport)
            client = factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", address.port))
            assert client is not None
            transport.protocol = client
            client.makeConnection(transport)
            answer.callback(client)
        elif self.accepting is False:
            answer.errback(error.ConnectionRefusedError())
        return answer

    def _cancel(self, _: object) -> None:
        self.cancelled += 1


@implementer(IStreamClientEndpoint)
class _Endpoint:
    def __init__(self, server: ScriptedServer, address: Address) -> None:
        self._server = server
        self._address = address

    def connect(self, protocolFactory: IProtocolFactory) -> "Deferred[IProtocol]":  # noqa: N803 - Twisted's name
        return self._server.accept(self._address, protocolFactory)


class ScriptedSource:
    """A source that records what it is asked and gives what it is told.

    :ivar changes: what the next change uploads are; then there are no changes.
    :ivar obey: decides about a write. :ivar stops: frames that are the stop command.
    """

    def __init__(self) -> None:
        self.followed: list[tuple[str, int]] = []
        self.written: list[str] = []
        self.ports: list[tuple[int | None, int | None]] = []
        self.changes: list[ChangeParams | None] = []
        self.full = "01030200017984"
        self.input_states = NO_INPUTS
        self.obey: Callable[[str], bool | Deferred[bool]] = lambda frame: False
        self.stops: set[str] = set()
        self.port_works = False
        self.wires: tuple[int, int | None] = (2, 0)

    def identity(self) -> LoginParams:
        port, baud = self.wires
        return LoginParams(
            hostid=HOSTID, hostname="Test", password="123456", moduletype="HGM6120N", modulePort=port, moduleBaud=baud
        )

    def follow(self, plan: str, data_mode: int) -> None:
        self.followed.append((plan, data_mode))

    async def full_upload(self) -> str:
        return self.full

    async def change_upload(self) -> ChangeParams | None:
        return self.changes.pop(0) if self.changes else None

    def reading(self) -> str:
        return self.full

    def inputs(self) -> InputStates:
        return self.input_states

    async def write(self, frame: str, veto: Precondition = unopposed) -> bool:
        if veto() is not None:
            return False
        self.written.append(frame)
        done = self.obey(frame)
        return await done if isinstance(done, Deferred) else done

    def is_stop(self, frame: str) -> bool:
        return frame in self.stops

    async def stop(self, frame: str, waits_s: float) -> bool:
        assert self.is_stop(frame)
        return await self.write(frame)

    async def set_port(self, module_port: int | None, module_baud: int | None, veto: Precondition = unopposed) -> bool:
        if veto() is not None:
            return False
        self.ports.append((module_port, module_baud))
        if self.port_works:
            port, baud = self.wires
            self.wires = (port if module_port is None else module_port, baud if module_baud is None else module_baud)
        return self.port_works
