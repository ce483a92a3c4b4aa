"""A fleet with a way in for programs, and devices that answer commands as a test tells them."""

import shutil
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from random import Random
from tempfile import mkdtemp
from typing import Any, Protocol, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.internet.testing import StringTransport
from twisted.protocols import amp
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from cmmd.control.connection import ConnectionContext
from cmmd.control.control_server import ControlServer
from cmmd.control.listeners import Door
from cmmd.control.responder import Responder
from cmmd.fleet.commands.audit import Audit
from cmmd.fleet.commands.dispatcher import Dispatcher
from cmmd.fleet.commands.queue import Uids
from cmmd.fleet.counters.log_throttle import LogLimit
from cmmd.fleet.devices.inputs import Origin
from cmmd.fleet.devices.presence import NotSent
from cmmd.fleet.service.operations import ControlService
from cmmd.store.interface import IStore
from cmmd.tls.files import TLSFiles
from cmmd.wire.messages import Reset, ResetAnswer, WriteConfig, WriteConfigAnswer
from tests.uploads import change_upload
from tests.world import HOSTID, World

__all__ = ["Authority", "ControlWorld", "HeldSession", "Plain", "Sent", "folder", "now", "opened", "until"]

T = TypeVar("T")

reactor: Any = _reactor


class Sent:
    """A message that a device has been sent."""

    def __init__(self, message: WriteConfig | Reset, timeout_s: float) -> None:
        self.message = message
        self.timeout_s = timeout_s
        self.answer: Deferred[WriteConfigAnswer | ResetAnswer] = Deferred()

    def obeyed(self, status: int = 1) -> None:
        """The device answers that it has, or has not, done it."""
        if isinstance(self.message, Reset):
            self.answer.callback(ResetAnswer(hostid=HOSTID))
        else:
            answered = WriteConfigAnswer(
                params=f"{self.message.result},{status}", hostid=HOSTID, uid=self.message.uid or ""
            )
            self.answer.callback(answered)


class HeldSession:
    """A live session; what it is sent waits for the test's answer."""

    carries_commands = True

    def __init__(self, peer: str = "192.0.2.7") -> None:
        self.peer = peer
        self.sent: list[Sent] = []

    def close(self) -> None:
        """Nothing stands."""

    def round_trip(
        self, message: WriteConfig | Reset, timeout_s: float, leaves: Callable[[], bool]
    ) -> Deferred[WriteConfigAnswer | ResetAnswer]:
        if not leaves():
            return fail(NotSent("it was not to be sent any more"))
        self.sent.append(Sent(message, timeout_s))
        return self.sent[-1].answer


class ControlWorld:
    """A fleet and the operations on it.

    :ivar session: of :data:`HOSTID`, once it is ``online``.
    """

    def __init__(
        self, *, store: IStore | None = None, max_devices: int = 100, enabled: bool = True, most_waiting: int = 5
    ) -> None:
        self.world = World(store=store, max_devices=max_devices, unknown_per_minute=max_devices)
        self.stood_still_s = 0.0
        self.fleet, self.clock = self.world.fleet, self.world.clock
        self.dispatch = Dispatcher(
            device=self.fleet.registry.device,
            live=self.fleet.live,
            presence=self.fleet.presence,
            audit=Audit(
                journal=self.fleet.journal,
                store=self.world.store,
                events=self.fleet.events,
                now=self.clock.seconds,
            ),
            uids=Uids(Random(1)),
            clock=self.clock,
            enabled=enabled,
            timeout_s=30.0,
            most_waiting=most_waiting,
            stood_still=lambda: self.stood_still_s,
        )
        self.operations = ControlService(
            fleet=self.fleet,
            dispatch=self.dispatch,
            store=self.world.store,
            counters=self.world.counters,
            now=self.clock.seconds,
        )
        self.session = HeldSession()

    @property
    def sent(self) -> list[Sent]:
        """What :data:`HOSTID` has been sent."""
        return self.session.sent

    def online(self) -> None:
        """Have :data:`HOSTID` registered and connected."""
        self.world.register()
        self.fleet.presence.attach(HOSTID, self.session)

    def inhibit(self, active: int = 1, address: str = "198.51.100.9") -> None:
        """Have :data:`HOSTID` say that remote control is inhibited, or not."""
        message = change_upload(InhbitRemote=active)
        self.fleet.uploads.change(message, historic=False, origin=lambda: Origin(address))

    def around(self, clock: IReactorTime | None = None) -> ConnectionContext:
        return ConnectionContext(operations=self.operations, clock=clock or self.clock, log_limit=LogLimit(self.clock))


class Serving(Protocol):
    """What programs come in to."""

    def around(self) -> ConnectionContext:
        """What their connections work with."""


class _PlainClient(amp.AMP):
    """Twisted's own AMP, with nothing of ours."""

    def makeConnection(self, transport: Any) -> None:
        amp.BinaryBoxProtocol.makeConnection(self, transport)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        amp.BinaryBoxProtocol.connectionLost(self, reason)


class Plain:
    """A program with a responder at the other end, in memory.

    :ivar reads: False: what the responder writes stays in its transport.
    """

    def __init__(self, control: Serving, known: str = "uid 1000 pid 77") -> None:
        self.gone: list[object] = []
        self.client = _PlainClient()
        self.responder = Responder(control.around(), known=lambda _: known, gone=self.gone.append)
        self._to_server, self.from_server = StringTransport(), StringTransport()
        self.client.makeConnection(self._to_server)
        self.responder.makeConnection(self.from_server)
        self.reads = True

    def pump(self) -> None:
        """Carry bytes until none are left."""
        while True:
            asked = self._to_server.value()
            self._to_server.clear()
            answered = self.from_server.value() if self.reads else b""
            if self.reads:
                self.from_server.clear()
            if not asked and not answered:
                return
            if asked:
                self.responder.dataReceived(asked)
            if answered:
                self.client.dataReceived(answered)

    def begin(self, command: type[amp.Command], **arguments: Any) -> Deferred[dict[str, Any]]:
        """Ask, and do not wait for the answer."""
        answer: Deferred[dict[str, Any]] = Deferred()
        # At once: AMP has its own way with an error that nobody has asked for when it comes.
        self.client.callRemote(command, **arguments).addCallbacks(answer.callback, answer.errback)
        self.pump()
        return answer

    def ask(self, command: type[amp.Command], **arguments: Any) -> dict[str, Any]:
        """The answer, which is there at once; or its error is raised."""
        return now(self.begin(command, **arguments))

    def raw(self, segment: bytes) -> None:
        """Send bytes of any kind."""
        self.responder.dataReceived(segment)


def now(waiting: Deferred[T] | Coroutine[Deferred[Any], Any, T]) -> T:
    """What a Deferred has fired with; what it has failed with is raised."""
    outcome: list[Any] = []
    deferred = waiting if isinstance(waiting, Deferred) else Deferred.fromCoroutine(waiting)
    deferred.addBoth(outcome.append)
    assert outcome, "it waits for something"
    if isinstance(outcome[0], Failure):
        raise outcome[0].value  # type: ignore[misc]
    result: T = outcome[0]
    return result


async def opened(test: TestCase, control: ControlWorld, doors: Sequence[Door]) -> ControlServer:
    """Real sockets, until the test ends."""
    programs = ControlServer(doors, control.operations, reactor)
    await programs.listen()
    test.addCleanup(lambda: Deferred.fromCoroutine(programs.stop()))
    return programs


async def until(holds: Callable[[], object]) -> None:
    """Let the reactor turn until something holds; the test's timeout ends it."""
    while not holds():
        await deferLater(reactor, 0.005)


def folder(test: SynchronousTestCase) -> Path:
    """A directory with a short name, which goes with the test: the path of a UNIX socket has at most 107 bytes."""
    made = Path(mkdtemp(prefix="cmmd-"))
    test.addCleanup(shutil.rmtree, made)
    return made


class Authority:
    """A CA of the test's own.

    :param where: the folder for all files.
    """

    def __init__(self, where: Path, name: str = "ca") -> None:
        self._folder = where
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = where / f"{name}.pem"
        built = (
            self._builder(self._name, self._key, days=10)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_usage_of_a_ca(), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
        )
        self._write(self.certificate, built.sign(self._key, hashes.SHA256()))

    def issue(
        self,
        name: str,
        *,
        host: str | None = None,
        days: int = 10,
        trusts: "Authority | None" = None,
        passphrase: bytes | None = None,
        usages: Sequence[x509.ObjectIdentifier] = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH),
        unit: str | None = None,
    ) -> TLSFiles:
        """A certificate.

        :param name: its common name; :param host: what a server's is for, a name or an address.
        :param days: until it expires; below 0: it has.
        :param trusts: whom its owner trusts; None: this one.
        :param passphrase: of the key. :param usages: what it is for. :param unit: its organizational unit.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else []
        names += [] if unit is None else [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit)]
        builder = self._builder(x509.Name(names), key, days)
        if usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if host is not None:
            builder = builder.add_extension(x509.SubjectAlternativeName([_general_name(host)]), critical=False)
        certificate, private = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        self._write(certificate, builder.sign(self._key, hashes.SHA256()))
        locked: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if passphrase is not None:
            locked = serialization.BestAvailableEncryption(passphrase)
        private.touch(0o600)
        private.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked))
        return TLSFiles(certificate=certificate, key=private, ca=(trusts or self).certificate)

    def revoke(self, *files: TLSFiles) -> bytes:
        """A list of certificates that count no more, in PEM."""
        today = datetime.now(UTC)
        builder = x509.CertificateRevocationListBuilder().issuer_name(self._name)
        builder = builder.last_update(today).next_update(today + timedelta(days=1))
        for one in files:
            number = x509.load_pem_x509_certificate(one.certificate.read_bytes()).serial_number
            revoked = x509.RevokedCertificateBuilder().serial_number(number).revocation_date(today).build()
            builder = builder.add_revoked_certificate(revoked)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _builder(self, name: x509.Name, key: ec.EllipticCurvePrivateKey, days: int) -> x509.CertificateBuilder:
        today = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(today - timedelta(days=30))
            .not_valid_after(today + timedelta(days=days))
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )

    def _write(self, path: Path, certificate: x509.Certificate) -> None:
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _usage_of_a_ca() -> x509.KeyUsage:
    """To sign certificates, and nothing else: Python 3.13 wants it said."""
    uses = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    more = ("crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(key_cert_sign=True, **dict.fromkeys((*uses, *more), False))


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)
