"""The log grows by 10 KB/s at most whatever is sent, from however many addresses: bytes by a simulated clock."""

import json
from collections.abc import Callable, Iterator

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogEvent, capturedLogs, formatEventAsClassicLogText
from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.devices.networks import Networks
from cmmd.server.listeners import DeviceListeners, Listener, Role
from cmmd.wire.messages import Login, LongCon, encode
from tests.browsers import FOREIGN
from tests.transports import SegmentTransport
from tests.world import HOSTID, World, login_params

MOST_A_SECOND = 10_000
"""Bytes."""
MOST_AT_ONCE = 300_000
"""Bytes of all that is logged before the limits of all addresses together count."""


def _said(method: str, **more: object) -> bytes:
    return json.dumps({"method": method, "hostid": HOSTID, **more}).encode()


Attack = Callable[[SegmentTransport, int], None]


def _sends(*sent: bytes) -> Attack:
    def attack(transport: SegmentTransport, _: int) -> None:
        for one in sent:
            if not transport.lost:
                transport.deliver(one)

    return attack


def _new_device(transport: SegmentTransport, number: int) -> None:
    if number % 5:  # a password costs some milliseconds
        return
    hostid = f"NEW{number}"
    transport.deliver(encode(Login(params=login_params(hostid, hostname="\u67f4" * 20, moduletype="\u6cb9" * 30))))
    transport.deliver(encode(LongCon(hostid=hostid)))


def _guess(transport: SegmentTransport, number: int) -> None:
    transport.deliver(encode(LongCon(hostid=f"GUESS{number}")))


_FRAMES = ";".join(f"01{code:02X}02ABCD" for code in range(1, 40))

ATTACKS: dict[str, Attack] = {
    "garbage": _sends(*[b"\xff" * 200] * 3),
    "no JSON": _sends(*[b'{"\x1b[2J\\u202e' * 20 + b"}"] * 3),
    "unknown methods": _sends(*[_said("\x1b]0;" * 30)] * 3),
    "malformed": _sends(*[_said("reqdata", params=["\u202e" * 100])] * 3),
    "other protocols": _sends(next(iter(FOREIGN.values()))),
    "unknown hostids": _guess,
    "new devices": _new_device,
    "wrong passwords": _sends(encode(Login(params=login_params(password="\u202e" * 20)))),
    "sessions from elsewhere": _sends(encode(LongCon(hostid=HOSTID)), _said("HB")),
    "false history": _sends(*[_said("reqdata", params="", itime=1_700_000_000_000)] * 3),
    "foreign frames": _sends(*[_said("reqdata", params=_FRAMES)] * 3),
    "inputs that flap": _sends(*[_said("reqdatachange", params={}, FireAlarm=one % 2) for one in range(4)]),
    "stray answers": _sends(*[_said("writeConfig", params="\u202e" * 100, uid="1")] * 3),
}


class LogGrowthTests(SynchronousTestCase):
    seconds = 5
    a_second = 15
    """Connections of each attack, each from another address."""

    def setUp(self) -> None:
        self.world = World(max_devices=1_000_000)
        self.world.register()
        self.number = 0
        self.logged: list[LogEvent] = []

    def addresses(self) -> Iterator[str]:
        while True:
            self.number += 1
            yield f"10.{self.number >> 16 & 255}.{self.number >> 8 & 255}.{self.number & 255}"

    def bytes_logged(self, work: Callable[[], None]) -> int:
        with capturedLogs() as logged:
            work()
        return sum(len((formatEventAsClassicLogText(event) or "").encode()) for event in logged)

    def attack_once(self, attacks: list[Attack]) -> None:
        addresses = self.addresses()
        for attack in attacks:
            for _ in range(self.a_second):
                transport = self.world.connect(peer=next(addresses))
                attack(transport, self.number)
                transport.turns()
                if not transport.lost:
                    transport.hang_up()
        self.world.clock.advance(1)

    def attack_for(self, seconds: int, attacks: list[Attack]) -> None:
        for _ in range(seconds):
            self.attack_once(attacks)

    def test_all_at_once(self) -> None:
        attacks = list(ATTACKS.values())
        at_once = self.bytes_logged(lambda: self.attack_for(self.seconds, attacks))
        self.assertLess(at_once, MOST_AT_ONCE)
        self.assertGreater(at_once, 1000)
        grown = self.bytes_logged(lambda: self.attack_for(self.seconds, attacks))
        self.assertLess(grown / self.seconds, MOST_A_SECOND)

    def test_proxies_that_are_none(self) -> None:
        listeners = DeviceListeners(self.world.around, 100)
        reactor = MemoryReactorClock()
        places = [Listener("tcp:1", serverFromString(reactor, "tcp:1"), frozenset(Role), Networks(["192.0.2.0/24"]))]
        self.successResultOf(Deferred.fromCoroutine(listeners.listen(places)))
        factory, addresses = reactor.tcpServers[0][1], self.addresses()

        def flood() -> None:
            for _ in range(self.seconds):
                for _ in range(200):
                    factory.buildProtocol(IPv4Address("TCP", next(addresses), 4000))
                self.world.clock.advance(1)

        self.assertLess(self.bytes_logged(flood), MOST_AT_ONCE)
        self.assertLess(self.bytes_logged(flood) / self.seconds, MOST_A_SECOND)
