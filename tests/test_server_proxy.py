"""Ports behind a proxy: only trusted peers say for whom they speak, within bounds, and what they say is who it is."""

from socket import socket
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor as _reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol, serverFromString
from twisted.internet.testing import AccumulatingProtocol, MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from cmmd.config import ConfigError, Server, Web
from cmmd.fleet.devices.networks import Networks
from cmmd.parts import device_listeners, web_doors
from cmmd.server.door import DeviceDoorTerms
from cmmd.server.listeners import DeviceListeners, Listener, Role
from cmmd.server.proxy_gate import HEADER_S
from cmmd.server.proxy_header import LONGEST_HEADER, LONGEST_V1, Header, ProxyHeaderError, read_header
from cmmd.server.sockets import socket_of
from cmmd.wire.errors import Reason
from cmmd.wire.messages import Heartbeat, Login, LongCon, encode
from tests.control_world import folder, until
from tests.transports import SegmentTransport
from tests.world import HOSTID, World, login_params

reactor: Any = _reactor

PROXY, HOME, STRANGER = "10.0.0.5", "192.0.2.7", "198.51.100.66"
V2 = b"\r\n\r\n\x00\r\nQUIT\n"


def version_1(source: str = HOME, host: str = "203.0.113.1") -> bytes:
    family = "TCP6" if ":" in source else "TCP4"
    return f"PROXY {family} {source} {host} 40000 21318\r\n".encode()


def version_2(
    source: bytes, host: bytes, *, command: int = 0x21, family: int | None = None, more: bytes = b""
) -> bytes:
    family = (0x11 if len(source) == 4 else 0x21) if family is None else family
    said = source + host + (40000).to_bytes(2, "big") + (21318).to_bytes(2, "big") + more
    return V2 + bytes((command, family)) + len(said).to_bytes(2, "big") + said


FOUR = version_2(bytes((192, 0, 2, 7)), bytes((203, 0, 113, 1)))
SIX = version_2(bytes.fromhex("20010db8000000000000000000000007"), bytes.fromhex("20010db8000000000000000000000001"))


class HeaderTests(SynchronousTestCase):
    def test_what_proxies_send(self) -> None:
        for sent, source, host in (
            (version_1(), HOME, "203.0.113.1"),
            (version_1("2001:db8::7", "2001:db8::1"), "[2001:db8::7]", "[2001:db8::1]"),
            (version_1("::ffff:192.0.2.7", "::ffff:203.0.113.1"), HOME, "203.0.113.1"),
            (FOUR, HOME, "203.0.113.1"),
            (SIX, "[2001:db8::7]", "[2001:db8::1]"),
            (version_2(bytes((192, 0, 2, 7)), bytes((203, 0, 113, 1)), more=b"\x03\x00\x04abcd"), HOME, "203.0.113.1"),
        ):
            expected = Header(len(sent), source, host, 21318)
            self.assertEqual(read_header(sent), expected)
            self.assertEqual(read_header(sent + b'{"method":"HB"}'), expected)
            for end in range(len(sent)):
                self.assertIsNone(read_header(sent[:end]), sent[:end])

    def test_a_health_check(self) -> None:
        for sent in (V2 + b"\x20\x00\x00\x00", version_2(bytes(4), bytes(4), command=0x20)):
            self.assertEqual(read_header(sent), Header(len(sent)))

    def test_what_says_no_address(self) -> None:
        for sent in (
            *(b'{"method":"login"}', b"GET / HTTP/1.1\r\n", b"\x16\x03\x01", b"\x00", b"PROXYX", b"proxy TCP4 "),
            *(b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN 1.2.3.4 1.2.3.4 1 2\r\n", b"PROXY \r\n", b"PROXY TCP4\r\n"),
            *(b"PROXY TCP4 192.0.2.7 203.0.113.1 40000\r\n", b"PROXY TCP4 192.0.2.7 203.0.113.1 1 2 3\r\n"),
            *(b"PROXY TCP4 192.0.2.7 203.0.113.1 65536 1\r\n", b"PROXY TCP4 192.0.2.7 203.0.113.1 -1 1\r\n"),
            *(b"PROXY TCP4 192.0.2.007 203.0.113.1 1 1\r\n", b"PROXY TCP4 ::1 ::1 1 1\r\n"),
            *(b"PROXY TCP6 192.0.2.7 203.0.113.1 1 1\r\n", b"PROXY TCP6 fe80::1%eth0 ::1 1 1\r\n"),
            *(b"PROXY TCP4 localhost localhost 1 1\r\n", b"PROXY TCP4 \xff\xfe 203.0.113.1 1 1\r\n"),
            b"PROXY " + b"x" * LONGEST_V1,
            *(V2 + b"\x21\x11\x00\x00", V2 + b"\x21\x00\x00\x0c" + bytes(12), V2 + b"\x21\x31\x00\xd8" + bytes(216)),
            *(V2 + b"\x21\x12\x00\x0c" + bytes(12), V2 + b"\x11\x11\x00\x0c", V2 + b"\x22\x11\x00\x0c"),
            *(V2 + b"\x21\x11\xff\xff", V2 + b"\x20\x11" + (LONGEST_HEADER - 15).to_bytes(2, "big")),
        ):
            with self.assertRaises(ProxyHeaderError, msg=repr(sent)):
                read_header(sent)

    @given(
        st.one_of(st.binary(max_size=200), st.binary(max_size=64).map(V2.__add__), st.binary().map(b"PROXY ".__add__))
    )
    def test_garbage_raises_nothing_else_and_is_bounded(self, sent: bytes) -> None:
        for end in range(len(sent) + 1):
            try:
                found = read_header(sent[:end])
            except ProxyHeaderError:
                return
            if found is not None:
                self.assertLessEqual(found.length, end)
                return
        self.assertLess(len(sent), LONGEST_HEADER)


class GateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.enter()

    def enter(self, most: int = 10, **options: Any) -> None:
        self.world = World(**options)
        self.world.register()
        self.listeners = DeviceListeners(self.world.around, most)
        reactor = MemoryReactorClock()
        place = Listener("tcp:1", serverFromString(reactor, "tcp:1"), frozenset(Role), Networks(["10.0.0.0/24"]))
        self.successResultOf(Deferred.fromCoroutine(self.listeners.listen([place])))
        self.factory = reactor.tcpServers[0][1]

    def come(self, *said: bytes, peer: str = PROXY) -> SegmentTransport:
        protocol = cast("Any", self.factory).buildProtocol(IPv4Address("TCP", peer, 4000))
        transport = SegmentTransport(protocol, peer, self.world.clock.seconds)
        transport.connect()
        for one in said:
            transport.deliver(one)
        return transport

    def test_the_address_is_that_of_the_device(self) -> None:
        for header in (version_1(), FOUR):
            transport = self.come(header + encode(LongCon(hostid=HOSTID)), encode(Heartbeat(hostid=HOSTID)))
            self.assertIn(b'"HB"', transport.segments[-1])
            self.assertEqual(self.world.presence.address(HOSTID), HOME)
            transport.hang_up()
        self.come(version_1(STRANGER), encode(LongCon(hostid=HOSTID)))
        (taken_over,) = [event for event in self.world.events if event.kind == "session_taken_over"]
        self.assertEqual(taken_over.details["address"], STRANGER)

    def test_a_login_by_a_proxy(self) -> None:
        """The address of the login is the device's, and what it is told to come back to is what it reached."""
        transport = self.come(version_1(STRANGER), encode(Login(params=login_params())))
        self.assertIn(b'"liveData":"203.0.113.1:21318"', transport.segments[-1])
        device = self.world.registry.device(HOSTID)
        assert device is not None
        self.assertEqual(device.last_login_address, STRANGER)

    def test_bound_sessions_and_limits_go_by_it(self) -> None:
        self.enter(door=DeviceDoorTerms(bind_session="address", fresh_connections=3), unknown_per_minute=5)
        refused = self.come(version_1(STRANGER), encode(LongCon(hostid=HOSTID)))
        self.assertIn(b'"000003"', refused.segments[-1])
        for number in range(8):
            self.come(version_1(STRANGER), encode(LongCon(hostid=f"GUESS{number}"))).hang_up()
        self.assertIn(b'"000000"', self.come(version_1(), encode(LongCon(hostid=HOSTID))).segments[-1])
        silent = [self.come(version_1("203.0.113.77")) for _ in range(4)]
        self.assertEqual([one.aborted for one in silent], [True, False, False, False])

    def test_byte_by_byte(self) -> None:
        said = FOUR + encode(LongCon(hostid=HOSTID))
        transport = self.come(*(said[place : place + 1] for place in range(len(said))))
        self.assertIn(b'"000000"', transport.segments[-1])
        self.assertEqual(self.world.presence.address(HOSTID), HOME)

    def test_other_peers_are_refused(self) -> None:
        for peer in (STRANGER, HOME, "10.0.1.5", "127.0.0.1"):
            transport = self.come(peer=peer)
            self.assertTrue(transport.lost or transport.aborted)
            self.assertEqual(transport.segments, [])
        self.assertEqual(self.world.counters.peer_errors, {Reason.UNTRUSTED_PROXY: 4})
        self.assertEqual(len(self.listeners), 0)

    def test_no_header_no_session(self) -> None:
        for said in (
            encode(LongCon(hostid=HOSTID)),
            b"PROXY UNKNOWN\r\n",
            b"\r\n\r\nX",
            V2 + b"\x21\x11\xff\xff",
            b"PROXY " * 30,
        ):
            transport = self.come(said)
            self.assertTrue(transport.aborted, said)
            self.assertEqual(transport.segments, [])
            transport.hang_up()
        self.assertEqual(self.world.counters.peer_errors, {Reason.PROXY_HEADER: 5})
        self.assertFalse(self.world.presence.online(HOSTID))

    def test_a_header_takes_seconds_at_most(self) -> None:
        """However it is dripped, what is held is less than a header, and it is gone in time."""
        transport = self.come(b"PROXY TCP4 ")
        self.world.clock.advance(HEADER_S - 0.5)
        transport.deliver(b"192.")
        self.assertFalse(transport.aborted)
        self.world.clock.advance(0.5)
        self.assertTrue(transport.aborted)
        self.assertEqual(self.world.counters.peer_errors, {Reason.PROXY_HEADER: 1})
        transport.hang_up()
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_gates_are_places(self) -> None:
        self.enter(most=3)
        waiting = [self.come() for _ in range(3)]
        self.assertTrue(self.come().lost)
        waiting[0].hang_up()
        waiting[1].deliver(version_1() + encode(LongCon(hostid=HOSTID)))
        self.assertIn(b'"000000"', waiting[1].segments[-1])
        self.assertFalse(self.come().lost)
        self.assertTrue(self.come().lost)

    def test_a_health_check_leaves_nothing(self) -> None:
        transport = self.come(V2 + b"\x20\x00\x00\x00")
        self.assertTrue(transport.lost)
        self.assertEqual((self.world.counters.peer_errors, len(self.listeners)), ({}, 0))

    def test_the_end(self) -> None:
        transport = self.come(b"PROXY")
        self.successResultOf(Deferred.fromCoroutine(self.listeners.stop()))
        self.assertTrue(transport.aborted)


class SocketTests(TestCase):
    timeout = 60

    async def test_a_session_reads_and_writes_its_socket(self) -> None:
        """Header and first message in one segment; from then on there is nothing between the session and TCP."""
        world = World()
        world.register()
        listeners = DeviceListeners(world.around, 10)
        string = "haproxy:tcp:0:interface=127.0.0.1"
        settings = Server(login=[string], live=[string], historic=[string], trusted_proxies=["127.0.0.0/8"])
        await listeners.listen(device_listeners(settings, folder(self), reactor))
        endpoint = HostnameEndpoint(reactor, b"127.0.0.1", listeners.tcp_port(string) or 0)
        heard: Any = AccumulatingProtocol()
        closed = heard.closedDeferred = Deferred()
        await connectProtocol(endpoint, heard)
        heard.transport.write(version_1() + encode(LongCon(hostid=HOSTID)))
        await until(lambda: b"LongCon" in heard.data)
        (session,) = world.presence.sessions(HOSTID)
        self.assertEqual(session.peer, HOME)
        self.assertIsInstance(socket_of(cast("Any", session).transport), socket)
        heard.transport.write(encode(Heartbeat(hostid=HOSTID)))
        await until(lambda: b"HB" in heard.data)
        heard.transport.loseConnection()
        await closed
        await until(lambda: not world.presence.online(HOSTID))
        await listeners.stop()


class ConfiguredTests(SynchronousTestCase):
    def test_what_cannot_be(self) -> None:
        for settings, why in (
            ({"live": ["haproxy:tcp:1"]}, "server.trusted_proxies"),
            ({"live": ["haproxy:ssl:1"], "trusted_proxies": ["10.0.0.0/8"]}, "let the proxy end TLS"),
            ({"live": ["haproxy:haproxy:tcp:1"], "trusted_proxies": ["10.0.0.0/8"]}, "for tcp: and tcp6: only"),
            ({"trusted_proxies": ["10.0.0.1/8"]}, "server.trusted_proxies"),
        ):
            with self.assertRaisesRegex(ConfigError, why):
                device_listeners(Server(**settings), folder(self), MemoryReactorClock())  # type: ignore[arg-type]

    def test_not_at_the_web_port(self) -> None:
        """There a peer that says that it is 127.0.0.1 could read without a token."""
        with self.assertRaisesRegex(ConfigError, "web.listen.*for the ports of devices"):
            web_doors(Web(listen=["haproxy:tcp:1"]), folder(self), MemoryReactorClock())

    def test_a_port_of_each_kind(self) -> None:
        settings = Server(live=["haproxy:tcp:1"], trusted_proxies=["10.0.0.0/8"])
        found = {
            one.string: one.proxies is not None
            for one in device_listeners(settings, folder(self), MemoryReactorClock())
        }
        self.assertEqual(found, {"tcp:21318": False, "haproxy:tcp:1": True})
