"""``cmmd.gateway.bus``: a write that goes first, as a stop does: what it waits for, and what its outcome is."""

from typing import Any

from msgspec.structs import replace
from twisted.internet.defer import Deferred

from cmmd.gateway.bus import ExceptionAnswer, NoAnswer, NotSent
from cmmd.gateway.bus.request_queue import MAX_WAITING
from cmmd.modbus.frames import Request, WriteCoilRequest
from tests.bus_world import READ, START, WRITE, BusTestCase, MemoryPort

STOP = WriteCoilRequest(1, 1, True)
WAITS_S = 5.0
STOP_FRAME = STOP.to_hex()


class FirstTestCase(BusTestCase):
    def stop_now(self, waits_s: float = WAITS_S) -> Deferred[Any]:
        """Have the stop written."""
        self.asked_at = self.clock.seconds()
        return self.begin(self.bus.write_first(STOP, waits_s))

    @property
    def left_after(self) -> list[float]:
        """How long after it was asked for each stop has left."""
        stop = bytes.fromhex(STOP_FRAME)
        return [round(at - self.asked_at, 3) for port in self.ports for at, frame in port.sent if frame == stop]


class FirstTests(FirstTestCase):
    def test_before_all_that_waits_and_behind_what_is_under_way(self) -> None:
        self.prepare(echo=False)
        self.start()
        under_way = self.begin(self.bus.read(READ))
        self.run_for(0.001)
        waiting: list[Deferred[Any]] = [
            self.begin(self.bus.write(WRITE)),
            self.begin(self.bus.write(START)),
            self.begin(self.bus.read(READ)),
        ]
        stopping = self.stop_now()
        self.run_for(2)
        waiting += [under_way, stopping]
        for result in waiting:
            self.successResultOf(result)
        expected: list[Request] = [READ, STOP, WRITE, START, READ]
        self.assertEqual(self.frames, [request.to_hex() for request in expected])

    def test_however_many_wait(self) -> None:
        self.prepare(echo=False)
        self.start()
        waiting = [self.begin(self.bus.read(READ)) for _ in range(MAX_WAITING)]
        self.failureResultOf(self.begin(self.bus.write(START)), NotSent)
        stopping = self.stop_now()
        self.run_for(1)
        self.successResultOf(stopping)
        self.assertEqual(self.frames[0], STOP_FRAME)
        self.run_for(10)
        for result in waiting:
            self.successResultOf(result)

    def test_an_exchange_under_way_is_not_broken(self) -> None:
        """Its answer comes late in its time, and is still taken."""
        self.prepare(echo=False, timeout_s=1.0)
        self.start()
        self.on_frame = self.late(0.9)
        reading = self.begin(self.bus.read(READ))
        self.run_for(0.1)
        self.on_frame = self.answered
        stopping = self.stop_now()
        self.run_for(1)
        self.successResultOf(reading)
        self.successResultOf(stopping)
        self.assertLess(self.left_after[0], 0.9)

    def test_a_read_that_is_not_answered_is_not_repeated_before_it(self) -> None:
        self.prepare(echo=False)
        self.start()
        self.on_frame = self.unheard
        reading = self.begin(self.bus.read(READ))
        self.run_for(0.1)
        stopping = self.stop_now()
        self.on_frame = self.answered
        self.run_for(5)
        self.successResultOf(reading)
        self.successResultOf(stopping)
        self.assertEqual(self.frames, [READ.to_hex(), STOP_FRAME, READ.to_hex()])
        self.assertLess(self.left_after[0], self.line.timeout_s + self.line.quiet_s + 0.1)

    def test_refused(self) -> None:
        self.prepare(echo=False)
        self.start()
        self.controller.refuses = 4
        stopping = self.stop_now()
        self.run_for(1)
        self.failureResultOf(stopping, ExceptionAnswer)

    def test_unit_0(self) -> None:
        self.start()
        self.failureResultOf(self.begin(self.bus.write_first(WriteCoilRequest(0, 1, True), WAITS_S)), NotSent)


class PortTests(FirstTestCase):
    """The port is not open: it is opened for it at once, and waited for."""

    def assert_not_sent(self, stopping: Deferred[Any], reason: str) -> None:
        self.assertEqual(str(self.failureResultOf(stopping, NotSent).value), reason)
        self.assertNotIn(STOP_FRAME, self.frames)

    def assert_sent_within(self, seconds: float, waits_s: float = WAITS_S) -> None:
        """Ask for the stop, which is sent once and done."""
        stopping = self.stop_now(waits_s)
        self.run_for(2 * WAITS_S)
        self.successResultOf(stopping)
        self.assertEqual(len(self.left_after), 1)
        self.assertLess(self.left_after[0], seconds)

    def no_controller_answers(self) -> None:
        """Have a network line long between two connections, because no request was ever answered."""
        self.prepare(url="socket://192.0.2.7:4001", echo=False)
        self.on_frame = self.unheard
        self.start()
        for _ in range(40):
            self.begin(self.bus.read(READ)).addErrback(lambda failure: failure.trap(NoAnswer, NotSent))
            self.run_for(3.0)
        while self.bus.is_open:
            self.begin(self.bus.read(READ)).addErrback(lambda failure: failure.trap(NoAnswer, NotSent))
            self.run_for(0.1)
        self.on_frame = self.answered

    def test_no_port_at_all(self) -> None:
        """It is surely not done, and that is told when its time is over; meanwhile the port is tried often."""
        self.failures = ["no such device"] * 100
        self.start(60)
        before = len(self.attempts)
        stopping = self.stop_now()
        self.assertEqual(len(self.attempts), before + 1)
        self.run_for(WAITS_S - 0.1)
        self.assertNoResult(stopping)
        self.assertGreater(len(self.attempts), before + 8)
        self.run_for(0.2)
        self.assert_not_sent(stopping, "no such device")
        before = len(self.attempts)
        self.run_for(60)
        self.assertLess(len(self.attempts), before + 13, "it is left alone again")

    def test_the_pause_between_two_attempts_is_cut_short(self) -> None:
        self.failures = ["no such device"] * 20
        self.start(60)
        self.failures = []
        self.assert_sent_within(self.line.quiet_s + 2 * self.line.timeout_s)

    def test_it_comes_while_the_stop_waits(self) -> None:
        self.prepare(echo=False)
        self.failures = ["no such device"] * 1000
        self.start(60)
        self.clock.callLater(3.0, self.failures.clear)
        self.assert_sent_within(WAITS_S)

    def test_one_attempt_is_made_for_one_that_cannot_wait(self) -> None:
        self.prepare(echo=False)
        self.failures = ["no such device"] * 20
        self.start(60)
        self.failures = []
        self.assert_sent_within(self.line.quiet_s + 0.1, waits_s=0.0)

    def test_an_attempt_that_takes_long(self) -> None:
        self.prepare(echo=False)
        self.failures = ["no such device"]
        opening: Deferred[Any] = Deferred()
        self.opening = [opening]
        self.start()
        self.assertEqual(len(self.attempts), 2)
        self.clock.callLater(2.0, opening.callback, None)
        self.assert_sent_within(2.0 + self.line.quiet_s + 0.1)

    def test_an_attempt_that_does_not_end(self) -> None:
        self.opening = [Deferred()]
        self.start()
        stopping = self.stop_now()
        self.run_for(WAITS_S + 0.1)
        self.assert_not_sent(stopping, "the port could not be opened in time")

    def test_over_a_network_where_no_controller_has_answered(self) -> None:
        self.no_controller_answers()
        reading = self.begin(self.bus.read(READ))
        self.assertEqual(str(self.failureResultOf(reading, NotSent).value), "no controller answers")
        self.assert_sent_within(self.line.quiet_s + 0.1)

    def test_over_a_network_behind_the_request_that_is_not_answered(self) -> None:
        self.prepare(url="socket://192.0.2.7:4001", echo=False)
        self.on_frame = self.unheard
        self.start()
        reading = self.begin(self.bus.read(READ))
        self.run_for(0.1)
        self.on_frame = self.answered
        self.assert_sent_within(WAITS_S)
        self.failureResultOf(reading, NoAnswer)

    def test_over_a_network_where_no_read_is_answered(self) -> None:
        """The one read that looks for an echo ends the connection. The stop leaves on the next one, without another."""
        self.no_controller_answers()
        self.bus.line = replace(self.bus.line, echo=None)
        self.on_frame = self.unheard
        before = len(self.frames)
        stopping = self.stop_now()
        self.run_for(60)
        self.failureResultOf(stopping, NoAnswer)
        self.assertEqual(len(self.frames[before:]), 2)
        self.assertEqual(self.frames[-1], STOP_FRAME)
        self.assertLess(self.left_after[0], WAITS_S)

    def test_it_left_with_a_port_that_was_lost(self) -> None:
        """It is not sent once more with the next one."""
        self.prepare(echo=False)
        self.start()
        self.on_frame = self.unheard
        stopping = self.stop_now()
        self.run_for(0.1)
        self.port.lose()
        self.run_for(60)
        self.failureResultOf(stopping, NoAnswer)
        self.assertEqual((len(self.left_after), len(self.ports)), (1, 2))

    def test_the_line_is_changed_meanwhile(self) -> None:
        self.failures = ["no such device"] * 1000
        self.start(60)
        stopping = self.stop_now()
        self.failures = []
        rewired = self.begin(self.bus.rewire(replace(self.line, echo=False, baud_rate=115_200)))
        self.run_for(2.0)
        self.successResultOf(rewired)
        self.successResultOf(stopping)
        self.assertEqual(self.frames, [STOP_FRAME])

    def test_the_bus_is_stopped_meanwhile(self) -> None:
        self.failures = ["no such device"] * 1000
        self.start(60)
        stopping = self.stop_now()
        self.stop()
        self.assert_not_sent(stopping, "the bus is stopped")
        self.assert_not_sent(self.stop_now(), "the bus is stopped")

    def test_before_the_start(self) -> None:
        self.assert_not_sent(self.stop_now(), "the bus is not started")


class AgainTests(FirstTestCase):
    """A stop was not answered, and comes again: it waits for that answer where it can, and else not at all."""

    def unanswered(self) -> None:
        self.prepare(echo=False)
        self.start()
        self.on_frame = self.unheard
        first = self.stop_now()
        self.run_for(self.line.timeout_s + 0.2)
        self.failureResultOf(first, NoAnswer)
        self.on_frame = self.answered

    def test_it_waits_until_no_answer_to_the_first_is_reckoned_with(self) -> None:
        self.unanswered()
        stopping = self.stop_now(waits_s=6.0)
        self.run_for(7)
        self.successResultOf(stopping)
        self.assertEqual(len(self.left_after), 2)
        self.assertLess(self.left_after[1], WAITS_S + 0.1)

    def test_where_it_cannot_wait_it_is_sent_at_once_and_its_outcome_is_unknown(self) -> None:
        """What comes then may be the answer to the first: "done" would be a guess."""
        for waits_s in (0.0, 1.0, 3.0):
            self.unanswered()
            stopping = self.stop_now(waits_s)
            self.run_for(7)
            self.failureResultOf(stopping, NoAnswer)
            self.assertEqual(len(self.left_after), 2)
            self.assertLess(self.left_after[1], self.line.quiet_s + 0.1)
            self.assertEqual([address for _, address, _ in self.controller.written], [1])

    def test_the_late_answer_to_the_first_is_not_taken_for_its_own(self) -> None:
        self.unanswered()
        self.on_frame = self.unheard
        stopping = self.stop_now(0.0)
        self.run_for(0.6)
        self.assertEqual(len(self.left_after), 2)
        self.port.bring(bytes.fromhex(STOP_FRAME))
        self.run_for(2)
        self.failureResultOf(stopping, NoAnswer)

    def test_the_late_answer_ends_the_waiting(self) -> None:
        self.unanswered()
        stopping = self.stop_now()
        self.port.bring(bytes.fromhex(STOP_FRAME), 0.6)
        self.run_for(2)
        self.successResultOf(stopping)
        self.assertLess(self.left_after[1], 0.8)

    def test_a_refusal_may_be_the_late_one_too(self) -> None:
        self.unanswered()
        self.controller.refuses = 4
        stopping = self.stop_now(0.0)
        self.run_for(2)
        self.failureResultOf(stopping, NoAnswer)

    def test_a_third_one(self) -> None:
        """What was answered to the second leaves one answer owed, as long as it can come."""
        self.unanswered()
        second = self.stop_now(0.0)
        self.run_for(8)
        self.failureResultOf(second, NoAnswer)
        third = self.stop_now()
        self.run_for(1)
        self.successResultOf(third)


class EchoTests(FirstTestCase):
    """No read has shown yet whether the line echoes, and no controller answers reads."""

    def only_writes(self, port: MemoryPort, frame: bytes) -> None:
        if frame[1] == STOP.function:
            self.answered(port, frame)

    def test_it_is_sent_after_one_try_and_its_outcome_is_unknown(self) -> None:
        for on_frame, done in ((self.only_writes, [1]), (self.unheard, [])):
            self.prepare()
            self.start()
            self.on_frame = on_frame
            stopping = self.stop_now()
            self.run_for(5)
            self.failureResultOf(stopping, NoAnswer)
            self.assertEqual((len(self.frames), self.frames[-1]), (2, STOP_FRAME))
            self.assertLess(self.left_after[0], self.line.timeout_s + self.line.quiet_s + 0.2)
            self.assertEqual([address for _, address, _ in self.controller.written], done)
            self.assertEqual(self.bus.statistics.echoes, 0)

    def test_behind_a_write_that_waits_for_it(self) -> None:
        """That one is not wanted any more, as any that was ordered before a stop: no further read for its sake."""
        self.prepare(retries=5)
        self.start()
        self.on_frame = self.only_writes
        why: list[str] = []
        starting = self.begin(self.bus.write(START, lambda: why[0] if why else None))
        self.run_for(0.1)
        why.append("a stop came after it")
        stopping = self.stop_now()
        self.run_for(8)
        self.failureResultOf(starting, NotSent)
        self.failureResultOf(stopping, NoAnswer)
        self.assertLess(self.left_after[0], 2 * (self.line.timeout_s + self.line.quiet_s) + 0.2)
        self.assertNotIn(START.to_hex(), self.frames)

    def test_what_came_back_of_it_does_not_count_as_an_echo(self) -> None:
        """So that the next write is judged by what a read shows."""
        self.prepare()
        self.start()
        self.on_frame = self.only_writes
        stopping = self.stop_now()
        self.run_for(8)
        self.failureResultOf(stopping, NoAnswer)
        self.on_frame = self.answered
        starting = self.begin(self.bus.write(START))
        self.run_for(2)
        self.successResultOf(starting)

    def test_it_comes_back_twice(self) -> None:
        """Then it is done, whatever the line does."""
        self.prepare()
        self.start()

        def twice(port: MemoryPort, frame: bytes) -> None:
            if frame[1] == STOP.function:
                self.echoed_and_answered(port, frame)

        self.on_frame = twice
        stopping = self.stop_now()
        self.run_for(5)
        self.successResultOf(stopping)

    def test_the_port_is_lost_meanwhile(self) -> None:
        """It has not left yet, and leaves with the next one."""
        self.prepare()
        self.start()
        self.on_frame = self.unheard
        stopping = self.stop_now()
        self.run_for(0.1)
        self.assertNotIn(STOP_FRAME, self.frames)
        self.port.lose()
        self.run_for(3)
        self.failureResultOf(stopping, NoAnswer)
        self.assertEqual((len(self.ports), self.frames.count(STOP_FRAME)), (2, 1))
