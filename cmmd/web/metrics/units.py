"""Units of points as base units, which metrics have (https://prometheus.io/docs/practices/naming/#base-units)."""

from collections.abc import Mapping

from msgspec import Struct

__all__ = ["UNITS", "BaseUnit"]


class BaseUnit(Struct, frozen=True):
    """What a unit becomes: value × ``times`` / ``per`` + ``plus``.

    :ivar suffix: of the metric's name; plural, as is the custom.
    :ivar said: endings of a point's name that say no more than the suffix does.
    """

    suffix: str
    times: float = 1
    per: float = 1
    plus: float = 0
    said: tuple[str, ...] = ()


_VOLTS, _HOURS = ("voltage", "volts"), ("hours", "minutes", "seconds")

UNITS: Mapping[str, BaseUnit] = {
    "V": BaseUnit("volts", said=_VOLTS),
    "mV": BaseUnit("volts", per=1000, said=_VOLTS),
    "kV": BaseUnit("volts", times=1000, said=_VOLTS),
    "A": BaseUnit("amperes"),
    "mA": BaseUnit("amperes", per=1000),
    "Hz": BaseUnit("hertz"),
    "W": BaseUnit("watts"),
    "kW": BaseUnit("watts", times=1000),
    "MW": BaseUnit("watts", times=1_000_000),
    "var": BaseUnit("vars"),
    "kvar": BaseUnit("vars", times=1000),
    "VA": BaseUnit("volt_amperes"),
    "kVA": BaseUnit("volt_amperes", times=1000),
    "Wh": BaseUnit("joules", times=3600),
    "kWh": BaseUnit("joules", times=3_600_000),
    "MWh": BaseUnit("joules", times=3_600_000_000),
    "Ω": BaseUnit("ohms"),
    "kΩ": BaseUnit("ohms", times=1000),
    "Pa": BaseUnit("pascals"),
    "kPa": BaseUnit("pascals", times=1000),
    "MPa": BaseUnit("pascals", times=1_000_000),
    "bar": BaseUnit("pascals", times=100_000),
    "mbar": BaseUnit("pascals", times=100),
    "psi": BaseUnit("pascals", times=6894.757),
    "°C": BaseUnit("celsius"),
    "°F": BaseUnit("celsius", times=5, per=9, plus=-160 / 9),
    "K": BaseUnit("celsius", plus=-273.15),
    "%": BaseUnit("ratio", per=100),
    "‰": BaseUnit("ratio", per=1000),
    "r/min": BaseUnit("rpm"),
    "rpm": BaseUnit("rpm"),
    "h": BaseUnit("seconds", times=3600, said=_HOURS),
    "min": BaseUnit("seconds", times=60, said=_HOURS),
    "s": BaseUnit("seconds", said=_HOURS),
    "ms": BaseUnit("seconds", per=1000, said=(*_HOURS, "milliseconds")),
    "d": BaseUnit("seconds", times=86_400, said=("days",)),
    "L": BaseUnit("liters", said=("liters",)),
    "l": BaseUnit("liters", said=("liters",)),
    "m³": BaseUnit("liters", times=1000),
    "gal": BaseUnit("liters", times=3.785411784),
    "L/h": BaseUnit("liters_per_second", per=3600),
    "l/h": BaseUnit("liters_per_second", per=3600),
    "gal/h": BaseUnit("liters_per_second", times=3.785411784, per=3600),
    "m": BaseUnit("meters"),
    "cm": BaseUnit("meters", per=100),
    "mm": BaseUnit("meters", per=1000),
    "kg": BaseUnit("grams", times=1000),
    "°": BaseUnit("degrees"),
}
"""Every unit that is known. Engine speed stays r/min, as others have it, too; gallons are those of the USA."""
