"""Every kind of request that a web page can have a browser send, at every door: closed, logged once, never obeyed."""

from collections.abc import Mapping
from functools import partial
from typing import Any, cast

from twisted.internet import reactor as _reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.protocol import Protocol
from twisted.internet.ssl import Certificate, PrivateCertificate, optionsForClientTLS, trustRootFromCertificates
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.protocols import amp
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from cmmd.control.listeners import TLSSettings, tls_doors
from cmmd.fleet.counters.log_throttle import BURST
from cmmd.tls.files import TLSFiles
from cmmd.wire.errors import Reason
from tests.browsers import browser_requests
from tests.control_world import Authority, ControlWorld, Plain, folder, opened, until
from tests.plain_device import login, message
from tests.uploads import full_upload
from tests.world import HOSTID, World

reactor: Any = _reactor

DEVICE_MESSAGES: Mapping[str, bytes] = {
    "login of an unknown device": login("BROWSER1"),
    "login": login(HOSTID),
    "long connection": message("LongCon", HOSTID),
    "heartbeat": message("HB", HOSTID),
    "upload": message("reqdata", HOSTID, params=full_upload().params),
    "upload of changes": message("reqdatachange", HOSTID, params={}, InhbitRemote=1, FireAlarm=1),
    "history": message("reqdata", HOSTID, params=full_upload().params, itime=1_700_800_000_000),
    "answer to a command": message("writeConfig", HOSTID, params="00050003FF007DEB,1", uid="1"),
    "several": login(HOSTID) + message("LongCon", HOSTID) + message("HB", HOSTID),
}


def box(command: bytes, **arguments: bytes) -> bytes:
    """A request over AMP, as it is on the wire."""
    fields = {name.encode(): value for name, value in arguments.items()}
    return bytes(amp.Box({b"_command": command, b"_ask": b"1", **fields}).serialize())


REQUESTS_OVER_AMP: Mapping[str, bytes] = {
    "status": box(b"Status"),
    "start": box(b"SendCommand", hostid=HOSTID.encode(), name=b"start"),
    "stop": box(b"SendCommand", hostid=HOSTID.encode(), name=b"stop"),
    "forget": box(b"ForgetDevice", hostid=HOSTID.encode()),
}


def watched(test: SynchronousTestCase) -> list[LogEvent]:
    """All that is logged from now on, until the test ends."""
    logged: list[LogEvent] = []
    observer = cast(ILogObserver, logged.append)
    globalLogPublisher.addObserver(observer)
    test.addCleanup(globalLogPublisher.removeObserver, observer)
    return logged


class DevicePortTests(SynchronousTestCase):
    """The port of devices: for logins, for long connections, for history."""

    def setUp(self) -> None:
        self.world = World()
        self.world.register()
        self.world.clock.advance(1)
        self.world.counters.messages.clear()
        self.logged = watched(self)
        self.peers = (f"198.51.{number // 250}.{number % 250 + 1}" for number in range(60_000))

    def assert_not_obeyed(self, request: bytes, size: int, *, carries_commands: bool, name: str) -> None:
        """Deliver a request in segments of a size, and look at everything that could have changed."""
        self.logged.clear()
        self.world.counters.peer_errors.clear()
        events = len(self.world.events)
        transport = self.world.connect(carries_commands=carries_commands, peer=next(self.peers))
        for at in range(0, len(request), size):
            if not transport.lost:
                transport.deliver(request[at : at + size])
                transport.turns()
        self.world.clock.advance(1)
        self.assertTrue(transport.aborted and transport.lost, name)
        self.assertEqual(transport.segments, [], name)
        self.assertEqual(self.world.counters.peer_errors, {Reason.FOREIGN_PROTOCOL: 1}, name)
        self.assertEqual(dict(self.world.counters.messages), {}, name)
        self.assertEqual(self.world.events[events:], [], name)
        self.assertFalse(self.world.presence.online(HOSTID), name)
        self.assertIsNone(self.world.registry.device("BROWSER1"), name)
        self.assertEqual(len(self.logged), 1, f"{name}: {self.logged}")

    def test_every_kind_with_every_message(self) -> None:
        for what, body in DEVICE_MESSAGES.items():
            for kind, request in browser_requests(body).items():
                for carries_commands in (True, False):
                    for size in (len(request), 536, 64):
                        name = f"{what}: {kind}, {size} bytes a segment"
                        self.assert_not_obeyed(request, size, carries_commands=carries_commands, name=name)

    def test_the_messages_are_obeyed_when_a_device_sends_them(self) -> None:
        """Otherwise the other test would show nothing."""
        for what, body in DEVICE_MESSAGES.items():
            transport = self.world.connect()
            if "log" not in what:
                transport.deliver(message("LongCon", HOSTID))
            before = sum(self.world.counters.messages.values())
            transport.deliver(body)
            transport.turns()
            self.assertGreater(sum(self.world.counters.messages.values()), before, what)
            self.assertFalse(transport.aborted, what)
            transport.hang_up()
        self.assertIsNotNone(self.world.registry.device("BROWSER1"))

    def test_a_device_beside_keeps_its_session(self) -> None:
        device = self.world.connect()
        device.deliver(message("LongCon", HOSTID))
        for request in browser_requests(message("LongCon", HOSTID)).values():
            self.world.connect(peer=next(self.peers)).deliver(request)
        self.assertEqual(len(self.world.presence.sessions(HOSTID)), 1)
        self.assertFalse(device.lost)


class ControlPortTests(SynchronousTestCase):
    """AMP behind a socket: browsers do not reach it, programs that pass their bytes on might."""

    def setUp(self) -> None:
        self.logged = watched(self)

    def test_every_kind_with_every_request(self) -> None:
        for what, body in REQUESTS_OVER_AMP.items():
            for kind, request in browser_requests(body).items():
                for size in (len(request), 5):
                    self.assert_not_obeyed(request, size, f"{what}: {kind}, {size} bytes a segment")

    def assert_not_obeyed(self, request: bytes, size: int, name: str) -> None:
        control = ControlWorld()
        control.online()
        self.logged.clear()
        program = Plain(control)
        for at in range(0, len(request), size):
            program.raw(request[at : at + size])
        self.assertEqual(control.sent, [], name)
        self.assertEqual(program.from_server.value(), b"", name)
        self.assertIsNotNone(control.fleet.registry.device(HOSTID), name)
        if request[:1] == b"\0":  # STUN: to AMP it is the beginning of a long value
            self.assertEqual(self.logged, [], name)
        else:
            self.assertTrue(program.from_server.disconnected, name)
            self.assertEqual(len(self.logged), 1, f"{name}: {self.logged}")

    def test_the_requests_are_obeyed_when_a_program_sends_them(self) -> None:
        control = ControlWorld()
        control.online()
        program = Plain(control)
        program.raw(REQUESTS_OVER_AMP["stop"])
        self.assertEqual(len(control.sent), 1)


class _Browser(Protocol):
    """Sends one request, and takes what comes."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.heard = b""
        self.lost: Failure | None = None

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self.request)

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.lost = reason


class ControlPortOverTLSTests(TestCase):
    """The only control port that a browser can reach; its user may have the operator's certificate in it."""

    timeout = 180

    async def open(self) -> None:
        authority = Authority(folder(self))
        self.operator = authority.issue("alice")
        self.control = ControlWorld()
        self.control.online()
        files = authority.issue("server", host="localhost")
        doors = tls_doors(TLSSettings(["tcp:0:interface=127.0.0.1"], files), reactor)
        programs = await opened(self, self.control, doors)
        address: Any = programs.ports[0].getHost()
        self.endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", address.port)
        self.logged = watched(self)

    def assert_logged_a_little(self) -> None:
        """All of them come from one address: the first lines are written, the others are counted."""
        lines = [event for event in self.logged if event.get("log_namespace", "").startswith("cmmd.control")]
        self.assertEqual(len(lines), BURST)

    async def test_without_tls(self) -> None:
        await self.open()
        for kind, request in browser_requests(REQUESTS_OVER_AMP["stop"]).items():
            if request[:1] in (b"\x16", b"\0"):  # the beginning of TLS, and of STUN: the rest is waited for
                continue
            browser: _Browser = await connectProtocol(self.endpoint, _Browser(request))
            await until(partial(getattr, browser, "lost"))
            self.assertEqual(self.control.sent, [], kind)
        self.assert_logged_a_little()

    async def test_with_the_certificate_of_the_operator(self) -> None:
        await self.open()
        options = _options(self.operator)
        for kind, request in browser_requests(REQUESTS_OVER_AMP["stop"]).items():
            if request[:1] == b"\0":
                continue
            browser = _Browser(request)
            await connectProtocol(wrapClientTLS(options, self.endpoint), browser)
            await until(partial(getattr, browser, "lost"))
            self.assertEqual((browser.heard, self.control.sent), (b"", []), kind)
        self.assert_logged_a_little()


def _options(files: TLSFiles) -> Any:
    """TLS as a browser with this certificate speaks it."""
    assert files.ca is not None
    trusted = trustRootFromCertificates([Certificate.loadPEM(files.ca.read_bytes())])
    own = PrivateCertificate.loadPEM(files.certificate.read_bytes() + files.key.read_bytes())
    return optionsForClientTLS("localhost", trustRoot=trusted, clientCertificate=own)
