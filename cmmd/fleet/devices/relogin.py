"""Devices that answer another polling plan than they were given: led to a new login, once (protocol section 4.4)."""

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from cmmd.fleet.devices.presence import Presence

__all__ = ["CLOSES_AFTER_S", "Relogin"]

log = Logger()

CLOSES_AFTER_S = 2.0
"""Seconds from an upload to the end of its connection: its answer leaves first. While a command is under way, that is
put off by as much again."""


class Relogin:
    """Closes the sessions of a device, once since the start: then it logs in and is given its plan.

    Never by ``reset``: some modules restart for minutes. A device that continues as before is left alone.

    :param busy: whether a command of a device waits or is in flight.
    """

    def __init__(self, presence: Presence, clock: IReactorTime, busy: Callable[[str], bool]) -> None:
        self._presence = presence
        self._clock = clock
        self._busy = busy
        self._led: set[str] = set()
        self._due: dict[str, IDelayedCall] = {}

    def lead(self, hostid: str) -> None:
        """Have a device log in, unless it was led to that before."""
        if hostid not in self._led:
            self._led.add(hostid)
            self._close_later(hostid)

    def logged_in(self, hostid: str) -> None:
        """A device has logged in by itself: it knows its plan."""
        due = self._due.pop(hostid, None)
        if due is not None:
            due.cancel()

    def stop(self) -> None:
        """Stop closing sessions of devices."""
        for hostid in tuple(self._due):
            self.logged_in(hostid)

    def _close_later(self, hostid: str) -> None:
        self._due[hostid] = self._clock.callLater(CLOSES_AFTER_S, self._close, hostid)

    def _close(self, hostid: str) -> None:
        if self._busy(hostid):
            self._close_later(hostid)
            return
        del self._due[hostid]
        log.info("{hostid} answers another polling plan than it was given: it is led to a new login", hostid=hostid)
        for session in self._presence.sessions(hostid):
            session.close()
