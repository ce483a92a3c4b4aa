"""The registry of devices: registration, enrolment, passwords (protocol section 4.1)."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence

from msgspec.structs import replace
from twisted.internet.defer import succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cmmd.controllers.catalog import Catalog
from cmmd.controllers.evidence.memory import only_byte_order
from cmmd.fleet.devices.device_records import MOST_WAITING_A_DEVICE, DeviceRecords, KeyedLock, after_login
from cmmd.fleet.devices.enrolment import AcceptRules, Candidate, Enrolment, Policy
from cmmd.fleet.devices.password_check import Guessing, LoginImpossible, LoginRefused, PasswordCheck, Throttled
from cmmd.fleet.devices.passwords import Abandoned, Passwords
from cmmd.fleet.devices.settings import check_lock, check_read_as, check_setting
from cmmd.fleet.devices.strangers import Strangers
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

HOSTID = re.compile(r"[A-Za-z0-9_-]{1,24}")
LONGEST_NAME, LONGEST_MODEL = 20, 30  # characters (protocol section 4.1)


class Registry(DeviceRecords):
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
    :param policy: what becomes of unknown devices. :param accept: those that are let in while others wait.
    :param keep_policy: keeps a policy that an operator has set. :param waits: called with devices that begin to wait.
    :param max_devices: how many there may be. :param recorded: waits until what has happened so far is durable.
    :ivar enrolment: the policy in force, and the devices that wait.
    :ivar wrong_passwords: wrong passwords since the start, by hostid.
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
        accept: AcceptRules | None = None,
        keep_policy: Callable[[Policy], None] = lambda _: None,
        waits: Callable[[Candidate], None] = lambda _: None,
        max_devices: int = 100_000,
        recorded: Callable[[], Awaitable[object]] = lambda: succeed(True),
    ) -> None:
        super().__init__(store, devices, now, clock)
        self._catalog = catalog
        self._events = events
        self._changed = changed
        self._passwords = passwords
        self._guessing = guessing
        self._check = PasswordCheck(passwords, guessing, strangers, self.device, clock)
        self.wrong_passwords = self._check.wrong_passwords
        self.enrolment = Enrolment(
            policy=policy,
            accept=accept or AcceptRules(),
            passwords=passwords,
            check=self._check,
            strangers=strangers,
            now_ms=self._now_ms,
            clock=clock,
            keep=keep_policy,
            waits=waits,
        )
        self._max_devices = max_devices
        self._recorded = recorded
        self._introducing = KeyedLock(MOST_WAITING_A_DEVICE)
        self._registering = 0

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
        except NoSuchDevice:
            raise LoginImpossible("it was forgotten just now") from None
        except TooBusy:
            raise LoginImpossible("too many logins at once") from None
        except Abandoned:
            raise LoginImpossible("no caller waits for it") from None
        except (StoreUnavailable, DuplicateDevice) as error:
            self._not_kept(error, params.hostid)
            raise LoginImpossible("nothing can be kept now") from None

    def _has_password(self, hostid: str) -> bool:
        device = self._devices.get(hostid)
        return device is not None and device.password_hash is not None

    async def _first_login(self, params: LoginParams, address: str, wanted: Callable[[], bool]) -> Device:
        """Take a device whose password is not known yet: one that was enrolled, or one never heard of."""
        enrolled = self._devices.get(params.hostid)
        if enrolled is None:
            await self.enrolment.look_at(params, address, wanted)
            if len(self._devices) + self._registering >= self._max_devices:
                raise LoginRefused(Reason.NOT_ENROLLED, "no more devices are taken", Retcode.NOT_ENROLLED)
        else:
            _refuse_disabled(enrolled)
        is_new = enrolled is None
        self._registering += is_new
        try:
            hashed = await self._passwords.hash(params.password, address, wanted)
            # What the owner has decided meanwhile counts: a password, a registration, a policy, a device forgotten.
            now = self._still_first(params.hostid, enrolled)
            if enrolled is None:
                if not self.enrolment.lets_in(params.hostid, address):
                    raise LoginImpossible("the policy was changed just now")
                said = self._said(replace(now, password_hash=hashed), params, address)
                device = replace(said, registered_at=self._now_ms())
                device = await self._store.add_device(device)
                self._put(device)
                self._passwords.remember(device.hostid, params.password, hashed)
            else:
                async with self._writing.take(params.hostid):
                    now = self._still_first(params.hostid, enrolled)
                    device = self._said(replace(now, password_hash=hashed), params, address)
                    await self._store.write([device])
                    self._put(device)
                    self._passwords.remember(device.hostid, params.password, hashed)
                # A change that waited for this one may have ended by now.
                if self._known(params.hostid).password_hash != hashed:
                    raise LoginImpossible("its password was reset just now")
        finally:
            self._registering -= is_new
        more = self._limit.allows(params.hostid)
        if more is not None:
            log.info(
                "registered number {device.number}: {device.hostid} ({device.hostname}, {device.moduletype}) at"
                " {address}{more}",
                device=device,
                address=address,
                more=more,
            )
        self._events.emit(
            Kind.DEVICE_REGISTERED,
            device.hostid,
            number=device.number,
            hostname=device.hostname,
            moduletype=device.moduletype,
            address=address,
        )
        await self._recorded()  # the answer promises both: the device is kept, and that it has come
        now = self._known(params.hostid)  # as the owner has left it meanwhile
        if now.password_hash != hashed:
            raise LoginImpossible("its password was reset just now")
        _refuse_disabled(now)
        return now

    def _still_first(self, hostid: str, before: Device | None) -> Device:
        """Give the record of a device as it is now, where a first login may still set its password.

        :param before: its record when the login came; None: there was none, and a blank one is given.
        """
        now = self._devices.get(hostid)
        if now is None and before is None:
            return Device(hostid=hostid, hostname="", password_hash=None, moduletype="", registered_at=0)
        if now is None or before is None or now.number != before.number:
            raise LoginImpossible("it was enrolled or forgotten just now")
        if now.password_hash is not None:
            raise LoginImpossible("its password was set just now")
        _refuse_disabled(now)
        return now

    async def _later_login(self, params: LoginParams, address: str) -> Device:
        """Keep what a device says whose password is right."""
        device = self._known(params.hostid)
        _refuse_disabled(device)
        updated = self._said(device, params, address)
        if updated == replace(device, last_login_at=updated.last_login_at) and device.hostid not in self._writing:
            # Nothing new but the time: the device need not wait for that.
            self._put(updated)
            self._store.write([updated]).addErrback(lambda failure: self._not_kept(failure.value, device.hostid))
            return updated
        async with self._writing.take(params.hostid):
            updated = self._said(self._known(params.hostid), params, address)
            await self._store.write([updated])
            self._put(updated)
        return updated

    def _said(self, device: Device, params: LoginParams, address: str) -> Device:
        return after_login(device, params, address, self._now_ms(), self._catalog)

    async def enrol(
        self,
        hostid: str,
        *,
        hostname: str = "",
        moduletype: str = "",
        password: str | None = None,
        password_hash: str | None = None,
    ) -> Device:
        """Make a device known before it logs in.

        :param password: the one it will log in with, or ``password_hash``: what is kept of it; None: the one of its
            first login.
        :raises BadArgument: a value is not possible.
        :raises AlreadyEnrolled: a device with this hostid is registered.
        :raises RegistryFull: no more devices are taken.
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
            hashed = password_hash if password is None else await self._passwords.hash(password, "", lambda: True)
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
        self.enrolment.candidates.remove(hostid)
        return device

    async def reset_password(self, hostid: str, password: str | None) -> Device:
        """Forget the password of a device, and where it has logged in: until its next login it has no session.

        :param password: its new one; None: that of its next login.
        :raises NoSuchDevice: it is not registered. :raises StoreUnavailable: see IStore.
        """
        self._known(hostid)
        hashed = None if password is None else await self._passwords.hash(password, "", lambda: True)
        device = await self._update(hostid, password_hash=hashed, last_login_at=None, last_login_address=None)
        self._passwords.forget(hostid)
        self._guessing.forget(hostid)
        self._changed(device)
        return device

    async def forget(self, hostid: str, before: Callable[[], Awaitable[object]]) -> Device:
        """Let a device be unknown, see :meth:`remove`; its password and wrong ones are forgotten, too."""
        device = await self.remove(hostid, before)
        self._passwords.forget(hostid)
        self._guessing.forget(hostid)
        return device

    async def set(self, hostid: str, requester: str, **changes: object) -> Device:
        """Change what the owner decides about a device, and tell it in an event for each setting that is another.

        :param requester: who changes it, printable.
        :param changes: of ``enabled``, ``history``, ``history_interval`` (seconds), ``data_mode``, ``online_rate``,
            ``offline_rate`` (milliseconds), ``set_port``, ``set_baud``, ``profile``, ``read_as``; None: as the
            configuration, or the device, says. What a device is sent at login it is sent at its next one.
        :raises NoSuchDevice: no device has this hostid.
        :raises BadSetting: what cannot be set, or not so.
        :raises Locked: the device is locked, and one of ``set_port``, ``set_baud``, ``profile`` would change.
        :raises StoreUnavailable: see IStore.
        """
        self._known(hostid)
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
        return {**changes, "evidence": only_byte_order(device.evidence), "oldest_undecided_at": None}


def _refuse_disabled(device: Device) -> None:
    if not device.enabled:
        raise LoginRefused(Reason.NOT_ENROLLED, "device is disabled", Retcode.NOT_ENROLLED)
