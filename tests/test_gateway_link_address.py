"""``cmmd.gateway.link.address``: addresses on the wire, and which endpoint leads to them."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from cmmd.gateway.link.address import Address, parse_address, tcp_endpoints


class AddressTests(SynchronousTestCase):
    def test_addresses(self) -> None:
        for text, address in (
            ("8.136.108.133:21318", Address("8.136.108.133", 21318)),
            (" cmm.example:1 \n", Address("cmm.example", 1)),
            ("[2001:db8::1]:65535", Address("2001:db8::1", 65535)),
            ("my_host-2:80", Address("my_host-2", 80)),
        ):
            with self.subTest(text):
                self.assertEqual(parse_address(text), address)
                self.assertEqual(str(address), text.strip())

    def test_what_is_no_address(self) -> None:
        for text, complaint in (
            ("", "not HOST:PORT"),
            ("host", "not HOST:PORT"),
            ("host:", "not HOST:PORT"),
            ("::1:80", "not HOST:PORT"),
            ("host:٣", "not HOST:PORT"),
            ("ho st:80", "not HOST:PORT"),
            ("a" * 254 + ":80", "not HOST:PORT"),
            ("host:0", "port 0 is not within 1..65535"),
            ("host:65536", "port 65536 is not within"),
            ("[1:2]:80", "not an IPv6 address"),
        ):
            with self.subTest(text), self.assertRaisesRegex(ValueError, complaint):
                parse_address(text)

    @given(st.ip_addresses().map(str), st.integers(1, 65535))
    def test_round_trip(self, host: str, port: int) -> None:
        self.assertEqual(parse_address(str(Address(host, port))), Address(host, port))

    def test_endpoints(self) -> None:
        endpoint = tcp_endpoints(MemoryReactorClock())
        self.assertIsInstance(endpoint(Address("127.0.0.1", 80)), TCP4ClientEndpoint)
        self.assertIsInstance(endpoint(Address("::1", 80)), TCP6ClientEndpoint)
        self.assertIsInstance(endpoint(Address("cmm.example", 80)), HostnameEndpoint)
