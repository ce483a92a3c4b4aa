"""Curves of values over time, and three-phase values made of them; functions of time alone."""

from math import cos, exp, pi, sin, sqrt
from random import Random

__all__ = ["BALANCED", "DEAD", "NOMINAL_FREQUENCY", "NOMINAL_VOLTAGE", "Approach", "Shares", "ThreePhase", "Wave"]


_SLOW, _FAST = 0.7, 0.3  # shares of the two sines; together 1


class Wave:
    """A value that wanders about its centre, never further from it than ``reach``: a slow sine and a fast one.

    :param random: decides the phases and, around ``period_s``, the periods.
    :param period_s: of the slow sine, about.
    """

    __slots__ = ("_centre", "_fast", "_fast_phase", "_reach", "_slow", "_slow_phase")

    def __init__(self, random: Random, centre: float, reach: float, period_s: float) -> None:
        self._centre = centre
        self._reach = reach
        self._slow = 2 * pi / (period_s * random.uniform(0.8, 1.25))  # radians a second
        self._fast = self._slow * random.uniform(4.0, 7.0)
        self._slow_phase = random.uniform(0, 2 * pi)
        self._fast_phase = random.uniform(0, 2 * pi)

    def at(self, now: float) -> float:
        """The value at a time in seconds."""
        return self._centre + self._reach * (
            _SLOW * sin(self._slow * now + self._slow_phase) + _FAST * sin(self._fast * now + self._fast_phase)
        )

    def integral(self, start: float, end: float) -> float:
        """The sum of the value over the time from ``start`` to ``end``, in value times seconds: exact, however long."""
        slow = cos(self._slow * start + self._slow_phase) - cos(self._slow * end + self._slow_phase)
        fast = cos(self._fast * start + self._fast_phase) - cos(self._fast * end + self._fast_phase)
        return self._centre * (end - start) + self._reach * (_SLOW * slow / self._slow + _FAST * fast / self._fast)


class Approach:
    """A value that nears a target, fast at first, then slower: 63 % of the way in a time constant.

    :param value: where it is, and stays until it gets a target.
    """

    __slots__ = ("_since", "_start", "_target", "_time_constant_s")

    def __init__(self, value: float) -> None:
        self._start = self._target = value
        self._since = 0.0
        self._time_constant_s = 1.0

    def at(self, now: float) -> float:
        """The value at a time in seconds, not before the last :meth:`aim`."""
        return self._target + (self._start - self._target) * exp((self._since - now) / self._time_constant_s)

    def aim(self, target: float, time_constant_s: float, now: float) -> None:
        """Head for another target from where it is now; for the same as before: nothing changes."""
        if target != self._target or time_constant_s != self._time_constant_s:
            self._start = self.at(now)
            self._since = now
            self._target = target
            self._time_constant_s = time_constant_s


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
