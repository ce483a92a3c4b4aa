"""The registry of devices: registration, enrolment, passwords (protocol section 4.1)."""

import re
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import Literal

from msgspec.structs import replace
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cmmd.controllers.catalog import Catalog
from cmmd.controllers.evidence.memory import only_byte_order
from cmmd.fleet.counters.log_throttle import LogLimit
from cmmd.fleet.devices.guessing import Guessing
from cmmd.fleet.devices.keyed_lock import KeyedLock
from cmmd.fleet.devices.locks import UnsavedLocks
from cmmd.fleet.devices.networks import is_own_host
from cmmd.fleet.devices.password_check import MOST_WAITING_A_DEVICE, PasswordCheck
from cmmd.fleet.devices.passwords import Abandoned, Passwords
from cmmd.fleet.devices.places import Places, told_at_login
from cmmd.fleet.devices.refused_logins import LoginImpossible, LoginRefused
from cmmd.fleet.devices.settings import check_lock, check_read_as, check_setting
from cmmd.fleet.devices.strangers import Homes, Strangers
from cmmd.fleet.devices.throttle import Throttled
from cmmd.fleet.errors import (
    AlreadyEnrolled,
    BadArgument,
    BadSetting,
    NoSuchDevice,
    RegistryFull,
    TooBusy,
    TooManyWaiting,
)
from cmmd.fleet.events import Events, Kind
from cmmd.store.interface import DuplicateDevice, IStore, StoreUnavailable
from cmmd.store.records import Device
from cmmd.wire.errors import Reason
from cmmd.wire.messages import LoginParams
from cmmd.wire.quoting import printable
from cmmd.wire.retcodes import Retcode

__all__ = [
    "BadSetting",
    "LoginImpossible",
    "LoginRefused",
    "Policy",
    "Registry",
]

log = Logger()

Policy = Literal["open", "known"]

HOSTID = re.compile(r"[A-Za-z0-9_-]{1,24}")
LONGEST_NAME, LONGEST_MODEL = 20, 30  # characters (protocol section 4.1)


class Registry:
    """The devices of one daemon, all in memory; the store has them first.

    :param store: where records are kept.
    :param devices: what the store had when it was opened.
    :param catalog: knows what a controller is polled for.
    :param events: notified of first logins, and of settings that are changed.
    :param changed: notified of every device that its owner has changed.
    :param passwords: hashes and checks.
    :param guessing: bounds and delays wrong passwords. :param strangers: the budget of addresses for what is unknown.
    :param now: Unix time in seconds.
    :param clock: for the limit of what is logged.
    :param policy: ``open``: an unknown device is registered at its first login; ``known``: it is refused.
    :param max_devices: how many there may be.
    :ivar unsaved_locks: maintenance locks that the store does not have yet; all records here have them.
    :ivar places: takes the places that devices upload.
    :ivar homes: how many devices had their latest login from each address.
    """

    def __init__(
        self,
        *,
        store: IStore,
        devices: Sequence[Device],
        catalog: Catalog,
        events: Events,
        changed: Callable[[Device], None],
        passwords: Passwords,
        guessing: Guessing,
        strangers: Strangers,
        now: Callable[[], float],
        clock: IReactorTime,
        policy: Policy = "open",
        max_devices: int = 100_000,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._events = events
        self._changed = changed
        self._devices = {device.hostid: device for device in devices}
        self._passwords = passwords
        self._strangers = strangers
        self._clock = clock
        self._check = PasswordCheck(passwords, guessing, strangers, self.device, clock)
        self._now = now
        self._policy = policy
        self._max_devices = max_devices
        self._introducing = KeyedLock(MOST_WAITING_A_DEVICE)
        self._writing = KeyedLock(MOST_WAITING_A_DEVICE)
        self._registering = 0
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

    async def login(self, params: LoginParams, address: str, wanted: Callable[[], bool] = lambda: True) -> Device:
        """Register a device or update its record.

        :param params: what the device said.
        :param address: the host that it said it from.
        :param wanted: asked before anything costly: whether a caller still waits for the outcome.
        :return: the record, kept by the store.
        :raises LoginRefused: wrong password, enrolment closed, device disabled.
        :raises LoginImpossible: overloaded, or the store does not take it.
        """
        try:
            if not self._has_password(params.hostid):
                async with self._introducing.take(params.hostid):
                    if not self._has_password(params.hostid):  # else one that came before has set it
                        return await self._first_login(params, address, wanted)
            await self._check.check(params, address, wanted)
            return await self._later_login(params, address)
        except (Throttled, TooManyWaiting):
            raise LoginRefused(Reason.THROTTLED, "too many attempts", Retcode.TRY_AGAIN) from None
        except TooBusy:
            raise LoginImpossible("too many logins at once") from None
        except Abandoned:
            raise LoginImpossible("no caller waits for it") from None
        except (StoreUnavailable, DuplicateDevice) as error:
            self._not_kept(error, params.hostid)
            raise LoginImpossible("nothing can be kept now") from None

    @property
    def wrong_passwords(self) -> MutableMapping[str, int]:
        """Wrong passwords since the start, by hostid."""
        return self._check.wrong_passwords

    def _has_password(self, hostid: str) -> bool:
        device = self._devices.get(hostid)
        return device is not None and device.password_hash is not None

    async def _first_login(self, params: LoginParams, address: str, wanted: Callable[[], bool]) -> Device:
        """Take a device whose password is not known yet: one that was enrolled, or one never heard of."""
        enrolled = self._devices.get(params.hostid)
        if enrolled is None:
            await self._look_at_stranger(params.hostid, address)
            if len(self._devices) + self._registering >= self._max_devices:
                raise LoginRefused(Reason.NOT_ENROLLED, "no more devices are taken", Retcode.NOT_ENROLLED)
        else:
            _refuse_disabled(enrolled)
        is_new = enrolled is None
        self._registering += is_new
        try:
            hashed = await self._passwords.hash(params.password, address, wanted)
            enrolled = self._devices.get(params.hostid)  # as it is by now
            if enrolled is None:
                blank = Device(hostid=params.hostid, hostname="", password_hash=hashed, moduletype="", registered_at=0)
                device = replace(self._said(blank, params, address), registered_at=self._now_ms())
                device = await self._store.add_device(device)
            else:
                async with self._writing.take(params.hostid):
                    enrolled = replace(self._devices[params.hostid], password_hash=hashed)
                    device = self._said(enrolled, params, address)
                    await self._store.write([device])
                    self._put(device)
            if device.hostid not in self._devices:
                self._put(device)
        finally:
            self._registering -= is_new
        self._passwords.remember(device.hostid, params.password, hashed)
        log.info(
            "registered number {device.number}: {device.hostid} ({device.hostname}, {device.moduletype}) at {address}",
            device=device,
            address=address,
        )
        self._events.emit(
            Kind.DEVICE_REGISTERED,
            device.hostid,
            number=device.number,
            hostname=device.hostname,
            moduletype=device.moduletype,
            address=address,
        )
        return device

    async def _look_at_stranger(self, hostid: str, address: str) -> None:
        """Refuse a hostid that is not known, as the policy says, or where its address has tried too many.

        :raises LoginRefused: it is refused.
        """
        since = self._clock.seconds()
        if self._policy == "known":
            closed = LoginRefused(Reason.NOT_ENROLLED, "enrolment is closed", Retcode.NOT_ENROLLED)
            await self._check.refuse_stranger(hostid, address, since, closed)
        elif not is_own_host(address) and not self._strangers.spend(address):
            # The simulator and a gateway on this machine come from there, in any number.
            await self._check.refuse_stranger(hostid, address, since, Throttled())

    async def _later_login(self, params: LoginParams, address: str) -> Device:
        """Keep what a device says whose password is right."""
        device = self._devices[params.hostid]
        _refuse_disabled(device)
        updated = self._said(device, params, address)
        if updated == replace(device, last_login_at=updated.last_login_at) and device.hostid not in self._writing:
            # Nothing new but the time: the device need not wait for that.
            self._put(updated)
            self._store.write([updated]).addErrback(lambda failure: self._not_kept(failure.value, device.hostid))
            return updated
        async with self._writing.take(params.hostid):
            updated = self._said(self._devices[params.hostid], params, address)
            await self._store.write([updated])
            self._put(updated)
        return updated

    def _said(self, device: Device, params: LoginParams, address: str) -> Device:
        """The record with what the device says now; what it leaves out stays as it was."""
        said = {"module_port": params.modulePort, "module_baud": params.moduleBaud}
        moduletype = printable(params.moduletype).strip()
        profile = self._catalog.of(moduletype, device.profile)
        same_profile = profile.root is self._catalog.of(device.moduletype, device.profile).root
        return replace(
            device,
            hostname=printable(params.hostname).strip(),
            moduletype=moduletype,
            para_command=profile.plan,
            evidence=device.evidence if same_profile else only_byte_order(device.evidence),
            last_login_at=self._now_ms(),
            last_login_address=address,
            **{name: value for name, value in said.items() if value is not None},
            **told_at_login(device, params),
        )

    async def enrol(
        self, hostid: str, *, hostname: str = "", moduletype: str = "", password: str | None = None
    ) -> Device:
        """Make a device known before it logs in.

        :param password: the one it will log in with; None: the one of its first login.
        :raises BadArgument: as its description says.
        :raises AlreadyEnrolled: as its description says.
        :raises RegistryFull: as its description says.
        :raises StoreUnavailable: see IStore.
        """
        if HOSTID.fullmatch(hostid) is None:
            raise BadArgument("hostid: 1 to 24 letters, digits, _ and -")
        if hostid in self._devices:
            raise AlreadyEnrolled(f"{hostid} is registered or enrolled already")
        if len(self._devices) + self._registering >= self._max_devices:
            raise RegistryFull("no more devices are taken")
        self._registering += 1
        try:
            hashed = None if password is None else await self._passwords.hash(password, "", lambda: True)
            device = Device(
                hostid=hostid,
                hostname=printable(hostname).strip()[:LONGEST_NAME],
                moduletype=printable(moduletype).strip()[:LONGEST_MODEL],
                password_hash=hashed,
                registered_at=self._now_ms(),
            )
            try:
                device = self._devices[hostid] = await self._store.add_device(device)
            except DuplicateDevice:
                raise AlreadyEnrolled(f"{hostid} is registered or enrolled already") from None
        finally:
            self._registering -= 1
        return device

    async def set(self, hostid: str, requester: str, **changes: object) -> Device:
        """Change what the owner decides about a device, and tell it in an event for each setting that is another.

        :param requester: who changes it, printable.
        :param changes: of ``enabled``, ``history_interval`` (seconds), ``data_mode``, ``online_rate``, ``offline_rate``
            (milliseconds), ``set_port``, ``set_baud``, ``profile``, ``read_as``; None: as the configuration, or the
            device, says. What a device is told at login it is told at its next one.
        :raises NoSuchDevice: as its description says.
        :raises BadSetting: what cannot be set, or not so.
        :raises Locked: the device is locked, and one of ``set_port``, ``set_baud``, ``profile`` would change.
        :raises StoreUnavailable: see IStore.
        """
        if hostid not in self._devices:
            raise NoSuchDevice("no such device is registered")
        for name, value in changes.items():
            check_setting(name, value, self._catalog)
        device = self._devices[hostid]
        if changes.get("read_as") is not None:
            chosen = changes.get("profile", device.profile)
            profile = self._catalog.of(device.moduletype, None if chosen is None else str(chosen))
            check_read_as(changes["read_as"], profile)
        async with self._writing.take(hostid):
            check_lock(self._devices[hostid], changes)  # in here: a lock may come while this change waits
            updated = await self._write(hostid, self._with_evidence(hostid, changes))
        for name in changes:
            before, after = getattr(device, name), getattr(updated, name)
            if before != after:
                self._events.emit(
                    Kind.SETTING_CHANGED, hostid, setting=name, before=before, after=after, requester=requester
                )
        self._changed(updated)
        return updated

    def _with_evidence(self, hostid: str, changes: Mapping[str, object]) -> Mapping[str, object]:
        """Have another profile begin without the evidence about the one before."""
        device = self._devices[hostid]
        profile = changes.get("profile", device.profile)
        if profile == device.profile:
            return changes
        return {**changes, "evidence": only_byte_order(device.evidence)}

    async def _update(self, hostid: str, **changes: object) -> Device:
        """Have the store keep a changed record, then use it.

        :raises TooManyWaiting: too many changes of this device wait. :raises StoreUnavailable: see IStore.
        """
        async with self._writing.take(hostid):
            return await self._write(hostid, changes)

    async def _write(self, hostid: str, changes: Mapping[str, object]) -> Device:
        updated = replace(self._devices[hostid], **changes)
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
        :raises StoreUnavailable: see IStore; also where too many changes of this device wait.
        """
        try:
            async with self._writing.take(hostid):
                await self._write(hostid, change(self._devices[hostid]))
        except TooManyWaiting:
            raise StoreUnavailable("too many changes of this device wait") from None

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


def _refuse_disabled(device: Device) -> None:
    if not device.enabled:
        raise LoginRefused(Reason.NOT_ENROLLED, "device is disabled", Retcode.NOT_ENROLLED)
