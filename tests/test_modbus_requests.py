"""``cmmd.modbus.requests``: writes, and requests of any function; reads are in ``test_modbus_frames``."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from cmmd.modbus.frames import (
    Function,
    ModbusFrameError,
    ReadRequest,
    Request,
    WriteCoilRequest,
    WriteCoilsRequest,
    WriteRegisterRequest,
    WriteRegistersRequest,
    WriteRequest,
    build_frame,
    parse_read_request,
    parse_request,
)
from tests.test_modbus_frames import requests

UNITS = st.integers(0, 255)
ADDRESSES = st.integers(0, 0xFFFF)
REGISTERS = st.integers(0, 0xFFFF)


@st.composite
def write_requests(draw: st.DrawFn) -> WriteRequest:
    unit, address = draw(UNITS), draw(ADDRESSES)
    match draw(st.sampled_from([function for function in Function if not function.reads])):
        case Function.WRITE_COIL:
            return WriteCoilRequest(unit, address, draw(st.booleans()))
        case Function.WRITE_REGISTER:
            return WriteRegisterRequest(unit, address, draw(REGISTERS))
        case Function.WRITE_COILS:
            most = min(1968, 0x10000 - address)
            return WriteCoilsRequest(unit, address, tuple(draw(st.lists(st.booleans(), min_size=1, max_size=most))))
    most = min(123, 0x10000 - address)
    return WriteRegistersRequest(unit, address, tuple(draw(st.lists(REGISTERS, min_size=1, max_size=most))))


def all_requests() -> st.SearchStrategy[Request]:
    return requests() | write_requests()


class RequestsTests(SynchronousTestCase):
    @given(all_requests())
    def test_round_trip(self, request: Request) -> None:
        frame = request.to_hex()
        self.assertEqual(frame, frame.upper())
        self.assertEqual(parse_request(frame), request)
        self.assertEqual(parse_request(frame.lower()), request)
        self.assertEqual(hash(parse_request(frame)), hash(request))

    def test_writes_as_they_stand_on_the_wire(self) -> None:
        for body, request in (
            ("00050003FF00", WriteCoilRequest(0, 3, True)),
            ("000500030000", WriteCoilRequest(0, 3, False)),
            ("0106000A1388", WriteRegisterRequest(1, 10, 5000)),
            # The example of the Modbus specification: ten coils from 20 on.
            ("010F0013000A02CD01", WriteCoilsRequest(1, 19, tuple(c == "1" for c in "1011001110"))),
            ("01100001000204000A0102", WriteRegistersRequest(1, 1, (10, 0x0102))),
        ):
            with self.subTest(body):
                frame = build_frame(bytes.fromhex(body))
                self.assertEqual(parse_request(frame), request)
                self.assertEqual(request.to_hex(), frame)

    def test_the_commands_of_the_field(self) -> None:
        self.assertEqual(WriteCoilRequest(0, 3, True).to_hex(), "00050003FF007DEB")
        self.assertEqual(parse_request("00050000FF008DEB"), WriteCoilRequest(0, 0, True))

    def test_bits_over_do_not_matter(self) -> None:
        frame = build_frame(bytes.fromhex("010F0013000201FD"))
        self.assertEqual(parse_request(frame), WriteCoilsRequest(1, 19, (True, False)))

    def test_what_is_no_request(self) -> None:
        for body, complaint in (
            ("0105", "function 05 has 8 bytes, not 4"),
            ("00050003FF0000", "function 05 has 8 bytes, not 9"),
            ("000500030001", "FF00 or 0000, not 0001"),
            ("012B00000001", "function 2B is not supported"),
            ("010F0000000A02CD", "0F: not 2 bytes of values for a count of 10"),
            ("010F0000000A02CD0101", "0F: not 2 bytes"),
            ("010F0000000A03CD01", "0F: not 2 bytes"),
            ("010F0000000A", "0F: not 2 bytes"),
            ("010F0000000000", "count 0 is not within 1..1968"),
            ("010FFFFF00020103", "reach beyond 65535"),
            ("0110000000020400010002FF", "10: not 4 bytes"),
            ("0110000000020300010002", "10: not 4 bytes"),
            ("0110FFFF00020400010002", "reach beyond 65535"),
            ("0110000000" + "7CF8" + "00" * 248, "count 124 is not within 1..123"),
            ("010F000007B1F7" + "00" * 247, "count 1969 is not within 1..1968"),
        ):
            with self.subTest(body), self.assertRaisesRegex(ModbusFrameError, complaint):
                parse_request(build_frame(bytes.fromhex(body)))

    def test_what_modbus_does_not_allow_cannot_be_made(self) -> None:
        for make, complaint in (
            (lambda: WriteCoilRequest(256, 0, True), "unit 256 is not within 0..255"),
            (lambda: WriteCoilRequest(1, 65536, True), "address 65536 is not within 0..65535"),
            (lambda: WriteRegisterRequest(1, 0, 65536), "register 65536 is not within 0..65535"),
            (lambda: WriteRegisterRequest(1, -1, 0), "address -1"),
            (lambda: WriteCoilsRequest(1, 0, ()), "count 0"),
            (lambda: WriteRegistersRequest(1, 0, (0, -1)), "register -1"),
            (lambda: ReadRequest(1, Function.WRITE_COIL, 0, 1), "function 05 is not a read"),
            (lambda: ReadRequest(-1, Function.READ_COILS, 0, 1), "unit -1"),
            (lambda: replace(ReadRequest(1, Function.READ_COILS, 0, 1), count=0), "count 0"),
        ):
            with self.subTest(complaint), self.assertRaisesRegex(ModbusFrameError, complaint):
                make()

    @given(write_requests())
    def test_a_write_is_not_a_read(self, request: WriteRequest) -> None:
        self.assertRaisesRegex(ModbusFrameError, "is not a read", parse_read_request, request.to_hex())

    @given(
        st.binary(min_size=2, max_size=20)
        | st.tuples(UNITS, st.sampled_from(Function), st.binary()).map(lambda parts: bytes(parts[:2]) + parts[2])
    )
    def test_garbage_with_a_good_crc_raises_nothing_else(self, body: bytes) -> None:
        try:
            request = parse_request(build_frame(body))
        except ModbusFrameError as error:
            self.assertTrue(str(error).isascii())
        else:
            self.assertEqual(parse_request(request.to_hex()), request)
