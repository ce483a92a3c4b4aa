"""Build a change upload: values that differ from those uploaded before, by address (protocol section 4.5)."""

from struct import pack, unpack
from typing import Literal

from cmmd.modbus.frames import Function, ReadRequest
from cmmd.wire.messages import ChangeParams, Changes

__all__ = ["ByteOrder", "change_params", "changed_items"]

ByteOrder = Literal["little", "big"]
"""How a register is written in a change upload."""

_FORMATS: dict[ByteOrder, str] = {"little": "<H", "big": ">H"}


def changed_items(request: ReadRequest, before: bytes | None, now: bytes, byte_order: ByteOrder = "big") -> Changes:
    """One object for each register that differs, or for each byte of eight coils.

    :param before: the values uploaded last, as they are in a response frame; None: none, and all are told.
    :param now: the values read now, the same.
    """
    if before == now:
        return []
    address = request.address
    if request.function.reads_bits:
        return [
            {f"{address + 8 * place:04X}": f"{byte:02X}"}
            for place, byte in enumerate(now)
            if before is None or byte != before[place]
        ]
    words, one = f">{request.count}H", _FORMATS[byte_order]
    registers = unpack(words, now)
    told = (None,) * request.count if before is None else unpack(words, before)
    return [
        {f"{address + place:04X}": pack(one, register).hex().upper()}
        for place, (last, register) in enumerate(zip(told, registers, strict=True))
        if last != register
    ]


def change_params(changes: dict[Function, Changes]) -> ChangeParams | None:
    """``params`` of a change upload, without a packet number.

    :param changes: items by function; functions that read, those without items may be missing.
    :return: None: there are no items.
    """
    if not any(changes.values()):
        return None
    return ChangeParams(
        f01=changes.get(Function.READ_COILS, []),
        f02=changes.get(Function.READ_DISCRETE_INPUTS, []),
        f03=changes.get(Function.READ_HOLDING_REGISTERS, []),
        f04=changes.get(Function.READ_INPUT_REGISTERS, []),
    )
