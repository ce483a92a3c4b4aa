"""Modbus RTU responses: of reads, of writes, and exceptions (section 8)."""

from collections.abc import Iterable, Sequence
from struct import Struct as Layout
from struct import error as struct_error

from msgspec import Struct

from cmmd.modbus.envelope import (
    CRC_LENGTH,
    Function,
    ModbusFrameError,
    build_frame,
    crc16,
    function_of,
    open_frame,
    pack_bits,
    pack_registers,
    unpack_bits,
    unpack_registers,
)
from cmmd.modbus.requests import ReadRequest, Request, WriteRequest

__all__ = [
    "ExceptionResponse",
    "ExpectedResponse",
    "ReadResponse",
    "Response",
    "WriteResponse",
    "coils_response",
    "matches",
    "parse_response",
    "read_response",
    "registers_response",
    "write_response",
]

EXCEPTION = 0x80
"""The bit of the function code that makes a response an exception."""

_EXCEPTION_NAMES = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "device failure",
    5: "acknowledged, takes long",
    6: "device busy",
    7: "refused",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target does not respond",
}
_READS = {function.value: function for function in Function if function.reads}
_READ_HEAD = 3  # bytes: unit, function, byte count
_EXCEPTION_BODY = 3  # bytes: unit, function, code
_ECHO = Layout(">BBHH")  # unit, function, address, value or count


class ReadResponse(Struct, frozen=True):
    """The response to functions 01 to 04. It does not say which addresses it is about.

    :ivar payload: the values as they stand on the wire: registers big-endian, or bits packed least significant first.
    """

    unit: int
    function: Function
    payload: bytes

    def registers(self, request: ReadRequest) -> tuple[int, ...]:
        """The registers that were requested, 0..65535 each.

        :raises ModbusFrameError: this does not answer the request, or the request is for bits.
        """
        self._check(request, bits=False)
        return unpack_registers(self.payload)

    def bits(self, request: ReadRequest) -> tuple[bool, ...]:
        """The states of the coils or inputs that were requested.

        :raises ModbusFrameError: this does not answer the request, or the request is for registers.
        """
        self._check(request, bits=True)
        return unpack_bits(self.payload, request.count)

    def to_hex(self) -> str:
        """The response as a frame: upper-case hex with CRC."""
        return build_frame(bytes((self.unit, self.function, len(self.payload))) + self.payload)

    def _check(self, request: ReadRequest, *, bits: bool) -> None:
        if self.function.reads_bits != bits:
            raise ModbusFrameError(f"function {self.function:02X} reads {'registers' if bits else 'bits'}")
        if not matches(request, self):
            raise ModbusFrameError("not a response to this request")


class WriteResponse(Struct, frozen=True):
    """The response to functions 05, 06, 0F and 10: it echoes the request up to its first two words.

    :ivar word: what was written (05: FF00 on, 0000 off; 06: the register), or how many were written (0F, 10).
    """

    unit: int
    function: Function
    address: int
    word: int

    def to_hex(self) -> str:
        """The response as a frame: upper-case hex with CRC."""
        return build_frame(_ECHO.pack(self.unit, self.function, self.address, self.word))


class ExceptionResponse(Struct, frozen=True):
    """The controller does not do what was asked.

    :ivar function: what was asked, without the exception's bit.
    :ivar code: 0..255, of which Modbus names some.
    """

    unit: int
    function: Function
    code: int

    @property
    def name(self) -> str:
        """The code in words."""
        return _EXCEPTION_NAMES.get(self.code, f"exception {self.code}")

    def to_hex(self) -> str:
        """The response as a frame: upper-case hex with CRC."""
        return build_frame(bytes((self.unit, self.function | EXCEPTION, self.code)))


Response = ReadResponse | WriteResponse | ExceptionResponse


def parse_response(text: str) -> Response:
    """Read a response of any function.

    :param text: the frame in hex with CRC.
    :raises ModbusFrameError: not a frame, an unsupported function, or a length that does not fit.
    """
    body = open_frame(text)
    function = _READS.get(body[1])
    if function is None:
        return _parse_other_response(body)
    payload = body[_READ_HEAD:]
    length = len(payload)
    if not length or body[2] != length:
        raise ModbusFrameError(f"function {function:02X}: the byte count does not fit {length} bytes of values")
    if length & 1 and not function.reads_bits:
        raise ModbusFrameError(f"function {function:02X}: {length} bytes are no registers")
    return ReadResponse(body[0], function, payload)


class ExpectedResponse:
    """The expected response to one read request: a short way for the usual case.

    :param request: the request.
    """

    __slots__ = ("_head", "_length")

    def __init__(self, request: ReadRequest) -> None:
        self._head = bytes((request.unit, request.function, request.payload_length))
        self._length = _READ_HEAD + request.payload_length + CRC_LENGTH

    def payload(self, text: str) -> bytes | None:
        """The values as they stand on the wire; None: it is not an intact response to the request.

        What it is instead, parse_response says.
        """
        try:
            frame = bytes.fromhex(text)
        except ValueError:
            return None
        if len(frame) != self._length or not frame.startswith(self._head) or crc16(frame) != 0:
            return None
        return frame[_READ_HEAD:-CRC_LENGTH]


def _parse_other_response(body: bytes) -> WriteResponse | ExceptionResponse:
    code = body[1]
    if code & EXCEPTION:
        function = function_of(code ^ EXCEPTION)
        if len(body) != _EXCEPTION_BODY:
            raise ModbusFrameError(f"an exception of {len(body) - 2} bytes")
        return ExceptionResponse(body[0], function, body[2])
    function = function_of(code)
    try:
        unit, _, address, word = _ECHO.unpack(body)
    except struct_error:
        raise ModbusFrameError(f"function {function:02X}: an echo has not {len(body)} bytes") from None
    return WriteResponse(unit, function, address, word)


def matches(request: Request, response: Response) -> bool:
    """Tell whether a response may be the answer to a request, by all that a response says (section 4.4).

    Reads: unit, function and byte count. Writes: the echo. An exception answers any request of its unit and function.
    """
    if response.unit != request.unit or response.function != request.function:
        return False
    if isinstance(response, ReadResponse):
        return isinstance(request, ReadRequest) and len(response.payload) == request.payload_length
    if isinstance(response, ExceptionResponse):
        return True
    return not isinstance(request, ReadRequest) and response == write_response(request)


# --- to build responses ----------------------------------------------------------------------------------------------


def write_response(request: WriteRequest) -> WriteResponse:
    """Build the response of a device that did what the request wants."""
    return WriteResponse(request.unit, request.function, request.address, request.word)


def read_response(request: ReadRequest, payload: bytes) -> str:
    """Build the response to a read request from the values as they stand on the wire.

    :param payload: registers big-endian, or bits packed least significant first; ``request.payload_length`` bytes.
    :return: upper-case hex with CRC.
    :raises ModbusFrameError: a payload of another length.
    """
    if len(payload) != request.payload_length:
        raise ModbusFrameError(f"{len(payload)} bytes of values, the request wants {request.payload_length}")
    return ReadResponse(request.unit, request.function, payload).to_hex()


def registers_response(request: ReadRequest, registers: Sequence[int]) -> str:
    """Build the response to a request of function 03 or 04.

    :param registers: ``request.count`` values of 16 bits, 0..65535.
    :raises ModbusFrameError: another number of values, a value out of range, or a request for bits.
    """
    if request.function.reads_bits:
        raise ModbusFrameError(f"function {request.function:02X} reads bits")
    return read_response(request, pack_registers(registers))


def coils_response(request: ReadRequest, coils: Iterable[bool]) -> str:
    """Build the response to a request of function 01 or 02.

    :param coils: ``request.count`` states; the last byte is filled up with zeros.
    :raises ModbusFrameError: another number of states, or a request for registers.
    """
    if not request.function.reads_bits:
        raise ModbusFrameError(f"function {request.function:02X} reads registers")
    states = tuple(coils)
    if len(states) != request.count:
        raise ModbusFrameError(f"{len(states)} coils, the request wants {request.count}")
    return read_response(request, pack_bits(states))
