"""One at a time for each device, and not many waiting."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from twisted.internet.defer import DeferredLock

from cmmd.fleet.errors import TooManyWaiting

__all__ = ["KeyedLock"]


class KeyedLock:
    """One lock for each hostid.

    :param most_waiting: how many may wait for one of them.
    """

    def __init__(self, most_waiting: int) -> None:
        self._most_waiting = most_waiting
        self._locks: dict[str, DeferredLock] = {}

    def __contains__(self, hostid: str) -> bool:
        """Tell whether a caller holds the lock."""
        return hostid in self._locks

    @asynccontextmanager
    async def take(self, hostid: str) -> AsyncIterator[None]:
        """Wait for the turn, and have it.

        :raises TooManyWaiting: as many wait as can.
        """
        lock = self._locks.setdefault(hostid, DeferredLock())
        if len(lock.waiting) >= self._most_waiting:
            raise TooManyWaiting("too much waits for this device")
        await lock.acquire()
        try:
            yield
        finally:
            lock.release()  # the next one may run, and end, in here
            if not lock.locked and self._locks.get(hostid) is lock:
                del self._locks[hostid]
