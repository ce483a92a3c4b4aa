"""``cmmd.server.idle_wheel``: connections are looked at in time, with few timers."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cmmd.server.idle_wheel import SLOTS, IdleWheel
from cmmd.server.listeners import DeviceListeners
from cmmd.wire.errors import Reason
from tests.test_server_session import message
from tests.transports import SegmentTransport
from tests.world import HOSTID, World

TIMEOUT_S = 160.0


class Watched:
    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.looked: list[float] = []

    def look_whether_idle(self) -> None:
        self.looked.append(self.clock.seconds())


class Broken(Watched):
    def look_whether_idle(self) -> None:
        super().look_whether_idle()
        raise ZeroDivisionError


class IdleWheelTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(3.5)
        self.wheel = IdleWheel(self.clock, TIMEOUT_S)
        self.watched = [Watched(self.clock) for _ in range(50)]

    def test_each_is_looked_at_once_and_a_slot_early_at_most(self) -> None:
        due = []
        for one in self.watched:
            self.assertIsNotNone(self.wheel.add(one, TIMEOUT_S))
            due.append(self.clock.seconds() + TIMEOUT_S)
            self.clock.advance(3)
            self.assertLessEqual(len(self.clock.getDelayedCalls()), SLOTS + 1)
        self.clock.pump([1] * int(TIMEOUT_S))
        for one, at in zip(self.watched, due, strict=True):
            self.assertEqual(len(one.looked), 1)
            self.assertTrue(at - TIMEOUT_S / SLOTS <= one.looked[0] <= at)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_too_soon(self) -> None:
        self.assertIsNone(self.wheel.add(self.watched[0], 5.0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_taken_off(self) -> None:
        first, second = self.watched[:2]
        places = [self.wheel.add(one, TIMEOUT_S) for one in (first, second)]
        self.wheel.remove(first, places[0] or 0)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.wheel.remove(first, places[0] or 0)
        self.wheel.remove(second, places[1] or 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.advance(TIMEOUT_S)
        self.assertEqual(first.looked + second.looked, [])

    def test_one_that_fails_holds_no_other_up(self) -> None:
        watched = [Broken(self.clock), *self.watched[:3], Broken(self.clock)]
        for one in watched:
            self.wheel.add(one, TIMEOUT_S)
        self.clock.advance(TIMEOUT_S)
        self.assertEqual([len(one.looked) for one in watched], [1] * 5)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)


class SessionsOnAWheelTests(SynchronousTestCase):
    """Connections that share timers end as they do with timers of their own."""

    def setUp(self) -> None:
        self.world = World()
        self.world.register()
        self.listeners = DeviceListeners(self.world.around, 10)

    def connect(self) -> SegmentTransport:
        session = self.listeners.admit(None, carries_commands=True)
        assert session is not None
        transport = SegmentTransport(session, seconds=self.world.clock.seconds)
        transport.connect()
        transport.deliver(message("LongCon", HOSTID))
        return transport

    def test_a_silent_one_ends_when_it_is_due_and_no_earlier(self) -> None:
        timeout = self.world.around.limits.idle_timeout
        self.connect()
        self.world.clock.advance(1.0)
        alive = self.connect()
        for _ in range(3):
            self.world.clock.advance(timeout / 4)
            alive.deliver(message("HB", HOSTID, params=""))
        self.world.clock.advance(timeout / 4 - 1.01)
        self.assertEqual(self.world.counters.peer_errors[Reason.IDLE_TIMEOUT], 0)
        self.world.clock.advance(0.02)
        self.assertEqual(self.world.counters.peer_errors[Reason.IDLE_TIMEOUT], 1)
        self.world.clock.pump([timeout / 100] * 100)
        self.assertEqual(self.world.counters.peer_errors[Reason.IDLE_TIMEOUT], 2)

    def test_one_that_has_gone_is_let_alone(self) -> None:
        transport = self.connect()
        calls = len(self.world.clock.getDelayedCalls())
        transport.lose()
        self.assertLess(len(self.world.clock.getDelayedCalls()), calls)
        self.world.clock.advance(1000)
        self.assertEqual(self.world.counters.peer_errors[Reason.IDLE_TIMEOUT], 0)
