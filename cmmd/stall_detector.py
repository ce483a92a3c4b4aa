"""Even time, and whether this process has stood still: then an order that it reads may be minutes old."""

import time
from collections.abc import Callable

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

__all__ = ["STANDSTILL_S", "TOLD_S", "StallDetector", "ticks_s"]

BEAT_S = 1.0
STANDSTILL_S = 5.0
"""Without a beat for so long, a process stood still: it was stopped, its machine slept or had no time for it."""
TOLD_S = 5.0
"""How long a standstill is reported: what came meanwhile can wait for its connection to be accepted, behind others."""


def ticks_s() -> float:
    """Seconds since the machine was switched on, whatever anybody sets, and whether it slept."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class StallDetector(Service):
    """Detects stalls of the process by a beat every second.

    What came during a standstill is read before the next beat or some turns of the reactor after it: it counts from
    when the beat is overdue.

    :param ticks: see :func:`ticks_s`.
    """

    def __init__(self, clock: IReactorTime, ticks: Callable[[], float] = ticks_s) -> None:
        self._ticks = ticks
        self._beat_at = ticks()
        self._stood_still_s = 0.0  # the last time, as long as that is reported
        self._told_until = 0.0
        self._beating = LoopingCall(self._beat)
        self._beating.clock = clock

    def startService(self) -> None:
        """Start the beat of every second."""
        super().startService()
        self._beating.start(BEAT_S)

    def stopService(self) -> None:
        """Stop the beat of every second."""
        super().stopService()
        if self._beating.running:
            self._beating.stop()

    def stood_still_s(self) -> float:
        """For how long, until just now, in seconds; 0: it did not."""
        since = self._ticks() - self._beat_at
        return since if since >= STANDSTILL_S else self._stood_still_s

    def _beat(self) -> None:
        now = self._ticks()
        since = now - self._beat_at
        self._beat_at = now
        if since >= STANDSTILL_S:
            self._stood_still_s = since
            self._told_until = now + TOLD_S
        elif now >= self._told_until:
            self._stood_still_s = 0.0
