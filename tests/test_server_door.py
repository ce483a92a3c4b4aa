"""The ports of devices: what strangers can take of them, and that known devices notice nothing."""

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.devices.networks import BadNetwork, Networks, same_network, subscriber
from cmmd.server.door import DeviceDoorTerms
from cmmd.server.unfinished import UnfinishedFrames
from cmmd.wire.errors import Reason
from cmmd.wire.messages import Heartbeat, Login, LongCon, encode
from tests.transports import SegmentTransport
from tests.world import HOSTID, World, login_params

HOME, STRANGER = "192.0.2.7", "198.51.100.66"


class DoorTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.enter()

    def enter(self, **options: Any) -> None:
        self.world = World(**options)
        self.world.register()

    def long_connection(self, hostid: str = HOSTID, peer: str = HOME) -> SegmentTransport:
        transport = self.world.connect(peer=peer)
        transport.deliver(encode(LongCon(hostid=hostid)))
        return transport

    def answer(self, transport: SegmentTransport) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(transport.segments[-1])
        return answer

    def retcode(self, hostid: str = HOSTID, peer: str = HOME) -> str:
        return str(self.answer(self.long_connection(hostid, peer))["retcode"])


class UnknownHostidTests(DoorTestCase):
    """Hostids are printed on modules, and can be guessed: 20 a minute of an address tell whether they exist."""

    def test_guesses_tell_nothing_any_more(self) -> None:
        for number in range(20):
            self.assertEqual(self.retcode(f"GUESS{number}", STRANGER), "000003")
        known = self.answer(self.long_connection(HOSTID, STRANGER))
        unknown = self.answer(self.long_connection("GUESS", STRANGER))
        self.assertEqual(known, unknown)
        self.assertEqual(self.world.presence.sessions(HOSTID), ())

    def test_known_devices_behind_the_same_nat_notice_nothing(self) -> None:
        for number in range(100):
            self.retcode(f"GUESS{number}", HOME)
        self.assertEqual(self.retcode(HOSTID, HOME), "000000")
        self.assertEqual(self.retcode(HOSTID, "192.0.9.9"), "000000")  # another address of the same carrier

    def test_a_device_that_has_moved_there_logs_in_and_is_at_home(self) -> None:
        for number in range(100):
            self.retcode(f"GUESS{number}", STRANGER)
        self.assertEqual(self.retcode(HOSTID, STRANGER), "000003")
        login = self.world.connect(peer=STRANGER)
        login.deliver(encode(Login(params=login_params())))
        self.assertEqual(self.answer(login)["retcode"], "000000")
        self.assertEqual(self.retcode(HOSTID, STRANGER), "000000")

    def test_a_minute_later_it_learns_again(self) -> None:
        for number in range(21):
            self.retcode(f"GUESS{number}", STRANGER)
        self.world.clock.advance(60)
        self.assertEqual(self.retcode(HOSTID, STRANGER), "000000")


class FreshConnectionTests(DoorTestCase):
    def test_an_address_has_so_many_and_the_oldest_ends(self) -> None:
        self.enter(door=DeviceDoorTerms(fresh_connections=5))
        silent = [self.world.connect(peer=STRANGER) for _ in range(8)]
        self.assertEqual([one.aborted for one in silent], [True] * 3 + [False] * 5)
        self.assertEqual(self.world.counters.peer_errors[Reason.TOO_MANY_CONNECTIONS], 3)

    def test_sessions_are_not_counted(self) -> None:
        self.enter(door=DeviceDoorTerms(fresh_connections=5))
        session = self.long_connection(peer=STRANGER)
        for _ in range(20):
            self.world.connect(peer=STRANGER)
        session.deliver(encode(Heartbeat(hostid=HOSTID)))
        self.assertEqual(self.answer(session)["method"], "HB")

    def test_a_known_device_behind_a_flood_of_its_own_address(self) -> None:
        self.enter(door=DeviceDoorTerms(fresh_connections=5))
        for _ in range(20):
            self.world.connect()
        self.assertEqual(self.retcode(), "000000")

    def test_a_fleet_that_comes_back_at_once_has_room(self) -> None:
        """All devices of one NAT connect before any of them says a word, as after a restart."""
        self.enter(door=DeviceDoorTerms(fresh_connections=5), max_devices=1000)
        for number in range(200):
            self.world.clock.advance(3)  # the budget of that address for fresh registrations
            self.world.register(f"FLEET{number}")
        waiting = [self.world.connect() for _ in range(len(self.world.registry))]
        self.assertFalse(any(one.aborted for one in waiting))
        for device, transport in zip(tuple(self.world.registry.devices()), waiting, strict=True):
            transport.deliver(encode(LongCon(hostid=device.hostid)))
            self.assertEqual(self.answer(transport)["retcode"], "000000")

    def test_connections_that_are_closing_are_places_too(self) -> None:
        self.enter(door=DeviceDoorTerms(fresh_connections=5))
        refused = [self.long_connection(f"GUESS{number}", STRANGER) for number in range(20)]
        self.assertEqual(sum(not one.lost for one in refused), 5)

    def test_exempt_network(self) -> None:
        self.enter(door=DeviceDoorTerms(fresh_connections=5, exempt=Networks(["198.51.100.0/24"])))
        silent = [self.world.connect(peer=STRANGER) for _ in range(50)]
        self.assertFalse(any(one.aborted for one in silent))


class UnfinishedFrameTests(DoorTestCase):
    def test_their_sum_is_bounded_and_strangers_go_first(self) -> None:
        self.enter(door=DeviceDoorTerms(most_unfinished=100_000))
        device = self.long_connection()
        upload = encode(Heartbeat(hostid=HOSTID))
        device.deliver(upload[:10])
        hostile = [self.world.connect(peer=f"198.51.100.{number}") for number in range(100)]
        for one in hostile:
            one.deliver(b'{"a":"' + b"x" * 10_000)
        self.assertLessEqual(sum(not one.aborted for one in hostile), 10)
        self.assertEqual(self.world.counters.peer_errors[Reason.UNFINISHED], 91)
        device.deliver(upload[10:])
        self.assertEqual(self.answer(device)["method"], "HB")

    def test_what_is_finished_or_gone_counts_no_more(self) -> None:
        self.enter(door=DeviceDoorTerms(most_unfinished=20_000))
        device = self.long_connection()
        for _ in range(50):
            device.deliver(b'{"method":"HB","params":"' + b"x" * 9_000)
            device.deliver(b'","hostid":"' + HOSTID.encode() + b'"}')
            self.assertEqual(self.answer(device)["method"], "HB")
            gone = self.world.connect(peer=STRANGER)
            gone.deliver(b'{"a":"' + b"x" * 9_000)
            gone.hang_up()
        self.assertEqual(self.world.counters.peer_errors[Reason.UNFINISHED], 0)

    def test_where_all_are_known_the_largest_goes(self) -> None:
        frames: UnfinishedFrames[str] = UnfinishedFrames(100, lambda _: True)
        self.assertIsNone(frames.note("small", 10))
        self.assertIsNone(frames.note("large", 80))
        self.assertEqual(frames.note("new", 20), "large")
        frames.note("large", 0)
        self.assertEqual(frames.total, 30)


class BoundSessionTests(DoorTestCase):
    """``bind_session``: a hostid alone takes no session over."""

    def refusals(self) -> list[object]:
        return [event.details["address"] for event in self.world.events if event.kind == "session_refused"]

    def test_off(self) -> None:
        self.assertEqual(self.retcode(peer=STRANGER), "000000")
        self.assertEqual([alarm.signal for alarm in self.world.fleet.alarms.open_alarms()], ["session_taken_over"])

    def test_address(self) -> None:
        self.enter(door=DeviceDoorTerms(bind_session="address"))
        self.assertEqual(self.retcode(peer=HOME), "000000")
        for stranger in (STRANGER, "192.0.2.8"):
            self.assertEqual(
                self.answer(self.long_connection(peer=stranger)), self.answer(self.long_connection("NONE"))
            )
        self.assertEqual(self.refusals(), [STRANGER, "192.0.2.8"])
        self.assertEqual(self.world.fleet.alarms.open_alarms(), [])
        self.assertEqual(self.world.counters.peer_errors[Reason.FOREIGN_ADDRESS], 2)

    def test_network(self) -> None:
        self.enter(door=DeviceDoorTerms(bind_session="network"))
        self.assertEqual(
            [self.retcode(peer=one) for one in (HOME, "192.0.200.1", STRANGER)], ["000000"] * 2 + ["000003"]
        )

    def test_a_login_counts_for_hours(self) -> None:
        self.enter(door=DeviceDoorTerms(bind_session="network", bind_hours=1))
        self.world.clock.advance(3601)
        self.assertEqual(self.retcode(), "000003")
        self.world.register()
        self.assertEqual(self.retcode(), "000000")


class ClonedIdentityTests(DoorTestCase):
    def test_two_addresses_that_both_log_in_and_upload(self) -> None:
        """Two modules with one identity: values would jump between two gensets without a word."""
        first = self.long_connection()
        login = self.world.connect(peer=STRANGER)
        login.deliver(encode(Login(params=login_params())))
        second = self.long_connection(peer=STRANGER)
        upload = b'{"method":"reqdata","params":"","hostid":"%s"}' % HOSTID.encode()
        for transport in (second, first):
            transport.deliver(upload)
        self.assertEqual([alarm.signal for alarm in self.world.fleet.alarms.open_alarms()], ["session_taken_over"])

    def test_eviction_war(self) -> None:
        """A stranger that attaches again and again ends only its own sessions."""
        module = self.long_connection()
        for _ in range(50):
            self.long_connection(peer=STRANGER)
        module.deliver(encode(Heartbeat(hostid=HOSTID)))
        self.assertEqual(self.answer(module)["method"], "HB")
        carrier = self.world.presence.carrier(HOSTID)
        assert carrier is not None
        self.assertEqual(carrier.peer, HOME)


class NetworksTests(SynchronousTestCase):
    def test_subscribers(self) -> None:
        same = [
            ("192.0.2.7", "::ffff:192.0.2.7"),
            ("[2001:db8::1]", "2001:db8::2"),
            ("2001:db8::1%eth0", "2001:db8::2"),
        ]
        other = [("192.0.2.7", "192.0.2.8"), ("2001:db8::1", "2001:db8:0:1::1"), ("", "192.0.2.7")]
        self.assertEqual([subscriber(one) == subscriber(two) for one, two in (*same, *other)], [True] * 3 + [False] * 3)

    def test_networks_of_carriers(self) -> None:
        pairs = [
            ("10.1.2.3", "10.1.9.9"),
            ("2001:db8::1", "2001:db8:9::1"),
            ("10.1.2.3", "10.2.2.3"),
            ("10.1.2.3", "::1"),
        ]
        self.assertEqual([same_network(one, two) for one, two in pairs], [True, True, False, False])

    def test_sets(self) -> None:
        networks = Networks(["10.8.0.0/16", "192.0.2.7", "2001:db8::/32"])
        found = [one in networks for one in ("10.8.1.1", "[2001:db8::5]", "::ffff:192.0.2.7", "192.0.2.8", "", "x")]
        self.assertEqual(found, [True, True, True, False, False, False])
        for wrong in ("", "10.8.0.1/16", "host", "10.0.0.0/33"):
            with self.assertRaises(BadNetwork):
                Networks([wrong])
