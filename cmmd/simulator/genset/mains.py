"""The utility supply: what can be the matter with it, and when it is."""

from enum import StrEnum
from math import inf
from random import Random
from typing import NamedTuple

from cmmd.simulator.genset.curves import BALANCED, DEAD, NOMINAL_FREQUENCY, Shares, ThreePhase, Wave

__all__ = ["CONDITIONS", "Condition", "Mains", "MainsCondition"]


class MainsCondition(StrEnum):
    """The condition of the mains."""

    NORMAL = "normal"
    BLACKOUT = "blackout"
    UNDERVOLTAGE = "undervoltage"
    OVERVOLTAGE = "overvoltage"
    PHASE_LOSS = "phase_loss"


class Condition(NamedTuple):
    """The measured values of a condition.

    :ivar shares: of the voltage that the phases should have.
    :ivar signals: what the controller sees in it.
    :ivar weight: how often it is this one that the schedule chooses.
    """

    shares: Shares
    signals: tuple[str, ...]
    weight: int


CONDITIONS: dict[MainsCondition, Condition] = {
    MainsCondition.NORMAL: Condition(BALANCED, ("mains_normal",), 0),
    MainsCondition.BLACKOUT: Condition(
        DEAD, ("mains_fault_warning", "mains_undervoltage_warning", "mains_blackout_warning"), 6
    ),
    MainsCondition.UNDERVOLTAGE: Condition(
        (0.76, 0.77, 0.76), ("mains_fault_warning", "mains_undervoltage_warning"), 2
    ),
    MainsCondition.OVERVOLTAGE: Condition((1.19, 1.18, 1.19), ("mains_fault_warning", "mains_overvoltage_warning"), 1),
    MainsCondition.PHASE_LOSS: Condition((1.0, 0.04, 1.0), ("mains_fault_warning", "mains_phase_loss_warning"), 1),
}

_FAILURES = [condition for condition in MainsCondition if CONDITIONS[condition].weight]
_WEIGHTS = [CONDITIONS[condition].weight for condition in _FAILURES]

FIRST_FAILURE_WITHIN_S = 600.0
SHORTEST_PEACE_S, MEAN_PEACE_S = 120.0, 900.0
SHORTEST_FAILURE_S, MEAN_FAILURE_S = 2.0, 150.0
"""The schedule: shorter failures than the controller believes in are among them."""


class Mains:
    """A utility supply that fails now and then.

    :param random: decides when, how, and how long.
    :param condition: how it is at time 0.
    :param schedule: whether it fails and returns by itself.
    :ivar until: when the condition changes by itself; infinite: it does not.
    """

    def __init__(self, random: Random, condition: MainsCondition, *, schedule: bool) -> None:
        self._random = random
        self._schedule = schedule
        self._supply = ThreePhase(random, random.uniform(226, 236))
        self._frequency = Wave(random, NOMINAL_FREQUENCY, 0.06, 90.0)
        self.condition = condition
        self.until = inf
        if schedule and condition is MainsCondition.NORMAL:
            self.until = random.uniform(20.0, FIRST_FAILURE_WITHIN_S)
        elif schedule:
            self.until = random.uniform(60.0, 2 * MEAN_FAILURE_S)

    @property
    def abnormal(self) -> bool:
        """Tell whether they are not as they should be."""
        return self.condition is not MainsCondition.NORMAL

    def fail(self, condition: MainsCondition) -> None:
        """Fail, until :meth:`return_` is called."""
        self.condition = condition
        self.until = inf

    def return_(self, now: float) -> None:
        """Be normal again, until the schedule says otherwise."""
        self.condition = MainsCondition.NORMAL
        self.until = now + self._next(SHORTEST_PEACE_S, MEAN_PEACE_S) if self._schedule else inf

    def elapse(self, now: float) -> None:
        """Fail or return if it is time."""
        if self.until > now:
            return
        if self.abnormal:
            self.return_(now)
        else:
            (self.condition,) = self._random.choices(_FAILURES, _WEIGHTS)
            self.until = now + self._next(SHORTEST_FAILURE_S, MEAN_FAILURE_S)

    def _next(self, shortest: float, mean: float) -> float:
        return shortest + self._random.expovariate(1 / (mean - shortest))

    def points(self, now: float) -> dict[str, float]:
        """Measure the mains, by the names of the points."""
        shares = CONDITIONS[self.condition].shares
        volts = self._supply.voltages(now, shares)
        return {
            "mains_voltage_l1_n": volts[0],
            "mains_voltage_l2_n": volts[1],
            "mains_voltage_l3_n": volts[2],
            "mains_voltage_l1_l2": volts[3],
            "mains_voltage_l2_l3": volts[4],
            "mains_voltage_l3_l1": volts[5],
            "mains_frequency": 0.0 if shares is DEAD else self._frequency.at(now),
        }
