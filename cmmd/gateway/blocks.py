"""Blocks of one polling round: one for each request of the plan, read, refused or not answered."""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

from cmmd.modbus.frames import ExceptionResponse, Function, ReadRequest, split_frames

__all__ = ["Block", "alike", "bits_of", "has_values", "joined", "nothing", "told_apart", "unread"]

_OF_BITS = ("01", "02")
"""The functions of coils and discrete inputs, as they stand behind the unit in a frame."""
_EXCEPTION = 0x80
"""What is added to the function in an exception."""
_SHAPE = 6  # characters: unit, function, byte count


class Block(NamedTuple):
    """The result of one request of the plan.

    :ivar frame: the response as read, or the exception; None: there was no answer.
    :ivar payload: the values in it; None: there are none.
    :ivar exception: the exception; None: it was none.
    """

    frame: str | None
    payload: bytes | None
    exception: ExceptionResponse | None = None


def nothing(blocks: Sequence[Block]) -> bool:
    """Tell whether a whole round was without an answer."""
    return bool(blocks) and all(block.frame is None for block in blocks)


def joined(blocks: Sequence[Block], places: Sequence[int]) -> str:
    """``params`` of a full upload with these blocks."""
    return ";".join(blocks[place].frame or "" for place in places)


def alike(plan: Sequence[ReadRequest]) -> frozenset[ReadRequest]:
    """The requests of a plan whose responses a server cannot tell apart but by their place (section 4.4)."""
    shapes = Counter(map(_shape, plan))
    return frozenset(request for request in plan if shapes[_shape(request)] > 1)


def told_apart(plan: Sequence[ReadRequest], blocks: Sequence[Block], same: Collection[ReadRequest]) -> list[int]:
    """Places of the blocks that a full upload has a frame of: where one is missing, none that is like another.

    :param same: see :func:`alike`.
    """
    incomplete = any(block.frame is None for block in blocks)
    return [
        place
        for place, (request, block) in enumerate(zip(plan, blocks, strict=True))
        if block.frame is not None and not (incomplete and block.payload is not None and request in same)
    ]


def unread(plan: Sequence[ReadRequest], blocks: Sequence[Block]) -> list[str]:
    """Say which values of a round are unknown, and why: ``coils 0 to 89: exception 2, illegal data address``."""
    found = []
    for request, block in zip(plan, blocks, strict=False):
        if block.payload is None:
            exception = block.exception
            why = "no valid answer" if exception is None else f"exception {exception.code}, {exception.name}"
            last = request.address + request.count - 1
            found.append(f"{_KINDS[request.function]} {request.address} to {last}: {why}")
    return found


_KINDS = {
    Function.READ_COILS: "coils",
    Function.READ_DISCRETE_INPUTS: "discrete inputs",
    Function.READ_HOLDING_REGISTERS: "registers",
    Function.READ_INPUT_REGISTERS: "input registers",
}


def _shape(request: ReadRequest) -> tuple[int, Function, int]:
    return request.unit, request.function, request.payload_length


def has_values(params: str) -> bool:
    """Tell whether any frame of an upload is none of an exception."""
    return any(int(frame[2:4], 16) < _EXCEPTION for frame in split_frames(params))


def bits_of(params: str) -> dict[tuple[str, int], str]:
    """The frames of coils and discrete inputs in an upload, by their shape, and which of that shape they are."""
    seen: Counter[str] = Counter()
    bits = {}
    for frame in split_frames(params):
        if frame[2:4] in _OF_BITS:
            shape = frame[:_SHAPE]
            bits[shape, seen[shape]] = frame
            seen[shape] += 1
    return bits
