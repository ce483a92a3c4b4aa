"""The common part of Modbus RTU frames (section 8): hex text, CRC, unit, function, and packed values."""

from collections.abc import Sequence
from enum import IntEnum
from struct import error as struct_error
from struct import pack, unpack

from fastcrc.crc16 import modbus as crc16

__all__ = [
    "CRC_LENGTH",
    "BadCRCError",
    "Function",
    "ModbusFrameError",
    "build_frame",
    "crc16",
    "function_of",
    "open_frame",
    "pack_bits",
    "pack_registers",
    "split_frames",
    "unpack_bits",
    "unpack_registers",
]


def pack_bits(states: Sequence[bool]) -> bytes:
    """Pack states, eight a byte; the last byte is filled up with zeros."""
    packed = bytearray((len(states) + 7) // 8)
    for position, state in enumerate(states):
        if state:
            packed[position >> 3] |= 1 << (position & 7)
    return bytes(packed)


def unpack_bits(payload: bytes, count: int) -> tuple[bool, ...]:
    """Unpack the first ``count`` states; what the last byte is filled up with does not matter."""
    return tuple([bool(payload[position >> 3] >> (position & 7) & 1) for position in range(count)])


def pack_registers(registers: Sequence[int]) -> bytes:
    """Pack registers, two bytes each.

    :raises ModbusFrameError: a value is not within 0..65535.
    """
    try:
        return pack(f">{len(registers)}H", *registers)
    except struct_error:
        raise ModbusFrameError("a register is not within 0..65535") from None


def unpack_registers(payload: bytes) -> tuple[int, ...]:
    """Unpack registers, 0..65535 each, from an even number of bytes."""
    return unpack(f">{len(payload) // 2}H", payload)


CRC_LENGTH = 2
_SHORTEST = 4  # bytes: unit, function, CRC


class ModbusFrameError(ValueError):
    """Text or values that do not make the Modbus frame they should; the message says why and holds no peer text."""


class BadCRCError(ModbusFrameError):
    """A frame whose CRC does not fit: something was damaged on its way."""


class Function(IntEnum):
    """The function codes of Modbus that the protocol uses (section 8)."""

    READ_COILS = 0x01
    READ_DISCRETE_INPUTS = 0x02
    READ_HOLDING_REGISTERS = 0x03
    READ_INPUT_REGISTERS = 0x04
    WRITE_COIL = 0x05
    WRITE_REGISTER = 0x06
    WRITE_COILS = 0x0F
    WRITE_REGISTERS = 0x10

    @property
    def reads(self) -> bool:
        """Tell whether the function reads, bits or registers."""
        return self <= Function.READ_INPUT_REGISTERS

    @property
    def reads_bits(self) -> bool:
        """Tell whether the function reads coils or inputs (packed bits) and not registers."""
        return self <= 2  # READ_DISCRETE_INPUTS, not looked up: for each item of an upload


_FUNCTIONS = {function.value: function for function in Function}


def function_of(code: int) -> Function:
    """Name a function code.

    :raises ModbusFrameError: one that the protocol does not use.
    """
    try:
        return _FUNCTIONS[code]
    except KeyError:
        raise ModbusFrameError(f"function {code:02X} is not supported") from None


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

    :return: unit, function and what follows, without CRC: two bytes or more.
    :raises BadCRCError: the CRC does not fit.
    :raises ModbusFrameError: no hex, or too short.
    """
    try:
        frame = bytes.fromhex(text)
    except ValueError:
        raise ModbusFrameError("not hex") from None
    if len(frame) < _SHORTEST:
        raise ModbusFrameError(f"{len(frame)} bytes are too short for a frame")
    if crc16(frame) != 0:  # the CRC of anything with its own CRC, low byte first, is 0
        raise BadCRCError(f"bad CRC: {frame[-2:].hex().upper()}")
    return frame[:-2]
