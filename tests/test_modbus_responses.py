"""``cmmd.modbus.responses``: what is read, echoes, exceptions, and which request a response answers."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cmmd.modbus.frames import (
    BadCRCError,
    ExceptionResponse,
    ExpectedResponse,
    Function,
    ModbusFrameError,
    ReadRequest,
    ReadResponse,
    Request,
    Response,
    WriteCoilRequest,
    WriteCoilsRequest,
    WriteRegisterRequest,
    WriteRegistersRequest,
    WriteRequest,
    WriteResponse,
    build_frame,
    coils_response,
    matches,
    parse_response,
    registers_response,
    write_response,
)
from tests.test_modbus_frames import requests
from tests.test_modbus_requests import UNITS, all_requests, write_requests

COILS = ReadRequest(1, Function.READ_COILS, 0, 10)
HOLDING = ReadRequest(1, Function.READ_HOLDING_REGISTERS, 0, 2)


@st.composite
def read_responses(draw: st.DrawFn) -> ReadResponse:
    request = draw(requests())
    length = request.payload_length
    return ReadResponse(request.unit, request.function, draw(st.binary(min_size=length, max_size=length)))


def exceptions() -> st.SearchStrategy[ExceptionResponse]:
    return st.builds(ExceptionResponse, UNITS, st.sampled_from(Function), st.integers(0, 255))


def responses() -> st.SearchStrategy[Response]:
    return read_responses() | write_requests().map(write_response) | exceptions()


def parsed(body: str) -> Response:
    return parse_response(build_frame(bytes.fromhex(body)))


class ParseTests(SynchronousTestCase):
    @given(responses())
    def test_round_trip(self, response: Response) -> None:
        frame = response.to_hex()
        self.assertEqual(frame, frame.upper())
        self.assertEqual(parse_response(frame), response)
        self.assertEqual(parse_response(frame.lower()), response)

    def test_registers(self) -> None:
        response = parsed("01030400EF1388")
        self.assertEqual(response, ReadResponse(1, Function.READ_HOLDING_REGISTERS, bytes.fromhex("00EF1388")))
        assert isinstance(response, ReadResponse)
        self.assertEqual(response.registers(HOLDING), (0x00EF, 5000))
        self.assertRaisesRegex(ModbusFrameError, "function 03 reads registers", response.bits, COILS)
        for other in (ReadRequest(1, Function.READ_HOLDING_REGISTERS, 0, 3), COILS):
            self.assertRaisesRegex(ModbusFrameError, "not a response to this request", response.registers, other)

    def test_bits(self) -> None:
        response = parsed("010102FEFF")
        assert isinstance(response, ReadResponse)
        self.assertEqual(response.bits(COILS), (False, *[True] * 9))
        self.assertRaisesRegex(ModbusFrameError, "function 01 reads bits", response.registers, HOLDING)
        self.assertRaisesRegex(
            ModbusFrameError, "not a response", response.bits, ReadRequest(1, Function.READ_COILS, 0, 17)
        )

    @given(requests(), st.data())
    def test_what_was_put_in_comes_out(self, request: ReadRequest, draw: st.DataObject) -> None:
        if request.function.reads_bits:
            values = draw.draw(st.lists(st.booleans(), min_size=request.count, max_size=request.count))
            response = parse_response(coils_response(request, values))
            assert isinstance(response, ReadResponse)
            self.assertEqual(response.bits(request), tuple(values))
        else:
            registers = draw.draw(st.lists(st.integers(0, 0xFFFF), min_size=request.count, max_size=request.count))
            response = parse_response(registers_response(request, registers))
            assert isinstance(response, ReadResponse)
            self.assertEqual(response.registers(request), tuple(registers))

    def test_writes_are_echoed(self) -> None:
        for request, echo in (
            (WriteCoilRequest(0, 3, True), "00050003FF00"),
            (WriteCoilRequest(0, 3, False), "000500030000"),
            (WriteRegisterRequest(1, 10, 5000), "0106000A1388"),
            (WriteCoilsRequest(1, 19, (True,) * 10), "010F0013000A"),
            (WriteRegistersRequest(1, 1, (10, 258)), "011000010002"),
        ):
            with self.subTest(echo):
                self.assertEqual(parsed(echo), write_response(request))

    def test_exceptions(self) -> None:
        response = parsed("018302")
        self.assertEqual(response, ExceptionResponse(1, Function.READ_HOLDING_REGISTERS, 2))
        assert isinstance(response, ExceptionResponse)
        self.assertEqual(response.name, "illegal data address")
        self.assertEqual(ExceptionResponse(1, Function.WRITE_COIL, 6).name, "device busy")
        self.assertEqual(ExceptionResponse(1, Function.WRITE_COIL, 99).name, "exception 99")

    def test_what_is_no_response(self) -> None:
        for body, complaint in (
            ("0103", "03: the byte count does not fit 0 bytes"),
            ("010300", "03: the byte count does not fit 0 bytes"),
            ("01030400EF13", "03: the byte count does not fit 3 bytes"),
            ("01030400EF138800", "03: the byte count does not fit 5 bytes"),
            ("010303000000", "03: 3 bytes are no registers"),
            ("01070102", "function 07 is not supported"),
            ("018702", "function 07 is not supported"),
            ("0183", "an exception of 0 bytes"),
            ("01830200", "an exception of 2 bytes"),
            ("0105000300", "05: an echo has not 5 bytes"),
            ("011000010002040001", "10: an echo has not 9 bytes"),
        ):
            with self.subTest(body), self.assertRaisesRegex(ModbusFrameError, complaint):
                parsed(body)

    @given(st.text())
    def test_garbage_raises_nothing_else(self, text: str) -> None:
        self.assertRaises(ModbusFrameError, parse_response, text)

    @given(st.binary(min_size=2, max_size=260))
    def test_garbage_with_a_good_crc_raises_nothing_else(self, body: bytes) -> None:
        try:
            response = parse_response(build_frame(body))
        except ModbusFrameError as error:
            self.assertTrue(str(error).isascii())
        else:
            self.assertEqual(response.to_hex(), build_frame(body))


class MatchTests(SynchronousTestCase):
    @given(requests())
    def test_reads_match_by_unit_function_and_byte_count(self, request: ReadRequest) -> None:
        unit, function, length = request.unit, request.function, request.payload_length
        self.assertTrue(matches(request, ReadResponse(unit, function, bytes(length))))
        self.assertFalse(matches(request, ReadResponse(unit ^ 1, function, bytes(length))))
        self.assertFalse(matches(request, ReadResponse(unit, Function(function % 4 + 1), bytes(length))))
        self.assertFalse(matches(request, ReadResponse(unit, function, bytes(length + 2))))
        self.assertFalse(matches(request, WriteResponse(unit, function, request.address, request.count)))

    @given(write_requests())
    def test_writes_match_by_their_echo(self, request: WriteRequest) -> None:
        unit, function, address, word = request.unit, request.function, request.address, request.word
        self.assertTrue(matches(request, WriteResponse(unit, function, address, word)))
        self.assertFalse(matches(request, WriteResponse(unit ^ 1, function, address, word)))
        self.assertFalse(matches(request, WriteResponse(unit, function, address ^ 1, word)))
        self.assertFalse(matches(request, WriteResponse(unit, function, address, word ^ 1)))
        self.assertFalse(matches(request, ReadResponse(unit, function, bytes(4))))

    @given(all_requests())
    def test_exceptions_match_by_unit_and_function(self, request: Request) -> None:
        self.assertTrue(matches(request, ExceptionResponse(request.unit, request.function, 2)))
        self.assertFalse(matches(request, ExceptionResponse(request.unit ^ 1, request.function, 2)))
        other = Function.READ_COILS if request.function != Function.READ_COILS else Function.WRITE_COIL
        self.assertFalse(matches(request, ExceptionResponse(request.unit, other, 2)))


class ExpectedTests(SynchronousTestCase):
    """The short way says the same as the long one, and takes nothing that the long one does not."""

    @given(requests(), responses())
    def test_against_the_long_way(self, request: ReadRequest, response: Response) -> None:
        payload = ExpectedResponse(request).payload(response.to_hex())
        fits = isinstance(response, ReadResponse) and matches(request, response)
        self.assertEqual(payload, response.payload if isinstance(response, ReadResponse) and fits else None)

    def test_letter_case_and_blanks(self) -> None:
        frame = registers_response(HOLDING, [1, 0xABCD])
        for text in (frame, frame.lower(), f" {frame[:4]} {frame[4:]} "):
            self.assertEqual(ExpectedResponse(HOLDING).payload(text), b"\0\1\xab\xcd")

    def test_what_is_not_it(self) -> None:
        frame = registers_response(HOLDING, [1, 2])
        expected = ExpectedResponse(HOLDING)
        for text in (
            "",
            "x",
            frame[:-1],
            frame[:-2],
            frame + "00",
            "02" + frame[2:],
            frame[:-1] + "X",
            frame[:-4] + "0000",
        ):
            self.assertIsNone(expected.payload(text), text)

    def test_a_bad_crc_is_told_from_what_is_no_frame(self) -> None:
        frame = registers_response(HOLDING, [1, 2])
        self.assertRaises(BadCRCError, parse_response, frame[:-4] + "0000")
        self.assertNotIsInstance(self.assertRaises(ModbusFrameError, parse_response, frame[:-1]), BadCRCError)
