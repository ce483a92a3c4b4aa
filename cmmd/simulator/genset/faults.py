"""Faults of a simulated genset, on demand, and rare random ones."""

from collections.abc import Iterator
from enum import Enum, StrEnum
from math import inf
from random import Random
from typing import NamedTuple

from cmmd.simulator.genset.engine import TURNING, EngineState

__all__ = ["FAULTS", "WEIGHTS", "Effect", "Fault", "FaultKind", "Faults", "RandomFaults", "Reading"]


class Reading(Enum):
    """A reading that nears a target, which depends on the state, and which faults push elsewhere."""

    SPEED = "r/min"
    COOLANT = "°C"
    BATTERY = "V"
    CHARGER = "V at the charging alternator's D+"
    OIL = "share of the oil pressure that belongs to the speed"


class Fault(StrEnum):
    """The names for ``Genset.inject``."""

    LOW_FUEL = "low_fuel"
    LOW_OIL_PRESSURE = "low_oil_pressure"
    HIGH_TEMPERATURE = "high_temperature"
    OVERSPEED = "overspeed"
    CRANK_FAILURE = "crank_failure"
    STOP_FAILURE = "stop_failure"
    EMERGENCY_STOP = "emergency_stop"
    BATTERY_UNDERVOLTAGE = "battery_undervoltage"
    CHARGING_FAILURE = "charging_failure"
    SENSOR_OPEN = "sensor_open"
    REMOTE_LOCK = "remote_lock"


class Effect(NamedTuple):
    """A reading nears another target.

    :ivar states: while the engine is in one of them.
    """

    reading: Reading
    target: float
    time_constant_s: float
    states: frozenset[EngineState]


class FaultKind(NamedTuple):
    """The effect of a kind of fault.

    :ivar signal: what the controller raises; empty: what it raises follows from the readings.
    :ivar shutdown: the engine stops at once, and the signal stays until the controller is reset.
    :ivar states: the engine states in which the controller watches for it.
    :ivar delay_s: how long it must last in them before the signal is raised.
    :ivar shows: a signal that is set as long as the fault is there.
    :ivar spoils: the states that do not do what they are for.
    :ivar fuel_level: what the tank falls to, in percent; it is not filled up.
    """

    signal: str = ""
    shutdown: bool = False
    states: frozenset[EngineState] = frozenset()
    delay_s: float = 0.0
    shows: str = ""
    effects: tuple[Effect, ...] = ()
    spoils: frozenset[EngineState] = frozenset()
    fuel_level: float | None = None


_S = EngineState
_ALL = frozenset(EngineState)
_AT_SPEED = frozenset((_S.WARM_UP, _S.WAIT_FOR_LOAD, _S.RUNNING, _S.COOLING))
_STOPPING = frozenset((_S.ETS, _S.WAIT_FOR_STOP, _S.STOP_FAILURE))

FAULTS: dict[Fault, FaultKind] = {
    Fault.LOW_FUEL: FaultKind(fuel_level=9.0),
    Fault.LOW_OIL_PRESSURE: FaultKind(
        signal="low_oil_pressure_shutdown",
        shutdown=True,
        states=_AT_SPEED,
        delay_s=3.0,
        effects=(Effect(Reading.OIL, 0.1, 1.0, _ALL),),
    ),
    Fault.HIGH_TEMPERATURE: FaultKind(
        signal="high_temperature_shutdown",
        shutdown=True,
        states=_AT_SPEED,
        delay_s=30.0,
        effects=(Effect(Reading.COOLANT, 120.0, 20.0, _AT_SPEED),),
    ),
    Fault.OVERSPEED: FaultKind(
        signal="overspeed_shutdown",
        shutdown=True,
        states=_AT_SPEED,
        delay_s=4.0,
        effects=(Effect(Reading.SPEED, 1800.0, 1.5, _AT_SPEED),),
    ),
    Fault.CRANK_FAILURE: FaultKind(  # raised by the engine's last attempt, not by a delay
        signal="crank_failure_shutdown", shutdown=True, spoils=frozenset((_S.CRANK,))
    ),
    Fault.STOP_FAILURE: FaultKind(
        signal="stop_failure_warning",
        states=frozenset((_S.STOP_FAILURE,)),
        effects=(Effect(Reading.SPEED, 750.0, 1.0, _STOPPING),),
        spoils=_STOPPING,
    ),
    Fault.EMERGENCY_STOP: FaultKind(
        signal="emergency_stop_shutdown", shutdown=True, states=_ALL, shows="emergency_stop_input"
    ),
    Fault.BATTERY_UNDERVOLTAGE: FaultKind(
        signal="battery_undervoltage_warning",
        states=_ALL,
        delay_s=5.0,
        effects=(Effect(Reading.BATTERY, 20.6, 1.5, _ALL),),
    ),
    Fault.CHARGING_FAILURE: FaultKind(
        signal="charging_failure_warning",
        states=_AT_SPEED,
        delay_s=5.0,
        effects=(Effect(Reading.CHARGER, 2.4, 1.0, TURNING), Effect(Reading.BATTERY, 25.1, 60.0, TURNING)),
    ),
    Fault.SENSOR_OPEN: FaultKind(signal="temperature_sensor_open_warning", states=_ALL),
    Fault.REMOTE_LOCK: FaultKind(shows="remote_control_locked"),
}


class Faults:
    """The faults of one genset.

    :ivar present: what is wrong.
    :ivar raised: the warnings that the controller has raised for that.
    :ivar latched: the shutdowns that were not reset.
    """

    def __init__(self) -> None:
        self.present: list[Fault] = []
        self.raised: set[Fault] = set()
        self.latched: set[Fault] = set()
        self._due: dict[Fault, float] = {}

    @property
    def until(self) -> float:
        """The time of the next signal if nothing changes; infinite: none."""
        return min(self._due.values(), default=inf)

    def watch(self, state: EngineState, now: float) -> None:
        """Detect faults that show in an engine state."""
        for fault, kind in FAULTS.items():
            if fault not in self.present or state not in kind.states:
                self._due.pop(fault, None)
                self.raised.discard(fault)
            elif fault not in self.raised and fault not in self.latched:
                self._due.setdefault(fault, now + kind.delay_s)

    def elapse(self, now: float) -> None:
        """Raise what is due."""
        for fault in [fault for fault, due in self._due.items() if due <= now]:
            del self._due[fault]
            (self.latched if FAULTS[fault].shutdown else self.raised).add(fault)

    def reset(self) -> None:
        """Forget the shutdowns; what is still wrong and watched for comes back."""
        self.latched.clear()

    def spoil(self, state: EngineState) -> bool:
        """Tell whether the engine fails to do what this state is for."""
        return any(state in FAULTS[fault].spoils for fault in self.present)

    def effects(self, state: EngineState) -> Iterator[Effect]:
        """Compute the effects of the faults on the readings in this state."""
        return (effect for fault in self.present for effect in FAULTS[fault].effects if state in effect.states)

    def signals(self) -> Iterator[str]:
        """The signals that are set because of faults."""
        yield from (FAULTS[fault].signal for fault in (*self.raised, *self.latched))
        yield from (FAULTS[fault].shows for fault in self.present if FAULTS[fault].shows)


# fmt: off
WEIGHTS: dict[Fault, tuple[int, int]] = {
    # fault                     (at rest, turning)
    Fault.LOW_FUEL:             (3, 2),
    Fault.BATTERY_UNDERVOLTAGE: (3, 1),
    Fault.SENSOR_OPEN:          (2, 2),
    Fault.EMERGENCY_STOP:       (1, 1),
    Fault.CHARGING_FAILURE:     (0, 3),
    Fault.HIGH_TEMPERATURE:     (0, 2),
    Fault.LOW_OIL_PRESSURE:     (0, 2),
    Fault.OVERSPEED:            (0, 1),
}
"""How often it is which fault, of those that the controller sees at once in that state of the engine."""
# fmt: on

FIRST_WITHIN_S = 1800.0
SHORTEST_PEACE_S, MEAN_PEACE_S = 900.0, 6900.0
SHORTEST_REPAIR_S, LONGEST_REPAIR_S = 120.0, 480.0
"""The schedule: one fault in two hours, and the first one sooner, so that a demo has something to show."""


class RandomFaults:
    """One fault now and then, and its end.

    :param random: decides when, which, and how long.
    :param schedule: whether anything happens at all.
    :ivar until: when a fault begins or ends; infinite: never.
    :ivar present: the fault that there is; None: there is none.
    """

    def __init__(self, random: Random, *, schedule: bool) -> None:
        self._random = random
        self.present: Fault | None = None
        self.until = random.uniform(60.0, FIRST_WITHIN_S) if schedule else inf

    def elapse(self, now: float, *, turning: bool) -> None:
        """Have a fault come or go if it is time.

        :param turning: the engine runs.
        """
        if self.until > now:
            return
        if self.present is None:
            weights = [weight[turning] for weight in WEIGHTS.values()]
            (self.present,) = self._random.choices(list(WEIGHTS), weights)
            self.until = now + self._random.uniform(SHORTEST_REPAIR_S, LONGEST_REPAIR_S)
        else:
            self.present = None
            self.until = now + SHORTEST_PEACE_S + self._random.expovariate(1 / (MEAN_PEACE_S - SHORTEST_PEACE_S))
