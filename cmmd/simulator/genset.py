"""A genset that does not exist: registers and coils of an HGM6120N, with values that fit together.

The layout is the controller's: holding registers 0 to 55, coils 0 to 89. A genset either stands by behind healthy mains
or carries the load through a mains failure; its values drift a little from one look to the next.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, sqrt
from random import Random

__all__ = ["COILS", "REGISTERS", "Genset", "Picture"]

REGISTERS = 56
"""Holding registers from address 0 on."""

COILS = 90
"""Coils from address 0 on."""

STANDBY, NORMAL_RUNNING = 0, 9  # engine states
MAINS_ON_LOAD, GENERATOR_ON_LOAD, AUTO_MODE, FUEL_RELAY = 6, 7, 41, 57  # coils
MAINS_FAULT, MAINS_NORMAL, MAINS_UNDERVOLTAGE, MAINS_BLACKOUT = 64, 65, 67, 69
GENERATOR_NORMAL, GENERATOR_UNDERVOLTAGE, GENERATOR_UNDERFREQUENCY = 72, 74, 76

_SHARE_RUNNING = 0.15
_RATINGS_KW = (16, 24, 40, 64, 80, 120, 160, 200, 320, 400, 640)
_SERVICE_INTERVAL_H = 250
_LITRES_PER_KWH = 0.27
_REFUEL_BELOW = 25.0
_SOFTWARE_VERSION, _HARDWARE_VERSION = 23, 12  # tenths
_LINE_TO_PHASE = sqrt(3)


class _Drift:
    """A value that wanders about its centre, never further away than ``reach``."""

    __slots__ = ("_centre", "_random", "_reach", "value")

    def __init__(self, random: Random, centre: float, reach: float) -> None:
        self._random = random.random
        self._centre = centre
        self._reach = reach
        self.value = centre + reach * (2 * self._random() - 1)

    def move(self) -> float:
        """The next value: a fifth of the way towards a new random one."""
        target = self._centre + self._reach * (2 * self._random() - 1)
        self.value += 0.2 * (target - self.value)
        return self.value


@dataclass(frozen=True, slots=True)
class Picture:
    """What the controller shows at one moment.

    :ivar registers: holding registers 0 to 55, each 0..65535.
    :ivar coils: coil *n* is bit *n*.
    """

    registers: tuple[int, ...]
    coils: int


class Genset:
    """One genset with its controller.

    :param random: decides what kind of genset it is, and its drift.
    :param seconds: the time, for what grows.
    :ivar rating_kw: what the alternator can give.
    """

    def __init__(self, random: Random, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._looked_at = seconds()
        self.running = random.random() < _SHARE_RUNNING
        self.rating_kw = random.choice(_RATINGS_KW)
        self._run_minutes = float(random.randrange(20 * 60, 9000 * 60))
        self._starts = random.randrange(30, 900)
        self._energy_kwh = self._run_minutes / 60 * self.rating_kw * random.uniform(0.3, 0.6)
        self._tank_litres = self.rating_kw * 3.0
        self._fuel_litres = self._tank_litres * random.uniform(0.4, 0.95)
        self._battery = _Drift(random, 27.9 if self.running else 26.9, 0.15)
        self._temperature = _Drift(random, random.uniform(78, 88) if self.running else random.uniform(28, 42), 1.0)
        self._oil_pressure = _Drift(random, random.uniform(340, 460), 6.0)
        self._frequency = _Drift(random, 50.0, 0.06)
        self._voltage = _Drift(random, random.uniform(226, 236), 1.5)
        self._imbalance = _Drift(random, 0.0, 0.7)
        self._load = _Drift(random, random.uniform(0.25, 0.75), 0.05)
        self._power_factor = _Drift(random, random.uniform(0.82, 0.94), 0.01)

    def look(self) -> Picture:
        """Let the time since the last look pass, and see what the controller shows now."""
        now = self._seconds()
        hours = max(now - self._looked_at, 0.0) / 3600
        self._looked_at = now
        frequency = round(self._frequency.move() * 100)
        voltage, imbalance = self._voltage.move(), self._imbalance.move()
        phases = round(voltage + imbalance), round(voltage - imbalance), round(voltage)
        live = (*phases, *_line_voltages(*phases), frequency)
        dead = (0, 0, 0, 0, 0, 0, 0)
        if not self.running:
            return Picture(self._registers(live, dead, 0.0, hours), _STANDBY_COILS)
        return Picture(self._registers(dead, live, self._load.move() * self.rating_kw, hours), _RUNNING_COILS)

    def _registers(
        self, mains: tuple[int, ...], generator: tuple[int, ...], load_kw: float, hours: float
    ) -> tuple[int, ...]:
        """The register table; ``mains`` and ``generator``: 3 phase voltages, 3 line voltages, frequency."""
        running = self.running
        frequency = generator[6]
        temperature = round(self._temperature.move())
        battery = round(self._battery.move() * 10)
        oil_pressure = round(self._oil_pressure.move()) if running else 0
        power_factor = round(self._power_factor.move() * 100) if running else 0
        powers = _thirds(round(load_kw))
        power = sum(powers)
        apparent = power * 100 / power_factor if running else 0.0
        currents = [
            round(phase_power * 1e6 / (voltage * power_factor)) if running else 0
            for phase_power, voltage in zip(powers, generator, strict=False)
        ]
        if running:
            self._run_minutes += hours * 60
            self._energy_kwh += load_kw * hours
            self._burn(load_kw * hours * _LITRES_PER_KWH)
        fuel = round(100 * self._fuel_litres / self._tank_litres)
        run_minutes = int(self._run_minutes)
        service_minutes = _SERVICE_INTERVAL_H * 60 - run_minutes % (_SERVICE_INTERVAL_H * 60)
        energy = int(self._energy_kwh)
        return (
            *mains,  # 0..6
            *generator,  # 7..13
            *currents,  # 14..16
            temperature,
            round(2915 * exp((40 - temperature) * 0.0345)),  # 18: Ω/10 of a sensor with falling resistance
            oil_pressure,
            round(100 + 1.74 * oil_pressure),  # 20: Ω/10
            fuel,
            round(100 + 17 * fuel),  # 22: Ω/10
            round(frequency * 0.3),  # 23: two pole pairs: 50.00 Hz at 1500 r/min
            battery,
            battery - 3 if running else 0,  # 25
            power,
            round(sqrt(apparent * apparent - power * power)),  # 27
            round(apparent),
            power_factor,
            *divmod(service_minutes, 60),  # 30, 31
            0,
            0,
            NORMAL_RUNNING if running else STANDBY,  # 34
            0,
            0,
            0,
            0,
            0,
            1 if running else 0,  # 40: mains abnormal
            0,
            *divmod(run_minutes // 60, 0x1_0000),  # 42, 43
            run_minutes % 60,
            0,
            *divmod(self._starts, 0x1_0000),  # 46, 47
            *divmod(energy, 0x1_0000),  # 48, 49
            _SOFTWARE_VERSION,
            _HARDWARE_VERSION,
            *powers,  # 52..54
            round(100 * power / self.rating_kw),  # 55
        )

    def _burn(self, litres: float) -> None:
        self._fuel_litres -= litres
        if self._fuel_litres < self._tank_litres * _REFUEL_BELOW / 100:
            self._fuel_litres = self._tank_litres * 0.95  # somebody came with a tanker


def _coils(*addresses: int) -> int:
    return sum(1 << address for address in addresses)


_STANDBY_COILS = _coils(MAINS_ON_LOAD, AUTO_MODE, MAINS_NORMAL, GENERATOR_UNDERVOLTAGE, GENERATOR_UNDERFREQUENCY)
_RUNNING_COILS = _coils(
    GENERATOR_ON_LOAD, AUTO_MODE, FUEL_RELAY, MAINS_FAULT, MAINS_UNDERVOLTAGE, MAINS_BLACKOUT, GENERATOR_NORMAL
)


def _line_voltages(first: int, second: int, third: int) -> tuple[int, int, int]:
    """L1-L2, L2-L3, L3-L1 of three phases 120 degrees apart whose voltages are close to each other."""
    half = _LINE_TO_PHASE / 2
    return round((first + second) * half), round((second + third) * half), round((third + first) * half)


def _thirds(whole: int) -> tuple[int, int, int]:
    """Three whole numbers that add up: the load of the phases."""
    third = whole // 3
    return whole - 2 * third, third, third
