"""Listeners: one port for each endpoint, bounds, an orderly end."""

import json
import socket
from typing import Any, cast

from msgspec.structs import replace
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint, serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from cmmd.server.login import Advertised
from cmmd.server.session import Session
from cmmd.server.sessions import Role, Sessions, roles_by_endpoint
from cmmd.wire.errors import Reason
from cmmd.wire.messages import Login, encode
from tests.transports import SegmentTransport
from tests.world import HOSTID, World, login_params

ALL = frozenset(Role)


class RolesTests(SynchronousTestCase):
    def test_same_string_is_one_port(self) -> None:
        roles = roles_by_endpoint({Role.LOGIN: ["tcp:1"], Role.LIVE: ["tcp:1", "tcp:2"], Role.HISTORIC: ["tcp:3"]})
        self.assertEqual(
            roles,
            {"tcp:1": {Role.LOGIN, Role.LIVE}, "tcp:2": {Role.LIVE}, "tcp:3": {Role.HISTORIC}},
        )


class SessionsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.advertised = Advertised()
        self.sessions = Sessions(self.world.around, self.advertised, 3)
        self.reactor = MemoryReactorClock()

    def listen(self, *listeners: tuple[str, frozenset[Role]]) -> None:
        endpoints = [(serverFromString(self.reactor, string), roles) for string, roles in listeners]
        self.successResultOf(Deferred.fromCoroutine(self.sessions.listen(endpoints)))

    def come(self, port: int = 0) -> SegmentTransport | None:
        factory = self.reactor.tcpServers[port][1]
        protocol = cast("Protocol | None", factory.buildProtocol(cast("Any", None)))
        if protocol is None:
            return None
        transport = SegmentTransport(protocol)
        transport.connect()
        return transport

    def test_roles(self) -> None:
        self.listen(
            ("tcp:1", frozenset({Role.LOGIN})), ("tcp:2", frozenset({Role.LIVE})), ("tcp:3", frozenset({Role.HISTORIC}))
        )
        self.assertEqual([server[0] for server in self.reactor.tcpServers], [1, 2, 3])
        self.assertEqual((self.advertised.live_port, self.advertised.historic_port), (2, 3))
        self.assertEqual(self.advertised.live("h", 1), "h:2")
        self.assertEqual(self.advertised.historic("h", 1), "h:3")
        sessions = [cast("Any", self.come(port)).protocol for port in range(3)]
        self.assertEqual([session.carries_commands for session in sessions], [True, True, False])
        for session in sessions:
            session.transport.hang_up()

    def test_first_port_of_a_role_is_advertised(self) -> None:
        self.listen(("tcp:1", ALL), ("tcp:2", ALL))
        self.assertEqual((self.advertised.live_port, self.advertised.historic_port), (1, 1))

    def test_too_many_connections(self) -> None:
        self.listen(("tcp:1", ALL))
        transports = [self.come() for _ in range(4)]
        self.assertEqual([transport is None for transport in transports], [False, False, False, True])
        self.assertEqual(self.world.tally.peer_errors, {Reason.TOO_MANY_CONNECTIONS: 1})
        cast("SegmentTransport", transports[0]).hang_up()
        self.assertEqual(len(self.sessions), 2)
        self.assertIsNotNone(self.come())

    def test_stop_waits_for_every_connection(self) -> None:
        self.listen(("tcp:1", ALL))
        transports = [cast("SegmentTransport", self.come()) for _ in range(3)]
        for transport in transports:
            transport.deliver(b"{}")
            transport.turns()
        stopping = Deferred.fromCoroutine(self.sessions.stop())
        self.assertEqual([transport.write_closed for transport in transports], [True] * 3)
        self.assertIsNone(self.come())
        for transport in transports:
            self.assertNoResult(stopping)
            transport.hang_up()
        self.successResultOf(stopping)

    def test_stop_with_nobody_there(self) -> None:
        self.listen(("tcp:1", ALL))
        self.successResultOf(Deferred.fromCoroutine(self.sessions.stop()))

    def test_listener_that_is_no_tcp_port(self) -> None:
        self.listen((f"unix:{self.mktemp()}", ALL))
        self.assertIsNone(self.advertised.live_port)


class SocketTests(TestCase):
    """The same with real sockets."""

    async def test_address_in_use(self) -> None:
        sessions = Sessions(World().around, Advertised(), 10)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            free = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
            used = TCP4ServerEndpoint(reactor, taken.getsockname()[1], interface="127.0.0.1")
            listening = Deferred.fromCoroutine(sessions.listen([(free, ALL), (used, ALL)]))
            await self.assertFailure(listening, CannotListenError)
        self.assertEqual(sessions._ports, [])

    async def test_login_over_ipv6(self) -> None:
        world = World()
        around = replace(world.around, clock=cast("IReactorTime", reactor))
        sessions = Sessions(around, Advertised(), 10)
        await sessions.listen([(serverFromString(reactor, "tcp6:0:interface=\\:\\:1"), ALL)])
        port = cast("Any", sessions._ports[0].getHost()).port

        def talk() -> dict[str, Any]:
            with socket.create_connection(("::1", port), timeout=10) as connection:
                connection.sendall(encode(Login(params=login_params())))
                received = b""
                while piece := connection.recv(4096):
                    received += piece
                answer: dict[str, Any] = json.loads(received)
                return answer

        answer = await deferToThread(talk)
        self.assertEqual(answer["result"]["liveData"], f"[::1]:{port}")
        self.assertIsNotNone(world.registry.device(HOSTID))
        await sessions.stop()

    def test_unix_peers_have_no_host(self) -> None:
        world = World()
        transport = SegmentTransport(Session(world.around, carries_commands=True))
        transport.peerAddr = object()
        transport.connect()
        self.assertEqual(cast("Session", transport.protocol).peer, "")
        transport.hang_up()
