"""Full uploads as they come: where the values of each response are in the bytes of all of them."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from operator import itemgetter
from struct import Struct as Layout
from struct import error as struct_error
from typing import Any, Final

from cmmd.modbus.areas import FUNCTION_SHIFT, Area
from cmmd.modbus.envelope import CRC_LENGTH, Function, crc16
from cmmd.modbus.requests import ReadRequest

__all__ = ["UploadLayout"]

_READ_HEAD: Final = 3  # bytes of a response before its values: unit, function, byte count
_COILS, _REGISTERS = Function.READ_COILS, Function.READ_HOLDING_REGISTERS

_from_hex = bytes.fromhex  # not looked up for each upload


class UploadLayout:
    """The layout of the responses to all requests of a plan, one after the other, prepared once for all devices.

    :meth:`frames` decodes and checks a whole upload. Where the requests do not overlap or touch, a register image can
    keep these bytes as they are (see RegisterImage.settle): taking an upload over is then one assignment, and its
    differences from the one before are one XOR of two integers.

    :param requests: the plan.
    :ivar requests: these.
    :ivar places: place and count of the values of each request, ascending, see place_of; empty: no image can keep
        uploads of this plan as they are. :ivar starts: the places alone.
    :ivar registers: positions of the holding registers in the bytes, by their addresses as modules write them.
    :ivar coils: positions of coils, by each address at which a byte of them begins; and the end of the whole bytes of
        coils that follow.
    :ivar surplus: the bits that fill up the last bytes of coils and inputs. This mask, and those below, is for the
        bytes as a little-endian integer.
    :ivar high_bytes: the high bytes of all holding registers.
    :ivar masks: what matters of the differences between two uploads, by who asks, see :meth:`mask`.
    """

    __slots__ = (
        "_begin",
        "_crcs",
        "_heads",
        "_length",
        "_separators",
        "_separators_of",
        "_spans",
        "coils",
        "high_bytes",
        "masks",
        "payloads",
        "places",
        "registers",
        "requests",
        "starts",
        "surplus",
    )

    def __init__(self, requests: Sequence[ReadRequest]) -> None:
        lengths = [one.payload_length for one in requests]
        frame_lengths = [_READ_HEAD + length + CRC_LENGTH for length in lengths]
        self.requests = requests
        # Layouts take all frames apart in C, each time in another way.
        self._begin = tuple(bytes((one.unit, one.function, one.payload_length)) for one in requests)
        self._heads = Layout("".join(f"{_READ_HEAD}s{length + CRC_LENGTH}x" for length in lengths)).unpack
        self._crcs = Layout("".join(f"{length}s" for length in frame_lengths)).unpack
        self.payloads = Layout("".join(f"{_READ_HEAD}x{length}s{CRC_LENGTH}x" for length in lengths)).unpack
        self._length = 2 * sum(frame_lengths) + len(lengths) - 1
        ends = accumulate(2 * length for length in frame_lengths)
        at = [end + number for number, end in enumerate(ends)][:-1]
        # All separators at once: nothing of the text, one character, or a tuple of them.
        self._separators_of: Any = itemgetter(*at) if at else itemgetter(slice(0))
        self._separators: Any = tuple(";" * len(at)) if len(at) > 1 else ";" * len(at)

        firsts = [
            end - length + _READ_HEAD for end, length in zip(accumulate(frame_lengths), frame_lengths, strict=True)
        ]
        spans = sorted(
            (one.function << FUNCTION_SHIFT | one.address, one.count, first, first + length)
            for one, first, length in zip(requests, firsts, lengths, strict=True)
        )
        apart = all(one[0] + one[1] < other[0] for one, other in pairwise(spans))
        self._spans = spans if apart else []
        self.starts = [start for start, *_ in self._spans]
        self.places = [(start, count) for start, count, _, _ in self._spans]

        self.registers: dict[str, int] = {}
        self.coils: dict[str, tuple[int, int]] = {}
        self.surplus = self.high_bytes = 0
        self.masks: dict[object, int] = {}
        for one, first, length in zip(requests, firsts, lengths, strict=True):
            if one.function is _REGISTERS:
                for number in range(one.count):
                    self.registers[f"{one.address + number:04X}"] = first + 2 * number
                    self.high_bytes |= 0xFF << 8 * (first + 2 * number)
            elif one.function is _COILS:
                whole = one.count // 8
                for number in range(whole):
                    self.coils[f"{one.address + 8 * number:04X}"] = first + number, first + whole
            if one.function.reads_bits and one.count % 8:
                self.surplus |= (0xFF << one.count % 8 & 0xFF) << 8 * (first + length - 1)

    def frames(self, text: str) -> bytes | None:
        """Decode the responses to all requests, separated by ``;``; None: not all are intact, or not written so.

        What they are instead, split_frames and parse_response say. Hex is decoded once for all of them, and no frame
        is looked at in Python.
        """
        if len(text) != self._length or self._separators_of(text) != self._separators:
            return None
        try:
            frames = _from_hex(text.replace(";", " "))  # leaves blanks out; of the right length there are no others
            if self._heads(frames) != self._begin or any(map(crc16, self._crcs(frames))):
                return None
        except (ValueError, struct_error):
            return None
        return frames

    def mask(self, who: object, masks: Iterable[int]) -> int:
        """Join what matters of each response to one mask, and keep that.

        :param who: by whom it is kept.
        :param masks: for each request the bits of its values that matter, the first byte lowest.
        """
        first, joined = 0, 0
        for one, mask in zip(self.requests, masks, strict=True):
            joined |= mask << 8 * (first + _READ_HEAD)
            first += _READ_HEAD + one.payload_length + CRC_LENGTH
        self.masks[who] = joined
        return joined

    def areas(self, frames: bytes) -> list[Area]:
        """Take the values of an upload apart into areas, ascending."""
        return [Area(start, count, frames[first:behind]) for start, count, first, behind in self._spans]

    def area_of(self, frames: bytes, place: int) -> Area | None:
        """Take the area out of an upload that holds the address at a place, see place_of; None: there is none."""
        index = bisect_right(self.starts, place) - 1
        if index < 0:
            return None
        start, count, first, behind = self._spans[index]
        return Area(start, count, frames[first:behind]) if place < start + count else None

    def join(self, areas: Sequence[Area]) -> bytes:
        """Put areas together that are at the places of this layout; heads and checksums are zeros."""
        frames = bytearray((self._length + 1 - len(self.requests)) // 2)
        for (_, _, first, behind), area in zip(self._spans, areas, strict=True):
            frames[first:behind] = area.values
        return bytes(frames)
