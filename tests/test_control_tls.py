"""Who may come in over a network: real TLS, a CA made here."""

from functools import partial
from typing import Any

from OpenSSL import SSL
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Protocol
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from twisted.protocols import amp
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from cmmd.control import connection
from cmmd.control import control_server as programs_module
from cmmd.control.client import ControlClient
from cmmd.control.control_server import ControlServer
from cmmd.control.errors import CannotConnect
from cmmd.control.listeners import TLSSettings, tls_doors
from cmmd.tls.files import TLSFiles, TLSFilesError
from cmmd.tls.server import ServerTLS
from tests.control_world import Authority, ControlWorld, folder, opened, until
from tests.world import HOSTID

reactor: Any = _reactor

STATUS = amp.Box({b"_command": b"Status", b"_ask": b"1"}).serialize()


class FileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = folder(self)
        self.ours = Authority(self.folder)
        self.files = self.ours.issue("server", host="localhost")

    def test_good_ones(self) -> None:
        self.assertTrue(ServerTLS(self.files).reload())

    def test_each_that_cannot_be_used_is_named(self) -> None:
        other = self.ours.issue("other")
        garbage = self.folder / "garbage"
        garbage.write_text("garbage")
        certificate, key, ca = self.files.certificate, self.files.key, self.files.ca
        for wrong, named in (
            (TLSFiles(certificate=garbage, key=key, ca=ca), garbage),
            (TLSFiles(certificate=key, key=key, ca=ca), key),
            (TLSFiles(certificate=certificate, key=garbage, ca=ca), garbage),
            (TLSFiles(certificate=certificate, key=other.key, ca=ca), other.key),
            (TLSFiles(certificate=certificate, key=key, ca=garbage), garbage),
            (TLSFiles(certificate=certificate, key=key, ca=self.folder / "none"), self.folder / "none"),
            (TLSFiles(certificate=self.folder, key=key, ca=ca), self.folder),
        ):
            error = self.assertRaises(TLSFilesError, ServerTLS, wrong)
            self.assertTrue(str(error).startswith(f"{named}: "), str(error))

    def test_key_with_a_passphrase(self) -> None:
        locked = self.ours.issue("locked", passphrase=b"secret")
        error = self.assertRaises(TLSFilesError, ServerTLS, locked)
        self.assertIn("passphrase", str(error))

    def test_reload_keeps_what_works(self) -> None:
        tls = ServerTLS(self.files)
        before = tls.serverConnectionForTLS(None).get_context()
        self.files.certificate.write_text("half a cert")
        self.assertFalse(tls.reload())
        self.assertIs(tls.serverConnectionForTLS(None).get_context(), before)
        self.ours.issue("server", host="localhost")
        self.assertTrue(tls.reload())
        self.assertIsNot(tls.serverConnectionForTLS(None).get_context(), before)


class _Stranger(Protocol):
    """Says something at once, and hears."""

    def __init__(self, says: bytes = STATUS) -> None:
        self.says = says
        self.heard = b""
        self.lost: Failure | None = None

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self.says)

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.lost = reason

    @property
    def lost_or_heard(self) -> bool:
        return bool(self.heard) or self.lost is not None


@implementer(IOpenSSLClientConnectionCreator)
class _OldClient:
    """Speaks what the context lets it."""

    def __init__(self, context: SSL.Context) -> None:
        self._context = context

    def clientConnectionForTLS(self, _: object) -> SSL.Connection:
        return SSL.Connection(self._context, None)


class TLSTestCase(TestCase):
    """Has a CA, the server's files, those of alice, and a fleet."""

    timeout = 180

    def setUp(self) -> None:
        self.folder = folder(self)
        self.ours, self.foreign = Authority(self.folder), Authority(self.folder, "foreign")
        self.server = self.ours.issue("server", host="localhost")
        self.operator = self.ours.issue("alice")
        self.control = ControlWorld()
        self.answered = 0
        status = self.control.operations.status

        def counted() -> Any:
            self.answered += 1
            return status()

        self.patch(self.control.operations, "status", counted)

    async def open(self, files: TLSFiles | None = None, **more: Any) -> ControlServer:
        doors = tls_doors(TLSSettings(["tcp:0:interface=127.0.0.1"], files or self.server, **more), reactor)
        programs = await opened(self, self.control, doors)
        address: Any = programs.ports[0].getHost()
        self.port = address.port
        return programs

    def client(self, files: TLSFiles | None = None, name: str = "localhost") -> ControlClient:
        return ControlClient(f"tls:127.0.0.1:{self.port}:name={name}", reactor, tls=files or self.operator)

    async def assert_gets_nowhere(self, client: ControlClient, why: str) -> None:
        before = self.answered
        try:
            async with client:
                self.fail("it got in")
        except CannotConnect as error:
            self.assertIn(why, str(error))
        self.assertEqual(self.answered, before)

    async def stranger(self, says: bytes = STATUS) -> _Stranger:
        """Somebody who speaks no TLS."""
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.port)
        protocol: _Stranger = await connectProtocol(endpoint, _Stranger(says))
        return protocol


class TLSTests(TLSTestCase):
    # --- who gets in -------------------------------------------------------------------------------------------------

    async def test_strangers_lock_nobody_out(self) -> None:
        """Those who have shown no certificate make room for one who has."""
        self.patch(programs_module, "MOST_CONNECTIONS", 3)
        await self.open()
        strangers = [await self.stranger(b"") for _ in range(5)]
        async with self.client() as client:
            await client.status()
        for one in strangers:
            if one.transport is not None:
                one.transport.loseConnection()

    async def test_good_certificates(self) -> None:
        await self.open()
        async with self.client() as client:
            self.assertEqual((await client.status()).devices, 0)

    async def test_files_in_the_endpoint_string(self) -> None:
        await self.open()
        files = self.operator
        where = f"tls:localhost:{self.port}:ca={files.ca}:certificate={files.certificate}:key={files.key}"
        async with ControlClient(where, reactor):
            pass

    async def test_server_that_is_an_address(self) -> None:
        await self.open(self.ours.issue("address", host="127.0.0.1"))
        async with self.client(name="127.0.0.1"):
            pass
        await self.assert_gets_nowhere(self.client(), "not for the name")

    async def requester(self, files: TLSFiles) -> str:
        async with self.client(files) as client:
            asked = Deferred.fromCoroutine(client.reset(HOSTID, requester="from the office"))
            await until(lambda: self.control.sent)
            self.control.sent.pop().obeyed()
            return (await client.command((await asked).number)).requester

    async def test_requester_is_who_the_certificate_says(self) -> None:
        self.control.online()
        await self.open()
        self.assertEqual(await self.requester(self.operator), "from the office (CN alice)")
        nameless = await self.requester(self.ours.issue(""))
        self.assertRegex(nameless, r"\Afrom the [a-z]+ \(certificate [0-9a-f]{10,40}\)\Z")

    # --- who does not ------------------------------------------------------------------------------------------------

    async def test_no_certificate(self) -> None:
        await self.open()
        trusted = trustRootFromCertificates([Certificate.loadPEM(self.ours.certificate.read_bytes())])
        options = optionsForClientTLS("localhost", trustRoot=trusted)
        endpoint = wrapClientTLS(options, TCP4ClientEndpoint(reactor, "127.0.0.1", self.port))
        stranger: _Stranger = await connectProtocol(endpoint, _Stranger())
        await until(lambda: stranger.lost)
        self.assertEqual((stranger.heard, self.answered), (b"", 0))
        assert stranger.lost is not None
        self.assertIn("certificate required", str(stranger.lost.value))

    async def test_certificate_of_a_foreign_ca(self) -> None:
        await self.open()
        await self.assert_gets_nowhere(self.client(self.foreign.issue("mallory", trusts=self.ours)), "unknown ca")

    async def test_certificate_that_its_owner_has_signed(self) -> None:
        await self.open()
        mallory = self.foreign.issue("mallory", trusts=self.ours)
        chain = mallory.certificate.read_bytes() + self.foreign.certificate.read_bytes()
        mallory.certificate.write_bytes(chain)
        await self.assert_gets_nowhere(self.client(mallory), "unknown ca")

    async def test_expired_certificate(self) -> None:
        await self.open()
        await self.assert_gets_nowhere(self.client(self.ours.issue("former", days=-1)), "certificate expired")

    async def test_server_with_another_name(self) -> None:
        await self.open(self.ours.issue("server", host="elsewhere.example"))
        await self.assert_gets_nowhere(self.client(), "not for the name")

    async def test_server_of_a_foreign_ca(self) -> None:
        await self.open(self.foreign.issue("server", host="localhost", trusts=self.ours))
        await self.assert_gets_nowhere(self.client(), "certificate verify failed")

    async def test_expired_server(self) -> None:
        await self.open(self.ours.issue("server", host="localhost", days=-1))
        await self.assert_gets_nowhere(self.client(), "certificate verify failed")

    async def test_old_tls(self) -> None:
        await self.open()
        for version, gets_in in ((SSL.TLS1_2_VERSION, True), (SSL.TLS1_1_VERSION, False)):
            stranger = _Stranger()
            context = SSL.Context(SSL.TLS_METHOD)
            context.use_certificate_file(str(self.operator.certificate))
            context.use_privatekey_file(str(self.operator.key))
            context.set_min_proto_version(SSL.TLS1_VERSION)
            context.set_max_proto_version(version)
            context.set_cipher_list(b"ALL:@SECLEVEL=0")
            creator = _OldClient(context)
            endpoint = wrapClientTLS(creator, TCP4ClientEndpoint(reactor, "127.0.0.1", self.port))
            await connectProtocol(endpoint, stranger)
            await until(partial(getattr, stranger, "lost_or_heard"))
            self.assertEqual(bool(stranger.heard), gets_in)
            if gets_in:
                assert stranger.transport is not None
                stranger.transport.loseConnection()
                await until(partial(getattr, stranger, "lost"))

    async def test_no_tls_at_all(self) -> None:
        programs = await self.open()
        for says in (
            STATUS,
            b"GET / HTTP/1.1\r\n\r\n",
            bytes(range(256)) * 100,
            b"\x16\x03\x01\xff\xff" + bytes(70_000),
        ):
            stranger = await self.stranger(says)
            await until(partial(getattr, stranger, "lost"))
            self.assertNotIn(b"status", stranger.heard)
        self.assertEqual((self.answered, len(programs), self.flushLoggedErrors()), (0, 0, []))
        async with self.client():
            pass

    async def test_one_that_says_nothing(self) -> None:
        self.patch(connection, "HANDSHAKE_S", 0.1)
        programs = await self.open()
        stranger = await self.stranger(b"")
        await until(lambda: stranger.lost)
        self.assertEqual(len(programs), 0)

    # --- while it runs -----------------------------------------------------------------------------------------------

    async def test_other_certificates_after_a_reload(self) -> None:
        programs = await self.open()
        async with self.client() as standing:
            trusted = self.ours.certificate.read_bytes()
            self.ours.certificate.write_bytes(self.foreign.certificate.read_bytes())
            self.foreign.issue("server", host="localhost")
            programs.reload()
            await self.assert_gets_nowhere(self.client(), "unknown ca")
            stranger = self.foreign.issue("mallory")
            async with self.client(stranger):
                pass
            await standing.status()
            self.ours.certificate.write_bytes(trusted)
            self.ours.issue("server", host="localhost")
            programs.reload()
            await self.assert_gets_nowhere(
                self.client(TLSFiles(certificate=stranger.certificate, key=stranger.key, ca=self.ours.certificate)),
                "unknown ca",
            )
            async with self.client():
                pass

    async def test_broken_files_at_a_reload(self) -> None:
        programs = await self.open()
        self.server.certificate.write_text("half a cert")
        programs.reload()
        async with self.client():
            pass
