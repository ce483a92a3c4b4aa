"""``cmmd.modbus.frames``: what protocol section 8 says about frames, and what is wrong with a frame."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cmmd.modbus.frames import (
    MAX_PLAN,
    Function,
    ModbusFrameError,
    ReadRequest,
    build_frame,
    coils_response,
    open_frame,
    parse_plan,
    parse_read_request,
    read_response,
    registers_response,
    split_frames,
)
from tests.support import DOCUMENT_EXAMPLES, FIELD_EXAMPLES

CHECKED_PAIRS = {
    "010300000050": "45F6",
    "010100000050": "3C36",
    "01010000005A": "BC31",
    "01030000002D": "85D7",
    "0103002E000A": "A5C4",
    "00050003FF00": "7DEB",
    "00050000FF00": "8DEB",
}
PLAN = "01010000005ABC31;01030000002D85D7;0103002E000AA5C4"
REQUESTS = (
    ReadRequest(1, Function.READ_COILS, 0, 90),
    ReadRequest(1, Function.READ_HOLDING_REGISTERS, 0, 45),
    ReadRequest(1, Function.READ_HOLDING_REGISTERS, 46, 10),
)


@st.composite
def requests(draw: st.DrawFn) -> ReadRequest:
    function = draw(st.sampled_from([function for function in Function if function.reads]))
    count = draw(st.integers(1, 2000 if function.reads_bits else 125))
    return ReadRequest(draw(st.integers(0, 255)), function, draw(st.integers(0, 0x10000 - count)), count)


class FramesTests(SynchronousTestCase):
    def test_checked_crc_pairs(self) -> None:
        for body, crc in CHECKED_PAIRS.items():
            with self.subTest(body):
                self.assertEqual(build_frame(bytes.fromhex(body)), body + crc)
                self.assertEqual(open_frame(body + crc), bytes.fromhex(body))
                self.assertEqual(open_frame((body + crc).lower()), bytes.fromhex(body))

    def test_any_wrong_bit_is_noticed(self) -> None:
        frame = int("01010000005ABC31", 16)
        for bit in range(64):
            with self.assertRaisesRegex(ModbusFrameError, "bad CRC"):
                open_frame(f"{frame ^ (1 << bit):016X}")

    def test_what_is_no_frame(self) -> None:
        for text, complaint in (("", "0 bytes"), ("0101FF", "3 bytes"), ("0101FF1", "not hex"), ("Gänse", "not hex")):
            with self.subTest(text), self.assertRaisesRegex(ModbusFrameError, complaint):
                open_frame(text)

    @given(st.text())
    def test_garbage_raises_nothing_else(self, text: str) -> None:
        for parse in (open_frame, parse_read_request, parse_plan):
            try:
                parse(text)
            except ModbusFrameError as error:
                self.assertTrue(str(error).isascii())

    def test_what_functions_do(self) -> None:
        self.assertEqual([function for function in Function if function.reads_bits], [1, 2])
        self.assertEqual([function for function in Function if function.reads], [1, 2, 3, 4])
        self.assertEqual(list(Function), [1, 2, 3, 4, 5, 6, 15, 16])

    def test_split(self) -> None:
        self.assertEqual(split_frames(" ;01 ; 02;;\n03;"), ["01", "02", "03"])
        self.assertEqual(split_frames(" "), [])


class RequestTests(SynchronousTestCase):
    @given(requests())
    def test_round_trip(self, request: ReadRequest) -> None:
        self.assertEqual(parse_read_request(request.to_hex()), request)
        self.assertEqual(parse_read_request(request.to_hex().lower()), request)

    def test_plan_of_the_field(self) -> None:
        self.assertEqual(parse_plan(PLAN), REQUESTS)
        self.assertEqual(";".join(request.to_hex() for request in REQUESTS), PLAN)

    def test_plan_of_the_vectors(self) -> None:
        (field,) = (one for one in FIELD_EXAMPLES if one.object["method"] == "login")
        plan = parse_plan(field.object["result"]["para_command"])
        self.assertEqual(
            [(one.unit, one.function, one.address, one.count) for one in plan],
            [tuple(poll.values()) for poll in field.means["polls"]],
        )
        (paper,) = (one for one in DOCUMENT_EXAMPLES if one.name == "login.answer")
        whole = ReadRequest(1, Function.READ_HOLDING_REGISTERS, 0, 80)
        self.assertEqual(parse_plan(paper.object["result"]["para_command"]), (whole, whole))

    def test_plan_with_blanks_and_empty_items(self) -> None:
        self.assertEqual(parse_plan(" ; " + PLAN.replace(";", " ;; ") + " ;"), REQUESTS)
        self.assertEqual(parse_plan(""), ())

    def test_plan_with_a_wrong_item(self) -> None:
        self.assertRaises(ModbusFrameError, parse_plan, PLAN + ";0101")

    def test_plan_too_long(self) -> None:
        self.assertEqual(len(parse_plan(";".join(["01010000005ABC31"] * MAX_PLAN))), MAX_PLAN)
        self.assertRaises(ModbusFrameError, parse_plan, ";".join(["01010000005ABC31"] * (MAX_PLAN + 1)))

    def test_what_is_no_read_request(self) -> None:
        for body, complaint in (
            ("00050003FF00", "function 05 is not a read"),
            ("0103000000", "has 8 bytes, not 7"),
            ("01030000000100", "has 8 bytes, not 9"),
            ("010300000000", "count 0 is not within 1..125"),
            ("01030000007E", "count 126 is not within 1..125"),
            ("0101000007D1", "count 2001 is not within 1..2000"),
            ("0103FFFF0002", "reach beyond 65535"),
            ("010700000001", "function 07 is not supported"),
            ("018300000001", "function 83 is not supported"),
        ):
            with self.subTest(body), self.assertRaisesRegex(ModbusFrameError, complaint):
                parse_read_request(build_frame(bytes.fromhex(body)))

    def test_largest_requests(self) -> None:
        for body in ("01030000007D", "0101000007D0", "0103FFFE0002"):
            parse_read_request(build_frame(bytes.fromhex(body)))


class ResponseTests(SynchronousTestCase):
    def test_registers(self) -> None:
        request = ReadRequest(1, Function.READ_HOLDING_REGISTERS, 0, 2)
        self.assertEqual(registers_response(request, [0x00EF, 5000]), build_frame(bytes.fromhex("01030400EF1388")))

    def test_coils_least_significant_first(self) -> None:
        request = ReadRequest(1, Function.READ_COILS, 0, 10)
        coils = [False, True, False, False, False, False, False, False, True, True]
        self.assertEqual(coils_response(request, coils), build_frame(bytes.fromhex("0101020203")))

    @given(requests(), st.data())
    def test_a_response_says_what_was_put_in(self, request: ReadRequest, draw: st.DataObject) -> None:
        if request.function.reads_bits:
            coils = draw.draw(st.lists(st.booleans(), min_size=request.count, max_size=request.count))
            frame = coils_response(request, coils)
        else:
            registers = draw.draw(st.lists(st.integers(0, 0xFFFF), min_size=request.count, max_size=request.count))
            frame = registers_response(request, registers)
        self.assertEqual(frame, frame.upper())
        unit, function, length, *payload = open_frame(frame)
        self.assertEqual((unit, function, length), (request.unit, request.function, len(payload)))
        self.assertEqual(length, request.payload_length)
        if request.function.reads_bits:
            self.assertEqual([bool(payload[n // 8] >> n % 8 & 1) for n in range(request.count)], coils)
        else:
            self.assertEqual(
                [high << 8 | low for high, low in zip(payload[::2], payload[1::2], strict=True)], registers
            )

    def test_what_does_not_fit_the_request(self) -> None:
        coils, registers = REQUESTS[0], REQUESTS[2]
        for build in (
            lambda: read_response(coils, bytes(11)),
            lambda: coils_response(coils, [True] * 89),
            lambda: coils_response(registers, [True] * 10),
            lambda: registers_response(registers, [0] * 9),
            lambda: registers_response(registers, [0x1_0000] * 10),
            lambda: registers_response(registers, [-1] * 10),
            lambda: registers_response(coils, [0] * 6),
        ):
            self.assertRaises(ModbusFrameError, build)
