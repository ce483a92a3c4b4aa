"""``cmmd.gateway.bus.response_matcher``: late responses, what may still come, and the waiting for it."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cmmd.gateway.bus.response_matcher import LateResponses, ResponseMatcher, Sending
from cmmd.modbus.frames import (
    ExceptionResponse,
    Function,
    ReadRequest,
    Request,
    WriteCoilRequest,
    WriteRegistersRequest,
    read_response,
    write_response,
)
from tests.bus_world import READ, SAME_SHAPE, START

OTHER = ReadRequest(1, READ.function, 0, 5)
UNTIL = 6.0
SENT = Sending(0.0, UNTIL)
PAUSE_S = 0.5


def answer(request: Request) -> bytes:
    if isinstance(request, ReadRequest):
        return bytes.fromhex(read_response(request, bytes(request.payload_length)))
    return bytes.fromhex(write_response(request).to_hex())


def exception(request: Request) -> bytes:
    return bytes.fromhex(ExceptionResponse(request.unit, request.function, 6).to_hex())


class OwedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.owed = LateResponses(self.clock)

    def put(self, *requests: Request) -> None:
        for request in requests:
            self.owed.put(request, SENT, ResponseMatcher(request, echo=False))

    def take(self, request: Request, *, at: float) -> tuple[bool, bool]:
        return self.owed.taken(request, Sending(at, at + UNTIL), PAUSE_S, refused=False)

    def test_who_waits(self) -> None:
        for one, other, seconds in (
            (READ, SAME_SHAPE, UNTIL),
            (READ, READ, 0.0),
            (READ, OTHER, 0.0),
            (READ, ReadRequest(2, READ.function, 0, 4), 0.0),
            (READ, ReadRequest(1, Function.READ_INPUT_REGISTERS, 0, 4), 0.0),
            (ReadRequest(1, Function.READ_COILS, 0, 9), ReadRequest(1, Function.READ_COILS, 40, 16), UNTIL),
            (START, START, UNTIL),
            (START, WriteCoilRequest(1, 0, False), 0.0),
            (START, WriteCoilRequest(1, 1, True), 0.0),
            (WriteRegistersRequest(1, 40, (1, 2)), WriteRegistersRequest(1, 40, (3, 4)), UNTIL),
        ):
            self.setUp()
            self.put(one)
            self.assertEqual(self.owed.wait(other), seconds, (one, other))
            self.clock.advance(UNTIL)
            self.assertEqual(self.owed.wait(other), 0.0)

    def test_a_write_waits_though_it_were_sent_again(self) -> None:
        self.put(START)
        self.assertEqual(self.owed.wait(START, again=True), UNTIL)

    def test_as_many_as_were_sent(self) -> None:
        self.put(READ, READ)
        self.assertEqual(self.owed.hear(answer(READ), None), 1)
        self.assertEqual(self.owed.wait(SAME_SHAPE), UNTIL)
        self.assertEqual(self.owed.hear(answer(READ), None), 1)
        self.assertEqual(self.owed.wait(SAME_SHAPE), 0.0)
        self.assertEqual(self.owed.hear(answer(READ), None), 0)

    def test_taken_by_the_retry(self) -> None:
        """One has come and one has not. Until it has, the read of the next cycle waits."""
        self.assertEqual(self.owed.taken(READ, SENT, PAUSE_S, refused=False), (False, False))
        self.put(READ)
        self.clock.advance(1.7)
        self.assertEqual(self.take(READ, at=1.5), (True, True))
        self.assertAlmostEqual(self.owed.wait(SAME_SHAPE), 1.5 + UNTIL - 1.7)
        self.assertAlmostEqual(self.owed.wait(READ), 1.5 + PAUSE_S)  # the first took 1.7 s
        self.assertEqual(self.owed.wait(READ, again=True), 0.0)
        self.assertEqual(self.owed.hear(answer(READ), None), 1)
        self.assertEqual((self.owed.wait(SAME_SHAPE), self.owed.wait(READ)), (0.0, 0.0))

    def test_lost_when_it_is_not_there_though_it_was_due(self) -> None:
        """It is not waited for by the same read after that, nor thought to be how late the controller is."""
        self.put(READ)
        self.clock.advance(1.7)
        self.take(READ, at=1.5)
        for _ in range(5):
            self.clock.advance(3.0)
            asked_at = self.clock.seconds()
            self.assertEqual(self.owed.wait(READ), 0.0)
            self.clock.advance(0.25)
            self.assertEqual(self.take(READ, at=asked_at), (True, False))
            self.assertAlmostEqual(self.owed.wait(READ), PAUSE_S)
            self.assertAlmostEqual(self.owed.wait(SAME_SHAPE), UNTIL - 0.25)
        self.clock.advance(3.0)
        asked_at = self.clock.seconds()
        self.owed.put(READ, Sending(asked_at, asked_at + UNTIL), ResponseMatcher(READ, echo=False))
        self.clock.advance(1.7)
        self.assertEqual(self.take(READ, at=asked_at + 1.5), (True, True))
        self.assertAlmostEqual(self.owed.wait(READ), 1.5 + PAUSE_S)

    def test_as_late_as_the_first_of_several(self) -> None:
        """But no longer than anything is owed."""
        self.put(READ)
        self.owed.put(READ, Sending(1.5, 1.5 + UNTIL), ResponseMatcher(READ, echo=False))
        self.clock.advance(3.25)
        self.take(READ, at=3.0)
        self.assertAlmostEqual(self.owed.wait(READ), 3.0 + PAUSE_S)
        self.setUp()
        self.put(READ)
        self.clock.advance(5.75)
        self.owed.taken(READ, Sending(5.5, 8.0), PAUSE_S, refused=False)
        self.assertAlmostEqual(self.owed.wait(READ), 8.0 - 5.75)

    def test_each_for_its_own_time(self) -> None:
        self.put(READ)
        self.owed.put(READ, Sending(3.0, 3.0 + UNTIL), ResponseMatcher(READ, echo=False))
        self.clock.advance(UNTIL)
        self.assertEqual(self.owed.wait(SAME_SHAPE), 3.0)
        self.assertEqual(self.owed.hear(answer(READ), None), 1)
        self.assertEqual(self.owed.wait(SAME_SHAPE), 0.0)

    def test_a_refusal_that_may_be_anothers(self) -> None:
        """Both are owed then; what is refused is not what is late, so that the same read need not wait."""
        self.put(OTHER)
        self.assertTrue(self.owed.of_another(READ))
        self.assertFalse(self.owed.of_another(OTHER))
        self.assertEqual(self.owed.taken(READ, SENT, PAUSE_S, refused=True), (True, True))
        self.assertEqual((self.owed.wait(SAME_SHAPE), self.owed.wait(READ)), (UNTIL, 0.0))
        self.assertEqual(self.owed.wait(ReadRequest(1, READ.function, 9, 5)), UNTIL)

    def test_a_late_refusal_settles_what_nobody_else_may_be_owed(self) -> None:
        self.put(READ)
        self.assertEqual(self.owed.hear(exception(READ), None), 1)
        self.assertEqual(self.owed.wait(SAME_SHAPE), 0.0)

    def test_a_late_refusal_of_one_of_two(self) -> None:
        """Nobody knows of which."""
        self.put(READ, OTHER)
        self.assertEqual(self.owed.hear(exception(READ), None), 1)
        self.assertEqual(self.owed.wait(SAME_SHAPE), UNTIL)
        self.assertEqual(self.owed.wait(ReadRequest(1, READ.function, 9, 5)), UNTIL)

    def test_a_refusal_while_another_is_in_hand(self) -> None:
        """It may be that one's: it is not counted as late, and settles nothing."""
        self.put(READ)
        self.assertEqual(self.owed.hear(exception(READ), OTHER), 0)
        self.assertEqual(self.owed.wait(SAME_SHAPE), UNTIL)
        self.assertEqual(self.owed.hear(exception(READ), START), 1)
        self.assertEqual(self.owed.wait(SAME_SHAPE), 0.0)

    def test_what_fits_the_request_in_hand_is_left_to_it(self) -> None:
        self.put(READ)
        for asked in (READ, SAME_SHAPE):
            self.assertEqual(self.owed.hear(answer(READ), asked), 0)
        self.assertEqual(self.owed.wait(SAME_SHAPE), UNTIL)

    def test_one_of_two_that_are_alike(self) -> None:
        """As with a read that finds out the echo, which waits for nothing: nobody knows whose it was."""
        self.put(READ, SAME_SHAPE)
        self.assertEqual(self.owed.hear(answer(READ), None), 1)
        self.assertEqual((self.owed.wait(READ), self.owed.wait(SAME_SHAPE)), (UNTIL, UNTIL))

    def test_in_pieces_and_behind_noise(self) -> None:
        self.put(READ)
        late = [self.owed.hear(bytes((byte,)), None) for byte in b"\x00\x55" + answer(READ)]
        self.assertEqual((sum(late), late[-1]), (1, 1))

    def test_a_damaged_one_settles_nothing(self) -> None:
        self.put(READ)
        damaged = bytearray(answer(READ))
        damaged[5] ^= 1
        self.assertEqual(self.owed.hear(bytes(damaged), None), 0)
        self.assertEqual(self.owed.wait(SAME_SHAPE), UNTIL)
