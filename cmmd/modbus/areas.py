"""Neighbouring addresses of one function with their values: what a register image is made of."""

from array import array
from collections.abc import Iterable, Iterator
from itertools import compress

from msgspec import Struct

from cmmd.modbus.envelope import Function
from cmmd.modbus.requests import ADDRESSES

__all__ = [
    "ADDRESS_MASK",
    "BIT",
    "FIRST_REGISTER",
    "FUNCTION_SHIFT",
    "NOTHING_CHANGED",
    "REGISTER",
    "Area",
    "ChangedAddresses",
    "part_of",
    "swapped",
    "update_bits",
    "update_registers",
]

# The place of a value: function << 17 | address. One bit more than an address has, so that areas of two functions
# never touch.
FUNCTION_SHIFT = 17
FIRST_REGISTER = Function.READ_HOLDING_REGISTERS << FUNCTION_SHIFT
ADDRESS_MASK = ADDRESSES - 1
BIT, REGISTER = 1, 16  # bits per address


class ChangedAddresses(Struct, frozen=True, gc=False):
    """The addresses, of one function, whose values a merge changed or made known, ascending; false: none.

    Which ones is computed on request: most who merge only want to know whether one of a few is among them.

    :ivar address: where the merged values began.
    :ivar width: 1 for bits, 16 for registers.
    :ivar difference: ``width`` bits for each address from ``address`` on, the first lowest; all 0: it did not change.
    """

    address: int
    width: int
    difference: int

    def __bool__(self) -> bool:
        return self.difference != 0

    def __contains__(self, address: int) -> bool:
        offset = address - self.address
        return offset >= 0 and self.difference >> offset * self.width & (1 << self.width) - 1 != 0

    def __iter__(self) -> Iterator[int]:
        count = -(-self.difference.bit_length() // self.width)
        if self.width == BIT:
            differing: Iterable[object] = map(int, reversed(f"{self.difference:b}"))
        else:
            differing = array("H", self.difference.to_bytes(count * 2, "little"))
        return compress(range(self.address, self.address + count), differing)


NOTHING_CHANGED = ChangedAddresses(0, BIT, 0)


class Area(Struct, gc=False):
    """Neighbouring addresses of one function, all known. ``values`` as on the wire; bits over are 0.

    :ivar start: where it begins, see above.
    """

    start: int
    count: int
    values: bytes

    @property
    def end(self) -> int:
        """Behind its last address."""
        return self.start + self.count


def part_of(area: Area, start: int, end: int) -> Area:
    """Cut a part out of an area, from one place to another."""
    width = BIT if area.start < FIRST_REGISTER else REGISTER
    bits = (end - start) * width
    values = int.from_bytes(area.values, "little") >> (start - area.start) * width & (1 << bits) - 1
    return Area(start, end - start, values.to_bytes((bits + 7) // 8, "little"))


def update_registers(area: Area, place: int, payload: bytes) -> ChangedAddresses:
    """Take over registers that are all known already, and some of which changed."""
    first = (place - area.start) * 2
    behind = first + len(payload)
    values = area.values
    difference = int.from_bytes(values[first:behind], "little") ^ int.from_bytes(payload, "little")
    area.values = values[:first] + payload + values[behind:]
    return ChangedAddresses(place & ADDRESS_MASK, REGISTER, difference)


def update_bits(area: Area, place: int, count: int, payload: bytes) -> ChangedAddresses:
    """Take over bits that are all known already. What fills up the last byte of the payload does not count."""
    offset = place - area.start
    values = int.from_bytes(area.values, "little")
    difference = (values >> offset ^ int.from_bytes(payload, "little")) & (1 << count) - 1
    area.values = (values ^ difference << offset).to_bytes(len(area.values), "little")
    return ChangedAddresses(place & ADDRESS_MASK, BIT, difference)


def swapped(registers: bytes) -> bytes:
    """The two bytes of each register the other way round."""
    swapped = array("H", registers)
    swapped.byteswap()
    return swapped.tobytes()
