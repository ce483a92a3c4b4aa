"""Three phases 120 degrees apart."""

from math import sqrt
from random import Random

from cmmd.simulator.genset.curves import Wave

__all__ = ["BALANCED", "DEAD", "NOMINAL_FREQUENCY", "NOMINAL_VOLTAGE", "Shares", "ThreePhase"]

NOMINAL_VOLTAGE = 230.0  # V, phase to neutral
NOMINAL_FREQUENCY = 50.0  # Hz

Shares = tuple[float, float, float]
"""Of the voltage that the phases L1, L2, L3 should have."""

BALANCED: Shares = (1.0, 1.0, 1.0)
DEAD: Shares = (0.0, 0.0, 0.0)

_VOLTAGE_REACH, _IMBALANCE_REACH = 1.5, 0.7  # V


class ThreePhase:
    """A supply whose voltages wander a little.

    :param centre: the voltage to neutral that they wander about, V.
    """

    def __init__(self, random: Random, centre: float) -> None:
        self._voltage = Wave(random, centre, _VOLTAGE_REACH, 120.0)
        self._imbalance = Wave(random, 0.0, _IMBALANCE_REACH, 300.0)

    def voltages(self, now: float, shares: Shares) -> tuple[float, float, float, float, float, float]:
        """L1-N, L2-N, L3-N, L1-L2, L2-L3, L3-L1 in volts."""
        if shares is DEAD:
            return 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        voltage, imbalance = self._voltage.at(now), self._imbalance.at(now)
        first, second, third = (voltage + imbalance) * shares[0], (voltage - imbalance) * shares[1], voltage * shares[2]
        return first, second, third, _between(first, second), _between(second, third), _between(third, first)


def _between(one: float, other: float) -> float:
    """The voltage between two phases."""
    return sqrt(one * one + other * other + one * other)
