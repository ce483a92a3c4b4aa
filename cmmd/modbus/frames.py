"""Modbus RTU frames as the CMM protocol carries them: hex text with CRC, several separated by ``;`` (section 8).

Requests and responses of the read functions, so far. Everything wrong with a frame is a :exc:`ModbusFrameError`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct, pack
from struct import error as struct_error

from fastcrc.crc16 import modbus as crc16

__all__ = [
    "MAX_PLAN",
    "Function",
    "ModbusFrameError",
    "ReadRequest",
    "build_frame",
    "coils_response",
    "open_frame",
    "parse_plan",
    "parse_read_request",
    "read_response",
    "registers_response",
    "split_frames",
]

MAX_PLAN = 64
"""Most requests in one plan: more could not be uploaded in one message of 64 KiB."""

_BITS_PER_REQUEST = 2000
_REGISTERS_PER_REQUEST = 125
_ADDRESSES = 0x1_0000
_SHORTEST = 4  # bytes: unit, function, CRC
_READ_BODY = Struct(">BBHH")


class ModbusFrameError(ValueError):
    """Text that is not the Modbus frame it should be; the message says why and holds no peer text."""


class Function(IntEnum):
    """The function codes of Modbus that the protocol uses for reading."""

    READ_COILS = 1
    READ_DISCRETE_INPUTS = 2
    READ_HOLDING_REGISTERS = 3
    READ_INPUT_REGISTERS = 4

    @property
    def reads_bits(self) -> bool:
        """Whether the function reads coils or inputs (packed bits) and not registers."""
        return self <= Function.READ_DISCRETE_INPUTS


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """A read request: ``count`` coils or registers from ``address`` (0-based) of ``unit``."""

    unit: int
    function: Function
    address: int
    count: int

    @property
    def payload_length(self) -> int:
        """Bytes of values in the response to this request: what its byte count says."""
        return (self.count + 7) // 8 if self.function.reads_bits else self.count * 2

    def to_hex(self) -> str:
        """The request as a frame: upper-case hex with CRC."""
        return build_frame(_READ_BODY.pack(self.unit, self.function, self.address, self.count))


# --- frames in general -----------------------------------------------------------------------------------------------


def split_frames(text: str) -> list[str]:
    """Take the items of a ``;``-separated list apart; blanks around them and empty items do not count."""
    return [item for part in text.split(";") if (item := part.strip())]


def build_frame(body: bytes) -> str:
    """Make a frame of what it says.

    :param body: unit, function and what follows, without CRC.
    :return: upper-case hex with CRC, low byte first.
    """
    return (body + crc16(body).to_bytes(2, "little")).hex().upper()


def open_frame(text: str) -> bytes:
    """Read a frame in hex, any letter case, and check its CRC.

    :return: unit, function and what follows, without CRC.
    :raises ModbusFrameError: no hex, too short, or a CRC that does not fit.
    """
    try:
        frame = bytes.fromhex(text)
    except ValueError:
        raise ModbusFrameError("not hex") from None
    if len(frame) < _SHORTEST:
        raise ModbusFrameError(f"{len(frame)} bytes are too short for a frame")
    body = frame[:-2]
    if crc16(body) != int.from_bytes(frame[-2:], "little"):
        raise ModbusFrameError(f"bad CRC: {frame[-2:].hex().upper()}")
    return body


# --- read requests ---------------------------------------------------------------------------------------------------


def parse_read_request(text: str) -> ReadRequest:
    """Read one request of functions 01 to 04, such as ``01010000005ABC31``.

    :param text: the frame in hex with CRC.
    :raises ModbusFrameError: not a frame, another function, or a count that Modbus does not allow.
    """
    body = open_frame(text)
    try:
        unit, code, address, count = _READ_BODY.unpack(body)
    except struct_error:
        raise ModbusFrameError(f"a read request has {_READ_BODY.size + 2} bytes, not {len(body) + 2}") from None
    try:
        function = Function(code)
    except ValueError:
        raise ModbusFrameError(f"function {code:02X} is not a read") from None
    limit = _BITS_PER_REQUEST if function.reads_bits else _REGISTERS_PER_REQUEST
    if not 1 <= count <= limit:
        raise ModbusFrameError(f"count {count} is not within 1..{limit}")
    if address + count > _ADDRESSES:
        raise ModbusFrameError(f"address {address} and count {count} reach beyond {_ADDRESSES - 1}")
    return ReadRequest(unit, function, address, count)


def parse_plan(text: str) -> tuple[ReadRequest, ...]:
    """Read a polling plan: the ``para_command`` of a login answer (section 4.1).

    :param text: read requests separated by ``;``; none at all is a plan too.
    :raises ModbusFrameError: any of them is wrong, or they are more than :data:`MAX_PLAN`.
    """
    items = split_frames(text)
    if len(items) > MAX_PLAN:
        raise ModbusFrameError(f"{len(items)} requests in one plan, at most {MAX_PLAN} are taken")
    return tuple(parse_read_request(item) for item in items)


# --- read responses --------------------------------------------------------------------------------------------------


def read_response(request: ReadRequest, payload: bytes) -> str:
    """Build the response to a read request from the values as they stand on the wire.

    :param payload: registers big-endian, or bits packed least significant first; ``request.payload_length`` bytes.
    :return: upper-case hex with CRC.
    :raises ModbusFrameError: a payload of another length.
    """
    if len(payload) != request.payload_length:
        raise ModbusFrameError(f"{len(payload)} bytes of values, the request wants {request.payload_length}")
    return build_frame(bytes((request.unit, request.function, len(payload))) + payload)


def registers_response(request: ReadRequest, registers: Sequence[int]) -> str:
    """Build the response to a request of function 03 or 04.

    :param registers: ``request.count`` values of 16 bits, 0..65535.
    :raises ModbusFrameError: another number of values, a value out of range, or a request for bits.
    """
    if request.function.reads_bits:
        raise ModbusFrameError(f"function {request.function:02X} reads bits")
    try:
        payload = pack(f">{len(registers)}H", *registers)
    except struct_error:
        raise ModbusFrameError("a register is not within 0..65535") from None
    return read_response(request, payload)


def coils_response(request: ReadRequest, coils: Iterable[bool]) -> str:
    """Build the response to a request of function 01 or 02.

    :param coils: ``request.count`` states; the last byte is filled up with zeros.
    :raises ModbusFrameError: another number of states, or a request for registers.
    """
    if not request.function.reads_bits:
        raise ModbusFrameError(f"function {request.function:02X} reads registers")
    states = list(coils)
    if len(states) != request.count:
        raise ModbusFrameError(f"{len(states)} coils, the request wants {request.count}")
    packed = sum(1 << position for position, state in enumerate(states) if state)
    return read_response(request, packed.to_bytes(request.payload_length, "little"))
