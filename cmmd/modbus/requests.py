"""Modbus RTU requests: functions 01 to 06, 0F and 10 (section 8). A request that exists is one that Modbus allows."""

from struct import Struct as Layout
from struct import error as struct_error
from typing import ClassVar

from msgspec import Struct

from cmmd.modbus.envelope import (
    Function,
    ModbusFrameError,
    build_frame,
    function_of,
    open_frame,
    pack_bits,
    pack_registers,
    split_frames,
    unpack_bits,
    unpack_registers,
)

__all__ = [
    "MAX_PLAN",
    "ReadRequest",
    "Request",
    "WriteCoilRequest",
    "WriteCoilsRequest",
    "WriteRegisterRequest",
    "WriteRegistersRequest",
    "WriteRequest",
    "parse_plan",
    "parse_read_request",
    "parse_request",
]

MAX_PLAN = 64
"""Most requests in one plan: more could not be uploaded in one message of 64 KiB."""

MAX_BITS_READ = 2000
MAX_REGISTERS_READ = 125
MAX_COILS_WRITTEN = 1968
MAX_REGISTERS_WRITTEN = 123
"""What Modbus allows in one request."""

ADDRESSES = 0x1_0000
COIL_ON = 0xFF00
COIL_OFF = 0x0000

_HEAD = Layout(">BBHH")  # unit, function, address, and a word: a count or a value
_CRC_LENGTH = 2
_LAST_OF_BITS = Function.READ_DISCRETE_INPUTS  # what reads_bits says, for the hot path


class ReadRequest(Struct, frozen=True):
    """A read request, functions 01 to 04: ``count`` bits or registers from ``address`` (0-based) of ``unit``.

    :raises ModbusFrameError: on making one that Modbus does not allow; so do all requests.
    """

    unit: int
    function: Function
    address: int
    count: int

    def __post_init__(self) -> None:
        if not self.function.reads:
            raise ModbusFrameError(f"function {self.function:02X} is not a read")
        limit = MAX_BITS_READ if self.function.reads_bits else MAX_REGISTERS_READ
        _check_place(self.unit, self.address, self.count, limit)

    @property
    def payload_length(self) -> int:
        """Bytes of values in the response to this request: what its byte count says."""
        return (self.count + 7) // 8 if self.function <= _LAST_OF_BITS else self.count * 2

    def to_hex(self) -> str:
        """The request as a frame: upper-case hex with CRC."""
        return build_frame(_HEAD.pack(self.unit, self.function, self.address, self.count))


class WriteCoilRequest(Struct, frozen=True):
    """Function 05: one coil on or off."""

    function: ClassVar[Function] = Function.WRITE_COIL
    unit: int
    address: int
    on: bool

    def __post_init__(self) -> None:
        _check_place(self.unit, self.address)

    @property
    def word(self) -> int:
        """The value as it is in the frame."""
        return COIL_ON if self.on else COIL_OFF

    def to_hex(self) -> str:
        """The request as a frame: upper-case hex with CRC."""
        return build_frame(_HEAD.pack(self.unit, self.function, self.address, self.word))


class WriteRegisterRequest(Struct, frozen=True):
    """Function 06: one register, 0..65535."""

    function: ClassVar[Function] = Function.WRITE_REGISTER
    unit: int
    address: int
    register: int

    def __post_init__(self) -> None:
        _check_place(self.unit, self.address)
        _check("register", self.register, 0, 0xFFFF)

    @property
    def word(self) -> int:
        """The value as it is in the frame."""
        return self.register

    def to_hex(self) -> str:
        """The request as a frame: upper-case hex with CRC."""
        return build_frame(_HEAD.pack(self.unit, self.function, self.address, self.word))


class WriteCoilsRequest(Struct, frozen=True):
    """Function 0F: coils from ``address`` on, 1 to 1968 of them."""

    function: ClassVar[Function] = Function.WRITE_COILS
    unit: int
    address: int
    coils: tuple[bool, ...]

    def __post_init__(self) -> None:
        _check_place(self.unit, self.address, self.word, MAX_COILS_WRITTEN)

    @property
    def word(self) -> int:
        """The number of coils, as it is in the frame."""
        return len(self.coils)

    def to_hex(self) -> str:
        """The request as a frame: upper-case hex with CRC."""
        head = _HEAD.pack(self.unit, self.function, self.address, self.word)
        values = pack_bits(self.coils)
        return build_frame(head + bytes((len(values),)) + values)


class WriteRegistersRequest(Struct, frozen=True):
    """Function 10: registers from ``address`` on, 1 to 123 of them, 0..65535 each."""

    function: ClassVar[Function] = Function.WRITE_REGISTERS
    unit: int
    address: int
    registers: tuple[int, ...]

    def __post_init__(self) -> None:
        _check_place(self.unit, self.address, self.word, MAX_REGISTERS_WRITTEN)
        for register in self.registers:
            _check("register", register, 0, 0xFFFF)

    @property
    def word(self) -> int:
        """The number of registers, as it is in the frame."""
        return len(self.registers)

    def to_hex(self) -> str:
        """The request as a frame: upper-case hex with CRC."""
        head = _HEAD.pack(self.unit, self.function, self.address, self.word)
        values = pack_registers(self.registers)
        return build_frame(head + bytes((len(values),)) + values)


WriteRequest = WriteCoilRequest | WriteRegisterRequest | WriteCoilsRequest | WriteRegistersRequest
Request = ReadRequest | WriteRequest


def parse_request(text: str) -> Request:
    """Read a request of any function, such as ``00050003FF007DEB``.

    :param text: the frame in hex with CRC.
    :raises ModbusFrameError: not a frame, an unsupported function, or what Modbus does not allow.
    """
    body = open_frame(text)
    function = function_of(body[1])
    try:
        unit, _, address, word = _HEAD.unpack_from(body)
    except struct_error:
        raise _wrong_length(function, _HEAD.size, len(body)) from None
    if function in (Function.WRITE_COILS, Function.WRITE_REGISTERS):
        return _parse_write_of_several(unit, function, address, word, body[_HEAD.size :])
    if len(body) != _HEAD.size:
        raise _wrong_length(function, _HEAD.size, len(body))
    if function == Function.WRITE_REGISTER:
        return WriteRegisterRequest(unit, address, word)
    if function == Function.WRITE_COIL:
        if word not in (COIL_ON, COIL_OFF):
            raise ModbusFrameError(f"a coil is set to FF00 or 0000, not {word:04X}")
        return WriteCoilRequest(unit, address, word == COIL_ON)
    return ReadRequest(unit, function, address, word)


def parse_read_request(text: str) -> ReadRequest:
    """Read one request of functions 01 to 04, such as ``01010000005ABC31``.

    :param text: the frame in hex with CRC.
    :raises ModbusFrameError: not a frame, another function, or a count that Modbus does not allow.
    """
    request = parse_request(text)
    if not isinstance(request, ReadRequest):
        raise ModbusFrameError(f"function {request.function:02X} is not a read")
    return request


def parse_plan(text: str) -> tuple[ReadRequest, ...]:
    """Read a polling plan: the ``para_command`` of a login answer (section 4.1).

    :param text: read requests separated by ``;``; none at all is a plan too.
    :raises ModbusFrameError: any of them is wrong, or they are more than :data:`MAX_PLAN`.
    """
    items = split_frames(text)
    if len(items) > MAX_PLAN:
        raise ModbusFrameError(f"{len(items)} requests in one plan, at most {MAX_PLAN} are taken")
    return tuple(parse_read_request(item) for item in items)


def _parse_write_of_several(unit: int, function: Function, address: int, count: int, rest: bytes) -> WriteRequest:
    """Read functions 0F and 10. ``rest``: the byte count and the values."""
    length = (count + 7) // 8 if function == Function.WRITE_COILS else count * 2
    if len(rest) != 1 + length or rest[0] != length:
        raise ModbusFrameError(f"function {function:02X}: not {length} bytes of values for a count of {count}")
    values = rest[1:]
    if function == Function.WRITE_COILS:
        return WriteCoilsRequest(unit, address, unpack_bits(values, count))
    return WriteRegistersRequest(unit, address, unpack_registers(values))


def _wrong_length(function: Function, expected: int, found: int) -> ModbusFrameError:
    """Say so, in lengths of whole frames."""
    return ModbusFrameError(
        f"a request of function {function:02X} has {expected + _CRC_LENGTH} bytes, not {found + _CRC_LENGTH}"
    )


def _check(what: str, value: int, lowest: int, highest: int) -> None:
    if not lowest <= value <= highest:
        raise ModbusFrameError(f"{what} {value} is not within {lowest}..{highest}")


def _check_place(unit: int, address: int, count: int = 1, limit: int = 1) -> None:
    _check("unit", unit, 0, 0xFF)
    _check("address", address, 0, ADDRESSES - 1)
    _check("count", count, 1, limit)
    if address + count > ADDRESSES:
        raise ModbusFrameError(f"address {address} and count {count} reach beyond {ADDRESSES - 1}")
