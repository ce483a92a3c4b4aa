"""The controller's panel: named values and signals become registers and coils, where the controller's profile says."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from cmmd.controllers.catalog import GENERIC, load_catalog
from cmmd.controllers.profile import Profile
from cmmd.modbus.frames import Function
from cmmd.simulator.genset.curves import NOMINAL_VOLTAGE

__all__ = ["DEFAULT_MODEL", "Panel", "Picture", "panel_of"]

DEFAULT_MODEL = "HGM6120N"
"""What controllers are like that no profile describes."""

SENSOR_OPEN = 32766

LOW_FUEL = 15  # %
HIGH_TEMPERATURE = 95  # °C
UNDERVOLTAGE = 0.85 * NOMINAL_VOLTAGE
OVERFREQUENCY, UNDERFREQUENCY = 55.0, 45.0  # Hz
"""Limits of the signals that follow from a value alone."""

_COMMON = range(8, 64)  # what the common alarms are made of; above it is how mains and generator are

_ELSEWHERE = {
    "automatic_running_state": "remote_start_state",
    "automatic_running_delay": "remote_start_delay",
}
"""What the HGM4000N calls otherwise, and the name that the model has for it."""

Values = Mapping[str, float | None]
"""Engineering values of all points by name; None: the sensor is open."""


@dataclass(frozen=True, slots=True)
class Picture:
    """The values that the controller shows at one moment.

    :ivar registers: holding registers from address 0 on, each 0..65535.
    :ivar coils: coil *n* is bit *n*.
    """

    registers: tuple[int, ...]
    coils: int


class Panel:
    """Knows where everything is shown. Points without a model are 0.

    :param profile: of the controller.
    :param default: of the controller that is modelled. Signals that only this one has are shown nowhere: a controller
        with one breaker says nothing of the mains.
    :ivar command_by_coil: coil -> the name of the command that writing it gives.
    :ivar coil_count: coils from address 0 on: as many as are polled.
    """

    def __init__(self, profile: Profile, default: Profile) -> None:
        self.command_by_coil = {command.coil: name for name, command in profile.command_by_name.items()}
        self.coil_count = max(
            poll.addresses.stop for poll in profile.definition.polls if poll.request.function is Function.READ_COILS
        )
        self._bit = dict.fromkeys(default.signal_by_name, 0)
        self._bit |= {name: 1 << signal.address for name, signal in profile.signal_by_name.items()}
        self._warnings, self._shutdowns = (
            sum(
                1 << one.address
                for one in profile.definition.signals
                if one.severity == severity and one.address in _COMMON
            )
            for severity in ("warning", "shutdown")
        )
        points = [(_ELSEWHERE.get(one.name, one.name), one) for one in profile.definition.points]
        self._single = tuple((name, one.address, 1 / one.scale) for name, one in points if one.type != "u32")
        self._double = tuple((name, one.address) for name, one in points if one.type == "u32")
        self._blank = [0] * max(one.addresses.stop for _, one in points)

    def registers(self, values: Values) -> tuple[int, ...]:
        """The holding registers; what is no point is 0."""
        registers = self._blank.copy()
        for name, address, per_unit in self._single:
            value = values.get(name, 0.0)
            registers[address] = SENSOR_OPEN if value is None else round(value * per_unit) & 0xFFFF
        for name, address in self._double:
            registers[address], registers[address + 1] = divmod(int(values.get(name) or 0), 0x1_0000)
        return tuple(registers)

    def coils(self, signals: Iterable[str]) -> int:
        """The coils of signals by name."""
        coils = 0
        for signal in signals:
            coils |= self._bit[signal]
        return coils

    def with_conclusions(self, coils: int, values: Values) -> int:
        """Add what follows from the values, and the common alarms that follow from everything."""
        coils |= self.coils(_signals_of(values))
        warning, shutdown = coils & self._warnings, coils & self._shutdowns
        if warning:
            coils |= self._bit["common_warning"]
        if shutdown:
            coils |= self._bit["common_shutdown"]
        if warning or shutdown:
            coils |= self._bit["common_alarm"]
        return coils


def _signals_of(values: Values) -> Iterator[str]:
    """The signals that follow from the values. A generator at rest has no voltage: the real controller says so too."""
    voltage, frequency = values["generator_voltage_l1_n"] or 0.0, values["generator_frequency"] or 0.0
    temperature, fuel = values["coolant_temperature"] or 0.0, values["fuel_level"] or 0.0
    conditions = (
        ("generator_undervoltage_warning", voltage < UNDERVOLTAGE),
        ("generator_underfrequency_warning", frequency < UNDERFREQUENCY),
        ("generator_overfrequency_warning", frequency > OVERFREQUENCY),
        ("generator_normal", voltage >= UNDERVOLTAGE and UNDERFREQUENCY <= frequency <= OVERFREQUENCY),
        ("low_fuel_warning", fuel < LOW_FUEL),
        ("high_temperature_warning", temperature >= HIGH_TEMPERATURE),
    )
    return (signal for signal, holds in conditions if holds)


@cache
def panel_of(model: str) -> Panel:
    """The panel that the shipped profile of a model describes; the default's where there is none."""
    catalog = load_catalog()
    profile, default = catalog.for_moduletype(model), catalog.for_moduletype(DEFAULT_MODEL)
    return Panel(default if profile.name == GENERIC else profile, default)
