"""Listeners: one port for each endpoint, bounds, an orderly end."""

import json
import socket
from typing import Any, cast

from msgspec.structs import replace
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint, serverFromString
from twisted.internet.interfaces import IReactorTime, ISSLTransport
from twisted.internet.protocol import Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import directlyProvides

from cmmd.server.listeners import DeviceListeners, Listener, ListenError, Role, roles_by_endpoint
from cmmd.server.session import Session
from cmmd.wire.errors import Reason
from cmmd.wire.messages import Login, LongCon, encode
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
        self.sessions = DeviceListeners(self.world.around, 4)
        self.reactor = MemoryReactorClock()

    def listen(self, *listeners: tuple[str, frozenset[Role]]) -> None:
        places = [Listener(string, serverFromString(self.reactor, string), roles) for string, roles in listeners]
        self.successResultOf(Deferred.fromCoroutine(self.sessions.listen(places)))

    def come(self, port: int = 0) -> SegmentTransport:
        factory = self.reactor.tcpServers[port][1]
        address = IPv4Address("TCP", "192.0.2.7", 4000)
        transport = SegmentTransport(cast("Protocol", factory.buildProtocol(address)))
        transport.connect()
        return transport

    def test_roles(self) -> None:
        self.listen(
            ("tcp:1", frozenset({Role.LOGIN})), ("tcp:2", frozenset({Role.LIVE})), ("tcp:3", frozenset({Role.HISTORIC}))
        )
        self.assertEqual([server[0] for server in self.reactor.tcpServers], [1, 2, 3])
        self.assertEqual([self.sessions.tcp_port(f"tcp:{port}") for port in (1, 2, 3)], [1, 2, 3])
        sessions = [cast("Any", self.come(port)).protocol for port in range(3)]
        self.assertEqual([session.carries_commands for session in sessions], [True, True, False])
        for session in sessions:
            session.transport.hang_up()

    def test_connections_by_what_they_are_used_for(self) -> None:
        self.world.register()
        self.listen(("tcp:1", ALL), ("tcp:2", frozenset({Role.HISTORIC})))
        self.assertEqual(self.sessions.by_role(), {"login": 0, "live": 0, "historic": 0})
        self.come()
        for port in (0, 1, 1):
            self.come(port).deliver(encode(LongCon(hostid=HOSTID)))
        self.assertEqual(self.sessions.by_role(), {"login": 1, "live": 1, "historic": 2})

    def test_too_many_connections(self) -> None:
        self.listen(("tcp:1", ALL))
        transports = [self.come() for _ in range(5)]
        self.assertEqual([transport.lost for transport in transports], [False, False, False, False, True])
        self.assertEqual(self.world.counters.peer_errors, {Reason.TOO_MANY_CONNECTIONS: 1})
        transports[0].hang_up()
        self.assertEqual(len(self.sessions), 3)
        self.assertFalse(self.come().lost)

    def test_too_many_connections_with_tls(self) -> None:
        self.listen(("tcp:1", ALL))
        for _ in range(4):
            self.come()
        unwanted = self.come()
        directlyProvides(unwanted, ISSLTransport)
        unwanted.protocol.connectionMade()
        self.assertTrue(unwanted.aborted)

    def test_stop_waits_for_every_connection(self) -> None:
        self.listen(("tcp:1", ALL))
        transports = [self.come() for _ in range(3)]
        for transport in transports:
            transport.deliver(b"{}")
            transport.turns()
        stopping = Deferred.fromCoroutine(self.sessions.stop())
        self.assertEqual([transport.write_closed for transport in transports], [True] * 3)
        self.assertTrue(self.come().lost)
        for transport in transports:
            self.assertNoResult(stopping)
            transport.hang_up()
        self.successResultOf(stopping)

    def test_stop_with_nobody_there(self) -> None:
        self.listen(("tcp:1", ALL))
        self.successResultOf(Deferred.fromCoroutine(self.sessions.stop()))

    def test_a_session_that_cannot_close_holds_nobody_up(self) -> None:
        self.listen(("tcp:1", ALL))
        broken, sound = self.come(), self.come()
        self.patch(broken.protocol, "close", lambda: 1 / 0)
        self.successResultOf(Deferred.fromCoroutine(self.sessions.stop()))
        self.assertTrue(broken.aborted)
        self.assertTrue(sound.lost)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_listener_that_is_no_tcp_port(self) -> None:
        string = f"unix:{self.mktemp()}"
        self.listen((string, ALL))
        self.assertIsNone(self.sessions.tcp_port(string))


class SocketTests(TestCase):
    """The same with real sockets."""

    async def test_address_that_cannot_be_had(self) -> None:
        sessions = DeviceListeners(World().around, 10)
        free = Listener("tcp:0", TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"), ALL)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            for port, said in ((taken.getsockname()[1], "in use"), (70_000, "0-65535"), (-1, "0-65535")):
                used = Listener("tcp:x", TCP4ServerEndpoint(reactor, port, interface="127.0.0.1"), ALL)
                listening: Deferred[Any] = Deferred.fromCoroutine(sessions.listen([free, used]))
                failure = await self.assertFailure(listening, ListenError)
                self.assertTrue(str(failure).startswith("server.historic: tcp:x: "), failure)
                self.assertIn(said, str(failure))
        self.assertEqual(sessions._ports, {})

    async def test_login_over_ipv6(self) -> None:
        world = World()
        around = replace(world.around, clock=cast("IReactorTime", reactor))
        sessions = DeviceListeners(around, 10)
        string = "tcp6:0:interface=\\:\\:1"
        await sessions.listen([Listener(string, serverFromString(reactor, string), ALL)])
        port = sessions.tcp_port(string)
        assert port is not None

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
