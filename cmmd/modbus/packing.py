"""Pack values into frames: registers big-endian, eight bits a byte, least significant first (section 8)."""

from collections.abc import Sequence
from struct import error as struct_error
from struct import pack, unpack

from cmmd.modbus.envelope import ModbusFrameError

__all__ = ["pack_bits", "pack_registers", "unpack_bits", "unpack_registers"]


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
