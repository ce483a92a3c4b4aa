"""``cmmd.gateway.checking``: what a configuration means, and what it cannot mean; nothing is opened."""

from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.trial.unittest import SynchronousTestCase

from cmmd.gateway.bus import Direction
from cmmd.gateway.checking import Ports, SettingsError, input_contacts, login_address, server_endpoints
from cmmd.gateway.link.address import Address
from cmmd.gateway.port_settings import Wires
from cmmd.gateway.settings import TLS, Input, Inputs, Serial, Server
from cmmd.gateway.settings import Direction as DirectionSettings
from tests.control_world import Authority, folder

LOGIN = Address("cmm.example", 21318)


class PortsTests(SynchronousTestCase):
    def refused(self, **options: Any) -> str:
        return str(self.assertRaises(SettingsError, Ports, Serial(**options)))

    def test_only_port(self) -> None:
        for name, code in (("link", 1), ("rs485", 2), ("rs232", 3), ("usb", 4)):
            options: dict[str, Any] = {name: "/dev/ttyS1"}
            ports = Ports(Serial(**options))
            self.assertEqual(ports.configured, Wires(code, 0))
            self.assertEqual([one for one in range(6) if one in ports], [code])
            self.assertEqual(ports.line(ports.configured).url, "/dev/ttyS1")

    def test_several_ports(self) -> None:
        ports = Ports(Serial(rs485="/dev/ttyUSB0", usb="/dev/ttyACM0", use="usb", baud_rate=19200))
        self.assertEqual(ports.configured, Wires(4, 1))
        self.assertEqual(ports.line(Wires(2, 2)).url, "/dev/ttyUSB0")
        self.assertEqual(ports.line(Wires(2, 2)).baud_rate, 115200)

    def test_everything_reaches_the_line(self) -> None:
        direction = DirectionSettings(
            by="driver", send_level="low", delay_before=0.001, delay_after=0.002, hears_itself=True
        )
        ports = Ports(
            Serial(
                rs485="/dev/ttyS1",
                rs232="/dev/ttyS2",
                use="rs232",
                parity="even",
                stop_bits=2,
                timeout=0.3,
                retries=1,
                quiet=0.1,
                gap=0.01,
                echo=True,
                direction=direction,
            )
        )
        line = ports.line(Wires(2, 1))
        self.assertEqual((line.parity, line.stop_bits, line.timeout_s, line.retries), ("E", 2, 0.3, 1))
        self.assertEqual((line.quiet_s, line.gap_s, line.echo), (0.1, 0.01, True))
        self.assertEqual(
            line.rs485, Direction(rts_sends=False, delay_before_s=0.001, delay_after_s=0.002, hears_itself=True)
        )
        self.assertIsNone(ports.line(Wires(3, 1)).rs485)  # there is nothing to turn
        for parity, letter in (("none", "N"), ("odd", "O")):
            self.assertEqual(Ports(Serial(rs485="/x", parity=parity)).line(Wires(2, 0)).parity, letter)  # type: ignore[arg-type]
        self.assertIsNone(Ports(Serial(rs485="/x")).line(Wires(2, 0)).echo)

    def test_urls(self) -> None:
        for url in ("socket://192.0.2.1:4001", "rfc2217://box.example:4001", "hwgrep://no-such-adapter"):
            self.assertEqual(Ports(Serial(rs485=url)).line(Wires(2, 0)).url, url)

    def test_what_cannot_be(self) -> None:
        self.assertIn("serial.rs485: a serial port is needed", self.refused())
        self.assertIn("serial.use: there are several", self.refused(rs485="/x", usb="/y"))
        self.assertIn("serial.use: serial.usb is empty", self.refused(rs485="/x", use="usb"))
        self.assertIn("serial.usb: ", self.refused(usb="telnet://x:1"))
        self.assertIn("serial.rs485: url socket://x: ", self.refused(rs485="socket://x"))
        driver = DirectionSettings(by="driver")
        self.assertIn("serial.rs485: ", self.refused(rs485="socket://x:1", direction=driver))


class ServerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = folder(self)
        self.authority = Authority(self.folder)
        self.own = self.authority.issue("gateway")

    def refused(self, tls: TLS, login: Address = LOGIN) -> str:
        return str(self.assertRaises(SettingsError, server_endpoints, tls, login, self.folder, reactor))

    def test_login(self) -> None:
        self.assertEqual(login_address(Server(login="cmm.example:21318")), LOGIN)
        for text in ("", "cmm.example", "a:0", "a:b:1"):
            error = self.assertRaises(SettingsError, login_address, Server(login=text))
            self.assertIn("server.login: ", str(error))

    def test_without_tls(self) -> None:
        endpoint = server_endpoints(TLS(), LOGIN, self.folder, reactor)(Address("192.0.2.1", 1))
        self.assertIsInstance(endpoint, TCP4ClientEndpoint)

    def test_with_tls(self) -> None:
        for tls in (TLS(enabled=True), TLS(enabled=True, ca="ca.pem", certificate="gateway.pem", key="gateway.key")):
            endpoint = server_endpoints(tls, LOGIN, self.folder, reactor)(Address("192.0.2.1", 1))
            self.assertNotIsInstance(endpoint, TCP4ClientEndpoint)

    def test_settings_that_would_do_nothing(self) -> None:
        for name in ("ca", "name", "certificate", "key"):
            options: dict[str, Any] = {name: "x"}
            self.assertIn(f"server.tls.{name}: ", self.refused(TLS(**options)))

    def test_files_that_cannot_be_used(self) -> None:
        self.assertIn("server.tls: ", self.refused(TLS(enabled=True, ca="none.pem")))
        self.assertIn("no certificate in PEM", self.refused(TLS(enabled=True, ca="gateway.key")))
        self.assertIn("server.tls.key: ", self.refused(TLS(enabled=True, certificate="gateway.pem")))
        (self.folder / "other.key").write_bytes(self.authority.issue("other").key.read_bytes())
        other = TLS(enabled=True, certificate="gateway.pem", key="other.key")
        self.assertIn("not the key to", self.refused(other))

    def test_files_are_in_the_state_directory(self) -> None:
        error = self.refused(TLS(enabled=True, ca="none.pem"))
        self.assertIn(f"{self.folder}/none.pem", error)

    def test_name_that_no_certificate_is_for(self) -> None:
        self.assertIn("server.tls.name: ", self.refused(TLS(enabled=True, name="a" * 70 + ".example")))


class ContactsTests(SynchronousTestCase):
    def test_those_that_there_are(self) -> None:
        inputs = Inputs(fire=Input(source="file:/x"), inhibit=Input(source="file:/y"))
        self.assertEqual(list(input_contacts(inputs)), ["fire", "inhibit"])

    def test_what_is_none(self) -> None:
        error = self.assertRaises(SettingsError, input_contacts, Inputs(alarm=Input(source="/x")))
        self.assertIn("inputs.alarm.source: ", str(error))
