"""The records of all devices, in memory and in the store: each change is kept before it is used."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

from msgspec.structs import replace
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cmmd.fleet.counters.log_throttle import LogLimit
from cmmd.fleet.devices.keyed_lock import KeyedLock
from cmmd.fleet.devices.locks import UnsavedLocks
from cmmd.fleet.devices.places import Places
from cmmd.fleet.devices.strangers import Homes
from cmmd.fleet.errors import Locked, NoSuchDevice, TooManyWaiting
from cmmd.store.interface import IStore, StoreUnavailable
from cmmd.store.records import Device

__all__ = ["MOST_WAITING_A_DEVICE", "DeviceRecords"]

log = Logger()

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
