"""Points: named quantities in holding registers, and the words for those that are states.

Source: the tables and the rule for no data of docs/controllers.md.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, get_args

from msgspec import Meta, field
from msgspec.structs import replace

from cmmd.controllers.entries import Address, Entry, Name, RegisterValue, Title

__all__ = ["COUNTER_READINGS", "NO_DATA", "CounterReading", "Enum", "Point", "Value"]

Value = int | float | None
"""An engineering value; None: no data, or not known."""

NO_DATA = frozenset((32766, 32767))
"""Registers that hold no number: sensor open (the controller shows ###), and no data from the engine's ECU."""

CounterReading = Literal["binary", "decimal"]
"""How two registers make a number: high × 65536 + low, or high × 10000 + low with each of them up to 9999."""

COUNTER_READINGS: tuple[CounterReading, ...] = get_args(CounterReading)

_DECIMAL = 10_000
"""What a high word stands for where each word of a counter ends at 9999."""

_DECIMALS = 6  # as fine as the smallest scale; removes what binary fractions add (0.1 * 3)


class Enum(Entry, frozen=True, kw_only=True):
    """``[enums.NAME]``: the words for the values of a register, such as ``9 = "normal running"``."""

    name: Name
    words: Annotated[dict[RegisterValue, Title], Meta(min_length=1)]


class Point(Entry, frozen=True, kw_only=True):
    """``[points]``: a quantity. Engineering value = raw × ``scale``, in ``unit``.

    ``type``: ``u16``; ``s16``, two's complement; ``u32``, two registers, high word first. ``plausible_range`` (in the
    file ``plausible``): lowest and highest engineering value that is believed, both included. ``zero_is_plausible``: 0
    is believed, too, though it is outside of that: a frequency is near its nominal value or there is none. ``enum``:
    the name of the words for its values. ``reading``: of a ``u32``, see :data:`CounterReading`; ``auto``: found out
    device by device. ``most_per_hour``: by how much a counter can rise in an hour; one that rises faster, or falls, is
    not believed before it has been seen in several uploads.
    """

    name: Name
    title: Title
    address: Address
    type: Literal["u16", "s16", "u32"] = "u16"
    scale: Annotated[float, Meta(ge=1e-6, le=1e6)] = 1.0
    unit: Annotated[str, Meta(max_length=12)] = ""
    plausible_range: tuple[float, float] | None = field(name="plausible", default=None)
    zero_is_plausible: bool = False
    enum: str | None = None
    reading: CounterReading | Literal["auto"] = "binary"
    most_per_hour: Annotated[float, Meta(gt=0, le=1e9)] | None = None

    @property
    def decimals(self) -> int:
        """Count the significant decimals of the engineering value: as many as the scale has."""
        return len(f"{self.scale:.{_DECIMALS}f}".rstrip("0").partition(".")[2])

    @property
    def addresses(self) -> range:
        """The addresses of the point's registers."""
        return range(self.address, self.address + (2 if self.type == "u32" else 1))

    def read_as(self, reading: CounterReading) -> "Point":
        """Give the same counter with a reading that is known."""
        return replace(self, reading=reading)

    def value(self, registers: Sequence[int | None]) -> Value:
        """Scale a raw value to the engineering value.

        In a ``u32`` the high word alone tells no data: a low word of 32766 is a number like any other.

        :param registers: its registers as they are, 0..65535, as many as it has; None: not known.
        :return: an int where the scale is 1; None: no data, or not known.
        """
        raw = registers[0]
        if raw is None or raw in NO_DATA:
            return None
        if self.type == "u32":
            low = registers[1]
            if low is None:
                return None
            if self.reading == "decimal":
                if raw >= _DECIMAL or low >= _DECIMAL:
                    return None
                raw = raw * _DECIMAL + low
            else:
                raw = raw << 16 | low
        elif raw > 0x7FFF and self.type == "s16":
            raw -= 0x1_0000
        return raw if self.scale == 1 else round(raw * self.scale, _DECIMALS)

    def plausible(self, value: float) -> bool:
        """Tell whether an engineering value can be true; without a range every one can."""
        if self.plausible_range is None:
            return True
        lowest, highest = self.plausible_range
        return lowest <= value <= highest or (value == 0 and self.zero_is_plausible)

    def believed(self, registers: Sequence[int | None]) -> Value:
        """The same as :meth:`value`, but None for a value that is not plausible."""
        value = self.value(registers)
        if value is None or self.plausible_range is None or self.plausible(value):
            return value
        return None

    def plausible_raw(self, raw: int) -> bool:
        """The same of a register's content, of a point with one register; no data is plausible."""
        value = self.value((raw,))
        return value is None or self.plausible(value)
