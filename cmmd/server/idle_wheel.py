"""Idle timeouts of thousands of connections with a few timers: a coarse wheel.

A timer of its own takes a connection 290 bytes, and nearly none ever expires with anything to do. Here connections that
are due at about the same time share one; each is looked at a little early, and where it is really silent it waits for
the rest with a timer of its own, so that no timeout is rounded.
"""

from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

__all__ = ["IdleWheel", "WatchedConnection"]

log = Logger()

SLOTS = 16
"""Timers at most: an idle timeout is divided into so many slots."""


class WatchedConnection(Protocol):
    """A connection that has to be looked at in time."""

    def look_whether_idle(self) -> None:
        """Look whether it is silent; it is on the wheel no more."""


class _Slot:
    """The connections that are looked at together, and the timer for that."""

    __slots__ = ("connections", "timer")

    def __init__(self, timer: IDelayedCall) -> None:
        self.connections: set[WatchedConnection] = set()
        self.timer = timer


class IdleWheel:
    """Has connections looked at, shortly before they are due.

    :param clock: for the timers.
    :param timeout_s: for how long connections are put on the wheel, in seconds; longer is as good, with more timers.
    """

    def __init__(self, clock: IReactorTime, timeout_s: float) -> None:
        self._clock = clock
        self._slot_s = timeout_s / SLOTS
        self._slots: dict[int, _Slot] = {}

    def add(self, connection: WatchedConnection, seconds: float) -> int | None:
        """Have a connection looked at once within so many seconds, but no more than a slot earlier.

        :return: where it is, for :meth:`remove`; None: that is too soon for the wheel.
        """
        now = self._clock.seconds()
        number = int((now + seconds) / self._slot_s)
        wait_s = number * self._slot_s - now
        if wait_s <= 0:
            return None
        slot = self._slots.get(number)
        if slot is None:
            slot = self._slots[number] = _Slot(self._clock.callLater(wait_s, self._turn, number))
        slot.connections.add(connection)
        return number

    def remove(self, connection: WatchedConnection, number: int) -> None:
        """Take a connection off the wheel."""
        slot = self._slots.get(number)
        if slot is not None:
            slot.connections.discard(connection)
            if not slot.connections:
                slot.timer.cancel()
                del self._slots[number]

    def _turn(self, number: int) -> None:
        for connection in self._slots.pop(number).connections:
            try:
                connection.look_whether_idle()
            except Exception:  # the others are due, too
                log.failure("while looking whether {connection} is idle", connection=connection)
