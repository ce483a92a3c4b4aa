"""Engine, alternator, tank and battery: what turns, warms up, burns and is measured."""

from collections.abc import Iterable
from math import exp, sqrt
from random import Random

from cmmd.simulator.genset.curves import BALANCED, NOMINAL_FREQUENCY, Approach, ThreePhase, Wave
from cmmd.simulator.genset.engine import RATED_SPEED, STEPS, TURNING, EngineState
from cmmd.simulator.genset.faults import Effect, Reading

__all__ = ["Powertrain"]

TANKER_COMES_PERCENT = 8.0
FILLED_PERCENT = 95.0
EMPTY_PERCENT = 1.0

SERVICE_INTERVAL_H = 250

_RATINGS_KW = (16, 24, 40, 64, 80, 120, 160, 200, 320, 400, 640)
_TANK_LITRES_PER_KW = 3.0
_LITRES_PER_KWH = 0.27
_IDLE_LITRES_PER_KWH_OF_RATING = 0.02

_WARM = 82.0  # °C
_FULL_EXCITATION_SPEED = 1400.0  # r/min: from here on the regulator holds the voltage
_RESIDUAL_SPEED = 30.0  # r/min: less than that is not measured


class Powertrain:
    """The machinery of one genset.

    :param random: decides what it is, how much it has run, and how its values wander.
    :param state: the engine's at time 0; it has been in it for long.
    :ivar rating_kw: what the alternator can give.
    :ivar tanker_comes: whether the tank is filled up when it gets low.
    """

    def __init__(self, random: Random, state: EngineState) -> None:
        self.rating_kw = random.choice(_RATINGS_KW)
        self.tanker_comes = True
        self._run_s = random.uniform(20, 9000) * 3600
        self._energy_kwh = self._run_s / 3600 * self.rating_kw * random.uniform(0.3, 0.6)
        self._tank_litres = self.rating_kw * _TANK_LITRES_PER_KW
        self._fuel_litres = self._tank_litres * random.uniform(0.4, 0.95)
        self._rest_temperature = random.uniform(28, 42)  # °C: a heater keeps the coolant from getting cold
        self._oil_pressure = random.uniform(340, 460)  # kPa at rated speed
        self._alternator = ThreePhase(random, random.uniform(228, 233))
        self._load = Wave(random, random.uniform(0.35, 0.7), 0.1, 400.0)  # share of the rating
        self._power_factor = Wave(random, random.uniform(0.82, 0.94), 0.015, 500.0)
        self._phase_shares = tuple(share / 3 for share in _three_about_one(random))
        self._governor = Wave(random, 1.0, 0.0012, 30.0)
        self._temperature_drift = Wave(random, 0.0, 1.2, 600.0)
        self._oil_drift = Wave(random, 1.0, 0.02, 60.0)
        self._battery_drift = Wave(random, 0.0, 0.1, 200.0)
        self._approaches = {reading: Approach(target) for reading, (target, _) in self._targets(state).items()}

    def _targets(self, state: EngineState) -> dict[Reading, tuple[float, float]]:
        """Choose the targets of the readings in a state, with time constants in seconds."""
        turning = state in TURNING
        cranking = state is EngineState.CRANK
        return {
            Reading.SPEED: (STEPS[state].speed, 0.8),
            Reading.COOLANT: (_WARM, 150.0) if turning else (self._rest_temperature, 2400.0),
            Reading.BATTERY: (22.4, 0.5) if cranking else (27.9, 4.0) if turning else (26.9, 30.0),
            Reading.CHARGER: (27.6, 1.0) if turning else (0.0, 0.5),
            Reading.OIL: (1.0, 1.0),
        }

    def aim(self, state: EngineState, effects: Iterable[Effect], now: float) -> None:
        """Head for where a state and the faults in it lead."""
        targets = self._targets(state)
        targets.update((effect.reading, (effect.target, effect.time_constant_s)) for effect in effects)
        for reading, (target, time_constant_s) in targets.items():
            self._approaches[reading].aim(target, time_constant_s, now)

    # --- what adds up ------------------------------------------------------------------------------------------------

    def live(self, start: float, end: float, *, turning: bool, on_load: bool) -> None:
        """Let time pass in which nothing changed.

        :param turning: the engine runs; :param on_load: it carries the load.
        """
        if not turning:
            return
        self._run_s += end - start
        burned = (end - start) / 3600 * self.rating_kw * _IDLE_LITRES_PER_KWH_OF_RATING
        if on_load:
            energy = self._load.integral(start, end) / 3600 * self.rating_kw
            self._energy_kwh += energy
            burned += energy * _LITRES_PER_KWH
        self._burn(burned)

    def _burn(self, litres: float) -> None:
        self._fuel_litres -= litres
        low, full = (self._tank_litres * percent / 100 for percent in (TANKER_COMES_PERCENT, FILLED_PERCENT))
        if self.tanker_comes and self._fuel_litres < low:
            self._fuel_litres = low + (self._fuel_litres - low) % (full - low)  # filled as often as it got low
        self._fuel_litres = max(self._fuel_litres, self._tank_litres * EMPTY_PERCENT / 100)

    def drain(self, percent: float) -> None:
        """Lose fuel until the tank is no fuller than this; no tanker comes."""
        self._fuel_litres = min(self._fuel_litres, self._tank_litres * percent / 100)
        self.tanker_comes = False

    def refuel(self) -> None:
        """Have the tank filled, now and from now on."""
        self._fuel_litres = self._tank_litres * FILLED_PERCENT / 100
        self.tanker_comes = True

    # --- what is measured --------------------------------------------------------------------------------------------

    def points(self, now: float, *, on_load: bool, sensor_open: bool) -> dict[str, float | None]:
        """Measure the engine, by the names of the points; None: the sensor is open.

        :param sensor_open: the temperature sensor.
        """
        approaches = self._approaches
        speed = approaches[Reading.SPEED].at(now) * self._governor.at(now)
        if speed < _RESIDUAL_SPEED:
            speed = 0.0
        oil = (
            self._oil_pressure
            * approaches[Reading.OIL].at(now)
            * (speed / RATED_SPEED) ** 0.8
            * self._oil_drift.at(now)
        )
        temperature = approaches[Reading.COOLANT].at(now) + self._temperature_drift.at(now)
        fuel = round(100 * self._fuel_litres / self._tank_litres)
        return {
            "coolant_temperature": None if sensor_open else temperature,
            "temperature_sensor_resistance": None if sensor_open else 291.5 * exp((40 - temperature) * 0.0345),
            "oil_pressure": oil,
            "oil_pressure_sensor_resistance": 10 + 0.174 * oil,
            "fuel_level": fuel,
            "fuel_level_sensor_resistance": 10 + 1.7 * fuel,
            "engine_speed": speed,
            "battery_voltage": approaches[Reading.BATTERY].at(now) + self._battery_drift.at(now),
            "charger_voltage": approaches[Reading.CHARGER].at(now),
            **self._electrical(now, speed, on_load=on_load),
            **self._counters(),
        }

    def _electrical(self, now: float, speed: float, *, on_load: bool) -> dict[str, float]:
        """Voltages, frequency, currents and powers."""
        excitation = min(speed / _FULL_EXCITATION_SPEED, 1.0)
        volts = self._alternator.voltages(now, BALANCED) if speed else (0.0,) * 6
        load = self._load.at(now) if on_load else 0.0
        power_factor = self._power_factor.at(now) if on_load else 0.0
        power = load * self.rating_kw
        apparent = power / power_factor if on_load else 0.0
        first, second, third = (power * share for share in self._phase_shares)
        per_volt = 1000 / power_factor if on_load else 0.0
        return {
            "generator_voltage_l1_n": volts[0] * excitation,
            "generator_voltage_l2_n": volts[1] * excitation,
            "generator_voltage_l3_n": volts[2] * excitation,
            "generator_voltage_l1_l2": volts[3] * excitation,
            "generator_voltage_l2_l3": volts[4] * excitation,
            "generator_voltage_l3_l1": volts[5] * excitation,
            "generator_frequency": speed / RATED_SPEED * NOMINAL_FREQUENCY,
            "current_l1": first * per_volt / volts[0] if on_load else 0.0,
            "current_l2": second * per_volt / volts[1] if on_load else 0.0,
            "current_l3": third * per_volt / volts[2] if on_load else 0.0,
            "active_power": power,
            "reactive_power": sqrt(apparent * apparent - power * power),
            "apparent_power": apparent,
            "power_factor": power_factor,
            "active_power_l1": first,
            "active_power_l2": second,
            "active_power_l3": third,
            "load": 100 * load,
        }

    def _counters(self) -> dict[str, float]:
        run_minutes = int(self._run_s / 60)
        service_minutes = SERVICE_INTERVAL_H * 60 - run_minutes % (SERVICE_INTERVAL_H * 60)
        return {
            "time_to_maintenance_hours": service_minutes // 60,
            "time_to_maintenance_minutes": service_minutes % 60,
            "run_time_hours": run_minutes // 60,
            "run_time_minutes": run_minutes % 60,
            "energy_generated": self._energy_kwh,
        }


def _three_about_one(random: Random) -> tuple[float, float, float]:
    """Three numbers near 1 whose mean is 1: how unevenly a load sits on the phases."""
    first, second = random.uniform(0.94, 1.06), random.uniform(0.94, 1.06)
    return first, second, 3 - first - second
