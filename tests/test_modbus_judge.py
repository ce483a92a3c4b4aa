"""``cmmd.modbus.frames`` against pymodbus: what we build it reads, what it builds we read."""

from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer import FramerRTU
from pymodbus.pdu import DecodePDU, ModbusPDU, bit_message, register_message
from pymodbus.pdu import ExceptionResponse as JudgeException
from twisted.trial.unittest import SynchronousTestCase

from cmmd.modbus.frames import (
    ExceptionResponse,
    Function,
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
    coils_response,
    parse_request,
    parse_response,
    registers_response,
    write_response,
)
from tests.test_modbus_frames import requests
from tests.test_modbus_requests import all_requests, write_requests
from tests.test_modbus_responses import exceptions

REQUESTS = FramerRTU(DecodePDU(True))
RESPONSES = FramerRTU(DecodePDU(False))
READ_REQUESTS: dict[Function, type[ModbusPDU]] = {
    Function.READ_COILS: bit_message.ReadCoilsRequest,
    Function.READ_DISCRETE_INPUTS: bit_message.ReadDiscreteInputsRequest,
    Function.READ_HOLDING_REGISTERS: register_message.ReadHoldingRegistersRequest,
    Function.READ_INPUT_REGISTERS: register_message.ReadInputRegistersRequest,
}
READ_RESPONSES: dict[Function, type[ModbusPDU]] = {
    Function.READ_COILS: bit_message.ReadCoilsResponse,
    Function.READ_DISCRETE_INPUTS: bit_message.ReadDiscreteInputsResponse,
    Function.READ_HOLDING_REGISTERS: register_message.ReadHoldingRegistersResponse,
    Function.READ_INPUT_REGISTERS: register_message.ReadInputRegistersResponse,
}


def read_by_judge(framer: FramerRTU, frame: str) -> ModbusPDU:
    """The whole frame, as pymodbus understands it."""
    raw = bytes.fromhex(frame)
    used, pdu = framer.handleFrame(raw, 0, 0)
    assert pdu is not None
    assert used == len(raw)
    return pdu


def built_by_judge(pdu: ModbusPDU) -> str:
    return REQUESTS.buildFrame(pdu).hex()


def request_of_judge(request: Request) -> ModbusPDU:
    """The same request in pymodbus' classes."""
    unit, address = request.unit, request.address
    match request:
        case ReadRequest():
            return READ_REQUESTS[request.function](dev_id=unit, address=address, count=request.count)
        case WriteCoilRequest():
            return bit_message.WriteSingleCoilRequest(dev_id=unit, address=address, bits=[request.on])
        case WriteRegisterRequest():
            return register_message.WriteSingleRegisterRequest(
                dev_id=unit, address=address, registers=[request.register]
            )
        case WriteCoilsRequest():
            return bit_message.WriteMultipleCoilsRequest(dev_id=unit, address=address, bits=request.coils)
        case WriteRegistersRequest():
            return register_message.WriteMultipleRegistersRequest(
                dev_id=unit, address=address, registers=request.registers
            )


def echo_of_judge(request: WriteRequest) -> ModbusPDU:
    """The same echo in pymodbus' classes."""
    unit, address = request.unit, request.address
    match request:
        case WriteCoilRequest():
            return bit_message.WriteSingleCoilResponse(dev_id=unit, address=address, bits=[request.on])
        case WriteRegisterRequest():
            return register_message.WriteSingleRegisterResponse(
                dev_id=unit, address=address, registers=[request.register]
            )
        case WriteCoilsRequest():
            return bit_message.WriteMultipleCoilsResponse(dev_id=unit, address=address, count=request.word)
        case WriteRegistersRequest():
            return register_message.WriteMultipleRegistersResponse(dev_id=unit, address=address, count=request.word)


class JudgeTests(SynchronousTestCase):
    @given(all_requests())
    def test_requests(self, request: Request) -> None:
        theirs = read_by_judge(REQUESTS, request.to_hex())
        self.assertEqual(
            (theirs.dev_id, theirs.function_code, theirs.address), (request.unit, request.function, request.address)
        )
        match request:
            case ReadRequest():
                self.assertEqual(theirs.count, request.count)
            case WriteCoilRequest():
                self.assertEqual(list(theirs.bits), [request.on])
            case WriteRegisterRequest():
                self.assertEqual(list(theirs.registers), [request.register])
            case WriteCoilsRequest():
                self.assertEqual(tuple(theirs.bits[: theirs.count]), request.coils)
                self.assertEqual(theirs.count, len(request.coils))
            case WriteRegistersRequest():
                self.assertEqual(tuple(theirs.registers), request.registers)
        self.assertEqual(parse_request(built_by_judge(request_of_judge(request))), request)

    @given(requests(), st.data())
    def test_responses_of_reads(self, request: ReadRequest, draw: st.DataObject) -> None:
        if request.function.reads_bits:
            coils = draw.draw(st.lists(st.booleans(), min_size=request.count, max_size=request.count))
            frame = coils_response(request, coils)
            theirs = READ_RESPONSES[request.function](dev_id=request.unit, bits=coils)
        else:
            registers = draw.draw(st.lists(st.integers(0, 0xFFFF), min_size=request.count, max_size=request.count))
            frame = registers_response(request, registers)
            theirs = READ_RESPONSES[request.function](dev_id=request.unit, registers=registers)
        read = read_by_judge(RESPONSES, frame)
        ours = parse_response(built_by_judge(theirs))
        assert isinstance(ours, ReadResponse)
        for pdu in (read, ours):
            unit = pdu.unit if isinstance(pdu, ReadResponse) else pdu.dev_id
            self.assertEqual(unit, request.unit)
        if request.function.reads_bits:
            self.assertEqual(list(read.bits[: request.count]), coils)
            self.assertEqual(ours.bits(request), tuple(coils))
        else:
            self.assertEqual(list(read.registers), registers)
            self.assertEqual(ours.registers(request), tuple(registers))

    @given(write_requests())
    def test_echoes(self, request: WriteRequest) -> None:
        ours = write_response(request)
        theirs = read_by_judge(RESPONSES, ours.to_hex())
        self.assertEqual(
            (theirs.dev_id, theirs.function_code, theirs.address), (ours.unit, ours.function, ours.address)
        )
        match request:
            case WriteCoilRequest():
                self.assertEqual(list(theirs.bits), [request.on])
            case WriteRegisterRequest():
                self.assertEqual(list(theirs.registers), [request.register])
            case _:
                self.assertEqual(theirs.count, request.word)
        self.assertEqual(self.read_by_us(echo_of_judge(request)), ours)

    @given(exceptions())
    def test_exceptions(self, ours: ExceptionResponse) -> None:
        theirs = read_by_judge(RESPONSES, ours.to_hex())
        self.assertEqual(
            (theirs.dev_id, theirs.function_code, theirs.exception_code), (ours.unit, ours.function | 0x80, ours.code)
        )
        self.assertEqual(self.read_by_us(JudgeException(ours.function, ours.code, ours.unit)), ours)

    def read_by_us(self, pdu: ModbusPDU) -> Response:
        response = parse_response(built_by_judge(pdu))
        self.assertIsInstance(response, WriteResponse | ExceptionResponse)
        return response
