"""Even time, and whether this process has stood still: then an order that it reads may be minutes old."""

import time
from collections.abc import Callable

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

__all__ = ["STANDSTILL_S", "Pulse", "ticks_s"]

BEAT_S = 1.0
STANDSTILL_S = 5.0
"""Without a beat for so long, a process stood still: it was stopped, its machine slept or had no time for it."""


def ticks_s() -> float:
    """Seconds since the machine was switched on, whatever anybody sets, and whether it slept."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Pulse(Service):
    """Beats every second.

    After a standstill, what waits in sockets is read before the next beat or directly after it: until the beat after
    that one it is told.

    :param ticks: see :func:`ticks_s`.
    """

    def __init__(self, clock: IReactorTime, ticks: Callable[[], float] = ticks_s) -> None:
        self._ticks = ticks
        self._beat_at = ticks()
        self._stood_still_s = 0.0  # before the last beat
        self._beating = LoopingCall(self._beat)
        self._beating.clock = clock

    def startService(self) -> None:
        """Begin."""
        super().startService()
        self._beating.start(BEAT_S)

    def stopService(self) -> None:
        """End."""
        super().stopService()
        if self._beating.running:
            self._beating.stop()

    def stood_still_s(self) -> float:
        """For how long, until just now, in seconds; 0: it did not."""
        return self._late_s() or self._stood_still_s

    def _late_s(self) -> float:
        since = self._ticks() - self._beat_at
        return since if since >= STANDSTILL_S else 0.0

    def _beat(self) -> None:
        self._stood_still_s = self._late_s()
        self._beat_at = self._ticks()
