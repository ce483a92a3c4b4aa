"""``cmmd.gateway.bus.response_matcher``: the answer is found in what comes, or nothing is; never something else."""

from collections.abc import Iterable

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cmmd.gateway.bus.response_matcher import GLITCHES, ResponseMatcher, answer_shape, is_its_own_answer
from cmmd.modbus.frames import (
    ExceptionResponse,
    Function,
    ReadRequest,
    ReadResponse,
    Request,
    WriteCoilsRequest,
    WriteRegistersRequest,
    build_frame,
    matches,
    parse_response,
    read_response,
    write_response,
)
from tests.bus_world import READ, START, WRITE
from tests.support import byte_by_byte, cut, places
from tests.test_modbus_frames import requests
from tests.test_modbus_requests import all_requests, write_requests

SEVERAL = WriteCoilsRequest(1, 19, (True,) * 10)
NOISE = st.binary(max_size=60)
ECHO = st.sampled_from([None, True, False])


def raw(frame: str) -> bytes:
    return bytes.fromhex(frame)


@st.composite
def answered(draw: st.DrawFn) -> tuple[Request, bytes]:
    """A request and its answer, or an exception."""
    request = draw(all_requests())
    if draw(st.booleans()):
        return request, raw(ExceptionResponse(request.unit, request.function, draw(st.integers(1, 11))).to_hex())
    if isinstance(request, ReadRequest):
        payload = draw(st.binary(min_size=request.payload_length, max_size=request.payload_length))
        return request, raw(read_response(request, payload))
    return request, raw(write_response(request).to_hex())


class SeekerTests(SynchronousTestCase):
    def sought(self, request: Request, chunks: Iterable[bytes], echo: bool | None = False) -> ResponseMatcher:
        seeker = ResponseMatcher(request, echo=echo)
        for chunk in chunks:
            seeker.feed(chunk)
        return seeker

    def test_shapes(self) -> None:
        for request, head, length in (
            (READ, "010308", 13),
            (ReadRequest(1, Function.READ_COILS, 0, 90), "01010C", 17),
            (START, "01050000FF00", 8),
            (SEVERAL, "010F0013000A", 8),
            (WriteRegistersRequest(1, 1, (10, 0x0102)), "011000010002", 8),
        ):
            self.assertEqual(answer_shape(request), (raw(head), length))

    def test_what_is_its_own_answer(self) -> None:
        self.assertTrue(is_its_own_answer(START))
        self.assertTrue(is_its_own_answer(WRITE))
        self.assertTrue(is_its_own_answer(ReadRequest(1, Function.READ_COILS, 0x0300, 20)))
        for request in (READ, SEVERAL, WriteRegistersRequest(1, 1, (10,)), ReadRequest(1, Function.READ_COILS, 0, 20)):
            self.assertFalse(is_its_own_answer(request))

    @given(answered(), NOISE, places(), NOISE)
    def test_found_in_one_piece_and_in_many_and_behind_noise(
        self, exchange: tuple[Request, bytes], noise: bytes, where: list[int], more: bytes
    ) -> None:
        request, answer = exchange
        if isinstance(request, ReadRequest):
            more = bytes(GLITCHES[byte % len(GLITCHES)] for byte in more)
        for before in (b"", noise):
            for chunks in (
                [before + answer + more],
                byte_by_byte(before + answer + more),
                cut(before + answer + more, where),
            ):
                seeker = self.sought(request, chunks)
                self.assertEqual(seeker.finish(), answer)
                self.assertEqual(seeker.received, len(before + answer + more))
                self.assertEqual(seeker.discarded, len(before + more))

    def test_garbage_directly_behind(self) -> None:
        """What a read brought may have had a byte injected; a confirmation is known to its last byte."""
        answer = raw(read_response(READ, b"12345678"))
        self.assertEqual(GLITCHES.hex(), "fffefcf8f0e0c08000")
        for byte in range(256):
            for chunks in ([answer + bytes((byte,))], [answer, bytes((byte,))]):
                seeker = self.sought(READ, chunks)
                self.assertEqual(seeker.finish() is not None, byte in GLITCHES)
                self.assertEqual(seeker.clean, byte in GLITCHES)
                self.assertEqual(seeker.crc_errors, byte not in GLITCHES)
        self.assertIsNone(self.sought(READ, [answer + b"\x00\x55\x00"]).finish())
        self.assertEqual(self.sought(READ, [answer + b"\x55", answer]).finish(), answer)
        confirmation = raw(START.to_hex())
        self.assertEqual(self.sought(START, [confirmation, b"\x55"]).finish(), confirmation)

    def test_an_injected_byte_that_the_crc_does_not_see(self) -> None:
        """As it happened on a simulated line: CF is injected, and the first 25 of the 26 bytes have the right CRC."""
        spoilt = raw("01031488E22719C5CF50638701BE9FF53E2CDC637A9A18D17FF9")
        self.assertEqual(build_frame(spoilt[:23]), spoilt[:25].hex().upper())
        request = ReadRequest(1, Function.READ_HOLDING_REGISTERS, 246, 10)
        for chunks in ([spoilt], byte_by_byte(spoilt)):
            self.assertIsNone(self.sought(request, chunks).finish())

    @given(answered(), st.integers(0, 300), st.integers(1, 255), ECHO)
    def test_a_damaged_answer_is_none(
        self, exchange: tuple[Request, bytes], where: int, damage: int, echo: bool | None
    ) -> None:
        request, answer = exchange
        damaged = bytearray(answer)
        damaged[where % len(answer)] ^= damage
        seeker = self.sought(request, [bytes(damaged)], echo)
        self.assertIsNone(seeker.finish())

    @given(answered(), st.integers(1, 300), st.integers(0, 255), ECHO)
    def test_an_answer_with_a_byte_too_many_inside_is_none(
        self, exchange: tuple[Request, bytes], where: int, noise: int, echo: bool | None
    ) -> None:
        request, answer = exchange
        place = 1 + where % (len(answer) - 1)
        spoilt = answer[:place] + bytes((noise,)) + answer[place:]
        if answer in spoilt:  # the byte beside it is the same, so it stands before or behind
            return
        self.assertIsNone(self.sought(request, [spoilt], echo).finish())

    @given(all_requests(), st.lists(NOISE), ECHO)
    @example(READ, [b"\x01\x03\x08"], None)
    @example(READ, [b"\x01\x83\x02"], False)
    def test_garbage_is_at_most_what_the_request_asked_for(
        self, request: Request, chunks: list[bytes], echo: bool | None
    ) -> None:
        seeker = self.sought(request, chunks, echo)
        answer = seeker.finish()
        if answer is not None:
            self.assertTrue(matches(request, parse_response(answer.hex())))
        self.assertEqual(seeker.received, sum(map(len, chunks)))

    @given(requests(), requests(), st.data())
    def test_another_shape_is_no_answer(self, asked: ReadRequest, other: ReadRequest, draw: st.DataObject) -> None:
        payload = draw.draw(st.binary(min_size=other.payload_length, max_size=other.payload_length))
        frame = read_response(other, payload)
        found = self.sought(asked, [raw(frame)]).finish()
        self.assertEqual(found is not None, matches(asked, parse_response(frame)))

    def test_what_looks_like_the_beginning_of_an_answer(self) -> None:
        """A head in the noise: the answer behind it is found as soon as it is there, an exception at the end."""
        answer = raw(read_response(READ, b"12345678"))
        seeker = ResponseMatcher(READ, echo=False)
        self.assertIsNone(seeker.feed(b"\x01\x03\x08\x00"))
        self.assertIsNone(seeker.feed(answer[:-1]))
        self.assertEqual(seeker.feed(answer[-1:]), answer)
        self.assertEqual((seeker.crc_errors, seeker.discarded), (1, 4))
        exception = raw(ExceptionResponse(1, Function.READ_HOLDING_REGISTERS, 2).to_hex())
        seeker = ResponseMatcher(READ, echo=False)
        self.assertIsNone(seeker.feed(b"\x01\x03\x08\x00" + exception))
        self.assertEqual(seeker.finish(), exception)

    def test_late_bytes_complete_an_answer(self) -> None:
        answer = raw(read_response(READ, b"12345678"))
        seeker = self.sought(READ, [answer[:6]])
        self.assertIsNone(seeker.finish())
        self.assertEqual(seeker.feed(answer[6:]), answer)

    def test_endless_noise_costs_no_memory(self) -> None:
        answer = raw(read_response(READ, b"12345678"))
        seeker = ResponseMatcher(READ, echo=None)
        for _ in range(200):
            seeker.feed(b"\x01\x03\x07\x00" * 1000)
            self.assertLess(len(seeker._kept), 5000)
        self.assertEqual(seeker.feed(answer), answer)

    # --- echoes ------------------------------------------------------------------------------------------------------

    def test_the_echo_of_a_read(self) -> None:
        request, answer = raw(READ.to_hex()), raw(read_response(READ, b"12345678"))
        for echo in (None, True, False):
            seeker = self.sought(READ, byte_by_byte(request + answer), echo)
            self.assertEqual(seeker.answer, answer)
            self.assertTrue(seeker.echoed)
            self.assertFalse(seeker.clean)
            self.assertEqual(seeker.discarded, 0)

    def test_clean_is_what_came_first(self) -> None:
        answer = raw(read_response(READ, b"12345678"))
        self.assertTrue(self.sought(READ, [answer], None).clean)
        self.assertFalse(self.sought(READ, [b"\x00" + answer], None).clean)
        self.assertFalse(self.sought(READ, [b"\x01\x03\x08" * 5, answer], None).clean)
        self.assertFalse(self.sought(READ, [b"\x00" * 2000, answer], None).clean)
        self.assertFalse(ResponseMatcher(READ, echo=None).clean)

    def test_an_echo_is_no_confirmation(self) -> None:
        """Only where the line surely does not echo, the first copy is the controller's."""
        for write in (START, WRITE):
            frame = raw(write.to_hex())
            for echo, copies, done in ((False, 1, True), (None, 1, False), (True, 1, False), (True, 2, True)):
                for chunks in ([frame * copies], byte_by_byte(frame * copies)):
                    seeker = self.sought(write, chunks, echo)
                    self.assertEqual(seeker.finish() is not None, done, (write, echo, copies))
                    self.assertEqual(seeker.echoed, echo is not False)

    def test_a_damaged_echo_confirms_nothing(self) -> None:
        """One good copy, where two should be: the echo was damaged, or the controller was not reached."""
        frame = raw(START.to_hex())
        self.assertIsNone(self.sought(START, [frame[:3] + b"\x55" + frame[4:], frame], True).finish())

    def test_a_refusal_needs_no_echo(self) -> None:
        refusal = raw(ExceptionResponse(1, Function.WRITE_COIL, 2).to_hex())
        frame = raw(START.to_hex())
        for echo in (None, True, False):
            self.assertEqual(self.sought(START, [refusal], echo).finish(), refusal)
            self.assertEqual(self.sought(START, [frame[:-1], b"\x00", refusal], echo).finish(), refusal)
        self.assertEqual(self.sought(START, [frame + refusal], True).finish(), refusal)

    @given(write_requests(), NOISE, st.lists(st.integers(0, 300), max_size=3))
    def test_no_part_of_an_echo_is_a_confirmation(self, write: Request, noise: bytes, where: list[int]) -> None:
        """However the echo comes in, on a line that echoes or may."""
        frame = raw(write.to_hex())
        for echo in (None, True):
            for chunks in (cut(frame, where), cut(noise + frame, where), cut(frame + noise, where)):
                self.assertIsNone(self.sought(write, chunks, echo).finish())

    def test_an_echo_that_begins_like_the_answer(self) -> None:
        """Functions 0F and 10: address and count are followed by what would have to be the CRC of the answer."""
        write = self.treacherous()
        frame = raw(write.to_hex())
        self.assertEqual(frame[:8], raw(write_response(write).to_hex()))
        seeker = ResponseMatcher(write, echo=None)
        for byte in byte_by_byte(frame):
            self.assertIsNone(seeker.feed(byte))
        self.assertIsNone(seeker.finish())
        self.assertEqual(self.sought(write, [frame + frame[:8]], None).answer, frame[:8])

    def treacherous(self) -> WriteRegistersRequest:
        """A write of registers whose echo begins with the very answer."""
        for unit in range(1, 248):
            for address in range(0, 0x10000, 7):
                for count in (1, 2, 3):
                    body = bytes((unit, 0x10)) + address.to_bytes(2, "big") + count.to_bytes(2, "big")
                    crc = raw(build_frame(body))[-2:]
                    if crc[0] == count * 2:
                        return WriteRegistersRequest(unit, address, (crc[1] << 8, *[0] * (count - 1)))
        raise AssertionError("there is none")  # pragma: no cover

    def test_a_read_whose_answer_may_equal_it(self) -> None:
        """17 to 24 bits from 0300 on: an answer that happens to be the request counts only where there is no echo."""
        request = ReadRequest(1, Function.READ_COILS, 0x0300, 20)
        frame = raw(request.to_hex())
        self.assertEqual(parse_response(frame.hex()), ReadResponse(1, Function.READ_COILS, frame[3:6]))
        self.assertEqual(self.sought(request, [frame], False).finish(), frame)
        other = raw(read_response(request, b"\x03\x02\x01"))
        for echo in (None, True):
            self.assertIsNone(self.sought(request, [frame], echo).finish())
            self.assertEqual(self.sought(request, [frame, frame], echo).finish(), frame)
            self.assertEqual(self.sought(request, [other], echo).finish(), other)
