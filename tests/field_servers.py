"""Three servers that are not cmmd, in memory: each does what public servers in service do (protocol section 4.10).

They use json alone. What comes within :data:`RECV_S` is one receive to them, as on a machine that is busy: they parse
one object from it, and where it holds more, they cannot and take none.
"""

import json
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from zope.interface import implementer

from cmmd.gateway.link.address import Address
from tests.transports import MemoryTransport

__all__ = ["RECV_S", "AcknowledgingServer", "FieldServer", "ParsesOneServer", "SilentClockServer"]

RECV_S = 0.1
PLAN = "01010000005ABC31;01030000002D85D7;0103002E000AA5C4"


class _Connection(MemoryTransport):
    """One connection, seen from the server."""

    def __init__(self, server: "FieldServer") -> None:
        super().__init__()
        self.server = server
        self.arrived = b""

    def write(self, data: bytes) -> None:
        if not self.arrived:
            self.server.clock.callLater(RECV_S, self._receive)
        self.arrived += data

    def _receive(self) -> None:
        received, self.arrived = self.arrived, b""
        if self.lost:
            return
        try:
            message = json.loads(received)
        except ValueError:
            self.server.lost_receives.append(received)
        else:
            self.server.receive(self, message)

    def push(self, data: bytes) -> None:
        """Send bytes to the device."""
        if not self.lost:
            self.protocol.dataReceived(data)

    def closing(self, why: Exception) -> None:
        self.server.clock.callLater(0, self.lose, why)


class FieldServer:
    """What the three have in common: one port for everything, and the paper's answers.

    :ivar received: all messages, in order. :ivar long: long connections, newest last.
    :ivar lost_receives: receives that were not one object.
    """

    data_mode = 1
    rate: Any = 3000

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.received: list[dict[str, Any]] = []
        self.long: list[_Connection] = []
        self.lost_receives: list[bytes] = []

    def endpoint(self, address: Address) -> IStreamClientEndpoint:
        return _Endpoint(self)

    def connect(self, factory: IProtocolFactory) -> "Deferred[IProtocol]":
        transport = _Connection(self)
        client = factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 21318))
        assert client is not None
        transport.protocol = client
        client.makeConnection(transport)
        return succeed(client)

    def receive(self, connection: _Connection, message: dict[str, Any]) -> None:
        self.received.append(message)
        if message["method"] == "LongCon":
            self.long.append(connection)
        answer = self.answer(message)
        if answer is not None:
            self.send(connection, answer)

    def send(self, connection: _Connection, answer: object) -> None:
        connection.push(json.dumps(answer).encode())

    def order(self, frame: str, uid: str) -> None:
        """Order a write on the newest long connection."""
        self.send(self.long[-1], {"result": frame, "datatype": 1, "uid": uid, "method": "writeConfig"})

    def of(self, method: str) -> list[dict[str, Any]]:
        return [message for message in self.received if message["method"] == method]

    def answer(self, message: dict[str, Any]) -> object:
        """What is answered; None: nothing."""
        method = message["method"]
        if method == "login":
            return {"method": "login", "result": self.login_result(), "retcode": "000000"}
        if method == "timing":
            time = str(int(self.clock.seconds() * 1000))
            return {"message": "ok", "retcode": "000000", "method": "timing", "result": time}
        if method == "writeConfig":
            return None
        return {"method": method.removesuffix("change"), "message": "OK", "retcode": "000000"}

    def login_result(self) -> dict[str, Any]:
        return {
            "register": 1,
            "historic": "server.example:21318",
            "liveData": "server.example:21318",
            "realTime": "UTC",
            "para_command": PLAN,
            "con_command": PLAN,
            "online_rate": self.rate,
            "offline_rate": self.rate,
            "moduletype": "HGM6120N",
            "data_mode": self.data_mode,
            "modulePort": 2,
            "moduleBaud": 0,
        }


class ParsesOneServer(FieldServer):
    """Parses one object a receive, and leaves ``datatype`` out of its orders; its uids are long."""

    def order(self, frame: str, uid: str) -> None:
        self.send(self.long[-1], {"method": "writeConfig", "result": frame, "uid": uid})


class SilentClockServer(FieldServer):
    """Never answers ``timing``; has blanks around what it answers, and means seconds with its rates."""

    data_mode = 0
    rate = 5

    def answer(self, message: dict[str, Any]) -> object:
        answer = super().answer(message)
        if message["method"] == "timing":
            return None
        if isinstance(answer, dict) and "message" in answer:
            return {**answer, "method": answer["method"] + " ", "message": "OK ", "retcode": " 000000\n"}
        return answer

    def login_result(self) -> dict[str, Any]:
        return {**super().login_result(), "realTime": int(self.clock.seconds() * 1000)}


class AcknowledgingServer(FieldServer):
    """Acknowledges answers to orders, in several ways in turn; encodes its login answer twice; has no time.

    It joins each of its messages with the beginning of the next one, as a relay with a buffer does.
    """

    rate = 15

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.acknowledged = 0
        self._orders: dict[str, dict[str, Any]] = {}
        self._rest = b""

    def order(self, frame: str, uid: str) -> None:
        self._orders[uid] = {"result": frame, "datatype": 1, "uid": uid, "method": "writeConfig"}
        self.send(self.long[-1], self._orders[uid])

    def answer(self, message: dict[str, Any]) -> object:
        answer = super().answer(message)
        if message["method"] == "login":
            return json.dumps(answer)
        if message["method"] == "timing":
            return {"method": "timing", "message": "OK", "retcode": "000000"}
        if message["method"] == "writeConfig":
            self.acknowledged += 1
            plain = {"method": "writeConfig", "message": "OK", "retcode": "000000"}
            order = self._orders[message["uid"]]
            sent_back = {"method": "writeConfig", "result": message["params"], "datatype": 1, "uid": message["uid"]}
            return (plain, {**plain, "uid": message["uid"]}, {**order, **plain}, sent_back)[self.acknowledged % 4]
        return answer

    def send(self, connection: _Connection, answer: object) -> None:
        rest, whole = self._rest, json.dumps(answer).encode()
        middle = len(whole) // 2
        self._rest = whole[middle:]
        connection.push(rest + whole[:middle])
        self.clock.callLater(0.03, self._send_rest, connection)

    def _send_rest(self, connection: _Connection) -> None:
        rest, self._rest = self._rest, b""
        connection.push(rest)


@implementer(IStreamClientEndpoint)
class _Endpoint:
    def __init__(self, server: FieldServer) -> None:
        self._server = server

    def connect(self, protocolFactory: IProtocolFactory) -> "Deferred[IProtocol]":  # noqa: N803 - Twisted's name
        return self._server.connect(protocolFactory)
