"""``cmmd.gateway.link.tls``: real TLS to servers with the right certificate, and with wrong ones."""

import socket
from random import Random
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import CancelledError
from twisted.internet.endpoints import TCP4ServerEndpoint, serverFromString
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from cmmd.gateway.link import tls
from cmmd.gateway.link.address import Address, EndpointFactory, tcp_endpoints
from cmmd.gateway.link.link import Link
from cmmd.gateway.link.tls import TLSRefused, expected_name, tls_endpoints
from cmmd.server.sockets import socket_of
from cmmd.tls.files import TLSFiles, client_options
from tests.control_world import Authority, folder, until
from tests.scripted_server import ScriptedSource

reactor: Any = _reactor

LOGIN = Address("cmm.example", 21318)


class _Listening(Protocol):
    """What a server hears."""

    def __init__(self, server: "_Server") -> None:
        self._server = server

    def dataReceived(self, data: bytes) -> None:
        self._server.heard += data
        self._server.transport = self.transport

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._server.lost += 1


class _Server(Factory):
    """Whatever listens there.

    :ivar heard: all that was said to it.
    :ivar lost: connections that came and went.
    :ivar transport: by which it heard last.
    """

    noisy = False

    def __init__(self) -> None:
        self.heard = b""
        self.lost = 0
        self.transport: Any = None

    def buildProtocol(self, addr: object) -> _Listening:
        return _Listening(self)


class NameTests(SynchronousTestCase):
    """What a certificate has to be for."""

    def test_names(self) -> None:
        for address, configured, expected in (
            (LOGIN, "", "cmm.example"),
            (Address("live.example", 1), "", "live.example"),
            (Address("192.0.2.1", 1), "", "cmm.example"),
            (Address("2001:db8::1", 1), "", "cmm.example"),
            (Address("192.0.2.1", 1), "other.example", "other.example"),
            (LOGIN, "other.example", "other.example"),
        ):
            self.assertEqual(expected_name(address, login=LOGIN, configured=configured), expected)
        by_address = Address("192.0.2.9", 1)
        self.assertEqual(expected_name(by_address, login=by_address, configured=""), "192.0.2.9")


class TLSTests(TestCase):
    timeout = 180

    def setUp(self) -> None:
        self.folder = folder(self)
        self.ours, self.foreign = Authority(self.folder), Authority(self.folder, "foreign")
        self.server = _Server()
        self.clock = Clock()

    async def listen(self, files: TLSFiles | None) -> Address:
        """Listen with a certificate; None: without TLS."""
        if files is None:
            endpoint: Any = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        else:
            string = f"ssl:0:interface=127.0.0.1:privateKey={files.key}:certKey={files.certificate}"
            endpoint = serverFromString(reactor, string)
        port = await endpoint.listen(self.server)
        self.addCleanup(port.stopListening)
        return Address("127.0.0.1", port.getHost().port)

    def endpoints(self, login: Address, name: str) -> EndpointFactory:
        ca = self.ours.certificate
        return tls_endpoints(
            tcp_endpoints(reactor), lambda to: client_options(to, ca, None), login=login, name=name, clock=self.clock
        )

    def link(self, login: Address, name: str = "localhost") -> Link:
        link = Link(ScriptedSource(), login, clock=reactor, endpoints=self.endpoints(login, name), random=Random(1))
        self.addCleanup(link.stopService)
        return link

    async def assert_let_in(self, files: TLSFiles, name: str) -> None:
        login = await self.listen(files)
        self.link(login, name).startService()
        await until(lambda: b'"password"' in self.server.heard)

    async def assert_refused(self, files: TLSFiles | None, why: str, name: str = "localhost") -> None:
        """One line in the log says why, and the server hears nothing that it could read."""
        login = await self.listen(files)
        with capturedLogs() as captured:
            link = self.link(login, name)
            link.startService()
            await until(lambda: link.counters.failures)
            await until(lambda: files is None or self.server.lost)
        self.assertIn(why, str([event.get("reason") for event in captured]))
        self.assertNotIn(b"password", self.server.heard)
        if files is not None:
            self.assertEqual(self.server.heard, b"")

    # --- whom we speak to ---------------------------------------------------------------------------------------------

    async def test_right_name(self) -> None:
        await self.assert_let_in(self.ours.issue("server", host="localhost"), "localhost")

    async def test_what_the_kernel_holds_is_seen_with_tls_too(self) -> None:
        """Else an order that nobody has read would be taken for one that has left."""
        await self.assert_let_in(self.ours.issue("server", host="localhost"), "localhost")
        self.assertIsInstance(socket_of(self.server.transport), socket.socket)

    async def test_right_address(self) -> None:
        await self.assert_let_in(self.ours.issue("server", host="127.0.0.1"), "")

    async def test_own_certificate_is_shown(self) -> None:
        from twisted.protocols.tls import TLSMemoryBIOFactory

        from cmmd.tls.server import ServerTLS

        known = ServerTLS(self.ours.issue("server", host="localhost"))
        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        port: Any = await endpoint.listen(TLSMemoryBIOFactory(known, False, self.server))
        self.addCleanup(port.stopListening)
        files, login = self.ours.issue("gateway"), Address("127.0.0.1", port.getHost().port)
        endpoints = tls_endpoints(
            tcp_endpoints(reactor),
            lambda to: client_options(to, files.ca, files),
            login=login,
            name="localhost",
            clock=self.clock,
        )
        link = Link(ScriptedSource(), login, clock=reactor, endpoints=endpoints, random=Random(1))
        self.addCleanup(link.stopService)
        link.startService()
        await until(lambda: b'"password"' in self.server.heard)

    # --- and whom not -------------------------------------------------------------------------------------------------

    async def test_wrong_name(self) -> None:
        await self.assert_refused(
            self.ours.issue("server", host="elsewhere.example"), "not for the name that was requested (localhost was"
        )

    async def test_wrong_address(self) -> None:
        await self.assert_refused(self.ours.issue("server", host="127.0.0.2"), "(127.0.0.1 was expected)", name="")

    async def test_foreign_ca(self) -> None:
        await self.assert_refused(self.foreign.issue("server", host="localhost"), "certificate verify failed")

    async def test_expired(self) -> None:
        await self.assert_refused(self.ours.issue("server", host="localhost", days=-1), "certificate verify failed")

    async def test_no_tls_there(self) -> None:
        login = await self.listen(None)
        connecting = self.endpoints(login, "localhost")(login).connect(_Server())
        await until(lambda: self.server.heard)  # our hello, which says nothing
        self.clock.advance(tls.HANDSHAKE_S + 1)
        error = await self.assertFailure(connecting, TLSRefused)
        self.assertIn("does that port speak it?", str(error))
        await until(lambda: self.server.lost)

    async def test_given_up_meanwhile(self) -> None:
        login = await self.listen(None)
        connecting = self.endpoints(login, "localhost")(login).connect(_Server())
        await until(lambda: self.server.heard)
        connecting.cancel()
        await self.assertFailure(connecting, CancelledError)
        await until(lambda: self.server.lost)

    async def test_file_that_is_gone_meanwhile(self) -> None:
        login = await self.listen(self.ours.issue("server", host="localhost"))
        link = self.link(login)
        self.ours.certificate.unlink()
        with capturedLogs() as captured:
            link.startService()
            await until(lambda: link.counters.failures)
        self.assertIn("ca.pem: No such file", str([event.get("reason") for event in captured]))
