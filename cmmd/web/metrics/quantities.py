"""Units of points as base units, which metrics have (https://prometheus.io/docs/practices/naming/#base-units)."""

import re
from collections.abc import Mapping, Sequence

from msgspec import Struct

from cmmd.controllers.points import Point
from cmmd.controllers.profile import Profile

__all__ = ["FALLBACK", "PREFIX", "UNITS", "BaseUnit", "Labels", "Number", "Part", "States", "columns_of"]


class BaseUnit(Struct, frozen=True):
    """The conversion of a unit: value × ``times`` / ``per`` + ``plus``.

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


PREFIX = "genset_"

FALLBACK = "genset_point"
"""Has what has no metric of its own."""

RESERVED = frozenset(
    PREFIX + name
    for name in (
        *("up", "info", "last_upload_timestamp_seconds", "alarm", "point"),
        *("mode", "engine_running", "mains_normal", "breaker_closed"),
    )
)
"""What no point's metric may be called: these stand for something else."""

Labels = tuple[tuple[str, str], ...]


class Part(Struct, frozen=True):
    """A point's place among those of its profile; its value becomes value × ``times`` / ``per`` + ``plus``."""

    place: int
    times: float = 1
    per: float = 1
    plus: float = 0


class Number(Struct, frozen=True):
    """A sample that is a number: its parts added up, such as hours and minutes; none where one is not known."""

    family: str
    means: str
    labels: Labels
    parts: tuple[Part, ...]


class States(Struct, frozen=True):
    """A sample for each state that there is, 1 or 0; ``words``: what the values of the point are called."""

    family: str
    means: str
    place: int
    words: tuple[tuple[int, str], ...]


class _Shared(Struct, frozen=True):
    """Names of points, a suffix (None: no unit), and the metric that they share."""

    names: re.Pattern[str]
    suffix: str | None
    stem: str
    means: str


def _shared(names: str, suffix: str | None, stem: str, means: str) -> _Shared:
    side, phase = r"(?:(?P<side>mains|generator|bus|load)_)?", r"(?P<phase>l[123](?:_l[123])?|n)(?:_n)?"
    return _Shared(re.compile(names.replace("SIDE_", side).replace("PHASE", phase)), suffix, stem, means)


_SHARED: tuple[_Shared, ...] = (
    _shared("SIDE_voltage(?:_PHASE)?", "volts", "voltage", "Voltage; phase l1: to neutral, l1_l2: between two phases"),
    _shared("SIDE_frequency", "hertz", "frequency", "Frequency"),
    _shared("SIDE_current(?:_PHASE)?", "amperes", "current", "Current"),
    _shared("SIDE_(?:active_)?power", "watts", "power", "Active power of all phases"),
    _shared("SIDE_(?:active_)?power_PHASE", "watts", "phase_power", "Active power of one phase"),
    _shared("SIDE_reactive_power", "vars", "reactive_power", "Reactive power of all phases"),
    _shared("SIDE_reactive_power_PHASE", "vars", "phase_reactive_power", "Reactive power of one phase"),
    _shared("SIDE_apparent_power", "volt_amperes", "apparent_power", "Apparent power of all phases"),
    _shared("SIDE_apparent_power_PHASE", "volt_amperes", "phase_apparent_power", "Apparent power of one phase"),
    _shared("SIDE_power_factor", None, "power_factor_ratio", "Power factor"),
    _shared("SIDE_power_factor_PHASE", None, "phase_power_factor_ratio", "Power factor of one phase"),
    _shared("energy_generated", "joules", "energy", "Energy generated, ever"),
    _shared("starts|number_of_starts", None, "starts", "Engine starts, ever"),
)

_CLOCK = re.compile(r"clock_(year|month|day|weekday|hour|minute|second)")
"""Parts of a clock, which change all the time and say nothing alone: they are left out."""


def columns_of(profile: Profile) -> list[Number | States]:
    """Turn the points of a profile, in order, into samples. No two samples have the same name."""
    numbers: dict[tuple[str, Labels], Number] = {}
    parts: dict[tuple[str, Labels], list[str]] = {}
    states: dict[str, States] = {}
    for place, point in enumerate(profile.definition.points):
        if _CLOCK.fullmatch(point.name) is not None:
            continue
        if point.enum is not None and (named := _states(profile, point, place)) is not None:
            states[named.family] = named
            continue
        number = _number(point, place)
        key = number.family, number.labels
        before = numbers.get(key)
        if before is None:
            numbers[key], parts[key] = number, [point.unit]
        elif number.family.endswith("_seconds") and point.unit not in parts[key]:
            parts[key].append(point.unit)
            numbers[key] = Number(before.family, before.means, before.labels, before.parts + number.parts)
        else:
            number = _fallback(point, place)
            numbers[number.family, number.labels] = number
    return [*numbers.values(), *states.values()]


def _states(profile: Profile, point: Point, place: int) -> States | None:
    """None: its name is taken."""
    family = PREFIX + point.name
    if family in RESERVED:
        return None
    enum = next(one for one in profile.definition.enums if one.name == point.enum)
    return States(family, f"{point.title}: 1 for the state that it is in", place, tuple(enum.words.items()))


def _number(point: Point, place: int) -> Number:
    unit = UNITS.get(point.unit)
    if unit is None and point.unit:
        return _fallback(point, place)
    suffix = None if unit is None else unit.suffix
    for shared in _SHARED:
        match = shared.names.fullmatch(point.name) if shared.suffix == suffix else None
        if match is not None:
            labels = tuple(sorted((name, value) for name, value in match.groupdict().items() if value is not None))
            stem = shared.stem if suffix is None else f"{shared.stem}_{suffix}"
            return Number(PREFIX + stem, shared.means, labels, (_part(place, unit),))
    if unit is None:
        return _fallback(point, place)
    stem = _stem(point.name, unit.said)
    # Of hours and minutes that are added up, the title says what they have in common.
    means = point.title if stem == point.name else point.title.rpartition(", ")[0] or point.title
    family = f"{PREFIX}{stem}_{unit.suffix}"
    return _fallback(point, place) if family in RESERVED else Number(family, means, (), (_part(place, unit),))


def _part(place: int, unit: BaseUnit | None) -> Part:
    return Part(place) if unit is None else Part(place, unit.times, unit.per, unit.plus)


def _stem(name: str, said: Sequence[str]) -> str:
    """A point's name without an ending that the unit says again."""
    ending = next((one for one in said if name.endswith("_" + one)), None)
    return name if ending is None else name.removesuffix("_" + ending)


def _fallback(point: Point, place: int) -> Number:
    labels: Labels = (("point", point.name),)
    if point.unit:
        labels += (("unit", point.unit),)
    return Number(FALLBACK, "A point without a metric of its own, in its own unit", labels, (Part(place),))
