"""The image of one device's coils, inputs and registers: the ``data`` and ``mask`` of section 7.

Uploads merge into it (sections 4.4 and 4.5), readers look values up, the store keeps it as bytes.

What is known is in areas: longest runs of neighbouring addresses of one function, sorted, each with its values
packed as on the wire. An address outside of all areas is unknown; so the areas are the mask, too. Areas are joined and
differences found as big integers, with one bit a coil and 16 a register.
"""

from bisect import bisect_right
from struct import Struct as Layout
from struct import error as struct_error
from typing import Literal

from cmmd.modbus.areas import (
    ADDRESS_MASK,
    BIT,
    FIRST_REGISTER,
    FUNCTION_SHIFT,
    NOTHING_CHANGED,
    REGISTER,
    Area,
    ChangedAddresses,
    part_of,
    swapped,
    update_bits,
    update_registers,
)
from cmmd.modbus.envelope import Function, ModbusFrameError, function_of, unpack_registers
from cmmd.modbus.requests import ADDRESSES, ReadRequest
from cmmd.modbus.upload_layout import UploadLayout

__all__ = [
    "MAX_AREAS",
    "MAX_ENCODED_LENGTH",
    "MAX_VALUE_BYTES",
    "NOTHING_CHANGED",
    "Area",
    "ByteOrder",
    "ChangedAddresses",
    "ImageError",
    "ImageFullError",
    "RegisterImage",
    "place_of",
]

MAX_AREAS = 128
"""Most areas of one image: twice as many as a plan may have requests."""

MAX_VALUE_BYTES = 4096
"""Most bytes of values in one image: 2048 registers. To poll them at 9600 bit/s takes a device 5 seconds."""

ByteOrder = Literal["little", "big"]
"""How a register is written in a change upload (section 4.5)."""

_VERSION = b"\x01"
_AREA_HEAD = Layout(">BHH")  # function, address, count - 1
MAX_ENCODED_LENGTH = 1 + MAX_AREAS * _AREA_HEAD.size + MAX_VALUE_BYTES
"""Most bytes that an image may be encoded to."""


class ImageError(ValueError):
    """The bytes are no image, or have no place in one; the message says why and holds no peer text."""


class ImageFullError(ImageError):
    """Values refused because the image would exceed :data:`MAX_AREAS` or :data:`MAX_VALUE_BYTES`."""


class RegisterImage:
    """All coils, discrete inputs, holding and input registers known of one device. At first nothing is.

    Functions are those that read: 01 to 04, each with addresses 0..65535 of its own. A merge is done as a whole or,
    where it raises, not at all; it returns the addresses whose values changed or became known.

    An image of which all that is known answers one plan, as nearly always, keeps the bytes of the last upload instead
    of areas: a third of the memory, and nothing to merge.

    :ivar layout: where the values are in ``frames``; None: it has areas.
    :ivar frames: the responses to all requests of a plan. Bits over are 0; heads and checksums do not count, and need
        not be right. Other bytes of the same layout can be put here, see :meth:`settle`.
    """

    __slots__ = ("_areas", "_starts", "frames", "layout")

    def __init__(self) -> None:
        self._starts: list[int] = []  # of the areas, to find them
        self._areas: list[Area] = []
        self.layout: UploadLayout | None = None
        self.frames = b""

    # --- to merge ----------------------------------------------------------------------------------------------------

    def merge(self, request: ReadRequest, payload: bytes) -> ChangedAddresses:
        """Take over the response to a read request (section 4.4).

        :param payload: the values as on the wire: registers big-endian, bits packed least significant first.
        :return: the addresses, of the request's function, that changed or became known.
        :raises ImageError: the payload has another length than the request asks for.
        :raises ImageFullError: the image would grow too large.
        """
        return self._merge(request.function << FUNCTION_SHIFT | request.address, request.count, payload)

    def merge_change(self, function: Function, address: int, value: bytes, byte_order: ByteOrder) -> ChangedAddresses:
        """Take over an item of a change upload (section 4.5).

        :param value: registers, 2 bytes each; or bits, 8 a byte, least significant first: the device has no way to say
            that the last byte holds fewer than 8.
        :param byte_order: of registers; no matter for bits.
        :return: the addresses that changed or became known.
        :raises ImageError: no value, half a register, addresses beyond 65535, or a function that does not read.
        :raises ImageFullError: the image would grow too large.
        """
        if function.reads_bits:
            count = len(value) * 8
        elif len(value) % 2:
            raise ImageError(f"{len(value)} bytes are no registers")
        else:
            count = len(value) // 2
            if byte_order == "little":
                value = value[::-1] if count == 1 else swapped(value)
        return self._merge(_place(function, address, count), count, value)

    def settle(self, layout: UploadLayout) -> bool:
        """Keep the bytes of whole uploads from now on; False: what is known is not just what the layout has.

        To put other bytes into ``frames`` is a merge of addresses that are all known: the caller sees to length and
        bits over. Any merge of something else returns to areas.
        """
        areas = self._held()
        if not layout.places or [(area.start, area.count) for area in areas] != layout.places:
            return False
        self.frames = layout.join(areas)
        self.layout = layout
        self._areas = self._starts = ()  # type: ignore[assignment]  # one for all: an empty list is 56 bytes
        return True

    def _spread(self) -> None:
        """Keep areas instead of an upload, so that something else can be merged."""
        if self.layout is not None:
            self._areas = self.layout.areas(self.frames)
            self._starts = [area.start for area in self._areas]
            self.layout, self.frames = None, b""

    def _held(self) -> list[Area]:
        """All areas, to be read only."""
        return self._areas if self.layout is None else self.layout.areas(self.frames)

    def area_of(self, place: int) -> Area | None:
        """The area that holds the address at this place, see place_of.

        Where the image has areas, to write to it is a merge of addresses that are all known; otherwise it is a copy.
        """
        if self.layout is not None:
            return self.layout.area_of(self.frames, place)
        index = bisect_right(self._starts, place) - 1
        if index < 0:
            return None
        area = self._areas[index]
        return area if place < area.start + area.count else None

    def _merge(self, place: int, count: int, payload: bytes) -> ChangedAddresses:
        width = BIT if place < FIRST_REGISTER else REGISTER
        if len(payload) != (count * width + 7) // 8:
            raise ImageError(f"{len(payload)} bytes of values for a count of {count}")
        if self.layout is not None:
            self._spread()
        index = bisect_right(self._starts, place) - 1
        if index >= 0:
            area = self._areas[index]
            offset = place - area.start
            if offset + count <= area.count:
                shift = offset * width
                first_byte = shift >> 3
                if not shift & 7 and area.values[first_byte : first_byte + len(payload)] == payload:
                    return NOTHING_CHANGED
                if width == BIT:
                    return update_bits(area, place, count, payload)
                return update_registers(area, place, payload)
            is_last = index + 1 == len(self._starts) or self._starts[index + 1] > place + count
            if place == area.end and is_last and width == REGISTER:
                # Registers one behind the other, as change uploads have them: no work for those that are there.
                self._check_room(0, len(payload))
                area.values += payload
                area.count += count
                return ChangedAddresses(place & ADDRESS_MASK, width, (1 << count * width) - 1)
        return self._extend(place, count, payload, width)

    def _extend(self, place: int, count: int, payload: bytes, width: int) -> ChangedAddresses:
        """Take over values of which some, or all, were unknown: one area more, or some that become one."""
        first = bisect_right(self._starts, place)
        if first and self._areas[first - 1].end >= place:
            first -= 1
        behind = bisect_right(self._starts, place + count)
        touched = self._areas[first:behind]
        start = min([place, *(area.start for area in touched)])
        end = max([place + count, *(area.end for area in touched)])
        length = ((end - start) * width + 7) // 8
        self._check_room(1 - len(touched), length - sum(len(area.values) for area in touched))

        values = known = 0
        for area in touched:
            shift = (area.start - start) * width
            values |= int.from_bytes(area.values, "little") << shift
            known |= (1 << area.count * width) - 1 << shift
        shift = (place - start) * width
        mask = (1 << count * width) - 1
        difference = (values >> shift ^ int.from_bytes(payload, "little")) & mask
        values ^= difference << shift
        self._starts[first:behind] = [start]
        self._areas[first:behind] = [Area(start, end - start, values.to_bytes(length, "little"))]
        return ChangedAddresses(place & ADDRESS_MASK, width, difference | ~(known >> shift) & mask)

    def copy(self, other: "RegisterImage", function: Function, address: int, count: int) -> None:
        """Take over what another image knows of these addresses.

        :raises ImageFullError: the image would grow too large.
        """
        place = _place(function, address, count)
        for area in other._areas_within(place, count):
            first, behind = max(area.start, place), min(area.end, place + count)
            self._merge(first, behind - first, part_of(area, first, behind).values)

    def forget(self, function: Function, address: int, count: int) -> None:
        """Make addresses unknown again.

        Where that would take more than :data:`MAX_AREAS`, known addresses behind them are forgotten, too.

        :raises ImageError: there are no such addresses, or the function does not read.
        """
        place = _place(function, address, count)
        touched = self._areas_within(place, count)
        if not touched:
            return
        self._spread()
        first = bisect_right(self._starts, touched[0].start) - 1
        left = [part_of(touched[0], touched[0].start, place)] if touched[0].start < place else []
        right = [part_of(touched[-1], place + count, touched[-1].end)] if touched[-1].end > place + count else []
        if len(self._areas) - len(touched) + len(left) + len(right) > MAX_AREAS:
            right = []
        self._areas[first : first + len(touched)] = left + right
        self._starts[first : first + len(touched)] = [area.start for area in left + right]

    def _check_room(self, more_areas: int, more_bytes: int) -> None:
        if len(self._areas) + more_areas > MAX_AREAS:
            raise ImageFullError(f"more than {MAX_AREAS} areas")
        if sum(len(area.values) for area in self._areas) + more_bytes > MAX_VALUE_BYTES:
            raise ImageFullError(f"more than {MAX_VALUE_BYTES} bytes of values")

    def __bool__(self) -> bool:
        """Tell whether anything is known."""
        return self.layout is not None or bool(self._areas)

    # --- to read -----------------------------------------------------------------------------------------------------

    def register(self, function: Function, address: int) -> int | None:
        """One register, 0..65535, function 03 or 04; None: unknown.

        :raises ImageError: a function that does not read registers, or an address beyond 65535; the same in all below.
        """
        if function.reads_bits:
            raise ImageError(f"function {function:02X} reads bits")
        place = _place(function, address, 1)
        area = self.area_of(place)
        if area is None:
            return None
        position = (place - area.start) * 2
        return area.values[position] << 8 | area.values[position + 1]

    def registers(self, function: Function, address: int, count: int) -> tuple[int | None, ...]:
        """Registers from an address on; None for each that is unknown."""
        if function.reads_bits:
            raise ImageError(f"function {function:02X} reads bits")
        place = _place(function, address, count)
        values: list[int | None] = [None] * count
        for area in self._areas_within(place, count):
            first, behind = max(area.start, place), min(area.end, place + count)
            payload = area.values[(first - area.start) * 2 : (behind - area.start) * 2]
            values[first - place : behind - place] = unpack_registers(payload)
        return tuple(values)

    def bit(self, function: Function, address: int) -> bool | None:
        """The state of one coil or input, function 01 or 02; None: unknown."""
        if not function.reads_bits:
            raise ImageError(f"function {function:02X} reads no bits")
        place = _place(function, address, 1)
        area = self.area_of(place)
        if area is None:
            return None
        position = place - area.start
        return bool(area.values[position >> 3] >> (position & 7) & 1)

    def bits(self, function: Function, address: int, count: int) -> tuple[bool | None, ...]:
        """The states of coils or inputs from an address on; None for each that is unknown."""
        states, known = self.bit_masks(function, address, count)
        digits = zip(reversed(f"{states:0{count}b}"), reversed(f"{known:0{count}b}"), strict=True)
        return tuple([state == "1" if is_known == "1" else None for state, is_known in digits])

    def bit_masks(self, function: Function, address: int, count: int) -> tuple[int, int]:
        """The same as two integers: which are on, and which are known; bit ``n`` is for address + ``n``."""
        if not function.reads_bits:
            raise ImageError(f"function {function:02X} reads no bits")
        place = _place(function, address, count)
        states = known = 0
        for area in self._areas_within(place, count):
            on, all_known = int.from_bytes(area.values, "little"), (1 << area.count) - 1
            offset = area.start - place
            states |= on << offset if offset >= 0 else on >> -offset
            known |= all_known << offset if offset >= 0 else all_known >> -offset
        mask = (1 << count) - 1
        return states & mask, known & mask

    def known(self, function: Function) -> tuple[range, ...]:
        """The addresses that are known: ranges, ascending, with a gap between each and the next."""
        start = _place(function, 0, 1)
        return tuple(range(area.start - start, area.end - start) for area in self._areas_within(start, ADDRESSES))

    def _areas_within(self, place: int, count: int) -> list[Area]:
        """The areas that hold any of these."""
        areas, starts = self._held(), self._starts if self.layout is None else self.layout.starts
        first = bisect_right(starts, place)
        if first and areas[first - 1].end > place:
            first -= 1
        return areas[first : bisect_right(starts, place + count - 1)]

    # --- for the store -----------------------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """All of it: a version byte, then each area with function, address, count - 1 (1, 2, 2 bytes) and values.

        :return: at most :data:`MAX_ENCODED_LENGTH` bytes; the same for the same values, however they came in.
        """
        parts = [_VERSION]
        for area in self._held():
            function, address = area.start >> FUNCTION_SHIFT, area.start & ADDRESS_MASK
            parts += _AREA_HEAD.pack(function, address, area.count - 1), area.values
        return b"".join(parts)

    @classmethod
    def from_bytes(cls, encoded: bytes) -> "RegisterImage":
        """Read what :meth:`to_bytes` made.

        :raises ImageError: anything else.
        """
        if encoded[:1] != _VERSION or len(encoded) > MAX_ENCODED_LENGTH:
            raise ImageError("no image of a known version and length")
        image = cls()
        position, end = 1, 0
        while position < len(encoded):
            area, position = _read_area(encoded, position)
            if area.start <= end:
                raise ImageError("areas that overlap, touch or are not in order")
            end = area.end
            image._starts.append(area.start)
            image._areas.append(area)
        image._check_room(0, 0)
        return image


def place_of(function: Function, address: int) -> int:
    """Number an address of a function that reads among the addresses of all such functions."""
    return function << FUNCTION_SHIFT | address


def _place(function: Function, address: int, count: int) -> int:
    """Find the place of these addresses.

    :raises ImageError: there are no such addresses, or the function does not read.
    """
    if function > Function.READ_INPUT_REGISTERS:
        raise ImageError(f"function {function:02X} reads nothing")
    if address < 0 or count < 1 or address + count > ADDRESSES:
        raise ImageError(f"address {address} and count {count} are not within 0..{ADDRESSES - 1}")
    return function << FUNCTION_SHIFT | address


def _read_area(encoded: bytes, position: int) -> tuple[Area, int]:
    """Read one area of an encoded image.

    :return: the area, and the position behind it.
    :raises ImageError: it is none.
    """
    try:
        code, address, one_less = _AREA_HEAD.unpack_from(encoded, position)
        function = function_of(code)
    except (struct_error, ModbusFrameError):
        raise ImageError("an area without a head") from None
    count = one_less + 1
    start = _place(function, address, count)
    bits = count * (BIT if function.reads_bits else REGISTER)
    length = (bits + 7) // 8
    position += _AREA_HEAD.size
    values = encoded[position : position + length]
    if len(values) != length:
        raise ImageError("an area that is cut short")
    if bits & 7 and values[-1] >> (bits & 7):
        raise ImageError("an area with bits over that are not 0")
    return Area(start, count, values), position + length
