"""What a client's certificate is good for at the control port, and that it is good no more once it is revoked."""

from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID
from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from cmmd.control import errors
from cmmd.control.client import ControlClient
from cmmd.control.listeners import role_of
from cmmd.fleet.events import Kind
from cmmd.fleet.service.table import AMP_ROLES, OPERATIONS
from cmmd.tls.files import TLSFiles, TLSFilesError
from cmmd.tls.server import ServerTLS
from cmmd.web.api import table
from tests import test_control_tls as tls
from tests.control_world import until
from tests.world import HOSTID


class TableTests(SynchronousTestCase):
    def test_roles_are_those_of_http(self) -> None:
        """What one door lets a role do, the other does, too."""
        http = {one.name: one.role for one in table.OPERATIONS}
        for operation, doors in OPERATIONS.items():
            self.assertEqual({http[name] for name in doors.http}, {doors.role}, operation)

    def test_every_command_has_one(self) -> None:
        self.assertEqual(AMP_ROLES["WriteConfig"], "operator")
        self.assertEqual(AMP_ROLES["Watch"], "viewer")


class RoleTests(tls.TLSTestCase):
    async def refused(self, client: ControlClient) -> dict[str, str]:
        """What is refused of an operation of each role, by the operation, with its code."""
        found: dict[str, str] = {}
        for name, asking in (
            ("status", client.status),
            ("cancel", lambda: client.cancel(99)),
            ("raw", lambda: client.write_config(HOSTID, "000600300005", timeout=1.0)),
            ("enrol", lambda: client.enrol("new")),
            ("force", lambda: client.unlock(HOSTID, force=True)),
        ):
            try:
                await asking()
            except errors.ControlError as error:
                found[name] = error.code
        return found

    async def test_of_each_role(self) -> None:
        self.control.online()
        await self.open()
        operator = {"cancel": "no_such_command", "raw": "engineer_only", "enrol": "forbidden"}
        for role, expected in (
            ("viewer", dict.fromkeys(("cancel", "raw", "enrol", "force"), "forbidden")),
            ("operator", operator),
        ):
            async with self.client(self.ours.issue(role, unit=role)) as client:
                self.assertEqual(await self.refused(client), expected)
        self.assertEqual(self.control.sent, [])

    async def test_of_a_certificate_that_names_none(self) -> None:
        await self.open(default_role="viewer")
        async with self.client(self.ours.issue("tv")) as client:
            await self.assertFailure(Deferred.fromCoroutine(client.enrol("new")), errors.Forbidden)

    def test_misspelt_units(self) -> None:
        for number, (unit, role, told) in enumerate(
            (
                ("viewer", "viewer", 0),
                ("Viewer", "viewer", 0),
                (" OPERATOR ", "operator", 0),
                ("viewers", "viewer", 1),
                ("Yard 7", "viewer", 1),
                (None, "admin", 0),
            )
        ):
            files = self.ours.issue(f"one{number}", unit=unit)
            certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
            with capturedLogs() as logged:
                self.assertEqual(role_of(certificate, "admin"), role, unit)
            self.assertEqual(sum("names no role" in str(formatEvent(event)) for event in logged), told, unit)

    async def test_one_that_is_not_for_clients(self) -> None:
        """Each server of the same CA could come in with its own certificate."""
        await self.open()
        for usages in ((), (ExtendedKeyUsageOID.SERVER_AUTH,)):
            await self.assert_gets_nowhere(self.client(self.ours.issue("other", host="other", usages=usages)), "TLS")
        async with self.client(self.ours.issue("good", usages=(ExtendedKeyUsageOID.CLIENT_AUTH,))) as client:
            await client.status()


class RevokedTests(tls.TLSTestCase):
    async def let_in(self, files: TLSFiles) -> None:
        async with self.client(files) as client:
            await client.status()

    async def test_without_a_restart(self) -> None:
        file = self.folder / "revoked"
        file.write_text("# none yet\n")
        await self.open(revoked=file)
        bob, carol = self.ours.issue("bob"), self.ours.issue("carol")
        for files in (self.operator, bob, carol):
            await self.let_in(files)
        async with self.client(bob) as client:
            await client.status()
            file.write_bytes(_fingerprint(self.operator) + self.ours.revoke(bob))
            before = self.answered
            await self.assertFailure(Deferred.fromCoroutine(client.status()), errors.ControlError)
            self.assertEqual(self.answered, before)
        for files in (self.operator, bob):
            await self.assert_gets_nowhere(self.client(files), "TLS")
        await self.let_in(carol)

    async def test_one_that_watches_hears_no_more(self) -> None:
        file = self.folder / "revoked"
        file.write_text("")
        programs = await self.open(revoked=file)
        async with self.client() as client:
            await client.watch(lambda _: None)
            file.write_bytes(self.ours.revoke(self.operator))
            self.control.fleet.events.emit(Kind.SERVER_STARTED, "", version="1")
            await until(lambda: len(programs) == 0)

    def test_files_that_cannot_be_used(self) -> None:
        file = self.folder / "revoked"
        for text in (
            b"hello",
            b"0123\n",
            self.foreign.revoke(self.operator),
            b"-----BEGIN X509 CRL-----\nx\n-----END X509 CRL-----",
        ):
            file.write_bytes(text)
            self.assertRaises(TLSFilesError, ServerTLS, self.server, revoked=file)
        self.assertRaises(TLSFilesError, ServerTLS, self.server, revoked=self.folder / "none")

    def test_fingerprints_as_openssl_writes_them(self) -> None:
        file = self.folder / "revoked"
        certificate = x509.load_pem_x509_certificate(self.operator.certificate.read_bytes())
        digits = certificate.fingerprint(SHA256()).hex(":")
        for line in (
            f"sha256 Fingerprint={digits.upper()}\n",
            f"SHA256 Fingerprint={digits.upper()}\r\n",
            f"\ufeffSHA-256 fingerprint = {digits}  # alice left\n",
            digits.replace(":", ""),
        ):
            file.write_text(line, encoding="utf-8")
            self.assertFalse(ServerTLS(self.server, revoked=file).counts(certificate), line)

    def test_a_bad_line_is_told_once_and_the_good_ones_count(self) -> None:
        file = self.folder / "revoked"
        operator, bob = (
            x509.load_pem_x509_certificate(files.certificate.read_bytes())
            for files in (self.operator, self.ours.issue("bob"))
        )
        file.write_bytes(b"SHA1 Fingerprint=12:34\n" + _fingerprint(self.operator))
        with capturedLogs() as logged:
            server = ServerTLS(self.server, revoked=file)
            self.assertEqual((server.counts(operator), server.counts(bob)), (False, True))
        self.assertEqual(_told(logged), 1)
        file.write_text(f"half a fi\nsha256 Fingerprint={bob.fingerprint(SHA256()).hex(':')}\n")
        with capturedLogs() as logged:
            for _ in range(3):
                self.assertEqual((server.counts(operator), server.counts(bob)), (False, False))
        self.assertEqual(_told(logged), 1)
        file.write_text("# none\n")
        with capturedLogs() as logged:
            self.assertEqual((server.counts(operator), server.counts(bob)), (True, True))
        self.assertEqual(_told(logged), 0)

    def test_half_a_crl_is_no_start(self) -> None:
        file = self.folder / "revoked"
        file.write_bytes(_fingerprint(self.operator) + self.ours.revoke(self.operator)[:-30])
        self.assertRaises(TLSFilesError, ServerTLS, self.server, revoked=file)

    def test_what_was_revoked_stays_so_where_the_file_is_broken(self) -> None:
        file = self.folder / "revoked"
        file.write_bytes(self.ours.revoke(self.operator))
        server = ServerTLS(self.server, revoked=file)
        file.write_text("half a fi")
        certificate = x509.load_pem_x509_certificate(self.operator.certificate.read_bytes())
        self.assertFalse(server.counts(certificate))

    def test_a_key_that_everybody_can_read(self) -> None:
        self.server.key.chmod(0o604)
        error = self.assertRaises(TLSFilesError, ServerTLS, self.server)
        self.assertIn("chmod", str(error))
        self.server.key.chmod(0o640)
        ServerTLS(self.server)


def _told(logged: Sequence[LogEvent]) -> int:
    return sum("neither a SHA-256 fingerprint" in str(formatEvent(event)) for event in logged)


def _fingerprint(files: TLSFiles) -> bytes:
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    return certificate.fingerprint(SHA256()).hex(":").upper().encode() + b"  # alice left\n"
