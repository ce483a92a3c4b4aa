"""The records of all devices, in memory and in the store: each change is kept before it is used.

Changes of one device are written one at a time. A maintenance lock alone counts at once, and is written until the store
takes it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from msgspec.structs import replace
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from cmmd.controllers.catalog import Catalog
from cmmd.controllers.evidence.memory import only_byte_order
from cmmd.fleet.counters.log_throttle import LogLimit
from cmmd.fleet.devices.places import Places, told_at_login
from cmmd.fleet.devices.strangers import Homes
from cmmd.fleet.errors import Locked, NoSuchDevice, TooManyWaiting
from cmmd.store.interface import IStore, StoreUnavailable
from cmmd.store.records import Device
from cmmd.wire.messages import LoginParams
from cmmd.wire.quoting import printable

__all__ = ["MOST_WAITING_A_DEVICE", "WRITE_AGAIN_S", "DeviceRecords", "KeyedLock", "UnsavedLocks", "after_login"]

log = Logger()

# --- one at a time for each device -----------------------------------------------------------------------------------


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


# --- maintenance locks -----------------------------------------------------------------------------------------------


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


# --- logins ----------------------------------------------------------------------------------------------------------


def after_login(device: Device, params: LoginParams, address: str, at_ms: int, catalog: Catalog) -> Device:
    """Give the record with what the device says now; what it leaves out stays as it was.

    :param address: the host that it logs in from. :param at_ms: when, milliseconds UTC.
    """
    said = {"module_port": params.modulePort, "module_baud": params.moduleBaud}
    moduletype = printable(params.moduletype).strip()
    profile = catalog.of(moduletype, device.profile)
    same_profile = profile.root is catalog.of(device.moduletype, device.profile).root
    return replace(
        device,
        hostname=printable(params.hostname).strip(),
        moduletype=moduletype,
        para_command=profile.plan,
        evidence=device.evidence if same_profile else only_byte_order(device.evidence),
        oldest_undecided_at=device.oldest_undecided_at if same_profile else None,
        last_login_at=at_ms,
        last_login_address=address,
        **{name: value for name, value in said.items() if value is not None},
        **told_at_login(device, params),
    )


# --- records ---------------------------------------------------------------------------------------------------------


MOST_WAITING_A_DEVICE = 4
"""Changes of one device that may wait for the one being kept; logins of one device that may wait for another one."""


class DeviceRecords:
    """The devices of one daemon, all in memory; the store has them first.

    :param store: where records are kept. :param devices: what the store had when it was opened.
    :param now: Unix time in seconds. :param clock: for whatever waits.
    :ivar unsaved_locks: maintenance locks that the store does not have yet; all records here have them.
    :ivar places: takes the places that devices upload.
    :ivar homes: how many devices had their latest login from each address.
    """

    def __init__(self, store: IStore, devices: Sequence[Device], now: Callable[[], float], clock: IReactorTime) -> None:
        self._store = store
        self._devices = {device.hostid: device for device in devices}
        self._now = now
        self._writing = KeyedLock(MOST_WAITING_A_DEVICE)
        self._registering = 0  # places that are taken, and not decided
        self.unsaved_locks = UnsavedLocks(self._update, clock)
        self.places = Places(self._update, self.device, clock)
        self._limit = LogLimit(clock)
        self.homes = Homes()
        for device in devices:
            self.homes.moved(None, device.last_login_address)

    def __len__(self) -> int:
        return len(self._devices)

    def devices(self) -> Iterator[Device]:
        """All records, by number."""
        return iter(tuple(self._devices.values()))

    def device(self, hostid: str) -> Device | None:
        """The record of a device; None where it has never logged in."""
        return self._devices.get(hostid)

    def _known(self, hostid: str) -> Device:
        device = self._devices.get(hostid)
        if device is None:
            raise NoSuchDevice("no such device is registered")
        return device

    async def remove(self, hostid: str, before: Callable[[], Awaitable[object]]) -> Device:
        """Let a device be unknown from now on: for every door at once, then for the store.

        :param before: called when it is unknown; what was to be kept of it is, when that has ended. What it raises
            makes the device known again.
        :raises NoSuchDevice: it is not registered. :raises Locked: it is locked for maintenance.
        :raises StoreUnavailable: it is known again, see IStore.
        """
        async with self._writing.take(hostid):
            device = self._known(hostid)
            if device.locked_by is not None:
                raise Locked(f"locked by {device.locked_by}: {device.lock_reason}")
            del self._devices[hostid]
            self._registering += 1
            try:
                await before()
                await self._store.remove_device(device)
            except BaseException:
                restored = {**self._devices, hostid: device}
                self._devices = dict(sorted(restored.items(), key=lambda item: item[1].number))
                raise
            finally:
                self._registering -= 1
            self.homes.moved(device.last_login_address, None)
        return device

    async def _update(self, hostid: str, **changes: object) -> Device:
        """Have the store keep a changed record, then use it.

        :raises TooManyWaiting: too many changes of this device wait. :raises StoreUnavailable: see IStore.
        """
        async with self._writing.take(hostid):
            return await self._write(hostid, changes)

    async def _write(self, hostid: str, changes: Mapping[str, object]) -> Device:
        updated = replace(self._known(hostid), **changes)
        await self._store.write([updated])
        self._put(updated)
        return self._devices[hostid]

    # --- people beside the machine -----------------------------------------------------------------------------------

    async def lock(self, hostid: str, by: str, reason: str) -> Device:
        """Lock a device for maintenance. It counts from now on, also where the store cannot keep it.

        :raises StoreUnavailable: see IStore; the lock holds, and is written again until it is kept.
        """
        self.unsaved_locks.put(hostid, {"locked_by": by, "locked_at": self._now_ms(), "lock_reason": reason})
        self._put(self._devices[hostid])
        return await self.unsaved_locks.save(hostid)

    async def unlock(self, hostid: str) -> Device:
        """Remove a maintenance lock; it counts until that is kept.

        :raises StoreUnavailable: see IStore.
        """
        return await self.unsaved_locks.remove(hostid)

    async def keep_inputs(self, hostid: str, reports: str) -> None:
        """Keep what was reported of a device's inputs, as text.

        :raises StoreUnavailable: see IStore; also where too many changes of this device wait.
        """
        await self.keep(hostid, lambda _: {"input_reports": reports})

    async def keep(self, hostid: str, change: Callable[[Device], Mapping[str, object]]) -> None:
        """Keep a change of what cmmd itself knows of a device.

        :param change: gives the changed fields, made of the record when its turn has come.
        :raises StoreUnavailable: see IStore; also where too many changes of this device wait, or it is forgotten.
        """
        try:
            async with self._writing.take(hostid):
                await self._write(hostid, change(self._known(hostid)))
        except TooManyWaiting:
            raise StoreUnavailable("too many changes of this device wait") from None
        except NoSuchDevice:
            raise StoreUnavailable("the device was forgotten") from None

    def _put(self, device: Device) -> None:
        """Use a record from now on, with the lock that was put on meanwhile."""
        before = self._devices.get(device.hostid)
        self.homes.moved(None if before is None else before.last_login_address, device.last_login_address)
        self._devices[device.hostid] = self.unsaved_locks.on(device)

    def _now_ms(self) -> int:
        return int(self._now() * 1000)

    def _not_kept(self, error: object, hostid: str) -> None:
        more = self._limit.allows("store")
        if more is not None:
            log.error("record of {hostid} not kept: {error}{more}", hostid=hostid, error=error, more=more)
