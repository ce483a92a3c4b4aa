"""How values move in time: waves that never end, and approaches to a target.

Both are functions of time alone. So whoever looks every second and whoever looks once an hour see the same curve.
"""

from math import cos, exp, pi, sin
from random import Random

__all__ = ["Approach", "Wave"]

_SLOW, _FAST = 0.7, 0.3  # shares of the two sines; together 1


class Wave:
    """A value that wanders about its centre, never further away than ``reach``: a slow sine and a fast one.

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
