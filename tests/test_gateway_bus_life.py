"""``cmmd.gateway.bus.bus``: the life of its port, which is unplugged, silent, changed and closed."""

from itertools import pairwise
from typing import Any

from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, capturedLogs

from cmmd.gateway.bus import Line, NoAnswer, NotSent, Port
from cmmd.gateway.bus.bus import FIRST_WAIT_S, LONGEST_WAIT_S
from tests.bus_world import READ, SAME_SHAPE, START, WRITE, BusTestCase, MemoryPort

GONE = "No such file or directory"
REMOTE = "socket://192.0.2.7:4001"


class LifeTestCase(BusTestCase):
    def assert_not_sent(self, *results: Deferred[Any], reason: str = "") -> None:
        for result in results:
            error = self.failureResultOf(result, NotSent).value
            if reason:
                self.assertEqual(str(error), reason)


class UnpluggedTests(LifeTestCase):
    def test_not_there_at_the_start(self) -> None:
        self.failures = [GONE] * 5
        self.start(0.1)
        self.assertFalse(self.bus.is_open)
        self.assert_not_sent(self.begin(self.bus.read(READ)), self.begin(self.bus.write(START)), reason=GONE)
        self.run_for(60.0)
        self.assertTrue(self.bus.is_open)
        self.assertEqual(self.values(self.read()), self.truth())
        self.assertEqual(self.bus.statistics.reopenings, 0)

    def test_the_waits_grow_and_are_bounded(self) -> None:
        self.failures = [GONE] * 50
        self.start(300.0)
        times = [time for time, _ in self.attempts]
        waits = [following - one for one, following in pairwise(times)]
        self.assertLessEqual(waits[0], FIRST_WAIT_S)
        self.assertTrue(all(wait <= LONGEST_WAIT_S for wait in waits))
        self.assertTrue(all(wait >= LONGEST_WAIT_S / 2 for wait in waits[6:]))

    def test_pulled_out_and_in(self) -> None:
        self.start()
        self.read()
        self.failures = [GONE] * 3
        self.port.lose()
        self.assertFalse(self.bus.is_open)
        self.assertTrue(self.port.closed)
        self.assert_not_sent(self.begin(self.bus.read(READ)), reason="the device is gone")
        self.run_for(30.0)
        self.assertTrue(self.bus.is_open)
        self.assertEqual(self.values(self.read()), self.truth())
        self.assertEqual(self.bus.statistics.reopenings, 1)
        self.assertEqual(len(self.ports), 2)

    def test_pulled_out_with_a_read_in_hand(self) -> None:
        self.start()
        self.read()
        self.on_frame = self.unheard
        inside, waiting = self.begin(self.bus.read(READ)), self.begin(self.bus.read(SAME_SHAPE))
        self.run_for(0.1)
        self.port.lose()
        error = self.failureResultOf(inside, NoAnswer).value
        self.assertEqual(str(error), "the device is gone")
        self.assert_not_sent(waiting, reason="the device is gone")
        self.assertEqual(self.port.dropped, 0)

    def test_pulled_out_with_a_write_in_hand(self) -> None:
        """It may have left: nobody knows, and it is never sent again."""
        self.start()
        self.read()
        self.on_frame = self.unheard
        writing = self.begin(self.bus.write(START))
        waiting = self.begin(self.bus.write(WRITE))
        self.run_for(0.1)
        self.port.lose()
        self.failureResultOf(writing, NoAnswer)
        self.assert_not_sent(waiting)
        self.run_for(60.0)
        self.assertTrue(self.bus.is_open)
        self.assertEqual(self.frames.count(START.to_hex()), 1)
        self.assertEqual(self.frames.count(WRITE.to_hex()), 0)

    def test_pulled_out_before_the_write_left(self) -> None:
        self.start(0.2)
        writing = self.begin(self.bus.write(START))
        self.run_for(0.1)
        self.port.lose()
        self.assert_not_sent(writing)
        self.assertEqual(self.frames, [])

    def test_pulled_out_while_the_echo_was_being_found_out(self) -> None:
        self.on_frame = self.unheard
        self.start()
        writing = self.begin(self.bus.write(START))
        self.run_for(0.1)
        self.port.lose()
        self.assert_not_sent(writing)
        self.assertEqual(len(self.frames), 1)

    def test_lost_as_soon_as_it_is_open(self) -> None:
        """A loose contact: the waits grow, since nothing was answered in between."""
        self.start(0.0)
        for _ in range(20):
            self.port.lose()
            self.run_for(LONGEST_WAIT_S)
            self.assertTrue(self.bus.is_open)
        self.assertEqual(self.bus.statistics.reopenings, 20)
        self.port.lose()
        self.run_for(LONGEST_WAIT_S / 2 - 0.01)
        self.assertFalse(self.bus.is_open)

    def test_what_is_logged(self) -> None:
        """Trouble once, its end once."""
        with capturedLogs() as captured:
            self.failures = [GONE] * 7
            self.start(60.0)
            self.read()
            self.port.lose()
            self.failures = [GONE, "Permission denied", "Permission denied"]
            self.run_for(60.0)
            self.read()
            self.read()
        said = [(event["log_level"], event["log_format"].format(**event)) for event in captured]
        again = "it is tried again and again"
        self.assertEqual(
            said,
            [
                (LogLevel.warn, f"/dev/ttyUSB0: {GONE}; {again}"),
                (LogLevel.info, "/dev/ttyUSB0 is open: 9600 bit/s, 8N1"),
                (LogLevel.info, "/dev/ttyUSB0: a controller answers again"),
                (LogLevel.warn, f"/dev/ttyUSB0: the device is gone; {again}"),
                (LogLevel.warn, f"/dev/ttyUSB0: {GONE}; {again}"),
                (LogLevel.warn, f"/dev/ttyUSB0: Permission denied; {again}"),
                (LogLevel.info, "/dev/ttyUSB0: a controller answers again"),
            ],
        )

    def test_a_bug(self) -> None:
        """It is logged with its traceback, ends the port, and nobody waits for ever."""

        def broken(port: MemoryPort, frame: bytes) -> None:
            raise RuntimeError("broken")

        self.on_frame = broken
        self.start()
        result = self.begin(self.bus.read(READ))
        self.run_for(0.1)
        self.failureResultOf(result, NoAnswer)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertTrue(self.ports[0].closed)
        self.on_frame = self.answered
        self.run_for(10.0)
        self.assertEqual(self.values(self.read()), self.truth())


class OpeningTests(LifeTestCase):
    """Over a network opening takes its time."""

    def setUp(self) -> None:
        self.prepare(url=REMOTE)
        self.slow = Deferred[Port]()
        self.opening = [self.slow]

    def test_requests_wait_for_it(self) -> None:
        self.start(0.0)
        result = self.begin(self.bus.read(READ))
        self.run_for(3.0)
        self.assertFalse(self.bus.is_open)
        self.assertNoResult(result)
        self.slow.callback(None)  # type: ignore[arg-type]
        self.assertTrue(self.bus.is_open)
        self.run_for(1.0)
        self.assertEqual(self.values(self.successResultOf(result)), self.truth())

    def test_stopped_meanwhile(self) -> None:
        self.start(0.0)
        result = self.begin(self.bus.read(READ))
        stopped = self.begin(self.bus.stop())
        self.successResultOf(stopped)
        self.assert_not_sent(result, reason="the bus is stopped")
        self.assertEqual(self.ports, [])

    def test_rewired_meanwhile(self) -> None:
        self.start(0.0)
        first = self.begin(self.bus.rewire(replace(self.line, baud_rate=19_200)))
        self.successResultOf(first)
        self.assertEqual(self.port.line.baud_rate, 19_200)
        self.assertEqual(len(self.ports), 1)

    def test_rewired_twice_meanwhile(self) -> None:
        self.start()
        self.opening = [Deferred(), Deferred()]
        first = self.begin(self.bus.rewire(replace(self.line, baud_rate=19_200)))
        self.run_for(0.1)
        self.assertNoResult(first)
        last = self.opening[0]
        second = self.begin(self.bus.rewire(replace(self.line, baud_rate=115_200)))
        self.assert_not_sent(first)
        self.assertNoResult(second)
        last.callback(None)  # type: ignore[arg-type]
        self.successResultOf(second)
        self.assertEqual(self.port.line.baud_rate, 115_200)


class SilentRemoteTests(LifeTestCase):
    """Nothing bounds how late a network is: a request without an answer ends the connection."""

    def setUp(self) -> None:
        self.prepare(url=REMOTE)

    def test_the_retry_has_a_new_connection(self) -> None:
        self.start()
        self.read()
        self.on_frame = self.late(20.0)
        result = self.begin(self.bus.read(READ))
        following = self.begin(self.bus.read(SAME_SHAPE))
        self.run_for(1.1)
        self.assertTrue(self.ports[0].closed)
        self.on_frame = self.answered
        self.run_for(1.0)
        self.assertEqual(self.values(self.successResultOf(result)), self.truth())
        self.assertNoResult(following)
        self.run_for(6.0)
        self.assertEqual(self.values(self.successResultOf(following)), self.truth(SAME_SHAPE))
        self.assertEqual(len(self.ports), 2)
        self.assertEqual([len(port.sent) for port in self.ports], [2, 2])
        self.run_for(30.0)

    def test_a_write_cannot_arrive_later(self) -> None:
        self.start()
        self.read()
        self.on_frame = self.unheard
        writing = self.begin(self.bus.write(START))
        self.run_for(1.1)
        self.failureResultOf(writing, NoAnswer)
        self.assertTrue(self.ports[0].closed)
        self.assertEqual(self.frames.count(START.to_hex()), 1)

    def test_nobody_behind_it(self) -> None:
        """Where no controller answers at all, connections are made ever more rarely, and nobody waits for them."""
        self.on_frame = self.unheard
        self.start()
        for _ in range(100):
            self.begin(self.bus.read(READ)).addErrback(lambda failure: failure.trap(NoAnswer, NotSent))
            self.run_for(3.0)
        self.assertLess(len(self.ports), 60)
        self.assertGreater(len(self.ports), 10)
        self.on_frame = self.answered
        self.run_for(LONGEST_WAIT_S)
        self.assertEqual(self.values(self.read()), self.truth())

    def test_meanwhile_nothing_is_sent(self) -> None:
        self.on_frame = self.unheard
        self.start()
        self.failureResultOf(self.read_in(1.1), NoAnswer)
        self.assertFalse(self.bus.is_open)
        self.assert_not_sent(self.read_in(0.0), reason="no controller answers")

    def read_in(self, seconds: float) -> Deferred[str]:
        result = self.begin(self.bus.read(READ))
        self.run_for(seconds)
        return result

    def test_the_echo_cannot_be_found_out(self) -> None:
        self.on_frame = self.unheard
        self.start()
        result = self.begin(self.bus.write(START))
        self.run_for(5.0)
        self.assert_not_sent(result)
        self.assertEqual(self.frames.count(START.to_hex()), 0)


class StopTests(LifeTestCase):
    def test_before_the_start_and_after_the_end(self) -> None:
        self.successResultOf(self.begin(self.bus.stop()))
        self.assert_not_sent(self.begin(self.bus.read(READ)), reason="the bus is not started")
        self.start()
        self.stop()
        self.assert_not_sent(self.begin(self.bus.read(READ)), reason="the bus is stopped")
        self.successResultOf(self.begin(self.bus.stop()))
        self.bus.start()
        self.run_for(1.0)
        self.assertEqual(self.values(self.read()), self.truth())

    def test_what_is_in_hand_comes_to_its_end(self) -> None:
        self.start()
        self.read()
        writing, waiting = self.begin(self.bus.write(START)), self.begin(self.bus.write(WRITE))
        self.run_for(0.01)
        stopped = [self.begin(self.bus.stop()) for _ in range(2)]
        self.assert_not_sent(waiting)
        for one in stopped:
            self.assertNoResult(one)
        self.run_for(0.02)
        self.successResultOf(writing)
        for one in stopped:
            self.successResultOf(one)
        self.assertTrue(self.port.closed)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_what_is_in_hand_is_not_repeated(self) -> None:
        self.on_frame = self.unheard
        self.start()
        reading = self.begin(self.bus.read(READ))
        self.run_for(0.1)
        stopped = self.begin(self.bus.stop())
        self.run_for(1.1)
        self.failureResultOf(reading, NoAnswer)
        self.successResultOf(stopped)
        self.assertEqual(len(self.frames), 1)

    def test_while_a_request_waits_for_silence(self) -> None:
        self.start(0.1)
        waiting = self.begin(self.bus.write(START))
        stopped = self.begin(self.bus.stop())
        self.assert_not_sent(waiting)
        self.successResultOf(stopped)
        self.assertTrue(self.port.closed)

    def test_while_a_lost_port_is_closed(self) -> None:
        """That takes a second where threads have to end; the bus then ends without another attempt or wait."""
        self.start()
        self.port.closing = Deferred()
        self.port.lose()
        stopped = self.begin(self.bus.stop())
        self.assertNoResult(stopped)
        self.port.closing.callback(None)
        self.successResultOf(stopped)
        self.assertEqual(len(self.ports), 1)

    def test_while_unplugged(self) -> None:
        self.failures = [GONE] * 3
        self.start(0.1)
        self.successResultOf(self.begin(self.bus.stop()))
        self.assertEqual(self.clock.getDelayedCalls(), [])


class RewireTests(LifeTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.faster = replace(self.line, baud_rate=115_200)

    def test_another_baud_rate(self) -> None:
        self.start()
        self.read()
        self.successResultOf(self.begin(self.bus.rewire(self.faster)))
        self.assertIs(self.bus.line, self.faster)
        self.assertEqual([port.line.baud_rate for port in self.ports], [9600, 115_200])
        self.assertTrue(self.ports[0].closed)
        self.assertTrue(self.bus.is_open)
        self.assertEqual(self.values(self.read()), self.truth())

    def test_what_is_in_hand_comes_to_its_end_and_what_waits_goes_on(self) -> None:
        self.start()
        self.read()
        self.begin(self.bus.read(READ))
        self.run_for(0.005)
        writing = self.begin(self.bus.write(START))
        rewired = self.begin(self.bus.rewire(self.faster))
        self.assertNoResult(rewired)
        self.run_for(0.02)
        self.successResultOf(rewired)
        self.run_for(1.0)
        self.successResultOf(writing)
        self.assertEqual([len(port.sent) for port in self.ports], [2, 2])
        self.assertEqual(self.frames[-1], START.to_hex())

    def test_it_cannot_be_opened(self) -> None:
        self.start()
        self.failures = [GONE] * 2
        other = Line("/dev/ttyUSB1")
        self.assert_not_sent(self.begin(self.bus.rewire(other)), reason=GONE)
        self.assertFalse(self.bus.is_open)
        self.run_for(5.0)
        self.assertTrue(self.bus.is_open)
        self.assertEqual(self.port.line, other)

    def test_while_unplugged(self) -> None:
        self.failures = [GONE] * 6
        self.start(8.0)
        self.failures = []
        self.successResultOf(self.begin(self.bus.rewire(self.faster)))
        self.assertTrue(self.bus.is_open)

    def test_before_the_start(self) -> None:
        self.successResultOf(self.begin(self.bus.rewire(self.faster)))
        self.start()
        self.assertEqual(self.port.line, self.faster)

    def test_stopped_meanwhile(self) -> None:
        self.on_frame = self.unheard
        self.start()
        self.begin(self.bus.read(READ)).addErrback(lambda failure: failure.trap(NoAnswer))
        self.run_for(0.1)
        rewired = self.begin(self.bus.rewire(self.faster))
        self.stop()
        self.assert_not_sent(rewired, reason="the bus is stopped")


class LateWriteTests(LifeTestCase):
    """What has waited for the bus is looked at once more directly before it leaves."""

    def wait_behind_a_read(self, why: list[str], timeout_s: float) -> Deferred[Any]:
        self.bus.line = replace(self.bus.line, timeout_s=timeout_s)
        self.start()
        self.read()
        self.on_frame = self.unheard
        self.begin(self.bus.read(READ)).addErrback(lambda failure: failure.trap(NoAnswer))
        self.run_for(0.1)
        return self.begin(self.bus.write(START, lambda: why[0] if why else None))

    def test_not_wanted_any_more(self) -> None:
        why: list[str] = []
        writing = self.wait_behind_a_read(why, 5.0)
        self.run_for(1.0)
        why.append("somebody has turned the switch")
        self.run_for(60.0)
        self.assert_not_sent(writing, reason=why[0])
        self.assertNotIn(START.to_hex(), self.frames)

    def test_too_late(self) -> None:
        writing = self.wait_behind_a_read([], 30.0)
        self.run_for(60.0)
        self.assert_not_sent(writing, reason="it had waited for 20 s")
        self.assertNotIn(START.to_hex(), self.frames)
