"""``cmmd.gateway.bus.owed``: what may still come, and what that keeps waiting."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cmmd.gateway.bus.owed import Owed
from cmmd.gateway.bus.seeker import Seeker
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


def answer(request: Request) -> bytes:
    if isinstance(request, ReadRequest):
        return bytes.fromhex(read_response(request, bytes(request.payload_length)))
    return bytes.fromhex(write_response(request).to_hex())


def exception(request: Request) -> bytes:
    return bytes.fromhex(ExceptionResponse(request.unit, request.function, 6).to_hex())


class OwedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.owed = Owed(self.clock)

    def put(self, *requests: Request) -> None:
        for request in requests:
            self.owed.put(request, UNTIL, Seeker(request, echo=False))

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
        self.assertFalse(self.owed.taken(READ, UNTIL, refused=False))
        self.put(READ)
        self.assertTrue(self.owed.taken(READ, UNTIL + 1, refused=False))
        self.assertEqual(self.owed.wait(SAME_SHAPE), UNTIL + 1)
        self.assertEqual((self.owed.wait(READ), self.owed.wait(READ, again=True)), (UNTIL + 1, 0.0))
        self.assertEqual(self.owed.hear(answer(READ), None), 1)
        self.assertEqual(self.owed.wait(SAME_SHAPE), 0.0)

    def test_a_refusal_that_may_be_anothers(self) -> None:
        """Both are owed then; what is refused is not what is late, so that the same read need not wait."""
        self.put(OTHER)
        self.assertTrue(self.owed.of_another(READ))
        self.assertFalse(self.owed.of_another(OTHER))
        self.assertTrue(self.owed.taken(READ, UNTIL, refused=True))
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
