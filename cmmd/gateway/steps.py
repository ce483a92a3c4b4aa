"""Doing something again and again in an even step."""

from math import ceil

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

__all__ = ["Steps"]


class Steps:
    """Moments ``period`` seconds apart. Those that pass while something takes long are left out, not made up for.

    :param clock: all time.
    :param period: seconds.
    :param first: seconds from now to the first moment, at most a period.
    """

    __slots__ = ("_clock", "_due", "_least", "_period")

    def __init__(self, clock: IReactorTime, period: float, first: float) -> None:
        self._clock = clock
        self._period = period
        self._due = clock.seconds() + first
        self._least = 0  # steps from the last moment to the next one

    def next(self) -> Deferred[None]:
        """Wait for the next moment."""
        now = self._clock.seconds()
        self._due += max(ceil((now - self._due) / self._period), self._least) * self._period
        self._least = 1
        return deferLater(self._clock, max(self._due - now, 0.0))
