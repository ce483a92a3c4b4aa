"""Maintenance locks that the store does not have yet: each counts at once, and is written until the store takes it."""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from cmmd.fleet.errors import TooManyWaiting
from cmmd.store.interface import StoreUnavailable
from cmmd.store.records import Device

__all__ = ["WRITE_AGAIN_S", "UnsavedLocks"]

log = Logger()

WRITE_AGAIN_S = 1.0
"""Seconds after which locks are written again that the store has refused."""


class UnsavedLocks:
    """The maintenance locks of devices whose record in the store does not have them yet.

    A lock that the operator relies on has to survive a kill of this process. So a refused write is repeated, without
    the operator and without waiting for another change of that device.

    :param write: writes the given fields of a device's record, by hostid; raises StoreUnavailable or TooManyWaiting.
    :param clock: for the repetition.
    """

    def __init__(self, write: Callable[..., Awaitable[Device]], clock: IReactorTime) -> None:
        self._write = write
        self._clock = clock
        self._unsaved: dict[str, dict[str, Any]] = {}
        self._refused: set[str] = set()  # a write under way is not repeated: it would wait behind itself
        self._timer: IDelayedCall | None = None
        self._stopped = False

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._unsaved))

    def on(self, device: Device) -> Device:
        """Put the unsaved lock of a device, if there is one, on a record of it."""
        lock = self._unsaved.get(device.hostid)
        return device if lock is None else replace(device, **lock)

    def put(self, hostid: str, lock: dict[str, Any]) -> None:
        """Have a lock count from now on; :meth:`save` follows."""
        self._unsaved[hostid] = lock

    async def save(self, hostid: str) -> Device:
        """Write the lock of a device; a refused write is repeated later.

        :raises StoreUnavailable: the store does not take it now. :raises TooManyWaiting: neither does its queue.
        """
        lock = self._unsaved[hostid]
        try:
            device = await self._write(hostid, **lock)
        except (StoreUnavailable, TooManyWaiting):
            self._write_again(hostid)
            raise
        if self._unsaved.get(hostid) is lock:  # else an unlock, or another lock, came meanwhile
            del self._unsaved[hostid]
        return device

    async def remove(self, hostid: str) -> Device:
        """Write that a device is unlocked.

        :raises StoreUnavailable: the device stays locked. :raises TooManyWaiting: the same.
        """
        lock = self._unsaved.pop(hostid, None)
        try:
            return await self._write(hostid, locked_by=None, locked_at=None, lock_reason=None)
        except (StoreUnavailable, TooManyWaiting):
            if lock is not None and hostid not in self._unsaved:
                self._unsaved[hostid] = lock
                self._write_again(hostid)
            raise

    def stop(self) -> None:
        """End the repetition; what is left is in the iteration."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _write_again(self, hostid: str) -> None:
        self._refused.add(hostid)
        if self._timer is None and not self._stopped:
            self._timer = self._clock.callLater(WRITE_AGAIN_S, self._due)

    def _due(self) -> None:
        self._timer = None
        refused, self._refused = self._refused, set()
        for hostid in refused & self._unsaved.keys():
            Deferred.fromCoroutine(self.save(hostid)).addCallbacks(
                lambda device: log.info("the lock of {hostid} is saved now", hostid=device.hostid),
                lambda failure: failure.trap(StoreUnavailable, TooManyWaiting),
            ).addErrback(lambda failure: log.failure("while saving a lock", failure=failure))
