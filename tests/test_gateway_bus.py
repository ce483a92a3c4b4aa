"""``cmmd.gateway.bus.bus``: requests and answers, on a simulated clock and an in-memory port."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from msgspec.structs import replace
from twisted.internet.defer import CancelledError, Deferred

from cmmd.gateway.bus import ExceptionAnswer, NoAnswer, NotSent
from cmmd.gateway.bus.request_queue import MAX_WAITING
from cmmd.gateway.bus.transaction import SETTLE_S
from cmmd.modbus.frames import (
    Function,
    ReadRequest,
    WriteCoilRequest,
    WriteCoilsRequest,
    WriteRegistersRequest,
    WriteRequest,
    read_response,
)
from tests.bus_world import ANSWER_DELAY_S, READ, SAME_SHAPE, START, WRITE, BusTestCase, MemoryPort

PROBE = ReadRequest(1, Function.READ_COILS, START.address, 1)


class ReadTests(BusTestCase):
    def test_a_response_as_read(self) -> None:
        self.start()
        response = self.read()
        self.assertEqual(response, response.upper())
        self.assertEqual(self.values(response), self.truth())
        coils = ReadRequest(1, Function.READ_COILS, 5, 11)
        response = self.read(coils)
        self.assertEqual(bytes.fromhex(response), self.controller.answer(bytes.fromhex(coils.to_hex())))
        self.assertEqual(self.frames, [READ.to_hex(), coils.to_hex()])
        self.assertEqual(
            (self.bus.statistics.requests, self.bus.statistics.answers, self.bus.statistics.bytes_discarded), (2, 2, 0)
        )

    def test_one_at_a_time_in_order_with_a_silence_before_each(self) -> None:
        for baud_rate, silence in ((9600, 0.00401), (19_200, 0.002), (115_200, 0.00175)):
            self.prepare(baud_rate=baud_rate)
            self.start()
            results = [self.begin(self.bus.read(ReadRequest(1, READ.function, place, 4))) for place in range(5)]
            self.run_for(5.0)
            for place, result in enumerate(results):
                request = ReadRequest(1, READ.function, place, 4)
                self.assertEqual(self.values(self.successResultOf(result), request), self.truth(request))
            times = [time for time, _ in self.port.sent]
            for one, following in pairwise(times):
                self.assertAlmostEqual(following - one, ANSWER_DELAY_S + silence, places=4)
            self.stop()

    def test_a_longer_gap(self) -> None:
        self.prepare(gap_s=0.1)
        self.start()
        for _ in range(2):
            self.begin(self.bus.read(READ))
        self.run_for(1.0)
        (first, _), (second, _) = self.port.sent
        self.assertAlmostEqual(second - first, ANSWER_DELAY_S + 0.1, places=6)

    def test_quiet_after_opening(self) -> None:
        """What the line brings then belongs to somebody else's request, perhaps one of our own life before."""
        self.start(0.0)
        result = self.begin(self.bus.read(READ))
        stale = self.controller.answer(bytes.fromhex(SAME_SHAPE.to_hex()))
        assert stale is not None
        self.port.bring(stale, 0.4)
        self.run_for(0.49)
        self.assertEqual(self.frames, [])
        self.run_for(1.0)
        self.assertEqual(self.values(self.successResultOf(result)), self.truth())
        self.assertEqual(self.bus.statistics.bytes_discarded, len(stale))

    def test_no_answer(self) -> None:
        """As many attempts as the line says, each with its time, and a quiet time between them."""
        self.prepare(retries=2, timeout_s=1.0, quiet_s=0.5)
        self.on_frame = self.unheard
        self.start()
        result = self.begin(self.bus.read(READ))
        self.run_for(20.0)
        self.failureResultOf(result, NoAnswer)
        self.assertEqual(self.frames, [READ.to_hex()] * 3)
        attempt = 1.0 + self.line.seconds_for(8 + 13) + 0.5
        for (one, _), (following, _) in pairwise(self.port.sent):
            self.assertAlmostEqual(following - one, attempt, places=6)
        self.assertEqual(self.port.dropped, 3, "what has not left must not leave when nobody waits for it")
        statistics = self.bus.statistics
        self.assertEqual((statistics.requests, statistics.timeouts, statistics.retries), (3, 3, 2))
        self.assertEqual(len(self.ports), 1)

    def test_a_retry_is_answered(self) -> None:
        def unheard_at_first(port: MemoryPort, frame: bytes) -> None:
            self.on_frame = self.answered

        self.on_frame = unheard_at_first
        self.start()
        self.assertEqual(self.values(self.read()), self.truth())
        self.assertEqual(self.bus.statistics.retries, 1)

    def test_an_exception(self) -> None:
        """A no is a no: it is not asked again."""
        self.controller.refuses = 2
        self.start()
        result = self.begin(self.bus.read(READ))
        self.run_for(5.0)
        error = self.failureResultOf(result, ExceptionAnswer).value
        self.assertEqual((error.code, str(error)), (2, "exception 2: illegal data address"))
        self.assertEqual(len(self.frames), 1)
        self.assertEqual((self.bus.statistics.exceptions, self.bus.statistics.answers), (1, 0))

    def test_a_read_of_unknown_outcome_is_not_made_of_an_exception(self) -> None:
        """What leaves a write open is for a read as clear as any other."""
        for code in (5, 6, 11):
            self.prepare()
            self.controller.refuses = code
            self.start()
            result = self.begin(self.bus.read(READ))
            self.run_for(5.0)
            self.failureResultOf(result, ExceptionAnswer)
            self.stop()

    def test_garbage_before_the_answer(self) -> None:
        self.on_frame = self.behind(b"\x00\xff\x01\x03\x08")
        self.start()
        self.assertEqual(self.values(self.read()), self.truth())
        self.assertEqual(self.bus.statistics.retries, 0)
        self.assertEqual(self.bus.statistics.bytes_discarded, 5)

    def test_garbage_in_the_answer(self) -> None:
        """It is no answer; the next one is, after a silence."""
        damaged = iter([True, False])

        def answered(port: MemoryPort, frame: bytes) -> None:
            answer = self.controller.answer(frame)
            assert answer is not None
            port.bring(answer[:5] + b"\x99" + answer[6:] if next(damaged) else answer, 0.02)

        self.on_frame = answered
        self.start()
        self.assertEqual(self.values(self.read()), self.truth())
        self.assertEqual((self.bus.statistics.crc_errors, self.bus.statistics.retries), (1, 1))
        self.assertEqual(self.bus.statistics.bytes_discarded, 13)

    def test_a_refusal_behind_what_looked_like_the_beginning_of_an_answer(self) -> None:
        self.controller.refuses = 2
        self.on_frame = self.behind(b"\x01\x03\x08")
        self.start()
        result = self.begin(self.bus.read(READ))
        self.run_for(5.0)
        self.failureResultOf(result, ExceptionAnswer)
        self.assertEqual(len(self.frames), 1)

    def test_garbage_behind_the_answer(self) -> None:
        """As from a driver that lets go of the line. The next request waits for the silence behind it."""

        def answered(port: MemoryPort, frame: bytes) -> None:
            port.bring((self.controller.answer(frame) or b"") + b"\x00", 0.02)

        self.on_frame = answered
        self.start()
        results = [self.begin(self.bus.read(READ)) for _ in range(2)]
        self.run_for(1.0)
        for result in results:
            self.assertEqual(self.values(self.successResultOf(result)), self.truth())
        (first, _), (second, _) = self.port.sent
        self.assertAlmostEqual(second - first, 0.02 + SETTLE_S, places=6)

    def test_what_follows_directly_undoes_an_answer(self) -> None:
        """The time that is left is the request's own, and what is right may still come in it."""
        for more, seconds in ((b"\x55", 1.0 + self.line.seconds_for(8 + 13)), (b"\x00", 0.021 + 0.00401)):
            self.prepare(retries=0)

            def answered(port: MemoryPort, frame: bytes, more: bytes = more) -> None:
                port.bring(self.controller.answer(frame) or b"", 0.02)
                port.bring(more, 0.021)

            self.on_frame = answered
            self.start()
            result = self.begin(self.bus.read(READ))
            result.addErrback(lambda failure: failure.trap(NoAnswer))
            self.run_for(seconds - 0.0001)
            self.assertNoResult(result)
            self.run_for(0.0002)
            self.successResultOf(result)
            self.assertEqual(self.bus.statistics.answers, int(more == b"\x00"))
            self.stop()

    def test_a_line_that_breaks_behind_the_answer(self) -> None:
        """Nothing but zeros from there on: nobody waits for their end for ever."""

        def answered(port: MemoryPort, frame: bytes) -> None:
            port.bring(self.controller.answer(frame) or b"", 0.02)
            for turn in range(1500):
                port.bring(b"\x00", 0.021 + turn * 0.001)

        self.on_frame = answered
        self.start()
        result = self.begin(self.bus.read(READ))
        self.run_for(1.1)
        self.assertEqual(self.values(self.successResultOf(result)), self.truth())
        self.run_for(5.0)

    def test_an_answer_in_pieces(self) -> None:
        def answered(port: MemoryPort, frame: bytes) -> None:
            for place, byte in enumerate(self.controller.answer(frame) or b""):
                port.bring(bytes((byte,)), 0.5 + place * 0.03)

        self.on_frame = answered
        self.start()
        self.assertEqual(self.values(self.read()), self.truth())
        self.assertEqual(self.bus.statistics.retries, 0)

    def test_other_controllers_are_not_listened_to(self) -> None:
        """Another unit, another function, another length: nothing of it answers."""
        for other in (
            ReadRequest(2, READ.function, 0, 4),
            ReadRequest(1, Function.READ_INPUT_REGISTERS, 0, 4),
            ReadRequest(1, READ.function, 0, 3),
        ):
            self.prepare(retries=0)
            answer = bytes.fromhex(read_response(other, bytes(other.payload_length)))
            self.on_frame = lambda port, _, answer=answer: port.bring(answer, 0.02)  # type: ignore[misc]
            self.start()
            result = self.begin(self.bus.read(READ))
            self.run_for(5.0)
            self.failureResultOf(result, NoAnswer)
            self.assertEqual(self.bus.statistics.bytes_discarded, len(answer))
            self.stop()

    def test_a_line_that_is_never_silent(self) -> None:
        """Nothing is sent into it, and nobody waits for ever; then it goes on."""
        self.start()
        noise = 800
        for turn in range(noise):
            self.port.bring(b"\x55", turn * 0.015)
        reading, writing = self.begin(self.bus.read(READ)), self.begin(self.bus.write(WRITE))
        self.run_for(6.0)
        for result in (reading, writing):
            self.failureResultOf(result, NotSent)
        self.assertEqual(self.frames, [])
        self.run_for(10.0)
        self.assertEqual(self.values(self.read()), self.truth())
        self.assertEqual(self.bus.statistics.bytes_discarded, noise)

    def test_too_many(self) -> None:
        self.on_frame = self.unheard
        self.start(0.0)
        results = [self.begin(self.bus.read(READ)) for _ in range(MAX_WAITING)]
        for one_more in (self.bus.read(READ), self.bus.write(WRITE)):
            self.failureResultOf(self.begin(one_more), NotSent)
        results[3].cancel()
        self.failureResultOf(results.pop(3), CancelledError)
        results.append(self.begin(self.bus.read(READ)))
        self.assertNoResult(results[-1])
        self.stop()
        for result in results:
            self.failureResultOf(result, NotSent)

    def behind(self, noise: bytes) -> Callable[[MemoryPort, bytes], None]:
        def answered(port: MemoryPort, frame: bytes) -> None:
            port.bring(noise + (self.controller.answer(frame) or b""), 0.02)

        return answered


class LateAnswerTests(BusTestCase):
    """Requests of one shape for other addresses: what answers one would fit the other."""

    def setUp(self) -> None:
        self.prepare(retries=0, timeout_s=1.0, quiet_s=0.5)

    def first_late_then_prompt(self, *delays: float) -> None:
        """The first answers take so long, the others are prompt."""
        remaining = list(delays)

        def answered(port: MemoryPort, frame: bytes) -> None:
            self.late(remaining.pop(0) if remaining else 0.02)(port, frame)

        self.on_frame = answered

    def test_it_comes_while_it_is_quiet(self) -> None:
        patience = 1.0 + self.line.seconds_for(8 + 13)
        for lateness in (0.0001, 0.1, 0.3, 0.4999):
            self.setUp()
            self.first_late_then_prompt(patience + lateness)
            self.start()
            late, following = self.begin(self.bus.read(READ)), self.begin(self.bus.read(SAME_SHAPE))
            self.run_for(10.0)
            self.failureResultOf(late, NoAnswer)
            self.assertEqual(self.values(self.successResultOf(following)), self.truth(SAME_SHAPE))
            self.assertEqual(self.bus.statistics.late_answers, 1)
            self.stop()

    def test_it_begins_while_it_is_quiet(self) -> None:
        """The next request waits for the end of what comes, however far apart the pieces are."""
        for pause in (0.015, 0.05):
            self.setUp()

            def answered(port: MemoryPort, frame: bytes, pause: float = pause) -> None:
                self.on_frame = self.answered
                answer = self.controller.answer(frame) or b""
                for place in range(0, len(answer), 3):
                    port.bring(answer[place : place + 3], 1.51 + place // 3 * pause)

            self.on_frame = answered
            self.start()
            late, following = self.begin(self.bus.read(READ)), self.begin(self.bus.read(SAME_SHAPE))
            self.run_for(10.0)
            self.failureResultOf(late, NoAnswer)
            self.assertEqual(self.values(self.successResultOf(following)), self.truth(SAME_SHAPE))
            self.assertEqual(self.bus.statistics.late_answers, 1)
            self.stop()

    def test_it_lay_in_the_kernel(self) -> None:
        """This process was held up: what came meanwhile is read after the timers have run, and before a request."""
        self.first_late_then_prompt(1000.0)
        self.start()
        late, following = self.begin(self.bus.read(READ)), self.begin(self.bus.read(SAME_SHAPE))
        self.run_for(1.0 + self.line.seconds_for(8 + 13) + 0.0001)
        self.failureResultOf(late, NoAnswer)
        (silence_ends,) = [call for call in self.clock.getDelayedCalls() if call.getTime() - self.clock.seconds() < 10]
        answer = self.controller.answer(bytes.fromhex(READ.to_hex())) or b""
        self.port.bring(answer, silence_ends.getTime() - self.clock.seconds())  # at the same time, but behind it
        self.run_for(5.0)
        self.assertEqual(self.values(self.successResultOf(following)), self.truth(SAME_SHAPE))
        self.assertEqual(self.bus.statistics.late_answers, 1)
        self.run_for(1000.0)

    def test_an_answer_in_time_that_lay_in_the_kernel(self) -> None:
        """It counts, though the timer was read first."""
        self.on_frame = self.unheard
        self.start()
        result = self.begin(self.bus.read(READ))
        self.run_for(0.1)
        (patience_ends,) = self.clock.getDelayedCalls()
        answer = self.controller.answer(bytes.fromhex(READ.to_hex())) or b""
        self.port.bring(answer, patience_ends.getTime() - self.clock.seconds())
        self.run_for(5.0)
        self.assertEqual(self.values(self.successResultOf(result)), self.truth())

    def test_the_retry_gets_the_late_answer(self) -> None:
        """It is true for the same question; the answer to the retry, which is still to come, is nobody's."""
        for delay in (0.3, 1.0, 1.65, 3.0, 5.9):
            self.prepare(retries=1, timeout_s=1.0, quiet_s=0.5)
            self.first_late_then_prompt(1.55, delay)
            self.start()
            first, following = self.begin(self.bus.read(READ)), self.begin(self.bus.read(SAME_SHAPE))
            self.run_for(20.0)
            self.assertEqual(self.values(self.successResultOf(first)), self.truth())
            self.assertEqual(self.values(self.successResultOf(following)), self.truth(SAME_SHAPE))
            self.assertEqual(self.bus.statistics.late_answers, 1)
            self.stop()

    def test_a_controller_that_is_always_late(self) -> None:
        """Each answer is the retry's, and the one to the retry is waited for: slow, true, and counted."""
        for lateness in (1.65, 2.2, 3.3, 5.0):
            self.prepare(timeout_s=1.0, quiet_s=0.5, retries=5)
            self.on_frame = self.late(lateness)
            self.start()
            for request in (READ, SAME_SHAPE) * 5:
                self.assertEqual(self.values(self.read(request, 40.0), request), self.truth(request), lateness)
            self.assertGreaterEqual(self.bus.statistics.late_answers, 10)
            self.stop()

    def test_once_it_has_come_all_is_well(self) -> None:
        self.first_late_then_prompt(1.2)
        self.start()
        for _ in range(3):
            self.begin(self.bus.read(READ)).addErrback(lambda failure: failure.trap(NoAnswer))
        self.run_for(10.0)
        (first, _), (second, _), (third, _) = self.port.sent
        self.assertAlmostEqual(second - first, 1.0 + self.line.seconds_for(8 + 13) + 0.5, places=6)
        self.assertAlmostEqual(third - second, ANSWER_DELAY_S + self.line.silence_s, places=6)

    def test_one_that_never_comes(self) -> None:
        """What is alike waits until it cannot come any more, and what is not does not wait."""
        other = ReadRequest(1, READ.function, 0, 5)
        self.first_late_then_prompt(1000.0)
        self.start()
        results = [self.begin(self.bus.read(request)) for request in (READ, other, SAME_SHAPE)]
        self.run_for(2000.0)
        self.failureResultOf(results[0], NoAnswer)
        self.assertEqual(self.values(self.successResultOf(results[1]), other), self.truth(other))
        self.assertEqual(self.values(self.successResultOf(results[2])), self.truth(SAME_SHAPE))
        first, second, third = (time for time, _ in self.port.sent)
        patience = 1.0 + self.line.seconds_for(8 + 13)
        self.assertAlmostEqual(second - first, patience + self.line.quiet_s, places=6)
        self.assertAlmostEqual(third - first, patience + self.line.late_s, places=6)

    def test_the_same_read_waits_once_the_controller_answers(self) -> None:
        """Not for one that is silent; but where its answer may have been a late one, or all would be late for ever:
        for as long as the next one takes, should it be as late."""
        self.on_frame = self.unheard
        self.start()
        results = [self.begin(self.bus.read(READ)) for _ in range(4)]
        self.run_for(2.0)
        self.on_frame = self.answered
        self.run_for(20.0)
        for result in results[:2]:
            self.failureResultOf(result, NoAnswer)
        for result in results[2:]:
            self.assertEqual(self.values(self.successResultOf(result)), self.truth())
        first, second, third, fourth = (time for time, _ in self.port.sent)
        patience = 1.0 + self.line.seconds_for(8 + 13)
        for one, following in ((first, second), (second, third)):
            self.assertAlmostEqual(following - one, patience + self.line.quiet_s, places=6)
        lateness = third + ANSWER_DELAY_S + self.line.frame_end_s - first
        self.assertAlmostEqual(fourth - third, lateness + self.line.quiet_s, places=6)

    def test_after_an_answer_that_may_be_late_there_is_quiet(self) -> None:
        """The other one may be on its way, and would meet the next request on the line, whatever that asks for."""
        other = ReadRequest(1, READ.function, 0, 5)
        self.prepare(retries=1, timeout_s=1.0, quiet_s=0.5)
        self.first_late_then_prompt(1.55, 0.4)
        self.start()
        reading = [self.begin(self.bus.read(request)) for request in (READ, other)]
        self.run_for(10.0)
        for result in reading:
            self.successResultOf(result)
        first, _, third = (time for time, _ in self.port.sent)
        self.assertAlmostEqual(third - first, 1.55 + self.line.frame_end_s + self.line.quiet_s, places=6)
        self.assertEqual(self.bus.statistics.late_answers, 1)

    def test_one_that_was_lost(self) -> None:
        """It costs its cycle and the next one some seconds, those after that nothing: neither waits nor quiet."""
        self.prepare(timeout_s=1.0, quiet_s=0.5)
        self.first_late_then_prompt(1000.0)
        self.start()
        for least, most in ((2.0, 2.1), (0.5, 0.7), (0.0, 0.05), (0.0, 0.05), (0.0, 0.05)):
            began = self.clock.seconds()
            took: list[float] = []
            for request in (READ, ReadRequest(1, READ.function, 0, 5)):
                self.begin(self.bus.read(request)).addCallback(lambda _: took.append(self.clock.seconds() - began))  # noqa: B023
            self.run_for(3.0)
            self.assertTrue(least < took[1] < most, took)
        self.run_for(1000.0)

    def test_a_write_goes_before_what_waits_for_one(self) -> None:
        self.prepare(retries=0, echo=False)
        self.first_late_then_prompt(1000.0)
        self.start()
        late, following = self.begin(self.bus.read(READ)), self.begin(self.bus.read(SAME_SHAPE))
        self.run_for(2.0)
        self.failureResultOf(late, NoAnswer)
        writing = self.begin(self.bus.write(START))
        self.run_for(0.1)
        self.successResultOf(writing)
        self.assertNoResult(following)
        self.run_for(5.0)
        self.assertEqual(self.values(self.successResultOf(following)), self.truth(SAME_SHAPE))
        self.run_for(1000.0)

    def test_a_write_that_waits_for_one_is_passed_by_reads(self) -> None:
        """And by no other write, though that need not wait."""
        self.prepare(echo=False)
        first, second = WriteCoilRequest(1, 3, False), WriteCoilRequest(1, 4, False)
        self.on_frame = lambda port, frame: self.unheard(port, frame) if frame[1] == 5 else self.answered(port, frame)
        self.start()
        writing = [self.begin(self.bus.write(request)) for request in (first, first, second)]
        reading = [self.begin(self.bus.read(request)) for request in (READ, SAME_SHAPE)]
        self.run_for(1.6)
        self.failureResultOf(writing[0], NoAnswer)
        for read in reading:
            self.successResultOf(read)
        self.assertNoResult(writing[1])
        self.run_for(20.0)
        for written in writing[1:]:
            self.failureResultOf(written, NoAnswer)
        frames = [request.to_hex() for request in (first, READ, SAME_SHAPE, first, second)]
        self.assertEqual(self.frames, frames)
        (began, _), *_, (again, _), _ = self.port.sent
        self.assertAlmostEqual(again - began, 1.0 + self.line.seconds_for(8 + 8) + self.line.late_s, places=6)

    def test_a_read_that_waits_for_one_is_not_passed_by_what_it_would_wait_for_again(self) -> None:
        other = ReadRequest(1, READ.function, 0, 5)
        self.first_late_then_prompt(1000.0)
        self.start()
        for request in (READ, SAME_SHAPE, READ, other):
            self.begin(self.bus.read(request)).addErrback(lambda failure: failure.trap(NoAnswer))
        self.run_for(20.0)
        self.assertEqual(self.frames, [request.to_hex() for request in (READ, other, SAME_SHAPE, READ)])
        self.run_for(1000.0)

    def test_what_must_not_be_done_any_more_does_not_wait_on(self) -> None:
        """Its refusal is told soon, whatever it waits for: an answer that is owed, silence, another request."""
        for settings in ({"timeout_s": 2.0}, {"quiet_s": 60.0}, {"timeout_s": 60.0}):
            self.prepare(echo=False, retries=0, **settings)
            self.on_frame = self.unheard
            self.start(61.0)
            refused_at = self.clock.seconds() + 3.5

            def veto(refused_at: float = refused_at) -> str | None:
                return "too late" if self.clock.seconds() >= refused_at else None

            writing = [self.begin(self.bus.write(START, veto)) for _ in range(2)]
            self.run_for(3.4)
            self.assertNoResult(writing[1])
            self.run_for(1.1)
            self.assertIn("too late", str(self.failureResultOf(writing[1], NotSent).value))
            self.run_for(70.0)
            self.failureResultOf(writing[0], NoAnswer)
            self.assertEqual(len(self.frames), 1)
            self.stop()

    def test_it_comes_while_another_is_in_hand(self) -> None:
        """It is counted all the same, and what is alike need not wait any more."""
        other = ReadRequest(1, READ.function, 0, 5)
        self.first_late_then_prompt(1.6, 0.5)
        self.start()
        results = [self.begin(self.bus.read(request)) for request in (READ, other, SAME_SHAPE)]
        self.run_for(2.2)
        self.failureResultOf(results[0], NoAnswer)
        self.assertEqual(self.values(self.successResultOf(results[1]), other), self.truth(other))
        self.assertEqual(self.values(self.successResultOf(results[2])), self.truth(SAME_SHAPE))
        self.assertEqual(self.bus.statistics.late_answers, 1)

    def test_the_refusal_of_another(self) -> None:
        """An exception says no more than unit and function: while one is owed, it says of nobody "surely not done"."""
        self.start()
        self.read()
        other = WriteCoilRequest(1, 3, True)

        def refused_late(port: MemoryPort, frame: bytes) -> None:
            self.controller.refuses = 6
            self.late(1.7)(port, frame)
            self.controller.refuses = 0
            self.on_frame = self.late(0.5)

        for answers in (True, False):
            self.on_frame = refused_late
            first = self.begin(self.bus.write(START))
            self.run_for(1.6)
            self.failureResultOf(first, NoAnswer)
            if not answers:
                self.on_frame = self.unheard
            second = self.begin(self.bus.write(other))
            self.run_for(10.0)
            if answers:
                self.successResultOf(second)
            else:
                self.failureResultOf(second, NoAnswer)
        self.assertEqual(self.controller.written, [(5, 3, [1])])

    def test_a_controller_that_refuses_all_and_loses_one(self) -> None:
        """One lost answer does not make all that follow doubtful for ever."""
        self.prepare(retries=0)
        others = [ReadRequest(1, READ.function, 0, count) for count in (5, 6)]
        self.on_frame = self.unheard
        self.start()
        self.failureResultOf(self.refused(READ, 2.0), NoAnswer)
        self.controller.refuses = 4
        self.on_frame = self.answered
        for request in (*others, READ) * 5:
            self.failureResultOf(self.refused(request, 1.0), ExceptionAnswer)
        self.controller.refuses = 0
        for request in (*others, READ) * 2:
            self.assertEqual(self.values(self.read(request), request), self.truth(request))

    def refused(self, request: ReadRequest, seconds: float) -> Deferred[str]:
        result = self.begin(self.bus.read(request))
        self.run_for(seconds)
        return result

    def test_a_late_refusal_of_another_read(self) -> None:
        """It passes for one's own, which does no harm; then the answer to that is still to come, and meets nobody."""
        self.prepare(retries=0)
        other = ReadRequest(1, READ.function, 0, 5)
        self.controller.refuses = 6
        self.first_late_then_prompt(1.8, 1.2, 0.99)
        self.start()
        late = self.begin(self.bus.read(other))
        self.run_for(0.01)
        self.controller.refuses = 0
        first, second = self.begin(self.bus.read(READ)), self.begin(self.bus.read(SAME_SHAPE))
        self.run_for(20.0)
        self.failureResultOf(late, NoAnswer)
        self.failureResultOf(first, ExceptionAnswer)
        self.assertEqual(self.values(self.successResultOf(second)), self.truth(SAME_SHAPE))

    def test_a_port_that_was_opened_anew(self) -> None:
        """The controller does not know of that."""
        self.prepare(url="socket://192.0.2.7:4001", retries=0)
        self.start()
        self.read()
        self.on_frame = self.unheard
        late = self.begin(self.bus.read(READ))
        self.run_for(1.2)
        self.failureResultOf(late, NoAnswer)
        self.on_frame = self.answered
        following = self.begin(self.bus.read(SAME_SHAPE))
        self.run_for(1.0)
        self.port.bring(self.controller.answer(bytes.fromhex(READ.to_hex())) or b"")
        self.run_for(0.1)
        self.assertEqual(self.values(self.successResultOf(following)), self.truth(SAME_SHAPE))
        self.assertEqual(len(self.ports), 2)
        self.assertEqual(self.bus.statistics.late_answers, 1)

    def test_the_confirmation_of_the_write_before(self) -> None:
        """Start, no answer, start again: the late "done" of the first is not the second's."""
        for lateness in (1.3, 1.6, 2.5, 5.9):
            self.setUp()
            self.start()
            self.read()
            self.first_late_then_prompt(lateness, 1000.0)
            results = [self.begin(self.bus.write(START)) for _ in range(2)]
            self.run_for(10.0)
            for result in results:
                self.failureResultOf(result, NoAnswer)
            self.assertEqual(self.frames.count(START.to_hex()), 2)
            self.assertEqual(self.bus.statistics.late_answers, 1)
            self.run_for(1000.0)
            self.stop()


class WriteTests(BusTestCase):
    def write(self, request: WriteRequest = START, seconds: float = 20.0) -> Deferred[None]:
        result = self.begin(self.bus.write(request))
        self.run_for(seconds)
        return result

    def test_confirmed(self) -> None:
        self.start()
        self.read()
        for request, written in (
            (START, (5, 0, [1])),
            (WriteCoilRequest(1, 3, False), (5, 3, [0])),
            (WRITE, (6, 7, [1234])),
            (WriteRegistersRequest(1, 40, (1, 2)), (16, 40, [1, 2])),
        ):
            self.assertIsNone(self.successResultOf(self.write(request)))
            self.assertEqual(self.controller.written.pop(), written)
        self.assertEqual(len(self.frames), 5)

    def test_before_waiting_reads(self) -> None:
        self.start()
        self.read()
        for _ in range(3):
            self.begin(self.bus.read(SAME_SHAPE))
        self.run_for(0.01)
        writes = [self.begin(self.bus.write(write)) for write in (START, WRITE)]
        self.run_for(5.0)
        for write in writes:
            self.successResultOf(write)
        read, start, value = SAME_SHAPE.to_hex(), START.to_hex(), WRITE.to_hex()
        self.assertEqual(self.frames[1:], [read, start, value, read, read])

    def test_before_the_retries_of_a_read(self) -> None:
        """A controller that does not answer one read does not keep a command for seconds."""
        self.start()
        self.read()
        self.on_frame = self.unheard
        reading = self.begin(self.bus.read(SAME_SHAPE))
        self.run_for(0.5)
        self.on_frame = self.answered
        self.successResultOf(self.write())
        self.assertEqual(self.values(self.successResultOf(reading)), self.truth(SAME_SHAPE))
        self.assertEqual(self.frames[1:], [SAME_SHAPE.to_hex(), START.to_hex(), SAME_SHAPE.to_hex()])

    def test_refused(self) -> None:
        self.start()
        self.read()
        self.controller.refuses = 3
        error = self.failureResultOf(self.write(), ExceptionAnswer).value
        self.assertEqual(error.code, 3)
        self.assertEqual(self.frames[1:], [START.to_hex()])

    def test_exceptions_that_leave_it_open(self) -> None:
        """Acknowledged, takes long; a gateway's target that does not respond: neither done nor refused."""
        for code in (5, 11):
            self.prepare()
            self.start()
            self.read()
            self.controller.refuses = code
            self.failureResultOf(self.write(), NoAnswer)
            self.stop()

    def test_unknown_and_never_sent_again(self) -> None:
        self.start()
        self.read()
        self.on_frame = self.unheard
        self.failureResultOf(self.write(), NoAnswer)
        self.on_frame = self.answered
        self.read()
        self.run_for(100.0)
        self.assertEqual(self.frames.count(START.to_hex()), 1)
        self.assertEqual(self.bus.statistics.retries, 0)

    def test_another_confirmation_is_none(self) -> None:
        """The answer names the coil and its state: that of another command confirms nothing."""
        self.start()
        self.read()
        other = self.controller.answer(bytes.fromhex(WriteCoilRequest(1, 1, True).to_hex())) or b""
        self.on_frame = lambda port, _: port.bring(other, 0.02)
        self.failureResultOf(self.write(), NoAnswer)

    def test_to_all_units(self) -> None:
        """Nobody confirms a broadcast, so that it could not be said what became of it: it is not sent."""
        self.start()
        for request in (START, WRITE):
            self.failureResultOf(self.write(replace(request, unit=0)), NotSent)
        self.assertEqual(self.frames, [])


class EchoTests(BusTestCase):
    """The answer to 05 and 06 is the request itself: an echo must never be taken for it."""

    def write(self, request: WriteRequest = START) -> Deferred[None]:
        result = self.begin(self.bus.write(request))
        self.run_for(20.0)
        return result

    def test_found_out_before_the_first_write(self) -> None:
        for on_frame, echoes in ((self.answered, 0), (self.echoed_and_answered, 2)):
            self.prepare()
            self.on_frame = on_frame
            self.start()
            self.successResultOf(self.write())
            self.assertEqual(self.frames, [PROBE.to_hex(), START.to_hex()])
            self.assertEqual(self.bus.statistics.echoes, echoes)
            self.assertEqual(self.controller.written, [(5, 0, [1])])
            self.stop()

    def test_registers_are_found_out_by_registers(self) -> None:
        self.start()
        self.successResultOf(self.write(WRITE))
        self.assertEqual(self.frames, [ReadRequest(1, Function.READ_HOLDING_REGISTERS, 7, 1).to_hex(), WRITE.to_hex()])

    def test_learnt_from_a_read(self) -> None:
        for on_frame in (self.answered, self.echoed_and_answered):
            self.prepare()
            self.on_frame = on_frame
            self.start()
            self.read()
            self.successResultOf(self.write())
            self.assertEqual(self.frames, [READ.to_hex(), START.to_hex()])
            self.stop()

    def test_an_echo_alone_is_no_answer(self) -> None:
        for request in (START, WRITE):
            self.prepare()
            self.on_frame = self.echoed_and_answered
            self.start()
            self.read()
            self.on_frame = self.echoed
            self.failureResultOf(self.write(request), NoAnswer)
            self.assertEqual(self.frames[1:], [request.to_hex()])
            self.stop()

    def test_an_echo_alone_teaches(self) -> None:
        """A dead controller on a line that echoes: the probe shows the echo, so the write can be judged."""
        self.on_frame = self.echoed
        self.start()
        self.failureResultOf(self.write(), NoAnswer)
        self.assertEqual(self.frames, [PROBE.to_hex(), START.to_hex()])

    def test_nothing_is_written_that_could_not_be_judged(self) -> None:
        self.on_frame = self.unheard
        self.start()
        self.failureResultOf(self.write(), NotSent)
        self.assertEqual(self.frames, [PROBE.to_hex()] * 3)

    def test_noise_before_the_answer_may_have_been_an_echo(self) -> None:
        def answered(port: MemoryPort, frame: bytes) -> None:
            port.bring(b"\x00" + (self.controller.answer(frame) or b""), 0.02)

        self.on_frame = answered
        self.start()
        self.failureResultOf(self.write(), NotSent)
        self.assertEqual(self.controller.written, [])
        self.on_frame = self.answered
        self.successResultOf(self.write())

    def test_a_late_answer_does_not_show_that_there_is_no_echo(self) -> None:
        """It may come before the echo does. Where what comes first comes later than an echo, there is none."""
        for delay, written in ((0.02, False), (0.04, True)):
            self.prepare(retries=1)

            def unheard_at_first(port: MemoryPort, frame: bytes, delay: float = delay) -> None:
                self.on_frame = self.late(delay)

            self.on_frame = unheard_at_first
            self.start()
            if written:
                self.successResultOf(self.write())
            else:
                self.failureResultOf(self.write(), NotSent)
            self.assertEqual(bool(self.controller.written), written)
            self.stop()

    def test_a_refused_probe_will_do(self) -> None:
        def refused_to_read(port: MemoryPort, frame: bytes) -> None:
            self.controller.refuses = 2 if frame[1] < 5 else 0
            self.answered(port, frame)

        self.on_frame = refused_to_read
        self.start()
        self.successResultOf(self.write())

    def test_configured(self) -> None:
        for echo, on_frame in ((False, self.answered), (True, self.echoed_and_answered)):
            self.prepare(echo=echo)
            self.on_frame = on_frame
            self.start()
            self.successResultOf(self.write())
            self.assertEqual(self.frames, [START.to_hex()])
            self.stop()
        self.prepare(echo=True)
        self.start()
        self.failureResultOf(self.write(), NoAnswer)

    def test_what_is_seen_goes_before_what_is_configured(self) -> None:
        self.prepare(echo=False)
        self.on_frame = self.echoed_and_answered
        self.start()
        self.read()
        self.on_frame = self.echoed
        self.failureResultOf(self.write(), NoAnswer)

    def test_another_adapter(self) -> None:
        """After each opening it is found out anew: another adapter may be there."""
        self.start()
        self.read()
        self.port.lose()
        self.run_for(2.0)
        self.on_frame = self.echoed
        self.failureResultOf(self.write(), NoAnswer)
        self.assertEqual(self.frames, [READ.to_hex(), PROBE.to_hex(), START.to_hex()])

    def test_an_echo_once_seen_is_expected(self) -> None:
        """Though a clean answer came since: one of the echoes may have been lost."""
        self.on_frame = self.echoed_and_answered
        self.start()
        self.read()
        self.on_frame = self.answered
        self.read()
        self.failureResultOf(self.write(), NoAnswer)

    def test_several_need_no_probe(self) -> None:
        """The answer to 0F and 10 is not the request."""
        self.on_frame = self.echoed_and_answered
        self.start()
        self.successResultOf(self.write(WriteRegistersRequest(1, 40, (1, 2))))
        self.assertEqual(len(self.frames), 1)
        self.on_frame = self.echoed
        self.failureResultOf(self.write(WriteCoilsRequest(1, 40, (True,))), NoAnswer)


class CancelTests(BusTestCase):
    def cancelled(self, result: Deferred[Any]) -> None:
        result.cancel()
        self.failureResultOf(result, CancelledError)

    def test_what_waits_is_not_sent(self) -> None:
        self.start()
        self.read()
        first = self.begin(self.bus.read(READ))
        reading, writing = self.begin(self.bus.read(SAME_SHAPE)), self.begin(self.bus.write(START))
        self.cancelled(reading)
        self.cancelled(writing)
        self.run_for(5.0)
        self.successResultOf(first)
        self.assertEqual(self.frames, [READ.to_hex()] * 2)

    def test_what_waits_for_silence_is_not_sent(self) -> None:
        self.start(0.0)
        result = self.begin(self.bus.write(START))
        self.run_for(0.2)
        self.cancelled(result)
        self.run_for(5.0)
        self.assertEqual(self.frames, [])

    def test_what_waits_for_the_echo_to_be_known_is_not_sent(self) -> None:
        self.start()
        result = self.begin(self.bus.write(START))
        self.run_for(0.01)
        self.cancelled(result)
        self.run_for(5.0)
        self.assertEqual(self.frames, [PROBE.to_hex()])
        self.assertEqual(self.values(self.read()), self.truth())

    def test_what_is_sent_stays_sent(self) -> None:
        """Its answer is nobody's, and not the next one's."""
        self.start()
        self.read()
        for request in (READ, START):
            result: Deferred[Any] = self.begin(self.bus.read(READ) if request is READ else self.bus.write(START))
            self.run_for(0.01)
            self.assertEqual(self.frames[-1], request.to_hex())
            following = self.begin(self.bus.read(SAME_SHAPE))
            self.cancelled(result)
            self.run_for(5.0)
            self.assertEqual(self.values(self.successResultOf(following)), self.truth(SAME_SHAPE))
        self.assertEqual(self.controller.written, [(5, 0, [1])])
        self.assertEqual(self.bus.statistics.bytes_discarded, 0)

    def test_it_is_not_repeated(self) -> None:
        self.on_frame = self.unheard
        self.start()
        result = self.begin(self.bus.read(READ))
        self.run_for(0.5)
        self.cancelled(result)
        self.run_for(20.0)
        self.assertEqual(len(self.frames), 1)
        self.assertEqual(self.bus.statistics.retries, 0)
