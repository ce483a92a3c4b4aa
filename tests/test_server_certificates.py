"""Certificates at the ports of devices: real TLS, and a gateway is only the device that its certificate names."""

import json
from typing import Any

from cryptography.x509.oid import ExtendedKeyUsageOID
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from cmmd.config import ConfigError, DeviceTLS, Server
from cmmd.fleet.late_uploads import HISTORIC_GAP_S
from cmmd.parts import device_listeners
from cmmd.server.listeners import DeviceListeners
from cmmd.store.records import Query
from cmmd.tls.files import TLSFiles, client_options
from cmmd.wire.errors import Reason
from cmmd.wire.messages import Login, LongCon, encode
from tests.control_world import Authority, folder, until
from tests.uploads import STANDBY, full_upload
from tests.world import HOSTID, World, login_params

reactor: Any = _reactor


class Client(Protocol):
    """The other end: what it has heard, and whether it was let go."""

    transport: Any

    def __init__(self) -> None:
        self.heard = b""
        self.lost = False

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = True


class CertificateTestCase(TestCase):
    timeout = 120

    def setUp(self) -> None:
        self.folder = folder(self)
        self.ours, self.foreign = Authority(self.folder), Authority(self.folder, "foreign")
        self.server = self.ours.issue("server", host="localhost")
        self.world = World()
        self.world.register()

    async def listen(self, **tls: Any) -> None:
        string = f"ssl:0:interface=127.0.0.1:privateKey={self.server.key}:certKey={self.server.certificate}"
        settings = Server(
            login=[string],
            live=[string],
            historic=[string],
            tls=DeviceTLS(client_ca=str(self.ours.certificate), **tls),
        )
        self.listeners = DeviceListeners(self.world.around, 100)
        await self.listeners.listen(device_listeners(settings, self.folder, reactor))
        self.port = self.listeners.tcp_port(string)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.end()))

    async def end(self) -> None:
        stopping = Deferred.fromCoroutine(self.listeners.stop())
        while not stopping.called:
            self.world.clock.advance(1)
            await deferLater(reactor, 0)
        await stopping

    async def client(self, shown: TLSFiles | None) -> Client:
        options = client_options("localhost", self.ours.certificate, shown)
        endpoint = wrapClientTLS(options, HostnameEndpoint(reactor, b"127.0.0.1", self.port or 0))
        client: Client = await connectProtocol(endpoint, Client())
        self.addCleanup(lambda: client.lost or client.transport.abortConnection())
        return client

    async def ask(self, client: Client, message: bytes) -> dict[str, Any]:
        client.heard = b""
        client.transport.write(message)
        await until(lambda: client.heard or client.lost)
        return dict(json.loads(client.heard)) if client.heard else {}


class SessionTests(CertificateTestCase):
    async def test_only_the_device_that_it_names(self) -> None:
        await self.listen()
        self.world.register("OTHER")
        for files in (self.ours.issue(HOSTID), self.ours.issue("gateway", host=HOSTID)):
            client = await self.client(files)
            answer = await self.ask(client, encode(LongCon(hostid="OTHER")))
            self.assertEqual(
                (answer["retcode"], answer["message"]), ("000003", "the certificate is not for this hostid")
            )
            client = await self.client(files)
            self.assertEqual((await self.ask(client, encode(LongCon(hostid=HOSTID))))["retcode"], "000000")
        self.assertEqual(self.world.presence.sessions("OTHER"), ())
        self.assertEqual(self.world.counters.peer_errors[Reason.FOREIGN_CERTIFICATE], 2)

    async def test_a_login_of_another_device(self) -> None:
        """Not even with the right password; nor does it register anything."""
        await self.listen()
        files = self.ours.issue("OTHER")
        for hostid in (HOSTID, "NEW", "other"):
            answer = await self.ask(await self.client(files), encode(Login(params=login_params(hostid))))
            self.assertEqual(
                (answer["method"], answer["retcode"], answer["result"]["register"]), ("login", "000003", 0)
            )
        self.assertEqual([one.hostid for one in self.world.registry.devices()], [HOSTID])
        answer = await self.ask(await self.client(files), encode(Login(params=login_params("OTHER"))))
        self.assertEqual(answer["retcode"], "000000")

    async def test_without_a_certificate(self) -> None:
        await self.listen()
        self.assertEqual((await self.ask(await self.client(None), encode(LongCon(hostid=HOSTID))))["retcode"], "000000")

    async def test_history_by_certificate(self) -> None:
        """It says who the device is: the owner need not allow history once more."""
        await self.listen()
        client = await self.client(self.ours.issue(HOSTID))
        await self.ask(client, encode(LongCon(hostid=HOSTID)))
        said = {"method": "reqdata", "params": full_upload(STANDBY).params, "hostid": HOSTID}
        said["itime"] = str(int(self.world.clock.seconds() * 1000) - 60_000)
        client.heard = b""
        client.transport.write(json.dumps(said).encode())
        await until(lambda: self.world.counters.uploads["full"])
        self.world.write_batch()
        self.world.clock.advance(HISTORIC_GAP_S)
        await until(lambda: client.heard)
        self.assertIn(b'"000000"', client.heard)
        (reading,) = await self.world.store.readings(Query(hostid=HOSTID))
        self.assertEqual((reading.reason, reading.source), ("historic", "certificate 127.0.0.1"))

    async def test_certificates_that_let_nothing_in(self) -> None:
        revoked = self.folder / "revoked"
        gone = self.ours.issue("gone")
        revoked.write_bytes(self.ours.revoke(gone))
        await self.listen(revoked=str(revoked))
        server_only = self.ours.issue("server-only", usages=(ExtendedKeyUsageOID.SERVER_AUTH,))
        for files in (self.foreign.issue(HOSTID), self.ours.issue("old", days=-1), server_only, gone):
            client = await self.client(files)
            self.assertEqual(await self.ask(client, encode(LongCon(hostid=HOSTID))), {}, files.certificate)
        self.assertFalse(self.world.presence.online(HOSTID))

    async def test_required(self) -> None:
        await self.listen(required=True)
        self.assertEqual(await self.ask(await self.client(None), encode(LongCon(hostid=HOSTID))), {})
        client = await self.client(self.ours.issue(HOSTID))
        self.assertEqual((await self.ask(client, encode(LongCon(hostid=HOSTID))))["retcode"], "000000")


class ConfiguredTests(SynchronousTestCase):
    def test_what_cannot_be(self) -> None:
        where = folder(self)
        for settings, why in (
            ({"tls": DeviceTLS(required=True)}, "need client_ca"),
            ({"tls": DeviceTLS(revoked="crl.pem")}, "need client_ca"),
            ({"tls": DeviceTLS(client_ca="ca.pem")}, "no endpoint of devices is ssl:"),
        ):
            with self.assertRaisesRegex(ConfigError, why):
                device_listeners(Server(**settings), where, reactor)  # type: ignore[arg-type]
